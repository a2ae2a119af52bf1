//! Readers that go away, and disks that are full.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, pipe};
use std::process::Stdio;

use crate::program::{capture, handshake, path_text, said};

/// Everything that prints to stdout.
fn printing() -> Vec<Vec<String>> {
    let path = capture("lab-flood-snap64.pcap");
    let replay =
        |format: &str| ["replay", "--format", format, path_text(&path)].map(str::to_owned).to_vec();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect();
    let mut all: Vec<_> = ["lines", "json", "summary"].map(replay).into();
    all.extend(["--help", "schema", "man", "completions bash", "completions zsh"].map(words));
    all
}

fn as_str(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

#[test]
fn a_closed_pipe_ends_quietly() {
    for arguments in printing() {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = handshake(&as_str(&arguments));
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((&*stderr, output.status.code()), ("", Some(0)), "{arguments:?}");
    }
}

/// `replay … | head -1`
#[test]
fn a_pipe_closed_after_the_first_line_ends_quietly() {
    for format in ["lines", "json"] {
        let path = capture("lab-flood-snap64.pcap");
        let mut command = handshake(&["replay", "--format", format, path_text(&path)]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::with_capacity(16, stdout).read_line(&mut line).expect("a line");
        assert!(line.contains("10.9.0."), "{line}");
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((&*stderr, output.status.code()), ("", Some(0)), "{format}");
    }
}

/// `handshake … 2>&1 | true`: words that nobody reads are no reason to panic.
#[test]
fn closed_standard_error_changes_no_result() {
    let (good, bad) = (capture("lab-basic-eth.pcap"), capture("bad-text.pcap"));
    for (arguments, code) in [
        (&["replay", path_text(&good)][..], 0),
        (&["replay", path_text(&good), path_text(&good)], 0),
        (&["replay", path_text(&bad)], 1),
        (&["watch", "-i", "no-such-name"], 3),
        (&["watch", "--no-such-flag"], 2),
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = handshake(arguments);
        let status = command.stdout(Stdio::null()).stderr(writer).status().expect("it starts");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

#[test]
fn a_failed_file_is_told_even_if_nobody_reads_the_rest() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let path = capture("lab-flood-snap64.pcap");
    let mut command = handshake(&["replay", "missing.pcap", path_text(&path)]);
    let status = command.stdout(writer).stderr(Stdio::null()).status().expect("it starts");
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_full_disk_is_a_failure() {
    let path = capture("lab-flood-snap64.pcap");
    for arguments in [&["replay", path_text(&path)][..], &["schema"]] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux has it");
        let mut command = handshake(arguments);
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().expect("it starts");
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let line = "handshake: cannot write to standard output: No space left on device";
        assert!(stderr.starts_with(line), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn without_standard_input_replay_still_reads_files() {
    let path = capture("lab-basic-eth.pcap");
    let mut command = handshake(&["replay", "--format", "json", path_text(&path)]);
    assert_eq!(said(command.stdin(Stdio::null())).code, Some(0));
}
