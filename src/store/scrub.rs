//! Reading every file of this store again and again in the background, at a bounded rate, so that
//! damage is known before somebody asks for the rows.
//!
//! A file is read in small pieces, with pauses between. It may be replaced meanwhile: what seems
//! damaged counts only where the file is still the one that was begun with. Files of the Python
//! service have no checksums and are passed over.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::Store;
use super::survey::stored_partitions;
use crate::actors::Shared;
use crate::actors::partition::StoredSource;
use crate::domain::{PartitionKey, Table};
use crate::parquet::{DamagedPart, Fetched, FileView, ParquetError, check_group, check_rest};
use crate::storage::{ObjectMeta, StorageError, StorePath, layout};

/// Most bytes read at once.
const PIECE: u64 = 256 * 1024;
/// How long a pass over all files takes at least.
const PASS: Duration = Duration::from_hours(1);

/// What scrubbing did since the start.
#[derive(Debug, Default)]
pub struct ScrubCounts {
    /// Files read whole.
    pub files: AtomicU64,
    /// Bytes read.
    pub bytes: AtomicU64,
    /// Passes over all files.
    pub passes: AtomicU64,
    /// Files found damaged; one of each pass that finds it.
    pub damaged: AtomicU64,
}

impl Store {
    /// What scrubbing did.
    #[must_use]
    pub fn scrub_counts(&self) -> &ScrubCounts {
        &self.scrub
    }

    /// Reads all files, over and over, at `rate` bytes a second; never, where that is 0.
    pub async fn scrub(self, rate: u64) {
        if rate == 0 {
            return;
        }
        let pace = Pace { rate };
        loop {
            let began = self.shared.env.clock.monotonic();
            if let Err(error) = self.pass(pace).await {
                tracing::warn!(%error, "not every file could be scrubbed");
            }
            self.scrub.passes.fetch_add(1, Ordering::Relaxed);
            let took = self.shared.env.clock.monotonic().saturating_sub(began);
            tokio::time::sleep(PASS.saturating_sub(took)).await;
        }
    }

    async fn pass(&self, pace: Pace) -> Result<(), StorageError> {
        for table in Table::ALL {
            for segment in self.shared.storage.folders(&layout::table_folder(table)).await? {
                let Some(user) = layout::parse_user(&segment) else { continue };
                let keys = match stored_partitions(&self.shared, &user, table).await {
                    // Reported by the survey.
                    Err(StorageError::NotAFolder) => continue,
                    keys => keys?,
                };
                for key in keys {
                    self.partition(&key, pace).await?;
                }
            }
        }
        Ok(())
    }

    async fn partition(&self, key: &PartitionKey, pace: Pace) -> Result<(), StorageError> {
        let mut path = layout::partition_file(key);
        let mut begun = self.shared.storage.head(&path).await;
        if matches!(begun, Ok(None)) {
            path = layout::archive_file(key);
            begun = self.shared.storage.head(&path).await;
        }
        let begun = match begun {
            Ok(Some(object)) => object,
            // The survey and whoever asks for the partition say so.
            Ok(None) | Err(StorageError::NotAFolder) => return Ok(()),
            Err(error) => return Err(error),
        };
        let found = file(&self.shared, &path, &begun, pace, &self.scrub.bytes).await;
        self.scrub.files.fetch_add(1, Ordering::Relaxed);
        let same = self.shared.storage.head(&path).await?.is_some_and(|now| now == begun);
        match found {
            Ok(damaged) if damaged.is_empty() => self.shared.unreadable.sound(path.as_str()),
            Ok(damaged) if same => {
                let what: Vec<_> = damaged.into_iter().map(|part| part.what).collect();
                self.damaged(key, &path, &what.join("; "));
            }
            Err(error @ (ParquetError::Corrupt { .. } | ParquetError::WrongTable { .. }))
                if same =>
            {
                self.damaged(key, &path, &error.to_string());
            }
            // Replaced meanwhile, of the Python service, or not to be had now.
            Ok(_) | Err(_) => {}
        }
        Ok(())
    }

    fn damaged(&self, key: &PartitionKey, path: &StorePath, why: &str) {
        self.scrub.damaged.fetch_add(1, Ordering::Relaxed);
        self.shared.unreadable.scrubbed(path.as_str(), key, why);
    }
}

/// Reads and checks one file.
async fn file(
    shared: &Arc<Shared>,
    path: &StorePath,
    object: &ObjectMeta,
    pace: Pace,
    bytes: &AtomicU64,
) -> Result<Vec<DamagedPart>, ParquetError> {
    let source = || StoredSource::new(Arc::clone(&shared.storage), path.clone(), object.len);
    let opened = source();
    let view = Arc::new(blocking(move || FileView::open(&opened)).await?);
    if !view.is_ours() {
        return Ok(Vec::new());
    }
    let mut damaged = Vec::new();
    for group in 0..view.groups().len() {
        let range = view.group_bytes(group);
        let start = range.start;
        let fetched = Fetched::part(start, slowly(shared, path, range, pace, bytes).await?);
        let view = Arc::clone(&view);
        damaged.extend(blocking(move || check_group(&view, group, &fetched)).await?);
    }
    let rest = source();
    let grouped: u64 = view.groups().iter().map(|g| g.range.end - g.range.start).sum();
    damaged.extend(blocking(move || check_rest(&view, &rest)).await?);
    pace.rest(object.len.saturating_sub(grouped)).await;
    bytes.fetch_add(object.len.saturating_sub(grouped), Ordering::Relaxed);
    Ok(damaged)
}

async fn slowly(
    shared: &Shared,
    path: &StorePath,
    range: Range<u64>,
    pace: Pace,
    bytes: &AtomicU64,
) -> Result<Bytes, ParquetError> {
    let mut all = BytesMut::new();
    let mut at = range.start;
    while at < range.end {
        let end = range.end.min(at + pace.piece());
        let read = shared.storage.read(path, at..end).await;
        all.extend_from_slice(&read.map_err(|e| std::io::Error::other(e.to_string()))?);
        bytes.fetch_add(end - at, Ordering::Relaxed);
        pace.rest(end - at).await;
        at = end;
    }
    Ok(all.freeze())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<T, ParquetError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(std::io::Error::other(e).into()))
}

/// Bytes a second.
#[derive(Clone, Copy, Debug)]
struct Pace {
    rate: u64,
}

impl Pace {
    /// Most bytes to read before a pause: a second's worth.
    fn piece(self) -> u64 {
        self.rate.clamp(1, PIECE)
    }

    /// How long so many bytes are to take.
    fn time(self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    async fn rest(self, bytes: u64) {
        tokio::time::sleep(self.time(bytes)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_in_pieces_of_a_second_at_most() {
        let slow = Pace { rate: 1000 };
        assert_eq!((slow.piece(), slow.time(500)), (1000, Duration::from_millis(500)));
        let fast = Pace { rate: 1 << 30 };
        assert_eq!((fast.piece(), fast.time(1 << 30)), (PIECE, Duration::from_secs(1)));
        assert!(Pace { rate: 1 }.time(u64::MAX) > Duration::from_hours(24));
    }
}
