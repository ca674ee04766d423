//! A partition's handle on the log.

use std::fmt;
use std::sync::Arc;

use super::index::StreamNumber;
use super::shared::Shared;
use crate::domain::PartitionKey;

/// A partition's stream, interned: what an actor keeps so that its appends need no lookup. The
/// stream's memory goes when the last handle is dropped and nothing of it is unpublished.
pub struct Stream {
    shared: Arc<Shared>,
    number: StreamNumber,
    key: PartitionKey,
}

impl Stream {
    pub(crate) fn new(shared: &Arc<Shared>, key: &PartitionKey) -> Self {
        let mut state = shared.state();
        let number = state.index.intern(key);
        state.index.acquire(number);
        drop(state);
        Self { shared: Arc::clone(shared), number, key: key.clone() }
    }

    /// The partition.
    #[must_use]
    pub fn key(&self) -> &PartitionKey {
        &self.key
    }

    pub(crate) fn number(&self) -> StreamNumber {
        self.number
    }

    pub(crate) fn is_of(&self, shared: &Arc<Shared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.state().index.release(self.number);
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.key).finish()
    }
}
