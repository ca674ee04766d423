//! How many messages to actors a request is: the table of `docs/decisions/0066-messages-of-a-request.md`.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Reply, Server, audience, eventually, platform};

const TO: [&str; 4] = ["partition", "catalog", "cache", "idempotency"];

/// Messages so far, as in [`TO`].
async fn sent(server: &Server) -> [u64; 4] {
    let text = server.get("/metrics").await.text;
    TO.map(|to| {
        let line = format!("audience_store_messages_total{{to=\"{to}\"}} ");
        let count = text.lines().find_map(|l| l.strip_prefix(&line)).expect("counted");
        count.parse().expect("a number")
    })
}

struct Bed {
    server: Server,
    before: [u64; 4],
}

impl Bed {
    /// A request is as many messages, those included that nobody waits for, and no more: one too
    /// many would count with the next request.
    async fn is(&mut self, what: &str, wanted: [u64; 4], request: impl AsyncFn(&Server) -> Reply) {
        let answer = request(&self.server).await;
        assert!(answer.status.is_success(), "{what}: {} {}", answer.status, answer.text);
        let (server, before) = (&self.server, self.before);
        let all = async || {
            let now = sent(server).await;
            let since: Vec<u64> =
                now.iter().zip(before).map(|(now, before)| now - before).collect();
            let over = since.iter().zip(wanted).any(|(since, wanted)| *since > wanted);
            assert!(!over, "{what}: {since:?} of {TO:?}, not {wanted:?}");
            since == wanted
        };
        eventually(what, all).await;
        self.before = std::array::from_fn(|to| before[to] + wanted[to]);
    }
}

fn with_id(mut body: Value, field: &str, id: &str) -> Value {
    body[field] = json!(id);
    body
}

async fn keyed(server: &Server, key: &str) -> Reply {
    let (headers, body) = ([("idempotency-key", key)], audience("u", key).to_string());
    server.send(Method::POST, "/api/audiences", &headers, Some(&body)).await
}

#[tokio::test]
async fn each_request_is_as_many_messages_as_it_is_said_to_be() {
    // One worker keeps its own hot listings, whichever connection asks.
    let server = Server::start_with(&["--workers=1", "--checkpoint-interval=1h"]).await;
    // After its start the server asks partitions for credentials under other keys.
    server.says("credentials are under the current key").await;
    // What starts an actor is not counted.
    let id = server.save("audiences", &audience("u", "a")).await;
    server.save("platforms", &platform("u", "p")).await;
    let mine = with_id(audience("u", "b"), "audience_id", "mine");
    let path = format!("/api/audiences/{id}?user_id=u");
    keyed(&server, "first").await.expect(201);
    // The last of its messages is sent after the answer.
    eventually("the first key is known", async || sent(&server).await[3] == 2).await;
    let before = sent(&server).await;
    let mut bed = Bed { server, before };
    let post = async |server: &Server, path: &str, body: &Value| server.post(path, body).await;
    bed.is("save without an id", [1, 0, 0, 0], async |server| {
        post(server, "/api/audiences", &audience("u", "c")).await
    })
    .await;
    bed.is("save with an id, table by user", [1, 0, 0, 0], async |server| {
        let body = with_id(platform("u", "q"), "platform_id", "mine");
        post(server, "/api/platforms", &body).await
    })
    .await;
    bed.is("new record, monthly table", [2, 1, 0, 0], async |server| {
        post(server, "/api/audiences", &mine).await
    })
    .await;
    bed.is("existing record, monthly table", [2, 1, 0, 0], async |server| {
        post(server, "/api/audiences", &mine).await
    })
    .await;
    bed.is("PUT", [2, 0, 0, 0], async |server| {
        server.put(&path, &json!({"user_id": "u", "name": "d"})).await
    })
    .await;
    bed.is("Idempotency-Key", [3, 0, 0, 2], async |server| keyed(server, "second").await).await;
    bed.is("read by an id that names its month", [1, 0, 0, 0], async |s| s.get(&path).await).await;
    bed.is("read by another id", [1, 1, 0, 0], async |server| {
        server.get("/api/audiences/mine?user_id=u").await
    })
    .await;
    let list = "/api/audiences?user_id=u";
    bed.is("listing of one month", [1, 1, 2, 0], async |server| server.get(list).await).await;
    bed.is("listing that the worker has", [0, 0, 0, 0], async |server| server.get(list).await)
        .await;
    bed.is("DELETE", [2, 0, 0, 0], async |server| {
        server.send(Method::DELETE, &path, &[], None).await
    })
    .await;
    bed.is("read afterwards", [1, 1, 0, 0], async |server| {
        server.get("/api/audiences/mine?user_id=u").await
    })
    .await;
}
