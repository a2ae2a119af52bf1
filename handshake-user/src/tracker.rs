//! Follows every connection attempt to exactly one outcome.
//!
//! A pure state machine: [`Tracker::observe`] takes events in order of time, [`Tracker::expire`]
//! and [`Tracker::next_deadline`] deal with time-outs, [`Tracker::drain`] hands out what has
//! ended. It has no clock and does no I/O; the time of an event at its hook is the only time it
//! knows. Rules: docs/semantics.md, sections 3 to 9 and 11; `state` has the evidence,
//! `table` the bounded memory.
//!
//! The books balance at every moment: attempts started = attempts ended + attempts open
//! ([`Stats::started`], [`Stats::outcomes`], [`Tracker::open`]).

mod left_out;
mod state;
mod table;

use std::collections::HashMap;

use handshake_common::event::kind;
use handshake_common::sample::Shift;

use crate::attempt::{Attempt, Key, Nanos, Observation, OpenView, SourceId};
use crate::outcome::{EndedBy, Outcome, Side};
use crate::sampling::one_in;
use crate::verdict::{Judged, Verdict};
use left_out::LeftOut;
use state::{End, Judgement, Open, PeerSyn};
use table::{Reach, Remembered, Table};

/// Attempts that one call of [`Tracker::expire`] ends at most: bounds how long it takes. The rest
/// follows with the next calls, with the same outcomes and times.
const EXPIRE_AT_ONCE: usize = 1024;

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

/// Counts of what the tracker has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Attempts begun.
    pub started: u64,
    /// Attempts ended, by [`Outcome`] in its order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Copies of the SYN beyond the first, over all ended attempts.
    pub syn_retrans: u64,
    /// Copies of SYN-ACKs, likewise.
    pub synack_retrans: u64,
    /// SYNs and SYN-ACKs of attempts that had ended.
    pub late_copies: u64,
    /// SYN-ACKs that answered no SYN of theirs, over all ended attempts.
    pub bad_synack: u64,
    /// RSTs that belonged to no attempt, likewise.
    pub bad_rst: u64,
    /// Attempts that ended while events had been lost.
    pub uncertain: u64,
    /// [`Stats::started`], had no flow been sampled out: an estimate.
    pub started_estimate: u64,
    /// [`Stats::outcomes`], likewise.
    pub outcomes_estimate: [u64; Outcome::ALL.len()],
}

impl Stats {
    /// Attempts that ended with `outcome`.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Attempts ended.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.outcomes.iter().sum()
    }
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
    /// Attempts that began at or before this may have lost evidence.
    lost_until: Option<Nanos>,
    /// The same for those that were seen at a certain hook.
    gaps: HashMap<SourceId, Nanos>,
    /// When flows were left out whose next segments are not.
    left_out: LeftOut,
    due: Vec<Key>,
}

impl Tracker {
    /// An empty tracker.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            table: Table::new(config.max_attempts),
            stats: Stats::default(),
            ended: Vec::new(),
            now: Nanos::MIN,
            lost_until: None,
            gaps: HashMap::new(),
            left_out: LeftOut::default(),
            due: Vec::new(),
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

    /// Every attempt open now, in no order.
    pub fn open_attempts(&self) -> impl Iterator<Item = OpenView> {
        self.table.iter().map(Open::view)
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
        for key in due.drain(..) {
            self.time_out(&key);
        }
        self.due = due;
    }

    /// Events may have been lost at or before `until`: what was open then is uncertain.
    pub fn note_loss(&mut self, until: Nanos) {
        self.lost_until = self.lost_until.max(Some(until));
    }

    /// A hook may have missed packets until `until`: attempts that it saw, open then, are uncertain.
    pub fn note_gap(&mut self, source: SourceId, until: Nanos) {
        let noted = self.gaps.entry(source).or_insert(until);
        *noted = until.max(*noted);
    }

