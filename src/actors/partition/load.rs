//! Building a partition's state from its file and the log.
//!
//! The file's footer says through which LSN it is complete; the log's later records are applied
//! over it. Files of the Python service in the partition's folder are read whole.

use std::io;
use std::sync::Arc;

use thiserror::Error;

use super::archiving;
use super::checkpoint;
use super::fetch::read_group;
use super::file::{BaseFile, LegacyFile, StoredSource, blocking};
use super::holdings::growth;
use super::rows::{Group, GroupRows, Rows};
use crate::actors::StoreError;
use crate::actors::shared::Shared;
use crate::crypto::{Owner, from_legacy};
use crate::domain::{Month, PartitionKey, Row};
use crate::log::payload::{self, Op};
use crate::log::{LogError, Lsn, ReadPoint, Subject};
use crate::parquet::legacy::{self, LegacyRow};
use crate::parquet::{FileView, ParquetError};
use crate::storage::{ObjectMeta, StorageError, StorePath, layout};

/// Why a partition could not be built.
#[derive(Clone, Debug, Error)]
pub enum LoadError {
    /// A file of the folder cannot be read as what it should be. It stays as it is.
    #[error("{file} cannot be read: {why}")]
    Corrupt {
        /// The file, below the store's root.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The storage or the log could not be read; trying again may help.
    #[error("reading failed: {0}")]
    Io(String),
}

impl LoadError {
    /// What it means to whoever asked.
    #[must_use]
    pub fn kind(&self) -> StoreError {
        match self {
            Self::Corrupt { .. } => StoreError::PartitionCorrupt,
            Self::Io(_) => StoreError::StorageFailed,
        }
    }
}

impl From<StorageError> for LoadError {
    fn from(error: StorageError) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<LogError> for LoadError {
    fn from(error: LogError) -> Self {
        Self::Io(error.to_string())
    }
}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// A partition's state as file and log have it.
pub struct Loaded {
    /// Its rows.
    pub rows: Rows,
    /// Its file, where it has one of today's schema.
    pub file: Option<BaseFile>,
    /// Files of the Python service that make up the base.
    pub legacy: Vec<LegacyFile>,
    /// The highest LSN in `rows`.
    pub last_lsn: Lsn,
    /// The log epoch it was built in.
    pub epoch: u64,
    /// The LSNs that were applied over the file.
    pub replayed: Vec<Lsn>,
    /// By how many records they make it larger.
    pub growth: i64,
}

/// Builds the state of `key`'s partition.
///
/// # Errors
/// [`LoadError`]; unreadable files are reported to [`Shared::unreadable`] too.
pub async fn load(shared: &Arc<Shared>, key: &PartitionKey) -> Result<Loaded, LoadError> {
    let (all, own_key) = (Arc::clone(shared), key.clone());
    let base = async move {
        match load_base(&all, &own_key).await {
            // A checkpoint that was being written when this partition began to be built again may
            // have replaced the file while it was read. There is one at most: a second look sees
            // one file.
            Err(LoadError::Corrupt { .. }) => load_base(&all, &own_key).await,
            loaded => loaded,
        }
    };
    let loaded = shared.env.in_one_job(base).await?;
    if let Err(LoadError::Corrupt { file, why }) = &loaded {
        shared.unreadable.report(file, Some(key), why);
    }
    let (mut rows, file, legacy) = loaded?;
    shared.unreadable.clear(key);
    let applied = file.as_ref().and_then(|f| f.view.footer()).map_or(0, |footer| {
        if footer.log_id == shared.log.log_id() { footer.applied_lsn } else { 0 }
    });
    let applied = Lsn::new(applied);
    let (epoch, replayed, growth) = replay(shared, key, &mut rows, applied).await?;
    let archived = file.as_ref().is_some_and(|f| f.path == layout::archive_file(key));
    shared.archived.set(key, archived && replayed.is_empty());
    let last_lsn = replayed.last().copied().unwrap_or(applied);
    Ok(Loaded { rows, file, legacy, last_lsn, epoch, replayed, growth })
}

type Base = (Rows, Option<BaseFile>, Vec<LegacyFile>);

async fn load_base(shared: &Arc<Shared>, key: &PartitionKey) -> Result<Base, LoadError> {
    let folder = layout::partition_folder(key);
    let own_name = layout::partition_file_name(key);
    let objects = match shared.storage.list(&folder).await {
        Err(StorageError::NotAFolder) => return Err(in_the_way(&folder, "it is not a folder")),
        listed => listed?,
    };
    if !objects.iter().any(|object| object.name == own_name) {
        let path = layout::partition_file(key);
        if shared.storage.head(&path).await?.is_some() {
            return Err(in_the_way(&path, "it is not a plain file"));
        }
    }
    let mut own = None;
    let mut others = Vec::new();
    for object in objects.into_iter().filter(|o| has_parquet_name(&o.name)) {
        let Some(path) = folder.listed(&object.name) else { continue };
        let view = open(shared, key, &path, &object).await?;
        if object.name == own_name && view.is_ours() {
            own = Some(BaseFile {
                path,
                len: object.len,
                version: object.version,
                view: Arc::new(view),
            });
        } else {
            others.push(LegacyFile {
                path,
                name: object.name,
                len: object.len,
                version: object.version,
            });
        }
    }
    if key.month().is_some() {
        let file = archiving::file_in_archive(shared, key).await?;
        match (&own, file) {
            // A move that a crash cut short: the table's copy is the same or newer.
            (Some(_), Some((path, _))) => shared.storage.delete(&path).await?,
            (None, Some((path, object))) => {
                let view = Arc::new(open(shared, key, &path, &object).await?);
                let (len, version) = (object.len, object.version);
                own = view.is_ours().then_some(BaseFile { path, len, version, view });
            }
            (_, None) => {}
        }
    }
    let adopted = own.as_ref().and_then(|f| f.view.footer()).map(|f| f.adopted.clone());
    if let Some(file) = own.as_ref().filter(|_| !others.is_empty()) {
        // What it replaced goes only where it stays.
        shared.storage.settle(&file.path).await?;
    }
    for leftover in adopted.unwrap_or_default() {
        // A crash came between publishing the file and removing what it replaced: analysts would
        // read its rows twice.
        let is_leftover = |f: &LegacyFile| f.name == leftover.name && f.len == leftover.len;
        for file in others.extract_if(.., |f| is_leftover(f)) {
            checkpoint::keep(shared, key, &file).await.map_err(|e| LoadError::Io(e.to_string()))?;
            shared.storage.delete(&file.path).await?;
        }
    }
    match own {
        Some(file) if others.is_empty() => {
            let foreign = file.view.footer().map_or(0, |f| f.foreign_ids);
            Ok((Rows::new(key.clone(), file.groups(), foreign), Some(file), Vec::new()))
        }
        own => {
            let rows = merge(shared, key, own.as_ref(), &others).await?;
            let count = rows.len() as u64;
            let ids: Vec<_> = rows.iter().map(|row| row.id.clone()).collect();
            let groups = if rows.is_empty() { Vec::new() } else { vec![Group::loaded(rows)] };
            let mut rows = Rows::new(key.clone(), groups, count);
            // No file of ours could be asked for them later.
            rows.install_ids(rows.generation(), &[ids]);
            Ok((rows, own, others))
        }
    }
}

/// Something that no checkpoint could replace bears a name that a file needs.
fn in_the_way(path: &StorePath, why: &str) -> LoadError {
    LoadError::Corrupt { file: path.as_str().to_owned(), why: why.to_owned() }
}

fn has_parquet_name(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
}

async fn open(
    shared: &Arc<Shared>,
    key: &PartitionKey,
    path: &StorePath,
    object: &ObjectMeta,
) -> Result<FileView, LoadError> {
    let source = StoredSource::new(Arc::clone(&shared.storage), path.clone(), object.len);
    let opened = blocking(&shared.env, move || FileView::open(&source)).await;
    let view = opened.map_err(|e| failed(path.as_str(), &e))?;
    let others = match (view.table(), view.footer()) {
        (Some(table), _) if table != key.table() => Some("it holds another table"),
        (_, Some(footer)) if footer.user != *key.user() => Some("it belongs to another user"),
        _ => None,
    };
    match others {
        Some(why) => {
            Err(LoadError::Corrupt { file: path.as_str().to_owned(), why: why.to_owned() })
        }
        None => Ok(view),
    }
}

fn failed(file: &str, error: &ParquetError) -> LoadError {
    match error {
        ParquetError::Io(e) => LoadError::Io(e.to_string()),
        other => LoadError::Corrupt { file: file.to_owned(), why: other.to_string() },
    }
}

/// All rows of the folder's files, of one id the newest, in the order of a row group.
async fn merge(
    shared: &Arc<Shared>,
    key: &PartitionKey,
    own: Option<&BaseFile>,
    adopted: &[LegacyFile],
) -> Result<GroupRows, LoadError> {
    let mut files: Vec<Vec<LegacyRow>> = Vec::new();
    let table = key.table();
    let fallback = key.month().map_or_else(|| shared.env.clock.now(), Month::start);
    for file in adopted {
        let bytes = shared.storage.read(&file.path, 0..file.len).await?;
        let decoded =
            blocking(&shared.env, move || legacy::decode_legacy(table, bytes, fallback)).await;
        files.push(decoded.map_err(|e| failed(file.path.as_str(), &e))?);
    }
    if let Some(file) = own {
        let source = StoredSource::new(Arc::clone(&shared.storage), file.path.clone(), file.len);
        let view = Arc::clone(&file.view);
        let decoded = blocking(&shared.env, move || {
            let groups = (0..view.groups().len()).map(|g| read_group(&view, &source, g, None));
            groups.collect::<Result<Vec<_>, _>>().map(|groups| groups.concat())
        })
        .await;
        let rows = decoded.map_err(|e| failed(file.path.as_str(), &e))?;
        let plain = |row: Row| LegacyRow { row, credentials: None, owner: None };
        files.push(rows.into_iter().map(plain).collect());
    }
    let mut rows = take_over(shared, key, legacy::newest_wins(files)).await?;
    rows.sort_by(|a, b| (a.created_at, &b.id).cmp(&(b.created_at, &a.id)));
    Ok(rows.into())
}

/// The rows with their credentials sealed: nothing plain stays in memory, and what the log or
/// the next file takes of them is sealed already. On a blocking thread.
async fn take_over(
    shared: &Arc<Shared>,
    key: &PartitionKey,
    rows: Vec<LegacyRow>,
) -> Result<Vec<Arc<Row>>, LoadError> {
    let (key, keys) = (key.clone(), shared.keys.sealer());
    let runtime = tokio::runtime::Handle::current();
    blocking(&shared.env, move || {
        let sealed = rows.into_iter().map(|LegacyRow { row, credentials, .. }| {
            let Some(plain) = credentials.as_ref().and_then(from_legacy) else {
                return Ok(Arc::new(row));
            };
            let owner = Owner { user: key.user(), table: key.table(), id: &row.id };
            let sealed = runtime.block_on(keys.seal(&owner, &plain));
            let sealed = sealed.map_err(|e| LoadError::Io(e.to_string()))?;
            let mut builder = row.edit();
            builder.set_sealed(Some(sealed.bytes));
            Ok(Arc::new(builder.finish(row.id, row.created_at, row.updated_at, row.version)))
        });
        sealed.collect()
    })
    .await
}

/// Applies what the log holds past `applied`, and answers the epoch, the LSNs and the growth.
async fn replay(
    shared: &Arc<Shared>,
    key: &PartitionKey,
    rows: &mut Rows,
    applied: Lsn,
) -> Result<(u64, Vec<Lsn>, i64), LoadError> {
    if shared.log.unpublished(key).first().is_some_and(|oldest| oldest.lsn() <= applied) {
        // The log may let go of these only where the file stays.
        shared.storage.settle(&layout::partition_file(key)).await?;
    }
    shared.log.published(key, applied);
    let (epoch, locations) = loop {
        let epoch = shared.log.epoch();
        let locations = shared.log.unpublished(key);
        let written = match locations.last() {
            Some(last) => {
                let point = ReadPoint { epoch, lsn: last.lsn() };
                shared.log.visible_through(point).await.is_ok()
            }
            None => true,
        };
        // A batch that failed takes its records out of the index: look again.
        if written && shared.log.epoch() == epoch {
            break (epoch, locations);
        }
    };
    if locations.is_empty() {
        return Ok((epoch, Vec::new(), 0));
    }
    let (log, key) = (shared.log.clone(), key.clone());
    let changes = blocking(&shared.env, move || read_changes(&log, &key, &locations)).await?;
    let lsns = changes.iter().map(|(lsn, _)| *lsn).collect();
    let grown = changes.iter().map(|(_, op)| growth(op)).sum();
    for (lsn, op) in changes {
        match op {
            Op::Put(row) => rows.apply(&row.id.clone(), Some(Arc::new(row)), lsn.get()),
            Op::Delete(id) => rows.apply(&id, None, lsn.get()),
        }
    }
    Ok((epoch, lsns, grown))
}

/// Reads the operations on `key` at some places of the log. Blocking.
///
/// # Errors
/// [`LoadError::Io`] where the log cannot be read.
pub fn read_changes(
    log: &crate::log::Log,
    key: &PartitionKey,
    locations: &[crate::log::Location],
) -> Result<Vec<(Lsn, Op)>, LoadError> {
    let mut changes = Vec::with_capacity(locations.len());
    for location in locations {
        let record = log.read(location)?;
        let Subject::Partitions(keys) = &record.subject else { continue };
        let ops = payload::decode(keys, &record.payload)
            .map_err(|e| LoadError::Io(format!("LSN {}: {e}", location.lsn())))?;
        let of_key = keys.iter().zip(ops).filter(|(k, _)| *k == key);
        changes.extend(of_key.map(|(_, op)| (location.lsn(), op)));
    }
    Ok(changes)
}
