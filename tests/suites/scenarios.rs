//! The tracker against scenarios: data files that a network engineer can read and write.
//!
//! A file in `fixtures/scenarios` is a list of segments and expectations, one a line:
//!
//! ```text
//! 0.000 C SYN seq=100 len=0 @0      time, sender, flags, numbers, source (hook) that saw it
//! 0.010 S SYN,ACK seq=300 ack=101
//! 0.030 R ICMP type=3 code=1 quotes=C seq=100
//! 0.040 C ACK seq=101 => not-ours   what the segment must mean to the tracker
//! 0.050 C SYN seq=900 => begins 2   and to which attempt
//! 9.000 -                           only time passes
//! expect completed syn_retrans=0 lat_total_ns=20000000
//! ```
//!
//! `C` and `S` are the two ends, `R` a router; `port=` sets the client's port. `0.5 loss` says that
//! events were lost, `0.5 reload` that another filter was chosen, `0.5 gap @1` that a hook may have
//! missed some, `config` sets `timeout=` and
//! `max_attempts=`. Expectations are checked in order of the attempts' first packets, with the
//! field names of the JSON record. Verdicts (`=>`) are those of `verdict.rs`.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use handshake_common::event::{Event, kind};
use handshake_common::packet::tunnel::Layers;
use handshake_user::attempt::{Attempt, Observation};
use handshake_user::outcome::Doubt;
use handshake_user::output::json;
use handshake_user::snapshot::AttemptView;
use handshake_user::tracker::{Config, Tracker};
use handshake_user::verdict::{Judged, Verdict};
use serde_json::Value;

const CLIENT: (u32, u16) = (0x0a00_0001, 40_000);
const SERVER: (u32, u16) = (0x0a00_0002, 80);

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scenarios");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the scenarios are in the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    assert!(files.len() >= 20, "only {} scenarios found", files.len());
    files
}

#[test]
fn every_scenario_ends_as_it_says() {
    let failures: Vec<String> = files().iter().flat_map(|file| run(file)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_verdict_is_expected_by_a_scenario() {
    let texts: Vec<String> =
        files().iter().map(|file| fs::read_to_string(file).expect("a readable scenario")).collect();
    let expected: HashSet<&str> = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.split_once("=>")?.1.split_whitespace().next())
        .collect();
    // What follows a completion is seen behind the tracker.
    let of_tracker = Verdict::ALL.iter().filter(|verdict| **verdict != Verdict::Follows);
    let missing: Vec<_> =
        of_tracker.map(|v| v.name()).filter(|name| !expected.contains(name)).collect();
    assert!(missing.is_empty(), "no scenario expects {missing:?}");
}

/// Runs one file and returns what was not as it says.
fn run(file: &Path) -> Vec<String> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = fs::read_to_string(file).expect("a readable scenario");
    let mut config = Config { timeout: 10_000_000_000, linger: 60_000_000_000, max_attempts: 1000 };
    let mut expectations = Vec::new();
    let mut steps = Vec::new();
    for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
        match line.split_once(' ') {
            _ if line.is_empty() => {}
            Some(("expect", rest)) => expectations.push(rest.to_owned()),
            Some(("config", rest)) => configure(&mut config, rest),
            _ => steps.push(line.to_owned()),
        }
    }
    let mut tracker = Tracker::new(config);
    let mut failures = Vec::new();
    for step in &steps {
        let (step, meaning) =
            step.split_once("=>").map_or((&**step, None), |(step, meaning)| (step, Some(meaning)));
        let judged = apply(&mut tracker, step);
        failures.extend(judge(&name, step, judged, meaning));
        assert_balance(&name, &tracker);
    }
    tracker.finish();
    assert_balance(&name, &tracker);
    let mut attempts: Vec<Attempt> = tracker.drain().collect();
    attempts.sort_by_key(|attempt| attempt.id);
    failures.extend(compare(&name, &attempts, &expectations));
    failures
}

/// What is wrong with the verdict on a segment, if the scenario expects one.
fn judge(name: &str, step: &str, judged: Option<Judged>, meaning: Option<&str>) -> Option<String> {
    let meaning = meaning?.trim();
    let judged = judged.unwrap_or_else(|| panic!("{name}: no segment in {step:?}"));
    let attempt = judged.attempt.map_or(String::new(), |id| format!(" {id}"));
    let got = judged.verdict.name();
    let fits = meaning == got || meaning == format!("{got}{attempt}");
    (!fits).then(|| format!("{name}: {step}: expected {meaning}, got {got}{attempt}"))
}

fn assert_balance(name: &str, tracker: &Tracker) {
    let stats = tracker.stats();
    let open: HashSet<_> = tracker.open_attempts().map(|view| view.id).collect();
    assert_eq!(open.len(), tracker.open(), "{name}: every open attempt is seen once");
    assert_eq!(stats.started, stats.ended() + tracker.open() as u64, "{name}: books must balance");
}

