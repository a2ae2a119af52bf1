//! The tracker against senders who make things up.

use handshake_common::event::{Event, kind};
use handshake_common::packet::tunnel::Layers;

use super::*;

const SECOND: Nanos = 1_000_000_000;

fn tracker(max_attempts: usize) -> Tracker {
    Tracker::new(Config { timeout: 10 * SECOND, linger: 60 * SECOND, max_attempts })
}

/// A segment between a client and one server, whose ISNs are 100 and `isn`.
fn segment(kind: u8, client: u32, isn: u32, time: Nanos) -> Observation {
    let (client, server) = (([0, 0, 0, client], 4000), ([0, 0, 0, u32::MAX], 443));
    let is_answer = kind == kind::SYN_ACK;
    let (source, dest) = if is_answer { (server, client) } else { (client, server) };
    let (seq, ack, tcp_flags) = match kind {
        kind::SYN => (100, 0, 0x02),
        kind::SYN_ACK => (isn, 101, 0x12),
        _ => (101, isn.wrapping_add(1), 0x10),
    };
    let event = Event {
        time_ns: time.cast_unsigned(),
        kind,
        ip_version: 4,
        source: source.0,
        source_port: source.1,
        dest: dest.0,
        dest_port: dest.1,
        seq,
        ack,
        tcp_flags,
        ..Event::ZERO
    };
    Observation { event, source: 0, frame: 0, layers: Layers::NONE }
}

/// The server repeats its SYN-ACK a second after the handshake; meanwhile a flood has evicted many
/// times as many as are remembered.
#[test]
fn a_flood_that_is_evicted_makes_no_attempt_of_a_late_answer() {
    let mut tracker = tracker(100);
    for kind in [kind::SYN, kind::SYN_ACK, kind::ACK] {
        tracker.observe(&segment(kind, 1, 900, 0));
    }
    for client in 2..10_000 {
        tracker.observe(&segment(kind::SYN, client, 0, SECOND / 2));
        assert!(tracker.remembered() <= 100);
    }
    let late = tracker.observe(&segment(kind::SYN_ACK, 1, 900, SECOND));
    assert_eq!((late.verdict, late.attempt), (Verdict::LateCopy, Some(1)));
    // The youngest of those evicted are known, too.
    let evicted = tracker.observe(&segment(kind::SYN_ACK, 9_890, 900, SECOND));
    assert_eq!((evicted.verdict, evicted.attempt), (Verdict::LateCopy, Some(9_890)));
    tracker.expire(100 * SECOND);
    tracker.expire(200 * SECOND);
    assert_eq!((tracker.remembered(), tracker.table.evicted()), (0, 0), "all are forgotten");
}

#[test]
fn half_of_what_is_remembered_is_for_those_evicted() {
    let mut tracker = tracker(100);
    for client in 1..=1_000 {
        for kind in [kind::SYN, kind::SYN_ACK, kind::ACK] {
            tracker.observe(&segment(kind, client, 900, 0));
        }
    }
    assert_eq!((tracker.remembered(), tracker.table.evicted()), (100, 0));
    for client in 2_000..3_000 {
        tracker.observe(&segment(kind::SYN, client, 0, 0));
    }
    assert_eq!((tracker.remembered(), tracker.table.evicted()), (100, 50));
}

/// Whoever sends SYN-ACKs with ever new numbers, of which the client may take any.
#[test]
fn made_up_answers_take_bounded_room() {
    const MOST: u32 = 3_200;
    let mut tracker = tracker(MOST as usize);
    for client in 0..MOST {
        tracker.observe(&segment(kind::SYN, client, 0, 0));
        for isn in 0..50 {
            let judged = tracker.observe(&segment(kind::SYN_ACK, client, 7 + isn * 1_000_000, 0));
            assert_ne!(judged.verdict, Verdict::BadSynAck);
        }
        let kept: usize = tracker.table.iter().map(|(_, open)| open.further()).sum();
        assert_eq!(kept, tracker.further, "they are counted");
        assert!(kept <= MOST as usize / 16, "{kept} after {client}");
    }
    // The first answer is always known, and what has ended makes room.
    for client in 0..MOST {
        tracker.observe(&segment(kind::ACK, client, 7, 1));
    }
    assert_eq!((tracker.stats.of(Outcome::Completed), tracker.further), (u64::from(MOST), 0));
}

