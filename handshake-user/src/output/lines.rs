//! Lines: one readable, aligned line per ended attempt.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::after::{After, Next};
use crate::attempt::{Attempt, IcmpEnd, Nanos};
use crate::outcome::{EndedBy, Outcome, Side};
use crate::output::escape::Escaped;
use crate::snapshot::AttemptView;

/// Formats attempts; columns grow with the widest address seen.
#[derive(Debug)]
pub struct Lines {
    color: bool,
    zone: TimeZone,
    /// Width of the interface column; shown once there are two names.
    interface_width: usize,
    interfaces: Vec<String>,
    client_width: usize,
    server_width: usize,
}

/// ANSI colours of the three kinds of outcome.
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

impl Lines {
    /// A formatter for people in time zone `zone`.
    #[must_use]
    pub fn new(color: bool, zone: TimeZone) -> Self {
        Self {
            color,
            zone,
            interface_width: 0,
            interfaces: Vec::new(),
            client_width: 21,
            server_width: 21,
        }
    }

    /// Attempts may be seen on this interface; with several, lines say on which.
    pub fn show_interface(&mut self, name: &str) {
        if !self.interfaces.iter().any(|known| known == name) {
            self.interfaces.push(name.to_owned());
            self.interface_width = self.interface_width.max(name.chars().count());
        }
    }

    fn interface_column(&self, view: &AttemptView<'_>) -> String {
        match view.place {
            Some(place) if self.interfaces.len() > 1 => {
                let name = Escaped(place.interface).to_string();
                format!("{name:<width$} ", width = self.interface_width)
            }
            _ => String::new(),
        }
    }

    /// The line of one attempt, without a newline.
    pub fn line(&mut self, view: &AttemptView<'_>) -> String {
        let a = view.attempt;
        let (client, server) = (a.key.client_addr().to_string(), a.key.server_addr().to_string());
        self.client_width = self.client_width.max(client.len());
        self.server_width = self.server_width.max(server.len());
        // A capture file does not say whose it is.
        let role = view.place.map(|place| format!("{:<9} ", place.role.name())).unwrap_or_default();
        let (on, off) = if self.color { (color(a.outcome), RESET) } else { ("", "") };
        let mut line = format!(
            "{time} {interface}{role}{client:>cw$} → {server:<sw$} {on}{outcome:<17}{off}",
            time = self.time(a.t_first.saturating_add(view.to_wall)),
            interface = self.interface_column(view),
            cw = self.client_width,
            sw = self.server_width,
            outcome = a.outcome.name(),
        );
        for detail in details(a) {
            let _ = write!(line, " {detail}");
        }
        line
    }

    fn time(&self, ns: Nanos) -> String {
        match Timestamp::from_nanosecond(i128::from(ns)) {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime("%H:%M:%S%.3f").to_string(),
            Err(_) => format!("{ns}ns"),
        }
    }
}

/// The words of an attempt's line, one blank between them: what a text in `--filter` is looked for
/// in. Without the time, which would match by accident.
#[must_use]
pub fn words(view: &AttemptView<'_>) -> String {
    let a = view.attempt;
    let mut words = String::new();
    if let Some(place) = view.place {
        let _ = write!(words, "{} {} ", place.interface, place.role.name());
    }
    let (client, server) = (a.key.client_addr(), a.key.server_addr());
    let _ = write!(words, "{client} → {server} {}", a.outcome.name());
    for detail in details(a) {
        let _ = write!(words, " {detail}");
    }
    words
}

fn color(outcome: Outcome) -> &'static str {
    if outcome.is_completed() {
        GREEN
    } else if outcome.is_failure() {
        RED
    } else {
        YELLOW
    }
}

