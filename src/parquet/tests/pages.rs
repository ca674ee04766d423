//! Pages that are decompressed here give the rows that the Parquet crate reads by itself.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use ::parquet::arrow::arrow_reader::{
    ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};
use ::parquet::arrow::{ArrowWriter, ProjectionMask, parquet_to_arrow_field_levels};
use ::parquet::basic::Compression;
use ::parquet::errors::Result as CrateResult;
use ::parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use ::parquet::file::properties::{WriterProperties, WriterVersion};

use crate::parquet::Fetched;
use crate::parquet::pages::OneGroup;

const ROWS: usize = 500;

/// Text that repeats, text that does not, one that is nowhere, numbers and lists; with nulls.
fn batch() -> RecordBatch {
    let numbers = || (0..ROWS).map(|n| i64::try_from(n).expect("few"));
    let kind = numbers().map(|n| (n % 7 > 0).then(|| format!("kind {}", n % 3)));
    let name = numbers().map(|n| (n % 5 > 0).then(|| format!("name {}", n * 7919 % 1009)));
    let lists = numbers().map(|n| (n % 4 > 0).then(|| (0..n % 6).map(|i| i32::try_from(i).ok())));
    let columns: [(&str, ArrayRef); 5] = [
        ("kind", Arc::new(kind.collect::<StringArray>())),
        ("name", Arc::new(name.collect::<StringArray>())),
        ("nowhere", Arc::new(StringArray::new_null(ROWS))),
        ("number", Arc::new(numbers().map(Some).collect::<Int64Array>())),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
    ];
    let field =
        |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    assert_eq!(columns[2].1.data_type(), &DataType::Utf8);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).expect("batch")
}

fn written(version: WriterVersion, compression: Compression, dictionary: bool) -> Bytes {
    let batch = batch();
    let properties = WriterProperties::builder()
        .set_writer_version(version)
        .set_compression(compression)
        .set_dictionary_enabled(dictionary)
        .set_data_page_row_count_limit(64)
        .set_write_batch_size(32);
    let mut out = Vec::new();
    let writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties.build()));
    let mut writer = writer.expect("writer");
    writer.write(&batch).expect("write");
    writer.close().expect("close");
    out.into()
}

fn metadata(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new().parse_and_finish(file).expect("metadata")
}

/// The rows from `from` on, as many as `count`.
fn read(
    file: &Bytes,
    metadata: &ParquetMetaData,
    group: &RowGroupMetaData,
    (from, count): (usize, usize),
) -> CrateResult<Vec<RecordBatch>> {
    let schema = metadata.file_metadata().schema_descr();
    let levels = parquet_to_arrow_field_levels(schema, ProjectionMask::all(), None)?;
    let fetched = Arc::new(Fetched::part(0, file.clone()));
    let group = OneGroup { metadata, group, fetched };
    let some = RowSelection::from(vec![RowSelector::skip(from), RowSelector::select(count)]);
    let reader =
        ParquetRecordBatchReader::try_new_with_row_groups(&levels, &group, count, Some(some))?;
    Ok(reader.collect::<Result<Vec<_>, _>>()?)
}

#[test]
fn the_same_rows_come_out() {
    let zstd = Compression::ZSTD(::parquet::basic::ZstdLevel::default());
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for compression in [zstd, Compression::SNAPPY, Compression::UNCOMPRESSED] {
            for dictionary in [false, true] {
                let file = written(version, compression, dictionary);
                let metadata = metadata(&file);
                for (from, count) in [(0, ROWS), (0, 1), (64, 64), (131, 200), (ROWS - 1, 1)] {
                    let builder = ParquetRecordBatchReaderBuilder::try_new(file.clone());
                    let builder = builder.expect("builder").with_batch_size(count);
                    let plain =
                        builder.with_offset(from).with_limit(count).build().expect("reader");
                    let expected: Vec<_> = plain.map(|batch| batch.expect("batch")).collect();
                    let found = read(&file, &metadata, metadata.row_group(0), (from, count));
                    let what = format!("{version:?} {compression:?} {dictionary} {from}+{count}");
                    assert_eq!(found.expect("rows"), expected, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_page_larger_than_its_column_is_refused() {
    let zstd = Compression::ZSTD(::parquet::basic::ZstdLevel::default());
    let file = written(WriterVersion::PARQUET_1_0, zstd, false);
    let metadata = metadata(&file);
    let group = metadata.row_group(0);
    let mut small = group.columns().to_vec();
    small[1] =
        small[1].clone().into_builder().set_total_uncompressed_size(9).build().expect("chunk");
    let small = group.clone().into_builder().set_column_metadata(small).build().expect("group");
    let refused = read(&file, &metadata, &small, (0, ROWS)).expect_err("a page too large");
    assert!(refused.to_string().contains("larger than its column"), "{refused}");
}
