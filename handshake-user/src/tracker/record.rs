//! How an attempt ends, and what is left of it: the record that every output shows.

use crate::attempt::{Attempt, Frames, IcmpEnd, Nanos, Observation, Opening};
use crate::outcome::{Doubt, EndedBy, Outcome, Side};

use super::state::{More, Open};

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) by: EndedBy,
    pub(super) time: Option<Nanos>,
    pub(super) frame: u64,
    pub(super) completed: Option<Completion>,
    pub(super) rst_from: Option<Side>,
    pub(super) icmp: Option<IcmpEnd>,
}

/// What completed a handshake.
#[derive(Debug, Clone, Copy)]
pub(super) struct Completion {
    /// Time and payload of the client's completing segment.
    pub(super) ack: Option<(Nanos, Option<u32>)>,
    /// Index of the answer that it takes.
    pub(super) taken: Option<usize>,
    pub(super) exact: Option<bool>,
}

impl End {
    pub(super) fn new(outcome: Outcome, by: EndedBy, time: Option<Nanos>) -> Self {
        Self { outcome, by, time, frame: 0, completed: None, rst_from: None, icmp: None }
    }

    pub(super) fn at(outcome: Outcome, by: EndedBy, seen: &Observation) -> Self {
        let time = Some(seen.event.time_ns as Nanos);
        Self { frame: seen.frame, ..Self::new(outcome, by, time) }
    }
}

impl Open {
    /// Freezes the attempt.
    pub(super) fn end(mut self, end: End, uncertain: Option<Doubt>) -> Attempt {
        let more = self.more.take();
        let mut attempt = self.bare(&end, uncertain);
        if let Some(mut more) = more {
            add(&mut attempt, &mut more, &end);
        }
        attempt
    }

    /// An attempt of which there is only its SYN.
    fn bare(self, end: &End, uncertain: Option<Doubt>) -> Attempt {
        let ack = end.completed.and_then(|completed| completed.ack);
        let syn = self.has_syn.then_some(self.first);
        Attempt {
            id: self.id,
            source: self.source,
            ended_by: end.by,
            t_first: self.first,
            t_syn: syn,
            t_syn_last: syn,
            t_ack: ack.map(|(time, _)| time),
            t_end: end.time,
            client_isn: self.client_isn,
            syn: self.has_syn.then_some(self.syn),
            ack_len: ack.and_then(|(_, len)| len),
            ack_exact: end.completed.and_then(|completed| completed.exact),
            rst_from: end.rst_from,
            icmp: end.icmp,
            isn_repeat: self.begun.is_repeat(),
            uncertain,
            sample_shift: self.sampled.shift(),
            vlan: self.vlan,
            vlan_count: self.vlan_count,
            frames: Frames {
                first: self.first_frame,
                syn: if syn.is_some() { self.first_frame } else { 0 },
                synack: 0,
                ack: if ack.is_some() { end.frame } else { 0 },
                end: end.frame,
                peer_syn: 0,
            },
            ..Attempt::blank(self.key.unpack(), end.outcome)
        }
    }
}

/// Adds what there is besides the first SYN.
fn add(attempt: &mut Attempt, more: &mut More, end: &End) {
    let taken = end.completed.and_then(|completed| completed.taken).unwrap_or(0);
    let crossing = more.crossing.take();
    attempt.t_syn = more.syn_first;
    attempt.t_syn_last = more.syn_last;
    attempt.t_synack_last = more.synack_last;
    attempt.syn_retrans = more.extras.syn_retrans;
    attempt.synack_retrans = more.extras.synack_retrans;
    attempt.synack_isns = more.synack_isns;
    attempt.bad_synack = more.extras.bad_synack;
    attempt.bad_rst = more.extras.bad_rst;
    attempt.layers = more.layers.take();
    attempt.frames.syn = more.syn_frame;
    if let Some(answer) = more.answers_mut().nth(taken) {
        attempt.t_synack = Some(answer.first);
        attempt.rtt_server = answer.syn_before.map(|before| answer.first.saturating_sub(before));
        if crossing.is_none() {
            attempt.rtt_client = attempt.t_ack.map(|time| time.saturating_sub(answer.last));
        }
        attempt.server_isn = Some(answer.isn);
        attempt.synack = Some(std::mem::take::<Opening>(&mut answer.opening));
        attempt.frames.synack = answer.frame;
    }
    if let Some(crossing) = crossing {
        attempt.simultaneous = true;
        attempt.t_synack = crossing.client_syn_acked;
        attempt.server_isn = Some(crossing.peer_isn);
        attempt.frames.peer_syn = crossing.peer_syn_frame;
    }
}
