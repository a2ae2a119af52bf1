//! Memory and limits: what was taken for trying, and what there is.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Check, Group, Verdict, quoted};
use crate::loader::{self, Options, trial::Trial};

/// What user space may come to need with the default limits: a flooded table of attempts.
const TABLE_BYTES: u64 = 64 << 20;

/// What loading takes for a moment, most of it the verifier's: 21.4 MiB on Linux 6.18.
const LOADING_BYTES: u64 = 24 << 20;

pub(super) fn checks(trial: Option<&Trial>, narrowest: Option<&Limit>) -> Vec<Check> {
    let mut checks = vec![maps(trial.map(Trial::kernel_memory_bytes)), machine(available())];
    checks.extend(narrowest.map(control_group));
    checks.extend(locked(&loader::kernel_release(), locked_limit()));
    checks
}

/// A number of bytes for people.
pub(super) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.0} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

fn check(name: &str, verdict: Verdict, finding: String) -> Check {
    Check::new(Group::Memory, name, verdict, finding)
}

fn maps(made: Option<u64>) -> Check {
    let ring = bytes(Options::default().ring_size().into());
    match made {
        Some(made) => {
            let finding = format!("maps and programs took {}, of it {ring} a CPU", bytes(made));
            check("maps", Verdict::Ok, finding)
        }
        None => check("maps", Verdict::Unknown, format!("not made; a ring is {ring} a CPU")),
    }
}

/// `MemAvailable`, in bytes.
fn available() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

fn machine(available: Option<u64>) -> Check {
    let most = bytes(TABLE_BYTES);
    let Some(left) = available else {
        return check("machine", Verdict::Unknown, "/proc/meminfo does not tell".to_owned());
    };
    let left_text = bytes(left);
    if left >= TABLE_BYTES {
        let finding = format!("{left_text} available; a flooded table of attempts takes {most}");
        return check("machine", Verdict::Ok, finding);
    }
    let finding = format!("only {left_text} available; a flooded table of attempts takes {most}");
    check("machine", Verdict::Degraded, finding).command(fewer_attempts(left))
}

/// A table that fits in half of what is left.
fn fewer_attempts(left: u64) -> String {
    let default = crate::cli::DEFAULT_MAX_ATTEMPTS as u64;
    let fitting = left / 2 * default / TABLE_BYTES;
    format!("{} watch --max-attempts {}", super::program(), fitting.clamp(1, default))
}

/// A control group with a limit of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limit {
    /// The file that holds it.
    file: PathBuf,
    /// Bytes.
    limit: u64,
    /// Bytes in use that cannot be taken back.
    used: u64,
}

