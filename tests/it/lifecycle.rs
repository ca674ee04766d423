//! Start, lock, signals, recovery, what stays in memory.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::rows::stored_once;
use crate::support::{PATIENCE, Server, audience, eventually, pages, program, record_of, run};

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "1h"];

async fn save_many(server: &Server, users: usize, each: usize) -> Vec<(String, String)> {
    let mut saved = Vec::new();
    for n in 0..users * each {
        let user = format!("u{}", n % users);
        let id = server.save("audiences", &audience(&user, &format!("audience {n}"))).await;
        saved.push((user, id));
    }
    saved.sort();
    saved
}

fn in_files(server: &Server) -> Vec<(String, String)> {
    stored_once(&server.data).into_iter().map(|row| (row.user, row.id)).collect()
}

async fn in_lists(server: &Server, users: usize) -> Vec<(String, String)> {
    let mut listed = Vec::new();
    for user in (0..users).map(|n| format!("u{n}")) {
        for record in pages(server, "audiences", &user).await {
            listed.push((user.clone(), record["audience_id"].as_str().expect("id").to_owned()));
        }
    }
    listed.sort();
    listed
}

#[tokio::test]
async fn what_was_saved_is_there_after_a_clean_stop_and_after_a_kill() {
    let mut server = Server::start().await;
    let id = server.save("audiences", &audience("u", "kept")).await;
    let path = format!("/api/audiences/{id}?user_id=u");
    let before = server.get(&path).await.expect(200);
    let data = server.data.clone();
    server.stop().await;
    let mut again = Server::over(&data, &[]).await;
    assert_eq!(again.get(&path).await.expect(200), before);
    let second = again.save("audiences", &audience("u", "killed")).await;
    again.kill();
    let third = Server::over(&data, &[]).await;
    assert_eq!(third.get(&path).await.expect(200), before);
    let found = third.get(&format!("/api/audiences/{second}?user_id=u")).await.expect(200);
    assert_eq!(found["audience"]["name"], "killed");
    assert_eq!(third.get("/api/audiences?user_id=u").await.expect(200)["count"], 2);
}

#[tokio::test]
async fn a_store_in_use_is_refused_to_every_other_command() {
    let server = Server::start().await;
    let data = server.data.to_str().expect("path");
    for command in [
        &["serve", "--listen", "127.0.0.1:0", "--data", data][..],
        &["seed", "--users", "1", "--data", data],
        &["log", "truncate", "--at", "1", "--yes", "--data", data],
    ] {
        let (code, out, error) = run(program(command));
        assert_eq!(code, 1, "{command:?}: {error}");
        assert!(error.contains("another audience-store is running on"), "{command:?}: {error}");
        assert!(error.contains(data) && !out.contains("listening"), "{command:?}: {error}{out}");
    }
    server.save("audiences", &audience("u", "undisturbed")).await;
}

/// A save whose last byte has not been sent.
struct Unfinished {
    stream: TcpStream,
    rest: String,
}

impl Unfinished {
    fn begin(server: &Server) -> Self {
        let body = audience("u0", "in flight").to_string();
        let (first, rest) = body.split_at(body.len() - 1);
        let mut stream = TcpStream::connect(server.address()).expect("connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let head = format!(
            "POST /api/audiences HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        // The server has begun with the request when it asks for the rest.
        let mut go_on = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut go_on).expect("100");
        assert!(go_on.starts_with(b"HTTP/1.1 100"), "{go_on:?}");
        stream.write_all(first.as_bytes()).expect("sent");
        Self { stream, rest: rest.to_owned() }
    }

    fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).expect("sent");
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).expect("answer");
        answer
    }
}

async fn refuses_connections(server: &Server) {
    let address = server.address();
    eventually("no new connections", async || TcpStream::connect(address).is_err()).await;
}

#[tokio::test]
async fn a_signal_lets_requests_finish_and_writes_everything_to_parquet() {
    let mut server = Server::start_with(&NO_CHECKPOINTS).await;
    let mut saved = save_many(&server, 5, 4).await;
    assert_eq!(in_files(&server), []);
    let unfinished = Unfinished::begin(&server);
    server.signal("TERM");
    refuses_connections(&server).await;
    let answer = tokio::task::spawn_blocking(|| unfinished.finish()).await.expect("join");
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let body: Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("body")).expect("JSON");
    saved.push(("u0".to_owned(), body["audience_id"].as_str().expect("id").to_owned()));
    saved.sort();
    assert_eq!(server.ended().await.code(), Some(0));
    assert_eq!(in_files(&server), saved);
    let again = Server::over(&server.data, &NO_CHECKPOINTS).await;
    // The files have it all, so looking at them leaves nothing of the log to replay.
    let replayed = async || again.metric("log_unpublished_records").await == 0;
    eventually("nothing is unpublished", replayed).await;
    assert_eq!(in_lists(&again, 5).await, saved);
}

#[tokio::test]
async fn a_second_signal_ends_the_server_at_once_and_loses_nothing() {
    let mut server = Server::start_with(&NO_CHECKPOINTS).await;
    let saved = save_many(&server, 3, 5).await;
    let unfinished = Unfinished::begin(&server);
    server.signal("TERM");
    refuses_connections(&server).await;
    server.signal("TERM");
    assert_eq!(server.ended().await.code(), Some(0));
    drop(unfinished);
    let again = Server::over(&server.data, &NO_CHECKPOINTS).await;
    assert_eq!(in_lists(&again, 3).await, saved);
}

