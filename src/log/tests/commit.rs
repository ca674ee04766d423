//! Group commit, sync modes, waiting, poison, the thread.

use std::sync::mpsc;
use std::task::Poll;

use super::*;

fn tags(bed: &Bed) -> Vec<u64> {
    bed.answers().into_iter().map(|(tag, how)| how.map(|()| tag).unwrap()).collect()
}

#[test]
fn a_batch_shares_one_sync() {
    let mut bed = new_bed();
    let before = bed.fs.syncs();
    for tag in 0..10 {
        bed.append(&platforms("u"), tag, b"x").unwrap();
    }
    assert_eq!(bed.log.durable_lsn(), Lsn::NONE);
    bed.settle();
    assert_eq!(bed.fs.syncs() - before, 1);
    assert_eq!(tags(&bed), (0..10).collect::<Vec<_>>());
    assert_eq!(bed.log.durable_lsn(), Lsn::new(10));
    let counters = bed.log.status().written;
    assert_eq!((counters.batches, counters.records, counters.syncs), (1, 10, 1));
}

#[test]
fn appends_during_a_sync_share_the_next() {
    let fs = MemoryFs::default();
    let (log, _) = Log::open(&env_of(&fs), &dir(), LogOptions::default(), &mut |_, _| {}).unwrap();
    let before = fs.syncs();
    fs.faults(|f| f.hold_syncs = true);
    let stream = log.stream(&platforms("u"));
    let (told, answers) = mpsc::channel();
    let append = |tag: u64| {
        let told = told.clone();
        log.append(1, &[&stream], b"x", move |how| told.send((tag, how)).unwrap()).unwrap();
    };
    append(0);
    fs.wait_for_held_syncs(1);
    for tag in 1..=20 {
        append(tag);
    }
    assert!(answers.try_recv().is_err(), "nothing is acknowledged before its sync");
    fs.faults(|f| f.hold_syncs = false);
    let heard: Vec<_> = answers.iter().take(21).collect();
    assert_eq!(heard, (0..=20).map(|tag| (tag, Ok(()))).collect::<Vec<_>>());
    assert_eq!(fs.syncs() - before, 2);
    log.close().unwrap();
    assert_eq!(log.append(1, &[&stream], b"x", |_| {}), Err(AppendError::Closed));
}

#[test]
fn many_threads_lose_nothing() {
    let fs = MemoryFs::default();
    let (log, _) = Log::open(&env_of(&fs), &dir(), small(), &mut |_, _| {}).unwrap();
    let (told, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let (log, told) = (log.clone(), told.clone());
            scope.spawn(move || {
                let stream = log.stream(&platforms(name));
                for n in 0_u32..200 {
                    let told = told.clone();
                    let done = move |how| told.send((name, n, how)).unwrap();
                    log.append(1, &[&stream], &n.to_le_bytes(), done).unwrap();
                }
            });
        }
    });
    drop(told);
    log.close().unwrap();
    let heard: Vec<_> = answers.iter().collect();
    assert_eq!(heard.len(), 800);
    assert!(heard.iter().all(|(_, _, how)| how.is_ok()));
    let bed = open(&fs, small());
    assert_eq!(bed.report.records, 800);
    for name in ["a", "b", "c", "d"] {
        let wanted: Vec<_> = (0_u32..200).map(|n| n.to_le_bytes().to_vec()).collect();
        assert_eq!(bed.payloads(&platforms(name)), wanted);
    }
}

