//! The books of a run, kept apart by where and who: interface and role, service, peer network.
//!
//! Ended attempts go in; tallies come out. Bounded: of services and peer networks, whoever has not
//! been heard of for longest gives way, and goes on in the tally `other`, so that every sum still
//! equals the tracker's. Open attempts are not booked: they are counted where they are asked for,
//! from [`crate::tracker`]. No clock, no I/O. Read by `output/*`, which compute nothing.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use ahash::AHashMap as HashMap;
use ipnet::IpNet;

use crate::attempt::{Attempt, Nanos};
use crate::metrics::{Detail, Parts};
use crate::outcome::Outcome;
use crate::snapshot::{AttemptView, Role};

/// Services and peer networks followed at once, each. A tally takes 12 KB once it has a latency, 24
/// with retransmitted ones as well.
pub const MOST: usize = 1024;

/// Interfaces with a tally of their own, by role.
const MOST_PLACES: usize = 256;
/// The name of the others together.
const OTHER: &str = "other";

/// What became of the attempts of one service, peer network, or interface and role.
#[derive(Debug)]
pub struct Tally {
    /// Attempts ended, by [`Outcome`] in its order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Copies of SYNs beyond the first.
    pub syn_retrans: u64,
    /// Copies of SYN-ACKs beyond the first.
    pub synack_retrans: u64,
    /// Latencies of completed attempts in which nothing was sent twice.
    pub clean: Parts,
    /// Latencies of completed attempts with retransmissions.
    pub retransmitted: Parts,
    /// When the last one ended, in nanoseconds of the attempts' clock.
    pub last: Nanos,
}

impl Tally {
    /// Empty; `detail` is that of its percentiles.
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        Self {
            outcomes: [0; Outcome::ALL.len()],
            syn_retrans: 0,
            synack_retrans: 0,
            clean: Parts::new(detail),
            retransmitted: Parts::new(detail),
            last: Nanos::MIN,
        }
    }

    /// Takes an ended attempt.
    pub fn record(&mut self, attempt: &Attempt) {
        self.outcomes[attempt.outcome as usize] += 1;
        self.syn_retrans += u64::from(attempt.syn_retrans);
        self.synack_retrans += u64::from(attempt.synack_retrans);
        self.last = self.last.max(attempt.t_end.unwrap_or(attempt.t_first));
        if attempt.outcome.is_completed() {
            let clean = !attempt.is_retransmitted();
            let parts = if clean { &mut self.clean } else { &mut self.retransmitted };
            parts.record(attempt);
        }
    }

    fn absorb(&mut self, other: &Self) {
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += count;
        }
        self.syn_retrans += other.syn_retrans;
        self.synack_retrans += other.synack_retrans;
        self.clean.absorb(&other.clean);
        self.retransmitted.absorb(&other.retransmitted);
        self.last = self.last.max(other.last);
    }

    /// Attempts ended with `outcome`.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Attempts ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Attempts completed.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.sum(Outcome::is_completed)
    }

    /// Attempts that the network, the server or the client failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.sum(Outcome::is_failure)
    }

    fn sum(&self, kind: impl Fn(Outcome) -> bool) -> u64 {
        Outcome::ALL.into_iter().filter(|outcome| kind(*outcome)).map(|o| self.of(o)).sum()
    }
}

/// Tallies by key, at most so many.
#[derive(Debug)]
pub struct Tallies<K> {
    known: HashMap<K, Tally>,
    most: usize,
    other: Tally,
}

impl<K: Copy + Eq + Hash> Tallies<K> {
    fn new(most: usize) -> Self {
        Self { known: HashMap::new(), most, other: Tally::new(Detail::Coarse) }
    }

    fn record(&mut self, key: K, attempt: &Attempt) {
        if self.known.len() >= self.most && !self.known.contains_key(&key) {
            self.make_room();
        }
        self.known.entry(key).or_insert_with(|| Tally::new(Detail::Coarse)).record(attempt);
    }

    /// Those not heard of for longest, an eighth at once, go into `other`.
    fn make_room(&mut self) {
        let mut ages: Vec<Nanos> = self.known.values().map(|tally| tally.last).collect();
        let (_, &mut limit, _) = ages.select_nth_unstable(self.most / 8);
        let other = &mut self.other;
        self.known.retain(|_, tally| {
            let stays = tally.last > limit;
            if !stays {
                other.absorb(tally);
            }
            stays
        });
    }

    /// Every key with its tally, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &Tally)> {
        self.known.iter()
    }

    /// The tally of one key.
    #[must_use]
    pub fn of(&self, key: &K) -> Option<&Tally> {
        self.known.get(key)
    }

    /// What became of those without a tally of their own.
    #[must_use]
    pub fn other(&self) -> &Tally {
        &self.other
    }
}

/// See the module.
#[derive(Debug)]
pub struct Books {
    places: BTreeMap<(String, Role), Tally>,
    services: Tallies<SocketAddr>,
    peers: Tallies<IpNet>,
}

impl Default for Books {
    fn default() -> Self {
        Self::new()
    }
}

