//! Who is due when: lists of attempts by deadline, in buckets of about 17 ms.
//!
//! An attempt lies in the bucket of the deadline that it had when it was put there; one whose
//! deadline has moved goes to its new bucket when the old one comes up. The first and last of a
//! bucket's list lead back to the bucket, so that any attempt can leave at once. Buckets exist
//! while there is somebody in them, whatever the times are.

use std::collections::BTreeMap;

use crate::attempt::Nanos;

use super::index::NONE;
use super::slab::{Link, Slab};

/// A bucket of deadlines spans 2^24 ns, about 17 ms.
const BUCKET_BITS: u32 = 24;
/// In a link: not a place but the bucket.
const TO_BUCKET: u32 = 1 << 31;
/// The list of a place that is ours.
pub(super) const DEADLINE: usize = 0;

/// The bucket of a time.
pub(super) fn tick(time: Nanos) -> Nanos {
    time >> BUCKET_BITS
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tick: Nanos,
    list: Link,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Deadlines {
    by_tick: BTreeMap<Nanos, u32>,
    buckets: Vec<Bucket>,
    free: Vec<u32>,
    /// The bucket that was used last: most attempts begin when others do.
    latest: u32,
    /// The earliest bucket.
    first: Option<Nanos>,
}

impl Deadlines {
    pub(super) const fn new() -> Self {
        Self {
            by_tick: BTreeMap::new(),
            buckets: Vec::new(),
            free: Vec::new(),
            latest: NONE,
            first: None,
        }
    }

    /// The earliest time at which somebody may be due (never later than the true one).
    pub(super) fn next(&self) -> Option<Nanos> {
        self.first.map(|tick| tick << BUCKET_BITS)
    }

    /// Has a whole bucket passed?
    pub(super) fn has_passed(&self, now: Nanos) -> bool {
        self.first.is_some_and(|first| first < tick(now))
    }

    /// The earliest bucket and its number.
    pub(super) fn first(&self) -> Option<(Nanos, u32)> {
        self.by_tick.first_key_value().map(|(tick, bucket)| (*tick, *bucket))
    }

    /// First place of a bucket.
    pub(super) fn start(&self, bucket: u32) -> Option<u32> {
        self.buckets.get(bucket as usize).and_then(|bucket| place(bucket.list.next))
    }

    /// The place after another of the same bucket.
    pub(super) fn after<T, const N: usize>(slab: &Slab<T, N>, of: u32) -> Option<u32> {
        place(slab.link(of, DEADLINE).next)
    }

    /// Puts a place, which is in no bucket, into that of its deadline.
    pub(super) fn insert<T, const N: usize>(
        &mut self,
        slab: &mut Slab<T, N>,
        place: u32,
        deadline: Nanos,
    ) {
        let bucket = self.bucket(tick(deadline));
        let last = self.buckets[bucket as usize].list.prev;
        if let Some(link) = slab.link_mut(place, DEADLINE) {
            *link = Link { prev: last, next: bucket | TO_BUCKET };
        }
        self.join(slab, last, place);
        self.buckets[bucket as usize].list.prev = place;
    }

    /// Takes a place out of its bucket, if it is in one.
    pub(super) fn remove<T, const N: usize>(&mut self, slab: &mut Slab<T, N>, place: u32) {
        let Some(link) = slab.link_mut(place, DEADLINE) else { return };
        let Link { prev, next } = std::mem::replace(link, Link::NONE);
        if prev == NONE {
            return;
        }
        self.join(slab, prev, next);
        if prev == next {
            self.drop_if_spare(prev & !TO_BUCKET);
        }
    }

    /// Makes two neighbours; either may be a bucket.
    fn join<T, const N: usize>(&mut self, slab: &mut Slab<T, N>, prev: u32, next: u32) {
        if prev & TO_BUCKET != 0 {
            self.buckets[(prev & !TO_BUCKET) as usize].list.next = next;
        } else if let Some(before) = slab.link_mut(prev, DEADLINE) {
            before.next = next;
        }
        if next & TO_BUCKET != 0 {
            self.buckets[(next & !TO_BUCKET) as usize].list.prev = prev;
        } else if let Some(after) = slab.link_mut(next, DEADLINE) {
            after.prev = prev;
        }
    }

    /// The bucket of a tick.
    fn bucket(&mut self, tick: Nanos) -> u32 {
        let before = self.latest;
        if self.buckets.get(before as usize).is_some_and(|latest| latest.tick == tick) {
            return before;
        }
        let found = self.by_tick.get(&tick).copied();
        self.latest = found.unwrap_or_else(|| self.make(tick));
        if before != NONE {
            self.drop_if_spare(before);
        }
        self.latest
    }

    fn make(&mut self, tick: Nanos) -> u32 {
        let bucket = self.free.pop().unwrap_or(self.buckets.len() as u32);
        let itself = bucket | TO_BUCKET;
        let empty = Bucket { tick, list: Link { prev: itself, next: itself } };
        match self.buckets.get_mut(bucket as usize) {
            Some(free) => *free = empty,
            None => self.buckets.push(empty),
        }
        self.by_tick.insert(tick, bucket);
        self.first = Some(self.first.map_or(tick, |first| first.min(tick)));
        bucket
    }

    /// Drops a bucket that is empty, unless it was used last.
    fn drop_if_spare(&mut self, bucket: u32) {
        let Bucket { tick, list } = self.buckets[bucket as usize];
        if bucket != self.latest && list.next == bucket | TO_BUCKET {
            self.drop(bucket, tick);
        }
    }

    fn drop(&mut self, bucket: u32, tick: Nanos) {
        if self.by_tick.remove(&tick).is_none() {
            return;
        }
        if self.latest == bucket {
            self.latest = NONE;
        }
        self.free.push(bucket);
        if self.first == Some(tick) {
            self.first = self.first().map(|(tick, _)| tick);
        }
    }

    /// Drops a bucket whose time has passed, if nobody is left in it.
    pub(super) fn drop_if_empty(&mut self, bucket: u32) {
        let Bucket { tick, list } = self.buckets[bucket as usize];
        if list.next == bucket | TO_BUCKET {
            self.drop(bucket, tick);
        }
    }

    /// Buckets that exist.
    #[cfg(test)]
    pub(super) fn buckets(&self) -> usize {
        self.by_tick.len()
    }
}

fn place(link: u32) -> Option<u32> {
    (link & TO_BUCKET == 0).then_some(link)
}
