//! Moving a month's file to the archive, and finding it there.
//!
//! The file is copied, then removed from the table's folder: at each moment one of the two places
//! is the partition's. Where a crash leaves both, the table's counts, and the copy goes at the next
//! load. The partition is loaded again after the move; what comes meanwhile waits or is tried
//! again, as under a checkpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::actor::{Partition, Saving, State, Then};
use crate::actors::StoreError;
use crate::actors::messages::{ReplyTo, Work, answer};
use crate::actors::shared::Shared;
use crate::domain::PartitionKey;
use crate::log::ReadPoint;
use crate::storage::{ObjectMeta, PutIf, StorageError, StorePath, Version, layout};

/// The partition's file in the archive, where there is one.
///
/// # Errors
/// [`StorageError`] where that cannot be told.
pub(super) async fn file_in_archive(
    shared: &Shared,
    key: &PartitionKey,
) -> Result<Option<(StorePath, ObjectMeta)>, StorageError> {
    let path = layout::archive_file(key);
    Ok(shared.storage.head(&path).await?.map(|object| (path, object)))
}

impl Partition {
    /// Moves the file to the archive where it is still this version and nothing is unsaved, and
    /// answers whether it did.
    pub(super) fn archive(
        &mut self,
        version: &Version,
        reply: ReplyTo<bool>,
        ctx: &mut Context<Self>,
    ) {
        let State::Ready(ready) = &self.state else { return };
        let path = layout::partition_file(&self.key);
        let file = ready.file.clone().filter(|f| f.path == path && f.version == *version);
        let quiet = self.saving.is_none() && !ready.is_dirty() && !ready.is_legacy();
        let Some(file) = file.filter(|_| quiet) else {
            return answer(reply, Ok(false), ReadPoint::NONE);
        };
        self.saving = Some(Saving { replies: Vec::new() });
        self.stats.saving.store(true, Ordering::Relaxed);
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        let moving = async move {
            let bytes = shared.storage.read(&file.path, 0..file.len).await?;
            shared.storage.put(&layout::archive_file(&key), bytes, PutIf::Always).await?;
            shared.storage.delete(&file.path).await
        };
        ctx.spawn(moving.into_actor(self).map(move |moved, act, ctx| {
            act.saving = None;
            act.stats.saving.store(false, Ordering::Relaxed);
            let moved = moved.map(|()| true).map_err(|error: StorageError| {
                tracing::warn!(partition = %act.key, %error, "a month could not be archived");
                StoreError::StorageFailed
            });
            answer(reply, moved, ReadPoint::NONE);
            act.parked_to_queue();
            act.parked_count -= act.after_saving.len();
            act.queue.extend(std::mem::take(&mut act.after_saving));
            for (adopt, reply) in std::mem::take(&mut act.save_again) {
                act.queue.push_back(Work::Checkpoint { adopt, permit: None, reply });
            }
            match act.state {
                State::Ready(_) => act.start_loading(ctx),
                // It is being loaded, and may have seen the file where it was: once more, then.
                State::Loading if matches!(act.then, Then::GoOn) => act.then = Then::Passivate,
                _ => {}
            }
        }));
    }
}
