//! What is said of an attempt in a few words.

use super::text::duration;
use super::theme::Theme;
use crate::after::Next;
use crate::attempt::Attempt;
use crate::board::Row;
use crate::outcome::{Outcome, Side};
use crate::output::lines::icmp_name;

/// The last evidence, most telling words first: it may be cut at its end. So many attempts of the same
/// connect came after it.
pub(super) fn evidence(row: &Row, again: usize, theme: Theme) -> String {
    let text = one(row, theme);
    match again {
        0 => text,
        1 => format!("SYN again; {text}"),
        n => format!("SYN again {}{n}; {text}", theme.times()),
    }
}

fn one(row: &Row, theme: Theme) -> String {
    let a = &row.attempt;
    let times = |what: &str, copies: u32| match copies {
        0 => what.to_owned(),
        copies => format!("{what} {}{}", theme.times(), u64::from(copies) + 1),
    };
    let syn = times("SYN", a.syn_retrans);
    let synack = times("SYN-ACK", a.synack_retrans);
    let rst_by = a.rst_from.map_or("?", Side::name);
    let text = match (a.icmp, a.outcome) {
        (Some(icmp), _) => format!("ICMP {} from {}", icmp_name(&icmp), icmp.source),
        (None, Outcome::Refused) if a.syn_retrans > 0 => format!("RST to {syn}"),
        (None, Outcome::Refused) => "RST".to_owned(),
        (None, Outcome::ResetByServer | Outcome::ResetByClient) => {
            format!("RST by {rst_by} after {synack}")
        }
        (None, Outcome::Aborted) => format!("RST by {rst_by} after {syn}"),
        (None, Outcome::NoAnswer) if row.is_cancelled() => {
            "SYN once: client cancelled within 1s".to_owned()
        }
        (None, Outcome::NoAnswer) => syn,
        (None, Outcome::HalfOpen) => format!("{synack}, no ACK"),
        (None, outcome) if outcome.is_completed() => completed(a, &syn, &synack),
        (None, _) => a.ended_by.name().to_owned(),
    };
    if a.uncertain.is_some() { format!("uncertain: {text}") } else { text }
}

/// What was sent twice, and where the time went.
fn completed(a: &Attempt, syn: &str, synack: &str) -> String {
    let mut words = Vec::new();
    let told = a.after.map(|after| after.next);
    let told = told.filter(|next| next.is_unserved() || *next == Next::ResetByClient);
    words.extend(told.map(|next| format!("then {}", next.name())));
    words.extend((a.syn_retrans > 0).then(|| syn.to_owned()));
    words.extend((a.synack_retrans > 0).then(|| synack.to_owned()));
    for (part, ns) in [("server", a.latency_server()), ("client", a.latency_client())] {
        words.extend(ns.map(|ns| format!("{part} {}", duration(ns))));
    }
    if words.is_empty() { a.ended_by.name().to_owned() } else { words.join(", ") }
}
