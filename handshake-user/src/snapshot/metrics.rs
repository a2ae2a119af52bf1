//! What a scrape shows: the summary, and rows by interface, service and role.
//!
//! Rows have counts of their outcomes, most of them zero; which of those are shown is said here,
//! once, so that series can be counted before they are written.

use std::net::SocketAddr;
use std::time::Duration;

use crate::after::{Next, Totals};
use crate::attempt::Nanos;
use crate::outcome::Outcome;
use crate::series::distribution::Distribution;
use crate::slow::Half;
use crate::snapshot::{ProgramCost, Role, Summary};

/// Counts by outcome, in the order of [`Outcome::ALL`].
pub type Outcomes = [u64; Outcome::ALL.len()];

/// Shown also if they have never happened, so that a scraper sees the first one happen.
const ALWAYS: [Outcome; 4] =
    [Outcome::Completed, Outcome::Refused, Outcome::NoAnswer, Outcome::HalfOpen];

/// The same for services, of which there are many.
const SERVICE_ALWAYS: [Outcome; 1] = [Outcome::Completed];
const FAILURES_ALWAYS: [Outcome; 2] = [Outcome::Refused, Outcome::NoAnswer];

/// The outcomes that a row shows: some always, the others once they have happened.
pub fn shown(outcomes: &Outcomes) -> impl Iterator<Item = (Outcome, u64)> {
    happened(outcomes, &ALWAYS)
}

fn happened(
    outcomes: &Outcomes,
    always: &'static [Outcome],
) -> impl Iterator<Item = (Outcome, u64)> {
    let counts = Outcome::ALL.into_iter().zip(outcomes.iter().copied());
    counts.filter(|(outcome, count)| *count > 0 || always.contains(outcome))
}

/// The estimates by outcome that are shown, likewise.
pub fn estimated(summary: &Summary) -> impl Iterator<Item = (&str, u64)> {
    let counts = summary.sampling.outcomes.iter().map(|(name, count)| (name.as_str(), *count));
    counts.filter(|(name, count)| *count > 0 || ALWAYS.iter().any(|one| one.name() == *name))
}

/// An interface in one role.
#[derive(Debug, Clone, PartialEq)]
pub struct InterfaceRow {
    /// Its name; none for all others.
    pub interface: Option<String>,
    /// The host's part.
    pub role: Role,
    /// Attempts begun.
    pub attempts: u64,
    /// Attempts ended.
    pub outcomes: Outcomes,
}

/// A service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRow {
    /// Its address and port; none for all others.
    pub service: Option<SocketAddr>,
    /// Attempts ended.
    pub outcomes: Outcomes,
    /// Those of them that count against the service.
    pub failures: Outcomes,
    /// Copies of SYNs and of SYN-ACKs in them.
    pub copies: [u64; 2],
    /// Completed attempts by what came next.
    pub after: Totals,
    /// Is a half of it slow now, in the order of [`Half::ALL`]? None if it has never been.
    pub slow: [Option<bool>; Half::ALL.len()],
    /// Attempts open now.
    pub open: u64,
    /// Those of them that the server has answered.
    pub half_open: u64,
    /// Active and failed seconds ([`crate::series::availability`]).
    pub seconds: Option<(u64, u64)>,
}

impl ServiceRow {
    /// The outcomes that it shows.
    pub fn outcomes(&self) -> impl Iterator<Item = (Outcome, u64)> {
        happened(&self.outcomes, &SERVICE_ALWAYS)
    }

    /// The failures that it shows, by outcome.
    pub fn failures(&self) -> impl Iterator<Item = (Outcome, u64)> {
        happened(&self.failures, &FAILURES_ALWAYS)
    }

    /// The copies that it shows, by segment: SYNs always.
    pub fn copies(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let [syn, synack] = self.copies;
        [("syn", syn), ("synack", synack)].into_iter().filter(|(kind, n)| *n > 0 || *kind == "syn")
    }

    /// The halves of it that are or were slow, and whether they are.
    pub fn slow(&self) -> impl Iterator<Item = (Half, bool)> {
        Half::ALL.into_iter().zip(self.slow).filter_map(|(half, slow)| Some((half, slow?)))
    }

    /// What came after completions that it shows: what did.
    pub fn after(&self) -> impl Iterator<Item = (Next, u64)> {
        Next::ALL.into_iter().zip(self.after).filter(|(_, count)| *count > 0)
    }

    fn series(&self) -> usize {
        let seconds = if self.seconds.is_some() { 2 } else { 0 };
        let counts = self.outcomes().count() + self.failures().count() + self.copies().count();
        2 + counts + seconds + self.slow().count() + self.after().count()
    }
}

/// One half of the latency of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceLatencyRow {
    /// Its address and port.
    pub service: SocketAddr,
    /// "server" or "client".
    pub part: &'static str,
    /// The samples, of attempts in which nothing was sent twice.
    pub samples: Distribution,
}

/// One part of the latency in one role.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyRow {
    /// The host's part.
    pub role: Role,
    /// "server", "client" or "total".
    pub part: &'static str,
    /// Of attempts in which something was sent twice, or of the others.
    pub retransmitted: bool,
    /// The samples.
    pub samples: Distribution,
}

