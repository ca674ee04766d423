//! `/metrics` of the real program: what is counted, that it is bounded, that it names nobody.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::access::{SCOPES, token};
use crate::support::{Server, audience, distribution, eventually, platform};

/// The value of a line of `/metrics`, 0 where there is none.
async fn value(server: &Server, line: &str) -> f64 {
    let text = server.get("/metrics").await.text;
    let start = format!("audience_store_{line} ");
    let value = text.lines().find_map(|l| l.strip_prefix(&start));
    value.map_or(0.0, |v| v.parse().expect("number"))
}

#[tokio::test]
async fn requests_count_by_template_method_and_class_and_errors_by_code() {
    let server = Server::start().await;
    let id = server.save("audiences", &audience("u", "a")).await;
    for _ in 0..3 {
        server.get(&format!("/api/audiences/{id}?user_id=u")).await.expect(200);
    }
    server.send(Method::HEAD, &format!("/api/audiences/{id}?user_id=u"), &[], None).await;
    server.get("/api/audiences/aud_none?user_id=u").await.expect_error(404, "NOT_FOUND");
    server.get("/nothing/here").await.expect_error(404, "ROUTE_NOT_FOUND");
    server.send(Method::PATCH, "/api/audiences/x", &[], None).await;
    server.post("/api/audiences", &json!({"user_id": "u"})).await.expect(400);
    let labels = |path: &str, method: &str, last: &str| {
        format!("{{endpoint=\"{path}\",method=\"{method}\",{last}}}")
    };
    let one = "/api/audiences/{audience_id}";
    for (name, labels, wanted) in [
        ("http_requests_total", labels(one, "GET", "status=\"2xx\""), 4.0),
        ("http_requests_total", labels(one, "GET", "status=\"4xx\""), 1.0),
        ("http_request_duration_seconds_count", labels(one, "GET", "status=\"2xx\""), 4.0),
        ("http_errors_total", labels(one, "GET", "code=\"NOT_FOUND\""), 1.0),
        ("http_requests_total", labels("/api/audiences", "POST", "status=\"2xx\""), 1.0),
        ("http_errors_total", labels("/api/audiences", "POST", "code=\"MISSING_FIELD\""), 1.0),
        ("http_errors_total", labels("unmatched", "OTHER", "code=\"ROUTE_NOT_FOUND\""), 1.0),
        ("http_errors_total", labels("unmatched", "OTHER", "code=\"METHOD_NOT_ALLOWED\""), 1.0),
    ] {
        let seen = value(&server, &format!("{name}{labels}")).await;
        assert!((seen - wanted).abs() < f64::EPSILON, "{name}{labels}: {seen}");
    }
    assert_eq!(server.metric("http_requests_in_flight").await, 1, "the scrape itself");
}

