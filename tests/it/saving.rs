//! What becomes of the fields that a client sends: kept as they came, managed by the server,
//! refused, or named as ignored; and where a record lives that brings its own id.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, audience, singular, smallest};

const TABLES: [&str; 3] = ["audiences", "platforms", "distributions"];

/// The Parquet files below a folder of the store, relative to it.
fn files(server: &Server, below: &str) -> BTreeSet<String> {
    let root = server.data.join(below);
    let mut found = BTreeSet::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(&root).expect("below").to_str().expect("UTF-8");
                found.insert(name.to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn an_id_that_exists_is_updated_in_the_month_where_it_lives() {
    let server = Server::start().await;
    for checkpointed in [false, true] {
        for table in TABLES {
            let one = singular(table);
            let id = format!("mine-{checkpointed}");
            let mut body = smallest(table, "u");
            body[format!("{one}_id")] = json!(id);
            body["created_at"] = json!("2024-02-29T23:59:59.999999Z");
            let path = format!("/api/{table}");
            assert_eq!(server.post(&path, &body).await.expect(201)["version"], 1);
            if checkpointed {
                server.checkpoint().await;
            }
            body.as_object_mut().expect("object").remove("created_at");
            body["note"] = json!("second");
            let second = server.post(&path, &body).await.expect(200);
            assert_eq!((&second["version"], second.get("ignored")), (&json!(2), None));
            assert_eq!(second[format!("{one}_id")], json!(id));
            body["created_at"] = json!("2025-07-01T00:00:00Z");
            let third = server.post(&path, &body).await.expect(200);
            assert_eq!(third["version"], 3);
            assert_eq!(third["ignored"], json!(["created_at"]), "nothing is dropped silently");

            let found = server.get(&format!("{path}/{id}?user_id=u")).await.expect(200);
            assert_eq!(found[one]["created_at"], "2024-02-29T23:59:59.999999Z");
            assert_eq!(found[one]["note"], "second");
        }
    }
    server.checkpoint().await;
    for table in TABLES {
        let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(listed["count"], 2, "{table}: once each");
        let expected = match table {
            "platforms" => "platforms.parquet".to_owned(),
            _ => format!("year=2024/month=02/{table}_202402.parquet"),
        };
        assert_eq!(files(&server, &format!("{table}/user_id=u")), BTreeSet::from([expected]));
    }
}

#[tokio::test]
async fn concurrent_saves_of_one_id_make_one_record() {
    let server = Server::start().await;
    for table in TABLES {
        let one = singular(table);
        let saves = (0..32).map(|n| {
            let mut body = smallest(table, "u");
            body[format!("{one}_id")] = json!("contested");
            body["created_at"] = json!(format!("2024-{:02}-01", n % 12 + 1));
            body["writer"] = json!(n);
            let server = &server;
            async move { server.post(&format!("/api/{table}"), &body).await }
        });
        let replies = join_all(saves).await;
        let made = replies.iter().filter(|r| r.status.as_u16() == 201).count();
        assert_eq!(made, 1, "{table}");
        let versions: BTreeSet<i64> =
            replies.iter().map(|r| r.json()["version"].as_i64().expect(&r.text)).collect();
        assert_eq!(versions, (1..=32).collect(), "{table}: no update is lost");
        for _ in 0..2 {
            let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
            assert_eq!((&listed["count"], &listed[table][0]["version"]), (&json!(1), &json!(32)));
            server.checkpoint().await;
        }
    }
}

#[tokio::test]
async fn a_brought_id_is_found_and_unique_whatever_it_looks_like() {
    // Like ids the server makes: of another month, of this month but another instant, of none.
    let ids = ["01970c2f6a007c3e9d7a5b1c2d3e4f50", "018da0bd7e007abc8def0123456789ab", "x"];
    let mut server = Server::start().await;
    for table in TABLES {
        let one = singular(table);
        for (n, id) in ids.iter().enumerate() {
            let prefix =
                ["aud_", "plat_", "dist_"][TABLES.iter().position(|t| *t == table).expect("one")];
            for (m, at) in ["2024-02-01", "2024-02-13T09:00:00Z", "2024-02-28"].iter().enumerate() {
                let mut body = smallest(table, &format!("u{m}"));
                body[format!("{one}_id")] = json!(format!("{prefix}{id}"));
                body["created_at"] = json!(at);
                body["n"] = json!(n);
                server.save(table, &body).await;
            }
        }
        // Company for them, made by the server.
        for at in ["2024-02-02", "2024-02-13T10:00:00Z", "2024-02-27"] {
            let mut body = smallest(table, "u0");
            body["created_at"] = json!(at);
            server.save(table, &body).await;
        }
    }
    let check = async |server: &Server, version: i64| {
        for table in TABLES {
            let one = singular(table);
            for user in ["u0", "u1", "u2"] {
                let listed = server.get(&format!("/api/{table}?user_id={user}")).await.expect(200);
                let all = listed[table].as_array().expect("list");
                assert_eq!(all.len(), if user == "u0" { 6 } else { 3 }, "{table} {user}");
                for record in all {
                    let id = record[format!("{one}_id")].as_str().expect("id");
                    let path = format!("/api/{table}/{id}?user_id={user}");
                    assert_eq!(&server.get(&path).await.expect(200)[one], record);
                }
                for record in all.iter().filter(|record| record["n"].is_number()) {
                    let mut again = smallest(table, user);
                    again[format!("{one}_id")] = record[format!("{one}_id")].clone();
                    let saved = server.post(&format!("/api/{table}"), &again).await.expect(200);
                    assert_eq!(saved["version"], version, "an update, not a second record");
                }
            }
        }
    };
    check(&server, 2).await;
    server.checkpoint().await;
    check(&server, 3).await;
    server.kill();
    let mut again = Server::over(&server.data, &[]).await;
    again.checkpoint().await;
    check(&again, 4).await;
    again.kill();
    let third = Server::over(&server.data, &[]).await;
    check(&third, 5).await;
    third.checkpoint().await;
    check(&third, 6).await;
}

#[tokio::test]
async fn a_brought_id_is_found_after_a_kill_before_the_first_checkpoint() {
    let mut server = Server::start_with(&["--checkpoint-interval", "1h"]).await;
    for table in TABLES {
        let mut body = smallest(table, "u");
        body[format!("{}_id", singular(table))] = json!("mine");
        server.save(table, &body).await;
    }
    server.kill();
    let again = Server::over(&server.data, &["--checkpoint-interval", "1h"]).await;
    for version in 2..4 {
        again.checkpoint().await;
        for table in TABLES {
            let one = singular(table);
            let path = format!("/api/{table}/mine?user_id=u");
            assert_eq!(again.get(&path).await.expect(200)[one][format!("{one}_id")], "mine");
            let mut body = smallest(table, "u");
            body[format!("{one}_id")] = json!("mine");
            let saved = again.post(&format!("/api/{table}"), &body).await.expect(200);
            assert_eq!(saved["version"], version);
        }
    }
}

#[tokio::test]
async fn concurrent_updates_of_one_record_all_count() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let path = format!("/api/audiences/{id}");
    let changes = (0..32).map(|n| {
        let (server, path) = (&server, &path);
        async move { server.put(path, &json!({"user_id": "u", (format!("f{n}")): n})).await }
    });
    let replies = join_all(changes).await;
    let versions: BTreeSet<i64> =
        replies.iter().map(|r| r.json()["version"].as_i64().expect(&r.text)).collect();
    assert_eq!(versions, (2..=33).collect());
    let found = server.get(&format!("{path}?user_id=u")).await.expect(200);
    for n in 0..32 {
        assert_eq!(found["audience"][format!("f{n}")], n);
    }
}

#[tokio::test]
async fn numbers_keys_and_texts_are_kept_as_they_came() {
    let server = Server::start().await;
    let kept = [
        r#""metadata":{"z":1.0,"a":12345678901234567890123,"m":{"y":-0.0,"b":1E5,"a":0.10}}"#,
        r#""variable_details":[{"relevance_score":0.950,"code":"A"},{"category":null}]"#,
        r#""segments":[{"size_percentage":5.0,"segment_id":0}]"#,
        r#""enhanced_name":"Grüße 旅 \u00e9 \ud83d\ude00 \/ \\""#,
        r#""zz":2.50,"aa":[1.0,{"b":1,"a":[]}]"#,
        r#""total_audience_size":9223372036854775807"#,
    ];
    let body = format!(
        r#"{{ "user_id":"u", "name":"n", "data_type":"clean_room", "selected_variables":["1", "x"],{} }}"#,
        kept.join(" ,\n")
    );
    let saved = server.send(Method::POST, "/api/audiences", &[], Some(&body)).await.expect(201);
    let id = saved["audience_id"].as_str().expect("id");
    let path = format!("/api/audiences/{id}?user_id=u");
    let before = server.get(&path).await;
    for part in kept {
        assert!(before.text.contains(part), "{part} in {}", before.text);
    }
    server.checkpoint().await;
    assert_eq!(server.get(&path).await.text, before.text, "also out of Parquet");

    let body = r#"{"user_id":"u","audience_id":"a","platform_id":"p","segments_distributed":["x",1.0,12345678901234567890123,-0],"match_rate":0.1,"match_results":[1.0,"x"],"error_details":"text"}"#;
    let saved = server.send(Method::POST, "/api/distributions", &[], Some(body)).await.expect(201);
    let path =
        format!("/api/distributions/{}?user_id=u", saved["distribution_id"].as_str().expect("id"));
    let before = server.get(&path).await;
    for part in [
        r#""segments_distributed":["x",1.0,12345678901234567890123,-0]"#,
        r#""match_rate":0.1,"#,
        r#""match_results":[1.0,"x"]"#,
        r#""error_details":"text""#,
    ] {
        assert!(before.text.contains(part), "{part} in {}", before.text);
    }
    server.checkpoint().await;
    assert_eq!(server.get(&path).await.text, before.text, "also out of Parquet");
}

#[tokio::test]
async fn the_server_keeps_its_own_fields() {
    let server = Server::start().await;
    for table in TABLES {
        let one = singular(table);
        let mut body = smallest(table, "u");
        body["created_at"] = json!("2024-05-06T09:08:07+02:00");
        body["updated_at"] = json!("2001-01-01T00:00:00Z");
        body["version"] = json!(40);
        let saved = server.post(&format!("/api/{table}"), &body).await.expect(201);
        assert_eq!(saved["version"], 1);
        assert_eq!(saved["ignored"], json!(["updated_at", "version"]));
        let path = format!("/api/{table}/{}", saved[format!("{one}_id")].as_str().expect("id"));
        let read = format!("{path}?user_id=u");
        let found = server.get(&read).await.expect(200)[one].clone();
        assert_eq!(found["created_at"], "2024-05-06T07:08:07.000000Z");
        assert!(found["updated_at"].as_str().expect("text") > "2024-05-07");

        // A record read and sent back whole changes nothing but its version.
        let mut back = found.clone();
        back.as_object_mut().expect("object").retain(|_, value| !value.is_null());
        let again = server.put(&path, &back).await.expect(200);
        assert_eq!((&again["version"], again.get("ignored")), (&json!(2), None));
        let mut same = server.get(&read).await.expect(200)[one].clone();
        assert!(same["updated_at"].as_str() >= found["updated_at"].as_str());
        same["version"] = found["version"].clone();
        same["updated_at"] = found["updated_at"].clone();
        assert_eq!(same, found);

        let late = json!({"user_id": "u", "created_at": "2020-01-01", "version": 9});
        let late = server.put(&path, &late).await.expect(200);
        assert_eq!(late["ignored"], json!(["created_at", "version"]));
        let other = json!({"user_id": "u", (format!("{one}_id")): "another"});
        let other = server.put(&path, &other).await.expect_error(400, "INVALID_FIELD");
        assert_eq!(other["details"]["pointer"], format!("/{one}_id"));
    }
}

#[tokio::test]
async fn null_clears_absent_keeps_and_required_stays() {
    let server = Server::start().await;
    let mut body = audience("u", "a");
    for (name, value) in [
        ("description", json!("d")),
        ("total_audience_size", json!(5)),
        ("metadata", json!({"a": 1})),
        ("segments", json!([{"segment_id": 1}])),
        ("status", json!("draft")),
        ("insights", json!(["i"])),
        ("nothing", Value::Null),
    ] {
        body[name] = value;
    }
    let id = server.save("audiences", &body).await;
    let path = format!("/api/audiences/{id}");
    let read = format!("{path}?user_id=u");
    let found = server.get(&read).await.expect(200)["audience"].clone();
    assert!(found.as_object().expect("object").contains_key("nothing"), "{found}");

    server
        .put(&path, &json!({"user_id": "u", "description": null, "insights": null}))
        .await
        .expect(200);
    let found = server.get(&read).await.expect(200)["audience"].clone();
    assert_eq!((&found["description"], &found["insights"]), (&Value::Null, &Value::Null));
    assert_eq!((&found["metadata"], &found["total_audience_size"]), (&json!({"a": 1}), &json!(5)));

    let clear = json!({"user_id": "u", "metadata": null, "segments": null, "total_audience_size": null, "status": null});
    server.put(&path, &clear).await.expect(200);
    let found = server.get(&read).await.expect(200)["audience"].clone();
    for name in ["metadata", "segments", "total_audience_size"] {
        assert_eq!(found[name], Value::Null, "{name}");
    }
    assert_eq!(found["status"], "active", "no record is without a status");

    // An update puts metadata in place of the old; only a distribution's status merges it.
    server.put(&path, &json!({"user_id": "u", "metadata": {"b": 2}})).await.expect(200);
    assert_eq!(server.get(&read).await.expect(200)["audience"]["metadata"], json!({"b": 2}));

    for name in ["name", "data_type", "selected_variables"] {
        let error = server.put(&path, &json!({"user_id": "u", (name): null})).await;
        let error = error.expect_error(400, "INVALID_FIELD");
        assert_eq!(error["details"]["pointer"], format!("/{name}"));
    }
    server.checkpoint().await;
    let found = server.get(&read).await.expect(200)["audience"].clone();
    assert_eq!((&found["insights"], &found["version"]), (&Value::Null, &json!(4)));
}

#[tokio::test]
async fn what_is_required_is_told_with_its_pointer() {
    let server = Server::start().await;
    for (table, required) in [
        ("audiences", vec!["user_id", "name", "data_type", "selected_variables"]),
        ("platforms", vec!["user_id", "platform_type", "name"]),
        ("distributions", vec!["user_id", "audience_id", "platform_id"]),
    ] {
        for name in required {
            let mut body = smallest(table, "u");
            let mut broken = vec![Value::Null];
            if name != "selected_variables" && name != "data_type" {
                broken.extend([json!(""), json!("  ")]);
            }
            body.as_object_mut().expect("object").remove(name);
            let mut bodies = vec![body.clone()];
            bodies.extend(broken.into_iter().map(|value| {
                let mut body = body.clone();
                body[name] = value;
                body
            }));
            for body in bodies {
                let error = server.post(&format!("/api/{table}"), &body).await;
                let error = error.expect_error(400, "MISSING_FIELD");
                assert_eq!(error["error"], format!("Missing required field: {name}"));
                assert_eq!(error["details"]["pointer"], format!("/{name}"));
            }
        }
        let listed = server.get(&format!("/api/{table}?user_id=u")).await.expect(200);
        assert_eq!(listed["count"], 0);
    }
    // The user may stand in the query instead.
    let mut body = audience("u", "a");
    body.as_object_mut().expect("object").remove("user_id");
    server.post("/api/audiences?user_id=u", &body).await.expect(201);
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 1);
}

