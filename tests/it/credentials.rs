//! Credentials: sealed before they are written, given by one endpoint alone, kept through
//! everything that is not about them, and found nowhere else in what the server writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use audience_store::domain::{Micros, Row, Table};
use audience_store::parquet::{Base, Changes, Fetched, FileView, Options, decode_group, encode};
use bytes::Bytes;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::files::{contents, holding, paths};
use crate::support::rows::batches;
use crate::support::{Server, fixture, platform, secrets};

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "1h"];

fn with(user: &str, credentials: &Value) -> Value {
    let mut body = platform(user, "a name");
    body["credentials"] = credentials.clone();
    body
}

/// What the endpoint gives.
async fn given(server: &Server, user: &str, id: &str) -> Value {
    let reply = server.get(&format!("/api/platforms/{id}/credentials?user_id={user}")).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("etag"), None);
    let body = reply.expect(200);
    assert_eq!((&body["success"], &body["platform_id"]), (&json!(true), &json!(id)));
    body["credentials"].clone()
}

async fn shown(server: &Server, user: &str, id: &str) -> Value {
    let reply = server.get(&format!("/api/platforms/{id}?user_id={user}")).await;
    reply.expect(200)["platform"].clone()
}

async fn refused(server: &Server, user: &str, id: &str) {
    let path = format!("/api/platforms/{id}/credentials?user_id={user}");
    let reply = server.get(&path).await;
    assert_eq!(reply.header("retry-after"), Some("30"));
    reply.expect_error(503, "CREDENTIALS_UNAVAILABLE");
}

fn file_of(data: &Path, user: &str) -> PathBuf {
    data.join(format!("platforms/user_id={user}/platforms.parquet"))
}

/// The sealed column of a user's file, by record.
fn sealed(data: &Path, user: &str) -> BTreeMap<String, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for batch in batches(&file_of(data, user)) {
        let column = |name: &str| batch.column_by_name(name).expect("column").clone();
        let (ids, bytes) = (column("platform_id"), column("credentials"));
        for (id, bytes) in ids.as_string::<i32>().iter().zip(bytes.as_binary::<i32>().iter()) {
            found.insert(id.expect("id").to_owned(), bytes.map(<[u8]>::to_vec));
        }
    }
    found
}

#[tokio::test]
async fn what_todays_client_saves_is_sealed_and_given_back() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let sent = fixture("payloads/save_platform.json");
    let id = server.save("platforms", &sent).await;
    for round in 0..4 {
        let record = shown(&server, "demo_user", &id).await;
        assert_eq!(record["credentials"], json!({"encrypted": true, "account_id": "12345"}));
        assert_eq!(record["settings"], sent["settings"]);
        let list = server.get("/api/platforms?user_id=demo_user").await.expect(200);
        assert_eq!(list["platforms"][0], record);
        assert!(!list.to_string().contains("sk-live"));
        assert_eq!(given(&server, "demo_user", &id).await, sent["credentials"]);
        match round {
            0 => server.checkpoint().await,
            1 => {
                server.kill();
                server = Server::over(&data, &NO_CHECKPOINTS).await;
            }
            _ => {
                server.stop().await;
                server = Server::over(&data, &NO_CHECKPOINTS).await;
            }
        }
    }
    assert_eq!(sealed(&data, "demo_user").len(), 1);
    assert!(holding(&data, "sk-live").is_empty());
    let head = format!("/api/platforms/{id}/credentials?user_id=demo_user");
    let head = server.send(Method::HEAD, &head, &[], None).await;
    assert_eq!((head.status.as_u16(), &*head.text), (200, ""));
}

