//! Our parser beside somebody else's: where both find TCP in a frame, they find the same.
//!
//! `etherparse` shares no code with us. It gives up where we go on (first fragments, frames longer
//! than what was captured of them) and the other way round (more than eight extension headers,
//! data offsets beyond the IP packet); frames that only one of them takes are counted, and for
//! captures there must be none without a known reason.

#[path = "prog_run/captures.rs"]
mod captures;
#[expect(dead_code, reason = "the suite of both worlds also looks for strays and floods")]
#[path = "prog_run/vectors.rs"]
mod vectors;

use etherparse::{LaxSlicedPacket, TcpSlice, TransportSlice};
use handshake_common::event::{Event, kind};
use handshake_common::flow::Keys;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{Malformed, NotOurs, Parsed, SliceFrame, parse};
use handshake_tests::random::Random;

use captures::Captures;

/// How often who took a frame for TCP.
#[derive(Debug, Default)]
struct Tally {
    both: u64,
    neither: u64,
    only_we: u64,
    only_they: u64,
}

impl Tally {
    /// Shows a frame to both; the answer is ours, if only they took it for TCP.
    fn show(&mut self, link: Link, bytes: &[u8]) -> Option<Parsed> {
        let frame = SliceFrame::new(bytes, bytes.len());
        let ours = parse(&frame, link, &Keys { low: 1, high: 2 });
        let theirs = match link {
            Link::Ip => LaxSlicedPacket::from_ip(bytes).ok(),
            _ => LaxSlicedPacket::from_ethernet(bytes).ok(),
        };
        let tcp = theirs.as_ref().and_then(|packet| match &packet.transport {
            Some(TransportSlice::Tcp(tcp)) => Some(tcp),
            _ => None,
        });
        match (ours, tcp) {
            (Parsed::Segment(segment), Some(tcp)) => {
                self.both += 1;
                let mut event = Event::ZERO;
                event.fill_segment(&frame, kind::SYN, &segment);
                compare(&event, tcp, bytes);
                compare_network(&event, theirs.as_ref().expect("it was there"), bytes);
            }
            (Parsed::Segment(_), None) => self.only_we += 1,
            (ours, Some(_)) => {
                self.only_they += 1;
                return Some(ours);
            }
            (_, None) => self.neither += 1,
        }
        None
    }
}

fn compare(ours: &Event, theirs: &TcpSlice<'_>, bytes: &[u8]) {
    let flags = [
        theirs.fin(),
        theirs.syn(),
        theirs.rst(),
        theirs.psh(),
        theirs.ack(),
        theirs.urg(),
        theirs.ece(),
        theirs.cwr(),
        theirs.ns(),
    ];
    let flags = flags.iter().rev().fold(0_u16, |bits, flag| bits << 1 | u16::from(*flag));
    assert_eq!(
        (ours.source_port, ours.dest_port, ours.seq, ours.ack, ours.tcp_flags, ours.window),
        (
            theirs.source_port(),
            theirs.destination_port(),
            theirs.sequence_number(),
            theirs.acknowledgment_number(),
            flags,
            theirs.window_size()
        ),
        "{bytes:02x?}"
    );
    assert_eq!(ours.extra[..usize::from(ours.extra_len)], *theirs.options(), "{bytes:02x?}");
    assert_eq!(ours.payload_len as usize, theirs.payload().len(), "{bytes:02x?}");
}

fn compare_network(ours: &Event, theirs: &LaxSlicedPacket<'_>, bytes: &[u8]) {
    use etherparse::LaxNetSlice::{Ipv4, Ipv6};
    let (source, dest, ttl) = match theirs.net.as_ref().expect("TCP is over IP") {
        Ipv4(ip) => {
            let header = ip.header();
            let mapped = |address: std::net::Ipv4Addr| address.to_ipv6_mapped().octets();
            let (source, dest) = (header.source_addr(), header.destination_addr());
            (mapped(source), mapped(dest), header.ttl())
        }
        Ipv6(ip) => {
            let header = ip.header();
            (header.source(), header.destination(), header.hop_limit())
        }
        other => panic!("{other:?}"),
    };
    let octets = |words: [u32; 4]| words.map(u32::to_ne_bytes).concat();
    assert_eq!(octets(ours.source), source, "{bytes:02x?}");
    assert_eq!(octets(ours.dest), dest, "{bytes:02x?}");
    assert_eq!(ours.ttl, ttl, "{bytes:02x?}");
    let ids: Vec<_> = theirs.vlan_ids().iter().map(|id| id.value()).collect();
    assert_eq!(usize::from(ours.vlan_count), ids.len(), "{bytes:02x?}");
    assert!(ours.vlan.iter().zip(ids).all(|(ours, theirs)| *ours == theirs), "{bytes:02x?}");
}

#[test]
fn frames_of_captures_are_read_the_same() {
    let captures = Captures::read();
    for link in [Link::Ethernet, Link::Ip] {
        let mut tally = Tally::default();
        for (place, frame) in captures.of(link) {
            if let Some(ours) = tally.show(link, &frame) {
                panic!("{place}: they find TCP, we {ours:?}");
            }
        }
        println!("{link:?}: {tally:?}");
        assert!(tally.both > 10_000 || captures.are_own(), "{tally:?}");
    }
}

#[test]
fn vectors_and_mutations_are_read_the_same() {
    let vectors = vectors::all();
    for link in [Link::Ethernet, Link::Ip] {
        let frames: Vec<_> = vectors.iter().filter_map(|vector| vector.frame(link)).collect();
        let mut tally = Tally::default();
        let mut random = Random::new(5);
        for frame in &frames {
            for len in 0..=frame.len() {
                explained(tally.show(link, &frame[..len]), &frame[..len]);
            }
            for _ in 0..100 {
                let mut frame = frame.clone();
                random.mutate(&mut frame);
                explained(tally.show(link, &frame), &frame);
            }
        }
        println!("{link:?}: {tally:?}");
        assert!(tally.both > 20_000, "{tally:?}");
    }
}

/// Frames that they take for TCP and we do not, and why that is right.
fn explained(ours: Option<Parsed>, bytes: &[u8]) {
    let Some(ours) = ours else { return };
    let lies = |at: &[u8]| {
        // A total length below 256, so perhaps below the header's; a version that is not the
        // EtherType's.
        matches!(at, [0x45..=0x4f, _, 0] | [0x08, 0x00, 0x60..=0x6f] | [0x86, 0xdd, 0x40..=0x4f])
    };
    let expected = match ours {
        // More than eight extension headers.
        Parsed::NotOurs(NotOurs::NotTcp) => true,
        // An IP header that contradicts itself or its EtherType, which they overlook.
        Parsed::Malformed(Malformed::BadIp) => bytes.windows(3).any(lies),
        _ => false,
    };
    assert!(expected, "they find TCP, we {ours:?}: {bytes:02x?}");
}
