//! Parts of a file: columns, rows, ids, filters; and what a file is not.

use std::io;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;
use proptest::prelude::*;

use super::support::{any_table, id, next, payload_row, read_all, row, small_groups, upserts};
use crate::domain::{Cell, Kind, RecordId, Row, Table};
use crate::parquet::{
    Fetched, FileView, Options, ParquetError, RangeSource, decode_group, decode_rows, find_record,
    may_contain, read_ids,
};

/// Remembers how many bytes were read.
struct Counting {
    file: Bytes,
    read: Mutex<u64>,
}

impl RangeSource for Counting {
    fn len(&self) -> u64 {
        RangeSource::len(&self.file)
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        *self.read.lock().expect("lock") += range.end - range.start;
        RangeSource::read(&self.file, range)
    }
}

fn file_of(rows: i64, options: &Options) -> (Bytes, FileView) {
    let bytes = next(Table::Audiences, None, &upserts((0..rows).map(payload_row)), options).bytes;
    let view = FileView::open(&bytes).expect("view");
    (bytes, view)
}

#[test]
fn a_projection_reads_its_columns_and_no_others() {
    let (bytes, view) = file_of(300, &Options::default());
    let spec = Table::Audiences.spec();
    let name = spec.column("name").expect("column").0;
    let status = spec.column("status").expect("column").0;
    let wanted = [status, name];
    let ranges = view.column_ranges(0, Some(&wanted));
    let some: u64 = ranges.iter().map(|r| r.end - r.start).sum();
    let all: u64 = view.column_ranges(0, None).iter().map(|r| r.end - r.start).sum();
    assert!(some * 4 < all * 3, "{some} of {all} bytes");
    let fetched = Fetched::read(&bytes, ranges).expect("ranges");
    let rows = decode_group(&view, 0, &fetched, Some(&wanted)).expect("rows");
    for (number, row) in rows.iter().enumerate() {
        let whole = payload_row(i64::try_from(number).expect("number"));
        assert_eq!((&row.id, row.created_at, row.version), (&whole.id, whole.created_at, 1));
        for index in 0..spec.columns.len() {
            let expected = if wanted.contains(&index) { whole.cell(index) } else { Cell::Null };
            assert_eq!(row.cell(index), expected);
        }
    }
    assert!(matches!(decode_group(&view, 0, &fetched, None), Err(ParquetError::Corrupt { .. })));
}

#[test]
fn rows_of_a_group_can_be_read_alone() {
    let (bytes, view) = file_of(1000, &Options::default());
    let fetched = Fetched::read(&bytes, [view.group_bytes(0)]).expect("group");
    for range in [0..1, 255..257, 950..1000, 999..2000, 0..usize::MAX, 5..5] {
        let rows = decode_rows(&view, 0, &fetched, None, range.clone()).expect("rows");
        let end = range.end.min(1000);
        let expected: Vec<Row> =
            (range.start..end).map(|n| payload_row(i64::try_from(n).expect("n"))).collect();
        assert_eq!(rows, expected, "{range:?}");
    }
}

#[test]
fn bloom_filters_know_their_ids_and_few_others() {
    let (bytes, view) = file_of(2000, &Options::default());
    let mut false_positives = 0;
    for (group, info) in view.groups().iter().enumerate() {
        let range = info.bloom.clone().expect("bloom filter");
        assert!(range.end - range.start < 3000, "{range:?}");
        let bloom = RangeSource::read(&bytes, range).expect("bytes");
        let ids = Fetched::read(&bytes, view.column_ranges(group, Some(&[]))).expect("ids");
        for id in read_ids(&view, group, &ids).expect("ids") {
            assert!(may_contain(&view, group, &id, &bloom).expect("filter"));
        }
        for number in 0..1000 {
            let stranger = id(&format!("stranger-{number}"));
            false_positives +=
                usize::from(may_contain(&view, group, &stranger, &bloom).expect("filter"));
        }
    }
    assert!(false_positives < 60, "{false_positives} of 2000");
}

#[test]
fn a_point_read_finds_one_row_and_reads_little() {
    let options = Options { rows_per_group: 256, ..Options::default() };
    let (bytes, view) = file_of(10_000, &options);
    let counting = Counting { file: bytes.clone(), read: Mutex::new(0) };
    for number in [0, 4321, 9999] {
        let row = payload_row(number);
        assert_eq!(find_record(&view, &counting, &row.id).expect("find"), Some(row));
    }
    assert_eq!(find_record(&view, &counting, &id("nobody")).expect("find"), None);
    let read = *counting.read.lock().expect("lock");
    assert!(read < bytes.len() as u64, "{read} bytes of {}", bytes.len());
}

#[test]
fn opening_reads_the_end_alone() {
    let (bytes, _) = file_of(10_000, &Options::default());
    let counting = Counting { file: bytes.clone(), read: Mutex::new(0) };
    let view = FileView::open(&counting).expect("view");
    assert!(view.is_ours() && !view.is_empty());
    assert_eq!(view.len(), bytes.len() as u64);
    assert!(*counting.read.lock().expect("lock") <= 64 * 1024);
    let times: Vec<_> = view.groups().iter().map(|g| (g.created_min, g.created_max)).collect();
    assert_eq!(times[0].0, payload_row(0).created_at);
    assert_eq!(times[times.len() - 1].1, payload_row(9999).created_at);
    assert!(times.windows(2).all(|w| w[0].1 < w[1].0));
}

#[test]
fn a_foreign_file_is_told_apart() {
    let path = "tests/fixtures/legacy-tree/platforms/user_id=demo_user/platforms.parquet";
    let bytes = super::super::legacy::fixture(path);
    let view = FileView::open(&bytes).expect("view");
    assert!(!view.is_ours());
    assert_eq!((view.rows(), view.groups().len(), view.table()), (1, 0, None));
    let fetched = Fetched::part(0, bytes.clone());
    assert!(matches!(decode_group(&view, 0, &fetched, None), Err(ParquetError::Foreign)));
    assert!(matches!(find_record(&view, &bytes, &id("x")), Ok(None)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_projection_of_any_table((table, rows, mask) in any_table().prop_flat_map(|t| {
        (Just(t), proptest::collection::vec(row(t), 1..10), any::<u32>())
    })) {
        let bytes = next(table, None, &upserts(rows), &small_groups()).bytes;
        let view = FileView::open(&bytes).expect("view");
        let columns = table.spec().columns;
        let wanted: Vec<usize> = (0..columns.len()).filter(|i| mask & (1 << i) != 0).collect();
        let mut seen: Vec<Row> = Vec::new();
        for group in 0..view.groups().len() {
            let ranges = view.column_ranges(group, Some(&wanted));
            let fetched = Fetched::read(&bytes, ranges).expect("ranges");
            seen.extend(decode_group(&view, group, &fetched, Some(&wanted)).expect("rows"));
            let ids: Vec<RecordId> = read_ids(&view, group, &fetched).expect("ids");
            let tail: Vec<RecordId> = seen[seen.len() - ids.len()..].iter().map(|r| r.id.clone()).collect();
            prop_assert_eq!(ids, tail);
        }
        for (part, whole) in seen.iter().zip(read_all(&bytes)) {
            prop_assert_eq!(&part.id, &whole.id);
            for (index, column) in columns.iter().enumerate() {
                let there = wanted.contains(&index);
                prop_assert_eq!(part.cell(index), if there { whole.cell(index) } else { Cell::Null });
                if matches!(column.kind, Kind::Sealed) {
                    prop_assert_eq!(part.sealed(), if there { whole.sealed() } else { None });
                }
            }
        }
    }
}
