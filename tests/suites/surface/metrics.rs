//! The metrics endpoint: its formats are golden, its names are those of the documentation, and its
//! series have a limit that nobody can break.

#[path = "metrics/server.rs"]
mod server;
#[path = "metrics/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use handshake_tests::golden::assert_golden;
use handshake_user::output::prometheus::accept::Format;
use handshake_user::output::prometheus::{body, families};
use handshake_user::snapshot::metrics::Scrape;
use world::{Story, World, everything};

fn text(scrape: &Scrape, format: Format) -> String {
    let body = body(Arc::new(scrape.clone()), format).expect("it can be written");
    String::from_utf8(body).expect("text")
}

/// Series and their values.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        (series.to_owned(), value.parse().expect("a number"))
    };
    let samples: Vec<_> = lines.map(sample).collect();
    let unique: BTreeMap<_, _> = samples.iter().cloned().collect();
    assert_eq!(unique.len(), samples.len(), "a series twice");
    unique
}

/// Labels in order of their names: formats differ in where they put `le`.
fn normalised(series: &str) -> String {
    let Some((name, labels)) = series.split_once('{') else { return series.to_owned() };
    let labels: BTreeSet<_> = labels.trim_end_matches('}').split(',').collect();
    format!("{name}{labels:?}")
}

#[test]
fn both_text_formats_are_golden_and_say_the_same() {
    let scrape = everything().scrape();
    let [plain, open] = [Format::Text, Format::OpenMetrics].map(|format| text(&scrape, format));
    assert_golden("metrics/text.txt", &plain);
    assert_golden("metrics/openmetrics.txt", &open);
    let same = |text: &str| -> BTreeMap<String, f64> {
        samples(text).into_iter().map(|(series, value)| (normalised(&series), value)).collect()
    };
    assert_eq!(same(&plain), same(&open));
    assert_eq!(samples(&plain).len(), scrape.fixed() + scrape.rows.series());
}

#[test]
fn every_metric_is_shown_and_documented() {
    let shown = text(&everything().scrape(), Format::Text);
    let page = include_str!("../../../docs/metrics.md");
    for family in families::ALL {
        assert!(shown.contains(&format!("# HELP {} {}\n", family.name, family.help)), "{family:?}");
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind) = (family.name, family.kind.name());
        let row = format!("| `{name}` | {kind} | {} | {} |", labels.join(", "), family.help);
        assert!(page.contains(&row), "docs/metrics.md lacks\n{row}");
    }
    let documented = page.lines().filter(|line| {
        ["| `handshake_", "| `process_"].iter().any(|start| line.starts_with(start))
    });
    assert_eq!(documented.count(), families::ALL.len(), "docs/metrics.md has more rows");
}

#[test]
fn no_number_of_clients_services_and_interfaces_breaks_the_limit() {
    for most in [400, 1000, 2000] {
        let mut world = World::new(most, 200);
        for n in 0..100_000_u32 {
            let client =
                SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 1024 + n as u16 % 60_000));
            let server = Ipv4Addr::from(0xac10_0000 + n % 50_000);
            let server = SocketAddr::from((server, 1 + (n % 7919) as u16));
            let story = match n % 5 {
                0 => Story::Refused,
                1 => Story::Silent,
                2 => Story::Repeated(3, 1),
                _ => Story::Completed(3, 1),
            };
            world.attempt_of(n % 3, client, server, story);
            if n % 10_000 == 0 {
                assert_within(&world.scrape(), most);
            }
        }
        let scrape = world.scrape();
        assert_within(&scrape, most);
        let ended: u64 = scrape.summary.outcomes.values().sum();
        let services = scrape.rows.services.iter().map(|row| row.outcomes.iter().sum::<u64>());
        // Those whose services lost their place meanwhile are in no row; nobody is counted twice.
        let services: u64 = services.sum();
        assert!(services <= ended && services > ended * 9 / 10, "{services} of {ended}");
        let interfaces = scrape.rows.interfaces.iter().map(|row| row.attempts);
        assert_eq!(interfaces.sum::<u64>(), scrape.summary.started);
    }
}

