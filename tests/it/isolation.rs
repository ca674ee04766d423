//! Users apart: another user's record looks like one that does not exist, whatever the user is
//! called, and every user's files lie in a folder of his own.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, audience, distribution, encoded, singular, smallest};

/// Ids that would escape, collide or break where they were not encoded, and how a folder of
/// theirs ends.
fn nasty() -> Vec<(String, Option<String>)> {
    let mut all: Vec<(String, Option<String>)> = [
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("a", "a"),
        ("A", "A"),
        ("b", "b"),
        ("..", "%2E."),
        (".", "%2E"),
        ("%2F", "%252F"),
        ("../u", "..%2Fu"),
        ("ünï 旅", "ünï 旅"),
        ("a b", "a b"),
        ("a+b", "a+b"),
        ("a&user_id=b", "a&user_id%3Db"),
        ("user_id=x", "user_id%3Dx"),
        ("u?x#y", "u%3Fx%23y"),
        ("o'brien\"", "o%27brien%22"),
        ("user@example.com", "user@example.com"),
        ("__HIVE_DEFAULT_PARTITION__", "%5F_HIVE_DEFAULT_PARTITION__"),
        ("null", "null"),
    ]
    .map(|(user, folder)| (user.to_owned(), Some(folder.to_owned())))
    .into();
    all.push(("x".repeat(128), Some("x".repeat(128))));
    // Longer than a file name may be once escaped: cut, with a digest.
    all.push(("/".repeat(128), None));
    all.push((format!("{}a", "/".repeat(127)), None));
    all
}

#[tokio::test]
async fn every_user_has_records_and_files_of_his_own_whatever_he_is_called() {
    // Keeps the folder for the second server, too.
    let mut first = Server::start().await;
    let server = &first;
    let mut made: Vec<(String, Vec<(&str, String)>)> = Vec::new();
    for (user, _) in nasty() {
        let mut mine = Vec::new();
        for table in ["audiences", "platforms", "distributions"] {
            // The same id for all: unique for a user, not over users.
            let mut body = smallest(table, &user);
            body[format!("{}_id", singular(table))] = json!("same");
            body["owner"] = json!(user);
            body["created_at"] = json!("2024-03-04");
            mine.push((table, server.save(table, &body).await));
        }
        made.push((user, mine));
    }
    let check = async |server: &Server| {
        for (user, mine) in &made {
            for (table, id) in mine {
                let path = format!("/api/{table}?user_id={}", encoded(user));
                let listed = server.get(&path).await.expect(200);
                assert_eq!(listed["count"], 1, "{user} {table}");
                let record = &listed[*table][0];
                assert_eq!((&record["user_id"], &record["owner"]), (&json!(user), &json!(user)));
                let path = format!("/api/{table}/{id}?user_id={}", encoded(user));
                assert_eq!(&server.get(&path).await.expect(200)[singular(table)], record);
            }
            // As it is on the wire: clients resolve dots, encoded ones too.
            let (status, body) =
                server.raw_request("GET", &format!("/api/users/{}/summary", encoded(user))).await;
            assert_eq!(status, 200, "{user}: {body}");
            let summary: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(summary["summary"]["audiences"]["total"], 1, "{user}");
        }
    };
    check(server).await;
    let data = server.data.clone();
    first.stop().await;
    let server = Server::over(&data, &[]).await;
    check(&server).await;
    for (table, file) in [
        ("audiences", "year=2024/month=03/audiences_202403.parquet"),
        ("platforms", "platforms.parquet"),
        ("distributions", "year=2024/month=03/distributions_202403.parquet"),
    ] {
        let folder = data.join(table);
        let mut folders: Vec<String> = std::fs::read_dir(&folder)
            .expect("folder")
            .map(|e| e.expect("entry").file_name().into_string().expect("UTF-8"))
            .collect();
        assert_eq!(folders.len(), made.len(), "{table}: {folders:?}");
        for (user, name) in nasty() {
            let Some(name) = name else { continue };
            let name = format!("user_id={name}");
            assert!(folder.join(&name).join(file).is_file(), "{user}: {name}/{file}");
            folders.retain(|f| *f != name);
        }
        assert_eq!(folders.len(), 2, "the two cut ones: {folders:?}");
        for cut in folders {
            assert!(cut.len() <= 255 && folder.join(&cut).join(file).is_file(), "{cut}");
        }
    }
    let outside: Vec<_> = std::fs::read_dir(data.parent().expect("parent"))
        .expect("folder")
        .map(|e| e.expect("entry").file_name())
        .collect();
    assert_eq!(outside, ["data"], "nothing lies outside the store");

    // Erasing one takes nothing of the others.
    let (status, body) =
        server.raw_request("DELETE", &format!("/api/users/{}", encoded("a/b"))).await;
    assert_eq!(status, 200, "{body}");
    for (user, _) in &made {
        let path = format!("/api/audiences?user_id={}", encoded(user));
        let count = if user == "a/b" { 0 } else { 1 };
        assert_eq!(server.get(&path).await.expect(200)["count"], count, "{user}");
    }
}

