//! A new file out of a base and changes.
//!
//! Memory: the new file's bytes, the changes, and the decoded rows of at most two groups.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::changes::key_of;
use super::copy::copied;
use super::merge::Overlay;
use super::plan::{FULL, GroupState, Step, next_cut, steps};
use super::writer::FileWriter;
use super::{Changes, Fetched, FileView, Footer, ParquetError, RangeSource, decode_group};
use crate::domain::{Row, Table};

/// Rows of a group at most, unless told otherwise.
pub const ROWS_PER_GROUP: usize = 1024;

/// How to encode.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Rows of a group at most.
    pub rows_per_group: usize,
    /// Bytes of a group's rows in memory, about, at most: a group of large rows holds fewer.
    pub bytes_per_group: usize,
    /// Level of zstd, 1 to 22.
    pub zstd_level: i32,
}

impl Default for Options {
    fn default() -> Self {
        Self { rows_per_group: ROWS_PER_GROUP, bytes_per_group: 8 << 20, zstd_level: 1 }
    }
}

/// The file that changes are merged over. It must be [`FileView::is_ours`]; rows of a legacy file
/// are given as upserts.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    /// Its footer.
    pub view: &'a FileView,
    /// Its bytes.
    pub source: &'a dyn RangeSource,
}

/// A finished file.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The file.
    pub bytes: Bytes,
    /// Rows in it.
    pub rows: u64,
    /// Row groups copied from the base as bytes.
    pub groups_copied: usize,
    /// Row groups encoded.
    pub groups_encoded: usize,
    /// Bytes of the copied groups.
    pub bytes_copied: u64,
}

/// Encodes a table's file: the rows of `base` with `changes` over them. Without a base the
/// changes' upserts are all there is. A file without rows is a file, too: it keeps the footer.
///
/// `footer.schema_version` is ignored: this build writes [`super::SCHEMA_VERSION`].
///
/// # Errors
/// [`ParquetError::Corrupt`] and [`ParquetError::Io`] about the base,
/// [`ParquetError::WrongTable`] and [`ParquetError::Foreign`] where it is no base for this table,
/// [`ParquetError::Encode`] where encoding failed.
pub fn encode(
    table: Table,
    base: Option<&Base<'_>>,
    changes: &Changes,
    footer: &Footer,
    options: &Options,
) -> Result<Encoded, ParquetError> {
    let tail = match base {
        Some(base) => checked_tail(table, base)?,
        None => Fetched::default(),
    };
    let overlay = Overlay::new(base, &tail, changes)?;
    let ids = changes.changed_ids();
    let plan = steps(&states(base, &overlay, options), appended_fill(&overlay, options));
    let groups = base.map_or(0, |b| b.view.groups().len());
    let mut writer = FileWriter::new(table, &footer.user, options).map_err(ParquetError::Encode)?;
    for step in plan {
        match (base, step) {
            (Some(base), Step::Copy(group)) => writer.copy(copied(base, &tail, group)?)?,
            (_, Step::Rewrite(run)) => {
                let mut cutter = Cutter::new(base, &overlay, &run, groups, options);
                for group in run.clone() {
                    if let Some(base) = base {
                        cutter.push_all(merged(base, group, &overlay, &ids)?, &mut writer)?;
                    }
                }
                if run.end == groups {
                    cutter.push_all(overlay.appended().to_vec(), &mut writer)?;
                }
                cutter.flush(&mut writer)?;
            }
            (None, Step::Copy(_)) => {}
        }
    }
    writer.finish(footer)
}

/// Reads and checks what stands behind the base's row groups.
fn checked_tail(table: Table, base: &Base<'_>) -> Result<Fetched, ParquetError> {
    let found = base.view.own_table()?;
    if found != table {
        return Err(ParquetError::WrongTable { wanted: table, found });
    }
    let tail = Fetched::read(base.source, [base.view.tail()])?;
    let indexes = tail.get(&base.view.indexes()).unwrap_or_default();
    base.view.checksums()?.check_indexes(&indexes)?;
    Ok(tail)
}

