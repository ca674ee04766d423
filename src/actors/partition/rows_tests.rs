use proptest::prelude::*;

use super::super::scan::{Progress, Scan};
use super::*;
use crate::domain::{Cell, Filter, Month, Table, UserId};

fn key() -> PartitionKey {
    let user = UserId::checked("u").expect("user");
    PartitionKey::monthly(&user, Table::Audiences, Month::new(1970, 1).expect("month"))
}

fn row(id: &str, at: i64, name: &str) -> Arc<Row> {
    let mut builder = Row::build(Table::Audiences);
    builder.set_named("name", Cell::Text(name));
    let id = RecordId::checked(id).expect("id");
    Arc::new(builder.finish(id, Micros::new(at), Micros::new(at), 1))
}

fn sorted(mut rows: Vec<Arc<Row>>) -> Vec<Arc<Row>> {
    rows.sort_by(|a, b| (a.created_at, &b.id).cmp(&(b.created_at, &a.id)));
    rows
}

/// Rows split into unloaded groups, and the groups themselves to be given when asked for.
fn base(rows: Vec<Arc<Row>>, size: usize) -> (Rows, Vec<GroupRows>) {
    let rows = sorted(rows);
    let chunks: Vec<GroupRows> = rows.chunks(size.max(1)).map(GroupRows::from).collect();
    let groups = chunks.iter().map(|c| Group::unloaded(c[0].created_at, c[c.len() - 1].created_at));
    (Rows::new(key(), groups.collect(), rows.len() as u64), chunks)
}

fn provide(rows: &mut Rows, chunks: &[GroupRows], need: &Need) {
    let generation = rows.generation();
    match need {
        Need::Group { index, .. } => {
            rows.install_group(generation, *index, Arc::clone(&chunks[*index]));
        }
        Need::ForeignIds => {
            let ids: Vec<Vec<RecordId>> =
                chunks.iter().map(|c| c.iter().map(|r| r.id.clone()).collect()).collect();
            rows.install_ids(generation, &ids);
        }
    }
}

fn walk(rows: &mut Rows, chunks: &[GroupRows], mut scan: Scan) -> (Vec<String>, usize) {
    let mut reads = 0;
    loop {
        match scan.advance(rows) {
            Progress::Need(need) => {
                reads += 1;
                provide(rows, chunks, &need);
            }
            _ => return (scan.found.iter().map(|r| r.id.to_string()).collect(), reads),
        }
    }
}

#[test]
fn a_page_reads_only_the_groups_it_needs() {
    let all = (0..100).map(|i| row(&format!("r{i:03}"), i, "n")).collect();
    let (mut rows, chunks) = base(all, 10);
    let (ids, reads) =
        walk(&mut rows, &chunks, Scan::new(Filter::default(), None, 5, usize::MAX, None));
    assert_eq!((ids.first().map(String::as_str), ids.len(), reads), (Some("r099"), 5, 1));
    let mut old = Filter::default();
    old.before(Micros::new(10));
    let (ids, reads) = walk(&mut rows, &chunks, Scan::new(old, None, 50, usize::MAX, None));
    assert_eq!((ids.len(), reads), (10, 1));
}

/// Groups read for the walk alone are not kept: each must be asked for once.
#[test]
fn a_walk_over_some_columns_reads_each_group_once() {
    let mut all: Vec<_> = (0..30).map(|i| row(&format!("r{i:03}"), i / 4, "n")).collect();
    all.extend((30..35).map(|i| row(&format!("r{i:03}"), i, "n")));
    let (mut rows, chunks) = base(all, 5);
    let mut scan = Scan::new(Filter::default(), None, 100, usize::MAX, Some(vec![0]));
    for reads in 0.. {
        let Progress::Need(Need::Group { index, .. }) = scan.advance(&mut rows) else {
            assert_eq!((reads, scan.found.len()), (7, 35));
            return;
        };
        assert!(reads < 7, "group {index} is asked for again");
        scan.take_group(rows.generation(), index, Arc::clone(&chunks[index]));
    }
}

/// What a walk found before the log took changes back may be what it took back.
#[test]
fn a_walk_that_waits_over_a_rollback_begins_anew() {
    let saved: Vec<_> = (0..4).map(|i| row(&format!("r{i}"), i, "n")).collect();
    let (mut before, _) = base(saved.clone(), 2);
    let refused = row("refused", 9, "n");
    before.apply(&refused.id.clone(), Some(refused), 7);
    let mut scan = Scan::new(Filter::default(), None, 10, usize::MAX, None);
    scan.go_on_in(1);
    assert!(matches!(scan.advance(&mut before), Progress::Need(_)));
    assert_eq!(scan.found.len(), 1, "the new row comes before what must be read");

    let (mut after, chunks) = base(saved, 2);
    scan.go_on_in(2);
    let (ids, _) = walk(&mut after, &chunks, scan);
    assert_eq!(ids, ["r3", "r2", "r1", "r0"]);
}

#[test]
fn unsaved_rows_newer_than_the_file_need_no_read() {
    let (mut rows, chunks) = base((0..10).map(|i| row(&format!("r{i}"), i, "n")).collect(), 10);
    for i in 20..25 {
        let new = row(&format!("n{i}"), i, "n");
        rows.apply(&new.id.clone(), Some(new), 1);
    }
    let (ids, reads) =
        walk(&mut rows, &chunks, Scan::new(Filter::default(), None, 5, usize::MAX, None));
    assert_eq!((ids[0].as_str(), ids.len(), reads), ("n24", 5, 0));
}

