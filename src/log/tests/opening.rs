//! Opening: torn tails, damage, missing and unfinished segments.

use super::memory_fs::Dice;
use super::*;
use crate::env::FileSystem;

const RECORD: usize = 48;

/// Three segments; each record is a batch of its own. Records have 48 bytes: 20 a segment.
fn three_segments() -> MemoryFs {
    let mut bed = new_bed();
    for n in 0_u64..50 {
        bed.put(&platforms("u"), &n.to_le_bytes());
    }
    assert_eq!(bed.fs.names(), [1, 21, 41].map(|n| file_name(Lsn::new(n))));
    bed.fs.clone()
}

/// Two records in one batch, after one of its own.
fn a_batch_of_two() -> MemoryFs {
    let mut bed = new_bed();
    bed.put(&platforms("u"), b"one");
    bed.append(&platforms("u"), 2, b"two").unwrap();
    bed.append(&platforms("u"), 3, b"three").unwrap();
    bed.settle();
    bed.fs.clone()
}

fn offset_of(index: usize) -> usize {
    64 + index * RECORD
}

#[test]
fn begins_and_goes_on() {
    let mut bed = new_bed();
    assert!(bed.report.created);
    let id = bed.log.log_id();
    bed.put(&platforms("u"), b"one");
    let mut bed = bed.reopen();
    assert!(!bed.report.created);
    assert_eq!((bed.log.log_id(), bed.report.last_lsn), (id, Lsn::new(1)));
    assert_eq!(bed.put(&platforms("u"), b"two"), Lsn::new(2));
    let bed = bed.reopen();
    assert_eq!(bed.payloads(&platforms("u")), [b"one", b"two"]);
}

#[test]
fn progress_reaches_the_end() {
    let fs = three_segments();
    let mut heard = Vec::new();
    let mut hear = |done, total| heard.push((done, total));
    Log::open_stepped(&env_of(&fs), &dir(), small(), &mut hear).unwrap();
    assert_eq!(heard, [(1024, 3072), (2048, 3072), (3072, 3072)]);
}

#[test]
fn a_torn_tail_is_cut_once() {
    for damage in 0..RECORD {
        let fs = a_batch_of_two();
        flip(&fs, &segment(1), offset_of(2) + damage);
        let bed = open(&fs, small());
        let torn = bed.report.torn.clone().expect("a torn tail");
        assert_eq!((torn.offset, torn.lsn), (offset_of(2) as u64, Lsn::new(3)));
        assert_eq!(bed.payloads(&platforms("u")), [&b"one"[..], b"two"]);
        let after = fs.bytes(&segment(1));
        assert!(after[offset_of(2)..].iter().all(|b| *b == 0));
        let mut bed = bed.reopen();
        assert_eq!(bed.report.torn, None, "reported once");
        assert_eq!(bed.put(&platforms("u"), b"again"), Lsn::new(3));
        assert_eq!(bed.reopen().report.records, 3);
    }
}

#[test]
fn a_hole_takes_the_rest_of_its_batch_along() {
    let fs = a_batch_of_two();
    let mut bytes = fs.bytes(&segment(1));
    bytes[offset_of(1)..offset_of(2)].fill(0);
    fs.put(&segment(1), &bytes);
    let mut bed = open(&fs, small());
    assert_eq!(bed.report.torn.as_ref().map(|t| t.lsn), Some(Lsn::new(2)));
    // Without the cut, this record would make the old third one readable again.
    assert_eq!(bed.put(&platforms("u"), b"new"), Lsn::new(2));
    let bed = bed.reopen();
    assert_eq!(bed.payloads(&platforms("u")), [b"one", b"new"]);
}

#[test]
fn a_file_cut_short_anywhere_opens_or_is_refused() {
    let whole = a_batch_of_two().bytes(&segment(1));
    for len in 0..offset_of(3) {
        let fs = MemoryFs::default();
        fs.put(&segment(1), &whole[..len]);
        let mut bed = open(&fs, small());
        let records = (len.max(64) - 64) / RECORD;
        assert_eq!(bed.report.records, records as u64, "cut at {len}");
        assert_eq!(bed.report.created, len < 64);
        bed.put(&platforms("u"), b"goes on");
        assert_eq!(bed.reopen().report.records, records as u64 + 1);
    }
}

