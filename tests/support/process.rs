//! Child processes that never outlive the thread that started them.
use std::io;
use std::os::unix::process::CommandExt;
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
