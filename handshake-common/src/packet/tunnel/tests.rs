//! One hand-made frame for each encapsulation, what is none after all, and damage of every kind.

use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::super::ethernet::{Link, WlanHeader};
use super::super::tests::{KEYS, ethernet, tcp, v4, v6};
use super::super::{Malformed, SliceFrame};
use super::{MAX_LAYERS, NotOurs, Parsed, layers, parse};

const V4: u16 = 0x0800;
const V6: u16 = 0x86dd;
const TEB: u16 = 0x6558;
const UDP: u8 = 17;
const GRE: u8 = 47;

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn syn() -> Vec<u8> {
    tcp(&[2, 4, 5, 0xb4], b"tfo")
}

fn inner() -> Vec<u8> {
    v4(6, &syn())
}

fn parsed(link: Link, bytes: &[u8]) -> Parsed {
    parse(&SliceFrame::new(bytes, bytes.len()), link, &KEYS)
}

fn tags(link: Link, bytes: &[u8]) -> Vec<String> {
    let layers = layers(&SliceFrame::new(bytes, bytes.len()), link);
    layers.iter().map(|layer| layer.to_string()).collect()
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x90, 1];
    bytes.extend(port.to_be_bytes());
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    join(&[&bytes, &[0, 0], payload])
}

fn gre(flags: u16, protocol: u16, rest: &[u8]) -> Vec<u8> {
    join(&[&flags.to_be_bytes(), &protocol.to_be_bytes(), rest])
}

fn vxlan(port: u16, frame: &[u8]) -> Vec<u8> {
    v4(UDP, &udp(port, &join(&[&[8, 0, 0, 0, 0x54, 0xfa, 0x11, 0], frame])))
}

fn geneve(options: u8, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![options, 0];
    bytes.extend(protocol.to_be_bytes());
    bytes.extend([0, 0, 11, 0]);
    bytes.resize(8 + 4 * usize::from(options), 0xcc);
    v4(UDP, &udp(6081, &join(&[&bytes, payload])))
}

fn gtp(flags: u8, rest: &[u8]) -> Vec<u8> {
    let head = [0x30 | flags, 255, 0, rest.len() as u8, 0, 0, 1, 0];
    v4(UDP, &udp(2152, &join(&[&head, rest])))
}

fn label(value: u32, is_last: bool) -> [u8; 4] {
    (value << 12 | u32::from(is_last) << 8 | 64).to_be_bytes()
}

fn pppoe(payload: &[u8]) -> Vec<u8> {
    join(&[&[0x11, 0, 0, 7], &(payload.len() as u16).to_be_bytes(), payload])
}

fn snap(oui: u8, payload: &[u8]) -> Vec<u8> {
    join(&[&[0xaa, 0xaa, 3, 0, 0, oui, 8, 0], payload])
}

/// A data frame towards the access point, or between two of them.
fn wlan(control: [u8; 2], extra: &[u8], payload: &[u8]) -> Vec<u8> {
    join(&[&control, &[0; 22], extra, &snap(0, payload)])
}

fn ether(ether_type: u16, payload: &[u8]) -> (Link, Vec<u8>) {
    (Link::Ethernet, ethernet(&[], ether_type, payload))
}

fn over_ip(protocol: u8, payload: &[u8]) -> (Link, Vec<u8>) {
    (Link::Ip, v4(protocol, payload))
}

