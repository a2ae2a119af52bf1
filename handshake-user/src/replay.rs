//! `handshake replay`: capture files through the live engine, without privilege or BPF.
//!
//! Each file is a run of its own. Events go to the tracker in batches, which end where the input
//! must be waited for. Attempts are printed in order of their first packet, so an ended one waits
//! for those that began before it (`replay/order.rs`).

mod order;
mod progress;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;

use handshake_common::abi::Counter;
use jiff::tz::TimeZone;

use crate::after::Aftermath;
use crate::attempt::{Nanos, Observation, nanos};
use crate::capture::{CaptureReader, End, Record, Settled, Status};
use crate::census::Census;
use crate::cli::{ReplayArgs, ReplayFormat};
use crate::metrics::Metrics;
use crate::output::escape::Escaped;
use crate::output::{json, lines::Lines, summary};
use crate::pattern::Patterns;
use crate::query::Query;
use crate::selection::Selection;
use crate::snapshot::{AttemptView, EventCounts, Summary};
use crate::source::replay::{Group, Replay};
use crate::stderr::{say, say_lines};
use crate::stdout::{Output, Reader};
use crate::tracker::{Config, Tracker};
use order::Order;

/// Most attempts open at once, and most remembered: what ended within the linger time of 60 s at
/// 70,000 a second.
const MAX_ATTEMPTS: usize = 1 << 22;

/// Events that go to the tracker together.
const BATCH: usize = 128;

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

