//! The OpenAPI document says what is true: its structure, its routes, its examples, its errors;
//! and the page that shows it needs no internet.

use std::collections::BTreeSet;

use audience_store::http::error::CODES;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, smallest};

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

async fn document(server: &Server) -> Value {
    server.get("/api/openapi.json").await.expect(200)
}

/// Path, method and operation of every documented call.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("path item") {
            all.push((path.clone(), method.clone(), operation.clone()));
        }
    }
    all
}

/// A documented path with its parameters filled in.
fn filled(path: &str, id: &str) -> String {
    let parts = path.split(['{', '}']).enumerate();
    parts
        .map(|(n, part)| {
            if n % 2 == 0 {
                part
            } else if part == "user_id" {
                "demo_user"
            } else {
                id
            }
        })
        .collect()
}

/// Every object in a JSON value.
fn objects<'a>(value: &'a Value, found: &mut Vec<&'a serde_json::Map<String, Value>>) {
    match value {
        Value::Object(object) => {
            found.push(object);
            object.values().for_each(|v| objects(v, found));
        }
        Value::Array(all) => all.iter().for_each(|v| objects(v, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_sound() {
    let server = Server::start().await;
    let reply = server.get("/api/openapi.json").await;
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let document = reply.expect(200);
    assert!(document["openapi"].as_str().expect("version").starts_with("3.1."));
    for name in ["title", "version"] {
        assert!(document["info"][name].is_string(), "{name}");
    }
    let mut found = Vec::new();
    objects(&document, &mut found);
    let mut references = 0;
    for target in found.iter().filter_map(|o| o.get("$ref")).filter_map(Value::as_str) {
        let pointer = target.strip_prefix('#').expect("a reference inside the document");
        assert!(document.pointer(pointer).is_some(), "{target}");
        references += 1;
    }
    assert!(references > 20);
    let tags: BTreeSet<&str> = document["tags"]
        .as_array()
        .expect("tags")
        .iter()
        .filter_map(|t| t["name"].as_str())
        .collect();
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        assert!(METHODS.contains(&method.as_str()), "{at}");
        assert!(names.insert(operation["operationId"].to_string()), "{at}: operationId twice");
        assert!(operation["summary"].is_string(), "{at}");
        for tag in operation["tags"].as_array().expect("tags") {
            assert!(tags.contains(tag.as_str().expect("tag")), "{at}: {tag}");
        }
        let mut parameters = BTreeSet::new();
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (name, place) = (&parameter["name"], &parameter["in"]);
            assert!(name.is_string() && parameter["schema"].is_object(), "{at}: {parameter}");
            assert!(["path", "query", "header"].contains(&place.as_str().expect("in")), "{at}");
            assert!(*place != "path" || parameter["required"] == true, "{at}: {name}");
            assert!(parameters.insert((name.to_string(), place.to_string())), "{at}: {name} twice");
        }
        for name in path.split(['{', '}']).skip(1).step_by(2) {
            assert!(
                parameters.contains(&(json!(name).to_string(), json!("path").to_string())),
                "{at}"
            );
        }
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|s| s.starts_with('2') || s == "308"), "{at}");
        for (status, response) in responses {
            assert!(status.parse::<u16>().is_ok_and(|s| (100..600).contains(&s)), "{at} {status}");
            assert!(response["description"].is_string(), "{at} {status}");
        }
    }
}

