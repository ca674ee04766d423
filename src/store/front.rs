//! The listings that one HTTP worker served of late: a first level before the cache actor, so
//! that a hot listing costs no message to another thread.
//!
//! It owns no listing. An entry points at what the cache actor keeps and at the generations of
//! the tables the listing was made from; where either is gone, the entry is worth nothing. So the
//! cache's bound on bytes holds for both levels, and what a writer was told is always seen.
//! Belongs to one thread. Bounded in entries.

use std::cell::RefCell;
use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;

use lru::LruCache;

use crate::actors::listing_cache::{CacheKey, Listing};
use crate::actors::registry::TableEntry;

/// Listings a worker knows the way to; about 200 bytes each.
const ENTRIES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(8191);
/// How long a worker serves an entry before the cache actor hears that it is in use.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The tables a listing is made from, with the generation each had before it was made.
pub type Made = Vec<(Arc<TableEntry>, u64)>;

struct Entry {
    listing: Weak<Listing>,
    made: Made,
    told: Duration,
}

/// One worker's way to listings.
pub struct Front(RefCell<LruCache<CacheKey, Entry>>);

impl Default for Front {
    fn default() -> Self {
        Self(RefCell::new(LruCache::new(ENTRIES)))
    }
}

/// A listing that a worker found by itself.
pub struct Found {
    /// It.
    pub listing: Arc<Listing>,
    /// Whether the cache actor should hear that it is in use, so that it is not let go for being
    /// unused.
    pub tell: bool,
}

impl Front {
    /// The listing under `key`, where it is still what a fresh one would be. `now` is monotonic.
    #[must_use]
    pub fn find(&self, key: &CacheKey, now: Duration) -> Option<Found> {
        let mut entries = self.0.borrow_mut();
        let entry = entries.get_mut(key)?;
        let listing = entry.listing.upgrade();
        let valid = entry.made.iter().all(|(table, made)| table.generation() == *made);
        let Some(listing) = listing.filter(|_| valid) else {
            entries.pop(key);
            return None;
        };
        let tell = now.saturating_sub(entry.told) >= TELL_EVERY;
        if tell {
            entry.told = now;
        }
        Some(Found { listing, tell })
    }

    /// Remembers the way to a listing that the cache actor keeps.
    pub fn remember(&self, key: CacheKey, listing: &Arc<Listing>, made: Made, now: Duration) {
        let entry = Entry { listing: Arc::downgrade(listing), made, told: now };
        self.0.borrow_mut().put(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::actors::registry::Registry;
    use crate::domain::{Table, UserId};

    const START: Duration = Duration::ZERO;

    fn parts() -> (Front, Registry, CacheKey, Arc<TableEntry>) {
        let registry = Registry::new();
        let user = UserId::checked("u").expect("user");
        let table = registry.table(&user, Table::Audiences);
        (Front::default(), registry, CacheKey { user, what: "list".to_owned() }, table)
    }

    fn listing() -> Arc<Listing> {
        Arc::new(Listing { body: Bytes::from_static(b"[]"), etag: "W/\"1\"".to_owned() })
    }

    #[test]
    fn a_change_of_the_table_makes_its_listings_worthless() {
        let (front, registry, key, table) = parts();
        let kept = listing();
        let made = vec![(Arc::clone(&table), table.generation())];
        front.remember(key.clone(), &kept, made, START);
        assert!(front.find(&key, START).is_some());
        registry.changed(&table);
        assert!(front.find(&key, START).is_none());
    }

    #[test]
    fn what_the_cache_let_go_is_gone_here_too() {
        let (front, _, key, table) = parts();
        let kept = listing();
        let made = vec![(Arc::clone(&table), table.generation())];
        front.remember(key.clone(), &kept, made, START);
        drop(kept);
        assert!(front.find(&key, START).is_none());
    }

    #[test]
    fn the_cache_hears_of_use_once_a_while() {
        let (front, _, key, table) = parts();
        let kept = listing();
        let made = vec![(Arc::clone(&table), table.generation())];
        front.remember(key.clone(), &kept, made, START);
        let tells = |at| front.find(&key, at).expect("hit").tell;
        assert!(!tells(TELL_EVERY / 2));
        assert!(tells(TELL_EVERY));
        assert!(!tells(TELL_EVERY));
        assert!(tells(TELL_EVERY * 2));
    }

    #[test]
    fn another_users_listing_is_never_found() {
        let (front, _, key, table) = parts();
        let kept = listing();
        front.remember(key.clone(), &kept, vec![(Arc::clone(&table), table.generation())], START);
        let other = CacheKey { user: UserId::checked("v").expect("user"), ..key };
        assert!(front.find(&other, START).is_none());
    }
}
