//! Which segments deserve an event: the kernel's memory of pending attempts.
//!
//! A small set-associative table of fingerprints remembers the attempts that have begun and not
//! yet evidently completed. Every SYN and SYN-ACK makes an event and is remembered; any other
//! segment (or ICMP error) makes one only if its flow is remembered. An entry is forgotten when a
//! segment ends the attempt *for sure* by the rules of the tracker (docs/semantics.md sections 5
//! and 6, restated here more strictly), so the filter may forward more than the tracker needs,
//! but never less, except by an eviction, and evictions are counted ([`Table`]).
//!
//! Where the rules cannot be decided from one entry (Fast Open data, two server ISNs, both ends
//! opening), the entry is marked [`flag::UNSURE`] or [`flag::FAST_OPEN`], is not removed by
//! evidence, and ends when its budget of [`BUDGET`] further segments is spent, which is counted.
//!
//! The functions are pure over [`Bucket`]; memory belongs to the caller: a BPF array in the
//! kernel, a vector in replay. A bucket is one cache line. Every change of an entry's head is a
//! compare-and-swap, so two CPUs cannot overwrite each other silently; the numbers are written
//! after the head, and only where they change, which is safe because the next segment of a flow
//! cannot arrive anywhere before the program has passed the current one on.

use crate::packet::tcp::{Flags, Header};

/// Entries of a bucket: 4 × 16 bytes are one cache line.
pub const WAYS: usize = 4;
/// Most buckets of a table: so many low bits of a fingerprint choose one. The bits between them and
/// the tag are left to [`crate::sample`].
pub const MAX_BUCKETS: u32 = 1 << 20;
/// Segments forwarded for one entry without its attempt ending, before it is given up.
pub const BUDGET: u8 = 255;
/// So many segments of one entry pass whatever the sampling ([`crate::sample`]): nobody keeps a ring
/// full by repeating one SYN. Linux sends a SYN seven times and a SYN-ACK six, which a router with
/// two watched interfaces sees as 26.
pub const ALLOWANCE: u8 = 64;

const _: () = assert!(ALLOWANCE < BUDGET);
/// "In window of" of docs/semantics.md, conventions.
pub const WINDOW: u32 = 1 << 20;
/// Most payload a SYN may carry for a SYN-ACK that acknowledges data to be believed.
const MAX_SYN_PAYLOAD: u32 = 0xffff;

/// Bits of an entry's head, the lowest byte. The head is `tag:32 | age:16 | budget:8 | flags:8`.
mod flag {
    pub(super) const OCCUPIED: u64 = 0x01;
    pub(super) const SYN: u64 = 0x02;
    pub(super) const SYN_ACK: u64 = 0x04;
    /// The client is the lower end ([`crate::flow::Flow::from_lower`]).
    pub(super) const CLIENT_LOWER: u64 = 0x08;
    /// A SYN carried payload.
    pub(super) const FAST_OPEN: u64 = 0x10;
    /// More is going on than one entry can follow: never removed by evidence.
    pub(super) const UNSURE: u64 = 0x20;
    /// The SYN-ACK acknowledged Fast Open data: the client's number is its acknowledgement.
    pub(super) const TOOK_DATA: u64 = 0x40;
}

const TAG_SHIFT: u32 = 32;
const AGE_SHIFT: u32 = 16;
const BUDGET_SHIFT: u32 = 8;
const BUDGET_ONE: u64 = 1 << BUDGET_SHIFT;
const BUDGET_MASK: u64 = 0xff << BUDGET_SHIFT;

/// A coarse time by which the older of two entries is known, in ticks of a millisecond to ten: 16 bits
/// of them tell ages apart over a minute or more.
pub type Tick = u16;

/// One cache line of the table.
pub trait Bucket {
    /// Head and numbers of entry `way` (below [`WAYS`]).
    fn load(&self, way: usize) -> (u64, u64);
    /// Replaces the head of entry `way` if it still is `expected`.
    fn swap_head(&mut self, way: usize, expected: u64, head: u64) -> bool;
    /// Writes the numbers of entry `way`.
    fn set_numbers(&mut self, way: usize, numbers: u64);
    /// The same way; see [`crate::packet::Frame::widen`].
    #[inline(always)]
    fn widen(&self, way: usize) -> usize {
        way
    }
}

/// What a SYN or SYN-ACK did to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Known already, or put into a free entry.
    Kept,
    /// Known already, and its [`ALLOWANCE`] is used up.
    Exhausted,
    /// An entry with evidence from one side only had to go.
    EvictedOneSided,
    /// An entry with evidence from both sides had to go.
    EvictedTwoSided,
    /// Another CPU changed the entry at the same moment; this flow is not remembered.
    Contended,
}

