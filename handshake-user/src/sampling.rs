//! When fewer flows are let in, and when all are again: user space's part of sampling by flow
//! (`handshake_common::sample`).
//!
//! The programs raise the shift when a ring fills. Here it is lowered, one step at a time, once no
//! ring has been a quarter full for a while. If the programs raise it again at once, that was too
//! early, and the next while is twice as long: under a lasting flood the shift stays where it must be
//! and is tried every few seconds only. Pure but for the word that the programs read.

use std::sync::atomic::{AtomicU64, Ordering};

use handshake_common::sample::Shift;

/// How long the rings must have had room before more flows are let in, in nanoseconds.
const PATIENCE_NS: u64 = 250_000_000;
/// The same after it was too early again and again.
const MAX_PATIENCE_NS: u64 = 8_000_000_000;
/// A ring has room for twice as many flows below this part of it: twice that is not yet the half at
/// which the programs begin.
const ROOM: u64 = 4;

/// How many flows of how many are followed.
#[must_use]
pub fn one_in(shift: Shift) -> u64 {
    1 << shift.min(63)
}

/// What has changed since it was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// In force now: 0 is all flows.
    pub shift: Shift,
    /// Largest since it was last told.
    pub highest: Shift,
    /// In force when it was last told.
    pub before: Shift,
}

impl Change {
    /// Is there anything to tell?
    #[must_use]
    pub fn is_news(self) -> bool {
        self.shift != self.before || self.highest > self.before
    }
}

/// See the module.
#[derive(Debug)]
pub struct Sampling {
    shift: Shift,
    highest: Shift,
    told: Shift,
    highest_untold: Shift,
    /// Since when no ring was a quarter full.
    quiet_since_ns: u64,
    patience_ns: u64,
    /// When it was lowered last, until that has proved right or too early.
    lowered_ns: Option<u64>,
    first_ns: Option<u64>,
    since_ns: Option<u64>,
    /// Of the spells that are over.
    lasted_ns: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            shift: 0,
            highest: 0,
            told: 0,
            highest_untold: 0,
            quiet_since_ns: 0,
            patience_ns: PATIENCE_NS,
            lowered_ns: None,
            first_ns: None,
            since_ns: None,
            lasted_ns: 0,
        }
    }
}

