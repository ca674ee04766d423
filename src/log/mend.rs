//! Mending a log that is not open: whole copies of damaged segments, LSNs above what files hold.

use std::io;
use std::path::Path;

use super::bytes_at::end_of_nonzero;
use super::folder::{read_segment, segment_files};
use super::scan::{Scan, scan};
use super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader, create, file_name};
use super::{LogError, Lsn, check, truncate};
use crate::env::Env;

/// Whether the segment `name` in the folder `other` is a whole one that fits where the log in
/// `dir` has a damaged one: of the same log, following what is before, followed by what is after,
/// and no shorter than what is there.
///
/// # Errors
/// [`LogError::Io`].
pub fn replaces(env: &Env, dir: &Path, other: &Path, name: &str) -> Result<bool, LogError> {
    let own = segment_files(env, dir)?;
    let Some(at) = own.iter().position(|file| file.name() == name) else { return Ok(false) };
    let Some(copy) = segment_files(env, other)?.into_iter().find(|file| file.name() == name) else {
        return Ok(false);
    };
    let mut bytes = Vec::new();
    let mut read =
        |folder: &Path, file| -> Result<(Option<SegmentHeader>, Scan, usize), LogError> {
            read_segment(env, folder, file, &mut bytes, &mut |_| {})?;
            let found = scan(&bytes, file.first, |_, _| Ok(()));
            Ok((SegmentHeader::decode(&bytes).ok(), found, end_of_nonzero(&bytes)))
        };
    let (Some(header), whole, _) = read(other, &copy)? else { return Ok(false) };
    let last = if whole.records == 0 { header.previous_last } else { whole.last };
    if whole.fault.is_some() {
        return Ok(false);
    }
    if let Some(before) = at.checked_sub(1).and_then(|at| own.get(at)) {
        let (before_header, found, _) = read(dir, before)?;
        let follows = before_header.is_some_and(|b| {
            let last = if found.records == 0 { b.previous_last } else { found.last };
            b.log_id == header.log_id && last == header.previous_last
        });
        if !follows {
            return Ok(false);
        }
    }
    if let Some(after) = own.get(at + 1) {
        let (after, _, _) = read(dir, after)?;
        return Ok(after.is_some_and(|a| a.log_id == header.log_id && a.previous_last == last));
    }
    let Some(damaged) = own.get(at) else { return Ok(false) };
    let (_, _, written) = read(dir, damaged)?;
    Ok(whole.end >= written)
}

/// Makes the log in `dir` go on above `above`: files hold changes with LSNs up to it, which the
/// log lost and must not give again. On return that survives power loss.
///
/// # Errors
/// [`LogError`].
pub fn raise(env: &Env, dir: &Path, above: Lsn) -> Result<Lsn, LogError> {
    let mut found = check(env, dir, &mut |_| {}, &mut || {})?;
    if let Some(torn) = &found.torn {
        // Only the last segment may end torn; it is about to be the last but one.
        truncate(env, dir, torn.lsn)?;
        found = check(env, dir, &mut |_| {}, &mut || {})?;
    }
    let last_of = segment_files(env, dir)?.pop();
    let first = above.max(found.last).max(last_of.map_or(Lsn::NONE, |file| file.first)).next();
    let Some(log_id) = found.log_id else { return Err(LogError::NotWritten(above)) };
    let header = SegmentHeader { log_id, first, previous_last: found.last };
    let made = create(env.fs.as_ref(), dir, &header, SEGMENT_HEADER_BYTES);
    made.map_err(io::Error::from).map_err(LogError::io("make", &file_name(first)))?;
    Ok(first)
}
