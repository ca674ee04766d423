//! A look at every file once after a start: which cannot be read is known before somebody asks
//! for it. In the background, a few files at a time; it changes nothing.

use std::sync::Arc;

use crate::actors::Shared;
use crate::domain::{PartitionKey, Partitioning, Table, UserId};
use crate::parquet::{FileView, ParquetError};
use crate::storage::{StorageError, layout, stored_months};

/// Partitions looked at before others on the thread get their turn.
const PAUSE_EVERY: u64 = 64;

/// Looks at all files and reports those that are not Parquet.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
pub async fn run(shared: Arc<Shared>) -> Result<u64, StorageError> {
    let mut seen = 0_u64;
    for table in Table::PUBLIC {
        for segment in shared.storage.folders(&layout::table_folder(table)).await? {
            let Some(user) = layout::parse_user(&segment) else { continue };
            for key in stored_partitions(&shared, &user, table).await? {
                look(&shared, &key).await?;
                seen += 1;
                if seen.is_multiple_of(PAUSE_EVERY) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
    Ok(seen)
}

async fn look(shared: &Arc<Shared>, key: &PartitionKey) -> Result<(), StorageError> {
    let folder = layout::partition_folder(key);
    for object in shared.storage.list(&folder).await? {
        if !object.name.to_ascii_lowercase().ends_with(".parquet") {
            continue;
        }
        let Some(path) = folder.listed(&object.name) else { continue };
        let source = crate::actors::partition::StoredSource::new(
            Arc::clone(&shared.storage),
            path.clone(),
            object.len,
        );
        let opened = shared.env.blocking(move || FileView::open(&source).map(|_| ())).await;
        let Ok(Err(error)) = opened else { continue };
        // A file that changed meanwhile was replaced by a checkpoint, which wrote it whole.
        let same = shared.storage.head(&path).await?.is_some_and(|now| now == object);
        if same && !matches!(error, ParquetError::Io(_)) {
            shared.unreadable.report(path.as_str(), Some(key), &error.to_string());
        }
    }
    Ok(())
}

/// The partitions of a user's table that have a folder.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
pub async fn stored_partitions(
    shared: &Shared,
    user: &UserId,
    table: Table,
) -> Result<Vec<PartitionKey>, StorageError> {
    if table.spec().partitioning == Partitioning::PerUser {
        return Ok(vec![PartitionKey::whole(user, table)]);
    }
    let months = stored_months(shared.storage.as_ref(), user, table).await?;
    Ok(months.into_iter().map(|month| PartitionKey::monthly(user, table, month)).collect())
}