impl Sampling {
    /// Looks at the word that the programs read, and at the fullest ring, at `now_ns`. Returns the
    /// shift that was in force until `now_ns` if it was lowered.
    pub fn step(
        &mut self,
        word: &AtomicU64,
        now_ns: u64,
        fill_bytes: u64,
        ring_bytes: u64,
    ) -> Option<Shift> {
        let found = word.load(Ordering::Relaxed);
        self.observe(found.min(u64::from(Shift::MAX)) as Shift, now_ns);
        if fill_bytes >= ring_bytes / ROOM {
            self.quiet_since_ns = now_ns;
        }
        if self.shift == 0 || now_ns.saturating_sub(self.quiet_since_ns) < self.patience_ns {
            return None;
        }
        let lower = found.checked_sub(1)?;
        // If a program has raised it meanwhile, there is no hurry.
        word.compare_exchange(found, lower, Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let from = self.shift;
        if self.lowered_ns.is_some() {
            self.patience_ns = (self.patience_ns / 2).max(PATIENCE_NS);
        }
        self.lowered_ns = Some(now_ns);
        self.quiet_since_ns = now_ns;
        self.set(lower as Shift, now_ns);
        Some(from)
    }

    fn observe(&mut self, found: Shift, now_ns: u64) {
        if found <= self.shift {
            return;
        }
        let recent = |lowered: u64| now_ns.saturating_sub(lowered) <= self.patience_ns;
        if self.lowered_ns.take().is_some_and(recent) {
            self.patience_ns = (self.patience_ns * 2).min(MAX_PATIENCE_NS);
        }
        self.quiet_since_ns = now_ns;
        self.set(found, now_ns);
    }

    fn set(&mut self, shift: Shift, now_ns: u64) {
        self.shift = shift;
        self.highest = self.highest.max(shift);
        self.highest_untold = self.highest_untold.max(shift);
        if shift > 0 {
            self.first_ns.get_or_insert(now_ns);
            self.since_ns.get_or_insert(now_ns);
        } else if let Some(since) = self.since_ns.take() {
            self.lasted_ns += now_ns.saturating_sub(since);
        }
    }

    /// In force now.
    #[must_use]
    pub fn shift(&self) -> Shift {
        self.shift
    }

    /// Largest so far.
    #[must_use]
    pub fn highest(&self) -> Shift {
        self.highest
    }

    /// When flows were first left out, in nanoseconds of boot time.
    #[must_use]
    pub fn first_ns(&self) -> Option<u64> {
        self.first_ns
    }

    /// For how long flows were left out until `now_ns`.
    #[must_use]
    pub fn lasted_ns(&self, now_ns: u64) -> u64 {
        self.lasted_ns + self.since_ns.map_or(0, |since| now_ns.saturating_sub(since))
    }

    /// What has changed since the last call.
    pub fn change(&mut self) -> Change {
        let change = Change { shift: self.shift, highest: self.highest_untold, before: self.told };
        self.told = self.shift;
        self.highest_untold = self.shift;
        change
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const RING: u64 = 4096;

    /// Steps every millisecond with empty rings until the word is 0; the times of each lowering.
    fn recover(sampling: &mut Sampling, word: &AtomicU64, mut now_ns: u64) -> Vec<u64> {
        let mut times = Vec::new();
        while word.load(Ordering::Relaxed) > 0 {
            now_ns += MS;
            if sampling.step(word, now_ns, 0, RING).is_some() {
                times.push(now_ns);
            }
        }
        times
    }

    #[test]
    fn what_the_programs_raised_is_lowered_step_by_step() {
        let (mut sampling, word) = (Sampling::default(), AtomicU64::new(0));
        assert_eq!(sampling.step(&word, 0, RING, RING), None);
        assert!(!sampling.change().is_news());
        word.store(3, Ordering::Relaxed);
        assert_eq!(sampling.step(&word, MS, RING, RING), None);
        let started = Change { shift: 3, highest: 3, before: 0 };
        assert_eq!(sampling.change(), started);
        assert!(started.is_news() && !sampling.change().is_news());
        let times = recover(&mut sampling, &word, MS);
        let patience = PATIENCE_NS;
        assert_eq!(times, [1, 2, 3].map(|step| MS + step * patience));
        assert_eq!(sampling.change(), Change { shift: 0, highest: 3, before: 3 });
        assert_eq!((sampling.highest(), sampling.first_ns()), (3, Some(MS)));
        assert_eq!(sampling.lasted_ns(u64::MAX), 3 * patience);
    }

    #[test]
    fn a_ring_that_is_not_nearly_empty_keeps_it_where_it_is() {
        let (mut sampling, word) = (Sampling::default(), AtomicU64::new(2));
        for step in 0..1000 {
            assert_eq!(sampling.step(&word, step * 100 * MS, RING / 4, RING), None);
        }
        assert_eq!(sampling.step(&word, 100_200 * MS, RING / 4 - 1, RING), Some(2));
    }

    #[test]
    fn lowering_too_early_is_tried_more_and_more_seldom() {
        let (mut sampling, word) = (Sampling::default(), AtomicU64::new(4));
        let mut tries = 0;
        for step in 0..60_000 {
            if sampling.step(&word, step * MS, 0, RING).is_some() {
                tries += 1;
                // The flood is still there.
                word.store(4, Ordering::Relaxed);
            }
        }
        // 0.25, 0.5, 1, 2, 4, then every 8 s of a minute.
        assert_eq!(tries, 5 + (60_000 - 7_750) / 8_000);
        // Once it has gone, each step that proves right halves the wait.
        let times = recover(&mut sampling, &word, 60_000 * MS);
        let waits: Vec<u64> = times.windows(2).map(|two| (two[1] - two[0]) / MS).collect();
        assert_eq!(waits, [8000, 4000, 2000]);
    }

    #[test]
    fn a_spell_between_two_tellings_is_told() {
        let (mut sampling, word) = (Sampling::default(), AtomicU64::new(1));
        sampling.step(&word, MS, RING, RING);
        recover(&mut sampling, &word, MS);
        assert_eq!(sampling.change(), Change { shift: 0, highest: 1, before: 0 });
    }
}
