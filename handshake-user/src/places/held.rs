//! Which addresses the host has had, and when. The host's part in an attempt is judged by the time at
//! which it began: an address that goes away meanwhile, or comes, changes nothing. Bounded.

use std::net::IpAddr;

use ahash::AHashMap;

use crate::attempt::Nanos;

/// News of an address may be so late: it counts from that long before it was noticed.
const NEWS_WITHIN: Nanos = 2_000_000_000;
/// Addresses that are gone are remembered for an hour: no attempt is open for longer.
const REMEMBERED: Nanos = 3_600_000_000_000;
/// As many as that at most.
const MOST_GONE: usize = 4_096;

/// From when until when, in boot time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period {
    since: Nanos,
    until: Nanos,
}

/// See the module. Loopback is not asked about here.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Since when.
    now: AHashMap<IpAddr, Nanos>,
    /// The last period of each that has gone; shorter pauses before it count as held.
    gone: AHashMap<IpAddr, Period>,
}

impl Held {
    /// These have been there for ever.
    pub(super) fn new(addresses: impl Iterator<Item = IpAddr>) -> Self {
        Self { now: addresses.map(|one| (one, Nanos::MIN)).collect(), gone: AHashMap::new() }
    }

    /// These are there now, at `time`, and no others.
    pub(super) fn update(&mut self, addresses: impl Iterator<Item = IpAddr>, time: Nanos) {
        let mut before = std::mem::take(&mut self.now);
        for address in addresses {
            let since = before.remove(&address).unwrap_or(time.saturating_sub(NEWS_WITHIN));
            self.now.insert(address, since);
        }
        self.gone.retain(|_, period| time.saturating_sub(period.until) <= REMEMBERED);
        for (address, since) in before {
            self.forget(address, Period { since, until: time });
        }
    }

    fn forget(&mut self, address: IpAddr, period: Period) {
        if self.gone.len() >= MOST_GONE
            && let Some(oldest) = self.gone.iter().min_by_key(|(_, period)| period.until)
        {
            let oldest = *oldest.0;
            self.gone.remove(&oldest);
        }
        let since = self.gone.get(&address).map_or(period.since, |one| one.since.min(period.since));
        self.gone.insert(address, Period { since, ..period });
    }

    /// Was this an address of the host at `time`?
    pub(super) fn had(&self, address: IpAddr, time: Nanos) -> bool {
        let address = address.to_canonical();
        self.now.get(&address).is_some_and(|since| *since <= time)
            || self.gone.get(&address).is_some_and(|one| one.since <= time && time < one.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_counts_for_what_began_while_it_was_there() {
        let mut held = Held::new([address(1), address(2)].into_iter());
        held.update([address(2), address(3)].into_iter(), 100 * SECOND);
        let had = |held: &Held, last, second| held.had(address(last), second * SECOND);
        // 1 has gone, 2 has stayed, 3 has come.
        assert_eq!([99, 100, 101].map(|at| had(&held, 1, at)), [true, false, false]);
        assert_eq!([0, 99, 101].map(|at| had(&held, 2, at)), [true; 3]);
        assert_eq!([97, 98, 101].map(|at| had(&held, 3, at)), [false, true, true]);
        // 1 comes back: what began meanwhile was not ours.
        held.update([address(1), address(2)].into_iter(), 200 * SECOND);
        assert_eq!([99, 150, 201].map(|at| had(&held, 1, at)), [true, false, true]);
        assert_eq!([199, 201].map(|at| had(&held, 3, at)), [true, false]);
        let mapped = "::ffff:192.0.2.2".parse().expect("an address");
        assert!(held.had(mapped, 201 * SECOND));
    }

    #[test]
    fn addresses_that_come_and_go_leave_nothing_that_grows() {
        let mut held = Held::default();
        let many = |from: u32| (from..from + 10_000).map(|n| IpAddr::from(n.to_be_bytes()));
        held.update(many(0), 0);
        held.update(std::iter::empty(), SECOND);
        assert_eq!(held.gone.len(), MOST_GONE);
        held.update(many(20_000), 2 * SECOND);
        held.update(std::iter::empty(), 3 * SECOND);
        assert_eq!(held.gone.len(), MOST_GONE);
        assert!(held.gone.values().all(|one| one.until == 3 * SECOND));
        held.update(std::iter::empty(), REMEMBERED + 4 * SECOND);
        assert!(held.gone.is_empty() && held.now.is_empty());
    }
}
