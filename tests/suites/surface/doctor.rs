//! `doctor` as somebody without any privilege meets it, and what it says of terminals. What needs
//! root is in the suite `doctor`.

use std::process::Command;

use handshake_tests::process::without_capabilities;
use handshake_tests::pty::{self, Terminal};
use handshake_user::output::json;
use serde_json::Value;

use crate::program::{handshake, said};

/// The record of `doctor --json`, as a user without privilege, with these settings.
fn record(settings: &[(&str, &str)]) -> Value {
    let mut command = handshake(&["doctor", "--json", "-i", "lo"]);
    let said = said(without_capabilities(command.envs(settings.iter().copied())));
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(77)));
    serde_json::from_str(&said.stdout).expect("JSON")
}

#[track_caller]
fn find<'a>(record: &'a Value, group: &str, name: &str) -> &'a Value {
    let checks = record["checks"].as_array().expect("checks");
    let found = checks.iter().find(|one| one["group"] == group && one["name"] == name);
    found.unwrap_or_else(|| panic!("no {group}: {name} in {record}"))
}

#[test]
fn the_record_has_the_fields_of_its_schema() {
    let record = record(&[]);
    let schema: Value = serde_json::from_str(&json::schema()).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<_> = validator.iter_errors(&record).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let mut wrong = record.clone();
    wrong["checks"][0]["verdict"] = "fine".into();
    assert!(!validator.is_valid(&wrong));
    for field in ["type", "schema", "version", "kernel", "exit_code", "checks"] {
        let mut wrong = record.clone();
        wrong.as_object_mut().expect("an object").remove(field);
        assert!(!validator.is_valid(&wrong), "{field}");
    }
}

#[test]
fn without_privilege_nothing_is_called_ok_that_was_not_tried() {
    let record = record(&[]);
    assert_eq!(find(&record, "process", "capabilities")["verdict"], "blocked");
    for check in record["checks"].as_array().expect("checks") {
        if ["programs", "attaching"].iter().any(|group| check["group"] == *group) {
            assert_ne!(check["verdict"], "ok", "{check}");
        }
    }
    assert_eq!(find(&record, "interface", "hook")["verdict"], "unknown");
    assert_eq!(find(&record, "memory", "maps")["verdict"], "unknown");
    // This needs nothing.
    assert_eq!(find(&record, "interface", "link")["interface"], "lo");
}

#[test]
fn an_unknown_interface_is_answered_as_watch_answers() {
    let mut answers = Vec::new();
    for command in ["doctor", "watch"] {
        let said = said(without_capabilities(&mut handshake(&[command, "-i", "loo"])));
        assert_eq!((said.stdout.as_str(), said.code), ("", Some(3)), "{}", said.stderr);
        answers.push(said.stderr);
    }
    assert!(answers[0].contains(r#"did you mean "lo""#), "{}", answers[0]);
    assert_eq!(answers[0], answers[1]);
}

/// What a shell on a terminal of `size` shows of `doctor`, after `setup`.
fn shown(setup: &str) -> String {
    let program = handshake(&["doctor", "-i", "lo"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{setup}\nexec \"$@\""), "sh"]);
    shell.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    without_capabilities(&mut shell);
    pty::run(shell, Terminal::Both).expect("a terminal").1
}

/// Line of a check, and what follows it.
#[track_caller]
fn line<'a>(shown: &'a str, name: &str) -> (&'a str, &'a str) {
    let mut lines = shown.lines();
    let is_it = |line: &&str| line.split_whitespace().nth(1) == Some(name);
    let found = lines.find(is_it).unwrap_or_else(|| panic!("no {name} in {shown}"));
    (found, lines.next().unwrap_or_default())
}

/// Runs the remedy that `setup` leads to, and looks again.
#[track_caller]
fn assert_is_cured(setup: &str, name: &str, verdict: &str) {
    let before = shown(setup);
    let (found, remedy) = line(&before, name);
    assert!(found.starts_with(&format!("  {verdict}")), "{found}");
    let remedy = remedy.trim().strip_prefix("$ ").unwrap_or_else(|| panic!("{before}"));
    let after = shown(&format!("{setup}\n{remedy}"));
    assert!(line(&after, name).0.contains("ok"), "{after}");
}

#[test]
fn a_terminal_is_measured_and_a_tiny_one_named() {
    let fine = shown("export NO_COLOR=1");
    assert!(line(&fine, "screen").0.ends_with("100 columns, 40 rows"), "{fine}");
    let tiny = shown("export NO_COLOR=1; stty cols 30 rows 5 < /dev/stdout");
    let (found, remedy) = line(&tiny, "screen");
    assert!(found.starts_with("  degraded") && found.contains("30 columns, 5 rows"), "{found}");
    assert!(remedy.contains("40 × 12"), "{remedy}");
    let piped = find(&record(&[]), "terminal", "screen").clone();
    assert_eq!(piped["verdict"], "degraded", "{piped}");
}

#[test]
fn a_dumb_terminal_and_a_locale_without_utf_8_are_cured_by_the_remedy() {
    // Without colours, so that lines start with their words.
    let plain = "export NO_COLOR=1 LC_ALL=C.UTF-8";
    assert_is_cured(&format!("{plain}; export TERM=dumb"), "colours", "degraded");
    assert_is_cured(&format!("{plain}; unset TERM"), "colours", "degraded");
    assert_is_cured(&format!("{plain}; export LC_ALL=C"), "locale", "degraded");
    let unset = "unset LC_ALL LC_CTYPE LANG";
    assert_is_cured(&format!("{plain}; {unset}"), "locale", "degraded");
}

#[test]
fn verdicts_have_colours_on_a_terminal_that_wants_them() {
    let coloured = shown("true");
    for (colour, word) in [("32", "ok"), ("31", "blocked"), ("33", "unknown")] {
        assert!(coloured.contains(&format!("\x1b[{colour}m{word}")), "{coloured:?}");
    }
    for setup in ["export NO_COLOR=1", "export TERM=dumb"] {
        assert!(!shown(setup).contains('\x1b'), "{setup}");
    }
    let asked = shown("export NO_COLOR=1");
    assert!(line(&asked, "colours").0.contains("none, as NO_COLOR asks"), "{asked}");
}

#[test]
fn a_remedy_is_shown_once_for_neighbours_that_share_it() {
    let text = said(without_capabilities(&mut handshake(&["doctor", "-i", "lo"]))).stdout;
    let asks =
        text.lines().filter(|line| line.contains("$ sudo ") && line.ends_with(" doctor -i lo"));
    assert_eq!(asks.count(), 1, "{text}");
}
