//! The Python service's files: served at once, taken over without losing anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use audience_store::domain::Table;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::chance::{Chance, seed};
use crate::support::files::{contents, copy_tree, holding, paths};
use crate::support::rows::{batches, columns, stored_once};
use crate::support::{Server, audience, fixture, pages, program, record_of, run};

/// Only what asks for it is written to Parquet.
const NO_CHECKPOINTS: [&str; 2] = ["--checkpoint-interval", "1h"];
/// Part of the plain credentials in the old files.
const SECRET: &str = "b64:AAAA";

fn old_tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy-tree")
}

/// A folder with a copy of the old tree.
fn copied() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    for table in ["audiences", "platforms", "distributions"] {
        copy_tree(&old_tree().join(table), &data.join(table));
    }
    (folder, data)
}

/// What readers must see, by table and user.
fn expected() -> BTreeMap<(String, String), Vec<Value>> {
    let mut by_user: BTreeMap<_, Vec<Value>> = BTreeMap::new();
    for entry in fixture("legacy-tree/expected.json").as_array().expect("list") {
        let text = |field: &str| entry[field].as_str().expect("text").to_owned();
        let mut record = entry["record"].clone();
        if record["credentials"].is_object() {
            record["credentials"] = json!({ "encrypted": true, "account_id": "12345" });
        }
        by_user.entry((text("table"), text("user_id"))).or_default().push(record);
    }
    by_user
}

fn id_of<'a>(table: &str, record: &'a Value) -> &'a str {
    record[format!("{}_id", table.trim_end_matches('s'))].as_str().expect("id")
}

/// Checks a record against what is expected of it: every field, and no others with a value.
fn assert_same(shown: &Value, expected: &Value) {
    let shown = shown.as_object().expect("record");
    let expected = expected.as_object().expect("record");
    for (field, value) in expected {
        assert_eq!(shown.get(field), Some(value), "{field} of {shown:?}");
    }
    for (field, value) in shown.iter().filter(|(field, _)| !expected.contains_key(*field)) {
        // A record that has no `updated_at` shows its `created_at` there.
        let made = field == "version" && *value == 1
            || field == "updated_at" && *value == expected["created_at"];
        assert!(made || value.is_null(), "{field} is {value} in {shown:?}");
    }
}

/// Checks every expected record, in lists and alone. Lists may hold added records too.
async fn assert_all_served(server: &Server) {
    for ((table, user), records) in expected() {
        let listed = pages(server, &table, &user).await;
        let listed: Vec<_> =
            listed.iter().filter(|r| !id_of(&table, r).starts_with("added-")).collect();
        assert_eq!(listed.len(), records.len(), "{table} of {user}");
        for record in &records {
            let id = id_of(&table, record);
            let shown = listed.iter().find(|r| id_of(&table, r) == id).expect(id);
            assert_same(shown, record);
            let alone = server.get(&format!("/api/{table}/{id}?user_id={user}")).await;
            assert_same(&record_of(&table, &alone.expect(200)), record);
        }
        let places: Vec<_> = listed
            .iter()
            .map(|r| std::cmp::Reverse(r["created_at"].as_str().expect("time")))
            .collect();
        assert!(places.is_sorted(), "newest first");
    }
}

/// Every partition of the old tree: table, user, and a moment in it.
fn partitions() -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for ((table, user), records) in expected() {
        for record in records {
            let created = record["created_at"].as_str().expect("time");
            let month = if table == "platforms" { "" } else { &created[..7] };
            all.insert((table.clone(), user.clone(), month.to_owned()));
        }
    }
    all
}