    /// Until `time` flows were sampled by `shift`, from then on by a smaller one: attempts that begin
    /// now may have begun before, unseen.
    pub fn note_sampling_lowered(&mut self, shift: Shift, time: Nanos) {
        self.left_out.note(shift, time, self.config.linger);
    }

    /// Section 9, end of input: everything due has timed out, the rest is unfinished.
    pub fn finish(&mut self) {
        self.end_due(self.now, Reach::All);
        for key in self.table.keys() {
            self.end(&key, End::new(Outcome::Unfinished, EndedBy::Eof, None));
        }
    }

    /// The input says that nothing follows of what is open: it ended in silence at a certain time,
    /// or it is not known how.
    pub fn settle_all(&mut self, silent_until: Option<Nanos>) {
        for key in self.table.keys() {
            let Some(open) = self.table.get(&key) else { continue };
            let end = match silent_until {
                Some(_) if !self.is_uncertain(open) => {
                    End::new(open.unanswered(), EndedBy::Timeout, silent_until)
                }
                _ => End::new(Outcome::Unfinished, EndedBy::Eof, None),
            };
            self.end(&key, end);
        }
    }

    /// Takes one event, not before the ones observed earlier (captures may go backwards), and says
    /// what it meant.
    pub fn observe(&mut self, seen: &Observation) -> Judged {
        self.expire(seen.event.time_ns as Nanos);
        match seen.event.kind {
            kind::SYN => self.on_syn(seen),
            kind::SYN_ACK => self.on_synack(seen),
            kind::ACK => self.on_ack(seen),
            kind::RST => self.on_rst(seen),
            kind::ICMP => self.on_icmp(seen),
            _ => Judged::NOT_OURS,
        }
    }

    /// The open attempt of a key, once it is sure that it is not due.
    fn live(&mut self, key: &Key) -> Option<&mut Open> {
        if self.table.get(key)?.deadline(self.config.timeout) < self.now {
            self.time_out(key);
            return None;
        }
        self.table.get_mut(key)
    }

    fn on_syn(&mut self, seen: &Observation) -> Judged {
        let key = Key::from_client(&seen.event);
        let mut verdict = Verdict::Begins;
        if let Some(open) = self.live(&key) {
            let was_two_sided = open.is_two_sided();
            if let Some(verdict) = open.on_syn(seen) {
                let judged = Judged::of(open.id, verdict);
                if !was_two_sided && open.is_two_sided() {
                    self.table.promote(&key);
                }
                return judged;
            }
            self.supersede(&key, seen);
            verdict = Verdict::Supersedes;
        } else {
            let reversed = key.reversed();
            if let Some(open) = self.live(&reversed) {
                let (id, was_two_sided) = (open.id, open.is_two_sided());
                match open.on_peer_syn(seen) {
                    PeerSyn::Elsewhere => {}
                    PeerSyn::Taken(verdict) => {
                        if !was_two_sided {
                            self.table.promote(&reversed);
                        }
                        return Judged::of(id, verdict);
                    }
                    PeerSyn::Supersedes => {
                        self.supersede(&reversed, seen);
                        verdict = Verdict::Supersedes;
                    }
                }
            }
        }
        self.begin_with_syn(&key, seen, verdict)
    }

    fn supersede(&mut self, key: &Key, seen: &Observation) {
        let Some(open) = self.table.get(key) else { return };
        let time = Some(seen.event.time_ns as Nanos);
        let outcome = if self.is_uncertain(open) { Outcome::Unfinished } else { open.unanswered() };
        self.end(key, End::new(outcome, EndedBy::Superseded, time));
    }

