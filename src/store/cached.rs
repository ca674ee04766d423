//! Ready-made listings.

use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::front::{Found, Front, Made};
use super::{CacheKey, Listing, Store};
use crate::actors::listing_cache::{Forget, Keep, Lookup, Used};
use crate::domain::{Table, UserId};

impl Store {
    /// The answer to what is `asked`, where the worker's own `front` knows the way to it and no
    /// record that it was made from has changed since.
    #[must_use]
    pub fn at_hand(&self, front: &Front, asked: &CacheKey) -> Option<Arc<Listing>> {
        let Found { listing, tell } = front.find(asked, self.shared.env.clock.monotonic())?;
        self.cache_counts.hits.fetch_add(1, Ordering::Relaxed);
        if tell {
            // A busy cache hears of it another time.
            self.shared.metrics.messages.cache.increment();
            let _ = self.cache.try_send(Used(asked.clone()));
        }
        Some(listing)
    }

    /// The answer to what is `asked` and not [`Store::at_hand`], from the cache where no record
    /// of `tables` changed since it was made, and otherwise from `make`. An answer that was sent
    /// to a writer is always seen.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn cached<E>(
        &self,
        front: &Front,
        asked: CacheKey,
        tables: &[Table],
        make: impl Future<Output = Result<Bytes, E>>,
    ) -> Result<Arc<Listing>, E> {
        let now = self.shared.env.clock.monotonic();
        // Before anything is read: a change that comes meanwhile makes the answer worthless.
        let entries = tables.iter().map(|table| self.shared.registry.table(&asked.user, *table));
        let read_at: Made = entries.map(|entry| (Arc::clone(&entry), entry.generation())).collect();
        let mut generations = [0; 3];
        for (slot, (_, generation)) in generations.iter_mut().zip(&read_at) {
            *slot = *generation;
        }
        let (reply, answer) = oneshot::channel();
        // Without an answer from a busy cache the listing is made afresh.
        self.shared.metrics.messages.cache.increment();
        let _ = self.cache.try_send(Lookup { key: asked.clone(), generations, reply });
        if let Ok(Some(listing)) = answer.await {
            front.remember(asked, &listing, read_at, now);
            return Ok(listing);
        }
        let body = make.await?;
        let listing = Arc::new(Listing { etag: etag(&body), body });
        // As above.
        self.shared.metrics.messages.cache.increment();
        let keep = Keep { key: asked.clone(), generations, listing: Arc::clone(&listing) };
        if self.cache.try_send(keep).is_ok() {
            front.remember(asked, &listing, read_at, now);
        }
        Ok(listing)
    }

    /// Lets everything of a user go from the cache.
    pub(super) async fn forget_listings(&self, user: &UserId) {
        // An error means that the cache is gone, and everything with it.
        let _ = self.cache.send(Forget(user.clone())).await;
    }
}

/// A weak tag made of the content: the same list has it before and after a restart.
fn etag(body: &[u8]) -> String {
    let mut tag = String::from("W/\"");
    for byte in Sha256::digest(body).iter().take(12) {
        // Writing to a String cannot fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}
