//! Slow or not, by tables of minutes.
use super::*;

const SECOND: Nanos = 1_000_000_000;

fn latencies(count: u64, p90_ms: f64, p99_ms: f64) -> Percentiles {
    let ns = |ms: f64| (ms * 1e6) as u64;
    let (p90_ns, p99_ns) = (ns(p90_ms), ns(p99_ms));
    Percentiles { count, p50_ns: p90_ns / 2, p90_ns, p99_ns, max_ns: p99_ns }
}

/// Completed attempts, those retransmitted, and p90 and p99 of the server's half in milliseconds.
fn sample(completed: u64, retransmitted: u64, p90_ms: f64, p99_ms: f64) -> Sample {
    Sample {
        completed,
        retransmitted,
        syn_copies: retransmitted,
        synack_copies: 0,
        server: latencies(completed - retransmitted, p90_ms, p99_ms),
        client: latencies(completed - retransmitted, 0.1, 0.2),
    }
}

#[test]
fn slow_is_far_above_what_is_usual_and_rests_on_enough() {
    let nothing = Sample::default();
    let near = sample(14_000, 7, 0.2, 0.5);
    let far = sample(14_000, 7, 190.0, 205.0);
    let lossy = sample(14_000, 700, 0.2, 0.5);
    let p99 = Some((Half::Server, Why::P99));
    let again = Some((Half::Server, Why::Retransmitted));
    for (what, minute, usual, verdict) in [
        ("nothing at all", nothing, nothing, None),
        ("a quiet minute", nothing, near, None),
        ("as usual", sample(1_000, 0, 0.2, 0.6), near, None),
        ("200 ms more", sample(1_000, 0, 200.0, 201.0), near, p99),
        ("only one in fifty is slow", sample(1_000, 0, 0.2, 201.0), near, p99),
        ("five times a little", sample(1_000, 0, 1.0, 2.5), near, None),
        ("just below 20 ms more", sample(1_000, 0, 1.0, 20.4), near, None),
        ("20 ms more", sample(1_000, 0, 1.0, 20.6), near, p99),
        ("far away and always so", sample(1_000, 0, 200.0, 210.0), far, None),
        ("far away, twice as slow", sample(1_000, 0, 400.0, 420.0), far, None),
        ("far away, four times as slow", sample(1_000, 0, 800.0, 820.0), far, p99),
        ("one outlier of a few", sample(100, 0, 0.2, 300.0), near, None),
        ("a tenth of a few", sample(100, 0, 300.0, 300.0), near, p99),
        ("too few samples", sample(19, 0, 300.0, 300.0), near, None),
        ("nothing to compare with", sample(1_000, 0, 300.0, 300.0), nothing, None),
        (
            "too little to compare with",
            sample(1_000, 0, 300.0, 300.0),
            sample(19, 0, 0.2, 0.5),
            None,
        ),
        ("a copy now and then", sample(1_000, 19, 0.2, 0.5), near, None),
        ("5% again", sample(500, 25, 0.2, 0.5), near, again),
        ("5% again, of too few", sample(80, 4, 0.2, 0.5), near, None),
        ("5% again, from the start", sample(500, 25, 0.2, 0.5), nothing, again),
        ("5% again, as always", sample(500, 25, 0.2, 0.5), lossy, None),
        ("15% again instead of 5%", sample(500, 80, 0.2, 0.5), lossy, again),
        ("all again", sample(30, 30, 0.0, 0.0), near, again),
        ("slow and again: what costs a second", sample(500, 50, 200.0, 200.0), near, again),
    ] {
        let told = judge(&minute, &usual).map(|slow| (slow.half, slow.why));
        assert_eq!(told, verdict, "{what}");
    }
}

