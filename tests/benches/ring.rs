//! `cargo xtask bench ring`: events from one and from two CPUs to one reader.
//!
//! Threads on CPUs of their own run `hs_tc_in` on a SYN again and again; the reader empties the rings
//! meanwhile. The cost of an event is the program's time above the same program without any ring,
//! where everything but reserving, filling and submitting happens. The rings never fill: a producer
//! waits, outside of what is measured, until there is room; every event must arrive.
//!
//! The programs never wake the reader, so other wake-ups are not compared here.

mod programs;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use handshake_common::event::Event;
use handshake_tests::bpf::run::test_run;
use handshake_tests::figures::tell;
use handshake_tests::frame::{SYN, Segment};
use handshake_tests::process::pin;

use programs::{After, Fill, Programs};

const ROUNDS: usize = 11;
/// How long the producers of a round go on.
const RUN: Duration = Duration::from_millis(60);
/// Runs between two looks whether there is room.
const BATCH: u32 = 2_000;
const RING_BYTES: u32 = 4 << 20;
/// Events that fit into a ring, with their headers of 8 bytes.
const ROOM: u64 = RING_BYTES as u64 / (size_of::<Event>() as u64 + 8);
const TIMER: Duration = Duration::from_millis(1);

/// What the reader does when the rings are empty.
#[derive(Clone, Copy)]
enum Reader {
    /// Sleeps for a millisecond, as the product does when much happens.
    Timer,
    /// Looks again at once.
    Spinning,
}

struct Case {
    name: &'static str,
    producers: usize,
    rings: usize,
    reader: Reader,
}

const fn case(name: &'static str, producers: usize, rings: usize, reader: Reader) -> Case {
    Case { name, producers, rings, reader }
}

const CASES: [Case; 4] = [
    case("one CPU", 1, 2, Reader::Timer),
    case("one CPU, reader spinning", 1, 2, Reader::Spinning),
    case("two CPUs, a ring each", 2, 2, Reader::Timer),
    case("two CPUs, one ring", 2, 1, Reader::Timer),
];

/// What the threads of a round share.
#[derive(Default)]
struct Shared {
    made: AtomicU64,
    read: AtomicU64,
    /// Producers in the middle of a batch.
    busy: AtomicUsize,
}

/// What a round gave.
struct Round {
    /// Mean nanoseconds of a run, over the batches in which every producer was busy; none without
    /// any, on a machine that has other work.
    run_ns: Option<f64>,
    events_per_s: f64,
}

fn main() -> Result<()> {
    if thread::available_parallelism()?.get() < 2 {
        bail!("this needs two CPUs");
    }
    // The reader's CPU is also the second producer's.
    pin(1)?;
    let mut without = Programs::load(0, RING_BYTES, Fill::Unwatched, After::Unwatched)?;
    let baseline = without.program("hs_tc_in")?;
    let mut loaded = Vec::new();
    for case in &CASES {
        let mut programs =
            Programs::load(case.rings, RING_BYTES, Fill::Unwatched, After::Unwatched)?;
        let program = programs.program("hs_tc_in")?;
        loaded.push((case, programs, program, Vec::new(), Vec::new()));
    }
    eprintln!("ring: ns an event above the same program without rings; median (quartiles)");
    for round in 0..=ROUNDS {
        for (case, programs, program, costs, rates) in &mut loaded {
            let floor = produce(&mut without, baseline.as_fd(), case, false)?;
            let ours = produce(programs, program.as_fd(), case, true)?;
            // The first round only warms up.
            if let Some((ours_ns, floor_ns)) = ours.run_ns.zip(floor.run_ns).filter(|_| round > 0) {
                costs.push(ours_ns - floor_ns);
                rates.push(ours.events_per_s / 1e6);
            }
        }
    }
    for (case, _, _, costs, rates) in &loaded {
        ensure!(!costs.is_empty(), "{}: the producers never ran at once", case.name);
        let best = rates.iter().copied().fold(0.0, f64::max);
        tell("ring", case.name, "ns", costs, &[("million events/s at best", best)]);
    }
    Ok(())
}

/// Lets the producers make their events, and reads them if there are rings.
fn produce(
    programs: &mut Programs,
    program: BorrowedFd<'_>,
    case: &Case,
    has_rings: bool,
) -> Result<Round> {
    let shared = &Shared::default();
    let start = Instant::now();
    thread::scope(|scope| {
        let room = if has_rings { ROOM } else { u64::MAX };
        let producers: Vec<_> = (0..case.producers)
            .map(|cpu| scope.spawn(move || producer(cpu, case.producers, program, shared, room)))
            .collect();
        loop {
            let ended = producers.iter().all(thread::ScopedJoinHandle::is_finished);
            let events = programs.drain();
            let read = shared.read.fetch_add(events, Ordering::Relaxed) + events;
            if ended {
                let made = shared.made.load(Ordering::Relaxed);
                ensure!(!has_rings || read == made, "{read} events of {made}");
                break;
            }
            match case.reader {
                Reader::Timer => thread::sleep(TIMER),
                Reader::Spinning => std::hint::spin_loop(),
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut runs = Vec::new();
        for producer in producers {
            runs.extend(producer.join().ok().context("a producer panicked")??);
        }
        let run_ns = (!runs.is_empty()).then(|| runs.iter().sum::<f64>() / runs.len() as f64);
        let made = shared.made.load(Ordering::Relaxed);
        Ok(Round { run_ns, events_per_s: made as f64 / seconds })
    })
}

/// Makes events on one CPU; mean nanoseconds of the runs of each batch in which all were busy.
fn producer(
    cpu: usize,
    producers: usize,
    program: BorrowedFd<'_>,
    shared: &Shared,
    room: u64,
) -> Result<Vec<f64>> {
    pin(cpu)?;
    let client = format!("10.0.{cpu}.1:40000").parse()?;
    let frame = Segment::new(client, "192.0.2.1:443".parse()?, SYN, 1, 0).frame([2; 6], [4; 6]);
    let (start, mut means) = (Instant::now(), Vec::new());
    while start.elapsed() < RUN {
        let after = shared.made.fetch_add(u64::from(BATCH), Ordering::Relaxed) + u64::from(BATCH);
        while after.saturating_sub(shared.read.load(Ordering::Relaxed)) > room {
            thread::sleep(Duration::from_micros(50));
            ensure!(start.elapsed() < Duration::from_secs(10), "nobody reads");
        }
        let at_start = shared.busy.fetch_add(1, Ordering::SeqCst) + 1;
        let mean = test_run(program, &frame, BATCH)?;
        let at_end = shared.busy.fetch_sub(1, Ordering::SeqCst);
        if at_start == producers && at_end == producers {
            means.push(f64::from(mean));
        }
    }
    Ok(means)
}
