//! Times until which evidence may be missing, and why: everywhere, at single hooks, in single rings, or
//! in entries of the filter's table that each attempt is looked up for (`entries`).

use std::collections::HashMap;

use handshake_common::event::RINGS;

use crate::attempt::{Nanos, SourceId};
use crate::outcome::{Doubt, Outcome};

use super::Tracker;
use super::state::Open;

/// What its owner knows of what it was not told.
impl Tracker {
    /// Events of a ring may have been lost at or before `until`: uncertain is what was open then, and
    /// seen through that ring or from one side only.
    pub fn note_lost_events(&mut self, ring: u8, until: Nanos) {
        self.doubts.note_in(ring, until);
    }

    /// Events may have been lost at or before `until`, nobody knows in which ring: what was open then
    /// is uncertain.
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
#[derive(Debug)]
pub(super) struct Doubts {
    /// Attempts that began at or before this, by [`Doubt`] in its order.
    anywhere: [Option<Nanos>; Doubt::ALL.len()],
    /// The same for those that were seen at a certain hook.
    gaps: HashMap<SourceId, Nanos>,
    /// The same for those that were seen through a certain ring.
    rings: [Option<Nanos>; RINGS as usize],
    /// The latest of these.
    any_ring: Option<Nanos>,
    /// Attempts that began at or before this may have lost their entries.
    forgotten: Option<Nanos>,
    /// How long before a SYN-ACK without a SYN that SYN may have been lost.
    linger: Nanos,
}

impl Doubts {
    pub(super) fn new(linger: Nanos) -> Self {
        Self {
            anywhere: [None; Doubt::ALL.len()],
            gaps: HashMap::new(),
            rings: [None; RINGS as usize],
            any_ring: None,
            forgotten: None,
            linger,
        }
    }

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

    /// Events of this ring may have been lost at or before `until`.
    fn note_in(&mut self, ring: u8, until: Nanos) {
        let noted = &mut self.rings[usize::from(ring % RINGS)];
        *noted = (*noted).max(Some(until));
        self.any_ring = self.any_ring.max(Some(until));
    }

    /// Entries may have been lost at or before `until`.
    pub(super) fn note_forgetting(&mut self, until: Nanos) {
        self.forgotten = self.forgotten.max(Some(until));
    }

    /// May its entry have been lost?
    pub(super) fn may_be_forgotten(&self, open: &Open) -> bool {
        Some(open.began()) <= self.forgotten
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
        Doubt::ALL.into_iter().find(|doubt| self.has(*doubt, open))
    }

    /// The same for one that ends so: of a handshake whose three segments have been seen, nothing that
    /// was lost could have made anything else.
    pub(super) fn of_ended(&self, open: &Open, outcome: Outcome) -> Option<Doubt> {
        let told = |doubt: &Doubt| *doubt != Doubt::Loss || outcome != Outcome::Completed;
        Doubt::ALL.into_iter().filter(told).find(|doubt| self.has(*doubt, open))
    }

    fn has(&self, doubt: Doubt, open: &Open) -> bool {
        let was_open = |doubt: Doubt| self.was_noted(doubt, open.began());
        match doubt {
            Doubt::Loss => open.sampled.is_lossy() || was_open(doubt) || self.has_lost(open),
            Doubt::Reload => was_open(doubt),
            Doubt::Gap => was_open(doubt) || self.has_gap(open),
            Doubt::Sampling => {
                let sampled = open.sampled;
                sampled.is_begun_late() || (sampled.is_exhausted() && was_open(doubt))
            }
        }
    }

    /// Can what was lost in rings have been of this attempt? One that was seen from both sides comes
    /// through the rings through which it came before; which ring the unseen side of another would
    /// have come through, nobody knows. A SYN-ACK without a SYN may be all that is left of an attempt.
    fn has_lost(&self, open: &Open) -> bool {
        let unseen = if open.has_syn { 0 } else { self.linger };
        let began = open.began().saturating_sub(unseen);
        let since = |until: &Option<Nanos>| Some(began) <= *until;
        if !since(&self.any_ring) {
            return false;
        }
        let seen_through = open.rings();
        let lossy = |(ring, until)| seen_through >> ring & 1 != 0 && since(until);
        !open.is_two_sided() || self.rings.iter().enumerate().any(lossy)
    }

    fn has_gap(&self, open: &Open) -> bool {
        let seen_there =
            |source| self.gaps.get(&source).is_some_and(|until| open.began() <= *until);
        !self.gaps.is_empty() && open.sources().any(seen_there)
    }
}
