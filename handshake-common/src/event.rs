//! The bytes of an event: what crosses the kernel boundary, and what replay hands to the tracker.
//!
//! Integers in host order and byte arrays only, explicit padding, no layout left to the compiler.
//! With the ring buffer's 8-byte record header an event fills exactly two cache lines.

use crate::abi::Hook;
use crate::packet::{Frame, IcmpError, Located, Segment, addresses};
use crate::sample::MAX_SHIFT;

/// What kind of packet an event reports.
pub mod kind {
    /// SYN without ACK.
    pub const SYN: u8 = 1;
    /// SYN with ACK.
    pub const SYN_ACK: u8 = 2;
    /// ACK without SYN or RST.
    pub const ACK: u8 = 3;
    /// RST.
    pub const RST: u8 = 4;
    /// ICMP error; addresses, ports and `seq` are those of the quoted segment.
    pub const ICMP: u8 = 5;
}

/// Bits of [`Event::flags`].
pub mod flag {
    /// The flow has used up its allowance ([`crate::filter::ALLOWANCE`]): from here on its SYNs and
    /// SYN-ACKs may have been left out, if flows were sampled.
    pub const EXHAUSTED: u8 = 0x01;
    /// A SYN or SYN-ACK of a flow that the filter did not remember, and does now. If its attempt had
    /// begun before, the entry had been lost meanwhile, and with it may be what came between.
    pub const NEW_ENTRY: u8 = 0x02;
    /// An ACK that completed its attempt; what comes next of its flow is watched: its entry stays until
    /// user space removes it, or both sides have sent a byte, or one has closed.
    pub const WATCHED: u8 = 0x04;
    /// All of them.
    pub const ALL: u8 = EXHAUSTED | NEW_ENTRY | WATCHED;
}

/// MSS, SACK permitted, timestamps, padding and window scale.
const USUAL_OPTIONS: usize = 20;

/// Rings that are told apart: the CPU's number modulo this.
pub const RINGS: u8 = 64;

/// Bytes of [`Event`].
pub const EVENT_LEN: usize = 120;

/// One packet that matters to an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// Boot time at the hook in nanoseconds (replay: packet time since 1970).
    pub time_ns: u64,
    /// Source address in network order, IPv4 mapped (RFC 4291 2.5.5.2).
    pub source: [u32; 4],
    /// Destination address, likewise.
    pub dest: [u32; 4],
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Payload in bytes, according to the IP lengths.
    pub payload_len: u32,
    /// Interface index that the hook reported; 0 in replay.
    pub ifindex: u32,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub dest_port: u16,
    /// Window, unscaled.
    pub window: u16,
    /// The nine TCP flags ([`crate::packet::tcp::Flags`]).
    pub tcp_flags: u16,
    /// VLAN ids, outermost first.
    pub vlan: [u16; 2],
    /// One of [`kind`].
    pub kind: u8,
    /// One of [`Hook`].
    pub hook: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// ICMP type.
    pub icmp_type: u8,
    /// ICMP code.
    pub icmp_code: u8,
    /// VLAN tags in the frame (at most two ids are kept).
    pub vlan_count: u8,
    /// Bytes of `extra` that are valid.
    pub extra_len: u8,
    /// TCP options of a SYN or SYN-ACK as they stood in the frame; for an ICMP error the 16 bytes
    /// of its sender's address.
    pub extra: [u8; 40],
    /// 1 in 2^this of the flows of this event's kind made one ([`crate::sample`]); 0 if its flow was
    /// pending or nothing was left out. An attempt has the rate of its first event.
    pub sample_shift: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Which ring it came through, below [`RINGS`]; zero in the kernel; the reader of the rings sets it.
    pub ring: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<Event>() == EVENT_LEN && align_of::<Event>() == 8);

/// Why the bytes of a ring record are no event of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// Not [`EVENT_LEN`] bytes.
    Length,
    /// A field holds a value that no program of this version writes.
    Value,
}

impl Event {
    /// An event of zeroes, to be filled.
    pub const ZERO: Self = Self {
        time_ns: 0,
        source: [0; 4],
        dest: [0; 4],
        seq: 0,
        ack: 0,
        payload_len: 0,
        ifindex: 0,
        source_port: 0,
        dest_port: 0,
        window: 0,
        tcp_flags: 0,
        vlan: [0; 2],
        kind: 0,
        hook: 0,
        ttl: 0,
        ip_version: 0,
        icmp_type: 0,
        icmp_code: 0,
        vlan_count: 0,
        extra_len: 0,
        extra: [0; 40],
        sample_shift: 0,
        flags: 0,
        ring: 0,
        reserved: 0,
    };

