//! What this process costs, as `/proc` tells it. What cannot be read is zero.

use std::fs;

use crate::clock::Clock;
use crate::snapshot::metrics::ProcessCost;
use crate::usage::Usage;

/// When the process was started, in nanoseconds of boot time.
#[must_use]
pub fn started_ns() -> u64 {
    (stat(21) * 1e9) as u64
}

/// What it costs now. `to_wall` is added to boot time to get nanoseconds since 1970.
#[must_use]
pub fn cost(to_wall: i64) -> ProcessCost {
    let usage = Usage::of_process();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |key: &str| 1024 * field(&status, key).unwrap_or(0);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let started = i64::try_from(started_ns().min(Clock::now())).unwrap_or(0);
    ProcessCost {
        cpu_seconds: (usage.user_ns + usage.system_ns) as f64 / 1e9,
        resident_bytes: bytes("VmRSS:"),
        virtual_bytes: bytes("VmSize:"),
        open_fds: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        max_fds: field(&limits, "Max open files").unwrap_or(0),
        start_seconds: started.saturating_add(to_wall) as f64 / 1e9,
    }
}

/// The first number after `key` in a text of one entry a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A time of `/proc/self/stat`, by its index from 0, in seconds.
fn stat(index: usize) -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is a name in parentheses that may contain anything.
    let rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = rest.split(' ').nth(index - 2).and_then(|ticks| ticks.parse::<f64>().ok());
    // SAFETY: it takes a number and returns one.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    ticks.unwrap_or(0.0) / a_second.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something() {
        let cost = cost(0);
        assert!(cost.resident_bytes > 100_000 && cost.virtual_bytes >= cost.resident_bytes);
        assert!(cost.open_fds >= 3 && cost.max_fds >= cost.open_fds, "{cost:?}");
        let boot_seconds = Clock::now() as f64 / 1e9;
        assert!(cost.start_seconds > 0.0 && cost.start_seconds <= boot_seconds, "{cost:?}");
        assert!(boot_seconds - cost.start_seconds < 3600.0, "{cost:?}");
    }
}
