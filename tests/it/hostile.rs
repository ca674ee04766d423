//! Texts that are made to break paths, logs and parsers: refused, or kept as data and nothing
//! else. No file ever lies outside its user's folder, no log line is anything but the server's.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::support::files::paths;
use crate::support::{Server, audience, encoded, smallest};

/// User ids that are allowed and look like something else.
const ODD_USERS: &[&str] = &[
    ".",
    "..",
    "...",
    "../../etc/passwd",
    "a/../../b",
    "/",
    "//",
    "\\",
    "..\\..\\x",
    "%2e%2e%2f",
    "%2F",
    "%00",
    "%",
    "a%b",
    "user_id=x",
    "u/year=2025/month=01",
    "audiences_202501.parquet",
    "__HIVE_DEFAULT_PARTITION__",
    "LOCK",
    "log",
    "~root",
    "-rf",
    "$(id)",
    "`id`",
    "a b",
    "a\"b'c",
    "ａ／ｂ",
    "é",
    "e\u{301}",
    "\u{1f468}\u{200d}\u{1f469}",
];

#[tokio::test]
async fn whatever_a_user_is_called_his_files_lie_in_his_folder() {
    let server = Server::start().await;
    let mut seen = BTreeSet::new();
    for user in ODD_USERS {
        for table in ["audiences", "platforms", "distributions"] {
            server.save(table, &smallest(table, user)).await;
        }
        // Each of them has his own records and no one else's.
        // As it is: a client would take `%2E` out of a path.
        let target = format!("/api/users/{}/summary", encoded(user));
        let (status, body) = server.raw_request("GET", &target).await;
        assert!(status == 200 && body.contains("\"draft\":0,\"total\":1}"), "{user}: {body}");
        assert!(seen.insert(*user), "{user}");
    }
    server.checkpoint().await;
    let top: BTreeSet<String> = std::fs::read_dir(&server.data)
        .expect("data")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        // Made soon after the start.
        .filter(|name| name != "metrics")
        .collect();
    let known = ["LOCK", "audiences", "audit", "distributions", "keys", "log", "platforms", "tmp"];
    assert_eq!(top.iter().map(String::as_str).collect::<Vec<_>>(), known);
    let files = paths(&server.data);
    for table in ["audiences", "platforms", "distributions"] {
        let own: Vec<&String> =
            files.keys().filter(|n| n.starts_with(&format!("{table}/"))).collect();
        let users: BTreeSet<_> = own.iter().filter_map(|name| name.split('/').nth(1)).collect();
        assert_eq!((own.len(), users.len()), (ODD_USERS.len(), ODD_USERS.len()), "{table}");
        let depth = if table == "platforms" { 3 } else { 5 };
        for name in own {
            assert_eq!(name.split('/').count(), depth, "{name}");
            assert!(
                name.split('/').nth(1).is_some_and(|user| user.starts_with("user_id=")),
                "{name}"
            );
            assert!(!name.chars().any(char::is_control), "{name:?}");
        }
    }
    let beside = server.data.parent().expect("parent");
    assert_eq!(std::fs::read_dir(beside).expect("folder").count(), 1, "nothing beside the store");
}

#[tokio::test]
async fn a_path_has_one_reading_and_no_escape_leads_out_of_it() {
    let server = Server::start().await;
    server.save("audiences", &audience("u", "a")).await;
    // A path's user id that is not UTF-8, overlong, half a surrogate pair, or no escape at all.
    for bad in [
        "%ff",
        "u%ff",
        "%C0%AF",
        "%c0%ae%c0%ae",
        "%E0%80%AF",
        "%ED%A0%80",
        "%F8%88%80%80%80",
        "%zz",
        "u%",
        "u%2",
    ] {
        for (method, rest) in [("GET", "/summary"), ("DELETE", "")] {
            let (status, body) =
                server.raw_request(method, &format!("/api/users/{bad}{rest}")).await;
            assert!(
                status == 400 && body.contains("\"success\":false"),
                "{method} {bad}: {status} {body}"
            );
        }
    }
    // Control characters, raw or escaped, and direction overrides.
    for bad in ["%00", "u%0a", "%0d%0aX:1", "%1b%5b31m", "%7f", "%C2%85", "%E2%80%AE", "%E2%81%A6"]
    {
        let (status, body) = server.raw_request("GET", &format!("/api/users/{bad}/summary")).await;
        assert!(status == 400 && body.contains("/user_id"), "{bad}: {status} {body}");
    }
    // One user, however his id is escaped; `%2F` is a part of an id and never a separator.
    for (target, total) in [
        ("/api/users/u/summary", 1),
        ("/api/users/%75/summary", 1),
        ("/api/users/..%2Fusers%2Fu/summary", 0),
        ("/api/users/..%2fusers%2fu/summary", 0),
        ("/api/users/u%2F/summary", 0),
        ("/api/users/u%252F/summary", 0),
    ] {
        let (status, body) = server.raw_request("GET", target).await;
        assert_eq!(status, 200, "{target}: {body}");
        assert!(body.contains(&format!("\"draft\":0,\"total\":{total}}}")), "{target}: {body}");
    }
    for (target, expected) in [
        ("/api/users/../users/u/summary", 404),
        ("/api/users/u/../v/summary", 404),
        ("/api/users//summary", 404),
        ("//api/users/u/summary", 404),
        ("/API/users/u/summary", 404),
        ("/api/users/u/summary/", 404),
        ("/api/users/u%2Fsummary", 405),
        ("/docs/..%2f..%2fetc%2fpasswd", 404),
        ("/docs/%2e%2e/%2e%2e/etc/passwd", 404),
        ("/docs/../Cargo.toml", 404),
    ] {
        let (status, body) = server.raw_request("GET", target).await;
        assert_eq!(status, expected, "{target}: {body}");
        assert!(!body.contains("root:"), "{target}");
    }
}

