//! The writer: takes what waits, writes it, syncs it, tells the outcome. Group commit follows
//! from that: appends made while it syncs wait together and share the next sync.
//!
//! A plain struct. [`Writer::step`] does one round and never waits for work, so a simulation can
//! drive it; `thread.rs` has the loop that a server runs.
//!
//! Invariants: a record is acknowledged only after what the sync mode promises; a segment is
//! synced before the next is made, and the next is whole and named durably before a record goes
//! into it; after a failed write or fsync nothing is written or synced again.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::batch::{Batch, Chunk, Done, Opening, Tail};
use super::company::Company;
use super::frame::seal_all;
use super::segment::{CreateError, SegmentHeader, adopt, create, is_no_space};
use super::shared::Shared;
use super::spare::pace;
use super::state::{Phase, Progress, State};
use super::status::{FullReason, WriterCounters};
use super::{Linger, LogFailure, Lsn, SyncMode};
use crate::env::{File, is_no_descriptor};

/// What to do after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Step again: there may be more.
    Again,
    /// As [`Next::Again`], and better a moment later.
    Linger(Linger),
    /// Nothing to do until something is appended or asked for, or this much time has passed.
    Wait(Option<Duration>),
    /// Never again: closed, or a write failed.
    Stop,
}

/// Why a batch did not get through.
#[derive(Debug)]
enum Failure {
    /// No space, or no file descriptor; nothing of what failed is left in a file. It says why.
    NoSpace(String),
    /// A write or fsync failed.
    Broken(String),
}