fn assert_within(scrape: &Scrape, most: usize) {
    let text = text(scrape, Format::Text);
    let series = samples(&text);
    assert!(series.len() <= most, "{} of {most}", series.len());
    assert!(!text.contains("10.0."), "a client's address: {text}");
}

#[test]
fn counters_never_go_back_whatever_happens() {
    let mut world = World::new(400, 4);
    let mut before = BTreeMap::new();
    for round in 0..200_i64 {
        for n in 0..30 {
            // Services take turns at being busy.
            let service = (round / 20 + n * n) % 12;
            let client = format!("10.{round}.0.{n}:{}", 2000 + n);
            let server = format!("172.16.0.{service}:443");
            let story = [Story::Completed(n, 1), Story::Refused, Story::Silent][n as usize % 3];
            world.attempt((n % 3) as u32, &client, &server, story);
        }
        world.pass(30_000);
        let now = samples(&text(&world.scrape(), Format::Text));
        for (series, value) in &now {
            let is_counter = series.contains("_total") || series.contains("_bucket");
            let earlier = before.get(series).copied().unwrap_or(0.0);
            assert!(!is_counter || *value >= earlier, "{series}: {earlier} then {value}");
        }
        before.extend(now);
    }
    let services: BTreeSet<_> =
        before.keys().filter(|series| series.starts_with("handshake_service_open")).collect();
    assert!(services.len() > 5, "the places have changed hands: {services:?}");
}

#[test]
fn a_renamed_interface_keeps_its_counts_under_the_new_name_alone() {
    let mut world = everything();
    let before = samples(&text(&world.scrape(), Format::Text));
    world.rename("eth0", "lan0");
    let after = text(&world.scrape(), Format::Text);
    assert!(!after.contains("eth0"), "{after}");
    for (series, value) in samples(&after) {
        let old = series.replace("lan0", "eth0");
        assert_eq!(before.get(&old), Some(&value), "{series}");
    }
}

/// Where containers come and go, more interfaces take turns than can have series.
#[test]
fn totals_are_exact_however_many_interfaces_take_turns() {
    let mut world = World::new(400, 4);
    let mut before = BTreeMap::new();
    let mut most = 0;
    for round in 0..120_u32 {
        // A hundred interfaces, ten busy at a time; each has attempts that end when others are busy.
        for n in 0..300 {
            let busy = (round / 3 * 10 + n % 10) % 100;
            let (source, story) = match n % 3 {
                0 => (n / 3, [Story::Silent, Story::HalfOpen][n as usize % 2]),
                _ => (busy, Story::Completed(1, 1)),
            };
            let client = format!("10.{round}.{}.{}:4000", n / 100, n % 100);
            world.attempt(3 + source, &client, "172.16.0.1:443", story);
        }
        // How busy each was is nearly forgotten before others are.
        world.pass(if round % 3 == 1 { 900_000 } else { 7_000 });
        let scrape = world.scrape();
        let rows = &scrape.rows.interfaces;
        let ended = rows.iter().flat_map(|row| row.outcomes).sum::<u64>();
        let attempts = rows.iter().map(|row| row.attempts).sum::<u64>();
        assert_eq!(attempts, scrape.summary.started, "round {round}");
        assert_eq!(ended + scrape.summary.open, scrape.summary.started, "round {round}");
        most = most.max(rows.len());
        for (series, value) in samples(&text(&scrape, Format::Text)) {
            if series.starts_with("handshake_attempts_total") {
                let earlier = before.insert(series.clone(), value).unwrap_or(0.0);
                assert!(value >= earlier, "{series}: {earlier} then {value}");
            }
        }
    }
    assert_eq!(most, 33, "all places are taken, the others are one");
}

#[test]
fn native_buckets_hold_every_sample_once() {
    let scrape = everything().scrape();
    assert!(scrape.rows.latency.len() >= 6, "{:?}", scrape.rows.latency);
    for row in &scrape.rows.latency {
        let native: u64 = row.samples.exponential().map(|(_, count)| count).sum();
        let classic: u64 = row.samples.classic().iter().map(|(_, count)| count).sum();
        let count = row.samples.count();
        assert_eq!((native + row.samples.zero(), classic), (count, count), "{row:?}");
    }
}
