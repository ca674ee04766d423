//! Ready-made listing bytes, the least recently used let go first.
//!
//! An entry is worth something only as long as the generations of the tables it was made from:
//! the partition that changes a record moves its table to a new generation before the writer is
//! answered, so an older entry is never served after that answer. Bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, Context, Handler, Message};
use bytes::Bytes;
use lru::LruCache;
use tokio::sync::oneshot;

use crate::domain::UserId;

/// What a listing is of: a user and everything of the request that shapes the answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CacheKey {
    /// Whose.
    pub user: UserId,
    /// Which list, with its filters, page, fields.
    pub what: String,
}

/// A ready-made answer.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The JSON body.
    pub body: Bytes,
    /// Its entity tag.
    pub etag: String,
}

/// Asks for an entry made at these generations.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Lookup {
    /// Which.
    pub key: CacheKey,
    /// The tables' generations now.
    pub generations: [u64; 3],
    /// Where the answer goes.
    pub reply: oneshot::Sender<Option<Arc<Listing>>>,
}

/// Keeps an entry.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Keep {
    /// Which.
    pub key: CacheKey,
    /// The tables' generations before it was made.
    pub generations: [u64; 3],
    /// The answer.
    pub listing: Arc<Listing>,
}

/// Says that an entry was served by somebody who found it without a lookup. May be lost.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Used(pub CacheKey);

/// Forgets everything of a user.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Forget(pub UserId);

/// Counts since the start, and what is held now.
#[derive(Debug, Default)]
pub struct CacheCounts {
    /// Lookups answered from the cache.
    pub hits: AtomicU64,
    /// Lookups it had no valid entry for.
    pub misses: AtomicU64,
    /// Entries let go to make room.
    pub evictions: AtomicU64,
    /// Bytes held.
    pub bytes: AtomicU64,
    /// Entries held.
    pub entries: AtomicU64,
}

struct Entry {
    generations: [u64; 3],
    listing: Arc<Listing>,
    bytes: usize,
}

/// The actor.
pub struct ListingCache {
    entries: LruCache<CacheKey, Entry>,
    bytes: usize,
    bound: usize,
    counts: Arc<CacheCounts>,
}

impl ListingCache {
    /// An empty cache of at most `bound` bytes.
    #[must_use]
    pub fn new(bound: usize, counts: Arc<CacheCounts>) -> Self {
        Self { entries: LruCache::unbounded(), bytes: 0, bound, counts }
    }

    fn lookup(&mut self, key: &CacheKey, generations: [u64; 3]) -> Option<Arc<Listing>> {
        if let Some(entry) = self.entries.get(key)
            && entry.generations == generations
        {
            self.counts.hits.fetch_add(1, Ordering::Relaxed);
            return Some(Arc::clone(&entry.listing));
        }
        self.remove(key);
        self.counts.misses.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn keep(&mut self, Keep { key, generations, listing }: Keep) {
        let bytes = listing.body.len() + listing.etag.len() + key.what.len() + 256;
        // An answer that would push out most of the others is not worth it.
        if bytes > self.bound / 8 {
            return;
        }
        self.remove(&key);
        self.bytes += bytes;
        self.entries.put(key, Entry { generations, listing, bytes });
        while self.bytes > self.bound {
            let Some((_, entry)) = self.entries.pop_lru() else { break };
            self.bytes -= entry.bytes;
            self.counts.evictions.fetch_add(1, Ordering::Relaxed);
        }
        self.publish();
    }

    fn remove(&mut self, key: &CacheKey) {
        if let Some(entry) = self.entries.pop(key) {
            self.bytes -= entry.bytes;
            self.publish();
        }
    }

    fn publish(&self) {
        self.counts.bytes.store(self.bytes as u64, Ordering::Relaxed);
        self.counts.entries.store(self.entries.len() as u64, Ordering::Relaxed);
    }
}

impl Actor for ListingCache {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.set_mailbox_capacity(16_384);
    }
}

impl Handler<Lookup> for ListingCache {
    type Result = ();
    fn handle(&mut self, Lookup { key, generations, reply }: Lookup, _: &mut Context<Self>) {
        // Nobody waits any more: the client went away.
        let _ = reply.send(self.lookup(&key, generations));
    }
}

impl Handler<Keep> for ListingCache {
    type Result = ();
    fn handle(&mut self, keep: Keep, _: &mut Context<Self>) {
        self.keep(keep);
    }
}

impl Handler<Used> for ListingCache {
    type Result = ();
    fn handle(&mut self, Used(key): Used, _: &mut Context<Self>) {
        self.entries.promote(&key);
    }
}

impl Handler<Forget> for ListingCache {
    type Result = ();
    fn handle(&mut self, Forget(user): Forget, _: &mut Context<Self>) {
        let mine: Vec<CacheKey> =
            self.entries.iter().filter(|(k, _)| k.user == user).map(|(k, _)| k.clone()).collect();
        for key in mine {
            self.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(what: &str) -> CacheKey {
        CacheKey { user: UserId::checked("u").expect("user"), what: what.to_owned() }
    }

    fn keep(cache: &mut ListingCache, what: &str, generation: u64, bytes: usize) {
        let listing =
            Arc::new(Listing { body: Bytes::from(vec![b'x'; bytes]), etag: String::new() });
        cache.keep(Keep { key: key(what), generations: [generation; 3], listing });
    }

    #[test]
    fn serves_only_its_generation() {
        let mut cache = ListingCache::new(100_000, Arc::default());
        keep(&mut cache, "a", 1, 10);
        assert!(cache.lookup(&key("a"), [1; 3]).is_some());
        assert!(cache.lookup(&key("a"), [1, 1, 2]).is_none());
        assert!(cache.lookup(&key("a"), [1; 3]).is_none(), "a stale entry is let go");
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn lets_the_least_recently_used_go_within_its_bytes() {
        let counts = Arc::new(CacheCounts::default());
        let mut cache = ListingCache::new(10_000, Arc::clone(&counts));
        for what in 0..9 {
            keep(&mut cache, &what.to_string(), 1, 900);
            assert!(cache.lookup(&key("0"), [1; 3]).is_some());
        }
        assert!(cache.bytes <= 10_000);
        assert!(cache.lookup(&key("1"), [1; 3]).is_none());
        assert_eq!(counts.evictions.load(Ordering::Relaxed), 1);
        keep(&mut cache, "huge", 1, 5000);
        assert!(cache.lookup(&key("huge"), [1; 3]).is_none());
    }
}
