//! Giving up the end of a log that is not open, after damage: a person's decision, never the
//! server's.
//!
//! Invariants: nothing is deleted, what is cut goes to `cut-<first>-<last>.bak` files that begin
//! like segments; LSNs after the cut are higher than any that the cut part can have held, since
//! Parquet files may carry those; interrupted anywhere, the log refuses to open or is as it was,
//! and the same command finishes the work.

use std::io;
use std::path::Path;

use uuid::Uuid;

use super::bytes_at::end_of_nonzero;
use super::folder::{FOLDER, SegmentFile, read_segment, segment_files};
use super::recovery::new_log_id;
use super::scan::{Scan, max_records, scan};
use super::segment::{RECORDS_AT, SEGMENT_HEADER_BYTES, SegmentHeader, create, file_name};
use super::{LogError, Lsn};
use crate::env::{Env, OpenMode};

/// What a truncation did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TruncateReport {
    /// LSN of the last record kept; [`Lsn::NONE`] where none is.
    pub last_kept: Lsn,
    /// LSN that the next append gets.
    pub next: Lsn,
    /// Names of the files that hold what was cut.
    pub copies: Vec<String>,
}

/// A segment as it was found.
struct Found {
    file: SegmentFile,
    header: Option<SegmentHeader>,
    scan: Scan,
    /// Offset after the last byte that is not zero.
    dirty_end: usize,
    /// The record `at`, where it lies in this segment.
    cut: Option<usize>,
}

/// Removes the record `at` and everything after it. The log must not be open: the caller holds
/// the data folder's lock. On return the cut survives power loss.
///
/// # Errors
/// [`LogError::NothingToCut`] where the log ends before `at`, [`LogError::Corrupt`] where it is
/// damaged before `at` (cut there instead), [`LogError::Io`].
pub fn truncate(env: &Env, dir: &Path, at: Lsn) -> Result<TruncateReport, LogError> {
    let at = at.max(Lsn::new(1));
    let found = find(env, dir, at)?;
    // A segment with a whole record before `at` stays; those from the first other one on go.
    let kept = found.iter().take_while(|f| f.file.first < at).count();
    let (kept, gone) = found.split_at(kept);
    check_kept(kept, at)?;
    let boundary = kept.last();
    let has_tail = boundary.is_some_and(|f| f.dirty_end > f.end_kept());
    if !has_tail && gone.iter().all(Found::is_empty) {
        let last = boundary.map_or(Lsn::NONE, Found::last_record);
        return Err(LogError::NothingToCut { at, last });
    }

    let last_kept = boundary.map_or(Lsn::NONE, |f| f.last_kept(at));
    let next = first_beyond(env, dir, &found, at)?;
    let known = found.iter().find_map(|f| f.header);
    let log_id = known.map_or_else(|| new_log_id(env), |header| header.log_id);
    let mut copies = Vec::new();
    if let Some(boundary) = boundary.filter(|_| has_tail) {
        copies.push(copy_tail(env, dir, boundary, log_id, at)?);
    }
    let header = SegmentHeader { log_id, first: next, previous_last: last_kept };
    // From here until the end the log refuses to open: what comes before this segment is not
    // what it says.
    let made = create(env.fs.as_ref(), dir, &header, SEGMENT_HEADER_BYTES);
    made.map_err(io::Error::from).map_err(LogError::io("make", &file_name(next)))?;
    for segment in gone.iter().rev() {
        copies.extend(put_aside(env, dir, segment)?);
    }
    if let Some(boundary) = boundary.filter(|_| has_tail) {
        cut_tail(env, dir, boundary).map_err(LogError::io("cut", &boundary.file.name()))?;
    }
    Ok(TruncateReport { last_kept, next, copies })
}

impl Found {
    /// Offset after the last record that stays.
    fn end_kept(&self) -> usize {
        self.cut.unwrap_or(self.scan.end)
    }

    /// LSN of the last record in it or before it.
    fn last_record(&self) -> Lsn {
        let before = self.header.map_or(Lsn::NONE, |header| header.previous_last);
        if self.scan.records == 0 { before } else { self.scan.last }
    }

    /// LSN of the last record that stays; the segment begins before `at`.
    fn last_kept(&self, at: Lsn) -> Lsn {
        if self.cut.is_some() { at.previous() } else { self.last_record() }
    }

    /// Whether it holds no byte worth keeping.
    fn is_empty(&self) -> bool {
        self.dirty_end <= RECORDS_AT
    }

    /// An LSN that nothing in it can exceed, by its size.
    fn bound(&self) -> Lsn {
        let most = max_records(self.dirty_end.saturating_sub(RECORDS_AT)) + 1;
        self.scan.last.max(Lsn::new(self.file.first.get().saturating_add(most)))
    }
}

