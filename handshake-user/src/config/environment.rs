//! Variables that look like ours and are none. Pure: the caller says which there are.
//!
//! They are told, not refused: the names are not ours alone. A container gets variables for every
//! service of its cluster, other programs may begin theirs alike, and a program that refuses to
//! start for what it does not even read would be worse than a mistyped name.

use std::ffi::{OsStr, OsString};

use super::Ignored;
use crate::nearest::nearest;

/// What the names of all our variables begin with.
const PREFIX: &str = "HANDSHAKE_";
/// Variables of the suites and the build (docs/testing.md has the same list; a test compares).
pub const KNOBS: [&str; 10] = [
    "HANDSHAKE_DEB",
    "HANDSHAKE_BIN",
    "HANDSHAKE_CORPUS",
    "HANDSHAKE_BLESS",
    "HANDSHAKE_PROMETHEUS",
    "HANDSHAKE_HAPROXY",
    "HANDSHAKE_RANDOM_RUNS",
    "HANDSHAKE_FUZZ_RUNS",
    "HANDSHAKE_STRIDE",
    "HANDSHAKE_EBPF_OBJECT",
];
/// So many are told by name.
const MOST_NAMED: usize = 5;

/// Does the variable give no value? An empty one does not, and neither does what Kubernetes sets
/// for a service of the name `handshake`: `HANDSHAKE_PORT=tcp://10.0.0.1:9435` is no port.
pub(super) fn says_nothing(value: &OsStr) -> bool {
    value.is_empty() || is_link(value)
}

/// The address of a service, as Kubernetes and Docker write it.
fn is_link(value: &OsStr) -> bool {
    let schemes = ["tcp://", "udp://", "sctp://"];
    schemes.iter().any(|scheme| value.as_encoded_bytes().starts_with(scheme.as_bytes()))
}

/// Which of these variables somebody may have meant for us, in vain. `known` are the names of our
/// own, in capitals.
pub(super) fn ignored(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    known: &[String],
) -> Vec<Ignored> {
    let mut found: Vec<Ignored> = variables
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .filter_map(|(name, value)| of(&name.to_string_lossy(), &value, known))
        .collect();
    found.sort();
    let more = found.len().saturating_sub(MOST_NAMED);
    found.truncate(MOST_NAMED);
    found.extend((more > 0).then_some(Ignored::More(more)));
    found
}

fn of(name: &str, value: &OsStr, known: &[String]) -> Option<Ignored> {
    let rest = name.strip_prefix(PREFIX)?;
    let variable = name.to_owned();
    if known.iter().any(|known| known == name) {
        return is_link(value).then_some(Ignored::Link { variable });
    }
    if KNOBS.contains(&name) || is_link(value) || is_of_a_service(rest) {
        return None;
    }
    let ends: Vec<_> = known
        .iter()
        .filter_map(|known| known.strip_prefix(PREFIX))
        .map(str::to_lowercase)
        .collect();
    let nearest = nearest(rest, ends.iter().map(String::as_str));
    let nearest = nearest.map(|end| format!("{PREFIX}{}", end.to_uppercase()));
    Some(Ignored::Unknown { variable, nearest })
}

/// What Kubernetes sets beside the link, for services of the name `handshake` or `handshake-…`.
fn is_of_a_service(rest: &str) -> bool {
    let words: Vec<_> = rest.split('_').collect();
    let is_number = |word: &str| word.parse::<u16>().is_ok();
    words.windows(2).any(|pair| pair[0] == "SERVICE" && ["HOST", "PORT"].contains(&pair[1]))
        || words.windows(3).any(|three| {
            three[0] == "PORT" && is_number(three[1]) && ["TCP", "UDP", "SCTP"].contains(&three[2])
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Vec<String> {
        let known = ["HANDSHAKE_PORT", "HANDSHAKE_TIMEOUT", "HANDSHAKE_REPLAY_FORMAT"];
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let found = ignored(variables, &known.map(str::to_owned));
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_name_like_one_of_ours_is_told_with_the_nearest() {
        for (name, nearest) in [
            ("HANDSHAKE_PROT", "HANDSHAKE_PORT"),
            ("HANDSHAKE_PORTS", "HANDSHAKE_PORT"),
            ("HANDSHAKE_TIMOUT", "HANDSHAKE_TIMEOUT"),
            ("HANDSHAKE_REPLAY_FROMAT", "HANDSHAKE_REPLAY_FORMAT"),
            ("HANDSHAKE_Port", "HANDSHAKE_PORT"),
        ] {
            let line = format!(
                "{name} in the environment is no variable of handshake and does nothing; did you \
                 mean {nearest}?"
            );
            assert_eq!(told(&[(name, "80")]), [line]);
        }
        let line = "HANDSHAKE_ZZZ in the environment is no variable of handshake and does nothing; \
                    docs/flags.md and `--help` have them all";
        assert_eq!(told(&[("HANDSHAKE_ZZZ", "1")]), [line]);
    }

    #[test]
    fn what_is_known_empty_or_not_ours_is_not_told() {
        let knobs = KNOBS.map(|knob| (knob, "1"));
        for variables in [
            &knobs[..],
            &[("HANDSHAKE_PORT", "80"), ("HANDSHAKE_REPLAY_FORMAT", "wrong, but known")],
            &[("HANDSHAKE_PROT", "")],
            &[("HANDSHAKES", "1"), ("HANDSHAKE", "1"), ("MY_HANDSHAKE_PROT", "1"), ("PATH", "x")],
        ] {
            assert_eq!(told(variables), [""; 0], "{variables:?}");
        }
    }

    #[test]
    fn what_a_cluster_sets_for_its_services_is_not_told() {
        assert_eq!(
            told(&[
                ("HANDSHAKE_SERVICE_HOST", "10.0.0.1"),
                ("HANDSHAKE_SERVICE_PORT", "9435"),
                ("HANDSHAKE_SERVICE_PORT_METRICS", "9435"),
                ("HANDSHAKE_PORT_9435_TCP", "tcp://10.0.0.1:9435"),
                ("HANDSHAKE_PORT_9435_TCP_PROTO", "tcp"),
                ("HANDSHAKE_PORT_9435_TCP_ADDR", "10.0.0.1"),
                ("HANDSHAKE_METRICS_PORT", "tcp://10.0.0.1:9435"),
                ("HANDSHAKE_METRICS_PORT_9435_TCP_PORT", "9435"),
                ("HANDSHAKE_METRICS_SERVICE_HOST", "10.0.0.1"),
            ]),
            [""; 0]
        );
        let line = "HANDSHAKE_PORT in the environment is the address of a service, as Kubernetes \
                    sets it, and does nothing";
        assert_eq!(told(&[("HANDSHAKE_PORT", "tcp://10.0.0.1:9435")]), [line]);
    }

    #[test]
    fn of_many_some_are_told_by_name() {
        let names: Vec<_> = (0..8).map(|number| format!("HANDSHAKE_X{number}")).collect();
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        let told = told(&variables);
        assert_eq!(told.len(), MOST_NAMED + 1);
        assert!(told[5].starts_with("3 more "), "{told:?}");
    }
}
