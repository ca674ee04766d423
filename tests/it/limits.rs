//! Limits on what a request holds and how often it comes: what is at the limit is taken, what is
//! one past it is refused, and each refusal is counted under its reason.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::access::{folder, token};
use crate::support::{Server, audience, distribution, eventually};

/// How often `reason` was counted.
async fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("refused_total{{reason=\"{reason}\"}}")).await
}

fn with(field: &str, value: Value) -> Value {
    let mut body = audience("u", "a");
    body[field] = value;
    body
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

/// A body with exactly `nodes` values, all of it included.
fn of_nodes(nodes: usize) -> Value {
    // The object, its four fields, one variable in a list, and the list of fillers.
    let fixed = 1 + 4 + 1 + 1;
    with("filler", json!(vec![1; nodes - fixed]))
}

#[tokio::test]
async fn what_a_body_holds_is_bounded() {
    let args = [
        "--max-json-depth=5",
        "--max-json-nodes=200",
        "--max-name=64",
        "--max-text=1KiB",
        "--max-list=10",
        "--max-extra=2KiB",
        "--max-body=8KiB",
    ];
    let server = Server::start_with(&args).await;
    let name = |len| "n".repeat(len);
    // `extra` is kept as `{"filler":"…"}`: 13 bytes around the text.
    let extra = |len: usize| with("filler", json!("x".repeat(len - 13)));
    let list = |len| with("selected_variables", json!(vec!["A"; len]));
    let segments = |len| with("segments", json!(vec![json!({"segment_id": "s"}); len]));
    for (at, past, reason, pointer) in [
        (with("insights", nested(5)), with("insights", nested(6)), "json_depth", "/insights"),
        (
            with("metadata", json!({"a": nested(4)})),
            with("metadata", json!({"a": nested(5)})),
            "json_depth",
            "/metadata",
        ),
        (of_nodes(200), of_nodes(201), "json_nodes", ""),
        (with("name", json!(name(64))), with("name", json!(name(65))), "name", "/name"),
        (
            with("description", json!(name(1024))),
            with("description", json!(name(1025))),
            "text",
            "/description",
        ),
        (
            with("original_query", json!(name(1024))),
            with("original_query", json!(name(1025))),
            "text",
            "/original_query",
        ),
        (list(10), list(11), "list", "/selected_variables"),
        (segments(10), segments(11), "list", "/segments"),
        (extra(2048), extra(2049), "extra", ""),
    ] {
        let before = refused(&server, reason).await;
        server.post("/api/audiences", &at).await.expect(201);
        assert_eq!(refused(&server, reason).await, before, "{reason}");
        let error = server.post("/api/audiences", &past).await.expect_error(400, "INVALID_FIELD");
        assert_eq!(error["details"]["pointer"], pointer, "{error}");
        assert_eq!(refused(&server, reason).await, before + 1, "{reason}");
    }
    let whole = with("description", json!("")).to_string();
    let padded = |len: usize| format!("{}{}", whole, " ".repeat(len - whole.len()));
    server.send(Method::POST, "/api/audiences", &[], Some(&padded(8192))).await.expect(201);
    let reply = server.send(Method::POST, "/api/audiences", &[], Some(&padded(8193))).await;
    reply.expect_error(413, "PAYLOAD_TOO_LARGE");
    assert_eq!(refused(&server, "body").await, 1);
}

#[tokio::test]
async fn many_small_updates_do_not_make_what_one_may_not_send() {
    let server = Server::start_with(&["--max-extra=1KiB"]).await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let path = format!("/api/audiences/{id}");
    let mut taken = 0;
    for n in 0..20 {
        let more = json!({"user_id": "u", (format!("f{n}")): "x".repeat(90)});
        let reply = server.put(&path, &more).await;
        if reply.status.as_u16() == 400 {
            reply.expect_error(400, "INVALID_FIELD");
            break;
        }
        reply.expect(200);
        taken += 1;
    }
    // Each takes 98 or 99 bytes with its name, quotes, colon and comma.
    assert_eq!(taken, 10);
    assert_eq!(refused(&server, "extra").await, 1);
    // What is there stays and may be replaced.
    server.put(&path, &json!({"user_id": "u", "f0": "y"})).await.expect(200);
    let found = server.get(&format!("{path}?user_id=u")).await.expect(200);
    assert_eq!(
        (&found["audience"]["f0"], found["audience"]["f9"].is_string()),
        (&json!("y"), true)
    );
}

#[tokio::test]
async fn merged_metadata_is_bounded_too() {
    let server = Server::start_with(&["--max-extra=1KiB"]).await;
    let id = server.save("distributions", &distribution("u", "a1")).await;
    let path = format!("/api/distributions/{id}/status");
    let with = |n: usize, len: usize| json!({"user_id": "u", "status": "processing", "metadata": {(format!("m{n}")): "x".repeat(len)}});
    server.put(&path, &with(1, 600)).await.expect(200);
    let error = server.put(&path, &with(2, 600)).await.expect_error(400, "INVALID_FIELD");
    assert_eq!(error["details"]["pointer"], "/metadata");
    server.put(&path, &with(1, 700)).await.expect(200);
}

#[tokio::test]
async fn a_user_may_ask_so_often_a_minute() {
    let server = Server::start_with(&["--rate-limit=3"]).await;
    let paths = ["/api/audiences?user_id=u", "/api/users/u/summary"];
    for (path, remaining) in paths.iter().chain(&["/api/audiences/x?user_id=u"]).zip([2, 1, 0]) {
        let reply = server.get(path).await;
        assert_eq!(reply.header("ratelimit-policy"), Some("\"user\";q=3;w=60"), "{path}");
        let left = reply.header("ratelimit").expect("ratelimit").to_owned();
        assert!(left.starts_with(&format!("\"user\";r={remaining};t=")), "{path}: {left}");
        assert_ne!(reply.status.as_u16(), 429, "{path}");
    }
    let reply = server.post("/api/audiences", &audience("u", "a")).await;
    let after: u32 = reply.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=20).contains(&after), "{after}");
    assert!(reply.header("ratelimit").expect("ratelimit").starts_with("\"user\";r=0;t="));
    reply.expect_error(429, "RATE_LIMITED");
    assert_eq!(refused(&server, "rate").await, 1);
    // Others, and what belongs to no user, go on.
    server.get("/api/audiences?user_id=v").await.expect(200);
    let live = server.get("/health/live").await;
    assert_eq!((live.status.as_u16(), live.header("ratelimit")), (200, None));
}

