//! What the user of `watch` sees on stdout, in the format chosen.

use std::io;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::attempt::Nanos;
use crate::engine::Loss;
use crate::loader::{Attachment, Loader};
use crate::output::json::{
    self, FilterRecord, InterfaceRecord, LossRecord, ReloadRecord, SCHEMA, SamplingRecord,
    StartRecord, SummaryRecord, seconds,
};
use crate::output::lines::Lines;
use crate::sampling::{Change, one_in};
use crate::snapshot::{AttemptView, Summary};
use crate::stderr::say;
use crate::stdout::queue::Queue;
use crate::stdout::{Output, Reader};

/// What goes to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Lines,
    Json,
    None,
}

/// See the module.
pub(super) struct View {
    format: Format,
    out: Output<Queue>,
    /// The same, to ask how it goes.
    queue: Queue,
    /// It has been said that nobody reads.
    is_stall_told: bool,
    lines: Lines,
}

/// One line for people about an attachment.
pub(super) fn sentence(attachment: &Attachment) -> String {
    let Attachment { name, ingress, egress, reason, .. } = attachment;
    format!("watching {name}: received by {}, sent by {}; {reason}", ingress.how, egress.how)
}

impl View {
    pub(super) fn new(format: impl Into<Format>) -> io::Result<Self> {
        let queue = Queue::stdout()?;
        Ok(Self {
            format: format.into(),
            out: Output::new(queue.clone()),
            queue,
            is_stall_told: false,
            lines: Lines::new(super::color(), TimeZone::system()),
        })
    }

    /// The first record.
    pub(super) fn start(
        &mut self,
        loader: &Loader,
        filter: FilterRecord,
        now: Nanos,
    ) -> io::Result<()> {
        for attachment in loader.attachments() {
            self.lines.show_interface(&attachment.name);
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

    /// Prints in another format from now on; true if it was another.
    pub(super) fn change_format(&mut self, format: impl Into<Format>) -> bool {
        let format = format.into();
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
    pub(super) fn attached(&mut self, attachment: &Attachment) {
        self.lines.show_interface(&attachment.name);
    }

    /// One ended attempt.
    pub(super) fn attempt(&mut self, view: &AttemptView<'_>) -> io::Result<Reader> {
        match self.format {
            Format::Lines => self.out.line(&self.lines.line(view)),
            Format::Json => self.out.json(&json::attempt(view)),
            Format::None => Ok(Reader::Present),
        }
    }

    /// We were blind for a while: no event can be counted.
    pub(super) fn gap(&mut self, reason: &'static str, now: Nanos) -> io::Result<()> {
        self.loss(Loss { reason, count: 0 }, now)
    }

    fn loss(&mut self, loss: Loss, now: Nanos) -> io::Result<()> {
        if self.format == Format::Json {
            let Loss { reason, count } = loss;
            let time = seconds(now);
            let record = LossRecord { kind: "loss", schema: SCHEMA, time, reason, count };
            let _ = self.out.json(&record)?;
            let _ = self.out.flush()?;
        }
        Ok(())
    }

    /// Losses since they were last told.
    pub(super) fn losses(&mut self, losses: &[Loss], now: Nanos) -> io::Result<()> {
        self.is_stall_told = false;
        for loss in losses {
            self.loss(*loss, now)?;
            let what = "attempts open now are uncertain, their silence is not reported as failure";
            say(format_args!("handshake: lost {} ({}); {what}", loss.count, loss.reason));
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
    pub(super) fn not_recorded(&mut self, count: u64, now: Nanos) -> io::Result<()> {
        self.loss(Loss { reason: "not-recorded", count }, now)?;
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
        if self.format == Format::Json {
            let record = SummaryRecord {
                kind: "summary",
                schema: SCHEMA,
                time: seconds(now),
                duration_s: elapsed.as_secs_f64(),
                summary,
            };
            let _ = self.out.json(&record)?;
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

    pub(super) fn flush(&mut self) -> io::Result<Reader> {
        self.out.flush()
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
