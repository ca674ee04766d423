//! The scrub: damage at rest is found in the background, and nothing else is.

use std::fs;

use serde_json::json;

use crate::support::busy::Busy;
use crate::support::chance::{Chance, seed};
use crate::support::files::paths;
use crate::support::{Server, audience, eventually, pages, platform, program, run};

const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "1h"];
const FAST: [&str; 4] = ["--checkpoint-interval", "1h", "--scrub-rate", "1GiB"];

#[tokio::test]
async fn damage_that_nobody_asked_for_is_found_reported_and_served_as_such() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let id = server.save("audiences", &audience("u", "damaged")).await;
    server.save("audiences", &audience("v", "sound")).await;
    server.save("platforms", &platform("u", "sound")).await;
    server.stop().await;
    let all = paths(&data).into_iter();
    let (name, path) = all.into_iter().find(|(n, _)| n.contains("user_id=u/year")).expect("file");
    let mut bytes = fs::read(&path).expect("read");
    bytes[40] ^= 4;
    fs::write(&path, &bytes).expect("write");

    let mut server = Server::over(&data, &FAST).await;
    eventually("a pass", async || server.metric("scrub_passes_total").await > 0).await;
    assert_eq!(server.metric("scrub_damaged_total").await, 1);
    assert_eq!(server.metric("scrub_files_total").await, 3);
    let stored: u64 = paths(&data)
        .into_iter()
        .filter(|(n, _)| n.ends_with(".parquet"))
        .map(|(_, p)| fs::metadata(p).expect("metadata").len())
        .sum();
    assert_eq!(server.metric("scrub_read_bytes_total").await, stored, "every byte, once");
    // What opens and reads the folder does not take the finding back.
    for _ in 0..2 {
        let read = server.get(&format!("/api/audiences/{id}?user_id=u")).await;
        read.expect_error(503, "PARTITION_CORRUPT");
        let ready = server.get("/health/ready").await.expect(200);
        let reported = ready["unreadable_files"].as_array().expect("files");
        assert_eq!(reported.len(), 1, "{ready}");
        assert_eq!(reported[0]["file"], json!(name), "{ready}");
        assert_eq!(server.metric("unreadable_files").await, 1);
    }
    assert_eq!(pages(&server, "audiences", "v").await.len(), 1);
    assert_eq!(pages(&server, "platforms", "u").await.len(), 1);
    server.stop().await;
    assert_eq!(fs::read(&path).expect("file"), bytes, "not touched");

    let repair = ["repair", "--yes", "--data", data.to_str().expect("path")];
    let (code, out, error) = run(program(&repair));
    assert_eq!(code, 0, "{out}{error}");
    let server = Server::over(&data, &FAST).await;
    eventually("a pass", async || server.metric("scrub_passes_total").await > 0).await;
    assert_eq!(server.metric("scrub_damaged_total").await, 0);
    assert_eq!(pages(&server, "audiences", "u").await[0]["name"], "damaged");
}

#[tokio::test]
async fn files_that_are_replaced_under_the_scrub_are_not_damaged() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut chance = Chance::new(seed());
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let busy = Busy::start(&server, 8, &mut chance);
    busy.until(30).await;
    drop(busy.stop().await);
    server.stop().await;
    let often = ["--checkpoint-interval", "100ms", "--scrub-rate", "64KiB"];
    let server = Server::over(&data, &often).await;
    let body = audience("w", "again");
    let mut writes = 0;
    eventually("a pass", async || {
        let users = (0..8).map(|n| format!("busy-{n}"));
        for user in users {
            let mut body = body.clone();
            body["user_id"] = json!(user);
            body["created_at"] = json!(format!("2025-0{}-11", 1 + writes % 3));
            server.save("audiences", &body).await;
            writes += 1;
        }
        server.checkpoint().await;
        server.metric("scrub_passes_total").await > 0
    })
    .await;
    assert!(server.metric("scrub_files_total").await >= 8 * 3);
    assert_eq!(server.metric("scrub_damaged_total").await, 0);
    assert_eq!(server.get("/health/ready").await.expect(200)["unreadable_files"], json!([]));
}
