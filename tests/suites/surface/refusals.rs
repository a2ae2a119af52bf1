//! What cannot be done is refused with the reason and the next step, and with the right exit code.

use handshake_tests::process::without_capabilities;

use crate::program::{Said, handshake, run, said};

#[track_caller]
fn assert_usage(arguments: &[&str], words: &[&str]) {
    let said = run(arguments);
    assert_eq!((said.stdout.as_str(), said.code), ("", Some(2)), "{arguments:?}");
    for word in words {
        assert!(said.stderr.contains(word), "{arguments:?}: {word} in\n{}", said.stderr);
    }
}

#[test]
fn an_unknown_flag_value_or_command_is_answered_with_the_nearest() {
    assert_usage(&["watch", "--fromat", "json"], &["'--fromat'", "'--format'"]);
    assert_usage(&["--intrface", "lo"], &["'--intrface'", "'--interface'"]);
    assert_usage(&["replay", "--linegr", "1s", "x"], &["'--linegr'", "'--linger'"]);
    assert_usage(&["wacth"], &["'wacth'", "'watch'"]);
    assert_usage(&["replay", "--format", "jsn", "x"], &["'jsn'", "'json'"]);
    assert_usage(&["watch", "--xdp-mode", "genric"], &["'genric'", "'generic'"]);
    assert_usage(&["completions", "bsh"], &["'bsh'", "'bash'"]);
}

#[test]
fn a_wrong_value_is_answered_with_what_is_right() {
    for (arguments, words) in [
        (["watch", "--timeout", "5"], "a duration with its unit, such as 10s, 500ms or 2m"),
        (["watch", "--timeout", "0s"], "longer than zero"),
        (["watch", "--duration", "-5s"], "longer than zero"),
        (["watch", "--port", "0"], "from 1 to 65535"),
        (["watch", "--port", "https"], "from 1 to 65535"),
        (["watch", "--count", "0"], "expected a number from 1 up"),
        (["watch", "--count", "x"], "expected a number from 1 up"),
        (["watch", "--ring-bytes", "1MB"], "such as 65536, 64KiB, 16MiB or 1GiB"),
        (["watch", "--ring-bytes", "1GiB"], "at most 256MiB"),
        (["watch", "--record-size", "64MB"], "such as 65536, 64KiB, 16MiB or 1GiB"),
        (["watch", "--record-files", "0"], "a number from 1 to 100000"),
        (["watch", "--table-entries", "x"], "a number from 4 to 4194304"),
        (["watch", "--net", "10.0.0.0/33"], "a network such as 10.0.0.0/8 or fd00::/8"),
        (["watch", "--max-attempts", "0"], "a number from 1 to"),
        (["watch", "--metrics-listen", "9435"], "such as 127.0.0.1:9435, [::1]:9435 or :9435"),
        (["watch", "--metrics-listen", "::1:9435"], "such as 127.0.0.1:9435, [::1]:9435 or :9435"),
        (["watch", "--metrics-listen", ":70000"], "such as 127.0.0.1:9435, [::1]:9435 or :9435"),
        (["watch", "--metrics-series", "399"], "a number from 400 to 2000"),
        (["watch", "--metrics-series", "2001"], "a number from 400 to 2000"),
        (["watch", "--metrics-services", "201"], "a number from 0 to 200"),
        (["replay", "--linger", "x"], "a duration with its unit"),
    ] {
        let argument = format!("{}={}", arguments[1], arguments[2]);
        assert_usage(&[arguments[0], &argument, "x"][..2], &[words]);
    }
    assert_usage(&["replay"], &["<FILE>"]);
    assert_usage(&["replay", "--format"], &["--format", "json"]);
}