    /// Section 3, linger: a late copy, a repetition, or simply the first SYN.
    fn begin_with_syn(&mut self, key: &Key, seen: &Observation, verdict: Verdict) -> Judged {
        let isn = seen.event.seq;
        let mut repeat = false;
        if let Some(memory) = self.recall(key)
            && memory.client_isn == isn
        {
            let elsewhere = memory.owners.0.is_some_and(|owner| owner != seen.source);
            if memory.completed || elsewhere {
                return self.count_late(key, Side::Client, seen);
            }
            repeat = true;
        }
        if let Some(memory) = self.recall(&key.reversed())
            && memory.completed
            && memory.peer_isn == Some(isn)
        {
            return self.count_late(&key.reversed(), Side::Server, seen);
        }
        let generation = self.table.generation();
        let id = self.begin(|id| Open::with_syn(id, generation, seen, repeat));
        Judged::of(id, verdict)
    }

    fn recall(&self, key: &Key) -> Option<Remembered> {
        self.table.recall(key, self.now, self.config.linger).copied()
    }

    /// Counts a copy that the hook sees which owns its direction; the first to see it owns it.
    fn count_late(&mut self, ended: &Key, sender: Side, seen: &Observation) -> Judged {
        let Some(memory) = self.table.recall_mut(ended) else { return Judged::NOT_OURS };
        let owner = match sender {
            Side::Client => &mut memory.owners.0,
            Side::Server => &mut memory.owners.1,
        };
        if *owner.get_or_insert(seen.source) != seen.source {
            return Judged::of(memory.id, Verdict::Copy);
        }
        self.stats.late_copies += 1;
        Judged::of(memory.id, Verdict::LateCopy)
    }

    fn begin(&mut self, make: impl FnOnce(u64) -> Open) -> u64 {
        while self.table.open() >= self.config.max_attempts {
            let Some(victim) = self.table.victim() else { break };
            self.end(&victim, End::new(Outcome::Evicted, EndedBy::Evicted, Some(self.now)));
        }
        self.stats.started += 1;
        let mut open = make(self.stats.started);
        open.begun_late = self.left_out.concerns(open.sample_shift, open.began());
        self.stats.started_estimate += one_in(open.sample_shift);
        let deadline = open.deadline(self.config.timeout);
        self.table.insert(open, deadline);
        self.stats.started
    }

    fn on_synack(&mut self, seen: &Observation) -> Judged {
        let from_server = Key::from_client(&seen.event).reversed();
        if let Some(open) = self.live(&from_server) {
            let (id, was_two_sided) = (open.id, open.is_two_sided());
            let judgement = open.on_synack(seen);
            if !was_two_sided && open.is_two_sided() {
                self.table.promote(&from_server);
            }
            return self.settle(&from_server, id, judgement);
        }
        let from_client = from_server.reversed();
        if let Some(open) = self.live(&from_client) {
            let (id, judgement) = (open.id, open.on_client_synack(seen));
            return self.settle(&from_client, id, judgement);
        }
        if let Some(memory) = self.recall(&from_server)
            && acknowledges(&memory, seen.event.ack)
        {
            return self.count_late(&from_server, Side::Server, seen);
        }
        if let Some(memory) = self.recall(&from_client)
            && memory.peer_isn.is_some_and(|isn| seen.event.ack == isn.wrapping_add(1))
        {
            return self.count_late(&from_client, Side::Client, seen);
        }
        let generation = self.table.generation();
        let id = self.begin(|id| Open::with_synack(id, generation, seen));
        Judged::of(id, Verdict::BeginsWithSynAck)
    }

    fn on_ack(&mut self, seen: &Observation) -> Judged {
        let from_client = Key::from_client(&seen.event);
        if let Some(open) = self.live(&from_client) {
            let (id, judgement) = (open.id, open.on_client_ack(seen));
            return self.settle(&from_client, id, judgement);
        }
        let from_server = from_client.reversed();
        if let Some(open) = self.live(&from_server) {
            let (id, judgement) = (open.id, open.on_server_ack(seen));
            return self.settle(&from_server, id, judgement);
        }
        Judged::NOT_OURS
    }

