//! Expected against got, in words a person can act on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::corpus::Case;
use crate::product::Run;

/// Fields that identify or illustrate, and one that the oracle does not judge: not compared.
const NOT_COMPARED: [&str; 4] = ["id", "frames", "pattern", "after"];
/// Classes of TCP segments.
const TCP: [&str; 7] =
    ["syn", "synack", "handshake-ack", "rst", "ack-other", "rst-other", "ignored"];
/// Differences printed for one capture.
const MOST_LINES: usize = 20;

/// What the comparison of one capture found.
#[derive(Debug)]
pub(crate) struct Verdict {
    name: String,
    differences: Vec<String>,
    /// Attempts equal in every compared field.
    pub(crate) equal: usize,
    /// Attempts expected.
    pub(crate) expected: usize,
}

impl Verdict {
    /// The differences as text, if there are any.
    pub(crate) fn report(self) -> Option<String> {
        if self.differences.is_empty() {
            return None;
        }
        let Self { name, differences, equal, expected } = self;
        let mut text = format!("{name}: {equal} of {expected} attempts equal");
        for difference in differences.iter().take(MOST_LINES) {
            let _ = write!(text, "\n  {difference}");
        }
        if differences.len() > MOST_LINES {
            let _ = write!(text, "\n  and {} more", differences.len() - MOST_LINES);
        }
        Some(text)
    }
}

/// Compares one run with its case.
pub(crate) fn judge(case: &Case, run: &Run) -> Verdict {
    let mut differences = Vec::new();
    if run.status != case.status {
        differences.push(format!("status: expected {}, got {}", case.status, run.status));
    }
    differences.extend(count_differences(case, run));
    let expected = by_first_packet(case.attempts.iter().cloned());
    let got = by_first_packet(run.lines.iter().map(|line| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }));
    let mut equal = 0;
    for first in expected.keys().chain(got.keys()).collect::<BTreeSet<_>>() {
        let found = attempt_differences(*first, expected.get(first), got.get(first));
        equal += usize::from(found.is_empty());
        differences.extend(found);
    }
    if differences.is_empty() && !in_order(case, run) {
        differences.push("attempts are not in order of their first packet".to_owned());
    }
    Verdict { name: case.name.clone(), differences, equal, expected: case.attempts.len() }
}

/// An attempt begins with one packet, and a packet begins at most one attempt.
fn by_first_packet(attempts: impl Iterator<Item = Value>) -> BTreeMap<u64, Map<String, Value>> {
    let attempts = attempts.map(|attempt| {
        let Value::Object(fields) = attempt else { panic!("an object: {attempt}") };
        let first = fields["frames"]["first"].as_u64().expect("a packet number");
        (first, fields)
    });
    attempts.collect()
}

fn in_order(case: &Case, run: &Run) -> bool {
    let expected = case.attempts.iter().map(|attempt| attempt["id"].as_u64());
    let got = run.lines.iter().map(|line| serde_json::from_str::<Value>(line).ok()?["id"].as_u64());
    expected.eq(got)
}

fn count_differences(case: &Case, run: &Run) -> Vec<String> {
    let class = |name: &str| run.classes.get(name).copied().unwrap_or(0);
    let mut differences = Vec::new();
    let mut compare = |name: &str, expected: u64, got: u64| {
        if expected != got {
            differences.push(format!("{name}: expected {expected}, got {got}"));
        }
    };
    for (name, expected) in &case.counts {
        let got = match *name {
            "packets" => run.packets,
            "tcp" => TCP.iter().map(|name| class(name)).sum(),
            "attempts" => run.lines.len() as u64,
            name => class(name),
        };
        compare(name, *expected, got);
    }
    for reason in
        ["not-ip", "not-tcp", "fragment", "icmp-other", "short", "bad-ip", "bad-tcp", "linktype"]
    {
        let expected = case.skipped.iter().find(|(name, _)| name == reason);
        compare(reason, expected.map_or(0, |(_, count)| *count), class(reason));
    }
    differences
}

fn attempt_differences(
    first: u64,
    expected: Option<&Map<String, Value>>,
    got: Option<&Map<String, Value>>,
) -> Vec<String> {
    match (expected, got) {
        (Some(expected), Some(got)) => field_differences(expected, got),
        (Some(expected), None) => vec![format!("{}: missing", title(expected))],
        (None, Some(got)) => vec![format!("{}: not expected", title(got))],
        (None, None) => unreachable!("packet {first} begins no attempt"),
    }
}

fn field_differences(expected: &Map<String, Value>, got: &Map<String, Value>) -> Vec<String> {
    let fields: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    let differ = fields.into_iter().filter(|field| {
        !NOT_COMPARED.contains(&field.as_str()) && expected.get(*field) != got.get(*field)
    });
    let shown = |fields: &Map<String, Value>, field: &str| {
        fields.get(field).map_or("no such field".to_owned(), Value::to_string)
    };
    differ
        .map(|field| {
            let (was, is) = (shown(expected, field), shown(got, field));
            let packets = format!("packets {} / {}", expected["frames"], got["frames"]);
            format!("{}: {field}: expected {was}, got {is}; {packets}", title(expected))
        })
        .collect()
}

fn title(attempt: &Map<String, Value>) -> String {
    let text = |field: &str| attempt[field].as_str().unwrap_or_default();
    format!(
        "attempt {} ({} port {} to {} port {}, packet {})",
        attempt["id"],
        text("client_ip"),
        attempt["client_port"],
        text("server_ip"),
        attempt["server_port"],
        attempt["frames"]["first"],
    )
}
