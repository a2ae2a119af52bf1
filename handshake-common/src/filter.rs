//! Which segments deserve an event: the kernel's memory of pending attempts.
//!
//! A set-associative table of fingerprints remembers the attempts that have begun and not yet
//! evidently completed. Every SYN and SYN-ACK makes an event and is remembered; any other segment
//! (or ICMP error) makes one only if its flow is remembered. An entry is forgotten when a segment
//! ends the attempt *for sure* by the rules of the tracker (docs/semantics.md sections 5 and 6,
//! restated here more strictly), so the filter may forward more than the tracker needs, but never
//! less, except by an eviction, and evictions are counted ([`Table`]). What user space gives up it
//! removes itself ([`sweep`]).
//!
//! Where the rules cannot be decided from one entry (Fast Open data, two server ISNs, both ends
//! opening), the entry is marked [`flag::UNSURE`] or [`flag::FAST_OPEN`], is not removed by
//! evidence, and ends when its budget of [`BUDGET`] further segments is spent, which is counted.
//!
//! Here is what evidence does to an entry; `entry.rs` has its head, `table.rs` where it lies. The
//! functions are pure over [`Memory`] and [`Bucket`]; memory belongs to the caller: a BPF array in
//! the kernel, a vector in replay. Every change of an entry's head is a compare-and-swap, so two CPUs
//! cannot overwrite each other silently; the numbers are written after the head, and only where
//! they change, which is safe because the next segment of a flow cannot arrive anywhere before the
//! program has passed the current one on.

use crate::packet::tcp::{Flags, Header};

mod after;
mod entry;
#[cfg(target_has_atomic = "64")]
mod memory;
#[cfg(target_has_atomic = "64")]
pub mod sweep;
mod table;

pub use after::{Plain, may_matter};
pub use entry::{ALLOWANCE, BUDGET, Tick, is_occupied};
#[cfg(target_has_atomic = "64")]
pub use memory::MemoryBucket;
pub use table::{
    Bucket, MAX_BUCKETS, Memory, WAYS, WORDS, bucket_index, has_place, insert, other_index,
};

use entry::{again, flag, flags, fresh, is_exhausted, is_over, numbers, spent, split};
use table::{Found, find};

/// "In window of" of docs/semantics.md, conventions.
pub const WINDOW: u32 = 1 << 20;
/// Most payload a SYN may carry for a SYN-ACK that acknowledges data to be believed.
const MAX_SYN_PAYLOAD: u32 = 0xffff;

/// What a SYN or SYN-ACK did to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Known already.
    Kept,
    /// Put into a free entry.
    New,
    /// Known already, and its [`ALLOWANCE`] is used up.
    Exhausted,
    /// An entry with evidence from one side only had to go.
    EvictedOneSided,
    /// An entry with evidence from both sides had to go.
    EvictedTwoSided,
    /// Another CPU changed the entry at the same moment; this flow is not remembered.
    Contended,
}

impl Table {
    /// What `as u32` made of one; [`Table::Contended`] of any other number.
    #[inline(always)]
    #[must_use]
    pub fn of_code(code: u32) -> Self {
        [Self::Kept, Self::New, Self::Exhausted, Self::EvictedOneSided, Self::EvictedTwoSided]
            .into_iter()
            .find(|&table| table as u32 == code)
            .unwrap_or(Self::Contended)
    }
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
    /// An event that completed its attempt; what comes next of the flow is watched.
    Watched,
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

#[inline(always)]
fn direction(client_lower: bool) -> u64 {
    if client_lower { flag::CLIENT_LOWER } else { 0 }
}

#[inline(always)]
fn in_window(value: u32, start: u32) -> bool {
    value.wrapping_sub(start) < WINDOW
}

/// Remembers a SYN or SYN-ACK.
#[inline(always)]
pub fn on_opening<M: Memory>(
    memory: M,
    fingerprint: u64,
    from_lower: bool,
    class: Class,
    tcp: &Header,
    payload_len: u32,
    now: Tick,
) -> Table {
    let seen = if class == Class::Syn {
        Opening::syn(from_lower, tcp, payload_len)
    } else {
        Opening::syn_ack(from_lower, tcp)
    };
    let Some(found) = find(memory, fingerprint) else {
        let head = fresh(fingerprint, now, seen.flags);
        return memory.insert(fingerprint, head, numbers(seen.client_next, seen.server_next));
    };
    let old_numbers = found.numbers();
    if is_over(found.head) {
        return seen.follow(&found, fingerprint, now, old_numbers);
    }
    let (flags, kept) = if class == Class::Syn {
        seen.renew_by_syn(found.head, old_numbers, payload_len)
    } else {
        seen.renew_by_syn_ack(found.head, old_numbers)
    };
    found.update(again(found.head, now, flags), old_numbers, kept)
}

/// What a SYN or SYN-ACK says by itself.
struct Opening {
    /// As an entry has them that begins with it.
    flags: u64,
    client_next: u32,
    /// 0 of a SYN.
    server_next: u32,
}

impl Opening {
    #[inline(always)]
    fn syn(from_lower: bool, tcp: &Header, payload_len: u32) -> Self {
        let fast_open = if payload_len > 0 { flag::FAST_OPEN } else { 0 };
        Self {
            flags: flag::SYN | fast_open | direction(from_lower),
            client_next: tcp.seq.wrapping_add(1),
            server_next: 0,
        }
    }

