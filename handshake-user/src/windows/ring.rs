//! Slots of time, the newest last; only those in which something happened.
//!
//! In a slot every number that is not 0 takes a word: ten bits say which, the others how often. One that
//! would overflow goes on in another word, so that counts stay exact.

use std::collections::VecDeque;

use super::SECOND;
use super::sum::Sum;
use crate::attempt::Nanos;

/// Bits of a word that count.
const COUNT_BITS: u32 = 22;
const MOST: u32 = (1 << COUNT_BITS) - 1;
/// Bytes of a slot besides its words, and of what the allocator needs for it.
const OVERHEAD: usize = size_of::<Slot>() + 16;

#[derive(Debug, Clone, Default)]
struct Slot {
    number: i64,
    /// In order of what they count.
    words: Vec<u32>,
}

impl Slot {
    /// Returns the bytes that this took.
    fn add(&mut self, which: u16, times: u64) -> usize {
        let capacity = self.words.capacity();
        let mut left = times;
        while left > 0 {
            let after = self.words.partition_point(|word| word >> COUNT_BITS <= u32::from(which));
            let last = after.checked_sub(1).map(|at| &mut self.words[at]);
            let free = match &last {
                Some(word) if **word >> COUNT_BITS == u32::from(which) => MOST - (**word & MOST),
                _ => 0,
            };
            let more = left.min(u64::from(if free > 0 { free } else { MOST })) as u32;
            match last {
                Some(word) if free > 0 => *word += more,
                _ => {
                    if self.words.len() == self.words.capacity() {
                        self.words.reserve_exact((self.words.len() / 4).max(4));
                    }
                    self.words.insert(after, u32::from(which) << COUNT_BITS | more);
                }
            }
            left -= u64::from(more);
        }
        (self.words.capacity() - capacity) * size_of::<u32>()
    }

    fn add_to(&self, sum: &mut Sum) {
        for word in &self.words {
            sum.add((word >> COUNT_BITS) as u16, u64::from(word & MOST));
        }
    }

    fn bytes(&self) -> usize {
        OVERHEAD + self.words.capacity() * size_of::<u32>()
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    step: Nanos,
    /// Slots besides the present one.
    keep: i64,
    slots: VecDeque<Slot>,
}

impl Ring {
    /// Of the last ten seconds.
    pub(super) fn seconds() -> Self {
        Self { step: SECOND, keep: 10, slots: VecDeque::new() }
    }

    /// Of the last 15 minutes.
    pub(super) fn tens() -> Self {
        Self { step: 10 * SECOND, keep: 90, slots: VecDeque::new() }
    }

    /// The slot of this moment.
    pub(super) fn number(&self, at: Nanos) -> i64 {
        at.div_euclid(self.step)
    }

    /// When a slot begins.
    pub(super) fn begin(&self, number: i64) -> Nanos {
        number.saturating_mul(self.step)
    }

    /// Something happened so often; returns by how many bytes this has grown.
    pub(super) fn add(&mut self, at: Nanos, changes: &[(u16, u64)]) -> isize {
        let number = self.number(at);
        let newest = self.slots.back().map_or(number, |slot| slot.number);
        if number < newest - self.keep {
            return 0;
        }
        let mut grown = self.drop_before(number - self.keep);
        let place = self.slots.partition_point(|slot| slot.number < number);
        if self.slots.get(place).is_none_or(|slot| slot.number != number) {
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(8);
            }
            self.slots.insert(place, Slot { number, words: Vec::new() });
            grown += OVERHEAD as isize;
        }
        let slot = &mut self.slots[place];
        for (which, times) in changes {
            grown += slot.add(*which, *times) as isize;
        }
        grown
    }

    /// Adds what another has; returns the growth in bytes.
    pub(super) fn absorb(&mut self, other: &Self) -> isize {
        let mut grown = 0;
        for slot in &other.slots {
            let words = slot.words.iter();
            let changes: Vec<_> =
                words.map(|word| ((word >> COUNT_BITS) as u16, u64::from(word & MOST))).collect();
            grown += self.add(self.begin(slot.number), &changes);
        }
        grown
    }

    /// Forgets what is older than the ring at this moment; returns the growth in bytes, never above 0.
    pub(super) fn advance(&mut self, now: Nanos) -> isize {
        self.drop_before(self.number(now) - self.keep)
    }

    /// Forgets slots before this one.
    pub(super) fn drop_before(&mut self, number: i64) -> isize {
        let mut grown = 0;
        while self.slots.front().is_some_and(|slot| slot.number < number) {
            grown -= self.slots.pop_front().map_or(0, |slot| slot.bytes()) as isize;
        }
        grown
    }

    /// The oldest slot.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.slots.front().map(|slot| slot.number)
    }

    /// Adds slots before `below` and from `from` on to a sum; tells if there were any.
    pub(super) fn sum(&self, from: i64, below: i64, sum: &mut Sum) -> bool {
        let first = self.slots.partition_point(|slot| slot.number < from);
        let last = self.slots.partition_point(|slot| slot.number < below);
        let slots = self.slots.range(first..last.max(first));
        let any = slots.len() > 0;
        slots.for_each(|slot| slot.add_to(sum));
        any
    }

    /// Bytes of its slots.
    pub(super) fn bytes(&self) -> usize {
        self.slots.iter().map(Slot::bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::windows::sum::Field;

    #[test]
    fn a_count_that_overflows_its_word_stays_exact() {
        let mut ring = Ring::tens();
        let which = Field::Begun.which();
        let other = Field::Copies.which();
        for _ in 0..3 {
            ring.add(5, &[(other, 1), (which, u64::from(MOST) - 1), (which, 7)]);
        }
        let mut sum = Sum::default();
        ring.sum(i64::MIN, i64::MAX, &mut sum);
        assert_eq!(sum.of(Field::Begun), 3 * (u64::from(MOST) + 6));
        assert_eq!(sum.of(Field::Copies), 3);
    }

    #[test]
    fn what_comes_late_finds_its_slot_and_what_comes_too_late_none() {
        let mut ring = Ring::seconds();
        let one = [(Field::Begun.which(), 1)];
        let mut bytes = 0;
        for second in [20, 11, 15, 9, 20, 10] {
            bytes += ring.add(second * SECOND, &one);
        }
        let of = |from, below| {
            let mut sum = Sum::default();
            ring.sum(from, below, &mut sum);
            sum.of(Field::Begun)
        };
        assert_eq!((of(0, 100), of(10, 11), of(20, 21), of(0, 10)), (5, 1, 2, 0));
        assert_eq!(bytes, ring.bytes() as isize);
        bytes += ring.advance(30 * SECOND);
        assert_eq!(ring.oldest(), Some(20));
        assert_eq!(bytes, ring.bytes() as isize);
    }
}
