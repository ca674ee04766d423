//! The Parquet files' part.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use super::ids::Ids;
use super::log_records::LogRecords;
use super::report::{Code, Report};
use super::{Keyring, Options, VerifyError, areas};
use crate::domain::{Cell, Kind, Micros, Month, PartitionKey, Row, UserId};
use crate::env::Env;
use crate::log::Lsn;
use crate::parquet::{
    self, Fetched, FileView, OpenFile, ParquetError, RangeSource, decode_group, legacy, read_ids,
};
use crate::storage::layout;
use crate::storage::walk::{Area, PartitionFolder, UserFolder, Walk};

/// What the files are checked with.
pub(super) struct Files<'a> {
    pub(super) env: &'a Env,
    pub(super) data: &'a Path,
    pub(super) keyring: &'a mut Keyring,
    pub(super) options: Options,
    pub(super) report: &'a mut Report,
    pub(super) log: &'a mut LogRecords,
}

impl Files<'_> {
    pub(super) fn check_all(&mut self, step: &mut dyn FnMut()) -> Result<(), VerifyError> {
        let mut strays = Vec::new();
        let mut unexpected = |path: &str| strays.push(path.to_owned());
        let fs = self.env.fs.clone();
        let mut walk = Walk::new(fs.as_ref(), self.data, &mut unexpected);
        for (area, table) in areas() {
            for user in walk.users(area, table).map_err(VerifyError::io(table.spec().name))? {
                if area == Area::Archive && self.has_table(&user.path) {
                    // Looked at with the user's other months.
                    continue;
                }
                let mut folders = walk.partitions(&user).map_err(VerifyError::io(&user.path))?;
                if area == Area::Tables {
                    let path = format!("{}{}", Area::Archive.prefix(), user.path);
                    let archived = UserFolder { area: Area::Archive, path, ..user.clone() };
                    let archived = walk.partitions(&archived);
                    folders.extend(archived.map_err(VerifyError::io(&user.path))?);
                }
                if area == Area::Legacy {
                    for folder in &folders {
                        self.kept(folder, step);
                    }
                    continue;
                }
                let mut owner = user.user.clone();
                let mut ids = owner.as_ref().map(|u| self.log.take(u, table)).unwrap_or_default();
                for folder in &folders {
                    self.folder(folder, &mut owner, &mut ids, step);
                }
                if let Some(owner) = owner {
                    self.log.suspects.extend(ids.suspects(&owner, table));
                }
            }
        }
        self.log.take_rest();
        for path in strays {
            let what = "not a file or folder of this store; it is left alone";
            self.report.note(Code::Unexpected, &path, what);
        }
        Ok(())
    }

    /// Whether a user's folder in the archive has one among the tables, too.
    fn has_table(&self, path: &str) -> bool {
        let path = path.strip_prefix(Area::Archive.prefix());
        path.is_some_and(|path| self.env.fs.stat(&self.data.join(path)).is_ok())
    }

    fn folder(
        &mut self,
        folder: &PartitionFolder,
        owner: &mut Option<UserId>,
        ids: &mut Ids,
        step: &mut dyn FnMut(),
    ) {
        for file in &folder.files {
            let path = format!("{}/{}", folder.path, file.name);
            let found = self.file(folder, &file.name, &path, owner, ids);
            if let Err(error) = found {
                self.say(&path, &error);
            }
            step();
        }
    }

    fn say(&mut self, path: &str, error: &ParquetError) {
        let code = match error {
            // Replaced or removed since the folder was listed.
            ParquetError::Io(e) if e.kind() == io::ErrorKind::NotFound => return,
            ParquetError::Io(_) => Code::FileUnreadable,
            ParquetError::NewerSchema { .. } => Code::FileNewer,
            _ => Code::FileDamaged,
        };
        self.report.note(code, path, &error.to_string());
    }

    fn file(
        &mut self,
        folder: &PartitionFolder,
        name: &str,
        path: &str,
        owner: &mut Option<UserId>,
        ids: &mut Ids,
    ) -> Result<(), ParquetError> {
        let source = OpenFile::open(self.env.fs.as_ref(), &self.data.join(path))?;
        self.report.bytes += source.len();
        let view = FileView::open(&source)?;
        let Some(footer) = view.footer() else {
            self.report.legacy_files += 1;
            return foreign(folder, &source, ids);
        };
        self.report.files += 1;
        self.report.rows += view.rows();
        let key = folder.key(&footer.user).filter(|_| view.table() == Some(folder.table));
        let Some(key) = key.filter(|k| folder.is_of(k)) else {
            let table = view.table().map_or("", |table| table.spec().name);
            let what = format!("it holds {table} of another user, or is in another's folder");
            self.report.note(Code::FileMisplaced, path, &what);
            return Ok(());
        };
        if name != layout::partition_file_name(&key) {
            let what = "a second file of this store in the partition's folder";
            self.report.note(Code::FileMisplaced, path, what);
        }
        *owner = Some(key.user().clone());
        self.lsn(path, &key, footer);
        let damaged = parquet::check(&view, &source)?;
        let lost: HashSet<usize> = damaged.iter().filter_map(|part| part.group).collect();
        for part in &damaged {
            self.report.note(Code::FileDamaged, path, &part.what);
        }
        self.rows(&view, &source, (path, &key), &lost, ids)
    }

    fn lsn(&mut self, path: &str, key: &PartitionKey, footer: &parquet::Footer) {
        if Some(footer.log_id) != self.log.log_id {
            let what = "its footer counts in another log: all of this log's records are applied \
                        over it";
            self.report.note(Code::OtherLog, path, what);
            return;
        }
        let through = Lsn::new(footer.applied_lsn);
        self.log.orphans.held(key, through);
        if through > self.log.given {
            self.log.ahead.push((path.to_owned(), footer.applied_lsn));
        }
    }

    fn rows(
        &mut self,
        view: &FileView,
        source: &OpenFile,
        (path, key): (&str, &PartitionKey),
        lost: &HashSet<usize>,
        ids: &mut Ids,
    ) -> Result<(), ParquetError> {
        let sealed = key.table().spec().index_where(|k| matches!(k, Kind::Sealed));
        let columns: Option<Vec<usize>> =
            if self.options.deep { None } else { sealed.map(|column| vec![column]) };
        let decodes = self.options.deep || sealed.is_some();
        let mut seen = HashSet::new();
        let mut twice = |id: &crate::domain::RecordId| !seen.insert(id.clone());
        for group in (0..view.groups().len()).filter(|group| !lost.contains(group)) {
            if !decodes {
                let fetched = Fetched::read(source, view.column_ranges(group, Some(&[])))?;
                for id in read_ids(view, group, &fetched)? {
                    self.id(path, id, key.month(), ids, &mut twice);
                }
                continue;
            }
            let fetched = Fetched::read(source, view.column_ranges(group, columns.as_deref()))?;
            let rows = decode_group(view, group, &fetched, columns.as_deref())?;
            if let Some(what) = order(view, group, &rows).or_else(|| values(&rows)) {
                self.report.note(Code::FileDamaged, path, &what);
            }
            for row in rows {
                let at = (path, key, None);
                if let Some(lost) = self.keyring.check(self.report, at, &row, self.options.deep) {
                    self.report.add(lost);
                }
                self.id(path, row.id.clone(), key.month(), ids, &mut twice);
            }
        }
        Ok(())
    }

    fn id(
        &mut self,
        path: &str,
        id: crate::domain::RecordId,
        month: Option<Month>,
        ids: &mut Ids,
        twice: &mut dyn FnMut(&crate::domain::RecordId) -> bool,
    ) {
        if twice(&id) {
            self.report.note(Code::DuplicateId, path, &format!("{id} stands in it twice"));
        }
        if let Some(month) = month {
            ids.note(id, month);
        }
    }

    /// What `legacy/` keeps.
    fn kept(&mut self, folder: &PartitionFolder, step: &mut dyn FnMut()) {
        for file in &folder.files {
            let path = format!("{}/{}", folder.path, file.name);
            self.report.kept_files += 1;
            let checked = (|| {
                let source = OpenFile::open(self.env.fs.as_ref(), &self.data.join(&path))?;
                self.report.bytes += source.len();
                FileView::open(&source)?;
                if self.options.deep {
                    let fallback = folder.month.map_or(Micros::new(0), Month::start);
                    legacy::decode_legacy(folder.table, source.whole()?, fallback)?;
                }
                Ok::<_, ParquetError>(())
            })();
            match checked {
                Err(ParquetError::Io(e)) if e.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.report.note(Code::LegacyUnreadable, &path, &error.to_string());
                }
                Ok(()) => {}
            }
            step();
        }
    }
}