#[tokio::test]
async fn a_user_may_fill_the_audit_trail_so_fast_and_no_faster() {
    let (_folder, data) = folder();
    let scopes = ["platforms:read", "platforms:write", "credentials:read", "audiences:write"];
    let [u, v] = ["u", "v"]
        .map(|user| token(&data, user, &[&scopes[..], &["distributions:write"]].concat(), &[]));
    let admin = token(&data, "ops", &["admin", "metrics:read"], &[]);
    let server = Server::over(&data, &["--auth=tokens", "--audited-rate=1"]).await;
    let (u, v, admin) = (server.with(&u), server.with(&v), server.with(&admin));
    let body = json!({"platform_type": "meta", "name": "p", "credentials": {"key": "k"}});
    let of_u = u.post("/api/platforms", &body).await.expect(201)["platform_id"].clone();
    let path = format!("/api/platforms/{}/credentials", of_u.as_str().expect("id"));
    u.get(&path).await.expect(200);
    let reply = u.get(&path).await;
    let after: u32 = reply.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&after), "{after}");
    assert!(!reply.text.contains("\"key\""), "{}", reply.text);
    reply.expect_error(429, "RATE_LIMITED");
    u.delete("/api/users/u").await.expect_error(429, "RATE_LIMITED");
    let refused = admin.get("/metrics").await.text;
    assert!(refused.contains("audience_store_refused_total{reason=\"audited\"} 2\n"), "{refused}");
    // What is not audited goes on, and so do others.
    u.get("/api/platforms").await.expect(200);
    v.delete("/api/users/v").await.expect(200);
    let asked = json!({"user_id": "w", "scopes": ["metrics:read"]});
    admin.post("/api/admin/tokens", &asked).await.expect(201);
    admin.post("/api/admin/tokens", &asked).await.expect_error(429, "RATE_LIMITED");
    assert_eq!(admin.events("action=credentials_read").await.len(), 1, "each read has its line");
    assert_eq!(admin.events("action=token_created&user_id=w").await.len(), 1);
}

