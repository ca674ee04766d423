//! Lists: order, filters, search, bounds, `fields`; unsaved rows and rows in files alike.

use serde_json::{Value, json};

use crate::support::{Server, audience, distribution, encoded, platform, smallest};

/// A text column of the records of a list, in order.
fn column<'a>(listed: &'a Value, table: &str, name: &str) -> Vec<&'a str> {
    let all = listed[table].as_array().expect("list");
    assert_eq!(listed["count"], all.len());
    all.iter().map(|record| record[name].as_str().expect(name)).collect()
}

/// 24 audiences over 12 months, two an instant, every third checkpointed; answers the ids in
/// listing order.
async fn spread(server: &Server) -> Vec<String> {
    let mut made: Vec<(String, String)> = Vec::new();
    for n in 0..24 {
        // Not in the order of time, so that order is not that of saving.
        let month = (n * 5) % 12 + 1;
        let at = format!("2024-{month:02}-10T00:00:00.000001Z");
        let mut body = audience("u", &format!("name {n}"));
        body["created_at"] = json!(at);
        body["audience_id"] = json!(format!("id-{:02}", (n * 7) % 24));
        body["status"] = json!(["active", "draft", "archived"][n % 3]);
        body["data_type"] = json!(["first_party", "clean_room"][n % 2]);
        body["insights"] = json!([n]);
        made.push((at, server.save("audiences", &body).await));
        if n % 9 == 8 {
            server.checkpoint().await;
        }
    }
    made.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    made.into_iter().map(|(_, id)| id).collect()
}

#[tokio::test]
async fn lists_are_newest_first_over_months_with_ties_by_id() {
    let server = Server::start().await;
    let expected = spread(&server).await;
    for _ in 0..2 {
        let listed = server.get("/api/audiences?user_id=u").await.expect(200);
        assert_eq!(column(&listed, "audiences", "audience_id"), expected);
        assert_eq!(listed["next_cursor"], Value::Null);
        for limit in [1, 2, 5, 7, 23, 24, 1000] {
            let page =
                server.get(&format!("/api/audiences?user_id=u&limit={limit}")).await.expect(200);
            let most = expected.len().min(limit);
            assert_eq!(column(&page, "audiences", "audience_id"), expected[..most], "{limit}");
            assert_eq!(page["next_cursor"].is_string(), limit < 24, "{limit}");
        }
        server.checkpoint().await;
    }
}

#[tokio::test]
async fn the_default_page_holds_fifty() {
    let server = Server::start().await;
    let saves = (0..51).map(|n| {
        let server = &server;
        async move { server.save("platforms", &platform("u", &n.to_string())).await }
    });
    futures_util::future::join_all(saves).await;
    let listed = server.get("/api/platforms?user_id=u").await.expect(200);
    assert_eq!(listed["count"], 50);
    let cursor = listed["next_cursor"].as_str().expect("cursor");
    let rest = server.get(&format!("/api/platforms?user_id=u&cursor={cursor}")).await.expect(200);
    assert_eq!((&rest["count"], &rest["next_cursor"]), (&json!(1), &Value::Null));
}

