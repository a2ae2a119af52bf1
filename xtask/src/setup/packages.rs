//! Packages of the distribution, on Debian and its children, as root.
//!
//! Elsewhere the error is one sentence that names what is missing.
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{executable, is_root, run};

/// An executable and the Debian package that brings it.
pub(super) type Tool = (&'static str, &'static str);

/// What the privileged tests call.
pub(super) const TESTS: &[Tool] = &[
    ("tcpdump", "tcpdump"),
    ("tshark", "tshark"),
    ("nft", "nftables"),
    ("ip", "iproute2"),
    ("curl", "curl"),
    ("bpftool", "bpftool"),
    ("setcap", "libcap2-bin"),
    ("hping3", "hping3"),
    ("nmap", "nmap"),
    ("setpriv", "util-linux"),
    ("systemd-analyze", "systemd"),
    ("man", "man-db"),
];

/// What `package` calls.
pub(super) const PACKAGE: &[Tool] =
    &[("dpkg-shlibdeps", "dpkg-dev"), ("strip", "binutils"), ("gzip", "gzip")];

/// What `vm-test` calls, beside what the suites call that it runs in the guests.
pub(super) const VM: &[Tool] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
    ("strip", "binutils"),
];

/// Installs the packages of the tools that are missing; whether there were any.
pub(super) fn ensure(tools: &[Tool]) -> Result<bool> {
    let missing = missing(tools, |name| executable(name).is_some());
    if missing.is_empty() {
        return Ok(false);
    }
    let names: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    install("programs that the tests call", &names)?;
    Ok(true)
}

/// Installs `names` with apt, after saying so and why.
pub(super) fn install(purpose: &str, names: &[&str]) -> Result<()> {
    if executable("apt-get").is_none() {
        bail!("missing {purpose}: install what your distribution calls {}", names.join(", "));
    }
    if !is_root() {
        bail!("missing {purpose}: as root, run `apt-get install {}`", names.join(" "));
    }
    eprintln!("setup: missing {purpose}; installing with apt: {}", names.join(" "));
    run(apt_get().arg("update")).context("the package lists could not be fetched")?;
    run(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(names))
        .with_context(|| format!("could not install {purpose}"))
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("--quiet").env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn missing(tools: &[Tool], is_there: impl Fn(&str) -> bool) -> Vec<Tool> {
    tools.iter().copied().filter(|(name, _)| !is_there(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_installed() {
        assert_eq!(missing(TESTS, |name| name != "nft"), [("nft", "nftables")]);
        assert!(missing(TESTS, |_| true).is_empty());
    }
}
