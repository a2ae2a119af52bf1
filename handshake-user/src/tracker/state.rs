//! One open attempt: what has been seen of it.
//!
//! Most attempts of a flood are one SYN and nothing else, and an [`Open`] has room for just that;
//! whatever else comes goes into a [`More`], made when the first of it comes. `segments` has the
//! rules, `record` what is left when it ends.

use handshake_common::event::{Event, RINGS, flag};
use handshake_common::packet::tunnel::Layers;
use handshake_common::sample::{MAX_SHIFT, Shift};

use crate::attempt::{Nanos, Observation, OpenView, Opening, SourceId};
use crate::outcome::Outcome;

use super::key::PackedKey;
use super::table::Owner;

/// A SYN-ACK with one server ISN, and its copies.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) isn: u32,
    pub(super) ack: u32,
    pub(super) first: Nanos,
    pub(super) last: Nanos,
    /// The last SYN before its first copy.
    pub(super) syn_before: Option<Nanos>,
    pub(super) opening: Opening,
    pub(super) frame: u64,
}

/// The other side of a simultaneous open (section 7).
#[derive(Debug, Clone)]
pub(super) struct Crossing {
    pub(super) peer_isn: u32,
    pub(super) peer_syn_frame: u64,
    /// When the server acknowledged the client's SYN.
    pub(super) client_syn_acked: Option<Nanos>,
    /// Has the client acknowledged the server's SYN?
    pub(super) peer_syn_acked: bool,
}

/// How its flow was sampled when it began, and what else may keep us from seeing all of it; a byte,
/// because there is no room for two.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sampled(Shift);

impl Sampled {
    const LATE: u8 = 1 << 7;
    const EXHAUSTED: u8 = 1 << 6;
    const LOSSY: u8 = 1 << 5;
    const MARKS: u8 = Self::LATE | Self::EXHAUSTED | Self::LOSSY;

    /// What the first event of an attempt says.
    fn of(event: &Event) -> Self {
        let mut sampled = Self(event.sample_shift.min(MAX_SHIFT));
        if event.flags & flag::EXHAUSTED != 0 {
            sampled.set_exhausted();
        }
        sampled
    }

    /// It stands for 2^this attempts.
    pub(super) fn shift(self) -> Shift {
        self.0 & !Self::MARKS
    }

    /// It stands for at least so many.
    pub(super) fn raise(&mut self, shift: Shift) {
        self.0 = self.0 & Self::MARKS | self.shift().max(shift);
    }

    /// Its first segments may have been sampled out.
    pub(super) fn is_begun_late(self) -> bool {
        self.0 & Self::LATE != 0
    }

    pub(super) fn set_begun_late(&mut self) {
        self.0 |= Self::LATE;
    }

    /// Its flow has used up its allowance: while flows were sampled, copies may have been left out.
    pub(super) fn is_exhausted(self) -> bool {
        self.0 & Self::EXHAUSTED != 0
    }

    pub(super) fn set_exhausted(&mut self) {
        self.0 |= Self::EXHAUSTED;
    }

    /// What came of it may have passed unseen: its entry in the filter's table was lost for a while,
    /// or there was no room for an answer of it, so that the third ACK to that is not known.
    pub(super) fn is_lossy(self) -> bool {
        self.0 & Self::LOSSY != 0
    }

    pub(super) fn set_lossy(&mut self) {
        self.0 |= Self::LOSSY;
    }
}

const _: () = assert!(MAX_SHIFT < Sampled::LOSSY);

/// How it began, in a byte: through which ring its first event came, and whether its ISN was that of
/// the attempt before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Begun(u8);

impl Begun {
    const ISN_REPEAT: u8 = 1 << 7;

    fn through(ring: u8) -> Self {
        Self(ring % RINGS)
    }

    fn ring(self) -> u8 {
        self.0 & !Self::ISN_REPEAT
    }

    fn repeats_isn(&mut self, repeat: bool) {
        self.0 = self.ring() | if repeat { Self::ISN_REPEAT } else { 0 };
    }

    /// Had the attempt before the same ISN?
    pub(super) fn is_repeat(self) -> bool {
        self.0 & Self::ISN_REPEAT != 0
    }
}

const _: () = assert!(RINGS <= Begun::ISN_REPEAT && RINGS as u32 <= u64::BITS);

