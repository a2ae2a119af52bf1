//! From frame bytes to a TCP segment or an ICMP error that quotes one.
//!
//! [`parse`] walks link layer, VLAN tags, IP (options, extension headers, fragments) and TCP or
//! ICMP, reading through the [`Frame`] trait. The trait has one implementation per world: XDP and
//! TC in `handshake-ebpf`, byte slices here. The answer is one of four: a [`Segment`], an
//! [`IcmpError`], [`NotOurs`] (a frame that is fine and no business of ours) or [`Malformed`].
//!
//! Rules the kernel's verifier imposes, kept everywhere below: every function is
//! `#[inline(always)]`, loops have constant bounds, no offset is used before it is bounded by its
//! own header's maximum, nothing indexes and nothing can panic.

pub mod ethernet;
pub mod icmp;
pub mod ip;
pub mod tcp;
pub mod tunnel;

use crate::flow::{Flow, Keys};
use ethernet::{Link, Network};
use ip::IpHeader;

/// Read access to one frame. Offsets count from the first byte of the link layer.
pub trait Frame {
    /// `N` 32-bit words at `offset` in the order of memory (network byte order on the wire), or
    /// `None` if one of their bytes was not captured.
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]>;

    /// The same words, if they can be had without a call; `None` says nothing about the frame.
    #[inline(always)]
    fn at_hand<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        self.words(offset)
    }

    /// The same for the number of [`Frame::be16`].
    #[inline(always)]
    fn at_hand_u16(&self, offset: usize) -> Option<u16> {
        self.be16(offset)
    }

    /// The 16-bit big-endian number at `offset`.
    fn be16(&self, offset: usize) -> Option<u16>;

    /// Length of the frame on the wire in bytes; more than what can be read if it was truncated.
    fn wire_len(&self) -> usize;

    /// The same offset; in the kernel the verifier forgets what it knew of it.
    ///
    /// The verifier follows each way to a program point apart as long as it knows different bounds
    /// for a register. Forgetting them where ways meet lets it look once at what comes after
    /// (without, kernel 6.1 gives up after 1,000,000 instructions).
    #[inline(always)]
    fn widen(&self, offset: usize) -> usize {
        offset
    }

    /// Copies up to `len` (at most 40) bytes from `offset` and returns how many there were.
    fn copy(&self, offset: usize, len: usize, to: &mut [u8; 40]) -> usize;
}

/// A frame held in memory: a capture record, a test vector, a fuzz input.
#[derive(Debug, Clone, Copy)]
pub struct SliceFrame<'a> {
    bytes: &'a [u8],
    wire_len: usize,
}

impl<'a> SliceFrame<'a> {
    /// A frame of which `bytes` were captured and which was `wire_len` bytes long on the wire.
    #[must_use]
    pub fn new(bytes: &'a [u8], wire_len: usize) -> Self {
        Self { bytes, wire_len: wire_len.max(bytes.len()) }
    }
}

impl Frame for SliceFrame<'_> {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let bytes = self.bytes.get(offset..)?.get(..4 * N)?;
        let mut words = [0; N];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_ne_bytes(chunk.try_into().ok()?);
        }
        Some(words)
    }

    #[inline(always)]
    fn be16(&self, offset: usize) -> Option<u16> {
        let bytes = self.bytes.get(offset..)?.get(..2)?;
        Some(u16::from_be_bytes(bytes.try_into().ok()?))
    }

    #[inline(always)]
    fn wire_len(&self) -> usize {
        self.wire_len
    }

    fn copy(&self, offset: usize, len: usize, to: &mut [u8; 40]) -> usize {
        let Some(rest) = self.bytes.get(offset..) else { return 0 };
        let len = len.min(rest.len()).min(to.len());
        to[..len].copy_from_slice(&rest[..len]);
        len
    }
}

/// What a frame turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    /// A TCP header, wholly captured.
    Segment(Segment),
    /// An ICMP error that ends attempts, quoting at least 8 bytes of TCP.
    IcmpError(IcmpError),
    /// Well-formed as far as we looked, but nothing of a handshake.
    NotOurs(NotOurs),
    /// Cut short or contradicting itself.
    Malformed(Malformed),
}

/// Why a well-formed frame is none of ours. The names are those of the skip counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOurs {
    /// Neither IPv4 nor IPv6 below the link layer and its VLAN tags.
    NotIp,
    /// IP, but neither TCP nor ICMP (or more than eight extension headers).
    NotTcp,
    /// A fragment other than the first: it has no TCP header.
    Fragment,
    /// ICMP that is no error, is one that never ends an attempt, or does not quote TCP.
    IcmpOther,
}

/// Why a frame could not be parsed. The names are those of the malformed counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// A header was not captured whole.
    Short,
    /// An IP header that contradicts itself (version, header length, total length).
    BadIp,
    /// A TCP header that does not fit its IP payload, or a data offset below 5.
    BadTcp,
}

