//! Which keys the credentials in Parquet files are sealed with: read off the files, without any
//! key and beside a running server. What the log holds over them is not seen here.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::crypto::{is_in_legacy, key_of};
use crate::domain::{Kind, PartitionKey, Table, UserId};
use crate::env::Env;
use crate::parquet::{Fetched, FileView, ParquetError, decode_group};
use crate::storage::{Storage, StorageError, layout, read_whole};

/// Records with credentials in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SealedFiles {
    /// How many are sealed with each key.
    pub by_key: BTreeMap<String, u64>,
    /// How many an earlier version left in the legacy folder.
    pub in_legacy: u64,
    /// How many are of no form that this version knows.
    pub unknown: u64,
    /// Files that could not be read.
    pub unreadable: u64,
}

impl SealedFiles {
    fn take(&mut self, sealed: &[u8]) {
        match key_of(sealed) {
            Some(key) => *self.by_key.entry(key.as_str().to_owned()).or_default() += 1,
            None if is_in_legacy(sealed) => self.in_legacy += 1,
            None => self.unknown += 1,
        }
    }

    /// Whether all are sealed with this key.
    #[must_use]
    pub fn all_under(&self, key: &str) -> bool {
        self.by_key.keys().all(|other| other == key)
            && (self.in_legacy, self.unknown, self.unreadable) == (0, 0, 0)
    }
}

/// Reads all users' files.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
pub async fn read_all(env: &Env, storage: &dyn Storage) -> Result<SealedFiles, StorageError> {
    let mut all = SealedFiles::default();
    for segment in storage.folders(&layout::table_folder(Table::Platforms)).await? {
        if let Some(user) = layout::parse_user(&segment) {
            read_user(env, storage, &user, &mut all).await?;
        }
    }
    Ok(all)
}

/// Reads a user's file. One of the Python service holds nothing sealed.
///
/// # Errors
/// [`StorageError`] where the file cannot be fetched.
pub async fn read_user(
    env: &Env,
    storage: &dyn Storage,
    user: &UserId,
    all: &mut SealedFiles,
) -> Result<(), StorageError> {
    let path = layout::partition_file(&PartitionKey::whole(user, Table::Platforms));
    // Whole and at once: a checkpoint may replace it at any time.
    let Some((bytes, _)) = read_whole(storage, &path).await? else { return Ok(()) };
    let counted = env.blocking(move || count(&bytes)).await;
    match counted {
        Ok(Ok(counted)) => {
            for (key, records) in counted.by_key {
                *all.by_key.entry(key).or_default() += records;
            }
            all.in_legacy += counted.in_legacy;
            all.unknown += counted.unknown;
        }
        _ => all.unreadable += 1,
    }
    Ok(())
}

fn count(bytes: &Bytes) -> Result<SealedFiles, ParquetError> {
    let mut found = SealedFiles::default();
    let view = FileView::open(bytes)?;
    if !view.is_ours() {
        return Ok(found);
    }
    let column = Table::Platforms.spec().index_where(|kind| matches!(kind, Kind::Sealed));
    let columns: Vec<usize> = column.into_iter().collect();
    for group in 0..view.groups().len() {
        let fetched = Fetched::read(bytes, view.column_ranges(group, Some(&columns)))?;
        for row in decode_group(&view, group, &fetched, Some(&columns))? {
            if let Some(sealed) = row.sealed() {
                found.take(sealed);
            }
        }
    }
    Ok(found)
}
