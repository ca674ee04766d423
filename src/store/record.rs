//! Single records: save, update, delete, read.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::expose::Did;
use super::{Precondition, Store, StoreError, Written};
use crate::actors::catalog::{Locate, SaveBrought};
use crate::actors::messages::{Answer, Change, Remember, SaveMode, Work, Write};
use crate::domain::{Micros, PartitionKey, Partitioning, Patch, RecordId, Row, Table, UserId};
use crate::log::ReadPoint;

impl Store {
    /// Saves a record: a new one, or, where its id exists, an update of it in the month where it
    /// lives. [`Patch::check_create`] has passed.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was changed, but for [`StoreError::LogFailed`].
    pub async fn save(
        &self,
        user: &UserId,
        patch: impl Into<Box<Patch>>,
        precondition: Precondition,
        remember: Option<Remember>,
    ) -> Result<Written, StoreError> {
        let mut patch = patch.into();
        let _measured = self.measured(user).await?;
        let table = patch.table();
        let created_at = patch.created_at.unwrap_or_else(|| self.shared.env.clock.now());
        let key = PartitionKey::holding(user, table, created_at).ok_or(StoreError::Internal)?;
        let brought = patch.id.clone();
        let mode = if brought.is_some() { SaveMode::Upsert } else { SaveMode::Insert };
        let id = brought.clone().unwrap_or_else(|| self.make_id(table, created_at));
        self.seal(user, &id, &mut patch).await?;
        let change = Change::Save { id, created_at, patch, mode, names_status: false };
        let monthly = table.spec().partitioning == Partitioning::Monthly;
        if !(monthly && brought.is_some()) {
            let make =
                |reply| Work::Write(Box::new(Write { change, precondition, remember, reply }));
            let answer = self.door.ask(&key, make).await;
            let saved = self.door.settled(answer).await;
            return self.counted_change(table, Did::Saved, saved);
        }
        let (reply, answer) = oneshot::channel();
        let write = Box::new(Write { change, precondition, remember, reply });
        let catalog = self.door.catalog(user, table).await?;
        self.shared.metrics.messages.catalog.increment();
        catalog.try_send(SaveBrought(write)).map_err(|_| StoreError::Overloaded)?;
        let saved = self.door.settled(answer.await.map_err(|_| StoreError::Overloaded)?).await;
        self.counted_change(table, Did::Saved, saved)
    }

    fn make_id(&self, table: Table, created_at: Micros) -> RecordId {
        let mut random = [0; 10];
        self.shared.env.random.fill(&mut random);
        RecordId::made(table, created_at, random)
    }

    /// Changes fields of a record. With `names_status`, the answer says the status it has then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::VersionMismatch`], [`StoreError::Input`] and
    /// whatever keeps the store from writing; nothing was changed, but for
    /// [`StoreError::LogFailed`].
    pub async fn update(
        &self,
        user: &UserId,
        id: &RecordId,
        patch: impl Into<Box<Patch>>,
        precondition: Precondition,
        names_status: bool,
        remember: Option<Remember>,
    ) -> Result<Written, StoreError> {
        let mut patch = patch.into();
        let _measured = self.measured(user).await?;
        let table = patch.table();
        self.seal(user, id, &mut patch).await?;
        let change = Change::Save {
            id: id.clone(),
            created_at: Micros::default(),
            patch,
            mode: SaveMode::Update,
            names_status,
        };
        self.change(user, table, id, change, precondition, remember).await
    }

    /// Deletes a record. It is gone from reads at once, from its Parquet file at the next
    /// checkpoint, from the log when its segment goes.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::VersionMismatch`] and whatever keeps the store
    /// from writing.
    pub async fn delete(
        &self,
        user: &UserId,
        table: Table,
        id: &RecordId,
        precondition: Precondition,
    ) -> Result<Written, StoreError> {
        self.change(user, table, id, Change::Delete(id.clone()), precondition, None).await
    }

    async fn change(
        &self,
        user: &UserId,
        table: Table,
        id: &RecordId,
        change: Change,
        precondition: Precondition,
        remember: Option<Remember>,
    ) -> Result<Written, StoreError> {
        // A write is sent once: it goes where the record is.
        let did = if matches!(change, Change::Delete(_)) { Did::Deleted } else { Did::Saved };
        let (key, _) = self.find(user, table, id).await?;
        let make = |reply| Work::Write(Box::new(Write { change, precondition, remember, reply }));
        let answer = self.door.ask(&key, make).await;
        let changed = self.door.settled(answer).await;
        self.counted_change(table, did, changed)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] and whatever keeps the store from reading.
    pub async fn get(
        &self,
        user: &UserId,
        table: Table,
        id: &RecordId,
    ) -> Result<Arc<Row>, StoreError> {
        self.find(user, table, id).await.map(|(_, row)| row)
    }

    /// The record and the partition it lives in.
    async fn find(
        &self,
        user: &UserId,
        table: Table,
        id: &RecordId,
    ) -> Result<(PartitionKey, Arc<Row>), StoreError> {
        let told = match table.spec().partitioning {
            Partitioning::PerUser => Some(PartitionKey::whole(user, table)),
            // A month that nothing runs for may not exist: the catalog knows.
            Partitioning::Monthly => id
                .month(table)
                .map(|month| PartitionKey::monthly(user, table, month))
                .filter(|key| self.shared.registry.partition(key).is_some()),
        };
        if let Some(key) = &told {
            match self.look(key, id).await {
                Err(StoreError::NotFound) => {}
                found => return found.map(|row| (key.clone(), row)),
            }
        }
        if table.spec().partitioning == Partitioning::PerUser {
            return Err(StoreError::NotFound);
        }
        for month in self.locate(user, table, id).await? {
            let key = PartitionKey::monthly(user, table, month);
            if Some(&key) == told.as_ref() {
                continue;
            }
            match self.look(&key, id).await {
                Err(StoreError::NotFound) => {}
                found => return found.map(|row| (key, row)),
            }
        }
        Err(StoreError::NotFound)
    }

    async fn look(&self, key: &PartitionKey, id: &RecordId) -> Result<Arc<Row>, StoreError> {
        let make = |reply| Work::Get { id: id.clone(), reply };
        self.door.read(key, make).await
    }

    async fn locate(
        &self,
        user: &UserId,
        table: Table,
        id: &RecordId,
    ) -> Result<Vec<crate::domain::Month>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let catalog = self.door.catalog(user, table).await?;
        self.shared.metrics.messages.catalog.increment();
        catalog.try_send(Locate { id: id.clone(), reply }).map_err(|_| StoreError::Overloaded)?;
        let lost = |_| Answer { result: Err(StoreError::Overloaded), as_of: ReadPoint::NONE };
        answer.await.unwrap_or_else(lost).result
    }
}
