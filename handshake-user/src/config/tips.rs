//! What somebody may have meant whose command line clap refuses without a better word: the command
//! that would do it. Words are only looked at, nothing is opened.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The same error, with the command that would do it.
pub(super) fn with_tip(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let Some(first) = arguments.get(1) else { return error };
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand if error.get(ContextKind::SuggestedSubcommand).is_none() => {
            instead_of_a_verb(first)
        }
        ErrorKind::InvalidSubcommand if first == "version" => {
            error.remove(ContextKind::SuggestedSubcommand);
            Some("to print the version: `handshake --version`".to_owned())
        }
        ErrorKind::UnknownArgument => instead_of_an_argument(&error, first == "replay"),
        ErrorKind::ArgumentConflict if error.get(ContextKind::InvalidSubcommand).is_some() => {
            Some("options stand behind the command: `handshake watch --port 443`".to_owned())
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
    error
}

/// `handshake capture.pcap`, `handshake eth0`.
fn instead_of_a_verb(word: &OsStr) -> Option<String> {
    let name = word.to_str()?;
    if Path::new("/sys/class/net").join(name).is_dir() {
        Some(format!("to watch this interface: `handshake watch -i {name}`"))
    } else if Path::new(word).is_file() {
        Some(format!("to replay this file: `handshake replay {name}`"))
    } else {
        None
    }
}

/// `handshake watch eth0`, `--color never`, and flags of `watch` that a filter replaces in `replay`.
fn instead_of_an_argument(error: &clap::Error, is_replay: bool) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    if !flag.starts_with('-') {
        return instead_of_a_verb(OsStr::new(flag));
    }
    let name = flag.split(['=', ' ']).next()?;
    if ["--color", "--colour", "--no-color", "--no-colour"].contains(&name) {
        let how = "`NO_COLOR=1 handshake` turns them off";
        return Some(format!("colours are used on a terminal only; {how}"));
    }
    if !is_replay {
        return None;
    }
    let term = match name {
        "--port" => "port:443",
        "--net" => "host:10.0.0.0/8",
        _ => return None,
    };
    Some(format!("for captures that is a filter: `--filter {term}`"))
}
