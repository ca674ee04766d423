//! Reading a segment's bytes from its first record to its end. Pure: no files.
//!
//! What a scan promises: every record it hands out is whole, and their LSNs follow one another.
//! Where that ends before the bytes do, it says what it found and whether the record missing
//! there had been durable: a later record whose `synced` LSN has reached it proves so.

use super::Lsn;
use super::bytes_at::end_of_nonzero;
use super::frame::{FRAME_ALIGN, FRAME_HEADER_BYTES, Frame, FrameError, decode, may_begin};
use super::segment::RECORDS_AT;

/// What a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Offset after the last record.
    pub(crate) end: usize,
    /// LSN of the last record; the one before the segment's first where there is none.
    pub(crate) last: Lsn,
    /// Highest `synced` LSN that a record tells.
    pub(crate) synced: Lsn,
    /// How many records.
    pub(crate) records: u64,
    /// What stands at `end`, where it is not the end of what was written.
    pub(crate) fault: Option<Fault>,
}

/// Something that is neither a record nor the end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What it is.
    pub(crate) what: FaultKind,
    /// A later record that proves the missing one to have been durable.
    pub(crate) proof: Option<Lsn>,
    /// Offset after the last byte that is not zero.
    pub(crate) dirty_end: usize,
}

/// What stands where a record should.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum FaultKind {
    /// No record.
    Frame(FrameError),
    /// A whole record of another place.
    OtherLsn(Lsn),
}

impl FaultKind {
    /// Whether a crash while writing explains it.
    pub(crate) fn is_damage(self) -> bool {
        match self {
            Self::Frame(e) => e.is_damage(),
            Self::OtherLsn(_) => true,
        }
    }
}

impl std::fmt::Display for FaultKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(e) => e.fmt(f),
            Self::OtherLsn(lsn) => write!(f, "the record with LSN {lsn}"),
        }
    }
}

/// Reads the records of a whole segment file. `visit` gets each with its offset; an error of it
/// ends the scan there, as a fault.
pub(crate) fn scan(
    segment: &[u8],
    first: Lsn,
    mut visit: impl FnMut(usize, &Frame<'_>) -> Result<(), FrameError>,
) -> Scan {
    let mut found = Scan {
        end: RECORDS_AT.min(segment.len()),
        last: first.previous(),
        synced: Lsn::NONE,
        records: 0,
        fault: None,
    };
    loop {
        let rest = segment.get(found.end..).unwrap_or_default();
        let expected = found.last.next();
        let what = match decode(rest) {
            Ok(frame) if frame.lsn != expected => FaultKind::OtherLsn(frame.lsn),
            Ok(frame) => match visit(found.end, &frame) {
                Ok(()) => {
                    found.end += frame.bytes;
                    found.last = expected;
                    found.synced = found.synced.max(frame.synced);
                    found.records += 1;
                    continue;
                }
                Err(e) => FaultKind::Frame(e),
            },
            Err(e) => FaultKind::Frame(e),
        };
        let dirty_end = found.end + end_of_nonzero(rest);
        if dirty_end > found.end || !matches!(what, FaultKind::Frame(FrameError::End)) {
            let written = segment.get(found.end..dirty_end).unwrap_or_default();
            found.fault = Some(Fault { what, proof: proof_of(written, rest, expected), dirty_end });
        }
        return found;
    }
}

/// LSN of a record in `rest` that could only be written after `missing` was durable.
fn proof_of(written: &[u8], rest: &[u8], missing: Lsn) -> Option<Lsn> {
    let highest = missing.get().saturating_add(max_records(rest.len()));
    let proves = |lsn: Lsn, synced: Lsn| lsn > missing && synced >= missing && lsn.get() <= highest;
    find_record(written, rest, proves).map(|(_, frame)| frame.lsn)
}

/// The first whole record in `rest` that passes `wanted` (LSN, synced LSN), with its offset.
/// Only offsets inside `written`, a prefix of `rest`, are tried.
pub(crate) fn find_record<'a>(
    written: &[u8],
    rest: &'a [u8],
    wanted: impl Fn(Lsn, Lsn) -> bool,
) -> Option<(usize, Frame<'a>)> {
    (0..written.len()).step_by(FRAME_ALIGN).find_map(|at| {
        let bytes = rest.get(at..)?;
        if !may_begin(bytes, &wanted) {
            return None;
        }
        decode(bytes).ok().map(|frame| (at, frame))
    })
}

/// Most records that so many bytes can hold.
pub(crate) fn max_records(bytes: usize) -> u64 {
    (bytes / FRAME_HEADER_BYTES) as u64
}

#[cfg(test)]
#[path = "tests/scan.rs"]
mod tests;
