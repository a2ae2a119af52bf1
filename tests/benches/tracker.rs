//! `cargo xtask bench tracker`: events per second on one core, bytes per open attempt, the longest
//! stall of an expiry.
//!
//! Rates are by the CPU time of the thread, which stands still while other programs run; by the clock
//! beside it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use handshake_common::event::{Event, kind};
use handshake_common::packet::tunnel::Layers;
use handshake_tests::figures::{Quartiles, tell};
use handshake_tests::process::thread_cpu;
use handshake_user::attempt::Observation;
use handshake_user::census::Census;
use handshake_user::series::{DEFAULT_SERIES, DEFAULT_SERVICES, Series};
use handshake_user::tracker::{Config, Tracker};

/// Counts the bytes that are allocated now.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every request to the system's allocator and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ROUNDS: usize = 9;
const FLOWS: u32 = 1_000_000;
const SECOND: i64 = 1_000_000_000;
/// What Linux sends: MSS, SACK permitted, timestamps, window scale.
const OPTIONS: [u8; 20] = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];

fn main() {
    rate("completed", 3 * u64::from(FLOWS), usize::MAX, &handshakes(), false);
    rate("completed, counted for scrapes", 3 * u64::from(FLOWS), usize::MAX, &handshakes(), true);
    rate("flood", u64::from(FLOWS), 65_536, &syns(), false);
    scrape();
    million_open();
    million_answered();
}

fn config(max_attempts: usize) -> Config {
    Config { timeout: 10 * SECOND, linger: 60 * SECOND, max_attempts: max_attempts.min(4_000_000) }
}

fn event(flow: u32, time_ns: u64, kind: u8) -> Observation {
    let (client, server) =
        ([0, 0, 0xffff_u32.to_be(), flow.to_be()], [0, 0, 0xffff_u32.to_be(), 1]);
    let from_server = kind == kind::SYN_ACK;
    let (source, dest) = if from_server { (server, client) } else { (client, server) };
    let (source_port, dest_port) = if from_server { (443, 40_000) } else { (40_000, 443) };
    let (seq, ack) = match kind {
        kind::SYN => (flow, 0),
        kind::SYN_ACK => (!flow, flow.wrapping_add(1)),
        _ => (flow.wrapping_add(1), (!flow).wrapping_add(1)),
    };
    let tcp_flags = match kind {
        kind::SYN => 0x02,
        kind::SYN_ACK => 0x12,
        _ => 0x10,
    };
    let mut event = Event {
        time_ns,
        source,
        dest,
        source_port,
        dest_port,
        seq,
        ack,
        tcp_flags,
        kind,
        ip_version: 4,
        ..Event::ZERO
    };
    if kind != kind::ACK {
        event.extra[..OPTIONS.len()].copy_from_slice(&OPTIONS);
        event.extra_len = OPTIONS.len() as u8;
    }
    Observation { event, source: 0, frame: 0, layers: Layers::NONE }
}

/// A million handshakes, a thousand under way at any time, 100,000 a second.
fn handshakes() -> Vec<Observation> {
    let mut events = Vec::with_capacity(3 * FLOWS as usize);
    for flow in 0..FLOWS + 1000 {
        let time = u64::from(flow) * 10_000;
        if flow < FLOWS {
            events.push(event(flow, time, kind::SYN));
        }
        if (500..FLOWS + 500).contains(&flow) {
            events.push(event(flow - 500, time + 1, kind::SYN_ACK));
        }
        if flow >= 1000 {
            events.push(event(flow - 1000, time + 2, kind::ACK));
        }
    }
    events
}

/// A segment of each of a million flows, a million a second.
fn of_all(kind: u8, begun_ns: u64) -> Vec<Observation> {
    (0..FLOWS).map(|flow| event(flow, begun_ns + u64::from(flow) * 1000, kind)).collect()
}

/// A million SYNs of different sources, a million a second.
fn syns() -> Vec<Observation> {
    of_all(kind::SYN, 0)
}

fn rate(name: &str, events: u64, max_attempts: usize, input: &[Observation], counted: bool) {
    let (mut busy, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut tracker = Tracker::new(config(max_attempts));
        if counted {
            tracker.keep_census(Census::default());
        }
        let (start, cpu) = (Instant::now(), thread_cpu());
        for chunk in input.chunks(4096) {
            tracker.observe_batch(chunk, |_, judged| _ = black_box(judged));
            black_box(tracker.drain().count());
            black_box(tracker.census_mut().map(|census| census.take_begun().count()));
        }
        busy.push(events as f64 / (thread_cpu() - cpu).as_secs_f64() / 1e6);
        wall.push(events as f64 / start.elapsed().as_secs_f64() / 1e6);
        assert_eq!(tracker.stats().started, u64::from(FLOWS), "every flow is an attempt");
    }
    let beside = [("by the clock", Quartiles::of(&wall).median)];
    tell("tracker", name, "million events/CPU s", &busy, &beside);
}

