//! Moving whole months to the archive: those that ended long ago and whose records all have one
//! status.
//!
//! An archived month's file is below `archive/`, out of the way of whoever reads the tables'
//! folders. It is read when somebody asks for one of its records, or for a list with what is
//! archived; a change brings it back to the tables with its next checkpoint.

use std::sync::Arc;
use std::time::Duration;

use super::archive_request::{ArchiveRequests, Taken};
use super::survey::stored_partitions;
use super::{Store, StoreError};
use crate::actors::messages::Work;
use crate::actors::partition::StoredSource;
use crate::domain::{Micros, PartitionKey, Partitioning, Table};
use crate::metrics::history::day_of;
use crate::parquet::{Fetched, FileView, ParquetError, RangeSource, decode_group};
use crate::storage::{StorageError, layout};

/// How often the clock is asked whether another day has begun.
const CLOCK: Duration = Duration::from_secs(1);

/// How often the server looks for requests.
const LOOK: Duration = Duration::from_millis(250);
/// How often it says how far one is.
const BEAT: Duration = Duration::from_secs(1);

/// Which months go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveRule {
    /// How long ago they ended, at least.
    pub older_than: Duration,
    /// The status that all their records have.
    pub status: String,
}

/// What an archiving did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchivedMonths {
    /// Months looked at.
    pub seen: u64,
    /// Months moved.
    pub moved: u64,
    /// Months whose file cannot be read; they stay where they are.
    pub unreadable: u64,
}

