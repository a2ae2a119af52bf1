//! What happens right after a completion: does the server go on, or did it only shake hands?
//!
//! A pure room. The programs keep the entry of a completed attempt for a while
//! (`handshake_common::filter`) and report the first byte of each side, a FIN and a RST; every SYN-ACK
//! makes an event anyway. Here these are put together with the attempt, which is held until its watch
//! is over: both sides have sent a byte, one of them has closed or reset, or the time is up.
//!
//! **Bounded.** At most [`MOST`] attempts are watched at once; beyond that, while flows are sampled,
//! and where the table is crowded, attempts are not watched and their `after` is unknown, as it is if
//! something may have been lost and nothing was seen. It never says that nothing came because nothing
//! was heard. docs/semantics.md, section 15, has the rules.

use std::collections::{BTreeMap, HashMap, VecDeque};

use handshake_common::event::{Event, flag, kind};
use handshake_common::packet::tcp::Flags;

use crate::attempt::{Attempt, Key, Nanos, Observation};
use crate::tracker::{Entries, Numbers};
use crate::verdict::{Judged, Verdict};

/// Watched at once: about 8 MB.
pub const MOST: usize = 16_384;

/// A SYN-ACK so soon after the third ACK was under way already, whatever the round-trip time: no stack
/// repeats a SYN-ACK within this time.
const CROSSED: Nanos = 50_000_000;

/// What came of a completed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Next {
    /// The server reset the connection.
    ResetByServer,
    /// The client did.
    ResetByClient,
    /// The server closed it before it had sent a byte.
    ClosedWithoutData,
    /// The client closed it before anybody had sent a byte.
    ClosedByClient,
    /// The server repeated its SYN-ACK: it never took the third ACK.
    NotAccepted,
    /// A side has sent data.
    Data,
    /// Neither side sent anything.
    Nothing,
}

impl Next {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ResetByServer,
        Self::ResetByClient,
        Self::ClosedWithoutData,
        Self::ClosedByClient,
        Self::NotAccepted,
        Self::Data,
        Self::Nothing,
    ];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ResetByServer => "reset-by-server",
            Self::ResetByClient => "reset-by-client",
            Self::ClosedWithoutData => "closed-without-data",
            Self::ClosedByClient => "closed-by-client",
            Self::NotAccepted => "not-accepted",
            Self::Data => "data",
            Self::Nothing => "nothing",
        }
    }

    /// What a server does that completes handshakes and does not serve them.
    pub const UNSERVED: [Self; 3] =
        [Self::ResetByServer, Self::ClosedWithoutData, Self::NotAccepted];

    /// Is it one of [`Next::UNSERVED`]?
    #[must_use]
    pub fn is_unserved(self) -> bool {
        Self::UNSERVED.contains(&self)
    }

    /// What happened, for people; none if that is just what one expects.
    #[must_use]
    pub fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::ResetByServer => "the server reset it",
            Self::ResetByClient => "the client reset it",
            Self::ClosedWithoutData => "the server closed it without a byte",
            Self::ClosedByClient => "the client closed it without a byte",
            Self::NotAccepted => "the server repeated its SYN-ACK",
            Self::Data => return None,
            Self::Nothing => "neither side sent anything",
        })
    }
}

/// What was seen after a completion. Times are nanoseconds since then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// What it comes to.
    pub next: Next,
    /// When that was seen; of [`Next::Nothing`], and of [`Next::Data`] if the server sent none, how long
    /// it was watched.
    pub at: Nanos,
    /// SYN-ACKs that the server repeated after the third ACK.
    pub synack_retrans: u32,
    /// The client's first byte.
    pub first_byte_client: Option<Nanos>,
    /// The server's.
    pub first_byte_server: Option<Nanos>,
}

/// Ended attempts by [`Next`].
pub type Totals = [u64; Next::ALL.len()];

/// See the module.
#[derive(Debug)]
pub struct Aftermath {
    span: Nanos,
    /// Which attempt a flow is of.
    flows: HashMap<Key, u64, ahash::RandomState>,
    watches: HashMap<u64, Watch, ahash::RandomState>,
    /// In order of time, also those that are over.
    due: VecDeque<(Nanos, u64)>,
    settled: Vec<Attempt>,
    totals: Totals,
}

#[derive(Debug)]
struct Watch {
    key: Key,
    client_isn: u32,
    began: Nanos,
    seen: Seen,
    /// Something may have been missed.
    is_lossy: bool,
    is_over: bool,
    /// Not before it was handed over.
    attempt: Option<Attempt>,
}

