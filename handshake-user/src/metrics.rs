//! Counts and histograms, from ended attempts and from the kernel's counters.

use std::collections::BTreeMap;

use handshake_common::abi::{COUNTERS, Counter, EVENT_CLASSES, PACKET_CLASSES};
use hdrhistogram::Histogram;

use crate::attempt::{Attempt, Nanos};
use crate::outcome::Outcome;
use crate::snapshot::{EventCounts, Latencies, Percentiles, SamplingSummary, Summary};
use crate::tracker::Tracker;

/// Longest latency told apart: an hour.
const MAX_LATENCY_NS: u64 = 3_600_000_000_000;
/// Shortest difference told apart.
const RESOLUTION_NS: u64 = 128;
/// How finely latencies are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Three significant decimal digits; about 200 KB a histogram.
    Fine,
    /// One; about 4 KB.
    Coarse,
}

impl Detail {
    fn digits(self) -> u8 {
        match self {
            Self::Fine => 3,
            Self::Coarse => 1,
        }
    }
}

/// The three parts of a latency, in their order.
pub const PARTS: [&str; 3] = ["server", "client", "total"];

/// Histograms of the three parts of a handshake's latency, in nanoseconds.
#[derive(Debug)]
pub struct Parts {
    detail: Detail,
    /// None before the first sample: most tallies never have one.
    histograms: Option<Box<[Histogram<u64>; PARTS.len()]>>,
}

impl Parts {
    /// Empty.
    #[must_use]
    pub fn new(detail: Detail) -> Self {
        Self { detail, histograms: None }
    }

    fn histograms(&mut self) -> &mut [Histogram<u64>; PARTS.len()] {
        let digits = self.detail.digits();
        let histogram = || {
            Histogram::new_with_bounds(RESOLUTION_NS, MAX_LATENCY_NS, digits)
                .expect("the bounds are constants that fit")
        };
        self.histograms.get_or_insert_with(|| Box::new([histogram(), histogram(), histogram()]))
    }

    /// Takes the latencies of a completed attempt.
    pub fn record(&mut self, attempt: &Attempt) {
        let samples = [attempt.latency_server(), attempt.latency_client(), attempt.latency_total()];
        for (histogram, sample) in self.histograms().iter_mut().zip(samples) {
            // A negative latency (a capture's clock went back) is no sample.
            if let Some(sample) = sample.and_then(|ns: Nanos| u64::try_from(ns).ok()) {
                histogram.saturating_record(sample);
            }
        }
    }

    /// Adds the samples of another, of the same detail.
    pub fn absorb(&mut self, other: &Self) {
        let Some(theirs) = &other.histograms else { return };
        for (histogram, other) in self.histograms().iter_mut().zip(theirs.iter()) {
            histogram.add(other).expect("the bounds are the same");
        }
    }

    /// The histograms in the order of [`PARTS`], if there is a sample.
    #[must_use]
    pub fn as_histograms(&self) -> Option<&[Histogram<u64>; PARTS.len()]> {
        self.histograms.as_deref()
    }

    /// Percentiles of the three parts.
    #[must_use]
    pub fn percentiles(&self) -> Latencies {
        let of = |histogram: &Histogram<u64>| Percentiles {
            count: histogram.len(),
            p50_ns: histogram.value_at_quantile(0.50),
            p90_ns: histogram.value_at_quantile(0.90),
            p99_ns: histogram.value_at_quantile(0.99),
            max_ns: histogram.max(),
        };
        match self.as_histograms() {
            None => Latencies::default(),
            Some([server, client, total]) => {
                Latencies { server: of(server), client: of(client), total: of(total) }
            }
        }
    }
}

/// Latencies of everything that has ended.
#[derive(Debug)]
pub struct Metrics {
    clean: Parts,
    retransmitted: Parts,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self { clean: Parts::new(Detail::Fine), retransmitted: Parts::new(Detail::Fine) }
    }

    /// Latencies of attempts in which nothing was sent twice.
    #[must_use]
    pub fn clean(&self) -> &Parts {
        &self.clean
    }

    /// Latencies of attempts with retransmissions.
    #[must_use]
    pub fn retransmitted(&self) -> &Parts {
        &self.retransmitted
    }

    /// Takes an ended attempt; only completed ones are latency samples.
    pub fn record(&mut self, attempt: &Attempt) {
        if !attempt.outcome.is_completed() {
            return;
        }
        let parts =
            if attempt.is_retransmitted() { &mut self.retransmitted } else { &mut self.clean };
        parts.record(attempt);
    }

    /// Everything there is to say now, but for what was printed. `counters` are those of the hooks, summed over CPUs.
    #[must_use]
    pub fn summary(
        &self,
        tracker: &Tracker,
        counters: &[[u64; COUNTERS]],
        events: EventCounts,
    ) -> Summary {
        let stats = tracker.stats();
        let sum = |counter: Counter| counters.iter().map(|row| row[counter as usize]).sum::<u64>();
        let named = |range: std::ops::Range<usize>| {
            Counter::ALL[range].iter().map(|c| (c.name().to_owned(), sum(*c))).collect()
        };
        let first = |n: usize| Counter::ALL[..n].iter().map(|counter| sum(*counter)).sum::<u64>();
        let estimates = Outcome::ALL.iter().zip(stats.outcomes_estimate);
        Summary {
            sampling: SamplingSummary {
                one_in: 1,
                highest_one_in: 1,
                first_after_ns: None,
                lasted_ns: 0,
                started: stats.started_estimate,
                outcomes: estimates.map(|(o, count)| (o.name().to_owned(), count)).collect(),
            },
            self_cost: None,
            started: stats.started,
            open: tracker.open() as u64,
            outcomes: Outcome::ALL.iter().map(|o| (o.name().to_owned(), stats.of(*o))).collect(),
            after: BTreeMap::new(),
            patterns: BTreeMap::new(),
            hidden: 0,
            uncertain: stats.uncertain,
            syn_retrans: stats.syn_retrans,
            synack_retrans: stats.synack_retrans,
            late_copies: stats.late_copies,
            bad_synack: stats.bad_synack,
            bad_rst: stats.bad_rst,
            latency: self.clean.percentiles(),
            latency_retransmitted: self.retransmitted.percentiles(),
            packets_seen: first(PACKET_CLASSES),
            packets: named(0..PACKET_CLASSES),
            events: EventCounts {
                offered: first(EVENT_CLASSES),
                lost: sum(Counter::EventsLost) + sum(Counter::EventsNoRing),
                sampled_out: sum(Counter::SampledOut),
                ..events
            },
            filter: named(Counter::EvictedOneSided as usize..COUNTERS),
        }
    }
}
