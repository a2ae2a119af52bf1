//! Tracks every connection attempt to one outcome.
//!
//! A pure state machine: [`Tracker::observe`] takes events in order of time, [`Tracker::expire`]
//! and [`Tracker::next_deadline`] deal with time-outs, [`Tracker::drain`] hands out what has
//! ended. It has no clock and does no I/O; the time of an event at its hook is the only time it
//! knows. Rules: docs/semantics.md, sections 3 to 9 and 11; `segments` has them, `state` the
//! evidence, `table` the bounded memory.
//!
//! The books balance at every moment: attempts started = attempts ended + attempts open
//! ([`Stats::started`], [`Stats::outcomes`], [`Tracker::open`]).

mod deadlines;
mod doubts;
mod entries;
mod index;
mod key;
mod left_out;
mod record;
mod segments;
mod slab;
mod state;
mod stats;
mod table;

use std::collections::HashSet;
use std::sync::Arc;

use ahash::AHashSet;
use handshake_common::event::{flag, kind};
use handshake_common::sample::Shift;

use crate::attempt::{Attempt, Nanos, Observation, OpenView, SourceId};
use crate::census::{Begun, Census};
use crate::outcome::{Doubt, EndedBy, Outcome, Side};
use crate::sampling::one_in;
use crate::verdict::{Judged, Verdict};
use doubts::Doubts;
use key::PackedKey;
use left_out::LeftOut;
use record::End;
use segments::{Judgement, PeerSyn};
use state::Open;
use table::{Found, Place, Reach, Remembered, Table};

pub use entries::{Entries, Numbers};
pub use stats::Stats;

/// Attempts that one call of [`Tracker::expire`] ends at most: bounds how long it takes. The rest
/// follows with the next calls, with the same outcomes and times.
const EXPIRE_AT_ONCE: usize = 1024;

/// Further answers that are kept at least: SYN-ACKs with other ISNs of the server.
const FEWEST_FURTHER: usize = 64;

/// Events of a batch whose flows are looked up together.
const AHEAD: usize = 16;

