//! What the user of `watch` sees on stdout, in the format chosen.

use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::Result;
use jiff::tz::TimeZone;

use super::GONE;
use super::losses::Losses;
use super::report::Report;
use super::screen::{Screen, Wake, World};
use crate::after::After;
use crate::attempt::{Attempt, Nanos};
use crate::cli::{ColumnArg, ServiceColumnArg, WatchArgs, WatchFormat};
use crate::engine::{Engine, Loss};
use crate::evidence::Segments;
use crate::exit::{Failure, USAGE};
use crate::loader::{Attachment, Loader};
use crate::output::json::{
    self, FilterRecord, InterfaceRecord, LossRecord, ReloadRecord, SCHEMA, SamplingRecord,
    StartRecord, SummaryRecord, seconds,
};
use crate::output::lines::Lines;
use crate::output::tui::{By, ServiceBy};
use crate::places::Places;
use crate::sampling::{Change, one_in};
use crate::snapshot::{AttemptView, Summary};
use crate::stderr::say;
use crate::stdout::queue::Queue;
use crate::stdout::{self, Output, Reader};
use crate::terminal::{self, Unfit};

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Tui,
    Lines,
    Json,
    /// One table at the end.
    Once,
    None,
}

impl Format {
    /// What the user asked for, on this standard output.
    pub(super) fn choose(asked: WatchFormat) -> Result<Self, Failure> {
        let is_person =
            || io::stdin().is_terminal() && terminal::fitness() != Err(Unfit::NoTerminal);
        match asked {
            WatchFormat::Tui => Self::tui(),
            WatchFormat::Auto if is_person() => Self::tui(),
            WatchFormat::Auto | WatchFormat::Lines => Ok(Self::Lines),
            WatchFormat::Json => Ok(Self::Json),
            WatchFormat::None => Ok(Self::None),
        }
    }

    fn tui() -> Result<Self, Failure> {
        match terminal::fitness() {
            Ok(()) => Ok(Self::Tui),
            Err(Unfit::Dumb(term)) => {
                let why = if term.is_empty() {
                    "TERM is not set".to_owned()
                } else {
                    format!("TERM is {term}")
                };
                say(format_args!("{why}: printing lines instead of the terminal UI"));
                Ok(Self::Lines)
            }
            Err(Unfit::NoTerminal) => Err(Failure::new(
                USAGE,
                "--format tui needs a terminal, and standard output is none; for a file or a pipe use \
                 --format lines or --format json",
            )),
        }
    }
}

/// See the module.
pub(super) struct View {
    format: Format,
    out: Output<Queue>,
    /// The same, to ask how it goes.
    queue: Queue,
    /// It has been said that nobody reads.
    is_stall_told: bool,
    losses: Losses,
    lines: Lines,
    /// The terminal, while the format is `Tui`.
    screen: Option<Screen>,
    /// While the format is `Once`.
    report: Option<Report>,
    look: Look,
}

/// How the screen shall be.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// It takes the mouse.
    pub(super) mouse: bool,
    /// Columns of the attempts.
    pub(super) columns: Vec<By>,
    /// Sorted by this one at first.
    pub(super) sort: By,
    /// Columns of the services and client networks.
    pub(super) service_columns: Vec<ServiceBy>,
    /// Sorted by this one at first.
    pub(super) service_sort: ServiceBy,
    /// Services in a table that is printed once.
    pub(super) top: usize,
}

impl Look {
    /// What the options say.
    pub(super) fn of(args: &WatchArgs) -> Self {
        let columns = args.columns.iter().map(|column| by(*column)).collect();
        Self {
            mouse: !args.no_mouse,
            columns,
            sort: by(args.sort),
            service_columns: args.service_columns.iter().map(|one| service_by(*one)).collect(),
            service_sort: service_by(args.service_sort),
            top: args.top,
        }
    }
}

fn by(column: ColumnArg) -> By {
    match column {
        ColumnArg::Time => By::Time,
        ColumnArg::Outcome => By::Outcome,
        ColumnArg::Client => By::Client,
        ColumnArg::Server => By::Server,
        ColumnArg::Latency => By::After,
        ColumnArg::Retrans => By::Retransmits,
        ColumnArg::Iface => By::Interface,
        ColumnArg::Evidence => By::Evidence,
    }
}