#[test]
fn where_no_name_is_near_the_command_that_would_do_it_is_said() {
    let capture = crate::program::capture("lab-basic-eth.pcap");
    let capture = crate::program::path_text(&capture);
    assert_usage(&[capture], &[&format!("tip: to replay this file: `handshake replay {capture}`")]);
    assert_usage(&["lo"], &["tip: to watch this interface: `handshake watch -i lo`"]);
    assert_usage(&["watch", "lo"], &["tip: to watch this interface: `handshake watch -i lo`"]);
    assert_usage(&["version"], &["tip: to print the version: `handshake --version`"]);
    assert_usage(&["--color", "never"], &["tip: colours are used on a terminal only; `NO_COLOR=1"]);
    assert_usage(&["watch", "--color=never"], &["`NO_COLOR=1 handshake` turns them off"]);
    assert_usage(&["replay", "--port", "443", "x"], &["tip: ", "`--filter port:443`"]);
    assert_usage(&["replay", "--net=::/0", "x"], &["tip: ", "`--filter host:10.0.0.0/8`"]);
    let behind = "tip: options stand behind the command: `handshake watch --port 443`";
    assert_usage(&["--port", "80", "watch"], &[behind]);
    for arguments in [&["no-such-word"][..], &["replay", "--bogus", "x"], &["wacth"]] {
        let said = run(arguments);
        assert!(!said.stderr.contains("`handshake "), "{arguments:?}: {}", said.stderr);
    }
}

#[test]
fn a_directory_is_no_file_to_record_to() {
    let said = run(&["watch", "-i", "lo", "--record", "/tmp"]);
    let line = "handshake: /tmp is a directory; name a file in it: `--record /tmp/fails.pcapng`\n";
    assert_eq!((said.stderr.as_str(), said.code), (line, Some(2)));
}

/// As a user without any privilege, whoever runs the tests.
fn unprivileged(arguments: &[&str]) -> Said {
    said(without_capabilities(&mut handshake(arguments)))
}

#[test]
fn without_privilege_the_capabilities_and_the_command_are_named() {
    for arguments in [&["watch", "-i", "lo", "--duration", "1s"][..], &["-i", "lo"]] {
        let said = unprivileged(arguments);
        assert_eq!((said.stdout.as_str(), said.code), ("", Some(77)), "{}", said.stderr);
        for words in [
            "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON are missing",
            "`sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep /",
            "run it with `sudo /",
        ] {
            assert!(said.stderr.contains(words), "{words} in\n{}", said.stderr);
        }
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    }
}

#[test]
fn replay_needs_no_privilege() {
    let path = crate::program::capture("lab-basic-eth.pcap");
    let arguments = ["replay", "--format", "json", crate::program::path_text(&path)];
    assert_eq!(unprivileged(&arguments), run(&arguments));
}

/// The name is looked at before the privilege: reading the interfaces needs none, and whoever
/// mistyped one shall not have to find that out after the trouble of becoming root.
#[test]
fn an_unknown_interface_is_answered_with_the_nearest_names_also_without_privilege() {
    for (pattern, words) in [
        ("loo", r#"no interface is named "loo"; did you mean "lo""#),
        ("l0", r#"no interface is named "l0"; there is "lo""#),
        ("zzzz", r#"no interface is named "zzzz"; "#),
    ] {
        let said = unprivileged(&["watch", "-i", pattern, "--duration", "1s"]);
        assert_eq!((said.stdout.as_str(), said.code), ("", Some(3)), "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
        assert!(said.stderr.ends_with("; `ip link` lists all\n"), "{}", said.stderr);
        assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
    }
}

#[test]
fn one_unknown_interface_among_known_ones_is_refused() {
    let said = unprivileged(&["watch", "-i", "lo", "-i", "loo", "--duration", "1s"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
}

#[test]
fn an_interface_name_reaches_no_terminal_as_it_is() {
    let said = unprivileged(&["watch", "-i", "\u{1b}[2J\u{202e}", "--duration", "1s"]);
    assert!(said.stderr.contains(r#""\u{1b}[2J\u{202e}""#), "{:?}", said.stderr);
    assert_eq!(said.code, Some(3));
}

/// Before anything is attached, whoever asks.
#[test]
fn an_address_that_cannot_be_listened_on_is_refused_with_the_next_step() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = taken.local_addr().expect("an address").port();
    let in_use = format!("`ss -ltnp 'sport = :{port}'`");
    for (address, words) in [
        (format!("127.0.0.1:{port}"), in_use.as_str()),
        (format!(":{port}"), &in_use),
        ("192.0.2.1:9435".to_owned(), "`ip address`"),
    ] {
        let said = run(&["watch", "-i", "lo", "--metrics-listen", &address, "--duration", "1s"]);
        assert_eq!((said.stdout.as_str(), said.code), ("", Some(1)), "{}", said.stderr);
        for words in ["cannot serve metrics at ", words] {
            assert!(said.stderr.contains(words), "{words} in\n{}", said.stderr);
        }
    }
}
