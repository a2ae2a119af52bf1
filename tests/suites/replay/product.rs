//! The product, run over one capture in memory.

use std::collections::BTreeMap;

use handshake_common::abi::{Counter, PACKET_CLASSES};
use handshake_common::event::{Event, kind};
use handshake_common::filter::{Class, classify};
use handshake_common::flow::Keys;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{Parsed, SliceFrame, parse};
use handshake_user::attempt::{Attempt, Observation};
use handshake_user::capture::{CaptureReader, Record};
use handshake_user::output::json;
use handshake_user::snapshot::AttemptView;
use handshake_user::source::replay::Replay;
use handshake_user::tracker::{Config, Tracker};

/// What became of one capture.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: &'static str,
    pub(crate) packets: u64,
    /// Packet classes by name, and `linktype` for records we do not decode.
    pub(crate) classes: BTreeMap<&'static str, u64>,
    /// One JSON object each, in order of first packet.
    pub(crate) lines: Vec<String>,
    pub(crate) events: u64,
}

const DEFAULTS: Config =
    Config { timeout: 10_000_000_000, linger: 60_000_000_000, max_attempts: 1 << 20 };

/// As `handshake replay` does it.
pub(crate) fn replay(capture: &[u8]) -> Run {
    let mut source = Replay::default();
    let mut run = track(capture, |record| source.feed(record));
    let counted = Counter::ALL[..PACKET_CLASSES].iter();
    run.classes = counted.map(|counter| (counter.name(), source.counter(*counter))).collect();
    run.classes.insert("linktype", source.undecoded());
    assert_eq!(source.packets(), run.packets, "every packet in one class");
    run
}

/// Without the filter: every TCP segment and ICMP error is an event.
pub(crate) fn replay_unfiltered(capture: &[u8]) -> Run {
    track(capture, everything)
}

fn everything(record: &Record<'_>) -> Option<Observation> {
    let link = Link::of_capture(record.link_type)?;
    let frame = SliceFrame::new(record.bytes, record.wire_len);
    let mut event = Event { time_ns: record.time_ns.cast_unsigned(), ..Event::ZERO };
    match parse(&frame, link, &Keys { low: 1, high: 2 }) {
        Parsed::Segment(segment) => {
            let kind = match classify(segment.tcp.flags) {
                Class::Syn => kind::SYN,
                Class::SynAck => kind::SYN_ACK,
                Class::Rst => kind::RST,
                Class::Ack => kind::ACK,
                Class::Ignored => return None,
            };
            event.fill_segment(&frame, kind, &segment);
        }
        Parsed::IcmpError(error) => event.fill_icmp(&frame, &error),
        Parsed::NotOurs(_) | Parsed::Malformed(_) => return None,
    }
    Some(Observation { event, source: 0, frame: record.number })
}

fn track(capture: &[u8], mut feed: impl FnMut(&Record<'_>) -> Option<Observation>) -> Run {
    let mut reader = CaptureReader::new(capture);
    let mut tracker = Tracker::new(DEFAULTS);
    let mut events = 0;
    while let Some(record) = reader.next_record() {
        tracker.expire(record.time_ns);
        if let Some(observation) = feed(&record) {
            events += 1;
            tracker.observe(&observation);
        }
    }
    tracker.finish();
    let mut attempts: Vec<_> = tracker.drain().collect();
    attempts.sort_by_key(|attempt| attempt.id);
    let end = reader.end();
    Run {
        status: end.status().name(),
        packets: end.records,
        classes: BTreeMap::new(),
        lines: attempts.iter().map(line).collect(),
        events,
    }
}

fn line(attempt: &Attempt) -> String {
    let view = AttemptView { attempt, place: None, to_wall: 0 };
    serde_json::to_string(&json::attempt(&view)).expect("JSON")
}