/// Replays every file and prints to `out`; words go to stderr. False if one of them was damaged or
/// could not be read.
///
/// # Errors
/// If the output cannot be written.
pub fn run<W: Write>(args: &ReplayArgs, out: &mut Output<W>, color: bool) -> io::Result<bool> {
    let mut all_fine = true;
    for path in &args.files {
        let name = name(path);
        if args.files.len() > 1 && heading(&name, args.format, out)? == Reader::Gone {
            break;
        }
        let input = match open(path, &name, args.format) {
            Ok(input) => input,
            Err(error) => {
                say(format_args!("handshake: {name}: unreadable: cannot be opened: {error}"));
                all_fine = false;
                continue;
            }
        };
        let report = replay(input, args, out, color)?;
        if report.reader == Reader::Gone || show(&report, args.format, out)? == Reader::Gone {
            break;
        }
        all_fine &= report.end.status() == Status::Ok;
        say_damage(&name, report.end);
    }
    Ok(all_fine)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn name(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn open(path: &Path, name: &str, format: ReplayFormat) -> io::Result<Box<dyn Read>> {
    if is_stdin(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path)?;
    // Lines on the same terminal would run into the progress.
    let is_clear = format == ReplayFormat::Summary || !io::stdout().is_terminal();
    Ok(if is_clear { progress::shown(file, name) } else { Box::new(file) })
}

/// Names the file, where its lines or its summary follow.
fn heading<W: Write>(name: &str, format: ReplayFormat, out: &mut Output<W>) -> io::Result<Reader> {
    if format != ReplayFormat::Summary {
        say(format_args!("==> {name}"));
        return Ok(Reader::Present);
    }
    let _ = out.line(&format!("==> {}", Escaped(name)))?;
    out.flush()
}

/// The summary, unless nothing was readable: zeros would look like a quiet network.
fn show<W: Write>(
    report: &Report,
    format: ReplayFormat,
    out: &mut Output<W>,
) -> io::Result<Reader> {
    let text = summary::Text(&report.summary);
    match format {
        _ if nothing_was_read(&report.end) => Ok(Reader::Present),
        ReplayFormat::Json => Ok(Reader::Present),
        ReplayFormat::Summary => out.text(text.to_string().as_bytes()),
        ReplayFormat::Lines => {
            say_lines(text);
            Ok(Reader::Present)
        }
    }
}

fn nothing_was_read(end: &End) -> bool {
    end.records == 0 && end.damage.is_some()
}

fn say_damage(name: &str, end: End) {
    if let Some(damage) = end.damage {
        let (status, offset) = (end.status().name(), end.offset);
        say(format_args!("handshake: {name}: {status}: {damage} (byte offset {offset})"));
    }
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
    let mut group = Group::default();
    while group.fill(&mut capture) {
        run.read(&group);
        if run.batch.len() < BATCH && !capture.is_drained() {
            continue;
        }
        run.track();
        if run.print(out)? == Reader::Gone {
            break;
        }
    }
    run.track();
    run.settle(capture.settled());
    run.tracker.finish();
    run.after.finish();
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
    patterns: Patterns,
    after: Aftermath,
    events: EventCounts,
    forgotten: u64,
    /// Time of the last record.
    now: Nanos,
    /// Events that the tracker has not seen yet, none before the one before it.
    batch: Vec<Observation>,
    selection: Selection,
    /// Which of the ended attempts are printed.
    shown: Query,
    hidden: u64,
    format: ReplayFormat,
    lines: Lines,
    ended: Order,
}

impl Run {
    fn new(args: &ReplayArgs, color: bool) -> Self {
        let config = Config {
            timeout: nanos(args.timeout),
            linger: nanos(args.linger),
            max_attempts: MAX_ATTEMPTS,
        };
        let (selection, shown) = Selection::new(&[], &[], &args.filters);
        let mut tracker = Tracker::new(config);
        tracker.keep_census(Census::default());
        let mut source = Replay::default();
        if !args.after.is_zero() {
            source.watch();
        }
        Self {
            source,
            tracker,
            metrics: Metrics::new(),
            patterns: Patterns::default(),
            after: Aftermath::new(nanos(args.after)),
            events: EventCounts::default(),
            forgotten: 0,
            now: Nanos::MIN,
            batch: Vec::with_capacity(BATCH),
            selection,
            shown,
            hidden: 0,
            format: args.format,
            lines: Lines::new(color, TimeZone::system()),
            ended: Order::default(),
        }
    }

    /// Looks at some records; their events wait for others.
    fn read(&mut self, group: &Group) {
        group.warm(&self.source);
        for record in group.records() {
            self.look(&record);
        }
    }

    fn look(&mut self, record: &Record<'_>) {
        if record.time_ns < self.now || record.settled.is_some() {
            // The clock goes back, or a mark ends what is open: what was read belongs before that.
            self.track();
            self.settle(record.settled);
        }
        self.now = record.time_ns;
        let observation = self.source.feed(record);
        self.note_forgotten();
        let Some(observation) = observation else { return };
        self.events.delivered += 1;
        if self.selection.selects(&observation.event) {
            self.batch.push(observation);
        } else {
            self.events.filtered += 1;
        }
    }

    /// The recorder's marks end what is open.
    fn settle(&mut self, settled: Option<Settled>) {
        match settled {
            Some(Settled::Silent(until)) => self.tracker.settle_all(Some(until)),
            Some(Settled::Unknown) => self.tracker.settle_all(None),
            None => {}
        }
    }

    /// Lets the tracker see what was read.
    fn track(&mut self) {
        let (source, after) = (&self.source, &mut self.after);
        self.tracker.observe_batch(&self.batch, |seen, judged| {
            after.note(seen, &judged, source);
        });
        self.batch.clear();
        self.tracker.expire(self.now);
        self.after.expire(self.now, &self.source);
        self.look_for_patterns();
    }

    fn look_for_patterns(&mut self) {
        let Some(census) = self.tracker.census_mut() else { return };
        self.patterns.look(self.now, census, |_| {});
    }

    /// Attempts that the filter had to forget may lose evidence, here as in the kernel.
    fn note_forgotten(&mut self) {
        let forgotten = Counter::FORGETTING.iter().map(|one| self.source.counter(*one)).sum();
        if forgotten > self.forgotten {
            self.forgotten = forgotten;
            self.track();
            self.tracker.note_loss(self.now);
        }
    }

    fn print<W: Write>(&mut self, out: &mut Output<W>) -> io::Result<Reader> {
        let mut reader = Reader::Present;
        let mut ended: Vec<_> = self.tracker.drain().collect();
        self.patterns.judge(&mut ended);
        ended.iter().for_each(|attempt| self.metrics.record(attempt));
        for attempt in self.after.hold(ended) {
            if self.format == ReplayFormat::Summary {
                // Nobody sees their order.
                let view = AttemptView { attempt: &attempt, place: None, to_wall: 0 };
                self.hidden += u64::from(!self.shown.matches_view(&view));
            } else {
                self.ended.put(attempt);
            }
        }
        while reader == Reader::Present
            && let Some(attempt) = self.ended.next()
        {
            let view = AttemptView { attempt: &attempt, place: None, to_wall: 0 };
            if !self.shown.matches_view(&view) {
                self.hidden += 1;
                continue;
            }
            reader = match self.format {
                ReplayFormat::Lines => out.line(&self.lines.line(&view))?,
                ReplayFormat::Json => out.json(&json::attempt(&view))?,
                ReplayFormat::Summary => Reader::Present,
            };
        }
        Ok(reader)
    }

    fn summary(&self) -> Summary {
        let counters = [*self.source.counters()];
        let mut summary = self.metrics.summary(&self.tracker, &counters, self.events);
        summary.hidden = self.hidden;
        summary.patterns = self.patterns.counts();
        summary.after = self.after.counts();
        let undecoded = self.source.undecoded();
        summary.packets.insert("linktype".to_owned(), undecoded);
        summary.packets_seen += undecoded;
        summary
    }
}
