//! Interfaces that are not watched as they should be, why and since when: some by name, the others
//! counted. What is over is kept for a while, with its end.

use std::collections::VecDeque;

use crate::attempt::Nanos;

/// Interfaces told by name, at most.
pub const MOST_DEGRADED: usize = 8;
/// Troubles that are over, kept.
const MOST_PAST: usize = 50;

/// What is wrong: each interface has one trouble of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Handshake is not attached as it should be.
    Attachment,
    /// The interface is not there any more, and so nothing is attached.
    Gone,
    /// Handshake is attached, but no packet comes: the link is down.
    Link,
}

/// What is wrong with one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Name of the interface, not escaped.
    pub name: String,
    /// What and why, not escaped.
    pub reason: String,
    /// When it was noticed.
    pub since: Nanos,
    /// When it was over; `None` while it lasts.
    pub until: Option<Nanos>,
    kind: Kind,
    /// Interfaces like this one come and go, so that this is not told for long.
    passes: bool,
}

impl Trouble {
    fn is_of(&self, name: &str, kind: Kind) -> bool {
        self.name == name && (self.kind == Kind::Link) == (kind == Kind::Link)
    }
}

/// See the module. Where containers come and go, those that are gone give way first to newer ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Degraded {
    /// Oldest first.
    entries: Vec<Trouble>,
    more: u64,
    /// Those of them that pass, and when the last one gave way.
    more_passing: (u64, Nanos),
    /// In order of their ends.
    past: VecDeque<Trouble>,
}

impl Degraded {
    /// An interface is not watched as it should be.
    pub fn insert(&mut self, name: &str, reason: &str, now: Nanos) {
        self.add(name, reason, now, Kind::Attachment);
    }

    /// An interface is gone.
    pub fn insert_gone(&mut self, name: &str, reason: &str, now: Nanos) {
        self.end(name, Kind::Link, now);
        self.add(name, reason, now, Kind::Gone);
    }

    /// It is watched as it should be (again).
    pub fn remove(&mut self, name: &str, now: Nanos) {
        self.end(name, Kind::Attachment, now);
    }

    /// An interface is down for this reason, or is up (again).
    pub fn link(&mut self, name: &str, reason: Option<&str>, now: Nanos) {
        match reason {
            Some(reason) => self.add(name, reason, now, Kind::Link),
            None => self.end(name, Kind::Link, now),
        }
    }

    /// The same trouble goes on, whatever is said of it: its beginning stays.
    fn add(&mut self, name: &str, reason: &str, now: Nanos, kind: Kind) {
        let before = self.entries.iter().position(|one| one.is_of(name, kind));
        let since = before.map_or(now, |at| self.entries.remove(at).since);
        if self.entries.len() >= MOST_DEGRADED {
            let gone = self.entries.iter().position(|one| one.kind == Kind::Gone);
            if self.entries.remove(gone.unwrap_or(0)).passes {
                self.more_passing = (self.more_passing.0 + 1, now);
            } else {
                self.more += 1;
            }
        }
        let (name, reason) = (name.to_owned(), reason.to_owned());
        self.entries.push(Trouble { name, reason, since, until: None, kind, passes: false });
    }

    /// That this interface is gone is not told for long: others like it come and go.
    pub fn pass(&mut self, name: &str) {
        let gone = |one: &&mut Trouble| one.is_of(name, Kind::Gone);
        self.entries.iter_mut().filter(gone).for_each(|one| one.passes = true);
    }

    /// What passes and was so at that time is over `now`.
    pub fn expire(&mut self, at: Nanos, now: Nanos) {
        let old = |one: &&Trouble| one.passes && one.since <= at;
        while let Some(name) = self.entries.iter().find(old).map(|one| one.name.clone()) {
            self.end(&name, Kind::Gone, now);
        }
        if self.more_passing.1 <= at {
            self.more_passing.0 = 0;
        }
    }

    fn end(&mut self, name: &str, kind: Kind, now: Nanos) {
        let Some(at) = self.entries.iter().position(|one| one.is_of(name, kind)) else { return };
        let over = Trouble { until: Some(now), ..self.entries.remove(at) };
        if self.past.len() >= MOST_PAST {
            self.past.pop_front();
        }
        self.past.push_back(over);
    }

    /// Leaves out what those others have, too, of what lasts.
    pub fn forget(&mut self, others: &Self) {
        let is_among = |trouble: &Trouble| {
            let same = |one: &Trouble| one.is_of(&trouble.name, trouble.kind);
            others.entries.iter().any(|one| same(one) && one.since == trouble.since)
        };
        self.entries.retain(|trouble| !is_among(trouble));
        self.more = self.more.saturating_sub(others.more);
    }

    /// An interface has another name.
    pub fn rename(&mut self, from: &str, to: &str) {
        if self.of(from).next().is_some() {
            self.entries.retain(|one| one.name != to);
        }
        let all = self.entries.iter_mut().chain(&mut self.past);
        all.filter(|one| one.name == from).for_each(|one| to.clone_into(&mut one.name));
    }

