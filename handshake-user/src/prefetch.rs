//! Asks the processor to bring memory near before it is needed.
//!
//! Unlike a read, a prefetch holds nothing up: many of them wait for memory together, while the
//! program goes on. It changes no value; where there is none, nothing happens.

/// Brings the place of a value near.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch has no effect but on caches, at whatever address; this one is a
        // reference's.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
