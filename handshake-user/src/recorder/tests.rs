//! Attempts made by the tracker, written, and read again by our own reader.

use handshake_common::event::{Event, kind};
use handshake_common::packet::tunnel::Layers;

use super::*;
use crate::attempt::{Nanos, Observation};
use crate::capture::{CaptureReader, Settled};
use crate::evidence::{Evidence, Limits, Seen};
use crate::tracker::{Config, Tracker};

const SECOND: u64 = 1_000_000_000;
/// What is added to boot time.
const WALL: Nanos = 1_700_000_000_000_000_000;

/// A segment between 10.0.0.1:4000 and 10.0.0.2:80.
fn segment(kind: u8, time_ns: u64, is_from_client: bool) -> Event {
    let mapped = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
    let end = |host| [0, 0, mapped, u32::from_ne_bytes([10, 0, 0, host])];
    let ((source, source_port), (dest, dest_port)) = match is_from_client {
        true => ((end(1), 4000), (end(2), 80)),
        false => ((end(2), 80), (end(1), 4000)),
    };
    let (seq, ack) = if is_from_client { (100, 0) } else { (0, 101) };
    let tcp_flags = if kind == kind::SYN { 0x002 } else { 0x014 };
    Event {
        time_ns,
        source,
        dest,
        source_port,
        dest_port,
        seq,
        ack,
        tcp_flags,
        kind,
        hook: if is_from_client { 1 } else { 2 },
        ifindex: 3,
        ttl: 64,
        ip_version: 4,
        ..Event::ZERO
    }
}

/// What the tracker and the evidence make of some segments.
fn attempt_of(events: &[Event], until: u64, limits: Limits) -> (Attempt, Segments) {
    let config = Config { timeout: 10 * SECOND as Nanos, linger: 1, max_attempts: 10 };
    let (mut tracker, mut evidence) = (Tracker::new(config), Evidence::new(limits));
    for event in events {
        let source = u32::from(event.hook);
        let seen = Observation { event: *event, source, frame: 0, layers: Layers::NONE };
        let judged = tracker.observe(&seen);
        let (verdict, frame) = (judged.verdict, None);
        let seen = Seen { event: *event, source, verdict, frame };
        evidence.note(judged.attempt.expect("it is of an attempt"), seen);
    }
    tracker.expire(until as Nanos);
    tracker.finish();
    let attempt = tracker.drain().next().expect("one has ended");
    let segments = evidence.take(attempt.id).expect("its segments");
    (attempt, segments)
}

fn written(attempt: &Attempt, segments: &Segments) -> Vec<u8> {
    let about = About { system: "Linux".to_owned(), comment: "a test".to_owned() };
    let mut section = Section::new(&about).unwrap();
    let view = AttemptView { attempt, place: None, to_wall: WALL };
    section.attempt(&view, segments, |_| "eth7").unwrap();
    std::mem::take(section.bytes())
}

fn records(file: &[u8]) -> (Vec<(i64, Vec<u8>)>, Option<Settled>) {
    let mut reader = CaptureReader::new(file);
    let mut records = Vec::new();
    while let Some(record) = reader.next_record() {
        assert_eq!((record.settled, record.link_type), (None, 1));
        records.push((record.time_ns, record.bytes.to_vec()));
    }
    assert_eq!(reader.end().damage, None);
    let settled = reader.settled();
    (records, settled)
}

fn has(file: &[u8], words: &str) -> bool {
    file.windows(words.len()).any(|window| window == words.as_bytes())
}

#[test]
fn a_refused_attempt_needs_no_mark() {
    let events = [segment(kind::SYN, SECOND, true), segment(kind::RST, SECOND + 5_000, false)];
    let (attempt, segments) = attempt_of(&events, SECOND + 5_000, Limits::default());
    let file = written(&attempt, &segments);
    let (records, settled) = records(&file);
    let times: Vec<_> = records.iter().map(|(time, _)| time - WALL).collect();
    assert_eq!((times, settled), (vec![1_000_000_000, 1_000_005_000], None));
    assert!(has(&file, "eth7"));
    assert!(has(&file, "attempt 1: The SYN begins an attempt. Its headers are rebuilt"));
    assert!(has(&file, " Outcome: refused, ended by rst, after 5.00µs"));
}

#[test]
fn behind_silence_stands_a_mark_with_the_time_of_its_end() {
    let events = [segment(kind::SYN, SECOND, true), segment(kind::SYN, 2 * SECOND, true)];
    let (attempt, segments) = attempt_of(&events, 60 * SECOND, Limits::default());
    let file = written(&attempt, &segments);
    let (records, settled) = records(&file);
    let end = WALL + 12 * SECOND as Nanos;
    assert_eq!((records.len(), settled), (2, Some(Settled::Silent(end))));
    assert!(has(
        &file,
        "Outcome: no-answer, ended by timeout, after 11.0s, [SYN retransmitted ×1]"
    ));
    let (attempt, segments) = attempt_of(&events, 2 * SECOND, Limits::default());
    let (_, settled) = self::records(&written(&attempt, &segments));
    assert_eq!((attempt.outcome.name(), settled), ("unfinished", Some(Settled::Unknown)));
}

#[test]
fn copies_stay_out_and_gaps_are_said() {
    let syn = |time| segment(kind::SYN, time * SECOND, true);
    let copy = |time| Event { hook: 2, ..syn(time) };
    let mut events: Vec<_> = (1..10).flat_map(|time| [syn(time), copy(time)]).collect();
    events.push(segment(kind::RST, 10 * SECOND, false));
    let limits = Limits { bytes: 1 << 20, first: 2, last: 3 };
    let (attempt, segments) = attempt_of(&events, 10 * SECOND, limits);
    let file = written(&attempt, &segments);
    // The first SYN; then the last one and the RST.
    assert_eq!(records(&file).0.len(), 3);
    assert!(has(&file, "sent its SYN again. 14 packets before this one are left out."));
}

#[test]
fn names_of_choices_are_those_of_outcomes_and_three_more() {
    assert_eq!(Wanted::all().count(), Outcome::ALL.len() + 3);
    for wanted in Wanted::all() {
        assert_eq!(Wanted::of(wanted.name()), Some(wanted));
    }
    assert_eq!(Wanted::of("refused"), Some(Wanted::Outcome(Outcome::Refused)));
    assert_eq!(Wanted::of("nonsense"), None);
}

#[test]
fn later_files_have_a_number_before_their_suffix() {
    let name = |path: &str| numbered(Path::new(path), 2).display().to_string();
    assert_eq!(name("/a/fails.pcapng"), "/a/fails_00002.pcapng");
    assert_eq!(
        (name("fails"), name("a.b.c")),
        ("fails_00002".to_owned(), "a.b_00002.c".to_owned())
    );
}

#[test]
fn a_file_of_somebody_else_is_not_removed_in_place_of_ours() {
    let path = std::env::temp_dir().join(format!("handshake-made-{}", std::process::id()));
    let (made, _file) = Made::create(&path).unwrap();
    let moved = path.with_extension("moved");
    fs::rename(&path, &moved).unwrap();
    fs::write(&path, "somebody's").unwrap();
    made.remove();
    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
    fs::remove_file(&path).unwrap();
    fs::rename(&moved, &path).unwrap();
    made.remove();
    assert!(!path.exists());
}
