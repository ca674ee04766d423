//! Bytes under paths: where Parquet files live. Knows nothing of audiences.
//!
//! [`Storage`] is small so that local files, object storage and a simulation can all be it; the
//! contract suite in `contract.rs` runs on each. A [`StorePath`] is made by [`layout`] alone,
//! from a partition key or a user, so that no path leaves its owner's folder.

#[cfg(test)]
mod contract;
mod error;
mod folders;
pub mod layout;
mod local;
mod measured;
pub mod walk;
mod whole;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::{Month, Table, UserId};

pub use error::StorageError;
pub use layout::StorePath;
pub use local::LocalStorage;
pub use measured::Measured;
pub use whole::read_whole;

/// Identifies one content of one path; changes with each put.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(pub(crate) String);

/// What is known of an object without reading it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectMeta {
    /// The object's last path segment.
    pub name: String,
    /// Bytes.
    pub len: u64,
    /// Its version.
    pub version: Version,
}

/// What must hold for a put to happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PutIf {
    /// Nothing.
    Always,
    /// Nothing bears the path yet.
    Absent,
    /// The path's content is this version.
    Version(Version),
}

/// Where Parquet files live.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Length and version of an object; `None` where there is none.
    ///
    /// # Errors
    /// [`StorageError`] where the storage cannot tell.
    async fn head(&self, path: &StorePath) -> Result<Option<ObjectMeta>, StorageError>;

    /// Reads a range of bytes.
    ///
    /// # Errors
    /// [`StorageError::NotFound`], [`StorageError::Truncated`] where the object is shorter.
    async fn read(&self, path: &StorePath, range: Range<u64>) -> Result<Bytes, StorageError>;

    /// Replaces or makes an object, whole or not at all. On return it survives power loss; on
    /// error the old object is there or, where only its survival is in doubt, the new one.
    ///
    /// # Errors
    /// [`StorageError::Conflict`] where the condition does not hold, [`StorageError::Full`].
    async fn put(
        &self,
        path: &StorePath,
        bytes: Bytes,
        condition: PutIf,
    ) -> Result<Version, StorageError>;

    /// Makes sure that an object that was found survives power loss. A process that was killed may
    /// have put it there and not come to that.
    ///
    /// # Errors
    /// [`StorageError`] where that cannot be promised.
    async fn settle(&self, path: &StorePath) -> Result<(), StorageError>;

    /// The objects directly in a folder, by name; empty where there is no such folder. Names
    /// that begin with a dot are the storage's own and are left out.
    ///
    /// # Errors
    /// [`StorageError`] where the storage cannot tell.
    async fn list(&self, folder: &StorePath) -> Result<Vec<ObjectMeta>, StorageError>;

    /// The names of the folders directly in a folder, by name.
    ///
    /// # Errors
    /// [`StorageError`] where the storage cannot tell.
    async fn folders(&self, folder: &StorePath) -> Result<Vec<String>, StorageError>;

    /// Removes an object; nothing happens where there is none. On return it stays removed
    /// across power loss.
    ///
    /// # Errors
    /// [`StorageError`] where the storage cannot remove it.
    async fn delete(&self, path: &StorePath) -> Result<(), StorageError>;

    /// Removes a folder and everything in it, and answers how many objects that were. On return
    /// they stay removed across power loss.
    ///
    /// # Errors
    /// [`StorageError`] where the storage cannot remove it all; some may be gone.
    async fn delete_tree(&self, folder: &StorePath) -> Result<u64, StorageError>;
}

/// The months of a user's table that have a folder, archived ones too, each once.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
pub async fn stored_months(
    storage: &dyn Storage,
    user: &UserId,
    table: Table,
) -> Result<Vec<Month>, StorageError> {
    let mut months = table_months(storage, user, table).await?;
    months.extend(archived_months(storage, user, table).await?);
    months.sort_unstable();
    months.dedup();
    Ok(months)
}

/// The months of a user's table that have a folder outside the archive.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
pub async fn table_months(
    storage: &dyn Storage,
    user: &UserId,
    table: Table,
) -> Result<Vec<Month>, StorageError> {
    let years = layout::user_folder(user, table);
    months_below(storage, &years, |year| layout::year_folder(user, table, year)).await
}

/// The months of a user's table that have a folder in the archive.
///
/// # Errors
/// [`StorageError`] where folders cannot be listed.
pub async fn archived_months(
    storage: &dyn Storage,
    user: &UserId,
    table: Table,
) -> Result<Vec<Month>, StorageError> {
    let years = layout::archive_user_folder(user, table);
    months_below(storage, &years, |year| layout::archive_year_folder(user, table, year)).await
}

async fn months_below(
    storage: &dyn Storage,
    years: &StorePath,
    folder_of: impl Fn(u16) -> StorePath,
) -> Result<Vec<Month>, StorageError> {
    let mut months = Vec::new();
    for year in storage.folders(years).await? {
        let Some(year) = layout::parse_year(&year) else { continue };
        let names = storage.folders(&folder_of(year)).await?;
        months.extend(names.iter().filter_map(|n| Month::new(year, layout::parse_month(n)?)));
    }
    Ok(months)
}
