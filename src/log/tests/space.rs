//! Rotation, sizes, running out of space, limits.

use super::*;

/// A payload that takes 256 bytes of a segment, with the header and the key of user `u`.
fn quarter() -> [u8; 217] {
    [7; 217]
}

#[test]
fn rotates_when_a_record_does_not_fit() {
    let mut bed = new_bed();
    for _ in 0..7 {
        bed.put(&platforms("u"), &quarter());
    }
    // 64 + 3 * 256 leaves 192 bytes: three a segment.
    assert_eq!(bed.fs.names(), [1, 4, 7].map(|n| file_name(Lsn::new(n))));
    let bed = bed.reopen();
    assert_eq!((bed.report.records, bed.report.segments), (7, 3));
    assert_eq!(bed.report.torn, None);
    assert_eq!(bed.payloads(&platforms("u")).len(), 7);
}

#[test]
fn one_batch_can_span_segments() {
    let mut bed = new_bed();
    for tag in 0..8 {
        bed.append(&platforms("u"), tag, &quarter()).unwrap();
    }
    bed.settle();
    assert_eq!(bed.answers().len(), 8);
    assert_eq!(bed.fs.names().len(), 3);
    assert_eq!(bed.reopen().report.records, 8);
}

#[test]
fn a_large_record_gets_its_own_segment() {
    let mut bed = new_bed();
    bed.put(&platforms("u"), &[1; 3000]);
    assert_eq!(bed.fs.names(), [file_name(Lsn::new(1))], "an empty segment grows");
    bed.put(&platforms("u"), b"small");
    bed.put(&platforms("u"), &[2; 3000]);
    bed.put(&platforms("u"), b"small");
    assert_eq!(bed.fs.names(), [1, 2, 3, 4].map(|n| file_name(Lsn::new(n))));
    let status = bed.log.status();
    assert_eq!(status.bytes, 2 * (64 + 3040) + 2 * 1024);
    assert_eq!(bed.reopen().report.records, 4);
}

#[test]
fn a_large_record_right_after_rotation() {
    let mut bed = new_bed();
    bed.put(&platforms("u"), b"x");
    bed.log.rotate();
    bed.append(&platforms("u"), 1, &[1; 3000]).unwrap();
    bed.settle();
    assert_eq!(bed.answers(), [(1, Ok(()))]);
    assert_eq!(bed.fs.names(), [1, 2].map(|n| file_name(Lsn::new(n))));
    assert_eq!(bed.reopen().report.records, 2);
}

#[test]
fn no_space_fails_the_batch_and_recovers() {
    let mut bed = new_bed();
    let key = platforms("u");
    for _ in 0..3 {
        bed.put(&key, &quarter());
    }
    bed.fs.faults(|f| f.full = true);
    bed.append(&key, 1, &quarter()).unwrap();
    bed.append(&platforms("v"), 2, b"x").unwrap();
    let mut waits = Box::pin(bed.log.sync_through(first(Lsn::new(5))));
    bed.settle();
    let full = Err(LogFailure::StorageFull);
    assert_eq!(bed.answers(), [(1, full), (2, full)]);
    assert_eq!(poll(waits.as_mut()), std::task::Poll::Ready(full));
    assert_eq!(bed.log.status().state, LogState::Full(FullReason::Storage));
    assert_eq!((bed.log.epoch(), bed.log.last_lsn()), (2, Lsn::new(3)));
    assert_eq!(bed.payloads(&key).len(), 3);
    assert_eq!(bed.log.unpublished(&platforms("v")), []);
    assert_eq!(bed.log.status().bytes, 1024);
    assert_eq!(bed.fs.names().len(), 1, "no trace of the new segment");

    let stream = bed.log.stream(&key);
    let stale = bed.log.append(1, &[&stream], b"x", |_| {});
    assert_eq!(stale, Err(AppendError::StaleEpoch { given: 1, current: 2 }));

    assert_eq!(bed.put(&key, b"fits"), Lsn::new(4), "small ones still fit, LSNs go on");
    let settled = |point| poll(Box::pin(bed.log.visible_through(point)).as_mut());
    let at = |epoch, lsn| ReadPoint { epoch, lsn: Lsn::new(lsn) };
    assert_eq!(settled(at(2, 4)), std::task::Poll::Ready(Ok(())));
    assert_eq!(settled(at(1, 3)), std::task::Poll::Ready(Ok(())), "it was never rolled back");
    let gone = std::task::Poll::Ready(Err(LogFailure::NoSuchRecord));
    assert_eq!(settled(at(1, 4)), gone, "another record bears its LSN now");
    bed.fs.faults(|f| f.full = false);
    assert_eq!(bed.put(&key, &quarter()), Lsn::new(5));
    assert_eq!(bed.log.status().state, LogState::Running);
    drop(stream);
    let bed = bed.reopen();
    assert_eq!(bed.report.records, 5);
    assert_eq!(bed.payloads(&key).len(), 5);
}

#[test]
fn no_space_in_the_middle_of_a_batch_keeps_what_went_before() {
    let mut bed = new_bed();
    bed.fs.faults(|f| f.full = true);
    for tag in 1..=5 {
        bed.append(&platforms("u"), tag, &quarter()).unwrap();
    }
    bed.settle();
    let full = Err(LogFailure::StorageFull);
    assert_eq!(bed.answers(), [(1, Ok(())), (2, Ok(())), (3, Ok(())), (4, full), (5, full)]);
    assert_eq!(bed.log.durable_lsn(), Lsn::new(3));
    assert_eq!(bed.reopen().report.records, 3);
}

