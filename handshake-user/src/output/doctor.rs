//! What the `doctor` found: lines for people, one a check, or one JSON object.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::escape::Escaped;
use super::json::SCHEMA;
use crate::doctor::{Check, Group, Remedy, Report, Verdict};

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";

/// Everything that `doctor` found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DoctorRecord {
    /// "doctor".
    #[serde(rename = "type")]
    #[schemars(extend("const" = "doctor"))]
    kind: &'static str,
    /// Version of the record.
    #[schemars(extend("const" = SCHEMA))]
    schema: u32,
    /// Version of handshake.
    version: &'static str,
    /// Kernel release.
    kernel: String,
    /// What the program exits with: 0, 3 or 77.
    exit_code: u8,
    /// By group.
    checks: Vec<CheckRecord>,
}

/// One thing that `doctor` looked at.
#[derive(Debug, Serialize, JsonSchema)]
struct CheckRecord {
    /// What it is about.
    #[schemars(extend("enum" = Group::ALL.map(Group::name)))]
    group: &'static str,
    /// Which interface; null unless the group is "interface".
    interface: Option<String>,
    /// Its name within the group.
    name: String,
    /// How it stands; "unknown" was not tried.
    #[schemars(extend("enum" = Verdict::ALL.map(Verdict::name)))]
    verdict: &'static str,
    /// What was found, in words; not API.
    finding: String,
    /// A command that helps, to be run as it is; null if there is none.
    command: Option<String>,
    /// Where no single command helps, advice; null if there are none.
    advice: Option<String>,
    /// A privilege is what is missing.
    lacks_privilege: bool,
}

/// The record of a report.
#[must_use]
pub fn record(report: &Report) -> DoctorRecord {
    DoctorRecord {
        kind: "doctor",
        schema: SCHEMA,
        version: report.version,
        kernel: report.kernel.clone(),
        exit_code: report.exit_code(),
        checks: report.checks.iter().map(check).collect(),
    }
}

fn check(check: &Check) -> CheckRecord {
    let (command, advice) = match check.remedy.clone() {
        Some(Remedy::Command(command)) => (Some(command), None),
        Some(Remedy::Advice(words)) => (None, Some(words)),
        None => (None, None),
    };
    CheckRecord {
        group: check.group.name(),
        interface: check.interface.clone(),
        name: check.name.clone(),
        verdict: check.verdict.name(),
        finding: check.finding.clone(),
        command,
        advice,
        lacks_privilege: check.lacks_privilege,
    }
}

/// The lines of a report: a headline a group, a line a check, its remedy on a line of its own (once
/// for neighbours that share it), and how many of each verdict.
#[must_use]
pub fn lines(report: &Report, color: bool) -> Vec<String> {
    let width = report.checks.iter().map(|one| one.name.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut last = None;
    let mut checks = report.checks.iter().peekable();
    while let Some(check) = checks.next() {
        let headline = (check.group, check.interface.as_deref());
        if last != Some(headline) {
            lines.push(head(headline));
            last = Some(headline);
        }
        lines.push(format!(
            "  {} {:width$}  {}",
            shown(check.verdict, color),
            check.name,
            Escaped(&check.finding)
        ));
        let is_shared = checks.peek().is_some_and(|next| {
            headline == (next.group, next.interface.as_deref()) && check.remedy == next.remedy
        });
        if !is_shared {
            lines.extend(check.remedy.as_ref().map(remedy));
        }
    }
    lines.push(counts(report));
    lines
}

fn remedy(remedy: &Remedy) -> String {
    let (sign, words) = match remedy {
        Remedy::Command(command) => ('$', command),
        Remedy::Advice(words) => ('→', words),
    };
    format!("{:indent$}{sign} {}", "", Escaped(words), indent = 2 + VERDICT_WIDTH + 1)
}

const VERDICT_WIDTH: usize = 8;

fn head((group, interface): (Group, Option<&str>)) -> String {
    match interface {
        Some(name) => format!("{} {}", group.name(), Escaped(name)),
        None => group.name().to_owned(),
    }
}

fn shown(verdict: Verdict, color: bool) -> String {
    let name = format!("{:VERDICT_WIDTH$}", verdict.name());
    let on = match verdict {
        Verdict::Ok => GREEN,
        Verdict::Degraded | Verdict::Unknown => YELLOW,
        Verdict::Blocked => RED,
    };
    if color { format!("{on}{name}{RESET}") } else { name }
}

fn counts(report: &Report) -> String {
    let mut line = String::new();
    for verdict in Verdict::ALL {
        let comma = if line.is_empty() { "" } else { ", " };
        let _ = write!(line, "{comma}{} {}", report.count(verdict), verdict.name());
    }
    line
}
