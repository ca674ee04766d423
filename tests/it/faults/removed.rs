//! Folders that somebody removes under a running server: nothing is acknowledged that would be gone
//! with the process, what is left is served.

use std::fs;

use super::PATIENT;
use super::saver::{Saver, check_all};
use crate::support::Server;
use crate::support::rows::stored_once;

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval=1h", PATIENT];

#[tokio::test]
async fn without_its_log_folder_the_server_acknowledges_nothing_more() {
    let mut server = Server::start_with(&NO_CHECKPOINTS).await;
    let mut savers = Saver::some(2, 100);
    for saver in &mut savers {
        saver.fill(&server, 5).await;
    }
    server.checkpoint().await;
    // What no file holds goes with the log: that much a removal does destroy.
    fs::remove_dir_all(server.data.join("log")).expect("removed");
    for saver in &mut savers {
        // A segment that is removed while it is open takes writes and syncs, to no avail.
        assert_eq!(saver.save(&server).await.as_deref(), Some("LOG_FAILED"));
        assert_eq!(saver.save(&server).await.as_deref(), Some("LOG_FAILED"));
    }
    server.says("somebody removed the segment in use").await;
    assert_eq!(server.metric("log_failed").await, 1);
    assert_eq!(server.get("/health/ready").await.status, 503);
    check_all(&mut savers, &server).await;
    let data = server.data.clone();
    server.kill();
    let mut again = Server::over(&data, &NO_CHECKPOINTS).await;
    check_all(&mut savers, &again).await;
    for saver in &mut savers {
        saver.fill(&again, 5).await;
    }
    again.kill();
    let mut third = Server::over(&data, &NO_CHECKPOINTS).await;
    check_all(&mut savers, &third).await;
    third.stop().await;
    assert_eq!(stored_once(&data).len(), 20);
}

#[tokio::test]
async fn without_a_partitions_folder_what_is_saved_from_then_on_is_kept() {
    let mut server = Server::start_with(&NO_CHECKPOINTS).await;
    let mut savers = Saver::some(2, 100);
    for saver in &mut savers {
        saver.fill(&server, 5).await;
    }
    server.checkpoint().await;
    let own = server.data.join("platforms/user_id=saver-0");
    fs::remove_dir_all(&own).expect("removed");
    // Whatever becomes of what the folder held, each answer is one of those that are known.
    let list = server.get("/api/platforms?user_id=saver-0").await;
    assert!([200, 503].contains(&list.status.as_u16()), "{list:?}");
    let mut later = Saver::new("saver-0", 100);
    later.start_from(100);
    for _ in 0..20 {
        if let Some(code) = later.save(&server).await {
            let known = ["STORAGE_FAILED", "PARTITION_RESTARTING", "PARTITION_CORRUPT"];
            assert!(known.contains(&code.as_str()), "{code}");
        }
    }
    server.try_checkpoint().await;
    savers[1].fill(&server, 5).await;
    savers[1].check(&server).await;
    let data = server.data.clone();
    server.kill();
    let mut again = Server::over(&data, &NO_CHECKPOINTS).await;
    savers[1].check(&again).await;
    for (id, filler) in &later.kept {
        let found = again.get(&format!("/api/platforms/{id}?user_id=saver-0")).await.expect(200);
        assert_eq!(found["platform"]["filler"], **filler);
    }
    // With a start at the latest the partition takes saves again.
    for _ in 0..5 {
        assert_eq!(later.save(&again).await, None);
    }
    again.checkpoint().await;
    again.stop().await;
}
