//! A partition's life: loading, ready, failed, closed; its mailbox; its I/O in the background.
//!
//! Nothing here blocks: reads and checkpoints are futures whose results come back as steps of
//! this actor. Work that needs a read is parked, by what it needs, and goes on when that is
//! there; what parks is bounded by the mailbox's capacity.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    WrapFuture,
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::checkpoint::{self, CheckpointError, Published};
use super::fetch::{Fetched, fetch};
use super::load::{LoadError, Loaded, load};
use super::ready::{Ready, Step};
use super::rows::Need;
use crate::actors::messages::{ReplyTo, Work, answer};
use crate::actors::registry::{Stats, TableEntry};
use crate::actors::supervisor::Door;
use crate::actors::{Shared, StoreError};
use crate::domain::{PartitionKey, Table};
use crate::log::{LogFailure, Lsn};
use crate::storage::StorageError;

/// How long a failed checkpoint waits before it is tried again.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(1);

/// Why a partition stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Nobody asked for it, or others needed its memory; nothing is unsaved.
    Idle,
    /// It was told to stop: its user is being erased.
    Closed,
    /// Its file or log could not be read.
    Failed,
    /// A handler panicked.
    Panicked,
}

/// A partition stopped.
#[derive(Message, Clone, Debug)]
#[rtype(result = "()")]
pub struct Exited {
    /// Which.
    pub key: PartitionKey,
    /// Why.
    pub exit: Exit,
}

/// The actor of one partition.
pub struct Partition {
    shared: Arc<Shared>,
    key: PartitionKey,
    stats: Arc<Stats>,
    entry: Arc<TableEntry>,
    state: State,
    /// Work that came while loading.
    queue: VecDeque<Work>,
    /// Work waiting for a read.
    parked: HashMap<Need, Vec<Work>>,
    parked_count: usize,
    saving: Option<Saving>,
    /// Checkpoints asked for while one was being written.
    save_again: Vec<(bool, Option<ReplyTo<bool>>)>,
    /// Work whose read failed while a checkpoint was being written; counted as parked.
    after_saving: Vec<Work>,
    then: Then,
    /// The generation that the next load begins with: none is used twice.
    generation: u64,
    /// Opened when the registry knows this actor.
    entered: Option<oneshot::Receiver<()>>,
    exit: Exit,
    door: Door,
    supervisor: Recipient<Exited>,
}

enum State {
    Loading,
    Ready(Box<Ready>),
    Failed(StoreError),
    Closed,
}

/// A checkpoint under way.
struct Saving {
    replies: Vec<ReplyTo<bool>>,
}

/// What follows when nothing is under way any more.
enum Then {
    GoOn,
    Passivate,
    Close(ReplyTo<()>),
}

