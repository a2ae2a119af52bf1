//! The rules: what each segment means for one open attempt.
//!
//! Section numbers are those of docs/semantics.md; every function answers what a segment means for
//! this attempt and changes nothing else.

use handshake_common::event::Event;
use handshake_common::filter::WINDOW;
use handshake_common::packet::tcp::Flags;

use crate::attempt::{IcmpEnd, Nanos, Observation, Opening, ip_addr};
use crate::outcome::{EndedBy, Outcome, Side};
use crate::verdict::Verdict;

use super::record::{Completion, End};
use super::state::{Answer, Crossing, Open};

/// Distinct server ISNs remembered for one attempt; the rest is counted only.
const MAX_ANSWERS: usize = 16;

/// What a segment meant, and how it ends the attempt if it does.
pub(super) type Judgement = (Verdict, Option<End>);

const NOTHING_PROVEN: Judgement = (Verdict::ProvesNothing, None);

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

/// `a - b` modulo 2^32.
fn d(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b)
}

fn in_window(value: u32, start: u32) -> bool {
    d(value, start) < WINDOW
}

fn completes(outcome: Outcome, completion: Completion, seen: &Observation) -> Judgement {
    let end = End::at(outcome, EndedBy::Handshake, seen);
    (Verdict::Completes, Some(End { completed: Some(completion), ..end }))
}

/// SYNs and SYN-ACKs.
impl Open {
    /// Section 4: takes a SYN from the client if it belongs to this attempt.
    pub(super) fn on_syn(&mut self, seen: &Observation) -> Option<Verdict> {
        let event = &seen.event;
        let time = event.time_ns as Nanos;
        if !self.has_syn {
            return self.on_late_syn(seen);
        }
        if event.seq != self.client_isn {
            return None;
        }
        let (mut owner, _) = self.owners();
        if !owner.owns(seen.source) {
            return Some(Verdict::Copy);
        }
        let more = self.more_mut();
        more.extras.syn_retrans = more.extras.syn_retrans.saturating_add(1);
        more.syn_payload = more.syn_payload.max(event.payload_len);
        more.syn_gap = more.syn_last.map_or(0, |last| time.saturating_sub(last));
        more.syn_last = Some(time);
        Some(Verdict::SynAgain)
    }

    /// The attempt began with a SYN-ACK: is this the SYN it answers?
    fn on_late_syn(&mut self, seen: &Observation) -> Option<Verdict> {
        let event = &seen.event;
        let time = event.time_ns as Nanos;
        let more = self.more_mut();
        let answer = more.answer.as_mut()?;
        if d(answer.ack, event.seq.wrapping_add(1)) > event.payload_len {
            return None;
        }
        if !more.client_owner.owns(seen.source) {
            return Some(Verdict::Copy);
        }
        if time <= answer.first {
            more.syn_first = Some(time);
            answer.syn_before = Some(time);
        }
        more.syn_last = Some(time);
        more.syn_payload = event.payload_len;
        more.syn_frame = seen.frame;
        self.client_isn = event.seq;
        self.syn = Opening::of(event);
        self.has_syn = true;
        Some(Verdict::SynAfterSynAck)
    }

    /// Section 7: a SYN from the server of this attempt.
    pub(super) fn on_peer_syn(&mut self, seen: &Observation) -> PeerSyn {
        let event = &seen.event;
        let time = Some(event.time_ns as Nanos);
        if self.has_answer() && self.crossing().is_none() {
            return PeerSyn::Elsewhere;
        }
        let more = self.more_mut();
        if let Some(crossing) = &more.crossing {
            if crossing.peer_isn != event.seq {
                return PeerSyn::Supersedes;
            }
            if !more.server_owner.owns(seen.source) {
                return PeerSyn::Taken(Verdict::Copy);
            }
            more.peer_syn_last = time;
            return PeerSyn::Taken(Verdict::PeerSynAgain);
        }
        more.server_owner.owns(seen.source);
        more.peer_syn_last = time;
        more.crossing = Some(Box::new(Crossing {
            peer_isn: event.seq,
            peer_syn_frame: seen.frame,
            client_syn_acked: None,
            peer_syn_acked: false,
        }));
        PeerSyn::Taken(Verdict::PeerSyn)
    }

