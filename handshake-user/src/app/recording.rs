//! `--record` in `watch`: from arguments to a recorder, and what it has to say.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::attempt::Nanos;
use crate::cli::WatchArgs;
use crate::exit::{Failure, USAGE};
use crate::interfaces::LinkKind;
use crate::loader::Attachment;
use crate::output::pcapng::{About, LinkId};
use crate::recorder::{Recorder, Settings};
use crate::stderr::say;

use super::view::{View, kernel_release};

/// A recorder, if one was asked for: its file is there from now on.
pub(super) fn create(args: &WatchArgs) -> Result<Option<Recorder>, Failure> {
    let Some(path) = &args.record else { return Ok(None) };
    let settings = Settings {
        path: dated(path, Timestamp::now()),
        wanted: args.record_outcomes.clone(),
        file_bytes: args.record_size,
        files: args.record_files,
    };
    let timeout = args.timeout.as_secs_f64();
    let about = About {
        system: format!("Linux {}", kernel_release()),
        comment: format!(
            "attempts one after the other, each as it ended; times out after {timeout} s; \
             `handshake replay` reproduces the same outcomes"
        ),
    };
    Recorder::create(settings, about).map(Some).map_err(|error| Failure::new(USAGE, error))
}

/// The path with the time of the start for `{time}`: a service that starts again needs a new file.
fn dated(path: &Path, now: Timestamp) -> PathBuf {
    match path.to_str() {
        Some(text) => text.replace("{time}", &now.strftime("%Y%m%dT%H%M%SZ").to_string()).into(),
        None => path.to_owned(),
    }
}

/// The link of an attachment, as a file declares it.
pub(super) fn link(attachment: &Attachment) -> LinkId {
    (attachment.index, attachment.link == LinkKind::Ip)
}

/// Writes what has been collected, and tells what was not recorded since the last call, at `from`.
pub(super) fn tell(
    recorder: &mut Recorder,
    view: &mut View,
    from: Nanos,
    now: Nanos,
) -> io::Result<()> {
    recorder.flush();
    if let Some(failure) = recorder.take_failure() {
        say(format_args!("handshake: {failure}; recording has ended, watching goes on"));
    }
    match recorder.missed() {
        0 => Ok(()),
        missed => view.not_recorded(missed, from, now),
    }
}

/// The last word.
pub(super) fn say_end(recorder: &Recorder) {
    let done = recorder.done();
    let files: Vec<_> = recorder.files().map(|path| path.display().to_string()).collect();
    let removed = match done.files - files.len() as u64 {
        0 => String::new(),
        1 => " (1 older file was removed)".to_owned(),
        count => format!(" ({count} older files were removed)"),
    };
    let missed = match done.missed {
        0 => String::new(),
        1 => "; 1 was not recorded".to_owned(),
        missed => format!("; {missed} were not recorded"),
    };
    let (attempts, files) = (done.attempts, files.join(", "));
    let s = if attempts == 1 { "" } else { "s" };
    say(format_args!("recorded {attempts} attempt{s} in {files}{removed}{missed}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_named_by_the_time_of_the_start() {
        let start = Timestamp::from_second(1_795_397_476).unwrap();
        let name = |path: &str| dated(path.as_ref(), start).display().to_string();
        assert_eq!(name("/a/x-{time}.pcapng"), "/a/x-20261123T013116Z.pcapng");
        assert_eq!(name("/a/{x}.pcapng"), "/a/{x}.pcapng");
    }
}
