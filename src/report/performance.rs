//! How fast the server answered: by endpoint and week, and against the time before.

use serde_json::{Value, json};

use super::document::{Document, Plot, Section, Table, Unit};
use super::history::{Endpoint, History, Period, all_endpoints, endpoints, times};
use super::show::{self, UNKNOWN, change, count, ratio, share, time};
use crate::metrics::history::{Day, Times, day_name};

const FSYNCS: &str = "log_fsync_duration_seconds";
const CHECKPOINTS: &str = "checkpoint_duration_seconds";
/// Endpoints drawn.
const DRAWN: usize = 6;

/// The report on so many weeks.
#[must_use]
pub fn report(history: &History, last: i64, weeks: u32) -> (Document, Value) {
    let period = Period::ending(last, weeks.max(1).saturating_mul(7));
    let (now, before) = (history.together(period), history.together(period.before()));
    let weeks: Vec<(String, Day)> = (0..i64::from(weeks.max(1)))
        .map(|week| Period { first: period.first + week * 7, last: period.first + week * 7 + 6 })
        .map(|week| (day_name(week.first), history.together(week)))
        .collect();
    let mut document = history.document("Performance", period);
    document.sections.push(overall(&now, &before, period.before()));
    document.sections.push(by_week(&weeks));
    document.sections.push(by_endpoint(&now, &before));
    document.sections.push(endpoint_weeks(&now, &weeks));
    let before_shown = period.before();
    let json = json!({
        "report": "performance",
        "from": day_name(period.first),
        "to": day_name(period.last),
        "before": {"from": day_name(before_shown.first), "to": day_name(before_shown.last)},
        "made_at": history.now.to_string(),
        "notes": document.notes.clone(),
        "now": figures(&now),
        "then": figures(&before),
        "weeks": weeks.iter().map(|(week, day)| {
            let mut of = figures(day);
            if let Value::Object(of) = &mut of {
                of.insert("from".to_owned(), json!(week));
            }
            of
        }).collect::<Vec<_>>(),
    });
    (document, json)
}

fn quantiles(times: &Times) -> [Option<f64>; 3] {
    [0.5, 0.95, 0.99].map(|q| times.quantile(q))
}

/// Requests a second, over the time that a server ran.
#[allow(clippy::cast_precision_loss, reason = "a rate")]
fn rate(requests: u64, day: &Day) -> Option<f64> {
    (day.seconds > 0).then(|| requests as f64 / day.seconds as f64)
}

fn hits(day: &Day) -> Option<f64> {
    let (hits, misses) =
        (day.count("listing_cache_hits_total"), day.count("listing_cache_misses_total"));
    ratio(hits, hits + misses)
}

fn overall(now: &Day, before: &Day, then: Period) -> Section {
    let mut section = Section::new("Overall");
    section.lines.push(format!("Compared with {}.", then.shown()));
    section.lines.push(
        "Times are of answers with 2xx or 3xx, estimated within the buckets they were counted in."
            .to_owned(),
    );
    let mut table = Table::new("", 1, &["", "now", "before", "change"]);
    let (here, there) = (all_endpoints(now), all_endpoints(before));
    #[allow(clippy::cast_precision_loss, reason = "a comparison")]
    let mut number = |name: &str, now: u64, before: u64| {
        let change = change(Some(now as f64), Some(before as f64));
        table.rows.push(vec![name.to_owned(), count(now), count(before), change]);
    };
    number("requests", here.requests, there.requests);
    number("fsyncs of the log", times(now, FSYNCS).total(), times(before, FSYNCS).total());
    number("checkpoints", times(now, CHECKPOINTS).total(), times(before, CHECKPOINTS).total());
    let mut real =
        |name: &str, now: Option<f64>, before: Option<f64>, show: fn(Option<f64>) -> String| {
            table.rows.push(vec![name.to_owned(), show(now), show(before), change(now, before)]);
        };
    real("requests a second", rate(here.requests, now), rate(there.requests, before), per_second);
    for (what, here, there) in [
        ("answers", here.times, there.times),
        ("fsyncs", times(now, FSYNCS), times(before, FSYNCS)),
        ("checkpoints", times(now, CHECKPOINTS), times(before, CHECKPOINTS)),
    ] {
        for (name, q) in [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)] {
            real(&format!("{what}, {name}"), here.quantile(q), there.quantile(q), time);
        }
    }
    real("listings from the cache", hits(now), hits(before), share);
    let span = |day: &Day| show::span(day.seconds);
    table.rows.push(vec!["time observed".to_owned(), span(now), span(before), String::new()]);
    section.tables.push(table);
    section
}

fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{rate:.2}"))
}