#[test]
fn damage_before_an_acknowledged_record_is_refused() {
    for damage in 0..RECORD {
        let fs = three_segments();
        flip(&fs, &segment(41), offset_of(3) + damage);
        let before = fs.bytes(&segment(41));
        let found = corruption(try_open(&fs, small()));
        assert_eq!(found, (file_name(Lsn::new(41)), offset_of(3) as u64, 44));
        assert_eq!(fs.bytes(&segment(41)), before, "nothing was changed");
    }
}

#[test]
fn the_error_says_what_to_do() {
    let fs = three_segments();
    flip(&fs, &segment(41), offset_of(3));
    let text = try_open(&fs, small()).err().unwrap().to_string();
    for part in [&file_name(Lsn::new(41)), "byte 208", "log inspect", "log truncate --at 44"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn damage_in_an_earlier_segment_is_refused() {
    for at in [offset_of(0), offset_of(19) + 30, 1023] {
        let fs = three_segments();
        flip(&fs, &segment(21), at);
        let (file, _, _) = corruption(try_open(&fs, small()));
        assert_eq!(file, file_name(Lsn::new(21)), "byte {at}");
    }
}

#[test]
fn damaged_headers_are_refused() {
    for first in [1, 21, 41] {
        for at in 0..64 {
            let fs = three_segments();
            flip(&fs, &segment(first), at);
            let (_, _, lsn) = corruption(try_open(&fs, small()));
            assert_eq!(lsn, first, "byte {at}");
        }
    }
}

#[test]
fn a_missing_segment_is_refused() {
    let fs = three_segments();
    fs.remove_file(&segment(21)).unwrap();
    let found = corruption(try_open(&fs, small()));
    assert_eq!(found, (file_name(Lsn::new(1)), offset_of(20) as u64, 21));
    // The oldest may go: it was published.
    let fs = three_segments();
    fs.remove_file(&segment(1)).unwrap();
    assert_eq!(open(&fs, small()).report.records, 30);
}

#[test]
fn records_missing_at_the_end_of_an_earlier_segment_are_refused() {
    let fs = three_segments();
    let mut bytes = fs.bytes(&segment(21));
    bytes[offset_of(18)..].fill(0);
    fs.put(&segment(21), &bytes);
    let found = corruption(try_open(&fs, small()));
    assert_eq!(found, (file_name(Lsn::new(21)), offset_of(18) as u64, 39));
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let fs = three_segments();
    let header = segment::SegmentHeader {
        log_id: uuid::Uuid::from_bytes([1; 16]),
        first: Lsn::new(41),
        previous_last: Lsn::new(40),
    };
    let mut bytes = fs.bytes(&segment(41));
    bytes[..64].copy_from_slice(&header.encode());
    fs.put(&segment(41), &bytes);
    assert_eq!(corruption(try_open(&fs, small())).2, 41);
}

#[test]
fn a_segment_under_another_name_is_refused() {
    let fs = three_segments();
    fs.put(&segment(61), &fs.bytes(&segment(41)));
    assert_eq!(corruption(try_open(&fs, small())).2, 61);
}

#[test]
fn an_unfinished_segment_is_removed() {
    for bytes in [vec![], vec![0; 30], vec![0; 1024], [vec![7; 20], vec![0; 1000]].concat()] {
        let fs = three_segments();
        fs.put(&segment(51), &bytes);
        let mut bed = open(&fs, small());
        assert_eq!(bed.report.unfinished_segment, Some(file_name(Lsn::new(51))));
        assert_eq!((bed.report.records, bed.report.torn.clone()), (50, None));
        assert!(!fs.names().contains(&file_name(Lsn::new(51))));
        assert_eq!(bed.put(&platforms("u"), b"x"), Lsn::new(51));
    }
}

#[test]
fn an_unfinished_segment_does_not_excuse_a_torn_one_before() {
    let fs = three_segments();
    flip(&fs, &segment(41), offset_of(9) + 10);
    fs.put(&segment(51), &[0; 1024]);
    assert_eq!(corruption(try_open(&fs, small())).2, 50, "it was synced before the next was made");
    assert!(fs.names().contains(&file_name(Lsn::new(51))), "nothing was changed");
}

#[test]
fn a_headless_segment_with_records_is_refused() {
    let fs = three_segments();
    let mut bytes = fs.bytes(&segment(41));
    bytes[..64].fill(0);
    fs.put(&segment(41), &bytes);
    assert_eq!(corruption(try_open(&fs, small())).2, 41);
}

#[test]
fn a_lone_headless_segment_that_is_not_the_first_is_refused() {
    let fs = MemoryFs::default();
    fs.put(&segment(41), &[0; 1024]);
    assert_eq!(corruption(try_open(&fs, small())).2, 41);
    let fs = MemoryFs::default();
    fs.put(&segment(1), &[0; 1024]);
    assert!(open(&fs, small()).report.created);
}

#[test]
fn newer_formats_are_named() {
    let fs = three_segments();
    let mut bytes = fs.bytes(&segment(41));
    bytes[8] = 9;
    let crc = crc32c::crc32c(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    fs.put(&segment(41), &bytes);
    assert!(matches!(try_open(&fs, small()), Err(LogError::Newer { version: 9, .. })));

    let fs = three_segments();
    let mut bytes = fs.bytes(&segment(41));
    let last = offset_of(9);
    bytes[last + 24] = 7;
    let crc = crc32c::crc32c(&bytes[last..last + 4]);
    let length = u32::from_le_bytes(bytes[last..last + 4].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c_append(crc, &bytes[last + 8..last + 32 + length]);
    bytes[last + 4..last + 8].copy_from_slice(&crc.to_le_bytes());
    fs.put(&segment(41), &bytes);
    assert!(matches!(try_open(&fs, small()), Err(LogError::Newer { version: 7, .. })));
}

#[test]
fn other_files_are_left_alone() {
    let fs = three_segments();
    for name in ["cut-1-2.bak", "notes.log", "00000000000000000041.log.tmp"] {
        fs.put(&dir().join(name), b"mine");
    }
    assert_eq!(open(&fs, small()).report.records, 50);
    assert_eq!(fs.names().len(), 6);
}

#[test]
fn on_the_machines_own_disk() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data").join("log");
    let options = LogOptions { segment_bytes: 8 << 10, ..small() };
    let records = 200_u64;
    let (log, report) = Log::open(&Env::system(), &dir, options, &mut |_, _| {}).unwrap();
    assert!(report.created);
    let stream = log.stream(&platforms("u"));
    let (told, answers) = std::sync::mpsc::channel();
    for n in 0..records {
        let told = told.clone();
        log.append(1, &[&stream], &[1; 100], move |how| told.send((n, how)).unwrap()).unwrap();
    }
    let heard: Vec<_> = answers.iter().take(200).collect();
    assert_eq!(heard, (0..records).map(|n| (n, Ok(()))).collect::<Vec<_>>());
    log.close().unwrap();
    drop((stream, log));
    let (log, report) = Log::open(&Env::system(), &dir, options, &mut |_, _| {}).unwrap();
    assert_eq!((report.records, report.torn.clone()), (records, None));
    for at in log.unpublished(&platforms("u")) {
        assert_eq!(log.read(&at).unwrap().payload, &[1; 100][..]);
    }
    log.published(&platforms("u"), Lsn::new(records));
    assert_eq!(log.remove_published_segments().unwrap().segments, report.segments - 1);
    log.close().unwrap();
}

#[test]
fn a_crash_at_the_first_start_is_no_harm() {
    for seed in 0..50 {
        let bed = new_bed();
        let fs = bed.fs.crash(&mut Dice(seed));
        assert_eq!(open(&fs, small()).report.torn, None);
        // Before anything was synced.
        let fs = MemoryFs::default();
        fs.faults(|f| f.sync_fails_after = Some(0));
        assert!(try_open(&fs, small()).is_err());
        open(&fs.crash(&mut Dice(seed)), small());
    }
}
