//! Every outcome, provoked on the wire, is told right, with its retransmissions as tcpdump counts
//! them.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use handshake_tests::capture::{Capture, Handshake, handshakes, read_pcap};
use handshake_tests::judge::{assert_lossless, copies, ends, from_client};
use handshake_tests::lab::{Family, Lab, Namespace};
use handshake_tests::traffic::{self, Loss, Services};
use handshake_tests::watcher::{Watcher, replay};
use serde_json::Value;

/// `--timeout` of all tests here; silence must last longer than that, and two and a half times the
/// largest gap.
const TIMEOUT: &str = "2s";
const VERDICT: Duration = Duration::from_secs(12);
/// How long clients wait for what does not answer: less than until their first retransmission.
const BRIEF: Duration = Duration::from_millis(400);

/// A device and its namespace.
type Place<'a> = (&'a Arc<Namespace>, &'a str);

/// One provoked client: its family, its attempts, and the handshake that was captured.
struct Case {
    family: Family,
    attempts: Vec<Value>,
    wire: Handshake,
}

impl Case {
    /// The only attempt.
    fn only(&self) -> &Value {
        assert_eq!(self.attempts.len(), 1, "{:?}", self.attempts);
        &self.attempts[0]
    }

    /// There is one attempt, it has this outcome, and it counts copies as the capture does.
    fn assert_one(&self, outcome: &str, ended_by: &str) -> &Value {
        let attempt = self.only();
        assert_eq!(attempt["outcome"], outcome, "{attempt}");
        assert_eq!(attempt["ended_by"], ended_by, "{attempt}");
        let counted = (attempt["syn_retrans"].as_u64(), attempt["synack_retrans"].as_u64());
        let (syns, synacks) = copies(&self.wire);
        assert_eq!(counted, (Some(syns), Some(synacks)), "{attempt}");
        attempt
    }
}

/// Provokes something in both families, `expected` attempts each, under one watcher on a device.
fn provoke_at(
    lab: &Lab,
    (namespace, device): Place<'_>,
    expected: usize,
    provoke: impl Fn(&Lab, Family) -> Result<SocketAddr>,
) -> Result<Vec<Case>> {
    let _services = Services::start(lab)?;
    // A router is watched on both sides, and captured on this one.
    let pattern = if lab.router.is_some() { "rt*0" } else { device };
    let watcher = Watcher::start(namespace, &["-i", pattern, "--timeout", TIMEOUT])?;
    let capture = Capture::start(namespace, device)?;
    let mut clients = Vec::new();
    for family in Family::BOTH {
        clients.push((family, provoke(lab, family)?));
    }
    let all = watcher.await_attempts(2 * expected, VERDICT);
    let file = capture.into_file()?;
    let captured = handshakes(&read_pcap(&file)?);
    let report = watcher.stop()?;
    all.with_context(|| format!("{:?}", report.attempts))?;
    assert_lossless(&report);
    assert_replays(&report.attempts, &replay(&file, &["--timeout", TIMEOUT])?);
    let case = |(family, client)| {
        let wire = captured.iter().find(|(key, _)| key.0 == client);
        let wire = wire.map(|(_, wire)| wire.clone()).unwrap_or_default();
        let attempts = from_client(&report.attempts, client).into_iter().cloned().collect();
        Case { family, attempts, wire }
    };
    Ok(clients.into_iter().map(case).collect())
}

/// The capture, replayed, says the same of each attempt; but it ends before silence has lasted.
fn assert_replays(live: &[Value], replayed: &[Value]) {
    for attempt in live {
        let same = |other: &&Value| {
            ends(other) == ends(attempt)
                && other["client_isn"] == attempt["client_isn"]
                && other["isn_repeat"] == attempt["isn_repeat"]
        };
        let found = replayed.iter().find(same);
        let found = found.unwrap_or_else(|| panic!("not replayed: {attempt}"));
        if found["outcome"] == "unfinished" {
            assert_eq!(attempt["ended_by"], "timeout", "{attempt}");
            continue;
        }
        let same = |field: &str, found: &Value| {
            assert_eq!(&attempt[field], found, "{field}: {attempt}");
        };
        for field in ["outcome", "ended_by", "syn_retrans", "synack_retrans", "syn"] {
            same(field, &found[field]);
        }
        // A router reads the SYN-ACK where it came in, and captures it one hop later.
        let mut synack = found["synack"].clone();
        if attempt["role"] == "forwarded" && !synack.is_null() {
            synack["ttl"] = (synack["ttl"].as_u64().unwrap_or_default() + 1).into();
        }
        same("synack", &synack);
    }
}

