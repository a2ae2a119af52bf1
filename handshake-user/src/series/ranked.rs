//! Who gets series of its own: the busiest, and whoever had them keeps them for a while.
//!
//! A key's counts go up only while it is shown; what happens to the others goes to `other`. So no
//! count ever goes back, and rates over all keys and `other` add up to the whole at any time. A key
//! that loses its place keeps its counts, and goes on from them if it gets a place again.
//!
//! How busy a key is halves in [`HALF_LIFE`], and a place changes hands only for one who is twice
//! as busy as its holder: that takes minutes, so that series do not flap.
//!
//! Or they never change hands ([`Ranked::steady`]): then the counts of those shown and of `other`
//! add up to the whole themselves, not only their rates.

use std::borrow::Borrow;
use std::hash::Hash;

use ahash::AHashMap as HashMap;

use crate::attempt::Nanos;

/// Keys remembered at once, shown or not.
pub const KNOWN: usize = 1024;
/// In this time half of what somebody did is forgotten.
const HALF_LIFE: Nanos = 600_000_000_000;
/// How often places may change hands.
const REVIEW: Nanos = 1_000_000_000;
/// A challenger must be so much busier.
const LEAD: f64 = 2.0;

#[derive(Debug)]
struct Entry<C> {
    counts: C,
    activity: f64,
    /// When `activity` was that.
    at: Nanos,
    shown: bool,
}

impl<C> Entry<C> {
    fn activity(&self, now: Nanos) -> f64 {
        let halves = now.saturating_sub(self.at).max(0) as f64 / HALF_LIFE as f64;
        self.activity * (-halves).exp2()
    }
}

/// Counts `C` by key `K`, at most so many of them shown.
#[derive(Debug)]
pub struct Ranked<K, C> {
    known: HashMap<K, Entry<C>>,
    places: usize,
    shown: usize,
    /// When places last changed hands; none if they never do.
    reviewed: Option<Nanos>,
    other: C,
}

