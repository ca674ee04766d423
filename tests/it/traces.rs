//! Which request is which: ids in and out, the W3C trace context, log lines that bear both.

use reqwest::Method;
use serde_json::Value;

use crate::support::{Reply, Server, eventually};

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Reply {
    server.send(Method::GET, path, headers, None).await
}

#[tokio::test]
async fn every_answer_bears_a_request_id() {
    let server = Server::start().await;
    let mut made = std::collections::BTreeSet::new();
    for path in
        ["/api/health", "/api/audiences?user_id=u", "/nothing", "/api/audiences/x?user_id=u"]
    {
        let reply = get(&server, path, &[]).await;
        let id = reply.header("x-request-id").expect("id").to_owned();
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert!(made.insert(id), "{path}");
        let given = get(&server, path, &[("X-Request-Id", "order-17/a.b")]).await;
        assert_eq!(given.header("x-request-id"), Some("order-17/a.b"), "{path}");
    }
    let long = "x".repeat(129);
    for bad in ["", "two words", "a\"b", "<script>", long.as_str()] {
        let reply = get(&server, "/api/health", &[("X-Request-Id", bad)]).await;
        assert_eq!(reply.status, 200);
        let id = reply.header("x-request-id").expect("id");
        assert!(id != bad && id.len() == 32, "{bad}: {id}");
    }
}

#[tokio::test]
async fn a_trace_that_holds_goes_on_and_any_other_is_no_error() {
    let server = Server::start().await;
    let reply = get(&server, "/api/health", &[("traceparent", TRACEPARENT)]).await;
    let said = reply.header("traceresponse").expect("traceresponse").to_owned();
    assert!(said.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && said.ends_with("-01"));
    assert!(!said.contains("00f067aa0ba902b7"), "a span of its own: {said}");
    for bad in ["", "00-1-2-3", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
        let reply = get(&server, "/api/health", &[("traceparent", bad)]).await;
        assert_eq!((reply.status.as_u16(), reply.header("traceresponse")), (200, None), "{bad}");
    }
}

#[tokio::test]
async fn log_lines_are_json_with_the_ids_and_without_users() {
    let filter = "info,audience_store::access=debug";
    let server = Server::start_with(&["--log-format=json", "--log-level", filter]).await;
    let headers = [("X-Request-Id", "find-me"), ("traceparent", TRACEPARENT)];
    get(&server, "/api/audiences/aud_1?user_id=somebody", &headers).await.expect(404);
    let line = || {
        let said = server.said();
        let lines = said.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        lines.into_iter().find(|l| l["fields"]["request_id"] == "find-me")
    };
    eventually("the line is written", async || line().is_some()).await;
    let line = line().expect("line");
    assert_eq!(
        (&line["level"], &line["target"]),
        (&"DEBUG".into(), &"audience_store::access".into())
    );
    let fields = &line["fields"];
    for (name, wanted) in [
        ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("method", "GET"),
        ("endpoint", "/api/audiences/{audience_id}"),
        ("code", "NOT_FOUND"),
    ] {
        assert_eq!(fields[name], wanted, "{line}");
    }
    assert_eq!(fields["status"], 404);
    assert!(fields["duration_ms"].is_number() && fields["span_id"].is_string(), "{line}");
    assert!(!line.to_string().contains("somebody"), "{line}");
}

#[tokio::test]
async fn requests_have_no_lines_at_the_level_of_everyday() {
    let server = Server::start().await;
    get(&server, "/api/audiences/aud_1?user_id=u", &[("X-Request-Id", "quiet")]).await.expect(404);
    get(&server, "/api/health", &[]).await.expect(200);
    assert!(!server.said().contains("quiet"), "{}", server.said());
}
