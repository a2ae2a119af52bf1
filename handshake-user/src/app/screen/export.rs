//! Files that the person before the screen asks for: JSON lines, the records of `--format json`. Never
//! over a file that exists; written by a thread of their own, because disks are slow.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use ahash::AHashMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::mpsc::UnboundedSender;

use super::World;
use crate::attempt::{Attempt, Nanos};
use crate::board::{Board, Row};
use crate::output::json;
use crate::stdout::Output;

/// Names tried before giving up.
const TRIES: u32 = 100;

/// Attempts as they are written: what is open ends here, as it would with the program.
pub(super) fn ended(rows: Vec<Arc<Row>>, board: &Board, world: &World<'_>) -> Vec<Arc<Row>> {
    let open = rows.iter().filter(|row| row.is_open).map(|row| row.attempt.id).collect();
    let now: AHashMap<u64, Attempt> =
        world.engine.unfinished(&open).map(|attempt| (attempt.id, attempt)).collect();
    let ended = |row: Arc<Row>| {
        if !row.is_open {
            return row;
        }
        // It may have ended since it was listed.
        let attempt = now.get(&row.attempt.id).cloned();
        let failed = || board.row(row.attempt.id).filter(|row| !row.is_open);
        attempt.map(|attempt| row.with(attempt)).or_else(failed).unwrap_or_else(|| row.unfinished())
    };
    rows.into_iter().map(ended).collect()
}

/// Writes attempts, one a line; says what became of it.
pub(super) fn attempts(rows: Vec<Arc<Row>>, now: Nanos, say: &UnboundedSender<String>) {
    spawn(now, say, move |out| {
        for row in &rows {
            let _ = out.json(&json::attempt(&row.view()))?;
        }
        let open = rows.iter().filter(|row| row.is_open).count();
        Ok(match open {
            0 if rows.len() == 1 => "1 attempt".to_owned(),
            0 => format!("{} attempts", rows.len()),
            open => format!("{} attempts, {open} of them unfinished,", rows.len()),
        })
    });
}

/// Writes the summary.
pub(super) fn summary(record: String, now: Nanos, say: &UnboundedSender<String>) {
    spawn(now, say, move |out| {
        let _ = out.line(&record)?;
        Ok("the summary".to_owned())
    });
}

fn spawn(
    now: Nanos,
    say: &UnboundedSender<String>,
    write: impl FnOnce(&mut Output<File>) -> io::Result<String> + Send + 'static,
) {
    let answer = say.clone();
    let work = move || {
        let said = match write_file(now, write) {
            Ok((what, path)) => format!("wrote {what} to {}", path.display()),
            Err(error) => {
                let at = std::env::current_dir().unwrap_or_default();
                format!("cannot write a file in {}: {error}", at.display())
            }
        };
        // Nobody hears it if the screen is gone.
        let _ = answer.send(said);
    };
    if let Err(error) = std::thread::Builder::new().name("export".to_owned()).spawn(work) {
        let _ = say.send(format!("cannot write: {error}"));
    }
}

fn write_file(
    now: Nanos,
    write: impl FnOnce(&mut Output<File>) -> io::Result<String>,
) -> io::Result<(String, PathBuf)> {
    let (file, path) = create(now)?;
    let mut out = Output::new(file);
    let what = write(&mut out)?;
    let _ = out.flush()?;
    Ok((what, std::path::absolute(path)?))
}

/// A new file, named after the time.
fn create(now: Nanos) -> io::Result<(File, PathBuf)> {
    let time = Timestamp::from_nanosecond(i128::from(now)).map_err(io::Error::other)?;
    let time = time.to_zoned(TimeZone::system()).strftime("%Y%m%d-%H%M%S").to_string();
    let mut tries = (1..=TRIES).map(|number| match number {
        1 => format!("handshake-{time}.jsonl"),
        number => format!("handshake-{time}-{number}.jsonl"),
    });
    loop {
        let Some(name) = tries.next() else { return Err(io::ErrorKind::AlreadyExists.into()) };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return opened.map(|file| (file, PathBuf::from(name))),
        }
    }
}
