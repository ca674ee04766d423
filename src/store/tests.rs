//! The store over files with faults: what no test of the real program can bring about at the
//! right moment.

use std::time::Duration;

use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::actors::catalog::{Months, Stop};
use crate::app;
use crate::cli::{StoreSettings, SyncMode};
use crate::crypto::KeySettings;
use crate::domain::input::Body;
use crate::domain::limits::InputLimits;
use crate::domain::{Patch, RecordId, Table};
use crate::env::faulty::{Faults, FaultyFs};
use crate::log::{FullReason, LogState};

const SEGMENT: u64 = 64 * 1024;
const NONE: Faults =
    Faults { full: false, hold_puts: false, hold_log_reads: false, refuse_removals: false };
const REFUSING: Faults = Faults { refuse_removals: true, ..NONE };
const FULL: Faults = Faults { full: true, ..NONE };

struct Bed {
    fs: FaultyFs,
    store: Store,
    user: UserId,
    settings: StoreSettings,
    folder: TempDir,
}

fn settings(folder: &TempDir) -> StoreSettings {
    StoreSettings {
        max_page: u64::MAX,
        quota_audiences: 0,
        quota_bytes: 0,
        data: folder.path().join("data"),
        sync: SyncMode::Always,
        // Checkpoints come when a test asks for them.
        checkpoint_interval: Duration::from_hours(1),
        checkpoint_bytes: 1 << 30,
        checkpoint_concurrency: 2,
        log_segment_bytes: SEGMENT,
        log_max_bytes: 1 << 30,
        disk_reserve: 1,
        log_keep_bytes: 0,
        resident_bytes: 1 << 30,
        resident_partitions: 100,
        idle_timeout: Duration::from_hours(1),
        cache_bytes: 1 << 20,
        mailbox: 64,
        arbiters: 1,
        keys: KeySettings { file: "keys/ring.json".into(), environment: None },
    }
}

async fn bed() -> Bed {
    let folder = tempfile::tempdir().expect("folder");
    let user = UserId::checked("u").expect("user");
    reopen(FaultyFs::default(), settings(&folder), user, folder).await
}

async fn reopen(fs: FaultyFs, settings: StoreSettings, user: UserId, folder: TempDir) -> Bed {
    let opened = app::open(&fs.env(), &settings, &mut |_, _| {}).expect("store");
    let store = app::begin_command(&fs.env(), &opened, &settings).await;
    Bed { fs, store, user, settings, folder }
}

fn patch(name: &str, bytes: usize) -> Patch {
    let body = format!(
        r#"{{"user_id":"u","platform_type":"meta","name":"{name}","note":"{}"}}"#,
        "x".repeat(bytes)
    );
    Body::parse(body.as_bytes(), &InputLimits::default())
        .expect("body")
        .patch(Table::Platforms)
        .expect("patch")
}

impl Bed {
    async fn save(&self, name: &str, bytes: usize) -> Result<Written, StoreError> {
        self.store.save(&self.user, patch(name, bytes), Precondition::None, None).await
    }

    async fn listed(&self) -> Result<Vec<String>, StoreError> {
        let request = ListRequest { limit: 1000, ..ListRequest::default() };
        let page = self.store.list(&self.user, Table::Platforms, request).await?;
        Ok(page.rows.iter().map(|row| row.text("name").expect("name").to_owned()).collect())
    }

    async fn names(&self) -> Vec<String> {
        self.listed().await.expect("list")
    }

    async fn erase(&self) -> Result<Erased, StoreError> {
        self.store.erase(&self.user, &crate::audit::Actor::command()).await
    }

    /// Nothing of him is shown or taken.
    async fn is_closed(&self) {
        let (listed, saved) = (self.listed().await, self.save("too early", 1).await);
        assert!(matches!(listed, Err(StoreError::Erasing)), "{listed:?}");
        assert!(matches!(saved, Err(StoreError::Erasing)), "{saved:?}");
    }

    /// One record in a file, one in the log alone; then his erasure, which cannot remove the file.
    async fn half_erased(&self) {
        self.save("in the file", 1).await.expect("save");
        self.store.checkpoint(false).await.expect("checkpoint");
        self.save("in the log", 1).await.expect("save");
        self.fs.set(REFUSING);
        assert!(matches!(self.erase().await, Err(StoreError::StorageFailed)));
    }

    /// Fills the log's segment and the disk, so that the next change needs room there is none for.
    async fn fill(&self) -> usize {
        self.fs.set(FULL);
        let mut saved = 0;
        while self.save("filler", 8000).await.is_ok() {
            saved += 1;
        }
        assert!(matches!(self.store.log_status().state, LogState::Full(FullReason::Storage)));
        saved
    }

