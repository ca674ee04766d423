//! What is noted of who did what and who was refused, how it is read back, and that it is bounded.

use std::collections::BTreeSet;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use crate::support::access::{SCOPES, folder, id_of, token};
use crate::support::files::{contents, paths};
use crate::support::{Server, audience, eventually, program, run};

const TOKENS: [&str; 2] = ["--auth", "tokens"];

fn fields<'a>(event: &'a Value, names: &[&str]) -> Vec<&'a str> {
    names.iter().map(|name| event[*name].as_str().unwrap_or("-")).collect()
}

/// Whether a line is about the key that a first start makes.
fn of_the_first_start(event: &Value) -> bool {
    ["key_added", "key_made_current"].iter().any(|action| event["action"] == *action)
}

#[tokio::test]
async fn what_was_done_and_what_was_refused_is_read_back_newest_first() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let user = token(&data, "u", &SCOPES[..6], &[]);
    let old = token(&data, "u", &["audiences:read"], &[]);
    let (code, ..) =
        run(program(&["token", "revoke", id_of(&old), "--data", data.to_str().expect("path")]));
    assert_eq!(code, 0);
    let server = Server::over(&data, &TOKENS).await;
    // Refused: nobody, a revoked token, a missing scope, another user.
    server.get("/api/audiences/secret-name").await.expect_error(401, "UNAUTHENTICATED");
    server.with(&old).get("/api/audiences").await.expect_error(401, "TOKEN_UNKNOWN");
    server.with(&user).get("/metrics").await.expect_error(403, "SCOPE_MISSING");
    let other = audience("other", "a");
    server.with(&user).post("/api/audiences", &other).await.expect_error(403, "USER_MISMATCH");
    // Done: a token made and taken back, a user erased.
    let asked = json!({"user_id": "v", "scopes": ["metrics:read"]});
    let made = server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
    let made = made["id"].as_str().expect("id");
    server.with(&admin).delete(&format!("/api/admin/tokens/{made}")).await.expect(200);
    server.with(&user).delete("/api/users/u").await.expect(200);

    let all = server.with(&admin).events("").await;
    let said: Vec<_> = all
        .iter()
        .filter(|e| !of_the_first_start(e))
        .map(|e| {
            fields(
                e,
                &["action", "by_user", "via", "code", "method", "route", "user_id", "token_id"],
            )
        })
        .collect();
    let by = |token: &str| format!("token {}", id_of(token));
    let (ops, u, gone) = (by(&admin), by(&user), by(&old));
    assert_eq!(
        said,
        [
            ["tokens_removed", "u", &u, "-", "-", "-", "u", "-"],
            ["user_erased", "u", &u, "-", "-", "-", "u", "-"],
            ["token_revoked", "ops", &ops, "-", "-", "-", "v", made],
            ["token_created", "ops", &ops, "-", "-", "-", "v", made],
            ["denied", "u", &u, "USER_MISMATCH", "POST", "/api/audiences", "-", "-"],
            ["denied", "u", &u, "SCOPE_MISSING", "GET", "/metrics", "-", "-"],
            ["denied", "-", &gone, "TOKEN_UNKNOWN", "GET", "/api/audiences", "-", "-"],
            [
                "denied",
                "-",
                "-",
                "UNAUTHENTICATED",
                "GET",
                "/api/audiences/{audience_id}",
                "-",
                "-"
            ],
            ["token_revoked", "-", "command", "-", "-", "-", "u", id_of(&old)],
            ["token_created", "-", "command", "-", "-", "-", "u", id_of(&old)],
            ["token_created", "-", "command", "-", "-", "-", "u", id_of(&user)],
            ["token_created", "-", "command", "-", "-", "-", "ops", id_of(&admin)],
        ]
    );
    for event in &all {
        assert!(event["time"].as_str().is_some_and(|t| t.ends_with('Z')), "{event}");
        if event["action"] == "denied" {
            assert_eq!(event["peer"], "127.0.0.1");
            assert!(event["status"] == 401 || event["status"] == 403);
        }
    }
    assert_eq!(all[0]["count"], 2, "of u, the revoked one included");

    // Pages and filters.
    for limit in [1, 5, 1000] {
        assert_eq!(server.with(&admin).events(&format!("limit={limit}")).await, all, "{limit}");
    }
    let filtered = |keep: &dyn Fn(&Value) -> bool| -> Vec<Value> {
        all.iter().filter(|e| keep(e)).cloned().collect()
    };
    let denied = server.with(&admin).events("action=denied&limit=3").await;
    assert_eq!(denied, filtered(&|e| e["action"] == "denied"));
    let about = server.with(&admin).events("user_id=u").await;
    assert_eq!(about, filtered(&|e| e["by_user"] == "u" || e["user_id"] == "u"));
    let both = server.with(&admin).events("user_id=v&action=token_created").await;
    assert_eq!(both.len(), 1);
    for bad in ["limit=0", "limit=1001", "cursor=x", "limit=1&limit=2"] {
        let reply = server.with(&admin).get(&format!("/api/admin/audit?{bad}")).await;
        assert_eq!(reply.status.as_u16(), 400, "{bad}");
    }

    // No secret is in it, nor what was asked for by name.
    let trail = contents(&data.join("audit"));
    let trail: Vec<u8> = trail.into_values().flatten().collect();
    let trail = String::from_utf8(trail).expect("UTF-8");
    for hidden in [&admin[17..], &user[17..], &old[17..], "secret-name", "Bearer"] {
        assert!(!trail.contains(hidden), "{hidden}");
    }
    assert_eq!(trail.lines().count(), all.len());
}

