//! The configuration file: any text is right, or everything told about it names the file and a line
//! that it has, in order.

use std::path::Path;

use handshake_user::config::{self, ConfigError};

/// Checks the text as a file.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let file = Path::new("fuzzed.toml");
    let lines = text.matches('\n').count() + 1;
    match config::check_text(file, &text) {
        Ok(checked) => {
            assert!(checked.keys <= text.matches('=').count());
            assert!(checked.ignored.len() <= checked.keys);
        }
        Err(ConfigError::File { wrong, .. }) => {
            assert!(!wrong.is_empty());
            assert!(wrong.iter().all(|wrong| (1..=lines).contains(&wrong.line)), "{wrong:?}");
            assert!(wrong.is_sorted_by_key(|wrong| wrong.line), "{wrong:?}");
            assert!(wrong.iter().all(|wrong| !wrong.problem.to_string().is_empty()));
        }
        // What every key by itself allows, all together may not.
        Err(ConfigError::Together { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}
