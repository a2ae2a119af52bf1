//! The first bytes of a frame, kept behind its event in a ring record for whoever wants evidence.
//!
//! Only when user space asked for them before loading ([`crate::abi::name::KEEP_FRAMES`]); a record
//! is otherwise the event alone. What the bytes mean is none of this module's business.

use crate::event::{DecodeError, EVENT_LEN, Event};

/// Bytes of a frame that are kept at most: two VLAN tags, an IPv6 header, an ICMP error and the
/// IPv6 and TCP headers that it quotes are 130; the same in IPv4 with all its options are 158.
pub const KEPT_LEN: usize = 160;

/// Bytes of a [`KeptRecord`].
pub const KEPT_RECORD_LEN: usize = EVENT_LEN + 8 + KEPT_LEN;

/// Bits of [`KeptRecord::marks`].
pub mod mark {
    /// The frame begins with its IP header.
    pub const IP: u8 = 1;
    /// A tag was taken out of the frame: 802.1Q.
    pub const TAG: u8 = 2;
    /// Together with `TAG`: it was an 802.1ad tag.
    pub const SERVICE_TAG: u8 = 4;
    /// All of them.
    pub const ALL: u8 = IP | TAG | SERVICE_TAG;
}

/// A ring record with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct KeptRecord {
    /// The event.
    pub event: Event,
    /// Bytes of the frame at the hook.
    pub wire_len: u32,
    /// Bytes of `bytes` that are valid.
    pub kept: u8,
    /// Bits of [`mark`].
    pub marks: u8,
    /// Tag control information that stood in the frame, where `marks` says so.
    pub tci: u16,
    /// The first bytes of the frame; behind `kept`, what was there before.
    pub bytes: [u8; KEPT_LEN],
}

const _: () = assert!(size_of::<KeptRecord>() == KEPT_RECORD_LEN && align_of::<KeptRecord>() == 8);

/// The first bytes of a frame, as a ring record has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<'a> {
    /// Bytes of the frame at the hook.
    pub wire_len: u32,
    /// Bits of [`mark`].
    pub marks: u8,
    /// Tag control information that stood in the frame, where `marks` says so.
    pub tci: u16,
    /// The first bytes, without that tag.
    pub bytes: &'a [u8],
}

/// Reads the bytes of a ring record: an event, and its frame if it was kept.
///
/// # Errors
/// If the length or a value is not one that a program of this version writes.
pub fn decode(record: &[u8]) -> Result<(Event, Option<Kept<'_>>), DecodeError> {
    let Some((event, rest)) = record.split_first_chunk::<EVENT_LEN>() else {
        return Err(DecodeError::Length);
    };
    let event = Event::decode(event)?;
    if rest.is_empty() {
        return Ok((event, None));
    }
    if record.len() != KEPT_RECORD_LEN {
        return Err(DecodeError::Length);
    }
    let [a, b, c, d, kept, marks, e, f, bytes @ ..] = rest else {
        return Err(DecodeError::Length);
    };
    let wire_len = u32::from_ne_bytes([*a, *b, *c, *d]);
    let bytes = bytes.get(..usize::from(*kept)).ok_or(DecodeError::Value)?;
    if marks & !mark::ALL != 0 || u32::from(*kept) > wire_len {
        return Err(DecodeError::Value);
    }
    let kept = Kept { wire_len, marks: *marks, tci: u16::from_ne_bytes([*e, *f]), bytes };
    // Nothing was kept if the kernel refused to copy.
    Ok((event, (!kept.bytes.is_empty()).then_some(kept)))
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::event::kind;

    /// The record of a SYN, its fields at the offsets that `KeptRecord` gives them.
    fn record(wire_len: u32, kept: u8, marks: u8) -> Vec<u8> {
        let mut bytes = std::vec![0; KEPT_RECORD_LEN];
        bytes[core::mem::offset_of!(Event, kind)] = kind::SYN;
        bytes[core::mem::offset_of!(Event, ip_version)] = 4;
        let at = core::mem::offset_of!(KeptRecord, wire_len);
        bytes[at..at + 4].copy_from_slice(&wire_len.to_ne_bytes());
        bytes[core::mem::offset_of!(KeptRecord, kept)] = kept;
        bytes[core::mem::offset_of!(KeptRecord, marks)] = marks;
        let at = core::mem::offset_of!(KeptRecord, tci);
        bytes[at..at + 2].copy_from_slice(&0x6064_u16.to_ne_bytes());
        let at = core::mem::offset_of!(KeptRecord, bytes);
        bytes[at..].iter_mut().zip(0..).for_each(|(byte, value)| *byte = value);
        bytes
    }

    #[test]
    fn a_record_with_a_frame_is_read_field_by_field() {
        let record = record(1500, 74, mark::TAG);
        let (event, kept) = decode(&record).unwrap();
        let kept = kept.unwrap();
        assert_eq!((event.kind, event.ip_version), (kind::SYN, 4));
        assert_eq!((kept.wire_len, kept.marks, kept.tci), (1500, mark::TAG, 0x6064));
        assert_eq!(kept.bytes, (0..74).collect::<Vec<u8>>());
    }

    #[test]
    fn an_event_alone_has_no_frame_and_neither_has_an_empty_copy() {
        let record = record(74, 0, 0);
        assert!(matches!(decode(&record), Ok((_, None))));
        assert!(matches!(decode(&record[..EVENT_LEN]), Ok((_, None))));
    }

    #[test]
    fn lengths_and_marks_that_nobody_writes_are_refused() {
        let fine = record(160, 160, mark::ALL);
        assert!(decode(&fine).is_ok());
        for len in (0..fine.len()).filter(|len| *len != EVENT_LEN) {
            assert_eq!(decode(&fine[..len]), Err(DecodeError::Length), "{len}");
        }
        for bad in [record(200, 161, 0), record(73, 74, 0), record(74, 74, mark::ALL + 1)] {
            assert_eq!(decode(&bad), Err(DecodeError::Value));
        }
    }
}
