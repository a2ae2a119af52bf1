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
        ("help/watch-short.txt", &["watch", "-h"]),
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

/// Lines of a help that begin with an option.
fn options(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lines.map(|line| line.split("  ").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn help_without_a_command_is_short_and_shows_options_of_watch_only() {
    let (short, watch) = (help(&["--help"]), help(&["watch", "-h"]));
    assert_eq!(short, help(&["-h"]));
    assert!(short.lines().count() <= 60, "{}", short.lines().count());
    let known = options(&watch);
    let own = options(&short);
    assert!(own.len() > 8, "{own:?}");
    for option in own.iter().filter(|option| !option.contains("--version")) {
        assert!(known.contains(option), "{option}");
    }
}

#[test]
fn short_help_of_watch_has_one_line_an_option() {
    let text = help(&["watch", "-h"]);
    assert!(text.lines().count() <= 66, "{}", text.lines().count());
    let wrapped: Vec<_> = text.lines().filter(|line| line.starts_with("         ")).collect();
    assert!(wrapped.is_empty(), "{wrapped:?}");
}

#[test]
fn every_option_of_watch_but_general_ones_has_a_heading() {
    let text = help(&["watch", "-h"]);
    let general = text.split("Options:\n").nth(1).and_then(|rest| rest.split("\n\n").next());
    let general = options(general.expect("options without a heading"));
    assert_eq!(general, ["--config <FILE>", "-h, --help"], "the others stand under a heading");
}
