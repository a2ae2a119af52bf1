//! The scale on which latencies are counted: from 1 µs to 100 s, linear between 1, 2, 5 and 10 of each
//! power of ten, so that steps of 1, 2, 5 are bounds, and no bucket is wider than an eighth of its value.

/// Buckets between 1 and 10: eight to 2, twelve to 5, ten to 10.
const DECADE: usize = 30;
const DECADES: usize = 8;
/// One below the scale, one above.
pub const BUCKETS: usize = DECADE * DECADES + 2;

/// The bucket of a latency in nanoseconds.
#[must_use]
pub fn bucket(ns: u64) -> usize {
    if ns < 1_000 {
        return 0;
    }
    let decade = (ns.ilog10() - 3) as usize;
    if decade >= DECADES {
        return BUCKETS - 1;
    }
    let unit = 1_000 * 10_u64.pow(decade as u32);
    // Below 10^12 ns: no overflow.
    let within = match ns / unit {
        1 => (ns - unit) * 8 / unit,
        2..5 => 8 + (ns - 2 * unit) * 4 / unit,
        _ => 20 + (ns - 5 * unit) * 2 / unit,
    };
    1 + decade * DECADE + within as usize
}

/// Where a bucket begins, in nanoseconds.
#[must_use]
pub fn from_ns(bucket: usize) -> u64 {
    let Some(above) = bucket.checked_sub(1) else { return 0 };
    let unit = 1_000 * 10_u64.pow((above / DECADE) as u32);
    match above % DECADE {
        within @ 0..8 => unit + unit / 8 * within as u64,
        within @ 8..20 => 2 * unit + unit / 4 * (within as u64 - 8),
        within => 5 * unit + unit / 2 * (within as u64 - 20),
    }
}

/// What stands for all of a bucket: its middle.
#[must_use]
pub fn middle_ns(bucket: usize) -> u64 {
    if bucket + 1 >= BUCKETS {
        return from_ns(BUCKETS - 1);
    }
    u64::midpoint(from_ns(bucket), from_ns(bucket + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_begins_where_the_one_before_ends_and_is_narrow() {
        for one in 1..BUCKETS {
            let (from, before) = (from_ns(one), from_ns(one) - 1);
            assert_eq!((bucket(from), bucket(before)), (one, one - 1), "{from} ns");
            if one + 1 < BUCKETS {
                let width = from_ns(one + 1) - from;
                assert!(width * 8 <= from, "{from} ns: {width} wide");
            }
        }
        assert_eq!([bucket(0), bucket(u64::MAX)], [0, BUCKETS - 1]);
        assert_eq!(from_ns(BUCKETS - 1), 100_000_000_000);
        for step in [1_000, 2_000, 5_000, 10_000, 2_000_000, 50_000_000_000] {
            assert_eq!(from_ns(bucket(step)), step);
        }
    }
}
