//! Records in, events and counters out.

use handshake_common::abi::Counter;
use handshake_common::event::kind;

use super::Replay;
use crate::capture::Record;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const RAW_IP: u32 = 101;

/// 10.0.0.1:1000 to 10.0.0.2:80, or back.
fn segment(to_server: bool, flags: u8, seq: u32, ack: u32) -> Vec<u8> {
    let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0];
    let ends = [([10, 0, 0, 1], 1000_u16), ([10, 0, 0, 2], 80)];
    let [from, to] = if to_server { ends } else { [ends[1], ends[0]] };
    bytes.extend([from.0, to.0].concat());
    bytes.extend([from.1.to_be_bytes(), to.1.to_be_bytes()].concat());
    bytes.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
    bytes.extend([0x50, flags, 1, 0, 0, 0, 0, 0]);
    bytes
}

fn record(number: u64, bytes: &[u8]) -> Record<'_> {
    let time_ns = -5 + number as i64;
    Record { number, time_ns, link_type: RAW_IP, bytes, wire_len: bytes.len(), settled: None }
}

#[test]
fn handshake_makes_three_events_and_later_data_none() {
    let frames = [
        segment(true, SYN, 100, 0),
        segment(false, SYN | ACK, 500, 101),
        segment(true, ACK, 101, 501),
        segment(true, ACK, 101, 501),
    ];
    let mut replay = Replay::new(3);
    let mut kinds = Vec::new();
    for (frame, number) in frames.iter().zip(1..) {
        if let Some(observation) = replay.feed(&record(number, frame)) {
            assert_eq!(observation.event.time_ns.cast_signed(), -5 + number as i64);
            kinds.push((observation.frame, observation.event.kind));
        }
    }
    assert_eq!(kinds, [(1, kind::SYN), (2, kind::SYN_ACK), (3, kind::ACK)]);
    assert_eq!(replay.counter(Counter::AckOther), 1);
    assert_eq!(replay.packets(), 4);
}

#[test]
fn undecodable_link_type_is_counted_apart_from_the_packet_classes() {
    let mut replay = Replay::default();
    let frame = segment(true, SYN, 1, 0);
    assert!(replay.feed(&Record { link_type: 147, ..record(1, &frame) }).is_none());
    assert!(replay.feed(&record(2, b"")).is_none());
    assert_eq!((replay.undecoded(), replay.counter(Counter::Short)), (1, 1));
    assert_eq!(replay.packets(), 2);
}