fn service_by(column: ServiceColumnArg) -> ServiceBy {
    match column {
        ServiceColumnArg::Name => ServiceBy::Who,
        ServiceColumnArg::Rate => ServiceBy::Rate,
        ServiceColumnArg::Completed => ServiceBy::Completion,
        ServiceColumnArg::Failed => ServiceBy::Failed,
        ServiceColumnArg::Failures => ServiceBy::Outcomes,
        ServiceColumnArg::Unserved => ServiceBy::Unserved,
        ServiceColumnArg::Since => ServiceBy::Since,
        ServiceColumnArg::HalfOpen => ServiceBy::HalfOpen,
        ServiceColumnArg::ServerP50 => ServiceBy::ServerP50,
        ServiceColumnArg::ServerP99 => ServiceBy::ServerP99,
        ServiceColumnArg::ClientP50 => ServiceBy::ClientP50,
        ServiceColumnArg::ClientP99 => ServiceBy::ClientP99,
        ServiceColumnArg::Retrans => ServiceBy::Retransmits,
        ServiceColumnArg::Cancelled => ServiceBy::Cancelled,
        ServiceColumnArg::Ended => ServiceBy::Ended,
        ServiceColumnArg::Flood => ServiceBy::Flood,
    }
}

/// What happened at the other side of stdout.
pub(super) enum News {
    /// The reader has read something.
    Read,
    /// The terminal wants something.
    Screen(Wake),
}

/// One line for people about an attachment.
pub(super) fn sentence(attachment: &Attachment) -> String {
    let Attachment { name, ingress, egress, reason, .. } = attachment;
    format!("watching {name}: received by {}, sent by {}; {reason}", ingress.how, egress.how)
}

impl View {
    pub(super) fn new(format: Format, look: Look) -> io::Result<Self> {
        let queue = Queue::stdout()?;
        Ok(Self {
            format,
            out: Output::new(queue.clone()),
            queue,
            is_stall_told: false,
            losses: Losses::default(),
            lines: Lines::new(super::color(), TimeZone::system()),
            screen: None,
            report: None,
            look,
        })
    }

    /// The first record.
    pub(super) fn start(
        &mut self,
        loader: &Loader,
        filter: FilterRecord,
        now: Nanos,
    ) -> Result<()> {
        if self.format == Format::Tui {
            self.screen = Some(Screen::open(now, super::color(), &self.look)?);
        }
        if self.format == Format::Once {
            self.report = Some(Report::new(now, self.look.top));
        }
        for attachment in loader.attachments() {
            self.attached(attachment, now);
        }
        if self.format == Format::Json {
            let record = StartRecord {
                kind: "start",
                schema: SCHEMA,
                time: seconds(now),
                version: env!("CARGO_PKG_VERSION"),
                kernel: kernel_release(),
                interfaces: loader.attachments().map(interface).collect(),
                filter,
            };
            let _ = self.out.json(&record)?;
            let _ = self.out.flush()?;
        }
        Ok(())
    }

    /// Prints in another format from now on; true if it was another. A screen stays, and does not
    /// come.
    pub(super) fn change_format(&mut self, asked: WatchFormat) -> bool {
        if self.format == Format::Once {
            return false;
        }
        let format = Format::choose(asked).unwrap_or(self.format);
        if (format == Format::Tui) != (self.format == Format::Tui) {
            say(
                "the terminal UI begins and ends with the program: only a restart can apply the format",
            );
            return false;
        }
        std::mem::replace(&mut self.format, format) != format
    }

    /// The configuration was read again.
    pub(super) fn reloaded(&mut self, record: &ReloadRecord) -> io::Result<()> {
        if self.format == Format::Json {
            let _ = self.out.json(record)?;
            let _ = self.out.flush()?;
        }
        Ok(())
    }

    /// An interface came (back) while watching.
    pub(super) fn attached(&mut self, attachment: &Attachment, now: Nanos) {
        self.lines.show_interface(&attachment.name);
        if let Some(screen) = &mut self.screen {
            screen.watch(attachment, now);
        }
    }

