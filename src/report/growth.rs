//! What is stored, how it grew, and when the disk is full at this rate.

use serde_json::{Value, json};

use super::census::{Census, Stored};
use super::document::{Document, Plot, Section, Table, Unit};
use super::forecast::{FEWEST, Trend, trend};
use super::history::{History, Period};
use super::show::{self, UNKNOWN, bytes, count, ratio, share, signed, signed_bytes};
use crate::domain::Table as StoreTable;
use crate::metrics::history::{DAY_MICROS, Day, day_name};
use crate::storage::layout;

/// Days beyond which no forecast is worth its name.
const FAR: f64 = 3650.0;
/// A line that explains less of the days than this is called a bad fit.
const GOOD_FIT: f64 = 0.8;

/// A day of the history.
struct Grown {
    day: i64,
    kept: bool,
    /// Bytes of Parquet files by table.
    tables: Option<[u64; 3]>,
    /// Files by table.
    files: Option<[u64; 3]>,
    /// Users by table.
    table_users: Option<[u64; 3]>,
    /// Users with files.
    users: Option<u64>,
    /// Records that came less those that went, by table.
    net: [i64; 3],
    created: u64,
    available: Option<u64>,
}

impl Grown {
    fn of(day: i64, kept: Option<&Day>) -> Self {
        let value = |name: &str| kept?.last.get(name).copied();
        let tables = |name: &str| {
            let of =
                |table: StoreTable| value(&format!("{name}{{table=\"{}\"}}", table.spec().name));
            match StoreTable::PUBLIC.map(of) {
                [Some(a), Some(b), Some(c)] => Some([a, b, c]),
                _ => None,
            }
        };
        Self {
            day,
            kept: kept.is_some(),
            tables: tables("usage_bytes"),
            files: tables("usage_files"),
            table_users: tables("usage_table_users"),
            users: value("usage_users"),
            net: StoreTable::PUBLIC.map(|table| kept.map_or(0, |day| net(day, table))),
            created: kept.map_or(0, |day| changes(day, StoreTable::Audiences, "created")),
            available: value("disk_available_bytes"),
        }
    }

    fn bytes(&self) -> Option<u64> {
        self.tables.map(|tables| tables.iter().sum())
    }
}

fn changes(day: &Day, table: StoreTable, change: &str) -> u64 {
    let table = table.spec().name;
    day.count(&format!("records_written_total{{table=\"{table}\",change=\"{change}\"}}"))
}

fn net(day: &Day, table: StoreTable) -> i64 {
    let of = |change| i64::try_from(changes(day, table, change)).unwrap_or(i64::MAX);
    of("created").saturating_sub(of("deleted")).saturating_sub(of("erased"))
}

fn grew(now: Option<u64>, before: Option<u64>) -> Option<i64> {
    let (now, before) = (i64::try_from(now?).ok()?, i64::try_from(before?).ok()?);
    Some(now - before)
}

/// The report on so many days.
#[must_use]
pub fn report(history: &History, census: &Census, last: i64, days: u32) -> (Document, Value) {
    let period = Period::ending(last, days);
    let grown: Vec<_> = period.days().map(|day| Grown::of(day, history.days.get(&day))).collect();
    // What the first day grew from.
    let mut earlier = history.days.range(..period.first).rev();
    let earlier = earlier.find_map(|(day, kept)| {
        let grown = Grown::of(*day, Some(kept));
        grown.tables.is_some().then_some(grown)
    });
    let points = |of: &dyn Fn(&Grown) -> Option<u64>| -> Vec<(f64, f64)> {
        #[allow(clippy::cast_precision_loss, reason = "a drawing")]
        grown.iter().filter_map(|g| Some((g.day as f64, of(g)? as f64))).collect()
    };
    let line = trend(&points(&Grown::bytes));
    let free = trend(&points(&|g| g.available));
    let mut document = history.document("Growth", period);
    document.sections.push(now(census));
    document.sections.push(by_day(&grown, earlier.as_ref()));
    document.sections.push(by_table(&grown, earlier.as_ref()));
    document.sections.push(forecast(history, census, line, free));
    if !census.top.is_empty() {
        document.sections.push(largest(census));
    }
    let json = json!({
        "report": "growth",
        "from": day_name(period.first),
        "to": day_name(period.last),
        "made_at": history.now.to_string(),
        "notes": document.notes.clone(),
        "now": figures(census),
        "days": grown.iter().map(day_figures).collect::<Vec<_>>(),
        "forecast": forecast_figures(history, census, line, free),
    });
    (document, json)
}

