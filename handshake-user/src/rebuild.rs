//! A frame made from its event, where what was kept of the real one does not show what the event
//! says: nothing was kept, or its headers are longer than that.
//!
//! It says what the event says and nothing else: identification, checksums and whatever the event
//! does not have are zero. Whoever shows such a frame says that it was rebuilt.

use handshake_common::event::{Event, kind};
use handshake_common::flow::Keys;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::tcp::HEADER_LEN;
use handshake_common::packet::{Parsed, SliceFrame, parse};

use crate::evidence::Frame;

/// Protocol numbers.
mod protocol {
    pub(super) const ICMP: u8 = 1;
    pub(super) const TCP: u8 = 6;
    pub(super) const ICMPV6: u8 = 58;
}

/// Bytes of TCP that an ICMP error quotes at least.
const QUOTED: usize = 8;
const TAG: u16 = 0x8100;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

/// Does what was kept of a frame, parsed as replay will parse it, say what its event says?
#[must_use]
pub fn shows(frame: &Frame, event: &Event) -> bool {
    let link = if frame.is_ip() { Link::Ip } else { Link::Ethernet };
    let slice = SliceFrame::new(frame.bytes(), frame.wire_len() as usize);
    // What the frame does not say.
    let mut found = Event {
        time_ns: event.time_ns,
        ifindex: event.ifindex,
        hook: event.hook,
        sample_shift: event.sample_shift,
        flags: event.flags,
        ring: event.ring,
        reserved: event.reserved,
        ..Event::ZERO
    };
    match parse(&slice, link, &Keys { low: 0, high: 0 }) {
        Parsed::Segment(segment) => found.fill_segment(&slice, event.kind, &segment),
        Parsed::IcmpError(error) => found.fill_icmp(&slice, &error),
        Parsed::NotOurs(_) | Parsed::Malformed(_) => return false,
    }
    found == *event
}

/// The headers that an event tells of, and the length of the frame with its payload. `None` for
/// the hardware addresses: it begins with the IP header.
#[must_use]
pub fn rebuild(event: &Event, hardware_addresses: Option<[u8; 12]>) -> (Vec<u8>, u32) {
    let mut frame = Vec::with_capacity(128);
    if let Some(addresses) = hardware_addresses {
        ethernet(event, addresses, &mut frame);
    }
    if event.kind == kind::ICMP {
        icmp(event, &mut frame);
        let len = frame.len() as u32;
        return (frame, len);
    }
    let tcp = tcp(event);
    let payload = event.payload_len as usize;
    ip(event, event.source, event.dest, protocol::TCP, tcp.len() + payload, &mut frame);
    frame.extend(tcp);
    let len = u32::try_from(frame.len() + payload).unwrap_or(u32::MAX);
    (frame, len)
}

