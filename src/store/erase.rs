//! Erasing a user: everything, files included.
//!
//! Order, so that a crash anywhere neither brings records back nor loses others': the user is
//! fenced off; his partitions stop without saving; the log takes an erase record, which hides all
//! earlier ones of his; his folders go, and he is let in again; the audit line is written. A start
//! after a crash finds the erase record and removes the folders again. Last, what the log still
//! holds of him goes with its segments.

use std::time::Duration;

use tokio::sync::oneshot;

use super::unfinished::Rest;
use super::{Store, StoreError};
use crate::actors::catalog::Stop;
use crate::actors::messages::Work;
use crate::audit::{Actor, AuditError, Event};
use crate::domain::{Table, UserId};
use crate::log::Lsn;

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
    /// files could not be removed: everything of the user then answers [`StoreError::Erasing`]
    /// until they are gone, which is tried again and again, and at once when this is asked again.
    pub async fn erase(&self, user: &UserId, by: &Actor) -> Result<Erased, StoreError> {
        if let Some(gone) = self.go_on_erasing(user).await {
            let (files, lsn) = gone?;
            let log_released = self.release(lsn).await;
            let erased = Erased { files, log_released, ..Erased::default() };
            return self.note_erased(user, by, erased).await;
        }
        let mut counts_complete = true;
        let [audiences, platforms, distributions] = [
            self.counted(user, Table::Audiences, &mut counts_complete).await?,
            self.counted(user, Table::Platforms, &mut counts_complete).await?,
            self.counted(user, Table::Distributions, &mut counts_complete).await?,
        ];
        if !self.fence(user, true).await.ok_or(StoreError::Draining)? {
            return Err(StoreError::Erasing);
        }
        let lsn = match self.log_erasure(user).await {
            Ok(lsn) => lsn,
            Err(error) => {
                self.fence(user, false).await;
                return Err(error);
            }
        };
        self.forget(user).await;
        for (table, count) in Table::PUBLIC.into_iter().zip([audiences, platforms, distributions]) {
            if let Some(changes) = self.changes(table) {
                changes.erased.add(count);
            }
        }
        self.unfinished.enter(user, Rest { lsn, perhaps_finished: false });
        let files = match self.go_on_erasing(user).await {
            Some(Ok((files, _))) => files,
            // Without an answer somebody else asked in between, and is at it; he may fail, too.
            unfinished => {
                self.keep_erasing(user.clone());
                return Err(unfinished.and_then(Result::err).unwrap_or(StoreError::Erasing));
            }
        };
        let log_released = self.release(lsn).await;
        let erased =
            Erased { audiences, platforms, distributions, counts_complete, files, log_released };
        self.note_erased(user, by, erased).await
    }

    async fn note_erased(
        &self,
        user: &UserId,
        by: &Actor,
        erased: Erased,
    ) -> Result<Erased, StoreError> {
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

    /// Stops what runs of a user who is fenced off and logs that he is gone. On return that
    /// survives power loss.
    async fn log_erasure(&self, user: &UserId) -> Result<Lsn, StoreError> {
        self.close_all(user).await?;
        let (done, durable) = oneshot::channel();
        let tell = move |result| {
            // The erasure waits for this as long as the server lives.
            let _ = done.send(result);
        };
        let lsn = self.shared.log.append_erase(user, tell)?;
        durable.await.map_err(|_| StoreError::Draining)??;
        Ok(lsn)
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
