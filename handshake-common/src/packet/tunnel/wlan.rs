//! 802.11 frames as captures hold them: an unencrypted data frame behind what the driver prefixed.
//!
//! Encrypted frames, aggregates (A-MSDU) and everything but data are "not IP".

use super::{Layer, NOT_IP, Next, Walk};
use crate::packet::ethernet::WlanHeader;
use crate::packet::{Frame, Parsed};

/// Bits of the frame control field, first byte high.
mod control {
    pub(super) const KIND: u16 = 0x0f00;
    pub(super) const DATA: u16 = 0x0800;
    /// A data frame without data.
    pub(super) const NULL: u16 = 0x4000;
    pub(super) const QOS: u16 = 0x8000;
    pub(super) const BOTH_DS: u16 = 0x0003;
    pub(super) const PROTECTED: u16 = 0x0040;
    pub(super) const ORDER: u16 = 0x0080;
}

mod field {
    pub(super) const HEADER_LEN: usize = 24;
    pub(super) const FOURTH_ADDRESS: usize = 6;
    pub(super) const QOS: usize = 2;
    pub(super) const HT_CONTROL: usize = 4;
    /// Of the QoS field, first byte high: an aggregate follows.
    pub(super) const AGGREGATE: u16 = 0x8000;
    pub(super) const PRISM_LEN: usize = 144;
    /// The first word of an AVS header, without its version.
    pub(super) const AVS_MAGIC: u32 = 0x8021_1000;
    /// The link type that a PPI header must announce.
    pub(super) const PPI_WLAN: u16 = 105;
}

/// What radiotap says in its first 32-bit word of presence, byte-swapped to host order.
mod radiotap {
    pub(super) const TIME: u32 = 1 << 0;
    pub(super) const FLAGS: u32 = 1 << 1;
    pub(super) const MORE: u32 = 1 << 31;
    pub(super) const MAX_WORDS: usize = 8;
    /// Of the flags: the 802.11 header is padded to 32 bits.
    pub(super) const PADDED: u8 = 0x20;
}

impl<F: Frame, R: FnMut(Layer)> Walk<'_, F, R> {
    #[inline(always)]
    pub(super) fn wlan(&mut self, header: WlanHeader) -> Result<Next, Parsed> {
        let (len, padded) = match header {
            WlanHeader::None => (0, false),
            WlanHeader::Radiotap => {
                (usize::from(self.le16(2)?), self.radiotap_flags()? & radiotap::PADDED != 0)
            }
            WlanHeader::Ppi if self.le16(4)? == field::PPI_WLAN => {
                (usize::from(self.le16(2)?), false)
            }
            WlanHeader::Ppi => return Err(NOT_IP),
            // Drivers put either under both link types.
            WlanHeader::PrismOrAvs if self.word(0, NOT_IP)? & !0xfff == field::AVS_MAGIC => {
                (self.word(4, NOT_IP)? as usize & 0xffff, false)
            }
            WlanHeader::PrismOrAvs => (field::PRISM_LEN, false),
        };
        self.offset += len;
        self.data_frame(padded)
    }

    #[inline(always)]
    fn data_frame(&mut self, padded: bool) -> Result<Next, Parsed> {
        let control = self.be16(0, NOT_IP)?;
        if control & control::KIND != control::DATA
            || control & (control::NULL | control::PROTECTED) != 0
        {
            return Err(NOT_IP);
        }
        let mut len = field::HEADER_LEN;
        if control & control::BOTH_DS == control::BOTH_DS {
            len += field::FOURTH_ADDRESS;
        }
        if control & control::QOS != 0 {
            if self.be16(len, NOT_IP)? & field::AGGREGATE != 0 {
                return Err(NOT_IP);
            }
            len += field::QOS;
            if control & control::ORDER != 0 {
                len += field::HT_CONTROL;
            }
        }
        if padded {
            len = len.next_multiple_of(4);
        }
        self.enter(Layer::Wlan, len)?;
        let ether_type = self.snap_type(NOT_IP)?;
        self.offset += 8;
        Ok(Next::EtherType(ether_type))
    }

    #[inline(always)]
    fn le16(&self, offset: usize) -> Result<u16, Parsed> {
        Ok(self.be16(offset, NOT_IP)?.swap_bytes())
    }

    /// The flags field, 0 if there is none. Only the time stamp can stand before it.
    #[inline(always)]
    fn radiotap_flags(&self) -> Result<u8, Parsed> {
        let first = self.word(4, NOT_IP)?.swap_bytes();
        if first & radiotap::FLAGS == 0 {
            return Ok(0);
        }
        let mut word = first;
        let mut offset = 8;
        for _ in 0..radiotap::MAX_WORDS {
            if word & radiotap::MORE == 0 {
                break;
            }
            word = self.word(offset, NOT_IP)?.swap_bytes();
            offset += 4;
        }
        if first & radiotap::TIME != 0 {
            offset = offset.next_multiple_of(8) + 8;
        }
        Ok((self.be16(offset, NOT_IP)? >> 8) as u8)
    }
}
