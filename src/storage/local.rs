//! Local files, through the injected file system.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::folders::Folders;
use super::{ObjectMeta, PutIf, Storage, StorageError, StorePath, Version};
use crate::env::{Env, FileKind, FileSystem, OpenMode};

/// Where files are written before they get their names: beside the tables' folders, never inside
/// them, since readers of a whole tree take every file in it for a table's.
const TEMPORARY: &str = "tmp";

/// Files below one folder. Each call runs where the world does what blocks.
#[derive(Clone)]
pub struct LocalStorage {
    env: Env,
    root: PathBuf,
    /// Tells the temporary names of concurrent puts apart.
    puts: Arc<AtomicU64>,
    folders: Arc<Folders>,
}

impl LocalStorage {
    /// Storage below `root`, which may not exist yet.
    #[must_use]
    pub fn new(env: &Env, root: &Path) -> Self {
        Self {
            env: env.clone(),
            root: root.to_path_buf(),
            puts: Arc::default(),
            folders: Arc::new(Folders::new(root)),
        }
    }

    /// Removes what a crash left half written. Nothing else may use the folder meanwhile.
    /// Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn remove_temporary(&self) -> io::Result<()> {
        let folder = self.root.join(TEMPORARY);
        for entry in self.env.fs.list(&folder)? {
            self.env.fs.remove_file(&folder.join(&entry.name))?;
        }
        Ok(())
    }

    fn at(&self, path: &StorePath) -> PathBuf {
        self.root.join(path.as_str())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn FileSystem) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let fs = Arc::clone(&self.env.fs);
        self.env.blocking(move || work(fs.as_ref())).await.map_err(StorageError::Io)?
    }
}

fn meta(fs: &dyn FileSystem, path: &Path) -> Result<Option<ObjectMeta>, StorageError> {
    match fs.stat(path) {
        Ok(stat) => Ok(Some(ObjectMeta {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            len: stat.len,
            version: Version(format!("{:032x}", stat.version)),
        })),
        Err(e) if absent(&e) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

#[async_trait]
impl Storage for LocalStorage {
    async fn head(&self, path: &StorePath) -> Result<Option<ObjectMeta>, StorageError> {
        let path = self.at(path);
        self.blocking(move |fs| meta(fs, &path)).await
    }

    async fn read(&self, path: &StorePath, range: Range<u64>) -> Result<Bytes, StorageError> {
        let path = self.at(path);
        self.blocking(move |fs| {
            let file = fs.open(&path, OpenMode::Read)?;
            if file.len()? < range.end {
                return Err(StorageError::Truncated);
            }
            let len = usize::try_from(range.end.saturating_sub(range.start))
                .map_err(|_| StorageError::Truncated)?;
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, range.start)?;
            Ok(Bytes::from(bytes))
        })
        .await
    }

    /// The condition is checked before the write, not in one step with it: one process owns the
    /// folder (its lock file), and within it one actor owns each path.
    async fn put(
        &self,
        path: &StorePath,
        bytes: Bytes,
        condition: PutIf,
    ) -> Result<Version, StorageError> {
        let path = self.at(path);
        let temporary = self.root.join(TEMPORARY);
        let number = self.puts.fetch_add(1, Ordering::Relaxed);
        let folders = Arc::clone(&self.folders);
        self.blocking(move |fs| {
            let current = meta(fs, &path)?.map(|m| m.version);
            let holds = match condition {
                PutIf::Always => true,
                PutIf::Absent => current.is_none(),
                PutIf::Version(expected) => current == Some(expected),
            };
            if !holds {
                return Err(StorageError::Conflict);
            }
            folders.ensure(fs, parent(&path))?;
            fs.create_dir_all(&temporary)?;
            fs.replace_through(&temporary.join(number.to_string()), &path, &bytes)?;
            meta(fs, &path)?.map(|m| m.version).ok_or(StorageError::NotFound)
        })
        .await
    }

    async fn settle(&self, path: &StorePath) -> Result<(), StorageError> {
        let path = self.at(path);
        let folders = Arc::clone(&self.folders);
        self.blocking(move |fs| {
            folders.ensure(fs, parent(&path))?;
            Ok(fs.sync_dir(parent(&path))?)
        })
        .await
    }

    async fn list(&self, folder: &StorePath) -> Result<Vec<ObjectMeta>, StorageError> {
        let folder = self.at(folder);
        self.blocking(move |fs| {
            let mut listed = Vec::new();
            for entry in fs.list(&folder)? {
                if entry.kind == FileKind::File && !entry.name.starts_with('.') {
                    listed.extend(meta(fs, &folder.join(&entry.name))?);
                }
            }
            Ok(listed)
        })
        .await
    }

    async fn folders(&self, folder: &StorePath) -> Result<Vec<String>, StorageError> {
        let folder = self.at(folder);
        self.blocking(move |fs| {
            let entries = fs.list(&folder)?;
            Ok(entries.into_iter().filter(|e| e.kind == FileKind::Dir).map(|e| e.name).collect())
        })
        .await
    }

    async fn delete(&self, path: &StorePath) -> Result<(), StorageError> {
        let path = self.at(path);
        self.blocking(move |fs| match fs.remove_file(&path) {
            Err(e) if absent(&e) => Ok(()),
            Err(e) => Err(e.into()),
            Ok(()) => Ok(fs.sync_dir(parent(&path))?),
        })
        .await
    }

    async fn delete_tree(&self, folder: &StorePath) -> Result<u64, StorageError> {
        let folder = self.at(folder);
        let folders = Arc::clone(&self.folders);
        self.blocking(move |fs| {
            let removed = remove_tree(fs, &folder);
            folders.forget_below(&folder);
            let removed = removed?;
            match fs.sync_dir(parent(&folder)) {
                Err(e) if !absent(&e) => Err(e.into()),
                _ => Ok(removed),
            }
        })
        .await
    }
}

fn remove_tree(fs: &dyn FileSystem, folder: &Path) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs.list(folder)? {
        let path = folder.join(&entry.name);
        if entry.kind == FileKind::Dir {
            removed += remove_tree(fs, &path)?;
        } else {
            fs.remove_file(&path)?;
            removed += 1;
        }
    }
    match fs.remove_dir(folder) {
        Err(e) if !absent(&e) => Err(e),
        _ => Ok(removed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;
    use crate::env::OsFileSystem;

    #[tokio::test]
    async fn keeps_the_storage_contract() {
        let folder = tempfile::tempdir().expect("folder");
        contract::check(&LocalStorage::new(&Env::system(), folder.path())).await;
    }

    #[tokio::test]
    async fn a_failed_write_leaves_what_was_there_and_no_litter() {
        use crate::domain::{PartitionKey, Table, UserId};
        use crate::storage::layout;
        let folder = tempfile::tempdir().expect("folder");
        let storage = LocalStorage::new(&Env::system(), folder.path());
        let key = PartitionKey::whole(&UserId::checked("u").expect("user"), Table::Platforms);
        let path = layout::partition_file(&key);
        storage.put(&path, Bytes::from_static(b"one"), PutIf::Absent).await.expect("put");
        // A folder in the temporary name's place makes the write fail.
        let blocked = folder.path().join("tmp/1");
        OsFileSystem.create_dir_all(&blocked.join("in the way")).expect("folder");
        assert!(storage.put(&path, Bytes::from_static(b"two"), PutIf::Always).await.is_err());
        assert_eq!(storage.read(&path, 0..3).await.expect("read"), "one");
        let own = storage.at(&layout::partition_folder(&key));
        assert_eq!(OsFileSystem.list(&own).expect("list").len(), 1, "hidden files count too");
    }
}
