//! Alarms that the person has acknowledged: they leave the banner, and come back with a new occurrence.

use crate::attempt::Nanos;
use crate::board::{Alarms, Board, Who};
use crate::pattern::Flood;

/// See the module: the alarms as they were then.
#[derive(Debug, Clone, Default)]
pub(super) struct Acknowledged {
    alarms: Alarms,
    /// Which, and since when.
    floods: Vec<(Who, Nanos)>,
}

impl Acknowledged {
    /// Everything that there is now.
    pub(super) fn of(board: &Board) -> Self {
        Self { alarms: board.alarms.clone(), floods: floods(board).collect() }
    }

    /// What there is besides.
    pub(super) fn unknown(&self, alarms: &Alarms) -> Alarms {
        let mut new = alarms.clone();
        let known = &self.alarms;
        new.lost
            .retain(|reason, lost| known.lost.get(reason).map(|one| one.times) != Some(lost.times));
        new.blind.forget(&known.blind);
        new.degraded.forget(&known.degraded);
        new.sampled = new.sampled.filter(|sampled| {
            let is_known = |told: &crate::board::Sampled| {
                told.highest_one_in >= sampled.highest_one_in && told.one_in >= sampled.one_in
            };
            !known.sampled.as_ref().is_some_and(is_known)
        });
        new
    }

    /// Is this flood known?
    pub(super) fn has_flood(&self, who: Who, start: Nanos) -> bool {
        self.floods.contains(&(who, start))
    }

    /// How many alarms are told.
    pub(super) fn told(&self, board: &Board) -> usize {
        let new = self.unknown(&board.alarms);
        let floods = floods(board).filter(|(who, start)| !self.has_flood(*who, *start)).count();
        new.lost.len()
            + new.blind.lasting().chain(new.blind.over()).count()
            + new.degraded.iter().count()
            + usize::from(new.degraded.more() > 0)
            + usize::from(new.sampled.is_some())
            + floods
    }
}

/// The floods that go on.
fn floods(board: &Board) -> impl Iterator<Item = (Who, Nanos)> {
    board.services.iter().filter_map(|standing| match standing.flood {
        Some(Flood { start, end: None }) => Some((standing.who, start)),
        _ => None,
    })
}
