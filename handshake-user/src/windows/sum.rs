//! What is counted, and its sum over some time.

use super::scale::{self, BUCKETS};
use crate::after::{After, Next};
use crate::attempt::{Attempt, Nanos};
use crate::outcome::Outcome;
use crate::snapshot::Percentiles;

const OUTCOMES: usize = Outcome::ALL.len();

/// Counts besides those by outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    /// Failures that are the service's: neither the client's doing nor of a pattern.
    ServiceFailed = OUTCOMES as u8,
    /// Attempts that the client itself ended, of no pattern.
    Cancelled,
    /// Copies of SYNs.
    SynRetrans,
    /// Copies of SYN-ACKs.
    SynAckRetrans,
    /// Attempts in which something was sent twice.
    Retransmitted,
    /// Attempts begun.
    Begun,
    /// Copies when they were seen.
    Copies,
    /// Completed attempts whose watch ([`crate::after`]) is over.
    Followed,
    /// Those that the server did not serve, in the order of [`Next::UNSERVED`].
    Unserved,
}

/// Counts by outcome and the others.
const FIELDS: usize = Field::Unserved as usize + Next::UNSERVED.len();

impl Field {
    pub(super) fn which(self) -> u16 {
        self as u16
    }
}

/// Latencies, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// SYN to SYN-ACK, of attempts in which nothing was sent twice.
    Server,
    /// SYN-ACK to third ACK, likewise.
    Client,
    /// SYN to third ACK, likewise.
    Total,
    /// SYN to third ACK where something was sent twice.
    Again,
}

const PARTS: usize = 4;
const BINS: usize = PARTS * BUCKETS;
const _: () = assert!(FIELDS + BINS <= 1 << 10, "ten bits say which");

/// What an ended attempt adds, and when.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) at: Nanos,
    pub(super) is_completed: bool,
    words: [(u16, u64); 9],
    len: usize,
}

impl Changes {
    fn push(&mut self, which: u16, times: u64) {
        if times > 0 {
            self.words[self.len] = (which, times);
            self.len += 1;
        }
    }

    fn latency(&mut self, part: Part, latency: Option<Nanos>) {
        // A negative latency is no sample.
        if let Some(ns) = latency.and_then(|ns| u64::try_from(ns).ok()) {
            self.push((FIELDS + part as usize * BUCKETS + scale::bucket(ns)) as u16, 1);
        }
    }

    pub(super) fn words(&self) -> &[(u16, u64)] {
        &self.words[..self.len]
    }
}

/// What an ended attempt adds.
pub(super) fn changes(attempt: &Attempt) -> Changes {
    let is_completed = attempt.outcome.is_completed();
    let mut changes = Changes {
        at: attempt.t_end.unwrap_or(attempt.t_first),
        is_completed,
        words: [(0, 0); 9],
        len: 0,
    };
    let is_again = attempt.is_retransmitted();
    changes.push(attempt.outcome as u16, 1);
    changes.push(Field::ServiceFailed.which(), attempt.is_service_failure().into());
    let is_cancelled = attempt.outcome.is_clients_doing() && attempt.pattern.is_none();
    changes.push(Field::Cancelled.which(), is_cancelled.into());
    changes.push(Field::SynRetrans.which(), attempt.syn_retrans.into());
    changes.push(Field::SynAckRetrans.which(), attempt.synack_retrans.into());
    changes.push(Field::Retransmitted.which(), is_again.into());
    match (is_completed, is_again) {
        (true, false) => {
            changes.latency(Part::Server, attempt.latency_server());
            changes.latency(Part::Client, attempt.latency_client());
            changes.latency(Part::Total, attempt.latency_total());
        }
        (true, true) => changes.latency(Part::Again, attempt.latency_total()),
        (false, _) => {}
    }
    changes
}

/// What the end of the watch after a completion adds.
pub(super) fn changes_after(attempt: &Attempt, after: After) -> Changes {
    let end = attempt.t_end.unwrap_or(attempt.t_first);
    let at = end.saturating_add(after.at);
    let mut changes = Changes { at, is_completed: false, words: [(0, 0); 9], len: 0 };
    changes.push(Field::Followed.which(), 1);
    if let Some(kind) = Next::UNSERVED.into_iter().position(|one| one == after.next) {
        changes.push(Field::Unserved.which() + kind as u16, 1);
    }
    changes
}

/// Counts over some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    counts: [u64; FIELDS],
    /// None before the first latency: most keys of a flood never have one.
    bins: Option<Box<[u32; BINS]>>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { counts: [0; FIELDS], bins: None }
    }
}

impl Sum {
    pub(super) fn add(&mut self, which: u16, times: u64) {
        let which = usize::from(which);
        match which.checked_sub(FIELDS) {
            None => self.counts[which] += times,
            Some(bin) => {
                let bins = self.bins.get_or_insert_with(|| Box::new([0; BINS]));
                bins[bin] = bins[bin].saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
            }
        }
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(sum, count)| *sum += count);
        if let Some(theirs) = &other.bins {
            let bins = self.bins.get_or_insert_with(|| Box::new([0; BINS]));
            bins.iter_mut().zip(theirs.iter()).for_each(|(sum, n)| *sum = sum.saturating_add(*n));
        }
    }

    pub(super) fn of(&self, field: Field) -> u64 {
        self.counts[field as usize]
    }

    /// Completed attempts that were not served, in the order of [`Next::UNSERVED`].
    pub(super) fn unserved(&self) -> [u64; Next::UNSERVED.len()] {
        let mut unserved = [0; Next::UNSERVED.len()];
        unserved.copy_from_slice(&self.counts[Field::Unserved as usize..]);
        unserved
    }

    /// Attempts ended, by outcome in its order.
    pub(super) fn outcomes(&self) -> [u64; OUTCOMES] {
        let mut outcomes = [0; OUTCOMES];
        outcomes.copy_from_slice(&self.counts[..OUTCOMES]);
        outcomes
    }

    /// Samples of a part by bucket of [`scale`].
    #[must_use]
    pub fn samples(&self, part: Part) -> Option<&[u32]> {
        let from = part as usize * BUCKETS;
        self.bins.as_ref().map(|bins| &bins[from..from + BUCKETS])
    }

    /// Percentiles of these parts together.
    #[must_use]
    pub fn percentiles(&self, parts: &[Part]) -> Percentiles {
        let mut samples = [0_u64; BUCKETS];
        for part in parts {
            let Some(bins) = self.samples(*part) else { return Percentiles::default() };
            samples.iter_mut().zip(bins).for_each(|(sum, n)| *sum += u64::from(*n));
        }
        of_samples(&samples)
    }
}

/// Percentiles of samples by bucket: the smallest bucket up to which there are so many.
fn of_samples(samples: &[u64; BUCKETS]) -> Percentiles {
    let count: u64 = samples.iter().sum();
    if count == 0 {
        return Percentiles::default();
    }
    let rank = |percent: u64| (count * percent).div_ceil(100).max(1);
    let mut found = [0; 3];
    let mut below = 0;
    let mut last = 0;
    for (bucket, n) in samples.iter().enumerate().filter(|(_, n)| **n > 0) {
        for (place, percent) in [50, 90, 99].into_iter().enumerate() {
            if below < rank(percent) && below + n >= rank(percent) {
                found[place] = scale::middle_ns(bucket);
            }
        }
        (below, last) = (below + n, bucket);
    }
    let [p50_ns, p90_ns, p99_ns] = found;
    Percentiles {
        count,
        p50_ns,
        p90_ns,
        p99_ns,
        max_ns: scale::from_ns((last + 1).min(BUCKETS - 1)),
    }
}