/// What the table says of any other segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pending {
    /// No attempt of this flow is pending: no event.
    No,
    /// An event.
    Yes,
    /// An event, and the entry's [`ALLOWANCE`] is used up.
    Exhausted,
    /// An event, and the entry was given up because its budget is spent.
    Spent,
}

/// The classes of SEMANTICS section 2, in the order in which they are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// SYN without ACK, FIN or RST.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// RST, whatever else.
    Rst,
    /// ACK without SYN or RST: the third ACK, data, FIN.
    Ack,
    /// SYN with FIN, or none of SYN, RST, ACK.
    Ignored,
}

/// Classifies a TCP header.
#[inline(always)]
#[must_use]
pub fn classify(flags: Flags) -> Class {
    if flags.has(Flags::RST) {
        Class::Rst
    } else if flags.has(Flags::SYN) {
        if flags.has(Flags::FIN) {
            Class::Ignored
        } else if flags.has(Flags::ACK) {
            Class::SynAck
        } else {
            Class::Syn
        }
    } else if flags.has(Flags::ACK) {
        Class::Ack
    } else {
        Class::Ignored
    }
}

/// The bucket index of a fingerprint in a table of `mask + 1` buckets.
#[inline(always)]
#[must_use]
pub fn bucket_index(fingerprint: u64, mask: u32) -> u32 {
    fingerprint as u32 & mask
}

#[inline(always)]
fn fresh(fingerprint: u64, now: Tick, flags: u64) -> u64 {
    (fingerprint >> TAG_SHIFT << TAG_SHIFT)
        | (u64::from(now) << AGE_SHIFT)
        | (u64::from(BUDGET) << BUDGET_SHIFT)
        | flag::OCCUPIED
        | flags
}

/// The head of an entry that another SYN or SYN-ACK was seen of: it is as young as a new one, but has
/// one segment less to spend.
#[inline(always)]
fn again(old: u64, now: Tick, flags: u64) -> u64 {
    let left = match old & BUDGET_MASK {
        0 => 0,
        budget => budget - BUDGET_ONE,
    };
    (old >> TAG_SHIFT << TAG_SHIFT) | (u64::from(now) << AGE_SHIFT) | left | flag::OCCUPIED | flags
}

/// Has the entry used up its [`ALLOWANCE`]?
#[inline(always)]
fn is_exhausted(head: u64) -> bool {
    head & BUDGET_MASK <= u64::from(BUDGET - ALLOWANCE) << BUDGET_SHIFT
}

#[inline(always)]
fn direction(client_lower: bool) -> u64 {
    if client_lower { flag::CLIENT_LOWER } else { 0 }
}

#[inline(always)]
fn numbers(client_next: u32, server_next: u32) -> u64 {
    (u64::from(client_next) << 32) | u64::from(server_next)
}

#[inline(always)]
fn in_window(value: u32, start: u32) -> bool {
    value.wrapping_sub(start) < WINDOW
}

/// Is there an entry with this head?
#[inline(always)]
#[must_use]
pub fn is_occupied(head: u64) -> bool {
    head & flag::OCCUPIED != 0
}

/// Is this the entry of `fingerprint`?
#[inline(always)]
fn matches(head: u64, fingerprint: u64) -> bool {
    is_occupied(head) && (head ^ fingerprint) >> TAG_SHIFT == 0
}

#[inline(always)]
fn find<B: Bucket>(bucket: &B, fingerprint: u64) -> Option<(usize, u64, u64)> {
    let mut way = 0;
    while way < WAYS {
        let (head, numbers) = bucket.load(way);
        if matches(head, fingerprint) {
            return Some((bucket.widen(way), head, numbers));
        }
        way += 1;
    }
    None
}