/// What a user may set.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// T of section 9: how long to wait for the next segment of a handshake, at least.
    pub timeout: Nanos,
    /// How long an ended attempt is remembered.
    pub linger: Nanos,
    /// Most attempts open at once, and most remembered.
    pub max_attempts: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Tracker {
    config: Config,
    table: Table,
    stats: Stats,
    ended: Vec<Attempt>,
    /// Time of the last event or expiry; every attempt due before it has ended or will end as if
    /// it had.
    now: Nanos,
    /// Attempts that began at or before these times may lack evidence, and why.
    doubts: Doubts,
    /// When flows were left out whose next segments are not.
    left_out: LeftOut,
    due: Vec<u32>,
    /// Answers kept beside the first of each open attempt: bounded, whatever senders make up.
    further: usize,
    /// Only if somebody asked for it.
    census: Option<Box<Census>>,
    /// Who forgets what has ended, and tells what was forgotten before; none where nothing is.
    entries: Option<Arc<dyn Entries>>,
    /// Through which ring the event came that is being looked at.
    ring: u8,
}

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            table: Table::new(),
            stats: Stats::default(),
            ended: Vec::new(),
            now: Nanos::MIN,
            doubts: Doubts::new(config.linger),
            left_out: LeftOut::default(),
            due: Vec::new(),
            further: 0,
            census: None,
            entries: None,
            ring: 0,
        }
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Attempts open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.table.open()
    }

    /// Attempts that may be open at once, and ended ones remembered.
    #[must_use]
    pub fn max_attempts(&self) -> usize {
        self.config.max_attempts
    }

    /// How long it waits for the next segment of a handshake, at least.
    #[must_use]
    pub fn timeout(&self) -> Nanos {
        self.config.timeout
    }

    /// Every attempt open now, in no order.
    pub fn open_attempts(&self) -> impl Iterator<Item = OpenView> {
        self.table.iter().map(|(_, open)| open.view())
    }

    /// What the records of these open attempts would be if the input ended now.
    pub fn unfinished(&self, ids: &AHashSet<u64>) -> impl Iterator<Item = Attempt> {
        let end = End::new(Outcome::Unfinished, EndedBy::Eof, None);
        let asked = self.table.iter().filter(|(_, open)| ids.contains(&open.id));
        asked.map(move |(_, open)| open.clone().end(end, self.doubts.of(open)))
    }

    /// Ended attempts remembered now.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.table.remembered()
    }

    /// Takes the attempts that have ended since the last call.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Attempt> {
        self.ended.drain(..)
    }

    /// The earliest time at which [`Tracker::expire`] can have something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.table.next_deadline()
    }

    /// Section 9: ends every attempt whose deadline is before `now`. Call it for every packet of a
    /// capture, and from time to time live. What is due within the last 17 ms, or more than a
    /// thousand attempts at once, may be ended by a later call, but with the same outcome and time.
    /// Returns whether another call has something to do at once.
    pub fn expire(&mut self, now: Nanos) -> bool {
        if now < self.now {
            // Time goes backwards: settle what was due before it did.
            self.end_due(self.now, Reach::All);
        }
        self.now = now;
        if self.table.has_passed(now) {
            self.end_due(now, Reach::Some(EXPIRE_AT_ONCE));
        }
        self.table.forget(now, self.config.linger);
        self.table.has_passed(now)
    }

    fn end_due(&mut self, now: Nanos, reach: Reach) {
        let mut due = std::mem::take(&mut self.due);
        self.table.due(now, self.config.timeout, reach, &mut due);
        for place in due.drain(..) {
            self.time_out(place);
        }
        self.due = due;
    }

    /// Every hook that an attempt was seen at which is open or was not yet taken. Looks at all of them.
    #[must_use]
    pub fn sources_in_use(&self) -> HashSet<SourceId> {
        let open = self.table.iter().flat_map(|(_, open)| open.sources());
        open.chain(self.ended.iter().map(|attempt| attempt.source)).collect()
    }

    /// Counts open attempts from now on; call it before the first.
    pub fn keep_census(&mut self, census: Census) {
        self.census = Some(Box::new(census));
    }

    /// Open attempts by service, if they are counted.
    #[must_use]
    pub fn census(&self) -> Option<&Census> {
        self.census.as_deref()
    }

    /// The same, to take from it.
    pub fn census_mut(&mut self) -> Option<&mut Census> {
        self.census.as_deref_mut()
    }

    /// Until `time` flows were sampled by `shift`, from then on by a smaller one: attempts that begin
    /// now may have begun before, unseen.
    pub fn note_sampling_lowered(&mut self, shift: Shift, time: Nanos) {
        self.left_out.note(shift, time, self.config.linger);
    }

    /// Section 9, end of input: everything due has timed out, the rest is unfinished.
    pub fn finish(&mut self) {
        while self.finish_some(usize::MAX) {}
    }

    /// [`Tracker::finish`] in portions of at most `most`: an ended attempt takes more room than an
    /// open one. False once nothing was left to end.
    pub fn finish_some(&mut self, most: usize) -> bool {
        let before = self.ended.len();
        // What is due now is little, unless thousands began together: it is ended with every step.
        self.end_due(self.now, Reach::All);
        self.end_open(most, |_, _| End::new(Outcome::Unfinished, EndedBy::Eof, None));
        self.ended.len() > before
    }

    /// The input says that nothing follows of what is open: it ended in silence at a certain time,
    /// or it is not known how.
    pub fn settle_all(&mut self, silent_until: Option<Nanos>) {
        self.end_open(usize::MAX, |tracker, open| match silent_until {
            Some(_) if tracker.doubts.of(open).is_none() => {
                End::new(open.unanswered(), EndedBy::Timeout, silent_until)
            }
            _ => End::new(Outcome::Unfinished, EndedBy::Eof, None),
        });
    }

    /// Ends at most `most` of what is open, in the order of eviction.
    fn end_open(&mut self, most: usize, end: impl Fn(&Self, &Open) -> End) {
        let mut ended = 0;
        while ended < most
            && let Some(place) = self.table.victim()
            && let Some(open) = self.table.get(place)
        {
            self.end(place, end(self, open));
            ended += 1;
        }
    }

    /// Takes one event, not before the ones observed earlier (captures may go backwards), and says
    /// what it meant.
    pub fn observe(&mut self, seen: &Observation) -> Judged {
        let hash = self.table.hash(&PackedKey::from_client(&seen.event));
        self.observe_hashed(seen, hash)
    }

    /// [`Tracker::observe`] for each of them; quicker, because it knows what comes next.
    pub fn observe_batch(
        &mut self,
        batch: &[Observation],
        mut judged: impl FnMut(&Observation, Judged),
    ) {
        let mut hashes = [0; AHEAD];
        for chunk in batch.chunks(AHEAD) {
            for (hash, seen) in hashes.iter_mut().zip(chunk) {
                *hash = self.table.hash(&PackedKey::from_client(&seen.event));
            }
            self.table.warm(&hashes[..chunk.len()]);
            for (hash, seen) in hashes.iter().zip(chunk) {
                judged(seen, self.observe_hashed(seen, *hash));
            }
        }
    }

    fn observe_hashed(&mut self, seen: &Observation, hash: u64) -> Judged {
        self.expire(seen.event.time_ns as Nanos);
        self.ring = seen.event.ring;
        if seen.event.flags & flag::EXHAUSTED != 0 {
            self.note_exhausted(seen, hash);
        }
        match seen.event.kind {
            kind::SYN => self.on_syn(seen, hash),
            kind::SYN_ACK => self.on_synack(seen, hash),
            kind::ACK => self.on_ack(seen, hash),
            kind::RST => self.on_rst(seen, hash),
            kind::ICMP => self.on_icmp(seen, hash),
            _ => Judged::NOT_OURS,
        }
    }

    fn note_exhausted(&mut self, seen: &Observation, hash: u64) {
        let found = self.find(&PackedKey::from_client(&seen.event), hash);
        for place in [found.ours, found.reverse] {
            self.ask(place, |open| open.sampled.set_exhausted());
        }
    }

    /// What there is on a flow of this hash, once it is sure that none of it is due.
    fn find(&mut self, key: &PackedKey, hash: u64) -> Found {
        let found = self.table.find(key, hash);
        for place in [found.ours, found.reverse] {
            if let Place::Open(place) = place
                && let Some(open) = self.table.get(place)
                && open.deadline(self.config.timeout) < self.now
            {
                self.time_out(place);
                return self.find(key, hash);
            }
        }
        found
    }

    /// Of an attempt that is open: what `ask` makes of it, and its number.
    fn ask<T>(&mut self, place: Place, ask: impl FnOnce(&mut Open) -> T) -> Option<(u32, u64, T)> {
        let Place::Open(place) = place else { return None };
        let open = self.table.get_mut(place)?;
        let was_two_sided = open.is_two_sided();
        let was_half_open = self.census.is_none() || open.is_half_open();
        let was_repeated = open.extras().syn_retrans > 0;
        let (extras, further) = (open.extras(), open.further());
        let answer = ask(open);
        open.note_ring(self.ring);
        self.stats.take_growth(&extras, &open.extras());
        self.further += open.further() - further;
        let id = open.id;
        if let Some(census) = &mut self.census
            && !was_half_open
            && open.is_half_open()
        {
            census.answer(&open.key.unpack());
        }
        if let Some(census) = &mut self.census
            && !was_repeated
            && open.extras().syn_retrans > 0
        {
            census.repeat(&open.key.unpack());
        }
        if !was_two_sided && open.is_two_sided() {
            self.table.promote(place);
        }
        Some((place, id, answer))
    }

    fn on_syn(&mut self, seen: &Observation, hash: u64) -> Judged {
        let key = PackedKey::from_client(&seen.event);
        let found = self.find(&key, hash);
        self.note_new_entry(seen, found, Side::Client);
        if let Some((place, id, taken)) = self.ask(found.ours, |open| open.on_syn(seen)) {
            return match taken {
                Some(verdict) => Judged::of(id, verdict),
                None => self.supersede(place, key, found.hash, seen),
            };
        }
        match self.ask(found.reverse, |open| open.on_peer_syn(seen)) {
            Some((_, id, PeerSyn::Taken(verdict))) => Judged::of(id, verdict),
            Some((place, _, PeerSyn::Supersedes)) => self.supersede(place, key, found.hash, seen),
            Some((_, _, PeerSyn::Elsewhere)) | None => {
                self.begin_with_syn(key, found, seen, Verdict::Begins)
            }
        }
    }

    /// A SYN with another ISN ends the open attempt and begins one.
    fn supersede(&mut self, place: u32, key: PackedKey, hash: u64, seen: &Observation) -> Judged {
        if let Some(open) = self.table.get(place) {
            let time = Some(seen.event.time_ns as Nanos);
            let outcome = if self.doubts.of(open).is_some() {
                Outcome::Unfinished
            } else {
                open.unanswered()
            };
            self.end(place, End::new(outcome, EndedBy::Superseded, time));
        }
        let found = self.find(&key, hash);
        self.begin_with_syn(key, found, seen, Verdict::Supersedes)
    }

    /// Section 3, linger: a late copy, a repetition, or simply the first SYN.
    fn begin_with_syn(
        &mut self,
        key: PackedKey,
        found: Found,
        seen: &Observation,
        verdict: Verdict,
    ) -> Judged {
        let isn = seen.event.seq;
        let mut repeat = false;
        if let Some((place, memory)) = self.recall(found.ours)
            && memory.client_isn == isn
        {
            let elsewhere = memory.client_owner.source().is_some_and(|owner| owner != seen.source);
            if memory.completed || elsewhere {
                return self.count_late(place, Side::Client, seen);
            }
            repeat = true;
        }
        if let Some((place, memory)) = self.recall(found.reverse)
            && memory.completed
            && memory.peer_isn == Some(isn)
        {
            return self.count_late(place, Side::Server, seen);
        }
        let id = self.begin(found, seen, |id| Open::with_syn(id, key, seen, repeat));
        Judged::of(id, verdict)
    }

    /// What is remembered of an ended attempt, if its linger time is not over.
    fn recall(&self, place: Place) -> Option<(u32, &Remembered)> {
        let Place::Remembered(place) = place else { return None };
        let memory = self.table.memory(place)?;
        let until = memory.end.saturating_add(self.config.linger);
        (self.now <= until).then_some((place, memory))
    }

    /// Counts a copy that the hook sees which owns its direction; the first to see it owns it.
    fn count_late(&mut self, ended: u32, sender: Side, seen: &Observation) -> Judged {
        let Some(memory) = self.table.memory_mut(ended) else { return Judged::NOT_OURS };
        let owner = match sender {
            Side::Client => &mut memory.client_owner,
            Side::Server => &mut memory.server_owner,
        };
        if !owner.owns(seen.source) {
            return Judged::of(memory.id, Verdict::Copy);
        }
        self.stats.late_copies += 1;
        Judged::of(memory.id, Verdict::LateCopy)
    }

    fn begin(
        &mut self,
        mut found: Found,
        seen: &Observation,
        make: impl FnOnce(u64) -> Open,
    ) -> u64 {
        self.stats.started += 1;
        let mut open = make(self.stats.started);
        self.inherit(&mut open, found);
        if self.may_lack_entry(&open, found, seen) {
            open.sampled.set_lossy();
        }
        let shift = open.sampled.shift();
        self.stats.started_estimate += one_in(shift);
        if self.left_out.concerns(shift, open.began()) {
            open.sampled.set_begun_late();
        }
        while self.table.open() >= self.config.max_attempts {
            let Some(victim) = self.table.victim() else { break };
            self.end(victim, End::new(Outcome::Evicted, EndedBy::Evicted, Some(self.now)));
            // For whoever was evicted, another may have been forgotten.
            found = self.table.find(&open.key, found.hash);
        }
        if let Some(census) = &mut self.census {
            let begun = Begun { key: open.key.unpack(), began: open.began(), source: open.source };
            census.begin(begun, open.is_half_open());
        }
        self.table.insert(open, found, self.config.timeout);
        self.stats.started
    }

    /// A pending flow is let in whatever its number, because it was let in before: while flows are
    /// sampled, what begins on it stands for as many as what began before it.
    fn inherit(&self, open: &mut Open, found: Found) {
        if open.sampled.shift() > 0 || !self.doubts.was_noted(Doubt::Sampling, open.began()) {
            return;
        }
        let before = [found.ours, found.reverse].into_iter().filter_map(|place| match place {
            Place::Open(place) => self.table.get(place).map(|open| open.sampled.shift()),
            place => self.recall(place).map(|(_, memory)| memory.shift),
        });
        open.sampled.raise(before.max().unwrap_or(0));
    }

    fn on_synack(&mut self, seen: &Observation, hash: u64) -> Judged {
        let key = PackedKey::from_server(&seen.event);
        let found = self.find(&key, hash);
        self.note_new_entry(seen, found, Side::Server);
        let has_room = self.further < FEWEST_FURTHER.max(self.config.max_attempts / 16);
        if let Some(asked) = self.ask(found.ours, |open| open.on_synack(seen, has_room)) {
            return self.settle(asked);
        }
        if let Some(asked) = self.ask(found.reverse, |open| open.on_client_synack(seen)) {
            return self.settle(asked);
        }
        if let Some((place, memory)) = self.recall(found.ours)
            && acknowledges(memory, seen.event.ack)
        {
            return self.count_late(place, Side::Server, seen);
        }
        if let Some((place, memory)) = self.recall(found.reverse)
            && memory.peer_isn.is_some_and(|isn| seen.event.ack == isn.wrapping_add(1))
        {
            return self.count_late(place, Side::Client, seen);
        }
        let id = self.begin(found, seen, |id| Open::with_synack(id, key, seen));
        Judged::of(id, Verdict::BeginsWithSynAck)
    }

    fn on_ack(&mut self, seen: &Observation, hash: u64) -> Judged {
        let found = self.find(&PackedKey::from_client(&seen.event), hash);
        if let Some(asked) = self.ask(found.ours, |open| open.on_client_ack(seen)) {
            return self.settle(asked);
        }
        match self.ask(found.reverse, |open| open.on_server_ack(seen)) {
            Some(asked) => self.settle(asked),
            None => Judged::NOT_OURS,
        }
    }

    fn on_rst(&mut self, seen: &Observation, hash: u64) -> Judged {
        let found = self.find(&PackedKey::from_client(&seen.event), hash);
        let mut last_tried = None;
        for (place, sender) in [(found.reverse, Side::Server), (found.ours, Side::Client)] {
            let Some((open, id, end)) = self.ask(place, |open| open.on_rst(seen, sender)) else {
                continue;
            };
            if let Some(end) = end {
                return self.settle((open, id, (Verdict::of_rst(end.outcome), Some(end))));
            }
            last_tried = Some((place, sender));
        }
        let Some((place, sender)) = last_tried else { return Judged::NOT_OURS };
        let asked = self.ask(place, |open| open.on_bad_rst(seen, sender));
        asked.map_or(Judged::NOT_OURS, |(_, id, verdict)| Judged::of(id, verdict))
    }

    fn on_icmp(&mut self, seen: &Observation, hash: u64) -> Judged {
        let found = self.find(&PackedKey::from_client(&seen.event), hash);
        let mut judged = Judged::NOT_OURS;
        for (place, sender) in [(found.ours, Side::Client), (found.reverse, Side::Server)] {
            match self.ask(place, |open| open.on_icmp(seen, sender)) {
                Some((place, id, Some(end))) => {
                    return self.settle((place, id, (Verdict::Unreachable, Some(end))));
                }
                Some((_, id, None)) => judged = Judged::of(id, Verdict::IcmpWithoutEffect),
                None => {}
            }
        }
        judged
    }

    /// Ends the attempt if that is what the segment meant.
    fn settle(&mut self, (place, id, (verdict, end)): (u32, u64, Judgement)) -> Judged {
        if let Some(end) = end {
            self.end(place, end);
        }
        Judged::of(id, verdict)
    }

    /// The deadline has passed. If events were lost meanwhile, silence proves nothing.
    fn time_out(&mut self, place: u32) {
        self.look_back(place);
        let Some(open) = self.table.get(place) else { return };
        let deadline = Some(open.deadline(self.config.timeout));
        let end = if self.doubts.of(open).is_some() {
            End::new(Outcome::Unfinished, EndedBy::Loss, deadline)
        } else {
            End::new(open.unanswered(), EndedBy::Timeout, deadline)
        };
        self.end(place, end);
    }

    fn end(&mut self, place: u32, end: End) {
        self.retire_ended(place, &end);
        let memory = |open: &Open| {
            let (client_owner, server_owner) = open.owners();
            end.time.map(|time| Remembered {
                id: open.id,
                end: time,
                key: open.key,
                client_isn: open.client_isn,
                peer_isn: open.peer_isn(),
                syn_payload: open.syn_payload(),
                client_owner,
                server_owner,
                completed: end.outcome.is_completed(),
                evicted: end.outcome == Outcome::Evicted,
                shift: open.sampled.shift(),
            })
        };
        let Some(open) = self.table.remove(place, self.config.max_attempts, memory) else { return };
        self.further -= open.further();
        if let Some(census) = &mut self.census {
            census.end(&open.key.unpack(), open.is_half_open(), open.extras().syn_retrans > 0);
        }
        let doubt = self.doubts.of_ended(&open, end.outcome);
        let attempt = open.end(end, doubt);
        self.count(&attempt);
        self.ended.push(attempt);
    }

    fn count(&mut self, attempt: &Attempt) {
        let stats = &mut self.stats;
        stats.outcomes[attempt.outcome as usize] += 1;
        stats.outcomes_estimate[attempt.outcome as usize] += one_in(attempt.sample_shift);
        stats.uncertain += u64::from(attempt.uncertain.is_some());
    }
}

/// Does a SYN-ACK acknowledge the SYN of a remembered attempt (section 5)?
fn acknowledges(memory: &Remembered, ack: u32) -> bool {
    ack.wrapping_sub(memory.client_isn.wrapping_add(1)) <= memory.syn_payload
}

#[cfg(test)]
mod tests;