/// An attempt that has begun and not ended.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) id: u64,
    pub(super) first: Nanos,
    pub(super) first_frame: u64,
    /// The SYN, if `has_syn`.
    pub(super) syn: Opening,
    /// `None` while there is only the one SYN with which it began.
    pub(super) more: Option<Box<More>>,
    pub(super) key: PackedKey,
    pub(super) client_isn: u32,
    pub(super) source: SourceId,
    pub(super) vlan: [u16; 2],
    pub(super) vlan_count: u8,
    pub(super) has_syn: bool,
    pub(super) begun: Begun,
    pub(super) sampled: Sampled,
}

/// Counts of what came beyond the handshake itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extras {
    pub(super) syn_retrans: u32,
    pub(super) synack_retrans: u32,
    pub(super) bad_synack: u32,
    pub(super) bad_rst: u32,
}

/// What most attempts of a flood never have.
#[derive(Debug, Clone)]
pub(super) struct More {
    pub(super) syn_first: Option<Nanos>,
    pub(super) syn_last: Option<Nanos>,
    pub(super) peer_syn_last: Option<Nanos>,
    pub(super) synack_last: Option<Nanos>,
    pub(super) syn_gap: Nanos,
    pub(super) synack_gap: Nanos,
    pub(super) syn_frame: u64,
    pub(super) client_owner: Owner,
    pub(super) server_owner: Owner,
    /// L of the text: the largest payload of the SYNs.
    pub(super) syn_payload: u32,
    pub(super) extras: Extras,
    pub(super) synack_isns: u32,
    pub(super) answer: Option<Answer>,
    /// Answers with other ISNs.
    pub(super) further: Vec<Answer>,
    pub(super) crossing: Option<Box<Crossing>>,
    pub(super) layers: Option<Box<Layers>>,
    /// The rings it was seen through, a bit each.
    rings: u64,
}

impl More {
    /// What there is after one SYN, or before it.
    fn after(
        syn: Option<&Opening>,
        first: Nanos,
        frame: u64,
        source: SourceId,
        begun: Begun,
    ) -> Self {
        let time = syn.map(|_| first);
        Self {
            syn_first: time,
            syn_last: time,
            peer_syn_last: None,
            synack_last: None,
            syn_gap: 0,
            synack_gap: 0,
            syn_frame: syn.map_or(0, |_| frame),
            client_owner: syn.map_or(Owner::NOBODY, |_| Owner::new(source)),
            server_owner: Owner::NOBODY,
            syn_payload: syn.map_or(0, |syn| syn.payload_len),
            extras: Extras::default(),
            synack_isns: 0,
            answer: None,
            further: Vec::new(),
            crossing: None,
            layers: None,
            rings: 1 << begun.ring(),
        }
    }

    /// All answers, the first seen first.
    pub(super) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.answer.iter().chain(&self.further)
    }

    pub(super) fn answers_mut(&mut self) -> impl Iterator<Item = &mut Answer> {
        self.answer.iter_mut().chain(&mut self.further)
    }

    /// The last SYN of either side or valid SYN-ACK.
    fn last(&self) -> Option<Nanos> {
        [self.syn_last, self.peer_syn_last, self.synack_last].into_iter().flatten().max()
    }
}

impl Open {
    fn begin(id: u64, key: PackedKey, client_isn: u32, seen: &Observation) -> Self {
        Self {
            id,
            first: seen.event.time_ns as Nanos,
            first_frame: seen.frame,
            syn: Opening::default(),
            more: None,
            key,
            client_isn,
            source: seen.source,
            vlan: seen.event.vlan,
            vlan_count: seen.event.vlan_count,
            has_syn: false,
            begun: Begun::through(seen.event.ring),
            sampled: Sampled::of(&seen.event),
        }
    }

    /// Section 3: begins with a SYN.
    pub(super) fn with_syn(id: u64, key: PackedKey, seen: &Observation, repeat: bool) -> Self {
        let mut open = Self::begin(id, key, seen.event.seq, seen);
        open.has_syn = true;
        open.begun.repeats_isn(repeat);
        open.syn = Opening::of(&seen.event);
        open.keep_layers(seen);
        open
    }

    /// Section 3: begins with a SYN-ACK, the SYN unseen.
    pub(super) fn with_synack(id: u64, key: PackedKey, seen: &Observation) -> Self {
        let mut open = Self::begin(id, key, seen.event.ack.wrapping_sub(1), seen);
        open.more_mut().server_owner = Owner::new(seen.source);
        open.take_answer(seen, true);
        open.keep_layers(seen);
        open
    }

    fn keep_layers(&mut self, seen: &Observation) {
        if !seen.layers.is_empty() {
            self.more_mut().layers = Some(Box::new(seen.layers));
        }
    }

