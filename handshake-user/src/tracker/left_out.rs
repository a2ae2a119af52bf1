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
    use handshake_common::event::{Event, flag, kind};
    use handshake_common::packet::tunnel::Layers;

    use super::*;
    use crate::attempt::Observation;
    use crate::outcome::{Doubt, EndedBy, Outcome};
    use crate::tracker::{Config, Tracker};

    const SECOND: Nanos = 1_000_000_000;

    /// A segment between one client and the server, let in by `sample_shift`.
    fn segment(kind: u8, client: u16, time: Nanos, sample_shift: Shift) -> Observation {
        let (source_port, dest_port) =
            if kind == kind::SYN_ACK { (443, client) } else { (client, 443) };
        let event = Event {
            time_ns: time as u64,
            kind,
            ip_version: 4,
            source_port,
            dest_port,
            seq: u32::from(kind == kind::ACK),
            ack: u32::from(kind != kind::SYN),
            sample_shift,
            ..Event::ZERO
        };
        Observation { event, source: 0, frame: 0, layers: Layers::NONE }
    }

    fn tracker() -> Tracker {
        Tracker::new(Config { timeout: 10 * SECOND, linger: 60 * SECOND, max_attempts: 100 })
    }

    #[test]
    fn silence_of_what_may_have_begun_before_is_no_failure() {
        let mut tracker = tracker();
        // Let in by the larger shift: nothing of it was left out before.
        tracker.observe(&segment(kind::SYN, 1, 99 * SECOND, 3));
        tracker.note_sampling_lowered(3, 100 * SECOND);
        tracker.observe(&segment(kind::SYN, 2, 101 * SECOND, 2));
        tracker.observe(&segment(kind::SYN_ACK, 3, 102 * SECOND, 2));
        tracker.observe(&segment(kind::SYN_ACK, 4, 103 * SECOND, 0));
        tracker.observe(&segment(kind::ACK, 4, 103 * SECOND, 0));
        // The linger time is over: a SYN is the first of its attempt.
        tracker.observe(&segment(kind::SYN, 5, 161 * SECOND, 2));
        tracker.expire(300 * SECOND);
        tracker.finish();
        let mut ended: Vec<_> = tracker.drain().collect();
        ended.sort_by_key(|attempt| attempt.id);
        let told: Vec<_> =
            ended.iter().map(|one| (one.outcome, one.ended_by, one.uncertain)).collect();
        let doubt = Some(Doubt::Sampling);
        assert_eq!(
            told,
            [
                (Outcome::NoAnswer, EndedBy::Timeout, None),
                (Outcome::Unfinished, EndedBy::Loss, doubt),
                (Outcome::Unfinished, EndedBy::Loss, doubt),
                (Outcome::CompletedPartial, EndedBy::Handshake, doubt),
                (Outcome::NoAnswer, EndedBy::Timeout, None),
            ]
        );
    }

    #[test]
    fn silence_of_what_may_miss_copies_is_no_failure() {
        let exhausted = |kind, client, time| {
            let mut seen = segment(kind, client, time, 0);
            seen.event.flags = flag::EXHAUSTED;
            seen
        };
        for (sampled_at, uncertain) in [(None, false), (Some(99), false), (Some(101), true)] {
            let mut tracker = tracker();
            if let Some(time) = sampled_at {
                tracker.note_sampled(time * SECOND);
            }
            for client in 1..=4 {
                tracker.observe(&segment(kind::SYN, client, 100 * SECOND, 0));
            }
            tracker.observe(&exhausted(kind::SYN, 2, 100 * SECOND));
            tracker.observe(&exhausted(kind::SYN_ACK, 3, 100 * SECOND));
            tracker.observe(&exhausted(kind::SYN, 4, 100 * SECOND));
            tracker.observe(&segment(kind::SYN_ACK, 4, 100 * SECOND, 0));
            tracker.observe(&segment(kind::ACK, 4, 100 * SECOND, 0));
            // The first of an attempt can say so, too.
            tracker.observe(&exhausted(kind::SYN, 5, 100 * SECOND));
            tracker.expire(200 * SECOND);
            let mut ended: Vec<_> = tracker.drain().collect();
            ended.sort_by_key(|attempt| attempt.id);
            let told = ended.iter().map(|one| (one.outcome, one.uncertain.is_some()));
            let silence = |outcome| if uncertain { Outcome::Unfinished } else { outcome };
            assert_eq!(
                told.collect::<Vec<_>>(),
                [
                    (Outcome::NoAnswer, false),
                    (silence(Outcome::NoAnswer), uncertain),
                    (silence(Outcome::HalfOpen), uncertain),
                    (Outcome::Completed, uncertain),
                    (silence(Outcome::NoAnswer), uncertain),
                ]
            );
        }
    }

    #[test]
    fn an_attempt_stands_for_as_many_as_its_first_event_says() {
        let mut tracker = tracker();
        for (client, shift) in [(1, 0), (2, 3), (3, 7)] {
            tracker.observe(&segment(kind::SYN, client, SECOND, shift));
            // A pending flow is always let in: its copies say nothing of what was left out.
            tracker.observe(&segment(kind::SYN, client, 2 * SECOND, 0));
            tracker.observe(&segment(kind::SYN_ACK, client, 3 * SECOND, 0));
        }
        tracker.observe(&segment(kind::ACK, 3, 3 * SECOND, 0));
        tracker.finish();
        let stats = tracker.stats();
        let of = |outcome| stats.outcomes_estimate[outcome as usize];
        assert_eq!((stats.started, stats.started_estimate), (3, 1 + 8 + 128));
        assert_eq!((of(Outcome::Completed), of(Outcome::Unfinished)), (128, 1 + 8));
        assert_eq!(tracker.drain().map(|one| one.sample_shift).max(), Some(7));
    }

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
