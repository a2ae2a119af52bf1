//! The filter language of `--filter`: which attempts the user asked for. Pure; `parse` reads it,
//! `selection` applies what an event alone can decide, the outputs ask [`Query::matches_view`] for
//! the rest. docs/filter.md has the language.
//!
//! A query is a list of terms that must all hold; a term is a key with alternatives, or a regular
//! expression, and may be negated.

mod meant;
mod parse;

use std::fmt::{self, Display};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use handshake_common::event::Event;
use ipnet::IpNet;
use regex::Regex;

use crate::attempt::{Attempt, Nanos, ip_addr};
use crate::interfaces::glob;
use crate::outcome::Outcome;
use crate::output::lines;
use crate::snapshot::{AttemptView, Role};
pub use parse::{Problem, QueryError};

/// Terms that must all hold. Its text ([`Display`]) parses to the same query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Query {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
struct Term {
    negated: bool,
    test: Test,
}

/// A key and its alternatives, any of which may hold.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    Port(Vec<Span>),
    ClientPort(Vec<Span>),
    ServerPort(Vec<Span>),
    Host(Vec<End>),
    Client(Vec<End>),
    Server(Vec<End>),
    Outcome(Vec<Fate>),
    Role(Vec<Role>),
    Iface(Vec<String>),
    Vlan(Vec<Span>),
    Retrans(Vec<Bound>),
    Latency(Part, Vec<Bound>),
    /// By name or glob, or [`UNSERVED`].
    After(Vec<String>),
    /// By name or glob.
    Pattern(Vec<String>),
    Text(Pattern),
}

/// A number, or all from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span(RangeInclusive<u16>);

/// Where one end of an attempt may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Net(IpNet),
    Socket(SocketAddr),
}

/// What may have become of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// A name of outcomes, or a glob of them.
    Named(String),
    /// The network, the server or the client failed it.
    Failed,
}

/// A comparison with a number, or with nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    how: How,
    value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Over,
    AtLeast,
    Under,
    AtMost,
    Exactly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Total,
    Server,
    Client,
}

/// A regular expression and how it was written between the slashes.
#[derive(Debug, Clone)]
struct Pattern {
    source: String,
    regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The word for failures of all kinds, besides the outcomes' own names.
const FAILED: &str = "failed";
/// Keys and their tests' names, as help and errors list them.
pub const KEYS: [&str; 17] = [
    "port",
    "client-port",
    "server-port",
    "host",
    "net",
    "client",
    "server",
    "outcome",
    "role",
    "iface",
    "vlan",
    "retrans",
    "latency",
    "latency-server",
    "latency-client",
    "after",
    "pattern",
];
/// The word for all that a server does that completes handshakes and does not serve them.
const UNSERVED: &str = "unserved";

impl FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::parse(text)
    }
}

impl Query {
    /// Reads a query: terms separated by blanks.
    ///
    /// # Errors
    /// For the first term that is none, with its position.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        parse::query(text)
    }

    /// Either end has one of these ports; no port asks for nothing.
    #[must_use]
    pub fn of_ports(ports: &[u16]) -> Self {
        let spans = ports.iter().map(|port| Span(*port..=*port)).collect();
        Self::one_unless(ports.is_empty(), Test::Port(spans))
    }

    /// Either end lies in one of these networks; no network asks for nothing.
    #[must_use]
    pub fn of_nets(nets: &[IpNet]) -> Self {
        let ends = nets.iter().map(|net| End::Net(*net)).collect();
        Self::one_unless(nets.is_empty(), Test::Host(ends))
    }

    fn one_unless(nothing: bool, test: Test) -> Self {
        let term = Term { negated: false, test };
        Self { terms: if nothing { Vec::new() } else { vec![term] } }
    }

    /// Both must hold.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        self
    }

    /// Does it ask for nothing in particular?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Terms that every event of an attempt answers alike, and the others, which need the ended
    /// attempt.
    #[must_use]
    pub fn split(self) -> (Self, Self) {
        let (of_events, of_attempts) = self.terms.into_iter().partition(Term::is_of_events);
        (Self { terms: of_events }, Self { terms: of_attempts })
    }

    /// Does everything hold that an event can decide? Symmetric in direction, so that all events
    /// of an attempt get the same answer.
    #[must_use]
    pub fn selects(&self, event: &Event) -> bool {
        self.terms.iter().all(|term| term.test.of_event(event).is_none_or(|is| is != term.negated))
    }

    /// Is this an attempt asked for?
    #[must_use]
    pub fn matches_view(&self, view: &AttemptView<'_>) -> bool {
        self.terms.iter().all(|term| term.test.of_view(view) != term.negated)
    }
}

impl Term {
    fn is_of_events(&self) -> bool {
        matches!(self.test, Test::Port(_) | Test::Host(_))
    }
}

impl Test {
    /// `None` if an event does not say.
    fn of_event(&self, event: &Event) -> Option<bool> {
        match self {
            Self::Port(spans) => Some(any_port(spans, [event.source_port, event.dest_port])),
            Self::Host(hosts) => {
                let end = |words, port| SocketAddr::new(ip_addr(words, event.ip_version), port);
                let source = end(event.source, event.source_port);
                let dest = end(event.dest, event.dest_port);
                Some(any_end(hosts, source) || any_end(hosts, dest))
            }
            _ => None,
        }
    }

