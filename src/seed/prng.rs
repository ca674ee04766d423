//! A small deterministic generator: `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom
//! number generators", 2014). The same key gives the same numbers on every machine and version;
//! not fit for secrets.

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(super) struct Prng(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Prng {
    /// The stream of a key: streams of different keys have nothing to do with each other.
    pub(super) fn keyed(key: [u64; 4]) -> Self {
        Self(key.into_iter().fold(0, |state, part| mix(state.wrapping_add(GOLDEN) ^ mix(part))))
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// A number from 0 to `bound` - 1; 0 where the bound is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or_default()
    }

    /// A number from `least` to `most`, both included.
    pub(super) fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number of thousandths from 0 to 999.
    pub(super) fn milli(&mut self) -> u64 {
        self.below(1_000)
    }

    /// One of the items; the default where there are none.
    pub(super) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        let index = usize::try_from(self.below(items.len() as u64)).unwrap_or_default();
        items.get(index).copied().unwrap_or_default()
    }

    /// `count` different items, or all where there are fewer, in the list's order.
    pub(super) fn some<T: Copy>(&mut self, items: &[T], count: usize) -> Vec<T> {
        let mut wanted = count.min(items.len());
        let mut chosen = Vec::with_capacity(wanted);
        for (index, item) in items.iter().enumerate() {
            let left = (items.len() - index) as u64;
            if self.below(left) < wanted as u64 {
                chosen.push(*item);
                wanted -= 1;
            }
        }
        chosen
    }

    /// One of the items, each as often as its weight says.
    pub(super) fn weighted<T: Copy + Default>(&mut self, items: &[(T, u64)]) -> T {
        let mut left = self.below(items.iter().map(|(_, weight)| weight).sum());
        for (item, weight) in items {
            if left < *weight {
                return *item;
            }
            left -= weight;
        }
        T::default()
    }

    /// Ten random bytes.
    pub(super) fn ten_bytes(&mut self) -> [u8; 10] {
        let mut bytes = [0; 10];
        let random = self.bits().to_le_bytes().into_iter().chain(self.bits().to_le_bytes());
        for (byte, random) in bytes.iter_mut().zip(random) {
            *byte = random;
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_published_numbers() {
        // The reference implementation's first outputs for state 1234567.
        let mut prng = Prng(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| prng.bits()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn keys_are_apart() {
        let first = |key| Prng::keyed(key).bits();
        assert_ne!(first([1, 0, 0, 0]), first([0, 1, 0, 0]));
        assert_ne!(first([0, 0, 0, 0]), first([0, 0, 0, 1]));
        assert_eq!(first([1, 2, 3, 4]), first([1, 2, 3, 4]));
    }

    #[test]
    fn stays_in_bounds() {
        let mut prng = Prng::keyed([7; 4]);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[usize::try_from(prng.between(3, 7)).expect("small") - 3] += 1;
            assert_eq!(prng.below(0), 0);
            assert!(prng.milli() < 1_000);
        }
        assert!(seen.iter().all(|n| (850..1_150).contains(n)), "{seen:?}");
        assert_eq!(prng.pick::<u8>(&[]), 0);
    }

    #[test]
    fn chooses_fairly_and_without_repeats() {
        let mut prng = Prng::keyed([8; 4]);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            let chosen = prng.some(&[0_usize, 1, 2, 3, 4, 5], 2);
            assert!(chosen.len() == 2 && chosen[0] < chosen[1]);
            for item in chosen {
                seen[item] += 1;
            }
        }
        assert!(seen.iter().all(|n| (1_850..2_150).contains(n)), "{seen:?}");
        assert_eq!(prng.some(&[1], 9), [1]);
        let heads = (0..1_000).filter(|_| prng.weighted(&[('h', 9), ('t', 1)]) == 'h').count();
        assert!((860..940).contains(&heads), "{heads}");
    }
}
