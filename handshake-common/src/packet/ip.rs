//! IPv4 (RFC 791) with options and fragments; IPv6 (RFC 8200) with its extension headers.

use super::ethernet::Network;
use super::{Frame, Located, Malformed, NotOurs, Parsed, protocol, whole};

mod field {
    /// Bytes of a fixed IPv6 header.
    pub(super) const V6_LEN: usize = 40;
    /// Mask of the 13-bit IPv4 fragment offset.
    pub(super) const V4_FRAGMENT_OFFSET: u32 = 0x1fff;
    /// Mask of the IPv6 fragment offset inside the fragment header's second half-word.
    pub(super) const V6_FRAGMENT_OFFSET: u32 = 0xfff8;
}

/// Extension headers followed before the walk ends (docs/semantics.md section 2).
pub const MAX_EXTENSIONS: usize = 8;

/// An IP header and everything up to its transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpHeader {
    /// Where the addresses are.
    pub at: Located,
    /// Offset of the transport header.
    pub payload: usize,
    /// Offset just behind the IP packet: its length field, but never behind the frame on the wire.
    pub end: usize,
    /// Protocol of the transport header.
    pub protocol: u8,
}

#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, network: Network) -> Result<IpHeader, Parsed> {
    let header = if network.is_v6 { v6(frame, network) } else { v4(frame, network) }?;
    // TCP straight away is the common case: keep the walk off its path.
    if header.protocol == protocol::TCP { Ok(header) } else { extensions(frame, header) }
}

#[inline(always)]
fn v4<F: Frame>(frame: &F, network: Network) -> Result<IpHeader, Parsed> {
    let [first, second, third] = whole(frame.words(network.offset))?;
    let (first, second, third) = (u32::from_be(first), u32::from_be(second), u32::from_be(third));
    let header_len = ((first >> 24) & 0x0f) as usize * 4;
    if first >> 28 != 4 || header_len < 20 {
        return Err(Parsed::Malformed(Malformed::BadIp));
    }
    let total_len = (first & 0xffff) as usize;
    if total_len != 0 && total_len < header_len {
        return Err(Parsed::Malformed(Malformed::BadIp));
    }
    if second & field::V4_FRAGMENT_OFFSET != 0 {
        return Err(Parsed::NotOurs(NotOurs::Fragment));
    }
    Ok(IpHeader {
        at: Located {
            ip_offset: network.offset,
            is_v6: false,
            ttl: (third >> 24) as u8,
            vlan: network.vlan,
            vlan_count: network.vlan_count,
        },
        payload: network.offset + header_len,
        end: end_of_packet(frame, network.offset, total_len),
        protocol: (third >> 16) as u8,
    })
}

#[inline(always)]
fn v6<F: Frame>(frame: &F, network: Network) -> Result<IpHeader, Parsed> {
    let [first, second] = whole(frame.words(network.offset))?;
    let (first, second) = (u32::from_be(first), u32::from_be(second));
    if first >> 28 != 6 {
        return Err(Parsed::Malformed(Malformed::BadIp));
    }
    let payload_len = (second >> 16) as usize;
    let total_len = if payload_len == 0 { 0 } else { payload_len + field::V6_LEN };
    Ok(IpHeader {
        at: Located {
            ip_offset: network.offset,
            is_v6: true,
            ttl: second as u8,
            vlan: network.vlan,
            vlan_count: network.vlan_count,
        },
        payload: network.offset + field::V6_LEN,
        end: end_of_packet(frame, network.offset, total_len),
        protocol: (second >> 8) as u8,
    })
}

/// A length of 0 means "rest of the frame" (segmentation offload, jumbograms); one beyond the
/// frame is cut to the frame.
#[inline(always)]
fn end_of_packet<F: Frame>(frame: &F, offset: usize, total_len: usize) -> usize {
    let wire_len = frame.wire_len();
    let end = offset + total_len;
    if total_len == 0 || end > wire_len { wire_len } else { end }
}

/// Walks the extension headers by allow-list: all of them for IPv6, AH alone for IPv4.
#[inline(always)]
pub(super) fn extensions<F: Frame>(frame: &F, header: IpHeader) -> Result<IpHeader, Parsed> {
    let mut header = header;
    for _ in 0..MAX_EXTENSIONS {
        let units = match header.protocol {
            protocol::AH => 4,
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::DESTINATION
            | protocol::MOBILITY
            | protocol::HIP
            | protocol::SHIM6
                if header.at.is_v6 =>
            {
                8
            }
            protocol::FRAGMENT if header.at.is_v6 => 0,
            _ => break,
        };
        let [word] = whole(frame.words(header.payload))?;
        let word = u32::from_be(word);
        let len = ((word >> 16) & 0xff) as usize;
        let bytes = match units {
            // RFC 4302 2.2: in 4-byte units, minus 2.
            4 => (len + 2) * 4,
            // RFC 8200 4.2: in 8-byte units, not counting the first.
            8 => (len + 1) * 8,
            _ if word & field::V6_FRAGMENT_OFFSET != 0 => {
                return Err(Parsed::NotOurs(NotOurs::Fragment));
            }
            _ => 8,
        };
        header.protocol = (word >> 24) as u8;
        header.payload = frame.widen(header.payload + bytes);
    }
    Ok(header)
}