/// Remembers a new flow: in a free entry, else instead of the oldest one-sided entry, else
/// instead of the oldest.
#[inline(always)]
fn insert<B: Bucket>(bucket: &mut B, head: u64, numbers: u64) -> Table {
    let now = (head >> AGE_SHIFT) as Tick;
    let mut victim = (0, 0, 0);
    let mut way = 0;
    while way < WAYS {
        let (old, _) = bucket.load(way);
        let rank = if old & flag::OCCUPIED == 0 {
            u32::MAX
        } else {
            let age = u32::from(now.wrapping_sub((old >> AGE_SHIFT) as Tick));
            if is_two_sided(old) { age } else { age | 0x1_0000 }
        };
        if way == 0 || rank > victim.2 {
            victim = (way, old, rank);
        }
        way += 1;
    }
    let (way, old, _) = victim;
    let way = bucket.widen(way);
    if !bucket.swap_head(way, old, head) {
        return Table::Contended;
    }
    bucket.set_numbers(way, numbers);
    if old & flag::OCCUPIED == 0 {
        Table::Kept
    } else if is_two_sided(old) {
        Table::EvictedTwoSided
    } else {
        Table::EvictedOneSided
    }
}

#[inline(always)]
fn is_two_sided(head: u64) -> bool {
    head & (flag::SYN | flag::SYN_ACK) == flag::SYN | flag::SYN_ACK
}

/// Changes the entry `(way, head, numbers)`.
#[inline(always)]
fn update<B: Bucket>(
    bucket: &mut B,
    (way, old, old_numbers): (usize, u64, u64),
    head: u64,
    numbers: u64,
) -> Table {
    if !bucket.swap_head(way, old, head) {
        return Table::Contended;
    }
    if numbers != old_numbers {
        bucket.set_numbers(way, numbers);
    }
    if is_exhausted(head) { Table::Exhausted } else { Table::Kept }
}

/// Remembers a SYN.
#[inline(always)]
pub fn on_syn<B: Bucket>(
    bucket: &mut B,
    fingerprint: u64,
    from_lower: bool,
    tcp: &Header,
    payload_len: u32,
    now: Tick,
) -> Table {
    let client_next = tcp.seq.wrapping_add(1);
    let fast_open = if payload_len > 0 { flag::FAST_OPEN } else { 0 };
    let begun = flag::SYN | fast_open | direction(from_lower);
    let Some((way, old, old_numbers)) = find(bucket, fingerprint) else {
        return insert(bucket, fresh(fingerprint, now, begun), numbers(client_next, 0));
    };
    let (old_client, old_server) = ((old_numbers >> 32) as u32, old_numbers as u32);
    let old_flags = old & 0xff;
    let (flags, kept) = if from_lower != (old & flag::CLIENT_LOWER != 0) {
        // Both ends open: simultaneous, or an attempt each way.
        (old_flags | flag::UNSURE, old_numbers)
    } else if old & flag::TOOK_DATA != 0 {
        // A copy of the SYN that was answered, or another attempt.
        (old_flags | flag::UNSURE, old_numbers)
    } else if old_client == client_next {
        (old_flags | begun, old_numbers)
    } else if old & flag::SYN == 0 && old_client.wrapping_sub(client_next) <= payload_len {
        // The SYN-ACK came first and acknowledged data of this SYN.
        (old_flags | begun, numbers(client_next, old_server))
    } else {
        (begun | (old_flags & flag::UNSURE), numbers(client_next, 0))
    };
    update(bucket, (way, old, old_numbers), again(old, now, flags), kept)
}

/// Remembers a SYN-ACK.
#[inline(always)]
pub fn on_syn_ack<B: Bucket>(
    bucket: &mut B,
    fingerprint: u64,
    from_lower: bool,
    tcp: &Header,
    now: Tick,
) -> Table {
    let server_next = tcp.seq.wrapping_add(1);
    let Some((way, old, old_numbers)) = find(bucket, fingerprint) else {
        let flags = flag::SYN_ACK | direction(!from_lower);
        let head = fresh(fingerprint, now, flags);
        return insert(bucket, head, numbers(tcp.ack, server_next));
    };
    let (client_next, old_server) = ((old_numbers >> 32) as u32, old_numbers as u32);
    let old_flags = old & 0xff;
    let (flags, kept) = if from_lower == (old & flag::CLIENT_LOWER != 0) {
        (old_flags | flag::UNSURE, old_numbers)
    } else if tcp.ack == client_next && old & flag::SYN_ACK == 0 {
        (old_flags | flag::SYN_ACK, numbers(client_next, server_next))
    } else if tcp.ack == client_next && old_server == server_next {
        (old_flags, old_numbers)
    } else if old & (flag::FAST_OPEN | flag::SYN_ACK) == flag::FAST_OPEN
        && tcp.ack.wrapping_sub(client_next) <= MAX_SYN_PAYLOAD
    {
        (old_flags | flag::SYN_ACK | flag::TOOK_DATA, numbers(tcp.ack, server_next))
    } else {
        // Does not acknowledge this SYN, or disagrees with the SYN-ACK before: the tracker may or
        // may not know better.
        (old_flags | flag::UNSURE, old_numbers)
    };
    update(bucket, (way, old, old_numbers), again(old, now, flags), kept)
}

