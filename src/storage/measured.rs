//! A storage whose calls are counted and timed.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{ObjectMeta, PutIf, Storage, StorageError, StorePath, Version};
use crate::env::Clock;
use crate::metrics::{Counter, StorageMetrics};

/// Counts what another storage does.
pub struct Measured<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    metrics: Arc<StorageMetrics>,
}

/// Places of operations in [`StorageMetrics`].
#[derive(Clone, Copy)]
enum Operation {
    Head,
    Read,
    Put,
    Settle,
    List,
    Folders,
    Delete,
    DeleteTree,
}

impl<S: Storage> Measured<S> {
    /// Counts into `metrics` what `inner` does.
    pub fn new(inner: S, clock: Arc<dyn Clock>, metrics: Arc<StorageMetrics>) -> Self {
        Self { inner, clock, metrics }
    }

    async fn timed<T>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let began = self.clock.monotonic();
        let result = call.await;
        let took = self.clock.monotonic().saturating_sub(began);
        if let Some(times) = self.metrics.operations.get(operation as usize) {
            times.observe_time(took);
        }
        if let Some(kind) = result.as_ref().err().and_then(kind)
            && let Some(count) =
                self.metrics.errors.get(operation as usize).and_then(|kinds| kinds.get(kind))
        {
            Counter::increment(count);
        }
        result
    }
}

/// The place of an error among kinds; `None` where it is an answer.
fn kind(error: &StorageError) -> Option<usize> {
    match error {
        StorageError::NotFound => None,
        StorageError::Truncated => Some(0),
        StorageError::Conflict => Some(1),
        StorageError::Full => Some(2),
        StorageError::NotAFolder | StorageError::Io(_) => Some(3),
    }
}

#[async_trait]
impl<S: Storage> Storage for Measured<S> {
    async fn head(&self, path: &StorePath) -> Result<Option<ObjectMeta>, StorageError> {
        self.timed(Operation::Head, self.inner.head(path)).await
    }

    async fn read(&self, path: &StorePath, range: Range<u64>) -> Result<Bytes, StorageError> {
        let read = self.timed(Operation::Read, self.inner.read(path, range)).await;
        self.metrics.read.add(read.as_ref().map_or(0, |bytes| bytes.len() as u64));
        read
    }

    async fn put(
        &self,
        path: &StorePath,
        bytes: Bytes,
        condition: PutIf,
    ) -> Result<Version, StorageError> {
        let len = bytes.len() as u64;
        let put = self.timed(Operation::Put, self.inner.put(path, bytes, condition)).await;
        self.metrics.written.add(if put.is_ok() { len } else { 0 });
        put
    }

    async fn settle(&self, path: &StorePath) -> Result<(), StorageError> {
        self.timed(Operation::Settle, self.inner.settle(path)).await
    }

    async fn list(&self, folder: &StorePath) -> Result<Vec<ObjectMeta>, StorageError> {
        self.timed(Operation::List, self.inner.list(folder)).await
    }

    async fn folders(&self, folder: &StorePath) -> Result<Vec<String>, StorageError> {
        self.timed(Operation::Folders, self.inner.folders(folder)).await
    }

    async fn delete(&self, path: &StorePath) -> Result<(), StorageError> {
        self.timed(Operation::Delete, self.inner.delete(path)).await
    }

    async fn delete_tree(&self, folder: &StorePath) -> Result<u64, StorageError> {
        self.timed(Operation::DeleteTree, self.inner.delete_tree(folder)).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LocalStorage, contract, layout};
    use super::*;
    use crate::domain::{PartitionKey, Table, UserId};
    use crate::env::{Env, SystemClock};

    fn measured(folder: &std::path::Path) -> (Measured<LocalStorage>, Arc<StorageMetrics>) {
        let metrics = Arc::new(StorageMetrics::default());
        let local = LocalStorage::new(&Env::system(), folder);
        (Measured::new(local, Arc::new(SystemClock::new()), Arc::clone(&metrics)), metrics)
    }

    #[actix_web::test]
    async fn keeps_the_storage_contract() {
        let folder = tempfile::tempdir().expect("folder");
        contract::check(&measured(folder.path()).0).await;
    }

    #[actix_web::test]
    async fn calls_bytes_and_failures_are_counted_and_absence_is_none() {
        let folder = tempfile::tempdir().expect("folder");
        let (storage, metrics) = measured(folder.path());
        let user = UserId::checked("u").expect("user");
        let path = layout::partition_file(&PartitionKey::whole(&user, Table::Platforms));
        assert!(storage.read(&path, 0..1).await.is_err());
        storage.put(&path, Bytes::from_static(b"abc"), PutIf::Absent).await.expect("put");
        assert!(storage.put(&path, Bytes::new(), PutIf::Absent).await.is_err());
        assert!(storage.read(&path, 0..9).await.is_err());
        storage.read(&path, 0..2).await.expect("read");
        let calls =
            |operation: Operation| metrics.operations[operation as usize].snapshot().total();
        assert_eq!((calls(Operation::Read), calls(Operation::Put)), (3, 2));
        let failed =
            |operation: Operation, kind: usize| metrics.errors[operation as usize][kind].get();
        assert_eq!((failed(Operation::Read, 0), failed(Operation::Put, 1)), (1, 1));
        assert_eq!((failed(Operation::Read, 3), failed(Operation::Put, 2)), (0, 0));
        assert_eq!((metrics.read.get(), metrics.written.get()), (2, 3));
    }
}
