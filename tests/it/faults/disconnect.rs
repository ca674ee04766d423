//! Clients that go away in the middle of a save: the record is there wholly or not at all, and what
//! the request took is given back.

use reqwest::Method;
use serde_json::{Value, json};

use super::PATIENT;
use super::preload::{Preload, loaded_in};
use crate::support::chance::{Chance, seed};
use crate::support::wire::say;
use crate::support::{Server, audience, eventually};

const SAVES: usize = 60;

fn head(bytes: usize, key: &str) -> String {
    format!(
        "POST /api/audiences HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
         Idempotency-Key: {key}\r\nContent-Length: {bytes}\r\n\r\n"
    )
}

fn body(n: usize) -> Value {
    let mut body = audience("u", &format!("number {n}"));
    body["audience_id"] = json!(format!("a{n}"));
    body["filler"] = json!(format!("{n:04} ").repeat(2000));
    body
}

/// The request that reads the metrics is one itself, on the one connection that is left.
async fn quiet(server: &Server) {
    eventually("nothing is under way", async || {
        server.metric("http_requests_in_flight").await == 1
            && server.metric("connections_open").await == 1
            && server.metric("log_pending_bytes").await == 0
            && server.metric("log_durability_lag_records").await == 0
            && server.metric("partition_mailbox_messages").await == 0
    })
    .await;
}

/// Whether the record is there, after checking that it is whole.
async fn is_there(server: &Server, n: usize) -> bool {
    let reply = server.get(&format!("/api/audiences/a{n}?user_id=u")).await;
    if reply.status == 404 {
        return false;
    }
    assert_eq!(reply.expect(200)["audience"]["filler"], body(n)["filler"], "number {n} is torn");
    true
}

/// A repeat with the key makes one record of it, whatever became of the first.
async fn repeat(server: &Server, n: usize) {
    let (key, body) = (format!("key-{n}"), body(n).to_string());
    let headers = [("Idempotency-Key", key.as_str())];
    let again = server.send(Method::POST, "/api/audiences", &headers, Some(&body)).await;
    let version = again.expect(201)["version"].clone();
    assert_eq!(version, 1);
    assert!(is_there(server, n).await);
}

#[tokio::test]
async fn a_client_that_goes_before_its_body_is_whole_changes_nothing() {
    let server = Server::start_with(&["--max-bodies=8MiB", "--max-body=8MiB", PATIENT]).await;
    let mut chance = Chance::new(seed());
    for n in 0..SAVES {
        let body = body(n).to_string();
        let sent = usize::try_from(chance.of(0..body.len() as u64)).expect("small");
        let mut stream = server.connect().await;
        say(&mut stream, head(body.len(), &format!("key-{n}")).as_bytes()).await;
        say(&mut stream, &body.as_bytes()[..sent]).await;
    }
    // Large ones, that together are more than there is room for at once.
    for _ in 0..8 {
        let mut stream = server.connect().await;
        say(&mut stream, head(6 << 20, "large").as_bytes()).await;
        say(&mut stream, &vec![b' '; 2 << 20]).await;
    }
    quiet(&server).await;
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 0);
    // A body that takes all the room is let in, and is then too large for what it holds.
    let mut large = body(0);
    large["filler"] = json!("x".repeat(7 << 20));
    server.post("/api/audiences", &large).await.expect_error(400, "INVALID_FIELD");
    for n in 0..SAVES {
        repeat(&server, n).await;
    }
    let listed = server.get("/api/audiences?user_id=u&limit=500").await.expect(200);
    assert_eq!(listed["count"], SAVES);
}

#[tokio::test]
async fn a_client_that_goes_before_its_answer_leaves_a_whole_record_or_none() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    preload.only("/data/log/");
    let server = Server::launched(&data, &[PATIENT], |command| preload.dress(command));
    let mut server = server.unwrap_or_else(|e| panic!("{e}"));
    server.ready().await;
    assert!(loaded_in(server.pid()));
    // None can be answered before its client is gone.
    preload.hold(true);
    let mut clients = Vec::new();
    for n in 0..SAVES {
        let body = body(n).to_string();
        let mut stream = server.connect().await;
        say(&mut stream, head(body.len(), &format!("key-{n}")).as_bytes()).await;
        say(&mut stream, body.as_bytes()).await;
        clients.push(stream);
    }
    eventually("all are under way", async || {
        server.metric("http_requests_in_flight").await == SAVES as u64 + 1
    })
    .await;
    drop(clients);
    preload.hold(false);
    quiet(&server).await;
    let mut there = 0;
    for n in 0..SAVES {
        there += usize::from(is_there(&server, n).await);
    }
    println!("{there} of {SAVES} saves were carried out after their client had gone");
    let listed = server.get("/api/audiences?user_id=u&limit=500").await.expect(200);
    assert_eq!(listed["count"], there);
    for n in 0..SAVES {
        repeat(&server, n).await;
    }
    server.kill();
    let server = Server::over(&data, &[PATIENT]).await;
    for n in 0..SAVES {
        assert!(is_there(&server, n).await);
    }
    let listed = server.get("/api/audiences?user_id=u&limit=500").await.expect(200);
    assert_eq!(listed["count"], SAVES);
}
