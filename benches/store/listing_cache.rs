//! Finding a ready-made listing: in the worker's own first level, and by a message to the cache.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use audience_store::actors::listing_cache::{CacheKey, Keep, Listing, ListingCache, Lookup};
use audience_store::actors::registry::Registry;
use audience_store::domain::Table;
use audience_store::store::Front;
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use tokio::sync::oneshot;

use crate::rows;

/// Listings that are kept: more than fit the processor's nearest cache.
const LISTINGS: usize = 1000;

fn key(number: usize) -> CacheKey {
    CacheKey { user: rows::user(), what: format!("audiences?limit=50&page={number}") }
}

fn listing() -> Arc<Listing> {
    let body = Bytes::from(vec![b'x'; 50 * 1024]);
    Arc::new(Listing { body, etag: "W/\"0123456789abcdef01234567\"".to_owned() })
}

pub fn finding(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("listing_cache");
    let registry = Registry::new();
    let table = registry.table(&rows::user(), Table::Audiences);
    let (front, kept) = (Front::default(), listing());
    for number in 0..LISTINGS {
        let made = vec![(Arc::clone(&table), table.generation())];
        front.remember(key(number), &kept, made, Duration::ZERO);
    }
    let mut next = 0;
    group.bench_function("found by the worker", |bencher| {
        let keys: Vec<_> = (0..LISTINGS).map(key).collect();
        bencher.iter(|| {
            next = (next + 7) % LISTINGS;
            let found = front.find(black_box(&keys[next]), Duration::ZERO);
            assert!(found.is_some());
        });
    });
    let system = actix::System::new();
    let cache = system.block_on(async {
        let cache = ListingCache::new(LISTINGS * 64 * 1024, Arc::default()).start();
        for number in 0..LISTINGS {
            let keep = Keep { key: key(number), generations: [1; 3], listing: listing() };
            cache.send(keep).await.expect("kept");
        }
        cache
    });
    let mut next = 0;
    group.bench_function("asked of the cache", |bencher| {
        let make = || {
            next = (next + 7) % LISTINGS;
            key(next)
        };
        let ask = |key: CacheKey| {
            system.block_on(async {
                let (reply, answer) = oneshot::channel();
                cache.send(Lookup { key, generations: [1; 3], reply }).await.expect("asked");
                assert!(answer.await.expect("answer").is_some());
            });
        };
        bencher.iter_batched(make, ask, BatchSize::SmallInput);
    });
    group.finish();
}
