//! The handshake state machine: one open attempt and the evidence for and against it.
//!
//! Rules and section numbers are those of docs/semantics.md; every function answers what a
//! segment means for this attempt and changes nothing else.

use handshake_common::event::Event;
use handshake_common::filter::WINDOW;
use handshake_common::packet::tcp::Flags;
use handshake_common::packet::tunnel::Layers;

use crate::attempt::{
    Attempt, Frames, IcmpEnd, Key, Nanos, Observation, OpenView, Opening, SourceId, ip_addr,
};
use crate::outcome::{EndedBy, Outcome, Side};
use crate::verdict::Verdict;

/// Distinct server ISNs remembered for one attempt; the rest is counted only.
const MAX_ANSWERS: usize = 16;

/// `a - b` modulo 2^32.
fn d(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b)
}

fn in_window(value: u32, start: u32) -> bool {
    d(value, start) < WINDOW
}

/// A SYN-ACK with one server ISN, and its copies.
#[derive(Debug, Clone)]
struct Answer {
    isn: u32,
    ack: u32,
    first: Nanos,
    last: Nanos,
    /// The last SYN before its first copy.
    syn_before: Option<Nanos>,
    opening: Opening,
    frame: u64,
}

/// The other side of a simultaneous open (section 7).
#[derive(Debug, Clone)]
struct Crossing {
    peer_isn: u32,
    peer_syn_frame: u64,
    /// When the server acknowledged the client's SYN.
    client_syn_acked: Option<Nanos>,
    /// Has the client acknowledged the server's SYN?
    peer_syn_acked: bool,
}

/// An attempt that has begun and not ended.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) key: Key,
    pub(super) generation: u32,
    pub(super) client_isn: u32,
    source: SourceId,
    client_owner: Option<SourceId>,
    server_owner: Option<SourceId>,
    first: Nanos,
    syn_first: Option<Nanos>,
    syn_last: Option<Nanos>,
    peer_syn_last: Option<Nanos>,
    synack_last: Option<Nanos>,
    syn_gap: Nanos,
    synack_gap: Nanos,
    /// L of the text: the largest payload of the SYNs.
    syn_payload: u32,
    syn: Option<Opening>,
    answers: Vec<Answer>,
    crossing: Option<Box<Crossing>>,
    syn_retrans: u32,
    synack_retrans: u32,
    synack_isns: u32,
    bad_synack: u32,
    bad_rst: u32,
    isn_repeat: bool,
    pub(super) sample_shift: u8,
    /// Its first segments may have been sampled out.
    pub(super) begun_late: bool,
    vlan: [u16; 2],
    vlan_count: u8,
    layers: Option<Box<Layers>>,
    first_frame: u64,
    syn_frame: u64,
}

/// What a segment meant, and how it ends the attempt if it does.
pub(super) type Judgement = (Verdict, Option<End>);

/// What a SYN of the server is to an attempt (section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerSyn {
    /// Nothing.
    Elsewhere,
    /// A part of it.
    Taken(Verdict),
    /// Its end.
    Supersedes,
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) by: EndedBy,
    pub(super) time: Option<Nanos>,
    frame: u64,
    completed: Option<Completion>,
    rst_from: Option<Side>,
    icmp: Option<IcmpEnd>,
}

#[derive(Debug, Clone, Copy)]
struct Completion {
    /// Time and payload of the client's completing segment.
    ack: Option<(Nanos, Option<u32>)>,
    /// Index of the answer that it takes.
    taken: Option<usize>,
    exact: Option<bool>,
}

impl End {
    pub(super) fn new(outcome: Outcome, by: EndedBy, time: Option<Nanos>) -> Self {
        Self { outcome, by, time, frame: 0, completed: None, rst_from: None, icmp: None }
    }

    fn at(outcome: Outcome, by: EndedBy, seen: &Observation) -> Self {
        let time = Some(seen.event.time_ns as Nanos);
        Self { frame: seen.frame, ..Self::new(outcome, by, time) }
    }
}

const NOTHING_PROVEN: Judgement = (Verdict::ProvesNothing, None);

