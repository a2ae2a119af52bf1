//! `--record`: the handshake packets of the attempts asked for, as pcapng files.
//!
//! An attempt is written whole when it has ended, or not at all. What is written is collected and
//! goes to the file each second or by 64 KiB, so that a process that is killed leaves a file that
//! can be read. A file that is full is followed by the next one, numbered; the oldest of this run
//! goes. Nothing that was there before is overwritten or removed. If writing fails, that is said
//! once, recording ends, watching goes on, and what is not recorded is counted.
//! What the packets look like is `output::pcapng`'s business.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::attempt::Attempt;
use crate::evidence::Segments;
use crate::outcome::Outcome;
use crate::output::pcapng::{About, LinkId, Section};
use crate::places::Places;
use crate::snapshot::AttemptView;

/// What is collected before it goes to the file.
const BUFFER: usize = 64 * 1024;
/// Only for the owner: packets are nobody else's business.
const MODE: u32 = 0o600;
/// Numbers that are tried for the next file, if others have taken some.
const TRIES: u64 = 1000;

/// Which attempts to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those that the network, the server or the client failed.
    Failed,
    /// Every one.
    All,
    /// Those that ended while events had been lost.
    Uncertain,
    /// Those with this outcome.
    Outcome(Outcome),
}

impl Wanted {
    /// Every choice.
    pub fn all() -> impl Iterator<Item = Self> {
        let outcomes = Outcome::ALL.into_iter().map(Self::Outcome);
        [Self::Failed, Self::All, Self::Uncertain].into_iter().chain(outcomes)
    }

    /// The choice of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::all().find(|wanted| wanted.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::All => "all",
            Self::Uncertain => "uncertain",
            Self::Outcome(outcome) => outcome.name(),
        }
    }

    /// What it chooses, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Failed => "What the network, the server or the client failed",
            Self::All => "Every attempt",
            Self::Uncertain => "Events were lost while it was open",
            Self::Outcome(outcome) => match outcome {
                Outcome::Completed => "SYN, SYN-ACK and third ACK seen",
                Outcome::CompletedPartial => "Evidently completed, not all three seen",
                Outcome::SimultaneousOpen => "Both ends sent a SYN, both were acknowledged",
                Outcome::Refused => "RST answers the SYN",
                Outcome::ResetByServer => "RST from the server after its SYN-ACK",
                Outcome::ResetByClient => "RST from the client after the SYN-ACK",
                Outcome::Aborted => "RST from the client before any answer",
                Outcome::IcmpUnreachable => "An ICMP error quotes its SYN or SYN-ACK",
                Outcome::NoAnswer => "Nothing answers the SYN",
                Outcome::HalfOpen => "SYN-ACK, never acknowledged",
                Outcome::Unfinished => "Watching ended first, or evidence was lost",
                Outcome::Evicted => "The table of attempts was full",
            },
        }
    }

    fn matches(self, attempt: &Attempt) -> bool {
        match self {
            Self::Failed => attempt.outcome.is_failure(),
            Self::All => true,
            Self::Uncertain => attempt.uncertain.is_some(),
            Self::Outcome(outcome) => attempt.outcome == outcome,
        }
    }
}

/// What to record, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The first file; later ones have a number before their suffix.
    pub path: PathBuf,
    /// Any of these.
    pub wanted: Vec<Wanted>,
    /// Bytes after which a new file is begun. An attempt that is larger has a file of its own.
    pub file_bytes: u64,
    /// Files that are kept.
    pub files: usize,
}

