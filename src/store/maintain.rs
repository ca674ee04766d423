//! Checkpoints on demand, readiness, the end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::oneshot;

use super::{Store, StoreError};
use crate::actors::messages::Work;
use crate::actors::registry::Slot;
use crate::actors::supervisor::Drain;
use crate::log::{LogState, LogStatus};

/// How many partitions of a recovery are woken at once by a checkpoint on demand.
const WAKE: usize = 256;

/// Whether the store takes requests.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether writes are taken.
    pub writable: bool,
    /// Why not, where they are not.
    pub reason: Option<&'static str>,
    /// Files that cannot be read, and why.
    pub unreadable: Vec<(String, String)>,
}

impl Store {
    /// Writes everything that is unsaved to its Parquet file, and answers how many partitions
    /// that were. With `adopt`, running partitions also take over files of the Python service
    /// that nothing has changed yet. On return the files survive power loss.
    ///
    /// # Errors
    /// The first partition's that could not be written; the others are.
    pub async fn checkpoint(&self, adopt: bool) -> Result<u64, StoreError> {
        let mut saved = 0;
        let mut failed = None;
        // What only the log holds is brought in first, a part at a time.
        loop {
            let keys = self.shared.log.oldest_unpublished(WAKE);
            let asleep: Vec<_> =
                keys.into_iter().filter(|k| self.shared.registry.partition(k).is_none()).collect();
            if asleep.is_empty() {
                break;
            }
            let mut woken = Vec::new();
            for key in asleep {
                match self.door.open(&key).await {
                    Ok(slot) => woken.push(slot),
                    Err(error) => failed = Some(error),
                }
            }
            if woken.is_empty() {
                break;
            }
            self.checkpoint_all(woken, false, &mut saved, &mut failed).await;
            if failed.is_some() {
                break;
            }
        }
        let all = self.shared.registry.all();
        self.checkpoint_all(all, adopt, &mut saved, &mut failed).await;
        match failed {
            Some(error) => Err(error),
            None => Ok(saved),
        }
    }

    async fn checkpoint_all(
        &self,
        slots: Vec<Arc<Slot>>,
        adopt: bool,
        saved: &mut u64,
        failed: &mut Option<StoreError>,
    ) {
        let concurrency = self.shared.limits.checkpoint_concurrency.max(1) * 4;
        let mut results = stream::iter(slots)
            .map(|slot| async move {
                let (reply, answer) = oneshot::channel();
                let work = Work::Checkpoint { adopt, permit: None, reply: Some(reply) };
                if slot.addr.send(work).await.is_err() {
                    // It stopped, and had nothing unsaved then.
                    return Ok(false);
                }
                answer.await.map_or(Ok(false), |a| a.result)
            })
            .buffer_unordered(concurrency);
        while let Some(result) = results.next().await {
            match result {
                Ok(written) => *saved += u64::from(written),
                // A partition that cannot be read has nothing unsaved.
                Err(StoreError::PartitionCorrupt) => {}
                Err(error) => *failed = Some(error),
            }
        }
    }

    /// Whether the store takes requests, and what it cannot read.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let reason = match self.shared.log.status().state {
            LogState::Running => None,
            LogState::Full(_) => Some("no space is left for the log"),
            LogState::Poisoned(_) => Some("the log failed and needs a restart"),
            LogState::Closed => Some("the log is closed"),
        };
        Readiness { writable: reason.is_none(), reason, unreadable: self.shared.unreadable.list() }
    }

    /// The log's numbers.
    #[must_use]
    pub fn log_status(&self) -> LogStatus {
        self.shared.log.status()
    }

    /// How many partitions run.
    #[must_use]
    pub fn resident_partitions(&self) -> usize {
        self.shared.registry.all().len()
    }

    /// Ends the store: nothing starts any more, everything is written to its Parquet file, the
    /// log is closed. Requests must have been answered before. What is not written after
    /// `at_most` is left to the log.
    ///
    /// # Errors
    /// What could not be written; the log still has it.
    pub async fn close(&self, at_most: Duration) -> Result<(), StoreError> {
        let saving = tokio::time::timeout(at_most, self.checkpoint(false));
        let saved = saving.await.unwrap_or(Err(StoreError::TooSlow));
        // Without a supervisor nothing starts either.
        let _ = self.supervisor.send(Drain).await;
        let log = self.shared.log.clone();
        let closed = self.shared.env.blocking(move || {
            // What was published lets its segments go, so that the next start reads little.
            if let Err(error) = log.remove_published_segments() {
                tracing::warn!(%error, "log segments could not be removed");
            }
            log.close()
        });
        match closed.await {
            Ok(Ok(())) => saved.map(|_| ()),
            Ok(Err(error)) => {
                tracing::error!(%error, "the log could not be closed");
                Err(StoreError::LogFailed)
            }
            Err(_) => Err(StoreError::Internal),
        }
    }
}
