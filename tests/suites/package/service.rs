//! The service as systemd runs it, with every restriction of its unit.
use std::time::Duration;

use anyhow::{Context, Result};
use handshake_tests::bpf::attachments;
use handshake_tests::lab::{Family, Lab};
use handshake_tests::machine::Machine;
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Services};

use super::install;

const SOON: Duration = Duration::from_secs(20);

/// A property of the service.
fn show(machine: &Machine, property: &str) -> Result<String> {
    let said = machine.run(&["systemctl", "show", "--value", "-p", property, "handshake"])?;
    Ok(said.trim().to_owned())
}

/// A field of the status of the service's main process.
fn of_main(machine: &Machine, field: &str) -> Result<String> {
    let status = machine.run(&["cat", &format!("/proc/{}/status", show(machine, "MainPID")?)])?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    Ok(value.with_context(|| format!("no {field}"))?.to_owned())
}

#[test]
fn it_is_started_when_asked_and_follows_connections_under_every_restriction() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let machine = Machine::booted(&lab.server)?;
    install(&machine)?;
    assert_eq!(show(&machine, "UnitFileState")?, "disabled", "it is for others to enable");
    assert_eq!(show(&machine, "ActiveState")?, "inactive", "it is for others to start");
    machine.run(&["systemctl", "start", "handshake"])?;
    // `start` has returned: the hooks are there.
    traffic::complete(&lab, Family::V4, 20)?;
    traffic::complete(&lab, Family::V6, 20)?;
    traffic::refused(&lab, Family::V4)?;
    let told = || show(&machine, "StatusText").is_ok_and(|text| text.contains("41 attempts"));
    eventually("the status tells of them", SOON, told)
        .with_context(|| format!("{:?}", show(&machine, "StatusText")))?;
    assert_ne!(of_main(&machine, "Uid")?.split('\t').next(), Some("0"));
    let none = || of_main(&machine, "CapPrm").is_ok_and(|set| set == "0000000000000000");
    eventually("it gives its capabilities up", SOON, none)?;
    assert_eq!(of_main(&machine, "Seccomp")?, "2", "filtered");
    lab.server.run(&["ip", "link", "add", "new0", "type", "veth", "peer", "name", "new1"])?;
    machine.run(&["systemctl", "stop", "handshake"])?;
    assert_eq!(show(&machine, "Result")?, "success");
    assert!(attachments(&lab.server, "srv0")?.is_empty());
    let journal = machine.run(&["journalctl", "--no-pager", "-o", "cat", "-u", "handshake"])?;
    assert!(journal.contains("watching srv0"), "{journal}");
    assert!(journal.contains("attempts: 41 started = 41 ended + 0 open"), "{journal}");
    assert!(!journal.contains("handshake: "), "a complaint: {journal}");
    Ok(())
}

#[test]
fn a_service_that_hangs_is_started_again() -> Result<()> {
    let lab = Lab::direct()?;
    let machine = Machine::booted(&lab.server)?;
    install(&machine)?;
    let dir = "/run/systemd/system/handshake.service.d";
    std::fs::create_dir_all(machine.path(dir))?;
    let hasty = "[Service]\nWatchdogSec=2s\nRestartSec=100ms\n";
    std::fs::write(machine.path(&format!("{dir}/hasty.conf")), hasty)?;
    machine.run(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "start", "handshake"])?;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(show(&machine, "NRestarts")?, "0", "nothing hangs yet");
    machine.run(&["systemctl", "kill", "--signal=STOP", "handshake"])?;
    let again = || {
        show(&machine, "NRestarts").is_ok_and(|count| count == "1")
            && show(&machine, "ActiveState").is_ok_and(|state| state == "active")
    };
    eventually("it runs again", SOON, again)?;
    assert_eq!(attachments(&lab.server, "srv0")?.len(), 2);
    machine.run(&["dpkg", "--purge", "handshake"])?;
    assert!(attachments(&lab.server, "srv0")?.is_empty(), "removing the package stops it");
    Ok(())
}

#[test]
fn a_wrong_configuration_is_not_tried_again() -> Result<()> {
    let lab = Lab::direct()?;
    let machine = Machine::booted(&lab.server)?;
    install(&machine)?;
    std::fs::write(machine.path("/etc/handshake/handshake.toml"), "no-such-key = 1\n")?;
    assert!(machine.run(&["systemctl", "start", "handshake"]).is_err());
    assert_eq!(show(&machine, "ExecMainStatus")?, "2");
    assert_eq!(show(&machine, "ActiveState")?, "failed", "it does not wait for a restart");
    Ok(())
}
