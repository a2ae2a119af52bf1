//! The host's world: frames in memory, the table in a vector, as in `handshake_user`'s replay.

use handshake_common::abi::{COUNTERS, Counter};
use handshake_common::event::Event;
use handshake_common::filter::{Bucket, MemoryBucket, Tick, WAYS, bucket_index, is_occupied};
use handshake_common::observe::{Sink, What, observe};
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{Parsed, SliceFrame, parse};
use handshake_common::sample::Shift;

use crate::worlds::{BUCKETS, KEYS};

/// Heads and numbers of a bucket.
pub(crate) type Words = [u64; 2 * WAYS];

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
            table: vec![MemoryBucket::default(); BUCKETS as usize],
            counters: [0; COUNTERS],
            time_ns: 0,
            tick: 0,
            sample_shift,
            events: Vec::new(),
        }
    }

    /// The bucket of the flow of a frame, and its entry there.
    pub(crate) fn place(frame: &[u8], link: Link) -> Option<(u32, impl Fn(u64) -> bool)> {
        let Parsed::Segment(segment) = parse(&SliceFrame::new(frame, frame.len()), link, &KEYS)
        else {
            return None;
        };
        let fingerprint = segment.flow.fingerprint();
        let is_its = move |head: u64| is_occupied(head) && head >> 32 == fingerprint >> 32;
        Some((bucket_index(fingerprint, BUCKETS - 1), is_its))
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

    pub(crate) fn table(&mut self) -> Vec<Words> {
        let words = |bucket: &mut MemoryBucket| {
            let mut words = [0; 2 * WAYS];
            for (way, pair) in words.chunks_exact_mut(2).enumerate() {
                let (head, numbers) = Bucket::load(&bucket, way);
                pair.copy_from_slice(&[head, numbers]);
            }
            words
        };
        self.table.iter_mut().map(words).collect()
    }
}

impl Sink<SliceFrame<'_>> for Host {
    type Bucket<'a>
        = &'a mut MemoryBucket
    where
        Self: 'a;

    fn bucket(&mut self, fingerprint: u64) -> Option<&mut MemoryBucket> {
        self.table.get_mut(bucket_index(fingerprint, BUCKETS - 1) as usize)
    }

    fn tick(&self) -> Tick {
        self.tick
    }

    fn sample_shift(&self) -> Shift {
        self.sample_shift
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
