//! A history by the second, for rates and sparklines. Bounded: it forgets what is older than
//! [`SECONDS`].

use std::collections::VecDeque;

use crate::attempt::Nanos;

/// Seconds kept: as wide as a wide screen.
const SECONDS: usize = 300;
/// Seconds over which a rate is taken.
const WINDOW: usize = 10;
const SECOND: f64 = 1e9;

/// Counts since the start, and gauges, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// When, since 1970.
    pub at: Nanos,
    /// Attempts begun.
    pub started: u64,
    /// Attempts completed.
    pub completed: u64,
    /// Attempts failed that a service has to answer for.
    pub failed: u64,
    /// Copies of SYNs and SYN-ACKs.
    pub retransmits: u64,
    /// Events and filter entries lost.
    pub lost: u64,
    /// Attempts open (a gauge).
    pub open: u64,
    /// Of these answered (a gauge).
    pub half_open: u64,
    /// Median of the time to complete, over the last ten seconds (a gauge).
    pub p50_ns: u64,
    /// 99th percentile, likewise.
    pub p99_ns: u64,
}

/// What happened within a second, and how many were open at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Attempts begun in a second.
    pub started: f64,
    /// Attempts completed in a second.
    pub completed: f64,
    /// Attempts failed in a second.
    pub failed: f64,
    /// Copies in a second.
    pub retransmits: f64,
    /// Losses in a second.
    pub lost: f64,
    /// Attempts open.
    pub open: u64,
    /// Of these answered.
    pub half_open: u64,
    /// Median of the time to complete.
    pub p50_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
}

impl Rates {
    /// Part of the attempts ended, ours left out, that completed.
    #[must_use]
    pub fn completion(&self) -> Option<f64> {
        let ended = self.completed + self.failed;
        (ended > 0.0).then(|| self.completed / ended)
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct History {
    seconds: VecDeque<Rates>,
    totals: VecDeque<Totals>,
}

impl History {
    /// Takes the counts of this moment; about once a second. If it was longer, the rate is the mean
    /// and stands for each second.
    pub fn push(&mut self, now: Totals) {
        if let Some(before) = self.totals.back() {
            let elapsed = seconds(before, &now).max(0.001);
            let rates = rates(before, &now, elapsed);
            let times = (elapsed.round() as usize).clamp(1, SECONDS);
            self.seconds.extend(std::iter::repeat_n(rates, times));
            let surplus = self.seconds.len().saturating_sub(SECONDS);
            self.seconds.drain(..surplus);
        }
        if self.totals.len() > WINDOW {
            self.totals.pop_front();
        }
        self.totals.push_back(now);
    }

    /// Rates over the last ten seconds; gauges of now.
    #[must_use]
    pub fn now(&self) -> Rates {
        match (self.totals.front(), self.totals.back()) {
            (Some(first), Some(last)) if last.at > first.at => {
                rates(first, last, seconds(first, last))
            }
            (_, Some(last)) => {
                Rates { open: last.open, half_open: last.half_open, ..Rates::default() }
            }
            _ => Rates::default(),
        }
    }

    /// Events and filter entries lost since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.totals.back().map_or(0, |totals| totals.lost)
    }

    /// One value for each of the last `most` seconds, oldest first.
    pub fn last(&self, most: usize, of: impl Fn(&Rates) -> f64) -> Vec<f64> {
        let skipped = self.seconds.len().saturating_sub(most);
        self.seconds.iter().skip(skipped).map(of).collect()
    }
}

fn seconds(from: &Totals, to: &Totals) -> f64 {
    to.at.saturating_sub(from.at) as f64 / SECOND
}

fn rates(from: &Totals, to: &Totals, elapsed: f64) -> Rates {
    let rate = |of: fn(&Totals) -> u64| of(to).saturating_sub(of(from)) as f64 / elapsed;
    Rates {
        started: rate(|totals| totals.started),
        completed: rate(|totals| totals.completed),
        failed: rate(|totals| totals.failed),
        retransmits: rate(|totals| totals.retransmits),
        lost: rate(|totals| totals.lost),
        open: to.open,
        half_open: to.half_open,
        p50_ns: to.p50_ns,
        p99_ns: to.p99_ns,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, started: u64) -> Totals {
        Totals { at: second * 1_000_000_000, started, ..Totals::default() }
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut history = History::default();
        assert_eq!(history.now(), Rates::default());
        for second in 0..30 {
            history.push(at(second, if second < 15 { 0 } else { (second as u64 - 15) * 100 }));
        }
        assert_eq!(history.now().started, 100.0);
        assert_eq!(history.last(3, |rates| rates.started), [100.0; 3]);
        assert_eq!(history.last(99, |rates| rates.started).len(), 29);
    }

    #[test]
    fn a_pause_is_filled_with_the_mean() {
        let mut history = History::default();
        history.push(at(0, 0));
        history.push(at(5, 50));
        assert_eq!(history.last(99, |rates| rates.started), [10.0; 5]);
    }

    #[test]
    fn what_is_old_is_forgotten_and_a_clock_that_goes_back_harms_nothing() {
        let mut history = History::default();
        history.push(at(10, 0));
        history.push(at(1_000_000, 10));
        history.push(at(0, 20));
        assert_eq!(history.last(9_999, |_| 0.0).len(), SECONDS);
        assert!(history.now().started.is_finite());
    }

    #[test]
    fn completion_leaves_out_what_nobody_failed() {
        let rates = Rates { completed: 9.0, failed: 1.0, ..Rates::default() };
        assert_eq!(rates.completion(), Some(0.9));
        assert_eq!(Rates::default().completion(), None);
    }
}
