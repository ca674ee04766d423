//! Pages while others write: cursors lead on from where a page ended, whatever comes and goes
//! meanwhile, and belong to one list of one user; a listing is never older than an answer that
//! its reader has seen.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::support::{Server, audience, distribution};

fn ids(page: &Value) -> Vec<String> {
    let all = page["audiences"].as_array().expect("list");
    all.iter().map(|a| a["audience_id"].as_str().expect("id").to_owned()).collect()
}

/// Walks a list to its end.
async fn walk(server: &Server, query: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = server.get(&format!("/api/audiences?{query}{cursor}")).await.expect(200);
        found.extend(ids(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

async fn save(server: &Server, n: usize, note: &str) -> String {
    let mut body = audience("u", note);
    // Spread over five months, with many of one instant.
    body["created_at"] = json!(format!("2024-{:02}-{:02}", n % 5 + 1, n / 5 % 9 + 1));
    server.save("audiences", &body).await
}

#[tokio::test]
async fn a_walk_finds_every_record_once() {
    let server = Server::start().await;
    let saved = join_all((0..150).map(|n| save(&server, n, "a"))).await;
    let saved: BTreeSet<String> = saved.into_iter().collect();
    let whole = walk(&server, "user_id=u&limit=1000").await;
    for limit in [1, 7, 50, 149, 150] {
        let walked = walk(&server, &format!("user_id=u&limit={limit}")).await;
        assert_eq!(walked, whole, "{limit}");
    }
    assert_eq!(whole.iter().cloned().collect::<BTreeSet<_>>(), saved);
    server.checkpoint().await;
    assert_eq!(walk(&server, "user_id=u&limit=11").await, whole);
}

#[tokio::test]
async fn a_walk_under_inserts_deletes_and_checkpoints_misses_nothing_that_stays() {
    let server = Server::start().await;
    let stays = join_all((0..120).map(|n| save(&server, n, "stays"))).await;
    let stays: BTreeSet<String> = stays.into_iter().collect();
    let done = AtomicBool::new(false);
    let writer = async |first: usize| {
        let mut count = 0;
        while !done.load(Ordering::Relaxed) {
            let id = save(&server, first + count, "passes").await;
            let path = format!("/api/audiences/{id}");
            server.put(&path, &json!({"user_id": "u", "note": count})).await.expect(200);
            server.delete(&format!("{path}?user_id=u")).await.expect(200);
            count += 1;
        }
        count
    };
    let checkpoints = async {
        while !done.load(Ordering::Relaxed) {
            server.checkpoint().await;
        }
    };
    let walks = async {
        for limit in [7, 13, 50] {
            for _ in 0..3 {
                let walked = walk(&server, &format!("user_id=u&limit={limit}")).await;
                let once: BTreeSet<String> = walked.iter().cloned().collect();
                assert_eq!(once.len(), walked.len(), "no record twice");
                assert!(stays.is_subset(&once), "missed {:?}", stays.difference(&once));
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    let writers = join_all([3, 40, 71, 90].map(&writer));
    let (written, _) = join(writers, join(checkpoints, walks)).await;
    assert!(written.iter().sum::<usize>() > 0);
    assert_eq!(walk(&server, "user_id=u&limit=9").await.len(), stays.len());
}

#[tokio::test]
async fn a_cursor_outlives_the_record_it_ended_at_a_checkpoint_and_a_restart() {
    let mut server = Server::start().await;
    join_all((0..20).map(|n| save(&server, n, "a"))).await;
    let whole = walk(&server, "user_id=u").await;
    let page = server.get("/api/audiences?user_id=u&limit=8").await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("cursor").to_owned();
    server.delete(&format!("/api/audiences/{}?user_id=u", whole[7])).await.expect(200);
    let rest = format!("user_id=u&limit=5&cursor={cursor}");
    let after = |found: &Value| ids(found);
    let found = server.get(&format!("/api/audiences?{rest}")).await.expect(200);
    assert_eq!(after(&found), whole[8..13]);
    server.checkpoint().await;
    let data = server.data.clone();
    server.stop().await;
    let again = Server::over(&data, &[]).await;
    let found = again.get(&format!("/api/audiences?{rest}")).await.expect(200);
    assert_eq!(after(&found), whole[8..13]);
}

#[tokio::test]
async fn a_cursor_leads_nowhere_else() {
    let server = Server::start().await;
    for user in ["u", "v"] {
        for _ in 0..3 {
            server.save("audiences", &audience(user, "x")).await;
            server.save("distributions", &distribution(user, "a")).await;
        }
    }
    let page = server.get("/api/audiences?user_id=u&limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("cursor").to_owned();
    let page = server.get("/api/distributions?user_id=u&limit=1").await.expect(200);
    let other = page["next_cursor"].as_str().expect("cursor").to_owned();
    let half = &cursor[..cursor.len() / 2];
    for path in [
        format!("audiences?user_id=v&cursor={cursor}"),
        format!("audiences?user_id=u&status=active&cursor={cursor}"),
        format!("audiences?user_id=u&q=x&cursor={cursor}"),
        format!("audiences?user_id=u&created_after=2020-01-01&cursor={cursor}"),
        format!("distributions?user_id=u&cursor={cursor}"),
        format!("platforms?user_id=u&cursor={cursor}"),
        format!("audiences?user_id=u&cursor={other}"),
        format!("audiences/a/distributions?user_id=u&cursor={other}"),
        format!("audiences?user_id=u&cursor={half}"),
        format!("audiences?user_id=u&cursor={cursor}{cursor}"),
        "audiences?user_id=u&cursor=0".to_owned(),
        "audiences?user_id=u&cursor=%F0%9F%98%80".to_owned(),
        format!("audiences?user_id=u&cursor={}", "A".repeat(4000)),
    ] {
        let error = server.get(&format!("/api/{path}")).await.expect_error(400, "INVALID_CURSOR");
        assert_eq!(error["details"], json!({"pointer": "/cursor", "in": "query"}), "{path}");
    }
    // Limit and fields shape a page, not the list: they may change on the way.
    let on = format!("/api/audiences?user_id=u&limit=2&fields=audience_id&cursor={cursor}");
    assert_eq!(server.get(&on).await.expect(200)["count"], 2);
    let of = "/api/audiences/a/distributions?user_id=u&limit=1";
    let page = server.get(of).await.expect(200);
    let next = page["next_cursor"].as_str().expect("cursor");
    assert_eq!(server.get(&format!("{of}&cursor={next}")).await.expect(200)["count"], 1);
}

#[tokio::test]
async fn a_listing_is_never_older_than_an_answer_its_reader_has_seen() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "shared")).await;
    let client = async |number: usize| {
        let path = format!("/api/audiences/{id}");
        for round in 0..12 {
            let name = format!("c{number}-{round}");
            let mine = server.save("audiences", &audience("u", &name)).await;
            let listed = server.get("/api/audiences?user_id=u&limit=1000").await.expect(200);
            assert!(ids(&listed).contains(&mine), "{name} is missing after its 201");
            let changed =
                server.put(&path, &json!({"user_id": "u", "note": name})).await.expect(200);
            let version = changed["version"].as_i64().expect("version");
            let listed = server
                .get("/api/audiences?user_id=u&limit=1000&fields=audience_id,version")
                .await
                .expect(200);
            let all = listed["audiences"].as_array().expect("list");
            let shared = all.iter().find(|a| a["audience_id"] == id.as_str()).expect("shared");
            assert!(shared["version"].as_i64() >= Some(version), "{shared} after {version}");
            server.delete(&format!("/api/audiences/{mine}?user_id=u")).await.expect(200);
            let listed = server.get("/api/audiences?user_id=u&limit=1000").await.expect(200);
            assert!(!ids(&listed).contains(&mine), "{name} is there after its deletion");
            let summary = server.get("/api/users/u/summary").await.expect(200);
            let total = summary["summary"]["audiences"]["total"].as_u64().expect("total");
            assert!((1..=8).contains(&total), "{total}");
        }
    };
    let writing = AtomicBool::new(true);
    let checkpoints = async {
        while writing.load(Ordering::Relaxed) {
            server.checkpoint().await;
        }
    };
    let clients = async {
        join_all((0..8).map(&client)).await;
        writing.store(false, Ordering::Relaxed);
    };
    join(clients, checkpoints).await;
    let listed = server.get("/api/audiences?user_id=u").await.expect(200);
    assert_eq!(ids(&listed), [id]);
}
