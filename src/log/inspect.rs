//! Looking at a log that is not open, damaged or not. Changes nothing. Memory: one segment.

use std::path::Path;

use super::bytes_at::end_of_nonzero;
use super::folder::{SegmentFile, read_segment, segment_files};
use super::frame::{Frame, FrameError, decode};
use super::record::subject_of;
use super::scan::{FaultKind, find_record};
use super::segment::{HeaderError, RECORDS_AT, SegmentHeader};
use super::{LogError, Lsn, Subject};
use crate::env::Env;

/// Something found in the log's folder. Files by name, offsets and lengths in bytes.
#[derive(Debug)]
pub enum Finding<'a> {
    /// A segment begins; its records and damages follow.
    Segment {
        /// Its file.
        file: &'a str,
        /// Length of the file.
        bytes: u64,
        /// LSN of its first record.
        first: Lsn,
        /// LSN of the last record before it.
        previous_last: Lsn,
    },
    /// A whole record.
    Record {
        /// The segment's file.
        file: &'a str,
        /// Where it begins.
        offset: u64,
        /// Its length, padding included.
        bytes: u64,
        /// Its LSN.
        lsn: Lsn,
        /// Highest LSN that was durable when it was written.
        synced: Lsn,
        /// Whom it concerns.
        subject: Subject,
        /// What was appended.
        payload: &'a [u8],
    },
    /// A place where something else should be.
    Damage {
        /// The segment's file.
        file: &'a str,
        /// Where it begins.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// The LSN that should be there.
        expected: Lsn,
        /// What is there.
        what: String,
    },
}

/// What an inspection counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct InspectSummary {
    /// Segments.
    pub segments: u64,
    /// Whole records.
    pub records: u64,
    /// Damaged places. A torn tail at the very end counts as one; opening cuts it.
    pub damages: u64,
    /// Highest LSN of a whole record.
    pub last_lsn: Lsn,
}

/// Walks every segment and record in order and goes on after damage.
///
/// # Errors
/// [`LogError::Io`]; damage is no error here.
pub fn inspect(
    env: &Env,
    dir: &Path,
    visitor: &mut dyn FnMut(&Finding<'_>),
) -> Result<InspectSummary, LogError> {
    let mut walk = Walk { visitor, summary: InspectSummary::default() };
    let mut bytes = Vec::new();
    let mut before = None;
    for file in segment_files(env, dir)? {
        read_segment(env, dir, &file, &mut bytes, &mut |_| {})?;
        let previous = walk.segment(&file, &bytes, before);
        before = Some(walk.summary.last_lsn.max(previous));
    }
    Ok(walk.summary)
}

/// A walk through segments.
pub(crate) struct Walk<'v> {
    pub(crate) visitor: &'v mut dyn FnMut(&Finding<'_>),
    pub(crate) summary: InspectSummary,
}

impl Walk<'_> {
    /// Walks one segment; what its header says comes before it.
    fn segment(&mut self, file: &SegmentFile, segment: &[u8], before: Option<Lsn>) -> Lsn {
        let name = file.name();
        self.summary.segments += 1;
        let mut previous = Lsn::NONE;
        match SegmentHeader::decode(segment) {
            Ok(header) => {
                let SegmentHeader { first, previous_last, .. } = header;
                previous = previous_last;
                (self.visitor)(&Finding::Segment {
                    file: &name,
                    bytes: file.bytes,
                    first,
                    previous_last,
                });
                if let Some(last) = before.filter(|last| *last != previous_last) {
                    let what = format!("LSN {last} comes before, not {previous_last}");
                    self.damage(&name, 0, 0, last.next(), what);
                }
            }
            Err(HeaderError::Newer(version)) => {
                self.damage(&name, 0, 64, file.first, format!("a header of version {version}"));
            }
            Err(HeaderError::Damaged) => {
                let what = "no whole segment header".to_owned();
                self.damage(&name, 0, RECORDS_AT.min(segment.len()), file.first, what);
            }
        }
        self.records(&name, segment, file.first);
        previous
    }

    /// Tells of every record of a segment, and of every damaged place.
    pub(crate) fn records(&mut self, name: &str, segment: &[u8], first: Lsn) {
        let mut at = RECORDS_AT;
        let mut expected = first;
        loop {
            let rest = segment.get(at..).unwrap_or_default();
            // Looks at everything that follows: only where a record does not.
            let written = || rest.get(..end_of_nonzero(rest)).unwrap_or_default();
            let what = match decode(rest) {
                Ok(frame) if frame.lsn == expected => match self.record(name, at, &frame) {
                    Ok(()) => {
                        at += frame.bytes;
                        expected = expected.next();
                        continue;
                    }
                    Err(e) => FaultKind::Frame(e),
                },
                Ok(frame) => FaultKind::OtherLsn(frame.lsn),
                Err(FrameError::End) if written().is_empty() => return,
                Err(e) => FaultKind::Frame(e),
            };
            let written = written();
            let next = find_record(written, rest, |lsn, _| lsn > expected);
            let skipped = next.as_ref().map_or(written.len(), |(offset, _)| *offset);
            self.damage(name, at, skipped, expected, what.to_string());
            let Some((_, frame)) = next else { return };
            at += skipped;
            expected = frame.lsn;
        }
    }

    fn record(&mut self, file: &str, offset: usize, frame: &Frame<'_>) -> Result<(), FrameError> {
        let subject = subject_of(frame)?;
        self.summary.records += 1;
        self.summary.last_lsn = self.summary.last_lsn.max(frame.lsn);
        (self.visitor)(&Finding::Record {
            file,
            offset: offset as u64,
            bytes: frame.bytes as u64,
            lsn: frame.lsn,
            synced: frame.synced,
            subject,
            payload: frame.payload,
        });
        Ok(())
    }

    /// Tells of a damaged place.
    pub(crate) fn damage(
        &mut self,
        file: &str,
        offset: usize,
        bytes: usize,
        expected: Lsn,
        what: String,
    ) {
        self.summary.damages += 1;
        let (offset, bytes) = (offset as u64, bytes as u64);
        (self.visitor)(&Finding::Damage { file, offset, bytes, expected, what });
    }
}
