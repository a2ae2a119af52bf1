//! ICMP errors (RFC 792, RFC 4443) that end an attempt, and the TCP header they quote.

use super::{Frame, IcmpError, IpHeader, Located, Malformed, NotOurs, Parsed, ip, protocol, whole};
use crate::flow::{Flow, Keys};

mod field {
    /// The quoted packet follows 8 bytes of ICMP header, in both versions.
    pub(super) const QUOTED: usize = 8;
    pub(super) const V6_LEN: usize = 40;
}

/// Does this type and code end an attempt (docs/semantics.md section 8)? Fragmentation needed and
/// packet too big are path MTU discovery at work; redirects and source quench are advice.
#[inline(always)]
#[must_use]
pub fn ends_attempts(is_v6: bool, icmp_type: u8, code: u8) -> bool {
    match (is_v6, icmp_type) {
        (false, 3) => code != 4,
        (false, 11 | 12) | (true, 1 | 3 | 4) => true,
        _ => false,
    }
}

#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, outer: &IpHeader, keys: &Keys) -> Result<Parsed, Parsed> {
    let head = whole(frame.be16(outer.payload))?;
    let (icmp_type, code) = ((head >> 8) as u8, head as u8);
    if !ends_attempts(outer.at.is_v6, icmp_type, code) {
        return Err(Parsed::NotOurs(NotOurs::IcmpOther));
    }
    let quoted = quoted(frame, outer)?;
    if quoted.protocol != protocol::TCP {
        return Err(Parsed::NotOurs(NotOurs::IcmpOther));
    }
    let [ports, seq] = whole(frame.words(quoted.payload))?;
    let ports = u32::from_be(ports);
    let (source_port, dest_port) = ((ports >> 16) as u16, ports as u16);
    Ok(Parsed::IcmpError(IcmpError {
        at: outer.at,
        icmp_type,
        code,
        quoted: quoted.at,
        flow: whole(Flow::read(frame, quoted.at, source_port, dest_port, keys))?,
        source_port,
        dest_port,
        seq: u32::from_be(seq),
    }))
}

/// The quoted IP header: same family as the outer one, its lengths not believed (routers cut it).
#[inline(always)]
fn quoted<F: Frame>(frame: &F, outer: &IpHeader) -> Result<IpHeader, Parsed> {
    let ip_offset = outer.payload + field::QUOTED;
    let [first, second, third] = whole(frame.words(ip_offset))?;
    let (first, second, third) = (u32::from_be(first), u32::from_be(second), u32::from_be(third));
    let at = Located { ip_offset, ttl: 0, ..outer.at };
    if outer.at.is_v6 {
        if first >> 28 != 6 {
            return Err(Parsed::Malformed(Malformed::BadIp));
        }
        let header = IpHeader {
            at,
            payload: ip_offset + field::V6_LEN,
            end: outer.end,
            protocol: (second >> 8) as u8,
        };
        return ip::extensions(frame, header);
    }
    let header_len = ((first >> 24) & 0x0f) as usize * 4;
    if first >> 28 != 4 || header_len < 20 {
        return Err(Parsed::Malformed(Malformed::BadIp));
    }
    if second & 0x1fff != 0 {
        return Err(Parsed::NotOurs(NotOurs::IcmpOther));
    }
    let protocol = (third >> 16) as u8;
    Ok(IpHeader { at, payload: ip_offset + header_len, end: outer.end, protocol })
}