/// Where the network layer lies and what wrapped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Located {
    /// Offset of the IP header in bytes.
    pub ip_offset: usize,
    /// IPv6 instead of IPv4.
    pub is_v6: bool,
    /// IPv4 TTL or IPv6 hop limit.
    pub ttl: u8,
    /// VLAN ids, outermost first; `vlan_count` of them are valid.
    pub vlan: [u16; 2],
    /// VLAN tags seen in the frame (only the first two ids are kept).
    pub vlan_count: u8,
}

/// One parsed TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where addresses and TTL are.
    pub at: Located,
    /// Both ends, as keyed fingerprints.
    pub flow: Flow,
    /// The fixed TCP header.
    pub tcp: tcp::Header,
    /// Offset of the TCP header in bytes.
    pub tcp_offset: usize,
    /// Bytes of payload according to the IP lengths.
    pub payload_len: u32,
}

/// One parsed ICMP error and the TCP header it quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError {
    /// Of the outer packet: whose error it is.
    pub at: Located,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub code: u8,
    /// Of the quoted packet: where its addresses are.
    pub quoted: Located,
    /// Both ends of the quoted packet.
    pub flow: Flow,
    /// Source port of the quoted segment.
    pub source_port: u16,
    /// Destination port of the quoted segment.
    pub dest_port: u16,
    /// Sequence number of the quoted segment.
    pub seq: u32,
}

/// The numbers of the IP protocols and extension headers we know.
pub mod protocol {
    #![expect(missing_docs, reason = "the names are those of the IANA protocol registry")]
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const GRE: u8 = 47;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const DESTINATION: u8 = 60;
    pub const MOBILITY: u8 = 135;
    pub const HIP: u8 = 139;
    pub const SHIM6: u8 = 140;
}

/// Parses one frame of link type `link`. Encapsulated packets are "not IP" or "not TCP" here;
/// [`tunnel::parse`] looks into them.
#[inline(always)]
pub fn parse<F: Frame>(frame: &F, link: Link, keys: &Keys) -> Parsed {
    let network = match ethernet::parse(frame, link) {
        Ok(network) => network,
        Err(answer) => return answer,
    };
    match parse_network(frame, network, keys) {
        Ok(parsed) | Err(parsed) => parsed,
    }
}

#[inline(always)]
fn parse_network<F: Frame>(frame: &F, network: Network, keys: &Keys) -> Result<Parsed, Parsed> {
    let network = Network {
        offset: frame.widen(network.offset),
        vlan_count: frame.widen(usize::from(network.vlan_count)) as u8,
        ..network
    };
    let mut header = ip::parse(frame, network)?;
    header.payload = frame.widen(header.payload);
    header.end = frame.widen(header.end);
    header.at.is_v6 = frame.widen(usize::from(header.at.is_v6)) != 0;
    transport(frame, &header, keys)
}

/// What an IP packet carries.
#[inline(always)]
fn transport<F: Frame>(frame: &F, header: &IpHeader, keys: &Keys) -> Result<Parsed, Parsed> {
    match header.protocol {
        protocol::TCP => tcp::parse(frame, header, keys),
        protocol::ICMP if !header.at.is_v6 => icmp::parse(frame, header, keys),
        protocol::ICMPV6 if header.at.is_v6 => icmp::parse(frame, header, keys),
        _ => Err(Parsed::NotOurs(NotOurs::NotTcp)),
    }
}

/// `Some` or the answer that the frame is cut short.
#[inline(always)]
pub(crate) fn whole<T>(read: Option<T>) -> Result<T, Parsed> {
    match read {
        Some(value) => Ok(value),
        None => Err(Parsed::Malformed(Malformed::Short)),
    }
}

/// The addresses of the packet at `at` as 16 bytes each, IPv4 ones mapped as RFC 4291 2.5.5.2.
/// They were readable when the packet was parsed, so `None` means the frame changed since.
#[inline(always)]
pub fn addresses<F: Frame>(frame: &F, at: Located) -> Option<([u32; 4], [u32; 4])> {
    const V4_MAPPED: u32 = 0xffff_u32.to_be();
    if at.is_v6 {
        let a: [u32; 4] = frame.words(at.ip_offset + 8)?;
        let b: [u32; 4] = frame.words(at.ip_offset + 24)?;
        Some((a, b))
    } else {
        let [source, dest] = frame.words(at.ip_offset + 12)?;
        Some(([0, 0, V4_MAPPED, source], [0, 0, V4_MAPPED, dest]))
    }
}

impl IpHeader {
    /// Bytes of IP payload from `offset` on.
    #[inline(always)]
    #[must_use]
    pub fn remaining(&self, offset: usize) -> Option<usize> {
        if offset > self.end { None } else { Some(self.end - offset) }
    }
}

#[cfg(test)]
mod tests;