/// Why nothing is recorded.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It is somebody's.
    #[error(
        "{0} exists and is not overwritten; record to another file, or move it away: `mv {0} {0}.old`"
    )]
    Exists(String),
    /// It is where files are.
    #[error("{0} is a directory; name a file in it: `--record {0}/fails.pcapng`")]
    Directory(String),
    /// It cannot be created.
    #[error("cannot create {path}: {source}{}", directory(.path, .source))]
    Create {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// The command that helps where a directory is missing.
fn directory(path: &str, error: &io::Error) -> String {
    match Path::new(path).parent() {
        Some(parent) if error.kind() == io::ErrorKind::NotFound => {
            format!("; make its directory first: `mkdir -p {}`", parent.display())
        }
        _ => String::new(),
    }
}

/// A file of this run, so that nobody else's is removed in its place.
#[derive(Debug)]
struct Made {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Made {
    fn create(path: &Path) -> io::Result<(Self, File)> {
        let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
        let data = file.metadata()?;
        Ok((Self { path: path.to_owned(), device: data.dev(), inode: data.ino() }, file))
    }

    /// Removes it, if it is still there.
    fn remove(&self) {
        let same = |data: fs::Metadata| (data.dev(), data.ino()) == (self.device, self.inode);
        if fs::symlink_metadata(&self.path).is_ok_and(same) {
            // If that fails, it stays: nothing else depends on it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The file that is being written.
struct Current {
    file: File,
    section: Section,
    /// Bytes in the file, all of them whole blocks.
    written: u64,
    attempts: u64,
    /// Attempts of these that are not in the file yet.
    waiting: u64,
}

/// What the recorder has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// Attempts written.
    pub attempts: u64,
    /// Attempts that should have been, but were not: writing had failed, or their segments had had
    /// to give way.
    pub missed: u64,
    /// Files begun.
    pub files: u64,
}

/// See the module.
pub struct Recorder {
    settings: Settings,
    about: About,
    /// Declared at the beginning of each file; others with their first packet.
    links: Vec<LinkId>,
    /// None once writing has failed.
    current: Option<Current>,
    made: VecDeque<Made>,
    number: u64,
    done: Recorded,
    told: u64,
    failure: Option<String>,
    is_begun: bool,
}

impl Recorder {
    /// Creates the first file. If [`Recorder::begin`] is never called, it is removed again.
    ///
    /// # Errors
    /// If it exists or cannot be created.
    pub fn create(settings: Settings, about: About) -> Result<Self, RecordError> {
        let shown = settings.path.display().to_string();
        let (made, file) = Made::create(&settings.path).map_err(|source| match source.kind() {
            _ if settings.path.is_dir() => RecordError::Directory(shown.clone()),
            io::ErrorKind::AlreadyExists => RecordError::Exists(shown.clone()),
            _ => RecordError::Create { path: shown.clone(), source },
        })?;
        let section = Section::new(&about)
            .map_err(|source| RecordError::Create { path: shown.clone(), source })?;
        Ok(Self {
            settings,
            about,
            links: Vec::new(),
            current: Some(Current { file, section, written: 0, attempts: 0, waiting: 0 }),
            made: VecDeque::from([made]),
            number: 1,
            done: Recorded { files: 1, ..Recorded::default() },
            told: 0,
            failure: None,
            is_begun: false,
        })
    }

    /// Watching has begun, on these links.
    pub fn begin(&mut self, links: impl IntoIterator<Item = LinkId>, places: &Places) {
        self.links = links.into_iter().collect();
        self.is_begun = true;
        let declared = self.current.as_mut().map(|current| current.declare(&self.links, places));
        if let Some(Err(error)) = declared {
            self.fail(&error);
        }
        self.flush();
    }

    /// Takes an attempt that has ended; writes it if it is wanted.
    pub fn attempt(
        &mut self,
        view: &AttemptView<'_>,
        segments: Option<&Segments>,
        places: &Places,
    ) {
        if !self.settings.wanted.iter().any(|wanted| wanted.matches(view.attempt)) {
            return;
        }
        if !segments.is_some_and(|segments| self.write(view, segments, places)) {
            self.done.missed += 1;
        }
    }

    /// False if it is not among the attempts done.
    fn write(&mut self, view: &AttemptView<'_>, segments: &Segments, places: &Places) -> bool {
        let Some(current) = &mut self.current else { return false };
        let before = current.section.bytes().len();
        let name = |index| places.interface(index);
        if let Err(error) = current.section.attempt(view, segments, name) {
            self.fail(&error);
            return false;
        }
        let buffered = current.section.bytes().len();
        if current.written + buffered as u64 > self.settings.file_bytes && current.attempts > 0 {
            // Attempts are not divided: this one begins the next file.
            current.section.bytes().truncate(before);
            return self.next_file(places) && self.write(view, segments, places);
        }
        current.attempts += 1;
        current.waiting += 1;
        self.done.attempts += 1;
        if buffered >= BUFFER {
            self.flush();
        }
        true
    }

    /// Hands over what was collected.
    pub fn flush(&mut self) {
        let Some(current) = &mut self.current else { return };
        if let Err(error) = current.flush() {
            self.fail(&error);
        }
    }

    fn next_file(&mut self, places: &Places) -> bool {
        self.flush();
        if self.current.is_none() {
            return false;
        }
        match self.open_next(places) {
            Ok(current) => {
                self.current = Some(current);
                true
            }
            Err(error) => {
                self.fail(&error);
                false
            }
        }
    }

    fn open_next(&mut self, places: &Places) -> io::Result<Current> {
        let (made, file) = self.create_next()?;
        self.made.push_back(made);
        self.done.files += 1;
        while self.made.len() > self.settings.files
            && let Some(oldest) = self.made.pop_front()
        {
            oldest.remove();
        }
        let section = Section::new(&self.about)?;
        let mut current = Current { file, section, written: 0, attempts: 0, waiting: 0 };
        current.declare(&self.links, places)?;
        Ok(current)
    }

    /// The next number that is free.
    fn create_next(&mut self) -> io::Result<(Made, File)> {
        for _ in 0..TRIES {
            self.number += 1;
            match Made::create(&numbered(&self.settings.path, self.number)) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return other,
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Recording ends.
    fn fail(&mut self, error: &io::Error) {
        let Some(current) = self.current.take() else { return };
        self.done.attempts -= current.waiting;
        self.done.missed += current.waiting;
        // What is left of a block would make the file look damaged.
        let _ = current.file.set_len(current.written);
        // In the file that could not take them.
        let path = self.made.back().map_or(&self.settings.path, |made| &made.path);
        self.failure = Some(format!("cannot write to {}: {error}", path.display()));
    }

    /// Why recording ended, once.
    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// Attempts missed since the last call.
    pub fn missed(&mut self) -> u64 {
        let missed = self.done.missed - self.told;
        self.told = self.done.missed;
        missed
    }

    /// What was done so far.
    #[must_use]
    pub fn done(&self) -> Recorded {
        self.done
    }

    /// The files of this run that are kept, the oldest first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.made.iter().map(|made| made.path.as_path())
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.is_begun {
            self.flush();
        } else {
            self.made.iter().for_each(Made::remove);
        }
    }
}

impl Current {
    fn declare(&mut self, links: &[LinkId], places: &Places) -> io::Result<()> {
        for link in links {
            self.section.declare(*link, places.interface(link.0))?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = self.section.bytes();
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        self.waiting = 0;
        bytes.clear();
        Ok(())
    }
}

/// `fails.pcapng` → `fails_00002.pcapng`, as dumpcap numbers its files.
fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("_{number:05}"));
    if let Some(suffix) = path.extension() {
        name.push(".");
        name.push(suffix);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests;