    /// What is wrong with this one, if it is told by name.
    pub fn of(&self, name: &str) -> impl Iterator<Item = &Trouble> {
        self.entries.iter().filter(move |one| one.name == name)
    }

    /// What is wrong now, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Trouble> {
        self.entries.iter()
    }

    /// What is over, in order of its end.
    pub fn past(&self) -> impl DoubleEndedIterator<Item = &Trouble> {
        self.past.iter()
    }

    /// How often one had to give way: no longer told by name.
    #[must_use]
    pub fn more(&self) -> u64 {
        self.more + self.more_passing.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(degraded: &Degraded) -> Vec<(&str, &str, Nanos)> {
        let told = |one: &'_ Trouble| (one.since, one.until);
        assert!(degraded.iter().all(|one| told(one).1.is_none()));
        degraded.iter().map(|one| (&*one.name, &*one.reason, one.since)).collect()
    }

    fn past(degraded: &Degraded) -> Vec<(&str, &str, Nanos, Option<Nanos>)> {
        degraded.past().map(|one| (&*one.name, &*one.reason, one.since, one.until)).collect()
    }

    #[test]
    fn those_that_are_gone_give_way_and_are_counted() {
        let mut degraded = Degraded::default();
        degraded.insert("eth0", "detached", 0);
        for n in 0..100 {
            degraded.insert_gone(&format!("veth{n}"), "gone", n);
        }
        assert_eq!(degraded.iter().count(), MOST_DEGRADED);
        assert_eq!(degraded.more(), 101 - MOST_DEGRADED as u64);
        assert_eq!(told(&degraded)[0], ("eth0", "detached", 0));
        assert_eq!(told(&degraded)[7], ("veth99", "gone", 99));
        degraded.remove("veth99", 200);
        assert_eq!(degraded.iter().count(), MOST_DEGRADED - 1);
        assert_eq!(past(&degraded), [("veth99", "gone", 99, Some(200))]);
    }

    #[test]
    fn the_same_trouble_is_told_once_with_its_beginning_and_its_last_reason() {
        let mut degraded = Degraded::default();
        for n in 0..20 {
            degraded.insert("eth0", "detached", n);
            degraded.insert_gone("eth0", "gone", n);
        }
        degraded.rename("eth0", "wan0");
        assert_eq!(told(&degraded), [("wan0", "gone", 0)]);
        assert_eq!(degraded.more(), 0);
    }

    #[test]
    fn a_link_that_comes_back_leaves_other_troubles_as_they_are() {
        let mut degraded = Degraded::default();
        degraded.insert("eth0", "generic", 1);
        degraded.link("eth0", Some("it is down"), 2);
        degraded.link("eth0", Some("no carrier"), 3);
        assert_eq!(told(&degraded), [("eth0", "generic", 1), ("eth0", "no carrier", 2)]);
        degraded.link("eth0", None, 4);
        degraded.link("eth0", None, 5);
        assert_eq!(told(&degraded), [("eth0", "generic", 1)]);
        assert_eq!(past(&degraded), [("eth0", "no carrier", 2, Some(4))]);
        // Watched again as it should be does not mean that it is up.
        degraded.link("eth0", Some("it is down"), 6);
        degraded.remove("eth0", 7);
        assert_eq!(told(&degraded), [("eth0", "it is down", 6)]);
        degraded.insert_gone("eth0", "gone", 8);
        assert_eq!(told(&degraded), [("eth0", "gone", 8)]);
    }

    #[test]
    fn those_that_pass_end_after_a_while_also_if_they_are_many() {
        let mut degraded = Degraded::default();
        degraded.insert("eth0", "detached", 0);
        for n in 0..20 {
            degraded.insert_gone(&format!("veth{n}"), "gone", n);
            degraded.pass(&format!("veth{n}"));
        }
        assert_eq!(degraded.iter().count() as u64 + degraded.more(), 21);
        degraded.expire(18, 78);
        assert_eq!(told(&degraded), [("eth0", "detached", 0), ("veth19", "gone", 19)]);
        degraded.expire(19, 79);
        assert_eq!((told(&degraded), degraded.more()), (vec![("eth0", "detached", 0)], 0));
        assert_eq!(past(&degraded).last(), Some(&("veth19", "gone", 19, Some(79))));
    }

    #[test]
    fn what_is_over_is_bounded() {
        let mut degraded = Degraded::default();
        for n in 0..1_000 {
            degraded.link("eth0", Some("it is down"), 2 * n);
            degraded.link("eth0", None, 2 * n + 1);
        }
        assert_eq!(degraded.past().count(), MOST_PAST);
        assert_eq!(degraded.past().next_back().and_then(|one| one.until), Some(1_999));
    }
}
