//! Times until which evidence may be missing, and why: everywhere, or at single hooks.

use std::collections::HashMap;

use crate::attempt::{Nanos, SourceId};
use crate::outcome::Doubt;

use super::Tracker;
use super::state::Open;

/// What its owner knows of what it was not told.
impl Tracker {
    /// Events may have been lost at or before `until`: what was open then is uncertain.
    pub fn note_loss(&mut self, until: Nanos) {
        self.doubts.note(Doubt::Loss, until);
    }

    /// At `until` something else was selected: what was open then may lack events of either
    /// selection.
    pub fn note_reload(&mut self, until: Nanos) {
        self.doubts.note(Doubt::Reload, until);
    }

    /// Packets may have been missed until `until`, nobody knows where: what was open then is
    /// uncertain.
    pub fn note_gap_anywhere(&mut self, until: Nanos) {
        self.doubts.note(Doubt::Gap, until);
    }

    /// A hook may have missed packets until `until`: attempts that it saw, open then, are uncertain.
    pub fn note_gap(&mut self, source: SourceId, until: Nanos) {
        self.doubts.note_at(source, until);
    }

    /// Forgets the gaps of hooks that no attempt will name again: those not `known`.
    pub fn forget_gaps(&mut self, known: impl Fn(SourceId) -> bool) {
        self.doubts.forget(known);
    }

    /// Gaps of single hooks that are remembered.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.doubts.gaps()
    }

    /// At `time` flows were sampled: attempts that have used up their allowance may miss copies.
    pub fn note_sampled(&mut self, time: Nanos) {
        self.doubts.note(Doubt::Sampling, time);
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Attempts that began at or before this, by [`Doubt`] in its order.
    anywhere: [Option<Nanos>; Doubt::ALL.len()],
    /// The same for those that were seen at a certain hook.
    gaps: HashMap<SourceId, Nanos>,
}

impl Doubts {
    /// What was open at `until` may lack evidence.
    pub(super) fn note(&mut self, doubt: Doubt, until: Nanos) {
        let noted = &mut self.anywhere[doubt as usize];
        *noted = (*noted).max(Some(until));
    }

    /// What was open at `until` and seen there may lack evidence.
    pub(super) fn note_at(&mut self, source: SourceId, until: Nanos) {
        let noted = self.gaps.entry(source).or_insert(until);
        *noted = until.max(*noted);
    }

    /// Forgets the gaps of hooks that are not `known`.
    pub(super) fn forget(&mut self, known: impl Fn(SourceId) -> bool) {
        self.gaps.retain(|source, _| known(*source));
    }

    /// Single hooks that had a gap.
    pub(super) fn gaps(&self) -> usize {
        self.gaps.len()
    }

    /// Was this noted for `time` or later?
    pub(super) fn was_noted(&self, doubt: Doubt, time: Nanos) -> bool {
        self.anywhere[doubt as usize].is_some_and(|until| time <= until)
    }

    /// Why this attempt may lack evidence; the first of several reasons.
    pub(super) fn of(&self, open: &Open) -> Option<Doubt> {
        let was_open = |doubt: Doubt| self.was_noted(doubt, open.began());
        Doubt::ALL.into_iter().find(|doubt| match doubt {
            Doubt::Loss => open.sampled.is_forgetful() || was_open(*doubt),
            Doubt::Reload => was_open(*doubt),
            Doubt::Gap => was_open(*doubt) || self.has_gap(open),
            Doubt::Sampling => {
                let sampled = open.sampled;
                sampled.is_begun_late() || (sampled.is_exhausted() && was_open(*doubt))
            }
        })
    }

    fn has_gap(&self, open: &Open) -> bool {
        let seen_there =
            |source| self.gaps.get(&source).is_some_and(|until| open.began() <= *until);
        !self.gaps.is_empty() && open.sources().any(seen_there)
    }
}
