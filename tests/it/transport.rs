//! TLS and its certificates, HTTP/2, the headers of every answer, CORS and pages of other sites.

use std::path::Path;

use h2::client;
use reqwest::Method;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::support::wire::{Certificate, hear, hear_all, say, tls_client, tls_connect};
use crate::support::{Reply, Server, audience, eventually, program, run};

/// A server that speaks TLS with `certificate`, whose files are in `folder`.
fn https(folder: &Path, certificate: &Certificate, args: &[&str]) -> Server {
    let (cert, key) = certificate.write(folder);
    let (cert, key) =
        (format!("--tls-cert={}", cert.display()), format!("--tls-key={}", key.display()));
    let args = [args, &[cert.as_str(), key.as_str()]].concat();
    Server::listening(&folder.join("data"), &args).unwrap_or_else(|e| panic!("{e}"))
}

/// One request over a fresh TLS connection that trusts `certificate`.
async fn ask(server: &Server, certificate: &Certificate, request: &str) -> std::io::Result<String> {
    let client = tls_client(certificate, &[&TLS13], &[b"http/1.1"]);
    let mut stream = tls_connect(server, &client).await?;
    say(&mut stream, request.as_bytes()).await;
    Ok(hear(&mut stream).await)
}

/// What `/metrics` says over TLS.
async fn metrics(server: &Server, certificate: &Certificate) -> String {
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    ask(server, certificate, request).await.expect("metrics")
}

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn https_speaks_tls_12_and_13_and_says_so_to_browsers() {
    let folder = tempfile::tempdir().expect("folder");
    let certificate = Certificate::make();
    let server = https(folder.path(), &certificate, &[]);
    for version in [&TLS12, &TLS13] {
        let client = tls_client(&certificate, &[version], &[]);
        let mut stream = tls_connect(&server, &client).await.expect("handshake");
        say(&mut stream, LIVE.as_bytes()).await;
        let answer = hear(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=31536000\r\n"), "{answer}");
    }
    // Plain HTTP gets no answer, and is no harm.
    let mut plain = server.connect().await;
    say(&mut plain, LIVE.as_bytes()).await;
    assert!(!hear_all(&mut plain).await.contains("HTTP/"), "no answer in the clear");
    // Nor does a client that trusts another certificate.
    ask(&server, &Certificate::make(), LIVE).await.expect_err("not trusted");
    let line = "audience_store_refused_total{reason=\"tls_handshake\"} 2\n";
    eventually("both are counted", async || metrics(&server, &certificate).await.contains(line))
        .await;
}

#[tokio::test]
async fn http2_carries_many_requests_at_once() {
    let folder = tempfile::tempdir().expect("folder");
    let certificate = Certificate::make();
    let server = https(folder.path(), &certificate, &[]);
    let connector = tls_client(&certificate, &[&TLS13], &[b"h2", b"http/1.1"]);
    let stream = tls_connect(&server, &connector).await.expect("handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, connection) = client::handshake(stream).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let mut answers = Vec::new();
    for n in 0..40 {
        let request = http::Request::post("https://localhost/api/platforms")
            .header("content-type", "application/json")
            .body(())
            .expect("request");
        requests = requests.ready().await.expect("ready");
        let (answer, mut body) = requests.send_request(request, false).expect("sent");
        let platform = json!({"user_id": "u", "platform_type": "meta", "name": format!("p{n}")});
        body.send_data(platform.to_string().into(), true).expect("body");
        answers.push(answer);
    }
    for answer in answers {
        let answer = answer.await.expect("answer");
        // The server may still be recovering.
        assert!([201, 503].contains(&answer.status().as_u16()), "{}", answer.status());
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert!(answer.headers().contains_key("strict-transport-security"));
        assert!(!answer.headers().contains_key("server"));
    }
    drop(requests);
    driving.await.expect("driven").expect("a clean end");
}

#[tokio::test]
async fn one_http2_connection_carries_so_many_requests_and_no_more() {
    let folder = tempfile::tempdir().expect("folder");
    let certificate = Certificate::make();
    let server = https(folder.path(), &certificate, &["--body-timeout=10m"]);
    let connector = tls_client(&certificate, &[&TLS13], &[b"h2"]);
    let stream = tls_connect(&server, &connector).await.expect("handshake");
    let (mut requests, connection) = client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    // Bodies that do not come keep their requests under way.
    let (mut held, mut refused) = (Vec::new(), None);
    for n in 0..129 {
        let request = http::Request::post("https://localhost/api/audiences").body(());
        requests = requests.ready().await.expect("ready");
        let (answer, body) = requests.send_request(request.expect("request"), false).expect("sent");
        if n < 128 { held.push((answer, body)) } else { refused = Some(answer) }
    }
    let refused = refused.expect("the last").await.expect("answer");
    assert_eq!(refused.status().as_u16(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    // One that ends makes room.
    let (answer, mut body) = held.pop().expect("held");
    body.send_data("{}".into(), true).expect("body");
    assert_ne!(answer.await.expect("answer").status().as_u16(), 408);
    let live = http::Request::get("https://localhost/health/live").body(()).expect("request");
    requests = requests.ready().await.expect("ready");
    let (answer, _) = requests.send_request(live, true).expect("sent");
    assert_eq!(answer.await.expect("answer").status().as_u16(), 200);
}

#[tokio::test]
async fn a_head_that_unpacks_to_more_than_one_may_send_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let certificate = Certificate::make();
    let server = https(folder.path(), &certificate, &[]);
    let connector = tls_client(&certificate, &[&TLS13], &[b"h2"]);
    let stream = tls_connect(&server, &connector).await.expect("handshake");
    let (mut requests, connection) = client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    // One header a thousand times: HTTP/2 sends it once, and a byte for each further time.
    for (times, status) in [(30, 200), (1000, 431)] {
        let mut request = http::Request::get("https://localhost/health/live");
        for _ in 0..times {
            request = request.header("x-filler", "y".repeat(100));
        }
        requests = requests.ready().await.expect("ready");
        let (answer, _) =
            requests.send_request(request.body(()).expect("request"), true).expect("sent");
        assert_eq!(answer.await.expect("answer").status().as_u16(), status, "{times}");
    }
    let line = "audience_store_refused_total{reason=\"large_head\"} 1\n";
    assert!(metrics(&server, &certificate).await.contains(line));
}

#[tokio::test]
async fn an_http2_client_that_does_not_read_loses_its_connection() {
    let folder = tempfile::tempdir().expect("folder");
    let certificate = Certificate::make();
    let args = ["--write-timeout=2s", "--min-rate=1GiB"];
    let server = https(folder.path(), &certificate, &args);
    let connector = tls_client(&certificate, &[&TLS13], &[b"h2"]);
    let stream = tls_connect(&server, &connector).await.expect("handshake");
    // It takes a kilobyte of each answer and never asks for more.
    let mut builder = client::Builder::new();
    let shaking = builder.initial_window_size(1024).handshake::<_, bytes::Bytes>(stream);
    let (mut requests, connection) = shaking.await.expect("HTTP/2");
    let driven = tokio::spawn(connection);
    let large = http::Request::get("https://localhost/api/openapi.json").body(()).expect("request");
    requests = requests.ready().await.expect("ready");
    let (answer, _) = requests.send_request(large, true).expect("sent");
    let answer = answer.await.expect("answer");
    assert_eq!(answer.status().as_u16(), 200);
    // The client goes on to answer pings; the connection ends all the same.
    let ended = tokio::time::timeout(crate::support::PATIENCE, driven).await.expect("an end");
    drop((answer, requests, ended));
    let line = "audience_store_refused_total{reason=\"slow_reader\"} 1\n";
    eventually("it is counted", async || metrics(&server, &certificate).await.contains(line)).await;
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let folder = tempfile::tempdir().expect("folder");
    let certificate = Certificate::make();
    let server = https(folder.path(), &certificate, &["--header-timeout=2s"]);
    let mut silent = server.connect().await;
    assert_eq!(hear_all(&mut silent).await, "");
    let slow = tls_client(&certificate, &[&TLS13], &[]);
    let mut stream = tls_connect(&server, &slow).await.expect("handshake");
    say(&mut stream, b"GET / HTTP/1.1\r\nX-Slow: ").await;
    let answer = hear_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_when_asked_and_when_it_changes() {
    let folder = tempfile::tempdir().expect("folder");
    let [first, second, third] = [(); 3].map(|()| Certificate::make());
    let mut server = https(folder.path(), &first, &[]);
    assert!(ask(&server, &first, LIVE).await.is_ok());
    // A connection of before goes on with the old one.
    let client = tls_client(&first, &[&TLS13], &[]);
    let mut held = tls_connect(&server, &client).await.expect("handshake");
    second.write(folder.path());
    server.signal("HUP");
    eventually("the second is in use", async || ask(&server, &second, LIVE).await.is_ok()).await;
    ask(&server, &first, LIVE).await.expect_err("the first is gone");
    say(&mut held, LIVE.as_bytes()).await;
    assert!(hear(&mut held).await.starts_with("HTTP/1.1 200 "));
    // Without a signal, too.
    third.write(folder.path());
    eventually("the third is in use", async || ask(&server, &third, LIVE).await.is_ok()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_broken_new_certificate_keeps_the_old_one_and_is_reported() {
    let folder = tempfile::tempdir().expect("folder");
    let (first, second) = (Certificate::make(), Certificate::make());
    let server = https(folder.path(), &first, &[]);
    let said = |what: &str| server.said().matches(what).count();
    let refused = "the old ones stay in use";
    for (n, (file, text)) in [
        ("cert.pem", "no certificate"),
        ("cert.pem", second.cert.as_str()),
        ("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
    ]
    .into_iter()
    .enumerate()
    {
        std::fs::write(folder.path().join(file), text).expect("file");
        server.signal("HUP");
        eventually("it is reported", async || said(refused) > n).await;
        assert!(ask(&server, &first, LIVE).await.is_ok(), "{file}");
    }
    std::fs::remove_file(folder.path().join("key.pem")).expect("remove");
    let before = said(refused);
    server.signal("HUP");
    eventually("it is reported", async || said(refused) > before).await;
    assert!(ask(&server, &first, LIVE).await.is_ok());
    for secret in [&first.key, &second.key] {
        let line = secret.lines().nth(1).expect("key");
        assert!(!server.said().contains(line), "a key in the log");
    }
    second.write(folder.path());
    eventually("the whole pair is in use", async || ask(&server, &second, LIVE).await.is_ok())
        .await;
}

/// 2001-09-09 and 2065-01-24.
const PAST: u64 = 1_000_000_000;
const FUTURE: u64 = 3_000_000_000;

#[tokio::test]
async fn a_new_certificate_whose_time_it_is_not_keeps_the_old_one() {
    let folder = tempfile::tempdir().expect("folder");
    let first = Certificate::dated(PAST..FUTURE);
    let server = https(folder.path(), &first, &[]);
    let expires = format!("audience_store_tls_certificate_expiry_timestamp_seconds {FUTURE}\n");
    assert!(metrics(&server, &first).await.contains(&expires));
    let over = Certificate::dated(0..PAST);
    let early = Certificate::dated(FUTURE..FUTURE + PAST);
    for (certificate, says) in [
        (&over, "the certificate expired at 2001-09-09T01:46:40"),
        (&early, "the certificate does not hold before 2065-01-24T05:20:00"),
    ] {
        // It is seen because the files changed, then because somebody asks.
        certificate.write(folder.path());
        let said = || server.said().matches(says).count();
        eventually("it is reported", async || said() >= 1).await;
        let before = said();
        server.signal("HUP");
        eventually("it is reported again", async || said() > before).await;
        assert!(server.said().contains("the old ones stay in use"));
        assert!(ask(&server, &first, LIVE).await.is_ok(), "{says}");
        assert!(metrics(&server, &first).await.contains(&expires), "of the one in use");
    }
    let last = Certificate::dated(PAST..FUTURE + 1);
    last.write(folder.path());
    eventually("one that holds is in use", async || ask(&server, &last, LIVE).await.is_ok()).await;
}

#[tokio::test]
async fn a_certificate_that_came_early_is_taken_when_its_time_comes() {
    let folder = tempfile::tempdir().expect("folder");
    let first = Certificate::make();
    let server = https(folder.path(), &first, &[]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.expect("after 1970").as_secs() + 6;
    let second = Certificate::dated(soon..FUTURE);
    second.write(folder.path());
    server.signal("HUP");
    eventually("it is looked at", async || {
        let said = server.said();
        said.contains("does not hold before") || said.contains("taken anew")
    })
    .await;
    eventually("it is in use", async || ask(&server, &second, LIVE).await.is_ok()).await;
}

#[tokio::test]
async fn a_start_with_a_certificate_that_expired_says_so_and_goes_on() {
    let folder = tempfile::tempdir().expect("folder");
    let over = Certificate::dated(0..PAST);
    let server = https(folder.path(), &over, &[]);
    for says in ["the certificate expired at 2001-09-09", "others may read the key"] {
        eventually(says, async || server.said().contains(says)).await;
    }
    ask(&server, &over, LIVE).await.expect_err("clients that check refuse it");
    let next = Certificate::make();
    next.write(folder.path());
    server.signal("HUP");
    eventually("another is in use", async || ask(&server, &next, LIVE).await.is_ok()).await;
}

#[test]
fn tls_that_cannot_be_spoken_stops_the_start() {
    let folder = tempfile::tempdir().expect("folder");
    let (one, other) = (Certificate::make(), Certificate::make());
    let (cert, _) = one.write(folder.path());
    let key = folder.path().join("other.pem");
    std::fs::write(&key, &other.key).expect("key");
    let data = folder.path().join("data");
    let serve = |cert: &Path, key: &Path| {
        let args = [
            format!("--tls-cert={}", cert.display()),
            format!("--tls-key={}", key.display()),
            format!("--data={}", data.display()),
            "--listen=127.0.0.1:0".to_owned(),
        ];
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        run(program(&[&["serve"][..], &args].concat()))
    };
    let missing = folder.path().join("none.pem");
    for (cert, key, says) in [
        (&cert, &key, "do not go together"),
        (&missing, &key, "none.pem cannot be read"),
        (&key, &key, "other.pem has no certificate in PEM"),
        (&cert, &cert, "cert.pem has no private key in PEM"),
    ] {
        let (code, _, error) = serve(cert, key);
        assert!(code == 1 && error.contains(says), "{code}: {error}");
    }
    let (code, _, error) = run(program(&["serve", "--tls-cert=a.pem"]));
    assert!(code == 2 && error.contains("`tls-key`"), "{code}: {error}");
}

const SECURE: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

fn is_secure(reply: &Reply, what: &str) {
    for (name, value) in SECURE {
        if name != "content-security-policy" || !what.starts_with("/docs/") {
            assert_eq!(reply.header(name), Some(value), "{what}: {name}");
        }
    }
    for absent in
        ["server", "x-powered-by", "strict-transport-security", "access-control-allow-origin"]
    {
        assert_eq!(reply.header(absent), None, "{what}: {absent}");
    }
    assert!(reply.header("cache-control").is_some(), "{what}");
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let record = format!("/api/audiences/{id}?user_id=u");
    for path in [
        record.as_str(),
        "/api/audiences?user_id=u",
        "/api/audiences",
        "/api/audiences/x?user_id=u",
        "/api/users/u/summary",
        "/nothing",
        "/metrics",
        "/health/ready",
        "/api/openapi.json",
        "/docs/index.html",
        "/docs/none",
    ] {
        is_secure(&server.get(path).await, path);
    }
    // What is private may be kept by the client alone, and asked for anew.
    let cached = server.get(&record).await;
    assert_eq!(cached.header("cache-control"), Some("private, no-cache"));
    let written = server.post("/api/audiences", &audience("u", "b")).await;
    is_secure(&written, "a write");
    assert_eq!(written.header("cache-control"), Some("no-store"));
    for (method, path) in [
        (Method::OPTIONS, "/api/audiences"),
        (Method::PATCH, "/metrics"),
        (Method::HEAD, "/health/live"),
    ] {
        is_secure(&server.send(method, path, &[], None).await, path);
    }
    let tag = cached.header("etag").expect("etag").to_owned();
    let same = server.send(Method::GET, &record, &[("If-None-Match", &tag)], None).await;
    assert_eq!(same.status.as_u16(), 304);
    is_secure(&same, "304");
}

#[tokio::test]
async fn the_documentation_page_runs_under_its_policy() {
    let server = Server::start().await;
    let page = server.get("/docs").await;
    let policy = page.header("content-security-policy").expect("policy").to_owned();
    assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"));
    // Nothing on the page needs more: no script in the page itself, nothing of another host.
    for script in page.text.split("<script").skip(1) {
        let (tag, rest) = script.split_once('>').expect("tag");
        let (inside, _) = rest.split_once("</script>").expect("end");
        assert!(tag.contains("src=") && inside.trim().is_empty(), "{script}");
    }
    for handler in [" onclick=", " onload=", "javascript:"] {
        assert!(!page.text.contains(handler), "{handler}");
    }
}

#[tokio::test]
async fn without_named_origins_there_is_no_cors() {
    let server = Server::start().await;
    let origin = [("Origin", "https://app.example.com")];
    let reply = server.send(Method::GET, "/api/audiences?user_id=u", &origin, None).await;
    is_secure(&reply, "GET");
    let preflight = [origin[0], ("Access-Control-Request-Method", "POST")];
    let reply = server.send(Method::OPTIONS, "/api/audiences", &preflight, None).await;
    is_secure(&reply, "preflight");
    reply.expect_error(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn named_origins_may_call_and_others_may_not() {
    let args = [
        "--cors-origin",
        "https://a.example",
        "--cors-origin=https://b.example,http://localhost:3000",
    ];
    let server = Server::start_with(&args).await;
    for origin in ["https://a.example", "https://b.example", "http://localhost:3000"] {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "PUT"),
            (
                "Access-Control-Request-Headers",
                "content-type, if-match, idempotency-key, authorization",
            ),
        ];
        let reply = server.send(Method::OPTIONS, "/api/audiences/x", &headers, None).await;
        assert_eq!(reply.status.as_u16(), 200, "{origin}: {}", reply.text);
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
        assert!(reply.header("vary").expect("vary").to_lowercase().contains("origin"));
        let body = audience("u", "a").to_string();
        let reply = server
            .send(
                Method::POST,
                "/api/audiences",
                &[("Origin", origin), ("Sec-Fetch-Site", "cross-site")],
                Some(&body),
            )
            .await;
        assert_eq!(reply.header("access-control-allow-origin"), Some(origin));
        let exposed =
            reply.header("access-control-expose-headers").expect("exposed").to_lowercase();
        assert!(exposed.contains("etag") && exposed.contains("retry-after"), "{exposed}");
        reply.expect(201);
    }
    for origin in ["https://evil.example", "https://a.example.evil", "http://a.example", "null"] {
        let headers = [("Origin", origin), ("Access-Control-Request-Method", "POST")];
        let reply = server.send(Method::OPTIONS, "/api/audiences", &headers, None).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
        reply.expect_error(403, "CROSS_SITE");
        let reply =
            server.send(Method::GET, "/api/audiences?user_id=u", &[("Origin", origin)], None).await;
        assert_eq!(reply.header("access-control-allow-origin"), None, "{origin}");
    }
    let asked = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "TRACE")];
    server
        .send(Method::OPTIONS, "/api/audiences", &asked, None)
        .await
        .expect_error(403, "CROSS_SITE");
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    let one = format!("/api/audiences/{id}?user_id=u");
    let body = audience("u", "b").to_string();
    // What a page may send without asking first: no content type, or that of a form.
    for headers in [
        vec![("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site"), ("Origin", "http://localhost:3000")],
        vec![("Origin", "https://evil.example")],
    ] {
        for (method, path) in [
            (Method::POST, "/api/audiences"),
            (Method::PUT, one.as_str()),
            (Method::DELETE, one.as_str()),
            (Method::DELETE, "/api/users/u"),
            (Method::POST, "/api/admin/checkpoint"),
        ] {
            let reply = server.send(method.clone(), path, &headers, Some(&body)).await;
            reply.expect_error(403, "CROSS_SITE");
        }
    }
    assert_eq!(server.metric("refused_total{reason=\"cross_site\"}").await, 20);
    let trail = server.get("/api/admin/audit?action=denied").await.expect(200);
    let noted = trail["events"].as_array().expect("events");
    assert!(noted.iter().all(|line| line["code"] == "CROSS_SITE"), "{trail}");
    let found = server.get(&one).await.expect(200);
    assert_eq!(found["audience"]["version"], 1);
    // The server's own pages, other programs, and links to it go on.
    for site in ["same-origin", "none"] {
        server
            .send(Method::POST, "/api/audiences", &[("Sec-Fetch-Site", site)], Some(&body))
            .await
            .expect(201);
    }
    server.send(Method::GET, &one, &[("Sec-Fetch-Site", "cross-site")], None).await.expect(200);
    let listed: Value = server.get("/api/audiences?user_id=u").await.expect(200);
    assert_eq!(listed["count"], 3);
}