#[tokio::test]
async fn an_update_keeps_replaces_or_removes_them() {
    let server = Server::start_with(&NO_CHECKPOINTS).await;
    let first = json!({"api_key": "one", "account_id": "1"});
    let id = server.save("platforms", &with("u", &first)).await;
    let path = format!("/api/platforms/{id}");
    server.checkpoint().await;
    let before = sealed(&server.data, "u");

    server.put(&path, &json!({"user_id": "u", "name": "renamed"})).await.expect(200);
    let status = json!({"user_id": "u", "status": "inactive"});
    server.put(&format!("{path}/status"), &status).await.expect(200);
    let mut back = shown(&server, "u", &id).await;
    back["name"] = json!("sent back");
    server.put(&path, &back).await.expect(200);
    assert_eq!(server.post("/api/platforms", &back).await.expect(200)["version"], 5);
    server.checkpoint().await;
    assert_eq!(sealed(&server.data, "u"), before, "byte for byte");
    assert_eq!(given(&server, "u", &id).await, first);

    let second = json!({"token": {"deep": [1.50, null]}, "account_id": 2});
    let replace = json!({"user_id": "u", "credentials": second});
    assert_eq!(server.put(&path, &replace).await.expect(200)["version"], 6);
    assert_eq!(given(&server, "u", &id).await, second);
    let view = json!({"encrypted": true, "account_id": 2});
    assert_eq!(shown(&server, "u", &id).await["credentials"], view);

    let remove = json!({"user_id": "u", "credentials": null});
    assert_eq!(server.put(&path, &remove).await.expect(200)["version"], 7);
    assert_eq!(shown(&server, "u", &id).await["credentials"], Value::Null);
    assert_eq!(given(&server, "u", &id).await, Value::Null, "the platform is there, without any");
    server.checkpoint().await;
    assert_eq!(sealed(&server.data, "u")[&id], None);
}

#[tokio::test]
async fn they_are_an_object_of_some_size() {
    let server = Server::start().await;
    for bad in [json!("text"), json!(["a"]), json!(1), json!(true), json!({"k": "s".repeat(65536)})]
    {
        let reply = server.post("/api/platforms", &with("u", &bad)).await;
        let error = reply.expect_error(400, "INVALID_FIELD");
        assert_eq!(error["details"]["pointer"], "/credentials");
        assert!(error.to_string().len() < 200, "what was sent is not repeated");
    }
    let most = json!({"k": "s".repeat(65536 - 8)});
    let id = server.save("platforms", &with("u", &most)).await;
    assert_eq!(given(&server, "u", &id).await, most);
    let view = json!({"encrypted": true, "account_id": "1"});
    let reply = server.post("/api/platforms", &with("u", &view)).await;
    let error = reply.expect_error(400, "INVALID_FIELD");
    assert_eq!(error["details"]["pointer"], "/credentials");
    // With more in it than a view has, it is not taken for one.
    let real = json!({"encrypted": true, "api_key": "k"});
    let id = server.save("platforms", &with("u", &real)).await;
    assert_eq!(given(&server, "u", &id).await, real);
    let listed = server.get("/api/platforms?user_id=u").await.expect(200);
    assert_eq!(listed["count"], 2, "what was refused is not there");
}

#[tokio::test]
async fn another_users_are_not_found() {
    let server = Server::start().await;
    let id = server.save("platforms", &with("u", &json!({"api_key": "k"}))).await;
    let of = async |user: &str, id: &str| {
        let reply = server.get(&format!("/api/platforms/{id}/credentials?user_id={user}")).await;
        (reply.status.as_u16(), reply.text)
    };
    let missing = of("v", "plat_none").await;
    assert_eq!(missing.0, 404);
    assert_eq!(of("v", &id).await, missing, "the same bytes");
    server.delete(&format!("/api/platforms/{id}?user_id=u")).await.expect(200);
    assert_eq!(of("u", &id).await, missing);
    let reply = server.get(&format!("/api/platforms/{id}/credentials")).await;
    reply.expect_error(400, "MISSING_FIELD");
}

