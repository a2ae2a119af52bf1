//! Which capabilities are left once everything is attached, and that everything works with them.
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use handshake_tests::bpf::attachments;
use handshake_tests::judge::assert_balanced;
use handshake_tests::lab::{Addresses, Family, Lab, veth};
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::Watcher;

const SOON: Duration = Duration::from_secs(2);

/// What a field of `/proc/PID/task/*/status` says of every thread of a process.
pub(crate) fn of_threads(pid: u32, field: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let status = fs::read_to_string(task?.path().join("status"))?;
        let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
        values.push(value.with_context(|| format!("no {field}"))?.to_owned());
    }
    Ok(values)
}

/// Waits until no thread has a capability.
fn await_none(pid: u32) -> Result<()> {
    let none = || {
        let values = of_threads(pid, "CapPrm").unwrap_or_default();
        !values.is_empty() && values.iter().all(|value| value == "0000000000000000")
    };
    eventually("it gives its capabilities up", Duration::from_secs(10), none)
        .with_context(|| format!("{:?}", of_threads(pid, "CapPrm")))
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

#[test]
fn no_thread_keeps_a_capability_where_links_attach() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for hook in ["auto", "xdp"] {
        let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--hook", hook])?;
        await_none(watcher.pid())?;
        for set in SETS {
            let values = of_threads(watcher.pid(), set)?;
            assert!(values.iter().all(|value| value == "0000000000000000"), "{set}: {values:?}");
        }
        assert!(of_threads(watcher.pid(), "NoNewPrivs")?.iter().all(|value| value == "1"));
        traffic::complete(&lab, Family::V4, 2)?;
        watcher.await_attempts(2, Duration::from_secs(5))?;
        assert_balanced(&watcher.stop()?);
        assert!(attachments(&lab.server, "srv0")?.is_empty(), "{hook}");
    }
    Ok(())
}

#[test]
fn devices_come_back_and_are_renamed_without_any_capability() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for hook in ["tc", "xdp"] {
        let watcher = Watcher::start(&lab.server, &["-i", "srv*", "--hook", hook])?;
        await_none(watcher.pid())?;
        for turn in 1..=2 {
            lab.server.run(&["ip", "link", "delete", "srv0"])?;
            veth(&lab.client, "cli0", &lab.server, "srv0")?;
            for (host, device, number) in [(&lab.client, "cli0", 1), (&lab.server, "srv0", 2)] {
                host.add_address(device, Addresses::of(0, number).v4.into(), 24)?;
                host.add_address(device, Addresses::of(0, number).v6.into(), 64)?;
            }
            eventually("both programs are back", SOON, || {
                attachments(&lab.server, "srv0").is_ok_and(|found| found.len() == 2)
            })?;
            traffic::complete(&lab, Family::V4, 1)?;
            watcher.await_attempts(turn, Duration::from_secs(5))?;
        }
        lab.server.run(&["ip", "link", "set", "srv0", "name", "new0"])?;
        watcher.await_stderr("new0", SOON)?;
        traffic::complete(&lab, Family::V4, 1)?;
        watcher.await_attempts(3, Duration::from_secs(5))?;
        watcher.signal(libc::SIGTERM)?;
        let report = watcher.finish()?;
        assert_balanced(&report);
        assert_eq!(report.attempts[2]["iface"], "new0");
        assert!(attachments(&lab.server, "new0")?.is_empty());
        lab.server.run(&["ip", "link", "set", "new0", "name", "srv0"])?;
    }
    Ok(())
}

/// The program for IP-only links was not needed at the start.
#[test]
fn a_first_device_without_ethernet_is_taken_up_without_any_capability() -> Result<()> {
    let lab = Lab::direct()?;
    let watcher = Watcher::start(&lab.server, &["-i", "*"])?;
    await_none(watcher.pid())?;
    lab.server.run(&["ip", "tuntap", "add", "dev", "tun7", "mode", "tun"])?;
    lab.server.run(&["ip", "link", "set", "tun7", "up"])?;
    // It has a queueing discipline of its own besides.
    let is_program = |line: &&String| line.starts_with("Tc");
    eventually("both programs are there", SOON, || {
        let found = attachments(&lab.server, "tun7");
        found.is_ok_and(|found| found.iter().filter(is_program).count() == 2)
    })?;
    assert_balanced(&watcher.stop()?);
    Ok(())
}
