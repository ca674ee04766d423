//! Reports for operators, off a store's files: how it grew, what went wrong, how fast it was.
//!
//! [`history`] is what the server kept of its metrics, [`census`] what is in the files now,
//! [`refusals`] the audit trail. [`growth`], [`errors`] and [`performance`] turn these into a
//! [`document`], which is [`text`] or [`html`] with [`svg`] drawings, and into JSON. Nothing here
//! changes a store's data or takes its lock; a server may run meanwhile. [`scheduled`] writes them
//! by itself.

mod census;
mod document;
mod errors;
mod forecast;
mod growth;
mod history;
mod html;
mod performance;
mod refusals;
pub mod scheduled;
mod show;
mod svg;
mod text;

use std::io;
use std::path::Path;

use serde_json::Value;
use thiserror::Error;

use crate::env::Env;
use crate::metrics::history::{HistoryFiles, day_of};
use history::{History, Period};

pub use html::html;
pub use text::text;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// What is stored and how it grew in so many days; with so many of the largest users.
    Growth {
        /// Days.
        days: u32,
        /// Users named.
        top: usize,
    },
    /// What went wrong in so many days.
    Errors {
        /// Days.
        days: u32,
    },
    /// How fast the server was in so many weeks.
    Performance {
        /// Weeks.
        weeks: u32,
    },
}

/// A report.
#[derive(Debug)]
pub struct Report {
    /// For people.
    pub document: document::Document,
    /// For scripts. It names no user.
    pub json: Value,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The folder is none of a store.
    #[error("{0} is no store: it has neither a log nor a table")]
    NoStore(String),
    /// Something could not be read.
    #[error("the store cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads the store in `root` and reports on days that end with `last`, in days since 1970, or with
/// today. `progress` hears of folders counted and folders in all. Blocking.
///
/// # Errors
/// [`ReportError`]. What is damaged of the history or the trail is no error: the report says so.
pub fn report(
    env: &Env,
    root: &Path,
    subject: Subject,
    last: Option<i64>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, ReportError> {
    let known = |name: &str| env.fs.stat(&root.join(name)).is_ok();
    if !["log", "audiences", "platforms", "distributions"].into_iter().any(known) {
        return Err(ReportError::NoStore(root.display().to_string()));
    }
    let files = HistoryFiles::new(env, root);
    let now = env.clock.now();
    let history = History::new(files.all()?, files.is_running(), now);
    let last = last.unwrap_or_else(|| day_of(now));
    let (document, json) = match subject {
        Subject::Growth { days, top } => {
            let census = census::count(env, root, top, progress)?;
            growth::report(&history, &census, last, days)
        }
        Subject::Errors { days } => {
            let trail = refusals::read(env, root, Period::ending(last, days));
            errors::report(&history, &trail.map_err(|e| e.to_string()), last, days)
        }
        Subject::Performance { weeks } => performance::report(&history, last, weeks),
    };
    Ok(Report { document, json })
}