#[tokio::test]
async fn each_read_is_in_the_audit_trail_before_it_is_answered() {
    let server = Server::start().await;
    let id = server.save("platforms", &with("u", &json!({"api_key": "k"}))).await;
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(server.data.join("audit/00000000000000000001.jsonl"))
            .unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines.filter(|line: &Value| line["action"] == "credentials_read").collect()
    };
    assert_eq!(lines().len(), 0);
    shown(&server, "u", &id).await;
    server.get("/api/platforms/none/credentials?user_id=u").await.expect(404);
    assert_eq!(lines().len(), 0, "nothing was given");
    for count in 1..3 {
        given(&server, "u", &id).await;
        let lines = lines();
        assert_eq!(lines.len(), count);
        let last = lines.last().expect("line");
        assert_eq!((&last["user_id"], &last["platform_id"]), (&json!("u"), &json!(id)));
    }
    // Without a line there is no answer.
    let trail = server.data.join("audit/00000000000000000001.jsonl");
    fs::remove_file(&trail).expect("remove");
    fs::create_dir(&trail).expect("in the way");
    let reply = server.get(&format!("/api/platforms/{id}/credentials?user_id=u")).await;
    assert!(!reply.text.contains("api_key"));
    reply.expect_error(503, "STORAGE_FAILED");
}

/// Rewrites a user's file with rows changed by `change`.
fn rewrite(data: &Path, user: &str, change: impl FnOnce(&mut Vec<Row>)) {
    let path = file_of(data, user);
    let bytes = Bytes::from(fs::read(&path).expect("file"));
    let view = FileView::open(&bytes).expect("view");
    let fetched = Fetched::read(&bytes, view.column_ranges(0, None)).expect("bytes");
    let mut rows = decode_group(&view, 0, &fetched, None).expect("rows");
    change(&mut rows);
    let upserts = rows.into_iter().map(Arc::new).collect();
    let changes = Changes { upserts, ..Changes::default() };
    let base = Base { view: &view, source: &bytes };
    let footer = view.footer().expect("footer").clone();
    let table = Table::Platforms;
    let next = encode(table, Some(&base), &changes, &footer, &Options::default()).expect("file");
    fs::write(&path, &next.bytes).expect("write");
}

fn resealed(row: &Row, bytes: Option<&[u8]>) -> Row {
    let mut next = row.edit();
    next.set_sealed(bytes.map(Box::from));
    next.finish(row.id.clone(), row.created_at, row.updated_at, row.version)
}

#[tokio::test]
async fn bytes_moved_to_another_record_do_not_open() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &[]).await;
    let a = server.save("platforms", &with("u", &json!({"api_key": "of a"}))).await;
    let b = server.save("platforms", &with("u", &json!({"api_key": "of b"}))).await;
    server.stop().await;
    rewrite(&data, "u", |rows| {
        let swapped = [resealed(&rows[0], rows[1].sealed()), resealed(&rows[1], rows[0].sealed())];
        rows.clone_from_slice(&swapped);
    });
    let server = Server::over(&data, &[]).await;
    for id in [&a, &b] {
        assert_eq!(shown(&server, "u", id).await["credentials"], json!({"encrypted": true}));
        refused(&server, "u", id).await;
    }
}

#[tokio::test]
async fn without_the_key_records_are_served_and_their_credentials_kept() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let secret = json!({"api_key": "k", "account_id": "7"});
    let id = server.save("platforms", &with("u", &secret)).await;
    server.stop().await;
    let before = sealed(&data, "u");
    let ring = data.join("keys/ring.json");
    fs::rename(&ring, data.join("ring.kept")).expect("rename");

    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    server.says("the key ring was missing").await;
    let record = shown(&server, "u", &id).await;
    assert_eq!(record["credentials"], json!({"encrypted": true, "account_id": "7"}));
    refused(&server, "u", &id).await;
    let path = format!("/api/platforms/{id}");
    server.put(&path, &json!({"user_id": "u", "name": "renamed"})).await.expect(200);
    server.checkpoint().await;
    assert_eq!(sealed(&data, "u"), before, "byte for byte");
    // What comes now is sealed with the new key.
    let new = server.save("platforms", &with("u", &json!({"api_key": "new"}))).await;
    server.stop().await;

    // The old ring's keys beside the new one's open everything.
    let kept = data.join("ring.kept");
    let add = [
        "keys",
        "add",
        "--data",
        data.to_str().expect("path"),
        "--from",
        kept.to_str().expect("path"),
    ];
    let (code, _, said) = crate::support::run(crate::support::program(&add));
    assert_eq!(code, 0, "{said}");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(given(&server, "u", &id).await, secret);
    assert_eq!(given(&server, "u", &new).await, json!({"api_key": "new"}));
    assert_eq!(shown(&server, "u", &id).await["name"], "renamed");
}

