//! What holds for the tracker whatever happens: any events in any order, with any numbers.
//!
//! The conversations are those of the fuzz target, drawn here by seed, with numbers that are more
//! often right than a fuzzer's.

#[expect(unreachable_pub, reason = "a crate of its own when a fuzzer runs it")]
#[expect(dead_code, reason = "the fuzz target draws its conversations from bytes")]
#[path = "../../fuzz/src/tracker.rs"]
mod tracker;

mod losses;

use std::collections::HashSet;

use handshake_common::event::kind;
use handshake_common::packet::tunnel::Layers;
use handshake_tests::random::Random;
use handshake_user::attempt::Observation;
use handshake_user::outcome::Outcome;
use handshake_user::tracker::{Config, Stats, Tracker};
use tracker::{Closed, Conversation, Ledger, Number, Packet, Step, Wait, What, check};

const SECOND: i64 = 1_000_000_000;

fn number(random: &mut Random) -> Number {
    match random.below(12) {
        0 => Number::Beside(random.of(&[-2, -1, 1, 2, 5, 6])),
        1 => Number::Edge(random.of(&[-1, 0, 1])),
        2 => Number::Other(1),
        3 => Number::Any(random.bits() as u32),
        _ => Number::Expected,
    }
}

fn packet(random: &mut Random, flows: usize, order: usize) -> Packet {
    let kind = random.of(&[0, 0, 0, 1, 1, 2, 2, 3, 4]);
    let from_a = match kind {
        0 => random.below(order) > 0,
        1 => random.below(order) == 0,
        _ => random.below(2) == 0,
    };
    Packet {
        kind,
        flow: random.below(flows) as u8,
        from_a,
        seq: number(random),
        ack: number(random),
        payload: random.of(&[0, 0, 0, 129, 133]),
        flags: random.below(4) as u8,
        source: random.below(4) == 0,
    }
}

/// The conversation of a seed. SYNs come from A and SYN-ACKs from B, but for one in `order`.
fn conversation(seed: u64, order: usize) -> Conversation {
    let mut random = Random::new(seed);
    let flows = random.of(&[1, 2, 8]);
    let step = |random: &mut Random| {
        let wait = match random.below(16) {
            0 => Wait::Seconds(random.of(&[1, 3, 9, 10, 11, 61, 127])),
            1 => Wait::Seconds(random.of(&[-1, -20])),
            2..=5 => Wait::Short(random.bits() as u8),
            _ => Wait::None,
        };
        let what = match random.below(20) {
            0 => What::Expire,
            1 => What::Loss,
            _ => What::Packet(packet(random, flows, order)),
        };
        Step { wait, what }
    };
    let steps = (0..random.below(60)).map(|_| step(&mut random)).collect();
    Conversation { limit: random.of(&[0, 1, 3, 15]), hasty: random.below(4) == 0, steps }
}

/// Started = ended + open after every step, limits kept, each attempt ended once, none overlapping
/// another of its key: all in [`check`].
#[test]
fn books_balance_after_any_sequence() {
    let (mut attempts, mut outcomes) = (0, HashSet::new());
    for seed in 1..=20_000 {
        let ended = std::panic::catch_unwind(|| check(&conversation(seed, 6)));
        let ended = ended.unwrap_or_else(|_| panic!("seed {seed}: {:#?}", conversation(seed, 6)));
        attempts += ended.len();
        outcomes.extend(ended.iter().map(|attempt| attempt.outcome));
    }
    println!("{attempts} attempts ended");
    assert_eq!(outcomes.len(), Outcome::ALL.len(), "every outcome occurs: {outcomes:?}");
}

fn without_limits() -> Config {
    Config { timeout: 10 * SECOND, linger: 60 * SECOND, max_attempts: 1000 }
}

/// Runs the packets, each seen `copies` times, by a hook of its own each.
fn seen_by(steps: &[(i64, Packet)], copies: u32) -> (Closed, Stats) {
    let mut ledger = Ledger::new(without_limits());
    for ((time, packet), frame) in steps.iter().zip(1..) {
        for source in 0..copies {
            let event = packet.event(*time);
            let layers = Layers::NONE;
            ledger.observe(&Observation { event, source, frame, layers });
            ledger.balance();
        }
    }
    let stats = *ledger.tracker.stats();
    (ledger.close(), stats)
}

fn timed(conversation: &Conversation) -> Vec<(i64, Packet)> {
    let mut now = 0;
    let timed = |step: &Step| {
        now += match step.wait {
            Wait::None | Wait::At(_) => 0,
            Wait::Short(ms) => i64::from(ms) * 1_000_000,
            Wait::Seconds(seconds) => i64::from(seconds.abs()) * SECOND,
        };
        match step.what {
            What::Packet(packet) => Some((now, packet)),
            What::Expire | What::Loss => None,
        }
    };
    conversation.steps.iter().filter_map(timed).collect()
}