/// Every encapsulation around the same SYN, with its tags.
fn samples() -> Vec<(&'static str, (Link, Vec<u8>))> {
    let inner = &inner()[..];
    let inner6 = &v6(6, &syn())[..];
    let frame = &ethernet(&[], V4, inner)[..];
    let ppp = &join(&[&[0, 0x21], inner])[..];
    let framed_ppp = &join(&[&[0xff, 3, 0, 0x57], inner6])[..];
    let sll_llc = join(&[&[0; 14], &[0, 4], &snap(0, inner)]);
    let padded_radiotap = [0, 0, 18, 0, 3, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0x20, 0];
    let two_words = [0, 0, 13, 0, 2, 0, 0, 0x80, 0, 0, 0, 0, 0x20];
    let avs = join(&[&[0x80, 0x21, 0x10, 1, 0, 0, 0, 64], &[0; 56]]);
    let data = &wlan([8, 1], &[], inner)[..];
    let qos = &wlan([0x88, 1], &[0, 0, 9, 9], inner)[..];
    let number = [0, 0, 0, 5];
    vec![
        ("snap", ether(60, &snap(0, inner))),
        ("snap", ether(60, &snap(0xf8, inner))),
        ("snap", (Link::Sll, sll_llc)),
        ("vlan:3 snap", (Link::Ethernet, ethernet(&[(0x8100, 3)], 60, &snap(0, inner)))),
        ("mpls:29", ether(0x8847, &join(&[&label(29, true), inner]))),
        ("mpls:16 mpls:0", ether(0x8848, &join(&[&label(16, false), &label(0, true), inner6]))),
        ("mpls:17", ether(0x8847, &join(&[&label(17, true), &[0; 4], frame]))),
        ("pppoe", ether(0x8864, &pppoe(ppp))),
        ("pppoe", ether(0x8864, &pppoe(&join(&[&[0x57], inner6])))),
        ("pppoe mpls:9", ether(0x8864, &pppoe(&join(&[&[2, 0x81], &label(9, true), inner])))),
        ("pppoe", (Link::Pppoe, pppoe(ppp))),
        ("", (Link::Ppp, ppp.to_vec())),
        ("", (Link::Ppp, framed_ppp.to_vec())),
        ("", (Link::Ppp, join(&[&[0x0f, 0, 8, 0], inner]))),
        ("", (Link::CiscoHdlc, join(&[&[0x0f, 0, 8, 0], inner]))),
        ("ipip", over_ip(4, inner)),
        ("ip6in", over_ip(41, inner6)),
        ("ipip", (Link::Ip, v6(4, inner))),
        ("ip6in", (Link::Ip, v6(41, inner6))),
        ("ip6in", (Link::Ip, v6(60, &join(&[&[41, 0, 0, 0, 0, 0, 0, 0], inner6])))),
        ("gre", over_ip(GRE, &gre(0, V4, inner))),
        ("gre", (Link::Ip, v6(GRE, &gre(0, V6, inner6)))),
        ("gre", over_ip(GRE, &gre(0xb000, V4, &join(&[&[7; 12], inner])))),
        ("gre", over_ip(GRE, &gre(0x2000, TEB, &join(&[&number, frame])))),
        ("gre mpls:5", over_ip(GRE, &gre(0, 0x8847, &join(&[&label(5, true), inner])))),
        ("gre", over_ip(GRE, &gre(0x3001, 0x880b, &join(&[&[0; 8], ppp])))),
        ("gre", over_ip(GRE, &gre(0x3081, 0x880b, &join(&[&[0; 12], framed_ppp])))),
        ("gre erspan", over_ip(GRE, &gre(0, 0x88be, frame))),
        ("gre erspan", over_ip(GRE, &gre(0x1000, 0x88be, &join(&[&number, &[0x10; 8], frame])))),
        (
            "gre erspan",
            over_ip(GRE, &gre(0x1000, 0x22eb, &join(&[&number, &[0x20], &[0; 11], frame]))),
        ),
        (
            "gre erspan",
            over_ip(
                GRE,
                &gre(0x1000, 0x22eb, &join(&[&number, &[0x20], &[0; 10], &[1], &[0; 8], frame])),
            ),
        ),
        (
            "gre erspan",
            over_ip(
                GRE,
                &gre(0x1000, 0x22eb, &join(&[&number, &[0x20], &[0; 9], &[8, 0], inner6])),
            ),
        ),
        ("vxlan:5569041", (Link::Ip, vxlan(4789, frame))),
        ("vxlan:5569041 vlan:7", (Link::Ip, vxlan(8472, &ethernet(&[(0x8100, 7)], V6, inner6)))),
        ("geneve:11", (Link::Ip, geneve(0, TEB, frame))),
        ("geneve:11", (Link::Ip, geneve(63, V4, inner))),
        ("gtp:256", (Link::Ip, gtp(0, inner))),
        ("gtp:256", (Link::Ip, gtp(2, &join(&[&[0, 9, 0, 0x85], inner6])))),
        (
            "gtp:256",
            (Link::Ip, gtp(4, &join(&[&[0, 9, 0, 0x85], &[1, 0, 9, 0xc0], &[2; 7], &[0], inner]))),
        ),
        ("802.11", (Link::Wlan(WlanHeader::None), data.to_vec())),
        ("802.11", (Link::Wlan(WlanHeader::None), wlan([8, 3], &[0; 6], inner))),
        ("802.11", (Link::Wlan(WlanHeader::None), wlan([0x88, 0x82], &[0; 6], inner))),
        ("802.11", (Link::Wlan(WlanHeader::Radiotap), join(&[&[0, 0, 8, 0, 0, 0, 0, 0], data]))),
        ("802.11", (Link::Wlan(WlanHeader::Radiotap), join(&[&padded_radiotap, qos]))),
        ("802.11", (Link::Wlan(WlanHeader::Radiotap), join(&[&two_words, qos]))),
        (
            "802.11",
            (
                Link::Wlan(WlanHeader::PrismOrAvs),
                join(&[&[0, 0, 0, 0x44, 0, 0, 0, 144], &[0; 136], data]),
            ),
        ),
        ("802.11", (Link::Wlan(WlanHeader::PrismOrAvs), join(&[&avs, data]))),
        ("802.11", (Link::Wlan(WlanHeader::Ppi), join(&[&[0, 0, 8, 0, 105, 0, 0, 0], data]))),
        ("vlan:5 gre ipip", (Link::Ethernet, nested())),
    ]
}