#[tokio::test]
async fn a_key_of_the_right_name_and_wrong_bytes_opens_nothing_and_loses_nothing() {
    use base64::Engine;
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let id = server.save("platforms", &with("u", &json!({"api_key": "k"}))).await;
    server.stop().await;
    let before = sealed(&data, "u");
    let ring = data.join("keys/ring.json");
    let right = fs::read_to_string(&ring).expect("ring");
    let parsed: Value = serde_json::from_str(&right).expect("JSON");
    let key = parsed["keys"][0]["key"].as_str().expect("key");
    let wrong = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    fs::write(&ring, right.replace(key, &wrong)).expect("write");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    refused(&server, "u", &id).await;
    let rename = json!({"user_id": "u", "name": "renamed"});
    server.put(&format!("/api/platforms/{id}"), &rename).await.expect(200);
    server.stop().await;
    assert_eq!(sealed(&data, "u"), before, "byte for byte");
    fs::write(&ring, right).expect("write");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_eq!(given(&server, "u", &id).await, json!({"api_key": "k"}));
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_and_nobody_can_guess_from_what_is_remembered() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let key = [("Idempotency-Key", "once")];
    let body = with("u", &json!({"pin": "1234"})).to_string();
    let send = async |server: &Server, body: &str| {
        server.send(Method::POST, "/api/platforms", &key, Some(body)).await
    };
    let first = send(&server, &body).await.expect(201);
    let other = with("u", &json!({"pin": "1235"})).to_string();
    for round in 0..3 {
        let again = send(&server, &body).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "round {round}");
        assert_eq!(again.expect(201), first);
        send(&server, &other).await.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
        if round == 0 {
            // Also after another key became current.
            let args = ["keys", "rotate", "--data", data.to_str().expect("path")];
            assert_eq!(crate::support::run(crate::support::program(&args)).0, 0);
        }
        server.stop().await;
        server = Server::over(&data, &NO_CHECKPOINTS).await;
    }
    let print = fingerprint(&body);
    assert!(holding(&data, &print).is_empty());
    for (_, path) in paths(&data.join("idempotency")) {
        for batch in batches(&path) {
            let column = batch.column_by_name("fingerprint").expect("column");
            for remembered in column.as_string::<i32>().iter().flatten() {
                assert!(remembered.contains(':') && !remembered.contains(&print), "{remembered}");
            }
        }
    }
}

/// The fingerprint that earlier versions kept, in the open.
fn fingerprint(body: &str) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in ["POST", "/api/platforms", body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    secrets::hex(&hash.finalize())
}

/// Rewrites the one answer that is remembered for `u`.
fn remembered(data: &Path, change: impl FnOnce(&Row) -> Row) {
    let path = data.join("idempotency/user_id=u/idempotency.parquet");
    let bytes = Bytes::from(fs::read(&path).expect("file"));
    let view = FileView::open(&bytes).expect("view");
    let fetched = Fetched::read(&bytes, view.column_ranges(0, None)).expect("bytes");
    let row = decode_group(&view, 0, &fetched, None).expect("rows").remove(0);
    let changes = Changes { upserts: vec![Arc::new(change(&row))], ..Changes::default() };
    let footer = view.footer().expect("footer").clone();
    let next = encode(Table::Idempotency, None, &changes, &footer, &Options::default());
    fs::write(&path, &next.expect("file").bytes).expect("write");
}

