//! Publishing, removal, erasure, inspection, truncation.

use super::*;
use crate::env::{File, FileSystem, OpenMode, Turn, Worker};
use crate::log::freed::PAUSE;
use crate::log::tests::memory_fs::Dice;

/// Fifty records, one a batch, in segments of twenty; even LSNs are `v`'s.
fn fifty() -> Bed {
    let mut bed = new_bed();
    for n in 1_u64..=50 {
        bed.put(&platforms(if n.is_multiple_of(2) { "v" } else { "u" }), &n.to_le_bytes());
    }
    bed
}

fn removed(bed: &Bed) -> usize {
    bed.log.remove_published_segments().unwrap().segments
}

#[test]
fn segments_go_from_the_oldest_on() {
    let bed = fifty();
    assert_eq!(bed.log.oldest_unpublished(9), [platforms("u"), platforms("v")]);
    bed.log.published(&platforms("u"), Lsn::new(50));
    assert_eq!(removed(&bed), 0, "v's records are in all of them");
    bed.log.published(&platforms("v"), Lsn::new(20));
    assert_eq!(removed(&bed), 1);
    assert_eq!(bed.log.oldest_unpublished(9), [platforms("v")]);
    bed.log.published(&platforms("v"), Lsn::new(50));
    assert_eq!(removed(&bed), 1, "the active one stays");
    assert_eq!(bed.fs.names(), [file_name(Lsn::new(41))]);
    bed.log.rotate();
    let mut bed = bed;
    bed.settle();
    assert_eq!(removed(&bed), 1);
    assert_eq!(bed.fs.names(), [file_name(Lsn::new(51))]);
    let mut bed = bed.reopen();
    assert_eq!((bed.report.records, bed.report.last_lsn), (0, Lsn::new(50)));
    assert_eq!(bed.put(&platforms("u"), b"x"), Lsn::new(51), "LSNs go on");
}

/// Steps that the maker of spares takes, each with the length of a file that may have no name.
fn lengths(bed: &mut Bed, file: &dyn File) -> Vec<(Turn, u64)> {
    let mut steps = Vec::new();
    loop {
        match bed.maker.step() {
            Turn::Wait(None) | Turn::Stop => return steps,
            turn => steps.push((turn, file.len().unwrap())),
        }
    }
}

#[test]
fn the_space_of_a_removed_segment_is_given_back_piece_by_piece() {
    let mut bed = fifty();
    let first = bed.fs.open(&segment(1), OpenMode::Read).unwrap();
    lengths(&mut bed, &*first);
    for name in ["u", "v"] {
        bed.log.published(&platforms(name), Lsn::new(20));
    }
    assert_eq!(removed(&bed), 1);
    assert_eq!(first.len().unwrap(), 1024, "not by who removes it");
    let steps = lengths(&mut bed, &*first);
    let expected = (1..=15).rev().map(|left| (Turn::Wait(Some(PAUSE)), left * 64));
    let expected = expected.chain([(Turn::Again, 64)]);
    assert_eq!(steps, expected.collect::<Vec<_>>(), "and the last by closing the file");
}

#[test]
fn a_removed_segment_that_has_another_name_keeps_its_bytes() {
    let mut bed = fifty();
    let first = bed.fs.open(&segment(1), OpenMode::Read).unwrap();
    bed.fs.hard_link(&segment(1), Path::new("hold/first")).unwrap();
    lengths(&mut bed, &*first);
    for name in ["u", "v"] {
        bed.log.published(&platforms(name), Lsn::new(20));
    }
    assert_eq!(removed(&bed), 1);
    assert_eq!(lengths(&mut bed, &*first), []);
    assert_eq!(first.len().unwrap(), 1024);
}

#[test]
fn where_room_is_needed_the_space_of_a_removed_segment_is_given_back_at_once() {
    let mut bed = fifty();
    let first = bed.fs.open(&segment(1), OpenMode::Read).unwrap();
    lengths(&mut bed, &*first);
    bed.fs.faults(|faults| faults.full = true);
    bed.log.rotate();
    bed.settle();
    assert_eq!(bed.log.status().state, LogState::Full(FullReason::Storage));
    for name in ["u", "v"] {
        bed.log.published(&platforms(name), Lsn::new(20));
    }
    assert_eq!(removed(&bed), 1);
    assert_eq!(lengths(&mut bed, &*first), [], "nothing is left to be done");
}

#[test]
fn a_removed_record_cannot_be_read() {
    let bed = fifty();
    let at = bed.log.unpublished(&platforms("u"))[0];
    bed.log.read(&at).unwrap();
    for name in ["u", "v"] {
        bed.log.published(&platforms(name), Lsn::new(20));
    }
    assert_eq!(removed(&bed), 1);
    assert!(matches!(bed.log.read(&at), Err(LogError::NotWritten(_))));
}

