//! Health checks: the same client resets the same service right after its SYN-ACK, at a regular pace.

use std::net::SocketAddr;

use ahash::AHashMap as HashMap;

use super::{Address, MOST_SEEN, ProbeView, middle};
use crate::attempt::{Attempt, Nanos};
use crate::outcome::Outcome;

/// Intervals between resets that must agree: four resets in a row.
const INTERVALS: usize = 3;
/// The longest of them is at most so many hundredths of the shortest.
const REGULAR_PERCENT: i64 = 130;
/// Checks are not sent more often than this.
const SHORTEST: Nanos = 200_000_000;
/// Nor less often: a pair that resets more rarely is forgotten.
const LONGEST: Nanos = 120_000_000_000;
/// Pairs of client and service that are followed at once.
const MOST: usize = 4_096;

/// The last resets of one client at one service.
#[derive(Debug, Clone, Copy)]
struct Pace {
    last: Nanos,
    intervals: [Nanos; INTERVALS],
    known: usize,
    /// Resets recognised as checks.
    count: u64,
}

impl Pace {
    fn new(first: Nanos) -> Self {
        Self { last: first, intervals: [0; INTERVALS], known: 0, count: 0 }
    }

    /// Takes the next reset; true if it continues a regular pace.
    fn take(&mut self, at: Nanos) -> bool {
        let interval = at.saturating_sub(self.last);
        self.last = self.last.max(at);
        if !(SHORTEST..=LONGEST).contains(&interval) {
            self.known = 0;
            return false;
        }
        self.intervals.rotate_left(1);
        self.intervals[INTERVALS - 1] = interval;
        self.known = (self.known + 1).min(INTERVALS);
        let is_regular = self.known == INTERVALS && self.is_regular();
        self.count += u64::from(is_regular);
        is_regular
    }

    fn is_regular(&self) -> bool {
        let longest = self.intervals.into_iter().max().unwrap_or_default();
        let shortest = self.intervals.into_iter().min().unwrap_or_default();
        longest.saturating_mul(100) <= shortest.saturating_mul(REGULAR_PERCENT)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Probes {
    paces: HashMap<(Address, SocketAddr), Pace>,
}

impl Probes {
    /// Takes an ended attempt; true if it is a health check.
    pub(super) fn is_probe(&mut self, attempt: &Attempt) -> bool {
        if attempt.outcome != Outcome::ResetByClient || attempt.is_retransmitted() {
            return false;
        }
        let key = (Address::of_client(attempt), attempt.key.server_addr());
        if let Some(pace) = self.paces.get_mut(&key) {
            return pace.take(attempt.t_first);
        }
        if self.paces.len() >= MOST {
            self.forget_half();
        }
        self.paces.insert(key, Pace::new(attempt.t_first));
        false
    }

    /// The pairs that were heard of longest ago give way.
    fn forget_half(&mut self) {
        let middle = middle(self.paces.values().map(|pace| pace.last));
        self.paces.retain(|_, pace| pace.last > middle);
    }

    /// Forgets pairs without a reset for longer than any check waits.
    pub(super) fn forget(&mut self, now: Nanos) {
        self.paces.retain(|_, pace| now.saturating_sub(pace.last) <= LONGEST);
    }

    pub(super) fn seen(&self) -> Vec<ProbeView> {
        let regular = self.paces.iter().filter(|(_, pace)| pace.count > 0 && pace.is_regular());
        let mut seen: Vec<ProbeView> = regular
            .map(|((client, service), pace)| ProbeView {
                client: client.ip(),
                service: *service,
                interval_ns: u64::try_from(pace.intervals[INTERVALS - 1]).unwrap_or_default(),
                count: pace.count,
                last: pace.last,
            })
            .collect();
        seen.sort_by(|a, b| b.count.cmp(&a.count).then(a.service.cmp(&b.service)));
        seen.truncate(MOST_SEEN);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MS, attempt};
    use super::*;

    /// How many of resets at these times (in milliseconds) are taken for checks.
    fn checks(times: &[i64]) -> usize {
        let mut probes = Probes::default();
        let mut reset = attempt(1, 80, Outcome::ResetByClient);
        let is_probe = |at: &&i64| {
            reset.t_first = **at * MS;
            probes.is_probe(&reset)
        };
        times.iter().filter(is_probe).count()
    }

    #[test]
    fn a_regular_pace_is_a_health_check_from_the_fourth_reset_on() {
        for (what, times, expected) in [
            ("three are too few", &[0, 2_000, 4_000][..], 0),
            ("from the fourth on", &[0, 2_000, 4_000, 6_000, 8_000], 2),
            ("a little jitter", &[0, 2_100, 3_950, 6_100, 8_000], 2),
            ("a client that cancels now and then", &[0, 300, 4_000, 4_700, 9_000, 9_300], 0),
            ("many at once", &[0, 1, 2, 3, 4, 5, 6], 0),
            ("a pause begins anew", &[0, 500, 1_000, 1_500, 9_000, 9_500, 10_000], 1),
            ("once in five minutes", &[0, 300_000, 600_000, 900_000, 1_200_000], 0),
        ] {
            assert_eq!(checks(times), expected, "{what}");
        }
    }

    #[test]
    fn only_resets_after_a_syn_ack_sent_once_count() {
        let mut probes = Probes::default();
        for n in 0..20 {
            let mut other = attempt(1, 80, Outcome::Aborted);
            other.t_first = n * 1_000 * MS;
            assert!(!probes.is_probe(&other));
            let mut lossy = attempt(2, 80, Outcome::ResetByClient);
            (lossy.t_first, lossy.syn_retrans) = (n * 1_000 * MS, 1);
            assert!(!probes.is_probe(&lossy));
        }
    }

    #[test]
    fn memory_is_bounded() {
        let mut probes = Probes::default();
        for client in 0..100_000 {
            let mut reset = attempt(client, 80, Outcome::ResetByClient);
            reset.t_first = i64::from(client);
            probes.is_probe(&reset);
            assert!(probes.paces.len() <= MOST);
        }
        probes.forget(LONGEST * 2);
        assert!(probes.paces.is_empty());
    }
}
