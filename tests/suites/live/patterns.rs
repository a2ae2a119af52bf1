//! Health checks, scans and forged floods by real programs are told from failures; busy clients are
//! taken for none of them.
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::flood;
use handshake_tests::judge::{assert_balanced, ends, from_client};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::process::eventually;
use handshake_tests::socket::Dial;
use handshake_tests::traffic::{self, CLOSED, HTTP, SILENT, Services};
use handshake_tests::watcher::{Report, Watcher};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration in a file that goes with it.
struct Config(std::path::PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Result<Self> {
        let file = std::env::temp_dir().join(format!("handshake-{name}-{}", std::process::id()));
        fs::write(&file, text)?;
        Ok(Self(file))
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

fn haproxy() -> std::path::PathBuf {
    let dir = std::env::var_os("HANDSHAKE_HAPROXY").map(std::path::PathBuf::from);
    dir.unwrap_or_default().join("haproxy")
}

/// Attempts at one port, in the order of their end.
fn at(attempts: &[Value], port: u16) -> Vec<&Value> {
    attempts.iter().filter(|one| ends(one).1.port() == port).collect()
}

/// How many have this outcome and pattern.
fn count(attempts: &[&Value], outcome: &str, pattern: Option<&str>) -> usize {
    let is_one = |one: &&&Value| one["outcome"] == outcome && one["pattern"].as_str() == pattern;
    attempts.iter().filter(is_one).count()
}

fn assert_no_patterns(report: &Report) {
    assert_balanced(report);
    let marked: Vec<_> = report.attempts.iter().filter(|one| !one["pattern"].is_null()).collect();
    assert!(marked.is_empty(), "{marked:?}");
}

#[test]
fn haproxy_s_plain_checks_are_probes_and_its_dead_server_is_a_failure() -> Result<()> {
    const CHECKS: usize = 9;
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    let to = |port| lab.server(Family::V4, port);
    let config = Config::new(
        "haproxy",
        &format!(
            "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 2s\n  timeout server 2s\n\
             listen all\n  bind 127.0.0.1:1000\n  default-server check inter 500ms\n  \
             server good {}\n  server dead {}\n",
            to(HTTP),
            to(CLOSED),
        ),
    )?;
    let mut command = lab.client.command(haproxy());
    command.args(["-db", "-q", "-f"]).arg(&config.0).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().context("no haproxy: run `cargo xtask setup --tests`")?;
    let checked = eventually("haproxy has checked", PATIENCE, || {
        let attempts = watcher.attempts();
        [HTTP, CLOSED].iter().all(|port| at(&attempts, *port).len() >= CHECKS)
    });
    drop(child.kill());
    child.wait()?;
    let report = watcher.stop()?;
    checked.with_context(|| format!("{:?}", report.attempts))?;
    assert_balanced(&report);
    let good = at(&report.attempts, HTTP);
    let (probes, others) =
        (count(&good, "reset-by-client", Some("probe")), count(&good, "reset-by-client", None));
    // A busy machine may delay a check so much that the next ones do not count.
    assert_eq!(probes + others, good.len(), "{good:?}");
    assert!(others >= 3 && probes >= 2, "{probes} probes, {others} resets: {good:?}");
    let dead = at(&report.attempts, CLOSED);
    assert_eq!(count(&dead, "refused", None), dead.len(), "{dead:?}");
    Ok(())
}

#[test]
fn a_checker_s_syn_and_rst_at_a_regular_pace_are_probes_from_the_fourth_on() -> Result<()> {
    const CHECKS: usize = 9;
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    for _ in 0..CHECKS {
        traffic::scanned(&lab, Family::V6)?;
        thread::sleep(Duration::from_millis(500));
    }
    watcher.await_attempts(CHECKS, PATIENCE)?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    let patterns: Vec<_> = report.attempts.iter().map(|one| one["pattern"].as_str()).collect();
    assert_eq!(patterns[..3], [None; 3], "{:?}", report.attempts);
    // On a busy machine one may come so late that its neighbours do not count either.
    let probes = patterns.iter().filter(|pattern| **pattern == Some("probe")).count();
    let others = patterns.iter().filter(|pattern| pattern.is_none()).count();
    assert_eq!((probes > 0, probes + others), (true, CHECKS), "{:?}", report.attempts);
    Ok(())
}

#[test]
fn a_client_that_cancels_now_and_then_is_no_probe() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    // As a browser does: some at once, then a pause.
    let pauses = [0, 20, 700, 0, 250, 1200, 10, 400, 0, 900, 300, 50];
    for (turn, pause) in pauses.into_iter().enumerate() {
        traffic::scanned(&lab, Family::BOTH[turn % 3 % 2])?;
        thread::sleep(Duration::from_millis(pause));
    }
    watcher.await_attempts(pauses.len(), PATIENCE)?;
    let report = watcher.stop()?;
    assert_no_patterns(&report);
    let all: Vec<_> = report.attempts.iter().collect();
    assert_eq!(count(&all, "reset-by-client", None), pauses.len(), "{all:?}");
    Ok(())
}

/// What nmap does to 303 ports of the server, one of which is open and one is silent.
fn scanned(kind: &str) -> Result<Report> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--timeout", "3s"])?;
    let ports = format!("1-300,{HTTP},{CLOSED},{SILENT}");
    let to = lab.server(Family::V4, 0).ip().to_string();
    let scan = ["nmap", kind, "-n", "-Pn", "--max-retries", "1", "-p", &ports, &to];
    let said = lab.client.run(&scan)?;
    ensure!(said.contains(&format!("{HTTP}/tcp open")), "{said}");
    watcher.await_attempts(303, PATIENCE)?;
    eventually("the silent port is told", PATIENCE, || {
        at(&watcher.attempts(), SILENT).iter().any(|one| one["outcome"] == "no-answer")
    })?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    Ok(report)
}

