//! The log's state in memory: what waits, where the next record goes, what is unpublished, who
//! waits for which LSN. Decisions only; no files, no threads. [`super::shared`] guards it with
//! the one mutex, held for the length of a memory copy.
//!
//! Invariants: LSNs of pending records are consecutive and follow those given to the writer; a
//! record in `pending` or under way has its place in `tail`'s past; after [`State::roll_back`]
//! all of that is as if the failed records had never been appended, and the epoch has grown.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use super::batch::{Batch, Done, Opening, Tail, place};
use super::frame::{FrameSize, KeyRef, RecordKind, encode};
use super::index::{Index, Location, StreamNumber};
use super::segments::Segments;
use super::status::{FullReason, WriterCounters};
use super::{AppendError, LogFailure, LogOptions, Lsn, ReadPoint};
use crate::domain::{PartitionKey, UserId};

/// Waiting bytes that are worth a sync, however few records they are.
const ENOUGH_BYTES: usize = 256 * 1024;

/// How far the log is in its life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Running,
    /// Takes no appends; what waits is still written.
    Closing,
    Closed,
    /// A write failed, for this reason.
    Poisoned(String),
}

/// What a waiter waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reached {
    /// The LSN survives power loss.
    Durable,
    /// The LSN is acknowledged.
    Visible,
}

pub(crate) struct Waiter {
    lsn: Lsn,
    until: Reached,
    answer: oneshot::Sender<Result<(), LogFailure>>,
}

impl Waiter {
    pub(crate) fn answer(self, with: Result<(), LogFailure>) {
        // A waiter that went away needs no answer.
        let _ = self.answer.send(with);
    }
}

/// How far the log is, as the writer last told.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// In the segment files.
    pub(crate) written: Lsn,
    /// Acknowledged.
    pub(crate) visible: Lsn,
    /// Survives power loss.
    pub(crate) durable: Lsn,
}

impl Progress {
    pub(crate) fn has(&self, lsn: Lsn, until: Reached) -> bool {
        match until {
            Reached::Durable => lsn <= self.durable,
            Reached::Visible => lsn <= self.visible,
        }
    }
}

/// What is appended.
pub(crate) struct Record<'a> {
    pub(crate) size: FrameSize,
    pub(crate) kind: RecordKind,
    pub(crate) payload: &'a [u8],
}

pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) epoch: u64,
    /// The last record that the latest rollback left.
    pub(crate) rolled_to: Lsn,
    /// LSN of the next record.
    pub(crate) next: Lsn,
    pub(crate) tail: Tail,
    pub(crate) pending: Batch,
    pub(crate) progress: Progress,
    pub(crate) segments: Segments,
    /// First LSN of the segment that the writer has open.
    pub(crate) active: Lsn,
    pub(crate) index: Index,
    /// Erasures that hold their segment until their files are gone.
    pub(crate) erasures: BTreeMap<Lsn, UserId>,
    pub(crate) waiters: Vec<Waiter>,
    /// Highest LSN that somebody wants fsynced.
    pub(crate) sync_wanted: Lsn,
    pub(crate) full: Option<FullReason>,
    pub(crate) counters: WriterCounters,
    /// Whether the writer sleeps and must be woken.
    pub(crate) writer_sleeps: bool,
    /// Records for which it is to be woken; 0 for any.
    pub(crate) wanted: usize,
}

impl State {
    /// Takes a record of changes into the pending batch.
    pub(crate) fn append_changes<'a>(
        &mut self,
        options: &LogOptions,
        epoch: u64,
        record: &Record<'_>,
        streams: impl Iterator<Item = (StreamNumber, &'a PartitionKey)> + Clone,
        done: &mut Option<Done>,
    ) -> Result<Lsn, AppendError> {
        self.check_running()?;
        if epoch != self.epoch {
            return Err(AppendError::StaleEpoch { given: epoch, current: self.epoch });
        }
        let keys = streams.clone().map(|(_, key)| KeyRef::of(key));
        let at = self.push(options, record, keys, done)?;
        for (number, _) in streams {
            if self.index.push(number, at) {
                self.segments.hold(at.lsn());
            }
        }
        Ok(at.lsn())
    }

