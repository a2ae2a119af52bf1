//! The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each with its byte order and
//! interfaces.
//!
//! Enhanced, simple and obsolete packet blocks are packets; interface descriptions are remembered
//! until the next section; every other block is stepped over by its length, whatever is in it.
//! Except in files of handshake's own recorder, where interface statistics are marks ([`Settled`]).

use std::io::Read;

use super::input::{ByteOrder, Input};
use super::{Damage, MAX_CAPTURED, MAX_INTERFACES, Meta, RECORDER, Settled};

/// Type of a section header block, the same in either byte order.
pub(super) const MAGIC: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;

/// Type and both lengths of a block.
const BLOCK_OVERHEAD: u32 = 12;
/// Of a section header's body: byte-order magic, version, section length.
const SECTION_BODY: u32 = 16;

mod block {
    pub(super) const INTERFACE: u32 = 1;
    pub(super) const OBSOLETE_PACKET: u32 = 2;
    pub(super) const SIMPLE_PACKET: u32 = 3;
    pub(super) const INTERFACE_STATISTICS: u32 = 5;
    pub(super) const ENHANCED_PACKET: u32 = 6;
}

mod option {
    pub(super) const END: u16 = 0;
    pub(super) const APPLICATION: u16 = 4;
    pub(super) const TIME_RESOLUTION: u16 = 9;
    pub(super) const TIME_OFFSET: u16 = 14;
}

/// A pcapng file behind its first section header.
pub(super) struct Sections {
    order: ByteOrder,
    /// The section was written by handshake's recorder.
    is_ours: bool,
    settled: Option<Settled>,
    interfaces: Vec<Interface>,
    /// Time of the packet before, which a simple packet block takes.
    last_time_ns: i64,
}

#[derive(Debug, Clone, Copy)]
struct Interface {
    link_type: u16,
    /// 0 for no limit.
    snap_len: u32,
    clock: Clock,
}

/// How an interface counts time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    /// `if_tsresol`: a negative power of 10, or of 2 with the highest bit set.
    resolution: u8,
    /// `if_tsoffset`.
    offset_s: i64,
}

impl Clock {
    const MICROSECONDS: Self = Self { resolution: 6, offset_s: 0 };