impl Limit {
    /// The kernel would kill whoever loads the programs in this group: no use in trying.
    pub(super) fn is_deadly(&self) -> bool {
        self.left() < LOADING_BYTES
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// The limit of the group in `folder`, by either version's files.
    fn read(folder: &Path) -> Option<Self> {
        let number = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        let of = |limit: &str, used: &str, cache: &str| {
            let used = number(used)?.saturating_sub(cached(folder, cache));
            Some(Self { file: folder.join(limit), limit: number(limit)?, used })
        };
        of("memory.max", "memory.current", "inactive_file")
            .or_else(|| of("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
    }
}

/// File pages that the kernel takes back first.
fn cached(folder: &Path, field: &str) -> u64 {
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let found = stat.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(' '));
    found.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// The group of this process, or one above it, that leaves the least.
pub(super) fn narrowest() -> Option<Limit> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let limits =
        groups.lines().filter_map(|line| folder(line, &mounts)).flat_map(|(top, group)| {
            let above = group.ancestors().take_while(|one| one.starts_with(&top));
            above.filter_map(Limit::read).collect::<Vec<_>>()
        });
    // Version 1 has no word for "no limit", only a number beyond any memory.
    limits.filter(|limit| limit.limit < 1 << 60).min_by_key(Limit::left)
}

/// Mount point and folder of a line of /proc/self/cgroup, if it is about memory.
fn folder(line: &str, mounts: &str) -> Option<(PathBuf, PathBuf)> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let is_memory = |options: &str| options.split(',').any(|one| one == "memory");
    let fits = |kind: &str, options: &str| match controllers {
        "" => kind == "cgroup2",
        _ => kind == "cgroup" && is_memory(controllers) && is_memory(options),
    };
    mounts.lines().find_map(|mount| {
        let (before, after) = mount.split_once(" - ")?;
        let mut after = after.split(' ');
        let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
        let mut before = before.split(' ').skip(3);
        let (root, top) = (before.next()?, Path::new(OsStr::from_bytes(before.next()?.as_bytes())));
        let path = path.strip_prefix(root.trim_end_matches('/'))?;
        fits(kind, options).then(|| (top.to_owned(), top.join(path.trim_start_matches('/'))))
    })
}

fn control_group(limit: &Limit) -> Check {
    let (left, of) = (bytes(limit.left()), bytes(limit.limit));
    if limit.left() >= TABLE_BYTES {
        return check("control group", Verdict::Ok, format!("{left} left of {of}"));
    }
    let (verdict, what) = if limit.is_deadly() {
        let what = format!("loading takes {} for a moment", bytes(LOADING_BYTES));
        (Verdict::Blocked, what)
    } else {
        let what = format!("a flooded table of attempts takes {}", bytes(TABLE_BYTES));
        (Verdict::Degraded, what)
    };
    let enough = (limit.used + 2 * TABLE_BYTES).next_multiple_of(1 << 20);
    let file = quoted(&limit.file.to_string_lossy());
    check("control group", verdict, format!("only {left} left of {of}; {what}"))
        .command(format!("echo {enough} | sudo tee {file}"))
}

/// The soft limit of locked memory; none if there is none.
fn locked_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit`, which is ours.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// Only kernels that are too old for us unless back-ported charge maps to the limit.
fn locked(release: &str, limit: Option<u64>) -> Option<Check> {
    let limit = limit.filter(|_| loader::locks_memory(release))?;
    let finding = format!("this kernel charges maps to RLIMIT_MEMLOCK, which is {}", bytes(limit));
    Some(check("locked memory", Verdict::Degraded, finding).command("ulimit -l unlimited"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Remedy;

    const MOUNTS: &str = "\
30 23 0:26 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
31 23 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 23 0:28 /box /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        let shown = [0, 1023, 4096, 1 << 20, 3 << 29].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "4 KiB", "1.0 MiB", "1.5 GiB"]);
    }

    #[test]
    fn the_folder_of_a_group_is_found_for_both_versions() {
        let found = |line| folder(line, MOUNTS).map(|(_, folder)| folder);
        assert_eq!(found("0::/a/b").as_deref(), Some(Path::new("/sys/fs/cgroup/a/b")));
        let memory = found("4:memory:/x").unwrap();
        assert_eq!(memory, Path::new("/sys/fs/cgroup/memory/x"));
        assert_eq!(found("5:cpu,cpuacct:/box/y"), None, "not about memory");
        assert_eq!(found("nonsense"), None);
    }

    #[test]
    fn a_limit_that_is_too_low_is_raised_by_the_remedy() {
        let limit = |limit, used| Limit { file: "/g/memory.max".into(), limit, used };
        assert_eq!(control_group(&limit(200 << 20, 1 << 20)).verdict, Verdict::Ok);
        let low = control_group(&limit(48 << 20, 8 << 20));
        assert_eq!(low.verdict, Verdict::Degraded);
        let expected = format!("echo {} | sudo tee /g/memory.max", 136 << 20);
        assert_eq!(low.remedy, Some(Remedy::Command(expected)));
        assert_eq!(control_group(&limit(24 << 20, 1)).verdict, Verdict::Blocked);
    }

    #[test]
    fn locked_memory_counts_on_old_kernels_only() {
        assert_eq!(locked("6.1.0", Some(65_536)), None);
        assert_eq!(locked("5.4.0", None), None);
        assert_eq!(locked("5.4.0", Some(65_536)).unwrap().verdict, Verdict::Degraded);
    }

    #[test]
    fn a_machine_with_little_memory_gets_a_smaller_table() {
        assert_eq!(machine(Some(1 << 30)).verdict, Verdict::Ok);
        let Some(Remedy::Command(command)) = machine(Some(32 << 20)).remedy else { panic!() };
        assert!(command.ends_with("watch --max-attempts 32768"), "{command}");
    }
}
