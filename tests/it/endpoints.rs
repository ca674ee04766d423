//! What each endpoint of the contract answers: envelopes, messages, defaults, statuses.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, audience, distribution, fixture, platform, singular, smallest};

const TABLES: [&str; 3] = ["audiences", "platforms", "distributions"];

/// Names of an object's fields, in order.
fn names(object: &Value) -> Vec<&str> {
    object.as_object().expect("object").keys().map(String::as_str).collect()
}

#[tokio::test]
async fn todays_audience_payload_is_saved_and_comes_back_whole() {
    let server = Server::start().await;
    let sent = fixture("payloads/save_audience.json");
    let reply = server.post("/api/audiences", &sent).await;
    assert_eq!(reply.header("etag"), Some("\"1\""));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let saved = reply.expect(201);
    let id = saved["audience_id"].as_str().expect("id").to_owned();
    assert!(id.starts_with("aud_") && id.len() == 36, "{id}");
    assert_eq!(
        saved,
        json!({"success": true, "audience_id": id, "message": "Audience saved successfully", "version": 1})
    );

    let path = format!("/api/audiences/{id}?user_id=demo_user");
    let read = server.get(&path).await.expect(200);
    assert_eq!(names(&read), ["audience", "success"]);
    let found = &read["audience"];
    for (name, value) in sent.as_object().expect("object") {
        assert_eq!(&found[name], value, "{name}");
    }
    assert_eq!(found["created_at"], found["updated_at"]);
    assert_eq!(found["version"], 1);
    assert!(found.get("extra").is_none(), "unknown fields stand at top level");

    let archived = fixture("payloads/archive_audience.json");
    let answer = server.put(&format!("/api/audiences/{id}/status"), &archived).await.expect(200);
    assert_eq!(answer["message"], "Audience status updated to archived");
    assert_eq!(answer["success"], true);
    let found = server.get(&path).await.expect(200);
    assert_eq!(found["audience"]["status"], "archived");
    assert_eq!(found["audience"]["version"], 2);
    assert_eq!(found["audience"]["name"], sent["name"]);
}

#[tokio::test]
async fn every_table_has_the_same_calls() {
    let server = Server::start().await;
    for (table, title, prefix, status, other) in [
        ("audiences", "Audience", "aud_", "active", "draft"),
        ("platforms", "Platform", "plat_", "connected", "pending"),
        ("distributions", "Distribution", "dist_", "scheduled", "failed"),
    ] {
        let one = singular(table);
        let id = server.save(table, &smallest(table, "u")).await;
        assert!(id.starts_with(prefix), "{id}");
        let path = format!("/api/{table}/{id}");
        let read = format!("{path}?user_id=u");
        let found = server.get(&read).await.expect(200);
        assert_eq!(found[one]["status"], status, "the default status");
        assert_eq!(found[one][format!("{one}_id")], json!(id));
        assert_eq!(found[one]["user_id"], "u");

        let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(
            listed,
            json!({"success": true, table: [found[one]], "count": 1, "next_cursor": null})
        );

        let changed = server.put(&path, &json!({"user_id": "u", "note": "x"})).await;
        assert_eq!(changed.header("etag"), Some("\"2\""));
        let changed = changed.expect(200);
        assert_eq!(changed["message"], format!("{title} updated successfully"));
        assert_eq!(changed["version"], 2);
        let status = json!({"user_id": "u", "status": other});
        let status = server.put(&format!("{path}/status"), &status).await.expect(200);
        assert_eq!(status["message"], format!("{title} status updated to {other}"));
        let found = server.get(&read).await.expect(200);
        assert_eq!((&found[one]["status"], &found[one]["note"]), (&json!(other), &json!("x")));
        assert_eq!(found[one]["version"], 3);

        let gone = server.delete(&read).await.expect(200);
        assert_eq!(gone, json!({"success": true, "message": format!("{title} deleted")}));
        let message = format!("{title} not found");
        let missing = server.delete(&read).await.expect_error(404, "NOT_FOUND");
        assert_eq!(missing["error"], message);
        for reply in [
            server.get(&read).await,
            server.put(&path, &json!({"user_id": "u", "note": "y"})).await,
            server.put(&format!("{path}/status"), &json!({"user_id": "u", "status": other})).await,
        ] {
            assert_eq!(reply.expect_error(404, "NOT_FOUND"), missing);
        }
        let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(listed["count"], 0);
    }
}

