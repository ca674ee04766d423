use super::*;
use crate::domain::{PartitionKey, Table, UserId};
use crate::log::frame::{FrameSize, KeyRef, RecordKind, encode, seal_all};

/// A segment with records of (LSN, synced LSN), and where each begins.
fn segment(records: &[(u64, u64)]) -> (Vec<u8>, Vec<usize>) {
    let key = PartitionKey::whole(&UserId::checked("u").unwrap(), Table::Platforms);
    let mut bytes = vec![0; RECORDS_AT];
    let mut offsets = Vec::new();
    for (lsn, synced) in records {
        let keys = std::iter::once(KeyRef::of(&key));
        let size = FrameSize::of(keys.clone(), 20).0.unwrap();
        let start = bytes.len();
        offsets.push(start);
        encode(&mut bytes, size, Lsn::new(*lsn), RecordKind::Changes, keys, &[9; 20]);
        assert!(seal_all(&mut bytes[start..], Lsn::new(*synced)));
    }
    bytes.resize(bytes.len() + 500, 0);
    (bytes, offsets)
}

fn run(bytes: &[u8]) -> Scan {
    scan(bytes, Lsn::new(1), |_, _| Ok(()))
}

#[test]
fn reads_to_the_zeros() {
    let (bytes, offsets) = segment(&[(1, 0), (2, 1), (3, 1)]);
    let found = run(&bytes);
    assert_eq!((found.last, found.synced, found.records), (Lsn::new(3), Lsn::new(1), 3));
    assert_eq!(found.end, offsets[2] + (offsets[1] - offsets[0]));
    assert_eq!(found.fault, None);
}

#[test]
fn every_cut_is_a_torn_tail() {
    let (bytes, offsets) = segment(&[(1, 0), (2, 0), (3, 0)]);
    let end = run(&bytes).end;
    for len in 0..end {
        let found = run(&bytes[..len]);
        let whole = offsets.iter().chain([&end]).filter(|at| **at <= len).count().max(1) - 1;
        assert_eq!(found.records, whole as u64, "cut at {len}");
        assert!(found.fault.is_none_or(|fault| fault.proof.is_none() && fault.what.is_damage()));
    }
}

#[test]
fn a_later_record_proves_what_was_durable() {
    // Records 2 and 3 went out in one batch; 4 in the next, when 3 was durable.
    let (bytes, offsets) = segment(&[(1, 0), (2, 1), (3, 1), (4, 3)]);
    for at in offsets[1]..offsets[3] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let fault = run(&damaged).fault.expect("a fault");
        assert_eq!(fault.proof, Some(Lsn::new(4)), "byte {at}");
    }
    let mut zeroed = bytes.clone();
    zeroed[offsets[1]..offsets[2]].fill(0);
    assert_eq!(run(&zeroed).fault.expect("a fault").proof, Some(Lsn::new(4)), "lost as zeros");
}

#[test]
fn a_record_of_the_same_batch_proves_nothing() {
    let (mut bytes, offsets) = segment(&[(1, 0), (2, 1), (3, 1)]);
    bytes[offsets[1]..offsets[2]].fill(0);
    let found = run(&bytes);
    assert_eq!((found.last, found.end), (Lsn::new(1), offsets[1]));
    let fault = found.fault.expect("a fault");
    assert_eq!(fault.proof, None);
    assert!(fault.dirty_end > offsets[2], "record 3 must be cut too");
}

#[test]
fn a_record_of_another_place_is_a_fault() {
    let (bytes, _) = segment(&[(1, 0), (5, 1)]);
    let found = run(&bytes);
    assert_eq!(found.last, Lsn::new(1));
    assert_eq!(found.fault.expect("a fault").what, FaultKind::OtherLsn(Lsn::new(5)));
}

#[test]
fn stale_records_far_ahead_prove_nothing() {
    // No segment of this size can hold an LSN so far from the one missing.
    let (bytes, _) = segment(&[(1, 0), (5000, 4999)]);
    assert_eq!(run(&bytes).fault.expect("a fault").proof, None);
}

#[test]
fn a_visitor_can_refuse() {
    let (bytes, offsets) = segment(&[(1, 0), (2, 0)]);
    let found = scan(&bytes, Lsn::new(1), |at, _| {
        if at == offsets[1] { Err(FrameError::Malformed("no")) } else { Ok(()) }
    });
    assert_eq!(found.records, 1);
    assert!(!found.fault.expect("a fault").what.is_damage());
}
