//! Gives up the capabilities that loading needed, for good.
//!
//! How few are enough is found by trying, not by the kernel's version: links want none at all
//! (Linux 6.18), filters on `clsact` want `CAP_NET_ADMIN`, and before Linux 6.0, where
//! `kernel.unprivileged_bpf_disabled` is set, every `bpf(2)` command wants `CAP_BPF`, reading a
//! counter too.

use std::fs;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

use super::error::LoadError;
use super::signals::SignalsWait;

/// How often threads are looked at before one is said to keep capabilities: one that has ended is
/// listed for a moment longer.
const LOOKS: u32 = 50;
/// Between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// What may be needed after everything is attached, cheapest first.
const RUNGS: [&[Capability]; 4] = [
    &[],
    &[Capability::CAP_NET_ADMIN],
    &[Capability::CAP_NET_ADMIN, Capability::CAP_BPF],
    &[Capability::CAP_NET_ADMIN, Capability::CAP_BPF, Capability::CAP_PERFMON],
];

/// What a process that gives up its privileges still does with files that may be others'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Files {
    /// Opens none.
    #[default]
    None,
    /// Opens some to read them.
    Read,
    /// Makes and renames some.
    Write,
}

/// What is still to come when privileges are given up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plans {
    /// Filters are attached, which netlink lets nobody remove without `CAP_NET_ADMIN`.
    pub(super) filters: bool,
    /// A program that may be needed could not be loaded yet.
    pub(super) loading: bool,
    /// What is done with files.
    pub(super) files: Files,
}

/// Reduces the capabilities of this thread, and of what it starts, to the fewest with which
/// `works` is true; to none more than it has.
///
/// # Errors
/// If the kernel (a seccomp filter, say) refuses; the capabilities may then be those of before. If
/// another thread has more than are left to this one.
pub(super) fn to_the_fewest(plans: Plans, works: impl Fn() -> bool) -> Result<(), LoadError> {
    let refused = |error: CapsError| LoadError::KeepsPrivileges(error.to_string());
    let kept = reduce(plans, works).map_err(refused)?;
    kept.map_or(Ok(()), |kept| no_other_thread(&kept))
}

/// The capabilities that are left; none if something else is in the way, so that all are kept.
fn reduce(plans: Plans, works: impl Fn() -> bool) -> Result<Option<CapsHashSet>, CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let fewest = RUNGS.into_iter().skip(first_rung(plans));
    for rung in fewest {
        let wanted = rung.iter().chain(for_files(plans.files)).copied();
        let kept: CapsHashSet = wanted.filter(|one| held.contains(one)).collect();
        caps::set(None, CapSet::Effective, &kept)?;
        if works() {
            for_good(&kept, &held)?;
            return Ok(Some(kept));
        }
    }
    // Something else is in the way; whoever tries it next will say what.
    caps::set(None, CapSet::Effective, &held)?;
    Ok(None)
}

/// Starts a thread that only computes, or uses files that are open: without any capability, and
/// without signals. When this returns the thread has given its capabilities up. If the kernel
/// does not let it, it works all the same; the main thread will say so.
///
/// # Errors
/// If there can be no thread.
pub fn spawn_without_privileges(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let (ready, is_ready) = mpsc::channel::<()>();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _signals = SignalsWait::new();
        drop(every_privilege());
        drop(ready);
        work();
    })?;
    // An end, not a message.
    let _ = is_ready.recv();
    Ok(())
}

/// Gives up every capability of this thread. Capabilities are a thread's own, so each must do it
/// for itself.
fn every_privilege() -> io::Result<()> {
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    caps::clear(None, CapSet::Effective).map_err(io::Error::other)?;
    for_good(&CapsHashSet::new(), &held).map_err(io::Error::other)
}

fn first_rung(plans: Plans) -> usize {
    match plans {
        Plans { loading: true, .. } => 3,
        Plans { filters: true, .. } => 1,
        _ => 0,
    }
}

/// What root needs with files of others.
fn for_files(files: Files) -> &'static [Capability] {
    match files {
        Files::None => &[],
        Files::Read => &[Capability::CAP_DAC_READ_SEARCH],
        Files::Write => &[Capability::CAP_DAC_OVERRIDE],
    }
}

