//! What the metrics endpoint counts, and which interfaces and services get series of their own.
//!
//! Ended attempts go in, [`Series::rows`] come out, never more of them than were asked for: what
//! finds no place is counted in the rows of `other`. No client's address and no client's port ever
//! is a key. No clock, no I/O. [`ranked`] decides who is shown, [`distribution`] counts latencies,
//! [`availability`] seconds; `output/prometheus.rs` writes the rows down.

pub mod availability;
pub mod distribution;
pub mod ranked;

use std::net::SocketAddr;

use ahash::AHashMap as HashMap;

use crate::attempt::{Attempt, Nanos};
use crate::metrics::PARTS;
use crate::outcome::Outcome;
use crate::snapshot::metrics::{InterfaceRow, LatencyRow, Rows, ServiceRow};
use crate::snapshot::{AttemptView, Role};
use availability::Availability;
use distribution::{CLEAN, Distribution, RETRANSMITTED};
use ranked::Ranked;

/// Series at most unless told otherwise, and the fewest that can be asked for: enough for those that
/// are always there, `other`, and the latencies of three roles.
pub const DEFAULT_SERIES: usize = 400;
/// Most that can be asked for.
pub const MOST_SERIES: usize = 2000;
/// Services with series of their own unless told otherwise.
pub const DEFAULT_SERVICES: usize = 20;
/// Most that can be asked for.
pub const MOST_SERVICES: usize = 200;
/// Interfaces with series of their own.
const INTERFACES: usize = 32;

const OUTCOMES: usize = Outcome::ALL.len();

/// Every role, in the order of its number.
pub const ROLES: [Role; 3] = [Role::Client, Role::Server, Role::Forwarded];

/// What became of the attempts of an interface in one role.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    outcomes: [u64; OUTCOMES],
    /// Attempts begun, as told before: an attempt whose role or place changes while it is open must
    /// not make this go back.
    begun: u64,
    /// Has anything been seen of it?
    seen: bool,
}

impl Part {
    fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    fn absorb(&mut self, other: &Self) {
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += count;
        }
        self.begun += other.begun;
        self.seen |= other.seen;
    }
}

type Place = [Part; ROLES.len()];

#[derive(Debug, Clone, Copy, Default)]
struct Service {
    outcomes: [u64; OUTCOMES],
    seconds: Availability,
}

/// An attempt that is open, as far as rows need it.
#[derive(Debug, Clone, Copy)]
pub struct OpenAttempt<'a> {
    /// Where its first segment was seen.
    pub interface: &'a str,
    /// The host's part.
    pub role: Role,
    /// Who was asked.
    pub service: SocketAddr,
    /// The server has answered.
    pub half_open: bool,
}

/// Open attempts of one service.
#[derive(Debug, Clone, Copy, Default)]
struct Waiting {
    open: u64,
    half_open: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Series {
    most: usize,
    interfaces: Ranked<String, Place>,
    services: Ranked<SocketAddr, Service>,
    /// By role, and whether something was sent twice; none before the first sample.
    latency: [[Option<Box<[Distribution; PARTS.len()]>>; 2]; ROLES.len()],
}

impl Series {
    /// Nothing counted yet. Of at most `most` series, services get no more than `services` can take.
    #[must_use]
    pub fn new(most: usize, services: usize) -> Self {
        Self {
            most,
            interfaces: Ranked::new(INTERFACES),
            services: Ranked::new(services),
            latency: Default::default(),
        }
    }

    /// Takes an ended attempt.
    pub fn record(&mut self, view: &AttemptView<'_>) {
        let attempt = view.attempt;
        let end = attempt.t_end.unwrap_or(attempt.t_first);
        if let Some(place) = view.place {
            let part = &mut self.interfaces.busy(place.interface, end)[place.role as usize];
            part.outcomes[attempt.outcome as usize] += 1;
            part.seen = true;
            self.sample(attempt, place.role);
        }
        let service = self.services.busy(&attempt.key.server_addr(), end);
        service.outcomes[attempt.outcome as usize] += 1;
        service.seconds.record(attempt.outcome, end);
    }

    fn sample(&mut self, attempt: &Attempt, role: Role) {
        if !attempt.outcome.is_completed() {
            return;
        }
        let again = attempt.is_retransmitted();
        let bounds = if again { RETRANSMITTED } else { CLEAN };
        let empty = || Box::new([(); PARTS.len()].map(|()| Distribution::new(bounds)));
        let parts = self.latency[role as usize][usize::from(again)].get_or_insert_with(empty);
        let samples = [attempt.latency_server(), attempt.latency_client(), attempt.latency_total()];
        for (part, sample) in parts.iter_mut().zip(samples) {
            if let Some(ns) = sample.and_then(|ns| u64::try_from(ns).ok()) {
                part.record(ns);
            }
        }
    }