#[tokio::test]
async fn a_key_is_held_by_remembered_answers_for_as_long_as_they_count() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let keys = |args: &[&str]| {
        let args = [&["keys"], args, &["--data", data.to_str().expect("path")]].concat();
        crate::support::run(crate::support::program(&args))
    };
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let body = platform("u", "a name").to_string();
    let key = [("Idempotency-Key", "once")];
    server.send(Method::POST, "/api/platforms", &key, Some(&body)).await.expect(201);
    let ring: Value = serde_json::from_slice(&fs::read(data.join("keys/ring.json")).expect("ring"))
        .expect("JSON");
    let old = ring["current"].as_str().expect("current");
    assert_eq!(keys(&["rotate"]).0, 0);
    crate::support::eventually("all are under the new key", async || {
        keys(&["list", "--json"]).1.contains("\"all_under_current\":true")
    })
    .await;
    server.stop().await;
    for (hours, code) in [(0, 1), (23, 1), (2, 0)] {
        remembered(&data, |row| {
            let before = Micros::new(row.created_at.get() - hours * 3_600_000_000);
            row.edit().finish(row.id.clone(), before, row.updated_at, row.version)
        });
        let (was, _, said) = keys(&["retire", old]);
        assert_eq!(was, code, "{hours} hours more: {said}");
    }
}

#[tokio::test]
async fn fingerprints_of_earlier_versions_still_count() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let body = platform("u", "a name").to_string();
    let key = [("Idempotency-Key", "once")];
    let first = server.send(Method::POST, "/api/platforms", &key, Some(&body)).await.expect(201);
    server.stop().await;
    remembered(&data, |row| {
        let mut old = row.edit();
        old.set_named("fingerprint", audience_store::domain::Cell::Text(&fingerprint(&body)));
        old.finish(row.id.clone(), row.created_at, row.updated_at, row.version)
    });
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    let again = server.send(Method::POST, "/api/platforms", &key, Some(&body)).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.expect(201), first);
    let other = platform("u", "another").to_string();
    let other = server.send(Method::POST, "/api/platforms", &key, Some(&other)).await;
    other.expect_error(422, "IDEMPOTENCY_KEY_REUSED");
}

/// Everything under `data` that can be searched: files as they are, and what Parquet files hold
/// when they are read.
fn searchable(data: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, mut bytes) in contents(data) {
        let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
        bytes.truncate(end);
        if name.ends_with(".parquet") {
            let mut read = Vec::new();
            for column in batches(&data.join(&name)).iter().flat_map(|b| b.columns().to_vec()) {
                if let Some(texts) = column.as_string_opt::<i32>() {
                    texts.iter().flatten().for_each(|text| read.extend_from_slice(text.as_bytes()));
                } else if let Some(bytes) = column.as_binary_opt::<i32>() {
                    bytes.iter().flatten().for_each(|bytes| read.extend_from_slice(bytes));
                } else {
                    read.extend_from_slice(format!("{column:?}").as_bytes());
                }
            }
            all.push((format!("{name} (read)"), read));
        }
        all.push((name, bytes));
    }
    all
}

/// Where a secret is, in any form.
fn places(all: &[(String, Vec<u8>)], secret: &str) -> Vec<String> {
    let hits = all.iter().map(|(name, bytes)| (name, secrets::found(bytes, secret)));
    hits.filter(|(_, forms)| !forms.is_empty())
        .map(|(name, forms)| format!("{name}: {forms:?}"))
        .collect()
}

#[test]
fn the_search_finds_every_form_it_looks_for() {
    let secret = "s\u{e9}cret-\"X\\y\"-4711";
    for (name, form) in secrets::forms(secret) {
        let bytes = [b"before ", &form[..], b" behind"].concat();
        assert!(secrets::found(&bytes, secret).contains(&name), "{name}");
    }
    use base64::Engine;
    let engine = base64::engine::general_purpose::STANDARD;
    for before in ["", "a", "ab", "abc"] {
        let text = engine.encode(format!("{before}{secret} and more"));
        assert!(secrets::found(text.as_bytes(), secret).contains(&"base64"), "{before}");
    }
    assert!(secrets::found(b"nothing of the kind", secret).is_empty());
}

