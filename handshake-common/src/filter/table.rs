//! Where entries lie: buckets of eight, and two buckets for each flow.
//!
//! A bucket is two cache lines: eight heads, then eight numbers. Most packets are of no pending flow;
//! for these one line is read, and of each head only the tag.
//!
//! A flow's own bucket is chosen by the low bits of its fingerprint, the other by its tag as well, so
//! that it can be told of every entry (partial-key hashing). A new flow goes into its own bucket while
//! that is not [`CROWDED`], then into the emptier of both; if both are full, an entry of its own
//! bucket moves to *its* other one; and only if that finds no place either, one is evicted
//! (docs/performance.md has the curve). That a bucket's entries lie elsewhere is marked in the head
//! of its first way ([`flag::SPILLED`]), so who finds nothing in a bucket without the mark is done
//! after one line. The mark stays until user space takes it away ([`super::sweep`]).
//!
//! **Two CPUs.** Every change of a head is a compare-and-swap, and what loses it gives way, counted
//! if that may hide anything. A mark is set before the entry that it tells of can be found elsewhere,
//! and readers look at the mark after the heads; entries only move away from their own bucket, never
//! back. So who looks for an entry that moves meanwhile finds it in one place or the other. For a
//! moment it is in both: who changes it there and then changes the one in its own bucket, because it
//! is looked for there first; then the move is undone. An entry's numbers follow its head, so an
//! entry that a second CPU moves or evicts in the few nanoseconds between may end up with other
//! numbers. By wrong numbers nothing is recognised: the entry then is not removed by evidence and
//! costs events until it is swept, evicted or spent, but hides none.

use super::Table;
use super::entry::{
    Tick, claim, flag, is_exhausted, is_occupied, is_over, is_two_sided, matches, of_bucket, tag,
    tick,
};

/// Entries of a bucket: eight heads are one cache line.
pub const WAYS: usize = 8;
/// Words of a bucket: the heads, then the numbers.
pub const WORDS: usize = 2 * WAYS;
/// Most buckets of a table: so many low bits of a fingerprint choose one. The bits between them and
/// the tag are left to [`crate::sample`].
pub const MAX_BUCKETS: u32 = 1 << 19;

/// A bucket with so many entries looks whether the other is emptier. Fewer would spread entries
/// better and mark more buckets: at half fill this marks a fifth of them, 4 would mark a half.
const CROWDED: u32 = 6;
const _: () = assert!((CROWDED as usize) < WAYS, "a crowded bucket has room left");
/// All places of a bucket, a bit each.
const FULL: u32 = (1 << WAYS) - 1;
/// The way whose head has the bucket's mark takes no guests.
const MARKED_WAY: u32 = 1;

/// Two cache lines of the table.
pub trait Bucket: Copy {
    /// The head of entry `way` (below [`WAYS`]).
    fn head(self, way: usize) -> u64;
    /// Its tag.
    #[inline(always)]
    fn tag(self, way: usize) -> u32 {
        tag(self.head(way))
    }
    /// The numbers of entry `way`.
    fn numbers(self, way: usize) -> u64;
    /// Replaces the head of entry `way` if it still is `expected`.
    fn swap_head(self, way: usize, expected: u64, head: u64) -> bool;
    /// Writes the numbers of entry `way`.
    fn set_numbers(self, way: usize, numbers: u64);
    /// The same way; see [`crate::packet::Frame::widen`].
    #[inline(always)]
    fn widen(self, way: usize) -> usize {
        way
    }
}

/// The table.
pub trait Memory: Copy {
    /// One of its buckets.
    type Bucket: Bucket;
    /// Its buckets, a power of two, minus 1.
    fn mask(self) -> u32;
    /// A bucket by its index; always there up to the mask, but the kernel's maps cannot promise it.
    fn bucket(self, index: u32) -> Option<Self::Bucket>;
    /// Remembers a new flow. A program has [`insert`] as a function that is verified once, by itself.
    #[inline(always)]
    fn insert(self, fingerprint: u64, head: u64, numbers: u64) -> Table {
        insert(self, fingerprint, head, numbers)
    }
}

/// The index of the own bucket of a fingerprint in a table of `mask + 1` buckets.
#[inline(always)]
#[must_use]
pub fn bucket_index(fingerprint: u64, mask: u32) -> u32 {
    fingerprint as u32 & mask
}

/// The index of the other bucket of an entry with this tag that is at home, or of its own one if it is a
/// guest.
#[inline(always)]
#[must_use]
pub fn other_index(index: u32, tag: u32, mask: u32) -> u32 {
    // The highest bits of a product are those that all bits of the tag had their part in; odd, so
    // that it is another bucket.
    const SPREAD: u32 = 0x9e37_79b1;
    let distance = tag.wrapping_mul(SPREAD) >> (u32::BITS - MAX_BUCKETS.trailing_zeros()) | 1;
    index ^ (distance & mask)
}

