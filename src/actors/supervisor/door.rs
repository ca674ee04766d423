//! How everybody reaches a partition: a known address costs no hop, an unknown one is opened by
//! the supervisor, one that stopped meanwhile is opened again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::Addr;
use actix::prelude::SendError;
use tokio::sync::oneshot;

use super::{Open, OpenCatalog, Supervisor};
use crate::actors::catalog::Catalog;
use crate::actors::messages::{Answer, ReplyTo, Work};
use crate::actors::registry::Slot;
use crate::actors::{Shared, StoreError};
use crate::domain::{PartitionKey, Table, UserId};
use crate::log::ReadPoint;

/// How often a request follows a partition that keeps stopping.
const ATTEMPTS: usize = 3;

/// The way to partitions and catalogs. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    shared: Arc<Shared>,
    supervisor: Addr<Supervisor>,
}

impl Door {
    /// The way through `supervisor`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, supervisor: Addr<Supervisor>) -> Self {
        Self { shared, supervisor }
    }

    /// A partition's address, started where it is not running.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn open(&self, key: &PartitionKey) -> Result<Arc<Slot>, StoreError> {
        if let Some(slot) = self.shared.registry.partition(key) {
            return Ok(slot);
        }
        let (reply, answer) = oneshot::channel();
        self.shared.metrics.messages.supervisor.increment();
        let sent = self.supervisor.try_send(Open { key: key.clone(), reply });
        sent.map_err(|e| refused(&e))?;
        answer.await.map_err(|_| StoreError::Draining)?
    }

    /// A catalog's address, started where it is not running.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn catalog(&self, user: &UserId, table: Table) -> Result<Addr<Catalog>, StoreError> {
        if let Some(catalog) = self.shared.registry.catalog(&(user.clone(), table)) {
            return Ok(catalog);
        }
        let (reply, answer) = oneshot::channel();
        self.shared.metrics.messages.supervisor.increment();
        let sent = self.supervisor.try_send(OpenCatalog { user: user.clone(), table, reply });
        sent.map_err(|e| refused(&e))?;
        answer.await.map_err(|_| StoreError::Draining)?
    }

    /// Asks a partition. A request that was let go without an answer, as a panic does, is not sent
    /// again: the answer is then [`StoreError::Restarting`], and nothing was changed.
    pub async fn ask<T>(
        &self,
        key: &PartitionKey,
        make: impl FnOnce(ReplyTo<T>) -> Work,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        if let Err((work, error)) = self.deliver(key, make(reply)).await {
            work.fail(error, ReadPoint::NONE);
        }
        let lost = || Answer {
            result: Err(StoreError::Restarting { after: Duration::from_secs(1) }),
            as_of: ReadPoint::NONE,
        };
        answer.await.unwrap_or_else(|_| lost())
    }

    /// Hands a request that came to a partition after its end to the one that follows it.
    pub fn forward(&self, key: PartitionKey, work: Work) {
        let door = self.clone();
        actix::spawn(async move {
            if let Err((work, error)) = door.deliver(&key, work).await {
                work.fail(error, ReadPoint::NONE);
            }
        });
    }

    async fn deliver(&self, key: &PartitionKey, mut work: Work) -> Result<(), (Work, StoreError)> {
        for _ in 0..ATTEMPTS {
            let slot = match self.open(key).await {
                Ok(slot) => slot,
                Err(error) => return Err((work, error)),
            };
            slot.stats.waiting.fetch_add(1, Ordering::Relaxed);
            self.shared.metrics.messages.partition.increment();
            let sent = slot.addr.try_send(work);
            if sent.is_err() {
                slot.stats.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            match sent {
                Ok(()) => return Ok(()),
                Err(SendError::Full(back)) => return Err((back, StoreError::Overloaded)),
                Err(SendError::Closed(back)) => {
                    self.shared.registry.leave(key, &slot.stats);
                    work = back;
                }
            }
        }
        Err((work, StoreError::Overloaded))
    }

    /// Asks a partition for something of its records, and again where it failed with the request
    /// in its mailbox or the log took back what the answer rested on. `make` is called once an
    /// attempt.
    ///
    /// # Errors
    /// The last answer's, or the log's.
    pub async fn read<T>(
        &self,
        key: &PartitionKey,
        make: impl Fn(ReplyTo<T>) -> Work,
    ) -> Result<T, StoreError> {
        let mut attempt = 1;
        loop {
            match self.settled(self.ask(key, &make).await).await {
                Err(StoreError::Restarting { .. }) if attempt < ATTEMPTS => attempt += 1,
                settled => return settled,
            }
        }
    }

    /// What an answer says, once the log is durable through what it rests on.
    ///
    /// # Errors
    /// The answer's, or the log's where what it rests on was lost.
    pub async fn settled<T>(&self, answer: Answer<T>) -> Result<T, StoreError> {
        self.shared.log.visible_through(answer.as_of).await?;
        answer.result
    }
}

fn refused<M>(error: &SendError<M>) -> StoreError {
    match error {
        SendError::Full(_) => StoreError::Overloaded,
        SendError::Closed(_) => StoreError::Draining,
    }
}
