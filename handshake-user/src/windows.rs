//! Counts and latencies of the last 10 seconds, minute, 5 and 15 minutes, and since the start, by
//! service, peer network, interface and role, and of all together.
//!
//! Ended attempts go in, [`Numbers`] come out. For every key there are slots of one second for the last
//! ten seconds and of ten seconds for the last 15 minutes, kept only where something happened
//! ([`ring`]); counts are exact, latencies are known to 6% ([`scale`]). A window ends now and begins with
//! a slot, so the last minute is 60 to 70 seconds; the length it has is told with its numbers.
//!
//! Fixed memory: at most [`MOST`] services and as many peer networks, 256 places; their
//! slots take [`Windows::SLOT_BYTES`], and what is known since the start 4 KB a key with latencies: 32 MB
//! at most, a few hundred KB on most hosts. Where slots would need more, the oldest of all keys go and
//! the longer windows are shorter, which their length tells. No clock, no I/O: times are those of the
//! attempts, nanoseconds of boot time.

mod numbers;
mod ring;
pub mod scale;
mod store;
mod sum;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::after::After;
use crate::attempt::{Attempt, Nanos};
use crate::pattern::Pattern;
use crate::snapshot::{AttemptView, Role};
use store::Store;
use sum::{Changes, Field};

pub use numbers::Numbers;
pub use store::Series;
pub use sum::{Part, Sum};

/// Services and peer networks followed at once, each; the others together are `other`.
pub const MOST: usize = 1024;

const SECOND: Nanos = 1_000_000_000;

/// Over which time numbers are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Window {
    /// The last ten seconds.
    TenSeconds,
    /// The last minute.
    #[default]
    Minute,
    /// The last five minutes.
    FiveMinutes,
    /// The last 15 minutes.
    FifteenMinutes,
    /// Since the start, or since it was reset.
    Start,
}

impl Window {
    /// Every window, the shortest first.
    pub const ALL: [Self; 5] =
        [Self::TenSeconds, Self::Minute, Self::FiveMinutes, Self::FifteenMinutes, Self::Start];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TenSeconds => "last 10 s",
            Self::Minute => "last minute",
            Self::FiveMinutes => "last 5 min",
            Self::FifteenMinutes => "last 15 min",
            Self::Start => "since start",
        }
    }

    /// The next one, after the last the first; or the one before.
    #[must_use]
    pub fn turn(self, forward: bool) -> Self {
        let by = if forward { 1 } else { Self::ALL.len() - 1 };
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }

    /// Slots of its ring besides the present one; none for what has no ring.
    fn slots(self) -> Option<i64> {
        match self {
            Self::TenSeconds => Some(10),
            Self::Minute => Some(6),
            Self::FiveMinutes => Some(30),
            Self::FifteenMinutes => Some(90),
            Self::Start => None,
        }
    }
}

/// Numbers for each window, in the order of [`Window::ALL`].
pub type ByWindow = [Numbers; Window::ALL.len()];

/// Interfaces, by role, with numbers of their own.
const MOST_PLACES: usize = 256;
/// The name of the others together.
const OTHER: &str = "other";

/// See the module.
#[derive(Debug)]
pub struct Windows {
    begun: Nanos,
    reset: Nanos,
    all: Series,
    services: Store<SocketAddr>,
    peers: Store<IpNet>,
    places: Store<(usize, Role)>,
    /// Interfaces by number.
    names: Vec<String>,
}

impl Default for Windows {
    fn default() -> Self {
        Self::new()
    }
}

