//! Debian's Prometheus scrapes the program at work, and promtool reads what belongs to it.
//!
//! Needs root and Prometheus, and fails without (`cargo xtask setup --tests` fetches it). Run with
//! `--test-threads=1`.
#[path = "prometheus/alarms.rs"]
mod alarms;

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use handshake_tests::frame::{ACK, SYN};
use handshake_tests::judge::{assert_balanced, assert_lossless};
use handshake_tests::lab::{Family, Lab};
use handshake_tests::process::eventually;
use handshake_tests::prometheus::{Prometheus, promtool};
use handshake_tests::traffic::{self, Puppets, Services};
use handshake_tests::watcher::Watcher;
use handshake_user::series::distribution::{CLEAN, SCHEMA};
use serde_json::Value;

/// Outside the ports of [`traffic::PUPPETS`], where nothing answers.
const ENDPOINT: &str = "127.0.0.1:19435";
const ARGUMENTS: [&str; 6] = ["-i", "srv0", "--timeout", "2s", "--metrics-listen", ENDPOINT];
const PATIENCE: Duration = Duration::from_secs(20);

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(file)
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus").join(name)
}

fn scrape(lab: &Lab, accept: &str) -> Result<String> {
    let accept = format!("Accept: {accept}");
    let url = format!("http://{ENDPOINT}/metrics");
    lab.server.run(&["curl", "-sS", "--fail", "--max-time", "5", "-H", &accept, &url])
}

/// A handshake whose server and client take their time.
fn slow(lab: &Lab, server: Duration, client: Duration) -> Result<()> {
    let ends = Puppets::new(lab, Family::V4)?;
    ends.client(SYN, 0, 0)?;
    std::thread::sleep(server);
    ends.server(SYN | ACK, 0, 1)?;
    std::thread::sleep(client);
    ends.client(ACK, 1, 1)
}

/// Attempts of every fate, with latencies from microseconds to a third of a second.
fn traffic(lab: &Lab) -> Result<usize> {
    const SLOW: u64 = 48;
    const PROMPT: usize = 30;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn(move || {
                    for n in (thread..SLOW).step_by(8) {
                        // 1 ms times 1.12, 1.12², …
                        let server = Duration::from_secs_f64(0.001 * 1.12_f64.powf(n as f64));
                        slow(lab, server, server / 4)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().map_err(|_| anyhow::anyhow!("the traffic panicked"))?
        };
        threads.into_iter().try_for_each(join)
    })?;
    traffic::complete(lab, Family::V4, PROMPT)?;
    for _ in 0..7 {
        traffic::refused(lab, Family::V6)?;
    }
    traffic::silent(lab, Family::V4, Duration::from_millis(400))?;
    traffic::scanned(lab, Family::V4)?;
    Ok(SLOW as usize + PROMPT + 7 + 1 + 1)
}

#[test]
fn promtool_has_nothing_to_say_of_the_metrics() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &ARGUMENTS)?;
    let count = traffic(&lab)?;
    watcher.await_attempts(count, PATIENCE)?;
    let text = scrape(&lab, "text/plain")?;
    assert!(text.contains("handshake_latency_seconds_bucket"), "{text}");
    let said = promtool(&["check", "metrics"], text.as_bytes())?;
    let words =
        [said.stdout, said.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(said.status.success() && words == ["", ""], "{words:?}");
    // It does read them.
    let bad = promtool(&["check", "metrics"], text.replace("_seconds", "_ms").as_bytes())?;
    assert!(!bad.status.success());
    assert_balanced(&watcher.stop()?);
    Ok(())
}