    /// Fills in a segment of `kind`; options are copied for SYN and SYN-ACK.
    #[inline(always)]
    pub fn fill_segment<F: Frame>(&mut self, frame: &F, kind: u8, segment: &Segment) {
        self.fill_network(frame, segment.at, segment.at);
        let tcp = &segment.tcp;
        self.kind = kind;
        self.source_port = tcp.source_port;
        self.dest_port = tcp.dest_port;
        self.seq = tcp.seq;
        self.ack = tcp.ack;
        self.tcp_flags = tcp.flags.0;
        self.window = tcp.window;
        self.payload_len = segment.payload_len;
        if (kind == kind::SYN || kind == kind::SYN_ACK) && tcp.options_len > 0 {
            self.fill_options(frame, segment);
        }
    }

    #[inline(always)]
    fn fill_options<F: Frame>(&mut self, frame: &F, segment: &Segment) {
        let offset = segment.tcp_offset + crate::packet::tcp::HEADER_LEN;
        let len = segment.tcp.options_len;
        // Every SYN of Linux has 20 bytes of options: no call for these.
        if len == USUAL_OPTIONS
            && let Some(words) = frame.at_hand::<{ USUAL_OPTIONS / 4 }>(offset)
        {
            for (to, word) in self.extra.chunks_exact_mut(4).zip(words) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            self.extra_len = USUAL_OPTIONS as u8;
            return;
        }
        self.extra_len = frame.copy(offset, len, &mut self.extra) as u8;
    }

    /// Fills in an ICMP error.
    #[inline(always)]
    pub fn fill_icmp<F: Frame>(&mut self, frame: &F, error: &IcmpError) {
        self.fill_network(frame, error.at, error.quoted);
        self.kind = kind::ICMP;
        self.source_port = error.source_port;
        self.dest_port = error.dest_port;
        self.seq = error.seq;
        self.icmp_type = error.icmp_type;
        self.icmp_code = error.code;
        if let Some((sender, _)) = addresses(frame, error.at) {
            for (to, word) in self.extra.chunks_exact_mut(4).zip(sender) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            self.extra_len = 16;
        }
    }

    #[inline(always)]
    fn fill_network<F: Frame>(&mut self, frame: &F, outer: Located, at: Located) {
        if let Some((source, dest)) = addresses(frame, at) {
            self.source = source;
            self.dest = dest;
        }
        self.ttl = outer.ttl;
        self.ip_version = if outer.is_v6 { 6 } else { 4 };
        self.vlan = outer.vlan;
        self.vlan_count = outer.vlan_count;
    }

    /// Puts the VLAN tag that the receiving NIC took out of the frame before those left in it.
    #[inline(always)]
    pub fn prepend_vlan(&mut self, id: u16) {
        self.vlan = [id, self.vlan[0]];
        self.vlan_count += 1;
    }

    /// Reads the bytes of a ring record.
    ///
    /// # Errors
    /// If the length or a value is not one that a program of this version writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let bytes: &[u8; EVENT_LEN] = bytes.try_into().map_err(|_| DecodeError::Length)?;
        let u16_at = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| {
            u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_ne_bytes(word)
        };
        let address = |at: usize| [u32_at(at), u32_at(at + 4), u32_at(at + 8), u32_at(at + 12)];
        let mut extra = [0; 40];
        extra.copy_from_slice(&bytes[76..116]);
        let event = Self {
            time_ns: u64_at(0),
            source: address(8),
            dest: address(24),
            seq: u32_at(40),
            ack: u32_at(44),
            payload_len: u32_at(48),
            ifindex: u32_at(52),
            source_port: u16_at(56),
            dest_port: u16_at(58),
            window: u16_at(60),
            tcp_flags: u16_at(62),
            vlan: [u16_at(64), u16_at(66)],
            kind: bytes[68],
            hook: bytes[69],
            ttl: bytes[70],
            ip_version: bytes[71],
            icmp_type: bytes[72],
            icmp_code: bytes[73],
            vlan_count: bytes[74],
            extra_len: bytes[75],
            extra,
            sample_shift: bytes[116],
            flags: bytes[117],
            ring: bytes[118],
            reserved: bytes[119],
        };
        let known = (kind::SYN..=kind::ICMP).contains(&event.kind)
            && Hook::from_index(event.hook).is_some()
            && matches!(event.ip_version, 4 | 6)
            && usize::from(event.extra_len) <= event.extra.len()
            && event.sample_shift <= MAX_SHIFT
            && event.flags & !flag::ALL == 0
            && (event.ring, event.reserved) == (0, 0);
        if known { Ok(event) } else { Err(DecodeError::Value) }
    }
}