fn completes(outcome: Outcome, completion: Completion, seen: &Observation) -> Judgement {
    let end = End::at(outcome, EndedBy::Handshake, seen);
    (Verdict::Completes, Some(End { completed: Some(completion), ..end }))
}

/// Is this the first sight of a segment, or a copy at another interface or hook? The first one to
/// see a direction owns it.
fn owns(owner: &mut Option<SourceId>, source: SourceId) -> bool {
    *owner.get_or_insert(source) == source
}

impl Open {
    fn begin(id: u64, generation: u32, key: Key, client_isn: u32, seen: &Observation) -> Self {
        Self {
            id,
            key,
            generation,
            client_isn,
            source: seen.source,
            client_owner: None,
            server_owner: None,
            first: seen.event.time_ns as Nanos,
            syn_first: None,
            syn_last: None,
            peer_syn_last: None,
            synack_last: None,
            syn_gap: 0,
            synack_gap: 0,
            syn_payload: 0,
            syn: None,
            answers: Vec::new(),
            crossing: None,
            syn_retrans: 0,
            synack_retrans: 0,
            synack_isns: 0,
            bad_synack: 0,
            bad_rst: 0,
            isn_repeat: false,
            sample_shift: seen.event.sample_shift,
            begun_late: false,
            vlan: seen.event.vlan,
            vlan_count: seen.event.vlan_count,
            layers: (!seen.layers.is_empty()).then(|| Box::new(seen.layers)),
            first_frame: seen.frame,
            syn_frame: 0,
        }
    }

    /// Section 3: begins with a SYN.
    pub(super) fn with_syn(id: u64, generation: u32, seen: &Observation, repeat: bool) -> Self {
        let event = &seen.event;
        let mut open = Self::begin(id, generation, Key::from_client(event), event.seq, seen);
        open.client_owner = Some(seen.source);
        open.isn_repeat = repeat;
        open.syn_first = Some(event.time_ns as Nanos);
        open.take_syn(seen);
        open
    }

    /// Section 3: begins with a SYN-ACK, the SYN unseen.
    pub(super) fn with_synack(id: u64, generation: u32, seen: &Observation) -> Self {
        let event = &seen.event;
        let key = Key::from_client(event).reversed();
        let mut open = Self::begin(id, generation, key, event.ack.wrapping_sub(1), seen);
        open.server_owner = Some(seen.source);
        open.take_answer(seen);
        open
    }

    /// The first SYN of the attempt.
    fn take_syn(&mut self, seen: &Observation) {
        self.syn_last = Some(seen.event.time_ns as Nanos);
        self.syn_payload = seen.event.payload_len;
        self.syn = Some(Opening::of(&seen.event));
        self.syn_frame = seen.frame;
    }

    /// Section 4: takes a SYN from the client if it belongs to this attempt.
    pub(super) fn on_syn(&mut self, seen: &Observation) -> Option<Verdict> {
        let event = &seen.event;
        let time = event.time_ns as Nanos;
        if self.syn.is_none() {
            return self.on_late_syn(seen);
        }
        if event.seq != self.client_isn {
            return None;
        }
        if !owns(&mut self.client_owner, seen.source) {
            return Some(Verdict::Copy);
        }
        self.syn_retrans = self.syn_retrans.saturating_add(1);
        self.syn_payload = self.syn_payload.max(event.payload_len);
        self.syn_gap = self.syn_last.map_or(0, |last| time.saturating_sub(last));
        self.syn_last = Some(time);
        Some(Verdict::SynAgain)
    }

    /// The attempt began with a SYN-ACK: is this the SYN it answers?
    fn on_late_syn(&mut self, seen: &Observation) -> Option<Verdict> {
        let event = &seen.event;
        let time = event.time_ns as Nanos;
        let answer = self.answers.first()?;
        if d(answer.ack, event.seq.wrapping_add(1)) > event.payload_len {
            return None;
        }
        let answered = answer.first;
        if !owns(&mut self.client_owner, seen.source) {
            return Some(Verdict::Copy);
        }
        self.client_isn = event.seq;
        self.take_syn(seen);
        if time <= answered {
            self.syn_first = Some(time);
            self.answers[0].syn_before = Some(time);
        }
        Some(Verdict::SynAfterSynAck)
    }

