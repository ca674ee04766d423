//! A partition's file, made again of what is at hand.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::records::{self, Records};
use super::{RepairError, Sources, table_of};
use crate::domain::{Micros, Month, PartitionKey, RecordId, Row, Table, UserId};
use crate::env::Env;
use crate::log::Lsn;
use crate::log::payload::Op;
use crate::parquet::{
    self, Changes, Encoded, Fetched, FileView, Footer, OpenFile, Options, decode_group,
};
use crate::storage::layout;

/// What comes of a rebuilt file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// Rows in it.
    pub rows: u64,
    /// Rows that were in the damaged one and are not at hand; `None` where nothing tells.
    pub lost: Option<u64>,
    /// Rows out of a backup that may have been changed or deleted since.
    pub perhaps_old: u64,
}

impl fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows", self.rows)?;
        match self.lost {
            Some(0) if self.perhaps_old == 0 => write!(f, ", nothing lost"),
            Some(lost) => {
                write!(f, ", {lost} rows LOST, {} as old as the backup", self.perhaps_old)
            }
            None => write!(
                f,
                " are at hand, {} as old as the backup; how many are LOST is not known",
                self.perhaps_old
            ),
        }
    }
}

/// Rows by id, as they are made up.
type Rows = BTreeMap<RecordId, Arc<Row>>;

/// What can be read of a file of this store.
struct Readable {
    footer: Footer,
    rows: Vec<Arc<Row>>,
    /// First and last creation time, and number of rows, of the groups that cannot be read.
    damaged: Vec<(Micros, Micros, u64)>,
}

/// Makes the file at `path` again; `None` where nothing tells whose it is.
pub(super) fn rebuild(
    env: &Env,
    data: &Path,
    sources: &Sources,
    path: &str,
) -> Result<Option<(Rebuilt, Encoded)>, RepairError> {
    let Some(table) = table_of(path) else { return Ok(None) };
    let own = readable(env, &data.join(path));
    let backup = sources.backup.as_ref().map(|backup| backup.join("data").join(path));
    let backup = backup.and_then(|path| readable(env, &path)).filter(|b| b.damaged.is_empty());
    let owner = own.as_ref().or(backup.as_ref()).map(|file| file.footer.user.clone());
    let Some(key) = key_of(table, path, owner) else { return Ok(None) };
    let records = records::read(env, data, sources, &key)?;
    let Some(log_id) = records.log_id else { return Ok(None) };
    let of_log = |file: &Readable| file.footer.log_id == log_id;
    let backup = backup.filter(of_log);
    let reaches = |file: &Readable| Lsn::new(file.footer.applied_lsn).next() >= records.from;
    let (rows, lost, perhaps_old) = match (own, backup) {
        // Everything since the backup's file is in the log.
        (_, Some(file)) if reaches(&file) => {
            let since = Lsn::new(file.footer.applied_lsn);
            (apply(collect(file.rows), &records, since), Some(0), 0)
        }
        (Some(own), backup) => salvage(own, backup, &records),
        (None, backup) => {
            let kept = data.join(layout::legacy_folder(&key).as_str());
            let taken_over = env.fs.list(&kept).is_ok_and(|files| !files.is_empty());
            let whole = records.from <= Lsn::new(1) && !taken_over;
            let (old, since) = backup.map_or((Rows::new(), Lsn::NONE), |file| {
                (collect(file.rows), Lsn::new(file.footer.applied_lsn))
            });
            let perhaps_old = old.len() as u64;
            (apply(old, &records, since), whole.then_some(0), perhaps_old)
        }
    };
    let footer = Footer {
        user: key.user().clone(),
        applied_lsn: records.last.get(),
        log_id,
        schema_version: parquet::SCHEMA_VERSION,
        foreign_ids: rows.len() as u64,
        adopted: Vec::new(),
    };
    let upserts = rows.into_values().collect();
    let changes = Changes { upserts, ..Changes::default() };
    let encoded = parquet::encode(table, None, &changes, &footer, &Options::default())?;
    Ok(Some((Rebuilt { rows: encoded.rows, lost, perhaps_old }, encoded)))
}

