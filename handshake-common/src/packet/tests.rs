//! Frames as networks send them, frames that lie, and frames cut at every byte.

use std::vec::Vec;
use std::{panic, vec};

use super::ethernet::Link;
use super::{IcmpError, Malformed, NotOurs, Parsed, Segment, SliceFrame, parse};
use crate::event::{Event, kind};
use crate::flow::Keys;

pub(super) const KEYS: Keys = Keys { low: 0x0123_4567, high: 0x89ab_cdef };
const TCP: u8 = 6;
const V4: u16 = 0x0800;
const V6: u16 = 0x86dd;

fn parsed(link: Link, bytes: &[u8]) -> Parsed {
    parse(&SliceFrame::new(bytes, bytes.len()), link, &KEYS)
}

fn segment(link: Link, bytes: &[u8]) -> Segment {
    match parsed(link, bytes) {
        Parsed::Segment(segment) => segment,
        other => panic!("{other:?}"),
    }
}

fn icmp_error(bytes: &[u8]) -> IcmpError {
    match parsed(Link::Ip, bytes) {
        Parsed::IcmpError(error) => error,
        other => panic!("{other:?}"),
    }
}

/// Port 1000 to 80, sequence 0x01020304, acknowledgement 0x05060708, a SYN.
pub(super) fn tcp(options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x03, 0xe8, 0, 80, 1, 2, 3, 4, 5, 6, 7, 8];
    let offset = ((20 + options.len()) / 4) as u8;
    bytes.extend([offset << 4 | 1, 0x02, 0xab, 0xcd, 0, 0, 0, 0]);
    [&bytes[..], options, payload].concat()
}

