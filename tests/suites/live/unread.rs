//! A reader of stdout that does not read: nothing hangs, and nothing is lost without a word.
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use handshake_tests::bpf::attachments;
use handshake_tests::judge::sum;
use handshake_tests::lab::Lab;
use handshake_tests::process::{signal, wait};
use handshake_tests::traffic;
use handshake_tests::watcher::binary;
use serde_json::Value;

/// Records of so many attempts fill a pipe and the queue before it several times.
const FLOOD: u32 = 6_000;
/// Until they have timed out and are on their way to the reader.
const TIMED_OUT: Duration = Duration::from_millis(1500);
/// From a signal to the end.
const PROMPT: Duration = Duration::from_secs(2);

/// `watch --format json` whose stdout is read when we like.
struct Unread {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Unread {
    fn start(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let mut command = lab.server.command(binary()?);
        command.args(["watch", "-i", "srv0", "--format", "json", "--timeout", "500ms"]);
        command.args(arguments).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("no stdout")?;
        // The start record, so that it is attached.
        let mut unread = Self { child, stdout: BufReader::new(stdout) };
        ensure!(unread.line()?.contains("\"start\""), "it began otherwise");
        Ok(unread)
    }

    /// The next line; an error if none comes for half a minute.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.buffer().is_empty() {
            let fd = self.stdout.get_ref().as_raw_fd();
            let mut waited = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            // SAFETY: one descriptor, open for as long as `self`.
            let ready = unsafe { libc::poll(&raw mut waited, 1, 30_000) };
            ensure!(ready == 1, "no line came");
        }
        self.stdout.read_line(&mut line)?;
        Ok(line)
    }

    /// Waits for its end after a signal; how it ended, stderr, and the lines still in the pipe.
    fn end(mut self, number: i32) -> Result<(Option<i32>, String, Vec<String>)> {
        signal(&self.child, number)?;
        let start = Instant::now();
        let status = wait(&mut self.child, 2 * PROMPT)?;
        ensure!(start.elapsed() < PROMPT, "it took {:?} to end", start.elapsed());
        let (mut words, mut text) = (String::new(), String::new());
        self.child.stderr.take().context("no stderr")?.read_to_string(&mut words)?;
        self.stdout.read_to_string(&mut text)?;
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        Ok((status.code(), words, lines.map(str::to_owned).collect()))
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Lines that stderr says could not be written.
fn unwritten(words: &str) -> Option<usize> {
    let line = words.lines().find(|line| line.contains("could not be written"))?;
    line.strip_prefix("handshake: ")?.split(' ').next()?.parse().ok()
}

/// Attempts that ended, if the books balance.
fn ended(words: &str) -> Option<usize> {
    let (started, rest) = words.split_once("attempts: ")?.1.split_once(" started = ")?;
    let (ended, _) = rest.split_once(" ended + 0 open\n")?;
    (started == ended).then(|| ended.parse().ok()).flatten()
}

#[test]
fn a_signal_ends_it_and_what_nobody_read_is_counted() -> Result<()> {
    let lab = Lab::direct()?;
    for number in [libc::SIGTERM, libc::SIGINT] {
        let unread = Unread::start(&lab, &[])?;
        traffic::flood(&lab, FLOOD)?;
        std::thread::sleep(TIMED_OUT);
        let (code, words, lines) = unread.end(number)?;
        assert_eq!(code, Some(1), "{words}");
        let ended = ended(&words).with_context(|| words.clone())?;
        // While nobody reads, the rings fill and flows are sampled.
        assert!(ended > FLOOD as usize / 8, "{words}");
        assert!(words.contains("nobody reads standard output: waiting"), "{words}");
        let unwritten = unwritten(&words).with_context(|| words.clone())?;
        // Beside the attempts: the summary, a loss if there was any, changes of the sampling.
        let all = lines.len() + unwritten;
        println!("{} lines in the pipe, {unwritten} not written", lines.len());
        assert!((ended + 1..ended + 8).contains(&all), "{all}: {words}");
        assert!(lines.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
        assert!(attachments(&lab.server, "srv0")?.is_empty());
    }
    Ok(())
}

#[test]
fn what_fits_into_the_pipe_is_no_failure() -> Result<()> {
    let lab = Lab::direct()?;
    let unread = Unread::start(&lab, &[])?;
    traffic::flood(&lab, 10)?;
    std::thread::sleep(TIMED_OUT);
    let (code, words, lines) = unread.end(libc::SIGTERM)?;
    assert_eq!((code, lines.len()), (Some(0), 11), "{words}");
    Ok(())
}

/// A pager, for example: its user has time. Ctrl-C does not.
#[test]
fn a_run_that_ends_by_itself_waits_for_its_reader_until_a_signal() -> Result<()> {
    let lab = Lab::direct()?;
    let mut unread = Unread::start(&lab, &["--duration", "1s"])?;
    traffic::flood(&lab, FLOOD)?;
    std::thread::sleep(2 * TIMED_OUT);
    assert!(unread.child.try_wait()?.is_none(), "it did not wait");
    assert!(attachments(&lab.server, "srv0")?.is_empty(), "it waits, but no longer watches");
    let (code, words, _) = unread.end(libc::SIGINT)?;
    assert_eq!(code, Some(1), "{words}");
    Ok(())
}

#[test]
fn a_reader_that_comes_back_gets_everything_and_the_books_balance() -> Result<()> {
    let lab = Lab::direct()?;
    let mut unread = Unread::start(&lab, &[])?;
    for _ in 0..3 {
        traffic::flood(&lab, FLOOD)?;
        std::thread::sleep(TIMED_OUT);
    }
    let mut records: Vec<Value> = Vec::new();
    let mut is_stopped = false;
    while records.last().is_none_or(|last| last["type"] != "summary") {
        records.push(serde_json::from_str(&unread.line()?)?);
        // The queue has emptied when it is told what the rings had no room for.
        let is_told = |last: &Value| last["type"] == "loss" || last["type"] == "sampling";
        if !is_stopped && records.last().is_some_and(is_told) {
            signal(&unread.child, libc::SIGTERM)?;
            is_stopped = true;
        }
    }
    assert_eq!(wait(&mut unread.child, PROMPT)?.code(), Some(0));
    let summary = records.pop().context("a summary")?;
    let attempts: Vec<_> = records.iter().filter(|one| one["type"] == "attempt").collect();
    let number = |value: &Value| value.as_u64().context("a number");
    assert_eq!(attempts.len() as u64, sum(&summary["outcomes"]), "{summary}");
    assert_eq!(number(&summary["started"])?, sum(&summary["outcomes"]), "{summary}");
    assert_eq!(summary["packets"]["syn"], 3 * FLOOD, "{summary}");
    let events = &summary["events"];
    let (offered, lost) = (number(&events["offered"])?, number(&events["lost"])?);
    let sampled_out = number(&events["sampled_out"])?;
    assert_eq!(offered, number(&events["delivered"])? + lost + sampled_out, "{summary}");
    assert!(lost + sampled_out > 0, "it went on reading for a reader that did not: {summary}");
    let losses = records.iter().filter(|one| one["type"] == "loss");
    let told: u64 = losses.filter_map(|loss| loss["count"].as_u64()).sum();
    assert_eq!(told, lost, "{summary}");
    println!("{} attempts, {lost} events lost, {sampled_out} sampled out", attempts.len());
    Ok(())
}
