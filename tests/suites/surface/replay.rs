//! What `handshake replay` prints of our own captures.

use handshake_tests::golden::assert_golden;

use crate::program::{capture, path_text, run, run_with_input};

/// Between them they show every outcome but two.
const CAPTURES: [&str; 9] = [
    "lab-abort-overflow-frag.pcap",
    "lab-basic-eth.pcap",
    "lab-blackhole-raw.pcap",
    "lab-halfopen-eth-ns.pcap",
    "lab-icmp-eth.pcapng",
    "lab-midstream-eth.pcap",
    "lab-refused-null.pcap",
    "lab-rst-after-eth-be.pcap",
    "lab-simopen-eth-ns.pcap",
];

#[test]
fn lines_and_summaries_are_golden() {
    for name in CAPTURES {
        let path = capture(name);
        let lines = run(&["replay", path_text(&path)]);
        let summary = run(&["replay", "--format", "summary", path_text(&path)]);
        assert_golden(&format!("replay/{name}.lines"), &lines.stdout);
        assert_golden(&format!("replay/{name}.summary"), &summary.stdout);
        assert_eq!(lines.stderr, summary.stdout, "{name}: the summary follows the lines");
        assert_eq!((summary.stderr.as_str(), lines.code, summary.code), ("", Some(0), Some(0)));
    }
}

#[test]
fn json_is_golden_and_alone() {
    for name in ["lab-basic-eth.pcap", "lab-icmp-eth.pcapng", "lab-simopen-eth-ns.pcap"] {
        let said = run(&["replay", "--format", "json", path_text(&capture(name))]);
        assert_golden(&format!("replay/{name}.jsonl"), &said.stdout);
        assert_eq!((said.stderr.as_str(), said.code), ("", Some(0)));
    }
}

#[test]
fn the_captures_show_every_outcome_but_two() {
    let all = CAPTURES.map(|name| run(&["replay", path_text(&capture(name))]).stdout).concat();
    for outcome in handshake_user::outcome::Outcome::ALL {
        let is_shown = all.contains(&format!(" {:<17} ", outcome.name()))
            || all.contains(&format!(" {:<17}\n", outcome.name()));
        // No real client aborted while we captured, and eviction is live only.
        let is_expected = !matches!(outcome.name(), "aborted" | "evicted");
        assert_eq!(is_shown, is_expected, "{}", outcome.name());
    }
}

#[test]
fn every_run_prints_the_same_bytes() {
    for format in ["lines", "json", "summary"] {
        let path = capture("lab-flood-snap64.pcap");
        let once = || run(&["replay", "--format", format, path_text(&path)]);
        assert_eq!(once(), once(), "{format}");
    }
}

#[test]
fn standard_input_is_as_good_as_the_file() {
    for name in ["lab-scan-eth.pcap", "lab-ack-loss-sll2.pcapng"] {
        for format in ["lines", "json", "summary"] {
            let path = capture(name);
            let file = run(&["replay", "--format", format, path_text(&path)]);
            let input = run_with_input(&["replay", "--format", format, "-"], &path);
            assert_eq!(file, input, "{name} {format}");
        }
    }
}

#[test]
fn several_files_are_several_runs_each_named() {
    let paths = [capture("lab-basic-eth.pcap"), capture("lab-refused-null.pcap")];
    let [first, second] = [path_text(&paths[0]), path_text(&paths[1])];
    for format in ["lines", "json"] {
        let alone = [first, second].map(|path| run(&["replay", "--format", format, path]));
        let both = run(&["replay", "--format", format, first, second]);
        assert_eq!(both.stdout, format!("{}{}", alone[0].stdout, alone[1].stdout));
        let [a, b] = [&alone[0].stderr, &alone[1].stderr];
        assert_eq!(both.stderr, format!("==> {first}\n{a}==> {second}\n{b}"));
        assert_eq!(both.code, Some(0));
    }
    // Where the summaries are the data, the names are with them.
    let alone = [first, second].map(|path| run(&["replay", "--format", "summary", path]).stdout);
    let both = run(&["replay", "--format", "summary", first, second]);
    let expected = format!("==> {first}\n{}==> {second}\n{}", alone[0], alone[1]);
    assert_eq!((both.stdout, both.stderr.as_str()), (expected, ""));
}

#[test]
fn the_time_zone_moves_lines_and_nothing_else() {
    let path = capture("lab-basic-eth.pcap");
    let in_zone = |zone: &str, format: &str| {
        let arguments = ["replay", "--format", format, path_text(&path)];
        crate::program::said(crate::program::handshake(&arguments).env("TZ", zone)).stdout
    };
    assert!(in_zone("UTC0", "lines").starts_with("22:46:47.585 "));
    assert!(in_zone("XYZ-2", "lines").starts_with("00:46:47.585 "));
    assert_eq!(in_zone("UTC0", "json"), in_zone("XYZ-2", "json"));
}

#[test]
fn a_shorter_timeout_ends_attempts_earlier() {
    let path = capture("lab-blackhole-raw.pcap");
    let ends = |timeout: &str| {
        let said = run(&["replay", "--format", "summary", "--timeout", timeout, path_text(&path)]);
        let count = said.stdout.split_whitespace().nth(1).and_then(|count| count.parse().ok());
        count.unwrap_or(0_u32)
    };
    assert!(ends("100ms") > ends("10s"), "{} attempts, {}", ends("100ms"), ends("10s"));
}
