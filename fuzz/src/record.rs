//! A record of a ring: decoded or refused, and what was decoded encodes to the same bytes.

use handshake_common::event::{EVENT_LEN, Event, kind};
use handshake_common::kept::{self, KEPT_LEN, KEPT_RECORD_LEN, Kept, mark};
use handshake_common::packet::tunnel::Layers;
use handshake_user::attempt::{Key, Observation, Opening};
use handshake_user::evidence::Frame;
use handshake_user::rebuild::{rebuild, shows};
use handshake_user::tracker::{Config, Tracker};

/// Decodes the record; an event goes through a tracker.
pub fn run(data: &[u8]) {
    let Ok((event, kept)) = kept::decode(data) else { return };
    assert_eq!(encode(&event), data[..EVENT_LEN]);
    if data.len() > EVENT_LEN {
        assert_eq!(data.len(), KEPT_RECORD_LEN);
        check_frame(&event, kept.as_ref(), &data[EVENT_LEN..]);
    }
    assert!((kind::SYN..=kind::ICMP).contains(&event.kind));
    std::hint::black_box(Opening::of(&event).options());
    let key = Key::from_client(&event);
    assert_eq!(key.reversed().reversed(), key);
    std::hint::black_box((key.client_addr(), key.server_addr()));
    let mut tracker = Tracker::new(Config { timeout: 1, linger: 1, max_attempts: 1 });
    let layers = Layers::NONE;
    tracker.observe(&Observation { event, source: 0, frame: 0, layers });
    tracker.finish();
    let started = tracker.stats().started;
    assert_eq!(started, tracker.drain().count() as u64);
}

/// The frame is what stood behind the event, and shows it or is rebuilt so that it does.
fn check_frame(event: &Event, kept: Option<&Kept<'_>>, rest: &[u8]) {
    let len = usize::from(rest[4]);
    assert!(len <= KEPT_LEN);
    let Some(kept) = kept else { return assert_eq!(len, 0) };
    assert_eq!(
        (kept.bytes, kept.wire_len.to_ne_bytes()),
        (&rest[8..8 + len], rest[..4].try_into().unwrap())
    );
    let frame = Frame::new(kept);
    assert_eq!(frame.is_ip(), kept.marks & mark::IP != 0);
    assert!(frame.bytes().len() <= KEPT_LEN + 4);
    std::hint::black_box(shows(&frame, event));
    let (rebuilt, wire_len) = rebuild(event, None);
    assert!(rebuilt.len() as u64 <= u64::from(wire_len));
}

/// The bytes of an event, field by field.
#[must_use]
pub fn encode(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(EVENT_LEN);
    bytes.extend(event.time_ns.to_ne_bytes());
    for word in event.source.iter().chain(&event.dest) {
        bytes.extend(word.to_ne_bytes());
    }
    for word in [event.seq, event.ack, event.payload_len, event.ifindex] {
        bytes.extend(word.to_ne_bytes());
    }
    let [outer, inner] = event.vlan;
    let ports = [event.source_port, event.dest_port];
    for half in ports.into_iter().chain([event.window, event.tcp_flags, outer, inner]) {
        bytes.extend(half.to_ne_bytes());
    }
    bytes.extend([event.kind, event.hook, event.ttl, event.ip_version]);
    bytes.extend([event.icmp_type, event.icmp_code, event.vlan_count, event.extra_len]);
    bytes.extend(event.extra);
    bytes.extend([event.sample_shift, event.flags]);
    bytes.extend([event.ring, event.reserved]);
    bytes
}
