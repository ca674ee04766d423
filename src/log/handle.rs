//! The log's handle: what partitions, checkpoints and the application call.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use uuid::Uuid;

use super::batch::Done;
use super::frame::{FrameSize, KeyRef, RecordKind, decode};
use super::record::subject_of;
use super::recovery;
use super::segment::file_name;
use super::shared::{Shared, lock};
use super::spare::Maker;
use super::state::{Phase, Reached, Record};
use super::status::FullReason;
use super::{
    Acknowledge, AppendError, Location, LogError, LogFailure, LogOptions, LogState, LogStatus, Lsn,
    Measures, OpenReport, ReadPoint, RecordBody, RemovalReport, Stream, Writer,
};
use crate::domain::{PartitionKey, Table, UserId};
use crate::env::{Env, Worker, Working};

/// The log. Cheap to clone; dropping the last one closes it without waiting.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    workers: Mutex<Vec<Box<dyn Working>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.request_close();
    }
}

impl Log {
    /// Opens the log in `dir`, begins one where there is none, and starts its writer thread.
    /// Everything acknowledged before is there; a torn tail is cut off and reported. `progress`
    /// hears of bytes read and bytes in all. Only one process may have the folder open: the
    /// caller holds the data folder's lock.
    ///
    /// # Errors
    /// [`LogError::Corrupt`] where acknowledged bytes are damaged or missing (nothing is changed
    /// then), [`LogError::Newer`], [`LogError::Options`], [`LogError::Io`].
    pub fn open(
        env: &Env,
        dir: &Path,
        options: LogOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, OpenReport), LogError> {
        let (log, writer, report) = Self::open_stepped(env, dir, options, progress)?;
        let maker = Maker::new(Arc::clone(writer.shared()));
        let workers: [(_, Box<dyn Worker>); 2] =
            [("log-writer", Box::new(writer)), ("log-spare", Box::new(maker))];
        for (name, worker) in workers {
            let started = env.executor.start(name, worker);
            lock(&log.inner.workers).push(started.map_err(LogError::io("start", "the writer"))?);
        }
        Ok((log, report))
    }

    /// Opens the log without a thread: nothing is written until the caller steps the writer.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn open_stepped(
        env: &Env,
        dir: &Path,
        options: LogOptions,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(Self, Writer, OpenReport), LogError> {
        options.check()?;
        let (writer, report) = recovery::open(env, dir, options, progress)?;
        let shared = Arc::clone(writer.shared());
        Ok((Self { inner: Arc::new(Inner { shared, workers: Mutex::default() }) }, writer, report))
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// The log's id. LSNs of logs with different ids do not compare.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.shared().log_id
    }

    /// The partition's stream.
    #[must_use]
    pub fn stream(&self, key: &PartitionKey) -> Stream {
        Stream::new(self.shared(), key)
    }

    /// Appends one record to all of `streams` at once. `done` is called exactly once, on the
    /// writer's thread, in the order of LSNs; it must be quick. `Ok` then means what the sync
    /// mode promises: with [`super::SyncMode::Always`], the record survives power loss. When
    /// this returns, the record is in the unpublished index and survives nothing.
    ///
    /// `epoch` is [`Log::epoch`] as it was before the caller last built its state from file and
    /// log.
    ///
    /// # Errors
    /// [`AppendError`]; `done` is refused with it then, on the caller's thread.
    pub fn append(
        &self,
        epoch: u64,
        streams: &[&Stream],
        payload: &[u8],
        done: impl Acknowledge,
    ) -> Result<Lsn, AppendError> {
        let mut done: Option<Done> = Some(Box::new(done));
        let appended = self.append_or_keep(epoch, streams, payload, &mut done);
        if let (Err(error), Some(done)) = (&appended, done) {
            done.refuse(*error);
        }
        appended
    }

    fn append_or_keep(
        &self,
        epoch: u64,
        streams: &[&Stream],
        payload: &[u8],
        done: &mut Option<Done>,
    ) -> Result<Lsn, AppendError> {
        if streams.is_empty() || streams.iter().any(|s| !s.is_of(self.shared())) {
            return Err(AppendError::NoStream);
        }
        let keys = streams.iter().map(|s| KeyRef::of(s.key()));
        let record =
            self.record(RecordKind::Changes, FrameSize::of(keys, payload.len()), payload)?;
        let streams = streams.iter().map(|s| (s.number(), s.key()));
        let options = &self.shared().options;
        self.shared().change(|state| state.append_changes(options, epoch, &record, streams, done))
    }

