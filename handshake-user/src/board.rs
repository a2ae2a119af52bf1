//! What a screen shows, kept ready: recent failed attempts, a history by the second, how each service
//! and peer stands, floods, losses and what handshake said.
//!
//! Between the engine and `output/tui`, which computes nothing. Fed with ended attempts as they come
//! and with a [`Glance`] at the engine every second; bounded in everything. No clock, no I/O. Times
//! are nanoseconds since 1970.

mod blind;
mod degraded;
mod flood;
mod history;
mod latency;
mod rows;
mod standing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use handshake_common::abi::{COUNTERS, Counter, Hook};

use crate::attempt::{Nanos, OpenView};
use crate::books::{Books, Tally};
use crate::evidence::Segments;
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::snapshot::{AttemptView, Latencies, Place, Role};
use rows::Maker;
use standing::{Opens, Trails};

pub use blind::{Blind, Spell};
pub use degraded::{Degraded, MOST_DEGRADED, Trouble};
pub use flood::Flood;
pub use history::{History, Rates, Totals};
pub use latency::{Bucket, Spread};
pub use rows::{Row, Rows};
pub use standing::{Failing, Standing, Who};

/// Recent failed attempts kept, and as many ended ones, unless the caller wants another number.
pub const DEFAULT_ROWS: usize = 10_000;
/// Messages kept.
const MOST_WORDS: usize = 200;
/// Losses with a shorter pause between them are one spell.
const SAME_SPELL: Nanos = 10_000_000_000;
/// After a loss it is for so long not known that it is over: they are told once a second.
const STILL: Nanos = 3_000_000_000;
/// Open attempts that wait for longer than they should, kept at once.
const MOST_WAITING: usize = 1_000;

/// What the engine has to say, once a second.
pub struct Glance<'a> {
    /// Now, since 1970.
    pub now: Nanos,
    /// Added to boot time to get times since 1970.
    pub to_wall: Nanos,
    /// Attempts begun.
    pub started: u64,
    /// Attempts ended, by [`Outcome`] in its order.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Copies of SYNs and SYN-ACKs.
    pub retransmits: u64,
    /// The hooks' counters.
    pub counters: &'a [[u64; COUNTERS]; Hook::ALL.len()],
    /// Latencies.
    pub metrics: &'a Metrics,
    /// Tallies by service and peer.
    pub books: &'a Books,
    /// Names the place of an open attempt.
    pub place: &'a dyn Fn(&OpenView) -> Place<'a>,
    /// If flows were ever left out.
    pub sampled: Option<Sampled>,
}

/// Flows were left out at some time of this run: every total since is of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Of how many flows one is followed now; 1 is all.
    pub one_in: u64,
    /// The same when it was most.
    pub highest_one_in: u64,
    /// When flows were first left out: in a [`Glance`] since boot, in [`Alarms`] since 1970.
    pub first: Nanos,
}

/// One watched interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Name.
    pub name: String,
    /// How packets that arrive are seen.
    pub ingress: String,
    /// How packets that leave are seen.
    pub egress: String,
    /// Why so.
    pub reason: String,
}

/// Events lost for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// How many since the start.
    pub count: u64,
    /// In how many spells: between two, nothing was lost for ten seconds.
    pub times: u64,
    /// Since when in the last spell, at the earliest.
    pub from: Nanos,
    /// Until when in it.
    pub until: Nanos,
}

impl Lost {
    /// More was lost between `from` and `until`.
    fn add(&mut self, count: u64, from: Nanos, until: Nanos) {
        if self.times == 0 || from.saturating_sub(self.until) > SAME_SPELL {
            (self.from, self.times) = (from, self.times + 1);
        }
        self.count += count;
        self.until = until;
    }

    /// Is something lost now, as far as one can tell?
    #[must_use]
    pub fn is_going_on(&self, now: Nanos) -> bool {
        now.saturating_sub(self.until) < STILL
    }
}

/// Attempts of an interface and role, as shown.
#[derive(Debug, Clone, PartialEq)]
pub struct PlaceLine {
    /// Interface.
    pub interface: String,
    /// The host's part.
    pub role: &'static str,
    /// Attempts ended.
    pub ended: u64,
    /// Of these completed.
    pub completed: u64,
    /// Of these failed.
    pub failed: u64,
    /// Copies of SYNs and SYN-ACKs.
    pub retransmits: u64,
}

/// Something handshake said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub at: Nanos,
    /// What, not escaped.
    pub text: String,
}

