//! Capture records in, events out: the kernel's parser and filter over frames of a file.
//!
//! [`Replay`] stands where the eBPF programs stand live: the same
//! [`observe`](handshake_common::observe), a table of the same buckets, the same counters. It has
//! no ring and loses nothing. The caller reads the file (`capture`) and owns the tracker; for
//! every record, whether it makes an event or not, it first tells the tracker the record's time
//! and then hands over the [`Observation`].

use handshake_common::abi::{COUNTERS, Counter, PACKET_CLASSES};
use handshake_common::event::{Event, kind};
use handshake_common::filter::{MemoryBucket, Tick, sweep};
use handshake_common::flow::Keys;
use handshake_common::observe::{Sink, What, observe};
use handshake_common::packet::SliceFrame;
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::tunnel::{self, Layers};

use crate::attempt::{Key, Observation, SourceId};
use crate::capture::Record;
use crate::tracker::{Entries, Numbers};

mod group;
mod table;

pub use group::Group;
use table::Table;

/// Buckets at first: 4 MiB, 262,144 attempts pending at once.
const BUCKETS: u32 = 1 << 15;

/// Most buckets: 64 MiB, four million attempts pending at once.
const MOST_BUCKETS: usize = 1 << 19;

/// Live keys are secret; here the same file shall always give the same result, so they are not.
const KEYS: Keys = Keys { low: 0x4528_21e6_38d0_1377, high: 0xbe54_66cf_34e9_0c6c };

/// A file has one source.
const SOURCE: SourceId = 0;

/// Parser, filter and counters of one replay.
#[derive(Debug)]
pub struct Replay {
    table: Table,
    counters: [u64; COUNTERS],
    undecoded: u64,
    watches: bool,
}

impl Default for Replay {
    /// A replay whose filter grows with what is pending, up to a limit.
    fn default() -> Self {
        Self::with(Table::new(BUCKETS, MOST_BUCKETS - BUCKETS as usize))
    }
}

impl Replay {
    /// A replay whose filter has `buckets` buckets, rounded up to a power of two, and no more: it
    /// forgets as the kernel's does.
    #[must_use]
    pub fn new(buckets: u32) -> Self {
        Self::with(Table::new(buckets, 0))
    }

    fn with(table: Table) -> Self {
        Self { table, counters: [0; COUNTERS], undecoded: 0, watches: false }
    }

    /// From now on what comes after a completion makes events ([`flag::WATCHED`]).
    ///
    /// [`flag::WATCHED`]: handshake_common::event::flag::WATCHED
    pub fn watch(&mut self) {
        self.watches = true;
    }

    /// Looks at one record; `Some` if the filter found it worth an event (time: the bits of the
    /// record's `i64`; interface and hook 0).
    pub fn feed(&mut self, record: &Record<'_>) -> Option<Observation> {
        let Some(link) = Link::of_capture(record.link_type) else {
            self.undecoded += 1;
            return None;
        };
        let frame = SliceFrame::new(record.bytes, record.wire_len);
        let mut step = Step {
            table: &mut self.table,
            counters: &mut self.counters,
            watches: self.watches,
            time_ns: record.time_ns.cast_unsigned(),
            event: None,
        };
        observe(&frame, link, &KEYS, &mut step);
        step.event.map(|event| {
            let layers = match event.kind {
                kind::SYN | kind::SYN_ACK => tunnel::layers(&frame, link),
                _ => Layers::NONE,
            };
            Observation { event, source: SOURCE, frame: record.number, layers }
        })
    }

    /// All counters, in the order of [`Counter`].
    #[must_use]
    pub fn counters(&self) -> &[u64; COUNTERS] {
        &self.counters
    }

    /// The value of one counter.
    #[must_use]
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize]
    }

    /// Records of a link type we do not decode; they are in no packet class.
    #[must_use]
    pub fn undecoded(&self) -> u64 {
        self.undecoded
    }

    /// Records fed: those in a packet class and those not decoded.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.counters[..PACKET_CLASSES].iter().sum::<u64>() + self.undecoded
    }
}

impl Entries for Replay {
    fn remembers(&self, key: &Key) -> bool {
        let fingerprint = key.fingerprint(&KEYS);
        sweep::numbers(self.table.holding(fingerprint), fingerprint).is_some()
    }

    fn retire(&self, key: &Key, syn: Numbers) -> bool {
        let fingerprint = key.fingerprint(&KEYS);
        let table = self.table.holding(fingerprint);
        sweep::retire(table, fingerprint, |(client_next, _)| syn.lead_to(client_next))
    }
}

/// The world around one record.
struct Step<'a> {
    table: &'a mut Table,
    counters: &'a mut [u64; COUNTERS],
    watches: bool,
    time_ns: u64,
    event: Option<Event>,
}

impl Sink<SliceFrame<'_>> for Step<'_> {
    const DECAP: bool = true;

    type Memory<'a>
        = &'a [MemoryBucket]
    where
        Self: 'a;

    fn memory(&mut self, fingerprint: u64) -> &[MemoryBucket] {
        self.table.holding(fingerprint)
    }

    fn memory_to_keep(&mut self, fingerprint: u64) -> &[MemoryBucket] {
        self.table.keeping(fingerprint)
    }

    fn tick(&self) -> Tick {
        // About a millisecond.
        (self.time_ns >> 20) as Tick
    }

    fn watches(&self) -> bool {
        self.watches
    }

    fn count(&mut self, counter: Counter) {
        self.counters[counter as usize] += 1;
    }

    fn emit(&mut self, frame: &SliceFrame<'_>, what: What<'_>) {
        let mut event = Event { time_ns: self.time_ns, ..Event::ZERO };
        what.fill(&mut event, frame);
        self.event = Some(event);
    }
}

#[cfg(test)]
mod tests;
