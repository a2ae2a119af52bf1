//! How latencies are distributed: counts by part between steps of 1, 2, 5, 10, …

use crate::metrics::PARTS;
use crate::windows::{Part, Sum, scale};

/// Steps: 1 µs to 100 s, three a decade.
const STEPS: usize = 25;

/// Samples between two steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// From this on, in nanoseconds; the first holds everything below, too.
    pub from_ns: u64,
    /// Samples by part, in the order of [`PARTS`].
    pub counts: [u64; PARTS.len()],
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// From the first to the last that has a sample; none without samples.
    pub buckets: Vec<Bucket>,
}

impl Spread {
    /// The distribution of what was counted, where nothing was sent twice.
    #[must_use]
    pub fn of(sum: &Sum) -> Self {
        let mut buckets: Vec<Bucket> = (0..STEPS)
            .map(|step| Bucket { from_ns: floor_ns(step), counts: [0; PARTS.len()] })
            .collect();
        for (part, of) in [Part::Server, Part::Client, Part::Total].into_iter().enumerate() {
            for (bucket, samples) in sum.samples(of).unwrap_or_default().iter().enumerate() {
                let at = scale::from_ns(bucket);
                let step = buckets.partition_point(|bucket| bucket.from_ns <= at).max(1) - 1;
                buckets[step].counts[part] += u64::from(*samples);
            }
        }
        let used = |bucket: &Bucket| bucket.counts.iter().any(|count| *count > 0);
        let Some(last) = buckets.iter().rposition(used) else { return Self::default() };
        buckets.truncate(last + 1);
        let first = buckets.iter().position(used).unwrap_or(0);
        buckets.drain(..first);
        Self { buckets }
    }
}

/// 1, 2, 5 µs, 10, 20, 50 µs, …
fn floor_ns(step: usize) -> u64 {
    [1_000, 2_000, 5_000][step % 3] * 10_u64.pow((step / 3) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_1_2_5() {
        let steps: Vec<u64> = (0..5).map(floor_ns).collect();
        assert_eq!(steps, [1_000, 2_000, 5_000, 10_000, 20_000]);
        assert_eq!(floor_ns(STEPS - 1), 100_000_000_000);
        for step in 0..STEPS {
            assert_eq!(scale::from_ns(scale::bucket(floor_ns(step))), floor_ns(step));
        }
    }
}
