//! `audience-store report`: what it says against what was sent, over restarts, kills and days.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use audience_store::metrics::history::day_name;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::faketime::Clock;
use crate::support::files::paths;
use crate::support::{Server, audience, distribution, eventually, platform, program, run};

const SOON: [&str; 4] = ["--history-interval", "100ms", "--usage-interval", "100ms"];
const DAY: i64 = 86_400;

/// The day that servers and reports with a clock of their own take for today: 2026-02-16, a Monday.
const TODAY: i64 = 20_500;

/// A clock that shows noon, so many days ago.
fn days_ago(folder: &Path, days: i64) -> Clock {
    Clock::at(folder, noon(days))
}

fn noon(days_ago: i64) -> i64 {
    (TODAY - days_ago) * DAY + DAY / 2
}

/// Its name.
fn ago(days: i64) -> String {
    day_name(TODAY - days)
}

/// Runs `report` on `data`: what it prints.
fn report(data: &Path, args: &[&str]) -> String {
    let data = data.to_str().expect("path");
    let (code, out, error) = run(program(&[&["report"], args, &["--data", data]].concat()));
    assert_eq!(code, 0, "{error}");
    out
}

fn json_report(data: &Path, args: &[&str]) -> Value {
    let out = report(data, &[args, &["--json"]].concat());
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"))
}

/// How many answers with a code an endpoint gave, as `report errors` says.
fn answers(report: &Value, endpoint: &str, code: &str) -> u64 {
    let all = report["now"]["by_endpoint"].as_array().expect("list");
    let found = all.iter().find(|of| of["endpoint"] == endpoint && of["code"] == code);
    found.map_or(0, |of| of["count"].as_u64().expect("count"))
}

fn day_files(data: &Path) -> BTreeMap<String, PathBuf> {
    let all = paths(&data.join("metrics/history"));
    all.into_iter().filter(|(name, _)| name != "running").collect()
}

/// So many of each: audiences saved and read, reads of what is not there, bodies that are refused.
async fn traffic(server: &Server, saves: usize, missing: usize, wrong: usize) {
    for n in 0..saves {
        let id = server.save("audiences", &audience("somebody", &format!("a {n}"))).await;
        server.get(&format!("/api/audiences/{id}?user_id=somebody")).await.expect(200);
    }
    for _ in 0..missing {
        server.get("/api/audiences/none?user_id=somebody").await.expect_error(404, "NOT_FOUND");
    }
    for _ in 0..wrong {
        let body = Some("[]");
        let reply = server.send(Method::POST, "/api/platforms", &[], body).await;
        reply.expect_error(400, "MALFORMED_JSON");
    }
}

#[tokio::test]
async fn counts_are_those_of_what_was_sent_over_stops_and_a_kill() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &SOON).await;
    traffic(&server, 3, 2, 1).await;
    server.stop().await;
    let mut server = Server::over(&data, &SOON).await;
    traffic(&server, 4, 5, 0).await;
    eventually("the history has it", async || {
        answers(&json_report(&data, &["errors"]), "GET /api/audiences/{audience_id}", "NOT_FOUND")
            == 7
    })
    .await;
    server.kill();
    let mut server = Server::over(&data, &SOON).await;
    traffic(&server, 1, 0, 6).await;
    server.stop().await;

    let errors = json_report(&data, &["errors"]);
    assert_eq!(answers(&errors, "GET /api/audiences/{audience_id}", "NOT_FOUND"), 7, "{errors}");
    assert_eq!(answers(&errors, "POST /api/platforms", "MALFORMED_JSON"), 7, "{errors}");
    let now = &errors["now"];
    assert_eq!([&now["starts"], &now["stops"], &now["unclean"]], [3, 2, 1], "{now}");
    assert_eq!(now["4xx"], 14, "{now}");
    assert_eq!(errors["then"]["requests"], 0);

    let performance = json_report(&data, &["performance"]);
    let endpoints = &performance["now"]["endpoints"];
    let of = |name: &str| endpoints[name]["requests"].as_u64().expect("requests");
    assert_eq!(of("POST /api/audiences"), 8);
    assert_eq!(of("GET /api/audiences/{audience_id}"), 8 + 7);
    let good = &endpoints["GET /api/audiences/{audience_id}"]["seconds"];
    assert_eq!(good["count"], 8, "times are of good answers");
    // Beyond all bounds is `null`.
    let of_good = |q: &str| good[q].as_f64().unwrap_or(f64::INFINITY);
    let [p50, p95, p99] = ["p50", "p95", "p99"].map(of_good);
    assert!(0.0 < p50 && p50 <= p95 && p95 <= p99, "{good}");
    assert!(performance["now"]["fsync_seconds"]["count"].as_u64().expect("fsyncs") >= 8);
    assert!(performance["now"]["checkpoint_seconds"]["count"].as_u64().expect("checkpoints") >= 2);
    let weeks = performance["weeks"].as_array().expect("weeks");
    assert_eq!(weeks.len(), 13);
    assert_eq!(weeks[12]["requests"], performance["now"]["requests"], "all in the last week");

    let growth = json_report(&data, &["growth"]);
    let days = growth["days"].as_array().expect("days").iter();
    let created: u64 = days.map(|day| day["audiences_created"].as_u64().expect("count")).sum();
    assert_eq!(created, 8, "{growth}");
    assert_eq!(growth["now"]["tables"]["audiences"]["rows"], 8);
    assert_eq!(growth["forecast"]["full_on"], Value::Null, "one day is no trend");

    let text = report(&data, &["errors"]);
    assert!(text.contains("MALFORMED_JSON") && text.contains('█'), "{text}");
    assert!(report(&data, &["performance"]).contains("POST /api/audiences"));
    assert!(report(&data, &["growth"]).contains("None: it takes 3 days"));
}