/// A second interface or hook that sees the same packets a moment later.
///
/// Except where two hosts have attempts both ways with the same ports: there the copy of a segment
/// that ended the one attempt may mean the other.
#[test]
fn copies_from_a_second_source_change_nothing() {
    let differ = |steps: &[(i64, Packet)]| {
        let ((once, stats), (twice, stats_twice)) = (seen_by(steps, 1), seen_by(steps, 2));
        !once.crossed && (once.attempts != twice.attempts || stats != stats_twice)
    };
    let (mut attempts, mut crossed) = (0, 0);
    for seed in 1..=20_000 {
        let mut steps = timed(&conversation(seed, 40));
        if !differ(&steps) {
            let (once, _) = seen_by(&steps, 1);
            attempts += once.attempts.len();
            crossed += u32::from(once.crossed);
            continue;
        }
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.remove(at);
            (steps, at) = if differ(&fewer) { (fewer, 0) } else { (steps, at + 1) };
        }
        let (once, twice) = (seen_by(&steps, 1), seen_by(&steps, 2));
        panic!("seed {seed}: {steps:#?}\nonce: {once:#?}\ntwice: {twice:#?}");
    }
    println!("{attempts} attempts; {crossed} conversations left out");
    assert!(crossed < 10_000);
}

/// Events taken together, in any portions, mean what they mean one by one.
#[test]
fn a_batch_means_what_its_events_mean() {
    for seed in 1..=5_000 {
        let conversation = conversation(seed, 6);
        let seen: Vec<_> = timed(&conversation)
            .iter()
            .zip(1..)
            .map(|((time, packet), frame)| {
                let (event, source) = (packet.event(*time), packet.source.into());
                Observation { event, source, frame, layers: Layers::NONE }
            })
            .collect();
        let (mut one_by_one, mut together) =
            (Tracker::new(conversation.config()), Tracker::new(conversation.config()));
        let expected: Vec<_> = seen.iter().map(|seen| one_by_one.observe(seen)).collect();
        let mut judged = Vec::new();
        for portion in seen.chunks(1 + seed as usize % 40) {
            together.observe_batch(portion, |_, verdict| judged.push(verdict));
        }
        assert_eq!(judged, expected, "seed {seed}");
        assert!(one_by_one.drain().eq(together.drain()), "seed {seed}");
        assert_eq!(one_by_one.stats(), together.stats(), "seed {seed}");
    }
}

/// What is open is shown as it would be if the input ended now, and is not touched by that.
#[test]
fn an_open_attempt_is_recorded_as_the_end_of_the_input_would() {
    let mut shown = 0;
    for seed in 1..=2_000 {
        let steps = timed(&conversation(seed, 6));
        let mut tracker = Tracker::new(without_limits());
        for ((time, packet), frame) in steps.iter().zip(1..) {
            let (event, source) = (packet.event(*time), packet.source.into());
            tracker.observe(&Observation { event, source, frame, layers: Layers::NONE });
        }
        let _ = tracker.drain().count();
        let ids = tracker.open_attempts().map(|open| open.id).collect();
        let mut now: Vec<_> = tracker.unfinished(&ids).collect();
        assert_eq!(now.len(), tracker.open(), "seed {seed}");
        tracker.finish();
        // What was due has timed out with that.
        let mut ended: Vec<_> =
            tracker.drain().filter(|attempt| attempt.outcome == Outcome::Unfinished).collect();
        let left: HashSet<_> = ended.iter().map(|attempt| attempt.id).collect();
        now.retain(|attempt| left.contains(&attempt.id));
        now.sort_by_key(|attempt| attempt.id);
        ended.sort_by_key(|attempt| attempt.id);
        assert_eq!(now, ended, "seed {seed}");
        shown += now.len();
    }
    assert!(shown > 1_000, "{shown}");
}

/// A flood of bare SYNs ends older bare SYNs, not attempts that were answered.
#[test]
fn evicted_are_bare_syns_first() {
    let config = Config { max_attempts: 8, ..without_limits() };
    let mut ledger = Ledger::new(config);
    let mut see = |kind: u8, port: u16, time_ns: i64| {
        let from_a = kind == kind::SYN;
        let packet = Packet {
            kind: kind - 1,
            flow: 1,
            from_a,
            seq: Number::Expected,
            ack: Number::Expected,
            payload: 0,
            flags: 0,
            source: false,
        };
        let mut event = packet.event(time_ns);
        *(if from_a { &mut event.source_port } else { &mut event.dest_port }) = port;
        let layers = Layers::NONE;
        ledger.observe(&Observation { event, source: 0, frame: 0, layers });
        ledger.balance();
    };
    for port in 1..=4 {
        see(kind::SYN, port, 0);
        see(kind::SYN_ACK, port, 1);
    }
    for port in 1000..2000 {
        see(kind::SYN, port, 2);
    }
    let ended = ledger.close().attempts;
    let evicted = ended.iter().filter(|attempt| attempt.outcome == Outcome::Evicted);
    let ports: HashSet<_> = evicted.map(|attempt| attempt.key.client.port).collect();
    assert_eq!(ports, (1000..1996).collect());
}