fn by_week(weeks: &[(String, Day)]) -> Section {
    let mut section = Section::new("By week");
    let columns = [
        "week from",
        "requests",
        "a second",
        "p50",
        "p95",
        "p99",
        "fsync p95",
        "checkpoint p95",
        "cache hits",
    ];
    let mut table = Table::new("", 1, &columns);
    for (week, day) in weeks.iter().filter(|(_, day)| day.to != 0) {
        let all = all_endpoints(day);
        let [p50, p95, p99] = quantiles(&all.times).map(time);
        let of = |name| time(times(day, name).quantile(0.95));
        let row = vec![
            week.clone(),
            count(all.requests),
            per_second(rate(all.requests, day)),
            p50,
            p95,
            p99,
            of(FSYNCS),
            of(CHECKPOINTS),
            share(hits(day)),
        ];
        #[allow(clippy::cast_precision_loss, reason = "a bar")]
        table.row(row, all.requests as f64);
    }
    if table.rows.is_empty() {
        section.lines.push("No week has history.".to_owned());
    } else {
        section.lines.push("Bars: requests.".to_owned());
        section.tables.push(table);
    }
    let x: Vec<_> = weeks.iter().map(|(week, _)| week.clone()).collect();
    let line = |name: &str, of: &dyn Fn(&Day) -> Option<f64>| {
        (name.to_owned(), weeks.iter().map(|(_, day)| of(day)).collect::<Vec<_>>())
    };
    let of = |q: f64| move |day: &Day| all_endpoints(day).times.quantile(q);
    let lines = vec![line("p50", &of(0.5)), line("p95", &of(0.95)), line("p99", &of(0.99))];
    let plot =
        |title: &str, unit, series| Plot { title: title.to_owned(), unit, x: x.clone(), series };
    section.plots.push(plot("Time of answers", Unit::Time, lines));
    let requests = |day: &Day| rate(all_endpoints(day).requests, day);
    section.plots.push(plot("Requests a second", Unit::Count, vec![line("requests", &requests)]));
    let work = |name: &'static str| move |day: &Day| times(day, name).quantile(0.95);
    let lines = vec![line("fsync p95", &work(FSYNCS)), line("checkpoint p95", &work(CHECKPOINTS))];
    section.plots.push(plot("Fsyncs and checkpoints", Unit::Time, lines));
    section.plots.push(plot("Listings from the cache", Unit::Share, vec![line("hits", &hits)]));
    section
}

/// Endpoints that were asked, the most first.
fn busiest(day: &Day) -> Vec<(String, Endpoint)> {
    let mut all: Vec<_> = endpoints(day).into_iter().filter(|(_, e)| e.requests > 0).collect();
    all.sort_by(|a, b| b.1.requests.cmp(&a.1.requests).then_with(|| a.0.cmp(&b.0)));
    all
}

fn by_endpoint(now: &Day, before: &Day) -> Section {
    let mut section = Section::new("By endpoint");
    let columns = [
        "endpoint",
        "requests",
        "a second",
        "p50",
        "p95",
        "p99",
        "requests before",
        "p95 before",
        "p95 change",
    ];
    let mut table = Table::new("", 1, &columns);
    let earlier = endpoints(before);
    for (name, endpoint) in busiest(now) {
        let [p50, p95, p99] = quantiles(&endpoint.times);
        let there = earlier.get(&name).cloned().unwrap_or_default();
        let p95_before = there.times.quantile(0.95);
        let row = vec![
            name,
            count(endpoint.requests),
            per_second(rate(endpoint.requests, now)),
            time(p50),
            time(p95),
            time(p99),
            count(there.requests),
            time(p95_before),
            change(p95, p95_before),
        ];
        #[allow(clippy::cast_precision_loss, reason = "a bar")]
        table.row(row, p95.filter(|p95| p95.is_finite()).unwrap_or(0.0));
    }
    if table.rows.is_empty() {
        section.lines.push("No request was counted.".to_owned());
    } else {
        section.lines.push("Bars: p95.".to_owned());
        section.tables.push(table);
    }
    section
}

fn endpoint_weeks(now: &Day, weeks: &[(String, Day)]) -> Section {
    let mut section = Section::new("Endpoints by week");
    let split: Vec<_> = weeks.iter().map(|(week, day)| (week, day, endpoints(day))).collect();
    let mut drawn = Vec::new();
    for (name, _) in busiest(now) {
        let columns = ["week from", "requests", "a second", "p50", "p95", "p99"];
        let mut table = Table::new(&name, 1, &columns);
        let mut line = Vec::new();
        for (week, day, all) in &split {
            let endpoint = all.get(&name);
            line.push(endpoint.and_then(|endpoint| endpoint.times.quantile(0.95)));
            let Some(endpoint) = endpoint else { continue };
            let [p50, p95, p99] = quantiles(&endpoint.times);
            let mut row = vec![(*week).clone(), count(endpoint.requests)];
            row.push(per_second(rate(endpoint.requests, day)));
            row.extend([p50, p95, p99].map(time));
            table.row(row, p95.filter(|p95| p95.is_finite()).unwrap_or(0.0));
        }
        section.tables.push(table);
        if drawn.len() < DRAWN {
            drawn.push((name, line));
        }
    }
    if section.tables.is_empty() {
        section.lines.push("No request was counted.".to_owned());
        return section;
    }
    section.lines.push("Bars: p95.".to_owned());
    let x = weeks.iter().map(|(week, _)| week.clone()).collect();
    let title = "p95 of the endpoints asked most".to_owned();
    section.plots.push(Plot { title, unit: Unit::Time, x, series: drawn });
    section
}

/// Seconds; `null` for none, and beyond all bounds, which `above` tells.
fn seconds(times: &Times) -> Value {
    let [p50, p95, p99] = quantiles(times).map(|q| q.filter(|q| q.is_finite()).map(|q| q / 1e9));
    json!({"count": times.total(), "p50": p50, "p95": p95, "p99": p99, "above": times.above})
}

fn figures(day: &Day) -> Value {
    let all = all_endpoints(day);
    let of: serde_json::Map<_, _> = endpoints(day)
        .into_iter()
        .map(|(name, endpoint)| {
            let shown = json!({
                "requests": endpoint.requests,
                "per_second": rate(endpoint.requests, day),
                "seconds": seconds(&endpoint.times),
            });
            (name, shown)
        })
        .collect();
    json!({
        "observed_seconds": day.seconds,
        "requests": all.requests,
        "per_second": rate(all.requests, day),
        "seconds": seconds(&all.times),
        "fsync_seconds": seconds(&times(day, FSYNCS)),
        "checkpoint_seconds": seconds(&times(day, CHECKPOINTS)),
        "cache_hit_share": hits(day),
        "endpoints": of,
    })
}