    fn on_rst(&mut self, seen: &Observation) -> Judged {
        let from_client = Key::from_client(&seen.event);
        let from_server = from_client.reversed();
        let mut last_tried = None;
        for (key, sender) in [(from_server, Side::Server), (from_client, Side::Client)] {
            let Some(open) = self.live(&key) else { continue };
            if let Some(end) = open.on_rst(seen, sender) {
                let judged = Judged::of(open.id, Verdict::of_rst(end.outcome));
                self.end(&key, end);
                return judged;
            }
            last_tried = Some((key, sender));
        }
        let Some((key, sender)) = last_tried else { return Judged::NOT_OURS };
        let open = self.table.get_mut(&key);
        open.map_or(Judged::NOT_OURS, |open| Judged::of(open.id, open.on_bad_rst(seen, sender)))
    }

    fn on_icmp(&mut self, seen: &Observation) -> Judged {
        let quoted = Key::from_client(&seen.event);
        let mut judged = Judged::NOT_OURS;
        for (key, sender) in [(quoted, Side::Client), (quoted.reversed(), Side::Server)] {
            let Some(open) = self.live(&key) else { continue };
            let id = open.id;
            if let Some(end) = open.on_icmp(seen, sender) {
                self.end(&key, end);
                return Judged::of(id, Verdict::Unreachable);
            }
            judged = Judged::of(id, Verdict::IcmpWithoutEffect);
        }
        judged
    }

    /// Ends the attempt if that is what the segment meant.
    fn settle(&mut self, key: &Key, id: u64, (verdict, end): Judgement) -> Judged {
        if let Some(end) = end {
            self.end(key, end);
        }
        Judged::of(id, verdict)
    }

    /// The deadline has passed. If events were lost meanwhile, silence proves nothing.
    fn time_out(&mut self, key: &Key) {
        let Some(open) = self.table.get(key) else { return };
        let deadline = Some(open.deadline(self.config.timeout));
        let end = if self.is_uncertain(open) {
            End::new(Outcome::Unfinished, EndedBy::Loss, deadline)
        } else {
            End::new(open.unanswered(), EndedBy::Timeout, deadline)
        };
        self.end(key, end);
    }

    fn is_uncertain(&self, open: &Open) -> bool {
        let seen_there =
            |source| self.gaps.get(&source).is_some_and(|until| open.began() <= *until);
        open.begun_late
            || self.lost_until.is_some_and(|until| open.began() <= until)
            || (!self.gaps.is_empty() && open.sources().any(seen_there))
    }

    fn end(&mut self, key: &Key, end: End) {
        let Some(open) = self.table.remove(key) else { return };
        let uncertain = self.is_uncertain(&open);
        if let Some(time) = end.time {
            let memory = Remembered {
                id: open.id,
                client_isn: open.client_isn,
                peer_isn: open.peer_isn(),
                syn_payload: open.syn_payload(),
                end: time,
                completed: end.outcome.is_completed(),
                owners: open.owners(),
            };
            self.table.remember(*key, memory, self.config.max_attempts);
        }
        let attempt = open.end(end, uncertain);
        self.count(&attempt);
        self.ended.push(attempt);
    }

    fn count(&mut self, attempt: &Attempt) {
        let stats = &mut self.stats;
        stats.outcomes[attempt.outcome as usize] += 1;
        stats.outcomes_estimate[attempt.outcome as usize] += one_in(attempt.sample_shift);
        stats.syn_retrans += u64::from(attempt.syn_retrans);
        stats.synack_retrans += u64::from(attempt.synack_retrans);
        stats.bad_synack += u64::from(attempt.bad_synack);
        stats.bad_rst += u64::from(attempt.bad_rst);
        stats.uncertain += u64::from(attempt.uncertain);
    }
}

/// Does a SYN-ACK acknowledge the SYN of a remembered attempt (section 5)?
fn acknowledges(memory: &Remembered, ack: u32) -> bool {
    ack.wrapping_sub(memory.client_isn.wrapping_add(1)) <= memory.syn_payload
}