    #[inline(always)]
    fn syn_ack(from_lower: bool, tcp: &Header) -> Self {
        Self {
            flags: flag::SYN_ACK | direction(!from_lower),
            client_next: tcp.ack,
            server_next: tcp.seq.wrapping_add(1),
        }
    }

    /// Comes of a flow whose attempt is over: a repetition, or the first of the next attempt.
    #[inline(always)]
    fn follow<B: Bucket>(
        &self,
        found: &Found<B>,
        fingerprint: u64,
        now: Tick,
        old_numbers: u64,
    ) -> Table {
        let Self { flags, client_next, server_next } = *self;
        if after::is_repeated(found.head, old_numbers, flags, client_next, server_next) {
            return Table::Kept;
        }
        // The bit says where the entry lies, and it stays there.
        let head = fresh(fingerprint, now, flags) | (found.head & flag::SPILLED);
        match found.update(head, old_numbers, numbers(client_next, server_next)) {
            Table::Contended => Table::Contended,
            _ => Table::New,
        }
    }

    /// Flags and numbers of an entry after another SYN.
    #[inline(always)]
    fn renew_by_syn(&self, old: u64, old_numbers: u64, payload_len: u32) -> (u64, u64) {
        let client_next = self.client_next;
        let (old_client, old_server) = split(old_numbers);
        let old_flags = flags(old);
        if (old ^ self.flags) & flag::CLIENT_LOWER != 0 {
            // Both ends open: simultaneous, or an attempt each way.
            (old_flags | flag::UNSURE, old_numbers)
        } else if old & flag::TOOK_DATA != 0 {
            // A copy of the SYN that was answered, or another attempt.
            (old_flags | flag::UNSURE, old_numbers)
        } else if old_client == client_next {
            (old_flags | self.flags, old_numbers)
        } else if old & flag::SYN == 0 && old_client.wrapping_sub(client_next) <= payload_len {
            // The SYN-ACK came first and acknowledged data of this SYN.
            (old_flags | self.flags, numbers(client_next, old_server))
        } else {
            (self.flags | (old_flags & (flag::UNSURE | flag::GUEST)), numbers(client_next, 0))
        }
    }

    /// The same after another SYN-ACK.
    #[inline(always)]
    fn renew_by_syn_ack(&self, old: u64, old_numbers: u64) -> (u64, u64) {
        let Self { client_next: ack, server_next, .. } = *self;
        let (client_next, old_server) = split(old_numbers);
        let old_flags = flags(old);
        if (old ^ self.flags) & flag::CLIENT_LOWER != 0 {
            (old_flags | flag::UNSURE, old_numbers)
        } else if ack == client_next && old & flag::SYN_ACK == 0 {
            (old_flags | flag::SYN_ACK, numbers(client_next, server_next))
        } else if ack == client_next && old_server == server_next {
            (old_flags, old_numbers)
        } else if old & (flag::FAST_OPEN | flag::SYN_ACK) == flag::FAST_OPEN
            && ack.wrapping_sub(client_next) <= MAX_SYN_PAYLOAD
        {
            (old_flags | flag::SYN_ACK | flag::TOOK_DATA, numbers(ack, server_next))
        } else {
            // Does not acknowledge this SYN, or disagrees with the SYN-ACK before: the tracker may
            // or may not know better.
            (old_flags | flag::UNSURE, old_numbers)
        }
    }
}

/// Is this flow remembered?
#[inline(always)]
pub fn is_pending<M: Memory>(memory: M, fingerprint: u64) -> bool {
    find(memory, fingerprint).is_some()
}

/// Is an attempt of this flow pending that has not used up its [`ALLOWANCE`]?
#[inline(always)]
pub fn is_allowed<M: Memory>(memory: M, fingerprint: u64) -> bool {
    find(memory, fingerprint).is_some_and(|found| !is_exhausted(found.head) && !is_over(found.head))
}

/// Looks up any other segment: an ACK, data, FIN, RST. `watches`: what comes after a completion is
/// wanted.
#[inline(always)]
pub fn on_segment<M: Memory>(
    memory: M,
    fingerprint: u64,
    from_lower: bool,
    tcp: &Header,
    payload_len: u32,
    watches: bool,
) -> Pending {
    let Some(found) = find(memory, fingerprint) else {
        return Pending::No;
    };
    if is_over(found.head) {
        if watches {
            return after::on_segment(&found, from_lower, tcp, payload_len);
        }
        found.remove();
        return Pending::No;
    }
    if ends_for_sure(found.head, found.numbers(), from_lower, tcp, payload_len) {
        if watches && after::watch(&found, from_lower, tcp, payload_len) {
            return Pending::Watched;
        }
        // A lost race means that the entry lives on, which only costs events.
        found.remove();
        return Pending::Yes;
    }
    spend(&found)
}

/// Looks up the flow that an ICMP error quotes.
#[inline(always)]
pub fn on_icmp_error<M: Memory>(memory: M, fingerprint: u64) -> Pending {
    match find(memory, fingerprint) {
        Some(found) if !is_over(found.head) => spend(&found),
        _ => Pending::No,
    }
}

#[inline(always)]
fn spend<B: Bucket>(found: &Found<B>) -> Pending {
    let Some(left) = spent(found.head) else {
        found.remove();
        return Pending::Spent;
    };
    found.swap(left);
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
    let (client_next, server_next) = split(entry_numbers);
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

#[cfg(test)]
mod tests;