impl<K: Clone + Eq + Hash + Ord, C: Default> Ranked<K, C> {
    /// Nobody yet; at most `places` will be shown.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = places.min(KNOWN / 2);
        let (known, other) = (HashMap::new(), C::default());
        Self { known, places, shown: 0, reviewed: Some(Nanos::MIN), other }
    }

    /// The same, but whoever comes first keeps its place.
    #[must_use]
    pub fn steady(places: usize) -> Self {
        Self { reviewed: None, ..Self::new(places) }
    }

    /// Where to count what `key` has just done.
    pub fn busy<Q>(&mut self, key: &Q, now: Nanos) -> &mut C
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        self.review(now);
        self.enter(key, now);
        let Some(entry) = self.known.get_mut(key) else { return &mut self.other };
        entry.activity = entry.activity(now) + 1.0;
        entry.at = entry.at.max(now);
        if entry.shown { &mut entry.counts } else { &mut self.other }
    }

    /// Makes `key` known, and shows it if a place is free.
    pub fn enter<Q>(&mut self, key: &Q, now: Nanos)
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash + ToOwned<Owned = K>,
    {
        if !self.known.contains_key(key) {
            self.make_room(now);
            let counts = C::default();
            let entry = Entry { counts, activity: 0.0, at: now, shown: false };
            self.known.insert(key.to_owned(), entry);
        }
        if self.shown < self.places
            && let Some(entry) = self.known.get_mut(key)
            && !entry.shown
        {
            entry.shown = true;
            self.shown += 1;
        }
    }

    /// The least busy of those not shown, an eighth at once, are forgotten.
    fn make_room(&mut self, now: Nanos) {
        if self.known.len() < KNOWN {
            return;
        }
        let hidden = self.known.values().filter(|entry| !entry.shown);
        let mut activities: Vec<f64> = hidden.map(|entry| entry.activity(now)).collect();
        let (_, limit, _) = activities.select_nth_unstable_by(KNOWN / 8, f64::total_cmp);
        let limit = *limit;
        self.known.retain(|_, entry| entry.shown || entry.activity(now) > limit);
    }

    /// Gives places to those who are much busier than their holders.
    fn review(&mut self, now: Nanos) {
        match &mut self.reviewed {
            Some(reviewed) if now >= reviewed.saturating_add(REVIEW) => *reviewed = now,
            _ => return,
        }
        while let (Some((weakest, holder)), Some((busiest, challenger))) =
            (self.extreme(true, now), self.extreme(false, now))
        {
            if challenger <= holder * LEAD + 1.0 {
                return;
            }
            self.show(&weakest, false);
            self.show(&busiest, true);
        }
    }

    /// The least busy of those shown, or the busiest of the others.
    fn extreme(&self, shown: bool, now: Nanos) -> Option<(K, f64)> {
        let entries = self.known.iter().filter(|(_, entry)| entry.shown == shown);
        let rated = entries.map(|(key, entry)| (key, entry.activity(now)));
        let order = |a: &(&K, f64), b: &(&K, f64)| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(a.0));
        let found = if shown { rated.min_by(order) } else { rated.max_by(order) };
        found.map(|(key, activity)| (key.clone(), activity))
    }

    fn show(&mut self, key: &K, shown: bool) {
        if let Some(entry) = self.known.get_mut(key) {
            entry.shown = shown;
        }
    }

    /// Takes the place of the least busy away, for good; false if there is none left. `merge` adds
    /// what it had to `other`, where places are steady.
    pub fn give_way(&mut self, now: Nanos, merge: impl FnOnce(&mut C, C)) -> bool {
        let Some((weakest, _)) = self.extreme(true, now) else { return false };
        self.show(&weakest, false);
        if self.reviewed.is_none()
            && let Some(entry) = self.known.get_mut(&weakest)
        {
            merge(&mut self.other, std::mem::take(&mut entry.counts));
        }
        self.shown -= 1;
        self.places = self.shown;
        true
    }

    /// Everybody known with their counts, shown or not.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (&K, &mut C)> {
        self.known.iter_mut().map(|(key, entry)| (key, &mut entry.counts))
    }

    /// Those shown, in order of their keys.
    #[must_use]
    pub fn shown(&self) -> Vec<(&K, &C)> {
        let shown = self.known.iter().filter(|(_, entry)| entry.shown);
        let mut shown: Vec<_> = shown.map(|(key, entry)| (key, &entry.counts)).collect();
        shown.sort_unstable_by(|a, b| a.0.cmp(b.0));
        shown
    }

    /// The counts of `key` if it is shown, else those of `other`.
    pub fn counts_mut<Q>(&mut self, key: &Q) -> &mut C
    where
        K: Borrow<Q>,
        Q: ?Sized + Eq + Hash,
    {
        match self.known.get_mut(key) {
            Some(entry) if entry.shown => &mut entry.counts,
            _ => &mut self.other,
        }
    }

    /// How many are shown.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shown
    }

    /// What happened to those who were not shown.
    #[must_use]
    pub fn other(&self) -> &C {
        &self.other
    }

    /// A key has another name; what both did is counted under it.
    pub fn rename(&mut self, from: &K, to: K, merge: impl FnOnce(&mut C, C)) {
        let Some(mut entry) = self.known.remove(from) else { return };
        if let Some(namesake) = self.known.remove(&to) {
            self.shown -= usize::from(entry.shown && namesake.shown);
            entry.shown |= namesake.shown;
            entry.activity += namesake.activity;
            merge(&mut entry.counts, namesake.counts);
        }
        self.known.insert(to, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn names(ranked: &Ranked<u32, u64>) -> Vec<u32> {
        ranked.shown().into_iter().map(|(key, _)| *key).collect()
    }

    fn total(ranked: &Ranked<u32, u64>) -> u64 {
        ranked.known.values().map(|entry| entry.counts).sum::<u64>() + ranked.other
    }

    #[test]
    fn a_scan_of_100_000_shows_as_many_as_there_are_places_and_forgets_nothing() {
        let mut ranked = Ranked::<u32, u64>::new(20);
        for key in 0..100_000 {
            *ranked.busy(&key, Nanos::from(key) * 1000) += 1;
        }
        assert_eq!(names(&ranked).len(), 20);
        assert!(ranked.known.len() <= KNOWN);
        assert_eq!(total(&ranked), 100_000);
    }

    #[test]
    fn the_busy_get_the_places_that_a_scan_took_before_them() {
        let mut ranked = Ranked::<u32, u64>::new(2);
        for key in 100..200 {
            *ranked.busy(&key, 0) += 1;
        }
        for round in 1..10 {
            for key in [1, 2] {
                *ranked.busy(&key, round * SECOND) += 1;
            }
        }
        assert_eq!(names(&ranked), [1, 2]);
    }

    #[test]
    fn two_who_take_turns_do_not_flap() {
        let mut ranked = Ranked::<u32, u64>::new(1);
        let mut changes = 0;
        let mut holder = vec![];
        for minute in 0..600 {
            let key = u32::from(minute % 2 == 0);
            for step in 0..100 {
                *ranked.busy(&key, minute * 60 * SECOND + step * SECOND / 2) += 1;
            }
            let now = names(&ranked);
            changes += u32::from(now != holder);
            holder = now;
        }
        assert_eq!(changes, 1, "the first to come stays");
    }

    #[test]
    fn who_loses_the_place_goes_on_from_its_counts_when_it_is_back() {
        let mut ranked = Ranked::<u32, u64>::new(1);
        let mut at = 0;
        let mut seen: HashMap<u32, u64> = HashMap::new();
        for key in [1_u32, 2, 1, 2] {
            for _ in 0..10_000 {
                at += SECOND;
                *ranked.busy(&key, at) += 1;
                for (key, count) in ranked.shown() {
                    let before = seen.insert(*key, *count).unwrap_or(0);
                    assert!(*count >= before, "{key}: {before} then {count}");
                }
            }
            assert_eq!(names(&ranked), [key]);
        }
        assert_eq!(total(&ranked), 40_000);
        assert!(seen[&1] > 10_000, "{seen:?}");
    }

    #[test]
    fn who_gives_way_does_not_come_back_at_once() {
        let mut ranked = Ranked::<u32, u64>::new(2);
        for key in [1, 2, 2] {
            *ranked.busy(&key, 0) += 1;
        }
        assert!(ranked.give_way(0, |_, _| panic!("its counts stay its own")));
        *ranked.busy(&1, 0) += 1;
        assert_eq!((names(&ranked), *ranked.other()), (vec![2], 1));
    }

    #[test]
    fn steady_places_stay_with_whoever_came_first_and_no_count_is_out_of_sight() {
        let mut ranked = Ranked::<u32, u64>::steady(2);
        for (turn, key) in [1, 2, 3, 4].into_iter().cycle().take(4_000).enumerate() {
            // Those who come later are much busier.
            *ranked.busy(&key, turn as Nanos * SECOND) += u64::from(key) * 100;
        }
        assert_eq!(names(&ranked), [1, 2]);
        let in_sight = |ranked: &Ranked<u32, u64>| {
            ranked.shown().iter().map(|(_, count)| **count).sum::<u64>() + ranked.other
        };
        assert_eq!(in_sight(&ranked), 1_000_000);
        assert!(ranked.give_way(4_000 * SECOND, |into, from| *into += from));
        assert_eq!((names(&ranked).len(), in_sight(&ranked)), (1, 1_000_000));
    }

    #[test]
    fn a_renamed_key_takes_its_counts_and_place_along() {
        let mut ranked = Ranked::<u32, u64>::new(2);
        *ranked.busy(&1, 0) += 3;
        *ranked.busy(&2, 0) += 4;
        ranked.rename(&1, 2, |into, from| *into += from);
        assert_eq!(ranked.shown(), [(&2, &7)]);
        *ranked.busy(&5, 0) += 1;
        assert_eq!(names(&ranked), [2, 5]);
        ranked.rename(&5, 6, |into, from| *into += from);
        assert_eq!(names(&ranked), [2, 6]);
    }
}
