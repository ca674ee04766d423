//! Arguments of `report`, and carrying it out.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, value_parser};

use super::args::{Flags, ForData};
use super::progress::Progress;
use super::run::print;
use crate::domain::Micros;
use crate::env::Env;
use crate::metrics::history::day_of;
use crate::report::{self, Report, Subject};

const GROWTH: &str = "\
Made for every day. Reads names, sizes and footers of all Parquet files, and the history that the
server keeps. --top names users: on this console alone, never in --html.

Examples:
  audience-store report growth --data /srv/audiences
  audience-store report growth --days 90 --html growth.html
  audience-store report growth --top 10";

const ERRORS: &str = "\
Made for every week. Reads the history that the server keeps, and the audit trail, and compares with
as many days before.";

const PERFORMANCE: &str = "\
Made for every quarter. Reads the history that the server keeps, and compares with as many weeks
before.";

/// What to report on. All of them read a running or a stopped store, and change nothing.
#[derive(Subcommand)]
pub(super) enum RawReport {
    /// What is stored, how it grew day by day, when the disk is full at this rate
    #[command(after_help = GROWTH)]
    Growth(RawGrowth),
    /// Error answers, refusals, storage errors and restarts, against the time before
    #[command(after_help = ERRORS)]
    Errors(RawErrors),
    /// Latencies of each endpoint by week, fsyncs, checkpoints, cache, against the time before
    #[command(after_help = PERFORMANCE)]
    Performance(RawPerformance),
}

/// Arguments of `report growth`.
#[derive(Args)]
pub(super) struct RawGrowth {
    /// How many days
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = value_parser!(u32).range(1..=400))]
    days: u32,
    /// Also name so many of the users who store most, on the console
    #[arg(long, value_name = "COUNT", default_value_t = 0, conflicts_with = "json",
          value_parser = value_parser!(u32).range(0..=10_000))]
    top: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Arguments of `report errors`.
#[derive(Args)]
pub(super) struct RawErrors {
    /// How many days
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = value_parser!(u32).range(1..=200))]
    days: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Arguments of `report performance`.
#[derive(Args)]
pub(super) struct RawPerformance {
    /// How many weeks
    #[arg(long, value_name = "COUNT", default_value_t = 13, value_parser = value_parser!(u32).range(1..=28))]
    weeks: u32,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// How a report is given.
#[derive(Args)]
struct Output {
    /// The last day, such as 2026-11-24; today without it. What is stored now is always of now
    #[arg(long, value_name = "DATE", value_parser = day)]
    until: Option<i64>,
    /// Also write it as one HTML file, with drawings
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn day(text: &str) -> Result<i64, String> {
    let is_date = text.len() == 10;
    let at = Micros::parse(text).ok().filter(|_| is_date);
    at.map(day_of).ok_or_else(|| "a date such as 2026-11-24".to_owned())
}

/// A report that is asked for, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportCommand {
    subject: Subject,
    until: Option<i64>,
    html: Option<PathBuf>,
    json: bool,
}

impl RawReport {
    /// The flags for settings.
    pub(super) fn flags(&self) -> &Flags<ForData> {
        match self {
            Self::Growth(raw) => &raw.flags,
            Self::Errors(raw) => &raw.flags,
            Self::Performance(raw) => &raw.flags,
        }
    }

    /// What is asked for.
    pub(super) fn command(self) -> ReportCommand {
        let (subject, output) = match self {
            Self::Growth(raw) => {
                let top = usize::try_from(raw.top).unwrap_or(usize::MAX);
                (Subject::Growth { days: raw.days, top }, raw.output)
            }
            Self::Errors(raw) => (Subject::Errors { days: raw.days }, raw.output),
            Self::Performance(raw) => (Subject::Performance { weeks: raw.weeks }, raw.output),
        };
        ReportCommand { subject, until: output.until, html: output.html, json: output.json }
    }
}

/// Makes the report and gives it.
pub(super) fn run(env: &Env, data: &Path, command: &ReportCommand) -> Result<(), String> {
    let began = env.clock.monotonic();
    let mut progress = Progress::on_stderr(std::io::stderr().is_terminal(), "user folders");
    let mut shown = |done, total| {
        progress.advance(done, total, env.clock.monotonic().saturating_sub(began));
    };
    let made = report::report(env, data, command.subject, command.until, &mut shown);
    progress.finish();
    let Report { document, json } = made.map_err(|e| e.to_string())?;
    if let Some(file) = &command.html {
        let page = report::html(&document);
        let written = env.fs.replace(file, page.as_bytes());
        written.map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    }
    print(&if command.json { json.to_string() } else { report::text(&document) });
    if let Some(file) = &command.html {
        eprintln!("written to {}", file.display());
    }
    Ok(())
}
