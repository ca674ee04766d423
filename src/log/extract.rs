//! One log out of several folders of segments, up to a point: for backups and restores.
//!
//! A segment may be in several folders, longer in one than in another: the longest counts, and
//! the others must agree with it as far as they go. Segments must follow each other. What is
//! written are segments of the same format, each as long as its records. Memory: one segment of
//! each folder.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;
use uuid::Uuid;

use super::folder::{SegmentFile, read_segment, segment_files};
use super::frame::RecordKind;
use super::payload;
use super::record::{Subject, subject_of};
use super::scan::{Scan, scan};
use super::segment::{RECORDS_AT, SEGMENT_HEADER_BYTES, SegmentHeader, create, file_name};
use super::{LogError, Lsn};
use crate::domain::{Micros, UserId};
use crate::env::{Env, OpenMode};

/// How far to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// As far as there are records.
    End,
    /// Through this LSN.
    Lsn(Lsn),
    /// Through the last record before the first that was made later.
    Time(Micros),
}

/// Why no log could be made of the segments.
#[derive(Debug, Error)]
pub enum ExtractError {
    /// The file system or the log's files.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Segments are missing.
    #[error("the log has a gap: nothing holds what comes after LSN {after} and before {file}")]
    Gap {
        /// The last LSN before the gap.
        after: Lsn,
        /// The segment after it.
        file: String,
    },
    /// Two folders have different records under one LSN.
    #[error("{file} is not the same in two folders: they are of logs that went different ways")]
    Diverged {
        /// The segment.
        file: String,
    },
    /// Segments of logs with different ids.
    #[error("{file} belongs to another log")]
    OtherLog {
        /// The segment.
        file: String,
    },
    /// The log ends earlier.
    #[error("the log at hand ends at LSN {last}, before {wanted}")]
    Ends {
        /// The last LSN.
        last: Lsn,
        /// The one that was asked for.
        wanted: Lsn,
    },
    /// There is no segment.
    #[error("there is no log")]
    NoLog,
}

/// What was extracted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extracted {
    /// The log's id.
    pub log_id: Uuid,
    /// First LSN of the oldest segment.
    pub first: Lsn,
    /// The last LSN; the one before `first` where there are no records.
    pub last: Lsn,
    /// Records.
    pub records: u64,
    /// Erasures among them.
    pub erasures: Vec<(UserId, Lsn)>,
    /// When the last record that tells a time was made.
    pub time: Option<Micros>,
    /// The segments' names, ascending.
    pub files: Vec<String>,
}

/// Writes the log that the segments in `folders` make together, from the segment `from` on and
/// through `until`, to the folder `to`, which must hold none. On return what was read and what
/// was written survive power loss.
///
/// # Errors
/// [`ExtractError`]; files may have been written.
pub fn extract(
    env: &Env,
    folders: &[PathBuf],
    to: &Path,
    from: Option<Lsn>,
    until: Until,
) -> Result<Extracted, ExtractError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match attempt(env, folders, to, from, until) {
            // A running server moves segments from one folder to another: one that left the second
            // before it was listed may have come to the first after that.
            Err(ExtractError::Gap { .. } | ExtractError::Ends { .. }) if tries < TRIES => {}
            other => return other,
        }
    }
}

/// How often folders are looked at before something counts as missing.
const TRIES: u32 = 5;

fn attempt(
    env: &Env,
    folders: &[PathBuf],
    to: &Path,
    from: Option<Lsn>,
    until: Until,
) -> Result<Extracted, ExtractError> {
    let from = from.unwrap_or(Lsn::NONE);
    let mut all: BTreeMap<Lsn, Vec<(&Path, SegmentFile)>> = BTreeMap::new();
    for folder in folders {
        for file in segment_files(env, folder)?.into_iter().filter(|f| f.first >= from) {
            all.entry(file.first).or_default().push((folder, file));
        }
    }
    env.fs.create_dir_all(to).map_err(LogError::io("make", "the folder of the copy"))?;
    let mut made: Option<Extracted> = None;
    for (first, places) in all {
        let name = file_name(first);
        let Some(segment) = longest(env, &places, &name)? else { continue };
        let header = segment.header;
        if let Some(made) = &made {
            if made.log_id != header.log_id {
                return Err(ExtractError::OtherLog { file: name });
            }
            if made.last != header.previous_last {
                return Err(ExtractError::Gap { after: made.last, file: name });
            }
        }
        let made = made.get_or_insert_with(|| Extracted {
            log_id: header.log_id,
            first,
            last: header.previous_last,
            records: 0,
            erasures: Vec::new(),
            time: None,
            files: Vec::new(),
        });
        if reached(until, made) {
            break;
        }
        let (end, whole) = take(&segment, until, made);
        let kept = segment.bytes.get(..end).unwrap_or_default();
        let path = to.join(&name);
        env.fs.replace(&path, kept).map_err(LogError::io("write", &name))?;
        made.files.push(name);
        if !whole {
            break;
        }
    }
    let made = made.ok_or(ExtractError::NoLog)?;
    match until {
        Until::Lsn(wanted) if made.last < wanted => {
            Err(ExtractError::Ends { last: made.last, wanted })
        }
        _ => Ok(made),
    }
}

