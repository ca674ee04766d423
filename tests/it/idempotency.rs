//! `Idempotency-Key`: a repeat gets the first answer again and changes nothing.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Reply, Server, audience, singular, smallest};

const REPLAYED: &str = "idempotent-replayed";

async fn keyed(server: &Server, method: Method, path: &str, key: &str, body: &Value) -> Reply {
    server.send(method, path, &[("Idempotency-Key", key)], Some(&body.to_string())).await
}

async fn post(server: &Server, key: &str, body: &Value) -> Reply {
    keyed(server, Method::POST, "/api/audiences", key, body).await
}

async fn count(server: &Server, user: &str) -> u64 {
    let listed = server.get(&format!("/api/audiences?user_id={user}&limit=1000")).await.expect(200);
    listed["count"].as_u64().expect("count")
}

/// Checks that `again` is `first` once more.
fn assert_replay(first: &Reply, again: &Reply) {
    assert_eq!(again.header(REPLAYED), Some("true"), "{}", again.text);
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("etag"), first.header("etag"));
    assert_eq!(again.header("content-type"), first.header("content-type"));
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_changes_nothing() {
    let server = Server::start().await;
    for table in ["audiences", "platforms", "distributions"] {
        let all = format!("/api/{table}");
        let first = keyed(&server, Method::POST, &all, "create", &smallest(table, table)).await;
        assert_eq!((first.status.as_u16(), first.header(REPLAYED)), (201, None), "{}", first.text);
        let again = keyed(&server, Method::POST, &all, "create", &smallest(table, table)).await;
        assert_replay(&first, &again);
        let id = first.json()[format!("{}_id", singular(table))].as_str().expect("id").to_owned();

        let path = format!("{all}/{id}");
        let change = json!({"user_id": table, "note": 1});
        let first = keyed(&server, Method::PUT, &path, "change", &change).await;
        assert_eq!(first.header("etag"), Some("\"2\""));
        let status = if table == "audiences" { "draft" } else { "pending" };
        let status = json!({"user_id": table, "status": status});
        let status_path = format!("{path}/status");
        let set = keyed(&server, Method::PUT, &status_path, "status", &status).await;
        assert_eq!(set.status.as_u16(), 200, "{}", set.text);
        for _ in 0..2 {
            // The first answer, though the record has moved on since.
            assert_replay(&first, &keyed(&server, Method::PUT, &path, "change", &change).await);
            assert_replay(
                &set,
                &keyed(&server, Method::PUT, &status_path, "status", &status).await,
            );
            server.checkpoint().await;
        }
        let found = server.get(&format!("{path}?user_id={table}")).await.expect(200);
        assert_eq!(found[singular(table)]["version"], 3);
        // Without the key, and with another, it is a request of its own.
        keyed(&server, Method::POST, &all, "other", &smallest(table, table)).await.expect(201);
        server.post(&all, &smallest(table, table)).await.expect(201);
        let listed = server.get(&format!("{all}?user_id={table}")).await.expect(200);
        assert_eq!(listed["count"], 3);
    }
}

#[tokio::test]
async fn a_key_belongs_to_one_request() {
    let server = Server::start().await;
    let first = post(&server, "k", &audience("u", "a")).await;
    let id = first.json()["audience_id"].as_str().expect("id").to_owned();
    let body = audience("u", "a");
    let one = format!("/api/audiences/{id}");
    for reply in [
        post(&server, "k", &audience("u", "b")).await,
        keyed(&server, Method::PUT, &one, "k", &body).await,
        keyed(
            &server,
            Method::PUT,
            &format!("{one}/status"),
            "k",
            &json!({"user_id": "u", "status": "draft"}),
        )
        .await,
        keyed(&server, Method::POST, "/api/platforms", "k", &smallest("platforms", "u")).await,
    ] {
        reply.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
    }
    assert_replay(&first, &post(&server, "k", &body).await);
    assert_eq!(count(&server, "u").await, 1);
    assert_eq!(server.get("/api/platforms?user_id=u").await.expect(200)["count"], 0);
    // Another user's key is another key.
    let theirs = post(&server, "k", &audience("v", "a")).await;
    assert_eq!((theirs.status.as_u16(), theirs.header(REPLAYED)), (201, None));
}

#[tokio::test]
async fn concurrent_repeats_make_one_record() {
    let server = Server::start().await;
    for round in 0..4 {
        let key = format!("key {round}");
        let body = audience("u", &key);
        let replies = join_all((0..32).map(|_| post(&server, &key, &body))).await;
        let fresh: Vec<&Reply> = replies.iter().filter(|r| r.header(REPLAYED).is_none()).collect();
        assert_eq!(fresh.len(), 1, "round {round}");
        for reply in replies.iter().filter(|r| r.header(REPLAYED).is_some()) {
            assert_replay(fresh[0], reply);
        }
        assert_eq!(fresh[0].status.as_u16(), 201);
        assert_eq!(count(&server, "u").await, round + 1);
    }
    // Different bodies under one key: one is done, the others are refused.
    let bodies: Vec<Value> = (0..32).map(|n| audience("w", &format!("{n}"))).collect();
    let replies = join_all(bodies.iter().map(|body| post(&server, "one", body))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|r| r.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|s| *s == 422), "{statuses:?}");
    assert_eq!(count(&server, "w").await, 1);
}

