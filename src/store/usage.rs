//! Learning what a user has before a write may be measured against a quota.

use std::sync::Arc;

use super::{Store, StoreError};
use crate::actors::messages::Work;
use crate::actors::partition::StoredSource;
use crate::actors::usage::{Held, Usage};
use crate::domain::{PartitionKey, Table, UserId};
use crate::parquet::FileView;
use crate::storage::layout;

impl Store {
    /// What a user has, complete; `None` without quotas, at once.
    ///
    /// # Errors
    /// Whatever keeps the store from reading the user's files.
    pub(super) async fn measured(&self, user: &UserId) -> Result<Option<Arc<Usage>>, StoreError> {
        let Some(usage) = self.shared.usage(user) else { return Ok(None) };
        if !usage.is_complete() {
            let _reading = usage.reading.lock().await;
            if !usage.is_complete() {
                self.count(user, &usage).await?;
            }
        }
        Ok(Some(usage))
    }

    async fn count(&self, user: &UserId, usage: &Usage) -> Result<(), StoreError> {
        for table in Table::ALL {
            for key in self.partitions(user, table).await? {
                let running = self.shared.registry.partition(&key).is_some();
                let held = if running || !self.shared.log.unpublished(&key).is_empty() {
                    None
                } else {
                    self.in_file(&key).await?
                };
                match held {
                    Some(held) => usage.found(&key, held),
                    // It says so itself, once it is loaded.
                    None => {
                        match self.door.read(&key, |reply| Work::Weigh { reply }).await {
                            // Other months must not stand still for one that cannot be read.
                            Err(StoreError::PartitionCorrupt) => usage.found(&key, Held::default()),
                            other => other?,
                        }
                    }
                }
            }
        }
        usage.complete();
        Ok(())
    }

    /// What a partition's folder holds, by the footer of its file; `None` where it takes a running
    /// partition to say.
    async fn in_file(&self, key: &PartitionKey) -> Result<Option<Held>, StoreError> {
        let failed = |_| StoreError::StorageFailed;
        let folder = layout::partition_folder(key);
        let objects = self.shared.storage.list(&folder).await.map_err(failed)?;
        let is_parquet = |name: &str| name.to_ascii_lowercase().ends_with(".parquet");
        let mut files = objects.into_iter().filter(|o| is_parquet(&o.name));
        let archived = layout::archive_file(key);
        let (file, path) = match (files.next(), files.next()) {
            (None, _) => match self.shared.storage.head(&archived).await.map_err(failed)? {
                None => return Ok(Some(Held::default())),
                Some(file) => (file, Some(archived)),
            },
            (Some(file), None) if file.name == layout::partition_file_name(key) => {
                let path = folder.listed(&file.name);
                (file, path)
            }
            _ => return Ok(None),
        };
        let Some(path) = path else { return Ok(None) };
        let source = StoredSource::new(Arc::clone(&self.shared.storage), path, file.len);
        let opened = self.shared.env.blocking(move || FileView::open(&source)).await;
        let Ok(Ok(view)) = opened else { return Ok(None) };
        Ok(view.is_ours().then(|| Held { rows: view.rows(), bytes: file.len }))
    }
}
