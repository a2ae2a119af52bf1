//! The segments of one attempt, with names, for the detail of the screen.

use handshake_common::event::{Event, kind};

use super::World;
use crate::attempt::{Nanos, Opening};
use crate::board::{Board, Row};
use crate::evidence::{Seen, Segments};
use crate::output::tui::timeline::{Segment, from_record, icmp_words, options};

/// What is known of its segments: those kept, else what its record tells.
pub(super) fn of(row: &Row, board: &Board, world: &World<'_>) -> Vec<Segment> {
    let kept =
        |segments: &Segments| segments.iter().map(|seen| segment(row, seen, world)).collect();
    let open = || world.engine.evidence()?.of(row.attempt.id);
    match board.segments(row).or_else(open) {
        Some(segments) => kept(segments),
        None => from_record(&row.attempt, world.places.to_wall()),
    }
}

fn segment(row: &Row, seen: &Seen, world: &World<'_>) -> Segment {
    let Seen { event, source, verdict, .. } = seen;
    let key = &row.attempt.key;
    let sent_by_client = (event.source, event.source_port) == (key.client.address, key.client.port);
    let is_icmp = event.kind == kind::ICMP;
    let (interface, hook) = world.places.seen_at(*source, world.engine.sources());
    let opening = matches!(event.kind, kind::SYN | kind::SYN_ACK).then(|| Opening::of(event));
    Segment {
        at: Nanos::try_from(event.time_ns)
            .unwrap_or(Nanos::MAX)
            .saturating_add(world.places.to_wall()),
        // An ICMP error quotes what it answers.
        from_client: sent_by_client != is_icmp,
        flags: if is_icmp { "ICMP".to_owned() } else { crate::output::tui::flags(event.tcp_flags) },
        seq: Some(event.seq),
        ack: has_ack(event).then_some(event.ack),
        window: (!is_icmp).then_some(event.window),
        len: event.payload_len,
        options: opening.map_or_else(|| icmp(event), |opening| options(&opening)),
        verdict: verdict.name(),
        place: format!("{interface} {hook}"),
    }
}

fn has_ack(event: &Event) -> bool {
    use handshake_common::packet::tcp::Flags;
    event.kind != kind::ICMP && Flags(event.tcp_flags).has(Flags::ACK)
}

fn icmp(event: &Event) -> String {
    if event.kind == kind::ICMP { icmp_words(event) } else { String::new() }
}
