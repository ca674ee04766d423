//! In the background of a running server: notices that the key ring changed, and brings all
//! records under its current key.
//!
//! A walk over all users, in the order of hashes of their folders' names. It begins when nothing
//! that was sealed with an older key is on its way any more, and its progress is kept in a file,
//! so that it goes on where it was after a restart. A user whose partition does not run, of whom
//! the log holds nothing, and whose file names no other key is passed by without starting
//! anything.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::sealed_files::{SealedFiles, read_user};
use super::{Store, StoreError};
use crate::crypto::{Progress, Sealer};
use crate::domain::{PartitionKey, Table, UserId};
use crate::storage::{StorageError, layout};

/// How often the ring's file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a walk rests that could not go on.
const REST: Duration = Duration::from_secs(1);
/// Users between two notes of how far the walk is.
const NOTE_EVERY: usize = 256;

/// Users between two looks at the ring's file.
const LOOK_EVERY: usize = 64;

/// What became of a walk.
enum Walked {
    Done,
    /// The ring changed, and this sealer is out of use.
    Changed(Arc<Sealer>),
    /// It was to be about another key.
    Stale,
}

impl Store {
    /// Runs until the store is closed.
    pub(crate) async fn follow_keys(self) {
        let mut before = Vec::new();
        loop {
            before.extend(self.look_at_ring().await);
            self.note_known().await;
            // What was sealed with an older ring must reach its record before the walk does.
            before.retain(|sealer: &Arc<Sealer>| sealer.is_held() || Arc::strong_count(sealer) > 1);
            let pause = match self.load_progress().await {
                Some(progress) if !progress.complete && before.is_empty() => {
                    match self.walk(progress).await {
                        Ok(Walked::Done | Walked::Stale) => LOOK,
                        Ok(Walked::Changed(sealer)) => {
                            before.push(sealer);
                            LOOK
                        }
                        Err(StoreError::Draining) => return,
                        Err(error) => {
                            tracing::warn!(%error, "re-wrapping credentials waits and goes on");
                            REST
                        }
                    }
                }
                _ => LOOK,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// The sealers that a changed ring put out of use.
    async fn look_at_ring(&self) -> Option<Arc<Sealer>> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || shared.keys.look()).await {
            Ok(Ok(before)) => {
                if before.is_some() {
                    tracing::info!(current = %self.shared.keys.sealer().current(), "key ring changed");
                }
                before
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the key ring cannot be read; the one in memory stays");
                None
            }
            Err(_) => None,
        }
    }

    async fn load_progress(&self) -> Option<Progress> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.keys.progress()).await.ok()?.ok()?
    }

    async fn save_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let (shared, progress) = (Arc::clone(&self.shared), progress.clone());
        match tokio::task::spawn_blocking(move || shared.keys.save(&progress)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::StorageFailed),
        }
    }

    /// Writes to the audit trail which keys came, went or became current since it was last
    /// written, and remembers that.
    async fn note_known(&self) {
        let Some(mut progress) = self.load_progress().await else { return };
        let (now, sealer) = (self.shared.keys.ids(), self.shared.keys.sealer());
        let current = sealer.current().as_str();
        if progress.known == now && progress.known_current == current {
            return;
        }
        let known = &progress.known;
        let added = now.iter().filter(|id| !known.contains(id)).map(|id| ("key_added", id));
        let retired = known.iter().filter(|id| !now.contains(id)).map(|id| ("key_retired", id));
        let made = (progress.known_current != current).then_some(("key_made_current", current));
        let mut lines: Vec<(&'static str, String)> =
            added.chain(retired).map(|(action, id)| (action, id.clone())).collect();
        lines.extend(made.map(|(action, id)| (action, id.to_owned())));
        let audit = Arc::clone(&self.audit);
        let written = tokio::task::spawn_blocking(move || {
            lines.iter().try_for_each(|(action, id)| audit.key_changed(action, id))
        });
        if matches!(written.await, Ok(Ok(()))) {
            current.clone_into(&mut progress.known_current);
            progress.known = now;
            // Otherwise the lines are written again, which is better than never.
            let _ = self.save_progress(&progress).await;
        }
    }

    async fn walk(&self, mut progress: Progress) -> Result<Walked, StoreError> {
        let sealer = self.shared.keys.sealer();
        if progress.current != sealer.current().as_str() {
            return Ok(Walked::Stale);
        }
        let mut seen = HashSet::new();
        if progress.place == 0 {
            // Users of whom only the log knows have no folder yet.
            for key in self.shared.log.oldest_unpublished(usize::MAX) {
                if key.table() == Table::Platforms {
                    self.take_along(key.user(), &mut progress).await?;
                    seen.insert(key.user().clone());
                }
            }
        }
        let places = self.places(progress.place).await?;
        for (since, (place, user)) in places.into_iter().enumerate() {
            if since > 0 && since.is_multiple_of(NOTE_EVERY) {
                progress.place = place;
                self.save_progress(&progress).await?;
            }
            if since.is_multiple_of(LOOK_EVERY)
                && let Some(before) = self.look_at_ring().await
            {
                return Ok(Walked::Changed(before));
            }
            progress.users += 1;
            if !seen.contains(&user) && !self.is_under(&user, sealer.current().as_str()).await? {
                self.take_along(&user, &mut progress).await?;
            }
        }
        progress.complete = true;
        progress.place = 0;
        self.save_progress(&progress).await?;
        tracing::info!(
            key = %sealer.current(),
            users = progress.users,
            rewrapped = progress.rewrapped,
            left = progress.left.values().sum::<u64>(),
            unreadable = progress.unreadable,
            "credentials are under the current key"
        );
        Ok(Walked::Done)
    }

    /// The users with a folder, from a place on, in order.
    async fn places(&self, from: u64) -> Result<Vec<(u64, UserId)>, StoreError> {
        let table = layout::table_folder(Table::Platforms);
        let folders = self.shared.storage.folders(&table).await.map_err(failed)?;
        let mut places: Vec<_> = folders
            .iter()
            .filter_map(|name| Some((place(name), layout::parse_user(name)?)))
            .filter(|(place, _)| *place >= from)
            .collect();
        places.sort_by_key(|(place, _)| *place);
        Ok(places)
    }

    /// Whether everything of a user is known to be under the key, without starting his partition.
    async fn is_under(&self, user: &UserId, current: &str) -> Result<bool, StoreError> {
        let key = PartitionKey::whole(user, Table::Platforms);
        // What runs may hold rows that no file has: a take-over's, sealed when it was loaded.
        let busy = self.shared.registry.partition(&key).is_some()
            || !self.shared.log.unpublished_partitions(user, Table::Platforms).is_empty();
        if busy {
            return Ok(false);
        }
        let mut files = SealedFiles::default();
        read_user(self.shared.storage.as_ref(), user, &mut files).await.map_err(failed)?;
        if !files.all_under(current) {
            return Ok(false);
        }
        self.redact_legacy(&key).await?;
        Ok(true)
    }

    async fn take_along(&self, user: &UserId, progress: &mut Progress) -> Result<(), StoreError> {
        match self.reseal_user(user).await {
            Ok(done) => {
                progress.rewrapped += done.changed;
                progress.lost_in_legacy += done.lost_in_legacy;
                for (key, records) in done.left {
                    *progress.left.entry(key).or_default() += records;
                }
                self.rewrapped.fetch_add(done.changed, Ordering::Relaxed);
                Ok(())
            }
            Err(StoreError::PartitionCorrupt) => {
                progress.unreadable += 1;
                Ok(())
            }
            // Nothing of him stays.
            Err(StoreError::Erasing) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A user's place in the walk: where it is kept, nobody is named.
fn place(folder: &str) -> u64 {
    let hash = Sha256::digest(folder.as_bytes());
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn failed(error: StorageError) -> StoreError {
    tracing::warn!(%error, "files cannot be looked at");
    StoreError::StorageFailed
}
