//! The pcap format: one header, one link type, records of seconds and a part of a second.
//!
//! Microseconds and nanoseconds, either byte order, and the "modified" format whose record headers
//! are 8 bytes longer (interface index, protocol, packet type).

use std::io::Read;

use super::input::{ByteOrder, Input};
use super::{Damage, MAX_CAPTURED, Meta};

/// The upper bits of the link type field hold the length of a frame check sequence.
const LINK_TYPE_MASK: u32 = 0x03ff_ffff;
const MODIFIED_EXTRA: u32 = 8;
const NS_PER_S: i64 = 1_000_000_000;

/// What the magic number says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Variant {
    order: ByteOrder,
    ns_per_unit: i64,
    modified: bool,
}

impl Variant {
    /// The variant of a file's first four bytes.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        [ByteOrder::Big, ByteOrder::Little].into_iter().find_map(|order| {
            let (ns_per_unit, modified) = match order.u32(magic) {
                0xa1b2_c3d4 => (1_000, false),
                0xa1b2_3c4d => (1, false),
                0xa1b2_cd34 => (1_000, true),
                _ => return None,
            };
            Some(Self { order, ns_per_unit, modified })
        })
    }
}

/// A pcap file behind its header.
pub(super) struct Format {
    variant: Variant,
    link_type: u32,
}

impl Format {
    /// Reads the rest of the file header: version, zone, accuracy and snap length are of no use.
    pub(super) fn open<R: Read>(variant: Variant, input: &mut Input<R>) -> Result<Self, Damage> {
        let header = input.array::<20>()?;
        Ok(Self { variant, link_type: variant.order.word(&header, 4) & LINK_TYPE_MASK })
    }

    /// The next record; its bytes go to `frame`.
    pub(super) fn next<R: Read>(
        &self,
        input: &mut Input<R>,
        frame: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Damage> {
        let Variant { order, ns_per_unit, modified } = self.variant;
        input.start_record();
        let Some(header) = input.array_or_end::<16>()? else { return Ok(None) };
        let [seconds, part, captured, wire_len] = [0, 1, 2, 3].map(|at| order.word(&header, at));
        if captured > MAX_CAPTURED {
            return Err(Damage::CapturedLength(captured));
        }
        if modified {
            input.skip(MODIFIED_EXTRA)?;
        }
        input.frame(frame, captured)?;
        // 2^32 seconds and 2^32 units fit an i64 together.
        let time_ns = i64::from(seconds) * NS_PER_S + i64::from(part) * ns_per_unit;
        Ok(Some(Meta { time_ns, link_type: self.link_type, wire_len }))
    }
}
