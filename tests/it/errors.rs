//! Every error code that can be brought about from outside: its status, its body, its headers,
//! and that no body tells a path, a stack or a secret.

use std::collections::BTreeSet;
use std::fs;

use audience_store::http::error::CODES;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Reply, Server, audience, smallest};

/// Codes that take a failing disk, a defect or a race to see: `crash` and units have them.
const ELSEWHERE: &[&str] = &[
    "INTERNAL",
    "STARTING",
    "LOG_FAILED",
    "PARTITION_RESTARTING",
    "DRAINING",
    "TIMEOUT",
    "ERASURE_IN_PROGRESS",
];

struct Case {
    method: Method,
    path: &'static str,
    headers: &'static [(&'static str, &'static str)],
    body: Option<String>,
    code: &'static str,
    /// `details.pointer`, where the error has one.
    pointer: Option<&'static str>,
}

fn case(method: Method, path: &'static str, body: Option<&str>, code: &'static str) -> Case {
    Case { method, path, headers: &[], body: body.map(str::to_owned), code, pointer: None }
}

impl Case {
    fn at(mut self, pointer: &'static str) -> Self {
        self.pointer = Some(pointer);
        self
    }

    fn with(mut self, headers: &'static [(&'static str, &'static str)]) -> Self {
        self.headers = headers;
        self
    }
}

fn post(body: &str, code: &'static str) -> Case {
    case(Method::POST, "/api/audiences", Some(body), code)
}

fn get(path: &'static str, code: &'static str) -> Case {
    case(Method::GET, path, None, code)
}

/// An audience with one field set.
fn with(name: &str, value: Value) -> String {
    let mut body = audience("u", "a");
    body[name] = value;
    body.to_string()
}

