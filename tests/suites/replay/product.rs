//! The product, run over one capture in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use handshake_common::event::{Event, kind};
use handshake_common::filter::{Class, classify};
use handshake_common::flow::Keys;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{Parsed, SliceFrame, tunnel};
use handshake_user::attempt::{Attempt, Nanos, Observation};
use handshake_user::capture::{CaptureReader, Record};
use handshake_user::cli::{ReplayArgs, ReplayFormat};
use handshake_user::output::json;
use handshake_user::replay;
use handshake_user::snapshot::AttemptView;
use handshake_user::source::replay::Replay;
use handshake_user::stdout::Output;
use handshake_user::tracker::{Config, Tracker};

/// What became of one capture.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: &'static str,
    pub(crate) packets: u64,
    /// Packet classes by name, and `linktype` for records we do not decode.
    pub(crate) classes: BTreeMap<String, u64>,
    /// One JSON object each, in order of first packet.
    pub(crate) lines: Vec<String>,
    pub(crate) events: u64,
}

const TIMEOUT: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_secs(60);

/// `handshake replay --format json`.
pub(crate) fn replay(capture: &[u8]) -> Run {
    let args = ReplayArgs {
        files: Vec::new(),
        format: ReplayFormat::Json,
        timeout: TIMEOUT,
        after: Duration::from_secs(3),
        linger: LINGER,
        filters: Vec::new(),
    };
    let mut printed = Vec::new();
    let mut out = Output::new(&mut printed);
    let report = replay::replay(capture, &args, &mut out, false).expect("memory is writable");
    drop(out);
    let summary = report.summary;
    assert_eq!(summary.packets.values().sum::<u64>(), report.end.records, "one class a packet");
    assert_eq!(summary.packets_seen, report.end.records);
    assert_eq!(summary.outcomes.values().sum::<u64>(), summary.started, "started = ended");
    assert_eq!(summary.open, 0);
    let printed = String::from_utf8(printed).expect("UTF-8");
    Run {
        status: report.end.status().name(),
        packets: report.end.records,
        classes: summary.packets,
        lines: printed.lines().map(str::to_owned).collect(),
        events: summary.events.delivered,
    }
}

/// With a filter table of `buckets` buckets, which also watches what comes after completions and is never
/// told that a watch is over.
pub(crate) fn replay_filtered(capture: &[u8], buckets: u32) -> Run {
    let mut source = Replay::new(buckets);
    source.watch();
    track(capture, |record| source.feed(record))
}

/// Without the filter: every TCP segment and ICMP error is an event.
pub(crate) fn replay_unfiltered(capture: &[u8]) -> Run {
    track(capture, everything)
}

fn everything(record: &Record<'_>) -> Option<Observation> {
    let link = Link::of_capture(record.link_type)?;
    let frame = SliceFrame::new(record.bytes, record.wire_len);
    let mut event = Event { time_ns: record.time_ns.cast_unsigned(), ..Event::ZERO };
    match tunnel::parse(&frame, link, &Keys { low: 1, high: 2 }) {
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
    let layers = tunnel::layers(&frame, link);
    Some(Observation { event, source: 0, frame: record.number, layers })
}

fn track(capture: &[u8], mut feed: impl FnMut(&Record<'_>) -> Option<Observation>) -> Run {
    let mut reader = CaptureReader::new(capture);
    let mut tracker = tracker();
    let mut events = 0;
    while let Some(record) = reader.next_record() {
        tracker.expire(record.time_ns);
        if let Some(observation) = feed(&record) {
            events += 1;
            tracker.observe(&observation);
        }
    }
    let end = reader.end();
    Run {
        status: end.status().name(),
        packets: end.records,
        classes: BTreeMap::new(),
        lines: finish(tracker),
        events,
    }
}

fn tracker() -> Tracker {
    let nanos = |duration: Duration| Nanos::try_from(duration.as_nanos()).expect("a short time");
    let (timeout, linger) = (nanos(TIMEOUT), nanos(LINGER));
    Tracker::new(Config { timeout, linger, max_attempts: 1 << 20 })
}

fn finish(mut tracker: Tracker) -> Vec<String> {
    tracker.finish();
    let mut attempts: Vec<_> = tracker.drain().collect();
    attempts.sort_by_key(|attempt| attempt.id);
    attempts.iter().map(line).collect()
}

fn line(attempt: &Attempt) -> String {
    let view = AttemptView { attempt, place: None, to_wall: 0 };
    serde_json::to_string(&json::attempt(&view)).expect("JSON")
}
