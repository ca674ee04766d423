//! Putting all credentials of one user under the current key.
//!
//! A record whose data key is wrapped with another key gets it re-wrapped; one whose credentials
//! an earlier version left in the Python service's file under `legacy/` gets them sealed. Each is
//! a change through the partition, of the sealed bytes alone, made only where they are still the
//! ones that were looked at. When none is left there, the copies in `legacy/` lose theirs.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::{Store, StoreError};
use crate::actors::messages::{Change, Precondition, Work, Write};
use crate::actors::partition::Scan;
use crate::crypto::{KeyError, Owner, SealError, Sealer, from_legacy, is_in_legacy, key_of};
use crate::domain::{
    Filter, Kind, Micros, PartitionKey, Position, RecordId, Row, Sealed, Secret, Table, UserId,
};
use crate::parquet::legacy;
use crate::storage::{PutIf, StorageError, layout, read_whole};

/// Records looked at at once.
const PAGE: usize = 256;
/// Changes under way at once, where the mailbox has room for more.
const CONCURRENT: usize = 64;

/// What came of one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Resealed {
    /// Records that changed.
    pub changed: u64,
    /// Records that could not be put under the current key, by the key they are under.
    pub left: HashMap<String, u64>,
    /// Records whose credentials were not found in the legacy folder.
    pub lost_in_legacy: u64,
}

/// What is to be done about a record.
enum Plan {
    Nothing,
    Change(Sealed),
    Left(String),
    Lost,
}

