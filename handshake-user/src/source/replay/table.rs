//! The filter's table of a replay: the kernel's buckets, and more where these are full.
//!
//! A kernel's table has a fixed size and forgets; a file deserves better. Where a new flow finds no
//! place in either of its buckets, further buckets are chained to the first, up to a limit; only then
//! is the table as the kernel's. So it is small, and quick, unless the file needs more.

use std::collections::HashMap;
use std::slice;

use handshake_common::filter::{MemoryBucket, bucket_index, has_place, is_pending};

use crate::prefetch::prefetch;

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Vec<MemoryBucket>,
    /// A bit for each bucket that has others behind it.
    crowded: Vec<u64>,
    behind: HashMap<u32, Vec<MemoryBucket>>,
    /// Further buckets that may be made.
    spare: usize,
}

impl Table {
    /// A table of so many buckets, rounded up to a power of two, and at most `spare` more.
    pub(super) fn new(buckets: u32, spare: usize) -> Self {
        let buckets = buckets.clamp(1, 1 << 24).next_power_of_two() as usize;
        Self {
            buckets: std::iter::repeat_with(MemoryBucket::default).take(buckets).collect(),
            crowded: vec![0; buckets.div_ceil(64)],
            behind: HashMap::new(),
            spare,
        }
    }

    /// Brings the bucket near where a fingerprint is likely to be.
    pub(super) fn prefetch(&self, fingerprint: u64) {
        if let Some(bucket) = self.buckets.get(self.index(fingerprint) as usize) {
            prefetch(bucket);
        }
    }

    /// Where a flow is remembered, if it is: among all buckets, or in one of those behind.
    pub(super) fn holding(&self, fingerprint: u64) -> &[MemoryBucket] {
        let at = self.index(fingerprint);
        if !self.is_crowded(at) || is_pending(&self.buckets[..], fingerprint) {
            return &self.buckets;
        }
        let chain = self.behind.get(&at).map(Vec::as_slice).unwrap_or_default();
        let mut singles = chain.iter().map(slice::from_ref);
        singles.find(|bucket| is_pending(*bucket, fingerprint)).unwrap_or(&self.buckets)
    }

    /// The same for a flow that may be new: where it is, else where there is room, else a new bucket
    /// behind the others, if any may be made.
    pub(super) fn keeping(&mut self, fingerprint: u64) -> &[MemoryBucket] {
        let at = self.index(fingerprint);
        let has_place = has_place(&self.buckets[..], fingerprint);
        if !self.is_crowded(at) && (has_place || self.spare == 0) {
            return &self.buckets;
        }
        if let Some(crowded) = self.crowded.get_mut(at as usize / 64) {
            *crowded |= 1 << (at % 64);
        }
        let chain = self.behind.entry(at).or_default();
        let known = |bucket: &MemoryBucket| is_pending(slice::from_ref(bucket), fingerprint);
        let free = |bucket: &MemoryBucket| has_place_alone(bucket, fingerprint);
        let chosen = match chain.iter().position(known) {
            Some(known) => known,
            None if has_place => return &self.buckets,
            None => match chain.iter().position(free) {
                Some(free) => free,
                None if self.spare > 0 => {
                    self.spare -= 1;
                    chain.reserve_exact(1);
                    chain.push(MemoryBucket::default());
                    chain.len() - 1
                }
                None => return &self.buckets,
            },
        };
        chain.get(chosen).map_or(&self.buckets[..], slice::from_ref)
    }

    fn index(&self, fingerprint: u64) -> u32 {
        bucket_index(fingerprint, self.buckets.len() as u32 - 1)
    }

    fn is_crowded(&self, at: u32) -> bool {
        self.crowded.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 != 0)
    }
}

fn has_place_alone(bucket: &MemoryBucket, fingerprint: u64) -> bool {
    has_place(slice::from_ref(bucket), fingerprint)
}

#[cfg(test)]
mod tests {
    use handshake_common::filter::{Class, Pending, on_opening, on_segment};
    use handshake_common::packet::tcp::{Flags, Header};

    use super::*;

    const SYN: Header = Header {
        source_port: 0,
        dest_port: 0,
        seq: 100,
        ack: 0,
        flags: Flags(Flags::SYN),
        window: 0,
        options_len: 0,
    };

    /// All in one bucket.
    fn fingerprint(flow: u64) -> u64 {
        flow << 32
    }

    fn begin(table: &mut Table, flow: u64) -> handshake_common::filter::Table {
        let memory = table.keeping(fingerprint(flow));
        on_opening(memory, fingerprint(flow), true, Class::Syn, &SYN, 0, 0)
    }

    fn is_known(table: &mut Table, flow: u64) -> bool {
        is_pending(table.holding(fingerprint(flow)), fingerprint(flow))
    }

    #[test]
    fn a_full_bucket_gets_others_until_there_are_none_to_spare() {
        use handshake_common::filter::Table as Effect;
        let mut table = Table::new(1, 10);
        for flow in 1..=88 {
            assert_eq!(begin(&mut table, flow), Effect::New, "{flow}");
        }
        assert!((1..=88).all(|flow| is_known(&mut table, flow)));
        // A place that becomes free is used before another is lost.
        let rst = Header { flags: Flags(Flags::RST), seq: 101, ..SYN };
        let ended =
            on_segment(table.holding(fingerprint(30)), fingerprint(30), true, &rst, 0, false);
        assert_eq!((ended, is_known(&mut table, 30)), (Pending::Yes, false));
        assert_eq!(begin(&mut table, 89), Effect::New);
        assert_eq!(begin(&mut table, 90), Effect::EvictedOneSided);
        let known = (1..=90).filter(|flow| is_known(&mut table, *flow)).count();
        assert_eq!(known, 88);
    }
}
