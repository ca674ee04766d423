//! What went wrong: error answers, refusals, storage, restarts, against the time before.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::document::{Document, Plot, Section, Table, Unit};
use super::history::{History, Period, all_endpoints, endpoints};
use super::refusals::{Refusals, Trailed};
use super::show::{self, change, count, ratio, share};
use crate::metrics::history::{Day, day_name};

/// Rows of the table by endpoint and code.
const ROWS: usize = 40;

/// The report on so many days.
#[must_use]
pub fn report(
    history: &History,
    trail: &Result<Trailed, String>,
    last: i64,
    days: u32,
) -> (Document, Value) {
    let period = Period::ending(last, days);
    let (now, before) = (history.together(period), history.together(period.before()));
    let mut document = history.document("Errors", period);
    document.sections.push(overall(&now, &before, period.before()));
    document.sections.push(by_day(history, period));
    document.sections.push(by_code(&now, &before));
    document.sections.push(refused(trail, &now));
    document.sections.push(inside(&now, &before));
    let then = period.before();
    let json = json!({
        "report": "errors",
        "from": day_name(period.first),
        "to": day_name(period.last),
        "before": {"from": day_name(then.first), "to": day_name(then.last)},
        "made_at": history.now.to_string(),
        "notes": document.notes.clone(),
        "now": figures(&now),
        "then": figures(&before),
        "refusals": match trail {
            Ok(trail) => json!({
                "now": listed(&trail.now),
                "then": listed(&trail.before),
                "trail_since": trail.since.map(|since| since.to_string()),
            }),
            Err(error) => json!({"error": error}),
        },
        "days": period.days().map(|day| {
            let all = history.days.get(&day).map(all_endpoints).unwrap_or_default();
            json!({
                "day": day_name(day),
                "kept": history.days.contains_key(&day),
                "requests": all.requests,
                "4xx": all.refused,
                "5xx": all.failed,
            })
        }).collect::<Vec<_>>(),
    });
    (document, json)
}

#[allow(clippy::cast_precision_loss, reason = "a comparison")]
fn changed(now: u64, before: u64) -> String {
    change(Some(now as f64), Some(before as f64))
}

fn compared(names: &[(&str, u64, u64)]) -> Table {
    let mut table = Table::new("", 1, &["", "now", "before", "change"]);
    for (name, now, before) in names {
        let cells = [(*name).to_owned(), count(*now), count(*before), changed(*now, *before)];
        table.rows.push(cells.to_vec());
    }
    table
}

fn overall(now: &Day, before: &Day, then: Period) -> Section {
    let mut section = Section::new("Overall");
    section.lines.push(format!("Compared with {}.", then.shown()));
    let (here, there) = (all_endpoints(now), all_endpoints(before));
    let mut table = compared(&[
        ("requests", here.requests, there.requests),
        ("answered with 4xx", here.refused, there.refused),
        ("answered with 5xx", here.failed, there.failed),
        (
            "clients that went away",
            now.count("http_requests_aborted_total"),
            before.count("http_requests_aborted_total"),
        ),
    ]);
    let mut rate = |name: &str, now: Option<f64>, before: Option<f64>| {
        table.rows.push(vec![name.to_owned(), share(now), share(before), change(now, before)]);
    };
    rate(
        "share with 4xx",
        ratio(here.refused, here.requests),
        ratio(there.refused, there.requests),
    );
    rate("share with 5xx", ratio(here.failed, here.requests), ratio(there.failed, there.requests));
    let span = |day: &Day| show::span(day.seconds);
    table.rows.push(vec!["time observed".to_owned(), span(now), span(before), String::new()]);
    section.tables.push(table);
    section
}

#[allow(clippy::cast_precision_loss, reason = "a drawing")]
fn by_day(history: &History, period: Period) -> Section {
    let mut section = Section::new("By day");
    section.lines.push("Bars: answers with 4xx or 5xx.".to_owned());
    let columns = ["day", "requests", "4xx", "5xx", "share with 5xx", "starts", "unclean ends"];
    let mut table = Table::new("", 1, &columns);
    let (mut refused, mut failed) = (Vec::new(), Vec::new());
    for day in period.days() {
        let Some(kept) = history.days.get(&day) else {
            let mut row = vec![day_name(day)];
            row.resize(columns.len(), show::UNKNOWN.to_owned());
            table.row(row, 0.0);
            refused.push(None);
            failed.push(None);
            continue;
        };
        let all = all_endpoints(kept);
        let row = vec![
            day_name(day),
            count(all.requests),
            count(all.refused),
            count(all.failed),
            share(ratio(all.failed, all.requests)),
            count(kept.starts),
            count(kept.unclean),
        ];
        table.row(row, (all.refused + all.failed) as f64);
        refused.push(Some(all.refused as f64));
        failed.push(Some(all.failed as f64));
    }
    section.tables.push(table);
    let series = vec![("4xx".to_owned(), refused), ("5xx".to_owned(), failed)];
    let x = period.days().map(day_name).collect();
    section.plots.push(Plot {
        title: "Error answers a day".to_owned(),
        unit: Unit::Count,
        x,
        series,
    });
    section
}

