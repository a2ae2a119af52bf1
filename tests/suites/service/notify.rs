//! What the service manager hears.
use std::time::{Duration, Instant};

use anyhow::Result;
use handshake_tests::lab::{Family, Lab};
use handshake_tests::notify::Manager;
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::{Watcher, binary};

const START: Duration = Duration::from_secs(20);
const WATCHDOG: Duration = Duration::from_millis(800);

/// `watch` on the server's side, under a manager.
fn managed(lab: &Lab, manager: &Manager, watchdog: Option<Duration>) -> Result<Watcher> {
    let mut command = lab.server.command(binary()?);
    command.args(["watch", "-i", "srv0", "--format", "json"]);
    manager.manage(&mut command, watchdog);
    let watcher = Watcher::spawn(&mut command)?;
    manager.hears("READY=1", START)?;
    Ok(watcher)
}

#[test]
fn ready_is_said_when_nothing_more_is_missed() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let manager = Manager::listen()?;
    let watcher = managed(&lab, &manager, None)?;
    traffic::complete(&lab, Family::V4, 3)?;
    watcher.await_attempts(3, Duration::from_secs(5))?;
    manager.hears("STATUS=watching srv0: 3 attempts, 0 open, 0 events lost", START)?;
    watcher.stop()?;
    let said: Vec<String> = manager.said().into_iter().map(|said| said.line).collect();
    assert_eq!(said[0], "READY=1");
    assert_eq!(said[1], "STATUS=watching srv0: 0 attempts, 0 open, 0 events lost");
    assert_eq!(said[said.len() - 2..], ["STOPPING=1", "STATUS=detaching"]);
    assert_eq!(manager.times("WATCHDOG").len(), 0, "nobody asked for it");
    Ok(())
}

#[test]
fn the_watchdog_is_fed_twice_as_often_as_it_asks() -> Result<()> {
    let lab = Lab::direct()?;
    let manager = Manager::listen()?;
    let watcher = managed(&lab, &manager, Some(WATCHDOG))?;
    std::thread::sleep(5 * WATCHDOG);
    watcher.stop()?;
    let beats = manager.times("WATCHDOG=1");
    let longest = beats.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    assert!(longest < WATCHDOG, "{longest:?}");
    assert!((8..=13).contains(&beats.len()), "{}", beats.len());
    Ok(())
}

#[test]
fn a_loop_that_stands_still_does_not_feed_the_watchdog() -> Result<()> {
    let lab = Lab::direct()?;
    let manager = Manager::listen()?;
    let watcher = managed(&lab, &manager, Some(WATCHDOG))?;
    manager.hears("WATCHDOG=1", START)?;
    watcher.signal(libc::SIGSTOP)?;
    std::thread::sleep(WATCHDOG / 8);
    let stopped = Instant::now();
    std::thread::sleep(3 * WATCHDOG);
    let during = manager.times("WATCHDOG=1").into_iter().filter(|at| *at > stopped).count();
    assert_eq!(during, 0);
    let before = manager.times("WATCHDOG=1").len();
    watcher.signal(libc::SIGCONT)?;
    eventually("it goes on", START, || manager.times("WATCHDOG=1").len() > before)?;
    watcher.stop()?;
    Ok(())
}

/// A reader of stdout that does not read holds the loop up: that is a hang, too.
#[test]
fn a_loop_that_waits_for_its_reader_does_not_feed_the_watchdog() -> Result<()> {
    use std::process::Stdio;
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let manager = Manager::listen()?;
    let mut command = lab.server.command(binary()?);
    command.args(["watch", "-i", "srv0", "--format", "json"]).stdout(Stdio::piped());
    manager.manage(&mut command, Some(WATCHDOG));
    let mut child = command.stderr(Stdio::null()).spawn()?;
    manager.hears("READY=1", START)?;
    // More than a pipe (64 KiB) and what may wait for it hold.
    traffic::complete(&lab, Family::V4, 2000)?;
    std::thread::sleep(WATCHDOG);
    let since = Instant::now();
    std::thread::sleep(2 * WATCHDOG);
    let during = manager.times("WATCHDOG=1").into_iter().filter(|at| *at > since).count();
    drop(child.kill());
    child.wait()?;
    assert_eq!(during, 0);
    Ok(())
}

#[test]
fn nothing_is_said_to_a_manager_that_is_gone() -> Result<()> {
    let lab = Lab::direct()?;
    let mut command = lab.server.command(binary()?);
    command.args(["watch", "-i", "srv0", "--format", "json", "--duration", "300ms"]);
    command.env("NOTIFY_SOCKET", "/nonexistent/notify");
    let report = Watcher::spawn(&mut command)?.finish()?;
    assert!(report.status.success(), "{}", report.stderr);
    assert_eq!(report.stderr.matches("cannot notify the service manager").count(), 1);
    Ok(())
}

#[test]
fn reloading_is_said_and_when_it_is_done() -> Result<()> {
    let lab = Lab::direct()?;
    let manager = Manager::listen()?;
    let watcher = managed(&lab, &manager, None)?;
    watcher.signal(libc::SIGHUP)?;
    eventually("it is ready again", START, || manager.times("READY=1").len() == 2)?;
    watcher.stop()?;
    let said: Vec<String> = manager.said().into_iter().map(|said| said.line).collect();
    let at = said.iter().position(|line| line == "RELOADING=1").expect("it says so");
    assert!(said[at + 1].starts_with("MONOTONIC_USEC="), "{said:?}");
    assert_eq!(said[at + 2], "READY=1", "{said:?}");
    Ok(())
}