impl Store {
    /// Archives what the rule names, of all users. Ended anywhere, each month is in one place, and
    /// it can be begun again. `progress` hears of users done and users in all.
    ///
    /// # Errors
    /// Where folders cannot be listed or files moved; what was moved before stays.
    pub async fn archive(
        &self,
        rule: &ArchiveRule,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<ArchivedMonths, StoreError> {
        let age = i64::try_from(rule.older_than.as_micros()).unwrap_or(i64::MAX);
        let before = Micros::new(self.shared.env.clock.now().get().saturating_sub(age));
        let monthly = |table: &Table| table.spec().partitioning == Partitioning::Monthly;
        let mut users = Vec::new();
        for table in Table::PUBLIC.into_iter().filter(monthly) {
            let folders = self.shared.storage.folders(&layout::table_folder(table)).await;
            let folders = folders.map_err(|_| StoreError::StorageFailed)?;
            users.extend(folders.iter().filter_map(|f| Some((layout::parse_user(f)?, table))));
        }
        let total = users.len() as u64;
        let mut archived = ArchivedMonths::default();
        for (done, (user, table)) in (1..).zip(users) {
            match stored_partitions(&self.shared, &user, table).await {
                Err(StorageError::NotAFolder) => archived.unreadable += 1,
                keys => {
                    let keys = keys.map_err(|_| StoreError::StorageFailed)?;
                    for key in keys.iter().filter(|k| k.month().is_some_and(|m| m.end() < before)) {
                        self.archive_month(key, &rule.status, &mut archived).await?;
                    }
                }
            }
            progress(done, total);
        }
        Ok(archived)
    }

    async fn archive_month(
        &self,
        key: &PartitionKey,
        status: &str,
        archived: &mut ArchivedMonths,
    ) -> Result<(), StoreError> {
        let path = layout::partition_file(key);
        let object = self.shared.storage.head(&path).await;
        let Some(object) = object.map_err(|_| StoreError::StorageFailed)? else { return Ok(()) };
        archived.seen += 1;
        let source = StoredSource::new(Arc::clone(&self.shared.storage), path, object.len);
        let (table, status) = (key.table(), status.to_owned());
        let looked = tokio::task::spawn_blocking(move || all_have(&source, table, &status)).await;
        match looked {
            Ok(Ok(true)) => {}
            // One that was replaced meanwhile has another day.
            Ok(Ok(false) | Err(ParquetError::Io(_))) => return Ok(()),
            _ => {
                archived.unreadable += 1;
                return Ok(());
            }
        }
        let version = object.version;
        let moved = self.door.ask(key, |reply| Work::Archive { version, reply }).await.result;
        match moved {
            Ok(moved) => archived.moved += u64::from(moved),
            Err(StoreError::PartitionCorrupt) => archived.unreadable += 1,
            // Somebody is at work there.
            Err(StoreError::Overloaded | StoreError::Restarting { .. } | StoreError::Erasing) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Archives what commands ask for ([`super::ArchiveRequests`]), for as long as the store lives.
    pub async fn archive_as_asked(self, requests: ArchiveRequests) {
        let env = self.shared.env.clone();
        let sweeping = requests.clone();
        let swept = env.blocking(move || sweeping.sweep()).await;
        if let Ok(Err(error)) | Err(error) = swept {
            tracing::warn!(%error, "requests to archive cannot be looked at");
        }
        loop {
            let taking = requests.clone();
            // Where the folder cannot be read, whoever asked hears that nobody answers.
            let asked = env.blocking(move || taking.take()).await;
            for (id, rule) in asked.ok().and_then(Result::ok).unwrap_or_default() {
                let answer = self.archive_one(&requests, &id, &rule).await;
                let (requests, id) = (requests.clone(), id.clone());
                let answered = env.blocking(move || requests.answer(&id, &answer)).await;
                if let Ok(Err(error)) | Err(error) = answered {
                    tracing::warn!(%error, "what came of a request to archive cannot be said");
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Carries a request out, and says every second how far it is.
    async fn archive_one(
        &self,
        requests: &ArchiveRequests,
        id: &str,
        rule: &ArchiveRule,
    ) -> Result<ArchivedMonths, String> {
        let far = std::cell::Cell::new((0, 0));
        let archiving = async {
            // What only the log holds of a month decides, too.
            self.checkpoint(false).await?;
            self.archive(rule, &mut |done, total| far.set((done, total))).await
        };
        let mut archiving = std::pin::pin!(archiving);
        let mut beat = 0;
        loop {
            tokio::select! {
                archived = &mut archiving => {
                    if let Ok(archived) = &archived {
                        tracing::info!(months = archived.moved, "months archived, as asked");
                    }
                    return archived.map_err(|e| e.to_string());
                }
                () = tokio::time::sleep(BEAT) => {}
            }
            beat += 1;
            let (done, total) = far.get();
            let (requests, id) = (requests.clone(), id.to_owned());
            let taken = Taken { done, total, beat };
            // The next one may succeed.
            let _ = self.shared.env.blocking(move || requests.progress(&id, &taken)).await;
        }
    }

    /// Archives what the rule names, now and on every later day (UTC), soon after it begins.
    pub async fn archive_daily(self, rule: ArchiveRule) {
        let mut done = None;
        loop {
            let today = day_of(self.shared.env.clock.now());
            if done == Some(today) {
                tokio::time::sleep(CLOCK).await;
                continue;
            }
            done = Some(today);
            match self.archive(&rule, &mut |_, _| {}).await {
                Ok(archived) if archived.moved > 0 => {
                    tracing::info!(months = archived.moved, "months archived");
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "not every month could be archived"),
            }
        }
    }
}

/// Whether a file of this store has rows, all of this status.
fn all_have(source: &dyn RangeSource, table: Table, status: &str) -> Result<bool, ParquetError> {
    let view = FileView::open(source)?;
    let column = table.spec().column("status").map(|(index, _)| index);
    let columns: Vec<usize> = column.into_iter().collect();
    if !view.is_ours() || view.is_empty() {
        return Ok(false);
    }
    for group in 0..view.groups().len() {
        let fetched = Fetched::read(source, view.column_ranges(group, Some(&columns)))?;
        let rows = decode_group(&view, group, &fetched, Some(&columns))?;
        if !rows.iter().all(|row| row.text("status") == Some(status)) {
            return Ok(false);
        }
    }
    Ok(true)
}