/// What to say of an attempt besides its outcome.
pub(super) fn details(a: &Attempt) -> Vec<String> {
    let mut details = Vec::new();
    let parts = [
        ("server", a.latency_server()),
        ("client", a.latency_client()),
        ("total", a.latency_total()),
    ];
    for (part, latency) in parts {
        if let Some(latency) = latency {
            details.push(format!("{part} {}", duration(latency)));
        }
    }
    if let (None, Some(latency)) = (a.latency_total(), a.latency_end()) {
        details.push(format!("after {}", duration(latency)));
    }
    for (what, count) in [
        ("SYN retransmitted", a.syn_retrans),
        ("SYN-ACK retransmitted", a.synack_retrans),
        ("bad SYN-ACK", a.bad_synack),
        ("bad RST", a.bad_rst),
    ] {
        if count > 0 {
            details.push(format!("[{what} ×{count}]"));
        }
    }
    details.extend(reason(a).map(|reason| format!("({reason})")));
    details.extend(a.after.and_then(|after| followed(&after)));
    details.extend(a.pattern.map(|pattern| format!("({})", pattern.name())));
    details.extend(a.uncertain.map(|doubt| format!("(uncertain: {})", doubt.words())));
    details
}

/// What came right after the completion, unless it is what one expects.
fn followed(after: &After) -> Option<String> {
    let words = after.next.words()?;
    Some(match after.next {
        Next::NotAccepted => format!("(then {words} ×{})", after.synack_retrans),
        Next::Nothing => format!("(then {words} for {})", duration(after.at)),
        _ => format!("(then {words} after {})", duration(after.at)),
    })
}

/// Why it ended so, where the outcome alone does not say it.
fn reason(a: &Attempt) -> Option<String> {
    if let Some(icmp) = &a.icmp {
        let quoted = if icmp.quotes == Side::Client { "SYN" } else { "SYN-ACK" };
        let source = icmp.source;
        return Some(format!("ICMP {} from {source} quotes the {quoted}", icmp_name(icmp)));
    }
    match (a.ended_by, a.outcome) {
        (EndedBy::Superseded, _) => Some("the client began anew".to_owned()),
        (EndedBy::Evicted, _) => Some("our table was full: see --max-attempts".to_owned()),
        (EndedBy::Timeout, Outcome::HalfOpen) => Some("no third ACK seen".to_owned()),
        (_, Outcome::CompletedPartial) => Some(match (a.t_syn, a.t_synack, a.t_ack) {
            (None, _, _) => "SYN not seen".to_owned(),
            (_, None, _) => "SYN-ACK not seen".to_owned(),
            _ => "third ACK not seen".to_owned(),
        }),
        _ if a.isn_repeat => Some("same SYN as the attempt before".to_owned()),
        _ => None,
    }
}

/// What tcpdump and the RFCs (792, 1812, 4443) call an ICMP error.
pub(super) fn icmp_name(icmp: &IcmpEnd) -> String {
    let (icmp_type, code) = (icmp.icmp_type, icmp.code);
    let name = match (icmp.source.is_ipv6(), icmp_type, code) {
        (false, 3, 0 | 6) => "net unreachable",
        (false, 3, 1 | 7) => "host unreachable",
        (false, 3, 2) => "protocol unreachable",
        (false, 3, 3) | (true, 1, 4) => "port unreachable",
        (false, 3, 9 | 10 | 13) | (true, 1, 1) => "administratively prohibited",
        (false, 11, _) | (true, 3, _) => "time exceeded",
        (false, 12, _) | (true, 4, _) => "parameter problem",
        (true, 1, 0) => "no route",
        (true, 1, 3) => "address unreachable",
        (true, 1, 5) => "source address policy",
        (true, 1, 6) => "route rejected",
        _ => return format!("type {icmp_type} code {code}"),
    };
    format!("{name} (type {icmp_type} code {code})")
}

/// A latency in the unit that suits it.
#[must_use]
pub fn duration(ns: Nanos) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    #[expect(clippy::cast_precision_loss, reason = "shown with four digits")]
    let value = ns.unsigned_abs() as f64;
    let (value, unit) = match ns.unsigned_abs() {
        0..1_000 => (value, "ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let digits = if value >= 100.0 || unit == "ns" { 0 } else { usize::from(value < 10.0) + 1 };
    format!("{sign}{value:.digits$}{unit}")
}
