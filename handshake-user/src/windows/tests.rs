//! Windows against a naive recount.

use super::*;
use crate::attempt::{Attempt, Endpoint, Key};
use crate::outcome::Outcome;
use crate::snapshot::{Percentiles, Place};

fn key(service: u16, peer: u8) -> Key {
    let end = |last: [u8; 4], port| Endpoint {
        address: [0, 0, u32::from_be(0xffff), u32::from_ne_bytes(last)],
        port,
    };
    Key { client: end([10, 0, peer, 1], 4000), server: end([10, 9, 0, 1], service), ip_version: 4 }
}

/// An attempt that ended at `end`.
fn attempt(key: Key, outcome: Outcome, end: Nanos, copies: u32, latency: Nanos) -> Attempt {
    let begun = end - latency;
    let mut attempt = Attempt {
        t_first: begun,
        t_syn: Some(begun),
        t_end: Some(end),
        syn_retrans: copies,
        ..Attempt::blank(key, outcome)
    };
    if outcome.is_completed() {
        attempt.t_synack = Some(begun + latency / 3);
        attempt.t_ack = Some(end);
    }
    attempt
}

fn new() -> Windows {
    let mut windows = Windows::new();
    windows.begin(0);
    windows
}

fn record(windows: &mut Windows, attempt: &Attempt) {
    let place = Place { interface: "eth0", hook: "xdp", role: Role::Server };
    windows.record(&AttemptView { attempt, place: Some(place), to_wall: 0 });
}

/// Numbers that look random, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// The numbers of these, recounted.
fn assert_numbers(numbers: &Numbers, attempts: &[&Attempt], what: &str) {
    for outcome in Outcome::ALL {
        let count = attempts.iter().filter(|one| one.outcome == outcome).count() as u64;
        assert_eq!(numbers.outcomes[outcome as usize], count, "{what}: {}", outcome.name());
    }
    let sum = |of: fn(&Attempt) -> u64| attempts.iter().map(|one| of(one)).sum::<u64>();
    assert_eq!(numbers.syn_retrans, sum(|one| one.syn_retrans.into()), "{what}");
    assert_eq!(numbers.retransmitted, sum(|one| one.is_retransmitted().into()), "{what}");
    assert_eq!(numbers.service_failed, sum(|one| one.is_service_failure().into()), "{what}");
    let completed = attempts.iter().filter(|one| one.outcome.is_completed());
    let (again, clean): (Vec<&Attempt>, Vec<&Attempt>) =
        completed.partition(|one| one.is_retransmitted());
    let all = |of: fn(&Attempt) -> Option<Nanos>, from: &[&Attempt]| -> Vec<u64> {
        from.iter().filter_map(|one| of(one)).map(|ns| ns as u64).collect()
    };
    assert_percentiles(&numbers.server, all(Attempt::latency_server, &clean), what);
    assert_percentiles(&numbers.client, all(Attempt::latency_client, &clean), what);
    assert_percentiles(&numbers.total, all(Attempt::latency_total, &clean), what);
    assert_percentiles(&numbers.again, all(Attempt::latency_total, &again), what);
    let felt = [clean, again].concat();
    assert_percentiles(&numbers.felt, all(Attempt::latency_total, &felt), what);
}

fn assert_percentiles(told: &Percentiles, mut samples: Vec<u64>, what: &str) {
    samples.sort_unstable();
    assert_eq!(told.count, samples.len() as u64, "{what}");
    for (percent, told) in [(50, told.p50_ns), (90, told.p90_ns), (99, told.p99_ns)] {
        let rank = (samples.len() * percent).div_ceil(100).max(1);
        let expected = samples.get(rank - 1).map_or(0, |ns| scale::middle_ns(scale::bucket(*ns)));
        assert_eq!(told, expected, "{what}: p{percent} of {}", samples.len());
    }
}

