//! Changes over a base: what the new file holds, and what of the old one it copies.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::support::{
    any_table, footer, id, next, payload_row, read_all, row, small_groups, sorted, upserts,
};
use crate::domain::{RecordId, Row, Table};
use crate::parquet::{
    Base, Changes, FileView, Footer, Options, ParquetError, ROWS_PER_GROUP, encode,
};

/// Rows to put and ids to delete.
type Round = (Vec<Row>, HashSet<RecordId>);

fn rounds() -> impl Strategy<Value = (Table, Vec<Round>)> {
    any_table().prop_flat_map(|table| {
        let deletes = proptest::collection::hash_set(0..40_i64, 0..6)
            .prop_map(|ids| ids.into_iter().map(|n| id(&format!("r-{n:02}"))).collect());
        let round = (proptest::collection::vec(row(table), 0..12), deletes);
        (Just(table), proptest::collection::vec(round, 1..6))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn files_hold_what_was_put_and_not_deleted((table, rounds) in rounds()) {
        let mut expected: BTreeMap<RecordId, Row> = BTreeMap::new();
        let mut file: Option<Bytes> = None;
        for (rows, deletes) in rounds {
            for id in &deletes {
                expected.remove(id);
            }
            for row in &rows {
                expected.insert(row.id.clone(), row.clone());
            }
            let changes = Changes { deletes, ..upserts(rows) };
            let encoded = next(table, file.as_ref(), &changes, &small_groups());
            let view = FileView::open(&encoded.bytes).expect("view");
            prop_assert!(view.groups().iter().all(|g| g.rows <= 4));
            prop_assert_eq!(view.table(), Some(table));
            prop_assert_eq!(view.footer(), Some(&footer()));
            prop_assert_eq!(encoded.rows, view.rows());
            prop_assert_eq!(encoded.groups_copied + encoded.groups_encoded, view.groups().len());
            prop_assert_eq!(read_all(&encoded.bytes), sorted(expected.values().cloned().collect()));
            file = Some(encoded.bytes);
        }
    }
}

fn payloads(numbers: impl IntoIterator<Item = i64>) -> Changes {
    upserts(numbers.into_iter().map(payload_row))
}

fn group_slice(bytes: &Bytes, group: usize) -> Bytes {
    let range = FileView::open(bytes).expect("view").group_bytes(group);
    bytes.slice(
        usize::try_from(range.start).expect("start")..usize::try_from(range.end).expect("end"),
    )
}

#[test]
fn untouched_groups_are_copied_as_bytes() {
    let options = Options { rows_per_group: 64, ..Options::default() };
    let first = next(Table::Audiences, None, &payloads(0..640), &options);
    assert_eq!(first.groups_encoded, 10);
    let mut changed = payload_row(200);
    changed.version = 2;
    let second = next(Table::Audiences, Some(&first.bytes), &upserts([changed.clone()]), &options);
    assert_eq!((second.groups_copied, second.groups_encoded), (9, 1));
    for group in 0..10 {
        let same = group_slice(&first.bytes, group) == group_slice(&second.bytes, group);
        assert_eq!(same, group != 3, "group {group}");
    }
    // The copies carry their indexes and filters on: a third file copies them again, and they
    // are those that encoding afresh makes.
    let third = next(Table::Audiences, Some(&second.bytes), &payloads([200]), &options);
    assert_eq!((third.groups_copied, third.groups_encoded), (9, 1));
    let indexes = usize::try_from(FileView::open(&first.bytes).expect("view").indexes().end);
    let indexes = indexes.expect("offset");
    let differs = (0..indexes).find(|at| third.bytes[*at] != first.bytes[*at]);
    assert_eq!(differs, None);
    let mut expected: Vec<Row> = (0..640).map(payload_row).collect();
    expected[200] = changed;
    assert_eq!(read_all(&second.bytes), expected);
}

#[test]
fn appending_leaves_full_groups_alone_and_few_small_ones() {
    let options = Options { rows_per_group: 16, ..Options::default() };
    let mut file: Option<Bytes> = None;
    for number in 0..1000 {
        let encoded = next(Table::Audiences, file.as_ref(), &payloads([number]), &options);
        assert_eq!(encoded.groups_encoded, 1, "append {number}");
        let groups = encoded.groups_copied + 1;
        assert!(groups <= usize::try_from(number).expect("small") / 16 + 6, "append {number}");
        file = Some(encoded.bytes);
    }
    let file = file.expect("file");
    assert_eq!(read_all(&file), (0..1000).map(payload_row).collect::<Vec<_>>());
}

#[test]
fn one_instant_for_all_rows_still_copies() {
    let options = Options { rows_per_group: 16, ..Options::default() };
    let at = payload_row(0).created_at;
    let same_time = |n: i64| {
        let row = payload_row(n);
        row.edit().finish(id(&format!("row-{n:03}")), at, at, 1)
    };
    let first = next(Table::Audiences, None, &upserts((0..160).map(same_time)), &options);
    let changed = same_time(77).edit().finish(id("row-077"), at, at, 2);
    let second = next(Table::Audiences, Some(&first.bytes), &upserts([changed]), &options);
    assert_eq!((second.groups_copied, second.groups_encoded), (9, 1));
    let between = same_time(500).edit().finish(id("row-077b"), at, at, 1);
    let third = next(Table::Audiences, Some(&second.bytes), &upserts([between]), &options);
    assert_eq!(third.groups_copied, 9);
    let rows = read_all(&third.bytes);
    assert_eq!(rows.len(), 161);
    assert!(rows.windows(2).all(|w| w[0].id > w[1].id));
}

#[test]
fn deleting_leaves_no_crumbs() {
    let options = Options { rows_per_group: 16, ..Options::default() };
    let mut file = next(Table::Audiences, None, &payloads(0..320), &options).bytes;
    let kept: Vec<Row> = (0..320).filter(|n| n % 10 == 0).map(payload_row).collect();
    for n in (0..320).filter(|n| n % 10 != 0) {
        let deletes = HashSet::from([payload_row(n).id]);
        let changes = Changes { deletes, ..Changes::default() };
        file = next(Table::Audiences, Some(&file), &changes, &options).bytes;
    }
    assert_eq!(read_all(&file), kept);
    let groups = FileView::open(&file).expect("view").groups().len();
    assert!(groups <= 8, "{groups} groups for 32 rows");
    let deletes = kept.iter().map(|r| r.id.clone()).collect();
    let empty =
        next(Table::Audiences, Some(&file), &Changes { deletes, ..Changes::default() }, &options);
    assert_eq!(empty.rows, 0);
    assert_eq!(read_all(&empty.bytes), []);
    assert_eq!(FileView::open(&empty.bytes).expect("view").footer(), Some(&footer()));
    let again = next(Table::Audiences, Some(&empty.bytes), &payloads([5]), &options);
    assert_eq!(read_all(&again.bytes), [payload_row(5)]);
}

#[test]
fn large_rows_make_small_groups() {
    let options = Options { bytes_per_group: 64 * 1024, ..Options::default() };
    let large = |n: i64| {
        let row = payload_row(n);
        let mut b = row.edit();
        b.set_named("description", crate::domain::Cell::Text(&"x".repeat(20_000)));
        b.finish(row.id.clone(), row.created_at, row.updated_at, 1)
    };
    let first = next(Table::Audiences, None, &upserts((0..40).map(large)), &options);
    let groups = FileView::open(&first.bytes).expect("view").groups().to_vec();
    assert!(groups.iter().all(|g| g.rows <= 3), "{groups:?}");
    let second = next(Table::Audiences, Some(&first.bytes), &upserts([large(40)]), &options);
    assert!(second.groups_encoded <= 2);
    assert_eq!(read_all(&second.bytes), (0..41).map(large).collect::<Vec<_>>());
}

#[test]
fn a_change_of_the_footer_alone_copies_everything() {
    let first = next(Table::Audiences, None, &payloads(0..50), &Options::default());
    let view = FileView::open(&first.bytes).expect("view");
    let base = Base { view: &view, source: &first.bytes };
    let newer = Footer { applied_lsn: 99, ..footer() };
    let options = Options::default();
    let second = encode(Table::Audiences, Some(&base), &Changes::default(), &newer, &options);
    let second = second.expect("encode");
    assert_eq!((second.groups_copied, second.groups_encoded), (1, 0));
    assert_eq!(FileView::open(&second.bytes).expect("view").footer(), Some(&newer));
    assert_eq!(read_all(&second.bytes), read_all(&first.bytes));
}

#[test]
fn another_table_is_no_base() {
    let first = next(Table::Audiences, None, &payloads([1]), &Options::default());
    let view = FileView::open(&first.bytes).expect("view");
    let base = Base { view: &view, source: &first.bytes };
    let result =
        encode(Table::Platforms, Some(&base), &Changes::default(), &footer(), &Options::default());
    assert!(matches!(result, Err(ParquetError::WrongTable { .. })));
}

#[test]
fn of_one_id_the_last_upsert_counts() {
    let older = payload_row(1);
    let mut newer = payload_row(1);
    newer.version = 9;
    let deletes = HashSet::from([newer.id.clone()]);
    let changes = Changes {
        upserts: vec![Arc::new(older), Arc::new(newer.clone())],
        deletes,
        ..Changes::default()
    };
    let encoded = next(Table::Audiences, None, &changes, &Options::default());
    assert_eq!(read_all(&encoded.bytes), [newer]);
    assert_eq!(ROWS_PER_GROUP, Options::default().rows_per_group);
}
