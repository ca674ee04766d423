//! What a kill at any operation of a put leaves half done, and whether the next process makes it
//! survive a loss of power before anything relies on it.

use std::path::Path;
use std::sync::Arc;

use audience_store::domain::{PartitionKey, Table};
use audience_store::env::Env;
use audience_store::storage::{LocalStorage, PutIf, Storage, StorePath, layout};
use bytes::Bytes;

use crate::client::user;
use crate::dice::Dice;
use crate::disk::{Disk, Faults, Stop};
use crate::trace::Trace;

/// More operations than a put has.
const OPERATIONS: u64 = 60;
const OLD: Bytes = Bytes::from_static(b"old");
const NEW: Bytes = Bytes::from_static(b"new, and longer");

fn process(disk: &Disk) -> LocalStorage {
    let env = Env { fs: Arc::new(disk.clone()), ..Env::system() };
    env.fs.keep_dir(Path::new("data")).expect("folder");
    LocalStorage::new(&env, Path::new("data"))
}

fn disk(seed: u64) -> Disk {
    Disk::new(Dice::new(seed, 0), Trace::new(false))
}

fn path() -> StorePath {
    layout::partition_file(&PartitionKey::whole(&user(0), Table::Platforms))
}

async fn content(storage: &LocalStorage) -> Option<Bytes> {
    let found = storage.head(&path()).await.expect("head")?;
    Some(storage.read(&path(), 0..found.len).await.expect("read"))
}

#[tokio::test]
async fn a_file_put_into_a_folder_that_a_killed_process_made_survives() {
    for seed in 0..OPERATIONS * 8 {
        let disk = disk(seed);
        let killed = process(&disk);
        disk.stop_after(Some(seed % OPERATIONS));
        // It is killed somewhere in it, or just afterwards.
        let _ = killed.put(&path(), OLD, PutIf::Always).await;
        disk.restart(Stop::Kill);
        process(&disk).put(&path(), NEW, PutIf::Always).await.expect("put");
        disk.restart(Stop::PowerLoss);
        assert_eq!(content(&process(&disk)).await, Some(NEW), "seed {seed}");
    }
}

#[tokio::test]
async fn a_file_put_into_a_folder_that_was_removed_and_made_again_survives() {
    let mut again = 0;
    for seed in 0..OPERATIONS * 8 {
        let disk = disk(seed);
        let storage = process(&disk);
        storage.put(&path(), OLD, PutIf::Always).await.expect("put");
        // A checkpoint of a user's first records after his erasure.
        storage.delete_tree(&layout::user_folder(&user(0), Table::Platforms)).await.expect("gone");
        disk.set(Faults { sync: 3000, ..Faults::default() });
        while storage.put(&path(), NEW, PutIf::Always).await.is_err() {
            again += 1;
        }
        disk.restart(Stop::PowerLoss);
        disk.set(Faults::default());
        assert_eq!(content(&process(&disk)).await, Some(NEW), "seed {seed}");
    }
    assert!(again > 100, "{again} failed");
}

#[tokio::test]
async fn a_file_that_a_killed_process_put_survives_once_it_is_settled() {
    let mut new = 0;
    for seed in 0..OPERATIONS * 8 {
        let disk = disk(seed);
        process(&disk).put(&path(), OLD, PutIf::Always).await.expect("put");
        let killed = process(&disk);
        disk.stop_after(Some(seed % OPERATIONS));
        // As above.
        let _ = killed.put(&path(), NEW, PutIf::Always).await;
        disk.restart(Stop::Kill);
        let next = process(&disk);
        let seen = content(&next).await;
        assert!(seen == Some(OLD) || seen == Some(NEW), "seed {seed}: {seen:?}");
        next.settle(&path()).await.expect("settle");
        disk.restart(Stop::PowerLoss);
        assert_eq!(content(&process(&disk)).await, seen, "seed {seed}");
        new += u64::from(seen == Some(NEW));
    }
    assert!((1..OPERATIONS * 8).contains(&new), "{new} new");
}
