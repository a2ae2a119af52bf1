//! Bytes of a capture in sequence, counted; short reads become [`Damage::Cut`].

use std::io::{self, BufRead, BufReader, Read};

use super::Damage;

/// Read ahead: large enough that a system call is rare, small enough for the second-level cache.
const BUFFER: usize = 128 * 1024;

/// A counted, buffered input.
pub(super) struct Input<R> {
    read: BufReader<R>,
    position: u64,
    record_start: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(read: R) -> Self {
        Self { read: BufReader::with_capacity(BUFFER, read), position: 0, record_start: 0 }
    }

    /// Has everything been consumed that was read ahead?
    pub(super) fn is_drained(&self) -> bool {
        self.read.buffer().is_empty()
    }

    /// Bytes consumed.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Where the record or block being read begins.
    pub(super) fn record_start(&self) -> u64 {
        self.record_start
    }

    /// A record or block begins here.
    pub(super) fn start_record(&mut self) {
        self.record_start = self.position;
    }

    /// Fills `to` as far as the input reaches.
    fn fill(&mut self, to: &mut [u8]) -> Result<usize, Damage> {
        let mut filled = 0;
        while filled < to.len() {
            match self.read.read(&mut to[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Damage::Read(error.kind())),
            }
        }
        self.position += filled as u64;
        Ok(filled)
    }

    fn exact(&mut self, to: &mut [u8]) -> Result<(), Damage> {
        if self.fill(to)? == to.len() { Ok(()) } else { Err(Damage::Cut) }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let mut bytes = [0; N];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The next `N` bytes, or `None` if the input ends before the first of them.
    pub(super) fn array_or_end<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Damage> {
        let mut bytes = [0; N];
        match self.fill(&mut bytes)? {
            0 => Ok(None),
            filled if filled == N => Ok(Some(bytes)),
            _ => Err(Damage::Cut),
        }
    }

    /// The next `len` bytes into `to`, replacing what was there. The caller has limited `len`.
    pub(super) fn frame(&mut self, to: &mut Vec<u8>, len: u32) -> Result<(), Damage> {
        to.resize(len as usize, 0);
        self.exact(to)
    }

    /// Steps over `len` bytes.
    pub(super) fn skip(&mut self, len: u32) -> Result<(), Damage> {
        let mut left = len as usize;
        while left > 0 {
            let ready = match self.read.fill_buf() {
                Ok([]) => return Err(Damage::Cut),
                Ok(ready) => ready.len().min(left),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Damage::Read(error.kind())),
            };
            self.read.consume(ready);
            self.position += ready as u64;
            left -= ready;
        }
        Ok(())
    }
}

/// The byte order of a file or section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Big,
    Little,
}

impl ByteOrder {
    pub(super) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Big => u16::from_be_bytes(bytes),
            Self::Little => u16::from_le_bytes(bytes),
        }
    }

    pub(super) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Big => u32::from_be_bytes(bytes),
            Self::Little => u32::from_le_bytes(bytes),
        }
    }

    pub(super) fn i64(self, bytes: [u8; 8]) -> i64 {
        match self {
            Self::Big => i64::from_be_bytes(bytes),
            Self::Little => i64::from_le_bytes(bytes),
        }
    }

    /// Word `index` of a fixed header; the caller stays inside.
    pub(super) fn word<const N: usize>(self, header: &[u8; N], index: usize) -> u32 {
        let at = 4 * index;
        self.u32([header[at], header[at + 1], header[at + 2], header[at + 3]])
    }
}