#[tokio::test]
async fn another_users_record_is_byte_for_byte_a_missing_one() {
    let server = Server::start().await;
    for table in ["audiences", "platforms", "distributions"] {
        for (checkpointed, brought) in [(false, false), (true, false), (false, true), (true, true)]
        {
            let mut body = smallest(table, "owner");
            if brought {
                body[format!("{}_id", singular(table))] = json!(format!("mine-{checkpointed}"));
            }
            let id = server.save(table, &body).await;
            if table == "audiences" {
                server.save("distributions", &distribution("owner", &id)).await;
            }
            if checkpointed {
                server.checkpoint().await;
            }
            let note = json!({"user_id": "thief", "note": 1}).to_string();
            let status = if table == "audiences" { "draft" } else { "pending" };
            let status = json!({"user_id": "thief", "status": status}).to_string();
            let mut calls = vec![
                (Method::GET, "?user_id=thief", None),
                (Method::HEAD, "?user_id=thief", None),
                (Method::PUT, "", Some(note.as_str())),
                (Method::PUT, "/status", Some(status.as_str())),
                (Method::DELETE, "?user_id=thief", None),
            ];
            if table == "audiences" {
                calls.push((Method::GET, "/distributions?user_id=thief", None));
            }
            for (method, rest, body) in calls {
                for tags in [vec![], vec![("If-Match", "\"1\"")], vec![("If-None-Match", "*")]] {
                    let ask = async |id: &str| {
                        let path = format!("/api/{table}/{id}{rest}");
                        server.send(method.clone(), &path, &tags, body).await
                    };
                    let (theirs, missing) = (ask(&id).await, ask("none").await);
                    assert_eq!(theirs.status.as_u16(), 404, "{method} {rest} {}", theirs.text);
                    assert_eq!((theirs.status, &theirs.text), (missing.status, &missing.text));
                    let headers = |reply: &crate::support::Reply| {
                        let mut headers = reply.headers.clone();
                        headers.remove("date");
                        headers.remove("x-request-id");
                        headers
                    };
                    assert_eq!(headers(&theirs), headers(&missing), "{method} {rest}");
                }
            }
            let found = server.get(&format!("/api/{table}/{id}?user_id=owner")).await.expect(200);
            assert_eq!(found[singular(table)]["version"], 1, "untouched");
            let listed = server.get(&format!("/api/{table}?user_id=thief")).await.expect(200);
            assert_eq!(listed["count"], 0);
        }
    }
}

#[tokio::test]
async fn saving_with_another_users_id_makes_a_record_of_ones_own() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("owner", "theirs")).await;
    let mut body = audience("thief", "mine");
    body["audience_id"] = json!(id);
    assert_eq!(server.post("/api/audiences", &body).await.expect(201)["version"], 1);
    for _ in 0..2 {
        for (user, name) in [("owner", "theirs"), ("thief", "mine")] {
            let path = format!("/api/audiences/{id}?user_id={user}");
            assert_eq!(server.get(&path).await.expect(200)["audience"]["name"], name);
        }
        server.checkpoint().await;
    }
    server.delete(&format!("/api/audiences/{id}?user_id=thief")).await.expect(200);
    server.get(&format!("/api/audiences/{id}?user_id=owner")).await.expect(200);
    let listed = server.get("/api/audiences?user_id=owner&q=mine").await.expect(200);
    assert_eq!(listed["count"], 0);
}

#[tokio::test]
async fn a_request_that_names_two_users_is_refused() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let body = audience("u", "a").to_string();
    let status = json!({"user_id": "u", "status": "draft"}).to_string();
    let one = format!("/api/audiences/{id}?user_id=v");
    let status_path = format!("/api/audiences/{id}/status?user_id=v");
    for (method, path, body) in [
        (Method::POST, "/api/audiences?user_id=v", Some(body.as_str())),
        (Method::PUT, one.as_str(), Some(body.as_str())),
        (Method::PUT, status_path.as_str(), Some(status.as_str())),
        (Method::DELETE, one.as_str(), Some(r#"{"user_id":"u"}"#)),
        (Method::GET, "/api/users/u/summary?user_id=v", None),
        (Method::DELETE, "/api/users/u?user_id=v", None),
    ] {
        let error = server.send(method.clone(), path, &[], body).await;
        let error = error.expect_error(403, "USER_MISMATCH");
        assert_eq!(error["details"]["pointer"], "/user_id", "{method} {path}");
    }
    let twice = server.get("/api/audiences?user_id=u&user_id=v").await;
    twice.expect_error(400, "INVALID_PARAMETER");
    let twice = r#"{"user_id":"u","user_id":"v","name":"n","data_type":"first_party","selected_variables":[]}"#;
    let twice = server.send(Method::POST, "/api/audiences", &[], Some(twice)).await;
    twice.expect_error(400, "INVALID_FIELD");
    assert_eq!(server.get("/api/audiences?user_id=v").await.expect(200)["count"], 0);
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 1);
}

#[tokio::test]
async fn what_is_no_user_id_is_refused_everywhere() {
    let server = Server::start().await;
    for bad in [
        "x".repeat(129),
        "a\nb".into(),
        "a\0b".into(),
        "\u{202e}x".into(),
        "a\u{7f}".into(),
        "é".repeat(65),
    ] {
        let query = encoded(&bad);
        for path in [
            format!("/api/audiences?user_id={query}"),
            format!("/api/audiences/x?user_id={query}"),
            format!("/api/users/{query}/summary"),
        ] {
            let error = server.get(&path).await.expect_error(400, "INVALID_FIELD");
            assert_eq!(error["details"]["pointer"], "/user_id", "{bad:?}");
        }
        server
            .post("/api/audiences", &audience(&bad, "a"))
            .await
            .expect_error(400, "INVALID_FIELD");
    }
    for path in [
        "/api/audiences",
        "/api/audiences?user_id=",
        "/api/audiences?user_id=%20%20",
        "/api/platforms/x",
    ] {
        server.get(path).await.expect_error(400, "MISSING_FIELD");
    }
}