/// Days pass between runs of one store: the history has one record a day, the report the growth of
/// each, by the files' true sizes.
#[tokio::test]
async fn growth_day_by_day_is_that_of_the_files_and_leads_to_a_forecast() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut truth = Vec::new();
    for (days, audiences) in [(40, 1), (4, 8), (3, 16), (2, 24), (1, 32)] {
        let clock = days_ago(folder.path(), days);
        let mut server =
            Server::listening_with(&data, &SOON, &clock.environment()).expect("server");
        server.ready().await;
        for n in 0..audiences {
            server
                .save("audiences", &audience(&format!("u{}", n % 5), &format!("{days} {n}")))
                .await;
        }
        server.save("platforms", &platform("u0", "p")).await;
        server.save("distributions", &distribution("u0", "a")).await;
        server.checkpoint().await;
        let tables = ["audiences", "platforms", "distributions"];
        let all = tables.map(|table| {
            let files = paths(&data.join(table)).into_values();
            files.map(|path| fs::metadata(path).expect("file").len()).sum::<u64>()
        });
        let (bytes, day) = (all.iter().sum::<u64>(), ago(days));
        eventually("the server has seen it", async || {
            let growth = json_report(&data, &["growth", "--days", "1", "--until", &day]);
            growth["days"][0]["bytes"] == bytes
        })
        .await;
        server.stop().await;
        truth.push((days, audiences, bytes));
    }
    let until = ago(1);
    let growth = json_report(&data, &["growth", "--days", "7", "--until", &until]);
    let days = growth["days"].as_array().expect("days");
    assert_eq!(days.len(), 7);
    for (days_ago, audiences, bytes) in &truth[1..] {
        let day = days.iter().find(|day| day["day"] == ago(*days_ago)).expect("day");
        assert_eq!(day["bytes"], *bytes, "{day}");
        assert_eq!(day["net_records"]["audiences"], *audiences, "{day}");
        assert_eq!([&day["net_records"]["platforms"], &day["users"]], [1, 5], "{day}");
    }
    assert_eq!([&days[0]["kept"], &days[0]["bytes"]], [&json!(false), &Value::Null]);
    let notes = growth["notes"].to_string();
    assert!(notes.contains("has 4 of these 7 days"), "{notes}");

    // The line is the one through the four days, and the disk as large as the system says.
    let forecast = &growth["forecast"];
    assert_eq!(forecast["days_used"], 4);
    let points: Vec<_> =
        truth[1..].iter().map(|(days, _, bytes)| (-*days as f64, *bytes as f64)).collect();
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / 4.0;
    let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
    let over: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    let slope = over / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
    let said = forecast["bytes_a_day"].as_f64().expect("rate");
    assert!((said / slope - 1.0).abs() < 1e-9, "{said} {slope}");

    let text = report(&data, &["growth", "--days", "7", "--until", &until]);
    let rows = |day: i64| text.lines().find(|l| l.starts_with(&ago(day))).expect("row").to_owned();
    assert!(rows(2).contains(" +24 "), "{text}");
    assert!(rows(4).contains('+'), "it grew since forty days ago: {text}");
    assert!(text.contains("Basis: a straight line"), "{text}");

    // Ten weeks: the first of them is in the quarter, and not in the week before.
    let performance = json_report(&data, &["performance", "--until", &until]);
    let weeks = performance["weeks"].as_array().expect("weeks");
    let saves = |week: &Value| week["endpoints"]["POST /api/audiences"]["requests"].as_u64();
    assert_eq!([saves(&weeks[12]), saves(&weeks[7])], [Some(80), Some(1)], "{weeks:?}");
    let errors = json_report(&data, &["errors", "--until", &ago(35)]);
    assert_eq!([&errors["now"]["starts"], &errors["then"]["starts"]], [1, 0]);
}