    /// Begins a checkpoint, and answers when its file waits.
    async fn held_checkpoint(&self) -> JoinHandle<Result<u64, StoreError>> {
        let (store, fs) = (self.store.clone(), self.fs.clone());
        let checkpoint = actix::spawn(async move { store.checkpoint(false).await });
        tokio::task::spawn_blocking(move || fs.wait_for_held(1)).await.expect("held");
        checkpoint
    }

    /// Saves as a client does that is told to come again: a batch that was on its way when room
    /// came may still fail.
    async fn save_again(&self) {
        while let Err(error) = self.save("there is room again", 8000).await {
            assert!(matches!(error, StoreError::StorageFull | StoreError::Restarting { .. }));
            tokio::task::yield_now().await;
        }
    }

    async fn close(self) {
        self.fs.set(NONE);
        self.store.close(app::UNTIL_DONE).await.expect("close");
    }
}

fn run<F: Future<Output = ()>>(test: impl FnOnce(Bed) -> F) {
    actix::System::new().block_on(async { test(bed().await).await });
}

#[test]
fn a_change_that_found_no_room_is_nowhere_and_reads_go_on() {
    run(async |bed| {
        let filled = bed.fill().await;
        let answers = join_all((0..20).map(|_| bed.save("refused", 8000))).await;
        // One that met a rollback halfway is told to come again.
        let refused =
            |a: &_| matches!(a, Err(StoreError::StorageFull | StoreError::Restarting { .. }));
        assert!(answers.iter().all(refused), "{answers:?}");
        assert_eq!(bed.names().await.len(), filled);
        bed.fs.set(NONE);
        bed.save_again().await;
        assert_eq!(bed.names().await.len(), filled + 1);
        assert!(!bed.names().await.contains(&"refused".to_owned()));
        bed.close().await;
    });
}

#[test]
fn a_checkpoint_that_a_reload_overtakes_is_answered_and_nothing_taken_back_reaches_a_file() {
    run(async |bed| {
        bed.save("kept", 1).await.expect("save");
        bed.fs.set(Faults { hold_puts: true, ..NONE });
        let checkpoint = bed.held_checkpoint().await;
        // While its file waits, a batch of the log fails, and the partition is built again.
        bed.fs.set(Faults { hold_puts: true, ..FULL });
        let mut filled = 0;
        while bed.save("filler", 8000).await.is_ok() {
            filled += 1;
        }
        assert_eq!(bed.names().await.len(), filled + 1);
        bed.fs.set(NONE);
        checkpoint.await.expect("task").expect("checkpoint");
        bed.store.checkpoint(false).await.expect("checkpoint");
        assert_eq!(bed.names().await.len(), filled + 1);
        let Bed { store, settings, fs, user, folder } = bed;
        store.close(app::UNTIL_DONE).await.expect("close");
        let bed = reopen(fs, settings, user, folder).await;
        assert_eq!(bed.names().await.len(), filled + 1, "from the file alone");
        bed.close().await;
    });
}

#[test]
fn who_could_not_be_erased_whole_is_closed_until_he_is_and_comes_back_to_nothing() {
    run(async |bed| {
        bed.half_erased().await;
        bed.is_closed().await;
        let again = bed.erase().await;
        assert!(matches!(again, Err(StoreError::StorageFailed)), "{again:?}");
        bed.fs.set(NONE);
        assert_eq!(bed.erase().await.expect("the rest").files, 1);
        assert_eq!(bed.names().await, [""; 0]);
        bed.save("new", 1).await.expect("save");
        assert_eq!(bed.names().await, ["new"]);
        bed.close().await;
    });
}