/// The log's only writer.
pub struct Writer {
    shared: Arc<Shared>,
    file: Arc<dyn File>,
    /// The end of what is written.
    tail: Tail,
    progress: Progress,
    batch: Batch,
    /// Monotonic time of the first write since the last sync.
    dirty_since: Option<Duration>,
    /// Whether a segment was made or grown since the last outcome was told.
    made_room: bool,
    /// Whether the name of a segment that was removed may come back after a crash: then nothing is
    /// written until the folder is synced.
    folder_in_doubt: bool,
    counters: WriterCounters,
    company: Company,
    /// Bytes of the next segment that are to be ready.
    spare_wanted: u64,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        file: Arc<dyn File>,
        tail: Tail,
        progress: Progress,
    ) -> Self {
        Self {
            shared,
            file,
            tail,
            progress,
            batch: Batch::default(),
            dirty_since: None,
            made_room: false,
            folder_in_doubt: false,
            counters: WriterCounters::default(),
            company: Company::default(),
            spare_wanted: 0,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Writes what waits, syncs where the mode, the time or somebody asks for it, and calls the
    /// callbacks of what got through or failed. Blocks for the files, never for work.
    pub fn step(&mut self) -> Next {
        let (closing, sync_wanted) = {
            let mut state = self.shared.state();
            match state.phase {
                Phase::Closed | Phase::Poisoned(_) => return Next::Stop,
                Phase::Running | Phase::Closing => {}
            }
            std::mem::swap(&mut state.pending, &mut self.batch);
            (state.phase == Phase::Closing, state.sync_wanted)
        };
        let worked = !self.batch.is_empty();
        let mut linger = None;
        if worked {
            let (records, before) = (self.batch.dones.len(), self.counters.sync_time);
            let outcome = self.write_batch();
            if self.settle(outcome) == Next::Stop {
                return Next::Stop;
            }
            self.keep_pace();
            if self.shared.options.sync == SyncMode::Always {
                linger =
                    self.company.after(records, self.counters.sync_time.saturating_sub(before));
            }
        }
        let until_due = self.until_due();
        let due =
            closing || sync_wanted > self.progress.durable || until_due == Some(Duration::ZERO);
        if due && self.dirty_since.is_some() {
            let outcome = self.sync();
            return match self.settle(outcome) {
                Next::Stop => Next::Stop,
                _ if closing => self.finish(),
                _ => Next::Again,
            };
        }
        match (closing, worked) {
            (true, _) => self.finish(),
            (_, true) => linger.map_or(Next::Again, Next::Linger),
            _ => Next::Wait(until_due),
        }
    }

    /// Gives up after a panic, as after a failed write.
    pub(crate) fn abandon(&mut self) {
        self.settle(Err(Failure::Broken("the writer stopped by a bug".to_owned())));
    }

    /// Time until what is written must be synced; `None` where no time is set.
    fn until_due(&self) -> Option<Duration> {
        let SyncMode::Interval(every) = self.shared.options.sync else { return None };
        let since = self.dirty_since?;
        Some((since + every).saturating_sub(self.shared.env.clock.monotonic()))
    }

    fn write_batch(&mut self) -> Result<(), Failure> {
        let chunks = std::mem::take(&mut self.batch.chunks);
        let mut outcome = chunks.iter().try_for_each(|chunk| self.write_chunk(chunk));
        let written = !matches!(outcome, Err(Failure::Broken(_)));
        if written && self.shared.options.sync == SyncMode::Always {
            // Also after a lack of space: what went before it is acknowledged.
            outcome = self.sync().and(outcome);
        }
        self.counters.batches += 1;
        self.shared.measures.batch.observe(self.batch.dones.len() as u64);
        outcome
    }

    fn write_chunk(&mut self, chunk: &Chunk) -> Result<(), Failure> {
        self.settle_folder()?;
        match chunk.opening {
            Opening::Continue => {}
            Opening::Grow { capacity } => self.grow(capacity)?,
            Opening::Create { first, capacity } => self.rotate(first, capacity)?,
        }
        let Some(bytes) = self.batch.bytes.get_mut(chunk.start..chunk.end) else {
            return Err(Failure::Broken("the writer lost count of its buffer".to_owned()));
        };
        if bytes.is_empty() {
            return Ok(());
        }
        if !seal_all(bytes, self.progress.durable) {
            return Err(Failure::Broken("the writer's buffer held something else".to_owned()));
        }
        if let Err(error) = self.file.write_all_at(bytes, self.tail.offset) {
            return Err(self.failed_write(error));
        }
        let written = bytes.len() as u64;
        self.counters.records += chunk.last.get() - self.progress.written.get();
        self.counters.bytes += written;
        self.tail.offset += written;
        self.progress.written = chunk.last;
        if self.dirty_since.is_none() {
            let now = self.shared.env.clock.monotonic();
            self.dirty_since = Some(now);
            self.shared.measures.dirty(now);
        }
        Ok(())
    }

    /// Where a file system that cannot reserve ran out of space, what the write left is taken back
    /// and later appends try again. Left there, it could come to stand behind shorter records that
    /// take its place, and be read as acknowledged.
    fn failed_write(&self, error: io::Error) -> Failure {
        if !is_no_space(&error) {
            return broken("write")(error);
        }
        let why = error.to_string();
        let taken_back = (|| {
            self.file.set_len(self.tail.offset)?;
            self.file.sync_data()?;
            self.file.set_len(self.tail.capacity)
        })();
        taken_back.map_or_else(broken("take back a write"), |()| Failure::NoSpace(why))
    }

    fn rotate(&mut self, first: Lsn, capacity: u64) -> Result<(), Failure> {
        self.sync()?;
        let shared = Arc::clone(&self.shared);
        let (fs, dir) = (shared.env.fs.as_ref(), &shared.dir);
        let header =
            SegmentHeader { log_id: shared.log_id, first, previous_last: self.progress.written };
        self.spare_wanted = 0;
        let fits = capacity == shared.options.segment_bytes;
        let made = if let Some(spare) = shared.spare.next_segment(fits) {
            adopt(fs, dir, &header, spare)
        } else {
            self.check_reserve(capacity)?;
            create(fs, dir, &header, capacity)
        };
        self.file = made.map_err(|e| match e {
            CreateError::NoSpace(e) => Failure::NoSpace(e.to_string()),
            CreateError::NotSynced(e) => {
                self.folder_in_doubt = true;
                Failure::NoSpace(e.to_string())
            }
            CreateError::Broken(e) => broken("make a segment")(e),
        })?;
        self.tail = Tail::empty(first, capacity);
        self.note_room();
        Ok(())
    }

    /// Has the next segment made ready, as far as it should be by now.
    fn keep_pace(&mut self) {
        let wanted = pace(self.tail.offset, self.shared.options.segment_bytes);
        if wanted > self.spare_wanted {
            self.spare_wanted = wanted;
            self.shared.spare.want(wanted);
        }
    }

    /// Syncs the folder where that is due.
    fn settle_folder(&mut self) -> Result<(), Failure> {
        if self.folder_in_doubt {
            match self.shared.env.fs.sync_dir(&self.shared.dir) {
                Err(e) if is_no_descriptor(&e) => return Err(Failure::NoSpace(e.to_string())),
                synced => synced.map_err(broken("sync the folder"))?,
            }
            self.folder_in_doubt = false;
        }
        Ok(())
    }

    /// Fails where another `bytes` would take what checkpoints need.
    fn check_reserve(&self, bytes: u64) -> Result<(), Failure> {
        let shared = &self.shared;
        match shared.env.fs.space(&shared.dir) {
            Ok(space) if shared.options.leaves_reserve(space, bytes) => Ok(()),
            Ok(_) => Err(Failure::NoSpace("the disk's reserve is left alone".to_owned())),
            // Whether there is room shows when it is taken.
            Err(_) => Ok(()),
        }
    }

    fn grow(&mut self, capacity: u64) -> Result<(), Failure> {
        self.check_reserve(capacity.saturating_sub(self.tail.capacity))?;
        match self.file.allocate(capacity) {
            Ok(()) => {
                self.tail.capacity = capacity;
                self.note_room();
                Ok(())
            }
            Err(e) if is_no_space(&e) => Err(Failure::NoSpace(e.to_string())),
            Err(e) => Err(broken("make a segment larger")(e)),
        }
    }

    fn note_room(&mut self) {
        self.made_room = true;
        self.counters.segments_made += 1;
    }

    fn sync(&mut self) -> Result<(), Failure> {
        if self.dirty_since.is_none() {
            return Ok(());
        }
        let clock = &self.shared.env.clock;
        let started = clock.monotonic();
        self.file.sync_data().map_err(broken("fsync"))?;
        if !self.file.has_name().map_err(broken("look at the segment"))? {
            // What is in it would be gone with the process.
            return Err(Failure::Broken("somebody removed the segment in use".to_owned()));
        }
        let took = clock.monotonic().saturating_sub(started);
        self.shared.measures.synced(took);
        self.counters.syncs += 1;
        self.counters.sync_time += took;
        self.counters.slowest_sync = self.counters.slowest_sync.max(took);
        self.dirty_since = None;
        self.progress.durable = self.progress.written;
        Ok(())
    }

    /// Tells the outcome of what was just done: to the state, then to callbacks and waiters.
    fn settle(&mut self, outcome: Result<(), Failure>) -> Next {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let acknowledged = self.acknowledge(&outcome);
        let mut passed = std::mem::take(&mut self.batch.dones);
        let mut failed = passed.split_off(acknowledged.min(passed.len()));
        for (lsn, user) in std::mem::take(&mut self.batch.erasures) {
            if lsn <= self.progress.visible {
                state.forget_user(&user, lsn);
            }
        }
        state.active = self.tail.first;
        if std::mem::take(&mut self.made_room) && state.full == Some(FullReason::Storage) {
            state.full = None;
        }
        let mut stranded = Vec::new();
        let failure = match outcome {
            Ok(()) => None,
            Err(failure) => {
                failed.extend(state.roll_back(self.progress.visible, self.tail));
                if !failed.is_empty() || matches!(failure, Failure::Broken(_)) {
                    state.epoch += 1;
                }
                Some(self.note_failure(&mut state, failure))
            }
        };
        state.progress = self.progress;
        state.counters = self.counters;
        shared.publish(state.epoch, self.progress);
        let reached = state.reached();
        match failure {
            None => {}
            Some(LogFailure::StorageFull) => stranded = state.stranded(),
            Some(_) => stranded = std::mem::take(&mut state.waiters),
        }
        drop(state);

        self.batch.clear();
        call(passed, Ok(()));
        for waiter in reached {
            waiter.answer(Ok(()));
        }
        if let Some(failure) = failure {
            call(failed, Err(failure));
            for waiter in stranded {
                waiter.answer(Err(failure));
            }
        }
        if failure == Some(LogFailure::Poisoned) { Next::Stop } else { Next::Again }
    }

    /// Moves what is visible on, and says how many of the batch's records are.
    fn acknowledge(&mut self, outcome: &Result<(), Failure>) -> usize {
        let progress = &mut self.progress;
        let visible = match (outcome, self.shared.options.sync) {
            // What was only written may not be there; what was visible before stays so.
            (Err(Failure::Broken(_)), _) => progress.visible.max(progress.durable),
            (_, SyncMode::Always) => progress.durable,
            (_, SyncMode::Interval(_) | SyncMode::Off) => progress.written,
        };
        progress.visible = visible;
        if matches!(outcome, Err(Failure::Broken(_))) {
            progress.written = visible;
        }
        let count = visible.next().get().saturating_sub(self.batch.first.get());
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    fn note_failure(&mut self, state: &mut State, failure: Failure) -> LogFailure {
        match failure {
            Failure::NoSpace(why) => {
                if state.full != Some(FullReason::Storage) {
                    tracing::warn!(reason = %why, "the log has no room; it goes on trying");
                }
                self.counters.storage_full += 1;
                state.full = Some(FullReason::Storage);
                LogFailure::StorageFull
            }
            Failure::Broken(why) => {
                tracing::error!(reason = %why, "log closed to writes");
                state.phase = Phase::Poisoned(why);
                LogFailure::Poisoned
            }
        }
    }

    /// Ends a closing log: everything is synced.
    fn finish(&mut self) -> Next {
        let waiters = {
            let mut state = self.shared.state();
            state.phase = Phase::Closed;
            std::mem::take(&mut state.waiters)
        };
        for waiter in waiters {
            waiter.answer(Err(LogFailure::Closed));
        }
        Next::Stop
    }
}

fn broken(action: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |e| Failure::Broken(format!("could not {action}: {e}"))
}

/// Calls each; one that panics harms neither the writer nor the rest.
fn call(dones: Vec<Done>, with: Result<(), LogFailure>) {
    for done in dones {
        if catch_unwind(AssertUnwindSafe(|| done.acknowledge(with))).is_err() {
            tracing::error!("a callback of the log panicked");
        }
    }
}
