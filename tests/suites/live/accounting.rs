//! Nothing is lost without being counted: rings of one page, tables of a few dozen entries, and a
//! program that cannot keep up.
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use handshake_tests::flood;
use handshake_tests::judge::{assert_balanced, assert_lossless, from_client};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::traffic::{self, Services};
use handshake_tests::watcher::{Report, Watcher};
use serde_json::Value;

/// Half of a ring of the default size takes them, so that none is sampled out.
const FLOOD: u32 = 4_000;
/// After the flood the program has this long to read what is in its rings.
const DIGEST: Duration = Duration::from_millis(700);

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// Floods the server with SYNs while it is watched.
fn flooded(arguments: &[&str], freeze: bool) -> Result<Report> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let arguments = [&["-i", "srv0", "--timeout", "2s"], arguments].concat();
    let watcher = Watcher::start(&lab.server, &arguments)?;
    if freeze {
        watcher.signal(libc::SIGSTOP)?;
    }
    traffic::flood(&lab, FLOOD)?;
    if freeze {
        watcher.signal(libc::SIGCONT)?;
    }
    std::thread::sleep(DIGEST);
    watcher.stop()
}

#[test]
fn a_flood_within_our_means_is_counted_to_the_packet() -> Result<()> {
    let report = flooded(&[], false)?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["packets"]["syn"], FLOOD, "{summary}");
    assert_eq!(summary["events"]["lost"], 0, "{summary}");
    assert_eq!(summary["started"], FLOOD, "{summary}");
    Ok(())
}

#[test]
fn a_ring_of_one_page_loses_nothing_uncounted() -> Result<()> {
    let report = flooded(&["--ring-bytes", "4096"], true)?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["packets"]["syn"], FLOOD, "{summary}");
    let (lost, sampled_out) =
        (number(&summary["events"]["lost"]), number(&summary["events"]["sampled_out"]));
    assert!(lost > 0 && lost + sampled_out > u64::from(FLOOD) / 2, "{summary}");
    let of_rings = |loss: &&Value| loss["reason"] == "ring-full";
    let told: u64 = report.losses.iter().filter(of_rings).map(|loss| number(&loss["count"])).sum();
    assert_eq!(told, lost, "{:?}", report.losses);
    Ok(())
}

#[test]
fn loss_does_not_make_failures_of_the_network() -> Result<()> {
    let report = flooded(&["--ring-bytes", "4096"], true)?;
    let summary = assert_balanced(&report);
    assert!(number(&summary["events"]["lost"]) > 0, "{summary}");
    for attempt in &report.attempts {
        let innocent = attempt["uncertain"] == true || attempt["outcome"] == "unfinished";
        assert!(innocent, "{attempt}");
    }
    Ok(())
}

#[test]
fn a_small_table_evicts_aloud_and_keeps_the_books() -> Result<()> {
    let report = flooded(&["--max-attempts", "64"], false)?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["packets"]["syn"], FLOOD, "{summary}");
    assert!(number(&summary["outcomes"]["evicted"]) > 0, "{summary}");
    assert_eq!(summary["started"], FLOOD, "{summary}");
    Ok(())
}

#[test]
fn a_small_kernel_table_keeps_the_books() -> Result<()> {
    let report = flooded(&["--table-entries", "64"], false)?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["packets"]["syn"], FLOOD, "{summary}");
    assert_eq!(summary["started"], FLOOD, "{summary}");
    Ok(())
}

#[test]
fn connections_complete_in_the_middle_of_a_flood() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    // Rings in which the whole flood has room twice, so that nothing is sampled.
    let arguments = ["-i", "srv0", "--max-attempts", "64", "--ring-bytes", "8388608"];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    let clients = std::thread::scope(|scope| {
        let flood = scope.spawn(|| flood::from_anywhere(&lab, 4 * FLOOD, 40_000));
        let clients = traffic::complete(&lab, Family::V6, 30);
        assert!(flood.join().is_ok_and(|sent| sent.is_ok()));
        clients
    })?;
    std::thread::sleep(DIGEST);
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    for client in clients {
        let attempts = from_client(&report.attempts, client);
        let outcome = attempts.first().map(|attempt| &attempt["outcome"]);
        assert_eq!(outcome, Some(&"completed".into()), "{attempts:?} {summary}");
    }
    Ok(())
}

#[test]
fn a_frozen_program_reports_true_times_once_it_thaws() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    watcher.signal(libc::SIGSTOP)?;
    traffic::complete(&lab, Family::V4, 20)?;
    std::thread::sleep(Duration::from_secs(1));
    watcher.signal(libc::SIGCONT)?;
    watcher.await_attempts(20, Duration::from_secs(5))?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    for attempt in &report.attempts {
        assert_eq!(attempt["outcome"], "completed", "{attempt}");
        assert!(attempt["lat_total_ns"].as_i64() < Some(200_000_000), "{attempt}");
    }
    Ok(())
}

#[test]
fn a_watch_started_amid_traffic_makes_no_failures_of_it() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    for _ in 0..3 {
        let stop = AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            let traffic = scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    traffic::complete(&lab, Family::V4, 1)?;
                }
                anyhow::Ok(())
            });
            let report = Watcher::start(&lab.server, &["-i", "srv0"]).and_then(|watcher| {
                watcher.await_attempts(20, Duration::from_secs(10))?;
                watcher.stop()
            });
            stop.store(true, Ordering::Relaxed);
            traffic.join().map_err(|_| anyhow::anyhow!("the traffic panicked"))??;
            report
        })?;
        assert_lossless(&report);
        // The first may have been under way when the second hook was attached; nothing else is known
        // in part, although attaching and detaching two hooks takes the kernel milliseconds.
        let told = report.attempts.iter().map(|attempt| attempt["outcome"].as_str());
        let told: Vec<_> = told.map(Option::unwrap_or_default).collect();
        let partial = told.iter().take_while(|&&outcome| outcome == "completed-partial").count();
        let whole = |outcome: &&str| ["completed", "unfinished"].contains(outcome);
        assert!(told[partial..].iter().all(whole) && partial <= 1, "{told:?}");
    }
    Ok(())
}
