//! What the README claims of requests and no other module is about.

use reqwest::Method;
use serde_json::json;

use crate::support::{Server, audience};

#[tokio::test]
async fn a_checkpoint_counts_the_partitions_it_wrote_and_no_others() {
    let server = Server::start_with(&["--checkpoint-interval", "1h"]).await;
    let checkpoint = async || {
        let reply = server.send(Method::POST, "/api/admin/checkpoint", &[], None).await;
        reply.expect(200)["partitions"].clone()
    };
    assert_eq!(checkpoint().await, 0);
    for user in ["u", "v"] {
        server.save("audiences", &audience(user, "new")).await;
    }
    assert_eq!(checkpoint().await, 2);
    assert_eq!(checkpoint().await, 0, "nothing is unsaved");
    server.save("audiences", &audience("v", "another")).await;
    assert_eq!(checkpoint().await, 1);
}

#[tokio::test]
async fn a_save_updates_what_it_names_and_says_what_it_ignored() {
    let server = Server::start().await;

    // With If-Match nothing is created, whoever makes the id.
    let mut body = audience("u", "first");
    for id in [None, Some("mine")] {
        if let Some(id) = id {
            body["audience_id"] = json!(id);
        }
        for expected in ["\"1\"", "*"] {
            let headers = [("If-Match", expected)];
            let text = body.to_string();
            let reply = server.send(Method::POST, "/api/audiences", &headers, Some(&text)).await;
            reply.expect_error(404, "NOT_FOUND");
        }
    }

    body["description"] = json!("stays");
    body["status"] = json!("draft");
    body["odd"] = json!({"z": 1.0});
    server.save("audiences", &body).await;
    let path = "/api/audiences/mine?user_id=u";
    let created = server.get(path).await.expect(200)["audience"].clone();
    assert_eq!(created["created_at"], created["updated_at"], "one moment");

    // A POST on the id merges; the month and the time of creation stay.
    let mut again = audience("u", "second");
    again["audience_id"] = json!("mine");
    again["created_at"] = json!("2020-01-01");
    let saved = server.post("/api/audiences", &again).await.expect(200);
    assert_eq!((&saved["version"], &saved["ignored"]), (&json!(2), &json!(["created_at"])));
    let merged = server.get(path).await.expect(200)["audience"].clone();
    assert_eq!(merged["name"], "second");
    for kept in ["description", "status", "odd", "created_at"] {
        assert_eq!(merged[kept], created[kept], "{kept}");
    }

    // null clears, or sets the default.
    let clear = json!({"user_id": "u", "description": null, "status": null});
    server.put("/api/audiences/mine", &clear).await.expect(200);
    let cleared = server.get(path).await.expect(200)["audience"].clone();
    assert_eq!((&cleared["description"], &cleared["status"]), (&json!(null), &json!("active")));
}