#[test]
fn no_space_to_grow_an_empty_segment() {
    let mut bed = new_bed();
    bed.fs.faults(|f| f.full = true);
    bed.append(&platforms("u"), 1, &[1; 3000]).unwrap();
    bed.settle();
    assert_eq!(bed.answers(), [(1, Err(LogFailure::StorageFull))]);
    assert_eq!(bed.log.status().bytes, 1024);
    bed.put(&platforms("u"), b"small");
    bed.fs.faults(|f| f.full = false);
    bed.put(&platforms("u"), &[1; 3000]);
    assert_eq!(bed.reopen().report.records, 2);
}

#[test]
fn a_probe_for_space_loses_nothing() {
    let mut bed = new_bed();
    bed.put(&platforms("u"), b"x");
    bed.fs.faults(|f| f.full = true);
    bed.log.rotate();
    bed.settle();
    assert_eq!(bed.log.status().state, LogState::Full(FullReason::Storage));
    assert_eq!(bed.log.epoch(), 1, "no record was rolled back");
    bed.fs.faults(|f| f.full = false);
    bed.log.rotate();
    bed.settle();
    assert_eq!(bed.log.status().state, LogState::Running);
    assert_eq!(bed.log.status().segments, 2);
    bed.log.rotate();
    bed.settle();
    assert_eq!(bed.log.status().segments, 2, "an empty segment is not followed by another");
}

#[test]
fn a_write_that_finds_no_space_is_taken_back_and_tried_again() {
    for written in (0..=3 * 256).step_by(8) {
        let mut bed = open(&MemoryFs::default(), LogOptions { segment_bytes: 4096, ..small() });
        let key = platforms("u");
        bed.put(&key, b"before");
        for tag in 1..=3 {
            bed.append(&key, tag, &quarter()).unwrap();
        }
        bed.fs.faults(|f| f.unreserved = Some(written));
        bed.settle();
        let answers = bed.answers();
        if written == 3 * 256 {
            assert!(answers.iter().all(|(_, how)| how.is_ok()), "{answers:?}");
            continue;
        }
        let full = Err(LogFailure::StorageFull);
        assert_eq!(answers, [(1, full), (2, full), (3, full)], "{written} bytes");
        assert_eq!(bed.log.status().state, LogState::Full(FullReason::Storage));
        bed.fs.faults(|f| f.unreserved = None);
        // As large as the first of those that failed: a second one left behind it would be read.
        assert_eq!(bed.put(&key, &quarter()), Lsn::new(2));
        let bed = bed.reopen();
        assert_eq!((bed.report.records, bed.report.torn.clone()), (2, None), "{written} bytes");
    }
}

#[test]
fn what_a_write_without_space_left_does_not_come_back_after_a_power_loss() {
    for seed in 0..200 {
        let mut bed = open(&MemoryFs::default(), LogOptions { segment_bytes: 4096, ..small() });
        let key = platforms("u");
        bed.put(&key, b"before");
        for tag in 1..=3 {
            bed.append(&key, tag, &quarter()).unwrap();
        }
        bed.fs.faults(|f| f.unreserved = Some(600));
        bed.settle();
        assert_eq!(bed.answers().len(), 3);
        bed.fs.faults(|f| f.unreserved = None);
        bed.put(&key, &quarter());
        let options = LogOptions { segment_bytes: 4096, ..small() };
        let bed = open(&bed.fs.crash(&mut super::memory_fs::Dice(seed)), options);
        assert_eq!(bed.report.records, 2, "seed {seed}");
    }
}

#[test]
fn a_full_log_takes_appends_again_after_removal() {
    let options = LogOptions { max_log_bytes: 2048, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    let key = platforms("u");
    for _ in 0..6 {
        bed.put(&key, &quarter());
    }
    assert_eq!(bed.append(&key, 1, &quarter()), Err(AppendError::LogFull));
    assert_eq!(bed.log.status().state, LogState::Full(FullReason::Limit));
    assert_eq!(bed.log.epoch(), 1);
    bed.log.published(&key, Lsn::new(3));
    assert_eq!(bed.log.remove_published_segments().unwrap().segments, 1);
    assert_eq!(bed.log.status().state, LogState::Running);
    bed.put(&key, &quarter());
}

#[test]
fn settings_that_cannot_work_are_refused() {
    for options in [
        LogOptions { segment_bytes: 64, ..small() },
        LogOptions { segment_bytes: 1023, ..small() },
        LogOptions { segment_bytes: 2 << 30, max_log_bytes: 8 << 30, ..small() },
        LogOptions { max_log_bytes: 1000, ..small() },
        LogOptions { sync: SyncMode::Interval(Duration::ZERO), ..small() },
        LogOptions { max_record_bytes: 1 << 30, ..small() },
    ] {
        assert!(matches!(try_open(&MemoryFs::default(), options), Err(LogError::Options(_))));
    }
}

#[test]
fn the_reserve_of_the_disk_is_for_files_that_free_the_log() {
    let options = LogOptions { disk_reserve: 5000, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    let key = platforms("u");
    for _ in 0..3 {
        bed.put(&key, &quarter());
    }
    let room = |available| Some(Space { available, total: 1 << 30 });
    bed.fs.faults(|f| f.space = room(5000 + 1023));
    bed.append(&key, 1, &quarter()).unwrap();
    bed.settle();
    assert_eq!(bed.answers(), [(1, Err(LogFailure::StorageFull))]);
    assert_eq!(bed.log.status().state, LogState::Full(FullReason::Storage));
    assert_eq!(bed.fs.names().len(), 1, "no trace of the new segment");
    bed.fs.faults(|f| f.space = room(5000 + 1024));
    assert_eq!(bed.put(&key, &quarter()), Lsn::new(4));
    assert_eq!(bed.log.status().state, LogState::Running);
}
