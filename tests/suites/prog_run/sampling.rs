//! Sampling by flow in the loaded programs: when they begin with it, whom they let in, and that what was
//! begun stays whole.

use std::net::SocketAddr;

use handshake_common::abi::Counter;
use handshake_common::event::{EVENT_LEN, flag};
use handshake_common::filter::ALLOWANCE;
use handshake_common::packet::ethernet::Link;
use handshake_common::sample::{MAX_SHIFT, wanted};
use handshake_tests::frame::{ACK, SYN, Segment};

use crate::kernel::{Kernel, RING_BYTES};
use crate::worlds::Program;

/// Bytes that an event takes in a ring.
const RECORD: u32 = EVENT_LEN as u32 + 8;
const SERVER: &str = "192.0.2.1:443";

fn client(flow: u32) -> SocketAddr {
    let [_, a, b, c] = flow.to_be_bytes();
    SocketAddr::from(([10, a, b, c], 40_000))
}

/// One segment of a flow, from its client or from the server.
fn frame(program: Program, flow: u32, flags: u8, from_client: bool) -> Vec<u8> {
    let server = SERVER.parse().expect("an address");
    let client = client(flow);
    let (from, to) = if from_client { (client, server) } else { (server, client) };
    let (seq, ack) = if flags == SYN { (1, 0) } else { (2, 2) };
    let seq = if flags == SYN | ACK { 1 } else { seq };
    let segment = Segment::new(from, to, flags, seq, ack);
    match program.link {
        Link::Ip => segment.packet(),
        _ => segment.frame([2; 6], [4; 6]),
    }
}

fn events(kernel: &mut Kernel, frame: &[u8]) -> Vec<u8> {
    let ran = kernel.run(frame).expect("the kernel takes it");
    ran.events.iter().map(|event| event.sample_shift).collect()
}

#[test]
fn a_ring_that_fills_raises_the_sampling_by_eighths_and_it_stays_raised() {
    for program in Program::ALL {
        let mut kernel = Kernel::load(program, 0, false);
        // Flows that are pending pass at any rate, so the ring fills to its end.
        let syns: Vec<_> = (0..16).map(|flow| frame(program, flow, SYN, true)).collect();
        for (before, syn) in (0..RING_BYTES / RECORD).zip(syns.iter().cycle()) {
            kernel.fill(syn);
            // One in eight looks.
            let eighths = u64::from(before / 8 * 8 * RECORD * 8 / RING_BYTES);
            assert_eq!(kernel.sample_shift(), wanted(eighths), "{} at {before}", program.name);
        }
        let full = kernel.counters();
        assert_eq!((full[Counter::Syn as usize], full[Counter::EventsLost as usize]), (512, 1));
        assert_eq!(events(&mut kernel, &syns[0]).len(), 511, "{}", program.name);
        assert_eq!(kernel.sample_shift(), MAX_SHIFT, "only user space lowers it");
    }
}

#[test]
fn what_was_begun_stays_whole_whatever_is_let_in_later() {
    // Few enough that each finds room in its bucket, with the keys of these tests.
    const FLOWS: u32 = 32;
    for program in Program::ALL {
        let mut kernel = Kernel::load(program, 0, false);
        for flow in 0..FLOWS {
            assert_eq!(events(&mut kernel, &frame(program, flow, SYN, true)), [0]);
        }
        kernel.set_sample_shift(MAX_SHIFT);
        for flow in 0..FLOWS {
            let copy = events(&mut kernel, &frame(program, flow, SYN, true));
            let answer = events(&mut kernel, &frame(program, flow, SYN | ACK, false));
            let third = events(&mut kernel, &frame(program, flow, ACK, true));
            let all = [copy, answer, third].concat();
            assert_eq!(all, [0, 0, 0], "{}: flow {flow}", program.name);
        }
        let counters = kernel.counters();
        assert_eq!(counters[Counter::Ack as usize], u64::from(FLOWS));
        assert_eq!(counters[Counter::SampledOut as usize], 0);
    }
}

