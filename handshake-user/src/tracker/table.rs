//! Bounded memory of the tracker: open attempts, remembered ones, deadlines, who is evicted.
//!
//! Open attempts and what is remembered of ended ones live in slabs; an index leads from a flow,
//! whoever opened it, to their places. All lists run through the places themselves, so whoever ends
//! leaves nothing behind.

use handshake_common::sample::Shift;

use crate::attempt::{Nanos, SourceId};

use super::deadlines::{Deadlines, tick};
use super::index::{Index, NONE};
use super::key::PackedKey;
use super::slab::{List, Slab};
use super::state::{More, Open};

/// Of the lists of open attempts, that of their age; [`super::deadlines::DEADLINE`] is the other.
const AGE: usize = 1;

/// Ended attempts that one call of [`Table::forget`] forgets at most.
const FORGET_AT_ONCE: usize = 1024;

/// How much a search for what is due may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Everything.
    All,
    /// At most so many attempts.
    Some(usize),
}

/// Which hook saw a direction first, if any did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner(SourceId);

impl Owner {
    pub(super) const NOBODY: Self = Self(SourceId::MAX);

    pub(super) fn new(source: SourceId) -> Self {
        Self(source)
    }

    pub(super) fn source(self) -> Option<SourceId> {
        (self != Self::NOBODY).then_some(self.0)
    }

    /// Is this the first sight of a segment, or a copy at another interface or hook? The first one
    /// to see a direction owns it.
    pub(super) fn owns(&mut self, source: SourceId) -> bool {
        if *self == Self::NOBODY {
            self.0 = source;
        }
        self.0 == source
    }
}

/// What is remembered of an ended attempt for the linger time (section 3).
#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) id: u64,
    pub(super) end: Nanos,
    pub(super) key: PackedKey,
    pub(super) client_isn: u32,
    /// In a simultaneous open.
    pub(super) peer_isn: Option<u32>,
    pub(super) syn_payload: u32,
    pub(super) client_owner: Owner,
    pub(super) server_owner: Owner,
    pub(super) completed: bool,
    /// It had to give way to another, or was followed to its end?
    pub(super) evicted: bool,
    /// It stood for 2^this attempts.
    pub(super) shift: Shift,
}

/// Where the index leads: a place among the open attempts, or among the remembered ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere.
    Nothing,
    /// An open attempt.
    Open(u32),
    /// A remembered one.
    Remembered(u32),
}

/// In the index: a place among the remembered ones.
const REMEMBERED: u32 = 1 << 31;

impl Place {
    fn of(number: u32) -> Self {
        if number & REMEMBERED == 0 {
            Self::Open(number)
        } else {
            Self::Remembered(number & !REMEMBERED)
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Nothing => NONE,
            Self::Open(place) => place,
            Self::Remembered(place) => place | REMEMBERED,
        }
    }
}

