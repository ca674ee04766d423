//! `DELETE /api/users/{user_id}`: nothing of the user stays, nothing of others goes.

use reqwest::Method;
use serde_json::json;

use crate::support::files::{contents, holding, paths};
use crate::support::rows::stored_once;
use crate::support::{Server, audience, pages};

/// Stands in every record of the erased user, and nowhere else.
const MARKER: &str = "MARKER-b7f3";

async fn fill(server: &Server, user: &str, name: &str) {
    let saved = server.save("audiences", &audience(user, name)).await;
    let platform = json!({ "user_id": user, "platform_type": "meta", "name": name });
    let platform = server.save("platforms", &platform).await;
    let old = json!({ "user_id": user, "audience_id": saved, "platform_id": platform,
        "audience_name": name, "created_at": "2025-02-03T04:05:06Z" });
    server.save("distributions", &old).await;
    let keyed = audience(user, name).to_string();
    let key = [("Idempotency-Key", name)];
    server.send(Method::POST, "/api/audiences", &key, Some(&keyed)).await.expect(201);
}

async fn counts(server: &Server, user: &str) -> Vec<usize> {
    let mut counts = Vec::new();
    for table in ["audiences", "platforms", "distributions"] {
        counts.push(pages(server, table, user).await.len());
    }
    counts
}

#[tokio::test]
async fn an_erased_user_is_gone_from_reads_files_and_log_and_stays_so() {
    let args = ["--checkpoint-interval", "1h"];
    let mut server = Server::start_with(&args).await;
    fill(&server, "gone", MARKER).await;
    fill(&server, "stays", "other").await;
    server.checkpoint().await;
    fill(&server, "gone", &format!("{MARKER} unsaved")).await;
    assert_eq!(counts(&server, "gone").await, [4, 2, 2]);
    assert!(!holding(&server.data, MARKER).is_empty());

    let answer = server.delete("/api/users/gone").await.expect(200);
    let erased = &answer["erased"];
    assert_eq!(
        (&erased["audiences"], &erased["platforms"], &erased["distributions"]),
        (&json!(4), &json!(2), &json!(2)),
        "{answer}"
    );
    assert_eq!(answer["log_released"], true, "{answer}");
    assert_eq!(counts(&server, "gone").await, [0, 0, 0]);
    assert_eq!(holding(&server.data, MARKER), [""; 0]);
    let of_user = |name: &String| name.contains("user_id=gone");
    assert_eq!(paths(&server.data).into_keys().filter(of_user).count(), 0);
    assert!(stored_once(&server.data).iter().all(|row| row.user == "stays"));
    let trail = contents(&server.data.join("audit"));
    let trail = String::from_utf8(trail["00000000000000000001.jsonl"].clone()).expect("UTF-8");
    let line: serde_json::Value =
        serde_json::from_str(trail.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&line["action"], &line["user_id"]), (&json!("user_erased"), &json!("gone")));
    assert_eq!((&line["audiences"], &line["platforms"]), (&json!(4), &json!(2)));

    server.kill();
    let mut server = Server::over(&server.data, &args).await;
    assert_eq!(counts(&server, "gone").await, [0, 0, 0]);
    assert_eq!(counts(&server, "stays").await, [2, 1, 1]);
    assert_eq!(holding(&server.data, MARKER), [""; 0]);

    fill(&server, "gone", "begins again").await;
    server.kill();
    let server = Server::over(&server.data, &args).await;
    assert_eq!(counts(&server, "gone").await, [2, 1, 1]);
    server.checkpoint().await;
    assert_eq!(counts(&server, "gone").await, [2, 1, 1]);
    let summary = server.get("/api/users/gone/summary").await.expect(200);
    assert_eq!(summary["summary"]["audiences"]["total"], 2);
}

#[tokio::test]
async fn an_erasure_before_any_checkpoint_survives_a_kill() {
    let args = ["--checkpoint-interval", "1h"];
    let mut server = Server::start_with(&args).await;
    fill(&server, "gone", MARKER).await;
    server.delete("/api/users/gone").await.expect(200);
    fill(&server, "gone", "afterwards").await;
    server.kill();
    let server = Server::over(&server.data, &args).await;
    assert_eq!(counts(&server, "gone").await, [2, 1, 1]);
    assert_eq!(pages(&server, "audiences", "gone").await[0]["name"], "afterwards");
    assert_eq!(holding(&server.data, MARKER), [""; 0]);
    // Repeating it is no error, and erases what came since.
    let answer = server.delete("/api/users/gone").await.expect(200);
    assert_eq!(answer["erased"]["audiences"], 2);
    assert_eq!(server.delete("/api/users/gone").await.expect(200)["erased"]["audiences"], 0);
}
