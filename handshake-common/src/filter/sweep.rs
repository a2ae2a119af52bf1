//! What user space does in a table that the kernel uses at the same time: look, and tidy up.
//!
//! The programs remove an entry only when a segment ends its attempt. What user space has given up it
//! removes itself ([`retire`]); what it never heard of, because the event was lost or is of no
//! interest to it, expires ([`expire`]); and marks that tell of nothing any more it takes away
//! ([`unmark`]). So after a burst the table is as it was before.

use super::entry::{flag, is_occupied, is_over, of_bucket, split, tag, without_budget};
use super::table::{Bucket, Found, Memory, WAYS, find, mark_spilled, other_index};

/// Tries to change what another CPU changes at the same moment.
const TRIES: usize = 8;

/// Entries of attempts that are pending.
pub fn entries<M: Memory>(memory: M) -> u64 {
    let pending = |head| u64::from(is_occupied(head) && !is_over(head));
    buckets(memory)
        .map(|(_, bucket)| (0..WAYS).map(|way| pending(bucket.head(way))).sum::<u64>())
        .sum()
}

/// Buckets of which entries lie elsewhere, or did: a miss there costs a look at two.
pub fn marks<M: Memory>(memory: M) -> u64 {
    buckets(memory).filter(|(_, bucket)| is_marked(*bucket)).count() as u64
}

/// The next sequence numbers of client and server in a flow's entry (0 where there is none yet); none
/// if no attempt of the flow is pending.
pub fn numbers<M: Memory>(memory: M, fingerprint: u64) -> Option<(u32, u32)> {
    let found = find(memory, fingerprint).filter(|found| !is_over(found.head));
    found.map(|found| split(found.numbers()))
}

/// Removes the entry of a flow, if its [`numbers`] say that it is of the attempt that is meant and not
/// of one that began since. True if it was there and is no more.
pub fn retire<M: Memory>(
    memory: M,
    fingerprint: u64,
    is_meant: impl Fn((u32, u32)) -> bool,
) -> bool {
    let mut is_removed = false;
    // Again, should it have been changed or moved meanwhile.
    for _ in 0..TRIES {
        match find(memory, fingerprint) {
            Some(found) if is_meant(split(found.numbers())) => is_removed |= found.remove(),
            _ => break,
        }
    }
    is_removed
}

/// Removes entries of which no SYN or SYN-ACK was seen since the last time, and returns how many.
/// `seen` is what was found then; it grows to a word for each place.
pub fn expire<M: Memory>(memory: M, seen: &mut [u64]) -> u64 {
    let mut removed = 0;
    let mut seen = seen.iter_mut();
    for (_, bucket) in buckets(memory) {
        for (way, seen) in (0..WAYS).zip(&mut seen) {
            let head = bucket.head(way);
            let is_old = is_occupied(head) && *seen == without_budget(head);
            removed += u64::from(is_old && Found { bucket, way, head }.remove());
            *seen = if is_occupied(head) { without_budget(head) } else { 0 };
        }
    }
    removed
}

/// Takes the marks away from buckets no entry of which lies in its other one; how many. `needed` has a
/// bit for each bucket, and is cleared first.
pub fn unmark<M: Memory>(memory: M, needed: &mut [u64]) -> u64 {
    needed.fill(0);
    let word = |index: u32| (index as usize / 64, 1_u64 << (index % 64));
    for index in homes_of_guests(memory) {
        let (at, bit) = word(index);
        if let Some(needed) = needed.get_mut(at) {
            *needed |= bit;
        }
    }
    let is_needed = |index: u32| {
        let (at, bit) = word(index);
        needed.get(at).is_none_or(|needed| needed & bit != 0)
    };
    let mut removed = 0;
    for (index, bucket) in buckets(memory) {
        let head = bucket.head(0);
        if is_marked(bucket) && !is_needed(index) {
            removed += u64::from(bucket.swap_head(0, head, head & !flag::SPILLED));
        }
    }
    // An entry that became a guest meanwhile either renewed the mark itself, or is seen here.
    for index in homes_of_guests(memory) {
        if let Some(bucket) = memory.bucket(index) {
            mark_spilled(bucket);
        }
    }
    removed
}

fn buckets<M: Memory>(memory: M) -> impl Iterator<Item = (u32, M::Bucket)> {
    (0..=memory.mask()).filter_map(move |index| Some((index, memory.bucket(index)?)))
}

fn is_marked<B: Bucket>(bucket: B) -> bool {
    of_bucket(0, bucket.head(0)) != 0
}

/// The own bucket of each entry that lies in its other one.
fn homes_of_guests<M: Memory>(memory: M) -> impl Iterator<Item = u32> {
    buckets(memory).flat_map(move |(index, bucket)| {
        (1..WAYS).filter_map(move |way| {
            let head = bucket.head(way);
            let is_guest = is_occupied(head) && head & flag::GUEST != 0;
            is_guest.then(|| other_index(index, tag(head), memory.mask()))
        })
    })
}

#[cfg(test)]
mod tests;
