//! Every map and global, with its capacity and what happens when it is full.
//!
//! Names are those of `handshake_common::abi::name`; a test compares them with the object.

use core::arch::asm;
use core::ptr;

use aya_ebpf::btf_maps::{Array, ArrayOfMaps, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use handshake_common::abi::{COUNTERS, DEFAULT_BUCKETS, MAX_CPUS, state};
use handshake_common::event::Event;
use handshake_common::filter::{self, Bucket, Memory, Table, WAYS, WORDS};
use handshake_common::flow::Keys;
use handshake_common::sample::Shift;

use crate::context::widen;

/// Makes the kernel put the values on page boundaries, so that the heads of a bucket are one cache
/// line, and lets user space map them.
const BPF_F_MMAPABLE: usize = 1 << 10;

/// One ring a CPU, made and stored by user space (its size is a flag). A full ring costs the
/// event, which is counted; nothing waits.
#[btf_map]
pub(crate) static HS_RINGS: ArrayOfMaps<RingBuf<Event, 4096>, MAX_CPUS> = ArrayOfMaps::new();

/// Pending attempts (`handshake_common::filter`); user space sets the number of buckets. Where no
/// place is left, the oldest one-sided entry of a bucket is evicted first, which is counted.
#[btf_map]
static HS_TABLE: Array<[u64; WORDS], { DEFAULT_BUCKETS as usize }, BPF_F_MMAPABLE> = Array::new();

/// One row of counters a hook. Per CPU, so that plain additions are exact: neither XDP nor TC is
/// interrupted by the other on its own CPU.
#[btf_map]
pub(crate) static HS_COUNTERS: PerCpuArray<[u64; COUNTERS], 3> = PerCpuArray::new();

/// What both sides tell each other while running (`handshake_common::abi::state`), for all CPUs.
#[btf_map]
static HS_STATE: Array<[u64; state::WORDS], 1, BPF_F_MMAPABLE> = Array::new();

/// 63 until user space says how large the rings are: no ring then ever is an eighth full.
#[unsafe(no_mangle)]
static HS_FILL_SHIFT: u32 = 63;
#[unsafe(no_mangle)]
static HS_TABLE_MASK: u32 = DEFAULT_BUCKETS - 1;
#[unsafe(no_mangle)]
static HS_KEY_LOW: u64 = 0;
#[unsafe(no_mangle)]
static HS_KEY_HIGH: u64 = 0;
#[unsafe(no_mangle)]
static HS_KEEP_FRAMES: u32 = 0;
#[unsafe(no_mangle)]
static HS_WATCHES: u32 = 0;

/// Bytes in a ring, shifted right by this, are eighths of it.
#[inline(always)]
pub(crate) fn fill_shift() -> u32 {
    // SAFETY: a valid static; volatile, because user space overwrites it before loading.
    unsafe { ptr::read_volatile(&HS_FILL_SHIFT) }
}

/// A word of `HS_STATE` (an index below `state::WORDS`).
#[inline(always)]
fn state_word(index: usize) -> Option<*mut u64> {
    let words = HS_STATE.get_ptr_mut(0)?;
    // SAFETY: the callers pass an index of the array.
    Some(unsafe { words.cast::<u64>().add(index) })
}

/// The sampling in force.
#[inline(always)]
pub(crate) fn sample_shift() -> Shift {
    match state_word(state::SAMPLE_SHIFT) {
        // SAFETY: the word lives as long as the program; others may write it meanwhile.
        Some(word) => unsafe { ptr::read_volatile(word) as Shift },
        None => 0,
    }
}

/// Raises the sampling to `wanted`, if it is lower. Should another CPU change it at the same moment,
/// the next SYN asks again.
#[inline(always)]
pub(crate) fn raise_sample_shift(wanted: Shift) {
    let Some(word) = state_word(state::SAMPLE_SHIFT) else { return };
    // SAFETY: as above.
    let found = unsafe { ptr::read_volatile(word) };
    if found < u64::from(wanted) {
        swap(word, found, u64::from(wanted));
    }
}

/// Does the reader sleep, and is it this CPU that must wake it? Of many CPUs one is told so, once a
/// sleep.
#[inline(always)]
pub(crate) fn must_wake() -> bool {
    match state_word(state::ASLEEP) {
        // SAFETY: as above.
        Some(word) => unsafe { ptr::read_volatile(word) != 0 && swap(word, 1, 0) },
        None => false,
    }
}

/// Do the first bytes of each frame follow its event? The verifier knows the answer and removes
/// what is not needed.
#[inline(always)]
pub(crate) fn keep_frames() -> bool {
    // SAFETY: a valid static; volatile, because user space overwrites it before loading.
    unsafe { ptr::read_volatile(&HS_KEEP_FRAMES) != 0 }
}

/// Is what comes after a completion wanted? As [`keep_frames`].
#[inline(always)]
pub(crate) fn watches() -> bool {
    // SAFETY: a valid static; volatile, because user space overwrites it before loading.
    unsafe { ptr::read_volatile(&HS_WATCHES) != 0 }
}

/// The secret keys of this run.
#[inline(always)]
pub(crate) fn keys() -> Keys {
    // SAFETY: valid statics; volatile, because user space overwrites them before loading.
    unsafe { Keys { low: ptr::read_volatile(&HS_KEY_LOW), high: ptr::read_volatile(&HS_KEY_HIGH) } }
}

/// `HS_TABLE`, for one flow.
#[derive(Clone, Copy)]
pub(crate) struct KernelTable {
    /// Its fingerprint: a number that the verifier does not know.
    pub(crate) fingerprint: u64,
}

impl Memory for KernelTable {
    type Bucket = KernelBucket;

    #[inline(always)]
    fn mask(self) -> u32 {
        // SAFETY: a valid static; volatile, because user space overwrites it before loading.
        unsafe { ptr::read_volatile(&HS_TABLE_MASK) }
    }

    #[inline(always)]
    fn bucket(self, index: u32) -> Option<KernelBucket> {
        let words = HS_TABLE.get_ptr_mut(index)?.cast();
        Some(KernelBucket { words, fingerprint: self.fingerprint })
    }

    #[inline(always)]
    fn insert(self, fingerprint: u64, head: u64, numbers: u64) -> Table {
        Table::of_code(hs_insert(fingerprint, head, numbers))
    }
}

/// [`filter::insert`] as a global function (`BTF_FUNC_GLOBAL`), which the verifier checks once and by
/// itself, whatever is known where it is called. Its arguments and its result can only be numbers.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hs_insert(fingerprint: u64, head: u64, numbers: u64) -> u32 {
    filter::insert(KernelTable { fingerprint }, fingerprint, head, numbers) as u32
}