#[tokio::test]
async fn what_is_refused_counts_as_asked() {
    let (_folder, data) = folder();
    let token = token(&data, "u", &["audiences:read", "audiences:write"], &[]);
    let server = Server::over(&data, &["--auth=tokens", "--rate-limit=3"]).await;
    let user = server.with(&token);
    user.post("/api/audiences", &json!([1])).await.expect_error(400, "MALFORMED_JSON");
    user.post("/api/audiences", &audience("v", "a")).await.expect_error(403, "USER_MISMATCH");
    user.get("/api/admin/audit").await.expect_error(403, "SCOPE_MISSING");
    let reply = user.post("/api/audiences", &audience("u", "a")).await;
    reply.expect_error(429, "RATE_LIMITED");
}

#[tokio::test]
async fn bodies_that_never_end_take_so_much_memory_and_no_more() {
    const MIB: usize = 1 << 20;
    let server =
        Server::start_with(&["--max-bodies=8MiB", "--max-body=8MiB", "--body-timeout=1m"]).await;
    let part = [b"{".as_slice(), &vec![b' '; 7 * MIB]].concat();
    let head =
        format!("POST /api/audiences HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", 8 * MIB);
    let begin = async || {
        let mut endless = TcpStream::connect(server.address()).await.expect("connect");
        endless.write_all(head.as_bytes()).await.expect("write");
        // An error says that it was refused, which shows below.
        let _ = endless.write_all(&part).await;
        endless
    };
    let mut endless = begin().await;
    let mut large = audience("u", "a");
    large["filler"] = json!("x".repeat(2 * MIB));
    // It is in the server's memory once another body has no room beside it; where it was the other
    // way round, it begins anew.
    eventually("no room", async || {
        if endless.try_read(&mut [0]).is_ok() {
            endless = begin().await;
        }
        server.post("/api/audiences", &large).await.status.as_u16() == 503
    })
    .await;
    let reply = server.post("/api/audiences", &large).await;
    assert!(reply.header("retry-after").is_some());
    reply.expect_error(503, "OVERLOADED");
    assert!(refused(&server, "bodies").await >= 2);
    server.post("/api/audiences", &audience("u", "small")).await.expect(201);
    drop(endless);
    // Too large for what it holds, but there is room to see that.
    let room = async || server.post("/api/audiences", &large).await.status.as_u16() == 400;
    eventually("room again", room).await;
}

#[tokio::test]
async fn without_a_rate_limit_nothing_is_said_of_one() {
    let server = Server::start().await;
    for _ in 0..50 {
        let reply = server.get("/api/audiences?user_id=u").await;
        assert_eq!((reply.status.as_u16(), reply.header("ratelimit-policy")), (200, None));
    }
}

#[tokio::test]
async fn every_reason_is_shown_from_the_start() {
    let server = Server::start().await;
    let text = server.get("/metrics").await.text;
    let shown: Vec<&str> =
        text.lines().filter(|l| l.starts_with("audience_store_refused_total{")).collect();
    assert_eq!(shown.len(), 23, "{shown:?}");
    assert!(shown.iter().all(|line| line.ends_with("} 0")), "{shown:?}");
}

#[tokio::test]
async fn a_page_ends_where_it_would_be_too_large_and_the_next_goes_on() {
    let server = Server::start_with(&["--max-page=64KiB"]).await;
    let mut ids = Vec::new();
    for n in 0..14 {
        let mut body = audience("u", &format!("a{n}"));
        // Two months, so that pages end inside one and between them.
        body["created_at"] = json!(format!("2025-{:02}-{:02}", n / 7 + 1, n % 7 + 1));
        // The last of the first month fills a page alone, and more than that.
        body["filler"] = json!("x".repeat(if n == 6 { 70_000 } else { 20_000 }));
        ids.push(server.save("audiences", &body).await);
    }
    ids.reverse();
    for _ in 0..2 {
        let first = "/api/audiences?user_id=u&limit=100".to_owned();
        let (mut seen, mut counts, mut next) = (Vec::new(), Vec::new(), first.clone());
        loop {
            let reply = server.get(&next).await;
            assert!(reply.text.len() < 72_000, "{}", reply.text.len());
            let page = reply.expect(200);
            let records = page["audiences"].as_array().expect("records");
            counts.push(records.len());
            seen.extend(records.iter().map(|r| r["audience_id"].as_str().expect("id").to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            next = format!("{first}&cursor={cursor}");
        }
        assert_eq!(seen, ids, "each once, in order");
        assert_eq!(counts, [3, 3, 1, 1, 3, 3], "as many as fit");
        // From files, too.
        server.checkpoint().await;
    }
    let summary = server.get("/api/users/u/summary").await.expect(200);
    assert_eq!(summary["summary"]["audiences"]["total"], 14);
}
