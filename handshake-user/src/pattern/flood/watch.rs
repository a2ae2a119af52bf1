//! Is a service under a SYN flood? From half-open attempts and completion, not from the rate of SYNs:
//! a busy service that completes its handshakes is no victim.
//!
//! The rule (docs/tui.md): *unfinished handshakes* are those half-open now and those given up as
//! half-open within ten seconds. A flood begins when there are at least [`BEGIN`] and less than half
//! of the handshakes complete, for two seconds, while SYNs come; it ends when none come, there are less
//! than half of [`BEGIN`], or at least 70% complete, for five seconds. Its start and end are the first seconds of these spells.

use crate::attempt::Nanos;

/// Unfinished handshakes that make a flood, if most do not complete.
const BEGIN: u64 = 50;
/// Below this many it is over.
const OVER: u64 = BEGIN / 2;
/// A smaller part completed makes a flood.
const BAD: f64 = 0.5;
/// A part completed at which it is over.
const GOOD: f64 = 0.7;
/// How long the signs must last before it is called a flood.
const BEGIN_FOR: Nanos = 1_900_000_000;
/// How long before it is called over.
const OVER_FOR: Nanos = 4_900_000_000;

/// What there is to judge by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    /// Answered and not acknowledged, now.
    pub(crate) half_open: u64,
    /// Ended as half-open within ten seconds.
    pub(crate) given_up: u64,
    /// Completed within ten seconds.
    pub(crate) completed: u64,
    /// SYNs still come.
    pub(crate) is_arriving: bool,
}

impl Signs {
    fn unfinished(&self) -> u64 {
        self.half_open + self.given_up
    }

    fn completion(&self) -> f64 {
        let all = self.completed + self.unfinished();
        if all == 0 { 1.0 } else { self.completed as f64 / all as f64 }
    }

    fn are_bad(&self) -> bool {
        self.is_arriving && self.unfinished() >= BEGIN && self.completion() < BAD
    }

    fn are_good(&self) -> bool {
        !self.is_arriving || self.unfinished() < OVER || self.completion() >= GOOD
    }
}

/// A flood of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// When it began, since 1970.
    pub start: Nanos,
    /// When it ended; `None` while it lasts.
    pub end: Option<Nanos>,
}

/// Follows one service.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Watch {
    /// Since when the signs have been bad (no flood yet), or good (while there is one).
    since: Option<Nanos>,
    last: Option<Flood>,
}

impl Watch {
    /// The last flood, whether or not it is over.
    pub(crate) fn flood(&self) -> Option<Flood> {
        self.last
    }

    /// Is there anything to remember?
    pub(crate) fn is_idle(&self) -> bool {
        self.since.is_none() && self.last.is_none()
    }

    /// Judges by the signs of this second; returns the flood if it has just begun or ended.
    pub(crate) fn judge(&mut self, now: Nanos, signs: Signs) -> Option<Flood> {
        let ongoing = self.last.filter(|flood| flood.end.is_none());
        let (turning, patience) = match ongoing {
            None => (signs.are_bad(), BEGIN_FOR),
            Some(_) => (signs.are_good(), OVER_FOR),
        };
        if !turning {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) < patience {
            return None;
        }
        self.since = None;
        self.last = Some(match ongoing {
            None => Flood { start: since, end: None },
            Some(flood) => Flood { end: Some(since), ..flood },
        });
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    /// The flood after seconds of signs (half-open, given up, completed), each repeated.
    fn after(spells: &[(i64, (u64, u64, u64))]) -> Option<(i64, Option<i64>)> {
        let mut watch = Watch::default();
        let mut now = 0;
        for (seconds, (half_open, given_up, completed)) in spells {
            for _ in 0..*seconds {
                watch.judge(
                    now * SECOND,
                    Signs {
                        half_open: *half_open,
                        given_up: *given_up,
                        completed: *completed,
                        is_arriving: true,
                    },
                );
                now += 1;
            }
        }
        watch.flood().map(|flood| (flood.start / SECOND, flood.end.map(|end| end / SECOND)))
    }

    #[test]
    fn a_flood_is_told_from_a_busy_service_a_slow_one_and_a_dead_one() {
        let quiet = (0, 0, 10);
        let flood = (2_000, 500, 20);
        for (what, spells, verdict) in [
            ("nothing at all", &[(60, (0, 0, 0))][..], None),
            ("a quiet service", &[(60, quiet)], None),
            ("busy, many on their way, nearly all complete", &[(60, (5_000, 40, 90_000))], None),
            ("a host that never answers has nothing half-open", &[(60, (0, 0, 0))], None),
            ("a few clients behind a broken firewall", &[(60, (20, 20, 0))], None),
            ("just below the number", &[(60, (49, 0, 0))], None),
            ("just the number", &[(60, (50, 0, 0))], Some((0, None))),
            ("half completes", &[(60, (50, 50, 100))], None),
            ("given up ones count", &[(60, (0, 80, 10))], Some((0, None))),
            ("one bad second is none", &[(5, quiet), (1, flood), (60, quiet)], None),
            ("two are, and begin with the first", &[(5, quiet), (3, flood)], Some((5, None))),
            ("it lasts while it lasts", &[(5, quiet), (600, flood)], Some((5, None))),
            ("over", &[(5, quiet), (10, flood), (10, quiet)], Some((5, Some(15)))),
            (
                "not over after four good seconds",
                &[(5, quiet), (10, flood), (4, quiet)],
                Some((5, None)),
            ),
            (
                "a lull does not end it",
                &[(5, quiet), (10, flood), (3, quiet), (10, flood)],
                Some((5, None)),
            ),
            (
                "between begin and end nothing changes",
                &[(5, flood), (60, (30, 0, 30))],
                Some((0, None)),
            ),
            ("clients come through again", &[(5, flood), (20, (100, 0, 400))], Some((0, Some(5)))),
            (
                "a second flood is a new one",
                &[(5, flood), (20, quiet), (5, flood)],
                Some((25, None)),
            ),
        ] {
            assert_eq!(after(spells), verdict, "{what}");
        }
    }

    #[test]
    fn begin_and_end_are_told_once() {
        let bad = Signs { half_open: 500, is_arriving: true, ..Signs::default() };
        let signs = |second| if second < 10 { bad } else { Signs::default() };
        let mut watch = Watch::default();
        let told = (0..20).filter(|second| watch.judge(second * SECOND, signs(*second)).is_some());
        assert_eq!(told.collect::<Vec<_>>(), [2, 15]);
    }
}
