//! Attempts that may have begun before we saw them, because their flow was sampled out at first.
//!
//! Samples are nested, so while the shift rises or stays, a flow that is in the sample has been in it
//! all along. When it falls, flows are let in whose SYN, or whole handshake, passed unseen; what
//! comes of them then (a SYN-ACK, a copy of the SYN) looks like the beginning of an attempt. For the
//! linger time, in which a copy would have been known as one, nobody can tell.

use handshake_common::sample::{MAX_SHIFT, Shift};

use crate::attempt::Nanos;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// By shift: the times in which a smaller one follows it.
    after: [Option<(Nanos, Nanos)>; MAX_SHIFT as usize + 1],
}

impl LeftOut {
    /// `shift` was in force until `time` and then became smaller.
    pub(super) fn note(&mut self, shift: Shift, time: Nanos, linger: Nanos) {
        let Some(after) = self.after.get_mut(usize::from(shift)) else { return };
        let from = match *after {
            Some((from, until)) if until >= time => from,
            _ => time,
        };
        *after = Some((from, time.saturating_add(linger)));
    }

    /// May an attempt that was let in by `shift` at `time` have begun before?
    pub(super) fn concerns(&self, shift: Shift, time: Nanos) -> bool {
        let larger = self.after.iter().skip(usize::from(shift) + 1).flatten();
        larger.into_iter().any(|(from, until)| (*from..=*until).contains(&time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shift_that_fell_and_only_for_the_linger_time_makes_doubtful() {
        let mut left_out = LeftOut::default();
        assert!(!left_out.concerns(0, 100));
        left_out.note(3, 100, 60);
        for (shift, time, doubtful) in [
            // Before it fell, all flows that were let in by 0 came before it rose.
            (0, 99, false),
            (0, 100, true),
            (2, 160, true),
            (2, 161, false),
            (3, 120, false),
            (7, 120, false),
        ] {
            assert_eq!(left_out.concerns(shift, time), doubtful, "{shift} at {time}");
        }
    }

    #[test]
    fn spells_that_overlap_are_one() {
        let mut left_out = LeftOut::default();
        left_out.note(1, 100, 60);
        left_out.note(1, 150, 60);
        assert!(left_out.concerns(0, 120) && left_out.concerns(0, 210));
        left_out.note(1, 300, 60);
        assert!(!left_out.concerns(0, 250) && left_out.concerns(0, 300));
    }
}
