//! Two hundred fetches over HTTP, watched from every kind of place: each is one completed attempt
//! with the numbers that tcpdump saw.
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::capture::{Capture, handshakes};
use handshake_tests::judge::{agrees, assert_lossless, ends};
use handshake_tests::lab::{Family, Lab, Namespace};
use handshake_tests::traffic::{HTTP, Services};
use handshake_tests::watcher::{Report, Watcher};

const EACH: usize = 100;

/// Where the program stands, and what its attempts must say of it.
struct Post<'a> {
    namespace: &'a Arc<Namespace>,
    arguments: &'a [&'a str],
    captured: &'a str,
    hook: &'a str,
    role: &'a str,
}

/// Fetches with curl, a new connection each time.
fn fetch(lab: &Lab, family: Family) -> Result<()> {
    let url = format!("http://{}/[1-{EACH}]", lab.server(family, HTTP));
    let codes = lab.client.run(&[
        "curl",
        "-s",
        "--max-time",
        "30",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\n",
        &url,
    ])?;
    ensure!(codes.lines().filter(|&code| code == "200").count() == EACH, "{codes}");
    Ok(())
}

fn watch_fetches(lab: &Lab, post: &Post<'_>) -> Result<Report> {
    let services = Services::start(lab)?;
    let watcher = Watcher::start(post.namespace, post.arguments)?;
    let capture = Capture::start(post.namespace, post.captured)?;
    for family in Family::BOTH {
        fetch(lab, family)?;
    }
    let all = watcher.await_attempts(2 * EACH, Duration::from_secs(10));
    let captured = handshakes(&capture.stop()?);
    let report = watcher.stop()?;
    all.with_context(|| format!("{:?}", report.summary))?;
    assert_eq!(services.answered() as usize, 2 * EACH);
    assert_lossless(&report);
    assert_eq!(report.attempts.len(), 2 * EACH, "{:?}", report.summary);
    let mut off = 0;
    for attempt in &report.attempts {
        let (client, server) = ends(attempt);
        assert_eq!(attempt["outcome"], "completed", "{attempt}");
        assert_eq!(attempt["ended_by"], "handshake", "{attempt}");
        assert_eq!(attempt["hook"], post.hook, "{attempt}");
        assert_eq!(attempt["role"], post.role, "{attempt}");
        assert_eq!((&attempt["syn_retrans"], &attempt["synack_retrans"]), (&0.into(), &0.into()));
        let family = handshake_tests::socket::family(server.ip());
        assert_eq!(client.ip(), lab.client_ip(family), "{attempt}");
        assert_eq!(server, lab.server(family, HTTP), "{attempt}");
        off += usize::from(!agrees(attempt, &captured));
    }
    assert!(off * 20 <= report.attempts.len(), "the times of {off} are off");
    Ok(report)
}

fn watch_server(arguments: &[&str], hook: &str) -> Result<Report> {
    let lab = Lab::direct()?;
    let arguments = [&["-i", "srv0"], arguments].concat();
    let (captured, role) = ("srv0", "server");
    let namespace = &lab.server;
    watch_fetches(&lab, &Post { namespace, arguments: &arguments, captured, hook, role })
}

#[test]
fn native_xdp_sees_every_fetch() -> Result<()> {
    let report = watch_server(&["--hook", "xdp"], "xdp")?;
    assert_eq!(report.start["interfaces"][0]["ingress"], "xdp");
    Ok(())
}

#[test]
fn generic_xdp_sees_every_fetch() -> Result<()> {
    let report = watch_server(&["--hook", "xdp", "--xdp-mode", "generic"], "xdp")?;
    let mode = report.start["interfaces"][0]["ingress_mode"].as_str().unwrap_or_default();
    assert!(mode.contains("generic"), "{mode}");
    Ok(())
}

#[test]
fn tc_sees_every_fetch() -> Result<()> {
    watch_server(&["--hook", "tc"], "tc-ingress").map(drop)
}

#[test]
fn auto_takes_tc_on_a_virtual_device() -> Result<()> {
    watch_server(&[], "tc-ingress").map(drop)
}

#[test]
fn the_client_s_host_sees_them_leave() -> Result<()> {
    let lab = Lab::direct()?;
    let namespace = &lab.client;
    let (arguments, captured) = (&["-i", "cli0"], "cli0");
    let (hook, role) = ("tc-egress", "client");
    watch_fetches(&lab, &Post { namespace, arguments, captured, hook, role }).map(drop)
}

#[test]
fn loopback_counts_each_fetch_once() -> Result<()> {
    let lab = Lab::loopback()?;
    let namespace = &lab.client;
    let (arguments, captured) = (&["-i", "lo"], "lo");
    let (hook, role) = ("tc-egress", "client");
    watch_fetches(&lab, &Post { namespace, arguments, captured, hook, role }).map(drop)
}

#[test]
fn a_device_without_ethernet_headers_is_read_right() -> Result<()> {
    let lab = Lab::tunnelled()?;
    let namespace = &lab.server;
    let (arguments, captured) = (&["-i", "tuns"], "tuns");
    let (hook, role) = ("tc-ingress", "server");
    watch_fetches(&lab, &Post { namespace, arguments, captured, hook, role }).map(drop)
}

#[test]
fn a_router_with_both_devices_watched_counts_each_fetch_once() -> Result<()> {
    let lab = Lab::routed()?;
    let namespace = lab.router.as_ref().context("no router")?;
    let (arguments, captured) = (&["-i", "rtc0", "-i", "rts0"], "rtc0");
    let (hook, role) = ("tc-ingress", "forwarded");
    watch_fetches(&lab, &Post { namespace, arguments, captured, hook, role }).map(drop)
}

#[test]
fn a_router_in_native_xdp_counts_each_fetch_once() -> Result<()> {
    let lab = Lab::routed()?;
    let namespace = lab.router.as_ref().context("no router")?;
    let (arguments, captured) = (&["-i", "rt*0", "--hook", "xdp"], "rtc0");
    let (hook, role) = ("xdp", "forwarded");
    watch_fetches(&lab, &Post { namespace, arguments, captured, hook, role }).map(drop)
}
