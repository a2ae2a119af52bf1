//! Seconds in which a service was used, and in which it failed.
//!
//! A second is *active* if an attempt completed or failed in it, and *failed* if none completed and
//! at least one counts against the service. Seconds without attempts say
//! nothing about a service and count as neither; neither do attempts that we know nothing of.

use crate::attempt::Nanos;
use crate::outcome::Outcome;

const SECOND: Nanos = 1_000_000_000;
/// A second is over for good when this much of time has passed since its end: attempts that ended
/// by their deadline are told a little later.
const GRACE: Nanos = SECOND;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Availability {
    active: u64,
    failed: u64,
    /// The second that is being filled, and what happened in it.
    open: Option<Filling>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filling {
    second: Nanos,
    completed: bool,
    failed: bool,
}

impl Availability {
    /// Takes an attempt that ended at `time`, and whether it counts against the service. One told too
    /// late counts in the second that is open.
    pub fn record(&mut self, outcome: Outcome, is_failure: bool, time: Nanos) {
        if outcome.is_unknown() {
            return;
        }
        let second = time.div_euclid(SECOND);
        if self.open.is_some_and(|open| open.second < second) {
            self.close();
        }
        let fresh = Filling { second, completed: false, failed: false };
        let open = self.open.get_or_insert(fresh);
        open.completed |= outcome.is_completed();
        open.failed |= is_failure;
    }

    /// It is `now`: a second that nothing more can be told about is counted.
    pub fn settle(&mut self, now: Nanos) {
        let is_over = |open: &Filling| (open.second + 1) * SECOND + GRACE <= now;
        if self.open.as_ref().is_some_and(is_over) {
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.active += 1;
            self.failed += u64::from(open.failed && !open.completed);
        }
    }

    /// Seconds that are over and in which an attempt ended.
    #[must_use]
    pub fn active(&self) -> u64 {
        self.active
    }

    /// Those of them in which all failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Active and failed seconds after attempts that ended at these tenths of a second.
    fn after(attempts: &[(i64, Outcome)], now: i64) -> (u64, u64) {
        let mut seconds = Availability::default();
        for (tenths, outcome) in attempts {
            let is_failure = outcome.is_failure() && !outcome.is_clients_doing();
            seconds.record(*outcome, is_failure, tenths * SECOND / 10);
        }
        seconds.settle(now * SECOND / 10);
        (seconds.active(), seconds.failed())
    }

    #[test]
    fn one_completion_saves_its_second_whatever_else_failed_in_it() {
        let ends = [(1, Outcome::Refused), (2, Outcome::Completed), (9, Outcome::NoAnswer)];
        assert_eq!(after(&ends, 100), (1, 0));
    }

    #[test]
    fn a_second_of_failures_alone_is_failed_and_idle_ones_are_neither() {
        let ends = [(5, Outcome::Completed), (25, Outcome::NoAnswer), (95, Outcome::Refused)];
        assert_eq!(after(&ends, 200), (3, 2));
    }

    #[test]
    fn what_the_client_did_and_what_we_do_not_know_is_no_failure_of_the_service() {
        assert_eq!(after(&[(1, Outcome::Aborted), (12, Outcome::ResetByClient)], 100), (2, 0));
        assert_eq!(after(&[(1, Outcome::Unfinished), (12, Outcome::Evicted)], 100), (0, 0));
    }

    #[test]
    fn a_second_counts_when_it_is_over_and_what_comes_late_does_not_open_it_again() {
        assert_eq!(after(&[(5, Outcome::Refused)], 19), (0, 0));
        assert_eq!(after(&[(5, Outcome::Refused)], 20), (1, 1));
        let late = [(25, Outcome::Completed), (19, Outcome::Refused)];
        assert_eq!(after(&late, 100), (1, 0));
    }
}
