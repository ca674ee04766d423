//! What the parts of the store count, each held by the part that does.

use std::time::Duration;

use super::{Counter, Histogram};

/// Counts of all parts.
#[derive(Debug, Default)]
pub struct Parts {
    /// Partitions.
    pub partitions: PartitionMetrics,
    /// Checkpoints.
    pub checkpoints: CheckpointMetrics,
    /// Changes of records.
    pub records: RecordMetrics,
    /// The start.
    pub recovery: RecoveryMetrics,
    /// Messages that requests send.
    pub messages: MessageMetrics,
}

/// Messages that were put into mailboxes for requests, by whose.
#[derive(Debug, Default)]
pub struct MessageMetrics {
    /// Partitions', ledgers of `Idempotency-Key` among them.
    pub partition: Counter,
    /// Catalogs'.
    pub catalog: Counter,
    /// The listing cache's.
    pub cache: Counter,
    /// That of the actor which lets one request with a key in at a time.
    pub idempotency: Counter,
    /// The supervisor's.
    pub supervisor: Counter,
}

/// Starts and ends of partitions.
#[derive(Debug, Default)]
pub struct PartitionMetrics {
    /// Started.
    pub spawned: Counter,
    /// Started again after a failure.
    pub restarted: Counter,
    /// Ended because nobody asked, or others needed the memory.
    pub idle: Counter,
    /// Ended because the user was erased or the server stops.
    pub closed: Counter,
    /// Ended because a file or the log could not be read.
    pub failed: Counter,
    /// Ended by a panic.
    pub panicked: Counter,
}

/// Checkpoints.
#[derive(Debug)]
pub struct CheckpointMetrics {
    /// Begun, and neither written nor failed yet: begun less ended.
    pub begun: Counter,
    /// Written.
    pub written: Counter,
    /// Failed.
    pub failed: Counter,
    /// Time each took.
    pub duration: Histogram,
    /// Bytes of changes taken in.
    pub bytes_in: Counter,
    /// Bytes of files written.
    pub bytes_out: Counter,
    /// Of these, bytes of row groups copied as they were.
    pub bytes_copied: Counter,
    /// Row groups copied as they were.
    pub groups_copied: Counter,
    /// Row groups encoded.
    pub groups_encoded: Counter,
}

/// What a checkpoint's file was made of.
#[derive(Debug, Clone, Copy)]
pub struct MadeOf {
    /// All its bytes.
    pub bytes: u64,
    /// Those of row groups copied as they were.
    pub bytes_copied: u64,
    /// Row groups copied as they were.
    pub groups_copied: u64,
    /// Row groups encoded.
    pub groups_encoded: u64,
}

impl Default for CheckpointMetrics {
    fn default() -> Self {
        Self {
            begun: Counter::default(),
            written: Counter::default(),
            failed: Counter::default(),
            duration: Histogram::latency(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            bytes_copied: Counter::default(),
            groups_copied: Counter::default(),
            groups_encoded: Counter::default(),
        }
    }
}

impl CheckpointMetrics {
    /// One begins, with so many bytes of changes. It counts as failed where what this returns is
    /// dropped, which a panic of its partition does.
    #[must_use]
    pub fn begin(&self, bytes_in: u64) -> UnderWay<'_> {
        self.begun.increment();
        self.bytes_in.add(bytes_in);
        UnderWay { metrics: self, written: false }
    }

    /// How many are under way.
    #[must_use]
    pub fn running(&self) -> u64 {
        // In this order: what ends meanwhile is not counted as ended before it began.
        let ended = self.written.get() + self.failed.get();
        self.begun.get().saturating_sub(ended)
    }
}

/// A checkpoint under way.
pub struct UnderWay<'a> {
    metrics: &'a CheckpointMetrics,
    written: bool,
}

impl UnderWay<'_> {
    /// It ended: with what its file was made of where it was written.
    pub fn end(mut self, took: Duration, written: Option<MadeOf>) {
        self.metrics.duration.observe_time(took);
        if let Some(file) = written {
            self.metrics.bytes_out.add(file.bytes);
            self.metrics.bytes_copied.add(file.bytes_copied);
            self.metrics.groups_copied.add(file.groups_copied);
            self.metrics.groups_encoded.add(file.groups_encoded);
        }
        self.written = written.is_some();
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let metrics = self.metrics;
        let ended = if self.written { &metrics.written } else { &metrics.failed };
        ended.increment();
    }
}

/// Changes of one table's records that were answered as saved.
#[derive(Debug, Default)]
pub struct Changes {
    /// New records.
    pub created: Counter,
    /// Updated ones.
    pub updated: Counter,
    /// Deleted ones.
    pub deleted: Counter,
    /// Those that went with their user.
    pub erased: Counter,
}

/// Changes of records by table.
#[derive(Debug, Default)]
pub struct RecordMetrics {
    /// Of audiences.
    pub audiences: Changes,
    /// Of platforms.
    pub platforms: Changes,
    /// Of distributions.
    pub distributions: Changes,
}

/// What opening the log found, once.
#[derive(Debug, Default)]
pub struct RecoveryMetrics {
    /// Nanoseconds it took.
    pub nanoseconds: Counter,
    /// Records read.
    pub records: Counter,
    /// Bytes read.
    pub bytes: Counter,
    /// Partitions with records that no file held.
    pub partitions: Counter,
    /// Bytes cut off.
    pub torn_bytes: Counter,
}

/// Operations of the storage, in the order of [`StorageMetrics::operations`].
pub const OPERATIONS: [&str; 8] =
    ["head", "read", "put", "settle", "list", "folders", "delete", "delete_tree"];
/// Kinds of errors of the storage. That something is not there is an answer.
pub const ERROR_KINDS: [&str; 4] = ["truncated", "conflict", "full", "io"];

/// Calls of the storage.
#[derive(Debug)]
pub struct StorageMetrics {
    /// By operation: the time each call took.
    pub operations: [Histogram; OPERATIONS.len()],
    /// By operation and kind.
    pub errors: [[Counter; ERROR_KINDS.len()]; OPERATIONS.len()],
    /// Bytes read.
    pub read: Counter,
    /// Bytes written.
    pub written: Counter,
}

impl Default for StorageMetrics {
    fn default() -> Self {
        Self {
            operations: std::array::from_fn(|_| Histogram::latency()),
            errors: Default::default(),
            read: Counter::default(),
            written: Counter::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_vanishes_has_failed() {
        let metrics = CheckpointMetrics::default();
        let (one, two) = (metrics.begin(10), metrics.begin(20));
        assert_eq!(metrics.running(), 2);
        let file = MadeOf { bytes: 5, bytes_copied: 3, groups_copied: 2, groups_encoded: 1 };
        one.end(Duration::from_millis(1), Some(file));
        drop(two);
        assert_eq!((metrics.written.get(), metrics.failed.get(), metrics.running()), (1, 1, 0));
        assert_eq!((metrics.bytes_in.get(), metrics.bytes_out.get()), (30, 5));
        assert_eq!(metrics.bytes_copied.get(), 3);
        assert_eq!((metrics.groups_copied.get(), metrics.groups_encoded.get()), (2, 1));
        assert_eq!(metrics.duration.snapshot().total(), 1);
    }
}
