//! DuckDB, Polars, pandas and pyarrow read the whole tree, while the server runs, and see what the
//! API says. The checks themselves are `readers/*.py`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::files::copy_tree;
use crate::support::python::verdict;
use crate::support::{Server, audience, fixture, pages};

const READERS: [&str; 4] =
    ["read_duckdb.py", "read_polars.py", "read_pandas.py", "read_pyarrow.py"];
/// Users whose folders are escaped, look like numbers, or hold what globs mean something by.
const USERS: [&str; 5] = ["a/b", "007", "üser x", "it's [x]*?", "50%41"];
/// Records that each writer adds while others read, so that the tree stays small.
const MORE: usize = 200;
const LEGACY: [&str; 4] = ["demo_user", "strict_user", "test_user", "user@example.com"];

fn escaped(user: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric();
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    user.bytes().map(one).collect()
}

/// Records with every column filled somewhere, over several months, some changed, some deleted.
async fn fill(server: &Server, user: &str) {
    for (n, month) in ["2025-12", "2026-01", "2026-02"].iter().enumerate() {
        let mut full = fixture("payloads/save_audience.json");
        full["user_id"] = user.into();
        full["created_at"] = format!("{month}-28T23:59:59.{n}00001Z").into();
        full["odd"] = json!({ "π": [1, 2.5, -0.0, 1e300, null, true, "\u{1f600}\\\"\n"], "": {} });
        let full = server.save("audiences", &full).await;
        let sparse = server.save("audiences", &audience(user, "sparse")).await;
        let changes = json!({ "user_id": user, "description": "", "segments": [],
            "selected_variables": ["\"quoted\"", "ü", "1"], "total_audience_size": 9007199254740993_i64 });
        server.put(&format!("/api/audiences/{sparse}"), &changes).await.expect(200);
        if n == 1 {
            let path = format!("/api/audiences/{full}?user_id={}", escaped(user));
            server.delete(&path).await.expect(200);
        }
        let platform = json!({ "user_id": user, "platform_type": "meta", "name": format!("p{n}"),
            "settings": {"default_match_rate": 0.7}, "last_sync": "2026-02-03T04:05:06.000007Z" });
        let platform = server.save("platforms", &platform).await;
        let mut sent = fixture("payloads/create_distribution.json");
        sent["user_id"] = user.into();
        sent["audience_id"] = full.into();
        sent["platform_id"] = platform.into();
        sent["created_at"] = format!("{month}-01T00:00:00Z").into();
        sent["segments_distributed"] = json!([0, "0", 1.5, "x", "\"", ""]);
        let sent = server.save("distributions", &sent).await;
        let mut done = fixture("payloads/complete_distribution_match_results.json");
        done["user_id"] = user.into();
        server.put(&format!("/api/distributions/{sent}/status"), &done).await.expect(200);
    }
}

async fn ask(script: &str, mode: &str, server: &Server) -> Value {
    let url = server.url("");
    let users = json!([&USERS[..], &LEGACY[..]].concat()).to_string();
    let data = server.data.to_str().expect("path");
    let verdict = verdict(script, &[mode, &url, data, &users]).await;
    assert_eq!(verdict["ok"], true, "{script}: {verdict:#}");
    verdict
}

async fn ask_all(mode: &str, server: &Server) -> Vec<Value> {
    join_all(READERS.map(|script| ask(script, mode, server))).await
}

#[tokio::test]
async fn every_reader_sees_each_row_and_column_as_the_api_shows_it() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let old = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/legacy-tree");
    for table in ["audiences", "platforms", "distributions"] {
        copy_tree(&old.join(table), &data.join(table));
    }
    let server = Server::over(&data, &[]).await;
    join_all(USERS.map(|user| fill(&server, user))).await;
    let mut rows = [0; 3];
    for user in USERS.iter().chain(&LEGACY) {
        for (index, table) in ["audiences", "platforms", "distributions"].iter().enumerate() {
            rows[index] += pages(&server, table, &escaped(user)).await.len();
        }
    }
    // Also takes over the old files, which were just read.
    server.checkpoint().await;
    for verdict in ask_all("compare", &server).await {
        let [audiences, platforms, distributions] = rows;
        let seen = json!({ "audiences": audiences, "platforms": platforms,
            "distributions": distributions });
        assert_eq!(verdict["rows"], seen);
    }
}

#[tokio::test]
async fn every_reader_reads_the_whole_tree_while_others_write() {
    let server = Server::start_with(&["--checkpoint-interval", "1h"]).await;
    join_all(USERS.map(|user| fill(&server, user))).await;
    let done = AtomicBool::new(false);
    let write = |user: &'static str| {
        let (server, done) = (&server, &done);
        async move {
            let kept = server.save("audiences", &audience(user, "changing")).await;
            let mut more = 0;
            while !done.load(Ordering::Relaxed) {
                let change = json!({ "user_id": user, "name": "changed" });
                server.put(&format!("/api/audiences/{kept}"), &change).await.expect(200);
                if more < MORE {
                    more += 1;
                    server.save("audiences", &audience(user, "more")).await;
                    let platform = json!({ "user_id": user, "platform_type": "meta", "name": "p" });
                    server.save("platforms", &platform).await;
                }
            }
        }
    };
    let read = async {
        let mut all = Vec::new();
        for reader in READERS {
            all.push(ask(reader, "watch", &server).await);
        }
        done.store(true, Ordering::Relaxed);
        all
    };
    let (verdicts, _) = tokio::join!(read, join_all(USERS.map(write)));
    for verdict in verdicts {
        assert!(verdict["first"].as_u64() < verdict["last"].as_u64(), "nothing new: {verdict}");
    }
}
