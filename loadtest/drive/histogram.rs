//! A log-linear histogram of latencies, as `HdrHistogram` has it: every power of two is cut into
//! the same number of steps, so that the error is a share of the value (below 0.8 %) and the size
//! is fixed (about 35 kB) however long a run lasts.

/// log2 of the steps in each power of two.
const STEP_BITS: u32 = 7;
const STEPS: u64 = 1 << STEP_BITS;
/// Values from here on (about 18 minutes in nanoseconds) are counted in the last bucket.
const LIMIT: u64 = 1 << 40;
const BUCKETS: usize = bucket_of(LIMIT - 1) + 1;

/// Counts of values in nanoseconds.
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, sum: 0, max: 0 }
    }

    /// Counts one value.
    pub fn record(&mut self, nanos: u64) {
        self.counts[bucket_of(nanos.min(LIMIT - 1))] += 1;
        self.total += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
    }

    /// Adds the counts of another.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The greatest value, exactly; 0 where there is none.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, exactly; 0 where there is none.
    pub fn mean(&self) -> u64 {
        let mean = self.sum.checked_div(u128::from(self.total)).unwrap_or(0);
        u64::try_from(mean).unwrap_or(u64::MAX)
    }

    /// The smallest value that at least `per_mille` thousandths of all values do not exceed, rounded
    /// up to its bucket's end; 0 where there is none.
    pub fn quantile(&self, per_mille: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(per_mille)).div_ceil(1000).max(1);
        let mut seen = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return last_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// The bucket that counts `value`.
#[allow(clippy::cast_possible_truncation, reason = "a bucket's number is below 5,000")]
const fn bucket_of(value: u64) -> usize {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    (shift as u64 * STEPS + (value >> shift)) as usize
}

/// The greatest value that `bucket` counts.
fn last_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / STEPS).saturating_sub(1);
    ((bucket - shift * STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_values_are_exact() {
        let mut histogram = Histogram::new();
        for value in 1..=100 {
            histogram.record(value);
        }
        assert_eq!([500, 990, 999, 1000].map(|q| histogram.quantile(q)), [50, 99, 100, 100]);
        assert_eq!((histogram.total(), histogram.mean(), histogram.max()), (100, 50, 100));
    }

    #[test]
    fn nothing_recorded_is_zero() {
        let histogram = Histogram::new();
        assert_eq!((histogram.quantile(990), histogram.mean(), histogram.max()), (0, 0, 0));
    }

    #[test]
    fn values_beyond_the_limit_are_counted() {
        let mut histogram = Histogram::new();
        histogram.record(u64::MAX);
        assert_eq!((histogram.total(), histogram.max()), (1, u64::MAX));
    }

    #[test]
    fn buckets_have_no_gap() {
        for bucket in 0..BUCKETS {
            let last = last_of(bucket);
            assert_eq!(bucket_of(last), bucket);
            assert_eq!(bucket_of(last + 1), bucket + 1);
        }
    }

    proptest! {
        #[test]
        fn a_bucket_is_narrow(value in 0..LIMIT) {
            let last = last_of(bucket_of(value));
            prop_assert!(last >= value && (last - value) * STEPS <= value.max(1));
        }

        #[test]
        fn quantiles_agree_with_sorting(
            mut values in proptest::collection::vec(0..10_000_000_000_u64, 1..300),
            cut in 0_usize..300,
        ) {
            let mut histogram = Histogram::new();
            let mut other = Histogram::new();
            for (index, value) in values.iter().enumerate() {
                if index < cut { histogram.record(*value) } else { other.record(*value) }
            }
            histogram.merge(&other);
            values.sort_unstable();
            for per_mille in [1_u64, 500, 990, 999, 1000] {
                let rank = (values.len() as u64 * per_mille).div_ceil(1000).max(1);
                let exact = values[usize::try_from(rank - 1).expect("rank")];
                let found = histogram.quantile(per_mille);
                prop_assert!(found >= exact && found <= exact + exact / STEPS + 1);
            }
        }
    }
}
