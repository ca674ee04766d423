//! What is measured, under which names, and how it is written for Prometheus.
//!
//! [`names`] is the one list of metrics. Hot paths hold [`Counter`]s and [`Histogram`]s directly
//! and count with one or two atomic additions: no lock, no allocation, no look-up by name.
//! HTTP workers have a shard each ([`http`]). A scrape reads what is there ([`Exposition`]);
//! nothing runs between scrapes. Labels are of closed sets: routes, methods, codes, tables, never
//! a user id.

pub mod activity;
mod activity_file;
mod exposition;
mod histogram;
pub mod history;
pub mod http;
pub mod names;
pub mod parts;

use std::sync::atomic::{AtomicU64, Ordering};

pub use activity_file::ActivityFile;
pub use exposition::Exposition;
pub use histogram::{Histogram, Snapshot};
pub use parts::{
    CheckpointMetrics, PartitionMetrics, Parts, RecordMetrics, RecoveryMetrics, StorageMetrics,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How much it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
