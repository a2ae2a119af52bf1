//! Numbers that look random and are the same everywhere: what a seed finds, it finds again.

/// SplitMix64 (Steele, Lea, Flood 2014): every seed is as good as any other.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() >> 32) as usize % bound
    }

    /// One of `choices`, of which there is at least one.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.bits() as u8).collect()
    }

    /// Changes, removes, doubles or inserts a few bytes.
    pub fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let interesting = [0, 1, 4, 5, 6, 0x0f, 0x45, 0x60, 0x7f, 0x80, 0xff];
            let byte = if self.below(2) == 0 { self.of(&interesting) } else { self.bits() as u8 };
            match (self.below(8), bytes.get_mut(at)) {
                (0, _) => bytes.truncate(at),
                (1, Some(_)) => drop(bytes.remove(at)),
                (2, _) => bytes.insert(at, byte),
                (3, Some(one)) => *one ^= 1 << self.below(8),
                (4, Some(_)) => {
                    let end = (at + 1 + self.below(8)).min(bytes.len());
                    let doubled = bytes[at..end].to_vec();
                    bytes.splice(at..at, doubled);
                }
                (_, Some(one)) => *one = byte,
                (_, None) => bytes.push(byte),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_one_sequence() {
        let sequence = |seed| {
            let mut random = Random::new(seed);
            let mut bytes = random.bytes(20);
            random.mutate(&mut bytes);
            (bytes, random.bits())
        };
        assert_eq!(sequence(1), sequence(1));
        assert_ne!(sequence(1), sequence(2));
    }

    #[test]
    fn mutations_change_bytes_and_survive_emptiness() {
        let mut random = Random::new(7);
        let mut changed = 0;
        for len in [0, 1, 2, 40] {
            for _ in 0..50 {
                let before = vec![3; len];
                let mut after = before.clone();
                random.mutate(&mut after);
                changed += usize::from(after != before);
            }
        }
        assert!(changed > 150, "{changed}");
    }
}