#[tokio::test]
async fn filters_choose_exactly_what_they_say() {
    let server = Server::start().await;
    let order = spread(&server).await;
    let all = server.get("/api/audiences?user_id=u").await.expect(200)["audiences"].clone();
    let all = all.as_array().expect("list");
    let wanted = |fits: &dyn Fn(&Value) -> bool| -> Vec<&str> {
        all.iter().filter(|a| fits(a)).map(|a| a["audience_id"].as_str().expect("id")).collect()
    };
    assert_eq!(wanted(&|_| true), order);
    let at = "2024-05-10T00:00:00.000001Z";
    let plus = encoded("2024-05-10T02:00:00.000001+02:00");
    let cases: Vec<(String, Vec<&str>)> = vec![
        ("status=draft".into(), wanted(&|a| a["status"] == "draft")),
        ("data_type=clean_room".into(), wanted(&|a| a["data_type"] == "clean_room")),
        (
            "status=active&data_type=first_party".into(),
            wanted(&|a| a["status"] == "active" && a["data_type"] == "first_party"),
        ),
        ("data_type=third_party".into(), vec![]),
        (format!("created_after={at}"), wanted(&|a| a["created_at"].as_str() > Some(at))),
        (format!("created_before={at}"), wanted(&|a| a["created_at"].as_str() < Some(at))),
        (format!("created_after={plus}"), wanted(&|a| a["created_at"].as_str() > Some(at))),
        (
            "created_after=2024-03-01&created_before=2024-06-30".into(),
            wanted(&|a| {
                let at = a["created_at"].as_str();
                at > Some("2024-03-01") && at < Some("2024-06-30")
            }),
        ),
        ("created_after=2025-01-01".into(), vec![]),
        ("q=NAME+1".into(), wanted(&|a| a["name"].as_str().expect("name").contains("name 1"))),
        ("q=first_party".into(), vec![]),
        ("status=&q=&limit=&cursor=&fields=".into(), order.iter().map(String::as_str).collect()),
        ("unknown=x&_=1".into(), order.iter().map(String::as_str).collect()),
    ];
    for _ in 0..2 {
        for (query, expected) in &cases {
            let listed = server.get(&format!("/api/audiences?user_id=u&{query}")).await.expect(200);
            assert_eq!(&column(&listed, "audiences", "audience_id"), expected, "{query}");
            // Page by page it is the same, also where a page ends between months.
            let mut walked: Vec<String> = Vec::new();
            let mut cursor = String::new();
            loop {
                let path = format!(
                    "/api/audiences?user_id=u&limit=2&{}{cursor}",
                    query.replace("&limit=&cursor=", "")
                );
                let page = server.get(&path).await.expect(200);
                walked.extend(
                    column(&page, "audiences", "audience_id").into_iter().map(String::from),
                );
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(&walked, expected, "{query}, in pages");
        }
        server.checkpoint().await;
    }
}

#[tokio::test]
async fn search_looks_into_the_texts_of_the_contract_whatever_their_case() {
    let server = Server::start().await;
    for (name, description, query) in [
        ("Gaming Gen Z", "males", "consoles"),
        ("Familien", "Grüße aus KÖLN", "x"),
        ("100% _off_", "a+b", "select * from %"),
    ] {
        let mut body = audience("u", name);
        body["description"] = json!(description);
        body["original_query"] = json!(query);
        body["enhanced_name"] = json!("gaming everywhere");
        server.save("audiences", &body).await;
    }
    for _ in 0..2 {
        for (q, expected) in [
            ("gAMing", vec!["Gaming Gen Z"]),
            ("CONSOLE", vec!["Gaming Gen Z"]),
            ("grÜSSE".replace("SS", "ß").as_str(), vec!["Familien"]),
            ("köln", vec!["Familien"]),
            ("%", vec!["100% _off_"]),
            ("a+b", vec!["100% _off_"]),
            ("_", vec!["100% _off_"]),
            ("everywhere", vec![]),
            ("AGE_18", vec![]),
        ] {
            let path = format!("/api/audiences?user_id=u&q={}", encoded(q));
            let listed = server.get(&path).await.expect(200);
            assert_eq!(column(&listed, "audiences", "name"), expected, "{q}");
            let path = format!("{path}&fields=audience_id");
            assert_eq!(
                server.get(&path).await.expect(200)["count"],
                expected.len(),
                "{q}, one field"
            );
        }
        server.checkpoint().await;
    }
}

#[tokio::test]
async fn platforms_and_distributions_have_their_own_filters() {
    let server = Server::start().await;
    for (kind, status) in [("meta", "active"), ("meta", "pending"), ("custom kind", "active")] {
        let mut body = platform("u", kind);
        body["platform_type"] = json!(kind);
        body["status"] = json!(status);
        server.save("platforms", &body).await;
        for audience in ["a1", "a2"] {
            let mut body = distribution("u", audience);
            body["platform_id"] = json!(format!("p-{kind}").replace(' ', "_"));
            body["platform_type"] = json!(kind);
            body["status"] = json!(if audience == "a1" { "failed" } else { "completed" });
            server.save("distributions", &body).await;
        }
    }
    for _ in 0..2 {
        for (path, count) in [
            ("platforms?platform_type=meta", 2),
            ("platforms?platform_type=META", 0),
            ("platforms?platform_type=custom+kind", 1),
            ("platforms?platform_type=meta&status=active", 1),
            ("platforms?q=CUSTOM", 1),
            ("distributions?audience_id=a1", 3),
            ("distributions?platform_id=p-meta", 4),
            ("distributions?platform_type=meta&audience_id=a2&status=completed", 2),
            ("distributions?status=failed&audience_id=a2", 0),
        ] {
            let listed = server.get(&format!("/api/{path}&user_id=u")).await.expect(200);
            assert_eq!(listed["count"], count, "{path}");
            let listed = server.get(&format!("/api/{path}&user_id=u&fields=updated_at")).await;
            assert_eq!(listed.expect(200)["count"], count, "{path}, one field");
        }
        server.checkpoint().await;
    }
}

#[tokio::test]
async fn fields_are_the_ones_asked_for_and_no_others() {
    let server = Server::start().await;
    for table in ["audiences", "platforms", "distributions"] {
        let mut body = smallest(table, "u");
        body["enhanced_name"] = json!("e");
        body["insights"] = json!([1.0]);
        let id = server.save(table, &body).await;
        for _ in 0..2 {
            for (fields, expected) in [
                ("created_at,status", vec!["created_at", "status"]),
                ("version, insights", vec!["insights", "version"]),
                ("enhanced_name", vec!["enhanced_name"]),
                ("nothing_like_it,user_id", vec!["user_id"]),
                ("nothing_like_it", vec![]),
                ("status,status,", vec!["status"]),
            ] {
                let query = format!("user_id=u&fields={}", encoded(fields));
                let listed = server.get(&format!("/api/{table}?{query}")).await.expect(200);
                let read = server.get(&format!("/api/{table}/{id}?{query}")).await.expect(200);
                for record in [&listed[table][0], &read[crate::support::singular(table)]] {
                    let names: Vec<&String> = record.as_object().expect("object").keys().collect();
                    assert_eq!(names, expected, "{table} {fields}");
                }
            }
            server.checkpoint().await;
        }
    }
}