    /// Section 7: a SYN from the server of this attempt.
    pub(super) fn on_peer_syn(&mut self, seen: &Observation) -> PeerSyn {
        let event = &seen.event;
        if let Some(crossing) = &self.crossing {
            if crossing.peer_isn != event.seq {
                return PeerSyn::Supersedes;
            }
            if !owns(&mut self.server_owner, seen.source) {
                return PeerSyn::Taken(Verdict::Copy);
            }
            self.peer_syn_last = Some(event.time_ns as Nanos);
            return PeerSyn::Taken(Verdict::PeerSynAgain);
        }
        if !self.answers.is_empty() {
            return PeerSyn::Elsewhere;
        }
        self.server_owner.get_or_insert(seen.source);
        self.peer_syn_last = Some(event.time_ns as Nanos);
        self.crossing = Some(Box::new(Crossing {
            peer_isn: event.seq,
            peer_syn_frame: seen.frame,
            client_syn_acked: None,
            peer_syn_acked: false,
        }));
        PeerSyn::Taken(Verdict::PeerSyn)
    }

    /// Does an acknowledgement number answer this SYN (section 5)?
    pub(super) fn is_answered_by(&self, ack: u32) -> bool {
        match (&self.syn, self.answers.first()) {
            (None, Some(answer)) => ack == answer.ack,
            _ => d(ack, self.client_isn.wrapping_add(1)) <= self.syn_payload,
        }
    }

    /// A SYN-ACK from the server.
    pub(super) fn on_synack(&mut self, seen: &Observation) -> Judgement {
        let event = &seen.event;
        if !owns(&mut self.server_owner, seen.source) {
            return (Verdict::Copy, None);
        }
        let crosses = self.crossing.as_ref().is_none_or(|crossing| crossing.peer_isn == event.seq);
        if !self.is_answered_by(event.ack) || !crosses {
            self.bad_synack = self.bad_synack.saturating_add(1);
            return (Verdict::BadSynAck, None);
        }
        let verdict = self.take_answer(seen);
        let Some(crossing) = &mut self.crossing else { return (verdict, None) };
        let is_first = crossing.client_syn_acked.is_none();
        crossing.client_syn_acked.get_or_insert(event.time_ns as Nanos);
        self.both_acknowledged(seen, if is_first { Verdict::AcknowledgesHalf } else { verdict })
    }

    /// A SYN-ACK from the client: only a simultaneous open has those.
    pub(super) fn on_client_synack(&mut self, seen: &Observation) -> Judgement {
        let event = &seen.event;
        if !owns(&mut self.client_owner, seen.source) {
            return (Verdict::Copy, None);
        }
        match &mut self.crossing {
            Some(crossing)
                if event.seq == self.client_isn
                    && event.ack == crossing.peer_isn.wrapping_add(1) =>
            {
                let again = std::mem::replace(&mut crossing.peer_syn_acked, true);
                let verdict = if again { Verdict::AnswersAgain } else { Verdict::AcknowledgesHalf };
                self.both_acknowledged(seen, verdict)
            }
            _ => {
                self.bad_synack = self.bad_synack.saturating_add(1);
                (Verdict::BadSynAck, None)
            }
        }
    }

    fn take_answer(&mut self, seen: &Observation) -> Verdict {
        let event = &seen.event;
        let time = event.time_ns as Nanos;
        self.synack_gap = self.synack_last.map_or(0, |last| time.saturating_sub(last));
        self.synack_last = Some(time);
        if let Some(answer) = self.answers.iter_mut().find(|answer| answer.isn == event.seq) {
            self.synack_retrans = self.synack_retrans.saturating_add(1);
            answer.last = time;
            return Verdict::AnswersAgain;
        }
        let verdict = if self.answers.is_empty() { Verdict::Answers } else { Verdict::AnswersAnew };
        self.synack_isns = self.synack_isns.saturating_add(1);
        if self.answers.len() < MAX_ANSWERS {
            self.answers.push(Answer {
                isn: event.seq,
                ack: event.ack,
                first: time,
                last: time,
                syn_before: self.syn_first.and(self.syn_last),
                opening: Opening::of(event),
                frame: seen.frame,
            });
        }
        verdict
    }

