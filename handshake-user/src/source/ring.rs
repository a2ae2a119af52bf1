//! Reads the kernel's per-CPU rings, fairly and boundedly.
//!
//! The caller drains on a timer; only a caller that sleeps ([`state::ASLEEP`]) is woken by the kernel,
//! once.
//!
//! [`state::ASLEEP`]: handshake_common::abi::state::ASLEEP
//!
//! Nothing is judged here; records that are no events are counted. Next: `merge`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;

use aya::maps::{MapData, RingBuf};
use handshake_common::event::{DecodeError, Event, RINGS};
use handshake_common::kept;

use crate::clock::Clock;
use crate::evidence::{Frame, Sighting};
use crate::mapped::{Access, Mapped};
use crate::merge::Timed;

/// Records taken from one ring before it is the next one's turn.
const TURN: usize = 64;

/// What a ring record is read as.
pub trait FromRecord: Timed + Sized {
    /// Reads the bytes of a record.
    ///
    /// # Errors
    /// If they are no event of this version.
    fn from_record(record: &[u8]) -> Result<Self, DecodeError>;

    /// It came through this ring ([`Event::ring`]).
    fn came_through(&mut self, ring: u8);
}

/// The event alone, whether its frame was kept or not.
impl FromRecord for Event {
    fn from_record(record: &[u8]) -> Result<Self, DecodeError> {
        kept::decode(record).map(|(event, _)| event)
    }

    fn came_through(&mut self, ring: u8) {
        self.ring = ring;
    }
}

impl FromRecord for Sighting {
    fn from_record(record: &[u8]) -> Result<Self, DecodeError> {
        let (event, kept) = kept::decode(record)?;
        Ok(Self { event, frame: kept.map(|kept| Box::new(Frame::new(&kept))) })
    }

    fn came_through(&mut self, ring: u8) {
        self.event.ring = ring;
    }
}

/// The rings of all CPUs, made by `loader::Loader`.
pub struct Rings {
    rings: Vec<Ring>,
    /// Which ring goes first in the next drain.
    first: usize,
    fill: Fill,
}

/// [`Event::ring`] of what a CPU's programs report.
#[must_use]
pub fn ring_of_cpu(cpu: usize) -> u8 {
    (cpu % usize::from(RINGS)) as u8
}

/// How full the fullest ring was when a drain began, in bytes with their headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fill {
    /// At the last drain.
    pub last_bytes: u64,
    /// At any.
    pub highest_bytes: u64,
}

struct Ring {
    /// [`Event::ring`] of what comes through it.
    number: u8,
    buffer: RingBuf<MapData>,
    /// The kernel's two positions in bytes: how far we have read, how far it has written.
    consumed: Mapped,
    produced: Mapped,
    /// Nothing that is still in the ring is older, apart from what interrupts reorder.
    horizon_ns: u64,
    emptied: bool,
}

/// What one [`Rings::drain`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Events appended.
    pub delivered: u64,
    /// Records that are no events of this version: none, unless there is a bug.
    pub undecodable: u64,
    /// Every ring was read to its end.
    pub emptied: bool,
    /// Boot time in nanoseconds before the first ring was read: the `now_ns` of `Merge::release`.
    pub started_ns: u64,
    /// Boot time in nanoseconds before which nothing is left in the rings that were not read to
    /// their end; none if all were.
    pub horizon_ns: Option<u64>,
}

impl Rings {
    /// Of each CPU one.
    pub(crate) fn new(
        buffers: impl IntoIterator<Item = (u32, RingBuf<MapData>)>,
        page_size: usize,
    ) -> io::Result<Self> {
        let ring = |(cpu, buffer)| Ring::new(cpu, buffer, page_size);
        let rings = buffers.into_iter().map(ring).collect::<io::Result<_>>()?;
        Ok(Self { rings, first: 0, fill: Fill::default() })
    }

    /// Descriptors that become readable when a program wakes the reader.
    ///
    /// # Errors
    /// If there are too many open files.
    pub fn bells(&self) -> io::Result<Vec<OwnedFd>> {
        self.rings.iter().map(|ring| ring.buffer.as_fd().try_clone_to_owned()).collect()
    }

    /// How full they were when they were read.
    #[must_use]
    pub fn fill(&self) -> Fill {
        self.fill
    }

    /// Number of rings: one a CPU.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rings.len()
    }

    /// True if there is no ring, so that every event is lost (and counted by the kernel).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rings.is_empty()
    }

    /// Appends at most `max_events` events to `out`, a few from each ring in turn; each drain
    /// starts with another ring. `max_events` bounds undecodable records as well.
    pub fn drain<E: FromRecord>(&mut self, max_events: usize, out: &mut Vec<E>) -> Drained {
        let started_ns = Clock::now();
        let before = out.len();
        self.fill.last_bytes = self.rings.iter().map(Ring::used_bytes).max().unwrap_or(0);
        self.fill.highest_bytes = self.fill.highest_bytes.max(self.fill.last_bytes);
        let mut undecodable = 0;
        let mut left = max_events;
        self.rings.iter_mut().for_each(|ring| ring.emptied = false);
        self.rings.rotate_left(self.first);
        self.first = usize::from(self.rings.len() > 1);
        while left > 0 && self.rings.iter().any(|ring| !ring.emptied) {
            for ring in self.rings.iter_mut().filter(|ring| !ring.emptied) {
                let taken = ring.take(left.min(TURN), out, &mut undecodable);
                if ring.emptied {
                    ring.horizon_ns = ring.horizon_ns.max(started_ns);
                }
                left -= taken;
            }
        }
        let waiting = self.rings.iter().filter(|ring| !ring.emptied);
        let horizon_ns = waiting.map(|ring| ring.horizon_ns).min();
        Drained {
            delivered: (out.len() - before) as u64,
            undecodable,
            emptied: horizon_ns.is_none(),
            started_ns,
            horizon_ns,
        }
    }
}

impl Ring {
    fn new(cpu: u32, buffer: RingBuf<MapData>, page_size: usize) -> io::Result<Self> {
        let position = |page| {
            let bytes = size_of::<u64>();
            Mapped::new(buffer.as_fd(), page * page_size, bytes, Access::Read)
        };
        let (consumed, produced) = (position(0)?, position(1)?);
        let number = ring_of_cpu(cpu as usize);
        Ok(Self { number, buffer, consumed, produced, horizon_ns: 0, emptied: false })
    }

    fn used_bytes(&self) -> u64 {
        let read = |position: &Mapped| position.words()[0].load(Ordering::Acquire);
        let consumed = read(&self.consumed);
        read(&self.produced).saturating_sub(consumed)
    }

    /// Takes at most `limit` records; marks the ring if that was its end.
    fn take<E: FromRecord>(
        &mut self,
        limit: usize,
        out: &mut Vec<E>,
        undecodable: &mut u64,
    ) -> usize {
        for taken in 0..limit {
            let Some(record) = self.buffer.next() else {
                self.emptied = true;
                return taken;
            };
            match E::from_record(&record) {
                Ok(mut event) => {
                    event.came_through(self.number);
                    self.horizon_ns = self.horizon_ns.max(event.time_ns());
                    out.push(event);
                }
                Err(_) => *undecodable += 1,
            }
        }
        limit
    }
}
