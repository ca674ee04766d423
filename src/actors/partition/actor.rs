//! A partition's life: loading, ready, failed, closed; its mailbox; its I/O in the background.
//!
//! Nothing here blocks: reads and checkpoints are futures whose results come back as steps of
//! this actor. Work that needs a read is parked, by what it needs, and goes on when that is
//! there; what parks is bounded by the mailbox's capacity.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient,
    WrapFuture,
};
use tokio::sync::oneshot;

use super::fetch::{Fetched, fetch};
use super::load::{LoadError, Loaded, load};
use super::ready::{Ready, Step};
use super::rows::Need;
use crate::actors::messages::{ReplyTo, Work, answer};
use crate::actors::registry::{Stats, TableEntry};
use crate::actors::supervisor::Door;
use crate::actors::{Shared, StoreError};
use crate::domain::PartitionKey;
use crate::log::ReadPoint;

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
    pub(super) shared: Arc<Shared>,
    pub(super) key: PartitionKey,
    pub(super) stats: Arc<Stats>,
    pub(super) entry: Arc<TableEntry>,
    pub(super) state: State,
    /// Work that came while loading.
    pub(super) queue: VecDeque<Work>,
    /// Work waiting for a read.
    pub(super) parked: HashMap<Need, Vec<Work>>,
    pub(super) parked_count: usize,
    pub(super) saving: Option<Saving>,
    /// Checkpoints asked for while one was being written.
    pub(super) save_again: Vec<(bool, Option<ReplyTo<bool>>)>,
    /// Work whose read failed while a checkpoint was being written; counted as parked.
    pub(super) after_saving: Vec<Work>,
    pub(super) then: Then,
    /// Whether what is being loaded must be loaded once more.
    pub(super) load_again: bool,
    /// The generation that the next load begins with: none is used twice.
    pub(super) generation: u64,
    /// Opened when the registry knows this actor.
    pub(super) entered: Option<oneshot::Receiver<()>>,
    pub(super) exit: Exit,
    pub(super) door: Door,
    pub(super) supervisor: Recipient<Exited>,
}

pub(super) enum State {
    Loading,
    Ready(Box<Ready>),
    Failed(StoreError),
    Closed,
}

/// A checkpoint under way.
pub(super) struct Saving {
    pub(super) replies: Vec<ReplyTo<bool>>,
}

/// What follows when nothing is under way any more.
pub(super) enum Then {
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
            load_again: false,
            generation: 0,
            entered: Some(entered),
            exit: Exit::Closed,
            door,
            supervisor,
        }
    }

    pub(super) fn start_loading(&mut self, ctx: &mut Context<Self>) {
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
        if std::mem::take(&mut self.load_again) {
            return self.start_loading(ctx);
        }
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

    pub(super) fn run(&mut self, work: Work, ctx: &mut Context<Self>) {
        let bound = self.shared.limits.mailbox;
        match &mut self.state {
            State::Loading if self.queue.len() < bound => self.queue.push_back(work),
            State::Loading => work.fail(StoreError::Overloaded, ReadPoint::NONE),
            State::Failed(error) => match work {
                Work::Close { reply } => self.close(reply, ctx),
                Work::Passivate => self.stop(Exit::Idle, ctx),
                work => work.fail(error.clone(), ReadPoint::NONE),
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
                Work::Archive { version, reply } => self.archive(&version, reply, ctx),
                work => match ready.step(work) {
                    Step::Done => {}
                    Step::Need(need, work) => self.park(need, work, ctx),
                },
            },
        }
    }

    pub(super) fn parked_to_queue(&mut self) {
        self.queue.extend(std::mem::take(&mut self.parked).into_values().flatten());
        self.parked_count = self.after_saving.len();
    }

    fn park(&mut self, need: Need, work: Work, ctx: &mut Context<Self>) {
        let State::Ready(ready) = &self.state else { return };
        if self.parked_count >= self.shared.limits.mailbox {
            return work.fail(StoreError::Overloaded, ReadPoint::NONE);
        }
        let Some(file) = ready.file.clone() else {
            // Rows without a file are all in memory, so nothing is ever needed.
            return work.fail(StoreError::Internal, ReadPoint::NONE);
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
                        let as_of = ready.read_point();
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

    fn close(&mut self, reply: ReplyTo<()>, ctx: &mut Context<Self>) {
        self.then = Then::Close(reply);
        self.settle(ctx);
    }

    /// Does what was put off until nothing is under way.
    pub(super) fn settle(&mut self, ctx: &mut Context<Self>) {
        let busy = self.saving.is_some() || matches!(self.state, State::Loading);
        if busy || matches!(self.state, State::Closed) {
            return;
        }
        match std::mem::replace(&mut self.then, Then::GoOn) {
            Then::GoOn => {}
            Then::Close(reply) => {
                self.stop(Exit::Closed, ctx);
                answer(reply, Ok(()), ReadPoint::NONE);
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

    pub(super) fn publish_stats(&self) {
        let State::Ready(ready) = &self.state else { return };
        let unsaved = ready.rows.active().bytes();
        let other = ready.bytes().saturating_sub(unsaved);
        self.stats.unsaved_bytes.store(unsaved as u64, Ordering::Relaxed);
        self.stats.other_bytes.store(other as u64, Ordering::Relaxed);
        // A write that came while the partition was loading has not been through the handler since.
        if !ready.rows.active().is_empty() && self.stats.dirty_since.load(Ordering::Relaxed) == 0 {
            self.stats.dirty_since.store(self.shared.millis(), Ordering::Relaxed);
        }
        ready.report();
    }
}

impl Actor for Partition {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
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
        let counts = &self.shared.metrics.partitions;
        match exit {
            Exit::Idle => counts.idle.increment(),
            Exit::Closed => counts.closed.increment(),
            Exit::Failed => counts.failed.increment(),
            Exit::Panicked => counts.panicked.increment(),
        }
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
            self.stats.waiting.fetch_sub(1, Ordering::Relaxed);
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
                if self.shared.archived.has(&self.key) {
                    // Its next checkpoint brings it back to the tables; lists show it from now on.
                    self.shared.archived.set(&self.key, false);
                    self.shared.registry.changed(&self.entry);
                }
            }
        }
    }
}
