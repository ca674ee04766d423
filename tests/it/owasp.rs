//! The OWASP API Security Top 10 (2023), item by item, as attacks over HTTP. Each test is named
//! after its item. Where it takes no credentials the requests name their user.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::access::{SCOPES, folder, token};
use crate::support::{Server, audience, platform, record_of, smallest};

const TABLES: [&str; 3] = ["audiences", "platforms", "distributions"];

/// A status of `table` that is not the default.
fn another_status(table: &str) -> &'static str {
    if table == "distributions" { "failed" } else { "active" }
}

/// API1: a record of another user is not there, whatever is tried on it.
#[tokio::test]
async fn api1_broken_object_level_authorization() {
    let server = Server::start().await;
    for table in TABLES {
        let id = server.save(table, &smallest(table, "owner")).await;
        let one = format!("/api/{table}/{id}");
        let (mut body, status) = (
            smallest(table, "thief"),
            json!({"user_id": "thief", "status": another_status(table)}),
        );
        body["name"] = json!("stolen");
        for (method, path, body) in [
            (Method::GET, format!("{one}?user_id=thief"), None),
            (Method::PUT, one.clone(), Some(body.to_string())),
            (Method::PUT, format!("{one}/status"), Some(status.to_string())),
            (Method::DELETE, format!("{one}?user_id=thief"), None),
        ] {
            let theirs = server.send(method.clone(), &path, &[], body.as_deref()).await;
            let nobodys = path.replace(&id, &format!("{}0", &id[..id.len() - 1]));
            let missing = server.send(method.clone(), &nobodys, &[], body.as_deref()).await;
            assert_eq!(
                (theirs.status.as_u16(), &theirs.text),
                (404, &missing.text),
                "{method} {path}"
            );
        }
        let kept = server.get(&format!("{one}?user_id=owner")).await.expect(200);
        assert_eq!(record_of(table, &kept)["version"], 1);
        // A tag of the owner's does not open it, nor does naming both.
        let tagged = [("If-None-Match", "\"1\"")];
        let reply = server.send(Method::GET, &format!("{one}?user_id=thief"), &tagged, None).await;
        assert_eq!(reply.status.as_u16(), 404);
        server
            .get(&format!("{one}?user_id=thief&user_id=owner"))
            .await
            .expect_error(400, "INVALID_PARAMETER");
    }
    // A cursor of the owner's list is none of another's.
    for n in 0..3 {
        server.save("audiences", &audience("owner", &format!("a{n}"))).await;
    }
    let page = server.get("/api/audiences?user_id=owner&limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().expect("cursor");
    let stolen = server.get(&format!("/api/audiences?user_id=thief&limit=1&cursor={cursor}")).await;
    stolen.expect_error(400, "INVALID_CURSOR");
    // An Idempotency-Key of the owner's does not give his answer.
    let key = [("Idempotency-Key", "shared")];
    for (user, replayed) in [("owner", false), ("thief", false), ("owner", true)] {
        let body = audience(user, "keyed").to_string();
        let reply = server.send(Method::POST, "/api/audiences", &key, Some(&body)).await;
        assert_eq!(reply.header("idempotent-replayed").is_some(), replayed, "{user}");
        reply.expect(201);
    }
}

/// API1, with credentials: somebody else's token opens nothing, whoever the request names.
#[tokio::test]
async fn api1_another_users_token() {
    let (_folder, data) = folder();
    let all = &SCOPES[..7];
    let (owner, thief) = (token(&data, "owner", all, &[]), token(&data, "thief", all, &[]));
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    for table in TABLES {
        let id = server.with(&owner).save(table, &smallest(table, "owner")).await;
        let missing = format!("{}0", &id[..id.len() - 1]);
        let thief = server.with(&thief);
        for id in [&id, &missing] {
            let path = format!("/api/{table}/{id}");
            let nothing = thief.get(&path).await;
            assert_eq!(nothing.status.as_u16(), 404);
            let named = thief.get(&format!("{path}?user_id=owner")).await;
            named.expect_error(403, "USER_MISMATCH");
        }
        let same = async |id: &str| thief.get(&format!("/api/{table}/{id}")).await.text;
        assert_eq!(same(&id).await, same(&missing).await, "the same bytes");
        let listed = thief.get(&format!("/api/{table}")).await.expect(200);
        assert_eq!(listed["count"], 0);
    }
}

/// API2: credentials that were never given out, in every form that is tried.
#[tokio::test]
async fn api2_broken_authentication() {
    let (_folder, data) = folder();
    let real = token(&data, "u", &["audiences:read"], &[]);
    let server = Server::over(&data, &["--auth", "tokens"]).await;
    server.with(&real).get("/api/audiences").await.expect(200);
    let ask = async |headers: &[(&str, &str)]| {
        server.send(Method::GET, "/api/audiences?user_id=u", headers, None).await
    };
    assert_eq!(ask(&[]).await.status.as_u16(), 401);
    let cut = &real[..real.len() - 1];
    let flipped: String = real.chars().rev().collect();
    let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1In0.";
    for credential in ["", cut, &flipped, none, "ast_", &real.to_uppercase(), "null", "u"] {
        for scheme in ["Bearer ", "Basic ", "bearer: ", ""] {
            let value = format!("{scheme}{credential}");
            let reply = ask(&[("Authorization", value.trim())]).await;
            assert_eq!(reply.status.as_u16(), 401, "{value}: {}", reply.text);
            assert!(reply.header("www-authenticate").is_some(), "{value}");
        }
    }
    // Where a real one does not belong, it counts for nothing.
    for (name, value) in [
        ("Cookie", format!("token={real}")),
        ("X-Api-Key", real.clone()),
        ("Proxy-Authorization", format!("Bearer {real}")),
        ("Authorization", format!("Basic {real}")),
    ] {
        assert_eq!(ask(&[(name, &value)]).await.status.as_u16(), 401, "{name}");
    }
    let query = format!("/api/audiences?access_token={real}&token={real}");
    assert_eq!(server.get(&query).await.status.as_u16(), 401);
    let two = [("Authorization", "Bearer x"), ("Authorization", "Bearer y")];
    assert_eq!(ask(&two).await.status.as_u16(), 401);
}

/// API3: what a client may not set it does not set, and what it may not see it does not see.
#[tokio::test]
async fn api3_broken_object_property_level_authorization() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let one = format!("/api/audiences/{id}");
    let before = server.get(&format!("{one}?user_id=u")).await.expect(200)["audience"].clone();
    let forged = json!({
        "user_id": "u", "version": 99, "created_at": "2001-01-01", "updated_at": "2001-01-01",
    });
    let reply = server.put(&one, &forged).await.expect(200);
    assert_eq!(reply["ignored"], json!(["created_at", "updated_at", "version"]));
    let after = server.get(&format!("{one}?user_id=u")).await.expect(200)["audience"].clone();
    assert_eq!((&after["version"], &after["created_at"]), (&json!(2), &before["created_at"]));
    assert_ne!(after["updated_at"], "2001-01-01T00:00:00.000000Z");
    // Another id, or another owner, cannot be given to a record.
    let moved = json!({"user_id": "u", "audience_id": "another"});
    server.put(&one, &moved).await.expect_error(400, "INVALID_FIELD");
    server
        .put(&format!("{one}?user_id=u"), &json!({"user_id": "v"}))
        .await
        .expect_error(403, "USER_MISMATCH");
    // Names of JavaScript's and the server's own fields are data like others.
    let mut body = audience("u", "a");
    for name in ["__proto__", "constructor", "extra", "key_hash", "foreign_ids"] {
        body[name] = json!({"isAdmin": true});
    }
    let id = server.save("audiences", &body).await;
    let shown = server.get(&format!("/api/audiences/{id}?user_id=u")).await.expect(200);
    assert_eq!(shown["audience"]["__proto__"], json!({"isAdmin": true}));
    assert_eq!(shown["audience"]["extra"], json!({"isAdmin": true}));
    // Credentials are no property that a read or a list shows.
    let mut body = platform("u", "p");
    body["credentials"] = json!({"token": "sk-live-secret"});
    let reply = server.post("/api/platforms", &body).await;
    assert!(!reply.text.contains("sk-live-secret"), "{}", reply.text);
    for path in
        ["/api/platforms?user_id=u", "/api/platforms?user_id=u&fields=credentials,name", "/metrics"]
    {
        let reply = server.get(path).await;
        assert!(!reply.text.contains("sk-live-secret"), "{path}: {}", reply.text);
    }
}

