//! Files that version 1 wrote: every later version reads them. `tests/fixtures/log/` has a whole
//! log of two segments, and under `torn/` and `damaged/` its last segment in those states.
//!
//! [`written_now`] makes the same log; as long as version 1 is what is written, byte for byte.
//! Files of a version that is written no longer stay, and so do the tests that read them.

use super::*;

const FIRST: &[u8] = include_bytes!("../../../tests/fixtures/log/00000000000000000001.log");
const SECOND: &[u8] = include_bytes!("../../../tests/fixtures/log/00000000000000000005.log");
const TORN: &[u8] = include_bytes!("../../../tests/fixtures/log/torn/00000000000000000005.log");
const DAMAGED: &[u8] =
    include_bytes!("../../../tests/fixtures/log/damaged/00000000000000000005.log");

/// Offset of the record with LSN 6, the first of the last batch but one.
const SIXTH: usize = 64 + 48;

/// Seven records in segments of 512 bytes: several keys, long and non-ASCII user ids, an empty
/// payload, an erasure, a batch of two.
fn written_now() -> MemoryFs {
    let mut bed = open(&MemoryFs::default(), LogOptions { segment_bytes: 512, ..small() });
    let long = "u".repeat(128);
    bed.put(&platforms("demo_user"), b"\x01first");
    bed.put(&audiences("demo_user", 4), &[1; 100]);
    let both =
        [bed.log.stream(&audiences("ünï@example.com", 12)), bed.log.stream(&platforms("a/b"))];
    bed.log.append(1, &[&both[0], &both[1]], b"\x01two partitions", |_| {}).unwrap();
    bed.settle();
    bed.put(&platforms("demo_user"), b"");
    bed.log.rotate();
    bed.log.append_erase(&user("gone"), |_| {}).unwrap();
    bed.settle();
    bed.append(&platforms(&long), 0, b"\x01in one").unwrap();
    bed.append(&platforms("demo_user"), 0, b"\x01batch").unwrap();
    bed.settle();
    bed.put(&platforms("demo_user"), b"\x01last");
    bed.fs
}

fn stored(last: &[u8]) -> MemoryFs {
    let fs = MemoryFs::default();
    fs.put(&segment(1), FIRST);
    fs.put(&segment(5), last);
    fs
}

#[test]
fn version_1_is_still_written_so() {
    let fs = written_now();
    assert_eq!(fs.names(), [1, 5].map(|n| file_name(Lsn::new(n))));
    assert!(fs.bytes(&segment(1)) == FIRST, "the first segment differs");
    assert!(fs.bytes(&segment(5)) == SECOND, "the second segment differs");
}

#[test]
fn version_1_is_read() {
    let bed = open(&stored(SECOND), small());
    assert_eq!(bed.log.log_id().to_string(), "5a5a5a5a-5a5a-4a5a-9a5a-5a5a5a5a5a5a");
    assert_eq!((bed.report.records, bed.report.last_lsn), (8, Lsn::new(8)));
    assert_eq!((bed.report.torn.clone(), bed.report.partitions), (None, 5));
    assert_eq!(bed.report.erased, [(user("gone"), Lsn::new(5))]);
    let of_demo: [&[u8]; 4] = [b"\x01first", b"", b"\x01batch", b"\x01last"];
    assert_eq!(bed.payloads(&platforms("demo_user")), of_demo);
    assert_eq!(bed.payloads(&audiences("demo_user", 4)), [[1; 100]]);
    assert_eq!(bed.payloads(&platforms(&"u".repeat(128))), [b"\x01in one"]);
    for key in [audiences("ünï@example.com", 12), platforms("a/b")] {
        assert_eq!(bed.payloads(&key), [b"\x01two partitions"]);
    }
    let last = bed.log.read(bed.log.unpublished(&platforms("demo_user")).last().unwrap()).unwrap();
    assert_eq!((last.lsn, last.synced), (Lsn::new(8), Lsn::new(7)));
}

#[test]
fn a_torn_tail_of_version_1_is_cut() {
    let bed = open(&stored(TORN), small());
    assert_eq!(bed.report.torn.as_ref().map(|torn| torn.lsn), Some(Lsn::new(8)));
    assert_eq!(bed.report.records, 7);
}

#[test]
fn damage_in_version_1_is_found() {
    let found = corruption(try_open(&stored(DAMAGED), small()));
    assert_eq!(found, (file_name(Lsn::new(5)), SIXTH as u64, 6));
}
