//! `--help` teaches; what it says is golden.

use handshake_tests::golden::assert_golden;

use crate::program::run;

/// The flags of the contract, which may not go; more may come.
const FLAGS: [(&str, &[&str]); 3] = [
    (
        "watch",
        &[
            "--interface",
            "--hook",
            "--xdp-mode",
            "--format",
            "--timeout",
            "--duration",
            "--count",
            "--port",
            "--net",
            "--metrics-listen",
            "--max-attempts",
            "--filter",
            "--config",
            "--record",
            "--record-outcome",
            "--record-size",
            "--record-files",
        ],
    ),
    ("replay", &["--format", "--timeout", "--linger", "--filter"]),
    ("doctor", &["--interface"]),
];

fn help(arguments: &[&str]) -> String {
    let said = run(arguments);
    assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)), "{arguments:?}");
    said.stdout
}

#[test]
fn help_is_golden() {
    for (name, arguments) in [
        ("help/handshake.txt", &["--help"][..]),
        ("help/handshake-short.txt", &["-h"]),
        ("help/watch.txt", &["watch", "--help"]),
        ("help/replay.txt", &["replay", "--help"]),
        ("help/doctor.txt", &["doctor", "--help"]),
        ("help/completions.txt", &["completions", "--help"]),
        ("help/config.txt", &["config", "--help"]),
    ] {
        assert_golden(name, &help(arguments));
    }
}

#[test]
fn version_is_that_of_the_package() {
    assert_eq!(help(&["--version"]), format!("handshake {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_flag_of_the_contract_is_in_help() {
    for (command, flags) in FLAGS {
        let text = help(&[command, "--help"]);
        for flag in flags {
            assert!(text.contains(&format!("{flag} <")), "{command} {flag}");
        }
    }
}

#[test]
fn help_has_examples_units_and_defaults() {
    for command in ["watch", "replay"] {
        let text = help(&[command, "--help"]);
        for word in ["Examples:\n  handshake ", "10s, 500ms, 2m", "[default: 10s]"] {
            assert!(text.contains(word), "{command}: {word}");
        }
    }
    let text = help(&["--help"]);
    assert!(text.contains("77 privilege missing"), "{text}");
}

#[test]
fn help_is_the_same_by_flag_and_by_command() {
    assert_eq!(help(&["help", "watch"]), help(&["watch", "--help"]));
}

#[test]
fn no_command_takes_the_options_of_watch() {
    let options = |text: &str| {
        let start = text.find("Options:").expect("options");
        let end = text.find("  -h, --help").expect("help is the last");
        text[start..end].to_owned()
    };
    assert_eq!(options(&help(&["--help"])), options(&help(&["watch", "--help"])));
}
