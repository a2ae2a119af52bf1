//! From the hash of a flow to the places that it may be at: eight bytes an entry, open addressing.
//!
//! 256 shards grow one by one, so that no growth takes long; an entry keeps enough of its hash to
//! be moved without a look at the key. Keys are compared by the caller.

use crate::prefetch::prefetch;

/// No place. Also the mark of an empty entry, and the end of a list.
pub(super) const NONE: u32 = u32::MAX;

const SHARDS: usize = 256;
const FIRST_CAPACITY: usize = 8;

#[derive(Debug, Clone, Copy)]
struct Entry {
    tag: u32,
    place: u32,
}

const EMPTY: Entry = Entry { tag: 0, place: NONE };

/// A power of two of entries, at most three quarters of them full.
#[derive(Debug, Default)]
struct Shard {
    entries: Vec<Entry>,
    full: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Index {
    shards: Vec<Shard>,
}

fn shard_of(hash: u64) -> usize {
    (hash >> 56) as usize % SHARDS
}

impl Shard {
    fn mask(&self) -> usize {
        self.entries.len().wrapping_sub(1)
    }

    /// The entry of a place.
    fn position(&self, tag: u32, place: u32) -> Option<usize> {
        let mask = self.mask();
        let mut at = tag as usize & mask;
        loop {
            let entry = self.entries.get(at)?;
            if entry.place == place {
                return Some(at);
            }
            if entry.place == NONE {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, entry: Entry) {
        if (self.full + 1) * 4 > self.entries.len() * 3 {
            self.grow();
        }
        self.full += 1;
        self.put(entry);
    }

    fn put(&mut self, entry: Entry) {
        let mask = self.mask();
        let mut at = entry.tag as usize & mask;
        while self.entries[at].place != NONE {
            at = (at + 1) & mask;
        }
        self.entries[at] = entry;
    }

    fn grow(&mut self) {
        let capacity = (self.entries.len() * 2).max(FIRST_CAPACITY);
        let before = std::mem::replace(&mut self.entries, vec![EMPTY; capacity]);
        for entry in before.into_iter().filter(|entry| entry.place != NONE) {
            self.put(entry);
        }
    }

    /// Empties an entry and moves up those behind it, so that no search ends too early.
    fn vacate(&mut self, mut hole: usize) {
        self.full -= 1;
        let mask = self.mask();
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let entry = self.entries[at];
            if entry.place == NONE {
                break;
            }
            // May it lie in the hole: is its home not behind it?
            let from_home = at.wrapping_sub(entry.tag as usize) & mask;
            if from_home >= (at.wrapping_sub(hole) & mask) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = EMPTY;
    }
}

impl Index {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }

    /// Brings near where a search for this hash begins.
    pub(super) fn prefetch(&self, hash: u64) {
        let shard = &self.shards[shard_of(hash)];
        if let Some(entry) = shard.entries.get(hash as u32 as usize & shard.mask()) {
            prefetch(entry);
        }
    }

    /// The places under this hash (and now and then one under another).
    pub(super) fn places(&self, hash: u64) -> impl Iterator<Item = u32> {
        let (shard, tag) = (&self.shards[shard_of(hash)], hash as u32);
        let mask = shard.mask();
        let mut at = tag as usize & mask;
        std::iter::from_fn(move || {
            loop {
                let entry = shard.entries.get(at).filter(|entry| entry.place != NONE)?;
                at = (at + 1) & mask;
                if entry.tag == tag {
                    return Some(entry.place);
                }
            }
        })
    }

    /// Adds a place that is not there yet.
    pub(super) fn insert(&mut self, hash: u64, place: u32) {
        self.shards[shard_of(hash)].insert(Entry { tag: hash as u32, place });
    }

    /// Puts a place where another was.
    pub(super) fn replace(&mut self, hash: u64, before: u32, place: u32) {
        let shard = &mut self.shards[shard_of(hash)];
        if let Some(at) = shard.position(hash as u32, before) {
            shard.entries[at].place = place;
        }
    }

    /// Removes a place.
    pub(super) fn remove(&mut self, hash: u64, place: u32) {
        let shard = &mut self.shards[shard_of(hash)];
        if let Some(at) = shard.position(hash as u32, place) {
            shard.vacate(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Hashes that crowd into few homes, put in and taken out at random.
    #[test]
    fn what_was_put_in_is_found_until_it_is_taken_out() {
        let (mut index, mut model) = (Index::new(), HashMap::new());
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for step in 0..200_000_u32 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            // Two shards, 64 homes, four tags each.
            let hash = (random & 1) << 56 | (random >> 8 & 0xff);
            let place = (random >> 20 & 0x3ff) as u32;
            match model.get(&place).copied() {
                None => {
                    index.insert(hash, place);
                    model.insert(place, hash);
                }
                Some(hash) if step % 5 == 0 => {
                    index.replace(hash, place, place + 0x400);
                    index.replace(hash, place + 0x400, place);
                }
                Some(hash) => {
                    index.remove(hash, place);
                    model.remove(&place);
                }
            }
            if step % 1000 == 0 {
                for (place, hash) in &model {
                    assert_eq!(index.places(*hash).filter(|found| found == place).count(), 1);
                }
                let full: usize = index.shards.iter().map(|shard| shard.full).sum();
                assert_eq!(full, model.len());
            }
        }
        for (place, hash) in model {
            index.remove(hash, place);
        }
        let empty = |shard: &Shard| shard.entries.iter().all(|entry| entry.place == NONE);
        assert!(index.shards.iter().all(empty));
    }
}
