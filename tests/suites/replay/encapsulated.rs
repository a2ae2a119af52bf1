//! One handshake in every kind of encapsulation, as a capture.

use crate::random::{Packet, capture_of, frame, handshake};

/// What a case wraps the packets of a handshake in.
pub(crate) struct Case {
    /// The tags that the output must show.
    pub(crate) tags: &'static [&'static str],
    link_type: u32,
    wrap: fn(&[u8]) -> Vec<u8>,
}

const ETHERNET: u32 = 1;
const RAW_IP: u32 = 101;

pub(crate) const CASES: [Case; 16] = [
    case(&["snap"], ETHERNET, |ip| ether(60, &snap(ip))),
    case(&["vlan:9", "mpls:16", "mpls:17"], ETHERNET, |ip| {
        ether(0x8100, &join(&[&[0, 9, 0x88, 0x47, 0, 1, 0, 64, 0, 1, 0x11, 64], ip]))
    }),
    case(&["mpls:16"], ETHERNET, |ip| {
        ether(0x8847, &join(&[&[0, 1, 1, 64, 0, 0, 0, 0], &ether(0x0800, ip)]))
    }),
    case(&["pppoe"], ETHERNET, |ip| ether(0x8864, &join(&[&[0x11, 0, 0, 7, 0, 42, 0, 0x21], ip]))),
    case(&[], 9, |ip| join(&[&[0xff, 3, 0, 0x21], ip])),
    case(&["pppoe"], 51, |ip| join(&[&[0x11, 0, 0, 7, 0, 42, 0, 0x21], ip])),
    case(&[], 104, |ip| join(&[&[0x0f, 0, 8, 0], ip])),
    case(&["802.11"], 105, |ip| join(&[&[8, 1], &[0; 22], &snap(ip)])),
    case(&["ipip"], RAW_IP, |ip| outer(4, ip)),
    case(&["gre"], RAW_IP, |ip| outer(47, &join(&[&[0x20, 0, 8, 0, 0, 0, 0, 1], ip]))),
    case(&["gre"], RAW_IP, |ip| {
        outer(47, &join(&[&[0x30, 1, 0x88, 0x0b, 0, 42, 0, 1, 0, 0, 0, 1, 0, 0x21], ip]))
    }),
    case(&["gre", "erspan"], RAW_IP, |ip| {
        let head = [0x10, 0, 0x88, 0xbe, 0, 0, 0, 1, 0x10, 0, 0, 0, 0, 0, 0, 0];
        outer(47, &join(&[&head, &ether(0x0800, ip)]))
    }),
    case(&["vxlan:42"], RAW_IP, |ip| {
        udp(4789, &join(&[&[8, 0, 0, 0, 0, 0, 42, 0], &ether(0x0800, ip)]))
    }),
    case(&["geneve:42"], RAW_IP, |ip| udp(6081, &join(&[&[0, 0, 8, 0, 0, 0, 42, 0], ip]))),
    case(&["gtp:42"], RAW_IP, |ip| udp(2152, &join(&[&[0x30, 255, 0, 40, 0, 0, 0, 42], ip]))),
    case(&["geneve:1", "gre", "ipip"], RAW_IP, |ip| {
        let gre = outer(47, &join(&[&[0, 0, 8, 0], &outer(4, ip)]));
        udp(6081, &join(&[&[0, 0, 8, 0, 0, 0, 1, 0], &gre]))
    }),
];

const fn case(tags: &'static [&'static str], link_type: u32, wrap: fn(&[u8]) -> Vec<u8>) -> Case {
    Case { tags, link_type, wrap }
}

impl Case {
    /// SYN, SYN-ACK, ACK.
    pub(crate) fn capture(&self) -> Vec<u8> {
        let wrapped = |packet: &Packet| (packet.time_ms, (self.wrap)(&frame(packet)));
        capture_of(self.link_type, handshake().iter().map(wrapped))
    }
}

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

fn ether(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&[2; 12], &ether_type.to_be_bytes(), payload])
}

fn snap(ip: &[u8]) -> Vec<u8> {
    join(&[&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], ip])
}

fn outer(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let head = [&[0x45, 0][..], &len.to_be_bytes(), &[0, 0, 0, 0, 64, protocol, 0, 0]].concat();
    join(&[&head, &[192, 0, 2, 1, 192, 0, 2, 2], payload])
}

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    let head = [[0xc0, 0], port.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    outer(17, &join(&[&head, payload]))
}
