//! A frame of any link type through parser and filter.
//!
//! Input: a byte for the link type, one for how much of the frame was cut off, then the frame.

use handshake_common::abi::{Counter, EVENT_CLASSES, PACKET_CLASSES};
use handshake_common::event::{Event, kind};
use handshake_common::filter::{Class, Plain, classify};
use handshake_common::flow::Keys;
use handshake_common::options::Options;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{IcmpError, NotOurs, Parsed, Segment, SliceFrame, parse, tunnel};
use handshake_common::quick::{self, Quick};
use handshake_user::capture::Record;
use handshake_user::source::replay::Replay;

const KEYS: Keys = Keys { low: 1, high: 2 };
/// One of each: Ethernet, raw IP, NULL, SLL, SLL2; PPP, PPPoE, Cisco HDLC, 802.11 and the headers
/// of its drivers.
const LINK_TYPES: [u32; 12] = [1, 101, 0, 113, 276, 9, 51, 104, 105, 119, 127, 192];

/// Parses the frame, and lets a table of one bucket see it thrice.
pub fn run(data: &[u8]) {
    let [link, cut, bytes @ ..] = data else { return };
    let link_type = LINK_TYPES[usize::from(*link) % LINK_TYPES.len()];
    let link = Link::of_capture(link_type).expect("a link type we decode");
    let wire_len = bytes.len() + usize::from(*cut);
    let frame = SliceFrame::new(bytes, wire_len);
    let plain = parse(&frame, link, &KEYS);
    check_quick(&frame, link, &plain);
    for parsed in [plain, tunnel::parse(&frame, link, &KEYS)] {
        match parsed {
            Parsed::Segment(segment) => check_segment(&frame, bytes, &segment),
            Parsed::IcmpError(error) => check_icmp(&frame, bytes, &error),
            Parsed::NotOurs(_) | Parsed::Malformed(_) => {}
        }
    }
    check_filter(&Record { number: 1, time_ns: -1, link_type, bytes, wire_len, settled: None });
}

/// What the quick look is sure of, the whole parser finds too.
fn check_quick(frame: &SliceFrame<'_>, link: Link, plain: &Parsed) {
    match (quick::look(frame, link, &KEYS), plain) {
        (Quick::Unsure, _) | (Quick::NotTcp, Parsed::NotOurs(NotOurs::NotTcp)) => {}
        (Quick::Ack(ack), Parsed::Segment(segment)) => {
            assert_eq!(ack, Plain::of(segment));
            assert_eq!(classify(segment.tcp.flags), Class::Ack);
        }
        (quick, plain) => panic!("{quick:?} at a quick look, {plain:?} at a long one"),
    }
}

fn check_segment(frame: &SliceFrame<'_>, bytes: &[u8], segment: &Segment) {
    let Segment { tcp, tcp_offset, payload_len, .. } = *segment;
    assert!(segment.at.ip_offset < tcp_offset && tcp_offset + 20 <= bytes.len());
    let ports = u16::from_be_bytes([bytes[tcp_offset], bytes[tcp_offset + 1]]);
    assert_eq!(tcp.source_port, ports);
    assert!(tcp.options_len <= 40 && tcp.options_len % 4 == 0);
    assert!(tcp.flags.0 <= 0x1ff);
    let mut event = Event::ZERO;
    event.fill_segment(frame, kind::SYN, segment);
    assert_eq!((event.seq, event.ack, event.payload_len), (tcp.seq, tcp.ack, payload_len));
    let copied = usize::from(event.extra_len);
    assert_eq!(copied, tcp.options_len.min(bytes.len() - tcp_offset - 20));
    assert_eq!(event.extra[..copied], bytes[tcp_offset + 20..][..copied]);
    std::hint::black_box(Options::parse(&event.extra[..copied]));
}

fn check_icmp(frame: &SliceFrame<'_>, bytes: &[u8], error: &IcmpError) {
    assert!(error.at.ip_offset + 20 < error.quoted.ip_offset);
    assert!(error.quoted.ip_offset + 28 <= bytes.len());
    assert_eq!(error.at.is_v6, error.quoted.is_v6);
    let mut event = Event::ZERO;
    event.fill_icmp(frame, error);
    assert_eq!((event.kind, event.extra_len), (kind::ICMP, 16));
}

/// Each time exactly one packet class counts it, and it is an event if that class says so.
fn check_filter(record: &Record<'_>) {
    let mut replay = Replay::new(1);
    let mut before = 0;
    for seen in 1..=3 {
        let event = replay.feed(record);
        let counters = replay.counters();
        assert_eq!(counters[..PACKET_CLASSES].iter().sum::<u64>(), seen);
        assert_eq!(replay.packets(), seen);
        let events = counters[..EVENT_CLASSES].iter().sum::<u64>();
        assert_eq!(events, before + u64::from(event.is_some()));
        before = events;
        if let Some(seen) = event {
            assert!((kind::SYN..=kind::ICMP).contains(&seen.event.kind));
            assert!(matches!(seen.event.ip_version, 4 | 6));
        }
    }
    for counter in [Counter::EvictedOneSided, Counter::EvictedTwoSided, Counter::Contended] {
        assert_eq!(replay.counter(counter), 0);
    }
}