impl Store {
    /// Puts all credentials of a user under the current key. On return that is durable.
    ///
    /// # Errors
    /// Whatever keeps the store from reading or writing; some may be changed.
    pub(super) async fn reseal_user(&self, user: &UserId) -> Result<Resealed, StoreError> {
        let key = PartitionKey::whole(user, Table::Platforms);
        let keys = self.shared.keys.sealer();
        let mut done = Resealed::default();
        // Clients come first.
        let at_once = (self.shared.limits.mailbox / 4).clamp(1, CONCURRENT);
        let mut in_legacy: Option<HashMap<RecordId, Secret>> = None;
        let mut after: Option<Position> = None;
        loop {
            let rows = self.sealed_page(&key, after.as_ref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(Position::of(last));
            let full = rows.len() == PAGE;
            if in_legacy.is_none() && rows.iter().any(|r| r.sealed().is_some_and(is_in_legacy)) {
                in_legacy = Some(self.legacy_credentials(&key).await?);
            }
            let found = in_legacy.as_ref();
            let mut changes = stream::iter(rows)
                .map(|row| self.reseal_row(&key, &keys, row, found))
                .buffer_unordered(at_once);
            while let Some(change) = changes.next().await {
                match change? {
                    Plan::Nothing => {}
                    Plan::Change(_) => done.changed += 1,
                    Plan::Left(key) => *done.left.entry(key).or_default() += 1,
                    Plan::Lost => done.lost_in_legacy += 1,
                }
            }
            if !full {
                break;
            }
        }
        // In every sync mode: what is said of these records from now on rests on it.
        self.shared.log.sync_through(self.shared.log.read_point()).await?;
        self.redact_legacy(&key).await?;
        Ok(done)
    }

    /// Some rows in listing order, with their sealed bytes alone.
    async fn sealed_page(
        &self,
        key: &PartitionKey,
        after: Option<&Position>,
    ) -> Result<Vec<Arc<Row>>, StoreError> {
        let column = key.table().spec().index_where(|kind| matches!(kind, Kind::Sealed));
        let columns: Vec<usize> = column.into_iter().collect();
        let make = |reply| {
            let scan = Scan::new(
                Filter::default(),
                after.cloned(),
                PAGE,
                usize::MAX,
                Some(columns.clone()),
            );
            Work::Scan { scan: Box::new(scan), reply }
        };
        self.door.read(key, make).await
    }

    async fn reseal_row(
        &self,
        key: &PartitionKey,
        keys: &Sealer,
        row: Arc<Row>,
        in_legacy: Option<&HashMap<RecordId, Secret>>,
    ) -> Result<Plan, StoreError> {
        let Some(was) = row.sealed() else { return Ok(Plan::Nothing) };
        let owner = Owner { user: key.user(), table: key.table(), id: &row.id };
        let plan = plan(keys, &owner, was, in_legacy).await?;
        let Plan::Change(sealed) = plan else { return Ok(plan) };
        let change = Change::Reseal { id: row.id.clone(), was: was.into(), sealed: sealed.clone() };
        let make = |reply| {
            let precondition = Precondition::None;
            Work::Write(Box::new(Write { change, precondition, remember: None, reply }))
        };
        let answer = self.door.ask(key, make).await;
        match self.door.settled(answer).await {
            Ok(_) => Ok(Plan::Change(sealed)),
            // Somebody else changed or removed it: with the current key, if at all.
            Err(StoreError::NotFound | StoreError::VersionMismatch { .. }) => Ok(Plan::Nothing),
            Err(error) => Err(error),
        }
    }
}

/// What is to be done about a record whose column holds `was`.
///
/// # Errors
/// [`StoreError::CredentialsUnavailable`] where the key service does not answer now.
async fn plan(
    keys: &Sealer,
    owner: &Owner<'_>,
    was: &[u8],
    in_legacy: Option<&HashMap<RecordId, Secret>>,
) -> Result<Plan, StoreError> {
    if is_in_legacy(was) {
        let Some(plain) = in_legacy.and_then(|found| found.get(owner.id)) else {
            return Ok(Plan::Lost);
        };
        let sealed = keys.seal(owner, plain).await;
        return sealed.map(Plan::Change).map_err(|_| StoreError::CredentialsUnavailable);
    }
    let key = || key_of(was).map_or_else(|| "unknown".to_owned(), |key| key.as_str().to_owned());
    match keys.rewrap(owner, was).await {
        Ok(None) => Ok(Plan::Nothing),
        Ok(Some(sealed)) => Ok(Plan::Change(sealed)),
        Err(SealError::Key(KeyError::Unavailable(_))) => Err(StoreError::CredentialsUnavailable),
        Err(error) => {
            let key = key();
            tracing::warn!(%error, key, "credentials cannot be put under the current key");
            Ok(Plan::Left(key))
        }
    }
}

/// The copies in `legacy/`.
impl Store {
    /// The credentials that the Python service's files under `legacy/` hold, of one id the newest.
    async fn legacy_credentials(
        &self,
        key: &PartitionKey,
    ) -> Result<HashMap<RecordId, Secret>, StoreError> {
        let storage = &self.shared.storage;
        let folder = layout::legacy_folder(key);
        let mut files = Vec::new();
        for object in storage.list(&folder).await.map_err(failed)? {
            let Some(path) = folder.listed(&object.name) else { continue };
            // Whoever takes credentials out of the copies meanwhile replaces them.
            let copy = read_whole(storage.as_ref(), &path).await.map_err(failed)?;
            let Some((bytes, _)) = copy else { continue };
            let table = key.table();
            let decoded = self
                .shared
                .env
                .blocking(move || legacy::decode_legacy(table, bytes, Micros::new(0)));
            if let Ok(Ok(rows)) = decoded.await {
                files.push(rows);
            } else {
                tracing::warn!(file = path.as_str(), "legacy file cannot be read");
            }
        }
        let rows = legacy::newest_wins(files).into_iter();
        Ok(rows
            .filter_map(|row| Some((row.row.id, from_legacy(row.credentials.as_ref()?)?)))
            .collect())
    }

    /// Takes plain credentials out of the copies. Every record that is still there has its own
    /// sealed, durably, when this is called.
    pub(super) async fn redact_legacy(&self, key: &PartitionKey) -> Result<(), StoreError> {
        let storage = &self.shared.storage;
        let folder = layout::legacy_folder(key);
        for object in storage.list(&folder).await.map_err(failed)? {
            let Some(path) = folder.listed(&object.name) else { continue };
            let copy = read_whole(storage.as_ref(), &path).await.map_err(failed)?;
            let Some((bytes, version)) = copy else { continue };
            let before = bytes.clone();
            let redacted = self.shared.env.blocking(move || legacy::redacted(bytes)).await;
            let Ok(Ok(redacted)) = redacted else {
                tracing::warn!(file = path.as_str(), "legacy file cannot be read");
                continue;
            };
            if redacted == before {
                continue;
            }
            match storage.put(&path, redacted, PutIf::Version(version)).await {
                // A take-over, or another call of this, replaced it meanwhile, without credentials.
                Ok(_) | Err(StorageError::Conflict) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}

fn failed(error: StorageError) -> StoreError {
    match error {
        StorageError::Full => StoreError::StorageFull,
        other => {
            tracing::warn!(error = %other, "legacy files cannot be used");
            StoreError::StorageFailed
        }
    }
}

#[cfg(test)]
#[path = "resealing_tests.rs"]
mod tests;
