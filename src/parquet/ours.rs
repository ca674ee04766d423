//! What only a file of this store has: its footer's own keys and a row group table that can be
//! relied on.

use std::ops::Range;

use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::file::statistics::Statistics;

use super::checksums::{self, Checksums, bloom_range, chunk_ranges};
use super::footer::PREFIX;
use super::{Footer, ParquetError};
use crate::domain::{Kind, Micros, Table, TableSpec};

/// What a Parquet file begins and ends with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// One row group of a file this store wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Number of rows, at least 1.
    pub rows: usize,
    /// The earliest `created_at`, that of the first row.
    pub created_min: Micros,
    /// The latest `created_at`, that of the last row.
    pub created_max: Micros,
    /// Where its column chunks stand in the file.
    pub range: Range<u64>,
    /// Where its bloom filter on the id stands.
    pub bloom: Option<Range<u64>>,
    /// Size of its columns in bytes before compression.
    pub uncompressed: u64,
}

/// What only a file of this store has.
#[derive(Debug)]
pub(super) struct Ours {
    pub(super) table: Table,
    pub(super) footer: Footer,
    pub(super) checksums: Checksums,
    pub(super) groups: Vec<GroupInfo>,
    /// Column index in the file of each column of the table; `None` where an older schema version
    /// had no such column.
    pub(super) leaves: Vec<Option<usize>>,
}

impl Ours {
    /// What this store wrote into a footer; `None` where it wrote nothing.
    pub(super) fn of(
        metadata: &ParquetMetaData,
        footer_start: u64,
    ) -> Result<Option<Self>, ParquetError> {
        let file = metadata.file_metadata();
        let no_pairs = Vec::new();
        let pairs = file.key_value_metadata().unwrap_or(&no_pairs);
        let signed =
            file.created_by().is_some_and(|by| by.starts_with(super::properties::CREATED_BY));
        if !signed && !pairs.iter().any(|p| p.key.starts_with(PREFIX)) {
            return Ok(None);
        }
        let (table, footer) = Footer::from_pairs(pairs)?;
        let spec = table.spec();
        let leaves = leaves_of(spec, metadata)?;
        let sums = pairs.iter().find(|p| p.key == checksums::KEY).and_then(|p| p.value.as_deref());
        let columns = file.schema_descr().num_columns();
        let checksums =
            Checksums::parse(sums.unwrap_or_default(), metadata.num_row_groups(), columns)?;
        let created_at = spec
            .index_where(|k| matches!(k, Kind::CreatedAt))
            .and_then(|i| leaves.get(i).copied().flatten());
        let mut groups: Vec<GroupInfo> = Vec::with_capacity(metadata.num_row_groups());
        let mut at = MAGIC.len() as u64;
        for (number, group) in metadata.row_groups().iter().enumerate() {
            let info = group_info(group, created_at)
                .filter(|g| g.range.start >= at && g.range.end <= footer_start)
                .filter(|g| g.bloom.as_ref().is_none_or(|b| b.end <= footer_start))
                .filter(|g| groups.last().is_none_or(|last| last.created_max <= g.created_min))
                .ok_or_else(|| {
                    ParquetError::corrupt(format!("row group {number} in the footer"))
                })?;
            at = info.range.end;
            groups.push(info);
        }
        Ok(Some(Self { table, footer, checksums, groups, leaves }))
    }
}

/// The leaf of each column of the table, by name.
fn leaves_of(
    spec: &TableSpec,
    metadata: &ParquetMetaData,
) -> Result<Vec<Option<usize>>, ParquetError> {
    let mut leaves = vec![None; spec.columns.len()];
    for (leaf, column) in metadata.file_metadata().schema_descr().columns().iter().enumerate() {
        let name = column.path().parts().first().map_or("", String::as_str);
        let (index, _) = spec.column(name).ok_or_else(|| ParquetError::NewerSchema {
            what: format!("column {name:?} of {}", spec.name),
        })?;
        if let Some(slot) = leaves.get_mut(index) {
            *slot = Some(leaf);
        }
    }
    Ok(leaves)
}

fn group_info(group: &RowGroupMetaData, created_at: Option<usize>) -> Option<GroupInfo> {
    let Some(Statistics::Int64(created)) = group.columns().get(created_at?)?.statistics() else {
        return None;
    };
    let mut range = chunk_ranges(group).next()?;
    for chunk in chunk_ranges(group).skip(1) {
        // Chunks stand side by side, so that one read brings the whole group.
        if chunk.start != range.end {
            return None;
        }
        range.end = chunk.end;
    }
    Some(GroupInfo {
        rows: usize::try_from(group.num_rows()).ok().filter(|rows| *rows > 0)?,
        created_min: Micros::new(*created.min_opt()?),
        created_max: Micros::new(*created.max_opt()?),
        range,
        bloom: bloom_range(group),
        uncompressed: u64::try_from(group.total_byte_size()).ok()?,
    })
}