fn cases() -> Vec<Case> {
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let deep: Value = serde_json::from_str(&deep).expect("JSON");
    let large = with("description", json!("x".repeat(2000)));
    let audience = audience("u", "a").to_string();
    vec![
        post("", "MALFORMED_JSON"),
        post("{", "MALFORMED_JSON"),
        post("[]", "MALFORMED_JSON"),
        post("null", "MALFORMED_JSON"),
        post("\"x\"", "MALFORMED_JSON"),
        post("{\"a\":1,}", "MALFORMED_JSON"),
        post("{\"a\":NaN}", "MALFORMED_JSON"),
        post(&format!("{audience} {{}}"), "MALFORMED_JSON"),
        post(&"[".repeat(900), "MALFORMED_JSON"),
        case(Method::PUT, "/api/audiences/x", Some("[1]"), "MALFORMED_JSON"),
        post("{}", "MISSING_FIELD").at("/user_id"),
        post(&with("name", Value::Null), "MISSING_FIELD").at("/name"),
        get("/api/audiences", "MISSING_FIELD").at("/user_id"),
        case(Method::PUT, "/api/audiences/x/status", Some("{\"user_id\":\"u\"}"), "MISSING_FIELD")
            .at("/status"),
        post(&with("user_id", json!(7)), "INVALID_FIELD").at("/user_id"),
        post(&with("name", json!(["x"])), "INVALID_FIELD").at("/name"),
        post(&with("data_type", json!("zeroth_party")), "INVALID_FIELD").at("/data_type"),
        post(&with("selected_variables", json!("AGE")), "INVALID_FIELD").at("/selected_variables"),
        post(&with("selected_variables", json!(["A", 1])), "INVALID_FIELD")
            .at("/selected_variables/1"),
        post(&with("segments", json!({})), "INVALID_FIELD").at("/segments"),
        post(&with("metadata", json!([])), "INVALID_FIELD").at("/metadata"),
        post(&with("metadata", json!("x")), "INVALID_FIELD").at("/metadata"),
        post(&with("total_audience_size", json!(-1)), "INVALID_FIELD").at("/total_audience_size"),
        post(&with("total_audience_size", json!(1.5)), "INVALID_FIELD").at("/total_audience_size"),
        post(&with("total_audience_size", json!("5")), "INVALID_FIELD").at("/total_audience_size"),
        post(&with("created_at", json!("yesterday")), "INVALID_FIELD").at("/created_at"),
        post(&with("audience_id", json!("a/b")), "INVALID_FIELD").at("/audience_id"),
        post(&with("audience_id", json!("x".repeat(65))), "INVALID_FIELD").at("/audience_id"),
        post(&with("a/b~c", json!("a\u{0}b")), "INVALID_FIELD").at("/a~1b~0c"),
        post(&with("insights", deep), "INVALID_FIELD").at("/insights"),
        post(&audience.replacen('{', "{\"name\":\"twice\",", 1), "INVALID_FIELD").at("/name"),
        get("/api/audiences?user_id=u&limit=0", "INVALID_PARAMETER").at("/limit"),
        get("/api/audiences?user_id=u&limit=1001", "INVALID_PARAMETER").at("/limit"),
        get("/api/audiences?user_id=u&limit=ten", "INVALID_PARAMETER").at("/limit"),
        get("/api/audiences?user_id=u&limit=1&limit=1", "INVALID_PARAMETER").at("/limit"),
        get("/api/audiences?user_id=u&status=gone", "INVALID_PARAMETER").at("/status"),
        get("/api/audiences?user_id=u&created_after=x", "INVALID_PARAMETER").at("/created_after"),
        get("/api/audiences?user_id=u&created_before=1", "INVALID_PARAMETER").at("/created_before"),
        get("/api/audiences?user_id=u&fields=,", "INVALID_PARAMETER").at("/fields"),
        get("/api/audiences?user_id=%ff", "INVALID_PARAMETER"),
        get("/api/audiences?user_id=u&cursor=x", "INVALID_CURSOR").at("/cursor"),
        case(Method::POST, "/api/audiences?user_id=v", Some(&audience), "USER_MISMATCH")
            .at("/user_id"),
        get("/api/audiences/none?user_id=u", "NOT_FOUND"),
        get("/api/platforms/none?user_id=u", "NOT_FOUND"),
        get("/api/distributions/no%20id?user_id=u", "NOT_FOUND"),
        get("/api/audiences/%ff?user_id=u", "NOT_FOUND"),
        get("/api/users/u", "METHOD_NOT_ALLOWED"),
        get("/api/nothing", "ROUTE_NOT_FOUND"),
        case(Method::PUT, "/api/audiences/there", Some("{\"user_id\":\"u\"}"), "VERSION_MISMATCH")
            .with(&[("If-Match", "\"7\"")]),
        post(&large, "PAYLOAD_TOO_LARGE"),
        post(&audience, "UNSUPPORTED_MEDIA_TYPE").with(&[("Content-Type", "text/plain")]),
        post(&audience, "UNSUPPORTED_MEDIA_TYPE")
            .with(&[("Content-Type", "application/x-www-form-urlencoded")]),
        post(&audience, "UNSUPPORTED_MEDIA_TYPE").with(&[("Content-Encoding", "gzip")]),
        case(
            Method::POST,
            "/api/platforms",
            Some(
                r#"{"user_id":"u","platform_type":"meta","name":"p","credentials":["sk-live-9"]}"#,
            ),
            "INVALID_FIELD",
        )
        .at("/credentials"),
        post(&audience, "IDEMPOTENCY_KEY_REUSED").with(&[("Idempotency-Key", "used")]),
        post(&audience, "INVALID_PARAMETER")
            .with(&[("Idempotency-Key", "")])
            .at("/Idempotency-Key"),
    ]
}

/// Checks what every error has in common; answers its code.
fn check(server: &Server, reply: &Reply, case: &str) -> String {
    let body = reply.json();
    let names: Vec<&String> = body.as_object().expect("object").keys().collect();
    assert_eq!(names, ["code", "details", "error", "success"], "{case}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{case}");
    let code = body["code"].as_str().expect("code").to_owned();
    let known = CODES.iter().find(|(known, _, _)| *known == code).expect(&code);
    assert_eq!(reply.status.as_u16(), known.1, "{case}");
    assert_eq!(body["success"], false, "{case}");
    assert!(body["error"].as_str().is_some_and(|e| e.len() > 3), "{case}");
    let retry = reply.header("retry-after").map(|r| r.parse::<u32>().expect("seconds"));
    assert_eq!(retry.is_some(), matches!(known.1, 429 | 503), "{case}: {retry:?}");
    assert_ne!(retry, Some(0), "{case}");
    let data = server.data.to_str().expect("UTF-8");
    for hidden in
        [data, "user_id=", ".parquet", ".rs", "src/", "panicked", "sk-live", "os error", "::"]
    {
        assert!(!reply.text.contains(hidden), "{case}: {hidden} in {}", reply.text);
    }
    code
}