#[tokio::test]
async fn no_byte_that_the_server_writes_holds_a_secret() {
    let args =
        ["--checkpoint-interval", "100ms", "--log-segment-bytes", "1MiB", "--log-level", "trace"];
    // `control` goes where it may be seen: what finds it there would find the others.
    let (control, created, updated, keyed, odd) = (
        "control-3f9a7c1e55d2",
        "created-8b1d40aa97e6",
        "updated-c2e95f0b7714",
        "keyed-60d3b8fa12c9",
        "odd\"\\\u{e9}/-19e4ad7b53",
    );
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &args).await;
    let mut ids = Vec::new();
    for round in 0..3 {
        let mut answers = Vec::new();
        let mut body = with("u", &json!({"api_key": created, "odd": odd, "account_id": "1"}));
        body["settings"] = json!({"note": control});
        let id = server.save("platforms", &body).await;
        let path = format!("/api/platforms/{id}");
        let update = json!({"user_id": "u", "credentials": {"api_key": updated}});
        answers.push(server.put(&path, &update).await.text);
        let keys = format!("key-{round}");
        let key = [("Idempotency-Key", keys.as_str())];
        let body = with("u", &json!({"api_key": keyed})).to_string();
        for _ in 0..2 {
            let saved = server.send(Method::POST, "/api/platforms", &key, Some(&body)).await;
            answers.push(saved.text.clone());
            saved.expect(201);
        }
        // Refusals tell nothing either.
        for bad in [
            format!("{{\"user_id\":\"u\",\"credentials\":{{\"api_key\":\"{created}\""),
            with("u", &json!([created])).to_string(),
            json!({"user_id": "u", "name": "n", "credentials": {"k": created}}).to_string(),
            format!(
                "{{\"user_id\":\"u\",\"credentials\":{{}},\"credentials\":{{\"a\":\"{created}\"}}}}"
            ),
            format!("{{\"user_id\":\"u\",\"credentials\":{{\"a\":\"{created}\\u0000\"}}}}"),
        ] {
            let reply = server.send(Method::POST, "/api/platforms", &[], Some(&bad)).await;
            assert_eq!(reply.status.as_u16(), 400, "{}", reply.text);
            answers.push(reply.text);
        }
        answers.push(server.get("/api/platforms?user_id=u").await.text);
        answers.push(server.get(&format!("{path}?user_id=u")).await.text);
        assert_eq!(given(&server, "u", &id).await, json!({"api_key": updated}));
        ids.push(id);
        if round == 1 {
            let rotate = ["keys", "rotate", "--data", data.to_str().expect("path")];
            let (code, out, said) = crate::support::run(crate::support::program(&rotate));
            assert_eq!(code, 0, "{said}");
            answers.extend([out, said]);
        }
        server.checkpoint().await;
        // What a write is doing when the server is killed is looked at too.
        let metrics = server.get("/metrics").await.text;
        let more = with("u", &json!({"api_key": created}));
        let flood = async {
            while server
                .try_send(Method::POST, "/api/platforms", &[], Some(&more.to_string()))
                .await
                .is_ok()
            {}
        };
        let kill = tokio::time::sleep(std::time::Duration::from_millis(150));
        tokio::select! { () = flood => {}, () = kill => {} }
        server.kill();
        let mut all = searchable(&data);
        all.push(("standard error".to_owned(), server.said().into_bytes()));
        all.push(("standard output".to_owned(), server.printed().into_bytes()));
        all.push(("metrics".to_owned(), metrics.into_bytes()));
        all.push(("answers".to_owned(), answers.join("\n").into_bytes()));
        for secret in [created, updated, keyed, odd] {
            assert_eq!(places(&all, secret), [""; 0], "round {round}");
        }
        let seen = places(&all, control);
        for place in ["log/", "platforms/user_id=u/platforms.parquet (read)", "answers"] {
            assert!(seen.iter().any(|seen| seen.starts_with(place)), "{place}: {seen:?}");
        }
        server = Server::over(&data, &args).await;
    }
    for id in &ids {
        assert_eq!(given(&server, "u", id).await, json!({"api_key": updated}));
    }
    server.stop().await;
    let all = searchable(&data);
    for secret in [created, updated, keyed, odd] {
        assert_eq!(places(&all, secret), [""; 0], "after a clean end");
    }
    let ring = fs::read_to_string(data.join("keys/ring.json")).expect("ring");
    let ring: Value = serde_json::from_str(&ring).expect("JSON");
    for key in ring["keys"].as_array().expect("keys") {
        let key = key["key"].as_str().expect("key");
        let elsewhere: Vec<_> =
            places(&all, key).into_iter().filter(|p| !p.starts_with("keys/ring.json")).collect();
        assert_eq!(elsewhere, [""; 0], "a key of the ring");
        assert!(!places(&all, key).is_empty());
    }
}

