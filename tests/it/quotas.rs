//! Quotas: how many audiences a user may have and how much he may store, also under concurrent
//! saves and after a restart.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Server, audience, platform};

/// An audience of a month of its own.
fn of_month(user: &str, month: usize) -> Value {
    let mut body = audience(user, "a");
    body["created_at"] = json!(format!("2025-{:02}-05", month % 12 + 1));
    body
}

async fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("refused_total{{reason=\"{reason}\"}}")).await
}

async fn count(server: &Server, user: &str) -> u64 {
    let summary = server.get(&format!("/api/users/{user}/summary")).await.expect(200);
    summary["summary"]["audiences"]["total"].as_u64().expect("total")
}

#[tokio::test]
async fn as_many_audiences_as_the_quota_and_not_one_more() {
    let server = Server::start_with(&["--quota-audiences=3"]).await;
    let mut ids = Vec::new();
    for month in 0..3 {
        ids.push(server.save("audiences", &of_month("u", month)).await);
    }
    let error = server.post("/api/audiences", &of_month("u", 7)).await;
    let error = error.expect_error(403, "QUOTA_EXCEEDED");
    assert_eq!(error["details"]["quota"], "audiences");
    assert_eq!(refused(&server, "quota_audiences").await, 1);
    // Updates, other tables, other users are not measured by it.
    let update = json!({"user_id": "u", "name": "b"});
    server.put(&format!("/api/audiences/{}", ids[0]), &update).await.expect(200);
    server.post("/api/platforms", &platform("u", "p")).await.expect(201);
    server.post("/api/audiences", &of_month("v", 0)).await.expect(201);
    // An id that exists is updated; a deleted one makes room at once.
    let mut again = of_month("u", 1);
    again["audience_id"] = json!(ids[1]);
    server.post("/api/audiences", &again).await.expect(200);
    server.delete(&format!("/api/audiences/{}?user_id=u", ids[2])).await.expect(200);
    server.post("/api/audiences", &of_month("u", 9)).await.expect(201);
    server.post("/api/audiences", &of_month("u", 9)).await.expect_error(403, "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn concurrent_saves_to_many_months_do_not_pass_the_quota() {
    let server = Server::start_with(&["--quota-audiences=25"]).await;
    let bodies: Vec<Value> = (0..120).map(|n| of_month("u", n)).collect();
    let replies = join_all(bodies.iter().map(|body| server.post("/api/audiences", body))).await;
    let saved = replies.iter().filter(|r| r.status.as_u16() == 201).count();
    let over = replies.iter().filter(|r| r.status.as_u16() == 403).count();
    assert_eq!((saved, over), (25, 95));
    assert_eq!(count(&server, "u").await, 25);
}

#[tokio::test]
async fn a_restart_counts_files_and_log_alike() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = ["--quota-audiences=6", "--checkpoint-interval=1h"];
    let mut server = Server::over(&data, &args).await;
    let mut ids = Vec::new();
    for month in 0..3 {
        ids.push(server.save("audiences", &of_month("u", month)).await);
    }
    server.checkpoint().await;
    // Over the files, in the log alone: one deleted, one changed, one deleted and made again, one
    // new in a month that has a file, one in a month that has none.
    server.delete(&format!("/api/audiences/{}?user_id=u", ids[0])).await.expect(200);
    let update = json!({"user_id": "u", "name": "b"});
    server.put(&format!("/api/audiences/{}", ids[1]), &update).await.expect(200);
    server.delete(&format!("/api/audiences/{}?user_id=u", ids[2])).await.expect(200);
    let mut again = of_month("u", 2);
    again["audience_id"] = json!(ids[2]);
    server.post("/api/audiences", &again).await.expect(201);
    server.save("audiences", &of_month("u", 1)).await;
    server.save("audiences", &of_month("u", 8)).await;
    for _ in 0..3 {
        server.kill();
        server = Server::over(&data, &args).await;
        assert_eq!(count(&server, "u").await, 4);
    }
    // Asked of a server that has read nothing of the user yet, too.
    server.kill();
    server = Server::over(&data, &args).await;
    for month in [4, 5] {
        server.save("audiences", &of_month("u", month)).await;
    }
    server.post("/api/audiences", &of_month("u", 4)).await.expect_error(403, "QUOTA_EXCEEDED");
    // Everything in files, nothing running.
    server.stop().await;
    server = Server::over(&data, &args).await;
    server.post("/api/audiences", &of_month("u", 10)).await.expect_error(403, "QUOTA_EXCEEDED");
    server.delete(&format!("/api/audiences/{}?user_id=u", ids[1])).await.expect(200);
    server.post("/api/audiences", &of_month("u", 10)).await.expect(201);
    server.post("/api/audiences", &of_month("u", 10)).await.expect_error(403, "QUOTA_EXCEEDED");
    // An erased user begins anew.
    server.delete("/api/users/u").await.expect(200);
    for month in 0..6 {
        server.save("audiences", &of_month("u", month)).await;
    }
    server.post("/api/audiences", &of_month("u", 10)).await.expect_error(403, "QUOTA_EXCEEDED");
}

