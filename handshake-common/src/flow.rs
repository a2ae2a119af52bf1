//! A flow as the kernel remembers it: a keyed fingerprint of two ends, symmetric in direction.
//!
//! The ends of a flow are mixed one by one with secret keys and then added, so both directions
//! have the same [`Flow::tag`] while [`Flow::from_lower`] still tells them apart. The mixing is
//! keyed because senders choose addresses and ports: without the keys nobody can aim at one
//! bucket of the table (`filter`). User space compares full addresses; a collision here costs an
//! event, and two pending flows that share all 64 bits are as good as impossible.

use crate::packet::{Frame, Located};

/// Secret keys of one run, drawn by user space before the programs are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Keys {
    /// Mixed into the low half of an address.
    pub low: u64,
    /// Mixed into the high half of an address.
    pub high: u64,
}

/// Odd multipliers with well spread bits (the 64-bit fractions of the golden ratio and of pi).
const M1: u64 = 0x9e37_79b9_7f4a_7c15;
const M2: u64 = 0x243f_6a88_85a3_08d3;
const M3: u64 = 0xd6e8_feb8_6659_fd93;

/// Both ends of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    source: u64,
    dest: u64,
}

impl Flow {
    /// Reads the addresses of the packet at `at` and mixes both ends.
    #[inline(always)]
    pub fn read<F: Frame>(
        frame: &F,
        at: Located,
        source_port: u16,
        dest_port: u16,
        keys: &Keys,
    ) -> Option<Self> {
        if at.is_v6 {
            let source: [u32; 4] = frame.words(at.ip_offset + 8)?;
            let dest: [u32; 4] = frame.words(at.ip_offset + 24)?;
            return Some(Self::v6(source, dest, source_port, dest_port, keys));
        }
        let [source, dest] = frame.words(at.ip_offset + 12)?;
        Some(Self::v4(source, dest, source_port, dest_port, keys))
    }

    /// Mixes two IPv4 ends; addresses as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub fn v4(source: u32, dest: u32, source_port: u16, dest_port: u16, keys: &Keys) -> Self {
        Self {
            source: end(pair(source, u32::from(source_port)), keys.low),
            dest: end(pair(dest, u32::from(dest_port)), keys.low),
        }
    }

    /// Mixes two IPv6 ends; addresses as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub fn v6(
        source: [u32; 4],
        dest: [u32; 4],
        source_port: u16,
        dest_port: u16,
        keys: &Keys,
    ) -> Self {
        let mix = |[a, b, c, d]: [u32; 4], port| end_v6(pair(a, b), pair(c, d), port, keys);
        Self { source: mix(source, source_port), dest: mix(dest, dest_port) }
    }

    /// 64 fingerprint bits, the same for both directions.
    #[inline(always)]
    #[must_use]
    pub fn fingerprint(self) -> u64 {
        let sum = self.source.wrapping_add(self.dest).wrapping_mul(M3);
        sum ^ (sum >> 32)
    }

    /// Was this segment sent by the end whose mixed value is the lower one?
    #[inline(always)]
    #[must_use]
    pub fn from_lower(self) -> bool {
        self.source < self.dest
    }
}

#[inline(always)]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

#[inline(always)]
fn end(value: u64, key: u64) -> u64 {
    let mixed = (value ^ key).wrapping_mul(M1);
    // The fold is what makes the later sum of two ends more than the mix of their sum.
    mixed ^ (mixed >> 32)
}

#[inline(always)]
fn end_v6(high: u64, low: u64, port: u16, keys: &Keys) -> u64 {
    let high = (high ^ keys.high ^ u64::from(port)).wrapping_mul(M2);
    end(low ^ high ^ (high >> 32), keys.low)
}
