//! What fuzzing drives in this module: records as bytes, damaged ones above all.

use super::Lsn;
use super::frame::{FRAME_ALIGN, decode, seal_all};
use super::payload::{self, Op, OpRef};
use super::record::{Subject, subject_of};
use super::scan::{max_records, scan};

fn encoded(ops: &[Op]) -> Vec<u8> {
    let mut refs = Vec::new();
    for op in ops {
        refs.push(match op {
            Op::Put(row) => OpRef::Put(row),
            Op::Delete(id) => OpRef::Delete(id),
        });
    }
    let mut bytes = Vec::new();
    payload::encode(&refs, crate::domain::Micros::new(0), &mut bytes);
    bytes
}

/// Reads bytes as records, in every way the log does. Where the first byte is odd the checksums
/// are made right first, so that what lies behind them is reached.
pub fn read(data: &[u8]) {
    let Some((flag, bytes)) = data.split_first() else { return };
    let mut records = bytes.to_vec();
    if flag & 1 == 1 {
        // It stops at the first bytes that are no frame; those before it have right checksums.
        let _ = seal_all(&mut records, Lsn::NONE);
    }
    let (mut at, mut read) = (0, 0);
    while let Some(Ok(frame)) = records.get(at..).map(decode) {
        assert!(frame.bytes > 0 && frame.bytes.is_multiple_of(FRAME_ALIGN));
        at += frame.bytes;
        read += 1;
        assert!(at <= records.len(), "a record ends inside its bytes");
        let Ok(Subject::Partitions(keys)) = subject_of(&frame) else { continue };
        if let Ok(ops) = payload::decode(&keys, frame.payload) {
            assert_eq!(ops.len(), keys.len());
            let once = encoded(&ops);
            let again = payload::decode(&keys, &once).map(|ops| encoded(&ops));
            assert_eq!(again.as_ref(), Ok(&once), "rows survive the log");
        }
    }
    assert!(read <= max_records(records.len()));
    let first = Lsn::new(u64::from(*flag));
    let found = scan(&records, first, |_, frame| subject_of(frame).map(drop));
    assert!(found.end <= records.len());
}
