//! Captures that are none, or damaged, or missing: what was readable is printed, then one line says
//! what is wrong and where, and the exit code is 1.

use std::path::Path;

use crate::program::{
    Said, capture, handshake, path_text, pcap_header, pcap_record, run, run_with_input, said,
    scratch,
};

/// The file is answered with one line on stderr, after `attempts` lines on stdout, in every format.
#[track_caller]
fn assert_refused(path: &Path, attempts: usize, status: &str, words: &str) {
    let name = path_text(path);
    let line = format!("handshake: {name}: {status}: {words}\n");
    let json = run(&["replay", "--format", "json", name]);
    assert_eq!((json.stderr.as_str(), json.code), (line.as_str(), Some(1)));
    assert_eq!(json.stdout.lines().count(), attempts, "{name}");
    let lines = run(&["replay", name]);
    assert_eq!((lines.stdout.lines().count(), lines.code), (attempts, Some(1)), "{name}");
    let summary = run(&["replay", "--format", "summary", name]);
    assert_eq!((summary.stderr.as_str(), summary.code), (line.as_str(), Some(1)));
    assert_eq!(lines.stderr, format!("{}{line}", summary.stdout), "the summary, then the line");
}

#[test]
fn a_file_that_ends_inside_a_record_is_read_as_far_as_it_goes() {
    let path = capture("lab-refused-cut.pcap");
    let words = "the file ends inside a record (byte offset 1898)";
    assert_refused(&path, 12, "truncated", words);
    let summary = run(&["replay", "--format", "summary", path_text(&path)]).stdout;
    assert!(summary.starts_with("attempts: 12 started = 12 ended + 0 open\n"), "{summary}");
}

#[test]
fn a_length_beyond_all_limits_is_malformed() {
    let words = "a captured length of 4294967295 bytes is above the limit of 262144 \
                 (byte offset 24)";
    assert_refused(&capture("bad-hugelen.pcap"), 0, "malformed", words);
}

#[test]
fn damage_in_the_middle_ends_the_reading_there() {
    let mut bytes = std::fs::read(capture("lab-basic-eth.pcap")).expect("a fixture");
    // The captured length of the first record that begins beyond byte 4000.
    let mut at = 24;
    while at < 4000 {
        let length = bytes[at + 8..at + 12].try_into().expect("four bytes");
        at += 16 + u32::from_le_bytes(length) as usize;
    }
    bytes[at + 8..at + 12].copy_from_slice(&[0xff; 4]);
    let path = scratch("damaged.pcap", &bytes);
    let words = format!(
        "a captured length of 4294967295 bytes is above the limit of 262144 (byte offset {at})"
    );
    let attempts = run(&["replay", path_text(&path)]).stdout.lines().count();
    assert!((1..12).contains(&attempts), "{attempts}");
    assert_refused(&path, attempts, "malformed", &words);
}

#[test]
fn what_is_no_capture_is_said_to_be_none() {
    for (name, words) in
        [("bad-text.pcap", "neither pcap nor pcapng"), ("bad-empty.pcap", "the file is empty")]
    {
        let words = format!("{words} (byte offset 0)");
        assert_refused(&capture(name), 0, "not-a-capture", &words);
    }
    let words = "compressed with gzip; decompress it first (byte offset 0)";
    let gzip = scratch("capture.pcap.gz", &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    assert_refused(&gzip, 0, "not-a-capture", words);
    let half = scratch("half-header.pcap", &pcap_header(1)[..20]);
    assert_refused(&half, 0, "not-a-capture", "the file ends inside its header (byte offset 0)");
}

#[test]
fn a_capture_of_another_link_type_is_said_and_its_packets_are_counted() {
    let bytes = [pcap_header(147), pcap_record(1, &[0; 60]), pcap_record(2, &[0; 60])].concat();
    let path = scratch("link-type.pcap", &bytes);
    let words = "every packet has a link type that is not decoded (the first: 147) \
                 (byte offset 24)";
    assert_refused(&path, 0, "unsupported-linktype", words);
    let summary = run(&["replay", "--format", "summary", path_text(&path)]).stdout;
    assert!(summary.contains("packets: 2 = 2 linktype\n"), "{summary}");
}

#[test]
fn a_capture_without_packets_is_fine() {
    let said = run(&["replay", "--format", "json", path_text(&capture("bad-headeronly.pcap"))]);
    let nothing = Said { stdout: String::new(), stderr: String::new(), code: Some(0) };
    assert_eq!(said, nothing);
}

#[test]
fn a_missing_file_and_a_folder_are_unreadable() {
    let missing = Path::new("no/such/capture.pcap");
    let words = "cannot be opened: No such file or directory (os error 2)";
    assert_refused(missing, 0, "unreadable", words);
    let folder = capture("bad-text.pcap").parent().expect("a folder").to_owned();
    assert_refused(&folder, 0, "unreadable", "reading failed: is a directory (byte offset 0)");
}

#[test]
fn standard_input_has_a_name_of_its_own() {
    let said = run_with_input(&["replay", "-"], &capture("bad-text.pcap"));
    let line =
        "handshake: standard input: not-a-capture: neither pcap nor pcapng (byte offset 0)\n";
    assert_eq!((said.stderr.as_str(), said.code), (line, Some(1)));
}

#[test]
fn one_bad_file_does_not_hide_the_others() {
    let (good, bad) = (capture("lab-basic-eth.pcap"), capture("bad-text.pcap"));
    let (good, bad) = (path_text(&good), path_text(&bad));
    let alone = run(&["replay", "--format", "json", good]);
    let all = run(&["replay", "--format", "json", "missing.pcap", bad, good]);
    assert_eq!((&all.stdout, all.code), (&alone.stdout, Some(1)));
    let stderr: Vec<_> = all.stderr.lines().collect();
    assert_eq!(stderr.len(), 5, "three names and two refusals: {stderr:?}");
}

#[test]
fn a_file_name_reaches_no_terminal_as_it_is() {
    let path = scratch("\u{1b}[31m\u{9b}\u{202e}\n.pcap", b"no capture");
    let said = said(handshake(&["replay"]).arg(&path));
    assert!(said.stderr.contains(r"\u{1b}[31m\u{9b}\u{202e}\u{a}.pcap: not-a-"), "{}", said.stderr);
    assert_eq!(said.stderr.lines().count(), 1, "{}", said.stderr);
}
