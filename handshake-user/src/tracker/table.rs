//! Bounded memory of the tracker: open attempts, remembered ones, deadlines, who is evicted.
//!
//! Open attempts and what is remembered of ended ones live in slabs; an index of slot numbers leads
//! from a key to the one or the other (four bytes an entry: the keys stay where they are). Hashing
//! is keyed, because senders choose the keys. Deadlines lie in a wheel of buckets, each entry checked lazily: an attempt
//! whose deadline has moved is put into its new bucket when the old one comes up.

use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::attempt::{Key, Nanos, SourceId};

use super::state::Open;

/// A bucket of deadlines spans 2^24 ns, about 17 ms.
const BUCKET_BITS: u32 = 24;

/// How much a search for what is due may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everything.
    All,
    /// At most so many attempts.
    Some(usize),
}

/// A slot and the generation of the attempt in it; stale once the attempt has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Handle {
    slot: u32,
    generation: u32,
}

/// What is remembered of an ended attempt for the linger time (section 3).
#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) id: u64,
    pub(super) client_isn: u32,
    pub(super) peer_isn: Option<u32>,
    pub(super) syn_payload: u32,
    pub(super) end: Nanos,
    pub(super) completed: bool,
    pub(super) owners: (Option<SourceId>, Option<SourceId>),
}

/// Numbered places that are used again.
#[derive(Debug)]
struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    fn get(&self, place: u32) -> Option<&T> {
        self.places.get(place as usize)?.as_ref()
    }

    fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(value);
                place
            }
            None => {
                self.places.push(Some(value));
                (self.places.len() - 1) as u32
            }
        }
    }

    fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(value)
    }
}

/// Where the index leads: a place among the open attempts, or among the remembered ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place(u32);

impl Place {
    const REMEMBERED: u32 = 1 << 31;

    /// The place among the open attempts, if it is one.
    fn open(self) -> Option<u32> {
        (self.0 & Self::REMEMBERED == 0).then_some(self.0)
    }

