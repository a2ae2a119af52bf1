//! What a table that fills evicts, moves and reads: the curve of docs/performance.md.

use std::cell::Cell;
use std::collections::VecDeque;
use std::vec::Vec;
use std::{print, println};

use crate::filter::{Class, MemoryBucket, is_pending, on_opening, sweep};
use crate::flow::{Flow, Keys};
use crate::packet::tcp::{Flags, Header};

use super::*;

const SYN: Header = Header {
    source_port: 0,
    dest_port: 0,
    seq: 1,
    ack: 0,
    flags: Flags(Flags::SYN),
    window: 0,
    options_len: 0,
};

/// Entries by default, and of a large table.
const SIZES: [usize; 2] = [32_768, 262_144];

const KEYS: [Keys; 4] = [
    Keys { low: 0, high: 0 },
    Keys { low: 0x4528_21e6_38d0_1377, high: 0xbe54_66cf_34e9_0c6c },
    Keys { low: 0x9ae1_6a3b_2f90_404f, high: 0xc2b2_ae3d_27d4_eb4f },
    Keys { low: 0xffff_ffff_ffff_fff1, high: 1 },
];

/// A table that counts the buckets that are looked at.
#[derive(Clone, Copy)]
struct Counted<'a>(&'a [MemoryBucket], &'a Cell<u64>);

impl<'a> Memory for Counted<'a> {
    type Bucket = <&'a [MemoryBucket] as Memory>::Bucket;

    fn mask(self) -> u32 {
        self.0.mask()
    }

    fn bucket(self, index: u32) -> Option<Self::Bucket> {
        self.1.set(self.1.get() + 1);
        self.0.bucket(index)
    }
}

struct World {
    buckets: Vec<MemoryBucket>,
    keys: Keys,
    looks: Cell<u64>,
    evicted: u64,
}

impl World {
    fn new(entries: usize, keys: Keys) -> Self {
        let buckets = (0..entries / WAYS).map(|_| MemoryBucket::default()).collect();
        Self { buckets, keys, looks: Cell::new(0), evicted: 0 }
    }

    fn memory(&self) -> Counted<'_> {
        Counted(&self.buckets, &self.looks)
    }

    fn capacity(&self) -> u64 {
        (self.buckets.len() * WAYS) as u64
    }

    /// Flows of one server, as clients make them: 28,000 ports each, one after the other.
    fn fingerprint(&self, number: u64) -> u64 {
        let (client, port) = ((number / 28_000) as u32, 32_768 + (number % 28_000) as u16);
        let (client, server) = ((0x0a00_0001 + client).to_be(), 0xc000_0201_u32.to_be());
        Flow::v4(client, server, port, 443, &self.keys).fingerprint()
    }

    /// A SYN of the flow with this number.
    fn syn(&mut self, number: u64) {
        let flow = self.fingerprint(number);
        let now = (number / 64) as Tick;
        let effect = on_opening(self.memory(), flow, true, Class::Syn, &SYN, 0, now);
        assert!(matches!(effect, Table::New | Table::EvictedOneSided), "{effect:?}");
        self.evicted += u64::from(effect == Table::EvictedOneSided);
    }

    /// Buckets looked at for a segment of a flow that is not pending, in thousandths.
    fn looks_per_miss(&self) -> u64 {
        const MISSES: u64 = 20_000;
        let before = self.looks.get();
        let found = (1_u64 << 32..).take(MISSES as usize);
        let found = found.filter(|number| is_pending(self.memory(), self.fingerprint(*number)));
        assert_eq!(found.count(), 0);
        (self.looks.get() - before) * 1000 / MISSES
    }
}

#[test]
fn no_eviction_below_three_quarters_fill() {
    for (entries, keys) in SIZES.iter().flat_map(|entries| KEYS.map(|keys| (*entries, keys))) {
        let mut world = World::new(entries, keys);
        let quarters = world.capacity() * 3 / 4;
        for number in 0..quarters {
            world.syn(number);
        }
        assert_eq!(world.evicted, 0, "{entries} entries, {keys:x?}");
        assert_eq!(sweep::entries(world.memory()), quarters);
    }
}

/// The oldest leave and new ones come, four times over, as in a flood whose entries expire: at the
/// margin one SYN in ten thousand may find no place, below it none.
#[test]
fn next_to_no_eviction_where_three_quarters_stay_in_use() {
    for (eighths, most) in [(5, 0), (6, 16)] {
        for keys in KEYS {
            let mut world = World::new(SIZES[0], keys);
            let capacity = world.capacity();
            let mut open = VecDeque::new();
            for number in 0..4 * capacity {
                if open.len() as u64 == capacity * eighths / 8 {
                    let oldest = open.pop_front().expect("many");
                    sweep::retire(world.memory(), world.fingerprint(oldest), |_| true);
                }
                world.syn(number);
                open.push_back(number);
            }
            println!("{eighths} eighths in use, {} evicted", world.evicted);
            assert!(world.evicted <= most, "{} evicted, {keys:x?}", world.evicted);
        }
    }
}

/// `cargo test -p handshake-common --release fill_curve -- --nocapture` prints the table.
#[test]
fn fill_curve() {
    for entries in SIZES {
        println!("| of {entries} | evicted | marked buckets | buckets a miss | buckets a SYN |");
        println!("|---|---|---|---|---|");
        let mut world = World::new(entries, KEYS[1]);
        let (mut number, mut last) = (0, 0);
        for percent in (10..=120).step_by(5) {
            let looks = world.looks.get();
            let upto = world.capacity() * percent / 100;
            let syns = upto - number;
            for number in number..upto {
                world.syn(number);
            }
            number = upto;
            let per_syn = (world.looks.get() - looks) * 1000 / syns;
            let marked = sweep::marks(world.memory()) * 1000 * WAYS as u64 / world.capacity();
            let miss = world.looks_per_miss();
            assert!(miss >= 1000 && miss <= 1000 + marked + 20, "{miss} with {marked} marked");
            print!("| {percent}% | {} | {}.{}% ", world.evicted - last, marked / 10, marked % 10);
            println!(
                "| {}.{:02} | {}.{:02} |",
                miss / 1000,
                miss % 1000 / 10,
                per_syn / 1000,
                per_syn % 1000 / 10
            );
            last = world.evicted;
        }
    }
}
