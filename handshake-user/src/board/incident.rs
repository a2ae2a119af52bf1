//! Since when a service or peer network fails, how often, and what still completes meanwhile.
//!
//! An *incident* begins when its first failing attempt began (not when that attempt ended) and is over
//! after a minute in which none failed. Only failures that a service has to answer for count
//! ([`crate::windows`]): what the client itself ended, and what belongs to a pattern, does not. Open
//! attempts that wait for an answer count from the moment they are late, so that a dead service is told
//! before its attempts time out: see [`Waiting::is_failing`].

use ahash::AHashMap;

use crate::attempt::{Attempt, Nanos};
use crate::board::Who;
use crate::outcome::Outcome;
use crate::windows::MOST;

/// After so long without a failure, the next one begins another incident.
const OVER: Nanos = 60_000_000_000;
/// Services and peers whose failures are followed at once, each.
const MOST_FAILING: usize = 2 * MOST;
/// What never completed anything fails only from so many failures on: a single refusal is a wrong port.
const STRANGERS: u64 = 3;
/// Open attempts that wait, below which a service is not said to fail, unless it is silent.
const MOST_PATIENT: u64 = 3;
/// One attempt that waits for so long is enough where nothing else completes.
const SILENT: Nanos = 3_000_000_000;

/// An incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failing {
    /// When the first failing attempt began, since 1970.
    pub since: Nanos,
    /// When the last one ended; now while attempts wait.
    pub last: Nanos,
    /// Failures by outcome, in its order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Attempts completed since it began.
    pub completed: u64,
    /// Open attempts that wait for an answer, if these alone would be an incident.
    pub waiting: u64,
}

impl Failing {
    /// Failures.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// Part that completed since it began; attempts that wait have not.
    #[must_use]
    pub fn completion(&self) -> f64 {
        let all = self.completed + self.count() + self.waiting;
        if all == 0 { 0.0 } else { self.completed as f64 / all as f64 }
    }

    /// Is this worth telling of a service that has, or has never, completed anything?
    pub(super) fn is_told(&self, has_completed: bool) -> bool {
        has_completed || self.count() + self.waiting >= STRANGERS
    }
}

/// Open attempts of one service or peer that got no answer and are late: they began more than a second
/// ago or sent their SYN again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) count: u64,
    /// When the oldest began, since 1970.
    pub(super) oldest: Nanos,
}

impl Waiting {
    pub(super) fn add(&mut self, began: Nanos) {
        self.oldest = if self.count == 0 { began } else { self.oldest.min(began) };
        self.count += 1;
    }

