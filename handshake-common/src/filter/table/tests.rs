//! Where entries lie: full buckets, two choices, who goes first, two CPUs at once.

use std::cell::Cell;
use std::vec::Vec;

use crate::filter::{
    Class, MemoryBucket, Pending, Table, is_pending, on_opening, on_segment, sweep,
};
use crate::packet::tcp::{Flags, Header};

use super::*;

const CLIENT: u32 = 1_000;
const SERVER: u32 = 9_000;

fn header(flags: u16, seq: u32, ack: u32) -> Header {
    let flags = Flags(flags);
    Header { source_port: 1, dest_port: 2, seq, ack, flags, window: 0, options_len: 0 }
}

/// A table and a clock.
struct World {
    buckets: Vec<MemoryBucket>,
    now: Cell<Tick>,
}

impl World {
    fn new(buckets: usize) -> Self {
        let buckets = (0..buckets).map(|_| MemoryBucket::default()).collect();
        Self { buckets, now: Cell::new(Tick::MAX - 3) }
    }

    fn memory(&self) -> &[MemoryBucket] {
        &self.buckets
    }

    fn tick(&self) -> Tick {
        self.now.set(self.now.get().wrapping_add(2));
        self.now.get()
    }

    fn syn(&self, flow: u64) -> Table {
        let tcp = header(Flags::SYN, CLIENT, 0);
        on_opening(self.memory(), flow, true, Class::Syn, &tcp, 0, self.tick())
    }

    fn syn_ack(&self, flow: u64) -> Table {
        let tcp = header(Flags::SYN | Flags::ACK, SERVER, CLIENT + 1);
        on_opening(self.memory(), flow, false, Class::SynAck, &tcp, 0, self.tick())
    }

    fn ack(&self, flow: u64) -> Pending {
        let tcp = header(Flags::ACK, CLIENT + 1, SERVER + 1);
        on_segment(self.memory(), flow, true, &tcp, 0, false)
    }

    fn has(&self, flow: u64) -> bool {
        is_pending(self.memory(), flow)
    }

    /// Counts places, not flows.
    fn entries(&self) -> u64 {
        sweep::entries(self.memory())
    }
}

/// Fingerprints as good as random (splitmix64).
pub(crate) fn random_flows(seed: u64) -> impl Iterator<Item = u64> {
    (seed << 32..).map(|n| {
        let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Flows of one bucket of a table that has no other.
fn flow(number: u64) -> u64 {
    (number + 1) << 32
}

#[test]
fn full_bucket_evicts_the_oldest_one_sided_entry() {
    let world = World::new(1);
    for number in 0..8 {
        assert_eq!(world.syn(flow(number)), Table::New);
    }
    world.syn_ack(flow(0));
    assert_eq!(world.syn(flow(8)), Table::EvictedOneSided);
    let kept = (0..9).filter(|number| world.has(flow(*number)));
    assert_eq!(kept.collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn full_bucket_of_two_sided_entries_evicts_the_oldest() {
    let world = World::new(1);
    for number in 0..8 {
        world.syn(flow(number));
        world.syn_ack(flow(number));
    }
    assert_eq!(world.syn(flow(8)), Table::EvictedTwoSided);
    assert!(!world.has(flow(0)) && world.has(flow(8)));
}

#[test]
fn an_entry_that_is_over_goes_first_and_is_no_eviction() {
    let world = World::new(1);
    for number in 0..8 {
        world.syn(flow(number));
    }
    // Of an attempt that is over, nothing is said of either side.
    let bucket = world.memory()[0].words();
    let head = bucket.head(5);
    assert!(bucket.swap_head(5, head, head & !(flag::SYN | flag::SYN_ACK)));
    assert_eq!(world.syn(flow(8)), Table::New);
    assert!(!world.has(flow(5)) && world.has(flow(0)) && world.has(flow(8)));
}

#[test]
fn ended_entry_is_free_for_the_next_flow() {
    let world = World::new(1);
    for number in 0..8 {
        world.syn(flow(number));
    }
    world.syn_ack(flow(3));
    assert_eq!(world.ack(flow(3)), Pending::Yes);
    assert_eq!(world.syn(flow(8)), Table::New);
    assert!((0..9).filter(|number| *number != 3).all(|number| world.has(flow(number))));
}

#[test]
fn the_other_of_the_other_bucket_is_the_own_one() {
    for mask in [0, 1, 31, 2047, MAX_BUCKETS - 1] {
        for flow in random_flows(1).take(1000) {
            let index = bucket_index(flow, mask);
            let other = other_index(index, tag(flow), mask);
            assert!(other <= mask && (other != index || mask == 0));
            assert_eq!(other_index(other, tag(flow), mask), index);
        }
    }
}

#[test]
fn places_are_counted_and_the_first_free_one_found_whatever_is_taken() {
    for taken in 0..=FULL {
        assert_eq!(ones(taken), taken.count_ones());
        assert_eq!(first_free(taken), taken.trailing_ones() as usize);
    }
}

/// Every flow that was kept is found, ends by its third ACK, and leaves nothing behind but marks, which
/// the sweep takes away.
#[test]
fn what_is_kept_is_found_wherever_it_lies_and_leaves_an_empty_table() {
    for (seed, buckets) in [(1, 64), (2, 2048)] {
        let world = World::new(buckets);
        let flows: Vec<_> = random_flows(seed).take(buckets * 6).collect();
        for flow in &flows {
            assert_eq!(world.syn(*flow), Table::New);
            // What was there stays there while others move.
            assert!(world.has(*flow));
        }
        assert_eq!(world.entries(), flows.len() as u64);
        assert!(sweep::marks(world.memory()) > 0);
        for flow in &flows {
            assert_eq!(world.syn_ack(*flow), Table::Kept);
        }
        for flow in &flows {
            assert_eq!((world.ack(*flow), world.has(*flow)), (Pending::Yes, false));
        }
        assert_eq!(world.entries(), 0);
        let marks = sweep::marks(world.memory());
        let mut needed = std::vec![0; buckets.div_ceil(64)];
        assert_eq!(sweep::unmark(world.memory(), &mut needed), marks);
        let words =
            world.memory().iter().flat_map(|bucket| (0..WAYS).map(|way| bucket.words().head(way)));
        assert!(words.into_iter().all(|head| head == 0));
    }
}