    /// Appends the erasure of a user. Once `done` hears `Ok`, the user's records with lower LSNs
    /// are out of the unpublished index, now and after every later start. The record's segment
    /// stays until [`Log::erase_finished`].
    ///
    /// # Errors
    /// [`AppendError`]; `done` is not called then.
    pub fn append_erase(
        &self,
        user: &UserId,
        done: impl FnOnce(Result<(), LogFailure>) + Send + 'static,
    ) -> Result<Lsn, AppendError> {
        let size = FrameSize::of(std::iter::once(KeyRef::erasing(user)), 0);
        let record = self.record(RecordKind::EraseUser, size, &[])?;
        let mut done: Option<Done> = Some(Box::new(done));
        let options = &self.shared().options;
        self.shared().change(|state| state.append_erasure(options, &record, user, &mut done))
    }

    fn record<'a>(
        &self,
        kind: RecordKind,
        (size, bytes): (Option<FrameSize>, usize),
        payload: &'a [u8],
    ) -> Result<Record<'a>, AppendError> {
        let limit = self.shared().options.max_record_bytes;
        match size {
            Some(size) if bytes <= limit => Ok(Record { size, kind, payload }),
            _ => Err(AppendError::TooLarge { bytes, limit }),
        }
    }

    /// Says that the files an erasure concerns are gone, durably: its record and those of earlier
    /// erasures of the same user no longer hold their segments.
    pub fn erase_finished(&self, at: Lsn) {
        self.shared().state().finish_erasure(at);
        self.shared().kept.erased(at);
    }

    /// Grows whenever appended records were rolled back. Read it before building state from file
    /// and [`Log::unpublished`].
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared().epoch()
    }

    /// LSN through which everything survives power loss.
    #[must_use]
    pub fn durable_lsn(&self) -> Lsn {
        self.shared().progress().durable
    }

    /// LSN of the last record appended.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.shared().state().next.previous()
    }

    /// Everything appended so far.
    #[must_use]
    pub fn read_point(&self) -> ReadPoint {
        let state = self.shared().state();
        ReadPoint { epoch: state.epoch, lsn: state.next.previous() }
    }

    /// Waits until everything through `point` survives power loss, in every sync mode. Asks for
    /// the sync when called, not when first polled. Needs no particular runtime.
    ///
    /// # Errors
    /// [`LogFailure`] where that will not happen: [`LogFailure::NoSuchRecord`] where the point's
    /// record was rolled back, whatever bears its LSN now.
    pub fn sync_through(
        &self,
        point: ReadPoint,
    ) -> impl Future<Output = Result<(), LogFailure>> + Send + use<> {
        self.wait(point, Reached::Durable)
    }

    /// Waits until `point` is acknowledged: fsynced in [`super::SyncMode::Always`], written in
    /// the others. Costs three loads where it is already.
    ///
    /// # Errors
    /// As [`Log::sync_through`].
    pub fn visible_through(
        &self,
        point: ReadPoint,
    ) -> impl Future<Output = Result<(), LogFailure>> + Send + use<> {
        self.wait(point, Reached::Visible)
    }

    fn wait(
        &self,
        point: ReadPoint,
        until: Reached,
    ) -> impl Future<Output = Result<(), LogFailure>> + Send + use<> {
        let registered = if point.lsn == Lsn::NONE || self.shared().has(point, until) {
            Err(Ok(()))
        } else {
            self.shared().change(|state| state.wait(point, until))
        };
        async move {
            match registered {
                Err(known) => known,
                // The writer answers every waiter; it can only vanish with the log.
                Ok(receiver) => receiver.await.unwrap_or(Err(LogFailure::Closed)),
            }
        }
    }

    /// The partition's records that its Parquet file may not hold, ascending. The last of them
    /// may not be written yet: wait with [`Log::visible_through`] before reading.
    #[must_use]
    pub fn unpublished(&self, key: &PartitionKey) -> Vec<Location> {
        self.shared().state().index.unpublished(key)
    }

    /// Reads a written record. Blocks.
    ///
    /// # Errors
    /// [`LogError::NotWritten`], [`LogError::Io`], or [`LogError::Corrupt`] where the bytes are
    /// no longer what was written.
    pub fn read(&self, at: &Location) -> Result<RecordBody, LogError> {
        let lsn = at.lsn();
        let segment = self.shared().state().segments.holding(lsn);
        let segment = segment.filter(|_| lsn <= self.shared().progress().written);
        let first = segment.ok_or(LogError::NotWritten(lsn))?;
        let mut bytes = vec![0; at.bytes() as usize];
        let offset = u64::from(at.offset());
        let file = self.shared().reader(first)?;
        file.read_exact_at(&mut bytes, offset).map_err(LogError::io("read", &file_name(first)))?;
        let corrupt =
            |what: String| LogError::Corrupt { file: file_name(first), offset, lsn, what };
        let bytes = Bytes::from(bytes);
        let frame = decode(&bytes).map_err(|e| corrupt(e.to_string()))?;
        if frame.lsn != lsn {
            return Err(corrupt(format!("the record with LSN {}", frame.lsn)));
        }
        Ok(RecordBody {
            lsn,
            synced: frame.synced,
            subject: subject_of(&frame).map_err(|e| corrupt(e.to_string()))?,
            payload: bytes.slice_ref(frame.payload),
        })
    }

    /// Says that the partition's file, durably in place, holds everything through `lsn`.
    pub fn published(&self, key: &PartitionKey, through: Lsn) {
        self.shared().state().publish(key, through);
    }

    /// Removes the oldest segments as long as nothing needs them. Blocks. On return those
    /// removed stay gone; on error, too, the segments left are a log without gaps.
    ///
    /// # Errors
    /// [`LogError::Io`].
    pub fn remove_published_segments(&self) -> Result<RemovalReport, LogError> {
        let shared = self.shared();
        let _alone = lock(&shared.removal);
        let mut report = RemovalReport::default();
        loop {
            let (removable, full) = {
                let state = shared.state();
                let full = state.full == Some(FullReason::Storage);
                (state.segments.removable(state.active), full)
            };
            shared.spare.free(shared.kept.prune(full)?);
            let Some((first, bytes)) = removable else { return Ok(report) };
            shared.forget_reader(first);
            // One by one: were two on their way, power loss could undo only the first.
            shared.spare.free([shared.kept.take(first, full)?]);
            let mut state = shared.state();
            state.segments.remove(first);
            if state.full == Some(FullReason::Limit) {
                state.full = None;
            }
            report.segments += 1;
            report.bytes += bytes;
        }
    }

    /// Begins a new segment, without waiting for a record, so that the current one can go once
    /// it is published. Does nothing where the current one has no records.
    pub fn rotate(&self) {
        let options = &self.shared().options;
        self.shared().change(|state| state.rotate(options));
    }

    /// The user's partitions of a table that have unpublished records, by month.
    #[must_use]
    pub fn unpublished_partitions(&self, user: &UserId, table: Table) -> Vec<PartitionKey> {
        self.shared().state().index.partitions(user, table)
    }

    /// At most `limit` partitions, those with the oldest unpublished records first: checkpoint
    /// these and the oldest segments can go.
    #[must_use]
    pub fn oldest_unpublished(&self, limit: usize) -> Vec<PartitionKey> {
        self.shared().state().index.oldest(limit)
    }

    /// The log at this moment.
    #[must_use]
    pub fn status(&self) -> LogStatus {
        let state = self.shared().state();
        LogStatus {
            state: match (&state.phase, state.full) {
                (Phase::Poisoned(why), _) => LogState::Poisoned(why.clone()),
                (Phase::Closing | Phase::Closed, _) => LogState::Closed,
                (Phase::Running, Some(reason)) => LogState::Full(reason),
                (Phase::Running, None) => LogState::Running,
            },
            epoch: state.epoch,
            last_lsn: state.next.previous(),
            durable_lsn: state.progress.durable,
            segments: state.segments.len(),
            oldest_segment: state.segments.oldest().unwrap_or(Lsn::NONE),
            bytes: state.segments.bytes(),
            max_bytes: self.shared().options.max_log_bytes,
            pending_bytes: state.pending.bytes.len(),
            unpublished_bytes: state.unpublished_bytes(),
            sync_lag: self.shared().measures.lag(self.shared().env.clock.monotonic()),
            unpublished_records: state.index.entries(),
            unpublished_partitions: state.index.partitions_held(),
            streams: state.index.streams(),
            unfinished_erasures: state.erasures.len(),
            written: state.counters,
        }
    }

    /// What the writer measured since the log was opened.
    #[must_use]
    pub fn measures(&self) -> &Measures {
        &self.shared().measures
    }

    /// Takes no more appends, writes and fsyncs what waits, ends the writer's thread. On `Ok`
    /// everything acknowledged survives power loss, in every sync mode. Blocks.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] where a write or fsync failed, now or before.
    pub fn close(&self) -> Result<(), LogError> {
        self.shared().request_close();
        let workers = std::mem::take(&mut *lock(&self.inner.workers));
        for worker in workers {
            // A callback that closes the log runs on the writer's thread, which does not wait for
            // itself.
            worker.join();
        }
        match &self.shared().state().phase {
            Phase::Poisoned(why) => Err(LogError::Poisoned(why.clone())),
            _ => Ok(()),
        }
    }
}