#[test]
fn silence_after_answers_that_were_not_kept_is_no_failure() {
    let mut tracker = tracker(100);
    for client in 0..10 {
        tracker.observe(&segment(kind::SYN, client, 0, 0));
        for isn in 0..client * 10 {
            tracker.observe(&segment(kind::SYN_ACK, client, 7 + isn * 1_000_000, 0));
        }
    }
    // Of one of them, an answer that nobody remembers.
    tracker.observe(&segment(kind::ACK, 9, 7 + 89 * 1_000_000, 1));
    tracker.expire(100 * SECOND);
    let mut told: Vec<_> =
        tracker.drain().map(|one| (one.id, one.outcome, one.uncertain)).collect();
    told.sort_unstable_by_key(|(id, ..)| *id);
    assert_eq!(told[0], (1, Outcome::NoAnswer, None));
    assert_eq!(told[9], (10, Outcome::Unfinished, Some(Doubt::Loss)));
}

/// Its SYNs are let in because it is pending, whatever its number: the sample it came by is that of
/// its first.
#[test]
fn what_begins_on_a_pending_flow_stands_for_as_many_as_before() {
    let begin = |tracker: &mut Tracker, isn, time, sample_shift| {
        let mut syn = segment(kind::SYN, 1, 0, time);
        (syn.event.seq, syn.event.sample_shift) = (isn, sample_shift);
        tracker.note_sampled(20 * SECOND);
        tracker.observe(&syn)
    };
    let mut tracker = tracker(100);
    begin(&mut tracker, 1, SECOND, 3);
    // Superseded, and once more after a time-out.
    begin(&mut tracker, 2, 2 * SECOND, 0);
    begin(&mut tracker, 3, 15 * SECOND, 0);
    assert_eq!((tracker.stats.started, tracker.stats.started_estimate), (3, 24));
    // A larger sample of which it is a part; then all flows are followed again.
    begin(&mut tracker, 4, 16 * SECOND, 1);
    begin(&mut tracker, 5, 21 * SECOND, 0);
    assert_eq!((tracker.stats.started, tracker.stats.started_estimate), (5, 24 + 2 + 1));
    tracker.finish();
    assert_eq!(tracker.stats.outcomes_estimate.iter().sum::<u64>(), 27);
}

/// The other end of an answered attempt opens one of its own: a flow is pending in both directions.
#[test]
fn what_the_other_end_begins_on_a_pending_flow_stands_for_as_many() {
    let mut tracker = tracker(100);
    tracker.note_sampled(20 * SECOND);
    let mut syn = segment(kind::SYN, 1, 0, SECOND);
    syn.event.sample_shift = 3;
    tracker.observe(&syn);
    tracker.observe(&segment(kind::SYN_ACK, 1, 900, SECOND));
    let mut back = segment(kind::SYN, 1, 0, 2 * SECOND);
    let Event { source, source_port, dest, dest_port, .. } = syn.event;
    (back.event.source, back.event.source_port) = (dest, dest_port);
    (back.event.dest, back.event.dest_port) = (source, source_port);
    assert_eq!(tracker.observe(&back).verdict, Verdict::Begins);
    assert_eq!((tracker.stats.started, tracker.stats.started_estimate), (2, 16));
}

/// More is due at the end than one call of `expire` ends, and nothing else is open: whoever hands out
/// in portions must hear of it.
#[test]
fn what_was_due_at_the_end_is_handed_out_too() {
    let mut tracker = tracker(10_000);
    for client in 0..5_000 {
        tracker.observe(&segment(kind::SYN, client, 0, 0));
    }
    tracker.expire(60 * SECOND);
    let mut handed_out = tracker.drain().count();
    assert!(handed_out < 5_000, "more than one call ends");
    while tracker.finish_some(10) {
        handed_out += tracker.drain().count();
    }
    assert_eq!(handed_out, 5_000);
}
