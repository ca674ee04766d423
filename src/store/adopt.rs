//! Taking over a whole tree of the Python service: every partition is loaded once and written in
//! today's schema where it is not yet.

use futures_util::StreamExt;
use futures_util::stream;

use super::survey::stored_partitions;
use super::{Store, StoreError};
use crate::actors::messages::Work;
use crate::domain::{PartitionKey, Table};
use crate::storage::{StorageError, layout};

/// What a take-over did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adopted {
    /// Partitions looked at.
    pub seen: u64,
    /// Those that were written: of the Python service until now, or with unsaved changes.
    pub written: u64,
    /// Those whose files cannot be read; they are as they were.
    pub unreadable: u64,
}

impl Store {
    /// Takes over every partition of every user. `progress` hears of users done and users in all.
    /// On return the new files survive power loss, and so do the old ones, in `legacy/`. Ended
    /// anywhere, it can be begun again.
    ///
    /// # Errors
    /// The first that is not about an unreadable file; what was taken over before stays.
    pub async fn adopt(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Adopted, StoreError> {
        let mut users = Vec::new();
        for table in Table::PUBLIC {
            let folders = self.shared.storage.folders(&layout::table_folder(table)).await;
            let folders = folders.map_err(|_| StoreError::StorageFailed)?;
            users.extend(folders.iter().filter_map(|f| Some((layout::parse_user(f)?, table))));
        }
        let total = users.len() as u64;
        let mut adopted = Adopted::default();
        for (done, (user, table)) in (1..).zip(users) {
            match stored_partitions(&self.shared, &user, table).await {
                Ok(keys) => self.adopt_all(keys, &mut adopted).await?,
                Err(StorageError::NotAFolder) => adopted.unreadable += 1,
                Err(_) => return Err(StoreError::StorageFailed),
            }
            progress(done, total);
        }
        Ok(adopted)
    }

    async fn adopt_all(
        &self,
        keys: Vec<PartitionKey>,
        adopted: &mut Adopted,
    ) -> Result<(), StoreError> {
        let concurrency = self.shared.limits.checkpoint_concurrency.max(1) * 2;
        let mut results = stream::iter(keys)
            .map(|key| async move {
                let make =
                    |reply| Work::Checkpoint { adopt: true, permit: None, reply: Some(reply) };
                self.door.ask(&key, make).await.result
            })
            .buffer_unordered(concurrency);
        while let Some(result) = results.next().await {
            adopted.seen += 1;
            match result {
                Ok(written) => adopted.written += u64::from(written),
                Err(StoreError::PartitionCorrupt) => adopted.unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