#[tokio::test]
async fn without_authentication_refusals_and_erasures_are_noted_too() {
    let mut server = Server::start().await;
    server.get("/api/users/u/summary?user_id=v").await.expect_error(403, "USER_MISMATCH");
    server.save("audiences", &audience("u", "a")).await;
    server.delete("/api/users/u").await.expect(200);
    let page = server.get("/api/admin/audit").await.expect(200);
    let said: Vec<_> = page["events"]
        .as_array()
        .expect("events")
        .iter()
        .filter(|e| !of_the_first_start(e))
        .map(|e| fields(e, &["action", "via", "user_id", "code"]))
        .collect();
    let expected =
        [["user_erased", "auth off", "u", "-"], ["denied", "auth off", "-", "USER_MISMATCH"]];
    assert_eq!(said, expected);
    // It survives a kill: what was answered was synced before.
    server.kill();
    let server = Server::over(&server.data, &[]).await;
    assert_eq!(server.get("/api/admin/audit").await.expect(200), page);
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_neither_fills_the_disk_nor_hides_the_rest() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin", "metrics:read"], &[]);
    let mut server = Server::over(&data, &TOKENS).await;
    let flood: u64 = 1000;
    let ask = |_| server.get("/api/audiences");
    for _ in 0..flood / 50 {
        for reply in futures_util::future::join_all((0..50).map(ask)).await {
            assert_eq!(reply.status.as_u16(), 401);
        }
    }
    let asked = json!({"user_id": "v", "scopes": ["metrics:read"]});
    server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
    let events = server.with(&admin).events("").await;
    assert_eq!(events[0]["action"], "token_created", "it is there, whatever else is");
    let metric = async |name: &str| {
        let text = server.with(&admin).get("/metrics").await.text;
        let line = format!("audience_store_{name} ");
        let value = text.lines().find_map(|l| l.strip_prefix(&line)).expect("metric").to_owned();
        value.parse::<u64>().expect("number")
    };
    assert_eq!(metric("denied_requests_total").await, flood);
    let not_listed = metric("audit_not_listed_total").await;
    let listed = events.iter().filter(|e| e["action"] == "denied").count() as u64;
    assert_eq!(listed + not_listed, flood);
    // A burst, and one a second as long as that took.
    assert!((60..flood / 2).contains(&listed), "{listed}");
    // At the end at the latest it is said how many there were.
    server.stop().await;
    let server = Server::over(&data, &TOKENS).await;
    let rest = server.with(&admin).events("action=denied_not_listed").await;
    let counted: u64 = rest.iter().filter_map(|e| e["count"].as_u64()).sum();
    assert_eq!(counted, not_listed);
    assert_eq!(rest[0]["code"], "UNAUTHENTICATED");
}

