//! Runs programs without a network, and asks the kernel how long they took; for benches.
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Attributes, Hook, instruction, load};

const PROG_TEST_RUN: libc::c_long = 10;
const ENABLE_STATS: libc::c_long = 32;

/// Loads a program of two instructions that passes every packet: what any program costs.
pub fn load_empty(hook: Hook) -> io::Result<OwnedFd> {
    let program = [instruction(0xb7, 0x00, 0, hook.verdict()), instruction(0x95, 0x00, 0, 0)];
    load(hook, hook.expected_attach_type(), &program)
}

/// Runs a program on a frame `repeat` times on this CPU; the mean in whole nanoseconds, without the
/// time in which others had the CPU.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<u32> {
    let mut attributes = Attributes::default();
    attributes.put(0, program.as_raw_fd().cast_unsigned());
    attributes.put(8, frame.len() as u32);
    attributes.put_pointer(16, frame.as_ptr());
    attributes.put(32, repeat);
    attributes.call(PROG_TEST_RUN)?;
    Ok(attributes.word(36))
}

/// The kernel measures every run of every program while this is open (about 20 ns a run).
pub fn measure_runs() -> Result<OwnedFd> {
    // Type 0: run time and runs.
    Attributes::default().descriptor(ENABLE_STATS).context("cannot enable run statistics")
}

/// Runs of a program, and the time spent in them, since it was loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runs {
    /// while [`measure_runs`] was open
    pub count: u64,
    /// in these
    pub time: Duration,
}

impl Runs {
    /// Asks the kernel.
    pub fn of(program: BorrowedFd<'_>) -> Result<Self> {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", program.as_raw_fd()))?;
        let number = |key: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse().ok()).with_context(|| format!("no {key}"))
        };
        Ok(Self { count: number("run_cnt")?, time: Duration::from_nanos(number("run_time_ns")?) })
    }

    /// Mean nanoseconds of the runs since `before`, with the cost of measuring.
    #[must_use]
    pub fn mean_ns_since(&self, before: &Self) -> f64 {
        (self.time - before.time).as_nanos() as f64 / (self.count - before.count).max(1) as f64
    }
}
