//! The format: what a file declares to other readers, files of older and newer versions, and
//! committed files that every later version must read.

use std::fmt::Write;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, Encoding};
use ::parquet::file::metadata::{KeyValue, RowGroupMetaData, SortingColumn};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use serde_json::Value;

use super::support::{footer, id, next, payload_row, read_all, upserts};
use crate::domain::{Cell, Kind, Micros, Row, Table};
use crate::parquet::legacy::fixture;
use crate::parquet::{FileView, Options, ParquetError, arrow_schema, checksums, columns};

#[test]
fn other_readers_find_order_indexes_and_filters() {
    let changes = upserts((0..1500).map(payload_row));
    let bytes = next(Table::Audiences, None, &changes, &Options::default()).bytes;
    let view = FileView::open(&bytes).expect("view");
    let sorting =
        |column_idx, descending| SortingColumn { column_idx, descending, nulls_first: false };
    for group in view.metadata().row_groups() {
        assert_eq!(group.sorting_columns(), Some(&vec![sorting(4, false), sorting(0, true)]));
        for (chunk, column) in group.columns().iter().zip(Table::Audiences.spec().columns) {
            let small = chunk.uncompressed_size() < 1000;
            match chunk.compression() {
                Compression::ZSTD(_) => {}
                Compression::UNCOMPRESSED => assert!(small, "{}", column.name),
                other => panic!("{other:?}"),
            }
            assert!(chunk.offset_index_range().is_some());
            let selects = !matches!(column.kind, Kind::Json(_) | Kind::Extra | Kind::Sealed);
            assert_eq!(chunk.statistics().is_some(), selects, "{}", column.name);
            assert_eq!(chunk.column_index_range().is_some(), selects, "{}", column.name);
            assert_eq!(chunk.bloom_filter_offset().is_some(), matches!(column.kind, Kind::Id));
            let known = [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY];
            assert!(chunk.encodings().all(|e| known.contains(&e)), "{}", column.name);
        }
    }
}

#[test]
fn little_is_said_about_few_rows() {
    for (rows, most) in [(1, 4_800), (10, 6_000), (31, 8_000)] {
        let changes = upserts((0..rows).map(payload_row));
        let bytes = next(Table::Audiences, None, &changes, &Options::default()).bytes;
        assert!(bytes.len() < most, "{rows} rows take {}", bytes.len());
        let view = FileView::open(&bytes).expect("view");
        let [group] = view.metadata().row_groups() else { panic!("{rows} rows: one group") };
        for (chunk, column) in group.columns().iter().zip(Table::Audiences.spec().columns) {
            let bounded = matches!(column.kind, Kind::CreatedAt | Kind::UpdatedAt);
            assert_eq!(chunk.statistics().is_some(), bounded, "{}", column.name);
            let none = [
                chunk.column_index_offset(),
                chunk.offset_index_offset(),
                chunk.bloom_filter_offset(),
            ];
            assert_eq!(none, [None; 3], "{}", column.name);
            assert_eq!(chunk.dictionary_page_offset(), None, "{}", column.name);
        }
    }
}

#[test]
fn one_page_needs_no_index() {
    let changes = upserts((0..100).map(payload_row));
    let bytes = next(Table::Audiences, None, &changes, &Options::default()).bytes;
    let view = FileView::open(&bytes).expect("view");
    let [group] = view.metadata().row_groups() else { panic!("one group") };
    for (chunk, column) in group.columns().iter().zip(Table::Audiences.spec().columns) {
        let selects = !matches!(column.kind, Kind::Json(_) | Kind::Extra | Kind::Sealed);
        assert_eq!(chunk.statistics().is_some(), selects, "{}", column.name);
        assert_eq!(chunk.bloom_filter_offset().is_some(), matches!(column.kind, Kind::Id));
        assert_eq!(chunk.offset_index_offset(), None, "{}", column.name);
    }
}

#[test]
fn groups_with_and_without_indexes_are_copied_side_by_side() {
    let all = |to: i64| (0..to).map(payload_row).collect::<Vec<_>>();
    let large = next(Table::Audiences, None, &upserts(all(1500)), &Options::default()).bytes;
    let few = upserts((1500..1505).map(payload_row));
    let both = next(Table::Audiences, Some(&large), &few, &Options::default());
    assert_eq!((both.groups_copied, both.groups_encoded), (2, 1));
    let first = payload_row(0);
    let changed = first.edit().finish(first.id.clone(), first.created_at, first.updated_at, 2);
    let last = next(Table::Audiences, Some(&both.bytes), &upserts([changed]), &Options::default());
    assert_eq!((last.groups_copied, last.groups_encoded), (2, 1));
    let view = FileView::open(&last.bytes).expect("view");
    let indexed = |group: &RowGroupMetaData| {
        group.columns().iter().all(|c| c.offset_index_offset().is_some())
    };
    let found: Vec<bool> = view.metadata().row_groups().iter().map(indexed).collect();
    assert_eq!(found, [true, true, false]);
    let rows = read_all(&last.bytes);
    assert_eq!(rows.first().map(|row| row.version), Some(2));
    assert_eq!(
        rows[1..].iter().map(render).collect::<Vec<_>>(),
        all(1505)[1..].iter().map(render).collect::<Vec<_>>()
    );
}

