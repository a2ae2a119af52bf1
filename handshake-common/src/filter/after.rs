//! What happens right after an attempt was completed: its entry stays for a while, as one that is
//! over.
//!
//! Such an entry has neither [`flag::SYN`] nor [`flag::SYN_ACK`]. It is of no pending attempt, it
//! goes first when its bucket is full, and it makes an event of four things only: the first byte of
//! each side, a FIN and a RST. Its tag, its numbers and its client are what they were; what else an
//! entry is marked with is of no use to it, and three of these bits say which side has sent a byte, and
//! whether the client has closed its side after that. Once both have sent something, or the server or a
//! client that has sent nothing closes, it goes. If nothing of the kind comes, user space removes it.

use crate::packet::Segment;
use crate::packet::tcp::{Flags, Header};

use super::entry::{flag, flags, is_over, is_two_sided, split};
use super::table::{Bucket, Found, Memory, find, is_crowded, places};
use super::{Pending, in_window};

/// The client has sent a byte.
const CLIENT_SENT: u64 = flag::FAST_OPEN;
/// The server has.
const SERVER_SENT: u64 = flag::UNSURE;
const BOTH_SENT: u64 = CLIENT_SENT | SERVER_SENT;
/// The client has sent something and closed its side: it may still be answered.
const CLIENT_CLOSED: u64 = flag::TOOK_DATA;
/// What more than one entry can follow is not watched.
const UNWATCHED: u64 = flag::FAST_OPEN | flag::UNSURE | flag::TOOK_DATA;

/// An ACK as the quick look knows it ([`crate::quick`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// Of its flow.
    pub fingerprint: u64,
    /// Its sender is the lower end.
    pub from_lower: bool,
    /// Does it carry payload?
    pub has_payload: bool,
    /// Does it carry a FIN?
    pub has_fin: bool,
}

impl Plain {
    /// The same of a segment that was parsed.
    #[must_use]
    pub fn of(segment: &Segment) -> Self {
        Self {
            fingerprint: segment.flow.fingerprint(),
            from_lower: segment.flow.from_lower(),
            has_payload: segment.payload_len > 0,
            has_fin: segment.tcp.flags.has(Flags::FIN),
        }
    }
}

/// May an ACK make an event? If not, the long way would make none either.
#[inline(always)]
pub fn may_matter<M: Memory>(memory: M, ack: &Plain) -> bool {
    let Some(found) = find(memory, ack.fingerprint) else { return false };
    let head = found.head;
    !is_over(head) || ack.has_fin || (ack.has_payload && head & sent_by(head, ack.from_lower) == 0)
}

#[inline(always)]
fn sent_by(head: u64, from_lower: bool) -> u64 {
    if is_client(head, from_lower) { CLIENT_SENT } else { SERVER_SENT }
}

#[inline(always)]
fn is_client(head: u64, from_lower: bool) -> bool {
    from_lower == (head & flag::CLIENT_LOWER != 0)
}

/// The segment has completed the attempt of this entry. Keeps the entry as one that is over if the
/// client sent it, and its bucket is not needed for others. True if it is kept.
#[inline(always)]
pub(super) fn watch<B: Bucket>(
    found: &Found<B>,
    from_lower: bool,
    tcp: &Header,
    payload_len: u32,
) -> bool {
    let head = found.head;
    if !is_two_sided(head)
        || !is_client(head, from_lower)
        || head & UNWATCHED != 0
        || tcp.flags.0 & (Flags::RST | Flags::FIN) != 0
        || is_crowded(places(found.bucket))
    {
        return false;
    }
    let sent = if payload_len > 0 { CLIENT_SENT } else { 0 };
    found.swap(head & !(flag::SYN | flag::SYN_ACK) | sent)
}

/// Another segment of a flow whose attempt is over.
#[inline(always)]
pub(super) fn on_segment<B: Bucket>(
    found: &Found<B>,
    from_lower: bool,
    tcp: &Header,
    payload_len: u32,
) -> Pending {
    let head = found.head;
    let (client_next, server_next) = split(found.numbers());
    let sent = sent_by(head, from_lower);
    let next = if sent == CLIENT_SENT { client_next } else { server_next };
    // How far a side is that has sent something is not followed.
    if head & sent == 0 && !in_window(tcp.seq, next) {
        return Pending::No;
    }
    let mut now = head | if payload_len > 0 { sent } else { 0 };
    let has_fin = tcp.flags.has(Flags::FIN);
    // A client that has asked may close its side before the answer.
    let is_half_closed = has_fin && sent == CLIENT_SENT && now & CLIENT_SENT != 0;
    if is_half_closed {
        now |= CLIENT_CLOSED;
    }
    let is_closed = tcp.flags.has(Flags::RST) || (has_fin && !is_half_closed);
    if is_closed || (now != head && now & BOTH_SENT == BOTH_SENT) {
        found.remove();
        return Pending::Yes;
    }
    if now == head {
        return Pending::No;
    }
    found.swap(now);
    Pending::Yes
}

/// Is this SYN or SYN-ACK one that the completed attempt had, once more? Then its entry stays as it
/// is. `opening` is what an entry's flags would be that began with it.
#[inline(always)]
pub(super) fn is_repeated(
    head: u64,
    old_numbers: u64,
    opening: u64,
    client_next: u32,
    server_next: u32,
) -> bool {
    let (old_client, old_server) = split(old_numbers);
    (head ^ opening) & flag::CLIENT_LOWER == 0
        && old_client == client_next
        && (flags(opening) & flag::SYN_ACK == 0 || old_server == server_next)
}

#[cfg(test)]
mod tests;