fn name(table: StoreTable) -> String {
    table.spec().name.to_owned()
}

fn now(census: &Census) -> Section {
    let mut section = Section::new("Stored now");
    let columns = ["table", "bytes", "files", "rows", "users", "bytes a row"];
    let mut table = Table::new("", 1, &columns);
    let mut add = |name: String, stored: Stored| {
        let each = stored.bytes.checked_div(stored.rows).map_or_else(|| UNKNOWN.to_owned(), bytes);
        let counts = [stored.files, stored.rows, stored.users].map(count);
        let mut row = vec![name, bytes(stored.bytes)];
        row.extend(counts);
        row.push(each);
        #[allow(clippy::cast_precision_loss, reason = "a bar")]
        table.row(row, stored.bytes as f64);
    };
    for (of, stored) in StoreTable::PUBLIC.into_iter().zip(census.tables) {
        add(name(of), stored);
    }
    for (of, stored) in StoreTable::PUBLIC.into_iter().zip(census.archived) {
        if stored.files > 0 {
            add(format!("archived {}", name(of)), stored);
        }
    }
    section.tables.push(table);
    let [audiences, ..] = census.tables;
    let [archived, ..] = census.archived;
    let (all, rows) = (audiences.bytes + archived.bytes, audiences.rows + archived.rows);
    match all.checked_div(rows) {
        Some(each) => section.lines.push(format!("An audience takes {} on average.", bytes(each))),
        None => section.lines.push("There is no audience in a file.".to_owned()),
    }
    section.lines.push(format!(
        "{} users; beside the tables: log {}, remembered answers {}, files of the Python service {}.",
        count(census.users),
        bytes(census.log_bytes),
        bytes(census.idempotency_bytes),
        bytes(census.legacy_bytes)
    ));
    section
        .lines
        .push("Counted in Parquet files: changes that only the log holds come on top.".to_owned());
    if census.unreadable > 0 {
        section.lines.push(format!(
            "The rows of {} files could not be counted: `audience-store verify` names them.",
            count(census.unreadable)
        ));
    }
    if let Some((available, total)) = census.disk {
        let used = share(ratio(total.saturating_sub(available), total));
        let (available, total) = (bytes(available), bytes(total));
        section.lines.push(format!("The disk has {available} of {total} left ({used} are taken)."));
    }
    section
}

#[allow(clippy::cast_precision_loss, reason = "a drawing")]
fn by_day(grown: &[Grown], earlier: Option<&Grown>) -> Section {
    let mut section = Section::new("By day");
    section.lines.push(
        "Bytes, files and users as the server last saw them that day; records that it saved less those \
         it deleted or erased. What `seed`, `adopt` or `restore` brought is in the bytes alone. Bars: \
         bytes."
            .to_owned(),
    );
    let columns =
        ["day", "bytes", "grew", "files", "users", "audiences", "platforms", "distributions"];
    let mut table = Table::new("", 1, &columns);
    let mut before = earlier.and_then(Grown::bytes);
    for day in grown {
        let known = day.bytes();
        let unknown = || UNKNOWN.to_owned();
        let net = |n: i64| if day.kept { signed(n) } else { unknown() };
        let mut row = vec![
            day_name(day.day),
            known.map_or_else(unknown, bytes),
            grew(known, before).map_or_else(unknown, signed_bytes),
            day.files.map_or_else(unknown, |files| count(files.iter().sum())),
            day.users.map_or_else(unknown, count),
        ];
        row.extend(day.net.map(net));
        table.row(row, known.unwrap_or(0) as f64);
        before = known.or(before);
    }
    section.tables.push(table);
    let x: Vec<_> = grown.iter().map(|g| day_name(g.day)).collect();
    let series = |of: &dyn Fn(&Grown, usize) -> Option<f64>| {
        let line = |(place, table)| (name(table), grown.iter().map(|g| of(g, place)).collect());
        StoreTable::PUBLIC.into_iter().enumerate().map(line).collect::<Vec<_>>()
    };
    let plot =
        |title: &str, unit, series| Plot { title: title.to_owned(), unit, x: x.clone(), series };
    let stored = series(&|g, place| Some(*g.tables?.get(place)? as f64));
    section.plots.push(plot("Bytes of Parquet files", Unit::Bytes, stored));
    let users = grown.iter().map(|g| g.users.map(|n| n as f64)).collect();
    section.plots.push(plot("Users", Unit::Count, vec![("users".to_owned(), users)]));
    let created = grown.iter().map(|g| g.kept.then_some(g.created as f64)).collect();
    section.plots.push(plot(
        "Audiences created",
        Unit::Count,
        vec![("audiences".to_owned(), created)],
    ));
    section
}

