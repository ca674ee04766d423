//! Writing a partition's unsaved changes to its Parquet file.
//!
//! Order, so that a crash anywhere loses nothing: the log is synced through the checkpoint's LSN;
//! files of the Python service are copied to `legacy/`; the new file replaces the old in one
//! step; what it replaced is removed. Only then may the log let go of the changes.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;

use super::file::{BaseFile, LegacyFile, StoredSource, blocking};
use super::rows::Group;
use crate::actors::shared::Shared;
use crate::domain::Kind;
use crate::domain::{Micros, PartitionKey, RecordId, Row};
use crate::env::give_way;
use crate::log::{LogFailure, Lsn, ReadPoint};
use crate::metrics::parts::MadeOf;
use crate::parquet::legacy::redacted;
use crate::parquet::{
    self, AdoptedFile, Base, Changes, Fetched, FileView, Footer, Options, ParquetError, RangeSource,
};
use crate::storage::{PutIf, StorageError, layout, read_whole};

/// Why a checkpoint was not written. The file is as it was; the log still has the changes.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The log could not make the changes durable.
    #[error("the log failed: {0}")]
    Log(#[from] LogFailure),
    /// The storage refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The file could not be read or encoded.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

impl CheckpointError {
    /// Whether the partition's file may be another one now: the new one where only its survival is
    /// in doubt, or somebody else's.
    pub(super) fn may_have_replaced(&self) -> bool {
        matches!(self, Self::Storage(error) if !matches!(error, StorageError::Full))
    }
}

impl From<io::Error> for CheckpointError {
    fn from(error: io::Error) -> Self {
        Self::Storage(StorageError::Io(error))
    }
}

/// What a checkpoint writes.
pub struct Plan {
    /// The partition.
    pub key: PartitionKey,
    /// Its file as it is.
    pub file: Option<BaseFile>,
    /// Rows new or changed; with `legacy`, all rows.
    pub upserts: Vec<Arc<Row>>,
    /// Ids that are gone.
    pub deletes: HashSet<RecordId>,
    /// Ids of upserts that the file is known not to hold.
    pub fresh: HashSet<RecordId>,
    /// Files that the new one replaces.
    pub legacy: Vec<LegacyFile>,
    /// The changes reach through this point of the log.
    pub through: ReadPoint,
    /// At most how many ids of the file will not lead to their row; 0 means none.
    pub foreign_ids: u64,
    /// Row groups of the file whose rows were all created before this go.
    pub expired_before: Option<Micros>,
}

/// Whether anybody waits for a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Its time has come: it steps back behind requests, unless the log fills up.
    Routine,
    /// Somebody asked for it, or the partition is to stop.
    AskedFor,
}

/// What a checkpoint wrote.
pub struct Published {
    /// The file.
    pub file: BaseFile,
    /// Its row groups.
    pub groups: Vec<Group>,
    /// At most how many of its ids do not lead to their row; 0 means none.
    pub foreign_ids: u64,
    /// Everything through this LSN is in it.
    pub through: Lsn,
}

/// Writes a checkpoint. On return the new file survives power loss.
///
/// # Errors
/// [`CheckpointError`]; nothing is lost and the checkpoint can be tried again.
pub async fn write(
    shared: &Arc<Shared>,
    plan: Plan,
    urgency: Urgency,
) -> Result<Published, CheckpointError> {
    let (metrics, clock) = (&shared.metrics.checkpoints, &shared.env.clock);
    let began = clock.monotonic();
    let under_way = metrics.begin(plan.upserts.iter().map(|row| row.memory() as u64).sum());
    let written = write_plan(shared, plan, urgency).await;
    let took = clock.monotonic().saturating_sub(began);
    under_way.end(took, written.as_ref().ok().map(|(_, made_of)| *made_of));
    written.map(|(published, _)| published)
}

/// What was written, and what its file was made of.
async fn write_plan(
    shared: &Arc<Shared>,
    plan: Plan,
    urgency: Urgency,
) -> Result<(Published, MadeOf), CheckpointError> {
    shared.log.sync_through(plan.through).await?;
    let path = layout::partition_file(&plan.key);
    let replaces_own = plan.legacy.is_empty();
    let base = plan.file.clone().filter(|_| replaces_own).map(|file| {
        (StoredSource::new(Arc::clone(&shared.storage), file.path, file.len), file.view)
    });
    for file in &plan.legacy {
        keep(shared, &plan.key, file).await?;
    }
    let adopted = plan.legacy.iter().map(|f| AdoptedFile { name: f.name.clone(), len: f.len });
    let footer = Footer {
        user: plan.key.user().clone(),
        applied_lsn: plan.through.lsn.get(),
        log_id: shared.log.log_id(),
        schema_version: parquet::SCHEMA_VERSION,
        foreign_ids: plan.foreign_ids,
        adopted: adopted.collect(),
    };
    let key = plan.key.clone();
    let mut changes = Changes { upserts: plan.upserts, deletes: plan.deletes, fresh: plan.fresh };
    let encode = move || -> Result<_, ParquetError> {
        if let (Some((source, view)), Some(before)) = (&base, plan.expired_before) {
            changes.deletes.extend(expired(view, source, before)?);
        }
        let base = base.as_ref().map(|(source, view)| Base { view, source });
        let encoded =
            parquet::encode(key.table(), base.as_ref(), &changes, &footer, &Options::default())?;
        give_way();
        let view = FileView::open(&encoded.bytes)?;
        let made_of = MadeOf {
            bytes: encoded.bytes.len() as u64,
            bytes_copied: encoded.bytes_copied,
            groups_copied: encoded.groups_copied as u64,
            groups_encoded: encoded.groups_encoded as u64,
        };
        Ok((encoded.bytes, made_of, view))
    };
    let (bytes, made_of, view) = match urgency {
        Urgency::Routine if !shared.is_in_a_hurry() => shared.env.in_background(encode).await??,
        Urgency::Routine | Urgency::AskedFor => blocking(&shared.env, encode).await?,
    };
    // An archived month that was changed comes back to the tables.
    let archived = plan.file.as_ref().map(|f| f.path.clone()).filter(|p| *p != path);
    let in_place = plan.file.as_ref().filter(|f| f.path == path);
    let expected = match (in_place, plan.legacy.iter().find(|f| f.path == path)) {
        (Some(file), _) => PutIf::Version(file.version.clone()),
        (None, Some(legacy)) => PutIf::Version(legacy.version.clone()),
        (None, None) => PutIf::Absent,
    };
    let len = bytes.len() as u64;
    let version = shared.storage.put(&path, bytes, expected).await?;
    for file in plan.legacy.iter().filter(|f| f.path != path) {
        shared.storage.delete(&file.path).await?;
    }
    if let Some(archived) = archived {
        shared.storage.delete(&archived).await?;
    }
    let file = BaseFile { path, len, version, view: Arc::new(view) };
    let groups = file.groups();
    let through = plan.through.lsn;
    Ok((Published { groups, foreign_ids: plan.foreign_ids, through, file }, made_of))
}