/// Saves one record into every partition. Repeating it updates that record.
async fn add_to_all(server: &Server) -> reqwest::Result<()> {
    for (table, user, month) in partitions() {
        let mut body = match table.as_str() {
            "audiences" => audience(&user, "added"),
            "platforms" => json!({ "user_id": user, "platform_type": "meta", "name": "added" }),
            _ => json!({ "user_id": user, "audience_id": "a", "platform_id": "p" }),
        };
        body[format!("{}_id", table.trim_end_matches('s'))] = format!("added-{month}").into();
        if !month.is_empty() {
            body["created_at"] = format!("{month}-15T12:00:00Z").into();
        }
        let path = format!("/api/{table}");
        let body = body.to_string();
        let reply = server.try_send(reqwest::Method::POST, &path, &[], Some(&body)).await?;
        assert!(reply.status.is_success(), "{}", reply.text);
    }
    Ok(())
}

/// Checks that every byte of the old tree is still somewhere, under its own or another name.
fn assert_nothing_lost(data: &Path) {
    let now: BTreeSet<Vec<u8>> = contents(data).into_values().collect();
    let old = contents(&old_tree());
    let old: Vec<_> = old.into_iter().filter(|(name, _)| name.ends_with(".parquet")).collect();
    assert!(old.len() > 15);
    for (name, bytes) in old {
        assert!(now.contains(&bytes), "{name} is lost");
    }
}

/// Checks that the three folders hold one file of today's schema a partition, under its name.
fn assert_taken_over(data: &Path) {
    for table in [Table::Audiences, Table::Platforms, Table::Distributions] {
        let spec = table.spec();
        let today: Vec<_> = spec.columns.iter().map(|column| column.name).collect();
        for (name, path) in paths(&data.join(spec.name)) {
            let folders: Vec<_> = name.split('/').collect();
            let right = match folders[..] {
                [_, file] => file == "platforms.parquet",
                [_, year, month, file] => {
                    let (year, month) = (&year["year=".len()..], &month["month=".len()..]);
                    file == format!("{}_{year}{month}.parquet", spec.name)
                }
                _ => false,
            };
            assert!(right, "{name}");
            assert_eq!(columns(&path), today, "{name}");
        }
    }
    for (name, path) in paths(&data.join("platforms")) {
        for batch in batches(&path) {
            let shown = format!("{:?}", batch.column_by_name("credentials").expect("column"));
            let bytes = SECRET.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
            assert!(!shown.contains(&bytes) && !shown.contains(SECRET), "{name}: {shown}");
        }
    }
    assert!(holding(&data.join("log"), SECRET).is_empty(), "credentials in the log");
}

#[tokio::test]
async fn the_old_tree_is_served_taken_over_and_served_again() {
    let (_folder, data) = copied();
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_all_served(&server).await;
    let untouched = contents(&data.join("audiences"));
    server.stop().await;
    assert_eq!(contents(&data.join("audiences")), untouched, "reading changes nothing");

    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    add_to_all(&server).await.expect("answers");
    assert_all_served(&server).await;
    server.checkpoint().await;
    assert_all_served(&server).await;
    assert_taken_over(&data);
    assert_nothing_lost(&data);
    let rows = stored_once(&data).len();
    assert_eq!(rows, expected().values().map(Vec::len).sum::<usize>() + partitions().len());
    server.stop().await;

    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_all_served(&server).await;
    assert_eq!(server.get("/health/ready").await.expect(200)["unreadable_files"], json!([]));
    server.checkpoint().await;
    assert_nothing_lost(&data);
    assert_eq!(stored_once(&data).len(), rows);
}

#[tokio::test]
async fn a_checkpoint_on_demand_takes_over_what_was_only_read() {
    let (_folder, data) = copied();
    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    assert_all_served(&server).await;
    server.checkpoint().await;
    assert_taken_over(&data);
    assert_nothing_lost(&data);
    assert_all_served(&server).await;
}

