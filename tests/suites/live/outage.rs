//! In an outage failures stay failures: a dropped port, a burst, a flood, and what comes after them.
use std::thread;
use std::time::Duration;

use anyhow::Result;
use handshake_tests::flood;
use handshake_tests::judge::assert_balanced;
use handshake_tests::lab::{Family, Lab};
use handshake_tests::process::eventually;
use handshake_tests::traffic::{self, CLOSED, HTTP, SILENT, Services};
use handshake_tests::watcher::{Report, Watcher};
use serde_json::Value;

/// What a program without optimisation follows on a machine that it shares.
const PER_SECOND: u32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(90);

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn of_outcome(summary: &Value, name: &str) -> u64 {
    summary["outcomes"][name].as_u64().unwrap_or_default()
}

fn evicted_entries(summary: &Value) -> u64 {
    let of = |name: &str| number(&summary["filter"][name]);
    of("evicted-one-sided") + of("evicted-two-sided")
}

/// Outcomes of the attempts with a port of the server, in order of their ends.
fn outcomes(report: &Report, port: u16) -> Vec<&str> {
    let of_port = report.attempts.iter().filter(|attempt| attempt["server_port"] == port);
    of_port.map(|attempt| attempt["outcome"].as_str().unwrap_or_default()).collect()
}

/// As many at the same time as 400 a second make in 40 seconds.
#[test]
fn connects_to_a_dropped_port_are_not_answered_however_many_there_are() -> Result<()> {
    const CONNECTS: u16 = 16_000;
    let connects = u64::from(CONNECTS);
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.client, &["-i", "cli0", "--timeout", "4s"])?;
    let ports = 10_000..10_000 + CONNECTS;
    let waiting = flood::connect(&lab, ports, PER_SECOND, 400)?;
    // Those that wait send their SYNs again; the table knows them still.
    thread::sleep(Duration::from_millis(1500));
    drop(waiting);
    watcher.await_attempts(CONNECTS.into(), PATIENCE)?;
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!(number(&summary["events"]["lost"]), 0, "{summary}");
    assert_eq!(evicted_entries(summary), 0, "{summary}");
    assert!(number(&summary["syn_retrans"]) >= 400, "{summary}");
    assert_eq!(of_outcome(summary, "no-answer"), connects, "{summary}");
    assert_eq!(number(&summary["uncertain"]), 0, "{summary}");
    assert_eq!(number(&summary["filter"]["retired"]), connects, "{summary}");
    assert_eq!(number(&summary["self_cost"]["table_entries"]), 0, "{summary}");
    Ok(())
}

/// More at once than the table and the list of open attempts hold; some were evicted from either.
#[test]
fn after_a_burst_failures_are_failures_again() -> Result<()> {
    const BURST: u32 = 6_000;
    const LATER: usize = 27;
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let limits = ["--table-entries", "1024", "--max-attempts", "2000", "--timeout", "1s"];
    let watcher = Watcher::start(&lab.client, &[&["-i", "cli0"], &limits[..]].concat())?;
    flood::from_anywhere(&lab, BURST, PER_SECOND)?;
    watcher.await_attempts(BURST as usize, PATIENCE)?;
    let losses = watcher.stderr();
    assert!(losses.contains("raise --table-entries"), "{losses}");

    let waiting = flood::connect(&lab, 10_000..10_000 + LATER as u16, 1000, LATER)?;
    let answered = traffic::complete(&lab, Family::V4, LATER)?.len();
    drop(waiting);
    watcher.await_attempts(BURST as usize + 2 * LATER, PATIENCE)?;
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    assert!(evicted_entries(summary) > 1000, "{summary}");
    assert_eq!(of_outcome(summary, "evicted"), u64::from(BURST) - 2000, "{summary}");
    let silent = outcomes(&report, SILENT);
    let after = &silent[BURST as usize..];
    assert_eq!(after, vec!["no-answer"; LATER], "{summary}");
    assert_eq!(of_outcome(summary, "completed"), answered as u64, "{summary}");
    assert_eq!(number(&summary["self_cost"]["table_entries"]), 0, "{summary}");
    Ok(())
}

/// A flood that a listener answers, with a table of its default size and of another.
fn flooded(arguments: &[&str]) -> Result<()> {
    const SYNS: u32 = 6_000;
    let lab = Lab::direct()?;
    flood::let_answer(&lab)?;
    let services = Services::start(&lab)?;
    services.let_queue(SYNS)?;
    let arguments = [&["-i", "srv0", "--timeout", "2s"], arguments].concat();
    let watcher = Watcher::start(&lab.server, &arguments)?;
    let beside = thread::scope(|scope| {
        let flood = scope.spawn(|| flood::spoofed(&lab, HTTP, SYNS, PER_SECOND));
        let silent = flood::connect(&lab, 10_000..10_020, 20, 20)?;
        let refused = traffic::refused(&lab, Family::V4)?;
        let completed = traffic::complete(&lab, Family::V6, 20)?;
        assert!(flood.join().is_ok_and(|sent| sent.is_ok()));
        anyhow::Ok((silent, refused, completed))
    })?;
    let mut listed = 0;
    eventually("the listener has them", PATIENCE, || {
        let table = lab.server.run(&["ss", "-Htn", "state", "syn-recv"]).unwrap_or_default();
        listed = listed.max(table.lines().count() as u64);
        listed >= u64::from(SYNS) * 9 / 10
    })?;
    let wanted = SYNS as usize + 20 + 1 + beside.2.len();
    drop(beside);
    watcher.await_attempts(wanted, PATIENCE)?;
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    println!("{listed} in the listener's table; {}", summary["outcomes"]);
    let half_open = of_outcome(summary, "half-open");
    assert!(half_open.abs_diff(listed) <= listed / 20, "{listed} {summary}");
    assert_eq!(of_outcome(summary, "unfinished"), 0, "{summary}");
    assert_eq!(evicted_entries(summary), 0, "{summary}");
    assert_eq!(outcomes(&report, SILENT), vec!["no-answer"; 20]);
    assert_eq!(outcomes(&report, CLOSED), ["refused"]);
    assert_eq!(of_outcome(summary, "completed"), 20, "{summary}");
    Ok(())
}

#[test]
fn what_a_flood_leaves_half_open_is_half_open_and_failures_beside_it_stay() -> Result<()> {
    flooded(&[])
}

#[test]
fn so_it_is_with_a_table_of_another_size() -> Result<()> {
    flooded(&["--table-entries", "262144"])
}
