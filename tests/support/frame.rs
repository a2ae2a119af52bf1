//! Builds packets byte by byte, and reads them back: written from the RFCs, sharing nothing with the
//! parser under test.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP flag FIN.
pub const FIN: u8 = 0x01;
/// TCP flag SYN.
pub const SYN: u8 = 0x02;
/// TCP flag RST.
pub const RST: u8 = 0x04;
/// TCP flag PSH.
pub const PSH: u8 = 0x08;
/// TCP flag ACK.
pub const ACK: u8 = 0x10;
/// TCP flag ECE.
pub const ECE: u8 = 0x40;
/// TCP flag CWR.
pub const CWR: u8 = 0x80;

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// One TCP segment with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// source
    pub from: SocketAddr,
    /// destination, of the same family
    pub to: SocketAddr,
    /// flag bits
    pub flags: u8,
    /// sequence number
    pub seq: u32,
    /// acknowledgement number
    pub ack: u32,
    /// window, unscaled
    pub window: u16,
    /// options as on the wire; padded with zeroes to a multiple of 4, at most 40 bytes
    pub options: Vec<u8>,
    /// payload
    pub payload: Vec<u8>,
    /// TTL or hop limit
    pub ttl: u8,
}

impl Segment {
    /// A segment without options or payload.
    #[must_use]
    pub fn new(from: SocketAddr, to: SocketAddr, flags: u8, seq: u32, ack: u32) -> Self {
        let (options, payload) = (Vec::new(), Vec::new());
        Self { from, to, flags, seq, ack, window: 64_240, options, payload, ttl: 64 }
    }

    /// The same with these options.
    #[must_use]
    pub fn with_options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    /// The same with this payload.
    #[must_use]
    pub fn with_payload(mut self, payload: &[u8]) -> Self {
        self.payload = payload.to_vec();
        self
    }

    /// The TCP header, options and payload, with the right checksum.
    #[must_use]
    pub fn tcp(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        let offset = u8::try_from(5 + options.len() / 4).unwrap_or(15) << 4;
        let mut bytes = Vec::with_capacity(20 + options.len() + self.payload.len());
        bytes.extend(self.from.port().to_be_bytes());
        bytes.extend(self.to.port().to_be_bytes());
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.ack.to_be_bytes());
        bytes.extend([offset, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(options);
        bytes.extend(&self.payload);
        let sum = transport_checksum(self.from.ip(), self.to.ip(), TCP, &bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The whole IP packet.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        ip_packet(self.from.ip(), self.to.ip(), TCP, self.ttl, &self.tcp())
    }

    /// The whole Ethernet frame.
    #[must_use]
    pub fn frame(&self, from: [u8; 6], to: [u8; 6]) -> Vec<u8> {
        let kind: [u8; 2] = if self.from.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
        [&to[..], &from, &kind, &self.packet()].concat()
    }

    /// Reads a TCP segment from an IP packet without IPv6 extension headers; `None` for all else.
    /// The payload is what was captured of it.
    #[must_use]
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (from, to, ttl, tcp) = match packet.first()? >> 4 {
            4 => {
                let start = usize::from(packet[0] & 0x0f) * 4;
                let whole = usize::from(word(packet, 2)?);
                let tcp = packet.get(start..whole.clamp(start, packet.len().max(start)))?;
                if *packet.get(9)? != TCP {
                    return None;
                }
                let address = |at: usize| {
                    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::from(bytes))
                };
                (address(12)?, address(16)?, *packet.get(8)?, tcp)
            }
            6 => {
                let whole = 40 + usize::from(word(packet, 4)?);
                let tcp = packet.get(40..whole.clamp(40, packet.len().max(40)))?;
                if *packet.get(6)? != TCP {
                    return None;
                }
                let address = |at: usize| {
                    let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::from(bytes))
                };
                (address(8)?, address(24)?, *packet.get(7)?, tcp)
            }
            _ => return None,
        };
        let start = usize::from(*tcp.get(12)? >> 4) * 4;
        Some(Self {
            from: SocketAddr::new(from, word(tcp, 0)?),
            to: SocketAddr::new(to, word(tcp, 2)?),
            flags: *tcp.get(13)?,
            seq: double_word(tcp, 4)?,
            ack: double_word(tcp, 8)?,
            window: word(tcp, 14)?,
            options: tcp.get(20..start)?.to_vec(),
            payload: tcp.get(start..)?.to_vec(),
            ttl,
        })
    }
}