#[tokio::test]
async fn the_trail_is_rotated_and_the_oldest_goes() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let bounds = ["--audit-file-bytes", "4KiB", "--audit-files", "3"];
    let server = Server::over(&data, &[&TOKENS[..], &bounds].concat()).await;
    let asked = json!({"user_id": "u", "scopes": ["metrics:read"]});
    let mut made = Vec::new();
    for _ in 0..150 {
        let token = server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
        made.push(token["id"].as_str().expect("id").to_owned());
    }
    let files = contents(&data.join("audit"));
    let files: Vec<_> = files.iter().filter(|(name, _)| name.ends_with(".jsonl")).collect();
    assert_eq!(files.len(), 3);
    assert!(files.iter().all(|(_, bytes)| bytes.len() <= 4096));
    let events = server.with(&admin).events("limit=7").await;
    let ids: Vec<_> = events.iter().map(|e| e["token_id"].as_str().expect("id")).collect();
    assert!(ids.len() > 30 && ids.len() < 150, "{}", ids.len());
    let newest: Vec<&str> = made.iter().rev().map(String::as_str).take(ids.len()).collect();
    assert_eq!(ids, newest, "the newest, without a gap");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "damages what the server finds")]
async fn what_must_be_noted_does_not_happen_where_it_cannot_be() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let server = Server::over(&data, &TOKENS).await;
    // A file in the folder's place, swapped in one step: the server notes what it does at its start
    // meanwhile, and would make the folder again.
    let (audit, file) = (data.join("audit"), data.join("file"));
    std::fs::write(&file, "").expect("file");
    renameat_with(CWD, &audit, CWD, &file, RenameFlags::EXCHANGE).expect("swap");
    let asked = json!({"user_id": "u", "scopes": ["admin"]});
    let refused = server.with(&admin).post("/api/admin/tokens", &asked).await;
    refused.expect_error(503, "STORAGE_FAILED");
    let listed = server.with(&admin).get("/api/admin/tokens").await.expect(200);
    assert_eq!(listed["count"], 1, "no token without a line");
    // Refusals go on being answered.
    server.get("/api/audiences").await.expect_error(401, "UNAUTHENTICATED");
    std::fs::remove_file(&audit).expect("file");
    server.with(&admin).post("/api/admin/tokens", &asked).await.expect(201);
    eventually("lines are written again", async || {
        server.get("/api/audiences").await.expect_error(401, "UNAUTHENTICATED");
        !server.with(&admin).events("action=denied").await.is_empty()
    })
    .await;
    assert!(paths(&audit).keys().any(|name| name.ends_with(".jsonl")));
}

#[tokio::test]
async fn whoever_reads_credentials_over_and_over_does_not_push_out_what_others_did() {
    for (rate, kept) in [("0", false), ("10", true)] {
        let (_folder, data) = folder();
        let scopes = ["platforms:write", "credentials:read"];
        let [u, v] = ["u", "v"].map(|user| token(&data, user, &scopes, &[]));
        let admin = token(&data, "ops", &["admin"], &[]);
        let rate = format!("--audited-rate={rate}");
        let small = ["--audit-file-bytes=4KiB", "--audit-files=3"];
        let args = [&TOKENS[..], &small, &[rate.as_str()]].concat();
        let server = Server::over(&data, &args).await;
        let mut paths = Vec::new();
        for token in [&v, &u] {
            let body = json!({"platform_type": "meta", "name": "p", "credentials": {"key": "k"}});
            let made = server.with(token).post("/api/platforms", &body).await.expect(201);
            let id = made["platform_id"].as_str().expect("id");
            paths.push(format!("/api/platforms/{id}/credentials"));
        }
        server.with(&v).get(&paths[0]).await.expect(200);
        let mut shown = 0;
        for _ in 0..100 {
            shown += usize::from(server.with(&u).get(&paths[1]).await.status.as_u16() == 200);
        }
        let of = async |user| {
            let query = format!("action=credentials_read&user_id={user}");
            server.with(&admin).events(&query).await.len()
        };
        assert_eq!(of("v").await == 1, kept, "{rate}: {shown} reads of the other");
        assert_eq!(
            of("u").await == shown,
            kept,
            "{rate}: each read that was answered has its line"
        );
    }
}