/// An attempt of one of three services and peers, and whatever else.
fn thrown(dice: &mut Dice, end: Nanos) -> Attempt {
    let key = key(1 + dice.below(3) as u16, 1 + dice.below(3) as u8);
    let outcome = Outcome::ALL[dice.below(Outcome::ALL.len() as u64) as usize];
    let copies = if dice.below(4) == 0 { dice.below(4) as u32 } else { 0 };
    let most = if dice.below(3) == 0 { 90_000_000_000 } else { 3_000_000 };
    attempt(key, outcome, end, copies, 1_000 + dice.below(most) as Nanos)
}

#[test]
fn windows_are_what_a_recount_finds() {
    for seed in 0..48 {
        let mut dice = Dice(seed);
        let mut windows = new();
        let (mut clock, mut reset_at) = (1_000 * SECOND, 0);
        let mut recorded = Vec::new();
        // From a busy host to one on which little happens.
        let pace = [20, 400, 5_000, 40_000][seed as usize % 4];
        let (all, reset) = (dice.below(400), dice.below(400));
        for place in 0..all {
            clock += dice.below(pace) as Nanos * 1_000_000;
            if place == reset {
                windows.reset(clock);
                reset_at = recorded.len();
            }
            // Some are known only later.
            let late = dice.below(8_000) as Nanos * 1_000_000;
            let one = thrown(&mut dice, clock - late);
            record(&mut windows, &one);
            recorded.push(one);
        }
        let now = clock + [0, 1, 70, 800][dice.below(4) as usize] * SECOND;
        windows.advance(now);
        assert_windows(&windows, &recorded, reset_at, now);
    }
}

fn assert_windows(windows: &Windows, recorded: &[Attempt], reset_at: usize, now: Nanos) {
    let within = |place: usize, window: Window, one: &Attempt| {
        let step = if window == Window::TenSeconds { SECOND } else { 10 * SECOND };
        let end = one.t_end.expect("it has ended");
        window.slots().map_or(place >= reset_at, |slots| end / step >= now / step - slots)
    };
    let chosen = |window: Window, is: &dyn Fn(&Attempt) -> bool| -> Vec<&Attempt> {
        let places = recorded.iter().enumerate();
        let chosen = places.filter(|(place, one)| within(*place, window, one) && is(one));
        chosen.map(|(_, one)| one).collect()
    };
    let by_all = windows.all_numbers(now);
    for (place, window) in Window::ALL.into_iter().enumerate() {
        assert_numbers(&by_all[place], &chosen(window, &|_| true), window.name());
        for (service, _, numbers) in windows.services(now) {
            let of = chosen(window, &|one| one.key.server_addr() == service);
            assert_numbers(&numbers[place], &of, window.name());
        }
        for (peer, _, numbers) in windows.peers(now) {
            let of = chosen(window, &|one| network(one.key.client_addr().ip()) == peer);
            assert_numbers(&numbers[place], &of, window.name());
        }
        for (_, _, numbers) in windows.places(now) {
            assert_numbers(&numbers[place], &chosen(window, &|_| true), window.name());
        }
    }
}

#[test]
fn a_scan_of_100_000_services_takes_bounded_room_and_loses_no_count() {
    let mut windows = new();
    for number in 0..100_000_u32 {
        let key = key((number % 60_000) as u16, (number / 60_000) as u8 + 1);
        let end = Nanos::from(number) * SECOND / 1_000;
        record(&mut windows, &attempt(key, Outcome::Refused, end, 0, 1_000_000));
    }
    let now = 100 * SECOND;
    windows.advance(now);
    let known: u64 = windows.services(now).map(|(_, _, numbers)| numbers[4].ended()).sum();
    let [other, _] = windows.others(now);
    assert_eq!(known + other[Window::Start as usize].ended(), 100_000);
    assert!(windows.services(now).count() <= MOST);
    assert_eq!(windows.services.bytes(), recounted(&windows.services));
}

