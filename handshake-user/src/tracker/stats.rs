//! The tracker's counts. Started = ended + open, and everything is counted when it happens.

use crate::outcome::Outcome;

use super::state::Extras;

/// Counts of what the tracker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Attempts begun.
    pub started: u64,
    /// Attempts ended, by [`Outcome`] in its order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Copies of the SYN beyond the first, over all attempts, counted when they are seen.
    pub syn_retrans: u64,
    /// Copies of SYN-ACKs, likewise.
    pub synack_retrans: u64,
    /// SYNs and SYN-ACKs of attempts that had ended.
    pub late_copies: u64,
    /// SYN-ACKs that answered no SYN of theirs, likewise.
    pub bad_synack: u64,
    /// RSTs that belonged to no attempt, likewise.
    pub bad_rst: u64,
    /// Attempts that ended as uncertain.
    pub uncertain: u64,
    /// Entries of the filter's table that were removed because their attempts had ended.
    pub retired: u64,
    /// [`Stats::started`], had no flow been sampled out: an estimate.
    pub started_estimate: u64,
    /// [`Stats::outcomes`], likewise.
    pub outcomes_estimate: [u64; Outcome::ALL.len()],
}

impl Stats {
    /// Attempts that ended with `outcome`.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Attempts ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// A segment has made the counts of an open attempt grow.
    pub(super) fn take_growth(&mut self, before: &Extras, after: &Extras) {
        if before == after {
            return;
        }
        let grown = |of: fn(&Extras) -> u32| u64::from(of(after).saturating_sub(of(before)));
        self.syn_retrans += grown(|extras| extras.syn_retrans);
        self.synack_retrans += grown(|extras| extras.synack_retrans);
        self.bad_synack += grown(|extras| extras.bad_synack);
        self.bad_rst += grown(|extras| extras.bad_rst);
    }
}