    /// A plain ACK, data or FIN from the client (section 5, third ACK; section 7).
    pub(super) fn on_client_ack(&mut self, seen: &Observation) -> Judgement {
        let event = &seen.event;
        let next = self.client_isn.wrapping_add(1);
        if !in_window(event.seq, next) {
            return NOTHING_PROVEN;
        }
        self.client_owner.get_or_insert(seen.source);
        if let Some(crossing) = &mut self.crossing {
            let mut verdict = Verdict::ProvesNothing;
            if in_window(event.ack, crossing.peer_isn.wrapping_add(1))
                && !std::mem::replace(&mut crossing.peer_syn_acked, true)
            {
                verdict = Verdict::AcknowledgesHalf;
            }
            return self.both_acknowledged(seen, verdict);
        }
        let answered = |answer: &Answer| answer.isn.wrapping_add(1);
        let taken = self
            .answers
            .iter()
            .position(|answer| event.ack == answered(answer))
            .or_else(|| self.answers.iter().position(|a| in_window(event.ack, answered(a))));
        if taken.is_none() && !self.answers.is_empty() {
            return NOTHING_PROVEN;
        }
        let exact = taken.map(|index| {
            let answer = &self.answers[index];
            event.ack == answered(answer) && (event.seq == next || event.seq == answer.ack)
        });
        let outcome = if taken.is_some() && self.syn_first.is_some() {
            Outcome::Completed
        } else {
            Outcome::CompletedPartial
        };
        let ack = Some((event.time_ns as Nanos, Some(event.payload_len)));
        completes(outcome, Completion { ack, taken, exact }, seen)
    }

    /// A plain ACK, data or FIN from the server (section 5, server evidence; section 7).
    pub(super) fn on_server_ack(&mut self, seen: &Observation) -> Judgement {
        let event = &seen.event;
        let next = self.client_isn.wrapping_add(1);
        if !in_window(event.ack, next) {
            return NOTHING_PROVEN;
        }
        if let Some(crossing) = &mut self.crossing {
            let mut verdict = Verdict::ProvesNothing;
            if in_window(event.seq, crossing.peer_isn.wrapping_add(1))
                && crossing.client_syn_acked.is_none()
            {
                crossing.client_syn_acked = Some(event.time_ns as Nanos);
                verdict = Verdict::AcknowledgesHalf;
            }
            return self.both_acknowledged(seen, verdict);
        }
        if !self.is_server_beyond(event, next) {
            return NOTHING_PROVEN;
        }
        let completion = Completion { ack: None, taken: None, exact: None };
        completes(Outcome::CompletedPartial, completion, seen)
    }

    fn is_server_beyond(&self, event: &Event, next: u32) -> bool {
        let taken = |answer: &Answer| d(answer.ack, next);
        if self.answers.is_empty() {
            if self.syn_payload > 0 {
                return false;
            }
        } else {
            let continues = |a: &Answer| in_window(event.seq, a.isn.wrapping_add(1));
            let took_data = |a: &Answer| a.ack == event.ack && taken(a) > 0;
            if !self.answers.iter().any(continues) || self.answers.iter().any(took_data) {
                return false;
            }
        }
        let most = self.answers.iter().map(taken).max().unwrap_or(0).max(self.syn_payload);
        event.payload_len > 0 || Flags(event.tcp_flags).has(Flags::FIN) || d(event.ack, next) > most
    }

    /// Ends a simultaneous open if both SYNs are acknowledged; `verdict` if not.
    fn both_acknowledged(&self, seen: &Observation, verdict: Verdict) -> Judgement {
        let is_half =
            |crossing: &Crossing| crossing.client_syn_acked.is_none() || !crossing.peer_syn_acked;
        if self.crossing.as_deref().is_none_or(is_half) {
            return (verdict, None);
        }
        let ack = Some((seen.event.time_ns as Nanos, None));
        let completion = Completion { ack, taken: None, exact: None };
        completes(Outcome::SimultaneousOpen, completion, seen)
    }

