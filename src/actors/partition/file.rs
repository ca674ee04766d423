//! The Parquet file of a partition, as its actor knows it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::rows::Group;
use crate::env::Env;
use crate::parquet::{FileView, GroupInfo, RangeSource};
use crate::storage::{Storage, StorageError, StorePath, Version};

/// A file whose footer has been read.
#[derive(Clone)]
pub struct BaseFile {
    /// Where it is.
    pub path: StorePath,
    /// Its bytes.
    pub len: u64,
    /// Its version in the storage; a checkpoint replaces this version and no other.
    pub version: Version,
    /// Its footer.
    pub view: Arc<FileView>,
}

impl BaseFile {
    /// The file's row groups, none of them in memory.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        let unloaded = |g: &GroupInfo| Group::unloaded(g.created_min, g.created_max);
        self.view.groups().iter().map(unloaded).collect()
    }
}

/// A file of the Python service that the next checkpoint takes over.
#[derive(Clone, Debug)]
pub struct LegacyFile {
    /// Where it is.
    pub path: StorePath,
    /// Its name in the partition's folder.
    pub name: String,
    /// Its bytes.
    pub len: u64,
    /// Its version in the storage when it was read.
    pub version: Version,
}

/// A stored object as a source of ranges, for code that runs on a blocking thread.
pub struct StoredSource {
    storage: Arc<dyn Storage>,
    path: StorePath,
    len: u64,
    runtime: tokio::runtime::Handle,
}

impl StoredSource {
    /// A source over an object of `len` bytes. Called on a thread of the runtime that is to drive
    /// the reads.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, path: StorePath, len: u64) -> Self {
        Self { storage, path, len, runtime: tokio::runtime::Handle::current() }
    }
}

impl RangeSource for StoredSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        self.runtime.block_on(self.storage.read(&self.path, range)).map_err(|e| match e {
            StorageError::Io(source) => source,
            StorageError::NotFound => io::ErrorKind::NotFound.into(),
            StorageError::Truncated => io::ErrorKind::UnexpectedEof.into(),
            other => io::Error::other(other),
        })
    }
}

/// Does work that blocks, elsewhere; a panic there is an I/O error here.
///
/// # Errors
/// What the work answers.
pub async fn blocking<T: Send + 'static, E: From<io::Error> + Send + 'static>(
    env: &Env,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    env.blocking(work).await?
}
