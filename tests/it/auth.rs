//! Who may do what: every scope on every route, other users' ids, and that nothing is looked at
//! before the credentials are.

use std::collections::BTreeMap;

use audience_store::http::routes::endpoints;
use reqwest::Method;
use serde_json::json;

use crate::support::access::{SCOPES, folder, id_of, token};
use crate::support::{Server, audience, encoded, eventually, singular, smallest};

/// What each route needs, all of it; nothing where anybody may. Written down here a second time,
/// so that a change of the program's own table has to be meant.
fn table() -> BTreeMap<(&'static str, String), Vec<&'static str>> {
    let mut all = BTreeMap::new();
    let mut add = |method, path: &str, needs: &[&'static str]| {
        all.insert((method, path.to_owned()), needs.to_vec());
    };
    for (table, read, write) in [
        ("audience", "audiences:read", "audiences:write"),
        ("platform", "platforms:read", "platforms:write"),
        ("distribution", "distributions:read", "distributions:write"),
    ] {
        let one = format!("/api/{table}s/{{{table}_id}}");
        add("GET", &format!("/api/{table}s"), &[read]);
        add("POST", &format!("/api/{table}s"), &[write]);
        add("GET", &one, &[read]);
        add("PUT", &one, &[write]);
        add("DELETE", &one, &[write]);
        add("PUT", &format!("{one}/status"), &[write]);
    }
    add("GET", "/api/platforms/{platform_id}/credentials", &["credentials:read"]);
    let reads = ["audiences:read", "platforms:read", "distributions:read"];
    let writes = ["audiences:write", "platforms:write", "distributions:write"];
    add(
        "GET",
        "/api/audiences/{audience_id}/distributions",
        &["audiences:read", "distributions:read"],
    );
    add("GET", "/api/users/{user_id}/summary", &reads);
    add("DELETE", "/api/users/{user_id}", &writes);
    add("POST", "/api/admin/checkpoint", &["admin"]);
    add("GET", "/api/admin/tokens", &["admin"]);
    add("POST", "/api/admin/tokens", &["admin"]);
    add("DELETE", "/api/admin/tokens/{token_id}", &["admin"]);
    add("GET", "/api/admin/audit", &["admin"]);
    add("GET", "/api/admin/usage", &["admin"]);
    add("GET", "/metrics", &["metrics:read"]);
    for open in ["/api/health", "/health/live", "/health/ready", "/api/openapi.json", "/docs"] {
        add("GET", open, &[]);
    }
    add("GET", "/docs/", &[]);
    add("GET", "/docs/{file}", &[]);
    all
}

/// A path with its parameters filled in.
fn filled(path: &str, user: &str) -> String {
    let parts = path.split(['{', '}']).enumerate();
    let fill = |(n, part): (usize, &str)| match part {
        _ if n % 2 == 0 => part.to_owned(),
        "user_id" => user.to_owned(),
        "file" => "index.html".to_owned(),
        _ => "none00000000".to_owned(),
    };
    parts.map(fill).collect()
}

/// Whether somebody with these scopes may do what needs those.
fn allowed(has: &[&str], needs: &[&str]) -> bool {
    let admin = has.contains(&"admin");
    needs.iter().all(|need| has.contains(need) || (admin && *need != "credentials:read"))
}

#[test]
fn the_table_names_every_route() {
    let known: Vec<_> = table().into_keys().collect();
    let mut served: Vec<_> = endpoints().into_iter().map(|e| (e.method, e.path)).collect();
    served.sort();
    assert_eq!(known, served);
}

#[tokio::test]
async fn every_scope_opens_the_routes_that_the_table_says_and_no_others() {
    let (_folder, data) = folder();
    // Each scope alone, what each route needs, and that without one of them.
    let mut sets: Vec<Vec<&str>> = SCOPES.iter().map(|scope| vec![*scope]).collect();
    for needs in table().into_values().filter(|needs| needs.len() > 1) {
        for left_out in 0..needs.len() {
            let mut fewer = needs.clone();
            fewer.remove(left_out);
            sets.push(fewer);
        }
        sets.push(needs);
    }
    sets.push(SCOPES[..8].to_vec());
    let named = |n: usize| format!("u{n}");
    let tokens: Vec<String> =
        sets.iter().enumerate().map(|(n, set)| token(&data, &named(n), set, &[])).collect();
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    let mut asked = 0;
    for (n, (set, token)) in sets.iter().zip(&tokens).enumerate() {
        // Erasing comes last: it takes the token with it.
        let mut routes: Vec<_> = table().into_iter().collect();
        routes.sort_by_key(|((method, path), _)| {
            (*method, path.as_str()) == ("DELETE", "/api/users/{user_id}")
        });
        for ((method, path), needs) in routes {
            let at = format!("{set:?} {method} {path}");
            let mut methods = vec![Method::from_bytes(method.as_bytes()).expect("method")];
            if method == "GET" {
                methods.push(Method::HEAD);
            }
            for method in methods {
                let head = method == Method::HEAD;
                let body = (method == Method::POST || method == Method::PUT).then_some("{}");
                let reply = server.with(token).send(method, &filled(&path, &named(n)), body).await;
                let status = reply.status.as_u16();
                if allowed(set, &needs) {
                    assert!(![401, 403].contains(&status), "{at}: {status} {}", reply.text);
                } else {
                    assert_eq!(status, 403, "{at}: {}", reply.text);
                    let challenge = reply.header("www-authenticate").expect("challenge").to_owned();
                    assert!(challenge.starts_with("Bearer "), "{at}: {challenge}");
                    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
                    if !head {
                        let error = reply.expect_error(403, "SCOPE_MISSING");
                        let lacking = error["details"]["scopes"].as_str().expect("scopes");
                        for scope in lacking.split(' ') {
                            assert!(needs.contains(&scope), "{at}: {lacking}");
                            assert!(challenge.contains(scope), "{at}: {challenge}");
                        }
                    }
                }
                asked += 1;
            }
        }
    }
    assert!(asked > 700, "{asked}");
}

#[tokio::test]
async fn without_credentials_only_what_is_open_answers() {
    let server = Server::start_with(&["--auth", "tokens"]).await;
    for ((method, path), needs) in table() {
        let verb = Method::from_bytes(method.as_bytes()).expect("method");
        for headers in [&[][..], &[("Authorization", "Basic dTpw")], &[("Authorization", "ast_")]] {
            let reply = server.send(verb.clone(), &filled(&path, "u"), headers, None).await;
            let at = format!("{method} {path} {headers:?}");
            if needs.is_empty() {
                assert!(reply.status.is_success(), "{at}: {}", reply.text);
            } else {
                assert_eq!(
                    reply.header("www-authenticate"),
                    Some("Bearer realm=\"audience-store\""),
                    "{at}"
                );
                reply.expect_error(401, "UNAUTHENTICATED");
            }
        }
    }
    // What is no route is said to anybody.
    server.get("/api/nothing").await.expect_error(404, "ROUTE_NOT_FOUND");
    server.get("/api/users/u").await.expect_error(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn credentials_are_looked_at_before_the_body() {
    let server = Server::start_with(&["--auth", "tokens"]).await;
    // A body that never comes: an answer shows that nobody waits for it.
    let answer = server.bodiless().await;
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("UNAUTHENTICATED"), "{answer}");
}

#[tokio::test]
async fn the_credentials_say_who_the_user_is_and_nothing_else_can() {
    let (_folder, data) = folder();
    let all = &SCOPES[..8];
    let (owner, thief) = (token(&data, "owner", all, &[]), token(&data, "thief", all, &[]));
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    let (owner, thief) = (server.with(&owner), server.with(&thief));
    for table in ["audiences", "platforms", "distributions"] {
        let mut body = smallest(table, "owner");
        let named = owner.save(table, &body).await;
        body.as_object_mut().expect("object").remove("user_id");
        let id = owner.save(table, &body).await;
        let one = format!("/api/{table}/{id}");
        let found = owner.get(&one).await.expect(200);
        assert_eq!(found[singular(table)]["user_id"], "owner");
        let same = owner.get(&format!("/api/{table}/{named}?user_id=owner")).await.expect(200);
        assert_eq!(same[singular(table)]["user_id"], "owner");

        // Naming another is refused everywhere, before the record is looked for.
        let note = json!({"user_id": "owner", "note": 1});
        let status = json!({"user_id": "owner", "status": "pending"});
        let status_path = format!("{one}/status");
        for reply in [
            thief.get(&format!("{one}?user_id=owner")).await,
            thief.get(&format!("/api/{table}?user_id=owner")).await,
            thief.post(&format!("/api/{table}"), &smallest(table, "owner")).await,
            thief.put(&one, &note).await,
            thief.put(&status_path, &status).await,
            thief.delete(&format!("{one}?user_id=owner")).await,
            thief.send(Method::DELETE, &one, Some(r#"{"user_id":"owner"}"#)).await,
        ] {
            let error = reply.expect_error(403, "USER_MISMATCH");
            assert_eq!(error["details"]["pointer"], "/user_id");
            assert!(!error.to_string().contains("owner"), "{error}");
        }
        // Not naming anybody finds what the thief has: nothing, as for an id that nobody has.
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let body = (method == Method::PUT).then_some(r#"{"note":1}"#);
            let theirs = thief.send(method.clone(), &one, body).await;
            let missing = thief.send(method.clone(), &format!("/api/{table}/none"), body).await;
            assert_eq!(theirs.status.as_u16(), 404, "{method} {}", theirs.text);
            assert_eq!(theirs.text, missing.text);
            let headers = |reply: &crate::support::Reply| {
                let mut headers = reply.headers.clone();
                headers.remove("date");
                headers.remove("x-request-id");
                headers
            };
            assert_eq!(headers(&theirs), headers(&missing), "{method}");
        }
        assert_eq!(thief.get(&format!("/api/{table}")).await.expect(200)["count"], 0);
        let found = owner.get(&one).await.expect(200);
        assert_eq!(found[singular(table)]["version"], 1, "untouched");
    }
    for path in ["/api/users/owner/summary", "/api/users/thief/summary?user_id=owner"] {
        thief.get(path).await.expect_error(403, "USER_MISMATCH");
    }
    thief.delete("/api/users/owner").await.expect_error(403, "USER_MISMATCH");
    // An answer that is remembered for a key is the owner's alone.
    let key = "Idempotency-Key";
    let body = audience("owner", "keyed").to_string();
    let send = async |bearer: &str, body: &str| {
        let headers = [("Authorization", bearer), (key, "k")];
        server.send(Method::POST, "/api/audiences", &headers, Some(body)).await
    };
    let (mine, theirs) = (server.token("owner", all), server.token("thief", all));
    eventually("tokens are taken", async || {
        server.with(&theirs).get("/api/audiences").await.status.is_success()
    })
    .await;
    send(&format!("Bearer {mine}"), &body).await.expect(201);
    let reply = send(&format!("Bearer {theirs}"), &body).await;
    assert_eq!(reply.header("idempotent-replayed"), None);
    reply.expect_error(403, "USER_MISMATCH");
}

#[tokio::test]
async fn an_administrator_may_name_anybody_but_sees_no_more_than_the_table_says() {
    let (_folder, data) = folder();
    let admin = token(&data, "ops", &["admin"], &[]);
    let user = token(&data, "u/1", &["audiences:read", "audiences:write"], &[]);
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    let (admin, user) = (server.with(&admin), server.with(&user));
    let id = admin.save("audiences", &audience("u/1", "by ops")).await;
    assert_eq!(
        user.get(&format!("/api/audiences/{id}")).await.expect(200)["audience"]["user_id"],
        "u/1"
    );
    admin.get(&format!("/api/audiences/{id}")).await.expect_error(404, "NOT_FOUND");
    let path = format!("/api/audiences/{id}?user_id={}", encoded("u/1"));
    admin.get(&path).await.expect(200);
    let two = format!("/api/users/{}/summary?user_id=other", encoded("u/1"));
    admin.get(&two).await.expect_error(403, "USER_MISMATCH");
    let bad = admin.get(&format!("/api/audiences?user_id={}", encoded("a\nb"))).await;
    bad.expect_error(400, "INVALID_FIELD");
    assert_eq!(admin.get("/api/audiences").await.expect(200)["count"], 0, "himself");
}

#[tokio::test]
async fn erasing_takes_the_user_himself_or_an_administrator_and_his_tokens_go_with_him() {
    let (_folder, data) = folder();
    let writes = ["audiences:write", "platforms:write", "distributions:write"];
    let himself = token(&data, "gone", &writes, &[]);
    let other = token(&data, "gone", &["audiences:read", "audiences:write"], &[]);
    let admin = token(&data, "ops", &["admin"], &[]);
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    let erase = "/api/users/gone";
    server.with(&other).delete(erase).await.expect_error(403, "SCOPE_MISSING");
    server.with(&other).save("audiences", &audience("gone", "a")).await;
    let erased = server.with(&himself).delete(erase).await.expect(200);
    assert_eq!(
        (&erased["erased"]["audiences"], &erased["erased"]["tokens"]),
        (&json!(1), &json!(2))
    );
    for token in [&himself, &other] {
        server.with(token).get("/api/audiences").await.expect_error(401, "TOKEN_UNKNOWN");
    }
    let admin = server.with(&admin);
    let erased = admin.delete(erase).await.expect(200);
    assert_eq!(
        (&erased["erased"]["audiences"], &erased["erased"]["tokens"]),
        (&json!(0), &json!(0))
    );
    let events = admin.events("user_id=gone&action=user_erased").await;
    let by: Vec<_> = events.iter().map(|e| (e["by_user"].clone(), e["via"].clone())).collect();
    let of = |user: &str, token: &str| (json!(user), json!(format!("token {}", id_of(token))));
    assert_eq!(by[1], of("gone", &himself));
    assert_eq!(by[0].0, "ops");
    let removed = admin.events("action=tokens_removed").await;
    assert_eq!((removed.len(), &removed[0]["count"]), (1, &json!(2)));
}

#[tokio::test]
async fn with_auth_off_every_route_answers_to_anybody_as_it_did() {
    let server = Server::start().await;
    for ((method, path), _) in table() {
        let verb = Method::from_bytes(method.as_bytes()).expect("method");
        let body = (method != "GET").then_some("{}");
        for headers in [&[][..], &[("Authorization", "Bearer whatever")]] {
            let path = format!("{}?user_id=u", filled(&path, "u"));
            let reply = server.send(verb.clone(), &path, headers, body).await;
            assert!(![401, 403].contains(&reply.status.as_u16()), "{method} {path}");
        }
    }
}