impl Windows {
    /// What slots of services may take, and those of peer networks, in bytes; places take an eighth.
    pub const SLOT_BYTES: usize = 10 << 20;

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            begun: Nanos::MIN,
            reset: Nanos::MIN,
            all: Series::default(),
            services: Store::new(MOST, Self::SLOT_BYTES),
            peers: Store::new(MOST, Self::SLOT_BYTES),
            places: Store::new(MOST_PLACES + 3, Self::SLOT_BYTES / 8),
            names: vec![OTHER.to_owned()],
        }
    }

    /// Watching began at this time.
    pub fn begin(&mut self, at: Nanos) {
        (self.begun, self.reset) = (at, self.reset.max(at));
    }

    /// Takes an ended attempt.
    pub fn record(&mut self, view: &AttemptView<'_>) {
        let attempt = view.attempt;
        let key = &attempt.key;
        let changes = sum::changes(attempt);
        self.all.record(&changes);
        self.record_at_service(attempt, &changes);
        self.peers.record(network(key.client_addr().ip()), &changes);
        if let Some(place) = view.place {
            let name = self.name(place.interface);
            self.places.record((name, place.role), &changes);
        }
    }

    /// Takes an ended attempt for its service only.
    pub fn record_service(&mut self, attempt: &Attempt) {
        self.record_at_service(attempt, &sum::changes(attempt));
    }

    /// Takes a completed attempt of which it is known by now what came next.
    pub fn record_after(&mut self, attempt: &Attempt, after: After) {
        let changes = sum::changes_after(attempt, after);
        self.all.record(&changes);
        self.services.record_if_known(attempt.key.server_addr(), &changes);
        self.peers.record_if_known(network(attempt.key.client_addr().ip()), &changes);
    }

    /// A port that was only scanned is no service.
    fn record_at_service(&mut self, attempt: &Attempt, changes: &Changes) {
        let service = attempt.key.server_addr();
        if attempt.pattern == Some(Pattern::Scan) {
            self.services.record_if_known(service, changes);
        } else {
            self.services.record(service, changes);
        }
    }

    /// Attempts that began and copies of SYNs and SYN-ACKs that were seen since this was last told, of
    /// all together: when they happen, not when their attempt ends.
    pub fn seen(&mut self, now: Nanos, begun: u64, copies: u64) {
        self.all.add(now, Field::Begun, begun);
        self.all.add(now, Field::Copies, copies);
    }

    /// Forgets what no window reaches any more.
    pub fn advance(&mut self, now: Nanos) {
        self.all.advance(now);
        self.services.advance(now);
        self.peers.advance(now);
        self.places.advance(now);
    }

    /// From now on `Start` counts from here.
    pub fn reset(&mut self, now: Nanos) {
        self.reset = now;
        self.all.reset();
        self.services.reset();
        self.peers.reset();
        self.places.reset();
    }

    /// When `Start` began.
    #[must_use]
    pub fn reset_at(&self) -> Nanos {
        self.reset
    }

    /// An interface is called `to` from now on.
    pub fn rename(&mut self, from: &str, to: &str) {
        let at = |names: &[String], name: &str| names.iter().skip(1).position(|one| one == name);
        let Some(old) = at(&self.names, from) else { return };
        match at(&self.names, to) {
            None => to.clone_into(&mut self.names[old + 1]),
            Some(new) => {
                for role in [Role::Client, Role::Server, Role::Forwarded] {
                    self.places.join((old + 1, role), (new + 1, role));
                }
            }
        }
    }

    /// Everything together.
    #[must_use]
    pub fn all(&self) -> &Series {
        &self.all
    }

    /// Numbers of everything together.
    #[must_use]
    pub fn all_numbers(&self, now: Nanos) -> ByWindow {
        self.all.numbers(now, self.times(None))
    }

    /// Every service with its series and numbers.
    pub fn services(&self, now: Nanos) -> impl Iterator<Item = (SocketAddr, &Series, ByWindow)> {
        let times = self.times(self.services.floor());
        self.services.iter().map(move |(key, series)| (*key, series, series.numbers(now, times)))
    }

    /// Every peer network likewise.
    pub fn peers(&self, now: Nanos) -> impl Iterator<Item = (IpNet, &Series, ByWindow)> {
        let times = self.times(self.peers.floor());
        self.peers.iter().map(move |(key, series)| (*key, series, series.numbers(now, times)))
    }

    /// Services and peer networks without numbers of their own, each together.
    #[must_use]
    pub fn others(&self, now: Nanos) -> [ByWindow; 2] {
        [
            self.services.other().numbers(now, self.times(self.services.floor())),
            self.peers.other().numbers(now, self.times(self.peers.floor())),
        ]
    }

    /// Every interface and role, in their order.
    #[must_use]
    pub fn places(&self, now: Nanos) -> Vec<(&str, Role, ByWindow)> {
        let times = self.times(self.places.floor());
        let places = self.places.iter();
        let mut places: Vec<_> = places
            .map(|((name, role), series)| {
                (self.names[*name].as_str(), *role, series.numbers(now, times))
            })
            .collect();
        places.sort_unstable_by_key(|(name, role, _)| (*name, *role));
        places
    }

    /// The series of one service.
    #[must_use]
    pub fn service(&self, service: &SocketAddr) -> Option<&Series> {
        self.services.of(service)
    }

    /// The series of one peer network.
    #[must_use]
    pub fn peer(&self, peer: &IpNet) -> Option<&Series> {
        self.peers.of(peer)
    }

    /// Bytes of all slots now.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.services.bytes() + self.peers.bytes() + self.places.bytes()
    }

    fn times(&self, floor: Option<Nanos>) -> numbers::Times {
        numbers::Times { begun: self.begun, reset: self.reset, floor }
    }

    /// The number of an interface; the later ones of too many share one.
    fn name(&mut self, interface: &str) -> usize {
        if let Some(at) = self.names.iter().position(|name| name == interface) {
            return at;
        }
        if self.names.len() > MOST_PLACES {
            return 0;
        }
        self.names.push(interface.to_owned());
        self.names.len() - 1
    }
}

/// The network that a client is counted under: /24 or /48.
#[must_use]
pub fn network(client: IpAddr) -> IpNet {
    let length = if client.is_ipv4() { 24 } else { 48 };
    IpNet::new(client, length).map_or_else(|_| IpNet::from(client), |net| net.trunc())
}