#[test]
fn the_half_is_that_of_the_longer_wait_and_of_the_copies() {
    let usual = sample(14_000, 0, 0.2, 0.5);
    let mut minute = sample(1_000, 0, 50.0, 60.0);
    minute.client = latencies(1_000, 100.0, 110.0);
    assert_eq!(judge(&minute, &usual).map(|slow| slow.half), Some(Half::Client));
    for (what, syn_copies, synack_copies, half) in [
        ("SYNs are lost", 50, 0, Half::Server),
        ("third ACKs are lost", 0, 50, Half::Client),
        ("SYN-ACKs are lost, so both come again", 50, 50, Half::Client),
        ("an unanswered SYN-ACK beside lost SYNs", 50, 3, Half::Server),
        ("nothing is told of copies", 0, 0, Half::Server),
    ] {
        let minute = Sample { syn_copies, synack_copies, ..sample(1_000, 50, 0.2, 0.5) };
        assert_eq!(judge(&minute, &usual).map(|slow| slow.half), Some(half), "{what}");
    }
}

#[test]
fn the_evidence_is_told() {
    let (minute, usual) = (sample(1_000, 0, 200.0, 201.0), sample(14_000, 140, 0.2, 0.5));
    let slow = judge(&minute, &usual).expect("slow");
    assert_eq!((slow.p99_ns, slow.usual_p99_ns), (201_000_000, Some(500_000)));
    assert_eq!((slow.completed, slow.retransmitted), (1_000, 0));
    assert!((slow.usual_retransmitted_part - 0.01).abs() < 1e-9);
    let unknown = judge(&sample(500, 25, 0.2, 0.5), &Sample::default()).expect("slow");
    assert_eq!(unknown.usual_p99_ns, None);
}

/// Seconds at which it was slow, as (since, last), of minutes and what is usual meanwhile.
fn spells(course: &[(i64, Sample, Sample)]) -> Vec<(i64, i64)> {
    let mut watch = Watch::default();
    let mut spells: Vec<(i64, i64)> = Vec::new();
    let mut now = 0;
    for (seconds, minute, usual) in course {
        for _ in 0..*seconds {
            if let Some((since, _)) = watch.judge(now * SECOND, minute, usual) {
                let since = since / SECOND;
                match spells.last_mut().filter(|last| last.0 == since) {
                    Some(last) => last.1 = now,
                    None => spells.push((since, now)),
                }
            }
            now += 1;
        }
    }
    spells
}

#[test]
fn it_is_slow_until_it_is_well_again_whatever_is_usual_by_then() {
    let usual = sample(14_000, 0, 0.2, 0.5);
    let polluted = sample(14_000, 0, 100.0, 200.0);
    let good = sample(1_000, 0, 0.2, 0.6);
    let slow = sample(1_000, 0, 200.0, 201.0);
    let between = sample(1_000, 0, 10.0, 15.0);
    let quiet = Sample::default();
    for (what, course, expected) in [
        ("never", &[(100, good, usual)][..], &[][..]),
        (
            "what is usual soon has the slow minutes",
            &[(5, slow, usual), (100, slow, polluted)],
            &[(0, 104)],
        ),
        ("over after ten good seconds", &[(50, slow, usual), (50, good, usual)], &[(0, 59)]),
        ("over when nothing connects", &[(50, slow, usual), (50, quiet, usual)], &[(0, 59)]),
        (
            "a lull does not end it",
            &[(50, slow, usual), (9, good, usual), (50, slow, polluted), (20, good, usual)],
            &[(0, 118)],
        ),
        ("between, nothing begins", &[(50, between, usual)], &[]),
        ("between, nothing ends", &[(50, slow, usual), (50, between, usual)], &[(0, 99)]),
        ("after an hour it is usual", &[(1, slow, usual), (4_000, slow, polluted)], &[(0, 3_599)]),
        (
            "a second one is a new one",
            &[(5, slow, usual), (20, good, usual), (5, slow, usual)],
            &[(0, 14), (25, 29)],
        ),
    ] {
        assert_eq!(spells(course), expected, "{what}");
    }
}
