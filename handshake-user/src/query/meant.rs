//! What somebody meant who wrote a term that is none. Only suggestions come from here, and each
//! that has a value is a term that [`super::parse`] takes.

use super::parse::{end, fate, of_key, port, role, vlan};
use super::{FAILED, KEYS};
use crate::nearest::nearest;
use crate::outcome::Outcome;
use crate::snapshot::Role;

/// Words of other filter languages, and our keys for them.
const KEYS_ELSEWHERE: [(&str, &str); 15] = [
    ("addr", "host"),
    ("address", "host"),
    ("dest", "server"),
    ("dev", "iface"),
    ("dport", "server-port"),
    ("dst", "server"),
    ("interface", "iface"),
    ("ip", "host"),
    ("result", "outcome"),
    ("rtt", "latency"),
    ("source", "client"),
    ("sport", "client-port"),
    ("src", "client"),
    ("state", "outcome"),
    ("status", "outcome"),
];
/// Keys of tools that look at sockets.
const OF_SOCKETS: [&str; 10] =
    ["cgroup", "cmd", "comm", "container", "pid", "pod", "proc", "process", "uid", "user"];
/// Words for outcomes, and ours.
const OUTCOMES_ELSEWHERE: [(&str, &str); 8] = [
    ("established", "completed*"),
    ("error", FAILED),
    ("ok", "completed*"),
    ("reset", "reset*"),
    ("rst", "reset*"),
    ("success", "completed*"),
    ("timed-out", "no-answer"),
    ("timeout", "no-answer"),
];
/// Words that join terms elsewhere, and how that is said here.
const JOINING: [(&str, &str); 6] = [
    ("and", "terms side by side must all hold, without a word between them"),
    ("&&", "terms side by side must all hold, without a word between them"),
    ("or", "alternatives are values with commas between, such as port:80,443"),
    ("||", "alternatives are values with commas between, such as port:80,443"),
    ("not", "the contrary of a term is written with a minus, such as -port:22"),
    ("!", "the contrary of a term is written with a minus, such as -port:22"),
];

fn of<'a>(table: &[(&str, &'a str)], word: &str) -> Option<&'a str> {
    let word = word.to_lowercase();
    table.iter().find(|(one, _)| *one == word).map(|(_, ours)| *ours)
}

/// How something is said here that other languages have a word for.
pub(super) fn joining(word: &str) -> Option<&'static str> {
    of(&JOINING, word)
}

/// Does this ask for what sockets know and packets do not?
pub(super) fn is_of_sockets(key: &str) -> bool {
    OF_SOCKETS.contains(&key.to_lowercase().as_str())
}

/// The key that is written so, or nearly so, or elsewhere so.
pub(super) fn key(word: &str) -> Option<&'static str> {
    KEYS.into_iter()
        .find(|key| *key == word)
        .or_else(|| of(&KEYS_ELSEWHERE, word))
        .or_else(|| nearest(word, KEYS))
}

/// What a term without a key would be right as. `next` is the word that follows it.
pub(super) fn without_key(word: &str, next: &str) -> String {
    let alone = [("port", port(word).is_some()), ("host", end(word).is_some())];
    let named = [("outcome", fate(word).is_some()), ("role", role(word).is_some())];
    if let Some((key, _)) = alone.into_iter().chain(named).find(|(_, is)| *is) {
        return format!("{key}:{word}");
    }
    let is_key = KEYS.contains(&word) || of(&KEYS_ELSEWHERE, word).is_some();
    if let Some(key) = key(word).filter(|_| is_key) {
        return completed(key, next);
    }
    compared(word).unwrap_or_else(|| format!("/{}/", word.replace('/', "\\/")))
}

/// A key with a value that it takes, else with a gap.
pub(super) fn completed(key: &str, value: &str) -> String {
    right(key, value).unwrap_or_else(|| format!("{key}:…"))
}

/// `port=443`, `latency>100ms`, `outcome!=refused`: a comparison as other languages write it.
fn compared(word: &str) -> Option<String> {
    let at = word.find(['=', '<', '>', '!', '~']).filter(|at| *at > 0)?;
    let (name, rest) = word.split_at(at);
    let key = key(name)?;
    let sign = if rest.starts_with('!') { "-" } else { "" };
    Some(format!("{sign}{}", completed(key, rest.trim_start_matches(['!', '~']))))
}

/// The term with this key, every value of which is right or has a right one near.
pub(super) fn right(key: &str, values: &str) -> Option<String> {
    let values = values.split(',').map(|value| {
        let is_right = of_key(key, value).is_ok();
        if is_right { Some(value.to_owned()) } else { value_near(key, value) }
    });
    let values: Option<Vec<_>> = values.collect();
    Some(format!("{key}:{}", values?.join(",")))
}

/// A value of this key that is nearly so.
fn value_near(key: &str, value: &str) -> Option<String> {
    let near = match key {
        "outcome" => of(&OUTCOMES_ELSEWHERE, value).map(str::to_owned).or_else(|| {
            let names = Outcome::ALL.iter().map(|outcome| outcome.name());
            nearest(value, names.chain([FAILED])).map(str::to_owned)
        }),
        "role" => {
            let names = [Role::Client, Role::Server, Role::Forwarded].map(Role::name);
            nearest(value, names).map(str::to_owned)
        }
        "port" | "client-port" | "server-port" | "sport" | "dport" => {
            range(value).filter(|value| port(value).is_some())
        }
        "vlan" => range(value).filter(|value| vlan(value).is_some()),
        "host" | "net" | "client" | "server" => address(value),
        "retrans" => nearest(value, ["yes", "no"]).map(str::to_owned),
        _ => duration(value),
    };
    let plain = value.trim_start_matches(['=', ':']).to_owned();
    let is_right = |value: &String| of_key(key, value).is_ok();
    [near, Some(plain)].into_iter().flatten().find(is_right)
}

/// `80:90`, `80..90` and `90-80` as we write them.
fn range(value: &str) -> Option<String> {
    let (first, last) = ["..", ":", "-"].iter().find_map(|between| value.split_once(between))?;
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    Some(format!("{}-{}", first.min(last), first.max(last)))
}

/// `=[::1]` without brackets, `fe80::1%eth0` without its zone.
fn address(value: &str) -> Option<String> {
    let bare = value.trim_start_matches(['=', '[']).trim_end_matches(']');
    let bare = bare.split('%').next().unwrap_or_default();
    end(bare).map(|_| bare.to_owned())
}

/// `100ms`, `>100` and `=>100ms`: without a sign, without a unit, or with the sign turned round.
fn duration(value: &str) -> Option<String> {
    let length = value.trim_start_matches(['<', '>', '=']);
    let sign = match &value[..value.len() - length.len()] {
        "" | ">" => ">",
        "<" => "<",
        "=>" | ">=" => ">=",
        "=<" | "<=" => "<=",
        _ => return None,
    };
    let unit = if length.bytes().all(|byte| byte.is_ascii_digit()) { "ms" } else { "" };
    (!length.is_empty()).then(|| format!("{sign}{length}{unit}"))
}