    /// An interface is not watched as it should be, for this reason.
    pub(super) fn degraded(&mut self, name: &str, reason: &str, now: Nanos) {
        if let Some(screen) = &mut self.screen {
            screen.degrade(name, reason, now);
        }
    }

    /// What was degraded is so no more.
    pub(super) fn found(&mut self, name: &str, now: Nanos) {
        if let Some(screen) = &mut self.screen {
            screen.find(name, now);
        }
    }

    /// An interface is down for this reason, or is up (again).
    pub(super) fn link(&mut self, name: &str, reason: Option<&str>, now: Nanos) {
        if let Some(screen) = &mut self.screen {
            screen.link(name, reason, now);
        }
    }

    /// An interface is gone; is it one of many that come and go?
    pub(super) fn gone(&mut self, name: &str, now: Nanos, passes: bool) {
        if let Some(screen) = &mut self.screen {
            screen.gone(name, GONE, now, passes);
        }
    }

    /// An interface has another name.
    pub(super) fn renamed(&mut self, from: &str, to: &str) {
        if let Some(screen) = &mut self.screen {
            screen.renamed(from, to);
        }
    }

    /// Is there a screen, which wants segments and writes files?
    pub(super) fn has_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// One ended attempt, also one that is not to be shown.
    pub(super) fn tally(&mut self, view: &AttemptView<'_>) {
        if let Some(screen) = &mut self.screen {
            screen.tally(view);
        }
        if let Some(report) = &mut self.report {
            report.tally(view);
        }
    }

    /// What came after the completion of an attempt.
    pub(super) fn followed(&mut self, attempt: &Attempt, after: After) {
        if let Some(screen) = &mut self.screen {
            screen.followed(attempt, after);
        }
        if let Some(report) = &mut self.report {
            report.followed(attempt, after);
        }
    }

    /// Once a second: how everything stands.
    pub(super) fn look(&mut self, engine: &Engine, places: &Places) {
        if let Some(report) = &mut self.report {
            report.look(engine, places);
        }
    }

    /// The end of a run that is to be told once.
    pub(super) fn report(&mut self, engine: &Engine, places: &Places) -> io::Result<Reader> {
        let Some(mut report) = self.report.take() else { return Ok(Reader::Present) };
        report.look(engine, places);
        self.out.text(report.text().as_bytes())
    }

    /// One ended attempt, and its segments if they are wanted.
    pub(super) fn attempt(
        &mut self,
        view: &AttemptView<'_>,
        segments: Option<Segments>,
    ) -> io::Result<Reader> {
        if let Some(screen) = &mut self.screen {
            screen.record(view, segments);
        }
        match self.format {
            Format::Tui => Ok(Reader::Present),
            Format::Lines => self.out.line(&self.lines.line(view)),
            Format::Json => self.out.json(&json::attempt(view)),
            Format::Once | Format::None => Ok(Reader::Present),
        }
    }

    /// Nothing is seen at an interface, at the earliest since `from`: no event can be counted.
    pub(super) fn gap(
        &mut self,
        name: &str,
        reason: &'static str,
        from: Nanos,
        now: Nanos,
    ) -> io::Result<()> {
        if let Some(screen) = &mut self.screen {
            screen.blind(name, reason, from);
        }
        self.loss_record(Loss { reason, count: 0 }, now)
    }

    fn loss(&mut self, loss: Loss, from: Nanos, now: Nanos) -> io::Result<()> {
        if let Some(screen) = &mut self.screen {
            screen.lose(loss, from, now);
        }
        self.loss_record(loss, now)
    }

    fn loss_record(&mut self, loss: Loss, now: Nanos) -> io::Result<()> {
        if self.format == Format::Json {
            let Loss { reason, count } = loss;
            let time = seconds(now);
            let record = LossRecord { kind: "loss", schema: SCHEMA, time, reason, count };
            let _ = self.out.json(&record)?;
            let _ = self.out.flush()?;
        }
        Ok(())
    }

    /// Losses since they were last told, at `from`.
    pub(super) fn losses(&mut self, losses: &[Loss], from: Nanos, now: Nanos) -> io::Result<()> {
        self.is_stall_told = false;
        for loss in losses {
            self.loss(*loss, from, now)?;
        }
        // The screen says so itself, as long as it is there.
        if self.screen.is_none() {
            for sentence in self.losses.add(losses, now) {
                say(format_args!("handshake: {sentence}"));
            }
        }
        Ok(())
    }