fn find(env: &Env, dir: &Path, at: Lsn) -> Result<Vec<Found>, LogError> {
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    for file in segment_files(env, dir)? {
        read_segment(env, dir, &file, &mut bytes, &mut |_| {})?;
        let header = SegmentHeader::decode(&bytes).ok().filter(|h| h.first == file.first);
        let mut cut = None;
        let scan = scan(&bytes, file.first, |offset, frame| {
            if frame.lsn == at {
                cut = Some(offset);
            }
            Ok(())
        });
        found.push(Found { file, header, scan, dirty_end: end_of_nonzero(&bytes), cut });
    }
    Ok(found)
}

/// Refuses to keep what could not be opened afterwards.
fn check_kept(kept: &[Found], at: Lsn) -> Result<(), LogError> {
    let mut before: Option<&Found> = None;
    for segment in kept {
        let corrupt = |lsn: Lsn, offset: usize, what: &str| LogError::Corrupt {
            file: segment.file.name(),
            offset: offset as u64,
            lsn,
            what: what.to_owned(),
        };
        let Some(header) = segment.header else {
            return Err(corrupt(segment.file.first, 0, "the segment's header"));
        };
        if let Some(before) = before {
            let last = before.last_record();
            if header.previous_last != last {
                return Err(corrupt(
                    last.next(),
                    0,
                    "a segment that does not follow the one before",
                ));
            }
        }
        let reaches = segment.cut.is_some() || segment.scan.last.next() >= at;
        if segment.scan.fault.is_some() && !reaches {
            let lsn = segment.scan.last.next();
            return Err(corrupt(lsn, segment.scan.end, "damage before the cut"));
        }
        before = Some(segment);
    }
    Ok(())
}

/// An LSN above all that the log, cut or not, can have held.
fn first_beyond(env: &Env, dir: &Path, found: &[Found], at: Lsn) -> Result<Lsn, LogError> {
    let mut highest = found.iter().map(Found::bound).max().unwrap_or(Lsn::NONE).max(at);
    // Copies of an earlier cut, or of this one where it was interrupted.
    for entry in env.fs.list(dir).map_err(LogError::io("list", FOLDER))? {
        let last = entry.name.strip_suffix(".bak").and_then(|name| name.rsplit('-').next());
        let last = last.and_then(|last| last.get(..20)?.parse().ok()).map(Lsn::new);
        highest = highest.max(last.unwrap_or(Lsn::NONE));
    }
    Ok(highest.next())
}

fn copy_tail(
    env: &Env,
    dir: &Path,
    boundary: &Found,
    log_id: Uuid,
    at: Lsn,
) -> Result<String, LogError> {
    let mut bytes = Vec::new();
    read_segment(env, dir, &boundary.file, &mut bytes, &mut |_| {})?;
    let header =
        SegmentHeader { log_id, first: at, previous_last: boundary.last_kept(at) }.encode();
    let mut copy = header.to_vec();
    // With the zeros at the end: the last record may end in some.
    copy.extend_from_slice(bytes.get(boundary.end_kept()..).unwrap_or_default());
    let name = free_name(env, dir, at, boundary.bound())?;
    env.fs.replace(&dir.join(&name), &copy).map_err(LogError::io("write", &name))?;
    Ok(name)
}

/// Renames a segment to a copy; removes it where there is nothing in it.
fn put_aside(env: &Env, dir: &Path, segment: &Found) -> Result<Option<String>, LogError> {
    let from = dir.join(segment.file.name());
    let name = if segment.is_empty() {
        env.fs.remove_file(&from).map_err(LogError::io("remove", &segment.file.name()))?;
        None
    } else {
        let name = free_name(env, dir, segment.file.first, segment.bound())?;
        env.fs
            .rename(&from, &dir.join(&name))
            .map_err(LogError::io("rename", &segment.file.name()))?;
        Some(name)
    };
    env.fs.sync_dir(dir).map_err(LogError::io("sync", FOLDER))?;
    Ok(name)
}

/// A name for a copy that no file has: a copy is never replaced.
fn free_name(env: &Env, dir: &Path, first: Lsn, last: Lsn) -> Result<String, LogError> {
    let taken = env.fs.list(dir).map_err(LogError::io("list", FOLDER))?;
    let stem = format!("cut-{:020}-{:020}", first.get(), last.get());
    let names = std::iter::once(format!("{stem}.bak"))
        .chain((2_u64..).map(|again| format!("{stem}.{again}.bak")));
    let free = names.into_iter().find(|name| !taken.iter().any(|entry| entry.name == *name));
    Ok(free.unwrap_or(stem))
}

fn cut_tail(env: &Env, dir: &Path, boundary: &Found) -> io::Result<()> {
    let file = env.fs.open(&dir.join(boundary.file.name()), OpenMode::Write)?;
    file.zero(boundary.end_kept() as u64, boundary.dirty_end as u64)?;
    file.sync_data()
}
