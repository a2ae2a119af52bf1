//! One order of time over the rings of all CPUs.
//!
//! Each ring is in order, give or take an interrupt; together they are not. Events wait here until
//! nothing older can arrive: until [`LATENESS_NS`] after their time, and, where a ring was not
//! read to its end, until its reader has passed them. Nothing is dropped: an event that comes too
//! late is delivered all the same, and counted. Next: `tracker`.

use handshake_common::event::Event;

/// How long an event may take from its time stamp until it can be read: the program reserves, then
/// stamps and submits, and may be interrupted in between. In nanoseconds.
pub const LATENESS_NS: u64 = 5_000_000;

/// What has a time by which it is sorted.
pub trait Timed {
    /// Boot time in nanoseconds.
    fn time_ns(&self) -> u64;
}

impl Timed for Event {
    fn time_ns(&self) -> u64 {
        self.time_ns
    }
}

/// Sorts events of several rings by time.
#[derive(Debug)]
pub struct Merge<E = Event> {
    /// Sorted up to what was pushed since the last release.
    pending: Vec<E>,
    released_ns: u64,
    late: u64,
}

impl<E: Timed> Default for Merge<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Timed> Merge<E> {
    /// An empty merge.
    #[must_use]
    pub fn new() -> Self {
        Self { pending: Vec::new(), released_ns: 0, late: 0 }
    }

    /// Takes events in the order in which they were read.
    pub fn push(&mut self, events: impl IntoIterator<Item = E>) {
        let released_ns = self.released_ns;
        let late = &mut self.late;
        self.pending.extend(events.into_iter().inspect(|event| {
            *late += u64::from(event.time_ns() < released_ns);
        }));
    }

    /// After each drain, once what it delivered was pushed: appends to `out`, sorted by time, the
    /// events that nothing can precede any more, those not
    /// after the watermark, which is [`LATENESS_NS`] before `now_ns` (boot time, read before the
    /// rings were) or before `horizon_ns`, where that is earlier ([`Drained::horizon_ns`]). Events
    /// of equal time keep the order in which they were pushed. Returns how many were appended.
    ///
    /// [`Drained::horizon_ns`]: crate::source::ring::Drained::horizon_ns
    pub fn release(&mut self, now_ns: u64, horizon_ns: Option<u64>, out: &mut Vec<E>) -> usize {
        let reached = horizon_ns.map_or(now_ns, |horizon| horizon.min(now_ns));
        self.released_ns = self.released_ns.max(reached.saturating_sub(LATENESS_NS));
        self.release_until(self.released_ns, out)
    }

    /// Appends to `out` everything that is left, sorted by time: the rings have ended. Returns how
    /// many events were appended.
    pub fn flush(&mut self, out: &mut Vec<E>) -> usize {
        if let Some(last) = self.pending.iter().map(Timed::time_ns).max() {
            self.released_ns = self.released_ns.max(last);
        }
        self.release_until(u64::MAX, out)
    }

    /// Time in nanoseconds up to which everything has been released: the tracker's now.
    #[must_use]
    pub fn watermark_ns(&self) -> u64 {
        self.released_ns
    }

    /// Events that wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Events so far that arrived after something later had been released.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    fn release_until(&mut self, watermark_ns: u64, out: &mut Vec<E>) -> usize {
        // Stable, and quick on what it gets: a few sorted runs.
        self.pending.sort_by_key(Timed::time_ns);
        let count = self.pending.partition_point(|event| event.time_ns() <= watermark_ns);
        out.extend(self.pending.drain(..count));
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn event(time_ns: u64, seq: u32) -> Event {
        Event { time_ns, seq, ..Event::ZERO }
    }

    fn seqs(events: &[Event]) -> Vec<u32> {
        events.iter().map(|event| event.seq).collect()
    }

    #[test]
    fn two_rings_come_out_in_one_order() {
        let mut merge = Merge::new();
        let mut out = Vec::new();
        merge.push([event(10, 1), event(30, 3)]);
        merge.push([event(20, 2), event(40, 4)]);
        assert_eq!(merge.release(LATENESS_NS + 30, None, &mut out), 3);
        assert_eq!(seqs(&out), [1, 2, 3]);
        assert_eq!((merge.pending(), merge.late(), merge.watermark_ns()), (1, 0, 30));
    }