/// A bucket of `HS_TABLE`.
#[derive(Clone, Copy)]
pub(crate) struct KernelBucket {
    words: *mut u64,
    fingerprint: u64,
}

impl KernelBucket {
    #[inline(always)]
    fn head_of(self, way: usize) -> *mut u64 {
        // SAFETY: below WAYS, so in the map value.
        unsafe { self.words.add(way & (WAYS - 1)) }
    }

    #[inline(always)]
    fn numbers_of(self, way: usize) -> *mut u64 {
        // SAFETY: below WORDS, so in the map value.
        unsafe { self.words.add(WAYS + (way & (WAYS - 1))) }
    }
}

impl Bucket for KernelBucket {
    #[inline(always)]
    fn widen(self, way: usize) -> usize {
        widen(way, self.fingerprint)
    }

    #[inline(always)]
    fn head(self, way: usize) -> u64 {
        // SAFETY: the word lies in the map value, which lives as long as the program.
        unsafe { ptr::read_volatile(self.head_of(way)) }
    }

    /// Half a word, so that a comparison is one instruction.
    #[inline(always)]
    fn tag(self, way: usize) -> u32 {
        let upper = usize::from(cfg!(target_endian = "little"));
        // SAFETY: as for `head`.
        unsafe { ptr::read_volatile(self.head_of(way).cast::<u32>().add(upper)) }
    }

    #[inline(always)]
    fn numbers(self, way: usize) -> u64 {
        // SAFETY: as for `head`.
        unsafe { ptr::read_volatile(self.numbers_of(way)) }
    }

    #[inline(always)]
    fn swap_head(self, way: usize, expected: u64, head: u64) -> bool {
        swap(self.head_of(way), expected, head)
    }

    #[inline(always)]
    fn set_numbers(self, way: usize, numbers: u64) {
        // SAFETY: as for `head`.
        unsafe { ptr::write_volatile(self.numbers_of(way), numbers) };
    }
}

/// Compare-and-swap of one word of a map value; kernel 5.12 and later.
///
/// In assembly because Rust's BPF target declares no atomic compare-and-swap, so `AtomicU64` has
/// none there, although the instruction exists since instruction set v3.
#[inline(always)]
fn swap(word: *mut u64, expected: u64, new: u64) -> bool {
    let mut found = expected;
    // SAFETY: the callers pass an aligned word inside a map value.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {new})",
            word = in(reg) word,
            new = in(reg) new,
            inout("r0") found,
            options(nostack),
        );
    }
    found == expected
}
