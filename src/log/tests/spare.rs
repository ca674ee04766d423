//! Segments made ready beside the log: when, what becomes of them, and that nothing depends on
//! them.

use super::*;
use crate::env::{Turn, Worker};
use crate::log::spare::SPARE;

fn make_all(bed: &mut Bed) {
    while bed.maker.step() == Turn::Again {}
}

fn has_spare(bed: &Bed) -> bool {
    bed.fs.names().iter().any(|name| name == SPARE)
}

/// Fills a segment of 1 KiB to three quarters and lets a spare be made.
fn nearly_full() -> Bed {
    let mut bed = new_bed();
    make_all(&mut bed);
    assert!(!has_spare(&bed), "none for a log that holds little");
    for _ in 0..3 {
        bed.put(&platforms("u"), &[7; 217]);
        make_all(&mut bed);
    }
    bed.put(&platforms("u"), &[7; 89]);
    make_all(&mut bed);
    assert_eq!(bed.fs.bytes(&dir().join(SPARE)), [0; 1024]);
    bed
}

#[test]
fn a_spare_becomes_the_next_segment() {
    let mut bed = nearly_full();
    bed.put(&platforms("u"), &[8; 217]);
    assert_eq!(bed.fs.names(), [1, 5].map(|n| file_name(Lsn::new(n))), "it has another name now");
    assert_eq!(bed.log.status().bytes, 2048);
    for _ in 0..5 {
        bed.put(&platforms("u"), &[9; 217]);
        make_all(&mut bed);
    }
    let bed = bed.reopen();
    assert_eq!((bed.report.records, bed.report.segments), (10, 3));
    assert_eq!(bed.payloads(&platforms("u")).len(), 10);
}

#[test]
fn a_record_too_large_for_it_leaves_it_for_later() {
    let mut bed = nearly_full();
    bed.put(&platforms("u"), &[1; 3000]);
    assert!(has_spare(&bed));
    bed.put(&platforms("u"), b"small");
    assert_eq!(bed.fs.names(), [1, 5, 6].map(|n| file_name(Lsn::new(n))));
    assert_eq!(bed.reopen().report.records, 6);
}

#[test]
fn where_none_can_be_made_the_log_goes_on_without() {
    for (full, fails) in [(true, None), (false, Some(0))] {
        let mut bed = new_bed();
        for _ in 0..3 {
            bed.put(&platforms("u"), &[7; 217]);
        }
        bed.fs.faults(|f| (f.full, f.sync_fails_after) = (full, fails));
        make_all(&mut bed);
        assert!(!has_spare(&bed), "no trace of it");
        bed.fs.faults(|f| f.full = false);
        bed.put(&platforms("u"), &[7; 89]);
        make_all(&mut bed);
        assert!(!has_spare(&bed), "not tried again for this segment");
        for _ in 0..3 {
            bed.put(&platforms("u"), &[7; 217]);
        }
        make_all(&mut bed);
        assert!(has_spare(&bed), "but for the next");
        assert_eq!(bed.reopen().report.records, 7);
    }
}

#[test]
fn it_is_not_made_of_the_disks_reserve() {
    let options = LogOptions { disk_reserve: 1 << 20, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    bed.fs.faults(|f| f.space = Some(Space { available: 1 << 10, total: 1 << 40 }));
    for _ in 0..3 {
        bed.put(&platforms("u"), &[7; 217]);
    }
    make_all(&mut bed);
    assert!(!has_spare(&bed));
}

#[test]
fn one_that_a_crash_left_is_removed() {
    let bed = nearly_full();
    let fs = bed.fs.clone();
    drop(bed);
    let bed = open(&fs, small());
    assert!(!has_spare(&bed));
    assert_eq!((bed.report.records, bed.report.segments), (4, 1));
}

#[test]
fn a_log_that_is_closed_leaves_none() {
    let mut bed = nearly_full();
    bed.log.close().expect("close");
    assert_eq!(bed.settle(), Next::Stop);
    assert_eq!(bed.maker.step(), Turn::Stop);
    assert!(!has_spare(&bed));
}
