//! Packets made by hand: what networks send, what they should not, and what lies.
//!
//! All belong to one flow a family, A (port 1000, ISN 1000) to B (port 80, ISN 5000), so that an
//! attempt opened by [`Vector::opening`] is pending when one of them comes by.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use handshake_common::packet::ethernet::Link;
use handshake_tests::frame::ip_packet;

const A4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const B4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const ROUTER4: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 3));
const A6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 1));
const B6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, 2));
const ROUTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 3, 0, 0, 0, 3));

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];

const FIN: u16 = 0x01;
const SYN: u16 = 0x02;
const RST: u16 = 0x04;
const ACK: u16 = 0x10;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AH: u8 = 51;
const ICMPV6: u8 = 58;
const DESTINATION: u8 = 60;
/// Hop-by-hop, routing, destination, mobility, HIP, shim6: all of one shape.
const EXTENSIONS: [u8; 6] = [0, ROUTING, DESTINATION, 135, 139, 140];

/// One packet, and what it stands for.
pub(crate) struct Vector {
    pub(crate) name: String,
    /// VLAN tags, outermost first.
    tags: Vec<u16>,
    ether_type: u16,
    packet: Vec<u8>,
}

impl Vector {
    /// An IP packet; its first nibble says which.
    pub(crate) fn ip(name: String, packet: Vec<u8>) -> Self {
        let ether_type =
            if packet.first().is_some_and(|first| first >> 4 == 6) { IPV6 } else { IPV4 };
        Self { name, tags: Vec::new(), ether_type, packet }
    }

    fn tagged(name: String, tags: &[u16], ether_type: u16, packet: Vec<u8>) -> Self {
        Self { name, tags: tags.to_vec(), ether_type, packet }
    }

    /// With an Ethernet header.
    pub(crate) fn ethernet(&self) -> Vec<u8> {
        let mut frame = vec![0x02; 12];
        for (tag, id) in self.tags.iter().zip(5_u16..) {
            frame.extend(tag.to_be_bytes());
            frame.extend((0x6000 | id).to_be_bytes());
        }
        frame.extend(self.ether_type.to_be_bytes());
        frame.extend(&self.packet);
        frame
    }

    /// As a program for this kind of link sees it, if it can.
    pub(crate) fn frame(&self, link: Link) -> Option<Vec<u8>> {
        match link {
            Link::Ip if !self.tags.is_empty() => None,
            Link::Ip => Some(self.packet.clone()),
            _ => Some(self.ethernet()),
        }
    }

    /// The SYN of the attempt that this packet may belong to.
    pub(crate) fn opening(&self, link: Link) -> Vec<u8> {
        let six = self.ether_type == IPV6;
        let (from, to) = if six { (A6, B6) } else { (A4, B4) };
        let packet = ip_packet(from, to, TCP, 64, &Tcp::new(SYN).bytes());
        Self::ip(String::new(), packet).frame(link).expect("no tags")
    }
}

/// A TCP header and what follows.
#[derive(Clone)]
struct Tcp {
    from_b: bool,
    seq: u32,
    ack: u32,
    /// The data offset's nibble, if it lies.
    offset: Option<u8>,
    /// Nine flags and the three reserved bits above them.
    flags: u16,
    options: Vec<u8>,
    payload: Vec<u8>,
}

impl Tcp {
    /// What A sends with these flags.
    fn new(flags: u16) -> Self {
        let (seq, ack) = if flags & SYN != 0 { (1000, 0) } else { (1001, 5001) };
        let (options, payload) = (Vec::new(), Vec::new());
        Self { from_b: false, seq, ack, offset: None, flags, options, payload }
    }

    /// What B sends with these flags.
    fn answer(flags: u16) -> Self {
        let seq = if flags & SYN != 0 { 5000 } else { 5001 };
        Self { from_b: true, seq, ack: 1001, ..Self::new(flags) }
    }

    fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    fn payload(self, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let [source, dest] = if self.from_b { [80_u16, 1000] } else { [1000, 80] };
        let options_len = self.options.len().next_multiple_of(4);
        let offset = self.offset.unwrap_or((5 + options_len / 4) as u8);
        let mut bytes = [source.to_be_bytes(), dest.to_be_bytes()].concat();
        bytes.extend([self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        bytes.extend((u16::from(offset) << 12 | self.flags).to_be_bytes());
        bytes.extend([0xfa, 0xf0, 0xbe, 0xef, 0, 0]);
        bytes.extend(&self.options);
        bytes.resize(20 + options_len, 0);
        bytes.extend(&self.payload);
        bytes
    }

    fn v4(&self) -> Vec<u8> {
        let (from, to) = if self.from_b { (B4, A4) } else { (A4, B4) };
        ip_packet(from, to, TCP, 61, &self.bytes())
    }

    fn v6(&self) -> Vec<u8> {
        let (from, to) = if self.from_b { (B6, A6) } else { (A6, B6) };
        ip_packet(from, to, TCP, 62, &self.bytes())
    }

    /// In both families.
    fn both(&self, name: &str) -> [Vector; 2] {
        let named = |family: &str, packet| Vector::ip(format!("{family}, {name}"), packet);
        [named("IPv4", self.v4()), named("IPv6", self.v6())]
    }
}

/// Every vector.
pub(crate) fn all() -> Vec<Vector> {
    let groups =
        [flags(), data_offsets(), options(), v4(), v6(), chains(), links(), icmp4(), icmp6()];
    groups.into_iter().flatten().collect()
}

/// Of no attempt, as long as the table is empty.
pub(crate) fn strays() -> Vec<Vector> {
    let mut vectors = Vec::from(Tcp::new(ACK).both("stray ACK"));
    vectors.extend(Tcp::new(RST).both("stray RST"));
    let quote = icmp(3, 1, &Tcp::new(SYN).v4()[..28]);
    vectors.push(Vector::ip("stray ICMP".to_owned(), ip_packet(ROUTER4, A4, ICMP, 59, &quote)));
    vectors
}

fn flags() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for core in 0..32 {
        // FIN, SYN, RST, PSH, ACK; beside them none, URG with ECE, CWR with AE, reserved bits.
        for beside in [0, 0x060, 0x180, 0xe00] {
            let flags = core | beside;
            vectors.extend(Tcp::new(flags).both(&format!("flags {flags:#05x} of A")));
            vectors
                .extend(Tcp::answer(flags).payload(b"x").both(&format!("flags {flags:#05x} of B")));
        }
    }
    vectors
}

fn data_offsets() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for offset in 0..16 {
        for options in [&[][..], &[1; 40]] {
            let tcp = Tcp { offset: Some(offset), ..Tcp::new(SYN) }.options(options);
            let name = format!("data offset {offset} with {} bytes of options", options.len());
            vectors.extend(tcp.both(&name));
        }
    }
    vectors
}

