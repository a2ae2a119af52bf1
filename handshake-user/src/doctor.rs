//! `handshake doctor`: tries what `watch` needs, and says what it found and what to do about it.
//!
//! It tries rather than reads: maps are made, programs loaded and run on a SYN, attachments tried
//! on devices in a network namespace of its own (`loader::trial`). Interfaces of the host are only
//! looked at. What was not tried is `unknown`, never `ok`. Shown by `output::doctor`.

mod kernel;
mod leftovers;
mod links;
mod memory;
mod process;
mod programs;
mod terminal;

use crate::exit::{Failure, NO_PRIVILEGE, NOTHING_ATTACHED};
use crate::interfaces::{Interface, default_route, list, select};
use crate::loader;

/// What was found out about one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Tried, and it works.
    Ok,
    /// It works, but less than it could.
    Degraded,
    /// It could not be tried.
    Unknown,
    /// Nothing can be watched like this.
    Blocked,
}

impl Verdict {
    /// From best to worst.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Degraded, Self::Unknown, Self::Blocked];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Unknown => "unknown",
            Self::Blocked => "blocked",
        }
    }
}

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    /// What this process may.
    Process,
    /// The kernel itself.
    Kernel,
    /// Maps and programs, made and run.
    Programs,
    /// Attachments to devices of our own.
    Attaching,
    /// One interface of the host.
    Interface,
    /// Memory and limits.
    Memory,
    /// What earlier runs left.
    Leftovers,
    /// What it is shown on.
    Terminal,
}

impl Group {
    /// In the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Process,
        Self::Kernel,
        Self::Programs,
        Self::Attaching,
        Self::Interface,
        Self::Memory,
        Self::Leftovers,
        Self::Terminal,
    ];

    /// The name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Kernel => "kernel",
            Self::Programs => "programs",
            Self::Attaching => "attaching",
            Self::Interface => "interface",
            Self::Memory => "memory",
            Self::Leftovers => "leftovers",
            Self::Terminal => "terminal",
        }
    }
}

/// What to do about a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remedy {
    /// A command to run as it is.
    Command(String),
    /// Words; commands in them stand between backticks.
    Advice(String),
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What it is about.
    pub group: Group,
    /// Which interface, in the group of that name.
    pub interface: Option<String>,
    /// Its name; stable within its group.
    pub name: String,
    /// How it stands.
    pub verdict: Verdict,
    /// What was found: words without a full stop.
    pub finding: String,
    /// What to do.
    pub remedy: Option<Remedy>,
    /// A privilege is what is missing.
    pub lacks_privilege: bool,
}

impl Check {
    fn new(group: Group, name: &str, verdict: Verdict, finding: impl Into<String>) -> Self {
        Self {
            group,
            interface: None,
            name: name.to_owned(),
            verdict,
            finding: finding.into(),
            remedy: None,
            lacks_privilege: false,
        }
    }

    fn command(mut self, command: impl Into<String>) -> Self {
        self.remedy = Some(Remedy::Command(command.into()));
        self
    }

    fn advice(mut self, words: impl Into<String>) -> Self {
        self.remedy = Some(Remedy::Advice(words.into()));
        self
    }

    /// A check that met an error of ours. Their texts end in the remedy, after the last semicolon.
    fn failed(group: Group, name: &str, error: &str, lacks_privilege: bool) -> Self {
        let (finding, remedy) = match error.rsplit_once("; ") {
            Some((finding, remedy)) => (finding, Some(remedy)),
            None => (error, None),
        };
        let check = Self::new(group, name, Verdict::Blocked, finding);
        let check = Self { lacks_privilege, ..check };
        match remedy {
            Some(remedy) => check.advice(remedy),
            None => check,
        }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Version of handshake.
    pub version: &'static str,
    /// Release of the running kernel.
    pub kernel: String,
    /// By group, in the order of [`Group::ALL`].
    pub checks: Vec<Check>,
}

impl Report {
    /// How many checks have a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// The program's exit code: 0 if nothing is blocked, 77 if a privilege is missing, else 3.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let mut blocked = self.checks.iter().filter(|one| one.verdict == Verdict::Blocked);
        match self.count(Verdict::Blocked) {
            0 => 0,
            _ if blocked.any(|one| one.lacks_privilege) => NO_PRIVILEGE,
            _ => NOTHING_ATTACHED,
        }
    }
}