/// What a scrape needs of 60,000 open attempts, each at another service: read from the census, and by
/// a walk over all of them.
fn scrape() {
    const OPEN: u32 = 60_000;
    let mut tracker = Tracker::new(config(usize::MAX));
    let before = ALLOCATED.load(Ordering::Relaxed);
    tracker.keep_census(Census::default());
    for flow in 0..OPEN {
        let mut syn = event(flow, u64::from(flow), kind::SYN);
        syn.event.dest_port = 1 + flow as u16;
        tracker.observe(&syn);
    }
    let with_census = ALLOCATED.load(Ordering::Relaxed) - before;
    let mut series = Series::new(DEFAULT_SERIES, DEFAULT_SERVICES);
    let (mut counted, mut walked) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let cpu = thread_cpu();
        let census = tracker.census().expect("it is kept");
        let rows = black_box(series.rows(SECOND, 100, census));
        counted.push((thread_cpu() - cpu).as_secs_f64() * 1e6);
        assert_eq!(rows.services.iter().map(|row| row.open).sum::<u64>(), u64::from(OPEN));
        let cpu = thread_cpu();
        let mut services: HashMap<SocketAddr, u64> = HashMap::new();
        for open in tracker.open_attempts() {
            *services.entry(open.key.server_addr()).or_default() += 1;
        }
        assert_eq!(black_box(&services).len(), OPEN as usize);
        walked.push((thread_cpu() - cpu).as_secs_f64() * 1e6);
    }
    let beside = [("by a walk", Quartiles::of(&walked).median)];
    tell("tracker", "a scrape of 60,000 open attempts", "CPU µs", &counted, &beside);
    let each = with_census as f64 / f64::from(OPEN);
    tell("tracker", "open attempts with a census", "bytes each", &[each], &[]);
}

/// Memory of a million open attempts, and the longest call while all of them expire.
fn million_open() {
    let input = syns();
    let (mut bytes, mut wall, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = ALLOCATED.load(Ordering::Relaxed);
        let mut tracker = Tracker::new(config(usize::MAX));
        tracker.observe_batch(&input, |_, _| {});
        assert_eq!(tracker.open(), FLOWS as usize, "all are open");
        bytes.push(each_since(before));
        let (mut longest, mut longest_cpu) = (Duration::ZERO, Duration::ZERO);
        while tracker.open() > 0 {
            let (start, cpu) = (Instant::now(), thread_cpu());
            tracker.expire(20 * SECOND);
            longest_cpu = longest_cpu.max(thread_cpu() - cpu);
            longest = longest.max(start.elapsed());
            black_box(tracker.drain().count());
        }
        wall.push(longest.as_secs_f64() * 1e3);
        busy.push(longest_cpu.as_secs_f64() * 1e3);
    }
    tell("tracker", "a million bare SYNs open", "bytes each", &bytes, &[]);
    assert!(Quartiles::of(&bytes).median <= 160.0, "two cache lines and an entry of the index");
    let beside = [("by the clock", Quartiles::of(&wall).median)];
    tell("tracker", "longest of the calls that expire them", "CPU ms", &busy, &beside);
}

/// Memory of a million attempts that were answered, and of a million that are remembered.
fn million_answered() {
    let (syns, answers) = (syns(), of_all(kind::SYN_ACK, 1_000_000_000));
    let acks = of_all(kind::ACK, 2_000_000_000);
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut tracker = Tracker::new(config(usize::MAX));
    tracker.observe_batch(&syns, |_, _| {});
    tracker.observe_batch(&answers, |_, _| {});
    assert_eq!(tracker.open(), FLOWS as usize, "all are open");
    tell("tracker", "a million answered", "bytes each", &[each_since(before)], &[]);
    drop(tracker);
    let mut tracker = Tracker::new(config(usize::MAX));
    for at in 0..FLOWS as usize {
        for segment in [&syns[at], &answers[at], &acks[at]] {
            let event = Event { time_ns: at as u64, ..segment.event };
            tracker.observe(&Observation { event, ..*segment });
        }
        tracker.drain();
    }
    assert_eq!(tracker.remembered(), FLOWS as usize, "all have ended");
    tell("tracker", "a million remembered", "bytes each", &[each_since(before)], &[]);
}

/// Bytes allocated since then, for each flow.
fn each_since(before: usize) -> f64 {
    (ALLOCATED.load(Ordering::Relaxed) - before) as f64 / f64::from(FLOWS)
}
