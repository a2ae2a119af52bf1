//! Floods: many SYNs to one service whose senders do not go on.
//!
//! [`watch`] has the rule, from counts of one service. Here are the counts: what is open comes from
//! the census, once a second; what began and ended is noted as it comes. SYNs that get no answer here
//! (a router, an edge, a firewall that drops SYN-ACKs) count only with two signs that their senders
//! are forged: they are not repeated, as a client's kernel would after a second, and they come from
//! many addresses.

mod watch;

use std::net::SocketAddr;

use ahash::AHashMap as HashMap;

use super::MOST_SEEN;
use crate::attempt::{Attempt, Nanos};
use crate::census::{Begun, Census, Waiting};
use crate::outcome::Outcome;

pub(crate) use watch::{Signs, Watch};

pub use watch::Flood;

/// Services that are followed at once.
const MOST: usize = 1_024;
const SECOND: Nanos = 1_000_000_000;
/// Seconds over which what ended is summed up.
const SECONDS: usize = 10;
/// Unanswered SYNs that may be a flood's, at least.
const SILENT: u64 = 200;
/// They are so many times those of the last second: a client's kernel would have repeated most.
const UNREPEATED: u64 = 3;
/// From so many addresses, at least.
const CLIENTS: u64 = 64;
/// SYNs within two seconds without which no flood goes on.
const ARRIVING: u64 = 10;
/// How long after a flood its attempts may end: SYN-ACKs are repeated for a minute.
const AFTERMATH: Nanos = 180 * SECOND;
/// A flood is noticed so long after its first SYN, at most.
const NOTICED_WITHIN: Nanos = 10 * SECOND;

/// A flood of one service, with what it is known by. Times are those of attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodView {
    /// The service.
    pub service: SocketAddr,
    /// When it began, and ended.
    pub flood: Flood,
    /// SYNs in the last second.
    pub rate: u64,
    /// Different client addresses within the last ten to twenty seconds, about.
    pub clients: u64,
    /// Attempts open now: answered or not.
    pub open: u64,
    /// Ended attempts recognised.
    pub count: u64,
}

/// Which of 1,024 slots the addresses of clients fell into: counts different ones, about.
#[derive(Debug, Clone, Copy)]
struct Addresses([u64; 16]);

impl Addresses {
    const NONE: Self = Self([0; 16]);

    fn add(&mut self, hash: u64) {
        if let Some(word) = self.0.get_mut((hash >> 6) as usize % 16) {
            *word |= 1 << (hash % 64);
        }
    }

    /// By linear counting (Whang et al., 1990); beyond some 7,000 it says no more than that.
    fn estimate(&self, other: &Self) -> u64 {
        let used: u32 = self.0.iter().zip(other.0).map(|(a, b)| (a | b).count_ones()).sum();
        let free = (1024 - used).max(1);
        (1024.0 * (1024.0 / f64::from(free)).ln()).round() as u64
    }
}

/// Counts by second, the present one first.
#[derive(Debug, Clone, Copy, Default)]
struct Seconds([u32; SECONDS + 1]);

impl Seconds {
    fn add(&mut self) {
        self.0[0] = self.0[0].saturating_add(1);
    }

    fn turn(&mut self) {
        self.0.rotate_right(1);
        self.0[0] = 0;
    }

    /// Of the last full seconds, so many.
    fn last(&self, seconds: usize) -> u64 {
        self.0.iter().skip(1).take(seconds).map(|count| u64::from(*count)).sum()
    }
}

#[derive(Debug)]
struct Victim {
    watch: Watch,
    begun: Seconds,
    given_up: Seconds,
    completed: Seconds,
    clients: [Addresses; 2],
    open: u64,
    count: u64,
}

impl Victim {
    fn new() -> Self {
        Self {
            watch: Watch::default(),
            begun: Seconds::default(),
            given_up: Seconds::default(),
            completed: Seconds::default(),
            clients: [Addresses::NONE; 2],
            open: 0,
            count: 0,
        }
    }