#[tokio::test]
async fn an_old_record_is_updated_and_deleted_like_any_other() {
    let (_folder, data) = copied();
    let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
    // In April's folder twice: written in May, changed in June.
    let path = "/api/audiences/aud_b348f4bd";
    let changed = json!({ "user_id": "demo_user", "name": "Changed", "note": "kept" });
    assert_eq!(server.put(path, &changed).await.expect(200)["version"], 2);
    let gone = "/api/audiences/aud_e3cf087e?user_id=demo_user";
    server.delete(gone).await.expect(200);
    let status = json!({ "user_id": "demo_user", "status": "inactive" });
    server.put("/api/platforms/plat_014fea9f/status", &status).await.expect(200);
    let all = expected();
    let old = &all[&("audiences".to_owned(), "demo_user".to_owned())];
    let mut wanted = old.iter().find(|r| r["audience_id"] == "aud_b348f4bd").expect("it").clone();
    wanted["name"] = "Changed".into();
    wanted["note"] = "kept".into();
    wanted["version"] = 2.into();
    for round in 0..3 {
        let reply = server.get(&format!("{path}?user_id=demo_user")).await.expect(200);
        wanted["updated_at"] = reply["audience"]["updated_at"].clone();
        assert_same(&reply["audience"], &wanted);
        server.get(gone).await.expect_error(404, "NOT_FOUND");
        assert_eq!(pages(&server, "audiences", "demo_user").await.len(), old.len() - 1);
        let platform = server.get("/api/platforms/plat_014fea9f?user_id=demo_user").await;
        let platform = record_of("platforms", &platform.expect(200));
        assert_eq!(platform["status"], "inactive");
        assert_eq!(platform["credentials"], json!({ "encrypted": true, "account_id": "12345" }));
        match round {
            0 => server.kill(),
            _ => server.stop().await,
        }
        server = Server::over(&data, &NO_CHECKPOINTS).await;
    }
    assert_nothing_lost(&data);
}

#[tokio::test]
async fn a_kill_at_any_time_around_the_take_over_keeps_every_row_once() {
    let mut chance = Chance::new(seed());
    for round in 0..6 {
        let (_folder, data) = copied();
        let mut server = Server::over(&data, &NO_CHECKPOINTS).await;
        let take_over = async {
            // Whatever of this the kill lets happen.
            if add_to_all(&server).await.is_ok() {
                server.try_checkpoint().await;
            }
        };
        let kill = tokio::time::sleep(Duration::from_micros(chance.of(0..250_000)));
        tokio::select! {
            () = take_over => {}
            () = kill => {}
        }
        server.kill();
        assert_nothing_lost(&data);
        let server = Server::over(&data, &NO_CHECKPOINTS).await;
        assert_all_served(&server).await;
        add_to_all(&server).await.expect("answers");
        server.checkpoint().await;
        assert_all_served(&server).await;
        assert_taken_over(&data);
        assert_nothing_lost(&data);
        let rows = expected().values().map(Vec::len).sum::<usize>() + partitions().len();
        assert_eq!(stored_once(&data).len(), rows, "round {round}");
    }
}

#[tokio::test]
async fn adopt_takes_over_a_whole_tree_and_can_be_repeated() {
    let (_folder, data) = copied();
    let path = data.to_str().expect("path");
    let (code, out, error) = run(program(&["adopt", "--data", path]));
    assert_eq!(code, 0, "{out}{error}");
    let count = partitions().len();
    assert_eq!(out, format!("{count} partitions looked at, {count} taken over\n"));
    assert_taken_over(&data);
    assert_nothing_lost(&data);
    let (code, out, _) = run(program(&["adopt", "--data", path]));
    assert_eq!((code, out), (0, format!("{count} partitions looked at, 0 taken over\n")));

    let broken = data.join("platforms/user_id=test_user/platforms.parquet");
    std::fs::write(&broken, b"no Parquet").expect("write");
    let (code, out, error) = run(program(&["adopt", "--data", path]));
    assert_eq!(code, 1, "{out}{error}");
    assert!(out.contains("platforms/user_id=test_user/platforms.parquet: "), "{out}");
    assert!(error.contains("1 cannot be read and stay as they are"), "{error}");
    assert_eq!(std::fs::read(&broken).expect("file"), b"no Parquet");

    let server = Server::over(&data, &NO_CHECKPOINTS).await;
    let (code, _, error) = run(program(&["adopt", "--data", path]));
    assert_eq!(code, 1);
    assert!(error.contains("another audience-store is running"), "{error}");
    drop(server);
}