/// Option 2: maximum segment size.
#[must_use]
pub fn mss(bytes: u16) -> [u8; 4] {
    let [high, low] = bytes.to_be_bytes();
    [2, 4, high, low]
}

/// An ICMP or ICMPv6 error of that type and code from `from`, quoting `packet` to whoever sent it.
/// The quote is the IP header and the first eight bytes behind it, or as much of it as there is.
#[must_use]
pub fn icmp_error(from: IpAddr, kind: u8, code: u8, packet: &[u8]) -> Vec<u8> {
    let (header, to, protocol): (_, IpAddr, _) = match from {
        IpAddr::V4(_) => (20, octets(&packet[12..16]).into(), ICMP),
        IpAddr::V6(_) => (40, wide_octets(&packet[8..24]).into(), ICMPV6),
    };
    let quote = &packet[..packet.len().min(header + 8)];
    let mut message = [&[kind, code, 0, 0, 0, 0, 0, 0], quote].concat();
    let sum = match from {
        IpAddr::V4(_) => checksum(&[&message]),
        IpAddr::V6(_) => transport_checksum(from, to, ICMPV6, &message),
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip_packet(from, to, protocol, 64, &message)
}

/// An IP packet around `payload`. Both addresses must be of one family.
#[must_use]
pub fn ip_packet(from: IpAddr, to: IpAddr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4_packet(from, to, protocol, ttl, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6_packet(from, to, protocol, ttl, payload),
        _ => panic!("an IP packet from {from} to {to}"),
    }
}

fn ipv4_packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut header = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, ttl, protocol, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&[&header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    [&header[..], payload].concat()
}

fn ipv6_packet(from: Ipv6Addr, to: Ipv6Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let start = [0x60, 0, 0, 0, length[0], length[1], protocol, ttl];
    [&start[..], &from.octets(), &to.octets(), payload].concat()
}

fn transport_checksum(from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    checksum(&[&address(from), &address(to), &length, &[0, 0, 0, protocol], bytes])
}

/// The Internet checksum (RFC 1071) of parts of which only the last may be of odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum = words.fold(0_u32, |sum, pair| {
        sum + u32::from(pair[0]) * 256 + pair.get(1).map_or(0, |&low| u32::from(low))
    });
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn double_word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn octets(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("four bytes")
}

fn wide_octets(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().expect("sixteen bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: &str, to: &str) -> Segment {
        Segment::new(from.parse().unwrap(), to.parse().unwrap(), SYN, 7, 0)
            .with_options(&mss(1460))
            .with_payload(b"odd")
    }

    #[test]
    fn what_is_built_reads_back_the_same() {
        for (from, to) in [("10.0.0.1:1", "10.0.0.2:80"), ("[fd00::1]:1", "[fd00::2]:80")] {
            let segment = segment(from, to);
            assert_eq!(Segment::parse(&segment.packet()), Some(segment));
        }
    }

    #[test]
    fn a_packet_with_its_checksum_in_place_sums_to_zero() {
        let packet = segment("10.0.0.1:1", "10.0.0.2:80").packet();
        assert_eq!(checksum(&[&packet[..20]]), 0);
        let (from, to) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        assert_eq!(transport_checksum(from, to, TCP, &packet[20..]), 0);
    }

    #[test]
    fn an_icmp_error_goes_back_to_the_sender() {
        let packet = segment("10.0.0.1:1", "10.0.0.2:80").packet();
        let error = icmp_error("10.0.0.9".parse().unwrap(), 3, 1, &packet);
        assert_eq!(error[16..20], [10, 0, 0, 1]);
        assert_eq!(error.len(), 20 + 8 + 28);
    }
}