/// What each table grew by, from the last day known before the period, or the first in it, to the
/// last.
fn by_table(grown: &[Grown], earlier: Option<&Grown>) -> Section {
    let mut section = Section::new("By table");
    let known = || earlier.into_iter().chain(grown).filter(|g| g.tables.is_some());
    let (Some(first), Some(last)) = (known().next(), known().next_back()) else {
        section.lines.push("The sizes of no day are known.".to_owned());
        return section;
    };
    let days = last.day - first.day;
    section.lines.push(format!(
        "From {} to {}; records are those of all days above. Bars: growth in bytes.",
        day_name(first.day),
        day_name(last.day)
    ));
    let columns = ["table", "bytes", "grew", "a day", "files", "grew", "users", "grew", "records"];
    let mut table = Table::new("", 1, &columns);
    for (at, of) in StoreTable::PUBLIC.into_iter().enumerate() {
        let both = |of: fn(&Grown) -> Option<[u64; 3]>| {
            let one = |grown: &Grown| of(grown).and_then(|all| all.get(at).copied());
            (one(last), grew(one(last), one(first)))
        };
        let (stored, files, users) =
            (both(|g| g.tables), both(|g| g.files), both(|g| g.table_users));
        let shown = |(now, grew): (Option<u64>, Option<i64>)| {
            let unknown = || UNKNOWN.to_owned();
            [now.map_or_else(unknown, count), grew.map_or_else(unknown, signed)]
        };
        let more = stored.1.unwrap_or(0);
        let a_day = if days > 0 { signed_bytes(more / days) } else { UNKNOWN.to_owned() };
        let records = grown.iter().filter_map(|g| g.net.get(at)).sum();
        let mut row = vec![name(of), bytes(stored.0.unwrap_or(0)), signed_bytes(more), a_day];
        row.extend(shown(files));
        row.extend(shown(users));
        row.push(signed(records));
        #[allow(clippy::cast_precision_loss, reason = "a bar")]
        table.row(row, more as f64);
    }
    section.tables.push(table);
    section
}

/// The day on which the disk is full, where that can be said.
#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "ten years at most"
)]
fn full_on(history: &History, census: &Census, line: Option<Trend>) -> Option<(f64, i64)> {
    let (available, _) = census.disk?;
    let days = line?.days_until(available as f64).filter(|days| *days <= FAR)?;
    Some((days, history.now.get().div_euclid(DAY_MICROS) + days as i64))
}

