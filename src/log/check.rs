//! Checking a log, open or not: every record of every segment, the chain of segments, the tail as
//! an opening would judge it. Changes nothing. Memory: one segment.
//!
//! A server may write meanwhile. It removes segments from the front, which are then passed over;
//! it adds segments, which are not waited for; it appends to the last, where a reading that is not
//! one moment can miss a record and see a later one. So damage counts only where two readings in a
//! row find it in the same place: what a later record proves to have been written is there by
//! then.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::bytes_at::end_of_nonzero;
use super::folder::{SegmentFile, read_segment, segment_files};
use super::inspect::{InspectSummary, Walk};
use super::scan::{Scan, scan};
use super::segment::{HeaderError, RECORDS_AT, SegmentHeader};
use super::{Finding, LogError, Lsn, TornTail};
use crate::env::Env;

/// What a check found.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The log's id; `None` where no segment has a whole header.
    pub log_id: Option<Uuid>,
    /// First LSN of the oldest segment; [`Lsn::NONE`] where there is none.
    pub oldest: Lsn,
    /// Highest LSN of a whole record, or of one that a segment says came before it.
    pub last: Lsn,
    /// No LSN up to this one is given any more: that of the last record, or what a segment behind a
    /// gap leaves out.
    pub given: Lsn,
    /// Segments.
    pub segments: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Damaged places, the torn tail not among them.
    pub damages: u64,
    /// What an opening would cut: a record that was being written, or was when a crash came.
    pub torn: Option<TornTail>,
}

/// Checks the log in `dir`. `visitor` gets every whole record and every damaged place; `read`
/// hears of segments done.
///
/// # Errors
/// [`LogError::Io`]; damage is no error here.
pub fn check(
    env: &Env,
    dir: &Path,
    visitor: &mut dyn FnMut(&Finding<'_>),
    read: &mut dyn FnMut(),
) -> Result<Checked, LogError> {
    let files = segment_files(env, dir)?;
    let mut walk = Walk { visitor, summary: InspectSummary::default() };
    let mut checked = Checked::default();
    let mut before: Option<(Uuid, Lsn)> = None;
    for (index, file) in files.iter().enumerate() {
        let settled = settled(env, dir, file)?;
        read();
        let Some((bytes, found)) = settled else {
            // Published and removed since the folder was listed, and so is all before it.
            before = None;
            continue;
        };
        let is_last = index + 1 == files.len();
        checked.segments += 1;
        checked.bytes += file.bytes;
        if checked.oldest == Lsn::NONE {
            checked.oldest = file.first;
        }
        before = segment(&mut walk, &mut checked, (file, is_last), &bytes, &found, before);
        checked.last = checked.last.max(walk.summary.last_lsn);
        checked.given = checked.given.max(checked.last);
    }
    checked.records = walk.summary.records;
    checked.damages = walk.summary.damages;
    Ok(checked)
}

/// Checks one segment, and answers what must come before the next.
fn segment(
    walk: &mut Walk<'_>,
    checked: &mut Checked,
    (file, is_last): (&SegmentFile, bool),
    bytes: &[u8],
    found: &Scan,
    before: Option<(Uuid, Lsn)>,
) -> Option<(Uuid, Lsn)> {
    let name = file.name();
    let empty = end_of_nonzero(bytes.get(RECORDS_AT..).unwrap_or_default()) == 0;
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) => header,
        // One that is being made, or was when a crash came.
        Err(HeaderError::Damaged) if is_last && empty => return None,
        Err(HeaderError::Damaged) => {
            let what = "no whole segment header".to_owned();
            walk.damage(&name, 0, RECORDS_AT.min(bytes.len()), file.first, what);
            walk.records(&name, bytes, file.first);
            return None;
        }
        Err(HeaderError::Newer(version)) => {
            walk.damage(&name, 0, RECORDS_AT, file.first, format!("a header of version {version}"));
            return None;
        }
    };
    checked.log_id = checked.log_id.or(Some(header.log_id));
    checked.last = checked.last.max(header.previous_last);
    checked.given = checked.given.max(header.first.previous());
    if header.first != file.first {
        let what = format!("the segment that begins with LSN {}", header.first);
        walk.damage(&name, 0, 0, file.first, what);
    }
    match before {
        Some((log_id, _)) if log_id != header.log_id => {
            walk.damage(&name, 0, 0, file.first, "a segment of another log".to_owned());
        }
        Some((_, last)) if last != header.previous_last => {
            let what = format!("LSN {last} comes before, not {}", header.previous_last);
            walk.damage(&name, 0, 0, last.next(), what);
        }
        _ => {}
    }
    let torn = found.fault.as_ref().filter(|f| is_last && f.proof.is_none() && f.what.is_damage());
    let whole = match torn {
        Some(fault) => {
            checked.torn = Some(TornTail {
                file: name.clone(),
                offset: found.end as u64,
                bytes: fault.dirty_end.saturating_sub(found.end) as u64,
                lsn: found.last.next(),
            });
            bytes.get(..found.end).unwrap_or_default()
        }
        None => bytes,
    };
    walk.records(&name, whole, file.first);
    let last = if found.records == 0 { header.previous_last } else { found.last };
    Some((header.log_id, last))
}

/// How often a segment is read at most until two readings agree. A writer moves on between them,
/// so that one of a log in use does not.
const READINGS: usize = 5;

/// A segment's bytes, read again until what is wrong with them stays where it is; `None` where
/// the file is gone.
fn settled(env: &Env, dir: &Path, file: &SegmentFile) -> Result<Option<(Vec<u8>, Scan)>, LogError> {
    let mut bytes = Vec::new();
    let mut before: Option<Scan> = None;
    for _ in 0..READINGS {
        match read_segment(env, dir, file, &mut bytes, &mut |_| {}) {
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            other => other?,
        }
        let found = scan(&bytes, file.first, |_, _| Ok(()));
        let again = before.as_ref().is_some_and(|b| (b.end, b.last) == (found.end, found.last));
        let header = SegmentHeader::decode(&bytes).is_ok();
        if (found.fault.is_none() && header) || again {
            return Ok(Some((bytes, found)));
        }
        before = Some(found);
    }
    let found = scan(&bytes, file.first, |_, _| Ok(()));
    // Still moving: a writer is at work, and what stands at the end is its next record.
    let end = found.end;
    let quiet = Scan { fault: None, ..found };
    bytes.truncate(end);
    Ok(Some((bytes, quiet)))
}