fn options() -> Vec<Vector> {
    let full =
        [&[2, 4, 5, 0xb4, 4, 2, 8, 10][..], &[7; 8], &[1, 3, 3, 7, 30, 12, 1, 0], &[9; 8], &[1; 8]];
    let cases: [(&str, &[u8]); 22] = [
        ("MSS", &[2, 4, 5, 0xb4]),
        ("MSS of a wrong length", &[2, 3, 5, 0xb4]),
        ("window scale", &[3, 3, 7]),
        ("SACK permitted", &[4, 2]),
        ("timestamps", &[8, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("Fast Open request", &[34, 2]),
        ("Fast Open cookie", &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("Fast Open, experimental request", &[254, 4, 0xf9, 0x89]),
        ("Fast Open, experimental cookie", &[254, 12, 0xf9, 0x89, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("another experiment", &[254, 6, 0xab, 0xcd, 1, 2]),
        ("MP_CAPABLE", &[30, 4, 1, 0]),
        ("MP_CAPABLE with a key", &[30, 12, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("MP_JOIN", &[30, 12, 0x10, 0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ("another MPTCP", &[30, 4, 0x20, 0]),
        ("MPTCP without subtype", &[30, 2]),
        ("length 0", &[2, 0, 5, 0xb4]),
        ("length 1", &[2, 1, 5, 0xb4]),
        ("length beyond the header", &[2, 40, 5, 0xb4]),
        ("kind without length", &[1, 1, 1, 2]),
        ("end before another", &[0, 2, 4, 5]),
        ("twice the same", &[3, 3, 7, 3, 3, 8]),
        ("forty no-operations", &[1; 40]),
    ];
    let mut vectors = Vec::new();
    for (name, bytes) in cases.into_iter().chain([("all of them", &full.concat()[..])]) {
        vectors.extend(Tcp::new(SYN).options(bytes).both(&format!("SYN, {name}")));
        vectors.extend(Tcp::answer(SYN | ACK).options(bytes).both(&format!("SYN-ACK, {name}")));
    }
    let data = Tcp::new(SYN).options(&[34, 6, 1, 2, 3, 4]).payload(b"GET / HTTP/1.0");
    vectors.extend(data.both("Fast Open data"));
    vectors.extend(Tcp { ack: 1008, ..Tcp::answer(SYN | ACK) }.both("SYN-ACK of data"));
    vectors.extend(Tcp::new(ACK).options(&[1; 12]).payload(&[7; 30]).both("data with options"));
    vectors.extend(Tcp::new(ACK | FIN).both("FIN"));
    vectors.extend(Tcp { seq: 3_000_000, ..Tcp::new(ACK) }.both("outside the window"));
    vectors.extend(Tcp { seq: 1000, ..Tcp::new(RST) }.both("RST of no number"));
    vectors.extend(Tcp::answer(RST | ACK).both("refusal"));
    vectors
}

/// An IPv4 packet with bytes of its header replaced: offset and value.
fn v4_patched(name: &str, tcp: &Tcp, patches: &[(usize, u8)]) -> Vector {
    let mut packet = tcp.v4();
    for &(at, byte) in patches {
        packet[at] = byte;
    }
    Vector::tagged(format!("IPv4, {name}"), &[], IPV4, packet)
}

fn v4() -> Vec<Vector> {
    let syn = Tcp::new(SYN).options(&[2, 4, 5, 0xb4]).payload(b"data");
    let mut vectors = Vec::new();
    for words in 0..=10_u8 {
        let mut packet = syn.v4();
        packet[0] = 0x45 + words;
        packet[3] += 4 * words;
        packet.splice(20..20, vec![1; usize::from(words) * 4]);
        vectors.push(Vector::ip(format!("IPv4, {words} words of options"), packet));
    }
    for first in [0x00, 0x40, 0x41, 0x44, 0x4f, 0x55, 0x65, 0xf5] {
        vectors.push(v4_patched(&format!("first byte {first:#x}"), &syn, &[(0, first)]));
    }
    let whole = syn.v4().len() as u16;
    for total in [0, 1, 19, 20, 21, 39, 40, 43, 44, whole - 1, whole + 1, 1500, u16::MAX] {
        let [high, low] = total.to_be_bytes();
        vectors.push(v4_patched(&format!("total length {total}"), &syn, &[(2, high), (3, low)]));
    }
    for fragment in [0x4000, 0x8000, 0x2000, 0x2001, 0x0001, 0x1fff, 0x3fff, 0xffff_u16] {
        let [high, low] = fragment.to_be_bytes();
        vectors.push(v4_patched(
            &format!("fragment field {fragment:#06x}"),
            &syn,
            &[(6, high), (7, low)],
        ));
    }
    for protocol in [0, 2, 4, UDP, 41, ROUTING, FRAGMENT, 47, 50, ICMPV6, DESTINATION, 132, 255] {
        vectors.push(v4_patched(&format!("protocol {protocol}"), &syn, &[(9, protocol)]));
    }
    for len in [0, 1, 2, 4, 8, 255] {
        let packet = ip_packet(A4, B4, AH, 60, &chain(&[(AH, len)], TCP, &syn.bytes()));
        vectors.push(Vector::ip(format!("IPv4, AH of length {len}"), packet));
    }
    let padded = [&syn.v4()[..], &[0; 6]].concat();
    vectors.push(Vector::ip("IPv4, padded to a minimum frame".to_owned(), padded));
    vectors
}

/// Extension headers (protocol and length field) before `payload` of protocol `last`.
fn chain(headers: &[(u8, u8)], last: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, &(protocol, len)) in headers.iter().enumerate() {
        let next = headers.get(index + 1).map_or(last, |(next, _)| *next);
        let size = match protocol {
            AH => (usize::from(len) + 2) * 4,
            FRAGMENT => 8,
            _ => (usize::from(len) + 1) * 8,
        };
        let mut header = vec![0; size.max(8)];
        header[..2].copy_from_slice(&[next, len]);
        bytes.extend(&header[..size]);
    }
    bytes.extend(payload);
    bytes
}

/// An IPv6 packet whose first header is `first`, with extension headers.
fn extended(headers: &[(u8, u8)], last: u8, payload: &[u8]) -> Vec<u8> {
    let first = headers.first().map_or(last, |(first, _)| *first);
    ip_packet(A6, B6, first, 63, &chain(headers, last, payload))
}

fn v6() -> Vec<Vector> {
    let syn = Tcp::new(SYN).options(&[2, 4, 5, 0xa0]).payload(b"data");
    let mut vectors = Vec::new();
    let mut push = |name: String, packet| {
        vectors.push(Vector::tagged(format!("IPv6, {name}"), &[], IPV6, packet));
    };
    for first in [0x00, 0x40, 0x45, 0x50, 0x6f, 0x70, 0xf0] {
        let mut packet = syn.v6();
        packet[0] = first;
        push(format!("first byte {first:#x}"), packet);
    }
    let whole = (syn.v6().len() - 40) as u16;
    for len in [0, 1, 19, 20, 23, 24, whole - 1, whole + 1, 1440, u16::MAX] {
        let mut packet = syn.v6();
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        push(format!("payload length {len}"), packet);
    }
    for next in [ICMP, 2, 4, UDP, 41, 47, 50, 59, 132, 253, 255] {
        let mut packet = syn.v6();
        packet[6] = next;
        push(format!("next header {next}"), packet);
    }
    for field in [0x0000, 0x0001, 0x0006, 0x0007, 0x0008, 0x0009, 0xfff8, 0xffff_u16] {
        let mut packet = extended(&[(FRAGMENT, 0)], TCP, &syn.bytes());
        packet[42..44].copy_from_slice(&field.to_be_bytes());
        push(format!("fragment field {field:#06x}"), packet);
    }
    let mut late = extended(&[(0, 0), (FRAGMENT, 0), (DESTINATION, 1)], TCP, &syn.bytes());
    push("fragment header among others".to_owned(), late.clone());
    late[50..52].copy_from_slice(&[0x05, 0xa9]);
    push("later fragment among others".to_owned(), late);
    vectors
}

/// Extension headers one by one, in chains of up to nine, and too long.
fn chains() -> Vec<Vector> {
    let syn = Tcp::new(SYN).options(&[2, 4, 5, 0xa0]).bytes();
    let mut vectors = Vec::new();
    let mut push = |name: String, packet| vectors.push(Vector::ip(format!("IPv6, {name}"), packet));
    for header in EXTENSIONS.into_iter().chain([AH]) {
        for len in [0, 1, 3, 255] {
            let packet = extended(&[(header, len)], TCP, &syn);
            push(format!("header {header} of length {len}"), packet.clone());
            // The length says more than there is.
            let cut = packet.len().min(70);
            push(format!("header {header} of length {len}, cut"), packet[..cut].to_vec());
        }
        for count in 2..=9 {
            let headers = vec![(header, u8::from(header == AH)); count];
            push(format!("{count} headers {header}"), extended(&headers, TCP, &syn));
        }
    }
    let mixed = [
        (0, 0),
        (DESTINATION, 1),
        (ROUTING, 2),
        (FRAGMENT, 0),
        (AH, 4),
        (135, 0),
        (139, 1),
        (140, 0),
        (DESTINATION, 0),
    ];
    for count in 1..=9 {
        push(format!("{count} mixed headers"), extended(&mixed[..count], TCP, &syn));
        push(format!("{count} mixed headers before UDP"), extended(&mixed[..count], UDP, &syn));
    }
    let ahs = |count| ip_packet(A4, B4, AH, 60, &chain(&vec![(AH, 4); count], TCP, &syn));
    vectors.extend((1..=9).map(|count| Vector::ip(format!("IPv4, {count} AH"), ahs(count))));
    vectors
}

/// VLAN tags, and what else Ethernet carries.
fn links() -> Vec<Vector> {
    let syn = Tcp::new(SYN).options(&[2, 4, 5, 0xb4]);
    let mut vectors = Vec::new();
    for (ether_type, packet) in [(IPV4, syn.v4()), (IPV6, syn.v6())] {
        for tag in TAGS {
            for count in 1..=4 {
                let name = format!("{count} tags {tag:#x} before {ether_type:#x}");
                vectors.push(Vector::tagged(name, &vec![tag; count], ether_type, packet.clone()));
            }
        }
        for tags in [&[0x88a8, 0x8100][..], &[0x9100, 0x8100], &[0x8100, 0x9200, 0x88a8]] {
            let name = format!("tags {tags:x?} before {ether_type:#x}");
            vectors.push(Vector::tagged(name, tags, ether_type, packet.clone()));
        }
    }
    for ether_type in [0, 46, 1500, 0x0806, 0x22f0, 0x8847, 0x8863, 0x8864, 0x88cc, 0x893f, 0xffff]
    {
        for tags in [&[][..], &[0x8100]] {
            let name = format!("EtherType {ether_type:#x} behind {} tags", tags.len());
            vectors.push(Vector::tagged(name, tags, ether_type, syn.v4()));
        }
    }
    vectors.push(Vector::tagged("IPv6 said to be IPv4".to_owned(), &[], IPV4, syn.v6()));
    vectors.push(Vector::tagged("IPv4 said to be IPv6".to_owned(), &[], IPV6, syn.v4()));
    vectors
}

fn icmp(kind: u8, code: u8, quote: &[u8]) -> Vec<u8> {
    [&[kind, code, 0xca, 0xfe, 0, 0, 0, 0], quote].concat()
}

fn icmp4() -> Vec<Vector> {
    let syn = Tcp::new(SYN).v4();
    let mut vectors = Vec::new();
    let mut push = |name: String, message: &[u8]| {
        let packet = ip_packet(ROUTER4, A4, ICMP, 59, message);
        vectors.push(Vector::ip(format!("ICMP, {name}"), packet));
    };
    for code in 0..=15 {
        push(format!("type 3 code {code}"), &icmp(3, code, &syn[..28]));
    }
    for (kind, code) in [
        (11, 0),
        (11, 1),
        (12, 0),
        (12, 1),
        (12, 2),
        (4, 0),
        (5, 1),
        (0, 0),
        (8, 0),
        (13, 0),
        (255, 0),
    ] {
        push(format!("type {kind} code {code}"), &icmp(kind, code, &syn[..28]));
    }
    for len in 0..=20 {
        push(format!("{len} bytes of TCP quoted"), &icmp(3, 1, &syn[..20 + len]));
    }
    push("a SYN-ACK quoted".to_owned(), &icmp(3, 3, &Tcp::answer(SYN | ACK).v4()[..28]));
    push(
        "another number quoted".to_owned(),
        &icmp(3, 3, &Tcp { seq: 9, ..Tcp::new(ACK) }.v4()[..28]),
    );
    for (name, at, byte) in [
        ("IHL 0", 0, 0x40),
        ("IHL 4", 0, 0x44),
        ("IHL 6", 0, 0x46),
        ("IHL 15", 0, 0x4f),
        ("version 6", 0, 0x65),
        ("version 0", 0, 0x05),
        ("total length 0", 3, 0),
        ("total length 255", 3, 255),
        ("more fragments", 6, 0x20),
        ("a later fragment", 7, 1),
        ("UDP", 9, UDP),
        ("ICMP", 9, ICMP),
        ("ICMPv6", 9, ICMPV6),
        ("AH", 9, AH),
    ] {
        let mut quote = syn.clone();
        quote[at] = byte;
        push(format!("quote with {name}"), &icmp(3, 1, &quote));
    }
    vectors.push(Vector::ip(
        "ICMP over IPv6".to_owned(),
        ip_packet(ROUTER6, A6, ICMP, 59, &icmp(3, 1, &syn[..28])),
    ));
    vectors
}

fn icmp6() -> Vec<Vector> {
    let syn = Tcp::new(SYN);
    let quoted = syn.v6();
    let mut vectors = Vec::new();
    let mut push = |name: String, message: &[u8]| {
        let packet = ip_packet(ROUTER6, A6, ICMPV6, 58, message);
        vectors.push(Vector::ip(format!("ICMPv6, {name}"), packet));
    };
    for code in 0..=8 {
        push(format!("type 1 code {code}"), &icmp(1, code, &quoted[..48]));
    }
    for kind in [0, 2, 3, 4, 5, 127, 128, 129, 133, 135, 137, 255] {
        push(format!("type {kind}"), &icmp(kind, 0, &quoted[..48]));
    }
    for len in 0..=20 {
        push(format!("{len} bytes of TCP quoted"), &icmp(1, 4, &quoted[..40 + len]));
    }
    push("a SYN-ACK quoted".to_owned(), &icmp(1, 4, &Tcp::answer(SYN | ACK).v6()[..48]));
    for (name, at, byte) in [
        ("version 4", 0, 0x45),
        ("version 0", 0, 0),
        ("UDP", 6, UDP),
        ("no next header", 6, 59),
        ("ICMPv6", 6, ICMPV6),
    ] {
        let mut quote = quoted.clone();
        quote[at] = byte;
        push(format!("quote with {name}"), &icmp(1, 4, &quote));
    }
    for header in EXTENSIONS.into_iter().chain([AH, FRAGMENT]) {
        for count in [1, 2, 8, 9] {
            let headers = vec![(header, u8::from(header == AH)); count];
            let quote = extended(&headers, TCP, &syn.bytes());
            push(format!("quote with {count} headers {header}"), &icmp(1, 4, &quote));
        }
    }
    let mut later = extended(&[(FRAGMENT, 0)], TCP, &syn.bytes());
    later[42] = 1;
    push("quote of a later fragment".to_owned(), &icmp(1, 4, &later));
    let message = icmp(1, 4, &quoted[..48]);
    let behind = |headers: &[(u8, u8)]| {
        let first = headers[0].0;
        ip_packet(ROUTER6, A6, first, 58, &chain(headers, ICMPV6, &message))
    };
    for count in 1..=9 {
        let packet = behind(&vec![(DESTINATION, 0); count]);
        vectors.push(Vector::ip(format!("ICMPv6, behind {count} headers"), packet));
    }
    vectors.push(Vector::ip(
        "ICMPv6 over IPv4".to_owned(),
        ip_packet(ROUTER4, A4, ICMPV6, 59, &message),
    ));
    vectors
}

/// `attempts` attempts of which every third is answered, then one that gets no further.
pub(crate) fn flood(attempts: u16) -> Vec<Vector> {
    let mut vectors = Vec::new();
    let with_port = |tcp: &Tcp, port: u16| {
        let mut packet = tcp.v4();
        let at = if tcp.from_b { 22 } else { 20 };
        packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
        packet
    };
    for port in 10_000..10_000 + attempts {
        let syn = with_port(&Tcp::new(SYN), port);
        vectors.push(Vector::ip(format!("SYN of port {port}"), syn));
        if port % 3 != 0 {
            let answer = with_port(&Tcp::answer(SYN | ACK), port);
            vectors.push(Vector::ip(format!("SYN-ACK to port {port}"), answer));
        }
    }
    vectors.push(Vector::ip("the last SYN".to_owned(), Tcp::new(SYN).v4()));
    let outside = Tcp { seq: 3_000_000, ..Tcp::new(ACK) };
    for number in 0..300 {
        vectors.push(Vector::ip(format!("stray ACK {number}"), outside.v4()));
    }
    vectors
}
