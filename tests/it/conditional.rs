//! Tags: `ETag`, `If-Match` → 412, `If-None-Match` → 304.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::support::{Reply, Server, audience, distribution, singular, smallest};

#[tokio::test]
async fn a_record_is_changed_only_where_its_version_is_the_one_named() {
    let server = Server::start().await;
    for table in ["audiences", "platforms", "distributions"] {
        let one = singular(table);
        let id = server.save(table, &smallest(table, "u")).await;
        let path = format!("/api/{table}/{id}");
        let read = format!("{path}?user_id=u");
        let change = json!({"user_id": "u", "note": 1}).to_string();
        let status =
            json!({"user_id": "u", "status": if table == "audiences" { "draft" } else { "pending" }})
                .to_string();
        let status_path = format!("{path}/status");
        let put = async |tag: &str, path: &str, body: &str| {
            server.send(Method::PUT, path, &[("If-Match", tag)], Some(body)).await
        };
        let remove =
            async |tag: &str| server.send(Method::DELETE, &read, &[("If-Match", tag)], None).await;

        for stale in ["\"2\"", "\"0\"", "\"nonsense\"", "W/\"1\"", "\"5\", \"6\""] {
            for reply in [
                put(stale, path.as_str(), change.as_str()).await,
                put(stale, status_path.as_str(), status.as_str()).await,
                remove(stale).await,
            ] {
                let error = reply.expect_error(412, "VERSION_MISMATCH");
                assert_eq!(error["details"]["version"], 1, "{stale}: says what it is");
            }
        }
        assert_eq!(server.get(&read).await.expect(200)[one]["version"], 1);

        let changed = put("\"1\"", &path, &change).await;
        assert_eq!(changed.header("etag"), Some("\"2\""));
        changed.expect(200);
        put("\"1\", \"2\"", &path, &change).await.expect(200);
        put("*", &status_path, &status).await.expect(200);
        let mut again = smallest(table, "u");
        again[format!("{one}_id")] = json!(id);
        let again = again.to_string();
        let all = format!("/api/{table}");
        let post =
            async |tag| server.send(Method::POST, &all, &[("If-Match", tag)], Some(&again)).await;
        post("\"1\"").await.expect_error(412, "VERSION_MISMATCH");
        assert_eq!(post("\"4\"").await.expect(200)["version"], 5);
        server.checkpoint().await;
        remove("\"4\"").await.expect_error(412, "VERSION_MISMATCH");
        remove("\"5\"").await.expect(200);
        for tag in ["*", "\"5\""] {
            put(tag, &path, &change).await.expect_error(404, "NOT_FOUND");
            remove(tag).await.expect_error(404, "NOT_FOUND");
            post(tag).await.expect_error(404, "NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn a_create_that_expects_a_record_makes_none() {
    let server = Server::start().await;
    let body = audience("u", "a").to_string();
    for tag in ["*", "\"1\""] {
        let headers = [("If-Match", tag)];
        let reply = server.send(Method::POST, "/api/audiences", &headers, Some(&body)).await;
        reply.expect_error(404, "NOT_FOUND");
    }
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 0);
}

#[tokio::test]
async fn of_two_clients_that_read_the_same_version_one_wins() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let path = format!("/api/audiences/{id}");
    for version in 1..=5 {
        let tag = format!("\"{version}\"");
        let body = json!({"user_id": "u", "note": version}).to_string();
        let headers = [("If-Match", tag.as_str())];
        let write = || server.send(Method::PUT, &path, &headers, Some(&body));
        let replies = join_all((0..8).map(|_| write())).await;
        let mut statuses: Vec<u16> = replies.iter().map(|r| r.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    }
}

#[tokio::test]
async fn a_read_is_not_sent_again_to_who_has_it() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    server.save("distributions", &distribution("u", &id)).await;
    let one = format!("/api/audiences/{id}?user_id=u");
    let of = format!("/api/audiences/{id}/distributions?user_id=u");
    let paths = [
        one.as_str(),
        "/api/audiences?user_id=u",
        "/api/audiences?user_id=u&fields=name",
        of.as_str(),
        "/api/users/u/summary",
    ];
    let with = async |path: &str, tag: String| if_none_match(&server, path, &tag).await;
    for path in paths {
        let full = server.get(path).await;
        let tag = full.header("etag").expect(path).to_owned();
        full.expect(200);
        for known in [
            tag.clone(),
            format!("\"x\", {tag}"),
            "*".to_owned(),
            format!("W/{}", tag.trim_start_matches("W/")),
        ] {
            let reply = with(path, known.clone()).await;
            assert_eq!(reply.status.as_u16(), 304, "{path} {known}");
            assert_eq!(reply.text, "");
            assert_eq!(reply.header("etag"), Some(tag.as_str()), "{path}");
        }
        with(path, "\"x\"".to_owned()).await.expect(200);
    }
    // A missing record has no content that anybody could have.
    with("/api/audiences/none?user_id=u", "*".to_owned()).await.expect_error(404, "NOT_FOUND");

    let tags: Vec<String> = {
        let mut tags = Vec::new();
        for path in paths {
            tags.push(server.get(path).await.header("etag").expect(path).to_owned());
        }
        tags
    };
    server
        .put(&format!("/api/audiences/{id}"), &json!({"user_id": "u", "name": "b"}))
        .await
        .expect(200);
    for (path, tag) in paths.iter().zip(&tags).filter(|(path, _)| **path != of) {
        let reply = with(path, tag.clone()).await;
        assert_eq!(reply.status.as_u16(), 200, "{path} after a change");
        assert_ne!(reply.header("etag"), Some(tag.as_str()), "{path}");
    }
    server.save("distributions", &distribution("u", &id)).await;
    assert_eq!(with(&of, tags[3].clone()).await.status.as_u16(), 200);
}

async fn if_none_match(server: &Server, path: &str, tag: &str) -> Reply {
    server.send(Method::GET, path, &[("If-None-Match", tag)], None).await
}

#[tokio::test]
async fn tags_outlive_a_restart_and_a_checkpoint() {
    let mut server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let paths = [format!("/api/audiences/{id}?user_id=u"), "/api/audiences?user_id=u".to_owned()];
    let mut tags = Vec::new();
    for path in &paths {
        tags.push(server.get(path).await.header("etag").expect("tag").to_owned());
    }
    let data = server.data.clone();
    server.stop().await;
    let again = Server::over(&data, &[]).await;
    for (path, tag) in paths.iter().zip(&tags) {
        assert_eq!(if_none_match(&again, path, tag).await.status.as_u16(), 304, "{path}");
    }
}