#[tokio::test]
async fn instants_are_read_in_every_form_clients_send_and_shown_in_one() {
    let server = Server::start().await;
    for (sent, shown) in [
        ("2025-05-30T12:00:00Z", "2025-05-30T12:00:00.000000Z"),
        ("2025-05-30T14:00:00.5+02:00", "2025-05-30T12:00:00.500000Z"),
        ("2025-05-30T13:00:00", "2025-05-30T13:00:00.000000Z"),
        ("2025-05-30", "2025-05-30T00:00:00.000000Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
    ] {
        let mut body = smallest("distributions", "u");
        for name in ["created_at", "scheduled_at", "executed_at", "completed_at"] {
            body[name] = json!(sent);
        }
        let id = server.save("distributions", &body).await;
        let path = format!("/api/distributions/{id}?user_id=u");
        let before = server.get(&path).await.expect(200);
        for name in ["created_at", "scheduled_at", "executed_at", "completed_at"] {
            assert_eq!(before["distribution"][name], shown, "{name}");
        }
        server.checkpoint().await;
        assert_eq!(server.get(&path).await.expect(200), before);
    }
    for wrong in
        [json!("soon"), json!(1748606400), json!("1969-12-31"), json!(true), json!("2025-02-30")]
    {
        let mut body = smallest("distributions", "u");
        body["scheduled_at"] = wrong;
        let error = server.post("/api/distributions", &body).await;
        let error = error.expect_error(400, "INVALID_FIELD");
        assert_eq!(error["details"]["pointer"], "/scheduled_at");
    }
}

#[tokio::test]
async fn a_list_reads_the_same_before_and_after_a_file_holds_it() {
    let server = Server::start().await;
    let body = |list: &str| {
        format!(
            r#"{{"user_id":"u","name":"n","data_type":"first_party","selected_variables":{list}}}"#
        )
    };
    let post = async |list: &str| {
        server.send(Method::POST, "/api/audiences", &[], Some(&body(list))).await
    };
    let saved = post(r#"[ "\u0041\/b", "\u00e9" ]"#).await.expect(201);
    let path = format!("/api/audiences/{}?user_id=u", saved["audience_id"].as_str().expect("id"));
    let before = server.get(&path).await;
    assert!(before.text.contains(r#""selected_variables":["A/b","é"]"#), "{}", before.text);
    server.checkpoint().await;
    assert_eq!(server.get(&path).await.text, before.text);
    let refused = post(r#"["a","\ud800"]"#).await.expect(400);
    assert_eq!(refused["details"]["pointer"], "/selected_variables/1", "{refused}");
}
