//! A row group of the base, made ready to be copied: its bytes, checked, and what the footer and
//! the indexes say about them.

use std::ops::Range;

use ::parquet::bloom_filter::Sbbf;
use ::parquet::column::writer::ColumnCloseResult;
use ::parquet::file::metadata::ColumnChunkMetaData;
use ::parquet::file::page_index::index_reader::{decode_column_index, decode_offset_index};

use super::checksums::chunk_ranges;
use super::decode::bloom_filter;
use super::error::guarded;
use super::{Base, Fetched, ParquetError};
use crate::env::give_way;

/// A group's bytes and, for each of its column chunks, what to say about it in the new file.
pub(super) struct CopiedGroup {
    pub(super) bytes: Fetched,
    pub(super) columns: Vec<ColumnCloseResult>,
}

/// Reads and checks a group. `tail` is the base's [`super::FileView::tail`], its page indexes
/// already checked.
pub(super) fn copied(
    base: &Base<'_>,
    tail: &Fetched,
    group: usize,
) -> Result<CopiedGroup, ParquetError> {
    let no_group = || ParquetError::corrupt(format!("there is no row group {group}"));
    let meta = base.view.group_metadata(group).ok_or_else(no_group)?;
    let bytes = Fetched::read(base.source, [base.view.group_bytes(group)])?;
    let bloom_range = base.view.groups().get(group).and_then(|g| g.bloom.clone());
    let mut bloom = match bloom_range {
        Some(range) => Some(bloom_filter(base.view, group, &part(tail, &range)?)?),
        None => None,
    };
    let rows = u64::try_from(meta.num_rows()).map_err(|_| no_group())?;
    let mut columns = Vec::with_capacity(meta.num_columns());
    for (column, (chunk, range)) in meta.columns().iter().zip(chunk_ranges(meta)).enumerate() {
        give_way();
        base.view.checksums()?.check_chunk(group, column, &part(&bytes, &range)?)?;
        columns.push(close_result(chunk, rows, bloom.take(), tail)?);
    }
    Ok(CopiedGroup { bytes, columns })
}

fn close_result(
    chunk: &ColumnChunkMetaData,
    rows: u64,
    bloom_filter: Option<Sbbf>,
    tail: &Fetched,
) -> Result<ColumnCloseResult, ParquetError> {
    guarded("a page index", || {
        let column_index = match chunk.column_index_range() {
            Some(range) => {
                let index = decode_column_index(&part(tail, &range)?, chunk.column_type());
                Some(index.map_err(ParquetError::decoding)?)
            }
            None => None,
        };
        let offset_index = match chunk.offset_index_range() {
            Some(range) => {
                let index = decode_offset_index(&part(tail, &range)?);
                Some(index.map_err(ParquetError::decoding)?)
            }
            None => None,
        };
        Ok(ColumnCloseResult {
            bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or(0),
            rows_written: rows,
            metadata: chunk.clone(),
            bloom_filter,
            column_index,
            offset_index,
        })
    })
}

fn part(fetched: &Fetched, range: &Range<u64>) -> Result<bytes::Bytes, ParquetError> {
    fetched.get(range).ok_or_else(|| ParquetError::corrupt("a range that was not fetched"))
}