fn nested() -> Vec<u8> {
    ethernet(&[(0x8100, 5)], V4, &v4(GRE, &gre(0, V4, &v4(4, &inner()))))
}

#[test]
fn syn_is_found_in_every_encapsulation_and_the_tags_say_which() {
    for (expected, (link, bytes)) in samples() {
        let Parsed::Segment(found) = parsed(link, &bytes) else {
            panic!("{expected} {link:?}: {:?}", parsed(link, &bytes))
        };
        assert_eq!(tags(link, &bytes).join(" "), expected, "{link:?}");
        assert_eq!((found.tcp.source_port, found.tcp.dest_port), (1000, 80), "{expected}");
        assert_eq!((found.tcp.seq, found.payload_len), (0x0102_0304, 3), "{expected}");
        assert_eq!(found.at.ttl, if found.at.is_v6 { 62 } else { 61 }, "the inner one's");
        assert_eq!(found.tcp_offset + 27, bytes.len(), "{expected}");
    }
}

#[test]
fn plain_parser_calls_every_encapsulated_frame_not_ip_or_not_tcp() {
    for (expected, (link, bytes)) in samples() {
        let frame = SliceFrame::new(&bytes, bytes.len());
        let plain = super::super::parse(&frame, link, &KEYS);
        let reasons = [NotOurs::NotIp, NotOurs::NotTcp].map(Parsed::NotOurs);
        assert!(reasons.contains(&plain), "{expected}: {plain:?}");
    }
}

#[test]
fn vlan_ids_on_both_sides_of_a_tunnel_reach_the_segment() {
    let inside = ethernet(&[(0x8100, 7)], V4, &inner());
    let bytes = ethernet(&[(0x88a8, 6)], V4, &vxlan(4789, &inside));
    let Parsed::Segment(found) = parsed(Link::Ethernet, &bytes) else { panic!("a segment") };
    assert_eq!((found.at.vlan, found.at.vlan_count), ([6, 7], 2));
    assert_eq!(tags(Link::Ethernet, &bytes), ["vlan:6", "vxlan:5569041", "vlan:7"]);
}

