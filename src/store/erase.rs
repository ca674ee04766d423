//! Erasing a user: everything, files included.
//!
//! Order, so that a crash anywhere neither brings records back nor loses others': the user is
//! fenced off; his partitions stop without saving; the log takes an erase record, which hides all
//! earlier ones of his; his folders go; the audit line is written. A start after a crash finds
//! the erase record and removes the folders again. Last, what the log still holds of him goes
//! with its segments.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Store, StoreError};
use crate::actors::Shared;
use crate::actors::catalog::Stop;
use crate::actors::messages::Work;
use crate::actors::supervisor::Fence;
use crate::audit::{Actor, AuditError, Event};
use crate::domain::{Table, UserId};
use crate::log::Lsn;
use crate::parquet::FileView;
use crate::storage::{StorageError, layout};

/// How long an erasure waits for the log to let go of the user's bytes.
const RELEASE: Duration = Duration::from_secs(10);

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Audiences.
    pub audiences: u64,
    /// Platforms.
    pub platforms: u64,
    /// Distributions.
    pub distributions: u64,
    /// Whether all of them could be counted: what cannot be read is erased all the same.
    pub counts_complete: bool,
    /// Files.
    pub files: u64,
    /// Whether the log holds nothing of the user any more. Otherwise it does until its oldest
    /// segments go, which needs other partitions' checkpoints.
    pub log_released: bool,
}

impl Store {
    /// Erases everything of a user, as `by` asks. On return it survives power loss.
    ///
    /// # Errors
    /// [`StoreError::Erasing`] where it is under way already; [`StoreError::StorageFailed`] where
    /// files could not be removed: the user is then erased from reads, and asking again removes
    /// the rest.
    pub async fn erase(&self, user: &UserId, by: &Actor) -> Result<Erased, StoreError> {
        let mut counts_complete = true;
        let [audiences, platforms, distributions] = [
            self.counted(user, Table::Audiences, &mut counts_complete).await?,
            self.counted(user, Table::Platforms, &mut counts_complete).await?,
            self.counted(user, Table::Distributions, &mut counts_complete).await?,
        ];
        let fence = |closed| Fence { user: user.clone(), closed };
        let fenced = self.supervisor.send(fence(true)).await.map_err(|_| StoreError::Draining)?;
        if !fenced {
            return Err(StoreError::Erasing);
        }
        let erased = self.erase_fenced(user).await;
        // The supervisor lives as long as the server; without it nothing starts anyway.
        let _ = self.supervisor.send(fence(false)).await;
        self.forget_listings(user).await;
        self.usage.forget(user);
        let (files, lsn) = erased?;
        for (table, count) in Table::PUBLIC.into_iter().zip([audiences, platforms, distributions]) {
            if let Some(changes) = self.changes(table) {
                changes.erased.add(count);
            }
        }
        let log_released = self.release(lsn).await;
        let erased =
            Erased { audiences, platforms, distributions, counts_complete, files, log_released };
        let counts = [
            ("audiences", erased.audiences),
            ("platforms", erased.platforms),
            ("distributions", erased.distributions),
            ("files", erased.files),
        ];
        match self.audit.record(Event::user_erased(by, user, &counts)).await {
            Ok(()) => Ok(erased),
            Err(AuditError::Full) => Err(StoreError::StorageFull),
            Err(AuditError::Failed) => Err(StoreError::StorageFailed),
        }
    }

    /// The records of a table; 0 where they cannot be read.
    async fn counted(
        &self,
        user: &UserId,
        table: Table,
        complete: &mut bool,
    ) -> Result<u64, StoreError> {
        match self.tally(user, table).await {
            Err(StoreError::PartitionCorrupt | StoreError::StorageFailed) => {
                *complete = false;
                Ok(0)
            }
            tally => Ok(tally?.total),
        }
    }