#[test]
fn rules_and_dashboard_are_right() -> Result<()> {
    let assert_right = |arguments: &[&str]| -> Result<()> {
        let said = promtool(arguments, b"")?;
        let words = [said.stdout, said.stderr].concat();
        ensure!(said.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&words));
        Ok(())
    };
    let text = |path: PathBuf| path.to_str().map(str::to_owned).context("UTF-8");
    assert_right(&["check", "rules", &text(packaging("prometheus/handshake.rules.yml"))?])?;
    assert_right(&["test", "rules", &text(packaging("prometheus/handshake.rules.test.yml"))?])?;
    // The dashboard's queries, as rules.
    let dashboard = fs::read(packaging("grafana/handshake.json"))?;
    let dashboard: Value = serde_json::from_slice(&dashboard)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<&str> = targets.filter_map(|target| target["expr"].as_str()).collect();
    assert!(queries.len() > 15, "{queries:?}");
    let mut rules = "groups:\n  - name: dashboard\n    rules:\n".to_owned();
    for (number, query) in queries.into_iter().enumerate() {
        let query = query.replace("$__rate_interval", "5m").replace("$__range", "1h");
        let query = Value::from(query);
        rules += &format!("      - record: query{number}\n        expr: {query}\n");
    }
    fs::create_dir_all(scratch(""))?;
    fs::write(scratch("dashboard.yml"), rules)?;
    assert_right(&["check", "rules", &text(scratch("dashboard.yml"))?])
}

/// Values by one label.
fn by_label(series: Vec<(Value, f64)>, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (labels, value) in series {
        let key = labels[label].as_str().unwrap_or_default().to_owned();
        *sums.entry(key).or_default() += value as u64;
    }
    sums
}

fn counts(record: &Value) -> BTreeMap<String, u64> {
    let object = record.as_object().into_iter().flatten();
    object.map(|(name, count)| (name.clone(), count.as_u64().unwrap_or(u64::MAX))).collect()
}

/// Every counter that does not go on counting by itself equals the summary's.
fn assert_counters(prometheus: &Prometheus<'_>, summary: &Value) -> Result<()> {
    let mut outcomes = by_label(prometheus.query("handshake_outcomes_total")?, "outcome");
    outcomes.retain(|_, count| *count > 0);
    let mut expected = counts(&summary["outcomes"]);
    expected.retain(|_, count| *count > 0);
    assert_eq!(outcomes, expected);
    let services = by_label(prometheus.query("handshake_service_outcomes_total > 0")?, "outcome");
    assert_eq!(services, expected);
    for (query, field) in [
        ("sum(handshake_attempts_total)", &summary["started"]),
        ("handshake_open_attempts", &summary["open"]),
        ("handshake_retransmits_total{segment=\"syn\"}", &summary["syn_retrans"]),
        ("handshake_retransmits_total{segment=\"synack\"}", &summary["synack_retrans"]),
        ("handshake_uncertain_attempts_total", &summary["uncertain"]),
        ("handshake_late_copies_total", &summary["late_copies"]),
        ("handshake_disbelieved_total{segment=\"rst\"}", &summary["bad_rst"]),
        ("handshake_events_offered_total", &summary["events"]["offered"]),
        ("handshake_events_delivered_total", &summary["events"]["delivered"]),
        ("sum(handshake_events_lost_total)", &summary["events"]["lost"]),
        ("handshake_events_sampled_out_total", &summary["events"]["sampled_out"]),
        ("handshake_attempts_estimated_total", &summary["sampling"]["started"]),
        ("handshake_sampling_one_in", &summary["sampling"]["one_in"]),
        ("handshake_events_filtered_total", &summary["events"]["filtered"]),
        ("sum(handshake_packets_total)", &summary["packets_seen"]),
    ] {
        let value = prometheus.value(query).with_context(|| query.to_owned())?;
        assert_eq!(Some(value as u64), field.as_u64(), "{query}");
    }
    let packets = by_label(prometheus.query("handshake_packets_total")?, "class");
    assert_eq!(packets, counts(&summary["packets"]));
    let filter = by_label(prometheus.query("handshake_filter_total")?, "effect");
    assert_eq!(filter, counts(&summary["filter"]));
    Ok(())
}