/// Rows by key: as many as fit ([`crate::series::Series::rows`]).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// By interface and role.
    pub interfaces: Vec<InterfaceRow>,
    /// By service.
    pub services: Vec<ServiceRow>,
    /// By role and part.
    pub latency: Vec<LatencyRow>,
    /// By service and half.
    pub service_latency: Vec<ServiceLatencyRow>,
}

impl Rows {
    /// Series that they take in the text formats.
    #[must_use]
    pub fn series(&self) -> usize {
        let interface = |row: &InterfaceRow| 1 + shown(&row.outcomes).count();
        let services = self.service_latency.iter().map(|row| row.samples.series());
        self.interfaces.iter().map(interface).sum::<usize>()
            + self.services.iter().map(ServiceRow::series).sum::<usize>()
            + self.latency.iter().map(|row| row.samples.series()).sum::<usize>()
            + services.sum::<usize>()
    }
}

/// A hook of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRow {
    /// Interface name.
    pub interface: String,
    /// Hook name.
    pub hook: &'static str,
    /// How it is or was attached: "native XDP", "generic XDP", "TCX", "clsact".
    pub mode: &'static str,
    /// Is it now?
    pub attached: bool,
}

/// A table of limited size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableRow {
    /// "attempts", "remembered" or "filter".
    pub table: &'static str,
    /// Entries now, where they are known.
    pub entries: Option<u64>,
    /// Entries at most.
    pub capacity: u64,
    /// Entries that had to give way, where that is a loss.
    pub evictions: Option<u64>,
}

/// Attempts that say nothing against their service, by what they are part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PatternRow {
    /// "probe", "scan" or "flood".
    pub pattern: &'static str,
    /// Attempts ended.
    pub attempts: u64,
    /// Health checks, scans or floods that go on now; no more than 32 are counted.
    pub active: u64,
}

/// A number and the reason for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Why.
    pub reason: &'static str,
    /// How many.
    pub count: u64,
}

/// What the process itself costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessCost {
    /// Seconds of CPU, of user and system together.
    pub cpu_seconds: f64,
    /// Bytes of memory in use.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Most file descriptors.
    pub max_fds: u64,
    /// When it was started, in seconds since 1970.
    pub start_seconds: f64,
}

/// Is the program at work?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Interfaces attached to.
    pub attached: usize,
    /// What is waited for while that is none.
    pub awaited: Option<String>,
    /// Time since rings were last read.
    pub since_step: Duration,
}

impl Health {
    /// Longest time between two readings of the rings that is still at work.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Why it is not at work, if it is not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if self.attached == 0 {
            let awaited = self.awaited.as_deref();
            let awaited = awaited.map(|one| format!(": waiting for {one}")).unwrap_or_default();
            return Some(format!("no interface is attached{awaited}"));
        }
        (self.since_step > Self::PATIENCE)
            .then(|| format!("no events were read for {} s", self.since_step.as_secs()))
    }
}

/// Everything that a scrape shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    /// Version of the program.
    pub version: &'static str,
    /// Kernel release.
    pub kernel: String,
    /// When counting began, in nanoseconds since 1970.
    pub since: Nanos,
    /// The counts of the whole run.
    pub summary: Summary,
    /// Open attempts that the server has answered.
    pub half_open: u64,
    /// Health checks, scans and floods.
    pub patterns: Vec<PatternRow>,
    /// Events lost, by reason.
    pub lost: Vec<Reason>,
    /// By interface, service and role.
    pub rows: Rows,
    /// Hooks of interfaces.
    pub hooks: Vec<HookRow>,
    /// Interfaces attached to that have no place in `hooks`.
    pub other_hooks: u64,
    /// Tables of limited size.
    pub tables: Vec<TableRow>,
    /// Bytes of kernel memory in use.
    pub kernel_memory_bytes: u64,
    /// What the process costs.
    pub process: ProcessCost,
    /// Is it at work?
    pub health: Health,
}

impl Scrape {
    /// Series that it takes in the text formats beside its rows.
    #[must_use]
    pub fn fixed(&self) -> usize {
        const SINGLE: usize = 1 + 2 + 2 + 1 + 1 + 2 + 2 + 3 + 1 + 6 + 3;
        let cost = self.summary.self_cost.as_ref();
        let cost = cost.map_or(0, |cost| {
            let measured = |program: &ProgramCost| {
                usize::from(program.runs.is_some()) + usize::from(program.time_ns.is_some())
            };
            3 + cost.programs.iter().map(measured).sum::<usize>()
        });
        let table = |row: &TableRow| {
            1 + usize::from(row.entries.is_some()) + usize::from(row.evictions.is_some())
        };
        SINGLE
            + cost
            + estimated(&self.summary).count()
            + self.summary.packets.len()
            + self.summary.filter.len()
            + 2 * self.patterns.len()
            + self.lost.len()
            + self.tables.iter().map(table).sum::<usize>()
            + self.hooks.len()
            + usize::from(self.other_hooks > 0)
    }
}
