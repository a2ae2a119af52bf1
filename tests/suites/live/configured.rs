//! What the user asked for: filters, and the number of attempts to print.
use std::time::Duration;

use anyhow::Result;
use handshake_tests::judge::{assert_balanced, from_client};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::traffic::{self, HTTP, Services};
use handshake_tests::watcher::Watcher;
use serde_json::json;

const SOON: Duration = Duration::from_secs(5);

#[test]
fn what_is_not_shown_is_counted_and_what_is_not_followed_is_not() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let shown = Watcher::start(&lab.server, &["-i", "srv0", "--filter", "outcome:refused"])?;
    let followed = format!("port:{HTTP} iface:srv0,lo role:server");
    let followed = Watcher::start(&lab.server, &["-i", "srv0", "--filter", &followed])?;
    traffic::complete(&lab, Family::V4, 5)?;
    traffic::complete(&lab, Family::V6, 5)?;
    let refused = traffic::refused(&lab, Family::V4)?;
    shown.await_attempts(1, SOON)?;
    followed.await_attempts(10, SOON)?;
    let report = shown.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["started"], 11, "{summary}");
    assert_eq!((&summary["hidden"], report.attempts.len()), (&json!(10), 1), "{summary}");
    assert_eq!(from_client(&report.attempts, refused)[0]["outcome"], "refused");
    assert_eq!(report.start["filter"], json!({"followed": "", "shown": "outcome:refused"}));
    assert!(report.stderr.contains("of these 10 not printed"), "{}", report.stderr);
    let report = followed.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["started"], 10, "{summary}");
    assert_eq!(summary["hidden"], 0, "{summary}");
    // The SYN that was refused, and its RST.
    assert!(summary["events"]["filtered"].as_u64() >= Some(2), "{summary}");
    assert_eq!(report.start["filter"]["followed"], format!("port:{HTTP}"));
    assert!(report.stderr.contains(&format!("following and counting only port:{HTTP}")));
    Ok(())
}

/// Attempts that end at the same moment: more of them than were asked for.
#[test]
fn counting_to_a_number_prints_so_many_and_the_summary_says_what_it_kept_back() -> Result<()> {
    let lab = Lab::direct()?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--timeout", "3s", "--count", "3"])?;
    traffic::flood(&lab, 500)?;
    let report = watcher.finish()?;
    let summary = assert_balanced(&report);
    assert_eq!(report.attempts.len(), 3);
    assert_eq!(summary["started"], 500, "{summary}");
    assert_eq!(summary["hidden"], 497, "{summary}");
    assert!(report.stderr.contains("of these 497 not printed"), "{}", report.stderr);
    Ok(())
}

#[test]
fn counting_goes_by_what_is_shown() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let arguments = ["-i", "srv0", "--count", "2", "--filter", "outcome:refused"];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    traffic::complete(&lab, Family::V4, 5)?;
    traffic::refused(&lab, Family::V4)?;
    traffic::refused(&lab, Family::V6)?;
    let report = watcher.finish()?;
    let summary = assert_balanced(&report);
    assert_eq!(report.attempts.len(), 2);
    assert_eq!(summary["hidden"], 5, "{summary}");
    Ok(())
}