fn ethernet(event: &Event, addresses: [u8; 12], frame: &mut Vec<u8>) {
    frame.extend(addresses);
    for id in event.vlan.iter().take(usize::from(event.vlan_count)) {
        frame.extend(TAG.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    let ether_type = if event.ip_version == 6 { IPV6 } else { IPV4 };
    frame.extend(ether_type.to_be_bytes());
}

/// An IP header before `len` bytes.
fn ip(
    event: &Event,
    source: [u32; 4],
    dest: [u32; 4],
    protocol: u8,
    len: usize,
    out: &mut Vec<u8>,
) {
    let bytes = |words: [u32; 4]| words.into_iter().flat_map(u32::to_ne_bytes);
    let short = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    if event.ip_version == 6 {
        out.extend([0x60, 0, 0, 0]);
        out.extend(short(len));
        out.extend([protocol, event.ttl]);
        out.extend(bytes(source).chain(bytes(dest)));
    } else {
        out.extend([0x45, 0]);
        out.extend(short(20 + len));
        out.extend([0, 0, 0x40, 0, event.ttl, protocol, 0, 0]);
        out.extend(bytes(source).skip(12).chain(bytes(dest).skip(12)));
    }
}

fn tcp(event: &Event) -> Vec<u8> {
    let has_options = matches!(event.kind, kind::SYN | kind::SYN_ACK);
    let options = if has_options { usize::from(event.extra_len) & !3 } else { 0 };
    let words = ((HEADER_LEN + options) / 4) as u16;
    let mut tcp = Vec::with_capacity(HEADER_LEN + options);
    tcp.extend(event.source_port.to_be_bytes());
    tcp.extend(event.dest_port.to_be_bytes());
    tcp.extend(event.seq.to_be_bytes());
    tcp.extend(event.ack.to_be_bytes());
    tcp.extend((words << 12 | event.tcp_flags).to_be_bytes());
    tcp.extend(event.window.to_be_bytes());
    tcp.extend([0; 4]);
    tcp.extend(&event.extra[..options.min(event.extra.len())]);
    tcp
}

/// An ICMP error from the sender in `extra` to the sender of the segment that it quotes.
fn icmp(event: &Event, frame: &mut Vec<u8>) {
    let mut sender = [0; 4];
    for (word, bytes) in sender.iter_mut().zip(event.extra.chunks_exact(4)) {
        *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let mut quoted = Vec::new();
    ip(event, event.source, event.dest, protocol::TCP, HEADER_LEN, &mut quoted);
    quoted.extend(&tcp(event)[..QUOTED]);
    let number = if event.ip_version == 6 { protocol::ICMPV6 } else { protocol::ICMP };
    ip(event, sender, event.source, number, QUOTED + quoted.len(), frame);
    frame.extend([event.icmp_type, event.icmp_code, 0, 0, 0, 0, 0, 0]);
    frame.extend(quoted);
}

#[cfg(test)]
mod tests {
    use handshake_common::kept::{Kept, mark};

    use super::*;

    fn frame_of(bytes: &[u8], wire_len: u32, is_ip: bool) -> Frame {
        let marks = if is_ip { mark::IP } else { 0 };
        Frame::new(&Kept { wire_len, marks, tci: 0, bytes })
    }

    fn event(kind: u8, ip_version: u8, vlan_count: u8) -> Event {
        let address = |host: u8| match ip_version {
            4 => {
                [0, 0, u32::from_ne_bytes([0, 0, 0xff, 0xff]), u32::from_ne_bytes([10, 0, 0, host])]
            }
            _ => [0xfd, 0, 0, u32::from_ne_bytes([0, 0, 0, host])].map(u32::to_le),
        };
        let mut extra = [0; 40];
        let extra_len = match kind {
            kind::SYN | kind::SYN_ACK => {
                extra[..4].copy_from_slice(&[2, 4, 5, 0xb4]);
                4
            }
            kind::ICMP => {
                let words = address(9).map(u32::to_ne_bytes);
                extra[..16].copy_from_slice(words.as_flattened());
                16
            }
            _ => 0,
        };
        let is_icmp = kind == kind::ICMP;
        let flags = [0, 0x002, 0x012, 0x018, 0x014, 0][usize::from(kind)];
        Event {
            source: address(1),
            dest: address(2),
            seq: 0x0102_0304,
            ack: if is_icmp { 0 } else { 0x0506_0708 },
            payload_len: if kind == kind::ACK { 700 } else { 0 },
            source_port: 40_000,
            dest_port: 443,
            window: if is_icmp { 0 } else { 64_240 },
            tcp_flags: flags,
            vlan: [[0, 0], [100, 0], [100, 200]][usize::from(vlan_count)],
            kind,
            ttl: 63,
            ip_version,
            icmp_type: if is_icmp { if ip_version == 4 { 3 } else { 1 } } else { 0 },
            icmp_code: u8::from(is_icmp),
            vlan_count,
            extra_len,
            extra,
            ..Event::ZERO
        }
    }

    #[test]
    fn a_rebuilt_frame_of_any_kind_says_what_its_event_says() {
        for kind in kind::SYN..=kind::ICMP {
            for (version, tags) in [(4, 0), (4, 1), (4, 2), (6, 0), (6, 1), (6, 2)] {
                let event = event(kind, version, tags);
                let (bytes, wire_len) = rebuild(&event, Some([2; 12]));
                assert!(shows(&frame_of(&bytes, wire_len, false), &event), "{event:?} {bytes:x?}");
                if tags == 0 {
                    let (bytes, wire_len) = rebuild(&event, None);
                    assert!(shows(&frame_of(&bytes, wire_len, true), &event), "{event:?}");
                }
            }
        }
    }

    #[test]
    fn a_frame_that_is_cut_short_or_says_something_else_does_not_show_it() {
        let event = event(kind::SYN, 4, 0);
        let (bytes, wire_len) = rebuild(&event, Some([2; 12]));
        assert!(!shows(&frame_of(&bytes[..50], wire_len, false), &event));
        let other = Event { window: event.window + 1, ..event };
        assert!(!shows(&frame_of(&bytes, wire_len, false), &other));
    }
}
