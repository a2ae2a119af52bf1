//! What must be true of every report, and how an attempt is held against the capture. Failures
//! panic with what was found, as assertions do.
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use crate::capture::{Handshake, Packet};
use crate::watcher::Report;

/// How far the program's latencies may be from tcpdump's.
pub const LATENCY_TOLERANCE_NS: i64 = 1_000_000;
/// How far its wall-clock times may be: the clocks are compared only now and then.
pub const CLOCK_TOLERANCE_NS: i64 = 5_000_000;

/// The books balance: attempts started = ended + open, events offered = delivered + lost + sampled
/// out (as the records of sampling say, too), packets seen = the sum of their classes, and there is
/// one record for each ended attempt that is not hidden.
pub fn assert_balanced(report: &Report) -> &Value {
    assert!(report.status.success(), "{}: {}", report.status, report.stderr);
    assert_eq!(report.garbage, Vec::<String>::new(), "lines that are not JSON");
    let summary = report.summary.as_ref().expect("the last record is a summary");
    let outcomes = sum(&summary["outcomes"]);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value}: {summary}"));
    let started = number(&summary["started"]);
    assert_eq!(started, outcomes + number(&summary["open"]), "attempts: {summary}");
    let shown = report.attempts.len() as u64;
    assert_eq!(shown + number(&summary["hidden"]), outcomes, "records: {summary}");
    let events = &summary["events"];
    let sampled_out = number(&events["sampled_out"]);
    let accounted = number(&events["delivered"]) + number(&events["lost"]) + sampled_out;
    assert_eq!(number(&events["offered"]), accounted, "events: {summary}");
    let told: u64 = report.samplings.iter().map(|record| number(&record["count"])).sum();
    assert_eq!(told, sampled_out, "{:?} {summary}", report.samplings);
    assert_eq!(number(&summary["packets_seen"]), sum(&summary["packets"]), "packets: {summary}");
    summary
}

/// Nothing was lost, evicted or guessed.
pub fn assert_lossless(report: &Report) {
    let summary = assert_balanced(report);
    assert_eq!(summary["events"]["lost"], 0, "{summary}");
    assert_eq!(report.losses, Vec::<Value>::new());
    for attempt in &report.attempts {
        assert_eq!(attempt["uncertain"], false, "{attempt}");
    }
}

/// Sum of the numbers of an object.
#[must_use]
pub fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().unwrap_or_else(|| panic!("not an object: {counts}"));
    counts.values().filter_map(Value::as_u64).sum()
}

/// Client and server of an attempt.
#[must_use]
pub fn ends(attempt: &Value) -> (SocketAddr, SocketAddr) {
    let end = |ip: &str, port: &str| {
        let ip: Option<IpAddr> = attempt[ip].as_str().and_then(|ip| ip.parse().ok());
        let port = attempt[port].as_u64().and_then(|port| u16::try_from(port).ok());
        ip.zip(port).map(SocketAddr::from).unwrap_or_else(|| panic!("no address: {attempt}"))
    };
    (end("client_ip", "client_port"), end("server_ip", "server_port"))
}

/// The attempts from one client address, in order.
#[must_use]
pub fn from_client(attempts: &[Value], client: SocketAddr) -> Vec<&Value> {
    attempts.iter().filter(|attempt| ends(attempt).0 == client).collect()
}

/// Nanoseconds of a time as records have it: a string of seconds with nine decimals.
fn wall_clock_ns(time: &Value) -> i64 {
    let digits = time.as_str().unwrap_or_default().replacen('.', "", 1);
    digits.parse().unwrap_or_else(|_| panic!("not a time: {time}"))
}

/// A completed attempt has the ISNs of the capture. Are its times within the tolerance, too? On a busy
/// machine whoever took a packet may be held up before the other took it: a few may be off.
#[must_use]
pub fn agrees(attempt: &Value, captured: &HashMap<(SocketAddr, SocketAddr), Handshake>) -> bool {
    let handshake = captured.get(&ends(attempt));
    let handshake = handshake.unwrap_or_else(|| panic!("not captured: {attempt}"));
    let first = |packets: &[Packet], what: &str| {
        packets.first().cloned().unwrap_or_else(|| panic!("no {what} captured: {attempt}"))
    };
    let syn = first(&handshake.syns, "SYN");
    let synack = first(&handshake.synacks, "SYN-ACK");
    let ack = first(&handshake.acks, "ACK");
    assert_eq!(attempt["client_isn"], syn.segment.seq, "{attempt}");
    assert_eq!(attempt["server_isn"], synack.segment.seq, "{attempt}");
    let parts = [
        ("lat_syn_synack_ns", &syn, &synack),
        ("lat_synack_ack_ns", &synack, &ack),
        ("lat_total_ns", &syn, &ack),
    ];
    let off = parts.map(|(part, from, to)| {
        let latency = attempt[part].as_i64().unwrap_or_else(|| panic!("no {part}: {attempt}"));
        (latency - (to.time_ns - from.time_ns)).abs()
    });
    let clock = (wall_clock_ns(&attempt["t_syn"]) - syn.time_ns).abs();
    let agrees = off.iter().all(|off| *off < LATENCY_TOLERANCE_NS) && clock < CLOCK_TOLERANCE_NS;
    if !agrees {
        println!("parts {off:?} ns off, t_syn {clock} ns: {attempt}");
    }
    agrees
}

/// Retransmissions as the capture counts them up to the moment the attempt ended: SYNs and SYN-ACKs
/// beyond the first, before the client's first ACK if there was one.
#[must_use]
pub fn copies(handshake: &Handshake) -> (u64, u64) {
    let end = handshake.acks.first().map_or(i64::MAX, |ack| ack.time_ns);
    let before = |packets: &[Packet]| {
        let count = packets.iter().filter(|packet| packet.time_ns < end).count();
        count.saturating_sub(1) as u64
    };
    (before(&handshake.syns), before(&handshake.synacks))
}