#[tokio::test]
async fn the_document_has_exactly_the_routes_of_the_contract() {
    let server = Server::start().await;
    let document = document(&server).await;
    let documented: BTreeSet<(String, String)> =
        operations(&document).into_iter().map(|(path, method, _)| (path, method)).collect();
    let mut expected = BTreeSet::new();
    let mut add = |path: String, methods: &[&str]| {
        expected.extend(methods.iter().map(|m| (path.clone(), (*m).to_owned())));
    };
    for one in ["audience", "platform", "distribution"] {
        add(format!("/api/{one}s"), &["get", "post"]);
        add(format!("/api/{one}s/{{{one}_id}}"), &["get", "put", "delete"]);
        add(format!("/api/{one}s/{{{one}_id}}/status"), &["put"]);
    }
    add("/api/audiences/{audience_id}/distributions".to_owned(), &["get"]);
    add("/api/platforms/{platform_id}/credentials".to_owned(), &["get"]);
    add("/api/users/{user_id}".to_owned(), &["delete"]);
    add("/api/users/{user_id}/summary".to_owned(), &["get"]);
    add("/api/admin/checkpoint".to_owned(), &["post"]);
    add("/api/admin/tokens".to_owned(), &["get", "post"]);
    add("/api/admin/tokens/{token_id}".to_owned(), &["delete"]);
    add("/api/admin/audit".to_owned(), &["get"]);
    add("/api/admin/usage".to_owned(), &["get"]);
    for path in
        ["/api/health", "/health/live", "/health/ready", "/metrics", "/api/openapi.json", "/docs"]
    {
        add(path.to_owned(), &["get"]);
    }
    assert_eq!(documented, expected);

    let paths: BTreeSet<&String> = expected.iter().map(|(path, _)| path).collect();
    for path in paths {
        for method in METHODS {
            let verb = Method::from_bytes(method.to_uppercase().as_bytes()).expect("method");
            let reply = server.send(verb, &filled(path, "x"), &[], None).await;
            let refused =
                reply.text.contains("\"code\":\"ROUTE_NOT_FOUND\"") || reply.status.as_u16() == 405;
            let known = expected.contains(&(path.clone(), method.to_owned()));
            assert_eq!(refused, !known, "{method} {path}: {} {}", reply.status, reply.text);
        }
    }
}

#[tokio::test]
async fn the_examples_work_when_they_are_sent() {
    let server = Server::start().await;
    let document = document(&server).await;
    let (mut sent, mut created) = (0, 0);
    for (path, method, operation) in operations(&document) {
        let content = &operation["requestBody"]["content"]["application/json"];
        let Some(example) = content.get("example") else { continue };
        let verb = Method::from_bytes(method.to_uppercase().as_bytes()).expect("method");
        let table = path.split('/').nth(2).expect("table");
        let id = match table {
            "admin" => String::new(),
            _ => server.save(table, &smallest(table, "demo_user")).await,
        };
        let reply = server.send(verb, &filled(&path, &id), &[], Some(&example.to_string())).await;
        let expected = if method == "post" { 201 } else { 200 };
        assert_eq!(reply.status.as_u16(), expected, "{method} {path} {example}: {}", reply.text);
        sent += 1;
        created += usize::from(method == "post");
        // What comes back has the shape that is written down.
        let answer = reply.json();
        let shown =
            &operation["responses"][expected.to_string()]["content"]["application/json"]["example"];
        for name in shown.as_object().expect("example").keys() {
            assert!(answer.get(name).is_some(), "{method} {path}: {name} in {answer}");
        }
        let schema = match content["schema"]["$ref"].as_str() {
            Some(named) => document.pointer(named.trim_start_matches('#')).expect("schema"),
            None => &content["schema"],
        };
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(example.get(name.as_str().expect("name")).is_some(), "{method} {path}: {name}");
        }
        for (name, value) in example.as_object().expect("object") {
            let values = schema["properties"][name]["enum"].as_array();
            assert!(values.is_none_or(|v| v.contains(value)), "{method} {path}: {name} = {value}");
        }
    }
    assert_eq!((sent, created), (10, 4));
}

#[tokio::test]
async fn reads_answer_with_the_shape_of_their_examples() {
    let server = Server::start().await;
    let document = document(&server).await;
    let mut ids = std::collections::BTreeMap::new();
    for table in ["audiences", "platforms", "distributions"] {
        let mut body = smallest(table, "demo_user");
        if table == "platforms" {
            body["credentials"] = json!({"api_key": "k", "account_id": "1"});
        }
        ids.insert(table, server.save(table, &body).await);
    }
    let mut read = 0;
    for (path, _, operation) in operations(&document).into_iter().filter(|(_, m, _)| m == "get") {
        let content = &operation["responses"]["200"]["content"]["application/json"];
        let Some(Value::Object(example)) = content.get("example") else { continue };
        let table = path.split('/').nth(2).unwrap_or_default();
        let id = ids.get(table).map_or("x", String::as_str);
        let answer =
            server.get(&format!("{}?user_id=demo_user", filled(&path, id))).await.expect(200);
        for (name, shown) in example {
            let value = answer.get(name).unwrap_or_else(|| panic!("{path}: {name} in {answer}"));
            for field in shown.as_object().into_iter().flat_map(|o| o.keys()) {
                // The example has fields of its own choice; those the server sets must be there.
                let optional =
                    ["description", "metadata", "status", "settings"].contains(&field.as_str());
                assert!(optional || value.get(field).is_some(), "{path}: {name}.{field}");
            }
        }
        read += 1;
    }
    assert!(read >= 11, "{read}");
}