/// API4: no request takes more than its share: sizes, counts, pages, patterns, compression.
#[tokio::test]
async fn api4_unrestricted_resource_consumption() {
    let server = Server::start().await;
    for n in 0..5 {
        server.save("audiences", &audience("u", &format!("a{n}"))).await;
    }
    // A page is bounded, however it is asked for.
    for limit in ["1001", "-1", "0", "99999999999999999999", "1e3", "0x10"] {
        let reply = server.get(&format!("/api/audiences?user_id=u&limit={limit}")).await;
        reply.expect_error(400, "INVALID_PARAMETER");
    }
    let many = "a,".repeat(101);
    server
        .get(&format!("/api/audiences?user_id=u&fields={many}"))
        .await
        .expect_error(400, "INVALID_PARAMETER");
    let long = "q".repeat(1001);
    server
        .get(&format!("/api/audiences?user_id=u&q={long}"))
        .await
        .expect_error(400, "INVALID_PARAMETER");
    // `q` is text, not a pattern.
    let pattern = server.get("/api/audiences?user_id=u&q=(a%2B)%2B%24").await.expect(200);
    assert_eq!(pattern["count"], 0);
    // Deep and wide JSON, numbers without end, a body that unpacks to more than it is.
    let deep =
        format!("{{\"user_id\":\"u\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let wide = format!("{{\"user_id\":\"u\",\"x\":[{}0]}}", "0,".repeat(400_000));
    let fields: String = (0..120_000).map(|n| format!("\"f{n}\":0,")).collect();
    let fields = format!("{{{fields}\"user_id\":\"u\"}}");
    let digits = format!("{{\"user_id\":\"u\",\"total_audience_size\":{}}}", "9".repeat(500_000));
    for body in [&deep, &wide, &fields, &digits] {
        assert!(body.len() < 1 << 20 || std::ptr::eq(body, &fields));
        let reply = server.send(Method::POST, "/api/audiences", &[], Some(body)).await;
        assert!([400, 413].contains(&reply.status.as_u16()), "{}", reply.text);
        assert!(reply.text.len() < 1000, "the answer does not repeat it");
    }
    let zipped = [("Content-Encoding", "gzip")];
    let reply = server.send(Method::POST, "/api/audiences", &zipped, Some("x")).await;
    reply.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    // Many at once are answered, each in its turn.
    let body = audience("u", "many");
    let replies = join_all((0..300).map(|_| server.post("/api/audiences", &body))).await;
    assert!(replies.iter().all(|r| [201, 503].contains(&r.status.as_u16())));
    server.get("/health/ready").await.expect(200);
}

/// API4, per user: rates and quotas (off by default) hold for every way in.
#[tokio::test]
async fn api4_a_user_cannot_take_everybodys_share() {
    let server = Server::start_with(&["--rate-limit=4", "--quota-audiences=2"]).await;
    let body = audience("greedy", "a");
    server.post("/api/audiences", &body).await.expect(201);
    server.post("/api/audiences", &body).await.expect(201);
    server.post("/api/audiences", &body).await.expect_error(403, "QUOTA_EXCEEDED");
    server.get("/api/audiences?user_id=greedy").await.expect(200);
    for reply in join_all((0..8).map(|_| server.get("/api/audiences?user_id=greedy"))).await {
        reply.expect_error(429, "RATE_LIMITED");
    }
    server.post("/api/audiences", &audience("modest", "a")).await.expect(201);
}

/// API5: no method or path leads to a function that the document does not have.
#[tokio::test]
async fn api5_broken_function_level_authorization() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let one = format!("/api/audiences/{id}?user_id=u");
    for (method, path) in [
        (Method::DELETE, "/api/audiences?user_id=u"),
        (Method::PUT, "/api/audiences?user_id=u"),
        (Method::PATCH, one.as_str()),
        (Method::POST, one.as_str()),
        (Method::TRACE, one.as_str()),
        (Method::GET, "/api/admin/checkpoint"),
        (Method::POST, "/metrics"),
        (Method::PUT, "/api/users/u"),
    ] {
        let reply = server.send(method.clone(), path, &[], Some("{\"user_id\":\"u\"}")).await;
        assert!(reply.header("allow").is_some(), "{method} {path}");
        reply.expect_error(405, "METHOD_NOT_ALLOWED");
    }
    // Another method in a header or a parameter is no other method.
    let headers = [
        ("X-HTTP-Method-Override", "DELETE"),
        ("X-HTTP-Method", "DELETE"),
        ("X-Original-URL", "/api/users/u"),
    ];
    server.send(Method::GET, &format!("{one}&_method=DELETE"), &headers, None).await.expect(200);
    server.get(&one).await.expect(200);
    for path in [
        "/api/admin",
        "/api/admin/",
        "/api/admin/users",
        "/admin",
        "/debug/pprof",
        "/actuator",
        "/.git/config",
        "/.env",
        "/api/v2/audiences",
        "/api/idempotency?user_id=u",
    ] {
        server.get(path).await.expect_error(404, "ROUTE_NOT_FOUND");
    }
}

/// API6: a flow that must happen once happens once, however often and however fast it is asked
/// for.
#[tokio::test]
async fn api6_unrestricted_access_to_sensitive_business_flows() {
    let server = Server::start().await;
    let key = [("Idempotency-Key", "send-once")];
    let body = smallest("distributions", "u").to_string();
    let send = || server.send(Method::POST, "/api/distributions", &key, Some(&body));
    let replies = join_all((0..40).map(|_| send())).await;
    let mut ids: Vec<Value> =
        replies.into_iter().map(|r| r.expect(201)["distribution_id"].clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1, "one distribution, not forty");
    assert_eq!(server.get("/api/distributions?user_id=u").await.expect(200)["count"], 1);
    // A status can be changed by one of many that saw the same version.
    let id = ids[0].as_str().expect("id");
    let path = format!("/api/distributions/{id}/status");
    let status = json!({"user_id": "u", "status": "completed"}).to_string();
    let first = [("If-Match", "\"1\"")];
    let replies =
        join_all((0..20).map(|_| server.send(Method::PUT, &path, &first, Some(&status)))).await;
    assert_eq!(replies.iter().filter(|r| r.status.as_u16() == 200).count(), 1);
    assert!(replies.iter().all(|r| [200, 412].contains(&r.status.as_u16())));
}

/// API7: no text makes the server ask another for something.
#[tokio::test]
async fn api7_server_side_request_forgery() {
    let server = Server::start().await;
    let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("trap");
    let url = format!("http://{}/latest/meta-data", trap.local_addr().expect("address"));
    for table in TABLES {
        let mut body = smallest(table, "u");
        for name in [
            "name",
            "description",
            "original_query",
            "url",
            "callback",
            "webhook",
            "$ref",
            "error_message",
        ] {
            body[name] = json!(url);
        }
        body["metadata"] = json!({"$ref": url, "href": url});
        body["settings"] = json!({"endpoint": url});
        let id = server.save(table, &body).await;
        server.get(&format!("/api/{table}/{id}?user_id=u")).await.expect(200);
    }
    let headers = [
        ("X-Forwarded-Host", "127.0.0.1:1"),
        ("Forwarded", "host=127.0.0.1:1"),
        ("Referer", url.as_str()),
    ];
    server
        .send(Method::GET, &format!("/api/audiences?user_id=u&q={url}"), &headers, None)
        .await
        .expect(200);
    server
        .raw(format!("GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await;
    server
        .raw(
            format!(
                "CONNECT {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                trap.local_addr().expect("address")
            )
            .as_bytes(),
        )
        .await;
    server.checkpoint().await;
    // A visit would wait here by now: what asks does so before it answers.
    let visited = futures_util::FutureExt::now_or_never(trap.accept());
    assert!(visited.is_none(), "somebody came");
}

/// API8: defaults are safe ones, and errors tell nothing of the inside. (Headers, CORS, TLS and
/// pages of other sites: `transport`.)
#[tokio::test]
async fn api8_security_misconfiguration() {
    let server = Server::start().await;
    for (method, path, body) in [
        (Method::POST, "/api/audiences", Some("{\"user_id\":")),
        (
            Method::POST,
            "/api/audiences",
            Some(
                "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY x SYSTEM \"file:///etc/passwd\">]><a>&x;</a>",
            ),
        ),
        (Method::GET, "/api/audiences?user_id=%ff", None),
        (Method::GET, "/api/audiences?user_id=u&cursor=%00", None),
        (Method::GET, "/docs/../../etc/passwd", None),
        (Method::PUT, "/api/audiences/x", Some("[]")),
    ] {
        let reply = server.send(method.clone(), path, &[], body).await;
        assert!((400..500).contains(&reply.status.as_u16()), "{method} {path}: {}", reply.status);
        assert_eq!(reply.header("content-type"), Some("application/json"), "{method} {path}");
        for inside in
            ["root:", "src/", ".rs", "panicked", "serde", "actix", "os error", "backtrace", "/data"]
        {
            assert!(!reply.text.contains(inside), "{method} {path}: {inside} in {}", reply.text);
        }
    }
    let xml = [("Content-Type", "application/xml")];
    server
        .send(Method::POST, "/api/audiences", &xml, Some("<a/>"))
        .await
        .expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    // No answer tells what it runs on, or in which version.
    for path in ["/", "/health/live", "/api/health", "/api/audiences"] {
        let reply = server.get(path).await;
        for name in ["server", "x-powered-by", "via"] {
            assert_eq!(reply.header(name), None, "{path}");
        }
        assert!(!reply.text.contains(env!("CARGO_PKG_VERSION")), "{path}: {}", reply.text);
    }
}

/// API9: every route there is, is in the document, and answers as it says; there is no other
/// version and no debug route. (The whole list: `openapi`.)
#[tokio::test]
async fn api9_improper_inventory_management() {
    let server = Server::start().await;
    let document = server.get("/api/openapi.json").await.expect(200);
    let paths = document["paths"].as_object().expect("paths");
    for path in paths.keys() {
        let filled: String = path
            .split(['{', '}'])
            .enumerate()
            .map(|(n, p)| if n % 2 == 0 { p } else { "x" })
            .collect();
        for prefix in ["/v1", "/api/v1", "/internal", "/test"] {
            server.get(&format!("{prefix}{filled}")).await.expect_error(404, "ROUTE_NOT_FOUND");
        }
        let (status, _) = server.raw_request("OPTIONS", &filled).await;
        assert_eq!(status, 405, "{path}");
    }
}

/// API10: what other programs wrote is not trusted: a file that came by another way is read as
/// data or named as unreadable, and never as another user's. The server consumes no other API.
#[tokio::test]
async fn api10_unsafe_consumption_of_apis() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &[]).await;
    let mut body = audience("victim", "secret");
    body["created_at"] = json!("2025-01-15");
    server.save("audiences", &body).await;
    server.stop().await;
    let month = "year=2025/month=01/audiences_202501.parquet";
    let theirs = data.join("audiences/user_id=victim").join(month);
    let planted = data.join("audiences/user_id=thief").join(month);
    std::fs::create_dir_all(planted.parent().expect("folder")).expect("folders");
    std::fs::copy(&theirs, &planted).expect("copy");
    let server = Server::over(&data, &[]).await;
    let reply = server.get("/api/audiences?user_id=thief").await;
    assert!(!reply.text.contains("secret"), "{}", reply.text);
    reply.expect_error(503, "PARTITION_CORRUPT");
    let found = server.get("/api/audiences?user_id=victim").await.expect(200);
    assert_eq!(found["count"], 1);
}