    /// The place among the remembered ones, if it is one.
    fn remembered(self) -> Option<u32> {
        (self.0 & Self::REMEMBERED != 0).then_some(self.0 & !Self::REMEMBERED)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    hasher: ahash::RandomState,
    index: HashTable<Place>,
    slots: Slab<Open>,
    memories: Slab<(Key, Remembered)>,
    next_generation: u32,
    open: usize,
    wheel: BTreeMap<Nanos, Vec<Handle>>,
    /// Handles in the wheel, stale ones among them.
    scheduled: usize,
    /// Bare SYNs, oldest first, with stale handles among them.
    one_sided: VecDeque<Handle>,
    /// Attempts with evidence from both sides, likewise.
    two_sided: VecDeque<Handle>,
    remembered: VecDeque<(Nanos, Key)>,
}

impl Table {
    /// Room in the index for `limit` open and as many remembered attempts is made at once, up to a
    /// quarter of a million of each: to hash all of them again while a flood fills it takes tens of milliseconds,
    /// in which nobody reads the rings.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            hasher: ahash::RandomState::new(),
            index: HashTable::with_capacity(2 * limit.min(1 << 18)),
            slots: Slab::new(),
            memories: Slab::new(),
            next_generation: 0,
            open: 0,
            wheel: BTreeMap::new(),
            scheduled: 0,
            one_sided: VecDeque::new(),
            two_sided: VecDeque::new(),
            remembered: VecDeque::new(),
        }
    }

    /// Open attempts.
    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Ended attempts still remembered (an upper bound: replaced ones count until they are due).
    pub(super) fn remembered(&self) -> usize {
        self.remembered.len()
    }

    pub(super) fn generation(&mut self) -> u32 {
        self.next_generation = self.next_generation.wrapping_add(1);
        self.next_generation
    }

    fn key_at(slots: &Slab<Open>, memories: &Slab<(Key, Remembered)>, place: Place) -> Option<Key> {
        match place.open() {
            Some(slot) => slots.get(slot).map(|open| open.key),
            None => memories.get(place.remembered()?).map(|(key, _)| *key),
        }
    }

    fn find(&self, key: &Key) -> Option<Place> {
        let is = |place: &Place| Self::key_at(&self.slots, &self.memories, *place) == Some(*key);
        self.index.find(self.hasher.hash_one(key), is).copied()
    }

    /// The index entry of a key.
    fn entry(&mut self, key: &Key) -> Entry<'_, Place> {
        let Self { hasher, index, slots, memories, .. } = self;
        let key_at = |place: Place| Self::key_at(slots, memories, place);
        index.entry(
            hasher.hash_one(key),
            |place| key_at(*place) == Some(*key),
            |place| key_at(*place).map_or(0, |key| hasher.hash_one(key)),
        )
    }

    /// Leads `key` to `place`; what was remembered under it is forgotten.
    fn lead(&mut self, key: &Key, place: Place) {
        let before = match self.entry(key) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), place)),
            Entry::Vacant(entry) => {
                entry.insert(place);
                None
            }
        };
        if let Some(memory) = before.and_then(Place::remembered) {
            self.memories.remove(memory);
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Open> {
        self.slots.get(self.find(key)?.open()?)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Open> {
        let slot = self.find(key)?.open()?;
        self.slots.get_mut(slot)
    }

    /// What is remembered of an ended attempt, if its linger time is not over at `now`.
    pub(super) fn recall(&self, key: &Key, now: Nanos, linger: Nanos) -> Option<&Remembered> {
        let (_, memory) = self.memories.get(self.find(key)?.remembered()?)?;
        (now <= memory.end.saturating_add(linger)).then_some(memory)
    }

    /// What is remembered of an ended attempt, for [`Table::recall`] has just found it.
    pub(super) fn recall_mut(&mut self, key: &Key) -> Option<&mut Remembered> {
        let place = self.find(key)?.remembered()?;
        self.memories.get_mut(place).map(|(_, memory)| memory)
    }

    /// Puts in a new attempt; its key must not be open.
    pub(super) fn insert(&mut self, open: Open, deadline: Nanos) {
        let (key, generation, two_sided) = (open.key, open.generation, open.is_two_sided());
        let slot = self.slots.insert(open);
        self.lead(&key, Place(slot));
        self.open += 1;
        let handle = Handle { slot, generation };
        self.enlist(handle, two_sided);
        self.schedule(handle, deadline);
    }

    fn enlist(&mut self, handle: Handle, two_sided: bool) {
        if two_sided {
            self.two_sided.push_back(handle);
        } else {
            self.one_sided.push_back(handle);
        }
        self.compact();
    }

    /// Drops stale handles once they outnumber the open attempts by far.
    fn compact(&mut self) {
        let limit = 2 * self.open + 1024;
        let slots = &self.slots;
        let live = |handle: &Handle, two_sided: bool| {
            slots.get(handle.slot).is_some_and(|open| {
                open.generation == handle.generation && open.is_two_sided() == two_sided
            })
        };
        if self.one_sided.len() > limit {
            self.one_sided.retain(|handle| live(handle, false));
        }
        if self.two_sided.len() > limit {
            self.two_sided.retain(|handle| live(handle, true));
        }
        if self.scheduled > limit {
            self.wheel.retain(|_, handles| {
                handles.retain(|handle| {
                    let open = slots.get(handle.slot);
                    open.is_some_and(|open| open.generation == handle.generation)
                });
                handles.shrink_to_fit();
                !handles.is_empty()
            });
            self.scheduled = self.wheel.values().map(Vec::len).sum();
        }
    }

    /// The attempt has seen evidence from its other side: it now outlives bare SYNs.
    pub(super) fn promote(&mut self, key: &Key) {
        if let Some(slot) = self.find(key).and_then(Place::open)
            && let Some(open) = self.slots.get(slot)
        {
            self.enlist(Handle { slot, generation: open.generation }, true);
        }
    }

    /// Takes out the open attempt of a key and forgets the key.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Open> {
        let slot = self.find(key)?.open()?;
        self.drop_entry(key);
        self.open -= 1;
        self.slots.remove(slot)
    }

    fn drop_entry(&mut self, key: &Key) {
        if let Entry::Occupied(entry) = self.entry(key) {
            entry.remove();
        }
    }

    /// Remembers an ended attempt; at most `limit` of them, the oldest forgotten first.
    pub(super) fn remember(&mut self, key: Key, memory: Remembered, limit: usize) {
        let place = self.memories.insert((key, memory));
        self.lead(&key, Place(place | Place::REMEMBERED));
        self.remembered.push_back((memory.end, key));
        while self.remembered.len() > limit {
            self.forget_oldest();
        }
    }

    /// Forgets what ended longer than `linger` before `now`. Entries lie in order of ending, so a
    /// late one may wait behind an earlier one; `recall` checks the time itself.
    pub(super) fn forget(&mut self, now: Nanos, linger: Nanos) {
        while self.remembered.front().is_some_and(|(end, _)| end.saturating_add(linger) < now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((end, key)) = self.remembered.pop_front() else { return };
        if let Some(place) = self.find(&key).and_then(Place::remembered)
            && self.memories.get(place).is_some_and(|(_, memory)| memory.end == end)
        {
            // First the entry: it is found by the key that lies in the slab.
            self.drop_entry(&key);
            self.memories.remove(place);
        }
    }

    fn schedule(&mut self, handle: Handle, deadline: Nanos) {
        self.wheel.entry(deadline >> BUCKET_BITS).or_default().push(handle);
        self.scheduled += 1;
    }

    /// The earliest time at which an attempt may be due (never later than the true one).
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        self.wheel.first_key_value().map(|(bucket, _)| bucket << BUCKET_BITS)
    }

    /// Has a whole bucket of deadlines passed?
    pub(super) fn has_passed(&self, now: Nanos) -> bool {
        let current = now >> BUCKET_BITS;
        self.wheel.first_key_value().is_some_and(|(bucket, _)| *bucket < current)
    }

    /// Keys of open attempts that are due before `now`: with `Reach::All` every one of them, with
    /// `Reach::Some` at most so many (and a bucket's rest stays for the next call), all from buckets
    /// that have passed completely.
    pub(super) fn due(&mut self, now: Nanos, timeout: Nanos, reach: Reach, due: &mut Vec<Key>) {
        let current = now >> BUCKET_BITS;
        let mut left = match reach {
            Reach::All => usize::MAX,
            Reach::Some(limit) => limit,
        };
        while left > 0
            && let Some(mut entry) = self.wheel.first_entry()
        {
            let bucket = *entry.key();
            if bucket > current || (bucket == current && reach != Reach::All) {
                break;
            }
            let keep = entry.get().len().saturating_sub(left);
            let handles = if keep == 0 { entry.remove() } else { entry.get_mut().split_off(keep) };
            left -= handles.len();
            self.scheduled -= handles.len();
            let mut waiting = Vec::new();
            for handle in handles {
                let Some(open) = self.slots.get(handle.slot) else { continue };
                if open.generation != handle.generation {
                    continue;
                }
                let deadline = open.deadline(timeout);
                if deadline < now {
                    due.push(open.key);
                } else if deadline >> BUCKET_BITS == bucket {
                    waiting.push(handle);
                } else {
                    self.schedule(handle, deadline);
                }
            }
            if !waiting.is_empty() {
                self.scheduled += waiting.len();
                self.wheel.entry(bucket).or_default().extend(waiting);
                break;
            }
        }
    }

    /// Whom to evict: the oldest bare SYN, else the oldest attempt.
    pub(super) fn victim(&mut self) -> Option<Key> {
        let slots = &self.slots;
        let oldest = |queue: &mut VecDeque<Handle>, two_sided: bool| {
            while let Some(handle) = queue.pop_front() {
                if let Some(open) = slots.get(handle.slot)
                    && open.generation == handle.generation
                    && open.is_two_sided() == two_sided
                {
                    return Some(open.key);
                }
            }
            None
        };
        oldest(&mut self.one_sided, false).or_else(|| oldest(&mut self.two_sided, true))
    }

    /// All open attempts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Open> {
        self.slots.places.iter().flatten()
    }

    /// Keys of all open attempts.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.iter().map(|open| open.key).collect()
    }
}