fn configure(config: &mut Config, text: &str) {
    for (key, value) in pairs(text) {
        match key {
            "timeout" => config.timeout = nanos(value) as i64,
            "max_attempts" => config.max_attempts = value.parse().expect("a number"),
            _ => panic!("unknown setting {key}"),
        }
    }
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().filter_map(|word| word.split_once('='))
}

fn nanos(seconds: &str) -> u64 {
    let seconds: f64 = seconds.parse().unwrap_or_else(|_| panic!("no time: {seconds}"));
    (seconds * 1e9).round() as u64
}

/// Does what a line says; what the tracker made of it, if it is a segment.
fn apply(tracker: &mut Tracker, step: &str) -> Option<Judged> {
    let mut words = step.split_whitespace();
    let time = nanos(words.next().expect("a time"));
    match words.next().expect("a sender") {
        "-" => _ = tracker.expire(time as i64),
        "loss" => tracker.note_loss(time as i64),
        "reload" => tracker.note_reload(time as i64),
        "gap" => {
            let source = words.next().and_then(|word| word.strip_prefix('@'));
            let source = source.and_then(|number| number.parse().ok()).expect("@source");
            tracker.note_gap(source, time as i64);
        }
        sender => {
            let flags = words.next().expect("flags");
            let rest = words.collect::<Vec<_>>().join(" ");
            let source = rest.split('@').nth(1).map_or(0, |n| n.trim().parse().expect("a source"));
            let event = event(time, sender, flags, &rest);
            let layers = Layers::NONE;
            return Some(tracker.observe(&Observation { event, source, frame: 0, layers }));
        }
    }
    None
}

fn event(time_ns: u64, sender: &str, flags: &str, fields: &str) -> Event {
    let mut event = Event { time_ns, ip_version: 4, ttl: 64, ..Event::ZERO };
    let mut from = sender;
    for (key, value) in pairs(fields) {
        let number = || value.parse::<u32>().unwrap_or_else(|_| panic!("{key}={value}"));
        match key {
            "seq" => event.seq = number(),
            "ack" => event.ack = number(),
            "len" => event.payload_len = number(),
            "type" => event.icmp_type = number() as u8,
            "code" => event.icmp_code = number() as u8,
            "quotes" => from = value,
            "port" => {}
            _ => panic!("unknown field {key}"),
        }
    }
    let port = pairs(fields).find(|(key, _)| *key == "port").map(|(_, value)| value);
    let client_port = port.map_or(CLIENT.1, |port| port.parse().expect("a port"));
    let (client, server) = ((CLIENT.0, client_port), SERVER);
    let (source, dest) = if from == "C" { (client, server) } else { (server, client) };
    let mapped = |address: u32| [0, 0, 0xffff_u32.to_be(), address.to_be()];
    (event.source, event.source_port) = (mapped(source.0), source.1);
    (event.dest, event.dest_port) = (mapped(dest.0), dest.1);
    let bits = |name: &str| match name {
        "FIN" => 0x01,
        "SYN" => 0x02,
        "RST" => 0x04,
        "PSH" => 0x08,
        "ACK" => 0x10,
        "ICMP" => 0,
        _ => panic!("unknown flag {name}"),
    };
    event.tcp_flags = flags.split(',').map(bits).sum();
    event.kind = match event.tcp_flags {
        _ if flags == "ICMP" => kind::ICMP,
        f if f & 0x04 != 0 => kind::RST,
        f if f & 0x12 == 0x12 => kind::SYN_ACK,
        f if f & 0x02 != 0 => kind::SYN,
        _ => kind::ACK,
    };
    event
}

fn compare(name: &str, attempts: &[Attempt], expectations: &[String]) -> Vec<String> {
    let mut failures = Vec::new();
    if attempts.len() != expectations.len() {
        let got: Vec<_> = attempts.iter().map(|attempt| attempt.outcome.name()).collect();
        failures.push(format!("{name}: expected {} attempts, got {got:?}", expectations.len()));
    }
    for (attempt, expectation) in attempts.iter().zip(expectations) {
        let view = AttemptView { attempt, place: None, to_wall: 0 };
        let record = serde_json::to_value(json::attempt(&view)).expect("a serialisable record");
        let outcome = expectation.split_whitespace().next().unwrap_or_default();
        let mut check = |field: &str, got: &str, want: &str| {
            if got != want {
                let id = attempt.id;
                failures.push(format!("{name}: attempt {id}: {field}: expected {want}, got {got}"));
            }
        };
        check("outcome", attempt.outcome.name(), outcome);
        for (field, want) in pairs(expectation) {
            let got = match &record[field] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let doubt = attempt.uncertain;
            let got = match field {
                "uncertain" => doubt.is_some().to_string(),
                "doubt" => doubt.map_or("none", Doubt::name).to_owned(),
                _ => got,
            };
            check(field, &got, want);
        }
    }
    failures
}
