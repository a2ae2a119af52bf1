//! Series by key, at most so many, in at most so many bytes.

use std::hash::Hash;

use ahash::AHashMap as HashMap;

use super::ByWindow;
use super::numbers::{Times, by_window};
use super::ring::Ring;
use super::sum::{Changes, Field, Sum};
use crate::attempt::Nanos;

/// What is known of one key.
#[derive(Debug)]
pub struct Series {
    seconds: Ring,
    tens: Ring,
    start: Sum,
    /// When the last attempt ended.
    last: Nanos,
    /// Has any attempt ever completed, also before a reset?
    has_completed: bool,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            seconds: Ring::seconds(),
            tens: Ring::tens(),
            start: Sum::default(),
            last: Nanos::MIN,
            has_completed: false,
        }
    }
}

impl Series {
    /// Takes what an attempt adds; returns the growth in bytes.
    pub(super) fn record(&mut self, changes: &Changes) -> isize {
        self.last = self.last.max(changes.at);
        self.has_completed |= changes.is_completed;
        self.count(changes.at, changes.words())
    }

    /// Takes counts of another kind.
    pub(super) fn add(&mut self, at: Nanos, field: Field, times: u64) {
        if times > 0 {
            self.count(at, &[(field.which(), times)]);
        }
    }

    fn count(&mut self, at: Nanos, words: &[(u16, u64)]) -> isize {
        words.iter().for_each(|(which, times)| self.start.add(*which, *times));
        self.seconds.add(at, words) + self.tens.add(at, words)
    }

    pub(super) fn advance(&mut self, now: Nanos) -> isize {
        self.seconds.advance(now) + self.tens.advance(now)
    }

    pub(super) fn reset(&mut self) {
        self.start = Sum::default();
    }

    fn absorb(&mut self, other: &Self) -> isize {
        self.start.absorb(&other.start);
        self.last = self.last.max(other.last);
        self.has_completed |= other.has_completed;
        self.seconds.absorb(&other.seconds) + self.tens.absorb(&other.tens)
    }

    #[cfg(test)]
    pub(super) fn slot_bytes(&self) -> usize {
        self.seconds.bytes() + self.tens.bytes()
    }

    fn bytes(&self) -> isize {
        (self.seconds.bytes() + self.tens.bytes()) as isize
    }

    pub(super) fn numbers(&self, now: Nanos, times: Times) -> ByWindow {
        by_window(&self.seconds, &self.tens, &self.start, now, times)
    }

    /// Has any attempt ever completed?
    #[must_use]
    pub fn has_completed(&self) -> bool {
        self.has_completed
    }

    /// Attempts completed since `at`: to the second if that is not ten seconds before `now`, else from
    /// the first whole ten seconds on.
    #[must_use]
    pub fn completed_since(&self, at: Nanos, now: Nanos) -> u64 {
        let seconds = self.seconds.number(at) >= self.seconds.number(now) - 9;
        let ring = if seconds { &self.seconds } else { &self.tens };
        let mut sum = Sum::default();
        ring.sum(ring.number(at) + 1, i64::MAX, &mut sum);
        super::Numbers::of(&sum, 0).completed()
    }

    /// Numbers of the last minute.
    #[must_use]
    pub fn last_minute(&self, now: Nanos) -> super::Numbers {
        let mut sum = Sum::default();
        if let Some(slots) = super::Window::Minute.slots() {
            self.tens.sum(self.tens.number(now) - slots, i64::MAX, &mut sum);
        }
        super::Numbers::of(&sum, 0)
    }

    /// Numbers of the 15 minutes to now, without the last minute.
    #[must_use]
    pub fn before_the_minute(&self, now: Nanos) -> super::Numbers {
        let (minute, fifteen) = (super::Window::Minute, super::Window::FifteenMinutes);
        let (Some(minute), Some(fifteen)) = (minute.slots(), fifteen.slots()) else {
            return super::Numbers::default();
        };
        let mut sum = Sum::default();
        let now = self.tens.number(now);
        self.tens.sum(now - fifteen, now - minute, &mut sum);
        super::Numbers::of(&sum, 0)
    }

