//! Reads the filter language. Errors name the term, where it begins, and what was meant.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use jiff::SignedDuration;
use regex::RegexBuilder;

use super::{
    Bound, End, FAILED, Fate, How, KEYS, Part, Pattern, Query, Span, Term, Test, UNSERVED, meant,
};
use crate::after::Next;
use crate::interfaces::glob;
use crate::outcome::Outcome;
use crate::pattern::Pattern as Kind;
use crate::snapshot::Role;

/// Bytes that a compiled regular expression may take.
const REGEX_BYTES: usize = 1 << 20;

/// A term that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{term:?} at {position}: {problem}")]
pub struct QueryError {
    /// The term.
    pub term: String,
    /// Characters before it, plus one.
    pub position: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a term.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such key.
    #[error("there is no key {key:?}; {}", match meant {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there are {}", KEYS.join(", ")),
    })]
    Key {
        /// The key.
        key: String,
        /// A term that would be right, with a gap if the value would not.
        meant: Option<String>,
    },
    /// What is no property of a packet.
    #[error(
        "{key:?} cannot be known: handshake sees packets, not sockets; `ss -tnp` names processes"
    )]
    NotSeen {
        /// The key.
        key: String,
    },
    /// Neither a key with a value nor a text.
    #[error("expected key:value or /text/; did you mean {meant}?")]
    NoKey {
        /// A term that would be right.
        meant: String,
    },
    /// A value that the key does not take.
    #[error("{value:?} is not {expected}{}", match meant {
        Some(meant) => format!("; did you mean {meant}?"),
        None => String::new(),
    })]
    Value {
        /// The value.
        value: String,
        /// What the key takes.
        expected: &'static str,
        /// A term that would be right.
        meant: Option<String>,
    },
    /// A word that joins terms in other languages.
    #[error("{instead}")]
    Joining {
        /// How it is said in this one.
        instead: &'static str,
    },
    /// There is nothing after the sign.
    #[error("nothing is negated")]
    Nothing,
    /// There is something after the text.
    #[error("a blank must follow the closing slash; a slash in the text is written \\/")]
    AfterText,
    /// The text is no regular expression.
    #[error("no regular expression: {0}")]
    Regex(String),
}

impl QueryError {
    /// In few words: what was meant, if that is known.
    #[must_use]
    pub fn brief(&self) -> String {
        match self.problem.meant() {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("{:?}: {}", self.term, self.problem),
        }
    }
}

impl Problem {
    fn meant(&self) -> Option<&str> {
        match self {
            Self::NoKey { meant } => Some(meant),
            Self::Key { meant, .. } | Self::Value { meant, .. } => meant.as_deref(),
            _ => None,
        }
    }

    fn meant_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::NoKey { meant } => Some(meant),
            Self::Key { meant, .. } | Self::Value { meant, .. } => meant.as_mut(),
            _ => None,
        }
    }

    /// With what was meant, if a value was wrong.
    fn with_meant(self, key: &str, values: &str, next: &str) -> Self {
        let values = if values.is_empty() { next } else { values };
        match self {
            Self::Value { value, expected, .. } => {
                let meant = Some(values).filter(|values| !values.is_empty());
                let meant = meant.and_then(|values| meant::right(key, values));
                Self::Value { value, expected, meant }
            }
            Self::Key { key, .. } => {
                let meant = meant::key(&key).map(|key| meant::completed(key, values));
                Self::Key { key, meant }
            }
            other => other,
        }
    }

    /// With the sign of the term before what was meant; a sign before a contrary is none.
    fn signed(mut self, sign: &str) -> Self {
        let Some(meant) = self.meant_mut() else { return self };
        match meant.strip_prefix('-').filter(|_| !sign.is_empty()) {
            Some(contrary) => *meant = contrary.to_owned(),
            None => meant.insert_str(0, sign),
        }
        self
    }
}

/// See [`Query::parse`].
pub(super) fn query(text: &str) -> Result<Query, QueryError> {
    let mut terms = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let word = &rest[..length(rest)];
        let position = text[..text.len() - rest.len()].chars().count() + 1;
        let error = |problem| QueryError { term: word.to_owned(), position, problem };
        rest = rest[word.len()..].trim_start();
        terms.push(term(word, following(rest)).map_err(error)?);
    }
    Ok(Query { terms })
}

