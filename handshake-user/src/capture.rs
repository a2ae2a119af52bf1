//! Capture files as a stream of frames: pcap in its variants and pcapng, over any `Read`.
//!
//! [`CaptureReader`] hands out one [`Record`] at a time, in file order, and afterwards says with
//! [`CaptureReader::end`] how the input ended: whole, or damaged where and how. It never seeks,
//! never holds more than one frame (at most [`MAX_CAPTURED`] bytes) and a bounded table of
//! interfaces, and believes no length before it has compared it with a limit. What a frame means
//! is none of its business; see `source::replay`.
//!
//! The containers are read here and not by a library: `pcap-parser`, the candidate, must hold a
//! block whole to step over it, refuses a block for a bad option nobody asked for, knows neither
//! the obsolete packet block nor big-endian files of the modified format, and cannot say at which
//! byte the damage is.
//!
//! Where a record is both cut short and contradicts itself, it is malformed if the contradiction
//! stands in the bytes that are there. The offset of damage is where the damaged record or block
//! begins: everything before it was read.

mod input;
mod pcap;
mod pcapng;

use std::io::{self, Read};

use handshake_common::packet::ethernet::Link;
use input::Input;
use thiserror::Error;

/// Most captured bytes a packet record may claim (libpcap's `MAXIMUM_SNAPLEN`).
pub const MAX_CAPTURED: u32 = 262_144;
/// Most interfaces a pcapng section may declare; bounds the memory a hostile file can ask for.
pub const MAX_INTERFACES: usize = 65_536;

/// What the name of the application begins with in the section headers of handshake's recorder.
pub const RECORDER: &[u8; 20] = b"handshake recorder v";

/// One packet record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Counts packet records from 1 over the whole file.
    pub number: u64,
    /// Nanoseconds since 1970; clamped to what an `i64` holds.
    pub time_ns: i64,
    /// tcpdump's link-layer header type.
    pub link_type: u32,
    /// What was captured of the frame.
    pub bytes: &'a [u8],
    /// Length of the frame on the wire as the record gives it.
    pub wire_len: usize,
    /// What the file says, before this record, of everything that is open.
    pub settled: Option<Settled>,
}

/// A mark of handshake's own recorder, which writes attempts one after the other: of what is open
/// here, nothing follows (docs/recording.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Nothing more came until this time, in nanoseconds since 1970, when it ended.
    Silent(i64),
    /// Whether more came is not known.
    Unknown,
}

/// The verdict over a whole input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Read to its end.
    Ok,
    /// The file ends inside a record.
    Truncated,
    /// A record or block contradicts itself or a limit.
    Malformed,
    /// No capture file at all.
    NotACapture,
    /// Packets, but every one of a link type we do not decode.
    UnsupportedLinkType,
    /// The operating system failed to read it.
    Unreadable,
}

impl Status {
    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::NotACapture => "not-a-capture",
            Self::UnsupportedLinkType => "unsupported-linktype",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What is wrong with an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Damage {
    /// [`Status::NotACapture`].
    #[error("neither pcap nor pcapng")]
    UnknownMagic,
    /// [`Status::NotACapture`].
    #[error("compressed with gzip; decompress it first")]
    Gzip,
    /// [`Status::NotACapture`].
    #[error("the file is empty")]
    Empty,
    /// [`Status::NotACapture`].
    #[error("the file ends inside its header")]
    HalfHeader,
    /// [`Status::Truncated`].
    #[error("the file ends inside a record")]
    Cut,
    /// [`Status::Malformed`].
    #[error("a captured length of {0} bytes is above the limit of {MAX_CAPTURED}")]
    CapturedLength(u32),
    /// [`Status::Malformed`].
    #[error("a captured length of {0} bytes does not fit its block")]
    CapturedBeyondBlock(u32),
    /// [`Status::Malformed`].
    #[error("a block length of {0} is below 12 or not a multiple of 4")]
    BlockLength(u32),
    /// [`Status::Malformed`].
    #[error("a block of {0} bytes is too short for its type")]
    BlockTooShort(u32),
    /// [`Status::Malformed`].
    #[error("a block length of {0} is followed by {1} at the end of the block")]
    BlockTrailer(u32, u32),
    /// [`Status::Malformed`].
    #[error("a section header with the unknown byte-order magic {0:#010x}")]
    ByteOrder(u32),
    /// [`Status::Malformed`].
    #[error("a packet of interface {0}, which is not declared")]
    Interface(u32),
    /// [`Status::Malformed`].
    #[error("a section declares more than {MAX_INTERFACES} interfaces")]
    TooManyInterfaces,
    /// [`Status::UnsupportedLinkType`].
    #[error("every packet has a link type that is not decoded (the first: {0})")]
    LinkType(u32),
    /// [`Status::Unreadable`].
    #[error("reading failed: {0}")]
    Read(io::ErrorKind),
}

impl Damage {
    /// The verdict that this damage means.
    #[must_use]
    pub fn status(self) -> Status {
        match self {
            Self::UnknownMagic | Self::Gzip | Self::Empty | Self::HalfHeader => Status::NotACapture,
            Self::Cut => Status::Truncated,
            Self::LinkType(_) => Status::UnsupportedLinkType,
            Self::Read(_) => Status::Unreadable,
            Self::CapturedLength(_)
            | Self::CapturedBeyondBlock(_)
            | Self::BlockLength(_)
            | Self::BlockTooShort(_)
            | Self::BlockTrailer(..)
            | Self::ByteOrder(_)
            | Self::Interface(_)
            | Self::TooManyInterfaces => Status::Malformed,
        }
    }
}

/// How an input ended, or how far it has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Packet records read.
    pub records: u64,
    /// Where the damaged record or block begins; without damage, the bytes read.
    pub offset: u64,
    /// What is wrong, if anything.
    pub damage: Option<Damage>,
}

