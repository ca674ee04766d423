use super::*;
use crate::domain::Month;

fn user(name: &str) -> UserId {
    UserId::checked(name).unwrap()
}

fn monthly(name: &str, month: u8) -> PartitionKey {
    PartitionKey::monthly(&user(name), Table::Audiences, Month::new(2025, month).unwrap())
}

fn at(lsn: u64) -> Location {
    Location::new(Lsn::new(lsn), 64, 40)
}

fn push(index: &mut Index, key: &PartitionKey, lsn: u64) -> bool {
    let number = index.intern(key);
    index.push(number, at(lsn))
}

fn lsns(index: &Index, key: &PartitionKey) -> Vec<u64> {
    index.unpublished(key).iter().map(|at| at.lsn().get()).collect()
}

#[test]
fn an_entry_is_small() {
    assert_eq!(size_of::<Location>(), 16);
}

#[test]
fn publishing_drops_a_prefix() {
    let mut index = Index::default();
    let key = monthly("a", 1);
    for lsn in [3, 5, 9] {
        assert!(push(&mut index, &key, lsn));
    }
    assert!(!push(&mut index, &key, 9), "a record that names a partition twice");
    let mut dropped = Vec::new();
    index.publish(&key, Lsn::new(5), |lsn| dropped.push(lsn.get()));
    assert_eq!((dropped, lsns(&index, &key)), (vec![3, 5], vec![9]));
    index.publish(&key, Lsn::new(9), |_| {});
    assert_eq!((index.streams(), index.entries(), index.partitions_held()), (0, 0, 0));
}

#[test]
fn streams_live_by_handle_or_entry() {
    let mut index = Index::default();
    let (a, b) = (monthly("a", 1), monthly("b", 1));
    let number = index.intern(&a);
    index.acquire(number);
    index.acquire(number);
    push(&mut index, &a, 1);
    index.release(number);
    index.publish(&a, Lsn::new(1), |_| {});
    assert_eq!(index.streams(), 1, "one handle is left");
    index.release(number);
    assert_eq!(index.streams(), 0);
    assert_eq!(index.intern(&b), number, "numbers are used again");
}

#[test]
fn ranges_by_user_and_table() {
    let mut index = Index::default();
    let whole = PartitionKey::whole(&user("b"), Table::Platforms);
    for (lsn, key) in
        [monthly("b", 2), monthly("b", 1), monthly("a", 1), monthly("bb", 1), whole.clone()]
            .iter()
            .enumerate()
    {
        push(&mut index, key, lsn as u64 + 1);
    }
    index.intern(&monthly("b", 7));
    assert_eq!(index.partitions(&user("b"), Table::Audiences), [monthly("b", 1), monthly("b", 2)]);
    let platforms = index.partitions(&user("b"), Table::Platforms);
    assert_eq!(platforms, std::slice::from_ref(&whole));
    index.forget_user(&user("b"), Lsn::new(5), |_| {});
    assert_eq!(index.partitions(&user("b"), Table::Audiences), []);
    assert_eq!(lsns(&index, &whole), [5], "an entry above the erasure stays");
    assert_eq!(lsns(&index, &monthly("bb", 1)), [4]);
}

#[test]
fn the_oldest_come_first() {
    let mut index = Index::default();
    let (a, b, c) = (monthly("a", 1), monthly("b", 1), monthly("c", 1));
    for (key, lsn) in [(&b, 1), (&a, 2), (&b, 3), (&c, 3)] {
        push(&mut index, key, lsn);
    }
    assert_eq!(index.oldest(9), [b.clone(), a.clone(), c.clone()]);
    index.publish(&b, Lsn::new(1), |_| {});
    assert_eq!(index.oldest(1), std::slice::from_ref(&a));
    assert_eq!(index.oldest(9).len(), 3);
}

#[test]
fn rewinding_drops_a_suffix() {
    let mut index = Index::default();
    let (a, b) = (monthly("a", 1), monthly("b", 1));
    for (key, lsn) in [(&a, 1), (&a, 2), (&b, 3), (&a, 4)] {
        push(&mut index, key, lsn);
    }
    let mut dropped = Vec::new();
    index.rewind(Lsn::new(1), |lsn| dropped.push(lsn.get()));
    dropped.sort_unstable();
    assert_eq!(dropped, [2, 3, 4]);
    assert_eq!((lsns(&index, &a), lsns(&index, &b)), (vec![1], vec![]));
    assert_eq!(index.oldest(9), [a]);
}
