//! A wall clock that jumps back a day, under a running server and before a start: nothing is lost,
//! no id comes twice, LSNs and versions go on, lists stay in their order, cursors and remembered
//! answers hold.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::PATIENT;
use super::preload::{Preload, loaded_in};
use crate::support::{Server, audience, pages, program, run};

const ARGS: [&str; 2] = ["--checkpoint-interval=200ms", PATIENT];
const DAY: i64 = 86_400;

fn key_of(record: &Value) -> (String, String) {
    let text = |field: &str| record[field].as_str().expect(field).to_owned();
    (text("created_at"), text("audience_id"))
}

/// The ids a list shows, after checking its order: newest first, ties by id.
async fn listed(server: &Server) -> Vec<String> {
    let keys: Vec<_> = pages(server, "audiences", "u").await.iter().map(key_of).collect();
    let ordered = |pair: &[(String, String)]| {
        pair[0].0 > pair[1].0 || (pair[0].0 == pair[1].0 && pair[0].1 < pair[1].1)
    };
    assert!(keys.windows(2).all(ordered), "{keys:?}");
    keys.into_iter().map(|(_, id)| id).collect()
}

async fn keyed(server: &Server, key: &str, name: &str) -> (bool, Value) {
    let body = audience("u", name).to_string();
    let headers = [("Idempotency-Key", key)];
    let reply = server.send(Method::POST, "/api/audiences", &headers, Some(&body)).await;
    (reply.header("idempotent-replayed").is_some(), reply.expect(201))
}

#[tokio::test]
async fn a_clock_that_jumps_back_a_day_loses_and_repeats_nothing() {
    let (folder, preload) = (tempfile::tempdir().expect("folder"), Preload::build());
    let data = folder.path().join("data");
    let start = async || {
        let server = Server::launched(&data, &ARGS, |command| preload.dress(command));
        let server = server.unwrap_or_else(|e| panic!("{e}"));
        server.ready().await;
        server
    };
    let mut server = start().await;
    assert!(loaded_in(server.pid()));
    let mut ids = Vec::new();
    let updated = server.save("audiences", &audience("u", "to be changed")).await;
    ids.push(updated.clone());
    let (_, first) = keyed(&server, "k1", "keyed").await;
    ids.push(first["audience_id"].as_str().expect("id").to_owned());
    let mut version = 1;
    for round in 0..4 {
        for n in 0..10 {
            ids.push(server.save("audiences", &audience("u", &format!("{round}.{n}"))).await);
        }
        let before = listed(&server).await;
        let page = server.get("/api/audiences?user_id=u&limit=5").await.expect(200);
        let cursor = page["next_cursor"].as_str().expect("cursor").to_owned();

        // A day back, again and again: while it runs in rounds 0 and 2, before a start in the others.
        preload.shift_clock(-DAY * (round + 1));
        if round % 2 == 1 {
            server.kill();
            server = start().await;
        }
        assert_eq!(listed(&server).await, before, "the same order");
        let rest = format!("/api/audiences?user_id=u&limit=500&cursor={cursor}");
        let rest = server.get(&rest).await.expect(200);
        let rest: Vec<_> = rest["audiences"].as_array().expect("records").iter().collect();
        assert_eq!(rest.len() + 5, before.len(), "the cursor goes on where it was");

        let change = json!({ "user_id": "u", "name": format!("changed in {round}") });
        let answer = server.put(&format!("/api/audiences/{updated}"), &change).await.expect(200);
        version += 1;
        assert_eq!(answer["version"], version);
        let (replayed, again) = keyed(&server, "k1", "keyed").await;
        assert_eq!((replayed, &again), (true, &first), "remembered");
        let made = server.save("audiences", &audience("u", "made in the past")).await;
        let read = server.get(&format!("/api/audiences/{made}?user_id=u")).await.expect(200);
        let oldest = server.get(&format!("/api/audiences/{updated}?user_id=u")).await.expect(200);
        let created = |answer: &Value| answer["audience"]["created_at"].clone();
        assert!(created(&read).as_str() < created(&oldest).as_str(), "the clock did jump");
        ids.push(made);
    }
    let unique: BTreeSet<_> = ids.iter().cloned().collect();
    assert_eq!(unique.len(), ids.len(), "no id came twice");
    let shown: BTreeSet<_> = listed(&server).await.into_iter().collect();
    assert_eq!(shown, unique);

    // The newest write wins, whatever its time, out of the log and out of the file.
    for _ in 0..2 {
        let read = server.get(&format!("/api/audiences/{updated}?user_id=u")).await.expect(200);
        assert_eq!(read["audience"]["name"], "changed in 3");
        server.checkpoint().await;
        server.kill();
        server = start().await;
    }
    assert_eq!(listed(&server).await.into_iter().collect::<BTreeSet<_>>(), unique);
    server.kill();
    let path = data.to_str().expect("path");
    let (code, out, error) = run(program(&["log", "inspect", "--json", "--data", path]));
    assert_eq!(code, 0, "{error}");
    let lsns: Vec<_> = out
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).expect("JSON")["lsn"].as_u64())
        .collect();
    assert!(lsns.len() > 10 && lsns.windows(2).all(|pair| pair[1] == pair[0] + 1), "{lsns:?}");
    let (code, out, error) = run(program(&["verify", "--deep", "--data", path]));
    assert_eq!(code, 0, "{out}{error}");
}