impl End {
    /// The verdict.
    #[must_use]
    pub fn status(self) -> Status {
        self.damage.map_or(Status::Ok, Damage::status)
    }
}

/// A packet record without its bytes, which lie in the reader's buffer.
struct Meta {
    time_ns: i64,
    link_type: u32,
    wire_len: u32,
}

/// The container, known after its first four bytes.
enum Format {
    Unknown,
    Pcap(pcap::Format),
    Pcapng(pcapng::Sections),
}

/// Reads one capture file.
pub struct CaptureReader<R> {
    input: Input<R>,
    format: Format,
    frame: Vec<u8>,
    records: u64,
    /// Start and link type of the first record, as long as no record was one we decode.
    undecoded: Option<(u64, u32)>,
    any_decoded: bool,
    end: Option<End>,
}

impl<R: Read> CaptureReader<R> {
    /// Nothing is read before the first call of [`Self::next_record`].
    pub fn new(read: R) -> Self {
        Self {
            input: Input::new(read),
            format: Format::Unknown,
            frame: Vec::new(),
            records: 0,
            undecoded: None,
            any_decoded: false,
            end: None,
        }
    }

    /// The next packet record, or `None` at the end of what can be read.
    pub fn next_record(&mut self) -> Option<Record<'_>> {
        if self.end.is_some() {
            return None;
        }
        match self.advance() {
            Ok(Some(meta)) => Some(self.record(&meta)),
            Ok(None) => {
                self.end = Some(self.whole());
                None
            }
            Err(damage) => {
                let offset = self.input.record_start();
                self.end = Some(End { records: self.records, offset, damage: Some(damage) });
                None
            }
        }
    }

    /// What the file says of everything that is open, behind the last record.
    #[must_use]
    pub fn settled(&mut self) -> Option<Settled> {
        match &mut self.format {
            Format::Pcapng(sections) => sections.take_settled(),
            Format::Unknown | Format::Pcap(_) => None,
        }
    }

    /// Gives away the bytes of the record that was read last, for memory to read the next into.
    pub(crate) fn swap_frame(&mut self, other: &mut Vec<u8>) {
        std::mem::swap(&mut self.frame, other);
    }

    /// Must the next record be waited for? Of a pipe, that may take long.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.input.is_drained()
    }

    /// How the input ended; before [`Self::next_record`] has returned `None`, how far it was read.
    #[must_use]
    pub fn end(&self) -> End {
        let so_far = End { records: self.records, offset: self.input.position(), damage: None };
        self.end.unwrap_or(so_far)
    }

    fn advance(&mut self) -> Result<Option<Meta>, Damage> {
        let (input, frame) = (&mut self.input, &mut self.frame);
        match &mut self.format {
            Format::Unknown => {
                self.format = recognize(input)?;
                self.advance()
            }
            Format::Pcap(format) => format.next(input, frame),
            Format::Pcapng(sections) => sections.next(input, frame),
        }
    }

    fn record(&mut self, meta: &Meta) -> Record<'_> {
        let settled = self.settled();
        self.records += 1;
        self.any_decoded |= Link::of_capture(meta.link_type).is_some();
        self.undecoded.get_or_insert((self.input.record_start(), meta.link_type));
        Record {
            number: self.records,
            time_ns: meta.time_ns,
            link_type: meta.link_type,
            bytes: &self.frame,
            wire_len: meta.wire_len as usize,
            settled,
        }
    }

    /// The end of an input without a damaged record.
    fn whole(&self) -> End {
        match self.undecoded {
            Some((offset, link_type)) if !self.any_decoded => {
                let damage = Some(Damage::LinkType(link_type));
                End { records: self.records, offset, damage }
            }
            _ => End { records: self.records, offset: self.input.position(), damage: None },
        }
    }
}

/// Reads the file header.
fn recognize<R: Read>(input: &mut Input<R>) -> Result<Format, Damage> {
    let magic = match input.array_or_end::<4>() {
        Ok(Some(magic)) => magic,
        Ok(None) => return Err(Damage::Empty),
        Err(damage) => return Err(half_header(damage)),
    };
    match magic {
        pcapng::MAGIC => pcapng::Sections::open(input).map(Format::Pcapng).map_err(half_header),
        [0x1f, 0x8b, ..] => Err(Damage::Gzip),
        magic => match pcap::Variant::of(magic) {
            Some(variant) => {
                pcap::Format::open(variant, input).map(Format::Pcap).map_err(half_header)
            }
            None => Err(Damage::UnknownMagic),
        },
    }
}

/// A cut inside the file header means that there is no capture.
fn half_header(damage: Damage) -> Damage {
    match damage {
        Damage::Cut => Damage::HalfHeader,
        other => other,
    }
}

#[cfg(test)]
mod tests;
