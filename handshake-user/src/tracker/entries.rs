//! The filter's table, as the tracker needs it: what it has forgotten it cannot have reported.
//!
//! An attempt and its entry in the table begin together. While the entry is there, whatever comes of
//! the flow makes an event; once it is gone, only SYNs and SYN-ACKs do. The tracker learns of a lost
//! entry in two ways: a SYN or SYN-ACK of an open attempt says that it had to make a new one
//! ([`flag::NEW_ENTRY`]), or an attempt that is about to end by silence has none ([`Entries::retire`]).
//! Either makes this attempt uncertain, and no other. docs/semantics.md, section 14, has the rules.
//!
//! What has ended leaves the table, so that it has room for what comes.
//!
//! [`flag::NEW_ENTRY`]: handshake_common::event::flag::NEW_ENTRY

use std::fmt;
use std::sync::Arc;

use handshake_common::event::flag;

use crate::attempt::{Key, Nanos, Observation};
use crate::outcome::{EndedBy, Outcome, Side};

use super::Tracker;
use super::record::End;
use super::state::Open;
use super::table::{Found, Place};

/// Who knows which flows are pending.
pub trait Entries: fmt::Debug + Send + Sync {
    /// Is there an entry of this flow?
    fn remembers(&self, key: &Key) -> bool;

    /// An attempt of this flow has ended: removes its entry. False if there is none, or if it is of a
    /// later attempt.
    fn retire(&self, key: &Key, syn: Numbers) -> bool;
}

/// By what an entry is known to be of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// The ISN of the client.
    pub isn: u32,
    /// Payload of the SYN in bytes: a SYN-ACK may acknowledge it.
    pub payload: u32,
}

impl Numbers {
    /// Can this be the client's next sequence number in an entry of the attempt?
    #[must_use]
    pub fn lead_to(self, client_next: u32) -> bool {
        client_next.wrapping_sub(self.isn.wrapping_add(1)) <= self.payload
    }
}

impl Tracker {
    /// What ends is retired there, and attempts whose entries may have been lost
    /// ([`Tracker::note_forgetting`]) are looked up. Without it nobody looks anything up, and such
    /// attempts are uncertain.
    pub fn read_back(&mut self, entries: Arc<dyn Entries>) {
        self.entries = Some(entries);
    }

    /// Entries may have been lost at or before `until`, of which flows will be seen.
    pub fn note_forgetting(&mut self, until: Nanos) {
        self.doubts.note_forgetting(until);
    }

    /// A SYN or SYN-ACK made a new entry although its attempt is open: what came of it since the
    /// segment before may have passed unseen.
    pub(super) fn note_new_entry(&mut self, seen: &Observation, found: Found, sender: Side) {
        if self.entries.is_none() || seen.event.flags & flag::NEW_ENTRY == 0 {
            return;
        }
        for (place, sender) in [(found.ours, sender), (found.reverse, sender.other())] {
            if let Place::Open(place) = place
                && let Some(open) = self.table.get_mut(place)
                && !open.is_copy(seen, sender)
            {
                open.sampled.set_lossy();
            }
        }
    }

    /// An attempt begins with an entry that was there before. If that was of one which has ended, it
    /// may have been retired meanwhile, and nothing else will say so.
    pub(super) fn may_lack_entry(&self, open: &Open, found: Found, seen: &Observation) -> bool {
        let Some(entries) = &self.entries else { return false };
        // An entry with other numbers than those of the one that ended is not retired with it.
        let has_its_numbers = |place| match place {
            Place::Remembered(place) => {
                self.table.memory(place).is_some_and(|memory| memory.client_isn == open.client_isn)
            }
            Place::Nothing | Place::Open(_) => false,
        };
        // Where the other end opened before, the entry keeps its numbers.
        let was_known =
            has_its_numbers(found.ours) || matches!(found.reverse, Place::Remembered(_));
        was_known
            && seen.event.flags & flag::NEW_ENTRY == 0
            && !entries.remembers(&open.key.unpack())
    }

    /// An attempt is about to end by silence: removes its entry. If that is gone already although it
    /// should not be, what came of it may have passed unseen.
    pub(super) fn look_back(&mut self, place: u32) {
        let was_known = self.retire(place);
        if let Some(open) = self.table.get_mut(place)
            && self.doubts.may_be_forgotten(open)
            && !was_known
        {
            open.sampled.set_lossy();
        }
    }

    /// Removes the entry of an attempt that ends, if it can still be there.
    pub(super) fn retire_ended(&mut self, place: u32, end: &End) {
        let needed = match end.by {
            // The programs have done with it for themselves, but for what they cannot judge.
            EndedBy::Handshake => end.outcome == Outcome::SimultaneousOpen,
            EndedBy::Rst | EndedBy::Icmp | EndedBy::Evicted => true,
            // Its entry is that of its successor.
            EndedBy::Superseded => false,
            // `look_back` was there.
            EndedBy::Timeout | EndedBy::Loss => false,
            EndedBy::Eof => false,
        };
        if needed {
            self.retire(place);
        }
    }

    /// Removes the entry of an open attempt. Was it known until now?
    fn retire(&mut self, place: u32) -> bool {
        let (Some(entries), Some(open)) = (&self.entries, self.table.get(place)) else {
            return false;
        };
        let key = open.key.unpack();
        let found = self.table.find(&open.key, self.table.hash(&open.key));
        if matches!(found.reverse, Place::Open(_)) {
            // Both ends have one, and one entry.
            return entries.remembers(&key);
        }
        let syn = Numbers { isn: open.client_isn, payload: open.syn_payload() };
        let was_known = entries.retire(&key, syn);
        self.stats.retired += u64::from(was_known);
        was_known
    }
}

impl Open {
    /// Is it the same segment seen at a second hook? That one may find what the first has made, and
    /// be told before it.
    fn is_copy(&self, seen: &Observation, sender: Side) -> bool {
        let (client, server) = self.owners();
        let owner = if sender == Side::Client { client } else { server };
        owner.source().is_some_and(|source| source != seen.source)
    }
}
