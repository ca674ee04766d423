//! An object as it is at one moment, while others may replace it.

use bytes::Bytes;

use super::{Storage, StorageError, StorePath, Version};

/// How often an object is read that is replaced each time.
const ATTEMPTS: usize = 8;

/// An object's bytes and their version; `None` where there is none. One that is replaced between
/// the look at its length and the end of the read is read again: the bytes are all of one object.
///
/// # Errors
/// [`StorageError`] where it cannot be read, [`StorageError::Conflict`] where it is replaced again
/// and again.
pub async fn read_whole(
    storage: &dyn Storage,
    path: &StorePath,
) -> Result<Option<(Bytes, Version)>, StorageError> {
    let mut found = storage.head(path).await?;
    for _ in 0..ATTEMPTS {
        let Some(meta) = found else { return Ok(None) };
        let read = storage.read(path, 0..meta.len).await;
        found = storage.head(path).await?;
        let is_same = found.as_ref().is_some_and(|now| now.version == meta.version);
        match read {
            Ok(bytes) if is_same => return Ok(Some((bytes, meta.version))),
            Err(error) if is_same => return Err(error),
            Ok(_) | Err(StorageError::Truncated | StorageError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Err(StorageError::Conflict)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::super::{LocalStorage, ObjectMeta, PutIf, layout};
    use super::*;
    use crate::domain::{PartitionKey, Table, UserId};
    use crate::env::Env;

    /// Replaces what is read just before, so many times, by what is shorter, longer, or gone.
    struct Restless {
        inner: LocalStorage,
        left: AtomicUsize,
        by: fn(usize) -> Option<Bytes>,
    }

    #[async_trait]
    impl Storage for Restless {
        async fn read(&self, path: &StorePath, range: Range<u64>) -> Result<Bytes, StorageError> {
            let left = self.left.load(Ordering::Relaxed);
            if left > 0 {
                self.left.store(left - 1, Ordering::Relaxed);
                match (self.by)(left) {
                    Some(bytes) => drop(self.inner.put(path, bytes, PutIf::Always).await?),
                    None => self.inner.delete(path).await?,
                }
            }
            self.inner.read(path, range).await
        }

        async fn head(&self, path: &StorePath) -> Result<Option<ObjectMeta>, StorageError> {
            self.inner.head(path).await
        }

        async fn put(
            &self,
            path: &StorePath,
            bytes: Bytes,
            condition: PutIf,
        ) -> Result<Version, StorageError> {
            self.inner.put(path, bytes, condition).await
        }

        async fn settle(&self, path: &StorePath) -> Result<(), StorageError> {
            self.inner.settle(path).await
        }

        async fn list(&self, folder: &StorePath) -> Result<Vec<ObjectMeta>, StorageError> {
            self.inner.list(folder).await
        }

        async fn folders(&self, folder: &StorePath) -> Result<Vec<String>, StorageError> {
            self.inner.folders(folder).await
        }

        async fn delete(&self, path: &StorePath) -> Result<(), StorageError> {
            self.inner.delete(path).await
        }

        async fn delete_tree(&self, folder: &StorePath) -> Result<u64, StorageError> {
            self.inner.delete_tree(folder).await
        }
    }

    async fn restless(
        times: usize,
        by: fn(usize) -> Option<Bytes>,
    ) -> Result<Option<Bytes>, StorageError> {
        let folder = tempfile::tempdir().expect("folder");
        let inner = LocalStorage::new(&Env::system(), folder.path());
        let user = UserId::checked("u").expect("user");
        let path = layout::partition_file(&PartitionKey::whole(&user, Table::Platforms));
        inner.put(&path, Bytes::from_static(b"at first"), PutIf::Absent).await.expect("put");
        let storage = Restless { inner, left: AtomicUsize::new(times), by };
        let read = read_whole(&storage, &path).await?;
        if let Some((_, version)) = &read {
            let now = storage.head(&path).await.expect("head").expect("object");
            assert_eq!(*version, now.version);
        }
        Ok(read.map(|(bytes, _)| bytes))
    }

    #[tokio::test]
    async fn what_is_replaced_meanwhile_is_read_again() {
        let still = restless(0, |_| None).await.expect("read");
        assert_eq!(still, Some(Bytes::from_static(b"at first")));
        for by in [
            (|left| Some(vec![b'x'; left].into())) as fn(usize) -> Option<Bytes>,
            |left| Some(vec![b'x'; 100 - left].into()),
            |left| Some(vec![b'0' + u8::try_from(left).expect("few"); 8].into()),
        ] {
            let read = restless(3, by).await.expect("read");
            assert_eq!(read, by(1), "what it is at last, and all of that");
        }
    }

    #[tokio::test]
    async fn what_goes_meanwhile_is_gone_and_what_never_rests_is_a_conflict() {
        assert_eq!(restless(1, |_| None).await.expect("read"), None);
        let never = restless(usize::MAX, |left| Some(vec![b'x'; left % 7].into())).await;
        assert!(matches!(never, Err(StorageError::Conflict)), "{never:?}");
    }
}