    /// An interface has another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        let merge = |into: &mut Place, from: Place| {
            into.iter_mut().zip(from).for_each(|(into, from)| into.absorb(&from));
        };
        self.interfaces.rename(&from.to_owned(), to.to_owned(), merge);
    }

    /// What there is to say at `now`, beside `fixed` series that are always there. Where it would be
    /// too much, services and then interfaces give way, for good.
    pub fn rows<'a>(
        &mut self,
        now: Nanos,
        fixed: usize,
        open: impl Iterator<Item = OpenAttempt<'a>>,
    ) -> Rows {
        let mut waiting: HashMap<SocketAddr, Waiting> = HashMap::new();
        let mut places: HashMap<(&str, Role), u64> = HashMap::new();
        for attempt in open {
            let waiting = waiting.entry(attempt.service).or_default();
            waiting.open += 1;
            waiting.half_open += u64::from(attempt.half_open);
            *places.entry((attempt.interface, attempt.role)).or_default() += 1;
        }
        places.keys().for_each(|(interface, _)| self.interfaces.enter(*interface, now));
        self.services.all_mut().for_each(|(_, service)| service.seconds.settle(now));
        loop {
            let rows = Rows {
                interfaces: self.interface_rows(&places),
                services: self.service_rows(&waiting),
                latency: self.latency_rows(),
            };
            let fits = fixed + rows.series() <= self.most;
            if fits || !(self.services.give_way(now) || self.interfaces.give_way(now)) {
                return self.without_excess(rows, fixed);
            }
        }
    }

    /// If even `other` alone is too much, the last latencies go: those of forwarded attempts.
    fn without_excess(&self, mut rows: Rows, fixed: usize) -> Rows {
        while fixed + rows.series() > self.most && rows.latency.pop().is_some() {}
        rows
    }

    fn interface_rows(&mut self, open: &HashMap<(&str, Role), u64>) -> Vec<InterfaceRow> {
        let mut sums: HashMap<(&str, Role), u64> = HashMap::new();
        let shown = self.interfaces.shown();
        let shown: Vec<String> = shown.into_iter().map(|(name, _)| name.clone()).collect();
        for ((interface, role), count) in open {
            let is_shown = shown.binary_search_by(|name| name.as_str().cmp(interface)).is_ok();
            *sums.entry((if is_shown { interface } else { "" }, *role)).or_default() += count;
        }
        let mut rows = Vec::new();
        for name in shown.iter().map(String::as_str).chain([""]) {
            let place = match name {
                "" => self.interfaces.other_mut(),
                name => self.interfaces.counts_mut(name),
            };
            for (part, role) in place.iter_mut().zip(ROLES) {
                let open = sums.get(&(name, role)).copied().unwrap_or(0);
                part.begun = part.begun.max(part.ended() + open);
                part.seen |= open > 0;
                if part.seen {
                    let interface = (!name.is_empty()).then(|| name.to_owned());
                    let (attempts, outcomes) = (part.begun, part.outcomes);
                    rows.push(InterfaceRow { interface, role, attempts, outcomes });
                }
            }
        }
        rows
    }

    fn service_rows(&self, waiting: &HashMap<SocketAddr, Waiting>) -> Vec<ServiceRow> {
        let mut elsewhere = waiting.values().fold(Waiting::default(), |sum, one| Waiting {
            open: sum.open + one.open,
            half_open: sum.half_open + one.half_open,
        });
        let mut rows = Vec::new();
        for (address, service) in self.services.shown() {
            let waiting = waiting.get(address).copied().unwrap_or_default();
            elsewhere.open -= waiting.open;
            elsewhere.half_open -= waiting.half_open;
            rows.push(ServiceRow {
                service: Some(*address),
                outcomes: service.outcomes,
                open: waiting.open,
                half_open: waiting.half_open,
                seconds: Some((service.seconds.active(), service.seconds.failed())),
            });
        }
        let other = self.services.other();
        rows.push(ServiceRow {
            service: None,
            outcomes: other.outcomes,
            open: elsewhere.open,
            half_open: elsewhere.half_open,
            seconds: None,
        });
        rows
    }

    fn latency_rows(&self) -> Vec<LatencyRow> {
        let mut rows = Vec::new();
        for (kinds, role) in self.latency.iter().zip(ROLES) {
            for (parts, retransmitted) in kinds.iter().zip([false, true]) {
                for (samples, part) in parts.iter().flat_map(|parts| parts.iter()).zip(PARTS) {
                    let samples = samples.clone();
                    rows.push(LatencyRow { role, part, retransmitted, samples });
                }
            }
        }
        rows
    }
}