#[cfg(test)]
mod tests {
    use handshake_common::event::{Event, kind};
    use handshake_common::packet::tunnel::Layers;

    use super::*;
    use crate::attempt::Observation;

    const TIMEOUT: Nanos = 3_600_000_000_000;

    /// Begins an attempt from this port.
    fn begin(table: &mut Table, port: u16) -> Key {
        let event = Event { kind: kind::SYN, ip_version: 4, source_port: port, ..Event::ZERO };
        let seen = Observation { event, source: 0, frame: 0, layers: Layers::NONE };
        let open = Open::with_syn(1, table.generation(), &seen, false);
        let deadline = open.deadline(TIMEOUT);
        let key = open.key;
        table.insert(open, deadline);
        key
    }

    #[test]
    fn handles_of_ended_attempts_do_not_pile_up_until_their_deadline() {
        let mut table = Table::new(1);
        let kept = begin(&mut table, 0);
        for port in 1..50_000 {
            let key = begin(&mut table, port);
            assert!(table.remove(&key).is_some());
            let handles = table.wheel.values().map(Vec::len).sum::<usize>();
            assert_eq!(handles, table.scheduled);
            assert!(handles <= 1024 + 8, "{handles} handles after {port} attempts");
        }
        let mut due = Vec::new();
        table.due(TIMEOUT + 1, TIMEOUT, Reach::All, &mut due);
        assert_eq!((due.as_slice(), table.scheduled), ([kept].as_slice(), 0));
    }

    #[test]
    fn every_open_attempt_can_be_evicted() {
        let mut table = Table::new(1);
        for port in 1..50_000 {
            let key = begin(&mut table, port);
            // Whatever was thrown away as stale, the only open attempt was not.
            let handle = |table: &Table| table.one_sided.back().copied();
            assert!(handle(&table).is_some_and(|last| table.slots.get(last.slot).is_some()));
            if port % 4_000 == 0 {
                assert_eq!(table.victim(), Some(key), "after {port}");
            }
            assert!(table.remove(&key).is_some());
        }
    }
}