/// Nearly all of it is one scan, and what is not was printed before that was known.
fn assert_scan(report: &Report, open: &str) {
    let all: Vec<_> = report.attempts.iter().collect();
    let (scan, not) = (count(&all, "refused", Some("scan")), count(&all, "refused", None));
    println!("{scan} of {} marked", scan + not);
    assert!(scan + not >= 301, "{all:?}");
    assert!(not <= 40, "{not} of {} are not marked", scan + not);
    let first = all.iter().position(|one| one["pattern"] == "scan").unwrap_or(usize::MAX);
    let failed = |one: &&&Value| !one["outcome"].as_str().unwrap_or("").starts_with("completed");
    let later: Vec<_> = all.iter().skip(first).filter(failed).collect();
    assert!(later.iter().all(|one| one["pattern"] == "scan"), "{later:?}");
    let silent = at(&report.attempts, SILENT);
    assert!(count(&silent, "no-answer", Some("scan")) > 0, "{silent:?}");
    let http = at(&report.attempts, HTTP);
    assert!(http.iter().any(|one| one["outcome"] == open), "{http:?}");
    assert!(all.iter().all(|one| one["outcome"] != "completed" || one["pattern"].is_null()));
}

#[test]
fn nmap_s_syn_scan_is_a_scan() -> Result<()> {
    let report = scanned("-sS")?;
    assert_scan(&report, "reset-by-client");
    Ok(())
}

#[test]
fn a_busy_client_of_many_services_of_which_some_refuse_is_no_scanner() -> Result<()> {
    const FIRST: u16 = 21_000;
    const SERVICES: u16 = 120;
    let lab = Lab::direct()?;
    let listen = |port| std::net::TcpListener::bind(("::", port));
    let open = (FIRST..FIRST + SERVICES).filter(|port| port % 3 != 0);
    let listeners: Vec<_> =
        lab.server.enter(|| open.map(listen).collect::<std::io::Result<Vec<_>>>())??;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    for port in FIRST..FIRST + SERVICES {
        let from = SocketAddr::new(lab.client_ip(Family::V4), 0);
        let dial = lab.client.enter(|| Dial::from(from))??;
        dial.start(lab.server(Family::V4, port))?;
        ensure!(dial.finish(PATIENCE).is_ok() == (port % 3 != 0), "port {port}");
    }
    watcher.await_attempts(SERVICES.into(), PATIENCE)?;
    drop(listeners);
    let report = watcher.stop()?;
    assert_no_patterns(&report);
    let all: Vec<_> = report.attempts.iter().collect();
    assert_eq!(count(&all, "refused", None), usize::from(SERVICES) / 3, "{all:?}");
    Ok(())
}

/// A forged flood of one port with a real client beside it that is dropped, and one that is served.
fn flooded(port: u16) -> Result<(Report, SocketAddr)> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    // SYN-ACKs to addresses that nobody has go to the client's host, which drops them.
    let way = lab.client_ip(Family::V4).to_string();
    lab.server.run(&["ip", "route", "add", "100.64.0.0/10", "via", &way])?;
    lab.server.set("net/ipv4/tcp_synack_retries", "1")?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0", "--timeout", "8s"])?;
    let client = thread::scope(|scope| {
        let flood = scope.spawn(|| flood::at_listener(&lab, port, 0, 2_400, 400));
        traffic::complete(&lab, Family::V4, 5)?;
        let client = traffic::silent(&lab, Family::V4, Duration::from_millis(3_500));
        ensure!(flood.join().is_ok_and(|sent| sent.is_ok()), "no flood");
        client
    })?;
    watcher.await_attempts(2_406, PATIENCE)?;
    let report = watcher.stop()?;
    assert_balanced(&report);
    Ok((report, client))
}

fn assert_flood((report, client): &(Report, SocketAddr), port: u16, outcome: &str) {
    let real = from_client(&report.attempts, *client);
    assert_eq!(count(&real, "no-answer", None), 1, "{real:?}");
    let forged = |one: &&Value| ends(one).0.ip().to_string().starts_with("100.");
    let forged: Vec<_> = at(&report.attempts, port).into_iter().filter(forged).collect();
    let marked = count(&forged, outcome, Some("flood"));
    println!("{marked} of {} marked", forged.len());
    assert!(marked * 100 >= forged.len() * 95, "{marked} of {}", forged.len());
    let completed = at(&report.attempts, HTTP);
    assert_eq!(count(&completed, "completed", None), 5, "{completed:?}");
}

#[test]
fn forged_syns_that_are_answered_are_a_flood_and_real_clients_beside_it_are_not() -> Result<()> {
    assert_flood(&flooded(HTTP)?, HTTP, "half-open");
    Ok(())
}

#[test]
fn forged_syns_without_any_answer_are_a_flood_and_a_real_client_s_failure_is_not() -> Result<()> {
    assert_flood(&flooded(SILENT)?, SILENT, "no-answer");
    Ok(())
}
