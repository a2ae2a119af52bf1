//! Which capabilities are left once everything is attached, and that everything works with them.
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::bpf::attachments;
use handshake_tests::judge::assert_balanced;
use handshake_tests::lab::{Addresses, Family, Lab, veth};
use handshake_tests::process::eventually;
use handshake_tests::pty::Session;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::{Watcher, binary};

const SOON: Duration = Duration::from_secs(2);
/// For one of many starts on a busy machine.
const START: Duration = Duration::from_secs(30);

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
    await_of_main(pid, "0000000000000000")
}

/// Waits until the main thread has these capabilities, and no other thread has any.
fn await_of_main(pid: u32, of_main: &str) -> Result<()> {
    let few = || {
        let mut values = of_threads(pid, "CapPrm").unwrap_or_default().into_iter();
        values.next().is_some_and(|main| main == of_main)
            && values.all(|value| value == "0000000000000000")
    };
    eventually("it gives its capabilities up", Duration::from_secs(10), few)
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

/// A terminal program asks for a screen of its own.
const SCREEN: &[u8] = b"\x1b[?1049h";

/// `CAP_DAC_OVERRIDE`: before a screen, files may be written into the directories of others.
const MAY_WRITE: &str = "0000000000000002";

/// How many are started at the same time: that is the load.
const AT_ONCE: usize = 10;

fn warns(said: &str) -> bool {
    ["privilege", "capabilit", "CAP_"].iter().any(|word| said.contains(word))
}

/// Threads that had been started, and had not yet run, were once said to keep capabilities.
#[test]
fn fifty_starts_under_load_warn_of_no_thread_that_keeps_capabilities() -> Result<()> {
    let lab = Lab::direct()?;
    for _ in 0..2 {
        // Without a screen there is a thread for stdout, with one there are three.
        let without = (0..AT_ONCE).map(|_| {
            let mut command = lab.server.command(binary()?);
            Watcher::spawn(command.args(["watch", "--format", "json", "-i", "srv0"]))
        });
        let without = without.collect::<Result<Vec<_>>>()?;
        for watcher in without {
            watcher.await_stderr("watching srv0", START)?;
            await_none(watcher.pid())?;
            let said = watcher.stop()?.stderr;
            assert!(!warns(&said), "{said}");
        }
    }
    for _ in 0..3 {
        let with = (0..AT_ONCE).map(|_| {
            let mut command = lab.server.command(binary()?);
            command.args(["watch", "--format", "tui", "-i", "srv0"]).env("TERM", "xterm-256color");
            Session::start(command, 120, 40)
        });
        for mut session in with.collect::<Result<Vec<_>>>()? {
            session.until(START, |shown| shown.windows(8).any(|part| part == SCREEN))?;
            await_of_main(session.id(), MAY_WRITE)?;
            session.press("q")?;
            ensure!(session.wait(START)?.success(), "it fails");
            let said = String::from_utf8_lossy(&session.shown()).into_owned();
            assert!(!warns(&said), "{said}");
        }
    }
    Ok(())
}