#[tokio::test]
async fn a_repeat_is_known_after_a_stop_a_kill_and_a_checkpoint() {
    let mut server = Server::start().await;
    let body = audience("u", "a");
    let first = post(&server, "stop", &body).await;
    let id = first.json()["audience_id"].as_str().expect("id").to_owned();
    let path = format!("/api/audiences/{id}");
    let change = json!({"user_id": "u", "note": 1});
    let changed = keyed(&server, Method::PUT, &path, "change", &change).await;
    let data = server.data.clone();
    server.stop().await;
    let mut server = Server::over(&data, &[]).await;
    assert_replay(&first, &post(&server, "stop", &body).await);
    assert_replay(&changed, &keyed(&server, Method::PUT, &path, "change", &change).await);
    post(&server, "stop", &audience("u", "b")).await.expect_error(422, "IDEMPOTENCY_KEY_REUSED");

    let second = post(&server, "kill", &body).await;
    assert_eq!(second.status.as_u16(), 201);
    let missing = keyed(&server, Method::PUT, "/api/audiences/none", "missing", &change).await;
    assert_eq!(missing.status.as_u16(), 404);
    server.kill();
    let mut server = Server::over(&data, &[]).await;
    for _ in 0..2 {
        assert_replay(&second, &post(&server, "kill", &body).await);
        assert_replay(&first, &post(&server, "stop", &body).await);
        let again = keyed(&server, Method::PUT, "/api/audiences/none", "missing", &change).await;
        assert_replay(&missing, &again);
        server.checkpoint().await;
    }
    server.kill();
    let server = Server::over(&data, &[]).await;
    assert_replay(&second, &post(&server, "kill", &body).await);
    assert_eq!(count(&server, "u").await, 2);
}

#[tokio::test]
async fn a_repeat_is_known_after_a_kill_before_the_first_checkpoint() {
    let mut server = Server::start_with(&["--checkpoint-interval", "1h"]).await;
    let body = audience("u", "a");
    let first = post(&server, "k", &body).await;
    assert_eq!(first.status.as_u16(), 201);
    server.kill();
    let again = Server::over(&server.data, &["--checkpoint-interval", "1h"]).await;
    for _ in 0..2 {
        again.checkpoint().await;
        assert_replay(&first, &post(&again, "k", &body).await);
    }
    assert_eq!(count(&again, "u").await, 1);
}

#[tokio::test]
async fn an_answer_about_the_record_is_remembered_one_about_the_request_is_not() {
    let server = Server::start().await;
    let change = json!({"user_id": "u", "note": 1});
    let path = "/api/audiences/late";
    let missing = keyed(&server, Method::PUT, path, "missing", &change).await;
    assert_eq!(missing.status.as_u16(), 404);
    let mut body = audience("u", "a");
    body["audience_id"] = json!("late");
    server.save("audiences", &body).await;
    assert_replay(&missing, &keyed(&server, Method::PUT, path, "missing", &change).await);

    let stale = async || {
        let headers = [("Idempotency-Key", "stale"), ("If-Match", "\"2\"")];
        server.send(Method::PUT, path, &headers, Some(&change.to_string())).await
    };
    let first = stale().await;
    assert_eq!(first.status.as_u16(), 412);
    keyed(&server, Method::PUT, path, "now", &change).await.expect(200);
    assert_replay(&first, &stale().await);
    let found = server.get(&format!("{path}?user_id=u")).await.expect(200);
    assert_eq!(found["audience"]["version"], 2, "the stale change never came");

    // A body that was refused may be put right under the same key.
    let mut broken = audience("u", "a");
    broken["status"] = json!("gone");
    post(&server, "right", &broken).await.expect_error(400, "INVALID_FIELD");
    post(&server, "right", &audience("u", "a")).await.expect(201);
}

#[tokio::test]
async fn a_key_is_visible_ascii_once() {
    let server = Server::start().await;
    let long = "k".repeat(256);
    for bad in ["", long.as_str(), "a\tb"] {
        let error = post(&server, bad, &audience("u", "a")).await;
        let error = error.expect_error(400, "INVALID_PARAMETER");
        assert_eq!(error["details"]["in"], "header", "{bad:?}");
    }
    let body = audience("u", "a").to_string();
    let request = |header: &str| {
        format!(
            "POST /api/audiences HTTP/1.1\r\nHost: t\r\nConnection: close\r\n{header}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for header in ["Idempotency-Key: a\r\nIdempotency-Key: b\r\n", "Idempotency-Key: grüße\r\n"] {
        let answer = server.raw(request(header).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("INVALID_PARAMETER"), "{answer}");
    }
    assert_eq!(count(&server, "u").await, 0);
    let longest = "k".repeat(255);
    for good in
        ["x", longest.as_str(), "8e03978e-40d5-43dd-bc93-6894a57f9324", "with space/and:more"]
    {
        let first = post(&server, good, &audience("u", "a")).await;
        assert_eq!(first.status.as_u16(), 201, "{good}");
        assert_replay(&first, &post(&server, good, &audience("u", "a")).await);
    }
}

#[tokio::test]
async fn a_key_is_forgotten_with_its_user() {
    let server = Server::start().await;
    let body = audience("u", "a");
    post(&server, "k", &body).await.expect(201);
    server.checkpoint().await;
    server.delete("/api/users/u").await.expect(200);
    let again = post(&server, "k", &body).await;
    assert_eq!((again.status.as_u16(), again.header(REPLAYED)), (201, None));
    assert_eq!(count(&server, "u").await, 1);
}
