//! `--once`: one table of the services, and the end.
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::traffic::{self, CLOSED, HTTP, SILENT, Services};
use handshake_tests::watcher::{Watcher, binary};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_table_of_the_services_with_those_that_fail_first() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let mut command = lab.server.command(binary()?);
    command.args(["watch", "-i", "srv0", "--once", "--top", "2", "--duration", "6s"]);
    let watcher = Watcher::spawn(&mut command)?;
    watcher.await_stderr("watching for 6s", PATIENCE)?;
    traffic::complete(&lab, Family::V4, 5)?;
    for _ in 0..3 {
        traffic::refused(&lab, Family::V4)?;
    }
    traffic::silent(&lab, Family::V4, Duration::from_millis(30))?;
    let report = watcher.finish()?;
    ensure!(report.status.success(), "{}", report.stderr);
    let (lines, text) = (&report.garbage, report.garbage.join("\n"));
    let closed = lab.server(Family::V4, CLOSED);
    let titles = lines.iter().position(|line| line.starts_with("service ")).context("a table")?;
    assert!(lines[0].starts_with("since start at ") && lines[0].contains(" ended, "), "{text}");
    assert!(lines[1].contains("fail"), "{text}");
    assert!(lines[2].contains(&format!("{closed} since ")), "{text}");
    assert!(lines[2].contains("refused ×3; 0% completed"), "{text}");
    let cells: Vec<&str> = lines[titles + 1].split_whitespace().collect();
    let closed = closed.to_string();
    assert_eq!(cells[..5], [&closed, "3", "0%", "3", "0"], "{text}");
    assert_eq!(lines.len(), titles + 4, "two services and how many are left out: {text}");
    assert_eq!(lines[titles + 3], "and 1 more: --top 3 shows all");
    assert!([HTTP, SILENT].iter().any(|port| lines[titles + 2].contains(&port.to_string())));
    assert!(report.stderr.contains("attempts: 9 started = 9 ended"), "{}", report.stderr);
    Ok(())
}
