//! An fsync that fails for real, once, and then pretends all is well: it is never trusted again.

use super::PATIENT;
use super::preload::{Preload, loaded_in};
use super::saver::{Saver, check_all};
use crate::support::Server;
use crate::support::rows::stored_once;

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval=1h", PATIENT];

#[tokio::test]
async fn a_failed_fsync_of_the_log_closes_it_to_writes_until_a_restart() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    preload.only("/data/log/");
    let start = || {
        let server = Server::launched(&data, &NO_CHECKPOINTS, |command| preload.dress(command));
        server.unwrap_or_else(|e| panic!("{e}"))
    };
    let mut savers = Saver::some(2, 500);
    for _ in 0..3 {
        let mut server = start();
        server.ready().await;
        assert!(loaded_in(server.pid()));
        check_all(&mut savers, &server).await;
        for saver in &mut savers {
            saver.fill(&server, 5).await;
        }
        let failed = preload.failed();
        preload.fail(1);
        for saver in &mut savers {
            for _ in 0..3 {
                assert_eq!(saver.save(&server).await.as_deref(), Some("LOG_FAILED"));
            }
        }
        assert_eq!(preload.failed(), failed + 1, "it was not tried again");
        assert_eq!(server.metric("log_failed").await, 1);
        assert_eq!(server.get("/health/ready").await.status, 503);
        for saver in &savers {
            // Reads go on, of what was acknowledged.
            for id in saver.kept.keys() {
                let read = format!("/api/platforms/{id}?user_id={}", saver.user);
                server.get(&read).await.expect(200);
            }
        }
        server.kill();
    }
    let mut server = start();
    server.ready().await;
    check_all(&mut savers, &server).await;
    server.stop().await;
}

#[tokio::test]
async fn a_failed_fsync_of_a_parquet_file_costs_that_checkpoint_alone() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    preload.only("/data/tmp/");
    let mut server = Server::launched(&data, &NO_CHECKPOINTS, |command| preload.dress(command))
        .unwrap_or_else(|e| panic!("{e}"));
    server.ready().await;
    let mut savers = Saver::some(3, 500);
    for saver in &mut savers {
        saver.fill(&server, 4).await;
    }
    preload.fail(3);
    let asked = server.send(reqwest::Method::POST, "/api/admin/checkpoint", &[], None).await;
    assert!(asked.header("retry-after").is_some());
    asked.expect_error(503, "STORAGE_FAILED");
    assert!(preload.failed() > 0);
    preload.fail(0);
    for saver in &mut savers {
        saver.fill(&server, 4).await;
    }
    server.checkpoint().await;
    check_all(&mut savers, &server).await;
    server.kill();
    assert_eq!(stored_once(&data).len(), 24, "the next one holds it all");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    check_all(&mut savers, &server).await;
    server.stop().await;
}