/// Error answers by code, and by endpoint and code.
fn errors(day: &Day) -> BTreeMap<(String, String), u64> {
    let mut all = BTreeMap::new();
    for (labels, count) in day.counted("http_errors_total") {
        let label = |name| labels.get(name).copied().unwrap_or("?");
        let endpoint = format!("{} {}", label("method"), label("endpoint"));
        *all.entry((label("code").to_owned(), endpoint)).or_default() += count;
    }
    all
}

fn codes(day: &Day) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    for ((code, _), count) in errors(day) {
        *all.entry(code).or_default() += count;
    }
    all
}

/// The largest first.
fn sorted<K: Ord>(counts: BTreeMap<K, u64>) -> Vec<(K, u64)> {
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all
}

#[allow(clippy::cast_precision_loss, reason = "a bar")]
fn by_code(now: &Day, before: &Day) -> Section {
    let mut section = Section::new("Error answers by code");
    let requests = all_endpoints(now).requests;
    let earlier = codes(before);
    let mut here = codes(now);
    for code in earlier.keys() {
        here.entry(code.clone()).or_default();
    }
    let columns = ["code", "answers", "of all requests", "before", "change"];
    let mut table = Table::new("", 1, &columns);
    for (code, answers) in sorted(here) {
        let there = earlier.get(&code).copied().unwrap_or(0);
        let of = share(ratio(answers, requests));
        let row = vec![code, count(answers), of, count(there), changed(answers, there)];
        table.row(row, answers as f64);
    }
    if table.rows.is_empty() {
        section.lines.push("No error answer was counted.".to_owned());
        return section;
    }
    section.tables.push(table);
    let (asked, earlier) = (endpoints(now), errors(before));
    let columns = ["endpoint", "code", "answers", "of its requests", "before", "change"];
    let mut table = Table::new("By endpoint and code", 2, &columns);
    let all = sorted(errors(now));
    let more = all.len().saturating_sub(ROWS);
    for ((code, endpoint), answers) in all.into_iter().take(ROWS) {
        let requests = asked.get(&endpoint).map_or(0, |endpoint| endpoint.requests);
        let key = (code, endpoint);
        let there = earlier.get(&key).copied().unwrap_or(0);
        let of = share(ratio(answers, requests));
        let row = vec![key.1, key.0, count(answers), of, count(there), changed(answers, there)];
        table.row(row, answers as f64);
    }
    section.tables.push(table);
    if more > 0 {
        section.lines.push(format!("{more} more pairs of endpoint and code are in --json."));
    }
    section
}

fn refused(trail: &Result<Trailed, String>, now: &Day) -> Section {
    let mut section = Section::new("Refusals in the audit trail");
    let trail = match trail {
        Ok(trail) => trail,
        Err(error) => {
            section.lines.push(format!("Not counted: {error}."));
            return section;
        }
    };
    if let Some(since) = trail.since {
        section.lines.push(format!("The trail begins at {since}; what was before is not in it."));
    }
    let lost = now.count("audit_failed_lines_total");
    if lost > 0 {
        section.lines.push(format!("{} lines of the trail could not be written.", count(lost)));
    }
    let mut table = Table::new("", 1, &["code", "refusals", "without a line", "before", "change"]);
    for (code, refusals) in trail.now.codes() {
        let there = trail.before.of_code(&code);
        let not_listed = trail.now.not_listed.get(&code).copied().unwrap_or(0);
        let row =
            vec![code, count(refusals), count(not_listed), count(there), changed(refusals, there)];
        #[allow(clippy::cast_precision_loss, reason = "a bar")]
        table.row(row, refusals as f64);
    }
    if table.rows.is_empty() {
        section.lines.push("None.".to_owned());
        return section;
    }
    section.tables.push(table);
    let mut table = Table::new("By endpoint", 2, &["endpoint", "code", "refusals with a line"]);
    for ((code, route), refusals) in sorted(trail.now.listed.clone()).into_iter().take(ROWS) {
        table.rows.push(vec![route, code, count(refusals)]);
    }
    section.tables.push(table);
    section
}

