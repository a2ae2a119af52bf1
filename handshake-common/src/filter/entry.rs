//! The head of an entry: `tag:32 | age:16 | budget:8 | flags:8`.
//!
//! All that decides whether an entry is a flow's, and what is known of it, is in one word, so that
//! a compare-and-swap changes it as a whole. Beside each head are its numbers: the sequence number
//! that the client's next segment has, and the server's.

/// Segments forwarded for one entry without its attempt ending, before it is given up.
pub const BUDGET: u8 = 255;
/// So many segments of one entry pass whatever the sampling ([`crate::sample`]): no sender keeps a
/// ring full by repeating one SYN. Linux sends a SYN seven times and a SYN-ACK six, which a router with
/// two watched interfaces sees as 26.
pub const ALLOWANCE: u8 = 64;

const _: () = assert!(ALLOWANCE < BUDGET);

/// Bits of a head's lowest byte.
pub(super) mod flag {
    /// Without it the place is free, whatever else the head holds.
    pub(in crate::filter) const OCCUPIED: u64 = 0x01;
    pub(in crate::filter) const SYN: u64 = 0x02;
    pub(in crate::filter) const SYN_ACK: u64 = 0x04;
    /// The client is the lower end ([`crate::flow::Flow::from_lower`]).
    pub(in crate::filter) const CLIENT_LOWER: u64 = 0x08;
    /// A SYN carried payload.
    pub(in crate::filter) const FAST_OPEN: u64 = 0x10;
    /// More is going on than one entry can follow: never removed by evidence.
    pub(in crate::filter) const UNSURE: u64 = 0x20;
    /// The SYN-ACK acknowledged Fast Open data: the client's number is its acknowledgement.
    pub(in crate::filter) const TOOK_DATA: u64 = 0x40;
    /// In way 0, also while the place is free: entries of this bucket lie in their other one. It is
    /// of the bucket, so it stays when the entry goes.
    pub(in crate::filter) const SPILLED: u64 = 0x80;
    /// In the other ways: the entry lies in its other bucket. It is of the entry.
    pub(in crate::filter) const GUEST: u64 = SPILLED;
}

const TAG_SHIFT: u32 = 32;
const AGE_SHIFT: u32 = 16;
const BUDGET_SHIFT: u32 = 8;
const BUDGET_ONE: u64 = 1 << BUDGET_SHIFT;
const BUDGET_MASK: u64 = 0xff << BUDGET_SHIFT;
/// What a head holds beside tag and age.
const FLAGS: u64 = 0xff;

/// A coarse time by which the older of two entries is known, in ticks of a millisecond to ten: 16 bits
/// of them tell ages apart over a minute or more.
pub type Tick = u16;

/// The bits of a fingerprint or head by which an entry is known.
#[inline(always)]
pub(super) fn tag(word: u64) -> u32 {
    (word >> TAG_SHIFT) as u32
}

/// When the entry began, or was last renewed.
#[inline(always)]
pub(super) fn tick(head: u64) -> Tick {
    (head >> AGE_SHIFT) as Tick
}

/// The [`flag`]s.
#[inline(always)]
pub(super) fn flags(head: u64) -> u64 {
    head & FLAGS
}

/// The head of a new entry.
#[inline(always)]
pub(super) fn fresh(fingerprint: u64, now: Tick, flags: u64) -> u64 {
    (fingerprint >> TAG_SHIFT << TAG_SHIFT)
        | (u64::from(now) << AGE_SHIFT)
        | (u64::from(BUDGET) << BUDGET_SHIFT)
        | flag::OCCUPIED
        | flags
}

/// The head of an entry that another SYN or SYN-ACK was seen of: it is as young as a new one, but has
/// one segment less to spend.
#[inline(always)]
pub(super) fn again(old: u64, now: Tick, flags: u64) -> u64 {
    let left = match old & BUDGET_MASK {
        0 => 0,
        budget => budget - BUDGET_ONE,
    };
    (old >> TAG_SHIFT << TAG_SHIFT) | (u64::from(now) << AGE_SHIFT) | left | flag::OCCUPIED | flags
}

/// The head after one more segment; none if there was none left to spend.
#[inline(always)]
pub(super) fn spent(head: u64) -> Option<u64> {
    if head & BUDGET_MASK == 0 { None } else { Some(head - BUDGET_ONE) }
}

/// The head of no flow's entry, as young as `head`: it holds a place for an entry like `moving`, of
/// whose flow it is not found.
#[inline(always)]
pub(super) fn claim(head: u64, moving: u64) -> u64 {
    fresh(!moving, tick(head), flag::SYN)
}

/// What is left of a head in `way` when its entry goes: what is of the bucket.
#[inline(always)]
pub(super) fn of_bucket(way: usize, head: u64) -> u64 {
    if way == 0 { head & flag::SPILLED } else { 0 }
}

/// What stays the same while segments other than SYN and SYN-ACK are seen.
#[cfg(target_has_atomic = "64")]
pub(super) fn without_budget(head: u64) -> u64 {
    head & !BUDGET_MASK
}

/// Has the entry used up its [`ALLOWANCE`]?
#[inline(always)]
pub(super) fn is_exhausted(head: u64) -> bool {
    head & BUDGET_MASK <= u64::from(BUDGET - ALLOWANCE) << BUDGET_SHIFT
}

/// Is there an entry with this head?
#[inline(always)]
#[must_use]
pub fn is_occupied(head: u64) -> bool {
    head & flag::OCCUPIED != 0
}

/// Is this the entry of `fingerprint`, if it is in the right bucket?
#[inline(always)]
pub(super) fn matches(head: u64, fingerprint: u64) -> bool {
    is_occupied(head) && tag(head) == tag(fingerprint)
}

#[inline(always)]
pub(super) fn is_two_sided(head: u64) -> bool {
    head & (flag::SYN | flag::SYN_ACK) == flag::SYN | flag::SYN_ACK
}

/// Is it the entry of an attempt that is over, which may go without a loss?
#[inline(always)]
pub(super) fn is_over(head: u64) -> bool {
    head & (flag::SYN | flag::SYN_ACK) == 0
}

#[inline(always)]
pub(super) fn numbers(client_next: u32, server_next: u32) -> u64 {
    (u64::from(client_next) << 32) | u64::from(server_next)
}

/// The client's and the server's next sequence number.
#[inline(always)]
pub(super) fn split(numbers: u64) -> (u32, u32) {
    ((numbers >> 32) as u32, numbers as u32)
}