/// A file that another version of this store might have written: the table's columns without the
/// last `lacking`, with `added` behind them.
fn other_version(rows: &[Row], lacking: usize, added: &[&str]) -> Bytes {
    let table = Table::Audiences;
    let rows: Vec<Arc<Row>> = rows.iter().cloned().map(Arc::new).collect();
    let schema = arrow_schema(table);
    let keep = schema.fields().len() - lacking;
    let mut fields: Vec<Field> =
        schema.fields()[..keep].iter().map(|f| f.as_ref().clone()).collect();
    let mut arrays = columns::arrays(table, &footer().user, &rows);
    arrays.truncate(keep);
    for name in added {
        fields.push(Field::new(*name, arrow::datatypes::DataType::Int64, true));
        arrays.push(Arc::new(Int64Array::from(vec![1; rows.len()])) as ArrayRef);
    }
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("batch");
    let properties = WriterProperties::builder().set_created_by("audience-store 9".to_owned());
    let mut out = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut out, batch.schema(), Some(properties.build())).expect("writer");
    writer.write(&batch).expect("write");
    for pair in footer().to_pairs(table) {
        writer.append_key_value_metadata(pair);
    }
    let sums = checksums::placeholder(1, batch.num_columns());
    writer.append_key_value_metadata(KeyValue::new(checksums::KEY.to_owned(), sums));
    let metadata = writer.close().expect("close");
    checksums::seal(&mut out, &metadata).expect("seal");
    out.into()
}

#[test]
fn a_file_with_unknown_columns_is_refused() {
    let bytes = other_version(&[payload_row(0)], 0, &["mood"]);
    match FileView::open(&bytes) {
        Err(ParquetError::NewerSchema { what }) => assert!(what.contains("mood"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_lacks_columns_is_read_and_rewritten() {
    let rows: Vec<Row> = (0..3).map(payload_row).collect();
    let bytes = other_version(&rows, 1, &[]);
    let without_extra: Vec<Row> = rows
        .iter()
        .map(|row| {
            let mut b = row.edit();
            b.set_named("extra", Cell::Null);
            b.finish(row.id.clone(), row.created_at, row.updated_at, row.version)
        })
        .collect();
    let shown = |rows: &[Row]| rows.iter().map(render).collect::<Vec<_>>();
    assert_eq!(shown(&read_all(&bytes)), shown(&without_extra));
    let changes = upserts([payload_row(3)]);
    let encoded = next(Table::Audiences, Some(&bytes), &changes, &Options::default());
    assert_eq!(encoded.groups_copied, 0);
    let mut expected = shown(&without_extra);
    expected.push(render(&payload_row(3)));
    assert_eq!(shown(&read_all(&encoded.bytes)), expected);
}

fn render(row: &Row) -> Value {
    let mut out = String::new();
    let hex = |sealed: &[u8], out: &mut String| {
        let _ = write!(out, "\"{sealed:02x?}\"");
    };
    row.render(&footer().user, None, &hex, &mut out);
    serde_json::from_str(&out).expect(&out)
}

/// Three rows of a table, one full, one with the edges of each type, one with nothing.
fn samples(table: Table) -> Vec<Row> {
    let mut full = Row::build(table);
    let mut edges = Row::build(table);
    for (index, column) in table.spec().columns.iter().enumerate() {
        let mut set = |some: Cell<'_>, edge: Cell<'_>| {
            full.set(index, some);
            edges.set(index, edge);
        };
        match column.kind {
            Kind::Text => set(Cell::Text("a \"b\" ünï 旅"), Cell::Text("")),
            Kind::Enum(values) => set(Cell::Text(values[0]), Cell::Text("unknown")),
            Kind::Timestamp => {
                set(Cell::Time(Micros::new(1_748_600_000_123_456)), Cell::Time(Micros::new(-1)));
            }
            Kind::Int64 => set(Cell::Int(67_842), Cell::Int(i64::MAX)),
            Kind::Double => set(Cell::Double(0.72), Cell::Double(-0.0)),
            Kind::TextList { numbers: true } => {
                set(Cell::Json(r#"[0,1.50,"1","\"q\"","x"]"#), Cell::Json("[]"));
            }
            Kind::TextList { numbers: false } => {
                set(Cell::Json(r#"["AGE_18_24","1","\"q\""]"#), Cell::Json("[]"));
            }
            Kind::Json(_) | Kind::Extra => {
                set(Cell::Json(r#"{"a":[1.0,{"b":null}],"c":"旅"}"#), Cell::Json("{}"));
            }
            _ => {}
        }
    }
    if table == Table::Platforms {
        full.set_sealed(Some(Box::from(&[0_u8, 1, 255][..])));
        edges.set_sealed(Some(Box::from(&[][..])));
    }
    let at = |n: i64| Micros::new(1_748_600_000_000_000 + n);
    vec![
        full.finish(id("full-1"), at(1), at(2), 3),
        edges.finish(id("edges_2"), at(1), at(1), i64::MAX),
        Row::build(table).finish(id("nothing"), at(0), at(5), 1),
    ]
}

#[test]
fn files_of_version_1_are_read() {
    for table in Table::ALL {
        let bytes = fixture(&format!("tests/fixtures/parquet-v1/{table}.parquet"));
        let expected = fixture(&format!("tests/fixtures/parquet-v1/{table}.json"));
        let expected: Value = serde_json::from_slice(&expected).expect("json");
        let view = FileView::open(&bytes).expect("view");
        assert_eq!((view.table(), view.footer()), (Some(table), Some(&footer())));
        let rows: Vec<Value> = read_all(&bytes).iter().map(render).collect();
        let expected = expected.as_array().expect("rows");
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            // Field by field: columns that came later are null in such a row.
            for (name, value) in expected.as_object().expect("row") {
                assert_eq!(&row[name], value, "{table}.{name}");
            }
        }
        // It can be built upon.
        let more = samples(table)
            .into_iter()
            .map(|r| r.edit().finish(id(&format!("more-{}", r.id)), r.created_at, r.updated_at, 1));
        assert_eq!(next(table, Some(&bytes), &upserts(more), &Options::default()).rows, 6);
    }
}