/// A server that runs over midnight begins another record.
#[tokio::test]
async fn a_day_that_begins_while_the_server_runs_has_its_own_record() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let clock = days_ago(folder.path(), 3);
    let mut server = Server::listening_with(&data, &SOON, &clock.environment()).expect("server");
    server.ready().await;
    let first = ago(3);
    traffic(&server, 2, 0, 0).await;
    let created = |day: &str| {
        let growth = json_report(&data, &["growth", "--days", "1", "--until", day]);
        growth["days"][0]["audiences_created"].as_u64().expect("count")
    };
    eventually("the first day has it", async || created(&first) == 2).await;
    clock.set(noon(1));
    let next = ago(1);
    eventually("the next day has begun", async || {
        day_files(&data).contains_key(&format!("{next}.json"))
    })
    .await;
    traffic(&server, 3, 0, 0).await;
    server.stop().await;
    assert_eq!([created(&first), created(&next)], [2, 3]);
    let errors = json_report(&data, &["errors", "--until", &ago(0)]);
    assert_eq!([&errors["now"]["starts"], &errors["now"]["stops"]], [1, 1]);
}

#[tokio::test]
async fn a_damaged_record_costs_its_day_is_told_and_counting_goes_on() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    for days in [2, 0] {
        let clock = days_ago(folder.path(), days);
        let mut server =
            Server::listening_with(&data, &SOON, &clock.environment()).expect("server");
        server.ready().await;
        traffic(&server, 2, 3, 0).await;
        server.stop().await;
    }
    let (name, path) = day_files(&data).pop_last().expect("a day");
    let mut bytes = fs::read(&path).expect("day");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&path, &bytes).expect("damaged");
    let missing = "GET /api/audiences/{audience_id}";
    let errors = json_report(&data, &["errors", "--until", &ago(0)]);
    assert_eq!(answers(&errors, missing, "NOT_FOUND"), 3, "the other day is there");
    let note = errors["notes"].to_string();
    assert!(note.contains(&name) && note.contains("checksum"), "{note}");

    let clock = days_ago(folder.path(), 0);
    let mut server = Server::listening_with(&data, &SOON, &clock.environment()).expect("server");
    server.ready().await;
    traffic(&server, 0, 4, 0).await;
    server.stop().await;
    server.says("a day of history is damaged").await;
    let errors = json_report(&data, &["errors", "--until", &ago(0)]);
    assert_eq!(answers(&errors, missing, "NOT_FOUND"), 7);
    assert!(errors["notes"].to_string().contains("set aside"), "{errors}");
    let aside = fs::read(path.with_extension("json.damaged")).expect("kept");
    assert_eq!(aside, bytes);
}