#[test]
fn a_start_that_cannot_finish_an_erasure_goes_on_with_it_and_shows_nothing_meanwhile() {
    run(async |bed| {
        bed.half_erased().await;
        let Bed { store, settings, fs, user, folder } = bed;
        store.close(app::UNTIL_DONE).await.expect("close");
        let bed = reopen(fs, settings, user, folder).await;
        bed.is_closed().await;
        bed.fs.set(NONE);
        // Nobody asks: it goes on by itself.
        while matches!(bed.listed().await, Err(StoreError::Erasing)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(bed.names().await, [""; 0]);
        bed.save("new", 1).await.expect("save");
        bed.store.checkpoint(false).await.expect("checkpoint");
        let Bed { store, settings, fs, user, folder } = bed;
        store.close(app::UNTIL_DONE).await.expect("close");
        // A record of the erasure that is still in the log takes nothing that came after it.
        let bed = reopen(fs, settings, user, folder).await;
        assert_eq!(bed.names().await, ["new"]);
        bed.close().await;
    });
}

/// What is read of the old file must not be taken for the new one.
#[test]
fn a_file_that_a_checkpoint_replaces_while_it_is_loaded_again_is_loaded_once_more() {
    run(async |bed| {
        bed.save("in the file", 1).await.expect("save");
        bed.store.checkpoint(false).await.expect("checkpoint");
        bed.save("in the next one", 1).await.expect("save");
        bed.fs.set(Faults { hold_puts: true, ..NONE });
        let checkpoint = bed.held_checkpoint().await;
        // A batch of the log fails; the list that follows has the partition loaded again, which has
        // read the file when it waits for the log.
        bed.fs.set(Faults { hold_puts: true, hold_log_reads: true, ..FULL });
        let mut filled = 0;
        while bed.save("filler", 8000).await.is_ok() {
            filled += 1;
        }
        let written = &bed.store.shared.metrics.checkpoints.written;
        let before = written.get();
        let replace = async {
            let fs = bed.fs.clone();
            tokio::task::spawn_blocking(move || fs.wait_for_held(2)).await.expect("held");
            bed.fs.set(Faults { hold_log_reads: true, ..NONE });
            while written.get() == before {
                tokio::task::yield_now().await;
            }
            bed.fs.set(NONE);
        };
        let (names, ()) = tokio::join!(bed.names(), replace);
        assert_eq!(names.len(), filled + 2);
        checkpoint.await.expect("task").expect("checkpoint");
        bed.close().await;
    });
}

/// The supervisor lets catalogs go where there are many, whoever is about to ask them.
#[test]
fn what_reaches_a_catalog_after_its_end_is_served_by_the_next_one() {
    run(async |bed| {
        let catalog = bed.store.door.catalog(&bed.user, Table::Audiences).await.expect("catalog");
        let months = || {
            let (reply, answer) = oneshot::channel();
            catalog.try_send(Months { reply }).expect("room");
            answer
        };
        months().await.expect("an answer").result.expect("months");
        catalog.try_send(Stop).expect("room");
        let late = [months(), months()];
        for answer in late {
            assert_eq!(answer.await.expect("an answer").result.expect("months"), []);
        }
        let next = bed.store.door.catalog(&bed.user, Table::Audiences).await.expect("catalog");
        assert!(next != catalog);
        let gone = catalog.downgrade();
        drop(catalog);
        while gone.upgrade().is_some_and(|catalog| catalog.connected()) {
            tokio::task::yield_now().await;
        }
        bed.close().await;
    });
}

#[test]
fn an_idempotency_key_whose_change_was_taken_back_is_free_again() {
    run(async |bed| {
        let filled = bed.fill().await;
        let request = KeyedRequest { key: "k".to_owned(), digest: [7; 32] };
        let keyed = async || {
            let pending = match bed.store.begin(&bed.user, &request).await.expect("turn") {
                Begun::Go(pending) => pending,
                Begun::Replay(answer) => return Ok(answer.body),
            };
            let remember = pending.remember(|written| Remembered {
                status: 201,
                body: format!("\"{}\"", written.id),
                etag: None,
            });
            let patch = patch("keyed", 8000);
            let saved = bed.store.save(&bed.user, patch, Precondition::None, Some(remember)).await;
            saved.map(|written| format!("\"{}\"", written.id))
        };
        assert!(matches!(keyed().await, Err(StoreError::StorageFull)));
        // The ledger is asked while what it was told may already be taken back.
        assert!(matches!(keyed().await, Err(StoreError::StorageFull)));
        bed.fs.set(NONE);
        bed.save_again().await;
        let first = keyed().await.expect("the first that is kept");
        assert_eq!(keyed().await.expect("its repeat"), first);
        let id = RecordId::checked(first.trim_matches('"')).expect("id");
        bed.store.get(&bed.user, Table::Platforms, &id).await.expect("record");
        assert_eq!(bed.names().await.len(), filled + 2);
        bed.close().await;
    });
}

#[test]
fn closing_leaves_to_the_log_what_cannot_be_written_in_time() {
    run(async |bed| {
        bed.save("unsaved", 1).await.expect("save");
        bed.fs.set(Faults { hold_puts: true, ..NONE });
        let _checkpoint = bed.held_checkpoint().await;
        let closed = bed.store.close(Duration::from_millis(1)).await;
        assert!(matches!(closed, Err(StoreError::TooSlow)), "{closed:?}");
        // What the end of the process would do away with goes on waiting here.
        let Bed { settings, fs: held, user, folder, .. } = bed;
        let bed = reopen(FaultyFs::default(), settings, user, folder).await;
        assert_eq!(bed.names().await, ["unsaved"]);
        bed.close().await;
        held.set(NONE);
    });
}