/// What there is on a flow: attempts that the one end opened, and the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Of the flow.
    pub(super) hash: u64,
    /// Under the key asked for.
    pub(super) ours: Place,
    /// Under its reverse.
    pub(super) reverse: Place,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    keyed: ahash::RandomState,
    index: Index,
    open: Slab<Open, 2>,
    deadlines: Deadlines,
    /// Bare SYNs, oldest first.
    one_sided: List<AGE>,
    /// Attempts with evidence from both sides, likewise.
    two_sided: List<AGE>,
    memories: Slab<Remembered, 1>,
    /// Those that were followed to their ends, in the order in which they ended.
    remembered: List<0>,
    /// Those that were evicted, likewise: a flood of them must not drive out the others.
    evicted: List<0>,
    /// How many of the memories are of evicted ones.
    evicted_len: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            keyed: ahash::RandomState::new(),
            index: Index::new(),
            open: Slab::new(),
            deadlines: Deadlines::new(),
            one_sided: List::new(),
            two_sided: List::new(),
            memories: Slab::new(),
            remembered: List::new(),
            evicted: List::new(),
            evicted_len: 0,
        }
    }

    /// Open attempts.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Ended attempts still remembered.
    pub(super) fn remembered(&self) -> usize {
        self.memories.len()
    }

    /// Of those remembered, the evicted ones.
    #[cfg(test)]
    pub(super) fn evicted(&self) -> usize {
        self.evicted_len
    }

    fn key_at(&self, place: Place) -> Option<&PackedKey> {
        match place {
            Place::Nothing => None,
            Place::Open(place) => self.open.get(place).map(|open| &open.key),
            Place::Remembered(place) => self.memories.get(place).map(|memory| &memory.key),
        }
    }

    /// The hash of a flow, for [`Table::find`].
    pub(super) fn hash(&self, key: &PackedKey) -> u64 {
        key.hash(&self.keyed)
    }

    /// Brings near what [`Table::find`] will read for these hashes, all at once.
    pub(super) fn warm(&self, hashes: &[u64]) {
        for hash in hashes {
            self.index.prefetch(*hash);
        }
        for hash in hashes {
            for number in self.index.places(*hash) {
                match Place::of(number) {
                    Place::Open(place) => self.open.prefetch(place),
                    Place::Remembered(place) => self.memories.prefetch(place),
                    Place::Nothing => {}
                }
            }
        }
    }

    /// What there is under a key, whose hash this is, and under its reverse.
    pub(super) fn find(&self, key: &PackedKey, hash: u64) -> Found {
        let mut found = Found { hash, ours: Place::Nothing, reverse: Place::Nothing };
        for number in self.index.places(hash) {
            let place = Place::of(number);
            let Some(other) = self.key_at(place) else { continue };
            if other == key {
                found.ours = place;
            }
            if other.is_reverse_of(key) {
                found.reverse = place;
            }
        }
        found
    }

    pub(super) fn get(&self, place: u32) -> Option<&Open> {
        self.open.get(place)
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut Open> {
        self.open.get_mut(place)
    }

    pub(super) fn memory(&self, place: u32) -> Option<&Remembered> {
        self.memories.get(place)
    }

    pub(super) fn memory_mut(&mut self, place: u32) -> Option<&mut Remembered> {
        self.memories.get_mut(place)
    }

    /// Puts in a new attempt; its key must not be open. What was remembered under it is forgotten.
    pub(super) fn insert(&mut self, open: Open, found: Found, timeout: Nanos) {
        let (deadline, two_sided) = (open.deadline(timeout), open.is_two_sided());
        let place = self.open.insert(open);
        self.lead(found.hash, found.ours, Place::Open(place));
        let age = if two_sided { &mut self.two_sided } else { &mut self.one_sided };
        age.push_back(&mut self.open, place);
        self.deadlines.insert(&mut self.open, place, deadline);
    }

    /// Leads a key of this hash, which led elsewhere, to a place.
    fn lead(&mut self, hash: u64, before: Place, place: Place) {
        match (before, place) {
            (Place::Nothing, _) => self.index.insert(hash, place.number()),
            (_, Place::Nothing) => self.index.remove(hash, before.number()),
            _ => self.index.replace(hash, before.number(), place.number()),
        }
        if let Place::Remembered(memory) = before {
            let evicted = self.memories.get(memory).is_some_and(|memory| memory.evicted);
            self.evicted_len -= usize::from(evicted);
            let list = if evicted { &mut self.evicted } else { &mut self.remembered };
            list.remove(&mut self.memories, memory);
            self.memories.remove(memory);
        }
    }

    fn remember(&mut self, memory: Remembered) -> Place {
        let evicted = memory.evicted;
        let place = self.memories.insert(memory);
        self.evicted_len += usize::from(evicted);
        let list = if evicted { &mut self.evicted } else { &mut self.remembered };
        list.push_back(&mut self.memories, place);
        Place::Remembered(place)
    }

    /// The attempt has seen evidence from its other side: it now outlives bare SYNs.
    pub(super) fn promote(&mut self, place: u32) {
        self.one_sided.remove(&mut self.open, place);
        self.two_sided.push_back(&mut self.open, place);
    }

    /// Takes out an open attempt; remembers it if `memory` says what. At most `limit` are
    /// remembered, the oldest forgotten first; of those evicted at most half as many if there are
    /// others.
    pub(super) fn remove(
        &mut self,
        place: u32,
        limit: usize,
        memory: impl FnOnce(&Open) -> Option<Remembered>,
    ) -> Option<Open> {
        let open = self.open.get(place)?;
        let (hash, two_sided) = (self.hash(&open.key), open.is_two_sided());
        let memory = memory(open);
        let remembered = memory.map_or(Place::Nothing, |memory| self.remember(memory));
        self.lead(hash, Place::Open(place), remembered);
        let age = if two_sided { &mut self.two_sided } else { &mut self.one_sided };
        age.remove(&mut self.open, place);
        self.deadlines.remove(&mut self.open, place);
        while self.memories.len() > limit
            && self.forget_first(self.evicted_len > limit / 2 || self.remembered.first().is_none())
        {
        }
        self.open.remove(place)
    }

    /// Forgets some of what ended longer than `linger` before `now`. They lie in order of ending,
    /// so a late one may wait behind an earlier one; whoever recalls it looks at the time.
    pub(super) fn forget(&mut self, now: Nanos, linger: Nanos) {
        let is_over = |memory: &Remembered| memory.end.saturating_add(linger) < now;
        for evicted in [false, true] {
            for _ in 0..FORGET_AT_ONCE {
                let oldest = self.first(evicted).and_then(|place| self.memories.get(place));
                if !oldest.is_some_and(is_over) || !self.forget_first(evicted) {
                    break;
                }
            }
        }
    }

    fn first(&self, evicted: bool) -> Option<u32> {
        if evicted { self.evicted.first() } else { self.remembered.first() }
    }

    fn forget_first(&mut self, evicted: bool) -> bool {
        let Some(place) = self.first(evicted) else { return false };
        let Some(memory) = self.memories.get(place) else { return false };
        self.lead(self.hash(&memory.key), Place::Remembered(place), Place::Nothing);
        true
    }

    /// The earliest time at which an attempt may be due (never later than the true one).
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        self.deadlines.next()
    }

    /// Has a whole bucket of deadlines passed?
    pub(super) fn has_passed(&self, now: Nanos) -> bool {
        self.deadlines.has_passed(now)
    }

    /// Places of open attempts that are due before `now`: with `Reach::All` every one of them, with
    /// `Reach::Some` at most so many (and a bucket's rest stays for the next call), all from
    /// buckets that have passed completely. They have left their buckets.
    pub(super) fn due(&mut self, now: Nanos, timeout: Nanos, reach: Reach, due: &mut Vec<u32>) {
        let current = tick(now);
        let mut left = match reach {
            Reach::All => usize::MAX,
            Reach::Some(limit) => limit,
        };
        while left > 0
            && let Some((bucket_tick, bucket)) = self.deadlines.first()
            && (bucket_tick < current || (bucket_tick == current && reach == Reach::All))
        {
            let mut next = self.deadlines.start(bucket);
            while left > 0
                && let Some(place) = next
            {
                left -= 1;
                next = Deadlines::after(&self.open, place);
                let Some(deadline) = self.open.get(place).map(|open| open.deadline(timeout)) else {
                    continue;
                };
                if deadline < now {
                    self.deadlines.remove(&mut self.open, place);
                    due.push(place);
                } else if tick(deadline) != bucket_tick {
                    self.deadlines.remove(&mut self.open, place);
                    self.deadlines.insert(&mut self.open, place, deadline);
                }
            }
            self.deadlines.drop_if_empty(bucket);
            if bucket_tick == current {
                break;
            }
        }
    }

    /// Whom to evict: the oldest bare SYN, else the oldest attempt.
    pub(super) fn victim(&self) -> Option<u32> {
        self.one_sided.first().or_else(|| self.two_sided.first())
    }

    /// All open attempts and their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Open)> {
        self.open.iter()
    }
}

