//! Conformance of replay: captures in, attempts out, compared with what an oracle that shares no
//! code with us made of the same files (docs/outcomes.md has the rules).
//!
//! Our own captures lie in `fixtures/pcaps` with their expectations. Those of other projects are
//! only named (`fixtures/public-captures.tsv` says where each comes from): they are read from the
//! directory in `HANDSHAKE_CORPUS`, or `../shared` beside the workspace, which holds `pcaps/` and
//! `oracle/expected/`; without it the suite says how many were not run.

#[path = "replay/compare.rs"]
mod compare;
#[path = "replay/corpus.rs"]
mod corpus;
#[path = "replay/encapsulated.rs"]
mod encapsulated;
#[path = "replay/product.rs"]
mod product;
#[path = "replay/random.rs"]
mod random;

use compare::Verdict;
use corpus::{Case, Corpus, Tier};

/// Runs every case and returns the reports of those that differ.
fn differences<'a>(cases: impl Iterator<Item = &'a Case>) -> Vec<String> {
    let verdicts = cases.map(|case| compare::judge(case, &product::replay(&case.capture())));
    verdicts.filter_map(Verdict::report).collect()
}

fn assert_no_differences(reports: &[String]) {
    assert!(reports.is_empty(), "{} captures differ:\n{}", reports.len(), reports.join("\n"));
}

#[test]
fn own_captures_give_the_expected_attempts_and_statuses() {
    let own = Corpus::own();
    assert_eq!(own.cases.len(), 35, "every capture of the fixtures has an expectation");
    assert_no_differences(&differences(own.cases.iter()));
}

#[test]
fn public_core_captures_give_the_expected_attempts_and_statuses() {
    let public = Corpus::public();
    let core: Vec<_> = public.cases.iter().filter(|case| case.tier != Tier::Extended).collect();
    println!("{} public captures run, {} not run ({})", core.len(), public.absent, public.place);
    assert_no_differences(&differences(core.into_iter()));
}

/// Tunnels: replay looks into them.
#[test]
fn public_extended_captures_give_the_expected_attempts_and_encapsulations() {
    let public = Corpus::public();
    let extended: Vec<_> = public.cases.iter().filter(|case| case.tier == Tier::Extended).collect();
    let attempts: usize = extended.iter().map(|case| case.attempts.len()).sum();
    println!("extended tier: {attempts} attempts in {} captures run", extended.len());
    if public.absent == 0 {
        assert_eq!((extended.len(), attempts), (12, 25));
    }
    assert_no_differences(&differences(extended.into_iter()));
}

#[test]
fn handshake_in_every_encapsulation_is_completed_and_tagged() {
    for case in &encapsulated::CASES {
        let run = product::replay(&case.capture());
        let [line] = &run.lines[..] else { panic!("{:?}: {:?}", case.tags, run.lines) };
        let attempt: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let ends = [&attempt["client_ip"], &attempt["server_ip"], &attempt["outcome"]];
        assert_eq!(ends, ["10.0.0.1", "10.0.0.2", "completed"], "{:?}", case.tags);
        assert_eq!(attempt["lat_total_ns"], 21_000_000);
        assert_eq!(attempt["encap"], serde_json::json!(case.tags));
    }
}

/// Patterns, and what comes after a completion, are recognised behind the tracker, which is what is
/// compared.
fn of_the_tracker(lines: &[String]) -> Vec<serde_json::Value> {
    let stripped = lines.iter().map(|line| {
        let mut attempt: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for behind in ["pattern", "after"] {
            attempt[behind] = serde_json::Value::Null;
        }
        attempt
    });
    stripped.collect()
}

/// The filter may forward more than the tracker needs, never less.
#[test]
fn filter_makes_no_difference_to_any_attempt() {
    for case in Corpus::own().cases.iter().chain(&Corpus::public().cases) {
        let bytes = case.capture();
        let (with, without) = (product::replay(&bytes), product::replay_unfiltered(&bytes));
        assert!(of_the_tracker(&with.lines) == of_the_tracker(&without.lines), "{}", case.name);
        assert!(with.events <= without.events);
    }
}

/// The same of segments that no stack would send, in every order; a difference is reduced to the
/// fewest packets that show it.
#[test]
fn filter_makes_no_difference_to_random_segments() {
    let differs = |packets: &[random::Packet]| {
        let capture = random::capture(packets);
        let with = product::replay_filtered(&capture, 4);
        with.lines != product::replay_unfiltered(&capture).lines
    };
    for seed in 1..=random::runs() {
        let packets = random::packets(seed);
        if differs(&packets) {
            let fewest = random::reduce(packets, differs);
            let capture = random::capture(&fewest);
            let with = product::replay_filtered(&capture, 4).lines;
            let without = product::replay_unfiltered(&capture).lines;
            panic!("seed {seed}: {fewest:#?}\nwith:    {with:#?}\nwithout: {without:#?}");
        }
    }
}

/// The comparison itself: what is wrong must be said.
#[test]
fn tampered_expectations_are_reported_by_attempt_and_field() {
    let mut own = Corpus::own();
    let case = own.cases.iter_mut().find(|case| case.name == "lab-basic-eth.pcap");
    let case = case.expect("a fixture");
    let run = product::replay(&case.capture());
    assert_eq!(compare::judge(case, &run).report(), None);
    case.status = "truncated".to_owned();
    case.attempts[0]["outcome"] = "refused".into();
    case.attempts.remove(3);
    let report = compare::judge(case, &run).report().expect("differences");
    for words in [
        "lab-basic-eth.pcap: 10 of 11 attempts equal",
        "status: expected truncated, got ok",
        "attempt 1 (fd09::1 port 44618 to fd09::2 port 8081, packet 1): outcome: \
         expected \"refused\", got \"completed\"",
        "attempt 4 (",
        ": not expected",
    ] {
        assert!(report.contains(words), "{words:?} in\n{report}");
    }
}
