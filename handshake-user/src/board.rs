//! What a screen shows, kept ready: recent failed attempts, a history by the second, how each service
//! and peer stands, floods, losses and what handshake said.
//!
//! Between the engine and `output/tui`, which computes nothing. Fed with ended attempts as they come
//! and with a [`Glance`] at the engine every second; bounded in everything. No clock, no I/O. Times
//! are nanoseconds since 1970.

mod blind;
mod degraded;
mod history;
mod incident;
mod latency;
mod rows;
mod slowness;
mod standing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use handshake_common::abi::{COUNTERS, Counter, Hook};

use crate::after::After;
use crate::attempt::{Attempt, Nanos, OpenView};
use crate::evidence::Segments;
use crate::outcome::Outcome;
use crate::pattern::Seen;
use crate::snapshot::{AttemptView, Place, Role};
use crate::windows::{ByWindow, Numbers, Window, Windows};
use rows::{Kept, Maker};
use standing::{Moment, One, Opens, Trails};

pub use blind::{Blind, Spell};
pub use degraded::{Degraded, MOST_DEGRADED, Trouble};
pub use history::{History, Rates, Totals};
pub use incident::Failing;
pub use latency::{Bucket, Spread};
pub use rows::{Row, Rows, SLOW};
pub use standing::{Standing, Who};

/// Recent failed attempts kept, and as many ended ones, unless the caller wants another number.
pub const DEFAULT_ROWS: usize = 10_000;
/// Messages kept.
const MOST_WORDS: usize = 200;
/// An interface of a kind that comes and goes is told to be gone for so long.
pub const PASSING: Nanos = 60_000_000_000;
/// Losses with a shorter pause between them are one spell.
const SAME_SPELL: Nanos = 10_000_000_000;
/// After a loss it is for so long not known that it is over: they are told once a second.
const STILL: Nanos = 3_000_000_000;
/// Between two looks there is a second.
const HALF_A_SECOND: Nanos = 500_000_000;
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
    /// Names the place of an open attempt.
    pub place: &'a dyn Fn(&OpenView) -> Place<'a>,
    /// If flows were ever left out.
    pub sampled: Option<Sampled>,
    /// Health checks, scans and floods.
    pub seen: Seen,
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
    /// What became of them, by window.
    pub numbers: Box<ByWindow>,
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
    /// Recent slow ones of these; they are kept for longer than the others.
    pub slow: Rows,
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
    /// What became of all attempts, by window.
    pub numbers: Box<ByWindow>,
    /// Distribution of latencies, by window.
    pub spreads: [Spread; Window::ALL.len()],
    /// Health checks, scans and floods; times are those of attempts ([`Board::wall`]).
    pub seen: Seen,
    /// When the numbers since the start were reset, if they were; since 1970.
    pub reset: Option<Nanos>,
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
    kept: Kept,
    windows: Live,
    /// Attempts begun and copies seen when last looked.
    counted: (u64, u64),
    service_failed: u64,
    to_wall: Nanos,
}

/// What goes on being counted. A copy of a board is what it showed: it counts nothing.
#[derive(Debug, Default)]
struct Live(Windows);

impl Clone for Live {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Board {
    /// Empty; keeps so many failed attempts, and as many ended ones.
    #[must_use]
    pub fn new(begun: Nanos, most_rows: usize) -> Self {
        Self {
            rows: Rows::new(most_rows),
            ended: Rows::new(most_rows),
            slow: Rows::new(most_rows),
            waiting: Vec::new(),
            all_waiting: 0,
            history: History::default(),
            services: Vec::new(),
            peers: Vec::new(),
            open: 0,
            half_open: 0,
            outcomes: [0; Outcome::ALL.len()],
            numbers: Box::default(),
            spreads: Default::default(),
            seen: Seen::default(),
            reset: None,
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
            kept: Kept::default(),
            windows: Live::default(),
            counted: (0, 0),
            service_failed: 0,
            to_wall: 0,
        }
    }

    /// Counts an ended attempt, whether or not it is listed.
    pub fn tally(&mut self, view: &AttemptView<'_>) {
        self.windows.0.record(view);
        self.trails.record(view, &self.windows.0);
        self.service_failed += u64::from(view.attempt.is_service_failure());
    }

    /// Counts what came after a completion.
    pub fn follow(&mut self, attempt: &Attempt, after: After) {
        self.windows.0.record_after(attempt, after);
        self.trails.follow(attempt, after);
    }

    /// Lists an ended attempt, with its segments.
    pub fn record(&mut self, view: &AttemptView<'_>, segments: Option<Segments>) {
        let began = (view.attempt.t_first, view.attempt.id);
        if let Ok(at) =
            self.waiting.binary_search_by_key(&began, |row| (row.attempt.t_first, row.attempt.id))
        {
            // Until the next look it would stand among both.
            self.waiting.remove(at);
            self.all_waiting -= 1;
        }
        let is_slow = rows::is_slow(view.attempt);
        let is_failure = view.attempt.outcome.is_failure();
        let segments = if is_slow || is_failure {
            segments
        } else {
            segments.into_iter().for_each(|segments| self.kept.push(view.attempt.id, segments));
            None
        };
        let row = self.maker.row(view, segments);
        if is_failure {
            self.rows.push(Arc::clone(&row));
        } else if is_slow {
            self.slow.push(Arc::clone(&row));
        }
        self.ended.push(row);
    }

