//! Attempts that are no service's failure although they did not complete: health checks, scans and
//! spoofed floods.
//!
//! A pure room: time is that of the attempts, memory is bounded under any flood, nothing is printed.
//! The live engine and replay show every ended attempt to [`Patterns::judge`] before it is counted
//! anywhere; [`Patterns::look`] looks at what begins and is open. The rules and their limits are
//! in docs/patterns.md: `probe` recognises health checks, `scan` scans, `flood` floods.

mod flood;
mod probe;
mod scan;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::attempt::{Attempt, Nanos, ip_addr};
use crate::census::{Begun, Census};
use crate::outcome::Outcome;
use flood::Floods;
use probe::Probes;
use scan::Scans;

pub use flood::{Flood, FloodView};
pub(crate) use flood::{Signs as FloodSigns, Watch as FloodWatch};

/// Why an attempt that did not complete says nothing against its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Pattern {
    /// A health check: the client resets right after the SYN-ACK, at a regular pace.
    Probe,
    /// One client tries many ports or hosts in a short time.
    Scan,
    /// Many SYNs to one service whose senders do not go on: their addresses are forged.
    Flood,
}

impl Pattern {
    /// Every pattern.
    pub const ALL: [Self; 3] = [Self::Probe, Self::Scan, Self::Flood];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Scan => "scan",
            Self::Flood => "flood",
        }
    }
}

/// A client that checks the health of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeView {
    /// Who checks.
    pub client: IpAddr,
    /// What is checked.
    pub service: SocketAddr,
    /// The usual time between two checks, in nanoseconds.
    pub interval_ns: u64,
    /// Checks recognised.
    pub count: u64,
    /// When the last one began.
    pub last: Nanos,
}

/// A client that scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanView {
    /// Who scans.
    pub client: IpAddr,
    /// Different services (address and port) tried within ten seconds, at most.
    pub services: u64,
    /// Different addresses among them, at most.
    pub hosts: u64,
    /// Attempts recognised.
    pub count: u64,
    /// When the first of them began.
    pub since: Nanos,
    /// When the last one began.
    pub last: Nanos,
}

/// What is recognised now; each list is bounded. Times are those of attempts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Health checks, the most regular clients first by count.
    pub probes: Vec<ProbeView>,
    /// Scans, the largest first.
    pub scans: Vec<ScanView>,
    /// Floods that go on or ended lately.
    pub floods: Vec<FloodView>,
}

/// Ended attempts by pattern and outcome.
pub type Totals = [[u64; Outcome::ALL.len()]; Pattern::ALL.len()];

/// See the module.
#[derive(Debug, Default)]
pub struct Patterns {
    probes: Probes,
    scans: Scans,
    floods: Floods,
    totals: Totals,
    /// When to look at what is open again.
    due: Option<Nanos>,
}

impl Patterns {
    /// Sets the pattern of attempts that have just ended. All of them are looked at before the first
    /// is marked, so that a scan whose attempts end together is marked from its first one.
    pub fn judge(&mut self, ended: &mut [Attempt]) {
        for attempt in ended.iter_mut() {
            self.floods.ended(attempt);
            self.scans.note(attempt);
            if self.probes.is_probe(attempt) {
                attempt.pattern = Some(Pattern::Probe);
            }
        }
        for attempt in ended.iter_mut().filter(|attempt| !attempt.outcome.is_completed()) {
            if self.floods.covers(attempt) {
                attempt.pattern = Some(Pattern::Flood);
            } else if self.scans.covers(attempt) {
                attempt.pattern = Some(Pattern::Scan);
            }
            if let Some(pattern) = attempt.pattern {
                self.totals[pattern as usize][attempt.outcome as usize] += 1;
            }
        }
    }

    /// At `now` on the attempts' clock: takes from the census what has begun, hands it on to `begun`, and
    /// looks once a second at what is open.
    pub fn look(&mut self, now: Nanos, census: &mut Census, mut begun: impl FnMut(Begun)) {
        for one in census.take_begun() {
            self.floods.begun(&one);
            begun(one);
        }
        if self.due.is_some_and(|due| now < due) {
            return;
        }
        self.due = Some(now.saturating_add(PAUSE));
        self.floods.tick(now, census);
        self.scans.forget(now);
        self.probes.forget(now);
    }

    /// What is recognised now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        Seen { probes: self.probes.seen(), scans: self.scans.seen(), floods: self.floods.seen() }
    }

    /// Ended attempts so far, by the pattern's name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let of = |pattern: Pattern| self.totals[pattern as usize].iter().sum();
        Pattern::ALL.map(|pattern| (pattern.name().to_owned(), of(pattern))).into()
    }

    /// Ended attempts so far, by pattern and outcome.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}

/// How often the patterns look at what is open.
const PAUSE: Nanos = 1_000_000_000;
/// Most rows of a list in [`Seen`].
const MOST_SEEN: usize = 32;

/// The time in the middle of these: the ones before it give way when there is no room.
fn middle(times: impl Iterator<Item = Nanos>) -> Nanos {
    let mut times: Vec<Nanos> = times.collect();
    let half = times.len() / 2;
    if times.is_empty() { Nanos::MIN } else { *times.select_nth_unstable(half).1 }
}

/// An address without its port, as attempts keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address {
    words: [u32; 4],
    ip_version: u8,
}

impl Address {
    fn of_client(attempt: &Attempt) -> Self {
        Self { words: attempt.key.client.address, ip_version: attempt.key.ip_version }
    }

    fn ip(self) -> IpAddr {
        ip_addr(self.words, self.ip_version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{Endpoint, Key};

    pub(super) const MS: Nanos = 1_000_000;

    /// An ended attempt of an IPv4 client at 10.0.0.1, begun at 0.
    pub(super) fn attempt(client: u32, server_port: u16, outcome: Outcome) -> Attempt {
        let v4 = |host: u32| [0, 0, 0xffff_u32.to_be(), host.to_be()];
        let client = Endpoint { address: v4(0xc0a8_0000 + client), port: 40_000 };
        let server = Endpoint { address: v4(0x0a00_0001), port: server_port };
        Attempt::blank(Key { client, server, ip_version: 4 }, outcome)
    }

    #[test]
    fn completed_attempts_have_no_pattern_and_totals_count_the_others() {
        let mut patterns = Patterns::default();
        let mut ended: Vec<Attempt> =
            (0..100).map(|port| attempt(1, port, Outcome::Refused)).collect();
        ended.push(attempt(1, 443, Outcome::Completed));
        ended.push(attempt(2, 443, Outcome::Refused));
        patterns.judge(&mut ended);
        let scans = ended.iter().filter(|one| one.pattern == Some(Pattern::Scan)).count();
        assert_eq!(scans, 100);
        assert!(ended[100..].iter().all(|one| one.pattern.is_none()));
        assert_eq!(patterns.totals()[Pattern::Scan as usize][Outcome::Refused as usize], 100);
        assert!(!ended[0].is_service_failure() && ended[101].is_service_failure());
    }
}