    #[test]
    fn young_events_wait_for_the_lateness() {
        let mut merge = Merge::new();
        let mut out = Vec::new();
        merge.push([event(100 * MS, 1)]);
        assert_eq!(merge.release(104 * MS, None, &mut out), 0);
        assert_eq!(merge.release(105 * MS, None, &mut out), 1);
    }

    #[test]
    fn a_ring_not_read_to_its_end_holds_back_the_others() {
        let mut merge = Merge::new();
        let mut out = Vec::new();
        merge.push([event(50 * MS, 1), event(10 * MS, 0)]);
        merge.release(200 * MS, Some(20 * MS), &mut out);
        assert_eq!(seqs(&out), [0]);
        merge.push([event(30 * MS, 2)]);
        merge.release(200 * MS, None, &mut out);
        assert_eq!((seqs(&out), merge.late()), (vec![0, 2, 1], 0));
    }

    #[test]
    fn equal_times_keep_their_order() {
        let mut merge = Merge::new();
        let mut out = Vec::new();
        for seq in 0..100 {
            merge.push([event(7, seq)]);
        }
        merge.flush(&mut out);
        assert_eq!(seqs(&out), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn late_events_are_delivered_and_counted() {
        let mut merge = Merge::new();
        let mut out = Vec::new();
        merge.release(100 * MS, None, &mut out);
        merge.push([event(95 * MS, 1), event(95 * MS - 1, 2)]);
        assert_eq!(merge.release(100 * MS, None, &mut out), 2);
        assert_eq!((seqs(&out), merge.late()), (vec![2, 1], 1));
    }

    #[test]
    fn the_watermark_never_goes_back() {
        let mut merge = Merge::new();
        let mut out = Vec::new();
        merge.release(100 * MS, None, &mut out);
        merge.release(50 * MS, Some(3), &mut out);
        assert_eq!(merge.watermark_ns(), 95 * MS);
        merge.push([event(200 * MS, 1)]);
        merge.flush(&mut out);
        assert_eq!((out.len(), merge.watermark_ns()), (1, 200 * MS));
    }

    /// A generator of numbers, so that a failure repeats (xorshift64).
    struct Numbers(u64);

    impl Numbers {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    /// Rings are filled at random, read to a random length, and every event must come out once, in
    /// order, and none late, as long as it took less than the lateness to be submitted.
    #[test]
    fn random_rings_come_out_once_and_in_order() {
        for seed in 1..=200 {
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(seed));
            let mut rings: Vec<std::collections::VecDeque<Event>> = vec![Default::default(); 4];
            let mut seen = [0u64; 4];
            let (mut merge, mut out) = (Merge::new(), Vec::new());
            let (mut now, mut sent) = (100 * MS, 0);
            for _ in 0..200 {
                now += numbers.below(3 * MS);
                for ring in &mut rings {
                    for _ in 0..numbers.below(4) {
                        ring.push_back(event(now - numbers.below(LATENESS_NS), sent));
                        sent += 1;
                    }
                }
                let mut horizon = None::<u64>;
                for (ring, seen) in rings.iter_mut().zip(&mut seen) {
                    let read = (numbers.below(8) as usize).min(ring.len());
                    let events: Vec<_> = ring.drain(..read).collect();
                    *seen = events.iter().map(|event| event.time_ns).fold(*seen, u64::max);
                    merge.push(events);
                    if !ring.is_empty() {
                        horizon = Some(horizon.map_or(*seen, |horizon| horizon.min(*seen)));
                    } else {
                        *seen = (*seen).max(now);
                    }
                }
                merge.release(now, horizon, &mut out);
            }
            rings.into_iter().for_each(|ring| merge.push(ring));
            merge.flush(&mut out);
            assert!(out.is_sorted_by_key(|event| event.time_ns), "seed {seed}");
            let mut all = seqs(&out);
            all.sort_unstable();
            assert_eq!((all, merge.late()), ((0..sent).collect(), 0), "seed {seed}");
        }
    }
}