/// The ids of row groups whose rows were all created before an instant. Groups with younger rows
/// stay whole, so that what expires is read once and not at every checkpoint.
fn expired(
    view: &FileView,
    source: &dyn RangeSource,
    before: Micros,
) -> Result<Vec<RecordId>, ParquetError> {
    let old = view.groups().iter().take_while(|group| group.created_max < before).count();
    let mut ids = Vec::new();
    for group in 0..old {
        let bytes = Fetched::read(source, view.column_ranges(group, Some(&[])))?;
        ids.extend(parquet::read_ids(view, group, &bytes)?);
    }
    Ok(ids)
}

/// Copies a file that is about to be replaced to `legacy/`, under its own name or, where another
/// file bears that, the next free one: without its plain credentials, which are sealed in the
/// file that replaces it. On return the copy survives power loss; a copy that is there already
/// serves, and one that an earlier version left with credentials is replaced.
///
/// # Errors
/// [`CheckpointError::Storage`] where the copy could not be made.
pub async fn keep(
    shared: &Shared,
    key: &PartitionKey,
    file: &LegacyFile,
) -> Result<(), CheckpointError> {
    let raw: Bytes = shared.storage.read(&file.path, 0..file.len).await?;
    let bytes = if key.table().spec().index_where(|k| matches!(k, Kind::Sealed)).is_some() {
        let raw = raw.clone();
        blocking(&shared.env, move || redacted(raw)).await?
    } else {
        raw.clone()
    };
    let folder = layout::legacy_folder(key);
    for attempt in 0_u32..1000 {
        let name =
            if attempt == 0 { file.name.clone() } else { format!("{}.{attempt}", file.name) };
        let Some(path) = folder.listed(&name) else { break };
        match shared.storage.put(&path, bytes.clone(), PutIf::Absent).await {
            Err(StorageError::Conflict) => {
                let found = read_whole(shared.storage.as_ref(), &path).await?;
                let Some((there, version)) = found else { continue };
                if there == bytes {
                    return Ok(());
                }
                if there == raw {
                    let replaced = PutIf::Version(version);
                    let put = shared.storage.put(&path, bytes, replaced).await;
                    return put.map(|_| ()).map_err(CheckpointError::from);
                }
            }
            other => return other.map(|_| ()).map_err(CheckpointError::from),
        }
    }
    Err(StorageError::Conflict.into())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Table, UserId};

    fn answer(at: i64) -> Arc<Row> {
        let id = RecordId::checked(&format!("k{at}")).expect("id");
        Arc::new(Row::build(Table::Idempotency).finish(id, Micros::new(at), Micros::new(at), 1))
    }

    #[test]
    fn row_groups_that_expired_as_a_whole_go_and_the_others_stay_whole() {
        let footer = Footer {
            user: UserId::checked("u").expect("user"),
            applied_lsn: 1,
            log_id: Uuid::nil(),
            schema_version: parquet::SCHEMA_VERSION,
            foreign_ids: 5,
            adopted: Vec::new(),
        };
        let options = Options { rows_per_group: 2, ..Options::default() };
        let table = Table::Idempotency;
        let all = Changes { upserts: (1..=5).map(answer).collect(), ..Changes::default() };
        let file = parquet::encode(table, None, &all, &footer, &options).expect("file").bytes;
        let view = FileView::open(&file).expect("view");
        let left = |before| -> Vec<i64> {
            let gone = expired(&view, &file, Micros::new(before)).expect("ids");
            let changes = Changes { deletes: gone.into_iter().collect(), ..Changes::default() };
            let base = Base { view: &view, source: &file };
            let next = parquet::encode(table, Some(&base), &changes, &footer, &options);
            let next = next.expect("next").bytes;
            let view = FileView::open(&next).expect("view");
            let groups = (0..view.groups().len()).flat_map(|group| {
                let bytes = Fetched::read(&next, view.column_ranges(group, None)).expect("bytes");
                parquet::decode_group(&view, group, &bytes, None).expect("rows")
            });
            groups.map(|row| row.created_at.get()).collect()
        };
        assert_eq!(left(2), [1, 2, 3, 4, 5], "the group's newest row has not expired");
        assert_eq!(left(3), [3, 4, 5]);
        assert_eq!(left(4), [3, 4, 5]);
        assert_eq!(left(6), [0_i64; 0]);
    }
}