/// The quantiles that Prometheus makes of the buckets lie at most one bucket from the engine's.
fn assert_quantiles(
    prometheus: &Prometheus<'_>,
    summary: &Value,
    series: impl Fn(&str) -> String,
    bucket: impl Fn(f64) -> i64,
) -> Result<()> {
    for part in ["server", "client", "total"] {
        for (quantile, field) in [(0.5, "p50_ns"), (0.9, "p90_ns"), (0.99, "p99_ns")] {
            let query = format!("histogram_quantile({quantile}, {})", series(part));
            let told = prometheus.value(&query)?;
            let known = summary["latency"][part][field].as_f64().context("no percentile")? / 1e9;
            let apart = (bucket(told) - bucket(known)).abs();
            println!("{part} {quantile}: {told} by buckets, {known} by the engine");
            assert!(apart <= 1, "{query}: {told} is {apart} buckets from {known}");
        }
    }
    Ok(())
}

#[test]
fn prometheus_stores_what_the_summary_says() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    // Each slow handshake is a service of its own; all of them shall have their series.
    let all = ["--metrics-services", "100", "--metrics-series", "2000"];
    let watcher = Watcher::start(&lab.server, &[&ARGUMENTS[..], &all].concat())?;
    let mut classic =
        Prometheus::start(&lab.server, (19090, ENDPOINT), &scratch("classic"), false)?;
    let mut native = Prometheus::start(&lab.server, (19091, ENDPOINT), &scratch("native"), true)?;
    let count = traffic(&lab)?;
    watcher.await_attempts(count, PATIENCE)?;
    // Nothing is under way any more: the endpoint says what the summary will say, once the packets
    // that follow a handshake have been counted, too.
    std::thread::sleep(Duration::from_millis(700));
    let scraped = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    for prometheus in [&mut classic, &mut native] {
        let newer = format!("timestamp(up{{job=\"handshake\"}}) > {}", scraped.as_secs_f64() + 0.6);
        let is_newer = || prometheus.query(&newer).is_ok_and(|series| series.len() == 1);
        eventually("another scrape", PATIENCE, is_newer)?;
        prometheus.freeze()?;
    }
    let report = watcher.stop()?;
    assert_lossless(&report);
    let summary = report.summary.as_ref().context("no summary")?;
    assert_eq!(summary["latency"]["total"]["count"], 78, "{summary}");
    for prometheus in [&classic, &native] {
        assert_counters(prometheus, summary).with_context(|| prometheus.log())?;
    }
    assert_quantiles(
        &classic,
        summary,
        |part| format!("sum by (le) (handshake_latency_seconds_bucket{{part=\"{part}\"}})"),
        |seconds| CLEAN.partition_point(|bound| *bound < seconds) as i64,
    )?;
    assert_quantiles(
        &native,
        summary,
        |part| format!("sum(handshake_latency_seconds{{part=\"{part}\"}})"),
        |seconds| (seconds.log2() * f64::from(1 << SCHEMA)).ceil() as i64,
    )?;
    let buckets = native.query("handshake_latency_seconds_bucket")?;
    assert!(buckets.is_empty(), "they are native: {buckets:?}");
    Ok(())
}

#[test]
fn copies_are_counted_while_their_attempt_is_open() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let arguments = ["-i", "srv0", "--timeout", "60s", "--metrics-listen", ENDPOINT];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    let ends = Puppets::new(&lab, Family::V4)?;
    for _ in 0..3 {
        ends.client(SYN, 0, 0)?;
    }
    for _ in 0..2 {
        ends.server(SYN | ACK, 0, 1)?;
    }
    let says = |lines: &[&str]| {
        let text = scrape(&lab, "text/plain").unwrap_or_default();
        lines.iter().all(|line| text.lines().any(|one| one == *line))
    };
    let open = [
        "handshake_open_attempts 1",
        "handshake_half_open_attempts 1",
        "handshake_attempts_total{interface=\"srv0\",role=\"server\"} 1",
        "handshake_retransmits_total{segment=\"syn\"} 2",
        "handshake_retransmits_total{segment=\"synack\"} 1",
    ];
    eventually("copies of an open attempt", PATIENCE, || says(&open))?;
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!((&summary["syn_retrans"], &summary["synack_retrans"]), (&2.into(), &1.into()));
    assert_eq!(report.attempts[0]["syn_retrans"], 2, "{:?}", report.attempts);
    Ok(())
}