/// The same at the server.
fn provoke(
    expected: usize,
    provoke: impl Fn(&Lab, Family) -> Result<SocketAddr>,
) -> Result<Vec<Case>> {
    let lab = Lab::direct()?;
    provoke_at(&lab, (&lab.server, "srv0"), expected, provoke)
}

fn complete(lab: &Lab, family: Family) -> Result<SocketAddr> {
    traffic::complete(lab, family, 1).map(|clients| clients[0])
}

type Provocation = fn(&Lab, Family) -> Result<SocketAddr>;

/// What can be told from the client's host, the server's and a router alike.
const EVERYWHERE: [(Provocation, &str, &str); 6] = [
    (complete, "completed", "handshake"),
    (traffic::refused, "refused", "rst"),
    (traffic::aborted, "aborted", "rst"),
    (traffic::scanned, "reset-by-client", "rst"),
    (traffic::reset_by_server, "reset-by-server", "rst"),
    (traffic::crossed, "simultaneous-open", "handshake"),
];

fn assert_everywhere(lab: &Lab, place: Place<'_>) -> Result<()> {
    for (provoke, outcome, ended_by) in EVERYWHERE {
        for case in provoke_at(lab, place, 1, provoke)? {
            case.assert_one(outcome, ended_by);
        }
    }
    Ok(())
}

#[test]
fn the_server_s_host_tells_prompt_outcomes() -> Result<()> {
    let lab = Lab::direct()?;
    assert_everywhere(&lab, (&lab.server, "srv0"))
}

#[test]
fn the_client_s_host_tells_prompt_outcomes() -> Result<()> {
    let lab = Lab::direct()?;
    assert_everywhere(&lab, (&lab.client, "cli0"))
}

#[test]
fn a_router_tells_prompt_outcomes() -> Result<()> {
    let lab = Lab::routed()?;
    assert_everywhere(&lab, (lab.router.as_ref().context("no router")?, "rtc0"))
}

#[test]
fn a_silent_port_is_no_answer() -> Result<()> {
    for case in provoke(1, |lab, family| traffic::silent(lab, family, BRIEF))? {
        let attempt = case.assert_one("no-answer", "timeout");
        assert_eq!(attempt["lat_end_ns"], 2_000_000_000_i64, "{attempt}");
    }
    Ok(())
}

#[test]
fn a_silent_port_asked_three_times_is_one_no_answer() -> Result<()> {
    let patience = Duration::from_millis(2500);
    for case in provoke(1, |lab, family| traffic::silent(lab, family, patience))? {
        assert_eq!(case.assert_one("no-answer", "timeout")["syn_retrans"], 2);
    }
    Ok(())
}

#[test]
fn an_absent_host_is_no_answer() -> Result<()> {
    for case in provoke(1, |lab, family| traffic::absent(lab, family, BRIEF))? {
        case.assert_one("no-answer", "timeout");
    }
    Ok(())
}

#[test]
fn a_full_accept_queue_is_no_answer() -> Result<()> {
    for case in provoke(1, |lab, family| traffic::queue_full(lab, family, BRIEF))? {
        case.assert_one("no-answer", "timeout");
    }
    Ok(())
}

#[test]
fn a_firewall_s_rejection_is_icmp_unreachable() -> Result<()> {
    for case in provoke(1, traffic::rejected)? {
        let (kind, code) = if case.family == Family::V4 { (3, 13) } else { (1, 1) };
        assert!(!case.attempts.is_empty());
        // On a wire without delay the kernel may try the same SYN once more: an attempt of its own.
        for (index, attempt) in case.attempts.iter().enumerate() {
            assert_eq!(attempt["outcome"], "icmp-unreachable", "{attempt}");
            assert_eq!(attempt["icmp"]["type"], kind, "{attempt}");
            assert_eq!(attempt["icmp"]["code"], code, "{attempt}");
            assert_eq!(attempt["icmp"]["quotes"], "syn", "{attempt}");
            assert_eq!(attempt["icmp"]["src"].as_str(), Some(&*ends(attempt).1.ip().to_string()));
            assert_eq!(attempt["isn_repeat"], index > 0, "{attempt}");
        }
    }
    Ok(())
}