    /// Bytes from the oldest unpublished record to where the next one goes.
    pub(crate) fn unpublished_bytes(&self) -> u64 {
        let Some(oldest) = self.index.oldest_entry() else { return 0 };
        let before = u64::from(oldest.offset());
        self.segments.bytes_from(oldest.lsn(), self.tail).saturating_sub(before)
    }

    /// Takes an erasure into the pending batch.
    pub(crate) fn append_erasure(
        &mut self,
        options: &LogOptions,
        record: &Record<'_>,
        user: &UserId,
        done: &mut Option<Done>,
    ) -> Result<Lsn, AppendError> {
        self.check_running()?;
        let keys = std::iter::once(KeyRef::erasing(user));
        let lsn = self.push(options, record, keys, done)?.lsn();
        self.pending.erasures.push((lsn, user.clone()));
        self.hold_erasure(lsn, user.clone());
        Ok(lsn)
    }

    fn check_running(&self) -> Result<(), AppendError> {
        match self.phase {
            Phase::Running => Ok(()),
            Phase::Closing | Phase::Closed => Err(AppendError::Closed),
            Phase::Poisoned(_) => Err(AppendError::Poisoned),
        }
    }

    fn push<'a>(
        &mut self,
        options: &LogOptions,
        record: &Record<'_>,
        keys: impl Iterator<Item = KeyRef<'a>>,
        done: &mut Option<Done>,
    ) -> Result<Location, AppendError> {
        let frame = record.size.frame;
        let waiting = self.pending.bytes.len();
        if waiting > 0 && waiting.saturating_add(frame as usize) > options.max_pending_bytes {
            return Err(AppendError::Overloaded);
        }
        let lsn = self.next;
        let opening = place(&self.tail, lsn, u64::from(frame), options.segment_bytes);
        self.open(options, opening)?;
        // Offsets stay below the largest segment, 1 GiB, or the one record a segment is made for.
        let offset = u32::try_from(self.tail.offset).unwrap_or(u32::MAX);
        encode(&mut self.pending.bytes, record.size, lsn, record.kind, keys, record.payload);
        if let Some(done) = done.take() {
            self.pending.push(lsn, done);
        }
        self.tail.offset += u64::from(frame);
        self.next = lsn.next();
        Ok(Location::new(lsn, offset, frame))
    }

    /// Plans what `opening` says, unless the log would become too large.
    fn open(&mut self, options: &LogOptions, opening: Opening) -> Result<(), AppendError> {
        let (first, added, capacity) = match opening {
            Opening::Continue => {
                if self.pending.chunks.is_empty() {
                    self.pending.open(opening, self.next.previous());
                }
                return Ok(());
            }
            Opening::Grow { capacity } => {
                (self.tail.first, capacity.saturating_sub(self.tail.capacity), capacity)
            }
            Opening::Create { first, capacity } => (first, capacity, capacity),
        };
        if self.segments.bytes().saturating_add(added) > options.max_log_bytes {
            self.full = Some(FullReason::Limit);
            return Err(AppendError::LogFull);
        }
        self.segments.set(first, capacity);
        self.pending.open(opening, self.next.previous());
        if first == self.tail.first {
            self.tail.capacity = capacity;
        } else {
            self.tail = Tail::empty(first, capacity);
        }
        Ok(())
    }

    /// Plans a new segment, where the current one has records and there is room.
    pub(crate) fn rotate(&mut self, options: &LogOptions) {
        if self.phase == Phase::Running && !self.tail.is_empty() {
            let opening = Opening::Create { first: self.next, capacity: options.segment_bytes };
            // Without room the log says so by its status; there is nobody else to tell.
            let _ = self.open(options, opening);
        }
    }

    /// Makes an erasure hold its segment.
    pub(crate) fn hold_erasure(&mut self, lsn: Lsn, user: UserId) {
        self.segments.hold(lsn);
        self.erasures.insert(lsn, user);
    }

    /// Lets go of an erasure and of earlier ones of the same user.
    pub(crate) fn finish_erasure(&mut self, at: Lsn) {
        let Some(user) = self.erasures.get(&at).cloned() else { return };
        let Self { erasures, segments, .. } = self;
        erasures.retain(|lsn, who| {
            let stays = *lsn > at || *who != user;
            if !stays {
                segments.release(*lsn);
            }
            stays
        });
    }

    /// Drops what is unpublished of a user below an erasure.
    pub(crate) fn forget_user(&mut self, user: &UserId, before: Lsn) {
        let Self { index, segments, .. } = self;
        index.forget_user(user, before, |lsn| segments.release(lsn));
    }

    /// Drops a partition's entries that its file now holds.
    pub(crate) fn publish(&mut self, key: &PartitionKey, through: Lsn) {
        let Self { index, segments, .. } = self;
        index.publish(key, through, |lsn| segments.release(lsn));
    }

    /// Undoes everything above `last`: `tail` is the end of what is written. Returns the
    /// callbacks of the pending records.
    pub(crate) fn roll_back(&mut self, last: Lsn, tail: Tail) -> Vec<Done> {
        let Self { index, segments, erasures, .. } = self;
        index.rewind(last, |lsn| segments.release(lsn));
        for lsn in erasures.split_off(&last.next()).into_keys() {
            segments.release(lsn);
        }
        segments.remove_after(tail.first);
        segments.set(tail.first, tail.capacity);
        self.tail = tail;
        self.next = last.next();
        self.rolled_to = last;
        self.sync_wanted = self.sync_wanted.min(last);
        let dones = std::mem::take(&mut self.pending.dones);
        self.pending.clear();
        dones
    }

    /// Registers a waiter, or says at once what it would be told.
    pub(crate) fn wait(
        &mut self,
        point: ReadPoint,
        until: Reached,
    ) -> Result<oneshot::Receiver<Result<(), LogFailure>>, Result<(), LogFailure>> {
        let lsn = point.lsn;
        if !self.stands(point) {
            return Err(Err(LogFailure::NoSuchRecord));
        }
        if self.progress.has(lsn, until) {
            return Err(Ok(()));
        }
        match self.phase {
            Phase::Poisoned(_) => return Err(Err(LogFailure::Poisoned)),
            Phase::Closed => return Err(Err(LogFailure::Closed)),
            Phase::Running | Phase::Closing => {}
        }
        if lsn >= self.next {
            return Err(Err(LogFailure::NoSuchRecord));
        }
        if until == Reached::Durable {
            self.sync_wanted = self.sync_wanted.max(lsn);
        }
        let (answer, receiver) = oneshot::channel();
        self.waiters.push(Waiter { lsn, until, answer });
        Ok(receiver)
    }

    /// Whether the record at a point is still the one that was there. A point from before the
    /// latest rollback but one is given up without a closer look.
    fn stands(&self, point: ReadPoint) -> bool {
        point.epoch == self.epoch || (point.epoch + 1 == self.epoch && point.lsn <= self.rolled_to)
    }

    /// Takes out the waiters that have what they wait for.
    pub(crate) fn reached(&mut self) -> Vec<Waiter> {
        let progress = self.progress;
        self.waiters.extract_if(.., |w| progress.has(w.lsn, w.until)).collect()
    }

    /// Takes out the waiters for LSNs that no record has any more.
    pub(crate) fn stranded(&mut self) -> Vec<Waiter> {
        let next = self.next;
        self.waiters.extract_if(.., |w| w.lsn >= next).collect()
    }

    /// Whether as much waits as the writer wants, or something that must not wait.
    pub(crate) fn has_company(&self) -> bool {
        self.pending.dones.len() >= self.wanted
            || self.pending.bytes.len() >= ENOUGH_BYTES
            || self.phase != Phase::Running
            || self.sync_wanted > self.progress.durable
    }

    /// Whether the writer has something to do at once.
    pub(crate) fn has_work(&self) -> bool {
        !self.pending.is_empty()
            || self.phase == Phase::Closing
            || self.sync_wanted > self.progress.durable
    }
}

#[cfg(test)]
#[path = "tests/state.rs"]
mod tests;
