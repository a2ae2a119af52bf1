//! Scans: one client tries many services in a short time, and gets nowhere with most of them.
//!
//! What counts is when an attempt began, not when it ended: silent ports end ten seconds late. A
//! client whose kernel repeats its SYNs twice or more wants to get through: such attempts are those
//! of a client of hosts that are down.

use std::collections::VecDeque;

use ahash::AHashMap as HashMap;

use super::{Address, MOST_SEEN, ScanView, middle};
use crate::attempt::{Attempt, Nanos};

/// Different services that did not complete, within [`WINDOW`], that make a scan.
const SERVICES: usize = 20;
/// The attempts that are looked at together began within this time.
const WINDOW: Nanos = 10_000_000_000;
/// A scanner that has not tried anything for this long is one no more.
const QUIET: Nanos = 60_000_000_000;
/// Attempts of a client that are looked at together, at most.
const KEPT: usize = 64;
/// Clients that are followed at once.
const MOST: usize = 4_096;
/// SYNs repeated so often are those of a client that wants to get through.
const PATIENT: u32 = 2;

/// One attempt that did not complete.
#[derive(Debug, Clone, Copy)]
struct Try {
    began: Nanos,
    service: u64,
    host: u64,
}

/// What one client has tried lately.
#[derive(Debug, Default)]
struct Client {
    tries: VecDeque<Try>,
    /// Attempts that completed, since the oldest of `tries`.
    completed: usize,
    last: Nanos,
    scan: Option<Scan>,
}

#[derive(Debug, Clone, Copy)]
struct Scan {
    since: Nanos,
    services: u64,
    hosts: u64,
    count: u64,
}

impl Client {
    fn note(&mut self, tried: Try) {
        self.last = self.last.max(tried.began);
        self.tries.retain(|one| tried.began.saturating_sub(one.began).abs() <= WINDOW);
        if self.tries.is_empty() {
            self.completed = 0;
        }
        if self.tries.len() >= KEPT {
            self.tries.pop_front();
        }
        self.tries.push_back(tried);
        let services = distinct(self.tries.iter().map(|one| one.service));
        // A busy client fails now and then; a scanner nearly always.
        if services < SERVICES || self.completed * 2 > services {
            return;
        }
        let hosts = distinct(self.tries.iter().map(|one| one.host)) as u64;
        let first = self.tries.iter().map(|one| one.began).min().unwrap_or(tried.began);
        let scan = self.scan.get_or_insert(Scan { since: first, services: 0, hosts: 0, count: 0 });
        scan.services = scan.services.max(services as u64);
        scan.hosts = scan.hosts.max(hosts);
    }
}

