//! How long one thread takes to seal, open and re-wrap credentials, and to check a fingerprint:
//! `cargo run --release --example seal`.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audience_store::crypto::{LocalKeys, Owner, Ring, Sealer};
use audience_store::domain::{MAX_CREDENTIALS, Micros, RecordId, Secret, Table};
use audience_store::env::OsRandom;
use audience_store::storage::layout::parse_user;

/// Times an operation is repeated.
const TIMES: u32 = 2_000;

#[allow(clippy::disallowed_methods, reason = "a measurement reads the machine's clock")]
async fn time<F: Future<Output = ()>>(what: &str, bytes: usize, work: impl Fn() -> F) {
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        work().await;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    let of = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    println!("{what:<8} {bytes:>6} bytes: median {:>8.1?}, 99 % {:>8.1?}", of(50), of(99));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    runtime.block_on(async {
        let (user, id) =
            (parse_user("user_id=u").expect("user"), RecordId::checked("p").expect("id"));
        let owner = Owner { user: &user, table: Table::Platforms, id: &id };
        let mut ring = Ring::made(&OsRandom, Micros::new(0));
        let sealer = |ring: &Ring| {
            let keys = LocalKeys::new(ring.clone(), Arc::new(OsRandom));
            Sealer::new(Arc::new(keys), Arc::new(OsRandom))
        };
        let old = sealer(&ring);
        ring.rotate(&OsRandom, Micros::new(0)).expect("rotate");
        let new = sealer(&ring);
        for bytes in [200, 4096, MAX_CREDENTIALS] {
            let plain = Secret::new(format!("{{\"k\":\"{}\"}}", "s".repeat(bytes - 8)));
            let sealed = old.seal(&owner, &plain).await.expect("sealed").bytes;
            time("seal", bytes, async || drop(old.seal(&owner, &plain).await.expect("sealed")))
                .await;
            time("open", bytes, async || drop(new.open(&owner, &sealed).await.expect("opened")))
                .await;
            time("re-wrap", bytes, async || {
                drop(new.rewrap(&owner, &sealed).await.expect("rewrapped"));
            })
            .await;
        }
        time("print", 32, async || drop(new.fingerprint(&[7; 32]).await.expect("print"))).await;
    });
}
