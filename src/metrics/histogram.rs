//! Distributions with fixed bounds.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of latencies, in nanoseconds: 250 µs to 10 s.
pub const LATENCY: &[u64] = &[
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Bounds of sizes, in bytes: 1 KiB to 4 GiB.
pub const BYTES: &[u64] = &[
    1 << 10,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 20,
    1 << 22,
    1 << 24,
    1 << 26,
    1 << 28,
    1 << 30,
    1 << 32,
];

/// Bounds of counts: 1 to 4,096.
pub const COUNT: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096];

/// What its observations are, and how they are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Nanoseconds, written as seconds.
    Nanoseconds,
    /// Written as they are.
    Plain,
}

/// Counts observations by size. One writer or many; an observation is two atomic additions.
#[derive(Debug)]
pub struct Histogram {
    unit: Unit,
    bounds: &'static [u64],
    /// One for each bound, and one for what is above them.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(unit: Unit, bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { unit, bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Of latencies.
    #[must_use]
    pub fn latency() -> Self {
        Self::new(Unit::Nanoseconds, LATENCY)
    }

    /// Of sizes in bytes.
    #[must_use]
    pub fn bytes() -> Self {
        Self::new(Unit::Plain, BYTES)
    }

    /// Of counts.
    #[must_use]
    pub fn count() -> Self {
        Self::new(Unit::Plain, COUNT)
    }

    /// Counts one of `value`, in the histogram's unit.
    pub fn observe(&self, value: u64) {
        let index = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Ordering::Relaxed);
            self.sum.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Counts one of a latency.
    pub fn observe_time(&self, time: Duration) {
        self.observe(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// What was counted. Observations made meanwhile are in it or not.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            unit: self.unit,
            bounds: self.bounds,
            counts: self.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect(),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    unit: Unit,
    bounds: &'static [u64],
    counts: Vec<u64>,
    sum: u64,
}

impl Snapshot {
    /// Adds what another one of the same bounds counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, more) in self.counts.iter_mut().zip(&other.counts) {
            *mine += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Observations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn scaled(&self, value: u64) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
        let value = value as f64;
        match self.unit {
            Unit::Nanoseconds => value / 1e9,
            Unit::Plain => value,
        }
    }

    /// The sum of all observations, in base units.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.scaled(self.sum)
    }

    /// Upper bounds in base units, each with how many observations are not above it. What is
    /// above all of them is left out.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(f64, u64)> {
        let mut seen = 0;
        let of = |(bound, count): (&u64, &u64)| {
            seen += count;
            (self.scaled(*bound), seen)
        };
        self.bounds.iter().zip(&self.counts).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_bucket_below_and_nothing_is_lost_above() {
        let histogram = Histogram::count();
        for value in [0, 1, 2, 3, 4096, 4097] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        let cumulative = snapshot.cumulative();
        assert_eq!(cumulative[..3], [(1.0, 2), (2.0, 3), (4.0, 4)]);
        assert_eq!(cumulative.last(), Some(&(4096.0, 5)));
        assert_eq!(snapshot.total(), 6);
        assert!((snapshot.sum() - 8199.0).abs() < f64::EPSILON);
    }

    #[test]
    fn times_are_seconds_and_shards_add_up() {
        let (a, b) = (Histogram::latency(), Histogram::latency());
        a.observe_time(Duration::from_micros(300));
        b.observe_time(Duration::from_millis(2));
        let mut all = a.snapshot();
        all.merge(&b.snapshot());
        assert_eq!(all.total(), 2);
        assert!((all.sum() - 0.0023).abs() < 1e-12);
        let cumulative = all.cumulative();
        assert_eq!(cumulative[1], (0.0005, 1));
        assert_eq!(cumulative[3], (0.0025, 2));
    }

    #[test]
    fn bounds_ascend() {
        for bounds in [LATENCY, BYTES, COUNT] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