/// The next word; a lone sign such as the `=` of `port = 443` is none.
fn following(rest: &str) -> &str {
    let is_sign = |word: &&str| word.bytes().all(|byte| b":=".contains(&byte));
    rest.split_whitespace().find(|word| !is_sign(word)).unwrap_or_default()
}

fn sign(word: &str) -> (bool, &str) {
    let unsigned = word.strip_prefix(['-', '!']);
    (unsigned.is_some(), unsigned.unwrap_or(word))
}

/// Bytes of the first term: to the next blank, but a text may have blanks.
fn length(text: &str) -> usize {
    let blank =
        |from: usize| text[from..].find(char::is_whitespace).map_or(text.len(), |at| from + at);
    let (_, body) = sign(text);
    let start = text.len() - body.len();
    match body.strip_prefix('/').and_then(closing_slash) {
        Some(at) => blank(start + 1 + at),
        // The closing slash may be missing at the end.
        None if body.starts_with('/') => text.len(),
        None => blank(0),
    }
}

/// Where the slash is that no backslash protects.
fn closing_slash(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, one)| {
        let closes = one == '/' && !escaped;
        escaped = one == '\\' && !escaped;
        closes.then_some(at)
    })
}

fn term(word: &str, next: &str) -> Result<Term, Problem> {
    if let Some(instead) = meant::joining(word).filter(|_| !next.is_empty()) {
        return Err(Problem::Joining { instead });
    }
    let (negated, body) = sign(word);
    if body.is_empty() {
        return Err(Problem::Nothing);
    }
    let test = match body.strip_prefix('/') {
        Some(pattern) => Test::Text(text(pattern)?),
        None => {
            keyed(body, next).map_err(|problem| problem.signed(&word[..word.len() - body.len()]))?
        }
    };
    Ok(Term { negated, test })
}

fn text(pattern: &str) -> Result<Pattern, Problem> {
    let source = match closing_slash(pattern) {
        Some(at) if at + 1 < pattern.len() => return Err(Problem::AfterText),
        Some(at) => &pattern[..at],
        None => pattern,
    };
    let regex = RegexBuilder::new(source).size_limit(REGEX_BYTES).build().map_err(|error| {
        // The first lines draw the place; the last says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        Problem::Regex(last.trim_start_matches("error: ").to_owned())
    })?;
    Ok(Pattern { source: source.to_owned(), regex })
}

/// A term with a key. `next` is the word that follows it.
fn keyed(body: &str, next: &str) -> Result<Test, Problem> {
    let without_key = || Problem::NoKey { meant: meant::without_key(body, next) };
    let (key, value) = body.split_once(':').ok_or_else(without_key)?;
    // `host=::1`, `10.0.0.1:443`: the colon belongs to the address.
    if key.contains(['=', '<', '>', '~']) || end(body).is_some() {
        return Err(without_key());
    }
    of_key(key, value).map_err(|problem| problem.with_meant(key, value, next))
}

/// The test of a key, with these values.
pub(super) fn of_key(key: &str, value: &str) -> Result<Test, Problem> {
    Ok(match key {
        "port" => Test::Port(each(value, PORT, port)?),
        "client-port" | "sport" => Test::ClientPort(each(value, PORT, port)?),
        "server-port" | "dport" => Test::ServerPort(each(value, PORT, port)?),
        "host" | "net" => Test::Host(each(value, HOST, end)?),
        "client" => Test::Client(each(value, HOST, end)?),
        "server" => Test::Server(each(value, HOST, end)?),
        "outcome" => Test::Outcome(each(value, OUTCOME, fate)?),
        "role" => Test::Role(each(value, "client, server or forwarded", role)?),
        "iface" => Test::Iface(each(value, "an interface's name or a glob", name)?),
        "vlan" => Test::Vlan(each(value, "a VLAN id from 0 to 4095, or two with - between", vlan)?),
        "retrans" => Test::Retrans(each(value, "yes, no, a number, or one after > or <", copies)?),
        "latency" => Test::Latency(Part::Total, each(value, LATENCY, latency)?),
        "latency-server" => Test::Latency(Part::Server, each(value, LATENCY, latency)?),
        "latency-client" => Test::Latency(Part::Client, each(value, LATENCY, latency)?),
        "after" => Test::After(each(value, AFTER, after)?),
        "pattern" => Test::Pattern(each(value, PATTERN, pattern)?),
        key if meant::is_of_sockets(key) => return Err(Problem::NotSeen { key: key.to_owned() }),
        _ => return Err(Problem::Key { key: key.to_owned(), meant: None }),
    })
}