#[test]
fn lookups_read_the_one_group_that_can_hold_the_id() {
    let made: Vec<_> = (0..40_i64)
        .map(|i| {
            let at = Micros::new(i * 1000);
            let id = RecordId::made(Table::Audiences, at, [u8::try_from(i).expect("small"); 10]);
            row(id.as_str(), i * 1000, "n")
        })
        .collect();
    let (rows, chunks) = base(made.clone(), 10);
    let mut rows = Rows { foreign: Some(HashMap::new()), ..rows };
    assert!(matches!(rows.lookup(&made[25].id), Lookup::Need(Need::Group { index: 2, .. })));
    provide(&mut rows, &chunks, &Need::Group { index: 2, columns: None });
    assert!(matches!(rows.lookup(&made[25].id), Lookup::Found(r) if r.id == made[25].id));
    let brought = RecordId::checked("brought").expect("id");
    assert!(matches!(rows.lookup(&brought), Lookup::Absent));
    rows.evict_groups(0);
    assert!(matches!(rows.lookup(&made[25].id), Lookup::Need(_)));
}

#[test]
fn an_id_that_tells_another_instant_than_its_row_is_found_through_the_index() {
    let made = |at: i64| RecordId::made(Table::Audiences, Micros::new(at), [7; 10]);
    // Made at 35 ms, it says; saved as of 5 ms. The others tell the truth.
    let mut all = vec![row(made(35_000).as_str(), 5_000, "astray")];
    all.extend((10..40_i64).map(|ms| {
        let id = RecordId::made(Table::Audiences, Micros::new(ms * 1000), [1; 10]);
        row(id.as_str(), ms * 1000, "n")
    }));
    let astray = Arc::clone(&all[0]);
    let (rows, chunks) = base(all.clone(), 10);
    assert!(rows.is_astray(&astray) && !rows.is_astray(&all[1]));
    let mut rows = Rows { foreign: None, ..rows };
    for _ in 0..4 {
        match rows.lookup(&astray.id) {
            Lookup::Found(found) => return assert_eq!(found, astray),
            Lookup::Absent => panic!("lost"),
            Lookup::Need(need) => provide(&mut rows, &chunks, &need),
        }
    }
    panic!("asks for more than there is");
}

#[test]
fn what_was_read_for_an_older_file_is_not_taken() {
    let (mut rows, chunks) = base(vec![row("a", 1, "n")], 1);
    let generation = rows.generation();
    rows.install_base(vec![Group::unloaded(Micros::new(5), Micros::new(5))], 1);
    rows.install_group(generation, 0, Arc::clone(&chunks[0]));
    assert!(rows.groups()[0].loaded.is_none());
}

proptest! {
    /// Any mix of saved rows, frozen and active changes, page sizes and group sizes lists what a
    /// plain map would.
    #[test]
    fn lists_equal_a_model(
        saved in proptest::collection::btree_map("[a-f]{1,2}", 0_i64..20, 0..30),
        first in proptest::collection::vec(("[a-f]{1,2}", any::<bool>()), 0..20),
        second in proptest::collection::vec(("[a-f]{1,2}", any::<bool>()), 0..20),
        size in 1_usize..7, page in 1_usize..9, thaw in any::<bool>(),
    ) {
        let mut model: std::collections::BTreeMap<String, (i64, String)> =
            saved.iter().map(|(id, at)| (id.clone(), (*at, "saved".to_owned()))).collect();
        let (mut rows, chunks) = base(saved.iter().map(|(id, at)| row(id, *at, "saved")).collect(), size);
        let mut lsn = 0;
        for (stage, changes) in [("first", &first), ("second", &second)] {
            for (id, delete) in changes {
                lsn += 1;
                let at = model.get(id).map_or(i64::try_from(id.len()).expect("small") * 7, |m| m.0);
                let record = RecordId::checked(id).expect("id");
                if *delete {
                    model.remove(id);
                    rows.apply(&record, None, lsn);
                } else {
                    model.insert(id.clone(), (at, stage.to_owned()));
                    rows.apply(&record, Some(row(id, at, stage)), lsn);
                }
            }
            if stage == "first" {
                rows.freeze();
            }
        }
        if thaw {
            rows.unfreeze();
        }
        let mut expected: Vec<_> = model.iter().map(|(id, (at, _))| (-at, id.clone())).collect();
        expected.sort();
        let mut seen: Vec<String> = Vec::new();
        let mut place = None;
        loop {
            let mut scan = Scan::new(Filter::default(), place.clone(), page, usize::MAX, None);
            let end = loop {
                match scan.advance(&mut rows) {
                    Progress::Need(need) => provide(&mut rows, &chunks, &need),
                    end => break end,
                }
            };
            for found in &scan.found {
                prop_assert_eq!(found.text("name"), Some(model[found.id.as_str()].1.as_str()));
                place = Some(Position::of(found));
                seen.push(found.id.to_string());
            }
            if end == Progress::End { break }
            prop_assert!(seen.len() <= expected.len());
        }
        let expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
        prop_assert_eq!(seen, expected);
        for id in saved.keys().chain(first.iter().map(|(id, _)| id)) {
            let record = RecordId::checked(id).expect("id");
            let found = loop {
                match rows.lookup(&record) {
                    Lookup::Need(need) => provide(&mut rows, &chunks, &need),
                    Lookup::Found(row) => break row.text("name").map(str::to_owned),
                    Lookup::Absent => break None,
                }
            };
            prop_assert_eq!(found, model.get(id).map(|m| m.1.clone()));
        }
    }
}