    /// Has a SYN-ACK been seen, or did both ends open?
    fn is_answered(&self) -> bool {
        !self.answers.is_empty() || self.crossing.is_some()
    }

    /// Is there evidence from both sides? Such attempts are evicted last.
    pub(super) fn is_two_sided(&self) -> bool {
        self.syn.is_some() && self.is_answered()
    }

    fn server_isns(&self) -> impl Iterator<Item = u32> + '_ {
        let crossing = self.crossing.iter().map(|crossing| crossing.peer_isn);
        self.answers.iter().map(|answer| answer.isn).chain(crossing)
    }

    /// Section 6: a RST from `sender`. `None` if it is not valid for this attempt.
    pub(super) fn on_rst(&self, seen: &Observation, sender: Side) -> Option<End> {
        let event = &seen.event;
        let outcome = match sender {
            Side::Server => self.rst_of_server(event),
            Side::Client => self.rst_of_client(event),
        }?;
        Some(End { rst_from: Some(sender), ..End::at(outcome, EndedBy::Rst, seen) })
    }

    fn rst_of_server(&self, event: &Event) -> Option<Outcome> {
        let acknowledges = Flags(event.tcp_flags).has(Flags::ACK)
            && d(event.ack, self.client_isn.wrapping_add(1)) <= self.syn_payload;
        if !self.is_answered() {
            return acknowledges.then_some(Outcome::Refused);
        }
        let continues = self.server_isns().any(|isn| event.seq == isn.wrapping_add(1));
        (acknowledges || continues).then_some(Outcome::ResetByServer)
    }

    fn rst_of_client(&self, event: &Event) -> Option<Outcome> {
        let distance = d(event.seq, self.client_isn);
        let near = distance <= self.syn_payload.saturating_add(1);
        if !self.is_answered() {
            return near.then_some(Outcome::Aborted);
        }
        let acked = self.answers.iter().any(|answer| event.seq == answer.ack);
        ((near && distance >= 1) || acked).then_some(Outcome::ResetByClient)
    }

    /// A RST that is disbelieved.
    pub(super) fn on_bad_rst(&mut self, seen: &Observation, sender: Side) -> Verdict {
        let owner = match sender {
            Side::Client => &mut self.client_owner,
            Side::Server => &mut self.server_owner,
        };
        if !owns(owner, seen.source) {
            return Verdict::Copy;
        }
        self.bad_rst = self.bad_rst.saturating_add(1);
        Verdict::BadRst
    }

    /// Section 8: an ICMP error that quotes a segment of `sender`.
    pub(super) fn on_icmp(&self, seen: &Observation, sender: Side) -> Option<End> {
        let event = &seen.event;
        let ends = match sender {
            Side::Client => {
                event.seq == self.client_isn && self.syn.is_some() && !self.is_answered()
            }
            Side::Server => self.server_isns().any(|isn| isn == event.seq),
        };
        if !ends {
            return None;
        }
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(event.extra.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        let icmp = IcmpEnd {
            icmp_type: event.icmp_type,
            code: event.icmp_code,
            source: ip_addr(words, event.ip_version),
            quotes: sender,
        };
        let end = End::at(Outcome::IcmpUnreachable, EndedBy::Icmp, seen);
        Some(End { icmp: Some(icmp), ..end })
    }

    /// Section 9: when it times out.
    pub(super) fn deadline(&self, timeout: Nanos) -> Nanos {
        let last =
            [self.syn_last, self.peer_syn_last, self.synack_last].into_iter().flatten().max();
        let gap = self.syn_gap.max(self.synack_gap).max(0);
        let wait = timeout.max(gap.saturating_mul(5) / 2);
        last.unwrap_or(self.first).saturating_add(wait)
    }

    /// What it is if it gets no further (section 9).
    pub(super) fn unanswered(&self) -> Outcome {
        let acked = self
            .crossing
            .as_ref()
            .is_some_and(|crossing| crossing.client_syn_acked.is_some() || crossing.peer_syn_acked);
        if acked || !self.answers.is_empty() { Outcome::HalfOpen } else { Outcome::NoAnswer }
    }

    /// First packet of the attempt.
    pub(super) fn began(&self) -> Nanos {
        self.first
    }

    /// L of the text.
    pub(super) fn syn_payload(&self) -> u32 {
        self.syn_payload
    }

    /// The other side's ISN, in a simultaneous open.
    pub(super) fn peer_isn(&self) -> Option<u32> {
        self.crossing.as_ref().map(|crossing| crossing.peer_isn)
    }

    /// Where it was seen: first, and as owners of its directions.
    pub(super) fn sources(&self) -> impl Iterator<Item = SourceId> + use<> {
        [Some(self.source), self.client_owner, self.server_owner].into_iter().flatten()
    }

    /// Who owns the two directions.
    pub(super) fn owners(&self) -> (Option<SourceId>, Option<SourceId>) {
        (self.client_owner, self.server_owner)
    }

    /// What can be said of it now.
    pub(super) fn view(&self) -> OpenView {
        let last = [self.syn_last, self.peer_syn_last, self.synack_last];
        OpenView {
            id: self.id,
            key: self.key,
            source: self.source,
            began: self.first,
            last: last.into_iter().flatten().max().unwrap_or(self.first),
            client_isn: self.client_isn,
            answered: self.is_answered(),
            two_sided: self.is_two_sided(),
            unanswered: self.unanswered(),
            syn_retrans: self.syn_retrans,
            synack_retrans: self.synack_retrans,
        }
    }

    /// Freezes the attempt.
    pub(super) fn end(self, end: End, uncertain: bool) -> Attempt {
        let completion = end.completed;
        let taken = completion.and_then(|c| c.taken).unwrap_or(0);
        let answer = self.answers.get(taken);
        let crossing = self.crossing.as_deref();
        let ack = completion.and_then(|c| c.ack);
        let rtt_client = match (ack, answer, crossing) {
            (Some((time, _)), Some(answer), None) => Some(time.saturating_sub(answer.last)),
            _ => None,
        };
        Attempt {
            id: self.id,
            key: self.key,
            source: self.source,
            outcome: end.outcome,
            ended_by: end.by,
            t_first: self.first,
            t_syn: self.syn_first,
            t_syn_last: self.syn_last,
            t_synack: match crossing {
                Some(crossing) => crossing.client_syn_acked,
                None => answer.map(|answer| answer.first),
            },
            t_synack_last: self.synack_last,
            t_ack: ack.map(|(time, _)| time),
            t_end: end.time,
            rtt_server: answer
                .and_then(|answer| Some(answer.first.saturating_sub(answer.syn_before?))),
            rtt_client,
            syn_retrans: self.syn_retrans,
            synack_retrans: self.synack_retrans,
            synack_isns: self.synack_isns,
            bad_synack: self.bad_synack,
            bad_rst: self.bad_rst,
            client_isn: self.client_isn,
            server_isn: crossing.map(|c| c.peer_isn).or(answer.map(|answer| answer.isn)),
            syn: self.syn,
            synack: answer.map(|answer| answer.opening),
            ack_len: ack.and_then(|(_, len)| len),
            ack_exact: completion.and_then(|c| c.exact),
            rst_from: end.rst_from,
            icmp: end.icmp,
            simultaneous: crossing.is_some(),
            isn_repeat: self.isn_repeat,
            uncertain,
            sample_shift: self.sample_shift,
            vlan: self.vlan,
            vlan_count: self.vlan_count,
            layers: self.layers,
            frames: Frames {
                first: self.first_frame,
                syn: self.syn_frame,
                synack: answer.map_or(0, |answer| answer.frame),
                ack: if ack.is_some() { end.frame } else { 0 },
                end: end.frame,
                peer_syn: crossing.map_or(0, |crossing| crossing.peer_syn_frame),
            },
        }
    }
}
