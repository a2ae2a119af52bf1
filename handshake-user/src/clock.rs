//! The clock of events, and how it is shown to people.
//!
//! Events carry the kernel's boot time, which goes on while the machine sleeps and never jumps.
//! Wall-clock time is boot time plus an offset read in pairs; durations are never taken from it.
//! The tracker has no clock: whoever calls it passes [`Clock::now`].

/// Pairs of readings of which the closest is kept.
const PAIRS: usize = 5;

/// Converts boot time to wall-clock time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Wall-clock time minus boot time in nanoseconds.
    offset_ns: i128,
}

impl Clock {
    /// A clock with the offset of this moment.
    #[must_use]
    pub fn new() -> Self {
        let closest = (0..PAIRS).map(|_| Pair::read()).min_by_key(|pair| pair.apart_ns);
        Self { offset_ns: closest.map_or(0, |pair| pair.offset_ns) }
    }

    /// Boot time now, in nanoseconds: the clock of `Event::time_ns` (`bpf_ktime_get_boot_ns`).
    #[must_use]
    pub fn now() -> u64 {
        read(libc::CLOCK_BOOTTIME) as u64
    }

    /// Reads the offset again, for when wall-clock time was set. Returns by how many nanoseconds
    /// the wall clock has moved.
    pub fn refresh(&mut self) -> i128 {
        let before = self.offset_ns;
        *self = Self::new();
        self.offset_ns - before
    }

    /// Nanoseconds since 1970 (UTC) of a boot time.
    #[must_use]
    pub fn to_wall(&self, boot_ns: u64) -> i128 {
        i128::from(boot_ns) + self.offset_ns
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// Wall-clock time read between two readings of boot time.
struct Pair {
    apart_ns: i128,
    offset_ns: i128,
}

impl Pair {
    fn read() -> Self {
        let before = read(libc::CLOCK_BOOTTIME);
        let wall = read(libc::CLOCK_REALTIME);
        let after = read(libc::CLOCK_BOOTTIME);
        Self { apart_ns: after - before, offset_ns: wall - (before + (after - before) / 2) }
    }
}

/// Nanoseconds of a clock that every kernel we run on has (boot time since 2.6.39).
fn read(clock: libc::clockid_t) -> i128 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; the call fails for unknown clocks only and then leaves
    // the zero in place.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn now_as_wall_clock_is_the_time_of_day() {
        let clock = Clock::new();
        let shown = clock.to_wall(Clock::now());
        let real = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i128;
        assert!((shown - real).abs() < 50_000_000, "{shown} against {real}");
    }

    #[test]
    fn refreshing_moves_the_offset_by_little_while_nobody_sets_the_clock() {
        assert!(Clock::new().refresh().abs() < 50_000_000);
    }

    #[test]
    fn boot_time_never_goes_back() {
        let times: Vec<u64> = (0..1000).map(|_| Clock::now()).collect();
        assert!(times.is_sorted());
    }
}