/// The base's groups as the plan sees them.
fn states(base: Option<&Base<'_>>, overlay: &Overlay, options: &Options) -> Vec<GroupState> {
    let Some(base) = base else { return Vec::new() };
    let groups = base.view.groups().iter().enumerate();
    groups
        .map(|(group, info)| {
            let upserts = overlay.upserts_of(group).len();
            let rows = info.rows.saturating_sub(overlay.dropped(group)) + upserts;
            let by_rows = rows as u64 * FULL / options.rows_per_group.max(1) as u64;
            let by_bytes = info.uncompressed * FULL / options.bytes_per_group.max(1) as u64;
            let unchanged = upserts == 0 && overlay.dropped(group) == 0;
            // A group of an older schema version lacks columns and cannot be copied.
            let touched = !unchanged || !base.view.has_all_columns();
            GroupState { fill: by_rows.max(by_bytes), touched }
        })
        .collect()
}

/// How full a group of the rows behind all groups would be.
fn appended_fill(overlay: &Overlay, options: &Options) -> Option<u64> {
    let rows = overlay.appended().len() as u64;
    (rows > 0).then(|| rows * FULL / options.rows_per_group.max(1) as u64)
}

/// A group's rows with the changes over them, in file order.
fn merged(
    base: &Base<'_>,
    group: usize,
    overlay: &Overlay,
    changed: &HashSet<&str>,
) -> Result<Vec<Arc<Row>>, ParquetError> {
    let fetched = Fetched::read(base.source, base.view.column_ranges(group, None))?;
    let kept = decode_group(base.view, group, &fetched, None)?;
    let mut kept = kept.into_iter().filter(|r| !changed.contains(r.id.as_str())).peekable();
    let mut rows = Vec::new();
    for upsert in overlay.upserts_of(group) {
        let key = key_of(upsert);
        while let Some(row) = kept.next_if(|r| key_of(r) < key) {
            rows.push(Arc::new(row));
        }
        rows.push(Arc::clone(upsert));
    }
    rows.extend(kept.map(Arc::new));
    Ok(rows)
}

/// Cuts a run of rows into groups.
struct Cutter {
    pending: Vec<Arc<Row>>,
    pending_bytes: usize,
    rows_left: usize,
    most_rows: usize,
    most_bytes: usize,
    at_end: bool,
}

impl Cutter {
    fn new(
        base: Option<&Base<'_>>,
        overlay: &Overlay,
        run: &Range<usize>,
        groups: usize,
        options: &Options,
    ) -> Self {
        let at_end = run.end == groups;
        let appended = if at_end { overlay.appended() } else { &[] };
        let (mut rows, mut bytes) = (0, 0_u64);
        for group in run.clone() {
            if let Some(info) = base.and_then(|b| b.view.groups().get(group)) {
                rows += info.rows.saturating_sub(overlay.dropped(group));
                bytes += info.uncompressed;
            }
        }
        for upsert in run.clone().flat_map(|g| overlay.upserts_of(g)).chain(appended) {
            rows += 1;
            bytes += upsert.memory() as u64;
        }
        let row_bytes = usize::try_from(bytes).unwrap_or(usize::MAX) / rows.max(1);
        let by_bytes = options.bytes_per_group / row_bytes.max(1);
        Self {
            pending: Vec::new(),
            pending_bytes: 0,
            rows_left: rows,
            most_rows: options.rows_per_group.min(by_bytes).max(1),
            // Rows of unequal size: a group may exceed the bound by half before it is cut early.
            most_bytes: options.bytes_per_group.saturating_mul(3) / 2,
            at_end,
        }
    }

    fn push_all(
        &mut self,
        rows: Vec<Arc<Row>>,
        writer: &mut FileWriter<'_>,
    ) -> Result<(), ParquetError> {
        for row in rows {
            self.pending_bytes += row.memory();
            self.pending.push(row);
            let cut = next_cut(self.rows_left, self.most_rows, self.at_end);
            if self.pending.len() >= cut || self.pending_bytes >= self.most_bytes {
                self.flush(writer)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, writer: &mut FileWriter<'_>) -> Result<(), ParquetError> {
        if !self.pending.is_empty() {
            writer.write(&self.pending).map_err(ParquetError::Encode)?;
            self.rows_left = self.rows_left.saturating_sub(self.pending.len());
            self.pending.clear();
            self.pending_bytes = 0;
        }
        Ok(())
    }
}
