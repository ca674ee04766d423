//! A partition's checkpoints: when one is asked for, while it is written, when it is done.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use tokio::sync::OwnedSemaphorePermit;

use super::actor::{Partition, Saving, State, Then};
use super::checkpoint::{self, CheckpointError, Published, Urgency};
use super::load::LoadError;
use crate::actors::StoreError;
use crate::actors::messages::{ReplyTo, Work, answer};
use crate::domain::Table;
use crate::log::{LogFailure, ReadPoint};
use crate::storage::StorageError;

/// How long a failed checkpoint waits before it is tried again.
const CHECKPOINT_RETRY: Duration = Duration::from_secs(1);

impl Partition {
    pub(super) fn checkpoint(
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
                answer(reply, Ok(false), ReadPoint::NONE);
            }
            return;
        }
        self.saving = Some(Saving { replies: reply.into_iter().collect() });
        self.stats.saving.store(true, Ordering::Relaxed);
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
        // The checkpointer brings one.
        let urgency = if permit.is_some() { Urgency::Routine } else { Urgency::AskedFor };
        let writing = async move {
            let permit = match permit {
                Some(permit) => Ok(permit),
                None => Arc::clone(&shared.checkpoints).acquire_owned().await,
            };
            let written = checkpoint::write(&shared, plan, urgency).await;
            drop(permit);
            written
        };
        ctx.spawn(writing.into_actor(self).map(|written, act, ctx| act.saved(written, ctx)));
        self.publish_stats();
    }

    fn saved(&mut self, written: Result<Published, CheckpointError>, ctx: &mut Context<Self>) {
        let replies = self.saving.take().map(|s| s.replies).unwrap_or_default();
        self.stats.saving.store(false, Ordering::Relaxed);
        if written.as_ref().err().is_none_or(CheckpointError::may_have_replaced) {
            // It may have been while the file was read, or after that.
            match self.state {
                State::Loading => self.load_again = true,
                State::Failed(_) => self.start_loading(ctx),
                State::Ready(_) | State::Closed => {}
            }
        }
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
                if error.may_have_replaced() {
                    // What is there is read again.
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
            answer(reply, result.clone(), ReadPoint::NONE);
        }
        self.run_after_saving(ctx);
        let again = std::mem::take(&mut self.save_again);
        for (adopt, reply) in again {
            match &result {
                Ok(_) => self.checkpoint(adopt, None, reply, ctx),
                Err(error) => {
                    if let Some(reply) = reply {
                        answer(reply, Err(error.clone()), ReadPoint::NONE);
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
}