/// A user's file as the version before sealing left it: the column says that the credentials are
/// in the legacy folder.
fn as_an_earlier_version(data: &Path, user: &str) {
    rewrite(data, user, |rows| {
        for row in rows {
            if row.sealed().is_some() {
                *row = resealed(row, Some(b"\x01\"12345\""));
            }
        }
    });
}

#[tokio::test]
async fn what_an_earlier_version_left_in_legacy_is_sealed_once_and_taken_out_there() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy-tree/platforms");
    crate::support::files::copy_tree(&old, &data.join("platforms"));
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let listed = server.get("/api/platforms?user_id=demo_user").await.expect(200);
    let ids: Vec<String> = listed["platforms"]
        .as_array()
        .expect("list")
        .iter()
        .map(|p| p["platform_id"].as_str().expect("id").to_owned())
        .collect();
    assert!(!ids.is_empty());
    let mut secrets = Vec::new();
    for id in &ids {
        secrets.push(given(&server, "demo_user", id).await);
    }
    server.checkpoint().await;
    server.stop().await;
    // As it was before: the marker in the file, the whole old file under legacy/, no progress.
    as_an_earlier_version(&data, "demo_user");
    let name = "user_id=demo_user/platforms.parquet";
    let copy = data.join("legacy/platforms").join(name);
    fs::copy(old.join(name), &copy).expect("copy");
    fs::remove_dir_all(data.join("keys")).expect("keys");
    assert!(
        !secrets::found(&fs::read(&copy).expect("copy"), "b64:AAAA").is_empty()
            || !holds_none(&copy)
    );

    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    for (id, secret) in ids.iter().zip(&secrets) {
        assert_eq!(given(&server, "demo_user", id).await, *secret);
        let view = json!({"encrypted": true, "account_id": "12345"});
        let record = shown(&server, "demo_user", id).await;
        assert_eq!((&record["credentials"], &record["version"]), (&view, &json!(1)));
    }
    crate::support::eventually("the copy loses them", async || holds_none(&copy)).await;
    server.kill();
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    for (id, secret) in ids.iter().zip(&secrets) {
        assert_eq!(given(&server, "demo_user", id).await, *secret, "without the copy");
    }
    server.checkpoint().await;
    assert!(sealed(&data, "demo_user").values().flatten().all(|bytes| bytes[0] == 2));
    server.stop().await;
}

/// Whether no row of a file of the Python service has credentials.
fn holds_none(path: &Path) -> bool {
    use audience_store::parquet::legacy::decode_legacy;
    let bytes = Bytes::from(fs::read(path).expect("file"));
    let rows = decode_legacy(Table::Platforms, bytes, Micros::new(0)).expect("rows");
    rows.iter().all(|row| row.credentials.is_none())
}

#[tokio::test]
async fn credentials_that_are_lost_in_legacy_are_unavailable_and_their_mark_stays() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    let id = server.save("platforms", &with("u", &json!({"api_key": "k"}))).await;
    server.stop().await;
    as_an_earlier_version(&data, "u");
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    let view = json!({"encrypted": true, "account_id": "12345"});
    assert_eq!(shown(&server, "u", &id).await["credentials"], view);
    refused(&server, "u", &id).await;
    server
        .put(&format!("/api/platforms/{id}"), &json!({"user_id": "u", "name": "n"}))
        .await
        .expect(200);
    server.checkpoint().await;
    assert_eq!(sealed(&data, "u")[&id].as_deref(), Some(&b"\x01\"12345\""[..]));
}
