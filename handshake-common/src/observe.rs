//! One frame at any hook: parse, ask the filter, emit, count.
//!
//! The kernel's programs and the replay of capture files both call [`observe`], so the decision
//! which packet makes an event, and under which counter it goes, is written once. What differs
//! between them is behind [`Sink`]: where the table and the counters are, what the time is and
//! where events go.

use crate::abi::Counter;
use crate::event::{Event, flag, kind};
use crate::filter::{self, Class, Memory, Pending, Table, Tick};
use crate::flow::Keys;
use crate::packet::ethernet::Link;
use crate::packet::{Frame, IcmpError, Parsed, Segment, parse, tunnel};
use crate::quick::{self, Quick};
use crate::sample::{self, Shift};

/// What an event reports.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// A segment, its [`kind`], and the [`Shift`] at which its flow was let in.
    Segment {
        /// One of [`kind`].
        kind: u8,
        /// For [`Event::sample_shift`].
        sample_shift: Shift,
        /// For [`Event::flags`].
        flags: u8,
        /// The segment.
        segment: &'a Segment,
    },
    /// An ICMP error.
    IcmpError {
        /// The error.
        error: &'a IcmpError,
        /// For [`Event::flags`].
        flags: u8,
    },
}

impl What<'_> {
    /// The class of an event that can be the first of an attempt.
    #[inline(always)]
    #[must_use]
    pub fn begins(&self) -> Option<Counter> {
        match self {
            Self::Segment { kind: kind::SYN, .. } => Some(Counter::Syn),
            Self::Segment { kind: kind::SYN_ACK, .. } => Some(Counter::SynAck),
            _ => None,
        }
    }

    /// Writes it into an event.
    #[inline(always)]
    pub fn fill<F: Frame>(self, event: &mut Event, frame: &F) {
        match self {
            Self::Segment { kind, sample_shift, flags, segment } => {
                event.fill_segment(frame, kind, segment);
                event.sample_shift = sample_shift;
                event.flags = flags;
            }
            Self::IcmpError { error, flags } => {
                event.fill_icmp(frame, error);
                event.flags = flags;
            }
        }
    }
}

/// The world around one frame.
pub trait Sink<F: Frame> {
    /// Look into encapsulations ([`tunnel`])?
    const DECAP: bool = false;

    /// The filter's table.
    type Memory<'a>: Memory
    where
        Self: 'a;

    /// The table in which a flow is remembered, if it is.
    fn memory(&mut self, fingerprint: u64) -> Self::Memory<'_>;
    /// The table in which a flow is remembered from now on.
    #[inline(always)]
    fn memory_to_keep(&mut self, fingerprint: u64) -> Self::Memory<'_> {
        self.memory(fingerprint)
    }
    /// The coarse time of this frame.
    fn tick(&self) -> Tick;
    /// The sampling in force. An event gets its time later, in [`Sink::emit`], so that this is not
    /// before that of the shift it has.
    fn sample_shift(&self) -> Shift {
        0
    }
    /// Is what comes after a completion wanted, and is there time for it?
    fn watches(&self) -> bool;
    /// Adds one to a counter.
    fn count(&mut self, counter: Counter);
    /// Takes an event, and gives it its time.
    fn emit(&mut self, frame: &F, what: What<'_>);
}

/// Looks at one frame. Adds one to exactly one packet class.
#[inline(always)]
pub fn observe<F: Frame, S: Sink<F>>(frame: &F, link: Link, keys: &Keys, sink: &mut S) {
    match quick::look(frame, link, keys) {
        Quick::NotTcp if !S::DECAP => return sink.count(Counter::NotTcp),
        Quick::Ack(plain) => {
            if !filter::may_matter(sink.memory(plain.fingerprint), &plain) {
                return sink.count(Counter::AckOther);
            }
        }
        Quick::NotTcp | Quick::Unsure => {}
    }
    let parsed = if S::DECAP { tunnel::parse(frame, link, keys) } else { parse(frame, link, keys) };
    let counter = match parsed {
        Parsed::Segment(segment) => on_segment(frame, &segment, sink),
        Parsed::IcmpError(error) => on_icmp_error(frame, &error, sink),
        Parsed::NotOurs(reason) => Counter::of_not_ours(reason),
        Parsed::Malformed(reason) => Counter::of_malformed(reason),
    };
    sink.count(counter);
}

