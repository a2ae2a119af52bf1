//! Started before there is anything to watch: it waits, says so, and takes what comes.
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::bpf::attachments;
use handshake_tests::judge::assert_balanced;
use handshake_tests::lab::{Family, Lab, Namespace, veth};
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::Watcher;

const SOON: Duration = Duration::from_secs(5);
const METRICS: [&str; 2] = ["--metrics-listen", "127.0.0.1:19435"];

/// What `/healthz` says, and its status.
fn health(namespace: &Namespace) -> Result<String> {
    let url = "http://127.0.0.1:19435/healthz";
    namespace.run(&["curl", "-sS", "--max-time", "5", "-w", "%{http_code}", url])
}

/// An answer is shown to whoever asks soon after.
fn await_healthy(namespace: &Namespace) -> Result<()> {
    eventually("it is healthy", SOON, || health(namespace).is_ok_and(|said| said == "ok\n200"))
        .with_context(|| health(namespace).unwrap_or_default())
}

fn await_attached(namespace: &Namespace, device: &str) -> Result<()> {
    eventually("both programs are attached", SOON, || {
        attachments(namespace, device).is_ok_and(|found| found.len() == 2)
    })
    .with_context(|| device.to_owned())
}

#[test]
fn without_a_name_it_waits_while_only_loopback_is_up_and_follows_the_default_route() -> Result<()> {
    let (host, other) = (Namespace::new()?, Namespace::new()?);
    let watcher = Watcher::start(&host, &METRICS)?;
    watcher.await_stderr("waiting for an interface other than loopback", SOON)?;
    assert!(attachments(&host, "lo")?.is_empty());
    let said = health(&host)?;
    ensure!(
        said.contains("waiting for an interface other than") && said.ends_with("503"),
        "{said}"
    );
    // Without a default route: whatever is up.
    veth(&host, "eth0", &other, "peer0")?;
    await_attached(&host, "eth0")?;
    await_healthy(&host)?;
    for (device, number) in [("eth0", 1), ("eth1", 2)] {
        if device == "eth1" {
            veth(&host, device, &other, "peer1")?;
        }
        host.add_address(device, Ipv4Addr::new(10, 77, number, 1).into(), 24)?;
        let via = format!("10.77.{number}.2");
        host.run(&["ip", "route", "replace", "default", "via", &via, "dev", device])?;
        await_attached(&host, device)?;
    }
    // With one: what is not on it is left alone, what was taken is kept.
    veth(&host, "eth2", &other, "peer2")?;
    host.add_address("eth2", Ipv4Addr::new(10, 77, 3, 1).into(), 24)?;
    host.run(&["ip", "-6", "route", "add", "default", "dev", "eth1"])?;
    await_attached(&host, "eth0")?;
    assert!(attachments(&host, "eth2")?.is_empty() && attachments(&host, "lo")?.is_empty());
    // It moves on to one that is up for long.
    host.run(&["ip", "route", "replace", "default", "via", "10.77.3.2", "dev", "eth2"])?;
    await_attached(&host, "eth2")?;
    let report = watcher.stop()?;
    assert!(report.stderr.contains("chose eth2: the default route"), "{}", report.stderr);
    assert_balanced(&report);
    Ok(())
}

#[test]
fn a_pattern_that_matches_nothing_yet_waits_beside_what_is_watched() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let arguments = ["-i", "srv0", "-i", "pod*", METRICS[0], METRICS[1]];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    watcher.await_stderr("no interface matches \"pod*\" yet", SOON)?;
    await_healthy(&lab.server)?;
    traffic::complete(&lab, Family::V4, 1)?;
    watcher.await_attempts(1, Duration::from_secs(5))?;
    veth(&lab.server, "pod1", &lab.client, "peer1")?;
    await_attached(&lab.server, "pod1")?;
    assert_balanced(&watcher.stop()?);
    Ok(())
}

#[test]
fn a_lone_pattern_waits_says_so_and_is_not_healthy_until_something_matches() -> Result<()> {
    let (host, other) = (Namespace::new()?, Namespace::new()?);
    let watcher = Watcher::start(&host, &["-i", "pod*", METRICS[0], METRICS[1]])?;
    watcher.await_stderr("waiting for one", SOON)?;
    let unwell = "no interface is attached: waiting for an interface that matches pod*\n503";
    assert_eq!(health(&host)?, unwell);
    for _ in 0..2 {
        veth(&host, "pod1", &other, "peer1")?;
        await_attached(&host, "pod1")?;
        await_healthy(&host)?;
        host.run(&["ip", "link", "delete", "pod1"])?;
        eventually("it waits again", SOON, || health(&host).is_ok_and(|said| said == unwell))?;
    }
    assert_balanced(&watcher.stop()?);
    Ok(())
}

#[test]
fn any_watches_all_that_is_up_and_loopback_too_and_follows_what_comes() -> Result<()> {
    let lab = Lab::direct()?;
    veth(&lab.client, "cli1", &lab.server, "down0")?;
    lab.server.run(&["ip", "link", "set", "down0", "down"])?;
    let watcher = Watcher::start(&lab.server, &["-i", "any"])?;
    for device in ["lo", "srv0"] {
        await_attached(&lab.server, device)?;
    }
    assert!(attachments(&lab.server, "down0")?.is_empty());
    lab.server.up("down0")?;
    await_attached(&lab.server, "down0")?;
    veth(&lab.client, "cli2", &lab.server, "srv1")?;
    await_attached(&lab.server, "srv1")?;
    assert_balanced(&watcher.stop()?);
    Ok(())
}
