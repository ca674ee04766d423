//! The store as HTTP, the seeder and tests see it: reads and writes of records, by user.
//!
//! Every method takes the `UserId` whose data it touches. What a write promises when it returns
//! `Ok`: with `--sync always`, the change survives kill -9 and power loss; with the other modes,
//! what they say. Reads see every change that was answered before they began.

mod adopt;
mod archive;
mod archive_request;
mod cached;
mod credentials;
mod erase;
mod expose;
mod front;
mod keyed;
mod list;
mod maintain;
mod record;
pub mod remembered_files;
mod resealing;
mod rewrap;
mod scrub;
pub mod sealed_files;
mod summary;
mod survey;
#[cfg(test)]
mod tests;
mod unfinished;
mod usage;
mod usage_survey;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, Addr};

pub use crate::actors::StoreError;
pub use crate::actors::listing_cache::{CacheCounts, CacheKey, Listing};
pub use crate::actors::messages::{Precondition, Written};
pub use crate::actors::usage::Quota;
pub use adopt::Adopted;
pub use archive::{ArchiveRule, ArchivedMonths};
pub use archive_request::{ArchiveRequests, EXPIRES, Stage, Taken};
pub use erase::Erased;
pub use front::Front;
pub use keyed::{Begun, KeyedRequest, Pending, Remembered};
pub use list::{ListRequest, Page};
pub use maintain::Readiness;
pub use scrub::ScrubCounts;
pub use summary::Summary;
use unfinished::Rest;
pub use unfinished::Unfinished;
pub use usage_survey::{Stored, TopUser, UsageBook, UsageReport};

use crate::actors::idempotency::Idempotency;
use crate::actors::listing_cache::ListingCache;
use crate::actors::supervisor::{Door, Supervisor};
use crate::actors::{Shared, Threads};
use crate::audit::Audit;
use crate::crypto;
use crate::domain::{Row, UserId};
use crate::log::Lsn;
use crate::storage::StorageError;

/// The store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    door: Door,
    supervisor: Addr<Supervisor>,
    cache: Addr<ListingCache>,
    cache_counts: Arc<CacheCounts>,
    idempotency: Addr<Idempotency>,
    audit: Audit,
    unfinished: Arc<Unfinished>,
    /// Records put under another key since the start.
    rewrapped: Arc<AtomicU64>,
    /// What users store.
    usage: Arc<UsageBook>,
    scrub: Arc<ScrubCounts>,
}

impl Store {
    /// Starts the actors over `shared`, partitions and catalogs on `threads`, and goes on with
    /// `unfinished` erasures. Erasures are noted in `audit`. Called on an actix system's thread.
    #[must_use]
    pub fn start(
        shared: Arc<Shared>,
        audit: Audit,
        threads: Threads,
        unfinished: Unfinished,
    ) -> Self {
        let erasing = unfinished.users();
        let supervisor =
            Supervisor::new(Arc::clone(&shared), threads, erasing.iter().cloned().collect())
                .start();
        let door = Door::new(Arc::clone(&shared), supervisor.clone());
        let cache_counts = Arc::new(CacheCounts::default());
        let cache = ListingCache::new(shared.limits.cache_bytes, Arc::clone(&cache_counts)).start();
        let idempotency = Idempotency::new().start();
        let (rewrapped, usage, scrub) = (Arc::default(), Arc::default(), Arc::default());
        let store = Self {
            shared,
            door,
            supervisor,
            cache,
            cache_counts,
            idempotency,
            audit,
            unfinished: Arc::new(unfinished),
            rewrapped,
            usage,
            scrub,
        };
        for user in erasing {
            store.keep_erasing(user);
        }
        store
    }

    /// Finishes, before a start, the erasures that a crash cut short, as far as that can be done.
    pub async fn finish_erasures(shared: &Arc<Shared>, erased: &[(UserId, Lsn)]) -> Unfinished {
        let unfinished = Unfinished::default();
        for (user, lsn) in erased {
            let rest = Rest { lsn: *lsn, perhaps_finished: true };
            if let Err(error) = unfinished::remove(shared, user, rest).await {
                tracing::error!(%error, "an erasure could not be finished, which will be tried again");
                unfinished.enter(user, rest);
            }
        }
        unfinished
    }

    /// Looks at all files once and reports those that cannot be read.
    ///
    /// # Errors
    /// Where folders cannot be listed.
    pub async fn survey(shared: Arc<Shared>) -> Result<u64, StorageError> {
        survey::run(shared).await
    }

    /// Measures what users store, again and again, this long after each time.
    pub async fn keep_usage(self, every: Duration) {
        usage_survey::keep(self.shared, self.usage, every).await;
    }

    /// What users store, as last measured; `None` before the first time has ended.
    #[must_use]
    pub fn usage_report(&self) -> Option<Arc<UsageReport>> {
        self.usage.latest()
    }

    /// Appends a row as clients see it; with `fields`, these fields alone.
    pub fn render(
        row: &Row,
        user: &UserId,
        fields: Option<&dyn Fn(&str) -> bool>,
        out: &mut String,
    ) {
        row.render(user, fields, &crypto::view, out);
    }

    /// Records whose credentials were put under another key since the start.
    #[must_use]
    pub fn rewrapped(&self) -> u64 {
        self.rewrapped.load(Ordering::Relaxed)
    }

    /// What the listing cache did and holds.
    #[must_use]
    pub fn cache_counts(&self) -> &CacheCounts {
        &self.cache_counts
    }
}
