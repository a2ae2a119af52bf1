//! `handshake replay`: capture files through the live engine, without privilege or BPF.
//!
//! Each file is a run of its own. Attempts are printed in order of their first packet, so an ended
//! one waits for those that began before it; what waits is bounded by the time-out, not by the
//! length of the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use jiff::tz::TimeZone;

use crate::attempt::{Attempt, Nanos};
use crate::capture::{CaptureReader, End, Status};
use crate::cli::{DEFAULT_MAX_ATTEMPTS, ReplayArgs, ReplayFormat};
use crate::metrics::Metrics;
use crate::output::{json, lines::Lines, summary};
use crate::snapshot::{AttemptView, EventCounts, Summary};
use crate::source::replay::Replay;
use crate::stdout::{Output, Reader};
use crate::tracker::{Config, Tracker};

/// What became of one file.
#[derive(Debug)]
pub struct Report {
    /// How the input ended.
    pub end: End,
    /// All counters.
    pub summary: Summary,
    /// The reader of our output has gone.
    pub reader: Reader,
}

/// Replays every file and prints to `out`; words go to stderr.
///
/// # Errors
/// If the output cannot be written.
pub fn run<W: Write>(args: &ReplayArgs, out: &mut Output<W>, color: bool) -> io::Result<bool> {
    let mut all_fine = true;
    for path in &args.files {
        let name = if path == Path::new("-") {
            "standard input".into()
        } else {
            path.display().to_string()
        };
        if args.files.len() > 1 {
            eprintln!("==> {name}");
        }
        let input: Box<dyn Read> = if path == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            match File::open(path) {
                Ok(file) => Box::new(file),
                Err(error) => {
                    eprintln!("handshake: {name}: cannot be opened: {error}");
                    all_fine = false;
                    continue;
                }
            }
        };
        let report = replay(input, args, out, color)?;
        if report.reader == Reader::Gone {
            return Ok(true);
        }
        if !matches!(args.format, ReplayFormat::Json) {
            show(&report.summary, args.format, out)?;
        }
        if let Some(damage) = report.end.damage {
            let status = report.end.status();
            let offset = report.end.offset;
            eprintln!("handshake: {name}: {}: {damage} (byte offset {offset})", status.name());
            all_fine &= status == Status::Ok;
        }
    }
    Ok(all_fine)
}

fn show<W: Write>(summary: &Summary, format: ReplayFormat, out: &mut Output<W>) -> io::Result<()> {
    let text = summary::Text(summary).to_string();
    let text = text.trim_end();
    if format == ReplayFormat::Summary {
        let _ = out.line(text)?;
        let _ = out.flush()?;
    } else {
        eprintln!("{text}");
    }
    Ok(())
}

/// Replays one capture.
///
/// # Errors
/// If the output cannot be written.
pub fn replay<R: Read, W: Write>(
    input: R,
    args: &ReplayArgs,
    out: &mut Output<W>,
    color: bool,
) -> io::Result<Report> {
    let mut capture = CaptureReader::new(input);
    let mut run = Run::new(args, color);
    while let Some(record) = capture.next_record() {
        run.tracker.expire(record.time_ns);
        if let Some(observation) = run.source.feed(&record) {
            run.delivered += 1;
            run.tracker.observe(&observation);
        }
        if run.print(out)? == Reader::Gone {
            break;
        }
    }
    run.tracker.finish();
    let mut reader = run.print(out)?;
    if out.flush()? == Reader::Gone {
        reader = Reader::Gone;
    }
    Ok(Report { end: capture.end(), summary: run.summary(), reader })
}

/// One file under way.
struct Run {
    source: Replay,
    tracker: Tracker,
    metrics: Metrics,
    delivered: u64,
    format: ReplayFormat,
    lines: Lines,
    /// Ended attempts that wait for an earlier one.
    waiting: BTreeMap<u64, Attempt>,
    next_id: u64,
}

impl Run {
    fn new(args: &ReplayArgs, color: bool) -> Self {
        let config = Config {
            timeout: nanos(args.timeout),
            linger: nanos(args.linger),
            max_attempts: 64 * DEFAULT_MAX_ATTEMPTS,
        };
        Self {
            source: Replay::default(),
            tracker: Tracker::new(config),
            metrics: Metrics::new(),
            delivered: 0,
            format: args.format,
            lines: Lines::new(color, TimeZone::system()),
            waiting: BTreeMap::new(),
            next_id: 1,
        }
    }

    fn print<W: Write>(&mut self, out: &mut Output<W>) -> io::Result<Reader> {
        for attempt in self.tracker.drain() {
            self.metrics.record(&attempt);
            self.waiting.insert(attempt.id, attempt);
        }
        while let Some(attempt) = self.waiting.remove(&self.next_id) {
            self.next_id += 1;
            let view = AttemptView { attempt: &attempt, place: None, to_wall: 0 };
            let reader = match self.format {
                ReplayFormat::Lines => out.line(&self.lines.line(&view))?,
                ReplayFormat::Json => out.json(&json::attempt(&view))?,
                ReplayFormat::Summary => Reader::Present,
            };
            if reader == Reader::Gone {
                return Ok(reader);
            }
        }
        Ok(Reader::Present)
    }

    fn summary(&self) -> Summary {
        let events = EventCounts { delivered: self.delivered, ..EventCounts::default() };
        let mut summary = self.metrics.summary(&self.tracker, &[*self.source.counters()], events);
        let undecoded = self.source.undecoded();
        summary.packets.insert("linktype".to_owned(), undecoded);
        summary.packets_seen += undecoded;
        summary
    }
}

fn nanos(duration: std::time::Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
