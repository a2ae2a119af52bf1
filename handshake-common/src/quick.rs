//! A quick look that only ever says "certainly nothing of ours".
//!
//! Nearly every packet is data, a plain ACK of an established connection, or not TCP at all. For
//! the plain shapes of these (no VLAN tag in the frame, no IP options or extension headers, no
//! fragment, lengths that agree) two reads decide; everything else, and everything that could
//! matter, goes the long way through [`crate::packet`]. What is said here is what the long way
//! would say: a test compares them on every frame it has.

use crate::filter::Plain;
use crate::flow::{Flow, Keys};
use crate::packet::ethernet::Link;
use crate::packet::{Frame, protocol};

/// What a quick look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quick {
    /// IP, neither TCP nor ICMP.
    NotTcp,
    /// ACK without SYN or RST.
    Ack(Plain),
    /// Take the long way.
    Unsure,
}

/// Frame words are compared in memory order, so constants are turned instead of packets.
mod field {
    pub(super) const ETHER_TYPE: usize = 12;
    pub(super) const ETHERNET_LEN: usize = 14;
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// Version and header length of an IPv4 header without options.
    pub(super) const V4_PLAIN: u32 = 0x4500_0000_u32.to_be();
    pub(super) const V4_FIRST: u32 = 0xff00_0000_u32.to_be();
    pub(super) const V4_FRAGMENT_OFFSET: u32 = 0x1fff_u32.to_be();
    pub(super) const V4_LEN: usize = 20;
    pub(super) const V6_VERSION: u32 = 0xf000_0000_u32.to_be();
    pub(super) const V6: u32 = 0x6000_0000_u32.to_be();
    pub(super) const V6_LEN: usize = 40;
    /// SYN, RST and ACK in the fourth word of a TCP header.
    pub(super) const CONTROL: u32 = 0x0016_0000_u32.to_be();
    pub(super) const ACK: u32 = 0x0010_0000_u32.to_be();
    pub(super) const FIN: u32 = 0x0001_0000_u32.to_be();
    pub(super) const TCP_LEN: usize = 20;
    pub(super) const UDP: u8 = 17;
}

/// Looks at the first bytes of a frame.
#[inline(always)]
pub fn look<F: Frame>(frame: &F, link: Link, keys: &Keys) -> Quick {
    let looked = match link {
        Link::Ethernet => match frame.at_hand_u16(field::ETHER_TYPE) {
            Some(field::IPV4) => v4(frame, field::ETHERNET_LEN, keys),
            Some(field::IPV6) => v6(frame, field::ETHERNET_LEN, keys),
            _ => None,
        },
        Link::Ip => match frame.at_hand(0) {
            Some([first]) if first & field::V6_VERSION == field::V6 => v6(frame, 0, keys),
            Some(_) => v4(frame, 0, keys),
            None => None,
        },
        _ => None,
    };
    match looked {
        Some(quick) => quick,
        None => Quick::Unsure,
    }
}

#[inline(always)]
fn v4<F: Frame>(frame: &F, offset: usize, keys: &Keys) -> Option<Quick> {
    let words: [u32; 10] = frame.at_hand(offset)?;
    let [first, second, third, source, dest, ports, _, _, control, _] = words;
    let total_len = (u32::from_be(first) & 0xffff) as usize;
    if first & field::V4_FIRST != field::V4_PLAIN
        || second & field::V4_FRAGMENT_OFFSET != 0
        || total_len < field::V4_LEN
    {
        return None;
    }
    match (u32::from_be(third) >> 16) as u8 {
        protocol::TCP => {}
        field::UDP => return Some(Quick::NotTcp),
        _ => return None,
    }
    if offset + total_len > frame.wire_len() {
        return None;
    }
    let has_payload = is_ack(control, total_len - field::V4_LEN)?;
    let ports = u32::from_be(ports);
    let flow = Flow::v4(source, dest, (ports >> 16) as u16, ports as u16, keys);
    Some(plain(&flow, control, has_payload))
}

#[inline(always)]
fn v6<F: Frame>(frame: &F, offset: usize, keys: &Keys) -> Option<Quick> {
    let [first, second]: [u32; 2] = frame.at_hand(offset)?;
    if first & field::V6_VERSION != field::V6 {
        return None;
    }
    let second = u32::from_be(second);
    match (second >> 8) as u8 {
        protocol::TCP => {}
        field::UDP => return Some(Quick::NotTcp),
        _ => return None,
    }
    let rest: [u32; 13] = frame.at_hand(offset + 8)?;
    let [a, b, c, d, e, f, g, h, ports, _, _, control, _] = rest;
    let payload_len = (second >> 16) as usize;
    if payload_len == 0 || offset + field::V6_LEN + payload_len > frame.wire_len() {
        return None;
    }
    let has_payload = is_ack(control, payload_len)?;
    let ports = u32::from_be(ports);
    let ends = ([a, b, c, d], [e, f, g, h]);
    let flow = Flow::v6(ends.0, ends.1, (ports >> 16) as u16, ports as u16, keys);
    Some(plain(&flow, control, has_payload))
}