    async fn erase_fenced(&self, user: &UserId) -> Result<(u64, Lsn), StoreError> {
        self.close_all(user).await?;
        let (done, durable) = oneshot::channel();
        let tell = move |result| {
            // The erasure waits for this as long as the server lives.
            let _ = done.send(result);
        };
        let lsn = self.shared.log.append_erase(user, tell)?;
        durable.await.map_err(|_| StoreError::Draining)??;
        let files =
            remove_folders(&self.shared, user).await.map_err(|_| StoreError::StorageFailed)?;
        self.shared.log.erase_finished(lsn);
        if let Some(usage) = self.shared.usage(user) {
            usage.erased();
        }
        for table in Table::ALL {
            self.shared.registry.changed(&self.shared.registry.table(user, table));
        }
        Ok((files, lsn))
    }

    async fn close_all(&self, user: &UserId) -> Result<(), StoreError> {
        for ((of, table), catalog) in self.shared.registry.catalogs() {
            if of == *user {
                // A busy catalog is waiting for partitions that are about to close.
                let _ = catalog.try_send(Stop);
                self.shared.registry.leave_catalog(&(of, table), &catalog);
            }
        }
        for slot in self.shared.registry.of_user(user, None) {
            let (reply, closed) = oneshot::channel();
            if slot.addr.send(Work::Close { reply }).await.is_ok() {
                // Without an answer it stopped by itself, which serves as well.
                let _ = closed.await;
            }
        }
        Ok(())
    }

    /// Lets the log go of everything up to `lsn`, as far as that is quick.
    async fn release(&self, lsn: Lsn) -> bool {
        self.shared.log.rotate();
        let release = async {
            loop {
                if self.checkpoint(false).await.is_err() {
                    return false;
                }
                let log = self.shared.log.clone();
                let removed =
                    self.shared.env.blocking(move || log.remove_published_segments()).await;
                if !matches!(removed, Ok(Ok(_))) {
                    return false;
                }
                if self.shared.log.status().oldest_segment > lsn {
                    return true;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(RELEASE, release).await.unwrap_or(false)
    }
}

/// Removes the folders of a user and answers how many files that were.
///
/// # Errors
/// [`StorageError`]; some may be gone.
pub async fn remove_folders(shared: &Shared, user: &UserId) -> Result<u64, StorageError> {
    let mut files = 0;
    for table in Table::ALL {
        files += shared.storage.delete_tree(&layout::user_folder(user, table)).await?;
        files += shared.storage.delete_tree(&layout::archive_user_folder(user, table)).await?;
        files += shared.storage.delete_tree(&layout::legacy_user_folder(user, table)).await?;
    }
    shared.archived.forget(user);
    Ok(files)
}

/// Finishes, at a start, an erasure that a crash cut short: removes the user's folders unless a
/// file in them is newer than the erasure.
///
/// # Errors
/// [`StorageError`] where folders cannot be read or removed.
pub async fn finish(shared: &Arc<Shared>, user: &UserId, lsn: Lsn) -> Result<(), StorageError> {
    for table in Table::ALL {
        if !holds_newer(shared, user, table, lsn).await? {
            shared.storage.delete_tree(&layout::user_folder(user, table)).await?;
            shared.storage.delete_tree(&layout::archive_user_folder(user, table)).await?;
        }
        shared.storage.delete_tree(&layout::legacy_user_folder(user, table)).await?;
    }
    shared.log.erase_finished(lsn);
    Ok(())
}

async fn holds_newer(
    shared: &Arc<Shared>,
    user: &UserId,
    table: Table,
    lsn: Lsn,
) -> Result<bool, StorageError> {
    for key in super::survey::stored_partitions(shared, user, table).await? {
        let mut path = layout::partition_file(&key);
        let mut meta = shared.storage.head(&path).await?;
        if meta.is_none() {
            path = layout::archive_file(&key);
            meta = shared.storage.head(&path).await?;
        }
        let Some(meta) = meta else { continue };
        let bytes = shared.storage.read(&path, 0..meta.len).await?;
        let applied = FileView::open(&bytes).ok().and_then(|view| {
            view.footer().filter(|f| f.log_id == shared.log.log_id()).map(|f| f.applied_lsn)
        });
        if applied.is_some_and(|applied| applied > lsn.get()) {
            return Ok(true);
        }
    }
    Ok(false)
}
