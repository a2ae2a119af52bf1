//! How services and peer networks stand: their tallies, their rates, since when they fail, floods.

use std::hash::Hash;
use std::net::SocketAddr;

use ahash::AHashMap;
use ipnet::IpNet;

use crate::attempt::{Key, Nanos};
use crate::board::flood::{self, Flood, Signs};
use crate::books::{Books, MOST, Tallies, Tally, network};
use crate::outcome::Outcome;
use crate::snapshot::{AttemptView, Percentiles};

/// Seconds over which rates are taken and floods are judged.
const WINDOW: usize = 10;
/// After so long without a failure, the next one begins a new run of failures.
const FORGIVEN: Nanos = 60_000_000_000;
/// Services and peers whose failures are followed at once, each.
const MOST_FAILING: usize = 2 * MOST;

/// Whose standing it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// A server's address and port.
    Service(SocketAddr),
    /// A client's network.
    Peer(IpNet),
    /// All that have no tally of their own.
    Other,
}

/// A run of failures: no minute without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// The first.
    pub since: Nanos,
    /// The last.
    pub last: Nanos,
    /// How many.
    pub count: u64,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Whose.
    pub who: Who,
    /// Attempts ended in a second, over the last ten.
    pub rate: f64,
    /// Attempts ended.
    pub ended: u64,
    /// Of these completed.
    pub completed: u64,
    /// Of these failed.
    pub failed: u64,
    /// By outcome, in the order of [`Outcome`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Copies of SYNs and SYN-ACKs.
    pub retransmits: u64,
    /// SYN to SYN-ACK, clean samples.
    pub server: Percentiles,
    /// SYN-ACK to third ACK, clean samples.
    pub client: Percentiles,
    /// Open now.
    pub open: u64,
    /// Of these answered.
    pub half_open: u64,
    /// The present run of failures.
    pub failing: Option<Failing>,
    /// The last flood.
    pub flood: Option<Flood>,
}

impl Standing {
    /// Part of the attempts ended, ours left out, that completed.
    #[must_use]
    pub fn completion(&self) -> Option<f64> {
        let ended = self.completed + self.failed;
        (ended > 0).then(|| self.completed as f64 / ended as f64)
    }
}

/// Attempts open now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) all: u64,
    pub(super) half: u64,
}

impl Open {
    /// One more, answered or not.
    fn add(&mut self, half: u64) {
        self.all += 1;
        self.half += half;
    }
}

/// The same by service and by peer network.
#[derive(Debug, Default)]
pub(super) struct Opens {
    services: AHashMap<SocketAddr, Open>,
    peers: AHashMap<IpNet, Open>,
}

impl Opens {
    /// Counts one. Whoever floods chooses its networks: only so many are told apart.
    pub(super) fn add(&mut self, key: &Key, half: u64) {
        self.services.entry(key.server_addr()).or_default().add(half);
        let peer = network(key.client_addr().ip());
        if let Some(open) = self.peers.get_mut(&peer) {
            open.add(half);
        } else if self.peers.len() < MOST {
            self.peers.insert(peer, Open { all: 1, half });
        }
    }
}

/// Counts at one second.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    at: Nanos,
    ended: u64,
    completed: u64,
    half_open: u64,
}

impl Mark {
    fn of(at: Nanos, tally: &Tally) -> Self {
        let half_open = tally.of(Outcome::HalfOpen);
        Self { at, ended: tally.ended(), completed: tally.completed(), half_open }
    }
}

/// The last seconds of one key, and percentiles as of `ended`.
#[derive(Debug, Clone)]
struct Trail {
    /// Written round and round.
    marks: [Mark; WINDOW + 1],
    next: usize,
    ended: u64,
    server: Percentiles,
    client: Percentiles,
}

impl Trail {
    fn new(first: Mark) -> Self {
        let none = Percentiles::default();
        Self { marks: [first; WINDOW + 1], next: 0, ended: 0, server: none, client: none }
    }

    fn push(&mut self, mark: Mark, tally: &Tally) {
        self.marks[self.next] = mark;
        self.next = (self.next + 1) % self.marks.len();
        if self.ended != mark.ended {
            let latencies = tally.clean.percentiles();
            (self.server, self.client) = (latencies.server, latencies.client);
            self.ended = mark.ended;
        }
    }

    /// The oldest mark and the newest.
    fn span(&self) -> (Mark, Mark) {
        let newest = (self.next + self.marks.len() - 1) % self.marks.len();
        (self.marks[self.next], self.marks[newest])
    }

    fn rate(&self) -> f64 {
        let (from, to) = self.span();
        let seconds = to.at.saturating_sub(from.at) as f64 / 1e9;
        if seconds > 0.0 { to.ended.saturating_sub(from.ended) as f64 / seconds } else { 0.0 }
    }
}

/// What the books do not keep: the last seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Trails {
    last_look: Option<Nanos>,
    services: AHashMap<SocketAddr, Trail>,
    peers: AHashMap<IpNet, Trail>,
    failing: AHashMap<Who, Failing>,
    floods: AHashMap<SocketAddr, flood::Watch>,
}

impl Trails {
    /// Takes an ended attempt.
    pub(super) fn record(&mut self, view: &AttemptView<'_>) {
        let attempt = view.attempt;
        if !attempt.outcome.is_failure() {
            return;
        }
        let at = attempt.t_end.unwrap_or(attempt.t_first).saturating_add(view.to_wall);
        self.fail(Who::Service(attempt.key.server_addr()), at);
        self.fail(Who::Peer(network(attempt.key.client_addr().ip())), at);
    }

