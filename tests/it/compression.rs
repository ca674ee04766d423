//! What goes over the wire: gzip and zstd where the client takes them, the same content always.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Server, audience};

/// Encoding and plain bytes of an answer.
async fn fetch(server: &Server, path: &str, accept: Option<&str>) -> (Option<String>, Vec<u8>) {
    let mut request = server.client().request(Method::GET, server.url(path));
    if let Some(accept) = accept {
        request = request.header("Accept-Encoding", accept);
    }
    let reply = request.send().await.expect("answer");
    assert_eq!(reply.status().as_u16(), 200, "{path}");
    let headers = reply.headers().clone();
    let text = |name: &str| headers.get(name).map(|v| v.to_str().expect("ASCII").to_owned());
    let sent = reply.bytes().await.expect("body");
    let encoding = text("content-encoding").filter(|e| e != "identity");
    let plain = match encoding.as_deref() {
        None => sent.to_vec(),
        Some("gzip") => {
            let mut plain = Vec::new();
            let mut reader = flate2::read::GzDecoder::new(sent.as_ref());
            std::io::Read::read_to_end(&mut reader, &mut plain).expect("gzip");
            plain
        }
        Some("zstd") => zstd::decode_all(sent.as_ref()).expect("zstd"),
        Some(other) => panic!("{other} was not asked for"),
    };
    if encoding.is_some() {
        assert!(sent.len() < plain.len(), "{path}: {} of {}", sent.len(), plain.len());
        let vary = text("vary").unwrap_or_default().to_ascii_lowercase();
        assert!(vary.contains("accept-encoding"), "caches must know: {vary}");
    }
    (encoding, plain)
}

#[tokio::test]
async fn reads_are_compressed_as_the_client_takes_them() {
    let server = Server::start().await;
    let mut id = String::new();
    for n in 0..20 {
        let mut body = audience("u", &format!("name {n}"));
        body["description"] = json!("Males aged 18-24 interested in gaming. ".repeat(20));
        id = server.save("audiences", &body).await;
    }
    for path in [
        format!("/api/audiences/{id}?user_id=u"),
        "/api/audiences?user_id=u".to_owned(),
        "/api/openapi.json".to_owned(),
        "/docs/swagger-ui-bundle.js".to_owned(),
    ] {
        let (none, plain) = fetch(&server, &path, None).await;
        assert_eq!(none, None, "{path}");
        for (accept, expected) in [
            ("gzip", Some("gzip")),
            ("zstd", Some("zstd")),
            ("zstd;q=0, gzip", Some("gzip")),
            ("identity", None),
            ("*;q=0, identity", None),
        ] {
            let (encoding, body) = fetch(&server, &path, Some(accept)).await;
            assert_eq!(encoding.as_deref(), expected, "{path} {accept}");
            assert!(body == plain, "{path} {accept}: other content");
        }
        let (encoding, _) = fetch(&server, &path, Some("gzip, deflate, br, zstd")).await;
        assert!(encoding.is_some(), "{path}: what a browser sends");
    }
}

#[tokio::test]
async fn a_tag_works_whatever_the_encoding() {
    let server = Server::start().await;
    let mut body = audience("u", "a");
    body["description"] = json!("gaming ".repeat(500));
    let id = server.save("audiences", &body).await;
    for path in [format!("/api/audiences/{id}?user_id=u"), "/api/audiences?user_id=u".to_owned()] {
        for accept in ["identity", "gzip", "zstd"] {
            let ask = |tag: Option<String>| {
                let mut request =
                    server.client().get(server.url(&path)).header("Accept-Encoding", accept);
                if let Some(tag) = tag {
                    request = request.header("If-None-Match", tag);
                }
                request.send()
            };
            let full = ask(None).await.expect("answer");
            let tag = full.headers()["etag"].to_str().expect("ASCII").to_owned();
            let known = ask(Some(tag)).await.expect("answer");
            assert_eq!(known.status().as_u16(), 304, "{path} {accept}");
            assert_eq!(known.bytes().await.expect("body").len(), 0);
        }
    }
}

#[tokio::test]
async fn a_compressed_request_body_is_refused_not_misread() {
    let server = Server::start().await;
    let body = audience("u", "a").to_string();
    for encoding in ["gzip", "zstd", "br"] {
        let headers = [("Content-Encoding", encoding)];
        let reply = server.send(Method::POST, "/api/audiences", &headers, Some(&body)).await;
        reply.expect_error(415, "UNSUPPORTED_MEDIA_TYPE");
    }
    let headers = [("Content-Encoding", "identity")];
    let saved: Value =
        server.send(Method::POST, "/api/audiences", &headers, Some(&body)).await.expect(201);
    assert_eq!(saved["success"], true);
}