#[inline(always)]
fn plain(flow: &Flow, control: u32, has_payload: bool) -> Quick {
    Quick::Ack(Plain {
        fingerprint: flow.fingerprint(),
        from_lower: flow.from_lower(),
        has_payload,
        has_fin: control & field::FIN != 0,
    })
}

/// `Some` if the header fits in `available` bytes and has ACK, but neither SYN nor RST; says whether
/// something follows it.
#[inline(always)]
fn is_ack(control: u32, available: usize) -> Option<bool> {
    let header_len = (u32::from_be(control) >> 28) as usize * 4;
    let fits = header_len >= field::TCP_LEN && header_len <= available;
    if fits && control & field::CONTROL == field::ACK { Some(header_len < available) } else { None }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::filter::{Class, classify};
    use crate::packet::{NotOurs, Parsed, SliceFrame, parse};

    const KEYS: Keys = Keys { low: 0x1234_5678_9abc_def0, high: 0x0fed_cba9_8765_4321 };

    fn xorshift(state: &mut u64) -> u64 {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state
    }

    /// Ethernet, IPv4 or IPv6, TCP or UDP, with `payload` bytes.
    fn frame(is_v6: bool, protocol: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = std::vec![2; 12];
        let inner = 20 + payload;
        if is_v6 {
            frame.extend([
                0x86,
                0xdd,
                0x60,
                0,
                0,
                0,
                (inner >> 8) as u8,
                inner as u8,
                protocol,
                64,
            ]);
            frame.extend([7; 32]);
        } else {
            let total = inner + 20;
            frame.extend([8, 0, 0x45, 0, (total >> 8) as u8, total as u8, 0, 1, 0x40, 0]);
            frame.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        frame.extend([
            0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0,
        ]);
        frame.resize(frame.len() + payload, 0);
        frame
    }

    /// Whatever the quick look is sure of, the long way says too, with the Ethernet header and
    /// without it. Returns whether it was sure.
    fn agrees(bytes: &[u8], wire_len: usize) -> bool {
        if let Some(packet) = bytes.get(14..) {
            agrees_on(packet, wire_len.saturating_sub(14), Link::Ip);
        }
        agrees_on(bytes, wire_len, Link::Ethernet)
    }

    fn agrees_on(bytes: &[u8], wire_len: usize, link: Link) -> bool {
        let frame = SliceFrame::new(bytes, wire_len);
        let quick = look(&frame, link, &KEYS);
        let long = parse(&frame, link, &KEYS);
        match (quick, long) {
            (Quick::Unsure, _) => return false,
            (Quick::NotTcp, Parsed::NotOurs(NotOurs::NotTcp)) => {}
            (Quick::Ack(plain), Parsed::Segment(segment)) => {
                assert_eq!(classify(segment.tcp.flags), Class::Ack, "{bytes:02x?}");
                assert_eq!(plain, Plain::of(&segment), "{bytes:02x?}");
            }
            _ => panic!("{quick:?}, but {long:?}: {bytes:02x?}"),
        }
        true
    }

    #[test]
    fn plain_ack_and_udp_are_seen_at_once() {
        for is_v6 in [false, true] {
            assert!(agrees(&frame(is_v6, 6, 0x10, 0), 0));
            assert!(agrees(&frame(is_v6, 6, 0x18, 1448), 0));
            assert!(agrees(&frame(is_v6, 17, 0, 100), 0));
            for protocol in [6, 17] {
                assert!(agrees_on(&frame(is_v6, protocol, 0x10, 9)[14..], 0, Link::Ip));
            }
        }
    }

    #[test]
    fn whatever_may_matter_goes_the_long_way() {
        for flags in [0x02, 0x12, 0x04, 0x14, 0x00, 0x01, 0x03, 0x16] {
            assert!(!agrees(&frame(false, 6, flags, 0), 0), "flags {flags:02x}");
            assert!(!agrees(&frame(true, 6, flags, 0), 0), "flags {flags:02x}");
        }
    }

    #[test]
    fn random_damage_never_makes_the_two_disagree() {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let mut sure = 0;
        for round in 0..200_000_u32 {
            let random = xorshift(&mut state);
            let protocol = if round % 3 == 0 { 17 } else { 6 };
            let mut bytes =
                frame(round % 2 == 0, protocol, random as u8, (random >> 8) as usize % 40);
            for _ in 0..(random >> 16) % 3 {
                let at = xorshift(&mut state) as usize % bytes.len();
                bytes[at] = xorshift(&mut state) as u8;
            }
            let wire_len = bytes.len();
            if random >> 60 == 0 {
                bytes.truncate(xorshift(&mut state) as usize % (bytes.len() + 1));
            }
            sure += u32::from(agrees(&bytes, wire_len));
        }
        assert!(sure > 40_000, "only {sure} frames were plain");
    }
}
