//! Child processes that never outlive the thread that started them.
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often anything here looks again while it waits.
pub const GLANCE: Duration = Duration::from_millis(5);

/// Ties a command to the calling thread: the kernel kills it when that thread ends, even by SIGKILL.
pub fn tether(command: &mut Command) -> &mut Command {
    let die_with_parent = || {
        // SAFETY: prctl with these arguments touches no memory, and is async-signal-safe.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: the closure runs between fork and exec; it makes one system call and allocates nothing.
    unsafe { command.pre_exec(die_with_parent) }
}

/// Keeps the calling thread on one CPU.
pub fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: cpu_set_t is an array of integers, for which all zeroes are a valid value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours; CPU_SET refuses a CPU beyond its end by panicking.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set outlives the call and is passed with its size; 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Takes every capability from a command, also if we are root.
pub fn without_capabilities(command: &mut Command) -> &mut Command {
    /// `SECBIT_NOROOT` and its lock (`linux/securebits.h`): being root means nothing to exec.
    const ROOT_IS_NOBODY: libc::c_ulong = 0b11;
    let give_up = || {
        // SAFETY: geteuid and prctl with these arguments touch no memory, and are async-signal-safe.
        let done = unsafe {
            (libc::geteuid() != 0 || libc::prctl(libc::PR_SET_SECUREBITS, ROOT_IS_NOBODY) == 0)
                && libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0
                // Capabilities of the file (setcap) count no longer.
                && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure runs between fork and exec; it makes system calls and allocates nothing.
    unsafe { command.pre_exec(give_up) }
}

/// Sends a signal to a child that has not been waited for, so that its id can't have been reused.
pub fn signal(child: &Child, signal: i32) -> Result<()> {
    let pid = libc::pid_t::try_from(child.id())?;
    // SAFETY: kill takes two integers; the id is our own unreaped child's.
    match unsafe { libc::kill(pid, signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).context("cannot signal a child"),
    }
}

/// Waits for a child to end, at most for `patience`.
pub fn wait(child: &mut Child, patience: Duration) -> Result<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= until {
            bail!("process {} still runs after {patience:?}", child.id());
        }
        std::thread::sleep(GLANCE);
    }
}

/// What a child used from its start to its end.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// how it ended
    pub status: ExitStatus,
    /// the most memory it held at a time
    pub peak_bytes: u64,
    /// user and system time of all its threads
    pub cpu: Duration,
}

/// Waits for a child to end, however long that takes.
pub fn wait_measured(child: Child) -> Result<Usage> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: rusage is made of integers, for which all zeroes are a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values of ours; the child is ours and has not been waited for.
    if unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) } != pid {
        return Err(io::Error::last_os_error()).context("cannot wait for a child");
    }
    // The kernel has forgotten the child; dropping its handle closes descriptors only.
    drop(child);
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec as u64) + Duration::from_micros(time.tv_usec as u64)
    };
    Ok(Usage {
        status: ExitStatus::from_raw(status),
        peak_bytes: usage.ru_maxrss as u64 * 1024,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
    })
}

/// Looks again and again until `done` is true; an error naming `what` after `patience`.
pub fn eventually(what: &str, patience: Duration, mut done: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + patience;
    while !done() {
        if Instant::now() >= until {
            bail!("{what}: not within {patience:?}");
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

/// CPU time of the calling thread so far. Unlike a clock it stands still while others run, which is
/// what a bench on a busy machine wants to know.
#[must_use]
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to a place that is ours; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
