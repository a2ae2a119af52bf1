//! Tidying up, alone and while others use the table.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::vec::Vec;

use crate::filter::table::tests::random_flows;
use crate::filter::{
    Class, MemoryBucket, Pending, Table, Tick, is_pending, on_opening, on_segment,
};
use crate::packet::tcp::{Flags, Header};

use super::*;

const CLIENT: u32 = 1_000;
const SERVER: u32 = 9_000;

fn table(buckets: usize) -> Vec<MemoryBucket> {
    (0..buckets).map(|_| MemoryBucket::default()).collect()
}

fn header(flags: u16, seq: u32, ack: u32) -> Header {
    let flags = Flags(flags);
    Header { source_port: 1, dest_port: 2, seq, ack, flags, window: 0, options_len: 0 }
}

fn syn(memory: &[MemoryBucket], flow: u64, seq: u32, now: Tick) -> Table {
    on_opening(memory, flow, true, Class::Syn, &header(Flags::SYN, seq, 0), 0, now)
}

fn syn_ack(memory: &[MemoryBucket], flow: u64, now: Tick) -> Table {
    let tcp = header(Flags::SYN | Flags::ACK, SERVER, CLIENT + 1);
    on_opening(memory, flow, false, Class::SynAck, &tcp, 0, now)
}

fn third_ack(memory: &[MemoryBucket], flow: u64) -> Pending {
    on_segment(memory, flow, true, &header(Flags::ACK, CLIENT + 1, SERVER + 1), 0, false)
}

#[test]
fn an_entry_is_retired_only_if_it_is_of_the_attempt_that_is_meant() {
    let table = table(32);
    let flow = 0x1234_5678_9abc_def0;
    assert!(!retire(&table[..], flow, |_| true), "there is none");
    syn(&table, flow, CLIENT, 1);
    assert_eq!(numbers(&table[..], flow), Some((CLIENT + 1, 0)));
    // Meanwhile the client tries again with another number.
    syn(&table, flow, CLIENT + 77, 2);
    assert!(!retire(&table[..], flow, |(client, _)| client == CLIENT + 1));
    assert!(is_pending(&table[..], flow));
    assert!(retire(&table[..], flow, |(client, _)| client == CLIENT + 78));
    assert_eq!((numbers(&table[..], flow), entries(&table[..])), (None, 0));
}

#[test]
fn what_has_no_syn_between_two_looks_expires_wherever_it_lies() {
    let table = table(64);
    let flows: Vec<_> = random_flows(5).take(64 * 5).collect();
    for flow in &flows {
        assert_eq!(syn(&table, *flow, CLIENT, 1), Table::New);
    }
    let mut seen = std::vec![0; 64 * WAYS];
    assert_eq!(expire(&table[..], &mut seen), 0, "all are new to it");
    let (renewed, silent) = flows.split_at(100);
    for flow in renewed {
        assert_eq!(syn(&table, *flow, CLIENT, 2), Table::Kept);
    }
    // Other segments are no sign of life: only SYNs and SYN-ACKs put a deadline off.
    for flow in silent {
        assert_eq!(
            on_segment(&table[..], *flow, false, &header(Flags::ACK, 1, 2), 0, false),
            Pending::Yes
        );
    }
    assert_eq!(expire(&table[..], &mut seen), silent.len() as u64);
    assert!(renewed.iter().all(|flow| is_pending(&table[..], *flow)));
    assert!(!silent.iter().any(|flow| is_pending(&table[..], *flow)));
    assert_eq!(expire(&table[..], &mut seen), renewed.len() as u64);
    assert_eq!(entries(&table[..]), 0);
}

#[test]
fn a_mark_stays_while_it_is_needed() {
    let table = table(64);
    let flows: Vec<_> = random_flows(6).take(64 * 6).collect();
    for flow in &flows {
        syn(&table, *flow, CLIENT, 1);
    }
    let mut needed = [0];
    let before = marks(&table[..]);
    assert!(before > 10, "{before}");
    assert_eq!(unmark(&table[..], &mut needed), 0, "each has a guest somewhere");
    for flow in &flows[64..] {
        assert!(retire(&table[..], *flow, |_| true));
    }
    let gone = unmark(&table[..], &mut needed);
    assert!(gone > before / 2 && marks(&table[..]) == before - gone, "{gone} of {before}");
    assert!(flows[..64].iter().all(|flow| is_pending(&table[..], *flow)));
}

/// Handshakes on four threads in a table that is two thirds full, so that entries move all the time,
/// and a fifth thread that takes marks away. Who was remembered is found until its third ACK, or an
/// eviction is counted for it.
#[test]
fn nothing_is_lost_uncounted_while_entries_move_and_marks_go() {
    const BUCKETS: usize = 64;
    const THREADS: u64 = 4;
    const OPEN: usize = BUCKETS * WAYS * 2 / 3 / THREADS as usize;
    const FLOWS: usize = 20_000;
    let table = table(BUCKETS);
    let memory = &table[..];
    let (evicted, contended, lost) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let handshakes = |thread: u64| {
        let mut open = std::collections::VecDeque::new();
        for (number, flow) in (0..).zip(random_flows(100 + thread).take(FLOWS)) {
            match syn(memory, flow, CLIENT, number) {
                Table::New => open.push_back(flow),
                Table::Contended => {
                    contended.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    evicted.fetch_add(1, Ordering::Relaxed);
                    open.push_back(flow);
                }
            }
            if open.len() < OPEN {
                continue;
            }
            let Some(oldest) = open.pop_front() else { continue };
            match syn_ack(memory, oldest, number) {
                Table::Kept => {}
                Table::Contended => {
                    contended.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            if third_ack(memory, oldest) == Pending::No {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            let mut needed = [0; BUCKETS / 64];
            while !is_over.load(Ordering::Relaxed) {
                unmark(memory, &mut needed);
            }
        });
        let handshakes = &handshakes;
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || handshakes(thread))).collect();
        for thread in threads {
            thread.join().expect("a thread");
        }
        is_over.store(true, Ordering::Relaxed);
        sweeper.join().expect("the sweeper");
    });
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (evicted, contended, lost) = (of(&evicted), of(&contended), of(&lost));
    std::println!("{evicted} evicted, {contended} contended, {lost} lost");
    assert!(lost <= evicted + contended, "{lost} of {evicted} and {contended}");
    assert!(evicted + contended < THREADS * FLOWS as u64 / 100, "{evicted} and {contended}");
}