    fn of_view(&self, view: &AttemptView<'_>) -> bool {
        let a = view.attempt;
        let place = view.place;
        match self {
            Self::Port(spans) => any_port(spans, [a.key.client.port, a.key.server.port]),
            Self::ClientPort(spans) => any_port(spans, [a.key.client.port]),
            Self::ServerPort(spans) => any_port(spans, [a.key.server.port]),
            Self::Host(hosts) => {
                any_end(hosts, a.key.client_addr()) || any_end(hosts, a.key.server_addr())
            }
            Self::Client(hosts) => any_end(hosts, a.key.client_addr()),
            Self::Server(hosts) => any_end(hosts, a.key.server_addr()),
            Self::Outcome(fates) => fates.iter().any(|fate| fate.includes(a.outcome)),
            Self::Role(roles) => place.is_some_and(|place| roles.contains(&place.role)),
            Self::Iface(names) => {
                place.is_some_and(|place| names.iter().any(|name| glob(name, place.interface)))
            }
            Self::Vlan(spans) => a.vlan[..usize::from(a.vlan_count).min(a.vlan.len())]
                .iter()
                .any(|id| spans.iter().any(|span| span.0.contains(id))),
            Self::Retrans(bounds) => {
                let copies = u64::from(a.syn_retrans) + u64::from(a.synack_retrans);
                bounds.iter().any(|bound| bound.holds(copies))
            }
            Self::Latency(part, bounds) => part.of(a).is_some_and(|latency| {
                // The clock of a capture may go backwards: shorter than anything.
                let latency = u64::try_from(latency).unwrap_or(0);
                bounds.iter().any(|bound| bound.holds(latency))
            }),
            Self::After(names) => a.after.is_some_and(|after| {
                let is_meant = |name: &String| glob(name, after.next.name());
                let is_unserved = |name: &String| name == UNSERVED && after.next.is_unserved();
                names.iter().any(|name| is_unserved(name) || is_meant(name))
            }),
            Self::Pattern(names) => {
                a.pattern.is_some_and(|pattern| names.iter().any(|name| glob(name, pattern.name())))
            }
            Self::Text(pattern) => pattern.regex.is_match(&lines::words(view)),
        }
    }
}

fn any_port<const N: usize>(spans: &[Span], ports: [u16; N]) -> bool {
    ports.iter().any(|port| spans.iter().any(|span| span.0.contains(port)))
}

fn any_end(hosts: &[End], end: SocketAddr) -> bool {
    hosts.iter().any(|host| match host {
        End::Net(net) => net.contains(&end.ip()),
        End::Socket(socket) => (socket.ip(), socket.port()) == (end.ip(), end.port()),
    })
}

impl Fate {
    fn includes(&self, outcome: Outcome) -> bool {
        match self {
            Self::Named(pattern) => glob(pattern, outcome.name()),
            Self::Failed => outcome.is_failure(),
        }
    }
}

impl Bound {
    fn holds(self, found: u64) -> bool {
        match self.how {
            How::Over => found > self.value,
            How::AtLeast => found >= self.value,
            How::Under => found < self.value,
            How::AtMost => found <= self.value,
            How::Exactly => found == self.value,
        }
    }
}

impl Part {
    fn of(self, attempt: &Attempt) -> Option<Nanos> {
        match self {
            Self::Total => attempt.latency_total(),
            Self::Server => attempt.latency_server(),
            Self::Client => attempt.latency_client(),
        }
    }
}

impl Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(" "))
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negated { "-" } else { "" };
        let count = |bound: &Bound| bound.text(bound.value);
        let (key, alternatives) = match &self.test {
            Test::Port(spans) => ("port", list(spans)),
            Test::ClientPort(spans) => ("client-port", list(spans)),
            Test::ServerPort(spans) => ("server-port", list(spans)),
            Test::Host(ends) => ("host", list(ends)),
            Test::Client(ends) => ("client", list(ends)),
            Test::Server(ends) => ("server", list(ends)),
            Test::Outcome(fates) => ("outcome", list(fates)),
            Test::Role(roles) => ("role", list(roles.iter().map(|role| role.name()))),
            Test::Iface(names) => ("iface", names.join(",")),
            Test::Vlan(spans) => ("vlan", list(spans)),
            Test::Retrans(bounds) => ("retrans", list(bounds.iter().map(count))),
            Test::Latency(part, bounds) => {
                let key = match part {
                    Part::Total => "latency",
                    Part::Server => "latency-server",
                    Part::Client => "latency-client",
                };
                (key, list(bounds.iter().map(|bound| bound.text(span(bound.value)))))
            }
            Test::After(names) => ("after", names.join(",")),
            Test::Pattern(names) => ("pattern", names.join(",")),
            Test::Text(pattern) => return write!(f, "{sign}/{}/", pattern.source),
        };
        write!(f, "{sign}{key}:{alternatives}")
    }
}

fn list(alternatives: impl IntoIterator<Item = impl ToString>) -> String {
    let texts: Vec<_> = alternatives.into_iter().map(|one| one.to_string()).collect();
    texts.join(",")
}

impl Bound {
    fn text(self, value: impl Display) -> String {
        let sign = match self.how {
            How::Over => ">",
            How::AtLeast => ">=",
            How::Under => "<",
            How::AtMost => "<=",
            How::Exactly => "",
        };
        format!("{sign}{value}")
    }
}

/// Nanoseconds in the largest unit that is exact.
fn span(ns: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    let exact = units.iter().find(|(unit, _)| ns.is_multiple_of(*unit));
    exact.map_or_else(|| format!("{ns}ns"), |(unit, name)| format!("{}{name}", ns / unit))
}

impl Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.start(), self.0.end()) {
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

impl Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(net) if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net(net) => net.fmt(f),
            Self::Socket(socket) => socket.fmt(f),
        }
    }
}

impl Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named(pattern) => pattern,
            Self::Failed => FAILED,
        })
    }
}

#[cfg(test)]
mod tests;
