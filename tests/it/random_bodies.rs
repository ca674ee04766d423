//! Whatever is sent, the answer is about the request: never a 5xx, always JSON, and what was
//! taken can be read back. Seeded: a failure names its seed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::chance::Chance;
use crate::support::{Reply, Server, singular, smallest};

/// The same bodies for the same seed.
struct Dice(Chance);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.0.of(0..n as u64)).expect("small")
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }

    /// A JSON text of any kind, edge cases often.
    fn value(&mut self, depth: usize) -> String {
        const SCALARS: &[&str] = &[
            "null",
            "true",
            "false",
            "0",
            "-0",
            "-1",
            "1.0",
            "1e300",
            "-1e-300",
            "1E5",
            "0.1",
            "9223372036854775807",
            "9223372036854775808",
            "-9223372036854775809",
            "123456789012345678901234567890",
            "\"\"",
            "\" \"",
            "\"active\"",
            "\"completed\"",
            "\"first_party\"",
            "\"2024-02-29\"",
            "\"2024-02-29T24:00:00Z\"",
            "\"9999-12-31T23:59:60Z\"",
            "\"2024-01-01T00:00:00.123456789+14:00\"",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "\"\\ud83d\\ude00\"",
            "\"\u{202e}\u{feff}\u{85}\"",
            "\"../../etc\"",
            "\"%2e%2e\"",
            "\"'; drop table\"",
            "\"\\n\\t\\\\\\\"\"",
            "\"ünï 旅\"",
        ];
        match self.below(if depth > 3 { 6 } else { 9 }) {
            0..=5 => self.pick(SCALARS).to_owned(),
            6 => format!("\"{}\"", "x".repeat(self.below(3000))),
            7 => {
                let count = self.below(5);
                let all: Vec<String> = (0..count).map(|_| self.value(depth + 1)).collect();
                format!("[{}]", all.join(","))
            }
            _ => {
                let count = self.below(5);
                let all: Vec<String> = (0..count)
                    .map(|_| format!("{}:{}", self.name(), self.value(depth + 1)))
                    .collect();
                format!("{{{}}}", all.join(" , "))
            }
        }
    }

    /// A field name, mostly one that means something.
    fn name(&mut self) -> String {
        let known = [
            "user_id",
            "audience_id",
            "platform_id",
            "distribution_id",
            "name",
            "data_type",
            "selected_variables",
            "status",
            "created_at",
            "updated_at",
            "version",
            "metadata",
            "segments",
            "variable_details",
            "total_audience_size",
            "extra",
            "settings",
            "credentials",
            "sync_status",
            "last_sync",
            "match_rate",
            "match_results",
            "matched_records",
            "error_details",
            "error_message",
            "segments_distributed",
            "completed_at",
            "platform_type",
            "encrypted",
            "",
            "a/b~c",
            "\\u0000",
            "\\\"",
            "é",
        ];
        format!("\"{}\"", self.pick(&known))
    }

    /// A body that would create a record, with some fields put in, replaced or taken out.
    fn body(&mut self, table: &str) -> String {
        if self.below(8) == 0 {
            return self.value(0);
        }
        let whole = smallest(table, "u");
        let mut fields: Vec<(String, String)> = whole
            .as_object()
            .expect("object")
            .iter()
            .map(|(name, value)| (format!("\"{name}\""), value.to_string()))
            .collect();
        for _ in 0..self.below(4) {
            let (name, value) = (self.name(), self.value(0));
            // Twice the same name is a body too, sometimes.
            if self.below(10) > 0 {
                fields.retain(|(n, _)| *n != name);
            }
            fields.push((name, value));
        }
        let all: Vec<String> = fields.iter().map(|(n, v)| format!("{n}:{v}")).collect();
        let mut body = format!("{{{}}}", all.join(","));
        if self.below(20) == 0 {
            let mut cut = self.below(body.len());
            while !body.is_char_boundary(cut) {
                cut -= 1;
            }
            body.truncate(cut);
        }
        body
    }
}

