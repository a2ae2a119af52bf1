//! What is given and does nothing: refused on the command line, told from the environment and from
//! a file, and nothing said of what is not ours.

use handshake_user::config::KNOBS;

use crate::program::{Said, handshake, path_text, run, said, scratch};

/// With these variables, as far as it gets with an interface that is not there.
fn with(variables: &[(&str, &str)], arguments: &[&str]) -> Said {
    let mut command = handshake(&[&["watch", "-i", "no-such-interface"], arguments].concat());
    said(command.envs(variables.iter().copied()))
}

/// All it says but the refusal of the interface, which comes last.
fn told(said: &Said) -> Vec<&str> {
    let mut lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(lines.pop().is_some_and(|last| last.contains("no-such-interface")), "{}", said.stderr);
    lines
}

#[test]
fn a_mistyped_variable_is_told_with_the_nearest_and_stops_nothing() {
    let said = with(&[("HANDSHAKE_PROT", "80"), ("HANDSHAKE_RECORD_OUTCOMES", "all")], &[]);
    assert_eq!(
        told(&said),
        [
            "handshake: HANDSHAKE_PROT in the environment is no variable of handshake and does \
             nothing; did you mean HANDSHAKE_PORT?",
            "handshake: HANDSHAKE_RECORD_OUTCOMES in the environment is no variable of handshake \
             and does nothing; did you mean HANDSHAKE_RECORD_OUTCOME?",
        ]
    );
    let mut replay = handshake(&["replay", "--format", "json", "/no/such"]);
    let said = crate::program::said(replay.env("HANDSHAKE_REPLAY_FROMAT", "json"));
    assert!(said.stderr.contains("did you mean HANDSHAKE_REPLAY_FORMAT?\n"), "{}", said.stderr);
}

#[test]
fn a_variable_of_any_command_of_the_suites_or_of_a_cluster_is_not_told() {
    let options = crate::flags::options().into_iter();
    let names = options.filter_map(|(_, arg)| arg.get_env().map(ToOwned::to_owned));
    let mut command = handshake(&["replay", "/no/such"]);
    for name in names.filter(|name| !name.to_string_lossy().starts_with("HANDSHAKE_REPLAY_")) {
        command.env(name, "known");
    }
    command.envs(KNOBS.map(|knob| (knob, "1")));
    command.env("HANDSHAKE_SERVICE_HOST", "10.0.0.1").env("HANDSHAKE_PORT_9435_TCP_PORT", "9435");
    let said = said(&mut command);
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
}

/// A service of the name `handshake` makes Kubernetes set the variable of `--port`.
#[test]
fn the_address_of_a_service_is_no_port() {
    let said = with(&[("HANDSHAKE_PORT", "tcp://10.0.0.1:9435")], &[]);
    assert_eq!(
        told(&said),
        [
            "handshake: HANDSHAKE_PORT in the environment is the address of a service, as Kubernetes \
          sets it, and does nothing"
        ]
    );
}

#[test]
fn what_only_prints_a_text_says_nothing_of_the_environment() {
    for arguments in [&["completions", "bash"][..], &["man"], &["schema"], &["config"], &["-V"]] {
        let said = said(handshake(arguments).env("HANDSHAKE_PROT", "80"));
        assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)), "{arguments:?}");
    }
}

#[test]
fn a_name_from_the_environment_reaches_no_terminal_as_it_is() {
    let said = with(&[("HANDSHAKE_\u{1b}[31mPROT", "secret-value")], &[]);
    let lines = told(&said);
    assert!(lines.len() == 1 && lines[0].contains(r"HANDSHAKE_\u{1b}[31mPROT"), "{lines:?}");
    assert!(!said.stderr.contains("secret-value"), "{}", said.stderr);
}

#[test]
fn the_documented_knobs_are_those_that_are_known() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/testing.md");
    let text = std::fs::read_to_string(path).expect("docs/testing.md");
    let knobs = text.split("## Knobs").nth(1).expect("the table of variables").lines();
    let mut documented: Vec<_> =
        knobs.filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let mut known = KNOBS.to_vec();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn an_option_without_the_one_it_needs_is_refused_on_the_command_line() {
    for (flags, words) in [
        (&["--record-size", "1000000"][..], "--record-size does nothing without --record"),
        (&["--record-outcome=all"], "--record-outcome does nothing without --record"),
        (&["--record-files", "4"], "--record-files does nothing without --record"),
        (&["--metrics-series=500"], "--metrics-series does nothing without --metrics-listen"),
        (&["--metrics-services=5"], "--metrics-services does nothing without --metrics-listen"),
        (&["--xdp-mode=native", "--hook=tc"], "--xdp-mode does nothing with --hook tc"),
    ] {
        for command in [&["watch", "-i", "lo"][..], &["-i", "lo"]] {
            let said = run(&[command, flags].concat());
            let line = format!("error: {words}\n");
            assert!(said.stderr.starts_with(&line), "{flags:?}: {}", said.stderr);
            assert_eq!((said.stdout.as_str(), said.code), ("", Some(2)), "{flags:?}");
        }
    }
}

#[test]
fn an_option_with_the_one_it_needs_is_taken_wherever_that_comes_from() {
    let file = scratch("needed.toml", b"record = \"x\"\nmetrics-listen = \":1\"\n");
    let flags = ["--record-size=1000000", "--metrics-series=500"];
    let by_file = with(&[], &[&["--config", path_text(&file)], &flags[..]].concat());
    let by_variable =
        with(&[("HANDSHAKE_RECORD", "x"), ("HANDSHAKE_METRICS_LISTEN", ":1")], &flags);
    let by_flag = with(&[], &[&["--record=x", "--metrics-listen=:1"], &flags[..]].concat());
    let xdp = with(&[], &["--hook=tc", "--xdp-mode=auto"]);
    for said in [by_file, by_variable, by_flag, xdp] {
        assert_eq!(told(&said), [""; 0], "{}", said.stderr);
    }
}

/// They may stand for many runs, of which only some record.
#[test]
fn a_lone_variable_or_key_is_told_and_stops_nothing() {
    let file = scratch("lone.toml", b"hook = \"tc\"\nrecord-files = 9\nxdp-mode = \"native\"\n");
    let name = path_text(&file);
    let said = with(&[("HANDSHAKE_RECORD_SIZE", "5")], &["--config", name]);
    assert_eq!(
        told(&said),
        [
            "handshake: HANDSHAKE_RECORD_SIZE in the environment does nothing without --record",
            &format!("handshake: {name}:2: record-files does nothing without --record"),
            &format!("handshake: {name}:3: xdp-mode does nothing with --hook tc"),
        ]
    );
    let said = run(&["config", "--check", name]);
    let line = format!("handshake: {name}:2: record-files does nothing without --record\n");
    assert!(said.stderr.starts_with(&line), "{}", said.stderr);
    assert!(said.stderr.ends_with(": valid, 3 keys set\n"), "{}", said.stderr);
    assert_eq!(said.code, Some(0));
}

#[test]
fn a_lone_key_that_repeats_the_default_is_not_told() {
    let text = b"record-files = 4\nrecord-outcome = \"failed\"\nmetrics-series = 400\n";
    let file = scratch("lone-default.toml", text);
    let said = with(&[("HANDSHAKE_RECORD_SIZE", "67108864")], &["--config", path_text(&file)]);
    assert_eq!(told(&said), [""; 0]);
}