#[tokio::test]
async fn every_error_code_is_documented_where_its_status_is() {
    let server = Server::start().await;
    let document = document(&server).await;
    let listed: Vec<&str> =
        document["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
            .as_array()
            .expect("codes")
            .iter()
            .filter_map(Value::as_str)
            .collect();
    let known: Vec<&str> = CODES.iter().map(|(code, _, _)| *code).collect();
    assert_eq!(listed, known);
    // Those that no documented call can answer have no other place than the schema.
    let nowhere = ["ROUTE_NOT_FOUND", "METHOD_NOT_ALLOWED"];
    for (code, status, _) in CODES.iter().filter(|(code, _, _)| !nowhere.contains(code)) {
        let somewhere = operations(&document).iter().any(|(_, _, operation)| {
            let examples = &operation["responses"][status.to_string()]["content"]["application/json"]["examples"];
            examples[code]["value"]["code"] == *code
        });
        assert!(somewhere, "{code}");
    }
}

#[tokio::test]
async fn the_page_needs_no_internet() {
    let server = Server::start().await;
    // The client follows the redirect.
    let page = server.get("/docs").await;
    assert_eq!(page.status.as_u16(), 200);
    assert!(page.header("content-type").expect("type").starts_with("text/html"));
    assert_eq!(server.get("/docs/").await.text, page.text);
    let mut loaded = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for part in page.text.split(attribute).skip(1) {
            loaded.push(part.split('"').next().expect("value").to_owned());
        }
    }
    assert!(loaded.len() >= 3, "{loaded:?}");
    let mut scripts = String::new();
    for target in &loaded {
        assert!(!target.contains("//"), "{target} is elsewhere");
        let file = server.client().get(server.url(&format!("/docs/{target}"))).send().await;
        let file = file.expect("answer").error_for_status().expect(target);
        let bytes = file.bytes().await.expect("body");
        assert!(!bytes.is_empty(), "{target}");
        if target.ends_with("initializer.js") {
            scripts = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        }
    }
    assert!(scripts.contains("/api/openapi.json"), "{scripts}");
    assert!(!scripts.contains("://"), "{scripts}");
}

#[tokio::test]
async fn every_call_says_what_credentials_it_needs() {
    let open = document(&Server::start().await).await;
    let guarded = document(&Server::start_with(&["--auth", "tokens"]).await).await;
    for document in [&open, &guarded] {
        let scheme = &document["components"]["securitySchemes"]["bearer"];
        assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
    }
    let (mut free, mut kept) = (0, 0);
    let without = operations(&open);
    for ((path, method, operation), (_, _, open)) in operations(&guarded).into_iter().zip(without) {
        let at = format!("{method} {path}");
        let security = operation["security"].as_array().unwrap_or_else(|| panic!("{at}"));
        let answers = operation["responses"].as_object().expect("responses");
        let refuses = answers.contains_key("401") && answers.contains_key("403");
        if security.is_empty() {
            assert!(!refuses, "{at}");
            free += 1;
        } else {
            assert!(!security[0]["bearer"].as_array().expect("scopes").is_empty(), "{at}");
            assert!(refuses, "{at}");
            assert_eq!(open["security"][0], json!({}), "{at}: optional with --auth off");
            assert_eq!(open["security"][1], security[0], "{at}");
            kept += 1;
        }
        let needed = |operation: &Value| {
            operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|p| p["name"] == "user_id" && p["in"] == "query" && p["required"] == true)
        };
        assert!(!needed(&operation), "{at}: the credentials say who");
    }
    assert_eq!((free, kept), (5, 29));
}
