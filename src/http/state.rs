//! What handlers are handed.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::connection::Admission;
use super::error::{ApiError, CODES};
use super::rate::RateLimiter;
use super::refusal::Refusals;
use super::room::Room;
use super::routes::endpoints;
use super::tls::Certificates;
use crate::audit::Audit;
use crate::auth::Authenticator;
use crate::auth::tokens::TokenStore;
use crate::cli::HttpSettings;
use crate::domain::limits::InputLimits;
use crate::env::{Clock, Env};
use crate::metrics::activity::Activity;
use crate::metrics::http::HttpMetrics;
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

/// Pages of lists that are made at once, over all workers; others wait their turn.
const PAGES_AT_ONCE: usize = 16;

/// The bounds of requests.
pub struct Bounds {
    /// Largest body, in bytes.
    pub max_body: usize,
    /// Room for bodies being received.
    pub room: Arc<Room>,
    /// Room for pages of lists, from when their records were found until they are sent and out of
    /// the cache.
    pub pages: Arc<Room>,
    /// Turns to make a page: what is read and decoded for it is in memory meanwhile.
    pub turns: Semaphore,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// What a body may hold.
    pub input: InputLimits,
    /// Requests a minute and user, where they are limited.
    pub rate: Option<RateLimiter>,
    /// Of these, those that leave a line in the audit trail, where they are limited.
    pub audited: Option<RateLimiter>,
    /// Origins of pages that may call the server.
    pub origins: Vec<String>,
    /// Room for connections.
    pub admission: Arc<Admission>,
    /// Room for requests that change records.
    pub writes: Arc<Admission>,
    /// What was refused.
    pub refusals: Arc<Refusals>,
}

impl Bounds {
    /// The bounds that the settings name.
    #[must_use]
    pub fn new(settings: &HttpSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            max_body: usize::try_from(settings.max_body).unwrap_or(usize::MAX),
            room: Room::new(usize::try_from(settings.max_bodies).unwrap_or(usize::MAX)),
            pages: Room::new(usize::try_from(settings.max_pages).unwrap_or(usize::MAX)),
            turns: Semaphore::new(PAGES_AT_ONCE),
            body_timeout: settings.body_timeout,
            input: settings.input,
            rate: RateLimiter::new(settings.rate_limit, Arc::clone(&clock)),
            audited: RateLimiter::new(settings.audited_rate, clock),
            origins: settings.cors_origins.clone(),
            admission: Admission::new(settings.max_connections),
            writes: Admission::new(settings.max_writes),
            refusals: Arc::default(),
        }
    }
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
    /// The bounds of requests.
    pub bounds: Arc<Bounds>,
    /// How long a request may take.
    pub timeout: Duration,
    /// How the log syncs, as `--sync` names it.
    pub sync: Arc<str>,
    /// Clock and randomness.
    pub env: Env,
    /// Requests, counted.
    pub http: Arc<HttpMetrics>,
    /// Who was active.
    pub activity: Arc<Activity>,
    /// Certificate and key, where TLS is spoken.
    pub certificates: Option<Certificates>,
}

impl AppState {
    /// A state whose store is not open yet.
    #[must_use]
    pub fn starting(
        env: &Env,
        bounds: Bounds,
        timeout: Duration,
        sync: &str,
        access: Access,
        activity: Arc<Activity>,
    ) -> Self {
        let Access { authenticator, tokens, audit } = access;
        let (bounds, sync) = (Arc::new(bounds), sync.into());
        let endpoints = endpoints().into_iter().map(|e| (e.method, e.path)).collect();
        let codes = CODES.iter().map(|(code, _, _)| *code).collect();
        Self {
            store: Arc::default(),
            authenticator,
            tokens,
            audit,
            bounds,
            timeout,
            sync,
            env: env.clone(),
            http: Arc::new(HttpMetrics::new(endpoints, codes)),
            activity,
            certificates: None,
        }
    }

    /// The same, which says of its certificate what there is to say.
    #[must_use]
    pub fn over_tls(self, certificates: Option<Certificates>) -> Self {
        Self { certificates, ..self }
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
