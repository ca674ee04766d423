//! What can be set about the log.

use std::time::Duration;

use super::LogError;
use super::segment::SEGMENT_HEADER_BYTES;
use crate::env::Space;

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
    /// Bytes of the disk that no new segment takes, so that checkpoints can still write the files
    /// that let old segments go; at most a twentieth of the disk.
    pub disk_reserve: u64,
    /// Most bytes of segments that are kept after nothing needs them any more; 0 keeps none.
    pub keep_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            sync: SyncMode::Always,
            segment_bytes: 64 << 20,
            max_record_bytes: 16 << 20,
            max_pending_bytes: 64 << 20,
            max_log_bytes: 8 << 30,
            disk_reserve: 0,
            keep_bytes: 0,
        }
    }
}

/// Largest segment: recovery holds one in memory, and an index entry has 32 bits for an offset.
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// Largest record anyone may allow.
const MAX_RECORD_BYTES: usize = 256 << 20;

/// Share of the disk that is kept free at most.
const RESERVE_SHARE: u64 = 20;

impl LogOptions {
    /// Whether another `bytes` for the log leave the reserve.
    pub(crate) fn leaves_reserve(&self, space: Space, bytes: u64) -> bool {
        let reserve = self.disk_reserve.min(space.total / RESERVE_SHARE);
        space.available >= bytes.saturating_add(reserve)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_small_part_of_a_small_disk() {
        let options = LogOptions { disk_reserve: 1000, ..LogOptions::default() };
        let large = |available| Space { available, total: 1 << 40 };
        assert!(options.leaves_reserve(large(1500), 500));
        assert!(!options.leaves_reserve(large(1499), 500));
        let small = |available| Space { available, total: 2000 };
        assert!(options.leaves_reserve(small(600), 500));
        assert!(!options.leaves_reserve(small(599), 500));
        let none = LogOptions { disk_reserve: 0, ..options };
        assert!(none.leaves_reserve(large(500), 500));
    }
}