fn v4_with(options: &[u8], total_len: Option<u16>, fragment: u16, protocol: u8) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut bytes = vec![0x40 | (header_len / 4) as u8, 0];
    bytes.extend(total_len.unwrap_or(header_len as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(fragment.to_be_bytes());
    bytes.extend([61, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    [&bytes[..], options].concat()
}

pub(super) fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = Some(20 + payload.len() as u16);
    [&v4_with(&[], total, 0, protocol)[..], payload].concat()
}

pub(super) fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((payload.len() as u16).to_be_bytes());
    bytes.extend([next, 62]);
    bytes.extend([0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend([0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    [&bytes[..], payload].concat()
}

pub(super) fn ethernet(tags: &[(u16, u16)], ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xee; 12];
    for (tag, id) in tags {
        bytes.extend(tag.to_be_bytes());
        bytes.extend((0xe000 | id).to_be_bytes());
    }
    bytes.extend(ether_type.to_be_bytes());
    [&bytes[..], payload].concat()
}

#[test]
fn tcp_over_ipv4_gives_every_field() {
    let bytes = ethernet(&[], V4, &v4(TCP, &tcp(&[2, 4, 5, 0xb4], b"hello")));
    let Segment { at, tcp, tcp_offset, payload_len, .. } = segment(Link::Ethernet, &bytes);
    assert_eq!((at.ip_offset, at.is_v6, at.ttl, at.vlan_count), (14, false, 61, 0));
    assert_eq!((tcp.source_port, tcp.dest_port), (1000, 80));
    assert_eq!((tcp.seq, tcp.ack), (0x0102_0304, 0x0506_0708));
    assert_eq!((tcp.flags.0, tcp.window, tcp.options_len), (0x102, 0xabcd, 4));
    assert_eq!((tcp_offset, payload_len), (34, 5));
}

#[test]
fn every_link_type_finds_the_ip_header() {
    let (four, six) = (v4(TCP, &tcp(&[], &[])), v6(TCP, &tcp(&[], &[])));
    let sll = |ether_type: u16| [&[0; 14][..], &ether_type.to_be_bytes()].concat();
    let sll2 = |ether_type: u16| [&ether_type.to_be_bytes()[..], &[0; 18]].concat();
    let mut cases = vec![
        (Link::Ip, vec![], &four),
        (Link::Ip, vec![], &six),
        (Link::Sll, sll(V4), &four),
        (Link::Sll, sll(V6), &six),
        (Link::Sll2, sll2(V4), &four),
        (Link::Sll2, sll2(V6), &six),
        (Link::Null, vec![2, 0, 0, 0], &four),
        (Link::Null, vec![0, 0, 0, 2], &four),
    ];
    for family in [10, 23, 24, 28, 30] {
        cases.push((Link::Null, vec![family, 0, 0, 0], &six));
        cases.push((Link::Null, vec![0, 0, 0, family], &six));
    }
    for (link, head, packet) in cases {
        let offset = head.len();
        let found = segment(link, &[&head[..], packet].concat());
        assert_eq!(found.at.ip_offset, offset, "{link:?} {head:?}");
    }
    let unknown = [&[99, 0, 0, 0][..], &four].concat();
    assert_eq!(parsed(Link::Null, &unknown), Parsed::NotOurs(NotOurs::NotIp));
}

#[test]
fn capture_link_types_are_those_we_decode() {
    let decoded = (0..300).filter(|number| Link::of_capture(*number).is_some());
    let plain = [0, 1, 12, 14, 101, 108, 113, 228, 229, 276];
    let encapsulated = [9, 50, 51, 104, 105, 119, 127, 163, 192];
    let mut expected = [&plain[..], &encapsulated].concat();
    expected.sort_unstable();
    assert_eq!(decoded.collect::<Vec<_>>(), expected);
}

#[test]
fn up_to_three_vlan_tags_are_walked_and_two_ids_kept() {
    let packet = v4(TCP, &tcp(&[], &[]));
    let tags = [(0x88a8, 100), (0x8100, 200), (0x9100, 300), (0x9200, 400)];
    for count in 0..=3 {
        let at = segment(Link::Ethernet, &ethernet(&tags[..count], V4, &packet)).at;
        assert_eq!(usize::from(at.vlan_count), count);
        let kept = [100, 200].iter().take(count).chain(&[0, 0]).take(2);
        assert!(at.vlan.iter().eq(kept), "{:?}", at.vlan);
    }
    let four = parsed(Link::Ethernet, &ethernet(&tags, V4, &packet));
    assert_eq!(four, Parsed::NotOurs(NotOurs::NotIp));
}

#[test]
fn ipv4_options_are_stepped_over() {
    for words in 0..=10 {
        let options = vec![1; 4 * words];
        let total = Some((20 + options.len() + 20 + 3) as u16);
        let packet = [v4_with(&options, total, 0, TCP), tcp(&[], b"abc")].concat();
        let found = segment(Link::Ip, &packet);
        assert_eq!((found.tcp_offset, found.payload_len), (20 + options.len(), 3));
    }
}

#[test]
fn payload_comes_from_the_ip_length_not_from_padding_or_what_was_captured() {
    let padded = [v4(TCP, &tcp(&[], b"abc")), vec![0; 10]].concat();
    assert_eq!(segment(Link::Ip, &padded).payload_len, 3);

    let whole = v4(TCP, &tcp(&[], &[7; 1000]));
    let cut = SliceFrame::new(&whole[..40], whole.len());
    let Parsed::Segment(found) = parse(&cut, Link::Ip, &KEYS) else { panic!("a segment") };
    assert_eq!(found.payload_len, 1000);

    let offloaded = [v4_with(&[], Some(0), 0, TCP), tcp(&[], &[7; 100])].concat();
    assert_eq!(segment(Link::Ip, &offloaded).payload_len, 100, "length 0: rest of the frame");

    let beyond = [v4_with(&[], Some(9000), 0, TCP), tcp(&[], &[7; 100])].concat();
    assert_eq!(segment(Link::Ip, &beyond).payload_len, 100, "beyond the frame: cut to it");
}

#[test]
fn every_ipv6_extension_header_is_walked() {
    for header in [0, 43, 60, 135, 139, 140] {
        let extension = [&[TCP, 1][..], &[0; 14]].concat();
        let packet = v6(header, &[extension, tcp(&[], b"abc")].concat());
        let found = segment(Link::Ip, &packet);
        assert_eq!((found.tcp_offset, found.payload_len), (56, 3), "header {header}");
    }
    let authenticated = [&[TCP, 4][..], &[0; 22], &tcp(&[], b"abc")].concat();
    assert_eq!(segment(Link::Ip, &v6(51, &authenticated)).tcp_offset, 64);
    assert_eq!(segment(Link::Ip, &v4(51, &authenticated)).tcp_offset, 44);
}

#[test]
fn eight_extension_headers_are_walked_and_a_ninth_is_not() {
    let chain = |count: usize| {
        let mut bytes = Vec::new();
        for left in (0..count).rev() {
            bytes.extend([if left == 0 { TCP } else { 60 }, 0, 0, 0, 0, 0, 0, 0]);
        }
        v6(60, &[bytes, tcp(&[], &[])].concat())
    };
    assert_eq!(segment(Link::Ip, &chain(8)).tcp_offset, 40 + 64);
    assert_eq!(parsed(Link::Ip, &chain(9)), Parsed::NotOurs(NotOurs::NotTcp));
}

#[test]
fn unknown_next_header_ends_the_walk() {
    for next in [4, 17, 41, 47, 50, 59, 108, 132, 255] {
        let packet = v6(next, &tcp(&[], &[]));
        assert_eq!(parsed(Link::Ip, &packet), Parsed::NotOurs(NotOurs::NotTcp), "{next}");
    }
    let v4_with_v6_header = v4(60, &[&[TCP, 0, 0, 0, 0, 0, 0, 0][..], &tcp(&[], &[])].concat());
    assert_eq!(parsed(Link::Ip, &v4_with_v6_header), Parsed::NotOurs(NotOurs::NotTcp));
}

#[test]
fn first_fragment_counts_and_later_ones_are_skipped() {
    let fragment = |offset_field: u16, payload: &[u8]| {
        let total = Some(20 + payload.len() as u16);
        [&v4_with(&[], total, offset_field, TCP)[..], payload].concat()
    };
    let whole = tcp(&[1, 1, 1, 1], &[]);
    segment(Link::Ip, &fragment(0x2000, &whole));
    assert_eq!(
        parsed(Link::Ip, &fragment(0x2000, &whole[..20])),
        Parsed::Malformed(Malformed::BadTcp),
        "the data offset does not fit in the first fragment"
    );
    assert_eq!(parsed(Link::Ip, &fragment(0x2001, &whole)), Parsed::NotOurs(NotOurs::Fragment));

    let v6_fragment = |low: u8| v6(44, &[&[TCP, 0, 0, low, 0, 0, 0, 9][..], &whole].concat());
    assert_eq!(segment(Link::Ip, &v6_fragment(1)).tcp_offset, 48);
    assert_eq!(parsed(Link::Ip, &v6_fragment(8)), Parsed::NotOurs(NotOurs::Fragment));
}

#[test]
fn contradictions_are_named() {
    let bad_ip = Parsed::Malformed(Malformed::BadIp);
    let bad_tcp = Parsed::Malformed(Malformed::BadTcp);
    let good = v4(TCP, &tcp(&[], &[]));
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(parsed(Link::Ip, &changed(0, 0x44)), bad_ip, "IHL below 5");
    assert_eq!(parsed(Link::Ip, &changed(0, 0x55)), bad_ip, "version 5");
    assert_eq!(parsed(Link::Ip, &changed(3, 19)), bad_ip, "total length below the header");
    assert_eq!(parsed(Link::Ethernet, &ethernet(&[], V6, &good)), bad_ip, "EtherType lies");
    assert_eq!(parsed(Link::Ip, &changed(32, 0x40)), bad_tcp, "data offset below 5");
    assert_eq!(parsed(Link::Ip, &changed(32, 0x60)), bad_tcp, "data offset beyond the packet");
    assert_eq!(parsed(Link::Ip, &changed(3, 39)), bad_tcp, "no room for a TCP header");
    let arp = ethernet(&[], 0x0806, &good);
    assert_eq!(parsed(Link::Ethernet, &arp), Parsed::NotOurs(NotOurs::NotIp));
    assert_eq!(parsed(Link::Ip, &v4(17, &[0; 20])), Parsed::NotOurs(NotOurs::NotTcp));
}

#[test]
fn icmp_errors_quote_their_segment_and_others_are_skipped() {
    let quoted = v4(TCP, &tcp(&[], &[]));
    for (icmp_type, code, ends) in [
        (3, 1, true),
        (3, 4, false),
        (4, 0, false),
        (5, 1, false),
        (8, 0, false),
        (11, 0, true),
        (12, 0, true),
    ] {
        let packet = v4(1, &[&[icmp_type, code, 0, 0, 0, 0, 0, 0][..], &quoted[..28]].concat());
        if ends {
            let error = icmp_error(&packet);
            assert_eq!((error.icmp_type, error.code), (icmp_type, code));
            assert_eq!((error.source_port, error.dest_port, error.seq), (1000, 80, 0x0102_0304));
            assert_eq!(error.flow, segment(Link::Ip, &quoted).flow);
        } else {
            let skipped = Parsed::NotOurs(NotOurs::IcmpOther);
            assert_eq!(parsed(Link::Ip, &packet), skipped, "type {icmp_type} code {code}");
        }
    }
    let quoted = v6(60, &[&[TCP, 0, 0, 0, 0, 0, 0, 0][..], &tcp(&[], &[])].concat());
    for (icmp_type, ends) in [(1, true), (2, false), (3, true), (4, true), (128, false)] {
        let packet = v6(58, &[&[icmp_type, 0, 0, 0, 0, 0, 0, 0][..], &quoted].concat());
        let found = matches!(parsed(Link::Ip, &packet), Parsed::IcmpError(_));
        assert_eq!(found, ends, "type {icmp_type}");
    }
}

#[test]
fn icmp_error_that_quotes_too_little_or_no_tcp_is_no_error_of_ours() {
    let quoted = v4(TCP, &tcp(&[], &[]));
    let cut = v4(1, &[&[3, 1, 0, 0, 0, 0, 0, 0][..], &quoted[..27]].concat());
    assert_eq!(parsed(Link::Ip, &cut), Parsed::Malformed(Malformed::Short));
    let udp = v4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0][..], &v4(17, &[0; 8])].concat());
    assert_eq!(parsed(Link::Ip, &udp), Parsed::NotOurs(NotOurs::IcmpOther));
}

#[test]
fn event_of_a_syn_carries_addresses_and_the_options_that_were_captured() {
    let bytes = v6(TCP, &tcp(&[2, 4, 5, 0xb4, 1, 1, 4, 2], &[]));
    let found = segment(Link::Ip, &bytes);
    for captured in [bytes.len(), bytes.len() - 3] {
        let frame = SliceFrame::new(&bytes[..captured], bytes.len());
        let mut event = Event::ZERO;
        event.fill_segment(&frame, kind::SYN, &found);
        assert_eq!(event.source[3].to_ne_bytes(), [0, 0, 0, 1]);
        assert_eq!(event.dest[3].to_ne_bytes(), [0, 0, 0, 2]);
        let options = &event.extra[..usize::from(event.extra_len)];
        assert_eq!(options, &bytes[60..captured]);
    }
}

#[test]
fn both_directions_share_a_fingerprint_and_differ_in_who_is_lower() {
    for packet in [v4(TCP, &tcp(&[], &[])), v6(TCP, &tcp(&[], &[]))] {
        let there = segment(Link::Ip, &packet).flow;
        let mut back = packet.clone();
        let (addresses, ports) = if packet.len() == 40 { (12..20, 20) } else { (8..40, 40) };
        let half = addresses.len() / 2;
        back[addresses].rotate_left(half);
        back[ports..ports + 4].rotate_left(2);
        let back = segment(Link::Ip, &back).flow;
        assert_eq!(there.fingerprint(), back.fingerprint());
        assert_ne!(there.from_lower(), back.from_lower());
    }
}

/// Frames that between them reach every branch of the parser.
fn samples() -> Vec<(Link, Vec<u8>)> {
    let segment = tcp(&[2, 4, 5, 0xb4], b"data");
    let chain = [&[60, 0, 0, 0, 0, 0, 0, 0][..], &[TCP, 1], &[0; 14], &segment].concat();
    let fragment = [&[TCP, 0, 0, 1, 0, 0, 0, 9][..], &segment].concat();
    let quoted = [&[3, 1, 0, 0, 0, 0, 0, 0][..], &v4(TCP, &segment)].concat();
    let quoted6 = [&[1, 4, 0, 0, 0, 0, 0, 0][..], &v6(0, &chain)].concat();
    let tags = [(0x88a8, 1), (0x8100, 2), (0x8100, 3)];
    vec![
        (Link::Ethernet, ethernet(&tags, V4, &v4(TCP, &segment))),
        (Link::Ethernet, ethernet(&[], V6, &v6(0, &chain))),
        (Link::Ip, v6(44, &fragment)),
        (Link::Ip, v4(1, &quoted)),
        (Link::Ip, v6(58, &quoted6)),
        (Link::Null, [&[30, 0, 0, 0][..], &v6(TCP, &segment)].concat()),
        (Link::Sll, [&[0; 14][..], &[8, 0], &v4(TCP, &segment)].concat()),
        (Link::Sll2, [&[8, 0][..], &[0; 18], &v4(TCP, &segment)].concat()),
    ]
}

#[test]
fn frames_cut_at_every_byte_never_panic_and_are_segments_only_with_a_whole_header() {
    for (link, bytes) in samples() {
        let whole = parsed(link, &bytes);
        let needed = match whole {
            Parsed::Segment(segment) => segment.tcp_offset + 20,
            Parsed::IcmpError(_) => 0,
            other => panic!("{other:?}"),
        };
        for len in 0..bytes.len() {
            let frame = SliceFrame::new(&bytes[..len], bytes.len());
            match parse(&frame, link, &KEYS) {
                Parsed::Segment(segment) => {
                    assert_eq!(Parsed::Segment(segment), whole);
                    assert!(len >= needed, "{link:?} cut at {len}");
                }
                Parsed::IcmpError(error) => assert_eq!(Parsed::IcmpError(error), whole),
                Parsed::Malformed(Malformed::Short) => {}
                other => panic!("{link:?} cut at {len}: {other:?}"),
            }
        }
    }
}

#[test]
fn frames_with_any_byte_changed_never_panic() {
    for (link, bytes) in samples() {
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = value;
                let result = panic::catch_unwind(|| parsed(link, &changed));
                assert!(result.is_ok(), "{link:?} byte {at} = {value}");
            }
        }
    }
}