/// The evidence; times since 1970 or since boot, as of the events.
#[derive(Debug, Default)]
struct Seen {
    client_byte: Option<Nanos>,
    server_byte: Option<Nanos>,
    client_closed: Option<Nanos>,
    server_closed: Option<Nanos>,
    client_reset: Option<Nanos>,
    server_reset: Option<Nanos>,
    synacks: u32,
    first_synack: Option<Nanos>,
}

impl Aftermath {
    /// Watches for so long after each completion; 0 watches nothing.
    #[must_use]
    pub fn new(span: Nanos) -> Self {
        Self {
            span,
            flows: HashMap::default(),
            watches: HashMap::default(),
            due: VecDeque::new(),
            settled: Vec::new(),
            totals: [0; Next::ALL.len()],
        }
    }

    /// Attempts whose watch is over, by the name of what came of them; without zeroes.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let counts = Next::ALL.into_iter().zip(self.totals);
        counts
            .filter(|(_, count)| *count > 0)
            .map(|(next, n)| (next.name().to_owned(), n))
            .collect()
    }

    /// When the first watch is over at the latest.
    #[must_use]
    pub fn next_due(&self) -> Option<Nanos> {
        self.due.front().map(|(due, _)| *due)
    }

    /// Takes an event and what the tracker made of it. Returns the completed attempt that it belongs
    /// to, if it is watched.
    pub fn note(
        &mut self,
        seen: &Observation,
        judged: &Judged,
        table: &dyn Entries,
    ) -> Option<u64> {
        let event = &seen.event;
        if event.flags & flag::WATCHED != 0 {
            self.begin(event, judged, table);
            return None;
        }
        let is_later = match judged.attempt {
            None => matches!(event.kind, kind::ACK | kind::RST),
            Some(_) => judged.verdict == Verdict::LateCopy && event.kind == kind::SYN_ACK,
        };
        if !is_later || self.watches.is_empty() {
            return None;
        }
        let key = Key::from_client(event);
        let (id, is_clients) = match (self.flows.get(&key), self.flows.get(&key.reversed())) {
            (Some(id), _) => (*id, true),
            (None, Some(id)) => (*id, false),
            (None, None) => return None,
        };
        let watch = self.watches.get_mut(&id)?;
        watch.seen.add(event, is_clients);
        if watch.seen.is_final() {
            self.end(id);
        }
        Some(id)
    }

    /// The client's segment completed an attempt, and the programs watch its flow.
    fn begin(&mut self, event: &Event, judged: &Judged, table: &dyn Entries) {
        let key = Key::from_client(event);
        // One before the sequence number that follows the SYN; the segment may come later.
        let syn = Numbers { isn: event.seq.wrapping_sub(1), payload: 0 };
        // Then its attempt will be handed over.
        let is_completed = judged.verdict == Verdict::Completes;
        let has_room = self.span > 0 && self.watches.len() < MOST;
        let Some(id) = judged.attempt.filter(|_| is_completed && has_room) else {
            table.retire(&key, syn);
            return;
        };
        let began = event.time_ns as Nanos;
        if let Some(before) = self.flows.insert(key, id) {
            self.end(before);
        }
        let mut seen = Seen::default();
        seen.add(event, true);
        let watch = Watch {
            key,
            client_isn: syn.isn,
            began,
            seen,
            is_lossy: false,
            is_over: false,
            attempt: None,
        };
        self.watches.insert(id, watch);
        self.due.push_back((began.saturating_add(self.span), id));
    }

    /// Takes attempts that have ended, and gives back those of which nothing more is to come: what is
    /// not watched, and what was.
    pub fn hold(&mut self, ended: Vec<Attempt>) -> Vec<Attempt> {
        let mut settled = Vec::with_capacity(ended.len());
        for attempt in ended {
            match self.watches.get_mut(&attempt.id) {
                Some(watch) => {
                    let (id, is_over) = (attempt.id, watch.is_over);
                    watch.client_isn = attempt.client_isn;
                    watch.attempt = Some(attempt);
                    if is_over {
                        self.end(id);
                    }
                }
                None => settled.push(attempt),
            }
        }
        settled.append(&mut self.settled);
        settled
    }

    /// Ends what was watched for long enough at `now`.
    pub fn expire(&mut self, now: Nanos, table: &dyn Entries) {
        while let Some((due, id)) = self.due.front().copied()
            && due < now
        {
            self.due.pop_front();
            let Some(watch) = self.watches.get_mut(&id) else { continue };
            let syn = Numbers { isn: watch.client_isn, payload: 0 };
            let was_there = table.retire(&watch.key, syn);
            watch.is_lossy |= !was_there && !watch.is_over;
            self.end(id);
        }
    }

    /// Events were lost up to now: what is not seen may have been.
    pub fn note_loss(&mut self) {
        self.watches.values_mut().for_each(|watch| watch.is_lossy = true);
    }

    /// The input ends: nothing more is to come of anything.
    pub fn finish(&mut self) {
        self.note_loss();
        let ids: Vec<u64> = self.watches.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end(id));
    }

    fn forget(&mut self, id: u64) -> Option<Watch> {
        let watch = self.watches.remove(&id)?;
        if self.flows.get(&watch.key) == Some(&id) {
            self.flows.remove(&watch.key);
        }
        Some(watch)
    }

    /// A watch is over: its attempt is settled, once it is there.
    fn end(&mut self, id: u64) {
        let Some(watch) = self.watches.get_mut(&id) else { return };
        watch.is_over = true;
        if watch.attempt.is_none() {
            return;
        }
        let Some(mut watch) = self.forget(id) else { return };
        let Some(mut attempt) = watch.attempt.take() else { return };
        if attempt.outcome.is_completed() {
            attempt.after = watch.after(&attempt, self.span);
        }
        if let Some(after) = &attempt.after {
            self.totals[after.next as usize] += 1;
        }
        self.settled.push(attempt);
    }
}

