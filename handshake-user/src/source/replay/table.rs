//! The filter's table of a replay: the kernel's buckets, and more behind those that are full.
//!
//! A kernel's table has a fixed size and forgets; a file deserves better. Where all entries of a
//! bucket are taken, further buckets are chained to it, up to a limit; only then does it forget, and
//! count. So the table is small, and quick, unless the file needs more.

use std::collections::HashMap;

use handshake_common::filter::{Bucket, MemoryBucket, WAYS, bucket_index, is_pending};

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
            buckets: vec![MemoryBucket::default(); buckets],
            crowded: vec![0; buckets.div_ceil(64)],
            behind: HashMap::new(),
            spare,
        }
    }

    /// Brings the bucket near where a fingerprint is likely to be.
    pub(super) fn prefetch(&self, fingerprint: u64) {
        let at = bucket_index(fingerprint, self.buckets.len() as u32 - 1) as usize;
        if let Some(bucket) = self.buckets.get(at) {
            prefetch(bucket);
        }
    }

    /// The bucket for a fingerprint: where it is, else where there is room, else a new one.
    pub(super) fn bucket(&mut self, fingerprint: u64) -> Option<&mut MemoryBucket> {
        let at = bucket_index(fingerprint, self.buckets.len() as u32 - 1);
        let is_crowded = self.crowded.get(at as usize / 64)? >> (at % 64) & 1 != 0;
        let has_spare = self.spare > 0;
        let first = self.buckets.get_mut(at as usize)?;
        if is_crowded || (has_spare && !has_place(first, fingerprint)) {
            return self.behind(at, fingerprint);
        }
        self.buckets.get_mut(at as usize)
    }

    fn behind(&mut self, at: u32, fingerprint: u64) -> Option<&mut MemoryBucket> {
        *self.crowded.get_mut(at as usize / 64)? |= 1 << (at % 64);
        let chain = self.behind.entry(at).or_default();
        let first = self.buckets.get_mut(at as usize)?;
        if is_pending(&&mut *first, fingerprint) {
            return Some(first);
        }
        if let Some(known) = chain.iter_mut().position(|bucket| is_pending(&bucket, fingerprint)) {
            return chain.get_mut(known);
        }
        if has_place(first, fingerprint) {
            return Some(first);
        }
        let with_place = chain.iter_mut().position(|bucket| has_place(bucket, fingerprint));
        let chosen = with_place.unwrap_or_else(|| {
            if self.spare > 0 {
                self.spare -= 1;
                chain.reserve_exact(1);
                chain.push(MemoryBucket::default());
            }
            chain.len().saturating_sub(1)
        });
        // Without a chain there was never a place to spare.
        chain.get_mut(chosen).or(Some(first))
    }
}

/// Is the fingerprint there, or an entry free?
fn has_place(bucket: &mut MemoryBucket, fingerprint: u64) -> bool {
    let bucket = &bucket;
    (0..WAYS).any(|way| bucket.load(way).0 == 0) || is_pending(bucket, fingerprint)
}

#[cfg(test)]
mod tests {
    use handshake_common::filter::{Pending, on_segment, on_syn};
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
        let mut bucket = table.bucket(fingerprint(flow)).expect("a bucket");
        on_syn(&mut bucket, fingerprint(flow), true, &SYN, 0, 0)
    }

    fn is_known(table: &mut Table, flow: u64) -> bool {
        let bucket = table.bucket(fingerprint(flow)).expect("a bucket");
        is_pending(&bucket, fingerprint(flow))
    }

    #[test]
    fn a_full_bucket_gets_others_until_there_are_none_to_spare() {
        use handshake_common::filter::Table as Effect;
        let mut table = Table::new(1, 10);
        for flow in 1..=44 {
            assert_eq!(begin(&mut table, flow), Effect::Kept, "{flow}");
        }
        assert!((1..=44).all(|flow| is_known(&mut table, flow)));
        // A place that becomes free is used before another is lost.
        let rst = Header { flags: Flags(Flags::RST), seq: 101, ..SYN };
        let mut bucket = table.bucket(fingerprint(30)).expect("a bucket");
        let ended = on_segment(&mut bucket, fingerprint(30), true, &rst, 0);
        assert_eq!((ended, is_known(&mut table, 30)), (Pending::Yes, false));
        assert_eq!(begin(&mut table, 45), Effect::Kept);
        assert_eq!(begin(&mut table, 46), Effect::EvictedOneSided);
        let known = (1..=46).filter(|flow| is_known(&mut table, *flow)).count();
        assert_eq!(known, 44);
    }
}