#[tokio::test]
async fn what_the_store_does_is_counted() {
    let mut server = Server::start_with(&["--checkpoint-interval=100ms"]).await;
    let id = server.save("audiences", &audience("u", "a")).await;
    server.save("platforms", &platform("u", "p")).await;
    server.save("distributions", &distribution("u", &id)).await;
    let path = format!("/api/audiences/{id}");
    server.put(&path, &json!({"user_id": "u", "name": "b"})).await.expect(200);
    server.send(Method::DELETE, &format!("{path}?user_id=u"), &[], None).await.expect(200);
    server.get("/api/audiences?user_id=u").await.expect(200);
    let changed =
        |table, change| format!("records_written_total{{table=\"{table}\",change=\"{change}\"}}");
    for (table, change, wanted) in [
        ("audiences", "created", 1),
        ("audiences", "updated", 1),
        ("audiences", "deleted", 1),
        ("platforms", "created", 1),
        ("distributions", "created", 1),
        ("distributions", "deleted", 0),
    ] {
        assert_eq!(server.metric(&changed(table, change)).await, wanted, "{table} {change}");
    }
    assert_eq!(server.metric("log_records_total").await, 5);
    let fsyncs = server.metric("log_fsync_duration_seconds_count").await;
    assert_eq!(fsyncs, server.metric("log_fsyncs_total").await);
    assert_eq!(server.metric("log_batch_records_sum").await, 5);
    assert_eq!(server.metric("log_durability_lag_records").await, 0);
    assert_eq!(server.metric("partitions_spawned_total").await, 3);
    assert_eq!(server.metric("partitions_resident").await, 3);
    assert_eq!(server.metric("partition_mailbox_messages").await, 0);
    eventually("everything is in its file", async || {
        server.metric("log_unpublished_bytes").await == 0
    })
    .await;
    let written = server.metric("checkpoints_total{outcome=\"written\"}").await;
    assert!(written >= 3, "{written}");
    assert_eq!(server.metric("checkpoint_duration_seconds_count").await, written);
    assert_eq!(server.metric("checkpoints_total{outcome=\"failed\"}").await, 0);
    assert!(server.metric("checkpoint_output_bytes_total").await > 1000);
    assert!(server.metric("checkpoint_input_bytes_total").await > 100);
    assert!(server.metric("checkpoint_row_groups_total{made=\"encoded\"}").await > 0);
    assert_eq!(
        server.metric("storage_written_bytes_total").await,
        server.metric("checkpoint_output_bytes_total").await
    );
    assert_eq!(server.metric("checkpoint_lag_seconds").await, 0);
    server.signal("KILL");
    server.ended().await;
    let again = Server::over(&server.data.clone(), &[]).await;
    assert_eq!(again.metric("recovery_records").await, 5);
    assert!(value(&again, "recovery_duration_seconds").await > 0.0);
}

/// Partitions are let go by what they take in memory: what no file holds yet is part of that.
#[tokio::test]
async fn records_that_no_file_holds_yet_are_counted_as_memory() {
    let server = Server::start_with(&["--checkpoint-interval=1h"]).await;
    for number in 0..20 {
        server.save("audiences", &audience("u", &format!("{number} {}", "x".repeat(500)))).await;
    }
    eventually("20 unsaved records of 500 bytes and more are in memory", async || {
        let unsaved = server.metric("partition_unsaved_bytes").await;
        let memory = server.metric("partition_memory_bytes").await;
        unsaved >= 10_000 && memory >= unsaved
    })
    .await;
}

#[tokio::test]
async fn a_scrape_names_nobody_and_only_metrics_that_are_documented() {
    let server = Server::start_with(&["--usage-interval=100ms"]).await;
    let user = "somebody@example.com";
    server.save("audiences", &audience(user, "a very private name")).await;
    server.get("/api/users/somebody%40example.com/summary").await.expect(200);
    server.get("/api/audiences/aud_private?user_id=somebody%40example.com").await;
    let text = server.get("/metrics").await.text;
    for private in ["somebody", "private", "aud_"] {
        assert!(!text.contains(private), "{private}");
    }
    let documented = std::fs::read_to_string("docs/metrics.md").expect("docs/metrics.md");
    let families: BTreeSet<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE "))
        .filter_map(|l| l.split(' ').next())
        .filter(|name| name.starts_with("audience_store_"))
        .collect();
    assert!(families.len() > 60, "{families:?}");
    for family in families {
        assert!(documented.contains(&format!("`{family}`")), "{family}");
    }
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let series = line.rsplit_once(' ').expect("a value").0;
        assert!(seen.insert(series.to_owned()), "twice: {series}");
    }
}

