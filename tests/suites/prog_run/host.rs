//! The host's world: frames in memory, the table in a vector, as in `handshake_user`'s replay.

use handshake_common::abi::{COUNTERS, Counter};
use handshake_common::event::Event;
use std::sync::atomic::Ordering;

use handshake_common::filter::{MemoryBucket, Tick, WORDS, bucket_index, is_occupied, other_index};
use handshake_common::observe::{Sink, What, observe};
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{Parsed, SliceFrame, parse};
use handshake_common::sample::Shift;

use crate::worlds::{BUCKETS, KEYS};

/// Heads and numbers of a bucket.
pub(crate) type Words = [u64; WORDS];

pub(crate) struct Host {
    table: Vec<MemoryBucket>,
    counters: [u64; COUNTERS],
    time_ns: u64,
    tick: Tick,
    sample_shift: Shift,
    events: Vec<Event>,
}

impl Host {
    pub(crate) fn new(sample_shift: Shift) -> Self {
        Self {
            table: (0..BUCKETS).map(|_| MemoryBucket::default()).collect(),
            counters: [0; COUNTERS],
            time_ns: 0,
            tick: 0,
            sample_shift,
            events: Vec::new(),
        }
    }

    /// The buckets of the flow of a frame, and its entry there.
    pub(crate) fn places(frame: &[u8], link: Link) -> Option<([u32; 2], impl Fn(u64) -> bool)> {
        let Parsed::Segment(segment) = parse(&SliceFrame::new(frame, frame.len()), link, &KEYS)
        else {
            return None;
        };
        let fingerprint = segment.flow.fingerprint();
        let tag = (fingerprint >> 32) as u32;
        let is_its = move |head: u64| is_occupied(head) && (head >> 32) as u32 == tag;
        let own = bucket_index(fingerprint, BUCKETS - 1);
        Some(([own, other_index(own, tag, BUCKETS - 1)], is_its))
    }

    /// Looks at a frame; returns its event, if it makes one.
    pub(crate) fn observe(
        &mut self,
        frame: &[u8],
        link: Link,
        (time_ns, tick): (u64, Tick),
    ) -> Vec<Event> {
        (self.time_ns, self.tick) = (time_ns, tick);
        observe(&SliceFrame::new(frame, frame.len()), link, &KEYS, self);
        std::mem::take(&mut self.events)
    }

    /// Parses a frame that the kernel will not run: it leaves no trace.
    pub(crate) fn parse(&self, frame: &[u8], link: Link) {
        std::hint::black_box(parse(&SliceFrame::new(frame, frame.len()), link, &KEYS));
    }

    pub(crate) fn counters(&self) -> &[u64; COUNTERS] {
        &self.counters
    }

    /// After a disagreement: so that it is reported once.
    pub(crate) fn set_counters(&mut self, counters: [u64; COUNTERS]) {
        self.counters = counters;
    }

    pub(crate) fn table(&self) -> Vec<Words> {
        let words = |bucket: &MemoryBucket| {
            bucket.words().each_ref().map(|word| word.load(Ordering::Relaxed))
        };
        self.table.iter().map(words).collect()
    }
}

impl Sink<SliceFrame<'_>> for Host {
    type Memory<'a>
        = &'a [MemoryBucket]
    where
        Self: 'a;

    fn memory(&mut self, _: u64) -> &[MemoryBucket] {
        &self.table
    }

    fn tick(&self) -> Tick {
        self.tick
    }

    fn sample_shift(&self) -> Shift {
        self.sample_shift
    }

    fn watches(&self) -> bool {
        self.sample_shift == 0
    }

    fn count(&mut self, counter: Counter) {
        self.counters[counter as usize] += 1;
    }

    fn emit(&mut self, frame: &SliceFrame<'_>, what: What<'_>) {
        let mut event = Event { time_ns: self.time_ns, ..Event::ZERO };
        what.fill(&mut event, frame);
        self.events.push(event);
    }
}