#[tokio::test]
async fn every_wrong_request_gets_its_code_and_changes_nothing() {
    let server = Server::start_with(&["--max-body", "1KiB"]).await;
    let mut there = audience("u", "there");
    there["audience_id"] = json!("there");
    let there = there.to_string();
    let headers = [("Idempotency-Key", "used")];
    server.send(Method::POST, "/api/audiences", &headers, Some(&there)).await.expect(201);
    let mut seen = BTreeSet::new();
    for case in cases() {
        let name = format!("{} {} {:?} {:?}", case.method, case.path, case.headers, case.body);
        let body = case.body.as_deref();
        let reply = server.send(case.method.clone(), case.path, case.headers, body).await;
        let code = check(&server, &reply, &name);
        assert_eq!(code, case.code, "{name}: {}", reply.text);
        if let Some(pointer) = case.pointer {
            assert_eq!(reply.json()["details"]["pointer"], pointer, "{name}");
        }
        seen.insert(code);
    }
    for table in ["audiences", "platforms"] {
        let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(listed["count"], usize::from(table == "audiences"), "{table}");
    }
    // The others have a test of their own below, in `limits`, `quotas`, `transport`, `slow` or
    // `credentials`, or are named as seen elsewhere.
    let own = ["OVERLOADED", "STORAGE_FULL", "STORAGE_FAILED", "PARTITION_CORRUPT"];
    let limits = ["RATE_LIMITED", "QUOTA_EXCEEDED", "CROSS_SITE", "CREDENTIALS_UNAVAILABLE"];
    // `keys` has this one.
    let keys = ["IDEMPOTENCY_KEY_UNVERIFIABLE"];
    let slow = ["REQUEST_TIMEOUT", "MALFORMED_REQUEST", "HEADERS_TOO_LARGE"];
    // `auth`, `tokens` and `jwt` have these.
    let access = [
        "UNAUTHENTICATED",
        "TOKEN_MALFORMED",
        "TOKEN_UNKNOWN",
        "TOKEN_EXPIRED",
        "TOKEN_REFUSED",
        "SCOPE_MISSING",
        "TOKEN_LIMIT",
        "KEYS_UNAVAILABLE",
    ];
    for (code, _, _) in CODES {
        let beside = limits.contains(code)
            || slow.contains(code)
            || access.contains(code)
            || keys.contains(code);
        let covered =
            seen.contains(*code) || own.contains(code) || ELSEWHERE.contains(code) || beside;
        assert!(covered, "{code} has no test");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_too() {
    let server = Server::start_with(&["--max-body", "1KiB"]).await;
    let chunk = format!("{:x}\r\n{}\r\n", 4096, "x".repeat(4096));
    let request = format!(
        "POST /api/audiences HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
    );
    let answer = server.raw(request.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("PAYLOAD_TOO_LARGE"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_answered_in_time() {
    let server = Server::start_with(&["--body-timeout", "200ms"]).await;
    let answer = server.bodiless().await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"REQUEST_TIMEOUT\""),
        "{answer}"
    );
}

#[tokio::test]
async fn a_full_log_refuses_writes_and_goes_on_reading() {
    let args =
        ["--log-max-bytes", "2MiB", "--log-segment-bytes", "1MiB", "--checkpoint-interval", "1h"];
    let server = Server::start_with(&args).await;
    let mut body = audience("u", "a");
    body["description"] = json!("x".repeat(200_000));
    let first = server.save("audiences", &body).await;
    let mut refused = None;
    for _ in 0..40 {
        let reply = server.post("/api/audiences", &body).await;
        if reply.status.as_u16() != 201 {
            refused = Some(reply);
            break;
        }
    }
    let refused = refused.expect("the log has a bound");
    assert_eq!(check(&server, &refused, "full"), "STORAGE_FULL");
    // Checkpoints are making room already, so a further write may be taken or refused; what it
    // answers is what happened.
    let path = format!("/api/audiences/{first}?user_id=u");
    let reply = server.put(&format!("/api/audiences/{first}"), &body).await;
    let version = if reply.status.is_success() { 2 } else { 1 };
    if version == 1 {
        assert_eq!(check(&server, &reply, "update"), "STORAGE_FULL");
    }
    assert_eq!(server.get(&path).await.expect(200)["audience"]["version"], version);
    server.get("/health/live").await.expect(200);
    // Parquet takes over what the log held, and there is room again.
    server.checkpoint().await;
    server.ready().await;
    server.post("/api/audiences", &body).await.expect(201);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "lays out what the server finds")]
async fn a_file_that_cannot_be_read_is_named_and_kept_and_only_its_records_are_out_of_reach() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let month = data.join("audiences/user_id=u/year=2024/month=01");
    fs::create_dir_all(&month).expect("folders");
    let file = month.join("audiences_202401.parquet");
    fs::write(&file, b"PAR1 this is no Parquet file PAR1").expect("file");
    let server = Server::over(&data, &[]).await;
    let reply = server.get("/api/audiences?user_id=u").await;
    assert_eq!(check(&server, &reply, "list"), "PARTITION_CORRUPT");
    let mut body = audience("u", "a");
    body["created_at"] = json!("2024-01-15");
    let reply = server.post("/api/audiences", &body).await;
    assert_eq!(check(&server, &reply, "save"), "PARTITION_CORRUPT");
    // Other months, tables and users go on.
    let id = server.save("audiences", &audience("u", "a")).await;
    server.get(&format!("/api/audiences/{id}?user_id=u")).await.expect(200);
    let newer = server.get("/api/audiences?user_id=u&created_after=2024-02-03").await.expect(200);
    assert_eq!(newer["count"], 1);
    server.save("platforms", &smallest("platforms", "u")).await;
    server.save("audiences", &audience("v", "a")).await;
    server.checkpoint().await;
    let ready = server.get("/health/ready").await.expect(200);
    let named = ready["unreadable_files"].as_array().expect("files");
    let named: Vec<&str> = named.iter().filter_map(|f| f["file"].as_str()).collect();
    assert_eq!(named, ["audiences/user_id=u/year=2024/month=01/audiences_202401.parquet"]);
    assert_eq!(fs::read(&file).expect("file"), b"PAR1 this is no Parquet file PAR1");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "lays out what the server finds")]
