//! Plain numbers about the log, for metrics, readiness and the start's report.

use std::time::Duration;

use uuid::Uuid;

use super::Lsn;
use crate::domain::UserId;

/// Whether the log takes appends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogState {
    /// It does.
    Running,
    /// No room for another segment; small records may still fit. Appends go on trying.
    Full(FullReason),
    /// A write or fsync failed; only opening the log again recovers.
    Poisoned(String),
    /// It is closing or closed.
    Closed,
}

/// What there is no room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FullReason {
    /// [`super::LogOptions::max_log_bytes`] is reached: checkpoints, then
    /// [`super::Log::remove_published_segments`], make room.
    Limit,
    /// The disk or a quota is used up. [`super::Log::rotate`] tries again without a record.
    Storage,
}

/// The log at one moment.
#[derive(Clone, Debug)]
pub struct LogStatus {
    /// Whether it takes appends.
    pub state: LogState,
    /// See [`super::Log::epoch`].
    pub epoch: u64,
    /// LSN of the last record appended.
    pub last_lsn: Lsn,
    /// LSN through which everything survives power loss.
    pub durable_lsn: Lsn,
    /// Segments, planned ones included.
    pub segments: usize,
    /// First LSN of the oldest segment.
    pub oldest_segment: Lsn,
    /// Bytes set aside for segments.
    pub bytes: u64,
    /// [`super::LogOptions::max_log_bytes`].
    pub max_bytes: u64,
    /// Bytes waiting for the writer.
    pub pending_bytes: usize,
    /// Bytes from the oldest record that is not in its Parquet file to the end of the log.
    pub unpublished_bytes: u64,
    /// Age of the oldest byte written and not synced.
    pub sync_lag: Duration,
    /// Records not in their Parquet file yet; one that names two partitions counts twice.
    pub unpublished_records: u64,
    /// Partitions with such records.
    pub unpublished_partitions: usize,
    /// Streams in memory: partitions with such records or with a handle.
    pub streams: usize,
    /// Erasures whose files are not known to be gone.
    pub unfinished_erasures: usize,
    /// What the writer did since the log was opened.
    pub written: WriterCounters,
}

/// What the writer did since the log was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct WriterCounters {
    /// Group commits.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those, padding included.
    pub bytes: u64,
    /// Fsyncs of segments.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_time: Duration,
    /// The longest of them.
    pub slowest_sync: Duration,
    /// Segments made or grown.
    pub segments_made: u64,
    /// Times there was no space for a segment.
    pub storage_full: u64,
}

/// What opening the log found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenReport {
    /// The log's id.
    pub log_id: Uuid,
    /// Whether the folder was empty and a log was begun.
    pub created: bool,
    /// Records read.
    pub records: u64,
    /// Bytes of those, padding included.
    pub bytes: u64,
    /// Segments.
    pub segments: usize,
    /// LSN of the last record.
    pub last_lsn: Lsn,
    /// What a crash had left behind the last whole record, now cut away.
    pub torn: Option<TornTail>,
    /// File name of a last segment that a crash had left without a header, now removed.
    pub unfinished_segment: Option<String>,
    /// Erasures whose record is still in the log, ascending: the caller finishes those whose
    /// files are still there, then calls [`super::Log::erase_finished`].
    pub erased: Vec<(UserId, Lsn)>,
    /// Partitions with records that may not be in their Parquet file.
    pub partitions: usize,
    /// Time it took.
    pub elapsed: Duration,
}

/// A torn tail: what a crash left of records that were never durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// File name of the segment.
    pub file: String,
    /// Where it began.
    pub offset: u64,
    /// How long it was.
    pub bytes: u64,
    /// LSN of the first record lost in it; the next append gets it.
    pub lsn: Lsn,
}

/// What [`super::Log::remove_published_segments`] did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RemovalReport {
    /// Segments removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
}
