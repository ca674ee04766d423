//! Opening the log: read every segment, check that nothing acknowledged is missing, cut a torn
//! tail, build the unpublished index.
//!
//! Invariants: nothing in the folder changes before everything in it was found sound; what
//! opening reports as the last LSN survives power loss when it returns; only bytes that no
//! acknowledged record can be part of are cut. Memory: one segment and the index.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use uuid::{Builder, Uuid};

use super::batch::{Batch, Tail};
use super::bytes_at::end_of_nonzero;
use super::folder::{FOLDER, SegmentFile, read_segment, rewrite, segment_files};
use super::frame::{Frame, FrameError, RecordKind};
use super::index::{Index, Location, StreamNumber};
use super::scan::{Fault, FaultKind, Scan, scan};
use super::segment::{HeaderError, RECORDS_AT, SegmentHeader, create, file_name, is_no_space};
use super::segments::Segments;
use super::shared::Shared;
use super::spare::SPARE;
use super::state::{Phase, Progress, State};
use super::status::WriterCounters;
use super::{LogError, LogOptions, Lsn, OpenReport, TornTail, Writer};
use crate::domain::UserId;
use crate::env::{Env, File, OpenMode};

/// Opens the log in `dir`, or begins one.
pub(crate) fn open(
    env: &Env,
    dir: &Path,
    options: LogOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(Writer, OpenReport), LogError> {
    let started = env.clock.monotonic();
    env.fs.keep_dir(dir).map_err(LogError::io("make", FOLDER))?;
    let mut files = segment_files(env, dir)?;
    let unfinished = unfinished_last(env, dir, &files)?;
    if unfinished.is_some() {
        files.pop();
    }
    let read = read_all(env, dir, &files, unfinished.is_some(), progress)?;
    if let Some(file) = &unfinished {
        let gone = env.fs.remove_file(&dir.join(file.name()));
        gone.and_then(|()| env.fs.sync_dir(dir)).map_err(LogError::io("remove", &file.name()))?;
    }
    remove_spare(env, dir)?;
    let mut report = OpenReport {
        log_id: Uuid::nil(),
        created: files.is_empty(),
        records: read.records,
        bytes: read.record_bytes,
        segments: files.len().max(1),
        last_lsn: Lsn::NONE,
        torn: None,
        unfinished_segment: unfinished.map(|file| file.name()),
        erased: read.erasures.iter().map(|(lsn, user)| (user.clone(), *lsn)).collect(),
        partitions: read.index.partitions_held(),
        elapsed: Duration::ZERO,
    };
    let end = match &read.last {
        None => begin(env, dir, options)?,
        Some(last) => {
            report.torn = last.torn();
            last.make_durable(env, dir, &read.buffer)?
        }
    };
    report.log_id = end.log_id;
    report.last_lsn = end.last;
    report.elapsed = env.clock.monotonic().saturating_sub(started);
    Ok((read.into_writer(env, dir, options, end), report))
}

/// The last segment, where a crash left it without a header: nothing was written into it then,
/// since records follow the header's fsync.
fn unfinished_last(
    env: &Env,
    dir: &Path,
    files: &[SegmentFile],
) -> Result<Option<SegmentFile>, LogError> {
    let Some((last, before)) = files.split_last() else { return Ok(None) };
    let mut bytes = Vec::new();
    read_segment(env, dir, last, &mut bytes, &mut |_| {})?;
    let headless = SegmentHeader::decode(&bytes) == Err(HeaderError::Damaged);
    let empty = end_of_nonzero(bytes.get(RECORDS_AT..).unwrap_or_default()) == 0;
    // A segment that is not the log's first is alone only after it was whole.
    let explained = !before.is_empty() || last.first == Lsn::new(1);
    Ok((headless && empty && explained).then_some(*last))
}

/// Removes a spare segment that a crash left: no record was ever in it.
fn remove_spare(env: &Env, dir: &Path) -> Result<(), LogError> {
    match env.fs.remove_file(&dir.join(SPARE)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LogError::io("remove", SPARE)(e)),
        _ => Ok(()),
    }
}

/// Where the log ends, and the open file there.
struct End {
    log_id: Uuid,
    file: Arc<dyn File>,
    tail: Tail,
    last: Lsn,
}

/// Begins a log.
fn begin(env: &Env, dir: &Path, options: LogOptions) -> Result<End, LogError> {
    let header =
        SegmentHeader { log_id: new_log_id(env), first: Lsn::new(1), previous_last: Lsn::NONE };
    let made = create(env.fs.as_ref(), dir, &header, options.segment_bytes);
    let file = made.map_err(io::Error::from);
    let file = file.map_err(LogError::io("make", &file_name(header.first)))?;
    let tail = Tail::empty(header.first, options.segment_bytes);
    Ok(End { log_id: header.log_id, file, tail, last: Lsn::NONE })
}