#[tokio::test]
async fn an_empty_history_is_said_and_what_is_no_store_is_refused() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let mut server = Server::over(&data, &SOON).await;
    server.stop().await;
    fs::remove_dir_all(data.join("metrics")).expect("removed");
    for subject in ["growth", "errors", "performance"] {
        let text = report(&data, &[subject]);
        assert!(text.contains("! There is no history of these days"), "{text}");
        assert!(!text.contains("NaN") && !text.contains(" inf"), "{text}");
        let json = json_report(&data, &[subject]);
        assert_eq!(json["report"], subject);
    }
    assert!(!data.join("metrics").exists(), "a report changes nothing");
    let nothing = folder.path().join("nothing");
    let path = nothing.to_str().expect("path");
    let (code, out, error) = run(program(&["report", "growth", "--data", path]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(error.contains("is no store"), "{error}");
    assert!(!nothing.exists());
    for wrong in [&["--until", "yesterday"][..], &["--days", "0"], &["--top", "3", "--json"]] {
        let (code, _, error) = run(program(&[&["report", "growth"], wrong].concat()));
        assert_eq!(code, 2, "{error}");
    }
}

/// The server writes reports by itself, on days and weeks that have ended.
#[tokio::test]
async fn a_server_writes_what_is_due_by_itself() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = [&SOON[..], &["--report-files", "2"]].concat();
    let clock = days_ago(folder.path(), 20);
    let mut server = Server::listening_with(&data, &args, &clock.environment()).expect("server");
    server.ready().await;
    traffic(&server, 1, 2, 0).await;
    let reports = || paths(&data.join("reports"));
    for days in (12..20).rev() {
        clock.set(noon(days));
        let name = format!("growth-{}.html", ago(days + 1));
        eventually(&name, async || reports().contains_key(&name)).await;
    }
    server.stop().await;
    let of = |kind: &str| {
        reports().into_iter().filter(|(name, _)| name.starts_with(kind)).collect::<Vec<_>>()
    };
    assert_eq!(of("growth").len(), 2, "the oldest go: {:?}", reports());
    let errors = of("errors");
    assert_eq!(errors.len(), 1, "one Sunday has passed: {:?}", reports());
    let page = fs::read_to_string(&errors[0].1).expect("page");
    assert!(page.contains("NOT_FOUND") && page.ends_with("</html>\n"), "{page}");
}

#[tokio::test]
async fn users_are_named_on_the_console_alone_and_where_asked() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let page = folder.path().join("report.html");
    let html = page.to_str().expect("path");
    for days in [1, 0] {
        let clock = days_ago(folder.path(), days);
        let mut server =
            Server::listening_with(&data, &SOON, &clock.environment()).expect("server");
        server.ready().await;
        for (user, count) in [("large-user", 30), ("small-user", 2)] {
            for n in 0..count {
                let mut body = audience(user, &format!("<b>{n}</b>"));
                body["description"] = json!("text ".repeat(200 + n));
                server.save("audiences", &body).await;
            }
        }
        server.stop().await;
    }
    for subject in ["growth", "errors", "performance"] {
        let text = report(&data, &[subject, "--until", &ago(0), "--html", html]);
        assert!(!text.contains("-user"), "{text}");
        let page = fs::read_to_string(&page).expect("page");
        assert!(page.contains("<svg") && page.ends_with("</html>\n"), "{page}");
        for fetched in ["http:", "https:", "src=", "href=", "url(", "<script"] {
            assert!(!page.contains(fetched), "{fetched} in {page}");
        }
        assert!(!json_report(&data, &[subject]).to_string().contains("-user"));
    }
    let text = report(&data, &["growth", "--until", &ago(0), "--top", "1", "--html", html]);
    assert!(text.contains("large-user") && !text.contains("small-user"), "{text}");
    assert!(!fs::read_to_string(&page).expect("page").contains("-user"));
    // Nor does the history name anybody.
    for (name, path) in paths(&data.join("metrics/history")) {
        let kept = fs::read(path).expect("file");
        assert!(!String::from_utf8_lossy(&kept).contains("-user"), "{name}");
    }
}

#[tokio::test]
async fn refusals_are_those_of_the_audit_trail() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let args = [&SOON[..], &["--auth", "tokens"]].concat();
    let mut server = Server::over(&data, &args).await;
    for n in 0..7 {
        let bearer = [("Authorization", "Bearer nonsense")];
        let headers = if n < 4 { &bearer[..] } else { &[] };
        let reply = server.send(Method::GET, "/api/audiences", headers, None).await;
        assert_eq!(reply.status.as_u16(), 401, "{}", reply.text);
    }
    server.stop().await;
    let errors = json_report(&data, &["errors"]);
    let codes = &errors["refusals"]["now"]["codes"];
    assert_eq!(*codes, json!({"TOKEN_MALFORMED": 4, "UNAUTHENTICATED": 3}), "{errors}");
    let first = &errors["refusals"]["now"]["listed"][0];
    assert_eq!(
        *first,
        json!({"code": "TOKEN_MALFORMED", "endpoint": "GET /api/audiences", "count": 4})
    );
    assert_eq!(errors["now"]["codes"]["TOKEN_MALFORMED"], 4, "the metrics agree");
    assert!(report(&data, &["errors"]).contains("Refusals in the audit trail"));
}
