//! Runs the program under test and collects every record and word it says. Each wait has a limit, and
//! the program never outlives its [`Watcher`].
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::lab::Namespace;
use crate::process::{eventually, signal, wait};

/// How long the program may take to load, attach and say so, on a busy machine.
const START: Duration = Duration::from_secs(20);
/// How long it may take to end.
const END: Duration = Duration::from_secs(60);

/// The program under test: `HANDSHAKE_BIN`, else the newest one in the workspace's target directory.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HANDSHAKE_BIN") {
        return Ok(std::path::absolute(path)?);
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let built = ["debug", "release"].map(|profile| target.join(profile).join("handshake"));
    let modified = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let newest = built.into_iter().filter(|path| path.exists()).max_by_key(modified);
    newest.context("there is no handshake to test: run `cargo xtask build`")
}

/// What the program makes of a capture file: one record an attempt.
pub fn replay(file: &[u8], arguments: &[&str]) -> Result<Vec<Value>> {
    let mut command = Command::new(binary()?);
    command.args(["replay", "--format", "json"]).args(arguments).arg("-");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no input")?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || drop(stdin.write_all(file)));
        child.wait_with_output()
    })?;
    ensure!(output.status.success(), "replay ended with {}", output.status);
    let lines = output.stdout.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

/// `handshake watch --format json` at work.
#[derive(Debug)]
pub struct Watcher {
    child: Child,
    said: Arc<Said>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Said {
    heard: Mutex<Heard>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    records: Vec<Value>,
    garbage: Vec<String>,
    stderr: String,
    done: bool,
}

impl Said {
    fn hear(&self, hear: impl FnOnce(&mut Heard)) {
        hear(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
        self.news.notify_all();
    }

    fn read<T>(&self, read: impl FnOnce(&Heard) -> T) -> T {
        read(&self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Everything it said, and how it ended.
#[derive(Debug)]
pub struct Report {
    /// the first record
    pub start: Value,
    /// records of `type: "attempt"`
    pub attempts: Vec<Value>,
    /// records of `type: "loss"`
    pub losses: Vec<Value>,
    /// records of `type: "reload"`
    pub reloads: Vec<Value>,
    /// records of `type: "sampling"`
    pub samplings: Vec<Value>,
    /// the last record, if it is of `type: "summary"`
    pub summary: Option<Value>,
    /// lines on stdout that are not JSON
    pub garbage: Vec<String>,
    /// everything on stderr
    pub stderr: String,
    /// how it ended
    pub status: ExitStatus,
}

impl Watcher {
    /// Starts `watch --format json` with these arguments and waits for its start record.
    pub fn start(namespace: &Namespace, arguments: &[&str]) -> Result<Self> {
        let mut command = namespace.command(binary()?);
        command.args(["watch", "--format", "json"]).args(arguments);
        let watcher = Self::spawn(&mut command)?;
        let started = watcher.await_heard(START, |heard| !heard.records.is_empty());
        started.with_context(|| watcher.stderr())?;
        Ok(watcher)
    }

    /// Starts a command that should print records, without waiting for any.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the program under test")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = stdout.zip(stderr).context("the program has no output")?;
        let said = Arc::new(Said::default());
        let (data, words) = (Arc::clone(&said), Arc::clone(&said));
        let readers = vec![
            std::thread::spawn(move || read_records(stdout, &data)),
            std::thread::spawn(move || read_words(stderr, &words)),
        ];
        Ok(Self { child, said, readers })
    }

    fn await_heard(&self, patience: Duration, enough: impl Fn(&Heard) -> bool) -> Result<()> {
        let until = Instant::now() + patience;
        let mut heard = self.said.heard.lock().unwrap_or_else(PoisonError::into_inner);
        while !enough(&heard) {
            let left = until.saturating_duration_since(Instant::now());
            if heard.done || left.is_zero() {
                let why = if heard.done { "the program ended" } else { "nothing more came" };
                bail!("{why} after {} records: {}", heard.records.len(), heard.stderr);
            }
            let woken = self.said.news.wait_timeout(heard, left);
            heard = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Waits until `count` attempts have ended.
    pub fn await_attempts(&self, count: usize, patience: Duration) -> Result<()> {
        self.await_heard(patience, |heard| attempts(&heard.records).count() >= count)
            .with_context(|| format!("{count} attempts wanted"))
    }

    /// Waits until stderr contains `words`.
    pub fn await_stderr(&self, words: &str, patience: Duration) -> Result<()> {
        let all = || self.said.read(|heard| heard.stderr.contains(words));
        eventually(&format!("stderr says {words:?}"), patience, all).with_context(|| self.stderr())
    }

    /// The attempts that have ended so far.
    #[must_use]
    pub fn attempts(&self) -> Vec<Value> {
        self.said.read(|heard| attempts(&heard.records).cloned().collect())
    }

    /// What stderr said so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.said.read(|heard| heard.stderr.clone())
    }

    /// The program's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, number: i32) -> Result<()> {
        signal(&self.child, number)
    }

    /// Ends it as Ctrl-C does and returns everything it said.
    pub fn stop(self) -> Result<Report> {
        self.signal(libc::SIGINT)?;
        self.finish()
    }

    /// Waits for its end and returns everything it said.
    pub fn finish(mut self) -> Result<Report> {
        let status = wait(&mut self.child, END).with_context(|| self.stderr())?;
        for reader in self.readers.drain(..) {
            drop(reader.join());
        }
        let heard = self.said.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let of_type = |kind: &str| {
            let matching = heard.records.iter().filter(|record| record["type"] == kind);
            matching.cloned().collect::<Vec<_>>()
        };
        let last = heard.records.last().filter(|record| record["type"] == "summary");
        Ok(Report {
            start: heard.records.first().cloned().unwrap_or_default(),
            attempts: of_type("attempt"),
            losses: of_type("loss"),
            reloads: of_type("reload"),
            samplings: of_type("sampling"),
            summary: last.cloned(),
            garbage: heard.garbage.clone(),
            stderr: heard.stderr.clone(),
            status,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn attempts(records: &[Value]) -> impl Iterator<Item = &Value> {
    records.iter().filter(|record| record["type"] == "attempt")
}

fn read_records(stdout: impl Read, said: &Said) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        said.hear(|heard| match serde_json::from_str(&line) {
            Ok(record) => heard.records.push(record),
            Err(_) => heard.garbage.push(line),
        });
    }
    said.hear(|heard| heard.done = true);
}

fn read_words(stderr: impl Read, said: &Said) {
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        said.hear(|heard| {
            heard.stderr.push_str(&line);
            heard.stderr.push('\n');
        });
    }
}