    /// An attempt by its number: ended, else waiting.
    #[must_use]
    pub fn row(&self, id: u64) -> Option<Arc<Row>> {
        let of = |row: &&Arc<Row>| row.attempt.id == id;
        let mut ended = self.ended.since(0).rev();
        let older = || self.rows.since(0).chain(self.slow.since(0)).rev().find(of);
        ended.find(of).or_else(older).or_else(|| self.waiting.iter().find(of)).cloned()
    }

    /// The segments of an ended attempt, if they are still kept: those of completed ones give way first.
    #[must_use]
    pub fn segments<'a>(&'a self, row: &'a Row) -> Option<&'a Segments> {
        row.segments.as_ref().or_else(|| self.kept.of(row.attempt.id))
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

    /// That one is gone is not told for longer than [`PASSING`]: others like it come and go.
    pub fn passes(&mut self, name: &str) {
        self.alarms.degraded.pass(name);
        self.alarms.blind.pass(name);
    }

    /// Ends what is not told for long.
    pub fn expire(&mut self, now: Nanos) {
        let at = now.saturating_sub(PASSING);
        self.alarms.degraded.expire(at, now);
        self.alarms.blind.expire(at);
    }

    /// An interface has another name. If it is watched, whichever had that name before is back.
    pub fn renamed(&mut self, from: &str, to: &str) {
        let watched = self.watched.iter().find(|one| one.name == from).cloned();
        if watched.is_some() {
            self.alarms.degraded.remove(to, self.now);
            self.alarms.blind.end(to, self.now);
        }
        self.windows.0.rename(from, to);
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
        self.count(glance);
        let felt = self.numbers[Window::TenSeconds as usize].felt;
        self.history.push(Totals {
            at: glance.now,
            started: glance.started,
            completed: sum(&glance.outcomes, Outcome::is_completed),
            failed: self.service_failed,
            retransmits: glance.retransmits,
            lost: lost(glance.counters),
            open: self.open,
            half_open: self.half_open,
            p50_ns: felt.p50_ns,
            p99_ns: felt.p99_ns,
        });
        self.now = glance.now;
        self.outcomes = glance.outcomes;
        self.counters_before = std::mem::replace(&mut self.counters, *glance.counters);
        self.alarms.sample(glance.sampled, glance.to_wall);
        let moment = Moment { now: glance.now, to_wall: glance.to_wall };
        self.seen = glance.seen.clone();
        let (services, peers, said) = self.trails.look(moment, &self.windows.0, &open, &self.seen);
        (self.services, self.peers) = (services, peers);
        for change in said {
            self.say(glance.now, change);
        }
    }

    /// Numbers of all together and of places, by window.
    fn count(&mut self, glance: &Glance<'_>) {
        let (begun, copies) =
            std::mem::replace(&mut self.counted, (glance.started, glance.retransmits));
        let boot = glance.now.saturating_sub(glance.to_wall);
        self.to_wall = glance.to_wall;
        let windows = &mut self.windows.0;
        windows.begin(self.begun.saturating_sub(glance.to_wall));
        // They happened within the last second.
        windows.seen(
            boot.saturating_sub(HALF_A_SECOND),
            glance.started.saturating_sub(begun),
            glance.retransmits.saturating_sub(copies),
        );
        windows.advance(boot);
        *self.numbers = windows.all_numbers(boot);
        self.spreads = windows.all().sums(boot).each_ref().map(Spread::of);
        let line = |(interface, role, numbers): (&str, Role, ByWindow)| PlaceLine {
            interface: interface.to_owned(),
            role: role.name(),
            numbers: Box::new(numbers),
        };
        self.places = windows.places(boot).into_iter().map(line).collect();
    }

    /// What became of all attempts within a window.
    #[must_use]
    pub fn of(&self, window: Window) -> &Numbers {
        &self.numbers[window as usize]
    }

    /// A time of an attempt, since 1970.
    #[must_use]
    pub fn wall(&self, time: Nanos) -> Nanos {
        time.saturating_add(self.to_wall)
    }

    /// Numbers since the start begin anew.
    pub fn reset(&mut self, now: Nanos) {
        self.windows.0.reset(now.saturating_sub(self.to_wall));
        self.reset = Some(now);
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
            let one = One {
                began: view.began.saturating_add(glance.to_wall),
                is_half: view.unanswered == Outcome::HalfOpen,
                is_late: rows::is_late(&view, glance.now.saturating_sub(glance.to_wall)),
            };
            opens.add(&view.key, &one);
            self.open += 1;
            self.half_open += u64::from(one.is_half);
            if one.is_late {
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
