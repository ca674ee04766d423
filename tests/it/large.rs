//! Records that take several row groups of one file, in a server with little memory.

use serde_json::{Value, json};

use crate::support::{Server, audience};

/// Records in the file. A row group takes 8 MiB: about eight of them.
const RECORDS: usize = 20;

async fn fill(server: &Server) {
    let filler = "x".repeat(1_000_000);
    for i in 0..RECORDS {
        let mut body = audience("u", &format!("n{i}"));
        body["audience_id"] = json!(format!("brought-{i}"));
        body["created_at"] = json!(format!("2025-03-01T00:00:{i:02}Z"));
        body["filler"] = json!(filler);
        server.post("/api/audiences", &body).await.expect(201);
    }
    server.checkpoint().await;
}

fn names(list: &Value) -> Vec<&str> {
    list["audiences"].as_array().expect("list").iter().filter_map(|a| a["name"].as_str()).collect()
}

#[tokio::test]
async fn lists_and_ids_reach_over_row_groups_that_memory_cannot_hold_together() {
    let args = ["--resident-bytes", "1MiB", "--checkpoint-bytes", "1MiB"];
    let mut server = Server::start_with(&args).await;
    fill(&server).await;

    let expected: Vec<String> = (0..RECORDS).rev().map(|i| format!("n{i}")).collect();
    let some = server.get("/api/audiences?user_id=u&fields=name").await.expect(200);
    assert_eq!(names(&some), expected);
    let all = server.get("/api/audiences?user_id=u").await.expect(200);
    assert_eq!(names(&all), expected);

    // After a restart the catalog has to ask the file which ids it holds.
    server.stop().await;
    let mut server = Server::over(&server.data, &args).await;
    let mut again = audience("u", "renamed");
    again["audience_id"] = json!("brought-0");
    let answer = server.post("/api/audiences", &again).await.expect(200);
    assert_eq!(answer["version"], 2);
    let path = format!("/api/audiences/brought-{}?user_id=u&fields=name", RECORDS - 1);
    assert_eq!(server.get(&path).await.expect(200)["audience"]["name"], expected[0].as_str());
    server.stop().await;
}

#[tokio::test]
async fn a_body_of_very_many_fields_is_taken_and_merged() {
    let server = Server::start().await;
    let mut body = audience("u", "n");
    for i in 0..60_000 {
        body[format!("k{i}")] = json!(i);
    }
    let id = server.save("audiences", &body).await;
    let path = format!("/api/audiences/{id}");
    server.put(&path, &body).await.expect(200);
    let read = server.get(&format!("{path}?user_id=u")).await.expect(200);
    assert_eq!(read["audience"]["k59999"], 59_999);
}