/// No way back: not by the sets, and not by starting a program that has capabilities.
fn for_good(kept: &CapsHashSet, held: &CapsHashSet) -> Result<(), CapsError> {
    if held.contains(&Capability::CAP_SETPCAP) {
        let mut with = kept.clone();
        with.insert(Capability::CAP_SETPCAP);
        caps::set(None, CapSet::Effective, &with)?;
        for other in caps::read(None, CapSet::Bounding)?.difference(kept) {
            caps::drop(None, CapSet::Bounding, *other)?;
        }
        caps::set(None, CapSet::Effective, kept)?;
    }
    // The ambient set follows the inheritable one.
    caps::clear(None, CapSet::Inheritable)?;
    caps::set(None, CapSet::Permitted, kept)?;
    // SAFETY: prctl with these arguments touches no memory.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error().to_string().into());
    }
    Ok(())
}

/// Capabilities are a thread's own: does one that was started before still have its?
fn no_other_thread(kept: &CapsHashSet) -> Result<(), LoadError> {
    let most = kept.iter().fold(0, |set, one| set | one.bitmask());
    for _ in 1..LOOKS {
        if with_more(most).is_none() {
            return Ok(());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    with_more(most).map_or(Ok(()), |(thread, set)| {
        let capabilities = caps::all().into_iter().filter(|one| set & one.bitmask() != 0);
        let mut capabilities: Vec<_> = capabilities.map(|one| one.to_string()).collect();
        capabilities.sort();
        Err(LoadError::ThreadKeepsPrivileges { thread, capabilities: capabilities.join(", ") })
    })
}

/// A thread of this process that has more capabilities than these: its name, and what it has more.
fn with_more(most: u64) -> Option<(String, u64)> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut statuses = threads.filter_map(|one| fs::read_to_string(one.path().join("status")).ok());
    statuses.find_map(|status| {
        let more = permitted(&status)? & !most;
        (more != 0 && !has_ended(&status)).then(|| {
            let name = status.lines().find_map(|line| line.strip_prefix("Name:"));
            (name.unwrap_or_default().trim().to_owned(), more)
        })
    })
}

/// Is it only still listed?
fn has_ended(status: &str) -> bool {
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| state.trim_start().starts_with(['X', 'Z']))
}

fn permitted(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gives_up_every_privilege_has_none() {
        let status = std::thread::spawn(|| {
            every_privilege().expect("giving up is allowed");
            fs::read_to_string("/proc/thread-self/status").expect("proc")
        });
        let status = status.join().expect("no panic");
        assert_eq!(permitted(&status), Some(0));
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }

    #[test]
    fn a_thread_without_privileges_has_none_when_it_has_been_started() {
        let (end, ended) = mpsc::channel::<()>();
        spawn_without_privileges("no-caps", move || {
            let _ = ended.recv();
        })
        .expect("a thread");
        let threads = fs::read_dir("/proc/self/task").expect("proc").flatten();
        let status = threads
            .filter_map(|one| fs::read_to_string(one.path().join("status")).ok())
            .find(|status| status.contains("no-caps"));
        assert_eq!(permitted(&status.expect("it runs")), Some(0));
        drop(end);
    }

    #[test]
    fn a_thread_that_has_ended_keeps_nothing() {
        assert!(has_ended("Name:\tkeys\nState:\tZ (zombie)\n"));
        assert!(has_ended("State:\tX (dead)\n") && !has_ended("State:\tR (running)\n"));
    }

    #[test]
    fn what_is_still_to_come_decides_where_to_begin() {
        let plans = Plans { filters: false, loading: false, files: Files::None };
        assert_eq!(first_rung(plans), 0);
        assert_eq!(RUNGS[first_rung(Plans { filters: true, ..plans })], RUNGS[1]);
        assert_eq!(first_rung(Plans { loading: true, ..plans }), RUNGS.len() - 1);
        assert!(RUNGS.windows(2).all(|pair| pair[1].starts_with(pair[0])));
    }
}