    /// Do they mean that the service fails now, of which so many attempts completed in the last ten
    /// seconds? At least three that are at least a tenth of both together: where packets are lost now
    /// and then, a few always wait. Or one for three seconds, if nothing completed.
    pub(super) fn is_failing(&self, completed: u64, now: Nanos) -> bool {
        let is_many = self.count >= MOST_PATIENT && self.count * 9 >= completed;
        let is_silent = self.count > 0 && completed == 0 && now - self.oldest >= SILENT;
        is_many || is_silent
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(super) struct Incidents {
    all: AHashMap<Who, Failing>,
}

impl Incidents {
    /// An attempt has completed.
    pub(super) fn complete(&mut self, who: Who) {
        if let Some(failing) = self.all.get_mut(&who) {
            failing.completed += 1;
        }
    }

    /// An attempt has failed. `completed` says how many have completed since a time.
    pub(super) fn fail(
        &mut self,
        who: Who,
        attempt: &Attempt,
        to_wall: Nanos,
        completed: impl Fn(Nanos) -> u64,
    ) {
        if self.all.len() >= MOST_FAILING && !self.all.contains_key(&who) {
            return;
        }
        let began = attempt.t_first.saturating_add(to_wall);
        let end = attempt.t_end.unwrap_or(attempt.t_first).saturating_add(to_wall);
        let first = |completed| Failing {
            since: began,
            last: end,
            outcomes: [0; Outcome::ALL.len()],
            completed,
            waiting: 0,
        };
        let failing = self.all.entry(who).or_insert_with(|| first(completed(attempt.t_first)));
        if end.saturating_sub(failing.last) > OVER {
            *failing = first(completed(attempt.t_first));
        }
        // What began earlier may end later.
        failing.since = failing.since.min(began);
        failing.last = failing.last.max(end);
        failing.outcomes[attempt.outcome as usize] += 1;
    }

    /// Forgets what is over.
    pub(super) fn look(&mut self, now: Nanos) {
        self.all.retain(|_, failing| now.saturating_sub(failing.last) <= OVER);
    }

    /// The incident of a service or peer, with those that wait. `completed` says how many have completed
    /// since a time.
    pub(super) fn of(
        &self,
        who: Who,
        waiting: Waiting,
        now: Nanos,
        is_failing: bool,
        completed: impl Fn(Nanos) -> u64,
    ) -> Option<Failing> {
        let ended = self.all.get(&who).copied();
        if !is_failing {
            return ended;
        }
        let begun = || Failing {
            since: waiting.oldest,
            last: now,
            outcomes: [0; Outcome::ALL.len()],
            completed: completed(waiting.oldest),
            waiting: 0,
        };
        let failing = ended.unwrap_or_else(begun);
        let since = failing.since.min(waiting.oldest);
        Some(Failing { since, last: now, waiting: waiting.count, ..failing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{Endpoint, Key};

    const SECOND: Nanos = 1_000_000_000;

    fn who() -> Who {
        Who::Service(([10, 0, 0, 1], 81).into())
    }

    fn attempt(outcome: Outcome, began: Nanos, lasted: Nanos) -> Attempt {
        let end = Endpoint { address: [0; 4], port: 1 };
        let key = Key { client: end, server: end, ip_version: 4 };
        let (t_first, t_end) = (began * SECOND, Some((began + lasted) * SECOND));
        Attempt { t_first, t_end, ..Attempt::blank(key, outcome) }
    }

    fn now(incidents: &Incidents, at: Nanos) -> Option<Failing> {
        incidents.of(who(), Waiting::default(), at * SECOND, false, |_| 0)
    }

    #[test]
    fn eight_refusals_a_pause_of_70_seconds_and_one_more_are_one_failure_of_another_incident() {
        let mut incidents = Incidents::default();
        for second in 0..8 {
            incidents.fail(who(), &attempt(Outcome::Refused, second, 0), 0, |_| 0);
        }
        assert_eq!(now(&incidents, 8).map(|failing| failing.count()), Some(8));
        incidents.fail(who(), &attempt(Outcome::Refused, 77, 0), 0, |_| 0);
        let failing = now(&incidents, 77).expect("it fails");
        assert_eq!((failing.since, failing.count()), (77 * SECOND, 1));
        incidents.look(138 * SECOND);
        assert_eq!(now(&incidents, 138), None);
    }

    #[test]
    fn an_incident_began_when_its_first_attempt_began_and_counts_what_completed_since() {
        let mut incidents = Incidents::default();
        incidents.complete(who());
        incidents.fail(who(), &attempt(Outcome::NoAnswer, 20, 13), 0, |since| {
            assert_eq!(since, 20 * SECOND);
            2
        });
        (0..5).for_each(|_| incidents.complete(who()));
        // Began earlier, ends later.
        incidents.fail(who(), &attempt(Outcome::NoAnswer, 15, 30), 0, |_| 0);
        let failing = now(&incidents, 46).expect("it fails");
        assert_eq!(failing.since, 15 * SECOND);
        assert_eq!((failing.count(), failing.completed), (2, 7));
        assert!((failing.completion() - 7.0 / 9.0).abs() < 1e-9);
    }

    #[test]
    fn attempts_that_wait_are_an_incident_before_they_time_out() {
        let incidents = Incidents::default();
        let mut waiting = Waiting::default();
        for second in [12, 11, 13] {
            waiting.add(second * SECOND);
        }
        let failing = incidents
            .of(who(), waiting, 14 * SECOND, waiting.is_failing(0, 14 * SECOND), |_| 9)
            .expect("it fails");
        assert_eq!((failing.since, failing.waiting, failing.completed), (11 * SECOND, 3, 9));
        for (count, completed, age, is_failing) in [
            (2, 0, 1, false),
            (1, 0, 3, true),
            (1, 1, 9, false),
            (3, 27, 1, true),
            (3, 28, 9, false),
            (0, 0, 9, false),
        ] {
            let waiting = Waiting { count, oldest: 0 };
            let found = waiting.is_failing(completed, age * SECOND);
            assert_eq!(found, is_failing, "{count} wait, {completed} completed, {age} s");
        }
    }

    #[test]
    fn one_refusal_of_a_port_that_never_answered_is_not_told() {
        let mut incidents = Incidents::default();
        for (turn, is_told) in [(1, false), (2, false), (3, true)] {
            incidents.fail(who(), &attempt(Outcome::Refused, turn, 0), 0, |_| 0);
            let failing = now(&incidents, turn).expect("it is known");
            assert_eq!((failing.is_told(false), failing.is_told(true)), (is_told, true));
        }
    }
}
