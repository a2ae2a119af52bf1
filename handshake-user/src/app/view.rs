//! What the user of `watch` sees on stdout, in the format chosen.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use handshake_common::abi::Hook;
use jiff::tz::TimeZone;

use crate::attempt::{Attempt, Nanos};
use crate::clock::Clock;
use crate::engine::{Loss, Sources};
use crate::interfaces::{Addresses, addresses};
use crate::loader::{Attachment, Loader};
use crate::output::json::{
    self, InterfaceRecord, LossRecord, SCHEMA, StartRecord, SummaryRecord, seconds,
};
use crate::output::lines::Lines;
use crate::snapshot::{AttemptView, Place, Role, Summary};
use crate::stderr::say;
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
    out: Output<io::Stdout>,
    lines: Lines,
    clock: Clock,
    addresses: Addresses,
    names: HashMap<u32, String>,
}

/// One line for people about an attachment.
pub(super) fn sentence(attachment: &Attachment) -> String {
    let Attachment { name, ingress, egress, reason, .. } = attachment;
    format!("watching {name}: received by {}, sent by {}; {reason}", ingress.how, egress.how)
}

impl View {
    pub(super) fn new(format: impl Into<Format>) -> io::Result<Self> {
        Ok(Self {
            format: format.into(),
            out: Output::stdout(),
            lines: Lines::new(super::color(), TimeZone::system()),
            clock: Clock::new(),
            addresses: addresses().unwrap_or_default(),
            names: HashMap::new(),
        })
    }

    fn now(&self) -> String {
        seconds(self.wall(Nanos::try_from(Clock::now()).unwrap_or(Nanos::MAX)))
    }

    fn wall(&self, boot: Nanos) -> Nanos {
        boot.saturating_add(self.to_wall())
    }

    fn to_wall(&self) -> Nanos {
        Nanos::try_from(self.clock.to_wall(0)).unwrap_or(Nanos::MAX)
    }

    /// The first record.
    pub(super) fn start(&mut self, loader: &Loader) -> io::Result<()> {
        for attachment in loader.attachments() {
            self.names.insert(attachment.index, attachment.name.clone());
            self.lines.show_interface(&attachment.name);
        }
        if self.format == Format::Json {
            let record = StartRecord {
                kind: "start",
                schema: SCHEMA,
                time: self.now(),
                version: env!("CARGO_PKG_VERSION"),
                kernel: kernel_release(),
                interfaces: loader.attachments().map(interface).collect(),
            };
            let _ = self.out.json(&record)?;
            let _ = self.out.flush()?;
        }
        Ok(())
    }

    /// An interface came (back) while watching.
    pub(super) fn attached(&mut self, attachment: &Attachment) -> io::Result<()> {
        self.names.insert(attachment.index, attachment.name.clone());
        self.lines.show_interface(&attachment.name);
        Ok(())
    }

    pub(super) fn rename(&mut self, index: u32, name: &str) {
        self.names.insert(index, name.to_owned());
    }

    pub(super) fn refresh_addresses(&mut self) {
        if let Ok(addresses) = addresses() {
            self.addresses = addresses;
        }
    }

    pub(super) fn refresh_clock(&mut self) {
        self.clock.refresh();
    }

    /// One ended attempt.
    pub(super) fn attempt(&mut self, attempt: &Attempt, sources: &Sources) -> io::Result<Reader> {
        if self.format == Format::None {
            return Ok(Reader::Present);
        }
        let (index, hook) = sources.of(attempt.source).unwrap_or((0, 0));
        let place = Place {
            interface: self.names.get(&index).map_or("?", String::as_str),
            hook: Hook::from_index(hook).map_or("?", Hook::name),
            role: role(attempt, &self.addresses),
        };
        let view = AttemptView { attempt, place: Some(place), to_wall: self.to_wall() };
        match self.format {
            Format::Lines => self.out.line(&self.lines.line(&view)),
            Format::Json => self.out.json(&json::attempt(&view)),
            Format::None => Ok(Reader::Present),
        }
    }

    /// We were blind for a while: no event can be counted.
    pub(super) fn gap(&mut self, reason: &'static str) -> io::Result<()> {
        self.loss(Loss { reason, count: 0 })
    }

    fn loss(&mut self, loss: Loss) -> io::Result<()> {
        if self.format == Format::Json {
            let Loss { reason, count } = loss;
            let time = self.now();
            let record = LossRecord { kind: "loss", schema: SCHEMA, time, reason, count };
            let _ = self.out.json(&record)?;
            let _ = self.out.flush()?;
        }
        Ok(())
    }

    /// Losses since they were last told.
    pub(super) fn losses(&mut self, losses: &[Loss]) -> io::Result<()> {
        for loss in losses {
            self.loss(*loss)?;
            let what = "attempts open now are uncertain, their silence is not reported as failure";
            say(format_args!("handshake: lost {} ({}); {what}", loss.count, loss.reason));
        }
        Ok(())
    }

    /// The last record.
    pub(super) fn summary(&mut self, summary: &Summary, elapsed: Duration) -> io::Result<()> {
        if self.format == Format::Json {
            let record = SummaryRecord {
                kind: "summary",
                schema: SCHEMA,
                time: self.now(),
                duration_s: elapsed.as_secs_f64(),
                summary,
            };
            let _ = self.out.json(&record)?;
        }
        self.flush().map(|_| ())
    }

    pub(super) fn flush(&mut self) -> io::Result<Reader> {
        self.out.flush()
    }
}

/// The host's part, by its own addresses.
fn role(attempt: &Attempt, local: &Addresses) -> Role {
    if local.contains(attempt.key.client_addr().ip()) {
        Role::Client
    } else if local.contains(attempt.key.server_addr().ip()) {
        Role::Server
    } else {
        Role::Forwarded
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

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |release| release.trim().to_owned())
}
