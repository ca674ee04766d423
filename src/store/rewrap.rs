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
use crate::audit::{Actor, Event};
use crate::crypto::{Progress, Sealer};
use crate::domain::{PartitionKey, Table, UserId};
use crate::storage::{StorageError, layout};

/// How often the ring's file is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long a walk rests that could not go on.
const REST: Duration = Duration::from_secs(1);
/// Users between two notes of how far the walk is, and looks at the ring's file.
const NOTE_EVERY: usize = 32;

/// What became of a walk.
enum Walked {
    /// All records are under the current key, or known not to come.
    Done,
    /// The ring changed, and this sealer is out of use.
    Changed(Arc<Sealer>),
}

impl Store {
    /// Runs until the store is closed.
    pub(crate) async fn follow_keys(self) {
        let mut before: Vec<Arc<Sealer>> = Vec::new();
        let mut settled = false;
        loop {
            if let Some(sealer) = self.look_at_ring().await {
                before.push(sealer);
                settled = false;
            }
            // What was sealed with an older ring must reach its record before the walk does.
            before.retain(|sealer| sealer.is_held() || Arc::strong_count(sealer) > 1);
            let mut pause = LOOK;
            if !settled && self.note_known().await && before.is_empty() {
                match self.go_on().await {
                    Ok(Walked::Done) => settled = true,
                    Ok(Walked::Changed(sealer)) => before.push(sealer),
                    Err(StoreError::Draining) => return,
                    Err(error) => {
                        tracing::warn!(%error, "re-wrapping credentials waits and goes on");
                        pause = REST;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// The sealers that a changed ring put out of use.
    async fn look_at_ring(&self) -> Option<Arc<Sealer>> {
        let shared = Arc::clone(&self.shared);
        match self.shared.env.blocking(move || shared.keys.look()).await {
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

    async fn load_progress(&self) -> Result<Progress, StoreError> {
        let shared = Arc::clone(&self.shared);
        match self.shared.env.blocking(move || shared.keys.progress()).await {
            Ok(Ok(progress)) => Ok(progress),
            _ => Err(StoreError::StorageFailed),
        }
    }

    async fn save_progress(&self, progress: &Progress) -> Result<(), StoreError> {
        let (shared, progress) = (Arc::clone(&self.shared), progress.clone());
        match self.shared.env.blocking(move || shared.keys.save(&progress)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::StorageFailed),
        }
    }

    /// Writes to the audit trail which keys came, went or became current since it was last
    /// written, and remembers that. Answers whether it knows of all.
    async fn note_known(&self) -> bool {
        let Ok(mut progress) = self.load_progress().await else { return false };
        let (now, sealer) = (self.shared.keys.ids(), self.shared.keys.sealer());
        let current = sealer.current().as_str();
        if progress.known == now && progress.known_current == current {
            return true;
        }
        let known = &progress.known;
        let added = now.iter().filter(|id| !known.contains(id)).map(|id| ("key_added", id));
        let retired = known.iter().filter(|id| !now.contains(id)).map(|id| ("key_retired", id));
        let made = (progress.known_current != current).then_some(("key_made_current", current));
        let by = Actor::command();
        let changes = added.chain(retired).map(|(action, id)| (action, id.as_str())).chain(made);
        for (action, id) in changes {
            if self.audit.record(Event::key(action, &by, id)).await.is_err() {
                return false;
            }
        }
        let current = current.to_owned();
        progress.known_current = current;
        progress.known = now;
        // Where this fails the lines are written again, which is better than never.
        self.save_progress(&progress).await.is_ok()
    }

    /// Walks on from where the walk was.
    async fn go_on(&self) -> Result<Walked, StoreError> {
        let mut progress = self.load_progress().await?;
        let sealer = self.shared.keys.sealer();
        if progress.is_done(sealer.current()) {
            return Ok(Walked::Done);
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
                if let Some(before) = self.look_at_ring().await {
                    return Ok(Walked::Changed(before));
                }
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
        read_user(&self.shared.env, self.shared.storage.as_ref(), user, &mut files)
            .await
            .map_err(failed)?;
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