fn distinct(values: impl Iterator<Item = u64>) -> usize {
    let mut all: Vec<u64> = values.collect();
    all.sort_unstable();
    all.dedup();
    all.len()
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Scans {
    clients: HashMap<Address, Client>,
    hasher: ahash::RandomState,
}

impl Scans {
    /// Takes an ended attempt.
    pub(super) fn note(&mut self, attempt: &Attempt) {
        let address = Address::of_client(attempt);
        if attempt.outcome.is_completed() {
            if let Some(client) = self.clients.get_mut(&address) {
                client.completed += 1;
            }
            return;
        }
        if !is_scan_like(attempt) {
            return;
        }
        if self.clients.len() >= MOST && !self.clients.contains_key(&address) {
            self.make_room();
        }
        let server = attempt.key.server;
        let tried = Try {
            began: attempt.t_first,
            service: self.hasher.hash_one(server),
            host: self.hasher.hash_one(server.address),
        };
        self.clients.entry(address).or_default().note(tried);
    }

    /// Is this attempt, which did not complete, one of a scan? Counts it if so.
    pub(super) fn covers(&mut self, attempt: &Attempt) -> bool {
        if !is_scan_like(attempt) {
            return false;
        }
        let client = self.clients.get_mut(&Address::of_client(attempt));
        let Some(scan) = client.and_then(|client| client.scan.as_mut()) else { return false };
        let is_of_it = attempt.t_first >= scan.since;
        scan.count += u64::from(is_of_it);
        is_of_it
    }

    /// Clients that do not scan and were heard of longest ago give way; if all scan, all do.
    fn make_room(&mut self) {
        let middle = middle(self.clients.values().map(|client| client.last));
        self.clients.retain(|_, client| client.scan.is_some() || client.last > middle);
        if self.clients.len() >= MOST {
            self.clients.clear();
        }
    }

    /// Forgets clients that have been quiet.
    pub(super) fn forget(&mut self, now: Nanos) {
        self.clients.retain(|_, client| {
            let patience = if client.scan.is_some() { QUIET } else { WINDOW };
            now.saturating_sub(client.last) <= patience + WINDOW
        });
    }

    pub(super) fn seen(&self) -> Vec<ScanView> {
        let view = |(client, state): (&Address, &Client)| {
            let Scan { since, services, hosts, count } = state.scan?;
            let last = state.last;
            Some(ScanView { client: client.ip(), services, hosts, count, since, last })
        };
        let mut seen: Vec<ScanView> = self.clients.iter().filter_map(view).collect();
        seen.sort_by(|a, b| b.count.cmp(&a.count).then(a.client.cmp(&b.client)));
        seen.truncate(MOST_SEEN);
        seen
    }
}

fn is_scan_like(attempt: &Attempt) -> bool {
    !attempt.outcome.is_completed() && attempt.syn_retrans < PATIENT
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, attempt};
    use super::*;
    use crate::outcome::Outcome;

    /// Attempts of client 1 at ports from 1000 on, one each so many milliseconds; how many are
    /// covered afterwards.
    fn covered(
        count: u16,
        pause_ms: i64,
        outcome: Outcome,
        change: impl Fn(&mut Attempt),
    ) -> usize {
        let mut scans = Scans::default();
        let of = |n: u16| {
            let mut one = attempt(1, 1_000 + n, outcome);
            one.t_first = i64::from(n) * pause_ms * MS;
            change(&mut one);
            one
        };
        (0..count).for_each(|n| scans.note(&of(n)));
        (0..count).filter(|n| scans.covers(&of(*n))).count()
    }

    #[test]
    fn many_services_in_a_short_time_are_a_scan_from_its_first_attempt() {
        for outcome in [Outcome::Refused, Outcome::NoAnswer, Outcome::ResetByClient] {
            assert_eq!(covered(300, 10, outcome, |_| {}), 300, "{outcome:?}");
        }
        assert_eq!(covered(19, 10, Outcome::Refused, |_| {}), 0, "too few");
        assert_eq!(covered(300, 1_000, Outcome::Refused, |_| {}), 0, "too slow");
        let one_port = |attempt: &mut Attempt| attempt.key.server.port = 80;
        assert_eq!(covered(300, 10, Outcome::Refused, one_port), 0, "one service that is down");
        let patient = |attempt: &mut Attempt| attempt.syn_retrans = 3;
        assert_eq!(covered(300, 10, Outcome::NoAnswer, patient), 0, "it wants to get through");
    }

    #[test]
    fn a_client_that_completes_with_most_is_busy_and_no_scanner() {
        let mut scans = Scans::default();
        let mut marked = 0;
        for n in 0..2_000_u16 {
            let failed = n % 3 == 1;
            let outcome = if failed { Outcome::Refused } else { Outcome::Completed };
            let mut one = attempt(1, 1_000 + n, outcome);
            one.t_first = i64::from(n) * 20 * MS;
            scans.note(&one);
            marked += usize::from(failed && scans.covers(&one));
        }
        assert_eq!(marked, 0);
    }

    #[test]
    fn a_scanner_that_was_quiet_is_one_no_more() {
        let mut scans = Scans::default();
        for n in 0..100 {
            scans.note(&attempt(1, n, Outcome::Refused));
        }
        assert!(scans.covers(&attempt(1, 200, Outcome::Refused)));
        assert_eq!(scans.seen().len(), 1);
        scans.forget(QUIET / 2);
        assert_eq!(scans.seen().len(), 1);
        scans.forget(QUIET * 2);
        assert!(scans.seen().is_empty() && !scans.covers(&attempt(1, 201, Outcome::Refused)));
    }

    #[test]
    fn memory_is_bounded_under_a_flood_of_clients() {
        let mut scans = Scans::default();
        for client in 0..50_000 {
            let mut one = attempt(client, 80, Outcome::NoAnswer);
            one.t_first = i64::from(client);
            scans.note(&one);
            assert!(scans.clients.len() <= MOST);
        }
    }
}
