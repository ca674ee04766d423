//! How row groups are encoded. The numbers were measured on audiences of about 1.3 kB of JSON.

use std::sync::Arc;

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::metadata::SortingColumn;
use ::parquet::file::properties::{
    BloomFilterPosition, EnabledStatistics, WriterProperties, WriterPropertiesPtr,
};
use ::parquet::schema::types::SchemaDescriptor;

use crate::domain::{Kind, Table};

/// What the footer's `created_by` begins with.
pub(super) const CREATED_BY: &str = "audience-store";
/// Rows of a data page at most: a page of a listing decompresses one or two.
const ROWS_PER_PAGE: usize = 256;
/// Bytes of a data page, about, before compression.
const BYTES_PER_PAGE: usize = 64 * 1024;
/// Bytes of a minimum or maximum at most: a record's id is never cut.
const STATISTICS_BYTES: usize = 64;
/// A bloom filter's rate of false positives: 10 bits an id.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;
/// Groups with fewer rows are small: see [`Size::Small`].
const SMALL_ROWS: usize = 32;
/// Columns of a group with fewer bytes are not compressed: that would save little, and what it
/// takes to compress a column at all is most of a small checkpoint's time.
const COMPRESSED_BYTES: usize = 1024;
/// The same of small groups, in which little is much.
const COMPRESSED_BYTES_OF_SMALL: usize = 128;
/// By how much a dictionary makes its column smaller, about.
const DICTIONARY_GAIN: usize = 16;

/// How a row group is written.
pub(super) struct Properties {
    /// For the Parquet crate.
    pub(super) written: WriterPropertiesPtr,
    /// Which columns it leaves uncompressed for [`super::packing`] to compress.
    pub(super) packed: Vec<bool>,
}

/// Properties of a row group of so many rows, whose columns have so many bytes, about; without
/// these, of a file.
pub(super) fn properties(
    table: Table,
    schema: &SchemaDescriptor,
    group: Option<(usize, &[usize])>,
    zstd_level: ZstdLevel,
) -> Properties {
    let size = group.map_or(Size::Large, |(rows, bytes)| Size::of(rows, bytes));
    let (rows, bytes) = group.unwrap_or_default();
    let compressed = if size == Size::Small { COMPRESSED_BYTES_OF_SMALL } else { COMPRESSED_BYTES };
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("{CREATED_BY} {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::ZSTD(zstd_level))
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(BYTES_PER_PAGE)
        .set_data_page_row_count_limit(ROWS_PER_PAGE)
        // Page limits are looked at once a batch.
        .set_write_batch_size(ROWS_PER_PAGE / 4)
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(size.statistics())
        .set_offset_index_disabled(size != Size::Large)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES))
        // At the end, so that a group's columns are one range and all filters another.
        .set_bloom_filter_position(BloomFilterPosition::End)
        .set_sorting_columns(sorting(table));
    let mut packed = Vec::with_capacity(schema.num_columns());
    for (index, (column, leaf)) in table.spec().columns.iter().zip(schema.columns()).enumerate() {
        let path = leaf.path().clone();
        let repeats = repeats(table, column.name, column.kind);
        let dictionary = repeats && size != Size::Small;
        let gain = if dictionary { DICTIONARY_GAIN } else { 1 };
        let is_small = bytes.get(index).is_some_and(|bytes| bytes / gain < compressed);
        // A dictionary comes last and is written first: that the crate has to do by itself.
        packed.push(!is_small && !dictionary);
        if is_small || !dictionary {
            let none = Compression::UNCOMPRESSED;
            builder = builder.set_column_compression(path.clone(), none);
        }
        if dictionary {
            builder = builder.set_column_dictionary_enabled(path.clone(), true);
        }
        match column.kind {
            Kind::Id if size != Size::Small => {
                builder = builder
                    .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_POSITIVES)
                    .set_column_bloom_filter_max_ndv(path, rows.max(1) as u64);
            }
            // Bounds of JSON text or of sealed bytes select nothing.
            Kind::Json(_) | Kind::Extra | Kind::Sealed => {
                builder = builder.set_column_statistics_enabled(path, EnabledStatistics::None);
            }
            // This module finds its way by the first, others what is new by the second.
            Kind::CreatedAt | Kind::UpdatedAt if size == Size::Small => {
                builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
            }
            _ => {}
        }
    }
    Properties { written: Arc::new(builder.build()), packed }
}

/// What a row group's size lets it do without. In a file of a user's month with a handful of rows,
/// what is said about the rows is more than the rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    /// Of so few rows that nothing can be skipped in it: it has no bloom filter, bounds of its
    /// times alone, and no dictionaries, each of which would be a page of its own.
    Small,
    /// Each column is one page: bounds of pages would be those of the chunks.
    OnePage,
    /// All there is.
    Large,
}

impl Size {
    fn of(rows: usize, bytes: &[usize]) -> Self {
        let one_page = rows <= ROWS_PER_PAGE && bytes.iter().all(|bytes| *bytes < BYTES_PER_PAGE);
        match (one_page, rows < SMALL_ROWS) {
            (true, true) => Self::Small,
            (true, false) => Self::OnePage,
            (false, _) => Self::Large,
        }
    }

    fn statistics(self) -> EnabledStatistics {
        match self {
            Self::Small => EnabledStatistics::None,
            Self::OnePage => EnabledStatistics::Chunk,
            Self::Large => EnabledStatistics::Page,
        }
    }
}

/// Whether a column's values stand in many rows.
fn repeats(table: Table, name: &str, kind: Kind) -> bool {
    match kind {
        Kind::Enum(_) | Kind::UserId | Kind::TextList { .. } => true,
        Kind::Text => table.spec().filters.contains(&name),
        _ => false,
    }
}

/// Rows ascend by `created_at`, ties descend by id.
fn sorting(table: Table) -> Option<Vec<SortingColumn>> {
    let created_at = table.spec().index_where(|k| matches!(k, Kind::CreatedAt))?;
    let column = |index: usize, descending| {
        Some(SortingColumn {
            column_idx: i32::try_from(index).ok()?,
            descending,
            nulls_first: false,
        })
    };
    Some(vec![column(created_at, false)?, column(0, true)?])
}
