//! What handlers are handed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::error::ApiError;
use crate::store::Store;

/// The store, once it is open, and the bounds of requests. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    store: Arc<OnceLock<Store>>,
    /// Largest body, in bytes.
    pub max_body: usize,
    /// How long a request may take.
    pub timeout: Duration,
    /// How the log syncs, as `--sync` names it.
    pub sync: Arc<str>,
}

impl AppState {
    /// A state whose store is not open yet.
    #[must_use]
    pub fn starting(max_body: usize, timeout: Duration, sync: &str) -> Self {
        Self { store: Arc::default(), max_body, timeout, sync: sync.into() }
    }

    /// Opens the doors. A second call changes nothing.
    pub fn open(&self, store: Store) {
        // Only the application calls this, once.
        let _ = self.store.set(store);
    }

    /// The store.
    ///
    /// # Errors
    /// 503 `STARTING` until recovery has ended.
    pub fn store(&self) -> Result<&Store, ApiError> {
        self.store.get().ok_or_else(|| {
            ApiError::new("STARTING", "The server is still recovering")
                .retry_after(Duration::from_secs(1))
        })
    }
}