#[test]
fn interval_mode_acknowledges_what_is_written() {
    let every = Duration::from_millis(50);
    let options = LogOptions { sync: SyncMode::Interval(every), ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    let before = bed.fs.syncs();
    bed.append(&platforms("u"), 1, b"x").unwrap();
    assert_eq!(bed.settle(), Next::Wait(Some(every)));
    assert_eq!(tags(&bed), [1]);
    assert_eq!((bed.fs.syncs() - before, bed.log.durable_lsn()), (0, Lsn::NONE));
    bed.clock.advance(Duration::from_millis(30));
    bed.append(&platforms("u"), 2, b"y").unwrap();
    assert_eq!(bed.settle(), Next::Wait(Some(Duration::from_millis(20))), "counted from the first");
    bed.clock.advance(Duration::from_millis(20));
    assert_eq!(bed.settle(), Next::Wait(None));
    assert_eq!((bed.fs.syncs() - before, bed.log.durable_lsn()), (1, Lsn::new(2)));
}

#[test]
fn interval_mode_syncs_under_steady_load() {
    let every = Duration::from_millis(50);
    let options = LogOptions { sync: SyncMode::Interval(every), segment_bytes: 1 << 20, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    let before = bed.fs.syncs();
    for tag in 0..20 {
        bed.append(&platforms("u"), tag, b"x").unwrap();
        bed.writer.step();
        bed.clock.advance(Duration::from_millis(10));
    }
    assert!(bed.fs.syncs() - before >= 3);
}

#[test]
fn sync_through_forces_a_sync() {
    let options = LogOptions { sync: SyncMode::Off, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    let before = bed.fs.syncs();
    let lsn = bed.append(&platforms("u"), 1, b"x").unwrap();
    let mut visible = Box::pin(bed.log.visible_through(first(lsn)));
    assert_eq!(poll(visible.as_mut()), Poll::Pending);
    assert_eq!(bed.settle(), Next::Wait(None));
    assert_eq!(poll(visible.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(bed.fs.syncs(), before);
    let mut durable = Box::pin(bed.log.sync_through(first(lsn)));
    assert_eq!(poll(durable.as_mut()), Poll::Pending);
    bed.settle();
    assert_eq!(poll(durable.as_mut()), Poll::Ready(Ok(())));
    assert_eq!(bed.fs.syncs() - before, 1);
    let mut again = Box::pin(bed.log.sync_through(first(lsn)));
    assert_eq!(poll(again.as_mut()), Poll::Ready(Ok(())));
    let mut never = Box::pin(bed.log.sync_through(first(lsn.next())));
    assert_eq!(poll(never.as_mut()), Poll::Ready(Err(LogFailure::NoSuchRecord)));
}

#[test]
fn closing_syncs_in_every_mode() {
    for sync in [SyncMode::Always, SyncMode::Interval(Duration::from_secs(9)), SyncMode::Off] {
        let mut bed = open(&MemoryFs::default(), LogOptions { sync, ..small() });
        bed.append(&platforms("u"), 1, b"x").unwrap();
        bed.log.close().unwrap();
        assert_eq!(bed.settle(), Next::Stop);
        assert_eq!(tags(&bed), [1]);
        assert_eq!(bed.log.durable_lsn(), Lsn::new(1));
        assert_eq!(bed.append(&platforms("u"), 2, b"x"), Err(AppendError::Closed));
        // The worst crash finds it all.
        let after = open(&bed.fs.crash(&mut memory_fs::Dice(1)), small());
        assert_eq!(after.payloads(&platforms("u")), [b"x"]);
    }
}

#[test]
fn a_failed_sync_poisons() {
    let mut bed = new_bed();
    bed.put(&platforms("u"), b"kept");
    bed.append(&platforms("u"), 1, b"lost").unwrap();
    let mut durable = Box::pin(bed.log.sync_through(first(Lsn::new(2))));
    bed.fs.faults(|f| f.sync_fails_after = Some(0));
    let syncs = bed.fs.syncs();
    assert_eq!(bed.settle(), Next::Stop);
    assert_eq!(bed.answers(), [(1, Err(LogFailure::Poisoned))]);
    assert_eq!(poll(durable.as_mut()), Poll::Ready(Err(LogFailure::Poisoned)));
    assert!(matches!(bed.log.status().state, LogState::Poisoned(_)));
    assert_eq!(bed.log.epoch(), 2);
    assert_eq!(bed.append(&platforms("u"), 2, b"x"), Err(AppendError::Poisoned));
    assert_eq!(bed.payloads(&platforms("u")), [b"kept"], "reads go on");
    assert!(bed.log.close().is_err());
    assert_eq!(bed.settle(), Next::Stop);
    assert_eq!(bed.fs.syncs(), syncs + 1, "never again");
}

#[test]
fn opening_after_a_failed_sync_writes_again() {
    let mut bed = new_bed();
    bed.put(&platforms("u"), b"kept");
    bed.append(&platforms("u"), 1, b"unknown").unwrap();
    bed.fs.faults(|f| f.sync_fails_after = Some(0));
    bed.settle();
    // Its writes are still to be seen; only when written again does a sync mean anything.
    bed.fs.faults(|f| f.write_fails_after = Some(0));
    assert!(matches!(try_open(&bed.fs, small()), Err(LogError::Io { .. })));
    let bed = open(&bed.fs, small());
    assert_eq!(bed.payloads(&platforms("u")), [&b"kept"[..], b"unknown"]);
    assert_eq!(bed.log.durable_lsn(), Lsn::new(2));
}

#[test]
fn a_failed_write_poisons_what_follows() {
    let options = LogOptions { sync: SyncMode::Off, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    bed.append(&platforms("u"), 1, b"x").unwrap();
    bed.settle();
    bed.append(&platforms("u"), 2, b"y").unwrap();
    bed.fs.faults(|f| f.write_fails_after = Some(0));
    assert_eq!(bed.settle(), Next::Stop);
    assert_eq!(bed.answers(), [(1, Ok(())), (2, Err(LogFailure::Poisoned))]);
    assert_eq!(bed.log.last_lsn(), Lsn::new(1));
}

#[test]
fn the_thread_reports_a_failure_to_everyone() {
    let fs = MemoryFs::default();
    let (log, _) = Log::open(&env_of(&fs), &dir(), small(), &mut |_, _| {}).unwrap();
    let stream = log.stream(&platforms("u"));
    fs.faults(|f| {
        f.hold_syncs = true;
        f.sync_fails_after = Some(0);
    });
    let (told, answers) = mpsc::channel();
    for _ in 0..3 {
        let told = told.clone();
        log.append(1, &[&stream], b"x", move |how| told.send(how).unwrap()).unwrap();
        fs.wait_for_held_syncs(1);
    }
    fs.faults(|f| f.hold_syncs = false);
    let heard: Vec<_> = answers.iter().take(3).collect();
    assert_eq!(heard, [Err(LogFailure::Poisoned); 3]);
    assert!(matches!(log.close(), Err(LogError::Poisoned(_))));
}

#[test]
fn a_callback_that_panics_harms_nobody() {
    let mut bed = new_bed();
    let stream = bed.log.stream(&platforms("u"));
    bed.log.append(1, &[&stream], b"x", |_| panic!("a bug of the caller")).unwrap();
    bed.append(&platforms("u"), 1, b"y").unwrap();
    bed.settle();
    assert_eq!(tags(&bed), [1]);
    bed.put(&platforms("u"), b"z");
}

#[test]
fn refuses_what_it_cannot_take() {
    let bed = new_bed();
    let stream = bed.log.stream(&platforms("u"));
    let other = new_bed();
    let foreign = other.log.stream(&platforms("u"));
    assert_eq!(bed.log.append(1, &[], b"x", |_| {}), Err(AppendError::NoStream));
    assert_eq!(bed.log.append(1, &[&foreign], b"x", |_| {}), Err(AppendError::NoStream));
    let large = bed.log.append(1, &[&stream], &[0; 4096], |_| {});
    assert_eq!(large, Err(AppendError::TooLarge { bytes: 4103, limit: 4096 }));
    let stale = bed.log.append(7, &[&stream], b"x", |_| {});
    assert_eq!(stale, Err(AppendError::StaleEpoch { given: 7, current: 1 }));
    assert_eq!(bed.log.last_lsn(), Lsn::NONE);
}

#[test]
fn overload_is_an_answer() {
    let options = LogOptions { max_pending_bytes: 100, ..small() };
    let mut bed = open(&MemoryFs::default(), options);
    bed.append(&platforms("u"), 1, &[0; 200]).expect("one alone is always taken");
    assert_eq!(bed.append(&platforms("u"), 2, b"x"), Err(AppendError::Overloaded));
    bed.settle();
    bed.append(&platforms("u"), 3, b"x").unwrap();
    bed.settle();
    assert_eq!(tags(&bed), [1, 3]);
}

#[test]
fn one_record_can_name_several_partitions() {
    let mut bed = new_bed();
    let (a, b) = (platforms("u"), audiences("u", 5));
    let (first, second) = (bed.log.stream(&a), bed.log.stream(&b));
    let lsn = bed.log.append(1, &[&first, &second, &first], b"both", |_| {}).unwrap();
    bed.settle();
    for key in [&a, &b] {
        assert_eq!(bed.payloads(key), [b"both"]);
    }
    bed.log.published(&a, lsn);
    assert_eq!(bed.log.status().unpublished_records, 1);
    drop((first, second));
    let bed = bed.reopen();
    assert_eq!((bed.report.records, bed.report.partitions), (1, 2));
}

#[test]
fn streams_do_not_pile_up() {
    let mut bed = new_bed();
    for n in 0..50 {
        let key = platforms(&format!("user{n}"));
        let lsn = bed.put(&key, b"x");
        bed.log.published(&key, lsn);
    }
    assert_eq!(bed.log.status().streams, 0);
}

#[test]
fn reads_only_what_is_written() {
    let mut bed = new_bed();
    bed.append(&platforms("u"), 1, b"x").unwrap();
    let at = bed.log.unpublished(&platforms("u"))[0];
    assert!(matches!(bed.log.read(&at), Err(LogError::NotWritten(lsn)) if lsn == at.lsn()));
    bed.settle();
    assert_eq!(bed.log.read(&at).unwrap().payload, &b"x"[..]);
    flip(&bed.fs, &segment(1), 64 + 40);
    let fresh = open(&bed.fs.crash(&mut memory_fs::Dice(0)), small());
    assert!(fresh.report.torn.is_some(), "the only record, so nothing proves it was durable");
}