fn reached(until: Until, made: &Extracted) -> bool {
    matches!(until, Until::Lsn(wanted) if made.last >= wanted)
}

/// A segment, read.
struct Segment {
    header: SegmentHeader,
    bytes: Vec<u8>,
    scan: Scan,
}

/// The longest of a segment's copies; `None` where none has a whole header any more.
fn longest(
    env: &Env,
    places: &[(&Path, SegmentFile)],
    name: &str,
) -> Result<Option<Segment>, ExtractError> {
    let mut best: Option<Segment> = None;
    for (folder, file) in places {
        let mut bytes = Vec::new();
        match read_segment(env, folder, file, &mut bytes, &mut |_| {}) {
            // A running server let it go.
            Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                continue;
            }
            other => other?,
        }
        let Ok(header) = SegmentHeader::decode(&bytes) else { continue };
        let scan = scan(&bytes, file.first, |_, _| Ok(()));
        // What was read may not be on the disk yet; it must be before anything rests on it.
        let synced = env.fs.open(&folder.join(name), OpenMode::Read).and_then(|f| f.sync_data());
        match synced {
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(LogError::io("sync", name))?,
        }
        let found = Segment { header, bytes, scan };
        let Some(other) = &best else {
            best = Some(found);
            continue;
        };
        if other.header.log_id != header.log_id {
            return Err(ExtractError::OtherLog { file: name.to_owned() });
        }
        let common = other.scan.end.min(found.scan.end);
        if other.bytes.get(..common) != found.bytes.get(..common) {
            return Err(ExtractError::Diverged { file: name.to_owned() });
        }
        if found.scan.end > other.scan.end {
            best = Some(found);
        }
    }
    Ok(best)
}

/// Counts a segment's records as far as `until` lets them in: where they end, and whether all are.
fn take(segment: &Segment, until: Until, made: &mut Extracted) -> (usize, bool) {
    let mut end = RECORDS_AT;
    let mut whole = true;
    scan(&segment.bytes, segment.header.first, |offset, frame| {
        if !whole {
            return Ok(());
        }
        let subject = subject_of(frame)?;
        let at = match &subject {
            Subject::Partitions(keys) => payload::time_of(keys, frame.payload),
            Subject::Erased(_) => None,
        };
        let stays = match until {
            Until::End => true,
            Until::Lsn(wanted) => frame.lsn <= wanted,
            Until::Time(time) => at.is_none_or(|at| at <= time),
        };
        if !stays {
            whole = false;
            return Ok(());
        }
        if let (RecordKind::EraseUser, Subject::Erased(user)) = (frame.kind, subject) {
            made.erasures.push((user, frame.lsn));
        }
        made.time = made.time.max(at);
        made.last = frame.lsn;
        made.records += 1;
        end = offset + frame.bytes;
        Ok(())
    });
    (end, whole)
}

/// The id of the log whose segments are in `dir`; `None` where none has a whole header.
///
/// # Errors
/// [`LogError::Io`].
pub fn id_of(env: &Env, dir: &Path) -> Result<Option<Uuid>, LogError> {
    for file in segment_files(env, dir)? {
        let mut header = [0; RECORDS_AT];
        let name = file.name();
        let read = env.fs.open(&dir.join(&name), OpenMode::Read);
        match read.and_then(|open| open.read_exact_at(&mut header, 0)) {
            Err(e)
                if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => {}
            Err(e) => return Err(LogError::io("read", &name)(e)),
            Ok(()) => {
                if let Ok(header) = SegmentHeader::decode(&header) {
                    return Ok(Some(header.log_id));
                }
            }
        }
    }
    Ok(None)
}

/// How far the LSNs of a restored log are from those of the log it was restored from, which may
/// still be written: a person sees the difference, and neither gives the other's.
const APART: u64 = 1_000_000_000_000;

/// Begins a segment after `last` whose LSNs no other continuation of this log has. On return it
/// survives power loss.
///
/// # Errors
/// [`LogError::Io`].
pub fn continue_apart(env: &Env, dir: &Path, log_id: Uuid, last: Lsn) -> Result<Lsn, LogError> {
    let first = Lsn::new((last.get() / APART + 1).saturating_mul(APART) + 1);
    let header = SegmentHeader { log_id, first, previous_last: last };
    let made = create(env.fs.as_ref(), dir, &header, SEGMENT_HEADER_BYTES);
    made.map_err(io::Error::from).map_err(LogError::io("make", &file_name(first)))?;
    Ok(first)
}