/// Looks at everything `watch -i PATTERN…` would need.
///
/// # Errors
/// If a pattern matches no interface, or the interfaces cannot be read.
pub fn examine(patterns: &[String]) -> Result<Report, Failure> {
    let interfaces = chosen(patterns)?;
    let mut checks = vec![process::capabilities()];
    checks.extend(kernel::checks());
    // Before anything is made.
    let narrowest = memory::narrowest();
    let (tried, mut trial) = match &narrowest {
        Some(limit) if limit.is_deadly() => (programs::spared(), None),
        _ => programs::checks(),
    };
    let attachable = programs::is_attachable(&tried);
    checks.extend(tried);
    if interfaces.is_empty() {
        checks.push(links::none());
    }
    let mut host = links::Host::new(trial.as_mut(), attachable);
    for interface in &interfaces {
        checks.extend(host.checks(interface));
    }
    checks.extend(memory::checks(trial.as_ref(), narrowest.as_ref()));
    checks.push(leftovers::check());
    checks.extend(terminal::checks());
    Ok(Report { version: env!("CARGO_PKG_VERSION"), kernel: loader::kernel_release(), checks })
}

fn chosen(patterns: &[String]) -> Result<Vec<Interface>, Failure> {
    if patterns.is_empty() {
        let chosen = default_route()?.interfaces;
        let lone = |all: Vec<Interface>| all.into_iter().filter(|one| one.up).collect();
        return Ok(if chosen.is_empty() { lone(list()?) } else { chosen });
    }
    Ok(select(&list()?, patterns)?)
}

/// A word as a shell takes it: names of interfaces may hold anything but `/`, `:` and white space.
fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| "''".to_owned(), std::borrow::Cow::into_owned)
}

/// This program, as a shell finds it.
fn program() -> String {
    let path = std::env::current_exe();
    path.map_or_else(|_| "handshake".to_owned(), |path| quoted(&path.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[(Verdict, bool)]) -> Report {
        let check = |&(verdict, lacks_privilege): &(Verdict, bool)| Check {
            lacks_privilege,
            ..Check::new(Group::Kernel, "x", verdict, "y")
        };
        let checks = verdicts.iter().map(check).collect();
        Report { version: "0", kernel: "0".to_owned(), checks }
    }

    #[test]
    fn only_what_is_blocked_fails_and_a_privilege_comes_first() {
        use Verdict::{Blocked, Degraded, Ok, Unknown};
        for (verdicts, code) in [
            (&[][..], 0),
            (&[(Ok, false), (Degraded, false), (Unknown, true)], 0),
            (&[(Ok, false), (Blocked, false)], 3),
            (&[(Blocked, false), (Blocked, true)], 77),
        ] {
            assert_eq!(report(verdicts).exit_code(), code, "{verdicts:?}");
        }
    }

    #[test]
    fn an_error_is_taken_apart_into_finding_and_remedy() {
        let check = Check::failed(Group::Programs, "maps", "cannot x: y; z; do `w`", true);
        assert_eq!(check.finding, "cannot x: y; z");
        assert_eq!(check.remedy, Some(Remedy::Advice("do `w`".to_owned())));
        let check = Check::failed(Group::Programs, "maps", "cannot x", false);
        assert_eq!((check.finding.as_str(), check.remedy), ("cannot x", None));
    }

    #[test]
    fn a_hostile_name_stays_one_word_of_a_shell() {
        assert_eq!(quoted("eth0"), "eth0");
        assert_eq!(quoted("a;reboot"), "'a;reboot'");
        assert_eq!(quoted("$(id)"), "'$(id)'");
    }
}