    /// Room for more than a SYN.
    pub(super) fn more_mut(&mut self) -> &mut More {
        let Self { more, syn, has_syn, first, first_frame, source, begun, .. } = self;
        more.get_or_insert_with(|| {
            let syn = has_syn.then_some(&*syn);
            Box::new(More::after(syn, *first, *first_frame, *source, *begun))
        })
    }

    /// An event of it came through this ring.
    pub(super) fn note_ring(&mut self, ring: u8) {
        if let Some(more) = &mut self.more {
            more.rings |= 1 << (ring % RINGS);
        }
    }

    /// The rings that it was seen through, a bit each.
    pub(super) fn rings(&self) -> u64 {
        self.more.as_ref().map_or(1 << self.begun.ring(), |more| more.rings)
    }

    /// All answers, the first seen first.
    pub(super) fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.more.iter().flat_map(|more| more.answers())
    }

    pub(super) fn has_answer(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.answer.is_some())
    }

    pub(super) fn crossing(&self) -> Option<&Crossing> {
        self.more.as_ref()?.crossing.as_deref()
    }

    /// Has a SYN-ACK been seen, or did both ends open?
    pub(super) fn is_answered(&self) -> bool {
        self.more.as_ref().is_some_and(|more| more.answer.is_some() || more.crossing.is_some())
    }

    /// Is there evidence from both sides? Such attempts are evicted last.
    pub(super) fn is_two_sided(&self) -> bool {
        self.has_syn && self.is_answered()
    }

    pub(super) fn server_isns(&self) -> impl Iterator<Item = u32> {
        let crossing = self.crossing().map(|crossing| crossing.peer_isn);
        self.answers().map(|answer| answer.isn).chain(crossing)
    }

    /// Section 9: when it times out.
    pub(super) fn deadline(&self, timeout: Nanos) -> Nanos {
        let Some(more) = &self.more else { return self.first.saturating_add(timeout.max(0)) };
        let gap = more.syn_gap.max(more.synack_gap).max(0);
        let wait = timeout.max(gap.saturating_mul(5) / 2);
        more.last().unwrap_or(self.first).saturating_add(wait)
    }

    /// What it is if it gets no further (section 9).
    pub(super) fn unanswered(&self) -> Outcome {
        let acked = self
            .crossing()
            .is_some_and(|crossing| crossing.client_syn_acked.is_some() || crossing.peer_syn_acked);
        if acked || self.has_answer() { Outcome::HalfOpen } else { Outcome::NoAnswer }
    }

    /// Would it be `half-open` if it got no further?
    pub(super) fn is_half_open(&self) -> bool {
        self.unanswered() == Outcome::HalfOpen
    }

    /// What has come beyond the handshake itself.
    pub(super) fn extras(&self) -> Extras {
        self.more.as_ref().map_or(Extras::default(), |more| more.extras)
    }

    /// Answers that are kept beside the first.
    pub(super) fn further(&self) -> usize {
        self.more.as_ref().map_or(0, |more| more.further.len())
    }

    /// First packet of the attempt.
    pub(super) fn began(&self) -> Nanos {
        self.first
    }

    /// L of the text.
    pub(super) fn syn_payload(&self) -> u32 {
        self.more.as_ref().map_or(self.syn.payload_len, |more| more.syn_payload)
    }

    /// The other side's ISN, in a simultaneous open.
    pub(super) fn peer_isn(&self) -> Option<u32> {
        self.crossing().map(|crossing| crossing.peer_isn)
    }

    /// Who owns the two directions: client's, server's.
    pub(super) fn owners(&self) -> (Owner, Owner) {
        self.more.as_ref().map_or((Owner::new(self.source), Owner::NOBODY), |more| {
            (more.client_owner, more.server_owner)
        })
    }

    /// Where it was seen: first, and as owners of its directions.
    pub(super) fn sources(&self) -> impl Iterator<Item = SourceId> + use<> {
        let (client, server) = self.owners();
        [Some(self.source), client.source(), server.source()].into_iter().flatten()
    }

    /// What can be said of it now.
    pub(super) fn view(&self) -> OpenView {
        let (more, extras) = (self.more.as_ref(), self.extras());
        OpenView {
            id: self.id,
            key: self.key.unpack(),
            source: self.source,
            began: self.first,
            last: more.and_then(|more| more.last()).unwrap_or(self.first),
            client_isn: self.client_isn,
            answered: self.is_answered(),
            two_sided: self.is_two_sided(),
            unanswered: self.unanswered(),
            syn_retrans: extras.syn_retrans,
            synack_retrans: extras.synack_retrans,
        }
    }
}
