//! One packet at any hook: parse, ask the filter, emit, count.

use handshake_common::abi::{Counter, Hook};
use handshake_common::event::kind;
use handshake_common::filter::{self, Class, Pending};
use handshake_common::packet::ethernet::Link;
use handshake_common::packet::{IcmpError, Parsed, Segment, parse};

use crate::context::Packet;
use crate::emit::{What, count, emit, now_ns};
use crate::maps::{KernelBucket, keys};

/// Looks at one packet. Adds one to exactly one packet class.
#[inline(always)]
pub(crate) fn observe<P: Packet>(packet: &P, hook: Hook, link: Link) {
    let counter = match parse(packet, link, &keys()) {
        Parsed::Segment(segment) => on_segment(packet, hook, &segment),
        Parsed::IcmpError(error) => on_icmp_error(packet, hook, &error),
        Parsed::NotOurs(reason) => Counter::of_not_ours(reason),
        Parsed::Malformed(reason) => Counter::of_malformed(reason),
    };
    count(hook, counter);
}

#[inline(always)]
fn on_segment<P: Packet>(packet: &P, hook: Hook, segment: &Segment) -> Counter {
    let class = filter::classify(segment.tcp.flags);
    let fingerprint = segment.flow.fingerprint();
    let lower = segment.flow.from_lower();
    let (counter, kind, time) = match class {
        Class::Ignored => return Counter::Ignored,
        Class::Syn | Class::SynAck => {
            let now = now_ns();
            let Some(mut bucket) = KernelBucket::of(fingerprint) else { return Counter::Ignored };
            let (effect, counter, kind) = if class == Class::Syn {
                let payload = segment.payload_len;
                let tcp = &segment.tcp;
                let effect = filter::on_syn(&mut bucket, fingerprint, lower, tcp, payload, now);
                (effect, Counter::Syn, kind::SYN)
            } else {
                let effect =
                    filter::on_syn_ack(&mut bucket, fingerprint, lower, &segment.tcp, now);
                (effect, Counter::SynAck, kind::SYN_ACK)
            };
            if let Some(counter) = Counter::of_table(effect) {
                count(hook, counter);
            }
            (counter, kind, now)
        }
        Class::Rst | Class::Ack => {
            let Some(mut bucket) = KernelBucket::of(fingerprint) else { return Counter::Ignored };
            let payload = segment.payload_len;
            let pending =
                filter::on_segment(&mut bucket, fingerprint, lower, &segment.tcp, payload);
            let counter = Counter::of_segment(class, pending);
            if pending == Pending::No {
                return counter;
            }
            if pending == Pending::Spent {
                count(hook, Counter::Spent);
            }
            (counter, if class == Class::Rst { kind::RST } else { kind::ACK }, now_ns())
        }
    };
    emit(packet, hook, time, What::Segment(kind, segment));
    counter
}

#[inline(always)]
fn on_icmp_error<P: Packet>(packet: &P, hook: Hook, error: &IcmpError) -> Counter {
    let fingerprint = error.flow.fingerprint();
    let Some(mut bucket) = KernelBucket::of(fingerprint) else { return Counter::Ignored };
    let pending = filter::on_icmp_error(&mut bucket, fingerprint);
    if pending == Pending::No {
        return Counter::IcmpErrorOther;
    }
    if pending == Pending::Spent {
        count(hook, Counter::Spent);
    }
    emit(packet, hook, now_ns(), What::IcmpError(error));
    Counter::Icmp
}