#[test]
fn hostile_scrapers_do_not_disturb_the_watch() -> Result<()> {
    const FLOOD: u32 = 5_000;
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    // Room enough for the whole flood: nothing is sampled, and every SYN must be found.
    let rings = ["--ring-bytes", "4194304"];
    let watcher = Watcher::start(&lab.server, &[&ARGUMENTS[..], &rings].concat())?;
    let endpoint: SocketAddr = ENDPOINT.parse()?;
    let connect = || TcpStream::connect_timeout(&endpoint, Duration::from_secs(5));
    let idle = lab.server.enter(|| (0..100).map(|_| connect()).collect::<Vec<_>>())?;
    assert!(idle.iter().all(Result::is_ok), "the kernel's queue takes them");
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            lab.server.enter(|| {
                use std::io::{Read, Write};
                for _ in 0..300 {
                    let Ok(mut stream) = connect() else { continue };
                    drop(stream.set_read_timeout(Some(Duration::from_millis(5))));
                    drop(stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
                    drop(stream.read(&mut [0; 16]));
                }
            })
        });
        let sent = traffic::flood(&lab, FLOOD);
        assert!(busy.join().is_ok_and(|entered| entered.is_ok()));
        sent
    })?;
    let clients = traffic::complete(&lab, Family::V4, 20)?;
    std::thread::sleep(Duration::from_secs(1));
    drop(idle);
    let report = watcher.stop()?;
    let summary = assert_balanced(&report);
    assert_eq!(summary["events"]["lost"], 0, "{summary}");
    assert_eq!(summary["started"], FLOOD + clients.len() as u32, "{summary}");
    Ok(())
}

#[test]
fn a_renamed_interface_goes_on_under_its_new_name_and_a_lost_one_is_told() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &ARGUMENTS)?;
    traffic::complete(&lab, Family::V4, 3)?;
    watcher.await_attempts(3, PATIENCE)?;
    assert!(scrape(&lab, "*/*")?.contains("handshake_attempts_total{interface=\"srv0\""));
    lab.server.run(&["ip", "link", "set", "srv0", "name", "new0"])?;
    watcher.await_stderr("new0", PATIENCE)?;
    traffic::complete(&lab, Family::V4, 2)?;
    watcher.await_attempts(5, PATIENCE)?;
    let says = |words: &str| scrape(&lab, "*/*").is_ok_and(|text| text.contains(words));
    let begun = "handshake_attempts_total{interface=\"new0\",role=\"server\"} 5\n";
    eventually("both names are one series", PATIENCE, || says(begun))?;
    assert!(!says("srv0"), "{:?}", scrape(&lab, "*/*"));
    let hook = "handshake_interface_attached{interface=\"new0\",hook=\"tc-egress\",mode=\"TCX\"}";
    assert!(says(&format!("{hook} 1\n")), "{:?}", scrape(&lab, "*/*"));
    lab.server.run(&["ip", "link", "delete", "new0"])?;
    eventually("it is told", PATIENCE, || says(&format!("{hook} 0\n")))?;
    let url = format!("http://{ENDPOINT}/healthz");
    let health = lab.server.run(&["curl", "-sS", "--max-time", "5", &url])?;
    assert_eq!(health, "no interface is attached: waiting for new0\n");
    watcher.stop()?;
    Ok(())
}

#[test]
fn nobody_else_s_host_is_listened_on_unless_asked() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let arguments = ["-i", "srv0", "--metrics-listen", ":19435"];
    let watcher = Watcher::start(&lab.server, &arguments)?;
    let url = |address: &dyn std::fmt::Display| format!("http://{address}:19435/healthz");
    let local = url(&Ipv4Addr::LOCALHOST);
    assert_eq!(lab.server.run(&["curl", "-sS", "--fail", "--max-time", "5", &local])?, "ok\n");
    let outside = url(&lab.server(Family::V4, 0).ip());
    let refused = lab.client.run(&["curl", "-sS", "--max-time", "2", &outside]);
    assert!(refused.is_err(), "{refused:?}");
    watcher.stop()?;
    Ok(())
}