impl Watch {
    fn after(&self, attempt: &Attempt, span: Nanos) -> Option<After> {
        let seen = &self.seen;
        let since = |time: Nanos| time.saturating_sub(self.began).max(0);
        // Within a round-trip time after the third ACK, the server did not know of it.
        let crossing = attempt.latency_server().unwrap_or(0).max(CROSSED);
        let crossed = seen.first_synack.is_some_and(|first| since(first) <= crossing);
        let synack_retrans = seen.synacks - u32::from(crossed);
        let first_synack = seen.first_synack.filter(|_| synack_retrans > 0);
        let byte = seen.server_byte.or(seen.client_byte);
        let (next, at) = if let Some(at) = seen.server_reset {
            (Next::ResetByServer, at)
        } else if let Some(at) = seen.client_reset {
            (Next::ResetByClient, at)
        } else if let (Some(at), None) = (seen.server_closed, seen.server_byte)
            && seen.client_closed.is_none_or(|closed| closed > at)
        {
            (Next::ClosedWithoutData, at)
        } else if let (Some(at), None) = (first_synack, seen.server_byte) {
            (Next::NotAccepted, at)
        } else if byte.is_some() {
            let both = seen.server_byte.and(seen.client_byte).max(seen.server_byte);
            (Next::Data, both.unwrap_or_else(|| self.began.saturating_add(span)))
        } else if let Some(at) = seen.client_closed {
            (Next::ClosedByClient, at)
        } else {
            (Next::Nothing, self.began.saturating_add(span))
        };
        if next == Next::Nothing && self.is_lossy {
            return None;
        }
        Some(After {
            next,
            at: since(at),
            synack_retrans,
            first_byte_client: seen.client_byte.map(since),
            first_byte_server: seen.server_byte.map(since),
        })
    }
}

impl Seen {
    fn add(&mut self, event: &Event, is_clients: bool) {
        let time = event.time_ns as Nanos;
        let flags = Flags(event.tcp_flags);
        if event.kind == kind::SYN_ACK {
            if !is_clients {
                self.synacks += 1;
                self.first_synack.get_or_insert(time);
            }
            return;
        }
        let (byte, closed, reset) = if is_clients {
            (&mut self.client_byte, &mut self.client_closed, &mut self.client_reset)
        } else {
            (&mut self.server_byte, &mut self.server_closed, &mut self.server_reset)
        };
        if flags.has(Flags::RST) {
            reset.get_or_insert(time);
            return;
        }
        if event.payload_len > 0 {
            byte.get_or_insert(time);
        }
        if flags.has(Flags::FIN) {
            closed.get_or_insert(time);
        }
    }

    /// Can nothing that comes later change it? As the programs see it, which report no more then.
    fn is_final(&self) -> bool {
        let is_reset = self.client_reset.is_some() || self.server_reset.is_some();
        let client_went = self.client_closed.is_some() && self.client_byte.is_none();
        let both = self.client_byte.is_some() && self.server_byte.is_some();
        is_reset || self.server_closed.is_some() || client_went || both
    }
}

#[cfg(test)]
mod tests;
