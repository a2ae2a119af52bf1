//! `cargo xtask bench tracker`: events per second on one core, bytes per open attempt, the longest
//! stall of an expiry.
//!
//! Figures go to stdout as JSON, one object a line; a table for people goes to stderr.

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use handshake_common::event::{Event, kind};
use handshake_common::packet::tunnel::Layers;
use handshake_user::attempt::Observation;
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

fn main() {
    rate("completed", 3 * u64::from(FLOWS), usize::MAX, &handshakes());
    rate("flood", u64::from(FLOWS), 65_536, &syns());
    million_open();
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
    let event = Event {
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
        extra_len: 20,
        ..Event::ZERO
    };
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

/// A million SYNs of different sources, a million a second.
fn syns() -> Vec<Observation> {
    (0..FLOWS).map(|flow| event(flow, u64::from(flow) * 1000, kind::SYN)).collect()
}

fn rate(name: &str, events: u64, max_attempts: usize, input: &[Observation]) {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut tracker = Tracker::new(config(max_attempts));
            let start = Instant::now();
            for chunk in input.chunks(4096) {
                for observation in chunk {
                    tracker.observe(observation);
                }
                black_box(tracker.drain().count());
            }
            events as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (low, median, high) = (rounds[ROUNDS / 4], rounds[ROUNDS / 2], rounds[3 * ROUNDS / 4]);
    eprintln!(
        "tracker {name}: {:.2} million events/s (quartiles {:.2} to {:.2})",
        median / 1e6,
        low / 1e6,
        high / 1e6
    );
    println!(
        "{{\"group\":\"tracker\",\"case\":\"{name}\",\"unit\":\"events/s\",\"q1\":{low:.0},\"median\":{median:.0},\"q3\":{high:.0}}}"
    );
}

/// Memory of a million open attempts, and the longest call while all of them expire.
fn million_open() {
    let input = syns();
    let before = ALLOCATED.load(Ordering::Relaxed);
    let mut tracker = Tracker::new(config(usize::MAX));
    for observation in &input {
        tracker.observe(observation);
    }
    let bytes = (ALLOCATED.load(Ordering::Relaxed) - before) / FLOWS as usize;
    let mut longest = Duration::ZERO;
    let (mut calls, mut ended) = (0_u64, 0);
    while tracker.open() > 0 {
        let start = Instant::now();
        tracker.expire(20 * SECOND);
        longest = longest.max(start.elapsed());
        ended += black_box(tracker.drain().count());
        calls += 1;
    }
    let longest_us = longest.as_micros();
    eprintln!(
        "tracker million open: {bytes} bytes each; {ended} expired in {calls} calls, the longest {longest_us} µs"
    );
    println!("{{\"group\":\"tracker\",\"case\":\"open\",\"unit\":\"bytes\",\"median\":{bytes}}}");
    println!(
        "{{\"group\":\"tracker\",\"case\":\"expiry-stall\",\"unit\":\"us\",\"median\":{longest_us}}}"
    );
}