/// A file of the Python service in a table's folder: served as it is, so it must decode.
fn foreign(folder: &PartitionFolder, source: &OpenFile, ids: &mut Ids) -> Result<(), ParquetError> {
    let fallback = folder.month.map_or(Micros::new(0), Month::start);
    for row in legacy::decode_legacy(folder.table, source.whole()?, fallback)? {
        if let Some(month) = folder.month {
            ids.note(row.row.id, month);
        }
    }
    Ok(())
}

/// What is wrong with the rows' order or number.
fn order(view: &FileView, group: usize, rows: &[Row]) -> Option<String> {
    let info = view.groups().get(group)?;
    if rows.len() != info.rows {
        return Some(format!("row group {group} has {} rows, not {}", rows.len(), info.rows));
    }
    let inside = |row: &Row| (info.created_min..=info.created_max).contains(&row.created_at);
    if let Some(row) = rows.iter().find(|row| !inside(row)) {
        return Some(format!("record {} lies outside the times of row group {group}", row.id));
    }
    // Ascending by time, ties by id descending.
    let ordered = |a: &Row, b: &Row| (a.created_at, &b.id) < (b.created_at, &a.id);
    let ascends = rows.windows(2).all(|pair| match pair {
        [a, b] => ordered(a, b),
        _ => true,
    });
    (!ascends).then(|| format!("the rows of row group {group} are not in order"))
}

/// What is wrong with the values.
fn values(rows: &[Row]) -> Option<String> {
    for row in rows {
        for (index, column) in row.table().spec().columns.iter().enumerate() {
            let Cell::Json(text) = row.cell(index) else { continue };
            if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
                return Some(format!("{} of record {} is no JSON", column.name, row.id));
            }
        }
        if row.version < 1 {
            return Some(format!("record {} has version {}", row.id, row.version));
        }
    }
    None
}