const _: () = assert!(Slab::<Open, 2>::BYTES == 128, "two cache lines");
const _: () = assert!(Slab::<Remembered, 1>::BYTES == 96);
const _: () = assert!(size_of::<More>() <= 256);

#[cfg(test)]
mod tests {
    use handshake_common::event::{Event, kind};
    use handshake_common::packet::tunnel::Layers;

    use super::*;
    use crate::attempt::Observation;

    const TIMEOUT: Nanos = 3_600_000_000_000;

    /// Begins an attempt from this port at this time; where it lies.
    fn begin(table: &mut Table, port: u16, time: Nanos) -> u32 {
        let event = Event {
            time_ns: time.cast_unsigned(),
            kind: kind::SYN,
            ip_version: 4,
            source_port: port,
            ..Event::ZERO
        };
        let seen = Observation { event, source: 0, frame: 0, layers: Layers::NONE };
        let key = PackedKey::from_client(&event);
        let found = table.find(&key, table.hash(&key));
        assert_eq!(found.ours, Place::Nothing);
        table.insert(Open::with_syn(1, key, &seen, false), found, TIMEOUT);
        let Place::Open(place) = table.find(&key, found.hash).ours else { panic!("not open") };
        place
    }

    fn end(table: &mut Table, place: u32) {
        assert!(table.remove(place, 0, |_| None).is_some());
    }

    #[test]
    fn whoever_ends_leaves_no_bucket_behind() {
        let mut table = Table::new();
        let kept = begin(&mut table, 0, 0);
        for port in 1..50_000 {
            let place = begin(&mut table, port, Nanos::from(port) << 25);
            end(&mut table, place);
            // Its own is kept until another is used.
            assert!(table.deadlines.buckets() <= 2, "after {port} attempts");
        }
        let mut due = Vec::new();
        table.due(TIMEOUT + 1, TIMEOUT, Reach::All, &mut due);
        assert_eq!((due.as_slice(), table.open()), ([kept].as_slice(), 1));
    }

    #[test]
    fn whoever_is_due_comes_up_once_and_in_order() {
        let mut table = Table::new();
        let second = 1_000_000_000;
        let places: Vec<u32> = (0..5000)
            .map(|port| begin(&mut table, port, Nanos::from(port) * second / 100))
            .collect();
        let mut due = Vec::new();
        let mut calls = 0;
        while table.has_passed(TIMEOUT + 40 * second) {
            table.due(TIMEOUT + 40 * second, TIMEOUT, Reach::Some(100), &mut due);
            calls += 1;
            assert!(due.len() <= 100 * calls);
        }
        // A bucket is up to 17 ms, nearly two of them.
        assert!((3998..=4000).contains(&due.len()), "{} of 4000 are due", due.len());
        assert_eq!(due, places[..due.len()]);
        for place in due {
            end(&mut table, place);
        }
        assert!((1000..=1002).contains(&table.open()));
    }

    #[test]
    fn every_open_attempt_can_be_evicted() {
        let mut table = Table::new();
        for port in 1..50_000 {
            let place = begin(&mut table, port, 0);
            assert_eq!(table.victim(), Some(place), "after {port}");
            end(&mut table, place);
        }
        assert_eq!(table.victim(), None);
    }
}