/// What must not be overlooked.
#[derive(Debug, Clone, Default)]
pub struct Alarms {
    /// Lost events by reason.
    pub lost: BTreeMap<&'static str, Lost>,
    /// When nothing could be seen at an interface.
    pub blind: Blind,
    /// Interfaces that are not watched as they should be, and why.
    pub degraded: Degraded,
    /// If flows were ever left out.
    pub sampled: Option<Sampled>,
}

impl Alarms {
    /// Takes what a glance says. The first time stays as it was told, also when the clock is set.
    fn sample(&mut self, sampled: Option<Sampled>, to_wall: Nanos) {
        let Some(now) = sampled else { return };
        let first = self.sampled.map_or(now.first.saturating_add(to_wall), |told| told.first);
        self.sampled = Some(Sampled { first, ..now });
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Board {
    /// Recent failed attempts.
    pub rows: Rows,
    /// Recent ended attempts, whatever became of them; numbered like the failed ones among them.
    pub ended: Rows,
    /// Open attempts that have waited for too long or had to be repeated: the oldest, in order.
    pub waiting: Vec<Arc<Row>>,
    /// How many there are, listed or not.
    pub all_waiting: u64,
    /// By the second.
    pub history: History,
    /// How each service stands.
    pub services: Vec<Standing>,
    /// How each peer network stands.
    pub peers: Vec<Standing>,
    /// Attempts open now.
    pub open: u64,
    /// Of these answered, but not acknowledged.
    pub half_open: u64,
    /// Attempts ended, by outcome.
    pub outcomes: [u64; Outcome::ALL.len()],
    /// Distribution of latencies.
    pub spread: Spread,
    /// Percentiles of clean samples.
    pub latency: Latencies,
    /// Percentiles of samples with retransmissions.
    pub latency_retransmitted: Latencies,
    /// Counters by hook.
    pub counters: [[u64; COUNTERS]; Hook::ALL.len()],
    /// The same a second before.
    pub counters_before: [[u64; COUNTERS]; Hook::ALL.len()],
    /// What is watched.
    pub watched: Vec<Watched>,
    /// By interface and role.
    pub places: Vec<PlaceLine>,
    /// Loss, degradation, sampling.
    pub alarms: Alarms,
    /// What handshake said, oldest first.
    pub words: VecDeque<Said>,
    /// When watching began.
    pub begun: Nanos,
    /// The last glance's time.
    pub now: Nanos,
    trails: Trails,
    maker: Maker,
}

impl Board {
    /// Empty; keeps so many failed attempts, and as many ended ones.
    #[must_use]
    pub fn new(begun: Nanos, most_rows: usize) -> Self {
        Self {
            rows: Rows::new(most_rows),
            ended: Rows::new(most_rows),
            waiting: Vec::new(),
            all_waiting: 0,
            history: History::default(),
            services: Vec::new(),
            peers: Vec::new(),
            open: 0,
            half_open: 0,
            outcomes: [0; Outcome::ALL.len()],
            spread: Spread::default(),
            latency: Latencies::default(),
            latency_retransmitted: Latencies::default(),
            counters: [[0; COUNTERS]; Hook::ALL.len()],
            counters_before: [[0; COUNTERS]; Hook::ALL.len()],
            watched: Vec::new(),
            places: Vec::new(),
            alarms: Alarms::default(),
            words: VecDeque::new(),
            begun,
            now: begun,
            trails: Trails::default(),
            maker: Maker::default(),
        }
    }

    /// Takes an ended attempt and its segments.
    pub fn record(&mut self, view: &AttemptView<'_>, segments: Option<Segments>) {
        self.trails.record(view);
        let began = (view.attempt.t_first, view.attempt.id);
        if let Ok(at) =
            self.waiting.binary_search_by_key(&began, |row| (row.attempt.t_first, row.attempt.id))
        {
            // Until the next look it would stand among both.
            self.waiting.remove(at);
            self.all_waiting -= 1;
        }
        let row = self.maker.row(view, segments);
        if view.attempt.outcome.is_failure() {
            self.rows.push(Arc::clone(&row));
        }
        self.ended.push(row);
    }

    /// An attempt by its number: ended, else waiting.
    #[must_use]
    pub fn row(&self, id: u64) -> Option<Arc<Row>> {
        let of = |row: &&Arc<Row>| row.attempt.id == id;
        let mut ended = self.ended.since(0).rev();
        let failed = || self.rows.since(0).rev().find(of);
        ended.find(of).or_else(failed).or_else(|| self.waiting.iter().find(of)).cloned()
    }

    /// Something is watched from now on, as it should be.
    pub fn watch(&mut self, watched: Watched, now: Nanos) {
        self.alarms.degraded.remove(&watched.name, now);
        self.alarms.blind.end(&watched.name, now);
        self.watched.retain(|one| one.name != watched.name);
        self.watched.push(watched);
    }

    /// An interface is gone: it is no longer watched. Says nothing of one that was never to be.
    pub fn gone(&mut self, name: &str, reason: &str, now: Nanos) {
        let before = self.watched.len();
        self.watched.retain(|one| one.name != name);
        if self.watched.len() < before || self.alarms.degraded.of(name).next().is_some() {
            self.alarms.degraded.insert_gone(name, reason, now);
        }
    }

    /// An interface has another name. If it is watched, whichever had that name before is back.
    pub fn renamed(&mut self, from: &str, to: &str) {
        let watched = self.watched.iter().find(|one| one.name == from).cloned();
        if watched.is_some() {
            self.alarms.degraded.remove(to, self.now);
            self.alarms.blind.end(to, self.now);
        }
        self.alarms.degraded.rename(from, to);
        self.alarms.blind.rename(from, to);
        if let Some(mut watched) = watched {
            to.clone_into(&mut watched.name);
            self.watched.retain(|one| one.name != from && one.name != to);
            self.watched.push(watched);
        }
    }

    /// Something was lost, since `from` at the earliest.
    pub fn lose(&mut self, reason: &'static str, count: u64, from: Nanos, now: Nanos) {
        let none = Lost { count: 0, times: 0, from, until: now };
        self.alarms.lost.entry(reason).or_insert(none).add(count, from, now);
    }

    /// Something was said.
    pub fn say(&mut self, at: Nanos, text: String) {
        if self.words.len() >= MOST_WORDS {
            self.words.pop_front();
        }
        self.words.push_back(Said { at, text });
    }

    /// Once a second: how everything stands now; `open` are the attempts open now.
    pub fn look(&mut self, glance: &Glance<'_>, open: impl Iterator<Item = OpenView>) {
        let open = self.look_at_open(glance, open);
        self.history.push(Totals {
            at: glance.now,
            started: glance.started,
            completed: sum(&glance.outcomes, Outcome::is_completed),
            failed: sum(&glance.outcomes, Outcome::is_failure),
            retransmits: glance.retransmits,
            lost: lost(glance.counters),
            open: self.open,
            half_open: self.half_open,
        });
        self.now = glance.now;
        self.outcomes = glance.outcomes;
        self.counters_before = std::mem::replace(&mut self.counters, *glance.counters);
        self.alarms.sample(glance.sampled, glance.to_wall);
        self.spread = Spread::of(glance.metrics.clean());
        self.latency = glance.metrics.clean().percentiles();
        self.latency_retransmitted = glance.metrics.retransmitted().percentiles();
        self.places = places(glance.books);
        for change in self.trails.look(glance.now, glance.books, &open) {
            self.say(glance.now, change);
        }
        self.services = self.trails.services(glance.books, &open);
        self.peers = self.trails.peers(glance.books, &open);
    }

    /// Counts open attempts by service and peer, and lists those that wait.
    fn look_at_open(
        &mut self,
        glance: &Glance<'_>,
        attempts: impl Iterator<Item = OpenView>,
    ) -> Opens {
        let mut opens = Opens::default();
        let mut waiting = Vec::new();
        (self.open, self.half_open) = (0, 0);
        for view in attempts {
            let half = u64::from(view.unanswered == Outcome::HalfOpen);
            opens.add(&view.key, half);
            self.open += 1;
            self.half_open += half;
            if rows::is_late(&view, glance.now.saturating_sub(glance.to_wall)) {
                waiting.push(view);
            }
        }
        self.all_waiting = waiting.len() as u64;
        if waiting.len() > MOST_WAITING {
            waiting.select_nth_unstable_by_key(MOST_WAITING, |view| (view.began, view.id));
            waiting.truncate(MOST_WAITING);
        }
        waiting.sort_unstable_by_key(|view| (view.began, view.id));
        let row = |view: &OpenView| rows::waiting(view, (glance.place)(view), glance.to_wall);
        self.waiting = waiting.iter().map(row).collect();
        opens
    }
}

fn sum(outcomes: &[u64; Outcome::ALL.len()], kind: impl Fn(Outcome) -> bool) -> u64 {
    Outcome::ALL.into_iter().filter(|one| kind(*one)).map(|one| outcomes[one as usize]).sum()
}

fn lost(counters: &[[u64; COUNTERS]; Hook::ALL.len()]) -> u64 {
    let of = |counter: Counter| counters.iter().map(|row| row[counter as usize]).sum::<u64>();
    of(Counter::EventsLost)
        + of(Counter::EventsNoRing)
        + Counter::FORGETTING.into_iter().map(of).sum::<u64>()
}

fn places(books: &Books) -> Vec<PlaceLine> {
    let line = |((interface, role), tally): (&(String, Role), &Tally)| PlaceLine {
        interface: interface.clone(),
        role: role.name(),
        ended: tally.ended(),
        completed: tally.completed(),
        failed: tally.failed(),
        retransmits: tally.syn_retrans + tally.synack_retrans,
    };
    books.places().iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(name: &str) -> Watched {
        let how = || "tcx".to_owned();
        Watched { name: name.to_owned(), ingress: how(), egress: how(), reason: how() }
    }

    fn names(board: &Board) -> Vec<&str> {
        board.watched.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn interfaces_that_come_and_go_leave_nothing_that_grows() {
        let mut board = Board::new(0, 1);
        board.watch(watched("eth0"), 0);
        for n in 0..1_000 {
            let name = format!("veth{n}");
            board.watch(watched(&name), n);
            board.alarms.blind.begin(&name, "interface-gone", n);
            board.gone(&name, "gone", n);
            board.gone(&format!("never{n}"), "gone", n);
        }
        assert_eq!(names(&board), ["eth0"]);
        let degraded = &board.alarms.degraded;
        assert_eq!(degraded.iter().count(), MOST_DEGRADED);
        assert_eq!(degraded.more(), 1_000 - MOST_DEGRADED as u64);
        board.watch(watched("veth999"), 1_001);
        assert_eq!(board.alarms.degraded.of("veth999").count(), 0);
        let seen_again = board.alarms.blind.over().next_back();
        assert_eq!(seen_again.map(|one| (one.from, one.until)), Some((999, Some(1_001))));
    }

    #[test]
    fn a_renamed_interface_is_watched_and_degraded_under_its_new_name() {
        let mut board = Board::new(0, 1);
        board.watch(watched("eth0"), 0);
        board.alarms.degraded.insert("eth0", "generic", 0);
        board.renamed("eth0", "wan0");
        board.renamed("other", "wan0");
        assert_eq!(names(&board), ["wan0"]);
        let told = board.alarms.degraded.iter().map(|one| (&*one.name, &*one.reason));
        assert_eq!(told.collect::<Vec<_>>(), [("wan0", "generic")]);
    }

    /// It comes back under the kernel's name, is attached to, and then gets its own name.
    #[test]
    fn an_interface_that_comes_back_under_another_name_is_seen_once_it_has_its_own() {
        let mut board = Board::new(0, 1);
        board.watch(watched("wan0"), 0);
        board.alarms.blind.begin("wan0", "interface-gone", 1);
        board.gone("wan0", "gone", 1);
        board.watch(watched("eth0"), 2);
        board.alarms.degraded.link("eth0", Some("no carrier"), 3);
        board.now = 4;
        board.renamed("eth0", "wan0");
        assert_eq!(names(&board), ["wan0"]);
        assert_eq!(board.alarms.blind.lasting().count(), 0);
        let seen = board.alarms.blind.over().map(|one| (&*one.name, one.until));
        assert_eq!(seen.collect::<Vec<_>>(), [("wan0", Some(4))]);
        let told = board.alarms.degraded.iter().map(|one| (&*one.name, &*one.reason));
        assert_eq!(told.collect::<Vec<_>>(), [("wan0", "no carrier")]);
        let past = board.alarms.degraded.past().map(|one| (&*one.reason, one.until));
        assert_eq!(past.collect::<Vec<_>>(), [("gone", Some(4))]);
    }

    #[test]
    fn losses_are_told_by_spell() {
        const SECOND: Nanos = 1_000_000_000;
        let mut board = Board::new(0, 1);
        for second in [1, 2, 3, 60, 61] {
            board.lose("ring-full", 10, (second - 1) * SECOND, second * SECOND);
        }
        let lost = board.alarms.lost["ring-full"];
        let (from, until) = (59 * SECOND, 61 * SECOND);
        assert_eq!(lost, Lost { count: 50, times: 2, from, until });
        assert!(lost.is_going_on(62 * SECOND) && !lost.is_going_on(70 * SECOND));
    }

    #[test]
    fn sampling_is_told_from_its_first_time_to_the_end_of_the_run() {
        let mut alarms = Alarms::default();
        alarms.sample(None, 1_000);
        assert_eq!(alarms.sampled, None);
        let at = |one_in, first| Some(Sampled { one_in, highest_one_in: 8, first });
        alarms.sample(at(8, 5), 1_000);
        assert_eq!(alarms.sampled, at(8, 1_005));
        alarms.sample(at(1, 5), 2_000);
        assert_eq!(alarms.sampled, at(1, 1_005));
    }
}