    /// Does an acknowledgement number answer this SYN (section 5)?
    fn is_answered_by(&self, ack: u32) -> bool {
        match self.answers().next() {
            Some(answer) if !self.has_syn => ack == answer.ack,
            _ => d(ack, self.client_isn.wrapping_add(1)) <= self.syn_payload(),
        }
    }

    /// A SYN-ACK from the server. Is there room for another answer beside the first?
    pub(super) fn on_synack(&mut self, seen: &Observation, has_room: bool) -> Judgement {
        let event = &seen.event;
        let fits = self.is_answered_by(event.ack)
            && self.crossing().is_none_or(|crossing| crossing.peer_isn == event.seq);
        let more = self.more_mut();
        if !more.server_owner.owns(seen.source) {
            return (Verdict::Copy, None);
        }
        if !fits {
            more.extras.bad_synack = more.extras.bad_synack.saturating_add(1);
            return (Verdict::BadSynAck, None);
        }
        let verdict = self.take_answer(seen, has_room);
        let Some(crossing) = &mut self.more_mut().crossing else { return (verdict, None) };
        let is_first = crossing.client_syn_acked.is_none();
        crossing.client_syn_acked.get_or_insert(event.time_ns as Nanos);
        self.both_acknowledged(seen, if is_first { Verdict::AcknowledgesHalf } else { verdict })
    }

    /// A SYN-ACK from the client: only a simultaneous open has those.
    pub(super) fn on_client_synack(&mut self, seen: &Observation) -> Judgement {
        let event = &seen.event;
        let client_isn = self.client_isn;
        let more = self.more_mut();
        if !more.client_owner.owns(seen.source) {
            return (Verdict::Copy, None);
        }
        match &mut more.crossing {
            Some(crossing)
                if event.seq == client_isn && event.ack == crossing.peer_isn.wrapping_add(1) =>
            {
                let again = std::mem::replace(&mut crossing.peer_syn_acked, true);
                let verdict = if again { Verdict::AnswersAgain } else { Verdict::AcknowledgesHalf };
                self.both_acknowledged(seen, verdict)
            }
            _ => {
                more.extras.bad_synack = more.extras.bad_synack.saturating_add(1);
                (Verdict::BadSynAck, None)
            }
        }
    }

    /// Takes a SYN-ACK as an answer, or as a copy of one.
    pub(super) fn take_answer(&mut self, seen: &Observation, has_room: bool) -> Verdict {
        let event = &seen.event;
        let time = event.time_ns as Nanos;
        let more = self.more_mut();
        more.synack_gap = more.synack_last.map_or(0, |last| time.saturating_sub(last));
        more.synack_last = Some(time);
        let known = more.answers_mut().find(|answer| answer.isn == event.seq);
        if known.map(|answer| answer.last = time).is_some() {
            more.extras.synack_retrans = more.extras.synack_retrans.saturating_add(1);
            return Verdict::AnswersAgain;
        }
        more.synack_isns = more.synack_isns.saturating_add(1);
        let answer = Answer {
            isn: event.seq,
            ack: event.ack,
            first: time,
            last: time,
            syn_before: more.syn_first.and(more.syn_last),
            opening: Opening::of(event),
            frame: seen.frame,
        };
        if more.answer.is_none() {
            more.answer = Some(answer);
            return Verdict::Answers;
        }
        if has_room && more.further.len() + 1 < MAX_ANSWERS {
            more.further.push(answer);
        } else {
            self.sampled.set_lossy();
        }
        Verdict::AnswersAnew
    }
}

