//! From what `-i` says to interfaces: names, alternative names and globs.

use super::{Interface, LinkKind};

/// In `-i`: every interface that is up, loopback too, as in tcpdump.
pub const ANY: &str = "any";
/// Names that are suggested at most.
const SUGGESTIONS: usize = 3;
/// How alike a name must be to be suggested (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.7;

/// A name or glob that matches no interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no interface {} {pattern:?}{}; `ip link` lists all",
    if *is_glob { "matches" } else { "is named" },
    suggestion(.nearest, .others)
)]
pub struct SelectError {
    /// What was asked for.
    pub pattern: String,
    /// Whether it is a glob.
    pub is_glob: bool,
    /// Names that come near, nearest first.
    pub nearest: Vec<String>,
    /// If none does, some that there are.
    pub others: Vec<String>,
}

impl SelectError {
    /// The program's exit code: 3, nothing attached.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        3
    }
}

fn suggestion(nearest: &[String], others: &[String]) -> String {
    let list = |names: &[String], joint: &str| {
        names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(joint)
    };
    match (nearest, others) {
        ([], []) => String::new(),
        ([], others) => format!("; there is {}", list(others, ", ")),
        (nearest, _) => format!("; did you mean {}?", list(nearest, " or ")),
    }
}

/// The interfaces that `patterns` name, each once, in the order of `all`. A pattern is a name, an
/// alternative name, or a glob of `*` (any characters) and `?` (one character).
///
/// # Errors
/// For the first pattern that matches nothing.
pub fn select(all: &[Interface], patterns: &[String]) -> Result<Vec<Interface>, SelectError> {
    for pattern in patterns {
        if !all.iter().any(|interface| interface.matches(pattern)) {
            return Err(unknown(all, pattern));
        }
    }
    let wanted = |interface: &&Interface| patterns.iter().any(|one| interface.matches(one));
    Ok(all.iter().filter(wanted).cloned().collect())
}

/// Interfaces that were found, and patterns for which there is none yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selected {
    /// Each once.
    pub interfaces: Vec<Interface>,
    /// Globs, or [`ANY`], that match nothing now.
    pub waiting: Vec<SelectError>,
}

/// As [`select`], but a glob may match nothing yet. A name must be there: it may be misspelt.
///
/// # Errors
/// For the first name that matches nothing.
pub fn select_or_wait(all: &[Interface], patterns: &[String]) -> Result<Selected, SelectError> {
    let mut waiting = Vec::new();
    for pattern in patterns {
        match select(all, std::slice::from_ref(pattern)) {
            Err(error) if error.is_glob || pattern == ANY => waiting.push(error),
            found => drop(found?),
        }
    }
    let wanted = |interface: &&Interface| patterns.iter().any(|one| interface.matches(one));
    Ok(Selected { interfaces: all.iter().filter(wanted).cloned().collect(), waiting })
}

impl SelectError {
    /// The same of something that may come yet.
    #[must_use]
    pub fn yet(&self) -> String {
        let Self { pattern, nearest, others, .. } = self;
        format!("no interface matches {pattern:?} yet{}", suggestion(nearest, others))
    }
}

impl Interface {
    /// True if `pattern` names this interface: by name, alternative name or glob, or as one of all
    /// that are up and can be read ([`ANY`]).
    #[must_use]
    pub fn matches(&self, pattern: &str) -> bool {
        if pattern == ANY {
            return self.up && !matches!(self.link, LinkKind::Other(_));
        }
        let names = std::iter::once(&self.name).chain(&self.alt_names);
        names.into_iter().any(|name| name == pattern || glob(pattern, name))
    }
}

fn unknown(all: &[Interface], pattern: &str) -> SelectError {
    let stem: String = pattern.chars().filter(|one| !matches!(one, '*' | '?')).collect();
    let names = all.iter().flat_map(|one| std::iter::once(&one.name).chain(&one.alt_names));
    let mut scored: Vec<_> = names
        .map(|name| (strsim::jaro_winkler(&stem.to_lowercase(), &name.to_lowercase()), name))
        .collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let take = |names: &[(f64, &String)]| {
        names.iter().take(SUGGESTIONS).map(|&(_, name)| name.clone()).collect()
    };
    let alike = scored.partition_point(|&(score, _)| score >= ALIKE);
    SelectError {
        pattern: pattern.to_owned(),
        is_glob: pattern.contains(['*', '?']),
        nearest: take(&scored[..alike]),
        others: if alike == 0 { take(&scored) } else { Vec::new() },
    }
}

