//! Sampling by flow, for when more arrives than anybody can read.
//!
//! A ring that fills would lose events at random, a SYN here, its SYN-ACK there, and nearly every
//! attempt would miss one. So before it is full the programs stop *beginning*: of the flows that are
//! not pending, only 1 in 2^[`Shift`] makes events, and of these flows all. What is begun is not
//! cut: a flow that the filter remembers passes whatever the shift is. Only who repeats one SYN again
//! and again is sampled like the others ([`crate::filter::ALLOWANCE`]), which its events say.
//!
//! Which flows are in the sample is decided by bits of the keyed fingerprint that choose neither the
//! bucket nor the tag (`filter`), so a sample fills the table evenly, nobody outside can tell who
//! is in it, and both directions and all hooks agree. The samples are nested: who is in at one shift
//! is in at every smaller one. A shift that rises therefore never drops a flow that was begun, and one
//! that falls can only let in flows whose first segments were left out; user space knows when that
//! happened and calls those uncertain (`tracker`).
//!
//! There is one shift for all CPUs, because the two directions of a flow are handled on different
//! ones. The programs only raise it ([`wanted`]); user space lowers it again when no ring has
//! been a quarter full for a while. Replay never samples.

use crate::filter::MAX_BUCKETS;

/// Of the flows that are not pending, 1 in 2^this makes events.
pub type Shift = u8;

/// Largest shift: 1 flow in 128. A million SYNs a second then are 8,000 events.
pub const MAX_SHIFT: Shift = 7;

/// The bits of a fingerprint that decide: above those of the largest table, below the tag.
const FIRST_BIT: u32 = MAX_BUCKETS.trailing_zeros();

const _: () = assert!(MAX_BUCKETS.is_power_of_two() && FIRST_BIT + MAX_SHIFT as u32 <= 32);

/// Is this flow in the sample?
#[inline(always)]
#[must_use]
pub fn has(fingerprint: u64, shift: Shift) -> bool {
    // Masked, so that the verifier sees a shift that a register has.
    let outside = (1_u32 << (shift & 31)) - 1;
    (fingerprint as u32 >> FIRST_BIT) & outside == 0
}

/// The shift that a ring asks for which is so many eighths full: none below a half, then steeply
/// more, so that even a burst which fills a half between two looks of the reader leaves room for
/// what was begun.
#[inline(always)]
#[must_use]
pub fn wanted(eighths: u64) -> Shift {
    match eighths {
        0..=3 => 0,
        4 => 1,
        5 => 3,
        6 => 5,
        _ => MAX_SHIFT,
    }
}

/// The value of the programs' `HS_FILL_SHIFT` for rings of `bytes` (a power of two): bytes in a ring,
/// shifted right by it, are eighths.
#[must_use]
pub fn fill_shift(bytes: u32) -> u32 {
    bytes.trailing_zeros().saturating_sub(3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::bucket_index;

    /// Fingerprints as good as random (splitmix64).
    fn fingerprints(count: u64) -> impl Iterator<Item = u64> {
        (0..count).map(|n| {
            let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        })
    }

    #[test]
    fn a_sample_has_its_share_and_lies_in_every_larger_one() {
        const FLOWS: u64 = 1 << 17;
        for shift in 0..=MAX_SHIFT {
            let mut count = 0;
            for fingerprint in fingerprints(FLOWS).filter(|one| has(*one, shift)) {
                count += 1;
                assert!((0..shift).all(|lower| has(fingerprint, lower)));
            }
            let expected = FLOWS >> shift;
            // Five standard deviations of a binomial distribution, squared.
            let off = expected.abs_diff(count);
            assert!(off * off <= 25 * expected, "shift {shift}: {count} of {expected}");
        }
    }

    #[test]
    fn a_sample_says_nothing_of_bucket_or_tag() {
        let changed = |bits: u64| has(!(0x7f << FIRST_BIT) & bits, MAX_SHIFT);
        assert!(changed(0) && changed(u64::MAX));
        assert_eq!(bucket_index(0x7f << FIRST_BIT, MAX_BUCKETS - 1), 0);
    }

    #[test]
    fn a_ring_asks_for_more_the_fuller_it_is() {
        let asked: std::vec::Vec<_> = (0..=8).map(wanted).collect();
        assert_eq!(asked, [0, 0, 0, 0, 1, 3, 5, 7, 7]);
        for bytes in [1 << 12, 1 << 20, 1 << 28] {
            let eighths = |used: u32| u64::from(used >> fill_shift(bytes));
            assert_eq!((eighths(bytes / 2 - 1), eighths(bytes / 2), eighths(bytes)), (3, 4, 8));
        }
    }
}
