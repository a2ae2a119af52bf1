//! What is said of an attempt in a few words.

use super::theme::Theme;
use crate::board::Row;
use crate::outcome::{Outcome, Side};
use crate::output::lines::icmp_name;

/// The last evidence, most telling words first: it may be cut at its end.
pub(super) fn evidence(row: &Row, theme: Theme) -> String {
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
        (None, Outcome::NoAnswer) => syn,
        (None, Outcome::HalfOpen) => format!("{synack}, no ACK"),
        (None, _) => a.ended_by.name().to_owned(),
    };
    if a.uncertain.is_some() { format!("uncertain: {text}") } else { text }
}