fn check(reply: &Reply, case: &str) -> Value {
    assert!(reply.status.as_u16() < 500, "{case}: {} {}", reply.status, reply.text);
    let body = reply.json();
    assert_eq!(body["success"], reply.status.is_success(), "{case}: {body}");
    if !reply.status.is_success() {
        assert!(body["code"].is_string() && body["details"].is_object(), "{case}: {body}");
    }
    body
}

#[tokio::test]
async fn random_bodies_never_fail_the_server() {
    let server = Server::start().await;
    let (mut taken, mut refused) = (0, 0);
    for seed in 0..1500 {
        let mut dice = Dice(Chance::new(seed));
        let table = ["audiences", "platforms", "distributions"][dice.below(3)];
        let body = dice.body(table);
        let case = format!("seed {seed}: {table} {body}");
        let path = format!("/api/{table}?user_id=u");
        let reply = server.send(Method::POST, &path, &[], Some(&body)).await;
        let answer = check(&reply, &case);
        if !reply.status.is_success() {
            refused += 1;
            continue;
        }
        taken += 1;
        let id = answer[format!("{}_id", singular(table))].as_str().expect(&case);
        let one = format!("/api/{table}/{id}?user_id=u");
        let read = server.get(&one).await;
        check(&read, &case);
        let change = dice.body(table);
        let rest = ["", "/status"][dice.below(2)];
        let path = format!("/api/{table}/{id}{rest}?user_id=u");
        let case = format!("{case} then {rest} {change}");
        check(&server.send(Method::PUT, &path, &[], Some(&change)).await, &case);
        check(&server.get(&one).await, &case);
    }
    assert!(taken > 200 && refused > 200, "{taken} taken, {refused} refused");
    let read_all = async |server: &Server| {
        let mut all = Vec::new();
        for table in ["audiences", "platforms", "distributions"] {
            let mut cursor = String::new();
            loop {
                let path = format!("/api/{table}?user_id=u&limit=100{cursor}");
                let page = server.get(&path).await.expect(200);
                all.extend(page[table].as_array().expect("list").clone());
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
        }
        all
    };
    let before = read_all(&server).await;
    server.checkpoint().await;
    let after = read_all(&server).await;
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after, "the same out of Parquet");
    }
}

#[tokio::test]
async fn random_queries_never_fail_the_server() {
    let server = Server::start().await;
    for n in 0..5 {
        let mut body = smallest("audiences", "u");
        body["name"] = json!(n.to_string());
        server.save("audiences", &body).await;
    }
    let names = [
        "user_id",
        "status",
        "q",
        "limit",
        "cursor",
        "fields",
        "created_after",
        "created_before",
        "data_type",
        "audience_id",
        "",
        "%00",
    ];
    let values = [
        "u",
        "",
        "active",
        "0",
        "1",
        "50",
        "1001",
        "-1",
        "1e3",
        "18446744073709551616",
        "%ff",
        "%",
        "%2",
        "a%00b",
        "2024-01-01",
        "2024-01-01T00:00:00+00:00",
        "name,,status",
        "*",
        "%F0%9F%98%80",
        "AQEBAQEBAQEB",
        "../..",
        "u&user_id=v",
        "a=b",
        "+",
        "%25",
    ];
    let paths = [
        "/api/audiences",
        "/api/platforms",
        "/api/distributions",
        "/api/audiences/x",
        "/api/audiences/x/distributions",
        "/api/users/u/summary",
        "/api/audiences/%ff",
        "/api/users/%ff/summary",
        "/api/audiences/%00",
        "/api/audiences/..%2f..",
        "/api//audiences",
        "/api/users/%2e%2e/summary",
    ];
    for seed in 0..800 {
        let mut dice = Dice(Chance::new(seed));
        let pairs: Vec<String> = (0..dice.below(4))
            .map(|_| format!("{}={}", dice.pick(&names), dice.pick(&values)))
            .collect();
        let path = format!("{}?{}", dice.pick(&paths), pairs.join("&"));
        let (status, body) = server.raw_request("GET", &path).await;
        assert!(status < 500, "seed {seed}: {path}: {status} {body}");
        let body: Value =
            serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"));
        assert_eq!(body["success"], status < 300, "seed {seed}: {path}: {body}");
    }
}