async fn a_folder_that_cannot_be_read_is_a_failed_storage() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    fs::create_dir_all(data.join("audiences")).expect("folders");
    let around = data.join("audiences/user_id=u");
    std::os::unix::fs::symlink(&around, &around).expect("a link that leads to itself");
    let server = Server::over(&data, &[]).await;
    let reply = server.get("/api/audiences?user_id=u").await;
    assert_eq!(check(&server, &reply, "list"), "STORAGE_FAILED");
    server.save("audiences", &audience("v", "a")).await;
}

#[tokio::test]
async fn too_much_work_is_refused_not_queued_without_end() {
    let server = Server::start_with(&["--mailbox", "1"]).await;
    // Saves of one id wait for each other's sync: one under way, one waiting, no more.
    let mut body = audience("u", "a");
    body["audience_id"] = json!("contested");
    let (mut version, mut refused) = (0, 0);
    for _ in 0..20 {
        for reply in join_all((0..64).map(|_| server.post("/api/audiences", &body))).await {
            if reply.status.is_success() {
                version += 1;
            } else {
                assert_eq!(check(&server, &reply, "busy"), "OVERLOADED");
                refused += 1;
            }
        }
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "64 at once where 1 may wait");
    // Refused means not done, and the server is well.
    let found = server.get("/api/audiences/contested?user_id=u").await.expect(200);
    assert_eq!(found["audience"]["version"], version);
}