#[tokio::test]
async fn what_a_user_stores_is_bounded_in_bytes() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = ["--quota-bytes=300KB"];
    let mut server = Server::over(&data, &args).await;
    // Text that does not compress below its entropy: files are about as large as what is in them.
    let mut chance = crate::support::chance::Chance::new(7);
    let noise: String =
        (0..60_000).map(|_| char::from(b"0123456789abcdef"[chance.of(0..16) as usize])).collect();
    let noisy = |name: &str| {
        let mut body = audience("u", name);
        body["noise"] = json!(noise);
        body
    };
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(server.save("audiences", &noisy(&format!("a{n}"))).await);
    }
    let mut body = platform("u", "p");
    body["noise"] = json!(noise);
    let error = server.post("/api/platforms", &body).await.expect_error(403, "QUOTA_EXCEEDED");
    assert_eq!(error["details"]["quota"], "bytes", "bytes of all tables count");
    assert_eq!(refused(&server, "quota_bytes").await, 1);
    // What does not grow is let be.
    let smaller = json!({"user_id": "u", "noise": "less"});
    server.put(&format!("/api/audiences/{}", ids[0]), &smaller).await.expect(200);
    server.post("/api/audiences", &audience("v", "a")).await.expect(201);
    // In files, compressed; counted from their sizes after a restart.
    server.stop().await;
    server = Server::over(&data, &args).await;
    let mut taken = 0;
    while server.post("/api/audiences", &noisy("more")).await.status.as_u16() == 201 {
        taken += 1;
        assert!(taken < 20, "no bound");
    }
    assert!(taken >= 1, "files take less than what is in them");
}

#[tokio::test]
async fn records_of_the_python_service_count_once_each() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let old = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy-tree");
    crate::support::files::copy_tree(&old.join("audiences"), &data.join("audiences"));
    let mut server = Server::over(&data, &[]).await;
    let there = count(&server, "demo_user").await;
    assert!(there > 1, "{there}");
    server.kill();
    let quota = format!("--quota-audiences={}", there + 1);
    for stopped in [false, true] {
        server = Server::over(&data, &[&quota, "--checkpoint-interval=1h"]).await;
        let id = server.save("audiences", &audience("demo_user", "one more")).await;
        let over = server.post("/api/audiences", &audience("demo_user", "one too many")).await;
        over.expect_error(403, "QUOTA_EXCEEDED");
        server.delete(&format!("/api/audiences/{id}?user_id=demo_user")).await.expect(200);
        assert_eq!(count(&server, "demo_user").await, there, "stopped: {stopped}");
        // What was old is in today's files afterwards.
        server.checkpoint().await;
        server.stop().await;
    }
}