    fn fail(&mut self, who: Who, at: Nanos) {
        if self.failing.len() >= MOST_FAILING && !self.failing.contains_key(&who) {
            return;
        }
        let first = Failing { since: at, last: at, count: 0 };
        let failing = self.failing.entry(who).or_insert(first);
        if at.saturating_sub(failing.last) > FORGIVEN {
            *failing = first;
        }
        failing.last = failing.last.max(at);
        failing.count += 1;
    }

    /// Once a second; returns what is to be said of floods.
    pub(super) fn look(&mut self, now: Nanos, books: &Books, open: &Opens) -> Vec<String> {
        let before = self.last_look.replace(now).unwrap_or(now);
        follow(&mut self.services, books.services(), before, now);
        follow(&mut self.peers, books.peers(), before, now);
        self.failing.retain(|_, failing| now.saturating_sub(failing.last) <= FORGIVEN);
        self.judge(now, &open.services)
    }

    fn judge(&mut self, now: Nanos, open: &AHashMap<SocketAddr, Open>) -> Vec<String> {
        let mut said = Vec::new();
        let half_open = open.iter().filter(|(_, open)| open.half > 0).map(|(service, _)| *service);
        let known = self.services.keys().copied();
        let services: ahash::AHashSet<SocketAddr> =
            half_open.chain(known).chain(self.floods.keys().copied()).collect();
        for service in services {
            let mut signs = self.services.get(&service).map_or(Signs::default(), signs);
            signs.half_open = open.get(&service).map_or(0, |open| open.half);
            let watch = self.floods.entry(service).or_default();
            match watch.judge(now, signs) {
                Some(Flood { end: None, .. }) => said.push(format!("{service} is being flooded")),
                Some(Flood { start, end: Some(end) }) => {
                    let seconds = end.saturating_sub(start) / 1_000_000_000;
                    said.push(format!("the flood of {service} is over, it lasted {seconds} s"));
                }
                None => {}
            }
        }
        self.floods.retain(|service, watch| {
            !watch.is_idle() && (open.contains_key(service) || self.services.contains_key(service))
        });
        said
    }

    /// Every service with a tally or an open attempt.
    pub(super) fn services(&self, books: &Books, open: &Opens) -> Vec<Standing> {
        let mut all = standings(books.services(), &self.services, &open.services, Who::Service);
        for standing in &mut all {
            let Who::Service(service) = standing.who else { continue };
            standing.flood = self.floods.get(&service).and_then(flood::Watch::flood);
            standing.failing = self.failing.get(&standing.who).copied();
        }
        all
    }

    /// Every peer network with a tally or an open attempt.
    pub(super) fn peers(&self, books: &Books, open: &Opens) -> Vec<Standing> {
        let mut all = standings(books.peers(), &self.peers, &open.peers, Who::Peer);
        for standing in &mut all {
            standing.failing = self.failing.get(&standing.who).copied();
        }
        all
    }
}

fn signs(trail: &Trail) -> Signs {
    let (from, to) = trail.span();
    Signs {
        half_open: 0,
        given_up: to.half_open.saturating_sub(from.half_open),
        completed: to.completed.saturating_sub(from.completed),
    }
}

/// Marks this second in the trail of every tally.
fn follow<K: Copy + Eq + Hash>(
    trails: &mut AHashMap<K, Trail>,
    tallies: &Tallies<K>,
    before: Nanos,
    now: Nanos,
) {
    trails.retain(|key, _| tallies.of(key).is_some());
    for (key, tally) in tallies.iter() {
        // What is new had nothing a second ago.
        let nothing = Mark { at: before, ..Mark::default() };
        let trail = trails.entry(*key).or_insert_with(|| Trail::new(nothing));
        trail.push(Mark::of(now, tally), tally);
    }
}

fn standings<K: Copy + Eq + Hash>(
    tallies: &Tallies<K>,
    trails: &AHashMap<K, Trail>,
    open: &AHashMap<K, Open>,
    who: fn(K) -> Who,
) -> Vec<Standing> {
    let is_open = |key: &K, standing: &mut Standing| {
        let open = open.get(key).copied().unwrap_or_default();
        (standing.open, standing.half_open) = (open.all, open.half);
    };
    let mut all: Vec<Standing> = tallies
        .iter()
        .map(|(key, tally)| {
            let mut standing = of_tally(who(*key), tally);
            is_open(key, &mut standing);
            if let Some(trail) = trails.get(key) {
                standing.rate = trail.rate();
                (standing.server, standing.client) = (trail.server, trail.client);
            }
            standing
        })
        .collect();
    let unknown = open.keys().filter(|key| tallies.of(key).is_none());
    all.extend(unknown.take(MOST).map(|key| {
        let mut standing = empty(who(*key));
        is_open(key, &mut standing);
        standing
    }));
    if tallies.other().ended() > 0 {
        all.push(of_tally(Who::Other, tallies.other()));
    }
    all
}

fn of_tally(who: Who, tally: &Tally) -> Standing {
    Standing {
        ended: tally.ended(),
        completed: tally.completed(),
        failed: tally.failed(),
        outcomes: tally.outcomes,
        retransmits: tally.syn_retrans + tally.synack_retrans,
        ..empty(who)
    }
}

fn empty(who: Who) -> Standing {
    Standing {
        who,
        rate: 0.0,
        ended: 0,
        completed: 0,
        failed: 0,
        outcomes: [0; Outcome::ALL.len()],
        retransmits: 0,
        server: Percentiles::default(),
        client: Percentiles::default(),
        open: 0,
        half_open: 0,
        failing: None,
        flood: None,
    }
}