#[test]
fn after_a_start_everything_counts_until_published() {
    let bed = fifty();
    bed.log.published(&platforms("u"), Lsn::new(50));
    bed.log.published(&platforms("v"), Lsn::new(50));
    let bed = bed.reopen();
    assert_eq!(bed.log.status().unpublished_records, 50, "footers, not the log, know");
    assert_eq!(bed.log.unpublished_partitions(&user("u"), Table::Platforms), [platforms("u")]);
    assert_eq!(removed(&bed), 0);
    bed.log.published(&platforms("u"), Lsn::new(50));
    bed.log.published(&platforms("v"), Lsn::new(50));
    assert_eq!(removed(&bed), 2);
}

#[test]
fn an_erasure_forgets_what_came_before() {
    let mut bed = fifty();
    let answers = Arc::clone(&bed.answers);
    let erased = bed
        .log
        .append_erase(&user("u"), move |how| answers.lock().unwrap().push((1, how)))
        .unwrap();
    bed.append(&platforms("u"), 2, b"after").unwrap();
    bed.settle();
    assert_eq!(bed.answers(), [(1, Ok(())), (2, Ok(()))]);
    assert_eq!(bed.payloads(&platforms("u")), [b"after"]);
    assert_eq!(bed.payloads(&platforms("v")).len(), 25);
    let bed = bed.reopen();
    assert_eq!(bed.report.erased, [(user("u"), erased)]);
    assert_eq!(bed.payloads(&platforms("u")), [b"after"]);
    assert_eq!(bed.payloads(&platforms("v")).len(), 25);
}

#[test]
fn an_erasure_holds_its_segment_until_finished() {
    let mut bed = new_bed();
    let first = bed.log.append_erase(&user("u"), |_| {}).unwrap();
    let second = bed.log.append_erase(&user("u"), |_| {}).unwrap();
    let other = bed.log.append_erase(&user("v"), |_| {}).unwrap();
    bed.log.rotate();
    bed.settle();
    assert_eq!((removed(&bed), bed.log.status().unfinished_erasures), (0, 3));
    bed.log.erase_finished(second);
    assert_eq!(bed.log.status().unfinished_erasures, 1, "the first of that user is covered");
    bed.log.erase_finished(first);
    assert_eq!(removed(&bed), 0);
    bed.log.erase_finished(other);
    assert_eq!(removed(&bed), 1);
}

#[test]
fn an_erasure_that_fails_forgets_nothing() {
    let mut bed = new_bed();
    for _ in 0..20 {
        bed.put(&platforms("u"), &[0; 8]);
    }
    bed.fs.faults(|f| f.full = true);
    bed.log.append_erase(&user("u"), |how| assert!(how.is_err())).unwrap();
    bed.settle();
    assert_eq!(bed.payloads(&platforms("u")).len(), 20);
    assert_eq!(bed.log.status().unfinished_erasures, 0);
}

type Seen = (Vec<u64>, Vec<(String, u64, u64, u64)>);

/// LSNs of records, and of damages: file, offset, bytes, expected LSN.
fn inspected(fs: &MemoryFs) -> (Seen, InspectSummary) {
    let mut seen = Seen::default();
    let summary = inspect(&env_of(fs), &dir(), &mut |finding| match finding {
        Finding::Segment { .. } => {}
        Finding::Record { lsn, .. } => seen.0.push(lsn.get()),
        Finding::Damage { file, offset, bytes, expected, .. } => {
            seen.1.push(((*file).to_owned(), *offset, *bytes, expected.get()));
        }
    });
    (seen, summary.unwrap())
}

#[test]
fn inspection_sees_everything() {
    let bed = fifty();
    let (seen, summary) = inspected(&bed.fs);
    assert_eq!(seen, ((1..=50).collect(), vec![]));
    assert_eq!(summary.segments, 3);
    assert_eq!((summary.records, summary.damages, summary.last_lsn), (50, 0, Lsn::new(50)));
}

#[test]
fn inspection_goes_on_after_damage() {
    let bed = fifty();
    flip(&bed.fs, &segment(21), 64 + 48 * 4 + 9);
    flip(&bed.fs, &segment(21), 64 + 48 * 5 + 9);
    flip(&bed.fs, &segment(41), 3);
    let (seen, summary) = inspected(&bed.fs);
    let all_but_two: Vec<_> = (1..=50).filter(|n| !(25..=26).contains(n)).collect();
    assert_eq!(seen.0, all_but_two);
    let damages =
        [(file_name(Lsn::new(21)), 64 + 48 * 4, 96, 25), (file_name(Lsn::new(41)), 0, 64, 41)];
    assert_eq!(seen.1, damages);
    assert_eq!(summary.damages, 2);
    bed.fs.remove_file(&segment(21)).unwrap();
    flip(&bed.fs, &segment(41), 3);
    let (seen, _) = inspected(&bed.fs);
    assert_eq!(seen.1, [(file_name(Lsn::new(41)), 0, 0, 21)], "a missing segment");
}

