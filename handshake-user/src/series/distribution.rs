//! One latency for scrapers: counts for fixed bounds and for exponential buckets, both exact.
//!
//! Not derived from the histograms of [`crate::metrics`]: these know a sample to three digits at
//! best, so that one near a bound could be counted on either side of it.

use std::collections::BTreeMap;

/// Bounds of a classic histogram, in seconds; the last bucket has none.
pub type Bounds = &'static [f64];

/// For handshakes in which nothing was sent twice: 100 µs to 64 s.
pub const CLEAN: Bounds = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0,
    16.0, 64.0,
];

/// With retransmissions: senders wait 1, 3, 7, 15, 31 and 63 s in all, so that each of these times
/// has a bucket of its own.
pub const RETRANSMITTED: Bounds = &[0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// For each half of the handshakes of one service: few, because there are many services.
pub const SERVICE: Bounds = &[0.0005, 0.002, 0.005, 0.02, 0.1, 0.25, 1.0];

/// Exponential buckets: each bound is the one before times 2 to the power of 2 to the power of minus
/// this, 1.09.
pub const SCHEMA: u8 = 3;

/// Samples of one latency.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    bounds: Bounds,
    /// Samples in each bucket, not summed up; one more than there are bounds.
    classic: Vec<u64>,
    exponential: BTreeMap<i32, u64>,
    zero: u64,
    count: u64,
    sum_ns: u128,
}

impl Distribution {
    /// No sample yet.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            classic: vec![0; bounds.len() + 1],
            exponential: BTreeMap::new(),
            zero: 0,
            count: 0,
            sum_ns: 0,
        }
    }

    /// Takes a sample.
    pub fn record(&mut self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        self.classic[bucket] += 1;
        if ns == 0 {
            self.zero += 1;
        } else {
            *self.exponential.entry(index(seconds)).or_default() += 1;
        }
        self.count += 1;
        self.sum_ns += u128::from(ns);
    }

    /// Samples.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the samples, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Upper bound, in seconds, and samples of each classic bucket; the last bound is infinite.
    #[must_use]
    pub fn classic(&self) -> Vec<(f64, u64)> {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.classic.iter().copied()).collect()
    }

    /// Samples of zero.
    #[must_use]
    pub fn zero(&self) -> u64 {
        self.zero
    }

    /// Index and samples of each exponential bucket that has any, upwards: the bucket's upper bound
    /// is 2 to the power of index / 2^[`SCHEMA`], in seconds.
    pub fn exponential(&self) -> impl Iterator<Item = (i32, u64)> {
        self.exponential.iter().map(|(index, samples)| (*index, *samples))
    }

    /// Series that it takes in the text formats: a bucket each, sum and count.
    #[must_use]
    pub fn series(&self) -> usize {
        self.classic.len() + 2
    }
}

fn index(seconds: f64) -> i32 {
    (seconds.log2() * f64::from(1 << SCHEMA)).ceil() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_on_a_bound_belongs_below_it() {
        let mut samples = Distribution::new(CLEAN);
        for ns in [100_000, 100_001, 64_000_000_000, 64_000_000_001] {
            samples.record(ns);
        }
        let classic = samples.classic();
        assert_eq!(classic[0], (0.0001, 1));
        assert_eq!(classic[1], (0.00025, 1));
        assert_eq!(classic[CLEAN.len() - 1], (64.0, 1));
        assert_eq!(classic[CLEAN.len()], (f64::INFINITY, 1));
    }

    #[test]
    fn every_sample_is_between_the_bounds_of_its_exponential_bucket() {
        let step = f64::from(1 << SCHEMA);
        for exponent in 0..42 {
            for ns in [(1_u64 << exponent) - 1, 1 << exponent, (1 << exponent) + 1] {
                let mut samples = Distribution::new(CLEAN);
                samples.record(ns);
                let found: Vec<_> = samples.exponential().collect();
                let Some((index, 1)) = found.first() else {
                    assert_eq!((ns, samples.zero()), (0, 1));
                    continue;
                };
                let bound = |index: i32| (f64::from(index) / step).exp2();
                let seconds = ns as f64 / 1e9;
                assert!(bound(index - 1) < seconds && seconds <= bound(*index), "{ns} {index}");
            }
        }
    }

    #[test]
    fn sum_and_count_are_exact() {
        let mut samples = Distribution::new(RETRANSMITTED);
        (0..1000).for_each(|_| samples.record(1_500_000_000));
        assert_eq!((samples.count(), samples.sum_seconds()), (1000, 1500.0));
        assert_eq!(samples.classic().iter().map(|(_, n)| n).sum::<u64>(), 1000);
    }
}
