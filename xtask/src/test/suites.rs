//! Which suites there are, and which of them need root: read from `tests/Cargo.toml`.
//!
//! A privileged suite is a `[[test]]` with `required-features = ["privileged"]`, so that a plain
//! `cargo test` does not even build it.
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace::root;

/// One `[[test]]` of the tests package.
#[derive(Debug, PartialEq)]
pub(super) struct Suite {
    name: String,
    privileged: bool,
}

/// Every suite of the tests package.
pub(super) fn read() -> Result<Vec<Suite>> {
    let file = root().join("tests/Cargo.toml");
    let manifest = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", file.display()))?;
    Ok(parse(&manifest))
}

/// The names of the suites that need root.
pub(super) fn privileged(suites: &[Suite]) -> Vec<&str> {
    suites.iter().filter(|suite| suite.privileged).map(|suite| suite.name.as_str()).collect()
}

/// Name and file of a test program from one of cargo's JSON messages, if it is about one.
pub(super) fn built(message: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let is_test = target.get("kind")?.as_array()?.iter().any(|kind| kind == "test");
    let file = message.get("executable")?.as_str()?;
    is_test.then_some((target.get("name")?.as_str()?.to_owned(), file.into()))
}

fn parse(manifest: &str) -> Vec<Suite> {
    let sections = manifest.split("\n[").filter_map(|section| section.strip_prefix("[test]]\n"));
    sections.filter_map(suite).collect()
}

fn suite(section: &str) -> Option<Suite> {
    let value = |key: &str| {
        section.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then_some(value.trim())
        })
    };
    Some(Suite {
        name: value("name")?.trim_matches('"').to_owned(),
        privileged: value("required-features").is_some_and(|list| list.contains("\"privileged\"")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_privileged_by_its_required_feature() {
        let manifest = "[package]\nname = \"handshake-tests\"\n\n[features]\nprivileged = []\n\n\
                        [[test]]\nname = \"replay\"\npath = \"suites/replay.rs\"\n\n\
                        [[test]]\nname = \"live\"\nrequired-features = [\"privileged\"]\n\n\
                        [lints]\nworkspace = true\n";
        let suites = parse(manifest);
        assert_eq!(suites.len(), 2);
        assert_eq!(privileged(&suites), ["live"]);
    }

    #[test]
    fn cargo_says_where_a_suite_is() {
        let message = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"attach"},
            "executable":"/t/attach-1"}"#;
        assert_eq!(built(message), Some(("attach".to_owned(), "/t/attach-1".into())));
        let library = message.replace("\"test\"", "\"lib\"").replace("\"/t/attach-1\"", "null");
        assert_eq!((built(&library), built("Finished")), (None, None));
    }

    #[test]
    fn no_suites_is_not_an_error() {
        assert_eq!(parse("[package]\nname = \"handshake-tests\"\n"), []);
    }
}
