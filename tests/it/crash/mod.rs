//! kill -9 under 64 writers, round after round over one folder: what was acknowledged is there
//! with its version, once; what was deleted stays deleted; what was not acknowledged is whole or
//! absent, and a repeat with its key makes one of it.
//!
//! `writer` is a client that knows what it was told; here are the rounds and the comparison.
//! `AUDIENCE_STORE_TEST_ROUNDS` sets how many kills there are (`just kills 500`).

mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use self::writer::{Known, Writer};
use crate::support::chance::{Chance, rounds, seed};
use crate::support::files::paths;
use crate::support::rows::stored_once;
use crate::support::{Server, pages};

const ROUNDS: u64 = 24;
const WRITERS: usize = 64;
const USERS: usize = 8;
const TABLES: [&str; 3] = ["audiences", "distributions", "platforms"];
/// Small segments, so that the log rotates and lets go of segments meanwhile. However long the
/// machine stands still, only a kill leaves a request without its answer.
const SEGMENTS: [&str; 2] = ["--log-segment-bytes=1MiB", "--request-timeout=10m"];

/// Counts acknowledgements and says when there were enough.
pub struct Count {
    left: AtomicU64,
    reached: Notify,
}

impl Count {
    /// One more was acknowledged.
    pub fn acknowledged(&self) {
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.reached.notify_one();
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_under_64_writers() {
    let (mut chance, kills) = (Chance::new(seed()), rounds(ROUNDS));
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    // Users are shared, records are not: each writer knows its own ones' versions.
    let make = |n: usize| Writer::new(n, format!("user/{}", n % USERS), chance.fork());
    let mut writers: Vec<Writer> = (0..WRITERS).map(make).collect();
    for round in 0..kills {
        let mut server = start(&data, round).await;
        join_all(writers.iter_mut().map(|w| w.resolve(&server))).await;
        compare(&server, &mut writers).await;
        let count = Count { left: AtomicU64::new(chance.of(1..900)), reached: Notify::new() };
        let (checkpoint, delay) = (chance.once_in(3), chance.of(0..20_000));
        let kill = async {
            count.reached.notified().await;
            tokio::select! {
                // Whether it is answered does not matter: the kill is to hit it half done.
                () = async { if checkpoint { server.try_checkpoint().await } } => {}
                () = tokio::time::sleep(Duration::from_micros(delay)) => {}
            }
            server.signal("KILL");
        };
        let write = join_all(writers.iter_mut().map(|w| w.write_until_killed(&server, &count)));
        tokio::join!(kill, write);
        server.kill();
        for name in TABLES.iter().flat_map(|table| paths(&data.join(table)).into_keys()) {
            let file = name.rsplit('/').next().expect("name");
            assert!(file.ends_with(".parquet") && !file.starts_with('.'), "litter: {name}");
        }
    }
    let mut server = start(&data, kills).await;
    join_all(writers.iter_mut().map(|w| w.resolve(&server))).await;
    let listed = compare(&server, &mut writers).await;
    server.checkpoint().await;
    let in_files: BTreeMap<_, _> = stored_once(&data)
        .into_iter()
        .map(|row| ((row.table, row.user, row.id), row.version))
        .collect();
    assert_eq!(in_files, listed, "the files hold what the lists show");
    let deleted = writers.iter().flat_map(|w| &w.records).filter(|r| r.known.is_none()).count();
    let updated = listed.values().filter(|version| **version > 1).count();
    let acknowledged: u64 = writers.iter().map(|w| w.acknowledged).sum();
    println!(
        "{kills} kills, {acknowledged} acknowledged changes, {deleted} records deleted, {} left",
        listed.len()
    );
    assert!(deleted > 20 && updated > 100, "{deleted} deleted, {updated} updated");
    server.stop().await;
}

async fn start(data: &Path, round: u64) -> Server {
    let often = [SEGMENTS[0], SEGMENTS[1], "--checkpoint-interval", "100ms"];
    let cramped = [&often[..], &["--resident-partitions", "8", "--idle-timeout", "1s"]].concat();
    match round % 4 {
        0 | 2 => Server::over(data, &SEGMENTS).await,
        1 => Server::over(data, &often).await,
        _ => Server::over(data, &cramped).await,
    }
}

/// Compares what lists show with what the writers know, and tells them of creates that were kept
/// without having been acknowledged. Answers the version of each record.
async fn compare(
    server: &Server,
    writers: &mut [Writer],
) -> BTreeMap<(String, String, String), i64> {
    let mut versions = BTreeMap::new();
    let mut by_token = BTreeMap::new();
    for user in 0..USERS {
        for table in TABLES {
            for record in pages(server, table, &format!("user%2F{user}")).await {
                let id = format!("{}_id", table.trim_end_matches('s'));
                let id = record[&id].as_str().expect("id").to_owned();
                let known = Known::of(&record);
                let token = record["token"].as_str().expect("token").to_owned();
                let key = (table.to_owned(), format!("user/{user}"), id.clone());
                assert!(versions.insert(key, known.version).is_none(), "listed twice: {record}");
                let other = by_token.insert(token.clone(), (table, id, known));
                assert!(other.is_none(), "{token} was made twice: {record}, {other:?}");
            }
        }
    }
    for writer in writers {
        for record in &mut writer.records {
            let found = by_token.remove(&record.token).map(|(_, id, known)| (id, known));
            let expected = record.known.clone().map(|known| (record.id.clone(), known));
            assert_eq!(found, expected, "{} of {}", record.token, writer.user);
        }
        writer.adopt(&mut by_token);
    }
    assert!(by_token.is_empty(), "nobody sent these: {by_token:?}");
    versions
}