/// ACKs, data and FINs.
impl Open {
    /// A plain ACK, data or FIN from the client (section 5, third ACK; section 7).
    pub(super) fn on_client_ack(&mut self, seen: &Observation) -> Judgement {
        let event = &seen.event;
        let next = self.client_isn.wrapping_add(1);
        if !in_window(event.seq, next) {
            return NOTHING_PROVEN;
        }
        if let Some(more) = &mut self.more {
            more.client_owner.owns(seen.source);
            if let Some(crossing) = &mut more.crossing {
                let acks = in_window(event.ack, crossing.peer_isn.wrapping_add(1));
                let is_news = acks && !std::mem::replace(&mut crossing.peer_syn_acked, true);
                return self.both_acknowledged(seen, half(is_news));
            }
        }
        let answered = |answer: &Answer| answer.isn.wrapping_add(1);
        let taken = self
            .answers()
            .position(|answer| event.ack == answered(answer))
            .or_else(|| self.answers().position(|answer| in_window(event.ack, answered(answer))));
        if taken.is_none() && self.has_answer() {
            return NOTHING_PROVEN;
        }
        let exact = taken.and_then(|index| self.answers().nth(index)).map(|answer| {
            event.ack == answered(answer) && (event.seq == next || event.seq == answer.ack)
        });
        let is_syn_first = match &self.more {
            Some(more) => more.syn_first.is_some(),
            None => self.has_syn,
        };
        let outcome = if taken.is_some() && is_syn_first {
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
        if let Some(crossing) = self.more.as_mut().and_then(|more| more.crossing.as_mut()) {
            let acks = in_window(event.seq, crossing.peer_isn.wrapping_add(1));
            let is_news = acks && crossing.client_syn_acked.is_none();
            if is_news {
                crossing.client_syn_acked = Some(event.time_ns as Nanos);
            }
            return self.both_acknowledged(seen, half(is_news));
        }
        if !self.is_server_beyond(event, next) {
            return NOTHING_PROVEN;
        }
        let completion = Completion { ack: None, taken: None, exact: None };
        completes(Outcome::CompletedPartial, completion, seen)
    }

    fn is_server_beyond(&self, event: &Event, next: u32) -> bool {
        let taken = |answer: &Answer| d(answer.ack, next);
        if self.has_answer() {
            let continues = |a: &Answer| in_window(event.seq, a.isn.wrapping_add(1));
            let took_data = |a: &Answer| a.ack == event.ack && taken(a) > 0;
            if !self.answers().any(continues) || self.answers().any(took_data) {
                return false;
            }
        } else if self.syn_payload() > 0 {
            return false;
        }
        let most = self.answers().map(taken).max().unwrap_or(0).max(self.syn_payload());
        event.payload_len > 0 || Flags(event.tcp_flags).has(Flags::FIN) || d(event.ack, next) > most
    }

    /// Ends a simultaneous open if both SYNs are acknowledged; `verdict` if not.
    fn both_acknowledged(&self, seen: &Observation, verdict: Verdict) -> Judgement {
        let is_half =
            |crossing: &Crossing| crossing.client_syn_acked.is_none() || !crossing.peer_syn_acked;
        if self.crossing().is_none_or(is_half) {
            return (verdict, None);
        }
        let ack = Some((seen.event.time_ns as Nanos, None));
        let completion = Completion { ack, taken: None, exact: None };
        completes(Outcome::SimultaneousOpen, completion, seen)
    }
}

fn half(is_news: bool) -> Verdict {
    if is_news { Verdict::AcknowledgesHalf } else { Verdict::ProvesNothing }
}

/// RSTs and ICMP errors.
impl Open {
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
            && d(event.ack, self.client_isn.wrapping_add(1)) <= self.syn_payload();
        if !self.is_answered() {
            return acknowledges.then_some(Outcome::Refused);
        }
        let continues = self.server_isns().any(|isn| event.seq == isn.wrapping_add(1));
        (acknowledges || continues).then_some(Outcome::ResetByServer)
    }

    fn rst_of_client(&self, event: &Event) -> Option<Outcome> {
        let distance = d(event.seq, self.client_isn);
        let near = distance <= self.syn_payload().saturating_add(1);
        if !self.is_answered() {
            return near.then_some(Outcome::Aborted);
        }
        let acked = self.answers().any(|answer| event.seq == answer.ack);
        ((near && distance >= 1) || acked).then_some(Outcome::ResetByClient)
    }

    /// A RST that is disbelieved.
    pub(super) fn on_bad_rst(&mut self, seen: &Observation, sender: Side) -> Verdict {
        let more = self.more_mut();
        let owner = match sender {
            Side::Client => &mut more.client_owner,
            Side::Server => &mut more.server_owner,
        };
        if !owner.owns(seen.source) {
            return Verdict::Copy;
        }
        more.extras.bad_rst = more.extras.bad_rst.saturating_add(1);
        Verdict::BadRst
    }

    /// Section 8: an ICMP error that quotes a segment of `sender`.
    pub(super) fn on_icmp(&self, seen: &Observation, sender: Side) -> Option<End> {
        let event = &seen.event;
        let ends = match sender {
            Side::Client => event.seq == self.client_isn && self.has_syn && !self.is_answered(),
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
}