/// Is this flow remembered?
#[inline(always)]
pub fn is_pending<B: Bucket>(bucket: &B, fingerprint: u64) -> bool {
    find(bucket, fingerprint).is_some()
}

/// Is this flow remembered, and has it not used up its [`ALLOWANCE`]?
#[inline(always)]
pub fn is_allowed<B: Bucket>(bucket: &B, fingerprint: u64) -> bool {
    find(bucket, fingerprint).is_some_and(|(_, head, _)| !is_exhausted(head))
}

/// Looks up any other segment: an ACK, data, FIN, RST.
#[inline(always)]
pub fn on_segment<B: Bucket>(
    bucket: &mut B,
    fingerprint: u64,
    from_lower: bool,
    tcp: &Header,
    payload_len: u32,
) -> Pending {
    let Some((way, head, entry_numbers)) = find(bucket, fingerprint) else {
        return Pending::No;
    };
    if ends_for_sure(head, entry_numbers, from_lower, tcp, payload_len) {
        // A lost race means that the entry lives on, which only costs events.
        bucket.swap_head(way, head, 0);
        return Pending::Yes;
    }
    spend(bucket, way, head)
}

/// Looks up the flow that an ICMP error quotes.
#[inline(always)]
pub fn on_icmp_error<B: Bucket>(bucket: &mut B, fingerprint: u64) -> Pending {
    match find(bucket, fingerprint) {
        Some((way, head, _)) => spend(bucket, way, head),
        None => Pending::No,
    }
}

#[inline(always)]
fn spend<B: Bucket>(bucket: &mut B, way: usize, head: u64) -> Pending {
    if head & BUDGET_MASK == 0 {
        bucket.swap_head(way, head, 0);
        return Pending::Spent;
    }
    let left = head - BUDGET_ONE;
    bucket.swap_head(way, head, left);
    if is_exhausted(left) { Pending::Exhausted } else { Pending::Yes }
}

/// Would the tracker end the attempt at this segment, whatever else it knows?
#[inline(always)]
fn ends_for_sure(
    head: u64,
    entry_numbers: u64,
    from_lower: bool,
    tcp: &Header,
    payload_len: u32,
) -> bool {
    if head & flag::UNSURE != 0 {
        return false;
    }
    let (client_next, server_next) = ((entry_numbers >> 32) as u32, entry_numbers as u32);
    let from_client = from_lower == (head & flag::CLIENT_LOWER != 0);
    let syn_ack_seen = head & flag::SYN_ACK != 0;
    if head & flag::TOOK_DATA != 0 {
        // Whether the SYN had that data, and whether it still was open, only the tracker knows:
        // an ACK well inside both windows ends the attempt either way.
        return from_client
            && !tcp.flags.has(Flags::RST)
            && tcp.seq.wrapping_sub(client_next) < WINDOW - MAX_SYN_PAYLOAD
            && in_window(tcp.ack, server_next);
    }
    if tcp.flags.has(Flags::RST) {
        return if from_client {
            tcp.seq == client_next
        } else {
            tcp.flags.has(Flags::ACK) && tcp.ack == client_next
        };
    }
    if from_client {
        // The third ACK, or anything that implies it.
        return in_window(tcp.seq, client_next)
            && (!syn_ack_seen || in_window(tcp.ack, server_next));
    }
    // The server shows that it is beyond the handshake.
    head & flag::FAST_OPEN == 0
        && in_window(tcp.ack, client_next)
        && (payload_len > 0 || tcp.flags.has(Flags::FIN) || tcp.ack != client_next)
        && (!syn_ack_seen || in_window(tcp.seq, server_next))
}

/// A bucket in ordinary memory.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(64))]
pub struct MemoryBucket {
    heads_and_numbers: [(u64, u64); WAYS],
}

impl Bucket for &mut MemoryBucket {
    fn load(&self, way: usize) -> (u64, u64) {
        self.heads_and_numbers[way]
    }

    fn swap_head(&mut self, way: usize, expected: u64, head: u64) -> bool {
        let entry = &mut self.heads_and_numbers[way];
        if entry.0 != expected {
            return false;
        }
        entry.0 = head;
        true
    }

    fn set_numbers(&mut self, way: usize, numbers: u64) {
        self.heads_and_numbers[way].1 = numbers;
    }
}

#[cfg(test)]
mod tests;