/// An id for a new log.
pub(crate) fn new_log_id(env: &Env) -> Uuid {
    let mut random = [0; 16];
    env.random.fill(&mut random);
    Builder::from_random_bytes(random).into_uuid()
}

/// The last segment as it was read.
struct LastSegment {
    header: SegmentHeader,
    file: SegmentFile,
    scan: Scan,
}

impl LastSegment {
    /// LSN of the last record in it or before it.
    fn last_record(&self) -> Lsn {
        if self.scan.records == 0 { self.header.previous_last } else { self.scan.last }
    }

    fn torn(&self) -> Option<TornTail> {
        self.scan.fault.as_ref().map(|fault| TornTail {
            file: self.file.name(),
            offset: self.scan.end as u64,
            bytes: (fault.dirty_end.max(self.scan.end) - self.scan.end) as u64,
            lsn: self.scan.last.next(),
        })
    }

    /// Cuts the torn tail and makes sure of what is not known to be on the disk: of the records,
    /// and of nothing being after them.
    fn make_durable(&self, env: &Env, dir: &Path, segment: &[u8]) -> Result<End, LogError> {
        let name = self.file.name();
        let end = self.scan.end as u64;
        let made = (|| -> io::Result<(Arc<dyn File>, u64)> {
            let file = env.fs.open(&dir.join(&name), OpenMode::Write)?;
            let capacity = clear_after(file.as_ref(), end, self.file.bytes)?;
            rewrite(file.as_ref(), segment, self.unproven(segment), self.scan.end)?;
            file.sync_data()?;
            env.fs.sync_dir(dir)?;
            Ok((file, capacity))
        })();
        let (file, capacity) = made.map_err(LogError::io("make durable", &name))?;
        let tail = Tail { first: self.header.first, offset: end, capacity };
        Ok(End { log_id: self.header.log_id, file, tail, last: self.scan.last })
    }

    /// Offset of the first byte that no later record proves to be on the disk.
    fn unproven(&self, segment: &[u8]) -> usize {
        let synced = self.scan.synced;
        if synced < self.header.first {
            return 0;
        }
        let mut from = self.scan.end;
        scan(segment, self.header.first, |offset, frame| {
            if frame.lsn > synced {
                from = from.min(offset);
            }
            Ok(())
        });
        from
    }
}

/// Sees to it that nothing stands after `end` in a segment of `bytes`, and answers how far it
/// goes then. What a failed write left there may have been cut off or overwritten by a process
/// whose fsync of that failed: then it is still on the disk though the system shows none of it, and
/// would come back with a loss of power, behind the records of today.
fn clear_after(file: &dyn File, end: u64, bytes: u64) -> io::Result<u64> {
    if end < bytes {
        match file.zero(end, bytes) {
            Err(e) if is_no_space(&e) => {}
            other => return other.map(|()| bytes),
        }
    }
    // Cut where it ends already: only a change makes the next sync mean something.
    file.set_len(end + 1)?;
    file.set_len(end)?;
    Ok(end)
}

/// What all segments together hold.
#[derive(Default)]
struct Read {
    index: Index,
    segments: Segments,
    erasures: BTreeMap<Lsn, UserId>,
    /// Streams by their key's bytes, so that a record costs no parsing of keys seen before.
    streams: HashMap<Box<[u8]>, StreamNumber>,
    records: u64,
    record_bytes: u64,
    last: Option<LastSegment>,
    /// Bytes of the segment read last.
    buffer: Vec<u8>,
}