    /// Nanoseconds since 1970 of `ticks`, rounded down, clamped.
    fn time_ns(self, ticks: u64) -> i64 {
        const NS_PER_S: i128 = 1_000_000_000;
        let ticks = i128::from(ticks);
        let exponent = u32::from(self.resolution & 0x7f);
        let since_offset = if self.resolution & 0x80 != 0 {
            // 64 bits of ticks and 30 of nanoseconds fit 127.
            (ticks * NS_PER_S) >> exponent
        } else if exponent <= 9 {
            ticks * 10_i128.pow(9 - exponent)
        } else {
            10_i128.checked_pow(exponent - 9).map_or(0, |divisor| ticks / divisor)
        };
        let time = since_offset + i128::from(self.offset_s) * NS_PER_S;
        time.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// A block whose type and length were read, and what is left of its body.
struct Block {
    len: u32,
    left: u32,
}

impl Block {
    fn new(len: u32) -> Result<Self, Damage> {
        if len < BLOCK_OVERHEAD || !len.is_multiple_of(4) {
            return Err(Damage::BlockLength(len));
        }
        Ok(Self { len, left: len - BLOCK_OVERHEAD })
    }

    fn claim(&mut self, len: u32) -> Result<(), Damage> {
        self.left = self.left.checked_sub(len).ok_or(Damage::BlockTooShort(self.len))?;
        Ok(())
    }

    fn array<const N: usize, R: Read>(&mut self, input: &mut Input<R>) -> Result<[u8; N], Damage> {
        self.claim(N as u32)?;
        input.array()
    }

    fn skip<R: Read>(&mut self, len: u32, input: &mut Input<R>) -> Result<(), Damage> {
        self.claim(len)?;
        input.skip(len)
    }

    /// Steps over the rest and compares the copy of the length behind it.
    fn finish<R: Read>(self, order: ByteOrder, input: &mut Input<R>) -> Result<(), Damage> {
        input.skip(self.left)?;
        let trailer = order.u32(input.array()?);
        if trailer == self.len { Ok(()) } else { Err(Damage::BlockTrailer(self.len, trailer)) }
    }
}

impl Sections {
    /// Reads the first section header, behind its block type.
    pub(super) fn open<R: Read>(input: &mut Input<R>) -> Result<Self, Damage> {
        let len = input.array()?;
        let (order, is_ours) = match read_section_header(len, input) {
            Err(Damage::ByteOrder(_)) => return Err(Damage::UnknownMagic),
            other => other?,
        };
        let interfaces = Vec::new();
        Ok(Self { order, is_ours, settled: None, interfaces, last_time_ns: 0 })
    }

    /// The mark that was read last, once.
    pub(super) fn take_settled(&mut self) -> Option<Settled> {
        self.settled.take()
    }

    /// The next packet; its bytes go to `frame`.
    pub(super) fn next<R: Read>(
        &mut self,
        input: &mut Input<R>,
        frame: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Damage> {
        loop {
            input.start_record();
            let Some(header) = input.array_or_end::<8>()? else { return Ok(None) };
            let [a, b, c, d, len @ ..] = header;
            let block_type = [a, b, c, d];
            if block_type == MAGIC {
                (self.order, self.is_ours) = read_section_header(len, input)?;
                self.interfaces.clear();
                continue;
            }
            let block = Block::new(self.order.u32(len))?;
            if let Some(meta) = self.block(self.order.u32(block_type), block, input, frame)? {
                return Ok(Some(meta));
            }
        }
    }

    /// Reads one block to its end; `Some` if it is a packet.
    fn block<R: Read>(
        &mut self,
        block_type: u32,
        mut block: Block,
        input: &mut Input<R>,
        frame: &mut Vec<u8>,
    ) -> Result<Option<Meta>, Damage> {
        let meta = match block_type {
            block::INTERFACE => {
                self.declare(&mut block, input)?;
                None
            }
            block::ENHANCED_PACKET | block::OBSOLETE_PACKET => {
                Some(self.packet(block_type, &mut block, input, frame)?)
            }
            block::SIMPLE_PACKET => Some(self.simple_packet(&mut block, input, frame)?),
            block::INTERFACE_STATISTICS if self.is_ours => {
                self.settled = Some(self.mark(&mut block, input)?);
                None
            }
            _ => None,
        };
        block.finish(self.order, input)?;
        if let Some(meta) = &meta {
            self.last_time_ns = meta.time_ns;
        }
        Ok(meta)
    }

    fn packet<R: Read>(
        &self,
        block_type: u32,
        block: &mut Block,
        input: &mut Input<R>,
        frame: &mut Vec<u8>,
    ) -> Result<Meta, Damage> {
        let header = block.array::<20, R>(input)?;
        let [first, high, low, captured, wire_len] =
            [0, 1, 2, 3, 4].map(|at| self.order.word(&header, at));
        // The obsolete block has a 16-bit interface and a drop count in the first word.
        let interface = match block_type {
            block::OBSOLETE_PACKET => u32::from(self.order.u16([header[0], header[1]])),
            _ => first,
        };
        let interface = self.interface(interface)?;
        read_frame(captured, block, input, frame)?;
        let ticks = (u64::from(high) << 32) | u64::from(low);
        Ok(Meta {
            time_ns: interface.clock.time_ns(ticks),
            link_type: u32::from(interface.link_type),
            wire_len,
        })
    }

    /// A simple packet block: of interface 0, without a time, its captured length implied.
    fn simple_packet<R: Read>(
        &self,
        block: &mut Block,
        input: &mut Input<R>,
        frame: &mut Vec<u8>,
    ) -> Result<Meta, Damage> {
        let wire_len = self.order.u32(block.array(input)?);
        let interface = self.interface(0)?;
        let snap_len = if interface.snap_len == 0 { u32::MAX } else { interface.snap_len };
        let captured = wire_len.min(snap_len).min(block.left);
        read_frame(captured, block, input, frame)?;
        let link_type = u32::from(interface.link_type);
        Ok(Meta { time_ns: self.last_time_ns, link_type, wire_len })
    }

    /// A mark of the recorder: a time, or zero.
    fn mark<R: Read>(&self, block: &mut Block, input: &mut Input<R>) -> Result<Settled, Damage> {
        let header = block.array::<12, R>(input)?;
        let [interface, high, low] = [0, 1, 2].map(|at| self.order.word(&header, at));
        let ticks = (u64::from(high) << 32) | u64::from(low);
        let interface = self.interface(interface)?;
        Ok(match ticks {
            0 => Settled::Unknown,
            ticks => Settled::Silent(interface.clock.time_ns(ticks)),
        })
    }

    fn interface(&self, number: u32) -> Result<Interface, Damage> {
        self.interfaces.get(number as usize).copied().ok_or(Damage::Interface(number))
    }

    /// Reads an interface description.
    fn declare<R: Read>(&mut self, block: &mut Block, input: &mut Input<R>) -> Result<(), Damage> {
        let header = block.array::<8, R>(input)?;
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(Damage::TooManyInterfaces);
        }
        self.interfaces.push(Interface {
            link_type: self.order.u16([header[0], header[1]]),
            snap_len: self.order.word(&header, 1),
            clock: self.clock(block, input)?,
        });
        Ok(())
    }

    /// Walks the options of an interface description; one that does not fit ends the walk.
    fn clock<R: Read>(&self, block: &mut Block, input: &mut Input<R>) -> Result<Clock, Damage> {
        let (mut resolution, mut offset_s) = (None, None);
        while block.left >= 4 {
            let [a, b, c, d] = block.array(input)?;
            let (code, len) = (self.order.u16([a, b]), self.order.u16([c, d]));
            let padded = u32::from(len).next_multiple_of(4);
            if code == option::END || padded > block.left {
                break;
            }
            match (code, len) {
                (option::TIME_RESOLUTION, 1) => {
                    let [value, ..] = block.array::<4, R>(input)?;
                    resolution.get_or_insert(value);
                }
                (option::TIME_OFFSET, 8) => {
                    let value = self.order.i64(block.array(input)?);
                    offset_s.get_or_insert(value);
                }
                _ => block.skip(padded, input)?,
            }
        }
        let default = Clock::MICROSECONDS;
        Ok(Clock {
            resolution: resolution.unwrap_or(default.resolution),
            offset_s: offset_s.unwrap_or(default.offset_s),
        })
    }
}

/// Reads `captured` bytes of packet; padding and options stay for [`Block::finish`].
fn read_frame<R: Read>(
    captured: u32,
    block: &mut Block,
    input: &mut Input<R>,
    frame: &mut Vec<u8>,
) -> Result<(), Damage> {
    if captured > MAX_CAPTURED {
        return Err(Damage::CapturedLength(captured));
    }
    if captured > block.left {
        return Err(Damage::CapturedBeyondBlock(captured));
    }
    block.claim(captured)?;
    input.frame(frame, captured)
}

/// Reads a section header whose type and raw length were read, and returns the section's order and
/// whether handshake's recorder wrote it.
fn read_section_header<R: Read>(
    len: [u8; 4],
    input: &mut Input<R>,
) -> Result<(ByteOrder, bool), Damage> {
    let magic: [u8; 4] = input.array()?;
    let order = if ByteOrder::Big.u32(magic) == BYTE_ORDER_MAGIC {
        ByteOrder::Big
    } else if ByteOrder::Little.u32(magic) == BYTE_ORDER_MAGIC {
        ByteOrder::Little
    } else {
        return Err(Damage::ByteOrder(ByteOrder::Big.u32(magic)));
    };
    let mut block = Block::new(order.u32(len))?;
    block.claim(4)?;
    block.skip(SECTION_BODY - 4, input)?;
    let is_ours = names_us(order, &mut block, input)?;
    block.finish(order, input)?;
    Ok((order, is_ours))
}

/// Walks the options of a section header up to the name of the application that wrote it.
fn names_us<R: Read>(
    order: ByteOrder,
    block: &mut Block,
    input: &mut Input<R>,
) -> Result<bool, Damage> {
    while block.left >= 4 {
        let [a, b, c, d] = block.array(input)?;
        let (code, len) = (order.u16([a, b]), order.u16([c, d]));
        let padded = u32::from(len).next_multiple_of(4);
        if code == option::END || padded > block.left {
            break;
        }
        if code == option::APPLICATION && padded >= RECORDER.len() as u32 {
            return Ok(&block.array(input)? == RECORDER);
        }
        block.skip(padded, input)?;
    }
    Ok(false)
}
