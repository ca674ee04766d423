//! What the writer measures while it works, for scrapes. Written by its thread alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::Histogram;

/// Distributions and the age of what is not synced.
#[derive(Debug)]
pub struct Measures {
    /// Time each fsync of a segment took.
    pub fsync: Histogram,
    /// Records in each batch.
    pub batch: Histogram,
    /// Monotonic nanoseconds of the first write since the last sync, and 1; 0 for none.
    dirty_since: AtomicU64,
}

impl Measures {
    pub(crate) fn new() -> Self {
        Self {
            fsync: Histogram::latency(),
            batch: Histogram::count(),
            dirty_since: AtomicU64::new(0),
        }
    }

    /// Something was written at this monotonic time and is not synced.
    pub(crate) fn dirty(&self, since: Duration) {
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.dirty_since.store(since.saturating_add(1), Ordering::Relaxed);
    }

    /// Everything written is synced, which took so long.
    pub(crate) fn synced(&self, took: Duration) {
        self.fsync.observe_time(took);
        self.dirty_since.store(0, Ordering::Relaxed);
    }

    /// How long the oldest byte that is not synced has waited at `now`.
    #[must_use]
    pub fn lag(&self, now: Duration) -> Duration {
        match self.dirty_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => now.saturating_sub(Duration::from_nanos(since - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_the_age_of_what_is_not_synced() {
        let measures = Measures::new();
        assert_eq!(measures.lag(Duration::from_secs(9)), Duration::ZERO);
        measures.dirty(Duration::ZERO);
        assert_eq!(measures.lag(Duration::from_secs(9)), Duration::from_secs(9));
        measures.synced(Duration::from_millis(1));
        assert_eq!(measures.lag(Duration::from_secs(9)), Duration::ZERO);
        assert_eq!(measures.fsync.snapshot().total(), 1);
    }
}
