//! Ready-made listings.

use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::{Listing, Store};
use crate::actors::listing_cache::{CacheKey, Forget, Keep, Lookup};
use crate::domain::{Table, UserId};

impl Store {
    /// The answer `what` of a user, from the cache where no record of `tables` changed since it
    /// was made, and otherwise from `make`. An answer that was sent to a writer is always seen.
    ///
    /// # Errors
    /// Those of `make`.
    pub async fn cached<E>(
        &self,
        user: &UserId,
        what: String,
        tables: &[Table],
        make: impl Future<Output = Result<String, E>>,
    ) -> Result<Arc<Listing>, E> {
        let mut generations = [0; 3];
        for (slot, table) in generations.iter_mut().zip(tables) {
            *slot = self.shared.registry.table(user, *table).generation();
        }
        let key = CacheKey { user: user.clone(), what };
        let (reply, answer) = oneshot::channel();
        // Without an answer from a busy cache the listing is made afresh.
        let _ = self.cache.try_send(Lookup { key: key.clone(), generations, reply });
        if let Ok(Some(listing)) = answer.await {
            return Ok(listing);
        }
        let body = Bytes::from(make.await?);
        let listing = Arc::new(Listing { etag: etag(&body), body });
        // As above.
        let _ = self.cache.try_send(Keep { key, generations, listing: Arc::clone(&listing) });
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
