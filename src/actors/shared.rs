//! What all actors are handed: the parts they work with and the bounds they keep.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::registry::Registry;
use super::usage::{Quotas, Usage};
use crate::crypto::Keys;
use crate::domain::{PartitionKey, UserId};
use crate::env::Env;
use crate::log::Log;
use crate::metrics::{Parts, StorageMetrics};
use crate::storage::Storage;

/// Bounds of the actors, each set once.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Messages a partition's mailbox holds, and requests it keeps waiting for a read.
    pub mailbox: usize,
    /// How far behind a Parquet file may be.
    pub checkpoint_interval: Duration,
    /// Unsaved bytes that make a checkpoint due at once.
    pub checkpoint_bytes: u64,
    /// Checkpoints under way at once.
    pub checkpoint_concurrency: usize,
    /// How long a partition stays without requests.
    pub idle_timeout: Duration,
    /// Bytes all partitions may hold in memory.
    pub resident_bytes: u64,
    /// Partitions that may run.
    pub resident_partitions: usize,
    /// Bytes the listing cache may hold.
    pub cache_bytes: usize,
    /// Bytes of the records on a page of a list.
    pub page_bytes: usize,
    /// How much each user may have.
    pub quotas: Quotas,
}

/// The parts actors work with.
pub struct Shared {
    /// Clock, randomness, files.
    pub env: Env,
    /// The log.
    pub log: Log,
    /// Where Parquet files live.
    pub storage: Arc<dyn Storage>,
    /// Who is where.
    pub registry: Registry,
    /// What seals credentials.
    pub keys: Keys,
    /// Bounds.
    pub limits: Limits,
    /// Files that cannot be read, and why.
    pub unreadable: Unreadable,
    /// What the parts count.
    pub metrics: Parts,
    /// What the storage's calls took.
    pub storage_metrics: Arc<StorageMetrics>,
    /// Months that lists leave out.
    pub archived: Archived,
    /// Permits for checkpoints: as many are under way at once as [`Limits`] says, whoever asked.
    pub checkpoints: Arc<Semaphore>,
}

/// Share of the log's bound past which everything unsaved is due.
const HURRY: (u64, u64) = (1, 2);

impl Shared {
    /// What a user has, where quotas limit it.
    #[must_use]
    pub fn usage(&self, user: &UserId) -> Option<Arc<Usage>> {
        let quotas = self.limits.quotas;
        quotas.any().then(|| self.registry.usage(user, quotas))
    }

    /// Whether the log holds so much of what it may that all unsaved changes should reach their
    /// files now, whatever else there is to do.
    #[must_use]
    pub fn is_in_a_hurry(&self) -> bool {
        let log = self.log.status();
        log.bytes > log.max_bytes * HURRY.0 / HURRY.1
    }

    /// Monotonic milliseconds, never 0.
    #[must_use]
    pub fn millis(&self) -> u64 {
        u64::try_from(self.env.clock.monotonic().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

/// Partitions whose file is in the archive and holds everything of them: lists leave them out
/// unless asked. Those of users whose months were looked for; a partition says so itself once it
/// is loaded.
#[derive(Debug, Default)]
pub struct Archived(Mutex<HashSet<PartitionKey>>);

impl Archived {
    fn keys(&self) -> std::sync::MutexGuard<'_, HashSet<PartitionKey>> {
        // Each change is one call: a panic between them leaves a whole set behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether a partition is archived.
    pub fn set(&self, key: &PartitionKey, archived: bool) {
        let mut keys = self.keys();
        if archived {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
    }

    /// Whether a partition is archived.
    #[must_use]
    pub fn has(&self, key: &PartitionKey) -> bool {
        self.keys().contains(key)
    }

    /// Forgets a user's.
    pub fn forget(&self, user: &UserId) {
        self.keys().retain(|key| key.user() != user);
    }
}

/// Files that cannot be read: kept, reported, never overwritten. Bounded.
#[derive(Debug, Default)]
pub struct Unreadable(Mutex<BTreeMap<String, Entry>>);

/// One of them.
#[derive(Debug)]
struct Entry {
    partition: Option<PartitionKey>,
    why: String,
    /// A scrub read all of it: that a partition's folder opens does not say that it is sound.
    scrubbed: bool,
}

/// How many unreadable files are named; more are only logged.
const MOST_NAMED: usize = 1000;

impl Unreadable {
    /// Reports a file by its path below the store's root.
    pub fn report(&self, file: &str, partition: Option<&PartitionKey>, why: &str) {
        self.enter(file, partition, why, false);
    }

    /// Reports a file that a scrub found damaged. It stays reported until a scrub finds it sound.
    pub fn scrubbed(&self, file: &str, partition: &PartitionKey, why: &str) {
        self.enter(file, Some(partition), why, true);
    }

    /// Forgets what a scrub reported of a file.
    pub fn sound(&self, file: &str) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.get(file).is_some_and(|entry| entry.scrubbed) {
            files.remove(file);
        }
    }

    fn enter(&self, file: &str, partition: Option<&PartitionKey>, why: &str, scrubbed: bool) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if files.len() < MOST_NAMED || files.contains_key(file) {
            let scrubbed = scrubbed || files.get(file).is_some_and(|entry| entry.scrubbed);
            let entry = Entry { partition: partition.cloned(), why: why.to_owned(), scrubbed };
            if files.insert(file.to_owned(), entry).is_none() {
                tracing::error!(file, why, "file cannot be read and is left untouched");
            }
        } else {
            tracing::error!(file, why, "file cannot be read and is left untouched");
        }
    }

    /// Forgets what was reported of a partition: its folder was read again, whole.
    pub fn clear(&self, partition: &PartitionKey) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, e| e.scrubbed || e.partition.as_ref() != Some(partition));
    }

    /// The files and why each cannot be read.
    #[must_use]
    pub fn list(&self) -> Vec<(String, String)> {
        let files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        files.iter().map(|(file, entry)| (file.clone(), entry.why.clone())).collect()
    }
}