    /// How sampling has changed, and how many events were not made since it was last told.
    pub(super) fn sampling(&mut self, change: Change, count: u64, now: Nanos) -> io::Result<()> {
        if self.format == Format::Json && (change.is_news() || count > 0) {
            let record = SamplingRecord {
                kind: "sampling",
                schema: SCHEMA,
                time: seconds(now),
                one_in: one_in(change.shift),
                highest_one_in: one_in(change.highest),
                count,
            };
            let _ = self.out.json(&record)?;
            let _ = self.out.flush()?;
        }
        if change.is_news() {
            say(sampling_sentence(change));
        }
        Ok(())
    }

    /// Attempts that should have been recorded.
    pub(super) fn not_recorded(&mut self, count: u64, from: Nanos, now: Nanos) -> io::Result<()> {
        self.loss(Loss { reason: "not-recorded", count }, from, now)?;
        say(format_args!("handshake: {count} attempts were not recorded"));
        Ok(())
    }

    /// The last record.
    pub(super) fn summary(
        &mut self,
        summary: &Summary,
        elapsed: Duration,
        now: Nanos,
    ) -> io::Result<()> {
        // Gives the terminal back.
        self.screen = None;
        for sentence in self.losses.rest() {
            say(format_args!("handshake: {sentence}"));
        }
        if self.format == Format::Json {
            let _ = self.out.json(&summary_record(summary, elapsed, now))?;
        }
        self.flush().map(|_| ())
    }

    /// How it goes with what is printed.
    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Says once that nobody reads, until somebody does again.
    pub(super) fn say_stall(&mut self) {
        if !std::mem::replace(&mut self.is_stall_told, true) {
            say(
                "handshake: nobody reads standard output: waiting; events that find no room meanwhile \
                 are counted as lost",
            );
        }
    }

    /// Waits until the reader has read something, or the terminal wants something.
    pub(super) async fn news(&mut self) -> News {
        match &mut self.screen {
            Some(screen) => News::Screen(screen.wake().await),
            None => {
                self.queue.news().await;
                News::Read
            }
        }
    }

    /// Does what the terminal wants.
    pub(super) fn on_wake(&mut self, wake: Wake, world: &World<'_>) -> Result<Reader> {
        match &mut self.screen {
            Some(screen) => screen.on_wake(wake, world),
            None => Ok(Reader::Present),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<Reader> {
        self.out.flush()
    }

    /// Is there still somebody for whom lines or records are made?
    pub(super) fn reader(&self) -> Reader {
        match self.format {
            Format::Lines | Format::Json => stdout::reader(),
            Format::Tui | Format::Once | Format::None => Reader::Present,
        }
    }
}

/// What a person should know of a change of sampling.
fn sampling_sentence(change: Change) -> String {
    let (now, highest) = (one_in(change.shift), one_in(change.highest));
    match (change.shift, change.before) {
        (0, 0) => format!(
            "handshake: a ring filled: for a moment only 1 in {highest} new flows was followed"
        ),
        (0, _) => "handshake: all new flows are followed again".to_owned(),
        (_, 0) => format!(
            "handshake: a ring fills: only 1 in {now} new flows is followed; counters stay exact, \
             totals of attempts are estimated"
        ),
        _ => format!("handshake: now 1 in {now} new flows is followed"),
    }
}

/// The record of a summary.
pub(super) fn summary_record(
    summary: &Summary,
    elapsed: Duration,
    now: Nanos,
) -> SummaryRecord<'_> {
    let (time, duration_s) = (seconds(now), elapsed.as_secs_f64());
    SummaryRecord { kind: "summary", schema: SCHEMA, time, duration_s, summary }
}

fn interface(attachment: &Attachment) -> InterfaceRecord {
    InterfaceRecord {
        name: attachment.name.clone(),
        index: attachment.index,
        ingress: attachment.ingress.hook.name(),
        ingress_mode: attachment.ingress.how.to_string(),
        egress: attachment.egress.hook.name(),
        egress_mode: attachment.egress.how.to_string(),
        reason: attachment.reason.clone(),
    }
}

/// The kernel's version.
pub(super) fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}