impl Partition {
    /// The actor of `key`'s partition. It loads once `entered` opens.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        key: PartitionKey,
        stats: Arc<Stats>,
        entered: oneshot::Receiver<()>,
        door: Door,
        supervisor: Recipient<Exited>,
    ) -> Self {
        let entry = shared.registry.table(key.user(), key.table());
        Self {
            shared,
            key,
            stats,
            entry,
            state: State::Loading,
            queue: VecDeque::new(),
            parked: HashMap::new(),
            parked_count: 0,
            saving: None,
            save_again: Vec::new(),
            after_saving: Vec::new(),
            then: Then::GoOn,
            generation: 0,
            entered: Some(entered),
            exit: Exit::Closed,
            door,
            supervisor,
        }
    }

    fn start_loading(&mut self, ctx: &mut Context<Self>) {
        if let State::Ready(ready) = &self.state {
            self.generation = ready.rows.generation() + 1;
        }
        self.state = State::Loading;
        let (shared, key, entered) =
            (Arc::clone(&self.shared), self.key.clone(), self.entered.take());
        let loading = async move {
            if let Some(entered) = entered {
                // An error means that the supervisor is gone; loading does no harm then.
                let _ = entered.await;
            }
            load(&shared, &key).await
        };
        ctx.spawn(loading.into_actor(self).map(|loaded, act, ctx| act.loaded(loaded, ctx)));
    }

    fn loaded(&mut self, loaded: Result<Loaded, LoadError>, ctx: &mut Context<Self>) {
        match loaded {
            Ok(mut loaded) => {
                loaded.rows.begin_with(self.generation);
                let dirty = !loaded.rows.active().is_empty();
                if dirty {
                    self.stats.dirty_since.store(self.shared.millis(), Ordering::Relaxed);
                }
                let stream = self.shared.log.stream(&self.key);
                let ready = Ready::new(
                    Arc::clone(&self.shared),
                    self.key.clone(),
                    Arc::clone(&self.entry),
                    stream,
                    loaded,
                );
                self.state = State::Ready(Box::new(ready));
            }
            Err(error) => {
                tracing::error!(partition = %self.key, %error, "partition could not be loaded");
                self.state = State::Failed(error.kind());
            }
        }
        // What answers from before the reload rests on is not what is there now.
        self.shared.registry.changed(&self.entry);
        for work in std::mem::take(&mut self.queue) {
            self.run(work, ctx);
        }
        if matches!(self.state, State::Failed(StoreError::StorageFailed)) {
            self.stop(Exit::Failed, ctx);
        }
        self.publish_stats();
        self.settle(ctx);
    }

    fn run(&mut self, work: Work, ctx: &mut Context<Self>) {
        let bound = self.shared.limits.mailbox;
        match &mut self.state {
            State::Loading if self.queue.len() < bound => self.queue.push_back(work),
            State::Loading => work.fail(StoreError::Overloaded, Lsn::new(0)),
            State::Failed(error) => match work {
                Work::Close { reply } => self.close(reply, ctx),
                Work::Passivate => self.stop(Exit::Idle, ctx),
                work => work.fail(error.clone(), Lsn::new(0)),
            },
            // It came before everybody knew of the end.
            State::Closed if work.asks() => self.door.forward(self.key.clone(), work),
            // Without an answer: nothing is unsaved here.
            State::Closed => drop(work),
            State::Ready(ready) if ready.epoch != self.shared.log.epoch() => {
                // A log batch failed: what is in memory may hold changes that are not there.
                self.queue.push_back(work);
                self.parked_to_queue();
                self.start_loading(ctx);
            }
            State::Ready(ready) => match work {
                Work::Checkpoint { adopt, permit, reply } => {
                    self.checkpoint(adopt, permit, reply, ctx);
                }
                Work::Passivate => {
                    if matches!(self.then, Then::GoOn) {
                        self.then = Then::Passivate;
                    }
                    self.settle(ctx);
                }
                Work::Close { reply } => self.close(reply, ctx),
                work => match ready.step(work) {
                    Step::Done => {}
                    Step::Need(need, work) => self.park(need, work, ctx),
                },
            },
        }
    }

    fn parked_to_queue(&mut self) {
        self.queue.extend(std::mem::take(&mut self.parked).into_values().flatten());
        self.parked_count = self.after_saving.len();
    }

    fn park(&mut self, need: Need, work: Work, ctx: &mut Context<Self>) {
        let State::Ready(ready) = &self.state else { return };
        if self.parked_count >= self.shared.limits.mailbox {
            return work.fail(StoreError::Overloaded, Lsn::new(0));
        }
        let Some(file) = ready.file.clone() else {
            // Rows without a file are all in memory, so nothing is ever needed.
            return work.fail(StoreError::Internal, Lsn::new(0));
        };
        self.parked_count += 1;
        let waiting = self.parked.entry(need.clone()).or_default();
        waiting.push(work);
        if waiting.len() > 1 {
            return;
        }
        let generation = ready.rows.generation();
        let fetching = fetch(Arc::clone(&self.shared), file, need.clone());
        let done = move |fetched, act: &mut Self, ctx: &mut Context<Self>| {
            act.fetched(&need, generation, fetched, ctx);
        };
        ctx.spawn(fetching.into_actor(self).map(done));
    }

    fn fetched(
        &mut self,
        need: &Need,
        generation: u64,
        fetched: Result<Fetched, LoadError>,
        ctx: &mut Context<Self>,
    ) {
        let mut waiting = self.parked.remove(need).unwrap_or_default();
        self.parked_count -= waiting.len();
        if let State::Ready(ready) = &mut self.state {
            match (fetched, need) {
                (Ok(Fetched::Group(rows)), Need::Group { index, columns: None }) => {
                    ready.rows.install_group(generation, *index, rows);
                }
                (Ok(Fetched::Group(rows)), Need::Group { index, columns: Some(_) }) => {
                    for work in &mut waiting {
                        if let Work::Scan { scan, .. } = work {
                            scan.take_group(generation, *index, Arc::clone(&rows));
                        }
                    }
                }
                (Ok(Fetched::Ids(ids)), _) => {
                    ready.rows.install_ids(generation, &ids);
                    for work in &mut waiting {
                        if let Work::ForeignIds { read, .. } = work {
                            *read = Some((generation, ids.concat()));
                        }
                    }
                }
                (Ok(Fetched::Group(_)), Need::ForeignIds) => {}
                // A checkpoint may have replaced the file between looking and reading: one that
                // is under way may just have done so, and asks again when it is done.
                (Err(_), _) if self.saving.is_some() => {
                    self.parked_count += waiting.len();
                    self.after_saving.append(&mut waiting);
                }
                (Err(error), _) => {
                    if ready.rows.generation() == generation {
                        if let LoadError::Corrupt { file, why } = &error {
                            self.shared.unreadable.report(file, Some(&self.key), why);
                        }
                        let as_of = ready.last_lsn;
                        for work in waiting.drain(..) {
                            work.fail(error.kind(), as_of);
                        }
                    }
                }
            }
        }
        for work in waiting {
            self.run(work, ctx);
        }
        if let State::Ready(ready) = &mut self.state
            // What was read for those who wait stays until they have all they need.
            && self.parked.is_empty()
        {
            ready.evict();
        }
        self.publish_stats();
        self.settle(ctx);
    }

    fn checkpoint(
        &mut self,
        adopt: bool,
        permit: Option<OwnedSemaphorePermit>,
        reply: Option<ReplyTo<bool>>,
        ctx: &mut Context<Self>,
    ) {
        let State::Ready(ready) = &mut self.state else { return };
        if self.saving.is_some() {
            self.save_again.push((adopt, reply));
            return;
        }
        if !(ready.is_dirty() || adopt && ready.is_legacy()) {
            self.stats.dirty_since.store(0, Ordering::Relaxed);
            if let Some(reply) = reply {
                answer(reply, Ok(false), Lsn::new(0));
            }
            return;
        }
        self.saving = Some(Saving { replies: reply.into_iter().collect() });
        self.stats.saving.store(true, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        if self.key.table() == Table::Idempotency {
            // Others log on this partition's behalf: what they have not told yet is in the log.
            let catching_up = ready.catch_up();
            let done = move |caught: Result<_, LoadError>,
                             act: &mut Self,
                             ctx: &mut Context<Self>| match caught {
                Ok(changes) => {
                    if let State::Ready(ready) = &mut act.state {
                        ready.learn_all(changes);
                    }
                    act.write_checkpoint(permit, ctx);
                }
                Err(error) => {
                    tracing::warn!(partition = %act.key, %error, "checkpoint could not read the log");
                    act.saved(Err(CheckpointError::Log(LogFailure::Poisoned)), ctx);
                }
            };
            ctx.spawn(catching_up.into_actor(self).map(done));
        } else {
            drop(shared);
            self.write_checkpoint(permit, ctx);
        }
    }

    fn write_checkpoint(&mut self, permit: Option<OwnedSemaphorePermit>, ctx: &mut Context<Self>) {
        let State::Ready(ready) = &mut self.state else {
            return self.saved(Err(CheckpointError::Log(LogFailure::NoSuchRecord)), ctx);
        };
        if ready.epoch != self.shared.log.epoch() {
            // What a failed batch of the log took back must not reach a file.
            return self.saved(Err(CheckpointError::Log(LogFailure::NoSuchRecord)), ctx);
        }
        let plan = ready.freeze();
        let shared = Arc::clone(&self.shared);
        let writing = async move {
            let written = checkpoint::write(&shared, plan).await;
            drop(permit);
            written
        };
        ctx.spawn(writing.into_actor(self).map(|written, act, ctx| act.saved(written, ctx)));
        self.publish_stats();
    }

    fn saved(&mut self, written: Result<Published, CheckpointError>, ctx: &mut Context<Self>) {
        let replies = self.saving.take().map(|s| s.replies).unwrap_or_default();
        self.stats.saving.store(false, Ordering::Relaxed);
        let State::Ready(ready) = &mut self.state else {
            // Where it is being loaded again, they are asked of what is loaded then.
            let again = std::mem::take(&mut self.save_again);
            let asked = replies.into_iter().map(|reply| (false, Some(reply))).chain(again);
            for (adopt, reply) in asked.filter(|(_, reply)| reply.is_some()) {
                self.run(Work::Checkpoint { adopt, permit: None, reply }, ctx);
            }
            self.run_after_saving(ctx);
            return self.settle(ctx);
        };
        let result = match written {
            Ok(published) => {
                self.shared.log.published(&self.key, published.through);
                ready.install(published);
                let since = if ready.is_dirty() { self.shared.millis() } else { 0 };
                self.stats.dirty_since.store(since, Ordering::Relaxed);
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(partition = %self.key, %error, "checkpoint failed and will be tried again");
                ready.rows.unfreeze();
                if let CheckpointError::Storage(StorageError::Conflict | StorageError::NotFound) =
                    &error
                {
                    // The file is not the one this partition knows: what is there is read again.
                    self.parked_to_queue();
                    self.start_loading(ctx);
                }
                let retry = u64::try_from(CHECKPOINT_RETRY.as_millis()).unwrap_or(u64::MAX);
                self.stats.retry_at.store(self.shared.millis() + retry, Ordering::Relaxed);
                if matches!(self.then, Then::Passivate) {
                    self.then = Then::GoOn;
                }
                Err(match error {
                    CheckpointError::Storage(StorageError::Full) => StoreError::StorageFull,
                    CheckpointError::Log(failure) => failure.into(),
                    _ => StoreError::StorageFailed,
                })
            }
        };
        for reply in replies {
            answer(reply, result.clone(), Lsn::new(0));
        }
        self.run_after_saving(ctx);
        let again = std::mem::take(&mut self.save_again);
        for (adopt, reply) in again {
            match &result {
                Ok(_) => self.checkpoint(adopt, None, reply, ctx),
                Err(error) => {
                    if let Some(reply) = reply {
                        answer(reply, Err(error.clone()), Lsn::new(0));
                    }
                }
            }
        }
        self.publish_stats();
        self.settle(ctx);
    }

    fn run_after_saving(&mut self, ctx: &mut Context<Self>) {
        self.parked_count -= self.after_saving.len();
        for work in std::mem::take(&mut self.after_saving) {
            self.run(work, ctx);
        }
    }

    fn close(&mut self, reply: ReplyTo<()>, ctx: &mut Context<Self>) {
        self.then = Then::Close(reply);
        self.settle(ctx);
    }

    /// Does what was put off until nothing is under way.
    fn settle(&mut self, ctx: &mut Context<Self>) {
        let busy = self.saving.is_some() || matches!(self.state, State::Loading);
        if busy || matches!(self.state, State::Closed) {
            return;
        }
        match std::mem::replace(&mut self.then, Then::GoOn) {
            Then::GoOn => {}
            Then::Close(reply) => {
                self.stop(Exit::Closed, ctx);
                answer(reply, Ok(()), Lsn::new(0));
            }
            Then::Passivate => {
                let dirty = matches!(&self.state, State::Ready(ready) if ready.is_dirty());
                if dirty {
                    self.then = Then::Passivate;
                    self.checkpoint(false, None, None, ctx);
                } else if self.parked_count == 0 {
                    self.stop(Exit::Idle, ctx);
                }
            }
        }
    }

    fn stop(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        self.exit = exit;
        self.state = State::Closed;
        self.parked.clear();
        self.queue.clear();
        self.after_saving.clear();
        self.shared.registry.leave(&self.key, &self.stats);
        if exit == Exit::Failed {
            ctx.stop();
        }
        // Otherwise the actor ends when nobody has its address any more, and forwards until then.
    }

    fn publish_stats(&self) {
        let State::Ready(ready) = &self.state else { return };
        self.stats.bytes.store(ready.rows.bytes() as u64, Ordering::Relaxed);
        self.stats.unsaved_bytes.store(ready.rows.active().bytes() as u64, Ordering::Relaxed);
    }
}

