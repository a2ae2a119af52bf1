//! Two worlds, one parser: the same frames through the loaded programs (`BPF_PROG_TEST_RUN`) and
//! through the host's copy of the same code.
//!
//! After every frame the events and all counters must be equal, the verdict must let the packet
//! pass and its bytes must come back untouched; after every run the tables of pending attempts
//! must be equal word by word. Needs root and fails without.
//!
//! The kernel refuses some frames before a program sees them (shorter than an Ethernet header; at
//! TC also those longer than a page and those that end inside the IP header their EtherType
//! announces): they are counted, and the host parses them alone. What a test run cannot show: tags
//! that a NIC took out of the frame, and packets whose headers are not linear.

#[path = "prog_run/captures.rs"]
mod captures;
#[path = "prog_run/host.rs"]
mod host;
#[path = "prog_run/kernel.rs"]
mod kernel;
#[expect(dead_code, reason = "the replay suite also reduces what it finds")]
#[path = "replay/random.rs"]
mod random;
#[path = "prog_run/sampling.rs"]
mod sampling;
#[path = "prog_run/vectors.rs"]
mod vectors;
#[path = "prog_run/worlds.rs"]
mod worlds;

use handshake_common::abi::Counter;
use handshake_common::packet::ethernet::Link;
use handshake_tests::random::Random;
use handshake_user::capture::CaptureReader;

use captures::Captures;
use vectors::Vector;
use worlds::{Program, Worlds};

/// One in how many cuts, random conversations and mutations is run: `HANDSHAKE_STRIDE`, for
/// emulated machines, where all of them take too long.
fn stride() -> usize {
    let set = std::env::var("HANDSHAKE_STRIDE").ok();
    set.map_or(1, |set| set.parse().expect("HANDSHAKE_STRIDE is a number above 0"))
}

#[test]
fn every_frame_of_every_capture() {
    let captures = Captures::read();
    println!("{captures}");
    for program in Program::ALL {
        let mut worlds = Worlds::new(program);
        for (name, frame) in captures.of(program.link) {
            worlds.meet(&frame, &|| name.to_string());
        }
        let tally = worlds.end();
        let least = if captures.are_own() { 500 } else { 15_000 };
        assert!(tally.compared > least && tally.events > 100, "{tally}");
    }
}

/// With frames kept behind their events: the same events, and of each frame its first bytes.
#[test]
fn kept_frames_are_the_first_bytes_of_theirs() {
    let captures = Captures::read();
    for program in Program::ALL {
        let mut worlds = Worlds::keeping_frames(program);
        for (name, frame) in captures.of(program.link) {
            worlds.meet(&frame, &|| name.to_string());
        }
        for vector in vectors::strays().iter().chain(&vectors::all()) {
            let Some(frame) = vector.frame(program.link) else { continue };
            worlds.meet(&frame, &|| vector.name.clone());
        }
        // Every length around what is kept.
        let opening = vectors::all()[0].opening(program.link);
        for len in opening.len()..400 {
            let mut frame = opening.clone();
            frame.resize(len, 0x5a);
            worlds.meet(&frame, &|| format!("a SYN and padding, {len} bytes"));
        }
        let tally = worlds.end();
        assert!(tally.events > 700, "{tally}");
    }
}

/// Each vector as it is, then each cut of it, which meets a pending attempt: so whatever deserves
/// an event gets one.
#[test]
fn every_vector_cut_at_every_byte() {
    let vectors = vectors::all();
    assert!(vectors.len() >= 300, "{}", vectors.len());
    println!("{} vectors", vectors.len());
    for program in Program::ALL {
        let mut worlds = Worlds::new(program);
        for vector in vectors::strays().iter().chain(&vectors) {
            let Some(frame) = vector.frame(program.link) else { continue };
            worlds.meet(&frame, &|| vector.name.clone());
        }
        let mut lengths = 0;
        for vector in &vectors {
            let Some(frame) = vector.frame(program.link) else { continue };
            let opening = vector.opening(program.link);
            lengths += frame.len() + 1;
            for len in (0..=frame.len()).filter(|len| (len + lengths).is_multiple_of(stride())) {
                worlds.meet(&opening, &|| "the attempt's SYN".to_owned());
                worlds.meet(&frame[..len], &|| format!("{}, {len} bytes of it", vector.name));
            }
        }
        for class in Counter::ALL.iter().filter(|class| **class < Counter::EventsLost) {
            let impossible = *class == Counter::NotIp && program.link == Link::Ip;
            let count = worlds.counters()[*class as usize];
            assert!(impossible || count > 0, "{}: no {class:?}", program.name);
        }
        let tally = worlds.end();
        assert!(tally.compared > 20_000 / stride() as u64, "{tally}");
    }
}

/// More attempts than the table holds, and one that is asked too often.
#[test]
fn evictions_and_spent_budgets() {
    for program in Program::ALL {
        let mut worlds = Worlds::new(program);
        for vector in vectors::flood(3000) {
            let frame = vector.frame(program.link).expect("IP");
            worlds.meet(&frame, &|| vector.name.clone());
        }
        let count = |counter: Counter| worlds.counters()[counter as usize];
        for counter in [Counter::EvictedOneSided, Counter::EvictedTwoSided, Counter::Spent] {
            assert!(count(counter) > 0, "{}: no {counter:?}", program.name);
        }
        worlds.end();
    }
}

/// The replay suite's random conversations: every way through the filter, of every flow and of a
/// sample.
#[test]
fn random_conversations() {
    for program in Program::ALL {
        for shift in [0, 2] {
            converse(Worlds::sampled(program, shift), program);
        }
    }
}

fn converse(mut worlds: Worlds, program: Program) {
    for seed in 1..=1500 / stride() as u64 {
        let capture = random::capture(&random::packets(seed));
        let mut reader = CaptureReader::new(&capture[..]);
        while let Some(record) = reader.next_record() {
            let frame = match program.link {
                Link::Ip => record.bytes.to_vec(),
                _ => Vector::ip(String::new(), record.bytes.to_vec()).ethernet(),
            };
            worlds.meet(&frame, &|| format!("packet {} of seed {seed}", record.number));
        }
    }
    worlds.end();
}

/// The comparison itself: what differs must be said.
#[test]
#[should_panic(expected = "another window\n  frame    0202")]
fn a_difference_of_one_bit_is_a_disagreement() {
    let mut worlds = Worlds::new(Program::ALL[0]);
    let frame = vectors::all()[0].opening(Link::Ethernet);
    let mut other = frame.clone();
    other[14 + 20 + 14] ^= 1;
    worlds.meet(&frame, &|| "the same".to_owned());
    worlds.meet_each(&frame, &other, &|| "another window".to_owned());
    worlds.end();
}

#[test]
fn random_mutations_of_all_of_them() {
    let (captures, vectors) = (Captures::read(), vectors::all());
    for program in Program::ALL {
        let seeds = vectors.iter().filter_map(|vector| vector.frame(program.link));
        let recorded = captures.of(program.link).map(|(_, frame)| frame);
        let seeds: Vec<_> = seeds.chain(recorded.filter(|frame| frame.len() < 200)).collect();
        let mut worlds = Worlds::new(program);
        let mut random = Random::new(1);
        let opening = vectors[0].opening(program.link);
        for run in 0..20_000 / stride() {
            let mut frame = seeds[random.below(seeds.len())].clone();
            random.mutate(&mut frame);
            if run % 2 == 0 {
                worlds.meet(&opening, &|| "an attempt's SYN".to_owned());
            }
            worlds.meet(&frame, &|| format!("mutation {run}"));
        }
        worlds.end();
    }
}