fn forecast(
    history: &History,
    census: &Census,
    line: Option<Trend>,
    free: Option<Trend>,
) -> Section {
    let mut section = Section::new("Forecast");
    let lines = &mut section.lines;
    let Some(line) = line else {
        lines.push(format!(
            "None: it takes {FEWEST} days of these with known bytes, and the history has fewer."
        ));
        return section;
    };
    let a_day = show::real_bytes(line.a_day);
    match full_on(history, census, Some(line)) {
        _ if line.a_day <= 0.0 => lines.push(format!("The files do not grow ({a_day} a day).")),
        None => {
            lines.push(format!("At {a_day} a day the files fill the disk in more than ten years."));
        }
        Some((days, day)) => lines.push(format!(
            "At {a_day} a day the files fill the disk in {days:.0} days, on {}.",
            day_name(day)
        )),
    }
    let fit = share(Some(line.fit));
    let quality =
        if line.fit < GOOD_FIT { "; they did not grow evenly, so take it as a guess" } else { "" };
    lines.push(format!(
        "Basis: a straight line through the bytes of Parquet files on {} days in {:.0}, which explains \
         {fit} of their differences (R²){quality}.",
        line.points, line.days
    ));
    if let Some(free) = free {
        let change = show::real_bytes(free.a_day);
        lines.push(format!(
            "In the same days the free space changed by {change} a day, with everything else on the disk."
        ));
    }
    lines.push(
        "Writes are refused before the disk is full: the log leaves --disk-reserve free."
            .to_owned(),
    );
    section
}

fn largest(census: &Census) -> Section {
    let mut section = Section { console_only: true, ..Section::new("Largest users") };
    section
        .lines
        .push("Archived months included. For this console alone: --html leaves it out.".to_owned());
    let mut table = Table::new("", 1, &["user", "bytes", "files"]);
    for (size, files, folder) in &census.top {
        // An id too long for a folder's name is in the files alone.
        let user = layout::parse_user(folder);
        let user = user.map_or_else(|| folder.clone(), |user| user.as_str().to_owned());
        #[allow(clippy::cast_precision_loss, reason = "a bar")]
        table.row(vec![user, bytes(*size), count(*files)], *size as f64);
    }
    section.tables.push(table);
    section
}

fn stored_figures(stored: Stored) -> Value {
    let Stored { bytes, files, rows, users } = stored;
    json!({"bytes": bytes, "files": files, "rows": rows, "users": users})
}

fn figures(census: &Census) -> Value {
    let tables = |of: [Stored; 3]| -> serde_json::Map<String, Value> {
        StoreTable::PUBLIC.into_iter().zip(of).map(|(t, s)| (name(t), stored_figures(s))).collect()
    };
    let audiences = census.tables.first().copied().unwrap_or_default();
    let archived = census.archived.first().copied().unwrap_or_default();
    let each = (audiences.bytes + archived.bytes).checked_div(audiences.rows + archived.rows);
    json!({
        "tables": tables(census.tables),
        "archived": tables(census.archived),
        "users": census.users,
        "bytes": census.table_bytes(),
        "bytes_per_audience": each,
        "log_bytes": census.log_bytes,
        "idempotency_bytes": census.idempotency_bytes,
        "legacy_bytes": census.legacy_bytes,
        "unreadable_files": census.unreadable,
        "disk_available_bytes": census.disk.map(|(available, _)| available),
        "disk_total_bytes": census.disk.map(|(_, total)| total),
    })
}

fn day_figures(day: &Grown) -> Value {
    let by_table = |of: &dyn Fn(usize) -> Value| -> serde_json::Map<String, Value> {
        StoreTable::PUBLIC.into_iter().enumerate().map(|(at, t)| (name(t), of(at))).collect()
    };
    json!({
        "day": day_name(day.day),
        "kept": day.kept,
        "bytes": day.bytes(),
        "tables": by_table(&|at| json!(day.tables.and_then(|tables| tables.get(at).copied()))),
        "files": by_table(&|at| json!(day.files.and_then(|files| files.get(at).copied()))),
        "table_users": by_table(&|at| json!(day.table_users.and_then(|users| users.get(at).copied()))),
        "users": day.users,
        "audiences_created": day.created,
        "net_records": by_table(&|at| json!(day.net.get(at))),
    })
}

fn forecast_figures(
    history: &History,
    census: &Census,
    line: Option<Trend>,
    free: Option<Trend>,
) -> Value {
    let full = full_on(history, census, line);
    json!({
        "bytes_a_day": line.map(|line| line.a_day),
        "fit": line.map(|line| line.fit),
        "days_used": line.map(|line| line.points),
        "free_bytes_a_day": free.map(|free| free.a_day),
        "days_until_full": full.map(|(days, _)| days),
        "full_on": full.map(|(_, day)| day_name(day)),
    })
}
