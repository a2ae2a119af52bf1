//! The numbers of one key in one window.

use super::ring::Ring;
use super::sum::{Field, Part, Sum};
use super::{ByWindow, Window};
use crate::after::Next;
use crate::attempt::Nanos;
use crate::outcome::Outcome;
use crate::snapshot::Percentiles;

/// What became of attempts that ended within a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// How long the window is by now.
    pub span: Nanos,
    /// Attempts ended, by [`Outcome`] in its order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Failures that the service has to answer for: not the client's doing, not of a pattern.
    pub service_failed: u64,
    /// Attempts that the client itself ended: no health checks, no scans.
    pub cancelled: u64,
    /// Copies of SYNs beyond the first.
    pub syn_retrans: u64,
    /// Copies of SYN-ACKs beyond the first.
    pub synack_retrans: u64,
    /// Attempts in which something was sent twice.
    pub retransmitted: u64,
    /// Attempts begun; known only of all together.
    pub begun: u64,
    /// Copies of SYNs and SYN-ACKs by when they were seen; known only of all together.
    pub copies: u64,
    /// Completed attempts of which it is known what came next ([`crate::after`]).
    pub followed: u64,
    /// Those that the server did not serve, in the order of [`Next::UNSERVED`].
    pub unserved: [u64; Next::UNSERVED.len()],
    /// SYN to SYN-ACK where nothing was sent twice.
    pub server: Percentiles,
    /// SYN-ACK to third ACK, likewise.
    pub client: Percentiles,
    /// SYN to third ACK, likewise.
    pub total: Percentiles,
    /// SYN to third ACK where something was sent twice.
    pub again: Percentiles,
    /// SYN to third ACK of all that completed: what users waited for.
    pub felt: Percentiles,
}

impl Numbers {
    pub(super) fn of(sum: &Sum, span: Nanos) -> Self {
        Self {
            span,
            outcomes: sum.outcomes(),
            service_failed: sum.of(Field::ServiceFailed),
            cancelled: sum.of(Field::Cancelled),
            syn_retrans: sum.of(Field::SynRetrans),
            synack_retrans: sum.of(Field::SynAckRetrans),
            retransmitted: sum.of(Field::Retransmitted),
            begun: sum.of(Field::Begun),
            copies: sum.of(Field::Copies),
            followed: sum.of(Field::Followed),
            unserved: sum.unserved(),
            server: sum.percentiles(&[Part::Server]),
            client: sum.percentiles(&[Part::Client]),
            total: sum.percentiles(&[Part::Total]),
            again: sum.percentiles(&[Part::Again]),
            felt: sum.percentiles(&[Part::Total, Part::Again]),
        }
    }

    fn sum_of(&self, kind: impl Fn(Outcome) -> bool) -> u64 {
        Outcome::ALL.into_iter().filter(|one| kind(*one)).map(|o| self.outcomes[o as usize]).sum()
    }

    /// Attempts ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Completed attempts that the server did not serve.
    #[must_use]
    pub fn not_served(&self) -> u64 {
        self.unserved.iter().sum()
    }

    /// Attempts completed.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.sum_of(Outcome::is_completed)
    }

    /// As the judge of slowness takes it.
    #[must_use]
    pub fn sample(&self) -> crate::slow::Sample {
        crate::slow::Sample {
            completed: self.completed(),
            retransmitted: self.again.count,
            syn_copies: self.syn_retrans,
            synack_copies: self.synack_retrans,
            server: self.server,
            client: self.client,
        }
    }

    /// Part of the attempts that completed, among these and the failures of the service.
    #[must_use]
    pub fn completion(&self) -> Option<f64> {
        self.completion_beside(0)
    }

    /// The same if so many attempts that are still open count as failures of the service.
    #[must_use]
    pub fn completion_beside(&self, waiting: u64) -> Option<f64> {
        let completed = self.completed();
        part(completed, completed + self.service_failed + waiting)
    }

    /// Part of the attempts ended in which something was sent twice.
    #[must_use]
    pub fn retransmitted_part(&self) -> Option<f64> {
        part(self.retransmitted, self.ended())
    }

    /// So many within this window are how many a second?
    #[must_use]
    pub fn rate(&self, number: u64) -> f64 {
        if self.span <= 0 { 0.0 } else { number as f64 / (self.span as f64 / 1e9) }
    }
}

fn part(some: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| some as f64 / all as f64)
}

/// What windows begin with at the earliest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// When watching began.
    pub(super) begun: Nanos,
    /// When `Start` was reset.
    pub(super) reset: Nanos,
    /// Before this, slots had to be forgotten.
    pub(super) floor: Option<Nanos>,
}

/// Numbers of all windows: the slots of the shorter ones are part of the longer ones.
pub(super) fn by_window(
    seconds: &Ring,
    tens: &Ring,
    start: &Sum,
    now: Nanos,
    times: Times,
) -> ByWindow {
    let mut all = ByWindow::default();
    let mut sum = Sum::default();
    let mut below = i64::MAX;
    for (place, window) in Window::ALL.into_iter().enumerate() {
        let ring = if window == Window::TenSeconds { seconds } else { tens };
        let Some(slots) = window.slots() else {
            all[place] = Numbers::of(start, now.saturating_sub(times.reset));
            continue;
        };
        let from = ring.number(now) - slots;
        let begin = ring.begin(from).max(times.begun).max(times.floor.unwrap_or(Nanos::MIN));
        let span = now.saturating_sub(begin).max(0);
        if window == Window::TenSeconds {
            let mut sum = Sum::default();
            ring.sum(from, i64::MAX, &mut sum);
            all[place] = Numbers::of(&sum, span);
            continue;
        }
        let is_first = below == i64::MAX;
        let has_more = ring.sum(from, below, &mut sum);
        below = from;
        // Where nothing is added, nothing need be computed.
        all[place] = match (has_more, is_first) {
            (false, false) => Numbers { span, ..all[place - 1] },
            _ => Numbers::of(&sum, span),
        };
    }
    all
}