    fn signs(&self, waiting: Waiting) -> Signs {
        Signs {
            half_open: waiting.half_open + self.forged(waiting),
            given_up: self.given_up.last(SECONDS),
            completed: self.completed.last(SECONDS),
            is_arriving: self.begun.last(2) >= ARRIVING,
        }
    }

    /// Open attempts without an answer that no client's kernel stands behind.
    fn forged(&self, waiting: Waiting) -> u64 {
        let silent = waiting.open.saturating_sub(waiting.half_open + waiting.repeated);
        let is_forged = silent >= SILENT
            && silent >= UNREPEATED * self.begun.last(1)
            && self.addresses() >= CLIENTS;
        if is_forged { silent } else { 0 }
    }

    fn addresses(&self) -> u64 {
        self.clients[0].estimate(&self.clients[1])
    }

    fn turn(&mut self, seconds: u64) {
        self.begun.turn();
        self.given_up.turn();
        self.completed.turn();
        if seconds.is_multiple_of(SECONDS as u64) {
            self.clients.rotate_right(1);
            self.clients[0] = Addresses::NONE;
        }
    }

    fn is_idle(&self, now: Nanos) -> bool {
        let is_past =
            |flood: Flood| flood.end.is_some_and(|end| now.saturating_sub(end) > AFTERMATH);
        self.begun.last(SECONDS) == 0 && self.watch.flood().is_none_or(is_past) && self.open == 0
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Floods {
    victims: HashMap<SocketAddr, Victim>,
    hasher: ahash::RandomState,
    ticks: u64,
}

impl Floods {
    pub(super) fn begun(&mut self, begun: &Begun) {
        let service = begun.key.server_addr();
        let hash = self.hasher.hash_one(begun.key.client.address);
        if let Some(victim) = self.victim(service) {
            victim.begun.add();
            victim.clients[0].add(hash);
        }
    }

    pub(super) fn ended(&mut self, attempt: &Attempt) {
        let Some(victim) = self.victims.get_mut(&attempt.key.server_addr()) else { return };
        if attempt.outcome.is_completed() {
            victim.completed.add();
        } else if attempt.outcome == Outcome::HalfOpen {
            victim.given_up.add();
        }
    }

    /// Of a known service, or of a new one if there is room.
    fn victim(&mut self, service: SocketAddr) -> Option<&mut Victim> {
        if self.victims.len() >= MOST && !self.victims.contains_key(&service) {
            return None;
        }
        Some(self.victims.entry(service).or_insert_with(Victim::new))
    }

    pub(super) fn tick(&mut self, now: Nanos, census: &Census) {
        self.ticks += 1;
        for (service, victim) in &mut self.victims {
            let waiting = census.of(service);
            victim.turn(self.ticks);
            victim.open = waiting.open;
            let signs = victim.signs(waiting);
            victim.watch.judge(now, signs);
        }
        self.victims.retain(|_, victim| !victim.is_idle(now));
    }

    /// Is this attempt, which did not complete, one of a flood? Counts it if so. A client whose kernel
    /// repeats its SYN is none of the flood's.
    pub(super) fn covers(&mut self, attempt: &Attempt) -> bool {
        let may_be = matches!(
            attempt.outcome,
            Outcome::HalfOpen
                | Outcome::NoAnswer
                | Outcome::ResetByClient
                | Outcome::Unfinished
                | Outcome::Evicted
        );
        if !may_be || attempt.syn_retrans > 0 {
            return false;
        }
        let Some(victim) = self.victims.get_mut(&attempt.key.server_addr()) else { return false };
        let Some(flood) = victim.watch.flood() else { return false };
        let is_of_it = attempt.t_first >= flood.start.saturating_sub(NOTICED_WITHIN)
            && flood.end.is_none_or(|end| attempt.t_first <= end);
        victim.count += u64::from(is_of_it);
        is_of_it
    }

    pub(super) fn seen(&self) -> Vec<FloodView> {
        let view = |(service, victim): (&SocketAddr, &Victim)| {
            Some(FloodView {
                service: *service,
                flood: victim.watch.flood()?,
                rate: victim.begun.last(1),
                clients: victim.addresses(),
                open: victim.open,
                count: victim.count,
            })
        };
        let mut seen: Vec<FloodView> = self.victims.iter().filter_map(view).collect();
        seen.sort_by(|a, b| b.rate.cmp(&a.rate).then(a.service.cmp(&b.service)));
        seen.truncate(MOST_SEEN);
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::attempt;
    use super::*;
    use crate::attempt::Key;

    struct World {
        floods: Floods,
        census: Census,
        now: Nanos,
    }

    fn key(client: u32) -> Key {
        attempt(client, 80, Outcome::NoAnswer).key
    }

    impl World {
        fn new() -> Self {
            Self { floods: Floods::default(), census: Census::default(), now: 0 }
        }

        fn begin(&mut self, client: u32, answered: bool) {
            let begun = Begun { key: key(client), began: self.now, source: 0 };
            self.census.begin(begun, answered);
            self.floods.begun(&begun);
        }

        fn second(&mut self) {
            self.now += SECOND;
            let _ = self.census.take_begun();
            self.floods.tick(self.now, &self.census);
        }

        fn is_flooded(&self) -> bool {
            self.floods.seen().iter().any(|one| one.flood.end.is_none())
        }

        fn ended(&self, client: u32, outcome: Outcome) -> Attempt {
            let mut ended = attempt(client, 80, outcome);
            ended.t_first = self.now;
            ended
        }
    }

    #[test]
    fn answered_syns_that_nobody_acknowledges_are_a_flood_until_no_more_come() {
        let mut world = World::new();
        for second in 0..5 {
            (0..200).for_each(|n| world.begin(second * 200 + n, true));
            world.second();
        }
        assert!(world.is_flooded());
        let forged = world.ended(3, Outcome::HalfOpen);
        assert!(world.floods.covers(&forged));
        // A client whose SYN is repeated wants to get through.
        let real = Attempt { syn_retrans: 2, ..world.ended(4, Outcome::NoAnswer) };
        assert!(!world.floods.covers(&real));
        // All are still half-open, but no SYN comes any more.
        (0..9).for_each(|_| world.second());
        assert!(!world.is_flooded());
        assert!(!world.floods.covers(&world.ended(5, Outcome::HalfOpen)), "it began later");
        assert!(world.floods.covers(&forged), "it ended later");
    }

    /// Seconds of unanswered SYNs from so many clients, repeated or not, until it is called a flood.
    fn unanswered(a_second: u32, clients: u32, repeated: bool) -> bool {
        let mut world = World::new();
        for second in 0..20 {
            (0..a_second).for_each(|n| world.begin((second * a_second + n) % clients, false));
            world.second();
            if repeated {
                (0..a_second).for_each(|n| world.census.repeat(&key(n % clients)));
            }
        }
        world.is_flooded()
    }

    #[test]
    fn unanswered_syns_are_a_flood_only_if_their_senders_are_forged() {
        assert!(unanswered(500, 1_000_000, false));
        assert!(!unanswered(500, 1_000_000, true), "a service that is down, with many clients");
        assert!(!unanswered(500, 3, false), "three clients with short patience");
        assert!(!unanswered(5, 1_000_000, false), "too few");
    }

    #[test]
    fn different_addresses_are_counted_about() {
        for count in [0, 1, 50, 1_000, 4_000] {
            let mut addresses = Addresses::NONE;
            let hasher = ahash::RandomState::with_seeds(1, 2, 3, 4);
            (0..count).for_each(|n: u64| addresses.add(hasher.hash_one(n)));
            let about = addresses.estimate(&Addresses::NONE);
            assert!(about.abs_diff(count) <= count / 5, "{about} for {count}");
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut world = World::new();
        for port in 0..60_000 {
            let mut key = key(1);
            key.server.port = port;
            world.floods.begun(&Begun { key, began: 0, source: 0 });
            assert!(world.floods.victims.len() <= MOST);
        }
        (0..12).for_each(|_| world.second());
        assert!(world.floods.victims.is_empty());
    }
}