#[test]
fn a_port_that_was_only_scanned_is_no_service() {
    let mut windows = new();
    record(&mut windows, &attempt(key(443, 1), Outcome::Completed, SECOND, 0, 1_000_000));
    for port in 1..=300 {
        let refused = attempt(key(port, 2), Outcome::Refused, SECOND, 0, 1_000_000);
        record(&mut windows, &Attempt { pattern: Some(Pattern::Scan), ..refused });
    }
    let scanned = attempt(key(443, 2), Outcome::ResetByClient, SECOND, 0, 1_000_000);
    record(&mut windows, &Attempt { pattern: Some(Pattern::Scan), ..scanned });
    let now = 2 * SECOND;
    windows.advance(now);
    let services: Vec<_> = windows.services(now).map(|(_, _, n)| n[4].ended()).collect();
    assert_eq!(services, [2]);
    assert_eq!(windows.others(now)[0][Window::Start as usize].ended(), 300);
}

/// Every service and every peer busy in every slot, with latencies all over the scale.
#[test]
fn the_busiest_host_stays_within_its_bytes_and_its_windows_tell_how_long_they_are() {
    const BYTES: usize = 1 << 19;
    const SERVICES: u16 = 50;
    let mut windows = new();
    windows.services = Store::new(MOST, BYTES);
    let mut latency = 1_000;
    for ten in 0..92 {
        for service in 0..SERVICES {
            for turn in 0..16 {
                latency = latency * 7 % 99_999_999_989;
                let end = ten * 10 * SECOND + turn;
                let key = key(service, service as u8);
                let one = attempt(key, Outcome::Completed, end, 0, latency);
                record(&mut windows, &one);
            }
        }
        assert!(windows.services.bytes() <= BYTES);
    }
    let now = 920 * SECOND;
    assert_eq!(windows.services.bytes(), recounted(&windows.services));
    let (_, _, numbers) = windows.services(now).next().expect("many");
    let [_, minute, _, fifteen, start] = numbers;
    assert!(minute.span >= 60 * SECOND, "a minute always fits");
    assert!(fifteen.span < 900 * SECOND, "15 minutes do not");
    assert_eq!(fifteen.ended() as i64, fifteen.span / (10 * SECOND) * 16);
    assert_eq!(start.ended(), 92 * 16);
}

fn recounted(store: &Store<SocketAddr>) -> usize {
    store.iter().map(|(_, series)| series).chain([store.other()]).map(Series::slot_bytes).sum()
}

#[test]
fn a_renamed_interface_keeps_its_numbers_and_those_that_come_and_go_take_bounded_room() {
    let mut windows = new();
    let one = attempt(key(1, 1), Outcome::Refused, SECOND, 0, 1_000);
    let record = |windows: &mut Windows, interface: &str| {
        let place = Place { interface, hook: "xdp", role: Role::Server };
        windows.record(&AttemptView { attempt: &one, place: Some(place), to_wall: 0 });
    };
    record(&mut windows, "veth0");
    windows.rename("veth0", "pod");
    record(&mut windows, "pod");
    record(&mut windows, "eth0");
    windows.rename("eth0", "pod");
    (0..1_000).for_each(|number| record(&mut windows, &format!("veth{number}")));
    let places = windows.places(SECOND);
    let of = |name: &str| places.iter().find(|(one, ..)| *one == name).map(|(.., n)| n[0].ended());
    assert_eq!(of("pod"), Some(3));
    assert!(places.len() <= MOST_PLACES + 1);
    assert_eq!(places.iter().map(|(.., numbers)| numbers[0].ended()).sum::<u64>(), 1_003);
}

#[test]
fn a_reset_begins_anew_only_what_is_since_the_start() {
    let mut windows = new();
    let one = attempt(key(1, 1), Outcome::Completed, 5 * SECOND, 0, 1_000);
    record(&mut windows, &one);
    windows.reset(6 * SECOND);
    let numbers = windows.all_numbers(8 * SECOND);
    assert_eq!(numbers.map(|one| one.ended()), [1, 1, 1, 1, 0]);
    assert_eq!(numbers[4].span, 2 * SECOND);
    assert!(windows.service(&one.key.server_addr()).is_some_and(Series::has_completed));
}