/// Reads and checks every segment. `sealed`: another followed the last of these.
fn read_all(
    env: &Env,
    dir: &Path,
    files: &[SegmentFile],
    sealed: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Read, LogError> {
    let total = files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    let mut read = Read::default();
    for (index, file) in files.iter().enumerate() {
        let mut buffer = std::mem::take(&mut read.buffer);
        read_segment(env, dir, file, &mut buffer, &mut |bytes| {
            done += bytes;
            progress(done, total);
        })?;
        let header = checked_header(&buffer, file, read.last.as_ref())?;
        read.segments.set(header.first, file.bytes);
        let scan = scan(&buffer, header.first, |offset, frame| read.take(offset, frame));
        let may_be_torn = index + 1 == files.len() && !sealed;
        if let Some(fault) = &scan.fault {
            check_fault(file, &scan, fault, may_be_torn)?;
        }
        read.records += scan.records;
        read.record_bytes += (scan.end - RECORDS_AT.min(scan.end)) as u64;
        read.last = Some(LastSegment { header, file: *file, scan });
        read.buffer = buffer;
    }
    Ok(read)
}

/// The segment's header, where it fits its name and the segment before.
fn checked_header(
    bytes: &[u8],
    file: &SegmentFile,
    before: Option<&LastSegment>,
) -> Result<SegmentHeader, LogError> {
    let corrupt =
        |what: String| LogError::Corrupt { file: file.name(), offset: 0, lsn: file.first, what };
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) => header,
        Err(HeaderError::Newer(version)) => {
            return Err(LogError::Newer { file: file.name(), version });
        }
        Err(HeaderError::Damaged) => return Err(corrupt("the segment's header".to_owned())),
    };
    if header.first != file.first {
        return Err(corrupt(format!("the segment that begins with LSN {}", header.first)));
    }
    if header.previous_last >= header.first {
        return Err(corrupt(format!(
            "a segment that says LSN {} precedes it",
            header.previous_last
        )));
    }
    let Some(before) = before else { return Ok(header) };
    if header.log_id != before.header.log_id {
        return Err(corrupt("a segment of another log".to_owned()));
    }
    let last = before.last_record();
    let this = file.name();
    let what = match header.previous_last.cmp(&last) {
        Ordering::Equal => return Ok(header),
        Ordering::Greater => {
            let until = header.previous_last;
            format!("nothing, though {this} says that LSNs through {until} come before it")
        }
        Ordering::Less => format!("records that {this} says were cut; the cut was not finished"),
    };
    Err(LogError::Corrupt {
        file: before.file.name(),
        offset: before.scan.end as u64,
        lsn: last.min(header.previous_last).next(),
        what,
    })
}

/// Accepts a fault that a crash explains.
fn check_fault(
    file: &SegmentFile,
    scan: &Scan,
    fault: &Fault,
    may_be_torn: bool,
) -> Result<(), LogError> {
    if let FaultKind::Frame(FrameError::Version(version)) = fault.what {
        return Err(LogError::Newer { file: file.name(), version: u32::from(version) });
    }
    let why = match fault.proof {
        Some(lsn) => format!("; the record with LSN {lsn} after it shows that it had been durable"),
        None if !may_be_torn => "; the segments after it show that it had been durable".to_owned(),
        None if !fault.what.is_damage() => String::new(),
        None => return Ok(()),
    };
    Err(LogError::Corrupt {
        file: file.name(),
        offset: scan.end as u64,
        lsn: scan.last.next(),
        what: format!("{}{why}", fault.what),
    })
}

impl Read {
    /// Enters one record.
    fn take(&mut self, offset: usize, frame: &Frame<'_>) -> Result<(), FrameError> {
        let too_far = |_| FrameError::Malformed("beyond what an index entry can tell");
        let offset = u32::try_from(offset).map_err(too_far)?;
        let at = Location::new(frame.lsn, offset, u32::try_from(frame.bytes).map_err(too_far)?);
        match frame.kind {
            RecordKind::Changes => {
                for (raw, key) in frame.keys() {
                    let number = if let Some(number) = self.streams.get(raw) {
                        *number
                    } else {
                        let number = self.index.intern(&key.partition()?);
                        self.streams.insert(raw.into(), number);
                        number
                    };
                    if self.index.push(number, at) {
                        self.segments.hold(frame.lsn);
                    }
                }
            }
            RecordKind::EraseUser => {
                let (_, key) = frame.keys().next().ok_or(FrameError::Malformed("no key"))?;
                let user = key.user_id()?;
                let segments = &mut self.segments;
                self.index.forget_user(&user, frame.lsn, |lsn| segments.release(lsn));
                // Streams without entries are gone, and their numbers go to others.
                self.streams.clear();
                self.segments.hold(frame.lsn);
                self.erasures.insert(frame.lsn, user);
            }
        }
        Ok(())
    }

    fn into_writer(self, env: &Env, dir: &Path, options: LogOptions, end: End) -> Writer {
        let mut segments = self.segments;
        segments.set(end.tail.first, end.tail.capacity);
        let progress = Progress { written: end.last, visible: end.last, durable: end.last };
        let state = State {
            phase: Phase::Running,
            epoch: 1,
            rolled_to: Lsn::NONE,
            next: end.last.next(),
            tail: end.tail,
            pending: Batch::default(),
            progress,
            segments,
            active: end.tail.first,
            index: self.index,
            erasures: self.erasures,
            waiters: Vec::new(),
            sync_wanted: Lsn::NONE,
            full: None,
            counters: WriterCounters::default(),
            writer_sleeps: false,
            wanted: 0,
        };
        let shared = Shared::new(env.clone(), dir.to_owned(), end.log_id, options, state);
        Writer::new(Arc::new(shared), end.file, end.tail, progress)
    }
}