    /// The sum over each window, in the order of [`super::Window::ALL`].
    #[must_use]
    pub fn sums(&self, now: Nanos) -> [Sum; 5] {
        super::Window::ALL.map(|window| {
            let ring = if window == super::Window::TenSeconds { &self.seconds } else { &self.tens };
            let Some(slots) = window.slots() else { return self.start.clone() };
            let mut sum = Sum::default();
            ring.sum(ring.number(now) - slots, i64::MAX, &mut sum);
            sum
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Store<K> {
    known: HashMap<K, Box<Series>>,
    /// All without a series of their own.
    other: Series,
    most: usize,
    most_bytes: usize,
    bytes: isize,
    /// Slots of ten seconds before this one had to go.
    floor: Option<i64>,
}

impl<K: Copy + Eq + Hash> Store<K> {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            known: HashMap::new(),
            other: Series::default(),
            most,
            most_bytes,
            bytes: 0,
            floor: None,
        }
    }

    pub(super) fn record(&mut self, key: K, changes: &Changes) {
        if self.known.len() >= self.most && !self.known.contains_key(&key) {
            self.make_room();
        }
        self.bytes += self.known.entry(key).or_default().record(changes);
        if self.bytes > self.most_bytes as isize {
            self.forget();
        }
    }

    /// The same, but a key without a series of its own gets none: it is counted with the others.
    pub(super) fn record_if_known(&mut self, key: K, changes: &Changes) {
        if self.known.contains_key(&key) {
            return self.record(key, changes);
        }
        self.bytes += self.other.record(changes);
    }

    /// Those not heard of for longest, an eighth at once, go into `other`.
    fn make_room(&mut self) {
        let mut ages: Vec<Nanos> = self.known.values().map(|series| series.last).collect();
        let (_, &mut limit, _) = ages.select_nth_unstable(self.most / 8);
        let (other, bytes) = (&mut self.other, &mut self.bytes);
        self.known.retain(|_, series| {
            let stays = series.last > limit;
            if !stays {
                *bytes += other.absorb(series) - series.bytes();
            }
            stays
        });
    }

    /// The oldest slots of all keys go, until an eighth of the room is free.
    fn forget(&mut self) {
        let goal = (self.most_bytes / 8 * 7) as isize;
        while self.bytes > goal {
            let series = self.known.values().map(Box::as_ref).chain([&self.other]);
            let Some(oldest) = series.filter_map(|series| series.tens.oldest()).min() else {
                return;
            };
            let floor = oldest + 1;
            let series = self.known.values_mut().map(Box::as_mut).chain([&mut self.other]);
            let grown: isize = series.map(|series| series.tens.drop_before(floor)).sum();
            self.bytes += grown;
            self.floor = self.floor.max(Some(floor));
            if grown == 0 {
                return;
            }
        }
    }

    pub(super) fn advance(&mut self, now: Nanos) {
        let series = self.known.values_mut().map(Box::as_mut).chain([&mut self.other]);
        self.bytes += series.map(|series| series.advance(now)).sum::<isize>();
    }

    pub(super) fn reset(&mut self) {
        let series = self.known.values_mut().map(Box::as_mut).chain([&mut self.other]);
        series.for_each(Series::reset);
    }

    /// What `from` had is `to`'s from now on.
    pub(super) fn join(&mut self, from: K, to: K) {
        let Some(gone) = self.known.remove(&from) else { return };
        self.bytes += self.known.entry(to).or_default().absorb(&gone) - gone.bytes();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &Series)> {
        self.known.iter().map(|(key, series)| (key, series.as_ref()))
    }

    pub(super) fn of(&self, key: &K) -> Option<&Series> {
        self.known.get(key).map(Box::as_ref)
    }

    pub(super) fn other(&self) -> &Series {
        &self.other
    }

    /// Before this time, slots had to go.
    pub(super) fn floor(&self) -> Option<Nanos> {
        self.floor.map(|number| self.other.tens.begin(number))
    }

    pub(super) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }
}
