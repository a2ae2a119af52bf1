//! Gives up the capabilities that loading needed, for good.
//!
//! How few are enough is found by trying, not by the kernel's version: links want none at all
//! (Linux 6.18), filters on `clsact` want `CAP_NET_ADMIN`, and before Linux 6.0, where
//! `kernel.unprivileged_bpf_disabled` is set, every `bpf(2)` command wants `CAP_BPF`, reading a
//! counter too.

use std::fs;
use std::io;

use caps::errors::CapsError;
use caps::{CapSet, Capability, CapsHashSet};

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
/// If the kernel (a seccomp filter, say) refuses; the capabilities may then be those of before.
pub(super) fn to_the_fewest(plans: Plans, works: impl Fn() -> bool) -> Result<(), CapsError> {
    let held = caps::read(None, CapSet::Permitted)?;
    let fewest = RUNGS.into_iter().skip(first_rung(plans));
    for rung in fewest {
        let wanted = rung.iter().chain(for_files(plans.files)).copied();
        let kept: CapsHashSet = wanted.filter(|one| held.contains(one)).collect();
        caps::set(None, CapSet::Effective, &kept)?;
        if works() {
            for_good(&kept, &held)?;
            return no_other_thread(&kept);
        }
    }
    // Something else is in the way; whoever tries it next will say what.
    caps::set(None, CapSet::Effective, &held)
}

/// Gives up every capability of this thread: for those that only compute, or use files that are
/// open. Capabilities are a thread's own, so each must do it for itself.
///
/// # Errors
/// If the kernel refuses.
pub fn every_privilege() -> io::Result<()> {
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

/// Capabilities are a thread's own: one that was started before still has its.
fn no_other_thread(kept: &CapsHashSet) -> Result<(), CapsError> {
    let most = kept.iter().fold(0, |set, one| set | one.bitmask());
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let statuses = threads.filter_map(|one| fs::read_to_string(one.path().join("status")).ok());
    match statuses.filter(|status| permitted(status).is_some_and(|set| set & !most != 0)).count() {
        0 => Ok(()),
        several => Err(format!("{several} threads were started before and keep theirs").into()),
    }
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
    fn what_is_still_to_come_decides_where_to_begin() {
        let plans = Plans { filters: false, loading: false, files: Files::None };
        assert_eq!(first_rung(plans), 0);
        assert_eq!(RUNGS[first_rung(Plans { filters: true, ..plans })], RUNGS[1]);
        assert_eq!(first_rung(Plans { loading: true, ..plans }), RUNGS.len() - 1);
        assert!(RUNGS.windows(2).all(|pair| pair[1].starts_with(pair[0])));
    }
}