/// Matches `*` and `?`, with one step of memory: the last `*` may take one byte more.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else { return false };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                in_name = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::tests::interface;

    fn named(names: &[&str]) -> Vec<Interface> {
        names.iter().zip(1..).map(|(name, index)| interface(index, name)).collect()
    }

    fn chosen(all: &[Interface], patterns: &[&str]) -> Result<Vec<String>, SelectError> {
        let patterns: Vec<_> = patterns.iter().map(|&one| one.to_owned()).collect();
        Ok(select(all, &patterns)?.into_iter().map(|one| one.name).collect())
    }

    #[test]
    fn names_and_globs_choose_each_interface_once() {
        let all = named(&["lo", "eth0", "eth1", "veth0", "wlan0"]);
        assert_eq!(chosen(&all, &["eth1", "eth*", "lo"]).unwrap(), ["lo", "eth0", "eth1"]);
        assert_eq!(chosen(&all, &["*eth?"]).unwrap(), ["eth0", "eth1", "veth0"]);
        assert_eq!(chosen(&all, &["*"]).unwrap().len(), 5);
        assert!(chosen(&all, &["eth"]).is_err(), "a name is no prefix");
    }

    #[test]
    fn alternative_names_choose_as_well() {
        let mut all = named(&["eth0"]);
        all[0].alt_names.push("enp3s0f1np1-a-long-one".to_owned());
        assert_eq!(chosen(&all, &["enp3s0*"]).unwrap(), ["eth0"]);
    }

    #[test]
    fn any_is_every_interface_that_is_up_and_can_be_read() {
        let mut all = named(&["lo", "eth0", "eth1", "ib0"]);
        all[2].up = false;
        all[3].link = LinkKind::Other(32);
        assert_eq!(chosen(&all, &["any"]).unwrap(), ["lo", "eth0"]);
    }

    #[test]
    fn a_glob_may_wait_and_a_name_may_not() {
        let all = named(&["lo", "eth0"]);
        let wait = |patterns: &[&str]| {
            let patterns: Vec<_> = patterns.iter().map(|&one| one.to_owned()).collect();
            select_or_wait(&all, &patterns)
        };
        let selected = wait(&["eth0", "veth*"]).unwrap();
        assert_eq!(selected.interfaces, [interface(2, "eth0")]);
        assert_eq!(selected.waiting[0].pattern, "veth*");
        let said = selected.waiting[0].yet();
        assert_eq!(said, r#"no interface matches "veth*" yet; did you mean "eth0"?"#);
        assert_eq!(wait(&["eth1", "veth*"]).unwrap_err().nearest, ["eth0"]);
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_nearest() {
        let all = named(&["lo", "eth0", "eth1", "docker0"]);
        let error = chosen(&all, &["ethO"]).unwrap_err();
        assert_eq!(error.nearest, ["eth0", "eth1"]);
        let said =
            r#"no interface is named "ethO"; did you mean "eth0" or "eth1"?; `ip link` lists all"#;
        assert_eq!(error.to_string(), said);
        let nothing_near = chosen(&all, &["zz*"]).unwrap_err();
        assert_eq!(nothing_near.nearest, [""; 0]);
        let said = nothing_near.to_string();
        assert!(said.contains(r#""zz*"; there is "lo", "eth0", "eth1"; `ip"#), "{said}");
    }

    #[test]
    fn stars_may_take_nothing_and_much() {
        for (pattern, name, expected) in [
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-", false),
            ("*", "", true),
            ("?", "", false),
            ("**a", "ba", true),
        ] {
            assert_eq!(glob(pattern, name), expected, "{pattern} {name}");
        }
    }
}
