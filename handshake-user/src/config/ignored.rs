//! What was given and does nothing: said, where it is no mistake for sure.
//!
//! An option that needs another one (`--record-size` needs `--record`) is refused on the command
//! line: whoever writes it there means this run. A variable or a key may stand for many runs, of
//! which only some record, so there it is told; and not even told if it only repeats the default.

use std::ffi::OsStr;
use std::path::Path;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::{ConfigError, file::Entry};
use crate::cli::bytes;

/// Something that does nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Ignored {
    /// A variable with our prefix that is none of ours.
    #[error(
        "{variable} in the environment is no variable of handshake and does nothing; {}",
        match nearest {
            Some(near) => format!("did you mean {near}?"),
            None => "docs/flags.md and `--help` have them all".to_owned(),
        }
    )]
    Unknown {
        /// Its name.
        variable: String,
        /// The name of ours that comes near.
        nearest: Option<String>,
    },
    /// A variable of ours that somebody else has set.
    #[error(
        "{variable} in the environment is the address of a service, as Kubernetes sets it, and \
         does nothing"
    )]
    Link {
        /// Its name.
        variable: String,
    },
    /// Further variables.
    #[error("{0} more variables that begin with HANDSHAKE_ are none of handshake's and do nothing")]
    More(usize),
    /// An option without the one that it belongs to.
    #[error("{place} does nothing {without}")]
    Lone {
        /// The variable, or file, line and key.
        place: String,
        /// Without what.
        without: &'static str,
    },
}

/// When an option does nothing.
struct Need {
    option: &'static str,
    /// The option that it needs, or that stands against it.
    other: &'static str,
    /// This value of the other one stands against it, `None` if it must be given.
    against: Option<&'static str>,
    without: &'static str,
}

const RECORD: &str = "without --record";
const METRICS: &str = "without --metrics-listen";

/// Options of `watch` that need another.
const NEEDS: [Need; 6] = [
    Need { option: "record-outcome", other: "record", against: None, without: RECORD },
    Need { option: "record-size", other: "record", against: None, without: RECORD },
    Need { option: "record-files", other: "record", against: None, without: RECORD },
    Need { option: "metrics-series", other: "metrics-listen", against: None, without: METRICS },
    Need { option: "metrics-services", other: "metrics-listen", against: None, without: METRICS },
    Need { option: "xdp-mode", other: "hook", against: Some("tc"), without: "with --hook tc" },
];

impl Need {
    fn is_met(&self, options: &ArgMatches, watch: &Command) -> bool {
        let mut other = values(options, arg(watch, self.other));
        match self.against {
            None => other.next().is_some(),
            Some(against) => other.all(|value| value != against),
        }
    }
}

fn arg<'a>(watch: &'a Command, long: &str) -> Option<&'a Arg> {
    watch.get_arguments().find(|arg| arg.get_long() == Some(long))
}

fn values<'a>(options: &'a ArgMatches, arg: Option<&Arg>) -> impl Iterator<Item = &'a OsStr> {
    arg.and_then(|arg| options.get_raw(arg.get_id().as_str())).into_iter().flatten()
}

fn is_default(options: &ArgMatches, arg: &Arg) -> bool {
    let defaults = arg.get_default_values().iter().map(|value| &**value);
    let bytes = |value: &OsStr| value.to_str().and_then(|text| bytes(text).ok());
    // 67108864 is 64MiB.
    let is_same =
        |(one, other)| one == other || bytes(one).is_some_and(|n| Some(n) == bytes(other));
    values(options, Some(arg)).count() == defaults.len()
        && values(options, Some(arg)).zip(defaults).all(is_same)
}

/// Which options do nothing. `own` are those of the command line and the environment, `all` with
/// the file's, `entries` what the file has.
///
/// # Errors
/// For one on the command line.
pub(super) fn lone(
    watch: &mut Command,
    own: &ArgMatches,
    all: &ArgMatches,
    file: Option<(&Path, &[Entry])>,
) -> Result<Vec<Ignored>, ConfigError> {
    let mut found = Vec::new();
    for need in NEEDS.iter().filter(|need| !need.is_met(all, watch)) {
        let Some(arg) = arg(watch, need.option) else { continue };
        let Need { option, without, .. } = need;
        let is_auto = need.against.is_some() && is_default(all, arg);
        let place = match own.value_source(arg.get_id().as_str()) {
            _ if is_auto => continue,
            Some(ValueSource::CommandLine) => {
                let message = format!("--{option} does nothing {without}");
                return Err(watch.error(ErrorKind::ArgumentConflict, message).into());
            }
            _ if is_default(all, arg) => continue,
            Some(ValueSource::EnvVariable) => {
                format!("{} in the environment", super::variable(None, option))
            }
            _ => match line(file, option) {
                Some((file, line)) => format!("{}:{line}: {option}", file.display()),
                None => continue,
            },
        };
        found.push(Ignored::Lone { place, without });
    }
    Ok(found)
}

fn line<'a>(file: Option<(&'a Path, &[Entry])>, option: &str) -> Option<(&'a Path, usize)> {
    let (file, entries) = file?;
    let entry = entries.iter().find(|entry| entry.key == option && !entry.arguments.is_empty())?;
    Some((file, entry.line))
}
