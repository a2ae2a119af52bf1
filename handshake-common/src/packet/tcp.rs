//! The fixed TCP header (RFC 9293 3.1). Options are copied raw; [`crate::options`] reads them.

use super::{Frame, IpHeader, Malformed, Parsed, Segment, whole};
use crate::flow::{Flow, Keys};

/// Bytes of a TCP header without options.
pub const HEADER_LEN: usize = 20;
/// Most bytes of options a TCP header can hold.
pub const MAX_OPTIONS: usize = 40;

/// The nine flags of a TCP header, as in its 13th and 14th byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u16);

#[expect(missing_docs, reason = "the names are those of RFC 9293 and RFC 9768")]
impl Flags {
    pub const FIN: u16 = 0x01;
    pub const SYN: u16 = 0x02;
    pub const RST: u16 = 0x04;
    pub const PSH: u16 = 0x08;
    pub const ACK: u16 = 0x10;
    pub const URG: u16 = 0x20;
    pub const ECE: u16 = 0x40;
    pub const CWR: u16 = 0x80;
    pub const AE: u16 = 0x100;
}

impl Flags {
    /// Is any of `bits` set?
    #[inline(always)]
    #[must_use]
    pub fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }
}

/// The numbers of a TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub dest_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number, whether ACK is set or not.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Bytes of options: 0 to 40, a multiple of 4.
    pub options_len: usize,
}

#[inline(always)]
pub(super) fn parse<F: Frame>(frame: &F, ip: &IpHeader, keys: &Keys) -> Result<Parsed, Parsed> {
    let Some(available) = ip.remaining(ip.payload) else {
        return Err(Parsed::Malformed(Malformed::BadTcp));
    };
    // Before the read: what the IP packet cannot hold was not cut off by the capture.
    if available < HEADER_LEN {
        return Err(Parsed::Malformed(Malformed::BadTcp));
    }
    let [ports, seq, ack, rest, _] = whole(frame.words(ip.payload))?;
    let rest = u32::from_be(rest);
    let header_len = (rest >> 28) as usize * 4;
    if header_len < HEADER_LEN || header_len > available {
        return Err(Parsed::Malformed(Malformed::BadTcp));
    }
    let ports = u32::from_be(ports);
    let (source_port, dest_port) = ((ports >> 16) as u16, ports as u16);
    Ok(Parsed::Segment(Segment {
        at: ip.at,
        flow: whole(Flow::read(frame, ip.at, source_port, dest_port, keys))?,
        tcp: Header {
            source_port,
            dest_port,
            seq: u32::from_be(seq),
            ack: u32::from_be(ack),
            flags: Flags((rest >> 16) as u16 & 0x1ff),
            window: rest as u16,
            options_len: header_len - HEADER_LEN,
        },
        tcp_offset: ip.payload,
        payload_len: (available - header_len) as u32,
    }))
}
