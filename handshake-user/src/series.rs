//! What the metrics endpoint counts, and which interfaces and services get series of their own.
//!
//! Attempts that have begun and ended go in, [`Series::rows`] come out, never more of them than were
//! asked for: what finds no place is counted in the rows of `other`. No client's address and no
//! client's port ever is a key. No clock, no I/O. [`ranked`] decides who is shown, [`distribution`]
//! counts latencies, [`availability`] seconds; `output/prometheus.rs` writes the rows down.

pub mod availability;
pub mod distribution;
pub mod ranked;
pub mod slowness;

use std::net::SocketAddr;

use crate::after::{After, Totals};
use crate::attempt::{Attempt, Nanos};
use crate::census::Census;
use crate::metrics::PARTS;
use crate::outcome::Outcome;
use crate::snapshot::metrics::{InterfaceRow, LatencyRow, Rows, ServiceLatencyRow, ServiceRow};
use crate::snapshot::{AttemptView, Role};
use availability::Availability;
use distribution::{CLEAN, Distribution, RETRANSMITTED, SERVICE};
use ranked::Ranked;
use slowness::Slowness;

/// Series at most unless told otherwise, and the fewest that can be asked for: enough for those that
/// are always there, `other`, and the latencies of three roles.
pub const DEFAULT_SERIES: usize = 400;
/// Most that can be asked for.
pub const MOST_SERIES: usize = 2000;
/// Services with series of their own unless told otherwise.
pub const DEFAULT_SERVICES: usize = 20;
/// Most that can be asked for.
pub const MOST_SERVICES: usize = 200;
/// Services with latencies of their own, at most.
const LATENCIES: usize = 5;
/// Where series are short, so many services keep their latencies until there are no more than so many
/// services.
const FEW_LATENCIES: usize = 3;
const FEW_SERVICES: usize = 8;
/// Interfaces with series of their own.
const INTERFACES: usize = 32;

const OUTCOMES: usize = Outcome::ALL.len();

/// Every role, in the order of its number.
pub const ROLES: [Role; 3] = [Role::Client, Role::Server, Role::Forwarded];

/// What became of the attempts of an interface in one role.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    outcomes: [u64; OUTCOMES],
    /// Attempts begun: counted when and where they begin, so it never goes back.
    begun: u64,
    /// Has anything been seen of it?
    seen: bool,
}

impl Part {
    fn absorb(&mut self, other: &Self) {
        for (sum, count) in self.outcomes.iter_mut().zip(other.outcomes) {
            *sum += count;
        }
        self.begun += other.begun;
        self.seen |= other.seen;
    }
}

type Place = [Part; ROLES.len()];

fn merge(into: &mut Place, from: Place) {
    into.iter_mut().zip(from).for_each(|(into, from)| into.absorb(&from));
}

#[derive(Debug, Clone, Copy, Default)]
struct Service {
    outcomes: [u64; OUTCOMES],
    failures: [u64; OUTCOMES],
    copies: [u64; 2],
    after: Totals,
    seconds: Availability,
}

/// Latencies of the two halves of a service's handshakes; none before the first.
type Halves = Option<Box<[Distribution; 2]>>;

/// See the module.
#[derive(Debug)]
pub struct Series {
    most: usize,
    interfaces: Ranked<String, Place>,
    services: Ranked<SocketAddr, Service>,
    service_latency: Ranked<SocketAddr, Halves>,
    slowness: Slowness,
    /// By role, and whether something was sent twice; none before the first sample.
    latency: [[Option<Box<[Distribution; PARTS.len()]>>; 2]; ROLES.len()],
}

impl Series {
    /// Nothing counted yet. Of at most `most` series, services get no more than `services` can take.
    #[must_use]
    pub fn new(most: usize, services: usize) -> Self {
        Self {
            most,
            interfaces: Ranked::steady(INTERFACES),
            services: Ranked::new(services),
            service_latency: Ranked::new(services.min(LATENCIES)),
            slowness: Slowness::default(),
            latency: Default::default(),
        }
    }

    /// An attempt to reach `service` has begun at an interface, before `now`.
    pub fn begun(&mut self, interface: &str, role: Role, service: &SocketAddr, now: Nanos) {
        // It may be flooded long before anything ends there.
        self.services.enter(service, now);
        self.interfaces.enter(interface, now);
        let part = &mut self.interfaces.counts_mut(interface)[role as usize];
        part.begun += 1;
        part.seen = true;
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
        self.slowness.record(attempt);
        self.record_service(attempt, end);
    }

    /// Takes what came after the completion of an attempt.
    pub fn followed(&mut self, attempt: &Attempt, after: After) {
        let end = attempt.t_end.unwrap_or(attempt.t_first);
        let service = self.services.busy(&attempt.key.server_addr(), end);
        service.after[after.next as usize] += 1;
    }