#[test]
fn lost_syns_are_counted_and_the_attempt_completes() -> Result<()> {
    let lossy = |lab: &Lab, family| traffic::completed_despite(lab, family, Loss::Syns(2));
    for case in provoke(1, lossy)? {
        let attempt = case.assert_one("completed", "handshake");
        assert_eq!(attempt["syn_retrans"], 2, "{attempt}");
        // What the user felt, and what the network took.
        assert!(attempt["lat_total_ns"].as_i64() > Some(1_900_000_000), "{attempt}");
        assert!(attempt["rtt_server_ns"].as_i64() < Some(500_000_000), "{attempt}");
    }
    Ok(())
}

#[test]
fn a_lost_syn_ack_is_counted_and_the_attempt_completes() -> Result<()> {
    let lossy = |lab: &Lab, family| traffic::completed_despite(lab, family, Loss::SynAcks(1));
    for case in provoke(1, lossy)? {
        let attempt = case.assert_one("completed", "handshake");
        assert!(attempt["synack_retrans"].as_u64() > Some(0), "{attempt}");
    }
    Ok(())
}

#[test]
fn a_lost_third_ack_is_made_good_by_the_next() -> Result<()> {
    let lossy = |lab: &Lab, family| traffic::completed_despite(lab, family, Loss::Acks(1));
    for case in provoke(1, lossy)? {
        assert_eq!(case.assert_one("completed", "handshake")["synack_retrans"], 1);
    }
    Ok(())
}

#[test]
fn data_completes_when_the_third_ack_was_lost() -> Result<()> {
    for case in provoke(1, traffic::completed_by_data)? {
        let attempt = case.assert_one("completed", "handshake");
        assert!(attempt["ack_len"].as_u64() > Some(0), "{attempt}");
    }
    Ok(())
}

#[test]
fn a_handshake_never_acknowledged_is_half_open() -> Result<()> {
    let patience = Duration::from_millis(1300);
    for case in provoke(1, |lab, family| traffic::half_open(lab, family, patience))? {
        assert_eq!(case.assert_one("half-open", "timeout")["synack_retrans"], 1);
    }
    Ok(())
}

#[test]
fn two_kernels_that_open_to_each_other_are_one_simultaneous_open() -> Result<()> {
    for case in provoke(1, traffic::simultaneous)? {
        let attempt = case.only();
        assert_eq!(attempt["outcome"], "simultaneous-open", "{attempt}");
        assert_eq!(attempt["simultaneous"], true, "{attempt}");
    }
    Ok(())
}

#[test]
fn a_port_used_again_is_a_new_attempt_each_time() -> Result<()> {
    for case in provoke(3, |lab, family| traffic::reused(lab, family, 3))? {
        assert_eq!(case.attempts.len(), 3, "{:?}", case.attempts);
        for (attempt, syn) in case.attempts.iter().zip(&case.wire.syns) {
            assert_eq!(attempt["outcome"], "completed", "{attempt}");
            assert_eq!(attempt["client_isn"], syn.segment.seq, "{attempt}");
        }
    }
    Ok(())
}

#[test]
fn a_syn_with_another_isn_supersedes_the_one_before() -> Result<()> {
    for case in provoke(2, traffic::superseded)? {
        let told = case.attempts.iter().map(|attempt| (&attempt["outcome"], &attempt["ended_by"]));
        let told: Vec<_> = told.map(|(outcome, by)| (outcome.as_str(), by.as_str())).collect();
        let expected = [(Some("no-answer"), Some("superseded")), (Some("refused"), Some("rst"))];
        assert_eq!(told, expected);
    }
    Ok(())
}

#[test]
fn what_is_still_open_at_the_end_is_unfinished() -> Result<()> {
    let lab = Lab::direct()?;
    let _services = Services::start(&lab)?;
    let watcher = Watcher::start(&lab.server, &["-i", "srv0"])?;
    let client = traffic::silent(&lab, Family::V4, BRIEF)?;
    let report = watcher.stop()?;
    assert_lossless(&report);
    let attempts = from_client(&report.attempts, client);
    assert_eq!(attempts.len(), 1, "{:?}", report.attempts);
    assert_eq!(attempts[0]["outcome"], "unfinished");
    assert_eq!(attempts[0]["ended_by"], "eof");
    Ok(())
}
