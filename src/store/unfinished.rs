//! Erasures that the log has and whose folders are not all gone, because the disk refused. What is
//! left of such a user is neither all he had nor nothing: he stays fenced off until all of it is
//! gone, which is tried again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Store, StoreError};
use crate::actors::Shared;
use crate::actors::supervisor::Fence;
use crate::domain::{Table, UserId};
use crate::log::Lsn;
use crate::parquet::FileView;
use crate::storage::{StorageError, layout, read_whole};

/// How long a new attempt waits at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is left of an erasure.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// Its record.
    pub lsn: Lsn,
    /// Whether a process before this one may have finished it, and the user have come back since.
    pub perhaps_finished: bool,
}

struct Entry {
    rest: Rest,
    /// Whether somebody is removing it.
    taken: bool,
}

/// The erasures that are not finished, by user.
#[derive(Default)]
pub struct Unfinished(Mutex<HashMap<UserId, Entry>>);

impl Unfinished {
    fn entries(&self) -> MutexGuard<'_, HashMap<UserId, Entry>> {
        // Each change is one call: a panic between them leaves a whole map behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one that nobody has begun to finish.
    pub fn enter(&self, user: &UserId, rest: Rest) {
        self.entries().insert(user.clone(), Entry { rest, taken: false });
    }

    /// Whose they are.
    #[must_use]
    pub fn users(&self) -> Vec<UserId> {
        self.entries().keys().cloned().collect()
    }

    fn has(&self, user: &UserId) -> bool {
        self.entries().contains_key(user)
    }

    /// One to be finished now, by the caller alone.
    fn take(&self, user: &UserId) -> Option<Rest> {
        let mut entries = self.entries();
        let entry = entries.get_mut(user).filter(|entry| !entry.taken)?;
        entry.taken = true;
        Some(entry.rest)
    }

    /// The caller has finished what it took, or could not.
    fn put_back(&self, user: &UserId, finished: bool) {
        let mut entries = self.entries();
        if finished {
            entries.remove(user);
        } else if let Some(entry) = entries.get_mut(user) {
            entry.taken = false;
        }
    }
}

impl Store {
    /// Goes on with an erasure that is not finished and answers how many files it removed, and its
    /// LSN; `None` where there is none, or somebody else is at it. On return the user's folders are
    /// gone for good, and he may come back.
    ///
    /// # Errors
    /// [`StoreError::StorageFailed`]; some may be gone, and the user stays fenced off.
    pub(super) async fn go_on_erasing(
        &self,
        user: &UserId,
    ) -> Option<Result<(u64, Lsn), StoreError>> {
        let rest = self.unfinished.take(user)?;
        let removed = remove(&self.shared, user, rest).await;
        let finished = removed.is_ok();
        self.unfinished.put_back(user, finished);
        match removed {
            Ok(_) => {
                self.forget(user).await;
                self.fence(user, false).await;
            }
            Err(ref error) => {
                tracing::error!(%error, "a user's folders could not all be removed, which will be tried again");
            }
        }
        Some(removed.map(|files| (files, rest.lsn)).map_err(|_| StoreError::StorageFailed))
    }

    /// Goes on with an erasure until it is finished, beside everything else.
    pub(super) fn keep_erasing(&self, user: UserId) {
        let store = self.clone();
        actix::spawn(async move {
            let mut pause = PAUSE.0;
            while store.unfinished.has(&user) {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE.1);
                // The next look tells what came of it.
                let _ = store.go_on_erasing(&user).await;
            }
        });
    }

    /// Keeps everything of a user closed, or no more; whether that is a change.
    pub(super) async fn fence(&self, user: &UserId, closed: bool) -> Option<bool> {
        // The supervisor lives as long as the server; without it nothing starts anyway.
        self.supervisor.send(Fence { user: user.clone(), closed }).await.ok()
    }

    /// Forgets what is known of a user who is gone.
    pub(super) async fn forget(&self, user: &UserId) {
        if let Some(usage) = self.shared.usage(user) {
            usage.erased();
        }
        for table in Table::ALL {
            self.shared.registry.changed(&self.shared.registry.table(user, table));
        }
        self.forget_listings(user).await;
        self.usage.forget(user);
    }
}

/// Removes a user's folders and answers how many files that were: all of a table's unless one of
/// them is newer than the erasure. On return they are gone for good.
///
/// # Errors
/// [`StorageError`] where folders cannot be read or removed; some may be gone.
pub async fn remove(shared: &Arc<Shared>, user: &UserId, rest: Rest) -> Result<u64, StorageError> {
    let mut files = 0;
    for table in Table::ALL {
        if !(rest.perhaps_finished && holds_newer(shared, user, table, rest.lsn).await?) {
            files += shared.storage.delete_tree(&layout::user_folder(user, table)).await?;
            files += shared.storage.delete_tree(&layout::archive_user_folder(user, table)).await?;
        }
        files += shared.storage.delete_tree(&layout::legacy_user_folder(user, table)).await?;
    }
    shared.archived.forget(user);
    shared.log.erase_finished(rest.lsn);
    Ok(files)
}

async fn holds_newer(
    shared: &Arc<Shared>,
    user: &UserId,
    table: Table,
    lsn: Lsn,
) -> Result<bool, StorageError> {
    for key in super::survey::stored_partitions(shared, user, table).await? {
        let storage = shared.storage.as_ref();
        let mut file = read_whole(storage, &layout::partition_file(&key)).await?;
        if file.is_none() {
            file = read_whole(storage, &layout::archive_file(&key)).await?;
        }
        let Some((bytes, _)) = file else { continue };
        let applied = FileView::open(&bytes).ok().and_then(|view| {
            view.footer().filter(|f| f.log_id == shared.log.log_id()).map(|f| f.applied_lsn)
        });
        if applied.is_some_and(|applied| applied > lsn.get()) {
            return Ok(true);
        }
    }
    Ok(false)
}
