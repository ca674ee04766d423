//! Row groups to rows. Each chunk's checksum is checked before it is decoded.

use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use ::parquet::arrow::arrow_reader::{ParquetRecordBatchReader, RowSelector};
use ::parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use ::parquet::bloom_filter::Sbbf;

use super::checksums::chunk_ranges;
use super::error::guarded;
use super::pages::OneGroup;
use super::{Fetched, FileView, ParquetError, RangeSource, columns};
use crate::domain::{RecordId, Row};

/// Decodes the rows of a group, in file order (oldest first). `fetched` holds what
/// [`FileView::column_ranges`] names for the same `columns`, or more.
///
/// With `columns` (indexes of the table's columns) only these are read; the others are null in
/// the rows. The id, the times and the version are always there.
///
/// # Errors
/// [`ParquetError::Corrupt`] where the bytes are not what was written or were not fetched,
/// [`ParquetError::Foreign`] for a file this store did not write.
pub fn decode_group(
    view: &FileView,
    group: usize,
    fetched: &Fetched,
    columns: Option<&[usize]>,
) -> Result<Vec<Row>, ParquetError> {
    decode_rows(view, group, fetched, columns, 0..usize::MAX)
}

/// [`decode_group`] for some rows of the group, numbered from 0; pages without any of them are
/// skipped, not decompressed.
///
/// # Errors
/// As [`decode_group`].
pub fn decode_rows(
    view: &FileView,
    group: usize,
    fetched: &Fetched,
    columns: Option<&[usize]>,
    rows: Range<usize>,
) -> Result<Vec<Row>, ParquetError> {
    let table = view.own_table()?;
    let leaves = view.leaves(columns);
    let indexes: Vec<usize> = leaves.iter().map(|(column, _)| *column).collect();
    let batches = batches(view, group, fetched, &leaves, rows)?;
    let mut decoded = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in &batches {
        decoded.append(&mut columns::rows(table, batch, &indexes)?);
    }
    Ok(decoded)
}

/// The ids of a group in file order, from the id column alone.
///
/// # Errors
/// As [`decode_group`].
pub fn read_ids(
    view: &FileView,
    group: usize,
    fetched: &Fetched,
) -> Result<Vec<RecordId>, ParquetError> {
    view.own_table()?;
    let leaf: Vec<(usize, usize)> = view.leaves(Some(&[])).into_iter().take(1).collect();
    let mut ids = Vec::new();
    for batch in batches(view, group, fetched, &leaf, 0..usize::MAX)? {
        let column = batch.columns().first().and_then(columns::ids);
        ids.append(&mut column.ok_or_else(|| ParquetError::corrupt("the ids of a row group"))?);
    }
    Ok(ids)
}

/// Whether a group may hold an id, by its bloom filter: `false` is certain, `true` is wrong for
/// one id in a hundred. `bloom` is the bytes of [`GroupInfo::bloom`](super::GroupInfo::bloom).
///
/// # Errors
/// As [`decode_group`].
pub fn may_contain(
    view: &FileView,
    group: usize,
    id: &RecordId,
    bloom: &Bytes,
) -> Result<bool, ParquetError> {
    Ok(bloom_filter(view, group, bloom)?.check(id.as_str()))
}

/// A group's bloom filter on the id.
pub(super) fn bloom_filter(
    view: &FileView,
    group: usize,
    bytes: &Bytes,
) -> Result<Sbbf, ParquetError> {
    view.checksums()?.check_bloom(group, bytes)?;
    guarded("a bloom filter", || Sbbf::from_bytes(bytes).map_err(ParquetError::decoding))
}

/// Finds one record: asks the bloom filters, then the id columns of the groups that may hold it,
/// then decodes its row alone.
///
/// # Errors
/// As [`decode_group`], and [`ParquetError::Io`] from the source.
pub fn find_record(
    view: &FileView,
    source: &dyn RangeSource,
    id: &RecordId,
) -> Result<Option<Row>, ParquetError> {
    for (group, info) in view.groups().iter().enumerate().rev() {
        if let Some(bloom) = &info.bloom
            && !may_contain(view, group, id, &source.read(bloom.clone())?)?
        {
            continue;
        }
        let ids = Fetched::read(source, view.column_ranges(group, Some(&[])))?;
        let Some(row) = read_ids(view, group, &ids)?.iter().position(|i| i == id) else { continue };
        let bytes = Fetched::read(source, view.column_ranges(group, None))?;
        return Ok(decode_rows(view, group, &bytes, None, row..row + 1)?.pop());
    }
    Ok(None)
}

/// The batches of some leaves of a group; `leaves` ascends.
fn batches(
    view: &FileView,
    group: usize,
    fetched: &Fetched,
    leaves: &[(usize, usize)],
    rows: Range<usize>,
) -> Result<Vec<RecordBatch>, ParquetError> {
    let Some((meta, info)) = view.group_metadata(group).zip(view.groups().get(group)) else {
        return Err(ParquetError::corrupt(format!("there is no row group {group}")));
    };
    let chunks: Vec<Range<u64>> = chunk_ranges(meta).collect();
    for (_, leaf) in leaves {
        let bytes = chunks.get(*leaf).and_then(|range| fetched.get(range));
        let bytes = bytes.ok_or_else(|| {
            ParquetError::corrupt(format!("column {leaf} of row group {group} was not fetched"))
        })?;
        view.checksums()?.check_chunk(group, *leaf, &bytes)?;
    }
    let rows = rows.start.min(info.rows)..rows.end.min(info.rows);
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    guarded("a row group", || {
        let schema = view.metadata().file_metadata().schema_descr();
        let mask = ProjectionMask::leaves(schema, leaves.iter().map(|(_, leaf)| *leaf));
        let levels =
            parquet_to_arrow_field_levels(schema, mask, None).map_err(ParquetError::decoding)?;
        let some = rows.len() < info.rows;
        let selection = some
            .then(|| vec![RowSelector::skip(rows.start), RowSelector::select(rows.len())].into());
        let group =
            OneGroup { metadata: view.metadata(), group: meta, fetched: Arc::new(fetched.clone()) };
        let reader = ParquetRecordBatchReader::try_new_with_row_groups(
            &levels,
            &group,
            rows.len(),
            selection,
        );
        let batches = reader.and_then(|reader| Ok(reader.collect::<Result<Vec<_>, _>>()?));
        batches.map_err(ParquetError::decoding)
    })
}
