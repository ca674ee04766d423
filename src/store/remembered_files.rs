//! Which keys the fingerprints of remembered answers need: read off the Parquet files, without any
//! key and beside a running server. What the log holds over them is not seen here.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::actors::partition::REMEMBERED;
use crate::domain::{Micros, PartitionKey, Table};
use crate::env::Env;
use crate::parquet::{Fetched, FileView, ParquetError, decode_group};
use crate::storage::{Storage, StorageError, layout, read_whole};

/// How many answers that still count have a fingerprint under each key, over all users. A file
/// that cannot be read counts for nothing: its repeats are refused anyhow.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed, or a file cannot be fetched.
pub async fn read_all(
    env: &Env,
    storage: &dyn Storage,
) -> Result<BTreeMap<String, u64>, StorageError> {
    let since = Micros::new(env.clock.now().get().saturating_sub(REMEMBERED));
    let mut all = BTreeMap::new();
    for segment in storage.folders(&layout::table_folder(Table::Idempotency)).await? {
        let Some(user) = layout::parse_user(&segment) else { continue };
        let path = layout::partition_file(&PartitionKey::whole(&user, Table::Idempotency));
        // Whole and at once: a checkpoint may replace it at any time.
        let Some((bytes, _)) = read_whole(storage, &path).await? else { continue };
        if let Ok(Ok(found)) = env.blocking(move || count(&bytes, since)).await {
            for (key, answers) in found {
                *all.entry(key).or_default() += answers;
            }
        }
    }
    Ok(all)
}

fn count(bytes: &Bytes, since: Micros) -> Result<BTreeMap<String, u64>, ParquetError> {
    let mut found = BTreeMap::new();
    let view = FileView::open(bytes)?;
    if !view.is_ours() {
        return Ok(found);
    }
    let column = Table::Idempotency.spec().column("fingerprint");
    let columns: Vec<usize> = column.into_iter().map(|(index, _)| index).collect();
    for group in 0..view.groups().len() {
        let fetched = Fetched::read(bytes, view.column_ranges(group, Some(&columns)))?;
        for row in decode_group(&view, group, &fetched, Some(&columns))? {
            let key = row.text("fingerprint").and_then(|print| print.split_once(':'));
            if let (Some((key, _)), true) = (key, row.created_at > since) {
                *found.entry(key.to_owned()).or_default() += 1;
            }
        }
    }
    Ok(found)
}
