//! Interfaces that go away and come back while they are watched.
use std::time::Duration;

use anyhow::Result;
use handshake_tests::bpf::attachments;
use handshake_tests::judge::{assert_balanced, from_client};
use handshake_tests::lab::{Addresses, Family, Lab, Namespace, veth};
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::Watcher;

const SOON: Duration = Duration::from_secs(1);

/// Makes the wire of a direct lab anew, addresses included.
fn join(lab: &Lab) -> Result<()> {
    veth(&lab.client, "cli0", &lab.server, "srv0")?;
    for (host, device, number) in [(&lab.client, "cli0", 1), (&lab.server, "srv0", 2)] {
        host.add_address(device, Addresses::of(0, number).v4.into(), 24)?;
        host.add_address(device, Addresses::of(0, number).v6.into(), 64)?;
    }
    Ok(())
}

#[test]
fn a_device_that_comes_back_is_watched_again_within_a_second() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    let first = traffic::complete(&lab, Family::V4, 1)?;
    let said = watcher.stderr().len();
    lab.server.run(&["ip", "link", "delete", "srv0"])?;
    eventually("it says so", SOON, || watcher.stderr()[said..].contains("srv0"))?;
    join(&lab)?;
    eventually("both programs are back", SOON, || {
        attachments(&lab.server, "srv0").is_ok_and(|found| found.len() == 2)
    })?;
    let second = traffic::complete(&lab, Family::V4, 1)?;
    watcher.await_attempts(2, Duration::from_secs(5))?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    for client in [first[0], second[0]] {
        let attempts = from_client(&report.attempts, client);
        assert_eq!(attempts.len(), 1, "{client}: {:?}", report.attempts);
        assert_eq!(attempts[0]["outcome"], "completed");
        assert_eq!(attempts[0]["iface"], "srv0");
    }
    Ok(())
}

#[test]
fn a_device_that_goes_for_good_leaves_the_others_watched() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    veth(&lab.client, "cli1", &lab.server, "srv1")?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv*"])?;
    lab.server.run(&["ip", "link", "delete", "srv1"])?;
    watcher.await_stderr("srv1", SOON)?;
    traffic::complete(&lab, Family::V4, 5)?;
    watcher.await_attempts(5, Duration::from_secs(5))?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    assert_eq!(report.attempts.len(), 5);
    Ok(())
}

#[test]
fn a_new_device_that_fits_the_pattern_is_watched_too() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv*"])?;
    veth(&lab.client, "cli1", &lab.server, "srv1")?;
    eventually("it is attached", SOON, || {
        attachments(&lab.server, "srv1").is_ok_and(|found| found.len() == 2)
    })?;
    assert_balanced(&watcher.stop()?);
    Ok(())
}

#[test]
fn down_and_up_again_changes_nothing() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    for turn in 1..=2 {
        traffic::complete(&lab, Family::V4, 5)?;
        watcher.await_attempts(turn * 5, Duration::from_secs(5))?;
        lab.server.run(&["ip", "link", "set", "srv0", "down"])?;
        lab.server.run(&["ip", "link", "set", "srv0", "up"])?;
        lab.server.await_carrier("srv0")?;
    }
    assert_balanced(&watcher.stop()?);
    Ok(())
}

#[test]
fn an_address_that_goes_away_does_not_change_whose_attempt_it_was() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.client, &["-i", "cli0", "--timeout", "2s"])?;
    let client = traffic::silent(&lab, Family::V4, Duration::from_millis(1200))?;
    assert!(watcher.attempts().is_empty(), "it is still open");
    lab.client.run(&["ip", "address", "flush", "dev", "cli0"])?;
    watcher.await_attempts(1, Duration::from_secs(10))?;
    let report = watcher.stop()?;
    let attempts = from_client(&report.attempts, client);
    assert_eq!(attempts[0]["outcome"], "no-answer");
    assert_eq!(attempts[0]["role"], "client");
    Ok(())
}

#[test]
fn a_renamed_device_is_followed_under_its_new_name() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    lab.server.run(&["ip", "link", "set", "srv0", "name", "new0"])?;
    watcher.await_stderr("new0", SOON)?;
    traffic::complete(&lab, Family::V4, 1)?;
    watcher.await_attempts(1, Duration::from_secs(5))?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    assert_eq!(report.attempts[0]["iface"], "new0");
    Ok(())
}

#[test]
fn a_device_moved_to_another_namespace_is_said_to_be_gone() -> Result<()> {
    let lab = Lab::direct()?;
    let elsewhere = Namespace::new()?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    let said = watcher.stderr().len();
    lab.server.run(&["ip", "link", "set", "srv0", "netns", &elsewhere.pid()])?;
    eventually("it says so", SOON, || watcher.stderr()[said..].contains("srv0"))?;
    assert_balanced(&watcher.stop()?);
    assert!(attachments(&elsewhere, "srv0")?.is_empty());
    Ok(())
}

#[test]
fn a_device_deleted_ten_times_is_watched_after_each() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    for turn in 1..=10 {
        lab.server.run(&["ip", "link", "delete", "srv0"])?;
        join(&lab)?;
        eventually("both programs are back", SOON, || {
            attachments(&lab.server, "srv0").is_ok_and(|found| found.len() == 2)
        })?;
        traffic::complete(&lab, Family::V6, 1)?;
        watcher.await_attempts(turn, Duration::from_secs(5))?;
    }
    let report = watcher.stop()?;
    assert_balanced(&report);
    let completed = report.attempts.iter().filter(|attempt| attempt["outcome"] == "completed");
    assert_eq!(completed.count(), 10, "{:?}", report.attempts);
    Ok(())
}
