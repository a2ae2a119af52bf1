//! The table in memory of the host: its own, or the kernel's, mapped.

use core::sync::atomic::{AtomicU64, Ordering};

use super::table::{Bucket, Memory, WAYS, WORDS};

/// Words that other CPUs and the kernel may change at any time.
impl Bucket for &[AtomicU64; WORDS] {
    #[inline(always)]
    fn head(self, way: usize) -> u64 {
        self[way].load(Ordering::Acquire)
    }

    #[inline(always)]
    fn numbers(self, way: usize) -> u64 {
        self[WAYS + way].load(Ordering::Acquire)
    }

    #[inline(always)]
    fn swap_head(self, way: usize, expected: u64, head: u64) -> bool {
        let (done, not) = (Ordering::SeqCst, Ordering::Acquire);
        self[way].compare_exchange(expected, head, done, not).is_ok()
    }

    #[inline(always)]
    fn set_numbers(self, way: usize, numbers: u64) {
        self[WAYS + way].store(numbers, Ordering::Release);
    }
}

/// A bucket of one's own.
#[derive(Debug, Default)]
#[repr(C, align(128))]
pub struct MemoryBucket([AtomicU64; WORDS]);

impl MemoryBucket {
    /// Heads, then numbers.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64; WORDS] {
        &self.0
    }
}

/// As many buckets as a power of two.
impl<'a> Memory for &'a [MemoryBucket] {
    type Bucket = &'a [AtomicU64; WORDS];

    #[inline(always)]
    fn mask(self) -> u32 {
        self.len() as u32 - 1
    }

    #[inline(always)]
    fn bucket(self, index: u32) -> Option<Self::Bucket> {
        Some(&self.get(index as usize)?.0)
    }
}

/// The words of as many buckets as a power of two: the kernel's table, as it is mapped.
impl<'a> Memory for &'a [AtomicU64] {
    type Bucket = &'a [AtomicU64; WORDS];

    #[inline(always)]
    fn mask(self) -> u32 {
        (self.len() / WORDS) as u32 - 1
    }

    #[inline(always)]
    fn bucket(self, index: u32) -> Option<Self::Bucket> {
        self.get(index as usize * WORDS..)?.first_chunk()
    }
}