#[inline(always)]
fn on_segment<F: Frame, S: Sink<F>>(frame: &F, segment: &Segment, sink: &mut S) -> Counter {
    let class = filter::classify(segment.tcp.flags);
    let fingerprint = segment.flow.fingerprint();
    let lower = segment.flow.from_lower();
    let tcp = &segment.tcp;
    let payload = segment.payload_len;
    let (counter, kind, sample_shift, flags) = match class {
        Class::Ignored => return Counter::Ignored,
        Class::Syn | Class::SynAck => {
            let Some(shift) = let_in(fingerprint, sink) else {
                sink.count(Counter::SampledOut);
                return if class == Class::Syn { Counter::Syn } else { Counter::SynAck };
            };
            let now = sink.tick();
            let memory = sink.memory_to_keep(fingerprint);
            let effect = filter::on_opening(memory, fingerprint, lower, class, tcp, payload, now);
            let (counter, kind) = if class == Class::Syn {
                (Counter::Syn, kind::SYN)
            } else {
                (Counter::SynAck, kind::SYN_ACK)
            };
            if let Some(counter) = Counter::of_table(effect) {
                sink.count(counter);
            }
            (counter, kind, shift, said_of(effect))
        }
        Class::Rst | Class::Ack => {
            let watches = sink.watches();
            let memory = sink.memory(fingerprint);
            let pending = filter::on_segment(memory, fingerprint, lower, tcp, payload, watches);
            let counter = Counter::of_segment(class, pending);
            if pending == Pending::No {
                return counter;
            }
            if pending == Pending::Spent {
                sink.count(Counter::Spent);
            }
            let kind = if class == Class::Rst { kind::RST } else { kind::ACK };
            let watched = if pending == Pending::Watched { flag::WATCHED } else { 0 };
            (counter, kind, 0, exhausted(pending == Pending::Exhausted) | watched)
        }
    };
    sink.emit(frame, What::Segment { kind, sample_shift, flags, segment });
    counter
}

/// The flags of the event of a SYN or SYN-ACK.
#[inline(always)]
fn said_of(effect: Table) -> u8 {
    match effect {
        Table::Kept | Table::Contended => 0,
        Table::Exhausted => flag::EXHAUSTED,
        Table::New | Table::EvictedOneSided | Table::EvictedTwoSided => flag::NEW_ENTRY,
    }
}

#[inline(always)]
fn exhausted(is: bool) -> u8 {
    if is { flag::EXHAUSTED } else { 0 }
}

/// The shift at which a SYN or SYN-ACK makes an event: 0 if its flow is pending, so that whatever was
/// begun stays whole, unless it has used up its allowance; `None` if it is outside the sample.
#[inline(always)]
fn let_in<F: Frame, S: Sink<F>>(fingerprint: u64, sink: &mut S) -> Option<Shift> {
    let shift = sink.sample_shift();
    if shift == 0 {
        return Some(0);
    }
    if filter::is_allowed(sink.memory(fingerprint), fingerprint) {
        return Some(0);
    }
    if sample::has(fingerprint, shift) { Some(shift) } else { None }
}

#[inline(always)]
fn on_icmp_error<F: Frame, S: Sink<F>>(frame: &F, error: &IcmpError, sink: &mut S) -> Counter {
    let fingerprint = error.flow.fingerprint();
    let pending = filter::on_icmp_error(sink.memory(fingerprint), fingerprint);
    if pending == Pending::No {
        return Counter::IcmpErrorOther;
    }
    if pending == Pending::Spent {
        sink.count(Counter::Spent);
    }
    let flags = exhausted(pending == Pending::Exhausted);
    sink.emit(frame, What::IcmpError { error, flags });
    Counter::Icmp
}