#[tokio::test]
async fn usage_is_measured_and_named_to_administrators_alone() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let admin = token(&data, "root", &["admin", "metrics:read"], &[]);
    let others: Vec<_> = SCOPES.into_iter().filter(|s| *s != "admin").collect();
    let plain = token(&data, "big", &others, &[]);
    let args = ["--auth", "tokens", "--usage-interval", "100ms", "--checkpoint-interval", "100ms"];
    let server = Server::over(&data, &args).await;
    let big = server.with(&plain);
    for n in 0..40 {
        let mut body = audience("big", &format!("audience {n}"));
        body["created_at"] = json!(format!("2026-{:02}-01T00:00:00Z", n % 4 + 1));
        big.save("audiences", &body).await;
    }
    big.get("/api/admin/usage").await.expect_error(403, "SCOPE_MISSING");
    let root = server.with(&admin);
    let usage =
        async || -> Value { root.get("/api/admin/usage").await.expect(200)["usage"].clone() };
    root.post("/api/admin/checkpoint", &json!({})).await.expect(200);
    let on_disk: u64 = crate::support::files::paths(&data)
        .into_iter()
        .filter(|(name, _)| name.starts_with("audiences/") && name.ends_with(".parquet"))
        .map(|(_, path)| std::fs::metadata(path).expect("file").len())
        .sum();
    eventually("what is on disk is counted", async || usage().await["bytes"] == on_disk).await;
    let seen = usage().await;
    assert_eq!((&seen["users"], &seen["files"]), (&json!(1), &json!(4)));
    assert_eq!(seen["tables"]["audiences"]["partitions"], 4);
    assert_eq!(seen["top"], json!([{"user_id": "big", "bytes": on_disk, "files": 4}]));
    assert_eq!(seen["average_file_bytes"], on_disk / 4);
    let text = root.get("/metrics").await.text;
    for line in [
        "audience_store_usage_users 1".to_owned(),
        "audience_store_usage_files{table=\"audiences\"} 4".to_owned(),
        format!("audience_store_usage_user_bytes_sum {on_disk}"),
        "audience_store_usage_partition_files_count 4".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "{line}");
    }
    big.delete("/api/users/big").await.expect(200);
    assert_eq!(usage().await["top"], json!([]), "an erased user is named no more");
    eventually("nothing is left", async || usage().await["files"] == 0).await;
}

#[tokio::test]
async fn metrics_have_a_port_of_their_own_where_asked() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let reader = token(&data, "prometheus", &["metrics:read"], &[]);
    let args = ["--auth", "tokens", "--metrics-listen", "127.0.0.1:0"];
    let mut server = Server::over(&data, &args).await;
    let told = |printed: String| {
        let line = printed.lines().find_map(|l| l.strip_prefix("metrics on "))?;
        Some(line.trim_end_matches("/metrics").to_owned())
    };
    eventually("the port is told", async || told(server.printed()).is_some()).await;
    let port = told(server.printed()).expect("port");
    let get = async |path: &str, bearer: Option<&str>| {
        let mut request = server.client().get(format!("{port}{path}"));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        let reply = request.send().await.expect("an answer");
        (reply.status().as_u16(), reply.text().await.expect("text"))
    };
    assert_eq!(get("/metrics", None).await.0, 401);
    let (status, text) = get("/metrics", Some(&reader)).await;
    assert_eq!(status, 200);
    assert!(text.contains("audience_store_ready 1"), "{text}");
    assert_eq!(get("/api/audiences?user_id=prometheus", Some(&reader)).await.0, 404);
    assert_eq!(server.with(&reader).get("/metrics").await.status, 200, "the other port has it too");
    server.stop().await;
}

#[tokio::test]
async fn active_users_outlive_a_restart_and_an_erased_one_is_forgotten() {
    let mut server = Server::start().await;
    for user in ["a", "b", "c"] {
        server.get(&format!("/api/audiences?user_id={user}")).await.expect(200);
        server.get(&format!("/api/audiences?user_id={user}")).await.expect(200);
    }
    assert_eq!(server.metric("active_users{window=\"day\"}").await, 3);
    server.stop().await;
    let again = Server::over(&server.data.clone(), &[]).await;
    assert_eq!(again.metric("active_users{window=\"day\"}").await, 3);
    again.get("/api/audiences?user_id=b").await.expect(200);
    again.get("/api/audiences?user_id=d").await.expect(200);
    for window in ["day", "week", "month"] {
        assert_eq!(again.metric(&format!("active_users{{window=\"{window}\"}}")).await, 4);
    }
    again.send(Method::DELETE, "/api/users/d", &[], None).await.expect(200);
    assert_eq!(again.metric("active_users{window=\"day\"}").await, 3);
    assert_eq!(again.metric("previous_week_users").await, 0);
    assert_eq!(again.metric("activity_sampling_ratio").await, 1);
}