#[test]
fn frame_without_tcp_has_no_tags_and_plain_tcp_has_its_vlan_tags() {
    assert!(tags(Link::Ip, &v4(4, &v4(UDP, &[0; 8]))).is_empty());
    let three = [(0x88a8, 1), (0x8100, 2), (0x8100, 3)];
    let bytes = ethernet(&three, V4, &inner());
    assert_eq!(tags(Link::Ethernet, &bytes), ["vlan:1", "vlan:2", "vlan:3"]);
}

#[test]
fn inner_icmp_error_is_found() {
    let quoted = join(&[&[3, 1, 0, 0, 0, 0, 0, 0], &inner()]);
    let bytes = v4(GRE, &gre(0, V4, &v4(1, &quoted)));
    let Parsed::IcmpError(error) = parsed(Link::Ip, &bytes) else { panic!("an ICMP error") };
    assert_eq!((error.icmp_type, error.code, error.dest_port), (3, 1, 80));
}

#[test]
fn inner_packet_decides_once_a_tunnel_is_entered() {
    let not_tcp = Parsed::NotOurs(NotOurs::NotTcp);
    let arp = ethernet(&[], 0x0806, &[0; 28]);
    assert_eq!(parsed(Link::Ip, &vxlan(4789, &arp)), Parsed::NotOurs(NotOurs::NotIp));
    let udp_inside = ethernet(&[], V4, &v4(UDP, &udp(53, &[])));
    assert_eq!(parsed(Link::Ip, &vxlan(4789, &udp_inside)), not_tcp);
    let echo = v4(1, &[8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(parsed(Link::Ip, &v4(4, &echo)), Parsed::NotOurs(NotOurs::IcmpOther));
    let mut fragment = inner();
    fragment[7] = 1;
    assert_eq!(parsed(Link::Ip, &v4(4, &fragment)), Parsed::NotOurs(NotOurs::Fragment));
    assert_eq!(parsed(Link::Ip, &v4(4, &inner()[..10])), Parsed::Malformed(Malformed::Short));
}

#[test]
fn inner_packet_ends_no_later_than_its_outer_one() {
    let mut lying = inner();
    lying[2..4].copy_from_slice(&9000_u16.to_be_bytes());
    let padded = join(&[&v4(4, &lying), &[0; 100]]);
    let Parsed::Segment(found) = parsed(Link::Ip, &padded) else { panic!("a segment") };
    assert_eq!(found.payload_len, 3);
}

#[test]
fn what_only_looks_like_a_tunnel_keeps_the_plain_answer() {
    let not_tcp = Parsed::NotOurs(NotOurs::NotTcp);
    let not_ip = Parsed::NotOurs(NotOurs::NotIp);
    let frame = ethernet(&[], V4, &inner());
    let no_id = v4(UDP, &udp(4789, &join(&[&[0; 8], &frame])));
    assert_eq!(parsed(Link::Ip, &no_id), not_tcp, "VXLAN without its flag");
    assert_eq!(parsed(Link::Ip, &vxlan(4790, &frame)), not_tcp, "another port");
    let version = v4(UDP, &udp(6081, &join(&[&[0x40, 0, 8, 0, 0, 0, 0, 0], &inner()])));
    assert_eq!(parsed(Link::Ip, &version), not_tcp, "GENEVE version 1");
    let echo = v4(UDP, &udp(2152, &[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(parsed(Link::Ip, &echo), not_tcp, "GTP echo request");
    let endless = gtp(4, &join(&[&[0, 9, 0, 0x85], &[1, 0, 9, 0xc0].repeat(5), &[0; 4]]));
    assert_eq!(parsed(Link::Ip, &endless), not_tcp, "five GTP extension headers");
    let empty = gtp(4, &join(&[&[0, 9, 0, 0x85], &[0; 8]]));
    assert_eq!(parsed(Link::Ip, &empty), not_tcp, "a GTP extension header of length 0");
    let ack_only = v4(GRE, &gre(0x2081, 0x880b, &[0; 8]));
    assert_eq!(parsed(Link::Ip, &ack_only), not_tcp, "PPTP acknowledgement");
    let routed = v4(GRE, &gre(0x4000, V4, &join(&[&[0; 8], &inner()])));
    assert_eq!(parsed(Link::Ip, &routed), not_tcp, "GRE source routes");
    assert_eq!(parsed(Link::Ip, &v4(GRE, &[0, 0])), not_tcp, "GRE cut off");
    assert_eq!(parsed(Link::Ip, &v4(UDP, &[0])), not_tcp, "UDP cut off");
    let discovery = ethernet(&[], 0x8864, &[0x11, 9, 0, 0, 0, 0]);
    assert_eq!(parsed(Link::Ethernet, &discovery), not_ip, "PPPoE with a code");
    let spanning = ethernet(&[], 38, &[0x42, 0x42, 3, 0, 0, 0, 0, 0]);
    assert_eq!(parsed(Link::Ethernet, &spanning), not_ip, "LLC without SNAP");
    let associated = ethernet(&[], 0x8847, &join(&[&label(9, true), &[0x10; 40]]));
    assert_eq!(parsed(Link::Ethernet, &associated), not_ip, "pseudowire control channel");
    for control in [[0x80, 0], [0x48, 0], [8, 0x41]] {
        let bytes = wlan(control, &[], &inner());
        let answer = parsed(Link::Wlan(WlanHeader::None), &bytes);
        assert_eq!(answer, not_ip, "beacon, null data, encrypted: {control:02x?}");
    }
    let aggregate = wlan([0x88, 0], &[0x80, 0], &inner());
    assert_eq!(parsed(Link::Wlan(WlanHeader::None), &aggregate), not_ip, "A-MSDU");
}

#[test]
fn eight_layers_are_walked_and_a_ninth_is_not() {
    let wrapped = |count: usize| (0..count).fold(inner(), |bytes, _| v4(4, &bytes));
    assert_eq!(tags(Link::Ip, &wrapped(MAX_LAYERS)), ["ipip"; MAX_LAYERS]);
    assert!(matches!(parsed(Link::Ip, &wrapped(MAX_LAYERS)), Parsed::Segment(_)));
    let more = parsed(Link::Ip, &wrapped(MAX_LAYERS + 1));
    assert_eq!(more, Parsed::NotOurs(NotOurs::NotTcp));
}

#[test]
fn frames_cut_at_every_byte_are_segments_only_with_a_whole_header() {
    for (expected, (link, bytes)) in samples() {
        let whole = parsed(link, &bytes);
        for len in 0..bytes.len() {
            let frame = SliceFrame::new(&bytes[..len], bytes.len());
            match parse(&frame, link, &KEYS) {
                found @ Parsed::Segment(_) => {
                    assert_eq!(found, whole);
                    assert!(len >= bytes.len() - 7, "{expected} cut at {len}");
                }
                Parsed::IcmpError(_) => panic!("{expected} cut at {len}"),
                Parsed::NotOurs(_) | Parsed::Malformed(_) => {}
            }
        }
    }
}

#[test]
fn frames_with_any_byte_changed_never_panic() {
    for (_, (link, bytes)) in samples() {
        for at in 0..bytes.len() {
            for bits in [1, 2, 4, 8, 16, 32, 64, 128, 255] {
                let mut changed = bytes.clone();
                changed[at] ^= bits;
                let answer = parsed(link, &changed);
                if tags(link, &changed).is_empty() {
                    continue;
                }
                let walked = !matches!(answer, Parsed::NotOurs(NotOurs::NotIp));
                assert!(walked, "{link:?} byte {at} ^ {bits}: tags, but {answer:?}");
            }
        }
    }
}
