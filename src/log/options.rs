//! What can be set about the log.

use std::time::Duration;

use super::LogError;
use super::segment::SEGMENT_HEADER_BYTES;

/// When an append is acknowledged, and when it survives power loss.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncMode {
    /// Acknowledged after an fsync: survives power loss.
    Always,
    /// Acknowledged when written (survives the end of the process); fsynced at most this long
    /// after, so that power loss takes at most this much.
    Interval(Duration),
    /// Acknowledged when written; fsynced at rotation, on close and when asked for.
    Off,
}

/// Settings of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// When an append is acknowledged.
    pub sync: SyncMode,
    /// Bytes set aside for one segment.
    pub segment_bytes: u64,
    /// Most bytes of one record: its partition keys and its payload.
    pub max_record_bytes: usize,
    /// Most bytes that wait for the writer; as many again may be under way.
    pub max_pending_bytes: usize,
    /// Most bytes of all segments together.
    pub max_log_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            sync: SyncMode::Always,
            segment_bytes: 64 << 20,
            max_record_bytes: 16 << 20,
            max_pending_bytes: 64 << 20,
            max_log_bytes: 8 << 30,
        }
    }
}

/// Largest segment: recovery holds one in memory, and an index entry has 32 bits for an offset.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// Largest record anyone may allow.
const MAX_RECORD_BYTES: usize = 256 << 20;

impl LogOptions {
    /// Refuses settings that cannot work.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let wrong = if self.segment_bytes <= SEGMENT_HEADER_BYTES {
            "a segment must be larger than its header"
        } else if self.segment_bytes > MAX_SEGMENT_BYTES {
            "a segment must be at most 1 GiB"
        } else if !self.segment_bytes.is_multiple_of(8) {
            "a segment's size must be a multiple of 8"
        } else if self.max_record_bytes > MAX_RECORD_BYTES {
            "a record must be at most 256 MiB"
        } else if self.max_log_bytes < self.segment_bytes {
            "the log must have room for one segment"
        } else if matches!(self.sync, SyncMode::Interval(every) if every.is_zero()) {
            "the sync interval must be longer than nothing"
        } else {
            return Ok(());
        };
        Err(LogError::Options(wrong))
    }
}