#[tokio::test]
async fn json_escapes_that_are_no_text_are_refused_everywhere() {
    let server = Server::start().await;
    for bad in [r"\ud800", r"\udc00", r"\ud800\ud800", r"\udc00\ud800", r"\ud83d x", r"a\u0000b"] {
        for body in [
            format!(
                r#"{{"user_id":"u","name":"{bad}","data_type":"first_party","selected_variables":["A"]}}"#
            ),
            format!(
                r#"{{"user_id":"u{bad}","name":"n","data_type":"first_party","selected_variables":["A"]}}"#
            ),
            format!(
                r#"{{"user_id":"u","name":"n","data_type":"first_party","selected_variables":["{bad}"]}}"#
            ),
            format!(
                r#"{{"user_id":"u","name":"n","data_type":"first_party","selected_variables":["A"],"metadata":{{"k":["{bad}"]}}}}"#
            ),
            format!(
                r#"{{"user_id":"u","name":"n","data_type":"first_party","selected_variables":["A"],"metadata":{{"{bad}":1}}}}"#
            ),
            format!(
                r#"{{"user_id":"u","name":"n","data_type":"first_party","selected_variables":["A"],"extra_{bad}":1}}"#
            ),
            format!(
                r#"{{"user_id":"u","name":"n","data_type":"first_party","selected_variables":["A"],"more":"{bad}"}}"#
            ),
        ] {
            let reply = server.send(Method::POST, "/api/audiences", &[], Some(&body)).await;
            assert_eq!(reply.status.as_u16(), 400, "{body}: {}", reply.text);
        }
    }
    // Bytes that are no UTF-8 at all.
    for bytes in [
        &b"{\"user_id\":\"\xff\"}"[..],
        b"{\"user_id\":\"\xc0\xaf\"}",
        b"{\"user_id\":\"\xed\xa0\x80\"}",
    ] {
        let client = server.client();
        let sent =
            client.post(server.url("/api/audiences")).header("Content-Type", "application/json");
        let reply = sent.body(bytes.to_vec()).send().await.expect("answer");
        assert_eq!(reply.status().as_u16(), 400);
    }
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 0);
}

#[tokio::test]
async fn ids_are_taken_up_to_their_length_and_not_further() {
    let server = Server::start().await;
    for (user, taken) in [
        ("x".repeat(128), true),
        ("x".repeat(129), false),
        ("é".repeat(64), true),
        (format!("{}x", "é".repeat(64)), false),
        ("/".repeat(128), true),
        ("\u{1f600}".repeat(32), true),
    ] {
        let reply = server.post("/api/audiences", &audience(&user, "a")).await;
        assert_eq!(reply.status.as_u16(), if taken { 201 } else { 400 }, "{user}");
    }
    for (id, taken) in [
        ("i".repeat(64), true),
        ("i".repeat(65), false),
        ("-_-".into(), true),
        ("a.b".into(), false),
    ] {
        let mut body = audience("u", "a");
        body["audience_id"] = json!(id);
        let reply = server.post("/api/audiences", &body).await;
        assert_eq!(reply.status.as_u16(), if taken { 201 } else { 400 }, "{id}");
    }
    // Twice: with what is in memory, and from files whose names must not have been cut short.
    server.checkpoint().await;
    for user in ["/".repeat(128), "x".repeat(128)] {
        let listed =
            server.get(&format!("/api/audiences?user_id={}", encoded(&user))).await.expect(200);
        assert_eq!(listed["count"], 1, "{user}");
    }
}

#[tokio::test]
async fn what_clients_send_makes_no_log_line() {
    for format in ["text", "json"] {
        let server = Server::start_with(&["--log-level=trace", "--log-format", format]).await;
        let forged = "\n2026-01-01T00:00:00Z ERROR audience_store: FORGED\r\n\u{1b}[31mFORGED";
        let q = encoded(forged);
        for target in [
            format!("/api/audiences?user_id={q}"),
            format!("/api/users/{q}/summary"),
            format!("/api/audiences/{q}?user_id=u"),
            format!("/docs/{q}"),
            format!("/{q}"),
            format!("/api/audiences?user_id=u&q={q}&fields={q}&cursor={q}&status={q}"),
        ] {
            server.raw_request("GET", &target).await;
        }
        let mut body = audience("u", forged);
        body[forged] = json!(forged);
        server.post("/api/audiences", &body).await.expect(201);
        server
            .post("/api/audiences", &audience(forged, "a"))
            .await
            .expect_error(400, "INVALID_FIELD");
        for headers in [[("User-Agent", "\u{1b}[31mFORGED")], [("If-Match", "\"FORGED\u{9b}\"")]] {
            // A client of its own may refuse to send it.
            let _ = server.try_send(Method::GET, "/api/audiences?user_id=u", &headers, None).await;
        }
        server.raw(b"GET / HTTP/1.1\r\nX-Y: a\x1b[31mFORGED\r\nConnection: close\r\n\r\n").await;
        server.raw(b"GET /\x1b[31mFORGED HTTP/1.1\r\nConnection: close\r\n\r\n").await;
        server.checkpoint().await;
        let said = server.said();
        assert!(said.lines().count() > 5, "trace lines: {said}");
        for line in said.lines() {
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|e| panic!("{e}: {line}"));
            } else {
                assert!(
                    line.starts_with("20") && !line.contains(" ERROR audience_store: FORGED\r"),
                    "{line}"
                );
            }
            assert!(!line.starts_with("2026-01-01T00:00:00Z ERROR"), "{line}");
            assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
        }
    }
}