#[test]
fn who_repeats_its_syn_stays_in_for_its_allowance_only() {
    const COPIES: u64 = 400;
    for program in Program::ALL {
        let mut kernel = Kernel::load(program, 0, false);
        let syn = frame(program, 1, SYN, true);
        let first = kernel.run(&syn).expect("the kernel takes it").events;
        assert_eq!(first[0].flags, flag::NEW_ENTRY);
        kernel.set_sample_shift(MAX_SHIFT);
        let (mut made, mut said) = (1, Vec::new());
        for _ in 0..COPIES {
            for event in kernel.run(&syn).expect("the kernel takes it").events {
                made += 1;
                said.extend((event.flags & flag::EXHAUSTED != 0).then_some(made));
            }
        }
        // The first makes the entry; the last that passes says that it is.
        assert_eq!(made, 1 + u64::from(ALLOWANCE), "{}", program.name);
        assert_eq!(said, [made], "{}", program.name);
        let counters = kernel.counters();
        assert_eq!(counters[Counter::SampledOut as usize], COPIES + 1 - made);
        assert_eq!(counters[Counter::Syn as usize], COPIES + 1);
        // What ends the attempt still passes, and so does every copy once all flows are let in.
        assert_eq!(events(&mut kernel, &frame(program, 1, ACK, true)).len(), 1);
        kernel.set_sample_shift(0);
        assert_eq!(events(&mut kernel, &syn), [0]);
    }
}

#[test]
fn of_new_flows_each_makes_all_its_events_or_none() {
    const FLOWS: u32 = 4096;
    for program in Program::ALL {
        for shift in [1, 3, MAX_SHIFT] {
            let mut kernel = Kernel::load(program, shift, false);
            let mut followed = 0;
            for flow in 0..FLOWS {
                let syn = events(&mut kernel, &frame(program, flow, SYN, true));
                let answer = events(&mut kernel, &frame(program, flow, SYN | ACK, false));
                let third = events(&mut kernel, &frame(program, flow, ACK, true));
                match (&syn[..], &answer[..], &third[..]) {
                    ([], [], []) => {}
                    ([rate], [0], [0]) if *rate == shift => followed += 1,
                    other => panic!("{}: flow {flow}: {other:?}", program.name),
                }
            }
            let expected = FLOWS >> shift;
            // Five standard deviations of a binomial distribution, squared.
            let off = expected.abs_diff(followed);
            assert!(off * off <= 25 * expected, "{followed} of {expected}");
            let counters = kernel.counters();
            let of = |counter: Counter| counters[counter as usize];
            assert_eq!((of(Counter::Syn), of(Counter::SynAck)), (FLOWS.into(), FLOWS.into()));
            assert_eq!(of(Counter::SampledOut), u64::from(2 * (FLOWS - followed)));
            assert_eq!(of(Counter::Ack), u64::from(followed));
            assert_eq!(of(Counter::AckOther), u64::from(FLOWS - followed));
        }
    }
}

#[test]
fn a_reader_that_sleeps_is_woken_once_and_one_that_does_not_never() {
    for program in Program::ALL {
        let mut kernel = Kernel::load(program, 0, false);
        let syn = frame(program, 1, SYN, true);
        let stray = frame(program, 2, ACK, true);
        kernel.fill(&syn);
        assert!(!kernel.has_rung(), "{}: a reader with a timer was woken", program.name);
        kernel.sleep();
        kernel.fill(&stray);
        assert!(kernel.is_asleep() && !kernel.has_rung(), "{}: woken for nothing", program.name);
        kernel.fill(&syn);
        assert!(!kernel.is_asleep() && kernel.has_rung(), "{}: not woken", program.name);
        kernel.fill(&syn);
        assert!(!kernel.has_rung(), "{}: woken twice", program.name);
    }
}
