//! The program under test, in a world that is the same everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use handshake_tests::watcher::binary;

/// What it said and how it ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
}

/// `handshake …`, without the settings of whoever runs the tests.
pub(crate) fn handshake(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary().unwrap_or_else(|error| panic!("{error}")));
    command.args(arguments).stdin(Stdio::null());
    command.env("TZ", "UTC").env("COLUMNS", "100").env("TERM", "xterm");
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("HANDSHAKE_")) {
        command.env_remove(name);
    }
    for setting in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "RUST_BACKTRACE", "RUST_LOG"] {
        command.env_remove(setting);
    }
    command
}

/// Runs it to its end.
pub(crate) fn run(arguments: &[&str]) -> Said {
    said(&mut handshake(arguments))
}

/// Runs it to its end with a file as standard input.
pub(crate) fn run_with_input(arguments: &[&str], file: &Path) -> Said {
    let file = fs::File::open(file).expect("a fixture");
    said(handshake(arguments).stdin(file))
}

pub(crate) fn said(command: &mut Command) -> Said {
    let Output { stdout, stderr, status } = command.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("it says UTF-8");
    Said { stdout: text(stdout), stderr: text(stderr), code: status.code() }
}

/// A capture of the fixtures.
pub(crate) fn capture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pcaps").join(name);
    assert!(path.exists(), "no fixture {name}");
    path
}

pub(crate) fn path_text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Writes a file for one test.
pub(crate) fn scratch(name: &str, bytes: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("surface");
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(&folder)).expect("a writable target directory");
    fs::write(&path, bytes).expect("a writable target directory");
    path
}

/// Header of a pcap file with microseconds.
pub(crate) fn pcap_header(link_type: u32) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(0xa1b2_c3d4_u32.to_le_bytes());
    header.extend([2, 0, 4, 0]);
    header.extend([0; 8]);
    header.extend(262_144_u32.to_le_bytes());
    header.extend(link_type.to_le_bytes());
    header
}

/// A packet record of a pcap file.
pub(crate) fn pcap_record(second: u32, frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a short frame").to_le_bytes();
    [&second.to_le_bytes(), &[0; 4], &length, &length, frame].concat()
}