impl Actor for Partition {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(self.shared.limits.mailbox);
        self.start_loading(ctx);
    }
}

impl Drop for Partition {
    /// However the actor ends, the registry and the supervisor learn of it: a panic unwinds
    /// through here too.
    fn drop(&mut self) {
        self.shared.registry.leave(&self.key, &self.stats);
        let exit = if std::thread::panicking() { Exit::Panicked } else { self.exit };
        let exited = Exited { key: self.key.clone(), exit };
        if exit == Exit::Panicked {
            tracing::error!(partition = %self.key, "partition panicked and will be rebuilt");
        }
        // The supervisor uses this to pause restarts; without it the next request just restarts.
        let _ = self.supervisor.try_send(exited);
    }
}

impl Handler<Work> for Partition {
    type Result = ();

    fn handle(&mut self, work: Work, ctx: &mut Context<Self>) {
        if work.asks() {
            self.stats.used.store(self.shared.millis(), Ordering::Relaxed);
            if matches!(self.then, Then::Passivate) && self.saving.is_some() {
                // Somebody came while it was saving before it would stop: it stays.
                self.then = Then::GoOn;
            }
        }
        let wrote = matches!(work, Work::Write(_) | Work::Learn { .. });
        self.run(work, ctx);
        if wrote && let State::Ready(ready) = &self.state {
            self.stats.unsaved_bytes.store(ready.rows.active().bytes() as u64, Ordering::Relaxed);
            if ready.is_dirty() && self.stats.dirty_since.load(Ordering::Relaxed) == 0 {
                self.stats.dirty_since.store(self.shared.millis(), Ordering::Relaxed);
            }
        }
    }
}