#[tokio::test]
async fn every_status_of_the_contract_is_taken_and_no_other() {
    let server = Server::start().await;
    let all = [
        ("audiences", vec!["active", "draft", "archived"]),
        ("platforms", vec!["connected", "disconnected", "pending", "active", "inactive"]),
        (
            "distributions",
            vec![
                "scheduled",
                "pending",
                "processing",
                "in_progress",
                "completed",
                "failed",
                "cancelled",
            ],
        ),
    ];
    for (table, statuses) in all {
        for status in statuses {
            let mut body = smallest(table, "u");
            body["status"] = json!(status);
            let id = server.save(table, &body).await;
            let found = server.get(&format!("/api/{table}/{id}?user_id=u")).await.expect(200);
            assert_eq!(found[singular(table)]["status"], status);
        }
        let mut body = smallest(table, "u");
        body["status"] = json!("gone");
        let error = server.post(&format!("/api/{table}"), &body).await;
        let error = error.expect_error(400, "INVALID_FIELD");
        assert_eq!(error["details"]["pointer"], "/status");
    }
}

#[tokio::test]
async fn both_payload_styles_complete_a_distribution() {
    let server = Server::start().await;
    let sent = fixture("payloads/create_distribution.json");
    for (style, at) in [
        ("complete_distribution", Some("2025-05-30T13:00:00.000000Z")),
        ("complete_distribution_match_results", None),
    ] {
        let id = server.save("distributions", &sent).await;
        let path = format!("/api/distributions/{id}?user_id=demo_user");
        let before = server.get(&path).await.expect(200);
        assert_eq!(before["distribution"]["segments_distributed"], json!([0, 1, 2]));
        assert_eq!(before["distribution"]["scheduled_at"], "2025-05-30T12:00:00.000000Z");
        let body = fixture(&format!("payloads/{style}.json"));
        let answer =
            server.put(&format!("/api/distributions/{id}/status"), &body).await.expect(200);
        assert_eq!(answer["message"], "Distribution status updated to completed");

        let found = &server.get(&path).await.expect(200)["distribution"];
        assert_eq!(found["status"], "completed", "{style}");
        assert_eq!(found["match_rate"], 0.72, "{style}");
        assert_eq!(found["matched_records"], 108_000, "{style}");
        assert_eq!(found["total_records"], 150_000, "{style}");
        match at {
            Some(at) => assert_eq!(found["completed_at"], at),
            None => assert_eq!(found["completed_at"], found["updated_at"]),
        }
        assert_eq!(found["match_results"], body["match_results"], "{style}");
        for holder in [&sent["metadata"], &body["metadata"]] {
            for (name, value) in holder.as_object().into_iter().flatten() {
                assert_eq!(&found["metadata"][name], value, "metadata is merged: {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_failed_distribution_says_why_and_a_field_sent_itself_wins() {
    let server = Server::start().await;
    let id = server.save("distributions", &distribution("u", "a")).await;
    let status = format!("/api/distributions/{id}/status");
    let failed = json!({
        "user_id": "u", "status": "failed",
        "error_details": {"error_message": "quota", "code": 7},
    });
    server.put(&status, &failed).await.expect(200);
    let path = format!("/api/distributions/{id}?user_id=u");
    let found = server.get(&path).await.expect(200);
    assert_eq!(found["distribution"]["error_message"], "quota");
    assert_eq!(found["distribution"]["error_details"], failed["error_details"]);
    assert_eq!(found["distribution"]["completed_at"], Value::Null, "only completion sets it");

    let completed = json!({
        "user_id": "u", "status": "completed", "match_rate": 0.5,
        "match_results": {"match_rate": 0.9, "completed_at": "2025-06-01T00:00:00Z"},
    });
    server.put(&status, &completed).await.expect(200);
    let found = server.get(&path).await.expect(200);
    assert_eq!(found["distribution"]["match_rate"], 0.5);
    assert_eq!(found["distribution"]["completed_at"], "2025-06-01T00:00:00.000000Z");
    // Completing again does not move it.
    server.put(&status, &json!({"user_id": "u", "status": "completed"})).await.expect(200);
    let found = server.get(&path).await.expect(200);
    assert_eq!(found["distribution"]["completed_at"], "2025-06-01T00:00:00.000000Z");

    let wrong = json!({"user_id": "u", "status": "completed", "metadata": {"match_rate": "high"}});
    let error = server.put(&status, &wrong).await.expect_error(400, "INVALID_FIELD");
    assert_eq!(error["details"]["pointer"], "/metadata/match_rate");
}

#[tokio::test]
async fn an_audience_tells_its_distributions_newest_first() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let path = format!("/api/audiences/{id}/distributions?user_id=u");
    let empty = server.get(&path).await.expect(200);
    assert_eq!(
        empty,
        json!({"success": true, "distributions": [], "count": 0, "next_cursor": null})
    );
    server.save("distributions", &distribution("u", "another")).await;
    let mut made = Vec::new();
    for month in 1..=4 {
        let mut body = distribution("u", &id);
        body["created_at"] = json!(format!("2025-{month:02}-15T00:00:00Z"));
        body["status"] = json!(if month % 2 == 0 { "failed" } else { "completed" });
        made.insert(0, server.save("distributions", &body).await);
    }
    let ids = |listed: &Value| -> Vec<String> {
        let all = listed["distributions"].as_array().expect("list");
        all.iter().map(|d| d["distribution_id"].as_str().expect("id").to_owned()).collect()
    };
    assert_eq!(ids(&server.get(&path).await.expect(200)), made);
    let failed = server.get(&format!("{path}&status=failed")).await.expect(200);
    assert_eq!(ids(&failed), [made[0].as_str(), made[2].as_str()]);
    let first = server.get(&format!("{path}&limit=3")).await.expect(200);
    let cursor = first["next_cursor"].as_str().expect("cursor");
    let rest = server.get(&format!("{path}&limit=3&cursor={cursor}")).await.expect(200);
    assert_eq!([ids(&first), ids(&rest)].concat(), made);

    // History outlives its audience, in memory and in files; an unknown audience has none.
    server.delete(&format!("/api/audiences/{id}?user_id=u")).await.expect(200);
    assert_eq!(ids(&server.get(&path).await.expect(200)), made);
    server.checkpoint().await;
    assert_eq!(ids(&server.get(&format!("{path}&limit=9")).await.expect(200)), made);
    let none = server.get(&format!("{path}&status=cancelled")).await.expect(200);
    assert_eq!(none["count"], 0, "a filter that fits nothing is no missing audience");
    let missing = server.get("/api/audiences/nobody/distributions?user_id=u").await;
    assert_eq!(missing.expect_error(404, "NOT_FOUND")["error"], "Audience not found");
}

#[tokio::test]
async fn the_summary_counts_what_there_is() {
    let server = Server::start().await;
    let empty = server.get("/api/users/u/summary").await.expect(200);
    assert_eq!(
        empty,
        json!({"success": true, "summary": {
            "audiences": {"total": 0, "active": 0, "draft": 0, "archived": 0},
            "platforms": {"total": 0, "active": 0, "by_type": {}},
            "distributions": {"total": 0, "by_status": {}},
            "last_activity": null,
        }})
    );
    for (index, status) in ["active", "active", "draft", "archived"].into_iter().enumerate() {
        let mut body = audience("u", "a");
        body["status"] = json!(status);
        body["created_at"] = json!(format!("2024-0{}-01", index + 1));
        server.save("audiences", &body).await;
    }
    server.checkpoint().await;
    for kind in ["meta", "meta", "google_ads"] {
        let mut body = platform("u", "p");
        body["platform_type"] = json!(kind);
        server.save("platforms", &body).await;
    }
    let last = server.save("distributions", &distribution("u", "a")).await;
    server.save("audiences", &audience("other", "not u's")).await;
    let found = server.get("/api/users/u/summary").await.expect(200);
    let summary = &found["summary"];
    assert_eq!(summary["audiences"], json!({"total": 4, "active": 2, "draft": 1, "archived": 1}));
    assert_eq!(
        summary["platforms"],
        json!({"total": 3, "active": 3, "by_type": {"google_ads": 1, "meta": 2}})
    );
    assert_eq!(summary["distributions"], json!({"total": 1, "by_status": {"scheduled": 1}}));
    let path = format!("/api/distributions/{last}?user_id=u");
    let newest = server.get(&path).await.expect(200);
    assert_eq!(summary["last_activity"], newest["distribution"]["updated_at"]);
    server.delete(&path).await.expect(200);
    let found = server.get("/api/users/u/summary").await.expect(200);
    assert_eq!(found["summary"]["distributions"]["total"], 0, "never stale");
}

#[tokio::test]
async fn an_erased_user_is_gone_with_his_files_and_may_come_back() {
    let mut server = Server::start().await;
    for user in ["u", "v"] {
        for table in TABLES {
            for at in ["2024-01-05", "2024-02-05"] {
                let mut body = smallest(table, user);
                body["created_at"] = json!(at);
                body[format!("{}_id", singular(table))] = json!(format!("mine-{at}"));
                server.save(table, &body).await;
            }
        }
    }
    server.checkpoint().await;
    server.save("audiences", &audience("u", "unsaved")).await;
    let erased = server.delete("/api/users/u").await.expect(200);
    assert_eq!((&erased["success"], &erased["message"]), (&json!(true), &json!("User erased")));
    let counts = &erased["erased"];
    assert_eq!(counts["audiences"], 3);
    assert_eq!((&counts["platforms"], &counts["distributions"]), (&json!(2), &json!(2)));
    assert!(counts["files"].as_u64().expect("files") >= 5, "{counts}");
    for table in TABLES {
        let folder = server.data.join(table);
        assert!(!folder.join("user_id=u").exists(), "{table}");
        assert!(folder.join("user_id=v").exists(), "{table}");
        let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(listed["count"], 0, "{table}");
        let others = server.get(&format!("/api/{table}?user_id=v")).await.expect(200);
        assert_eq!(others["count"], 2, "{table}");
        // The id and the month are free again.
        let mut body = smallest(table, "u");
        body["created_at"] = json!("2024-02-05");
        body[format!("{}_id", singular(table))] = json!("mine-2024-01-05");
        let path = format!("/api/{table}/{}?user_id=u", server.save(table, &body).await);
        assert_eq!(server.get(&path).await.expect(200)[singular(table)]["version"], 1);
    }
    let data = server.data.clone();
    server.kill();
    let again = Server::over(&data, &[]).await;
    for table in TABLES {
        let listed = again.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(listed["count"], 1, "{table}");
        let others = again.get(&format!("/api/{table}?user_id=v")).await.expect(200);
        assert_eq!(others["count"], 2, "{table}");
    }
}

#[tokio::test]
async fn health_is_told_without_a_user() {
    let server = Server::start_with(&["--sync", "off"]).await;
    let health = server.get("/api/health").await.expect(200);
    assert_eq!((&health["success"], &health["status"]), (&json!(true), &json!("healthy")));
    assert_eq!(health["sync"], "off");
    assert_eq!(server.get("/health/live").await.expect(200)["success"], true);
    let ready = server.get("/health/ready").await.expect(200);
    assert_eq!((&ready["success"], &ready["unreadable_files"]), (&json!(true), &json!([])));
    let metrics = server.get("/metrics").await;
    assert!(metrics.header("content-type").expect("type").starts_with("text/plain"));
    assert!(metrics.text.lines().any(|l| l.starts_with("# TYPE ")), "{}", metrics.text);
}

#[tokio::test]
async fn head_answers_like_get_without_a_body() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    for path in [
        format!("/api/audiences/{id}?user_id=u"),
        "/api/audiences?user_id=u".to_owned(),
        format!("/api/audiences/{id}/distributions?user_id=u"),
        "/api/users/u/summary".to_owned(),
        "/api/health".to_owned(),
        "/health/live".to_owned(),
        "/health/ready".to_owned(),
        "/api/openapi.json".to_owned(),
        "/docs/index.html".to_owned(),
        "/api/audiences/none?user_id=u".to_owned(),
    ] {
        let get = server.get(&path).await;
        let head = server.send(Method::HEAD, &path, &[], None).await;
        assert_eq!(head.status, get.status, "{path}");
        assert_eq!(head.text, "", "{path}");
        for name in ["content-type", "content-length", "etag"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn what_is_no_endpoint_says_so_in_json() {
    let server = Server::start().await;
    for (method, path) in [
        (Method::GET, "/"),
        (Method::GET, "/api"),
        (Method::GET, "/api/audiences/"),
        (Method::GET, "/api/audience"),
        (Method::GET, "/API/audiences"),
        (Method::POST, "/api/audiences/x/y/z"),
        (Method::GET, "/api/platforms/x/distributions"),
        (Method::GET, "/api/audiences/x/credentials"),
        (Method::GET, "/docs/none.js"),
        (Method::GET, "/docs/..%2f..%2fetc%2fpasswd"),
        (Method::GET, "/api/idempotency?user_id=u"),
    ] {
        let reply = server.send(method.clone(), path, &[], None).await;
        assert_eq!(reply.header("content-type"), Some("application/json"), "{method} {path}");
        reply.expect_error(404, "ROUTE_NOT_FOUND");
    }
    for (method, path, allow) in [
        (Method::PATCH, "/api/audiences/x", "GET, HEAD, PUT, DELETE"),
        (Method::DELETE, "/api/platforms", "GET, HEAD, POST"),
        (Method::GET, "/api/distributions/x/status", "PUT"),
        (Method::POST, "/api/audiences/x/distributions", "GET, HEAD"),
        (Method::GET, "/api/users/u", "DELETE"),
        (Method::PUT, "/api/users/u/summary", "GET, HEAD"),
        (Method::GET, "/api/admin/checkpoint", "POST"),
        (Method::POST, "/health/ready", "GET, HEAD"),
        (Method::POST, "/api/openapi.json", "GET, HEAD"),
    ] {
        let reply = server.send(method.clone(), path, &[], None).await;
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        reply.expect_error(405, "METHOD_NOT_ALLOWED");
    }
}
