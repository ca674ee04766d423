//! Repeatable chance: a test prints its seed, and `AUDIENCE_STORE_TEST_SEED` brings it back.

use std::ops::Range;

/// A seed: the one asked for, else a fresh one. Printed, so that a failure shows it.
pub fn seed() -> u64 {
    let asked = std::env::var("AUDIENCE_STORE_TEST_SEED").ok();
    let seed = asked.map_or_else(
        || getrandom::u64().expect("randomness"),
        |seed| seed.parse().expect("AUDIENCE_STORE_TEST_SEED is a number"),
    );
    eprintln!("AUDIENCE_STORE_TEST_SEED={seed}");
    seed
}

/// How many rounds a test does: those asked for by `AUDIENCE_STORE_TEST_ROUNDS`, else `usual`.
pub fn rounds(usual: u64) -> u64 {
    let asked = std::env::var("AUDIENCE_STORE_TEST_ROUNDS").ok();
    asked.map_or(usual, |n| n.parse().expect("AUDIENCE_STORE_TEST_ROUNDS is a number"))
}

/// Numbers made from a seed (splitmix64).
pub struct Chance(u64);

impl Chance {
    /// The numbers of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another source, of its own.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of a range.
    pub fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.of(0..n) == 0
    }
}