impl Books {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self { places: BTreeMap::new(), services: Tallies::new(MOST), peers: Tallies::new(MOST) }
    }

    /// Takes an ended attempt.
    pub fn record(&mut self, view: &AttemptView<'_>) {
        let attempt = view.attempt;
        if let Some(place) = view.place {
            self.place(place.interface, place.role).record(attempt);
        }
        self.services.record(attempt.key.server_addr(), attempt);
        self.peers.record(network(attempt.key.client_addr().ip()), attempt);
    }

    /// Interfaces come and go by the thousand where containers do; the later ones share a tally.
    fn place(&mut self, interface: &str, role: Role) -> &mut Tally {
        let mut key = (interface.to_owned(), role);
        if self.places.len() >= MOST_PLACES && !self.places.contains_key(&key) {
            OTHER.clone_into(&mut key.0);
        }
        self.places.entry(key).or_insert_with(|| Tally::new(Detail::Coarse))
    }

    /// An interface is called `to` from now on.
    pub fn rename(&mut self, from: &str, to: &str) {
        for role in [Role::Client, Role::Server, Role::Forwarded] {
            if let Some(tally) = self.places.remove(&(from.to_owned(), role)) {
                self.place(to, role).absorb(&tally);
            }
        }
    }

    /// By interface and the host's part.
    #[must_use]
    pub fn places(&self) -> &BTreeMap<(String, Role), Tally> {
        &self.places
    }

    /// By the server's address and port.
    #[must_use]
    pub fn services(&self) -> &Tallies<SocketAddr> {
        &self.services
    }

    /// By the client's network: /24 or /48.
    #[must_use]
    pub fn peers(&self) -> &Tallies<IpNet> {
        &self.peers
    }
}

/// The network that a client is counted under.
#[must_use]
pub fn network(client: IpAddr) -> IpNet {
    let length = if client.is_ipv4() { 24 } else { 48 };
    IpNet::new(client, length).map_or_else(|_| IpNet::from(client), |net| net.trunc())
}

#[cfg(test)]
mod tests {
    use handshake_common::event::{Event, kind};
    use handshake_common::packet::tunnel::Layers;

    use super::*;
    use crate::attempt::Observation;
    use crate::snapshot::Place;
    use crate::tracker::{Config, Tracker};

    /// A refused attempt from 10.0.x.1 to port 443 of 10.9.0.1, and the second it began in.
    fn refused(client: u32, second: u64) -> Attempt {
        let address = |last: [u8; 4]| [0, 0, u32::from_be(0xffff), u32::from_ne_bytes(last)];
        let client = address([10, (client >> 8) as u8, client as u8, 1]);
        let server = address([10, 9, 0, 1]);
        let base = Event { ip_version: 4, time_ns: second * 1_000_000_000, ..Event::ZERO };
        let syn = Event {
            kind: kind::SYN,
            source: client,
            dest: server,
            source_port: 4000,
            dest_port: 443,
            tcp_flags: 2,
            ..base
        };
        let rst = Event {
            kind: kind::RST,
            source: server,
            dest: client,
            source_port: 443,
            dest_port: 4000,
            tcp_flags: 0x14,
            ack: 1,
            ..base
        };
        let config = Config { timeout: 1 << 40, linger: 1 << 40, max_attempts: 4 };
        let mut tracker = Tracker::new(config);
        for event in [syn, rst] {
            tracker.observe(&Observation { event, source: 0, frame: 0, layers: Layers::NONE });
        }
        tracker.drain().next().expect("the RST ends it")
    }

    #[test]
    fn interfaces_that_come_and_go_take_bounded_room_and_keep_their_counts_when_renamed() {
        let mut books = Books::new();
        let attempt = refused(1, 1);
        let record = |books: &mut Books, interface: &str| {
            let place = Place { interface, hook: "xdp", role: Role::Server };
            books.record(&AttemptView { attempt: &attempt, place: Some(place), to_wall: 0 });
        };
        record(&mut books, "veth0");
        books.rename("veth0", "pod");
        for number in 0..1_000 {
            record(&mut books, &format!("veth{number}"));
        }
        record(&mut books, "pod");
        let of = |name: &str| books.places().get(&(name.to_owned(), Role::Server));
        assert_eq!(of("pod").map(Tally::ended), Some(2));
        assert_eq!(books.places().len(), MOST_PLACES + 1);
        let all: u64 = books.places().values().map(Tally::ended).sum();
        assert_eq!((all, of(OTHER).map(Tally::ended)), (1_002, Some(1_001 - MOST_PLACES as u64)));
    }

    #[test]
    fn whoever_gives_way_goes_on_in_other_and_no_attempt_is_forgotten() {
        let mut books = Books::new();
        let clients = 3 * MOST as u32;
        for client in 0..clients {
            let attempt = refused(client, u64::from(client));
            books.record(&AttemptView { attempt: &attempt, place: None, to_wall: 0 });
        }
        let known: u64 = books.peers().iter().map(|(_, tally)| tally.of(Outcome::Refused)).sum();
        assert_eq!(known + books.peers().other().failed(), u64::from(clients));
        assert!(books.peers().iter().count() <= MOST);
        let newest = network(refused(clients - 1, 0).key.client_addr().ip());
        assert_eq!(books.peers().of(&newest).map(Tally::ended), Some(1));
        let (service, tally) = books.services().iter().next().expect("one service");
        assert_eq!((service.port(), tally.failed()), (443, u64::from(clients)));
    }
}
