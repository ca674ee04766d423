//! A file's footer, checked and parsed: what is in it and where.
//!
//! Cheap to keep while the rows are not: see [`FileView::memory`].

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use ::parquet::file::metadata::{
    ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader, RowGroupMetaData,
};

use super::checksums::{self, Checksums, TRAILER, chunk_ranges};
use super::error::guarded;
use super::ours::{MAGIC, Ours};
use super::{Footer, GroupInfo, ParquetError, RangeSource};
use crate::domain::{Kind, Table};

/// Bytes of the file's end to read at first: the footer of most files, all of a small one.
const TAIL: u64 = 32 * 1024;

/// A parsed footer and row group table.
#[derive(Debug, Clone)]
pub struct FileView {
    len: u64,
    footer_start: u64,
    metadata: Arc<ParquetMetaData>,
    ours: Option<Arc<Ours>>,
}

impl FileView {
    /// Reads and checks a file's footer.
    ///
    /// # Errors
    /// [`ParquetError::Io`] from the source, [`ParquetError::Corrupt`] where the bytes are not a
    /// Parquet file or not what was written, [`ParquetError::NewerSchema`] where a later version
    /// of this store wrote it.
    pub fn open(source: &dyn RangeSource) -> Result<Self, ParquetError> {
        let len = source.len();
        let too_short = || ParquetError::corrupt("the file is too short");
        if len < (MAGIC.len() + TRAILER) as u64 {
            return Err(too_short());
        }
        let tail = source.read(len.saturating_sub(TAIL)..len)?;
        let at_trailer = tail.len().checked_sub(TRAILER).ok_or_else(too_short)?;
        let trailer = tail.get(at_trailer..).unwrap_or_default();
        let (size, magic) = trailer.split_first_chunk::<4>().ok_or_else(too_short)?;
        if magic != MAGIC {
            return Err(ParquetError::corrupt("the file does not end as Parquet files do"));
        }
        let size = u32::from_le_bytes(*size);
        let footer_end = len - TRAILER as u64;
        let footer_start = footer_end
            .checked_sub(u64::from(size))
            .filter(|start| *start >= MAGIC.len() as u64)
            .ok_or_else(|| ParquetError::corrupt("the footer is longer than the file"))?;
        let in_tail = at_trailer.checked_sub(size as usize);
        let footer = match in_tail {
            Some(start) => tail.slice(start..at_trailer),
            None => source.read(footer_start..footer_end)?,
        };
        Self::parse(&footer, len, footer_start)
    }

    fn parse(footer: &Bytes, len: u64, footer_start: u64) -> Result<Self, ParquetError> {
        if checksums::footer_is_intact(footer) == Some(false) {
            return Err(ParquetError::corrupt("the checksum of the footer does not fit"));
        }
        let metadata = guarded("the footer", || {
            let options = ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false);
            ParquetMetaDataReader::decode_metadata_with_options(footer, Some(&options))
                .map_err(ParquetError::decoding)
        })?;
        let ours = Ours::of(&metadata, footer_start)?.map(Arc::new);
        Ok(Self { len, footer_start, metadata: Arc::new(metadata), ours })
    }

    /// Whether this store wrote the file. What another wrote is read by
    /// [`super::legacy::decode_legacy`]; it has no groups here.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.ours.is_some()
    }

    /// What the file says about itself; `None` for a foreign file.
    #[must_use]
    pub fn footer(&self) -> Option<&Footer> {
        self.ours.as_deref().map(|o| &o.footer)
    }

    /// The table whose rows these are; `None` for a foreign file.
    #[must_use]
    pub fn table(&self) -> Option<Table> {
        self.ours.as_deref().map(|o| o.table)
    }

    /// The row groups in file order; none for a foreign file.
    #[must_use]
    pub fn groups(&self) -> &[GroupInfo] {
        self.ours.as_deref().map_or(&[], |o| &o.groups)
    }

    /// Where a group's bytes stand; empty where there is no such group.
    #[must_use]
    pub fn group_bytes(&self, group: usize) -> Range<u64> {
        self.groups().get(group).map_or(0..0, |g| g.range.clone())
    }

    /// The ranges to fetch for some columns of a group (indexes of the table's columns): these
    /// columns' chunks and those that every row needs, neighbours joined. All of the group with
    /// `None`.
    #[must_use]
    pub fn column_ranges(&self, group: usize, columns: Option<&[usize]>) -> Vec<Range<u64>> {
        let Some(meta) = self.group_metadata(group) else { return Vec::new() };
        if columns.is_none() {
            return vec![self.group_bytes(group)];
        }
        let chunks: Vec<Range<u64>> = chunk_ranges(meta).collect();
        let wanted = self.leaves(columns);
        let mut ranges: Vec<Range<u64>> =
            wanted.iter().filter_map(|(_, leaf)| chunks.get(*leaf).cloned()).collect();
        ranges.sort_by_key(|r| r.start);
        ranges.dedup_by(|next, joined| {
            let adjacent = next.start == joined.end;
            if adjacent {
                joined.end = next.end;
            }
            adjacent
        });
        ranges
    }

    /// Where everything behind the row groups stands: bloom filters, page indexes, footer.
    pub(super) fn tail(&self) -> Range<u64> {
        self.groups().iter().map(|g| g.range.end).max().unwrap_or(MAGIC.len() as u64)..self.len
    }

    /// Where the page indexes stand: from the last bloom filter to the footer.
    pub(super) fn indexes(&self) -> Range<u64> {
        let blooms = self.groups().iter().filter_map(|g| g.bloom.as_ref().map(|b| b.end));
        blooms.max().unwrap_or(0).max(self.tail().start)..self.footer_start
    }

    /// Number of rows, also of a foreign file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        u64::try_from(self.metadata.file_metadata().num_rows()).unwrap_or(0)
    }

    /// Size of the file in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file holds no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Bytes the view takes in memory, about.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of::<Self>() + self.metadata.memory_size() + size_of_val(self.groups())
    }

    pub(super) fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.metadata
    }

    pub(super) fn group_metadata(&self, group: usize) -> Option<&RowGroupMetaData> {
        self.metadata.row_groups().get(group)
    }

    pub(super) fn checksums(&self) -> Result<&Checksums, ParquetError> {
        self.ours.as_deref().map(|o| &o.checksums).ok_or(ParquetError::Foreign)
    }

    /// The table, for calls that only this store's files can answer.
    pub(super) fn own_table(&self) -> Result<Table, ParquetError> {
        self.table().ok_or(ParquetError::Foreign)
    }

    /// Whether the file has every column of its table, so that its groups can be copied.
    pub(super) fn has_all_columns(&self) -> bool {
        self.ours.as_deref().is_some_and(|o| o.leaves.iter().all(Option::is_some))
    }

    /// (Column of the table, leaf of the file) of the columns wanted and those that every row
    /// needs, in the table's order.
    pub(super) fn leaves(&self, columns: Option<&[usize]>) -> Vec<(usize, usize)> {
        let Some(ours) = self.ours.as_deref() else { return Vec::new() };
        let kinds = ours.table.spec().columns.iter().map(|c| c.kind);
        ours.leaves
            .iter()
            .zip(kinds)
            .enumerate()
            .filter(|(column, (_, kind))| match kind {
                Kind::Id | Kind::CreatedAt | Kind::UpdatedAt | Kind::Version => true,
                // The footer says whose rows these are.
                Kind::UserId => false,
                _ => columns.is_none_or(|wanted| wanted.contains(column)),
            })
            .filter_map(|(column, (leaf, _))| Some((column, (*leaf)?)))
            .collect()
    }
}