/// An entry as it was found.
#[derive(Clone, Copy)]
pub(super) struct Found<B> {
    pub(super) bucket: B,
    pub(super) way: usize,
    pub(super) head: u64,
}

impl<B: Bucket> Found<B> {
    #[inline(always)]
    pub(super) fn numbers(&self) -> u64 {
        self.bucket.numbers(self.way)
    }

    /// Replaces the head, unless another CPU did.
    #[inline(always)]
    pub(super) fn swap(&self, head: u64) -> bool {
        self.bucket.swap_head(self.way, self.head, head)
    }

    /// Frees the place, unless another CPU changed it.
    #[inline(always)]
    pub(super) fn remove(&self) -> bool {
        self.swap(of_bucket(self.way, self.head))
    }

    /// Changes head and numbers.
    #[inline(always)]
    pub(super) fn update(&self, head: u64, old_numbers: u64, numbers: u64) -> Table {
        if !self.swap(head) {
            return Table::Contended;
        }
        if numbers != old_numbers {
            self.bucket.set_numbers(self.way, numbers);
        }
        if is_exhausted(head) { Table::Exhausted } else { Table::Kept }
    }
}

/// Looks for a flow in its own bucket and, if that is marked, in the other.
#[inline(always)]
pub(super) fn find<M: Memory>(memory: M, fingerprint: u64) -> Option<Found<M::Bucket>> {
    let mask = memory.mask();
    let index = bucket_index(fingerprint, mask);
    let own = memory.bucket(index)?;
    if let Some(found) = find_in(own, fingerprint) {
        return Some(found);
    }
    if own.head(0) & flag::SPILLED == 0 {
        return None;
    }
    find_in(memory.bucket(other_index(index, tag(fingerprint), mask))?, fingerprint)
}

#[inline(always)]
fn find_in<B: Bucket>(bucket: B, fingerprint: u64) -> Option<Found<B>> {
    let mut way = 0;
    while way < WAYS {
        if bucket.tag(way) == tag(fingerprint) {
            let head = bucket.head(way);
            if matches(head, fingerprint) {
                return Some(Found { bucket, way: bucket.widen(way), head });
            }
        }
        way += 1;
    }
    None
}

/// The places that are taken, a bit each.
#[inline(always)]
pub(super) fn places<B: Bucket>(bucket: B) -> u32 {
    let mut places = 0;
    let mut way = 0;
    while way < WAYS {
        places |= (bucket.head(way) & flag::OCCUPIED) as u32 * (1 << way);
        way += 1;
    }
    places
}

/// How many places are taken, without a branch: each would double what the verifier has to follow.
#[inline(always)]
fn ones(places: u32) -> u32 {
    let pairs = places - (places >> 1 & 0x55);
    let fours = (pairs & 0x33) + (pairs >> 2 & 0x33);
    (fours + (fours >> 4)) & 0x0f
}

/// Are so many places of a bucket taken that it looks for others?
#[inline(always)]
pub(super) fn is_crowded(places: u32) -> bool {
    ones(places) >= CROWDED
}

/// The first free place of those that are not [`FULL`].
#[inline(always)]
fn first_free(places: u32) -> usize {
    ones(places & !(places + 1)) as usize
}

/// Is a flow remembered, or does it find a place without anything being moved?
pub fn has_place<M: Memory>(memory: M, fingerprint: u64) -> bool {
    let mask = memory.mask();
    let index = bucket_index(fingerprint, mask);
    let is_full = |index, taken| memory.bucket(index).is_none_or(|b| places(b) | taken == FULL);
    !is_full(index, 0)
        || !is_full(other_index(index, tag(fingerprint), mask), MARKED_WAY)
        || find(memory, fingerprint).is_some()
}

/// Remembers a new flow: see the module for the order in which places are looked for. Of its own bucket
/// go first entries that are over, then the oldest one-sided, then the oldest.
#[inline(always)]
pub fn insert<M: Memory>(memory: M, fingerprint: u64, head: u64, numbers: u64) -> Table {
    let mask = memory.mask();
    let index = bucket_index(fingerprint, mask);
    let Some(own) = memory.bucket(index) else { return Table::Contended };
    let here = places(own);
    let (mut bucket, mut taken, mut guest) = (own, here, 0);
    if is_crowded(here) {
        let other = other_index(index, tag(fingerprint), mask);
        let Some(other) = memory.bucket(other) else { return Table::Contended };
        let there = places(other) | MARKED_WAY;
        if ones(there) < ones(here) {
            if !mark_spilled(own) {
                return Table::Contended;
            }
            (bucket, taken, guest) = (other, there, flag::GUEST);
        }
    }
    if taken == FULL {
        return replace(memory, index, own, head, numbers);
    }
    let way = bucket.widen(first_free(taken));
    let old = bucket.head(way);
    if is_occupied(old) || !bucket.swap_head(way, old, head | guest | of_bucket(way, old)) {
        return Table::Contended;
    }
    bucket.set_numbers(way, numbers);
    // Again, should user space have taken the mark away before the entry was there.
    if guest == 0 || mark_spilled(own) { Table::New } else { Table::Contended }
}

