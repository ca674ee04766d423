//! Clients that take their time, that are too many, or that do not speak HTTP: none of them keeps
//! the server from serving others, and each is told why where it can be told.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::wire::{hear, hear_all, say};
use crate::support::{Server, audience, eventually};

async fn refused(server: &Server, reason: &str) -> u64 {
    server.metric(&format!("refused_total{{reason=\"{reason}\"}}")).await
}

/// The JSON body of a raw answer, after checking its status, code and headers.
fn error(answer: &str, status: u16, code: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let head = head.to_ascii_lowercase();
    for line in [
        "content-type: application/json",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "connection: close",
    ] {
        assert!(head.contains(line), "{line} in {answer}");
    }
    assert!(!head.contains("server:"), "{answer}");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(body["code"], code, "{answer}");
    assert!(body["error"].is_string() && body["details"].is_object(), "{answer}");
    body
}

#[tokio::test]
async fn a_head_that_does_not_come_whole_ends_in_408() {
    let server = Server::start_with(&["--header-timeout=2s"]).await;
    let mut stream = server.connect().await;
    say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\nX-Slow: ").await;
    error(&hear_all(&mut stream).await, 408, "REQUEST_TIMEOUT");
    assert_eq!(refused(&server, "slow_head").await, 1);
}

#[tokio::test]
async fn dripping_bytes_do_not_make_a_head_last() {
    let server = Server::start_with(&["--header-timeout=2s"]).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        say(&mut writer, b"GET /health/live HTTP/1.1\r\nX-Slow: ").await;
        // Until the server ends it.
        while tokio::io::AsyncWriteExt::write_all(&mut writer, b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    error(&hear_all(&mut reader).await, 408, "REQUEST_TIMEOUT");
    drop(reader);
    dripping.await.expect("the drip ends");
}

#[tokio::test]
async fn the_second_request_of_a_connection_is_as_bounded_as_the_first() {
    let server = Server::start_with(&["--header-timeout=2s"]).await;
    let mut stream = server.connect().await;
    for _ in 0..3 {
        say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
        assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200 "));
    }
    say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: ").await;
    error(&hear_all(&mut stream).await, 408, "REQUEST_TIMEOUT");
}

#[tokio::test]
async fn half_a_head_right_behind_a_request_lasts_as_long_as_an_idle_connection_and_no_longer() {
    let both = b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\nGET /health/live HTTP/1.1\r\nHost: ";
    let server = Server::start_with(&["--header-timeout=10m", "--keep-alive=2s"]).await;
    let mut stream = server.connect().await;
    say(&mut stream, both).await;
    let answers = hear_all(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 1, "{answers}");
    // One more byte of it, and the head's own time runs.
    let server = Server::start_with(&["--header-timeout=2s", "--keep-alive=1h"]).await;
    let mut stream = server.connect().await;
    say(&mut stream, both).await;
    assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200 "));
    say(&mut stream, b"x").await;
    error(&hear_all(&mut stream).await, 408, "REQUEST_TIMEOUT");
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_its_keep_alive_not_the_heads_time() {
    let server = Server::start_with(&["--header-timeout=2s", "--keep-alive=1h"]).await;
    let mut stream = server.connect().await;
    let request = b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n";
    say(&mut stream, request).await;
    assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200 "));
    // A connection beside it that says nothing is ended without a word: this long it is, at least.
    let mut silent = server.connect().await;
    assert_eq!(hear_all(&mut silent).await, "");
    say(&mut stream, request).await;
    assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(refused(&server, "slow_head").await, 0);
}

#[tokio::test]
async fn a_body_that_drips_ends_in_408_and_changes_nothing() {
    let server = Server::start_with(&["--body-timeout=400ms"]).await;
    let body = audience("u", "a").to_string();
    let head = format!(
        "POST /api/audiences HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (mut reader, mut writer) = server.connect().await.into_split();
    let dripping = tokio::spawn(async move {
        say(&mut writer, head.as_bytes()).await;
        for byte in body.bytes().take(body.len() - 1) {
            if tokio::io::AsyncWriteExt::write_all(&mut writer, &[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let answer = hear(&mut reader).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
    drop(reader);
    dripping.await.expect("the drip ends");
    assert_eq!(refused(&server, "slow_body").await, 1);
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 0);
}

#[tokio::test]
async fn whoever_does_not_read_his_answer_loses_the_connection() {
    let server = Server::start_with(&["--write-timeout=2s", "--min-rate=1GiB"]).await;
    let mut body = audience("u", "a");
    body["filler"] = json!("x".repeat(900_000));
    for _ in 0..8 {
        server.save("audiences", &body).await;
    }
    // More than the buffers of both ends take; none of it is read.
    let mut stream = server.connect().await;
    for _ in 0..8 {
        say(&mut stream, b"GET /api/audiences?user_id=u HTTP/1.1\r\nHost: t\r\n\r\n").await;
    }
    eventually("the reader is given up", async || refused(&server, "slow_reader").await == 1).await;
    eventually("its place is free", async || server.metric("connections_open").await == 1).await;
    // Whoever reads gets all of it, however much.
    let listed = server.get("/api/audiences?user_id=u").await.expect(200);
    assert_eq!(listed["count"], 8);
}

/// Otherwise a few slow clients would keep everybody from changing anything.
#[tokio::test]
async fn a_body_that_takes_its_time_has_no_place_among_the_changes() {
    let server = Server::start_with(&["--max-writes=1"]).await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        let body = audience("slow", "a").to_string();
        let (begin, end) = body.split_at(10);
        let head = format!(
            "POST /api/audiences HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{begin}",
            body.len()
        );
        say(&mut stream, head.as_bytes()).await;
        slow.push((stream, end.to_owned()));
    }
    eventually("both are under way", async || server.metric("http_requests_in_flight").await == 3)
        .await;
    server.save("audiences", &audience("quick", "a")).await;
    for (stream, end) in &mut slow {
        say(stream, end.as_bytes()).await;
        assert!(hear(stream).await.starts_with("HTTP/1.1 201 "));
    }
    assert_eq!(refused(&server, "writes").await, 0);
}

#[tokio::test]
async fn connections_past_the_limit_are_told_and_counted() {
    let server = Server::start_with(&["--max-connections=3", "--workers=2"]).await;
    // The client of `server` keeps the connection that `ready` made.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
        assert!(hear(&mut stream).await.starts_with("HTTP/1.1 200 "));
        held.push(stream);
    }
    assert_eq!(server.metric("connections_open").await, 3);
    let mut late = server.connect().await;
    say(&mut late, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let answer = hear_all(&mut late).await;
    error(&answer, 503, "OVERLOADED");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    // Those that are open go on.
    for stream in &mut held {
        say(stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
        assert!(hear(stream).await.starts_with("HTTP/1.1 200 "));
    }
    assert_eq!(refused(&server, "connections").await, 1);
    drop(held);
    eventually("room for another", async || {
        let mut next = server.connect().await;
        say(&mut next, b"GET /health/live HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
        hear_all(&mut next).await.starts_with("HTTP/1.1 200 ")
    })
    .await;
}

#[tokio::test]
async fn a_crowd_past_the_limit_is_told_each_of_them() {
    const CROWD: u64 = 300;
    let bound = format!("--max-connections={CROWD}");
    let server = Server::start_with(&[&bound, "--workers=2"]).await;
    let mut inside = Vec::new();
    eventually("the house is full", async || {
        let mut stream = server.connect().await;
        say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let enters = hear(&mut stream).await.starts_with("HTTP/1.1 200 ");
        inside.push(stream);
        !enters
    })
    .await;
    // All of the crowd come before any of them listens.
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = server.connect().await;
        say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\n").await;
        crowd.push(stream);
    }
    for stream in &mut crowd {
        let answer = hear_all(stream).await;
        error(&answer, 503, "OVERLOADED");
        assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    }
    drop(inside);
    eventually("it is counted", async || {
        let reply = server.get("/metrics").await;
        let count = format!("refused_total{{reason=\"connections\"}} {}", CROWD + 1);
        reply.status == 200 && reply.text.contains(&count)
    })
    .await;
}

#[tokio::test]
async fn what_is_no_http_is_answered_in_json() {
    let server = Server::start().await;
    for bad in [
        &b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n"[..],
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"G\0T / HTTP/1.1\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        say(&mut stream, bad).await;
        error(&hear_all(&mut stream).await, 400, "MALFORMED_REQUEST");
    }
    assert_eq!(refused(&server, "malformed").await, 8);
}

#[tokio::test]
async fn a_request_with_two_lengths_is_no_way_to_smuggle_another() {
    let server = Server::start().await;
    let smuggled = "DELETE /api/users/u HTTP/1.1\r\nHost: t\r\n\r\n";
    server.save("audiences", &audience("u", "a")).await;
    for lengths in [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 5 + smuggled.len()),
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n".to_owned(),
    ] {
        let mut stream = server.connect().await;
        let head = format!("POST /api/audiences HTTP/1.1\r\nHost: t\r\n{lengths}\r\n");
        say(&mut stream, format!("{head}0\r\n\r\n{smuggled}").as_bytes()).await;
        let answer = hear_all(&mut stream).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("MALFORMED_REQUEST"),
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "nothing after it: {answer}");
    }
    assert_eq!(server.get("/api/audiences?user_id=u").await.expect(200)["count"], 1);
}

#[tokio::test]
async fn an_answer_before_garbage_is_whole() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    say(&mut stream, b"GET /health/live HTTP/1.1\r\nHost: t\r\n\r\nGARBAGE\r\n\r\n").await;
    let answers = hear_all(&mut stream).await;
    let second = answers.rfind("HTTP/1.1 400 ").unwrap_or_else(|| panic!("{answers}"));
    assert!(answers.starts_with("HTTP/1.1 200 "), "{answers}");
    let first: Value =
        serde_json::from_str(answers[..second].split("\r\n\r\n").nth(1).expect("body"))
            .expect("JSON");
    assert_eq!(first["status"], "alive");
    error(&answers[second..], 400, "MALFORMED_REQUEST");
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    let head = "POST /api/audiences HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n";
    say(&mut stream, format!("{head}zz\r\n{{}}\r\n0\r\n\r\n").as_bytes()).await;
    let answer = hear_all(&mut stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.contains("\"success\":false"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_head_larger_than_any_is_431() {
    let server = Server::start().await;
    let mut stream = server.connect().await;
    say(&mut stream, b"GET /health/live HTTP/1.1\r\nX-Large: ").await;
    say(&mut stream, &vec![b'x'; 200_000]).await;
    error(&hear_all(&mut stream).await, 431, "HEADERS_TOO_LARGE");
    let mut stream = server.connect().await;
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    say(&mut stream, format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    let answer = hear_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.contains("\"success\":false"), "{answer}");
}