#[tokio::test]
async fn the_way_of_syncing_is_named_and_a_kill_loses_nothing_in_any() {
    for (flag, shown) in [("always", "always"), ("interval=50ms", "interval=50ms"), ("off", "off")]
    {
        let mut server = Server::start_with(&["--sync", flag]).await;
        assert_eq!(server.get("/api/health").await.expect(200)["sync"], shown);
        let metrics = server.get("/metrics").await.text;
        let line = format!("audience_store_sync_mode{{mode=\"{shown}\"}} 1");
        assert!(metrics.contains(&line), "{metrics}");
        let saved = save_many(&server, 2, 5).await;
        server.kill();
        let again = Server::over(&server.data, &[]).await;
        assert_eq!(in_lists(&again, 2).await, saved, "{flag}");
    }
}

#[tokio::test]
async fn the_log_alone_brings_everything_back_before_anything_is_answered() {
    let mut server = Server::start_with(&NO_CHECKPOINTS).await;
    let mut big = audience("u", "first");
    big["filler"] = "x".repeat(500_000).into();
    let id = server.save("audiences", &big).await;
    for n in 0..20 {
        big["name"] = format!("later {n}").into();
        server.put(&format!("/api/audiences/{id}"), &big).await.expect(200);
    }
    server.kill();
    assert_eq!(in_files(&server), []);
    let again = Server::listening(&server.data, &NO_CHECKPOINTS).expect("listens");
    let path = format!("/api/audiences/{id}?user_id=u");
    let record = loop {
        let reply = again.get(&path).await;
        if reply.status == 200 {
            break record_of("audiences", &reply.json());
        }
        assert_eq!(reply.header("retry-after"), Some("1"));
        reply.expect_error(503, "STARTING");
        assert!(again.get("/health/live").await.status.is_success());
    };
    assert_eq!((&record["name"], &record["version"]), (&json!("later 19"), &json!(21)));
    assert_eq!(again.metric("log_unpublished_records").await, 21);
    again.checkpoint().await;
    assert_eq!(again.metric("log_unpublished_records").await, 0);
    assert_eq!(in_files(&again), [("u".to_owned(), id)]);
}

#[tokio::test]
async fn an_idle_partition_stops_and_comes_back_with_the_same_records() {
    let args = ["--idle-timeout", "1s", "--checkpoint-interval", "1h", "--cache-bytes", "0"];
    let server = Server::start_with(&args).await;
    let saved = save_many(&server, 4, 3).await;
    let path = format!("/api/audiences/{}?user_id={}", saved[0].1, saved[0].0);
    let before = server.get(&path).await.expect(200);
    assert!(server.metric("partitions_resident").await >= 4);
    eventually("partitions stop", async || server.metric("partitions_resident").await == 0).await;
    assert_eq!(in_files(&server), saved, "what stops is saved first");
    assert_eq!(server.get(&path).await.expect(200), before);
    assert_eq!(in_lists(&server, 4).await, saved);
}

#[tokio::test]
async fn many_users_on_little_memory_lose_nothing() {
    let args = [
        "--resident-bytes",
        "1MiB",
        "--checkpoint-bytes",
        "64KiB",
        "--cache-bytes",
        "64KiB",
        "--checkpoint-interval",
        "100ms",
    ];
    let server = Server::start_with(&args).await;
    let users = 300;
    let write = |n: usize| {
        let (server, user) = (&server, format!("u{n}"));
        async move {
            let mut body = audience(&user, "first");
            body["filler"] = "y".repeat(4000).into();
            let id = server.save("audiences", &body).await;
            let update = json!({ "user_id": user, "name": "second" });
            server.put(&format!("/api/audiences/{id}"), &update).await.expect(200);
            (user, id)
        }
    };
    let mut saved = Vec::new();
    for start in (0..users).step_by(50) {
        let together = (start..start + 50).map(write);
        saved.extend(futures_util::future::join_all(together).await);
    }
    saved.sort();
    eventually("memory is given back", async || {
        // Each takes some 4 KiB however small it is.
        server.metric("partitions_resident").await <= 256
    })
    .await;
    assert_eq!(in_lists(&server, users).await, saved);
    for (user, id) in &saved {
        let reply = server.get(&format!("/api/audiences/{id}?user_id={user}")).await;
        let record = record_of("audiences", &reply.expect(200));
        assert_eq!((&record["name"], &record["version"]), (&json!("second"), &json!(2)));
        assert_eq!(record["filler"].as_str().expect("filler").len(), 4000);
    }
}

#[tokio::test]
async fn a_deleted_record_leaves_reads_at_once_and_parquet_at_the_next_checkpoint() {
    let server = Server::start_with(&NO_CHECKPOINTS).await;
    let saved = save_many(&server, 1, 3).await;
    server.checkpoint().await;
    assert_eq!(in_files(&server), saved);
    for (index, (user, id)) in saved.iter().enumerate() {
        let path = format!("/api/audiences/{id}?user_id={user}");
        server.delete(&path).await.expect(200);
        server.get(&path).await.expect_error(404, "NOT_FOUND");
        server.delete(&path).await.expect_error(404, "NOT_FOUND");
        assert_eq!(in_lists(&server, 1).await, saved[index + 1..]);
        server.checkpoint().await;
        assert_eq!(in_files(&server), saved[index + 1..]);
    }
}