/// The groups that can be read, the backup's and the log's rows in place of the others, and the
/// changes since.
fn salvage(own: Readable, backup: Option<Readable>, records: &Records) -> (Rows, Option<u64>, u64) {
    let applied = Lsn::new(own.footer.applied_lsn);
    let (old, since) = backup.map_or((Rows::new(), Lsn::NONE), |file| {
        (collect(file.rows), Lsn::new(file.footer.applied_lsn))
    });
    let stale: HashSet<RecordId> = old.keys().cloned().collect();
    let named: HashSet<RecordId> = records.ops.values().map(|op| id_of(op).clone()).collect();
    let mut filling = apply(old, records, since);
    let damaged =
        |row: &Row| own.damaged.iter().any(|(from, to, _)| (*from..=*to).contains(&row.created_at));
    // What lies elsewhere and is in no readable group was deleted.
    filling.retain(|_, row| damaged(row));
    for row in &own.rows {
        filling.remove(&row.id);
    }
    let found = filling.len() as u64;
    let perhaps = filling.keys().filter(|id| stale.contains(*id) && !named.contains(*id)).count();
    let were: u64 = own.damaged.iter().map(|(_, _, rows)| rows).sum();
    let mut rows = filling;
    rows.extend(own.rows.into_iter().map(|row| (row.id.clone(), row)));
    (apply(rows, records, applied), Some(were.saturating_sub(found)), perhaps as u64)
}

fn id_of(op: &Op) -> &RecordId {
    match op {
        Op::Put(row) => &row.id,
        Op::Delete(id) => id,
    }
}

fn collect(rows: Vec<Arc<Row>>) -> Rows {
    rows.into_iter().map(|row| (row.id.clone(), row)).collect()
}

/// The rows after the changes above an LSN.
fn apply(mut rows: Rows, records: &Records, since: Lsn) -> Rows {
    for (_, op) in records.ops.range(since.next()..) {
        match op {
            Op::Put(row) => rows.insert(row.id.clone(), Arc::new(row.clone())),
            Op::Delete(id) => rows.remove(id),
        };
    }
    rows
}

/// What can be read of a file; `None` where not even its footer can.
fn readable(env: &Env, path: &Path) -> Option<Readable> {
    let source = OpenFile::open(env.fs.as_ref(), path).ok()?;
    let view = FileView::open(&source).ok()?;
    let footer = view.footer()?.clone();
    let parts = parquet::check(&view, &source).ok()?;
    let lost: HashSet<usize> = parts.iter().filter_map(|part| part.group).collect();
    let (mut rows, mut damaged) = (Vec::new(), Vec::new());
    for (group, info) in view.groups().iter().enumerate() {
        let decoded = (!lost.contains(&group)).then(|| {
            let fetched = Fetched::read(&source, view.column_ranges(group, None)).ok()?;
            decode_group(&view, group, &fetched, None).ok()
        });
        match decoded.flatten() {
            Some(decoded) => rows.extend(decoded.into_iter().map(Arc::new)),
            None => damaged.push((info.created_min, info.created_max, info.rows as u64)),
        }
    }
    Some(Readable { footer, rows, damaged })
}

/// The partition whose file has this path.
fn key_of(table: Table, path: &str, owner: Option<UserId>) -> Option<PartitionKey> {
    let mut parts = path.split('/').skip(1);
    let user = layout::parse_user(parts.next()?).or(owner)?;
    let month = match (parts.next()?, parts.next()) {
        (year, Some(month)) => {
            Some(Month::new(layout::parse_year(year)?, layout::parse_month(month)?)?)
        }
        _ => None,
    };
    let key = PartitionKey::of_month(&user, table, month)?;
    (layout::partition_file(&key).as_str() == path).then_some(key)
}
