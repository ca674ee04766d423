//! What handlers are handed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::error::ApiError;
use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::auth::tokens::TokenStore;
use crate::store::Store;

/// Who is let in, and what is noted of it. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    /// What workers tell callers apart with.
    pub authenticator: Arc<Authenticator>,
    /// API tokens.
    pub tokens: Arc<TokenStore>,
    /// The audit trail.
    pub audit: Audit,
}

/// The store, once it is open, and the bounds of requests. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    store: Arc<OnceLock<Store>>,
    /// What workers tell callers apart with.
    pub authenticator: Arc<Authenticator>,
    /// API tokens.
    pub tokens: Arc<TokenStore>,
    /// The audit trail.
    pub audit: Audit,
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
    pub fn starting(max_body: usize, timeout: Duration, sync: &str, access: Access) -> Self {
        let Access { authenticator, tokens, audit } = access;
        let sync = sync.into();
        Self { store: Arc::default(), authenticator, tokens, audit, max_body, timeout, sync }
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