const PORT: &str = "a port from 1 to 65535, or two with - between";
const HOST: &str = "an address, a network such as 10.0.0.0/8, or an address with a port";
const OUTCOME: &str = "the name of an outcome, a glob of one, or \"failed\"";
const AFTER: &str = "what came after a completion, such as reset-by-server, or \"unserved\"";
const PATTERN: &str = "probe, scan or flood";
const LATENCY: &str = "a duration after >, >=, < or <=, such as >100ms";

fn each<T>(
    values: &str,
    expected: &'static str,
    one: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let wrong = |value: &str| Problem::Value { value: value.to_owned(), expected, meant: None };
    values.split(',').map(|value| one(value).ok_or_else(|| wrong(value))).collect()
}

/// Digits only: what `parse` takes besides (a plus) would not look as a number does.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn numbers(text: &str) -> Option<Span> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some(Span(first..=last))
}

pub(super) fn port(text: &str) -> Option<Span> {
    numbers(text).filter(|span| *span.0.start() > 0)
}

pub(super) fn vlan(text: &str) -> Option<Span> {
    numbers(text).filter(|span| *span.0.end() <= 4095)
}

pub(super) fn end(text: &str) -> Option<End> {
    let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse());
    let socket = || match text.parse() {
        // A zone names an interface of this host; attempts have none.
        Ok(SocketAddr::V6(v6)) if v6.scope_id() != 0 => None,
        Ok(socket) if socket.port() > 0 => Some(End::Socket(socket)),
        _ => None,
    };
    net.map(End::Net).ok().or_else(socket)
}

pub(super) fn fate(text: &str) -> Option<Fate> {
    if text == FAILED {
        return Some(Fate::Failed);
    }
    let named = Outcome::ALL.iter().any(|outcome| glob(text, outcome.name()));
    named.then(|| Fate::Named(text.to_owned()))
}

/// A name, or a glob of some.
fn one_of(text: &str, mut names: impl Iterator<Item = &'static str>) -> Option<String> {
    names.any(|name| glob(text, name)).then(|| text.to_owned())
}

fn after(text: &str) -> Option<String> {
    one_of(text, Next::ALL.into_iter().map(Next::name).chain([UNSERVED]))
}

fn pattern(text: &str) -> Option<String> {
    one_of(text, Kind::ALL.into_iter().map(Kind::name))
}

pub(super) fn role(text: &str) -> Option<Role> {
    [Role::Client, Role::Server, Role::Forwarded].into_iter().find(|role| role.name() == text)
}

fn name(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn comparison(text: &str) -> (How, &str) {
    let signs = [(">=", How::AtLeast), ("<=", How::AtMost), (">", How::Over), ("<", How::Under)];
    let found = signs.iter().find_map(|(sign, how)| Some((*how, text.strip_prefix(sign)?)));
    found.unwrap_or((How::Exactly, text))
}

fn copies(text: &str) -> Option<Bound> {
    match (comparison(text), text) {
        (_, "yes") => Some(Bound { how: How::Over, value: 0 }),
        (_, "no") => Some(Bound { how: How::Exactly, value: 0 }),
        ((how, value), _) => Some(Bound { how, value: number(value)? }),
    }
}

fn latency(text: &str) -> Option<Bound> {
    let (how, value) = comparison(text);
    let duration: SignedDuration = value.parse().ok()?;
    let value = u64::try_from(duration.as_nanos()).ok()?;
    (how != How::Exactly).then_some(Bound { how, value })
}