/// Marks that entries of a bucket lie in their other one. False if two CPUs met, twice.
#[inline(always)]
pub(super) fn mark_spilled<B: Bucket>(bucket: B) -> bool {
    let head = bucket.head(0);
    if head & flag::SPILLED != 0 || bucket.swap_head(0, head, head | flag::SPILLED) {
        return true;
    }
    let head = bucket.head(0);
    head & flag::SPILLED != 0 || bucket.swap_head(0, head, head | flag::SPILLED)
}

/// Remembers a new flow in its own bucket, which is full, as is its other.
#[inline(always)]
fn replace<M: Memory>(memory: M, index: u32, own: M::Bucket, head: u64, numbers: u64) -> Table {
    let (way, old, rank) = victim(own, tick(head));
    let way = own.widen(way);
    if rank < rank::OVER
        && let Some(step) = movable(memory, index, own, candidates(rank))
    {
        return if relocate(own, &step, head, numbers) { Table::New } else { Table::Contended };
    }
    if !own.swap_head(way, old, head | of_bucket(way, old)) {
        return Table::Contended;
    }
    own.set_numbers(way, numbers);
    if rank >= rank::OVER {
        Table::New
    } else if rank >= rank::ONE_SIDED {
        Table::EvictedOneSided
    } else {
        Table::EvictedTwoSided
    }
}

/// Who goes first has the highest rank; within one the age decides.
mod rank {
    pub(super) const FREE: u32 = 0x3_0000;
    pub(super) const OVER: u32 = 0x2_0000;
    pub(super) const ONE_SIDED: u32 = 0x1_0000;
}

/// Way, head and rank of the entry that can be missed most.
#[inline(always)]
fn victim<B: Bucket>(bucket: B, now: Tick) -> (usize, u64, u32) {
    let mut victim = (0, 0, 0);
    let mut way = 0;
    while way < WAYS {
        let old = bucket.head(way);
        let age = u32::from(now.wrapping_sub(tick(old)));
        let rank = if !is_occupied(old) {
            rank::FREE
        } else if is_over(old) {
            age | rank::OVER
        } else if is_two_sided(old) {
            age
        } else {
            age | rank::ONE_SIDED
        };
        if way == 0 || rank > victim.2 {
            victim = (way, old, rank);
        }
        way += 1;
    }
    victim
}

/// An entry that can move to a free place.
struct Step<B> {
    way: usize,
    head: u64,
    to: B,
    to_way: usize,
}

/// How many of the entries are asked to move. Where the oldest of them is a few milliseconds old, the
/// whole table is: in such a flood none will have room, and asking all costs 100 ns a SYN.
#[inline(always)]
fn candidates(rank: u32) -> usize {
    const YOUNG: u32 = 8;
    if rank & u32::from(Tick::MAX) < YOUNG { 2 } else { WAYS }
}

/// The first of so many entries of a bucket that is at home there and whose other bucket has room.
#[inline(always)]
fn movable<M: Memory>(
    memory: M,
    index: u32,
    own: M::Bucket,
    candidates: usize,
) -> Option<Step<M::Bucket>> {
    let mask = memory.mask();
    let mut way = 0;
    while way < WAYS && way < candidates {
        let head = own.head(way);
        if way == 0 || head & flag::GUEST == 0 {
            let to = memory.bucket(other_index(index, tag(head), mask))?;
            let taken = places(to) | MARKED_WAY;
            if taken != FULL {
                let to_way = to.widen(first_free(taken));
                return Some(Step { way: own.widen(way), head, to, to_way });
            }
        }
        way += 1;
    }
    None
}

/// Moves an entry to its other bucket and puts a new one into its place. False if two CPUs met; then
/// nothing is remembered, and the entry is where it was.
#[inline(always)]
fn relocate<B: Bucket>(own: B, step: &Step<B>, head: u64, numbers: u64) -> bool {
    let &Step { way, head: old, to, to_way } = step;
    if !mark_spilled(own) {
        return false;
    }
    let old = if way == 0 { old | flag::SPILLED } else { old };
    let claim = claim(head, old);
    if !to.swap_head(to_way, 0, claim) {
        return false;
    }
    to.set_numbers(to_way, own.numbers(way));
    let moved = old | flag::GUEST;
    if !to.swap_head(to_way, claim, moved) {
        return false;
    }
    if !own.swap_head(way, old, head | of_bucket(way, old)) {
        // If this fails, the entry was changed here, and lives on here.
        to.swap_head(to_way, moved, 0);
        return false;
    }
    own.set_numbers(way, numbers);
    mark_spilled(own)
}

#[cfg(test)]
mod fill;
#[cfg(test)]
pub(super) mod tests;