fn cut(fs: &MemoryFs, at: u64) -> Result<TruncateReport, LogError> {
    truncate(&env_of(fs), &dir(), Lsn::new(at))
}

fn backups(fs: &MemoryFs) -> Vec<String> {
    fs.names().into_iter().filter(|name| name.starts_with("cut-")).collect()
}

#[test]
fn truncation_keeps_a_copy_and_never_reuses_lsns() {
    for at in 1..=50 {
        let fs = fifty().fs;
        let report = cut(&fs, at).unwrap();
        assert_eq!(report.last_kept, Lsn::new(at - 1));
        assert!(report.next > Lsn::new(50));
        assert_eq!(report.copies.len(), backups(&fs).len());
        let mut bed = open(&fs, small());
        assert_eq!((bed.report.records, bed.report.torn.clone()), (at - 1, None), "at {at}");
        assert_eq!(bed.put(&platforms("u"), b"new"), report.next);
        let bed = bed.reopen();
        assert_eq!(bed.report.records, at);
        assert_eq!(inspected(&bed.fs).1.damages, 0);
        // What was cut can be read as segments.
        let copies = MemoryFs::default();
        for name in backups(&fs) {
            let bytes = fs.bytes(&dir().join(&name));
            let header = segment::SegmentHeader::decode(&bytes).unwrap();
            copies.put(&segment(header.first.get()), &bytes);
        }
        assert_eq!(inspected(&copies).0.0, (at..=50).collect::<Vec<_>>());
    }
}

#[test]
fn truncation_repairs_what_open_refuses() {
    let fs = fifty().fs;
    flip(&fs, &segment(21), 64 + 48 * 4);
    let (_, _, lsn) = corruption(try_open(&fs, small()));
    assert_eq!(lsn, 25);
    assert!(matches!(cut(&fs, 30), Err(LogError::Corrupt { lsn, .. }) if lsn == Lsn::new(25)));
    cut(&fs, lsn).unwrap();
    assert_eq!(open(&fs, small()).report.records, 24);

    let fs = fifty().fs;
    flip(&fs, &segment(21), 9);
    cut(&fs, corruption(try_open(&fs, small())).2).unwrap();
    assert_eq!(open(&fs, small()).report.records, 20);

    let fs = fifty().fs;
    fs.remove_file(&segment(21)).unwrap();
    cut(&fs, corruption(try_open(&fs, small())).2).unwrap();
    assert_eq!(open(&fs, small()).report.records, 20);

    let fs = fifty().fs;
    flip(&fs, &segment(1), 9);
    cut(&fs, corruption(try_open(&fs, small())).2).unwrap();
    let bed = open(&fs, small());
    assert_eq!(bed.report.records, 0);
    assert!(bed.report.last_lsn >= Lsn::new(50));
}

#[test]
fn there_may_be_nothing_to_cut() {
    let fs = fifty().fs;
    let nothing = cut(&fs, 51);
    assert!(matches!(nothing, Err(LogError::NothingToCut { last, .. }) if last == Lsn::new(50)));
    cut(&fs, 30).unwrap();
    assert!(matches!(cut(&fs, 30), Err(LogError::NothingToCut { .. })));
    assert!(matches!(cut(&MemoryFs::default(), 1), Err(LogError::NothingToCut { .. })));
}

#[test]
fn an_interrupted_truncation_can_be_finished() {
    for writes in 0..8 {
        for seed in 0..30 {
            let fs = fifty().fs;
            fs.faults(|f| f.write_fails_after = Some(writes));
            let done = cut(&fs, 10).is_ok();
            let fs = fs.crash(&mut memory_fs::Dice(seed));
            if done {
                assert_eq!(open(&fs, small()).report.records, 9);
                continue;
            }
            // Nothing happened yet, or the log refuses and says where to cut.
            let records = match try_open(&fs, small()) {
                Ok(bed) => bed.report.records,
                refused => {
                    assert_eq!(corruption(refused).2, 10, "{writes} writes, seed {seed}");
                    cut(&fs, 10).unwrap();
                    open(&fs, small()).report.records
                }
            };
            assert!(records == 50 || records == 9, "{records}");
        }
    }
}

#[test]
fn a_large_new_file_is_synced_piece_by_piece() {
    let fs = MemoryFs::default();
    let path = Path::new("log/new");
    for (bytes, syncs) in [(0_usize, 1), (1, 1), (256 << 10, 1), ((1 << 20) + 1, 5)] {
        let (content, before) = (vec![7; bytes], fs.syncs());
        fs.replace(path, &content).unwrap();
        assert_eq!((fs.bytes(path).len(), fs.syncs() - before), (bytes, syncs));
        assert_eq!(fs.crash(&mut Dice(1)).bytes(path), content, "all of it is on the disk");
    }
}