/// Failures that no client need have seen: names, keys without labels or with.
fn failures(day: &Day) -> [(&'static str, u64); 11] {
    let labelled = |name: &str, label: &str, value: &str| {
        let is = |labels: &BTreeMap<&str, &str>| labels.get(label) == Some(&value);
        day.counted(name).filter(|(labels, _)| is(labels)).map(|(_, count)| count).sum()
    };
    [
        ("storage errors", day.sum("storage_errors_total")),
        ("times the log had no space", day.count("log_storage_full_total")),
        ("checkpoints that failed", labelled("checkpoints_total", "outcome", "failed")),
        (
            "partitions that could not be read",
            labelled("partition_exits_total", "reason", "failed"),
        ),
        ("partitions that panicked", labelled("partition_exits_total", "reason", "panicked")),
        ("partitions started again", day.count("partitions_restarted_total")),
        ("times the scrub found damage", day.count("scrub_damaged_total")),
        ("lines of the audit trail not written", day.count("audit_failed_lines_total")),
        ("starts of the server", day.starts),
        ("clean stops", day.stops),
        ("starts after a kill, crash or power loss", day.unclean),
    ]
}

fn storage(day: &Day) -> BTreeMap<(String, String), u64> {
    let mut all = BTreeMap::new();
    for (labels, count) in day.counted("storage_errors_total").filter(|(_, count)| *count > 0) {
        let label = |name| labels.get(name).copied().unwrap_or("?").to_owned();
        *all.entry((label("operation"), label("kind"))).or_default() += count;
    }
    all
}

fn inside(now: &Day, before: &Day) -> Section {
    let mut section = Section::new("Storage and restarts");
    let both: Vec<_> = failures(now)
        .into_iter()
        .zip(failures(before))
        .map(|((name, now), (_, before))| (name, now, before))
        .collect();
    section.tables.push(compared(&both));
    let errors = sorted(storage(now));
    if !errors.is_empty() {
        let mut table = Table::new("Storage errors", 2, &["operation", "kind", "times"]);
        for ((operation, kind), times) in errors {
            table.rows.push(vec![operation, kind, count(times)]);
        }
        section.tables.push(table);
    }
    if let Some(files @ 1..) = now.value("unreadable_files") {
        section.lines.push(format!(
            "{} files could not be read when last counted: `audience-store verify` names them.",
            count(files)
        ));
    }
    if now.value("log_failed") == Some(1) {
        section.lines.push("The log had failed when last counted: it needs a restart.".to_owned());
    }
    section
}

fn listed(refusals: &Refusals) -> Value {
    let routes: Vec<_> = refusals
        .listed
        .iter()
        .map(|((code, route), count)| json!({"code": code, "endpoint": route, "count": count}))
        .collect();
    let codes: serde_json::Map<_, _> =
        refusals.codes().into_iter().map(|(code, count)| (code, json!(count))).collect();
    json!({"codes": codes, "listed": routes, "not_listed": refusals.not_listed})
}

fn figures(day: &Day) -> Value {
    let all = all_endpoints(day);
    let by_endpoint: Vec<_> = sorted(errors(day))
        .into_iter()
        .map(
            |((code, endpoint), count)| json!({"endpoint": endpoint, "code": code, "count": count}),
        )
        .collect();
    let storage: Vec<_> = sorted(storage(day))
        .into_iter()
        .map(|((operation, kind), n)| json!({"operation": operation, "kind": kind, "count": n}))
        .collect();
    json!({
        "observed_seconds": day.seconds,
        "requests": all.requests,
        "4xx": all.refused,
        "5xx": all.failed,
        "aborted": day.count("http_requests_aborted_total"),
        "codes": codes(day),
        "by_endpoint": by_endpoint,
        "storage_errors": storage,
        "failures": failures(day).into_iter().map(|(name, n)| (name.to_owned(), json!(n))).collect::<serde_json::Map<_, _>>(),
        "starts": day.starts,
        "stops": day.stops,
        "unclean": day.unclean,
    })
}