    fn record_service(&mut self, attempt: &Attempt, end: Nanos) {
        let address = attempt.key.server_addr();
        let is_failure = attempt.is_service_failure();
        let service = self.services.busy(&address, end);
        service.outcomes[attempt.outcome as usize] += 1;
        service.failures[attempt.outcome as usize] += u64::from(is_failure);
        service.seconds.record(attempt.outcome, is_failure, end);
        service.copies[0] += u64::from(attempt.syn_retrans);
        service.copies[1] += u64::from(attempt.synack_retrans);
        if !attempt.outcome.is_completed() || attempt.is_retransmitted() {
            return;
        }
        let halves = self.service_latency.busy(&address, end);
        let halves =
            halves.get_or_insert_with(|| Box::new([(); 2].map(|()| Distribution::new(SERVICE))));
        for (half, sample) in
            halves.iter_mut().zip([attempt.latency_server(), attempt.latency_client()])
        {
            if let Some(ns) = sample.and_then(|ns| u64::try_from(ns).ok()) {
                half.record(ns);
            }
        }
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
        self.interfaces.rename(&from.to_owned(), to.to_owned(), merge);
    }

    /// What there is to say at `now`, beside `fixed` series that are always there. Where it would be
    /// too much, services and then interfaces give way, for good.
    pub fn rows(&mut self, now: Nanos, fixed: usize, census: &Census) -> Rows {
        self.services.all_mut().for_each(|(_, service)| service.seconds.settle(now));
        let shown: Vec<_> = self.services.shown().iter().map(|(address, _)| **address).collect();
        self.slowness.judge(&shown, now);
        loop {
            let rows = Rows {
                interfaces: self.interface_rows(),
                services: self.service_rows(census),
                latency: self.latency_rows(),
                service_latency: self.service_latency_rows(),
            };
            let fits = fixed + rows.series() <= self.most;
            if fits || !self.give_way(now) {
                return self.without_excess(rows, fixed);
            }
        }
    }

    fn give_way(&mut self, now: Nanos) -> bool {
        // What a service has counted stays its own.
        let (services, latencies) = (self.services.count(), self.service_latency.count());
        let latency_first = latencies > FEW_LATENCIES || services <= FEW_SERVICES;
        (latency_first && self.service_latency.give_way(now, |_, _| {}))
            || self.services.give_way(now, |_, _| {})
            || self.service_latency.give_way(now, |_, _| {})
            || self.interfaces.give_way(now, merge)
    }

    /// If even `other` alone is too much, the last latencies go: those of forwarded attempts.
    fn without_excess(&self, mut rows: Rows, fixed: usize) -> Rows {
        while fixed + rows.series() > self.most && rows.latency.pop().is_some() {}
        rows
    }

    fn interface_rows(&self) -> Vec<InterfaceRow> {
        let shown = self.interfaces.shown().into_iter().map(|(name, place)| (Some(name), place));
        let places = shown.chain([(None, self.interfaces.other())]);
        let mut rows = Vec::new();
        for (name, place) in places {
            for (part, role) in place.iter().zip(ROLES).filter(|(part, _)| part.seen) {
                let (attempts, outcomes) = (part.begun, part.outcomes);
                rows.push(InterfaceRow { interface: name.cloned(), role, attempts, outcomes });
            }
        }
        rows
    }

    fn service_rows(&self, census: &Census) -> Vec<ServiceRow> {
        let mut elsewhere = census.all();
        let mut rows = Vec::new();
        for (address, service) in self.services.shown() {
            let waiting = census.of(address);
            elsewhere.open -= waiting.open;
            elsewhere.half_open -= waiting.half_open;
            rows.push(ServiceRow {
                service: Some(*address),
                outcomes: service.outcomes,
                failures: service.failures,
                copies: service.copies,
                after: service.after,
                slow: self.slowness.of(address),
                open: waiting.open,
                half_open: waiting.half_open,
                seconds: Some((service.seconds.active(), service.seconds.failed())),
            });
        }
        let other = self.services.other();
        rows.push(ServiceRow {
            service: None,
            outcomes: other.outcomes,
            failures: other.failures,
            copies: other.copies,
            after: other.after,
            slow: [None; 2],
            open: elsewhere.open,
            half_open: elsewhere.half_open,
            seconds: None,
        });
        rows
    }

    fn service_latency_rows(&self) -> Vec<ServiceLatencyRow> {
        let mut rows = Vec::new();
        for (service, halves) in self.service_latency.shown() {
            for (samples, part) in halves.iter().flat_map(|halves| halves.iter()).zip(PARTS) {
                let (service, samples) = (*service, samples.clone());
                rows.push(ServiceLatencyRow { service, part, samples });
            }
        }
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
