//! Which capability is missing, and the command that grants it.

use std::fmt;

/// Bits of `CapEff` (`capability.h`).
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// A permission that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privilege {
    /// What needs it: "load eBPF programs" and the like.
    pub doing: String,
    /// The capabilities that are missing; empty if something else is in the way.
    pub missing: Vec<&'static str>,
    /// What else may be in the way.
    pub hint: Option<String>,
}

impl Privilege {
    /// Explains a refusal (EPERM) by the state of this process.
    pub(super) fn explain(doing: &str) -> Self {
        let missing = missing_now();
        let hint = if missing.is_empty() { Some(obstacle()) } else { None };
        Self { doing: doing.to_owned(), missing, hint }
    }
}

impl fmt::Display for Privilege {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no permission to {}", self.doing)?;
        match self.missing.as_slice() {
            [] => {}
            [one] => write!(f, ": the capability {one} is missing")?,
            several => write!(f, ": the capabilities {} are missing", several.join(", "))?,
        }
        if let Some(hint) = &self.hint {
            write!(f, " although the capabilities are there: {hint}")?;
            return Ok(());
        }
        write!(f, "; run it with `sudo {}`, or grant them once with `{}`", binary(), grant())
    }
}

/// The path of this program.
fn binary() -> String {
    let binary = std::env::current_exe();
    binary.map_or_else(|_| "handshake".into(), |path| path.display().to_string())
}

/// The command that gives this program's file what it needs, for whoever starts it.
pub(super) fn grant() -> String {
    format!("sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep {}", binary())
}

/// What this process has of the capabilities that handshake needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Those that are not effective.
    pub missing: Vec<&'static str>,
    /// Those that no program started from here can get, whatever its file says: they are not in
    /// the bounding set (containers, services).
    pub out_of_reach: Vec<&'static str>,
    /// `no_new_privs` is set: neither sudo nor the capabilities of a file count from here on.
    pub no_new_privs: bool,
    /// They are those of a user namespace, where the kernel grants no eBPF.
    pub in_user_namespace: bool,
    /// The command that grants them, where it can.
    pub grant: String,
}

impl Capabilities {
    /// Those of this process; none if /proc does not tell.
    #[must_use]
    pub fn now() -> Option<Self> {
        Self::read(&std::fs::read_to_string("/proc/self/status").ok()?, in_user_namespace())
    }

    fn read(status: &str, in_user_namespace: bool) -> Option<Self> {
        Some(Self {
            in_user_namespace,
            missing: missing(mask(status, "CapEff:")?),
            out_of_reach: mask(status, "CapBnd:").map(missing).unwrap_or_default(),
            no_new_privs: field(status, "NoNewPrivs:") == Some("1"),
            grant: grant(),
        })
    }
}

/// What this process lacks to load and attach. Checked before anything is tried, because the
/// kernel answers some refusals with other errors than EPERM.
pub(super) fn check() -> Result<(), Privilege> {
    let missing = missing_now();
    // Without CAP_PERFMON the verifier is stricter; whether it minds is its decision.
    if missing.iter().all(|&one| one == "CAP_PERFMON") {
        return Ok(());
    }
    Err(Privilege { doing: "load and attach eBPF programs".to_owned(), missing, hint: None })
}

fn missing_now() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).map(missing).unwrap_or_default()
}

fn effective(status: &str) -> Option<u64> {
    mask(status, "CapEff:")
}

fn mask(status: &str, name: &str) -> Option<u64> {
    u64::from_str_radix(field(status, name)?, 16).ok()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// `CAP_SYS_ADMIN` stands for `CAP_BPF` and `CAP_PERFMON` (capabilities(7)), not for
/// `CAP_NET_ADMIN`, which netlink asks for.
fn missing(effective: u64) -> Vec<&'static str> {
    let has = |one: u64| effective & one != 0;
    let all = has(CAP_SYS_ADMIN);
    [
        ("CAP_BPF", has(CAP_BPF) || all),
        ("CAP_NET_ADMIN", has(CAP_NET_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || all),
    ]
    .into_iter()
    .filter_map(|(name, there)| (!there).then_some(name))
    .collect()
}

fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// What refuses a process that has its capabilities.
fn obstacle() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    if in_user_namespace() {
        return "they are those of a user namespace (rootless container), where the kernel grants \
                no eBPF; run it on the host with `sudo`"
            .to_owned();
    }
    if read("/sys/kernel/security/lockdown").contains("[confidentiality]") {
        return "kernel lockdown is in confidentiality mode \
                (`cat /sys/kernel/security/lockdown`)"
            .to_owned();
    }
    "a seccomp filter or security module refuses it; in a container add `--privileged`, on a host \
     look at `sudo dmesg | tail`"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        assert_eq!(missing(0), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(missing(CAP_SYS_ADMIN), ["CAP_NET_ADMIN"]);
        assert_eq!(missing(CAP_BPF | CAP_NET_ADMIN), ["CAP_PERFMON"]);
        assert_eq!(missing(u64::MAX), [""; 0]);
    }

    #[test]
    fn the_status_file_is_read() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("CapEff:\tnonsense"), None);
    }

    #[test]
    fn what_cannot_be_granted_is_told_from_what_is_not_granted() {
        let status = "CapEff:\t0\nCapBnd:\t000001ffffffffff\nNoNewPrivs:\t0\n";
        let read = |status| Capabilities::read(status, false).unwrap();
        assert_eq!((read(status).missing.len(), read(status).out_of_reach.len()), (3, 0));
        let status = "CapEff:\t0\nCapBnd:\t1000\nNoNewPrivs:\t1\n";
        assert_eq!(read(status).out_of_reach, ["CAP_BPF", "CAP_PERFMON"]);
        assert!(read(status).no_new_privs);
        assert_eq!(Capabilities::read("Name:\tx\n", false), None);
    }

    #[test]
    fn the_message_says_what_why_and_the_command() {
        let missing = vec!["CAP_BPF", "CAP_NET_ADMIN"];
        let said = Privilege { doing: "watch".to_owned(), missing, hint: None }.to_string();
        assert!(
            said.starts_with("no permission to watch: the capabilities CAP_BPF, CAP_NET_ADMIN")
        );
        assert!(said.contains("sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep /"), "{said}");
    }
}
