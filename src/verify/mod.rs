//! Checking a store, stopped or running: every record of the log, every checksum of every Parquet
//! file, what footers say of the log, ids over months, sealed credentials, what lies about.
//!
//! Changes nothing and takes no lock. A server may write meanwhile: a file is opened once and read
//! through that, so that what replaces it does not matter; files are read before the end of the
//! log is, so that no footer is ahead of it; what looks like an id in two months is looked at
//! again with the log over both files before it is reported ([`suspects`]).
//!
//! Memory: one log segment, one row group, the ids of one user's table, the ids that the log
//! names.

mod files;
mod ids;
mod log_records;
mod orphans;
mod report;
mod sealed;
mod suspects;

use std::io;
use std::path::Path;

use thiserror::Error;

pub use report::{Code, Finding, Report, Severity};
pub use sealed::Keyring;

use crate::domain::Table;
use crate::env::{Env, FileKind};
use crate::log::{self, LogError};
use crate::storage::walk::{Area, Walk};
use files::Files;
use log_records::LogRecords;

/// How to verify.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Also decode every row, open every sealed credential, and decode what `legacy/` keeps.
    pub deep: bool,
}

/// Why a store could not be verified. What is wrong in it is no error but a finding.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The folder is none of a store.
    #[error("{0} is no store: it has neither a log nor a table")]
    NoStore(String),
    /// A folder or file could not be read.
    #[error("{what} cannot be read: {source}")]
    Io {
        /// Which, below the store's root.
        what: String,
        /// What the file system says.
        source: io::Error,
    },
    /// The log's files could not be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl VerifyError {
    fn io(what: &str) -> impl FnOnce(io::Error) -> Self {
        let what = what.to_owned();
        move |source| Self::Io { what, source }
    }
}

/// Verifies the store in `data`. `progress` hears of files done and files in all. Blocking.
///
/// # Errors
/// [`VerifyError`].
pub fn verify(
    env: &Env,
    data: &Path,
    keyring: &mut Keyring,
    options: Options,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let started = env.clock.monotonic();
    let total = count(env, data)?;
    let mut done = 0;
    let mut step = || {
        done += 1;
        progress(done, total.max(done));
    };
    let mut report = Report { deep: options.deep, ..Report::default() };
    let mut records = LogRecords::default();
    records.check(env, data, keyring, options, &mut report, &mut step)?;
    let mut files = Files { env, data, keyring, options, report: &mut report, log: &mut records };
    files.check_all(&mut step)?;
    std::mem::take(&mut records.orphans).settle(&mut report);
    stray(env, data, &mut report)?;
    suspects::settle(env, data, &mut records, &mut report)?;
    report.elapsed = env.clock.monotonic().saturating_sub(started);
    Ok(report)
}

/// Files and segments, for the progress. Refuses what is no store.
fn count(env: &Env, data: &Path) -> Result<u64, VerifyError> {
    let top = env.fs.list(data).map_err(VerifyError::io("the folder"))?;
    let is_part =
        |name: &str| name == "log" || Table::ALL.into_iter().any(|table| table.spec().name == name);
    if !top.iter().any(|entry| entry.kind == FileKind::Dir && is_part(&entry.name)) {
        return Err(VerifyError::NoStore(data.display().to_string()));
    }
    let segments = env.fs.list(&data.join("log")).map_err(VerifyError::io("log"))?;
    let mut total = segments.iter().filter(|entry| is(&entry.name, "log")).count() as u64;
    let mut ignore = |_: &str| {};
    let mut walk = Walk::new(env.fs.as_ref(), data, &mut ignore);
    for (area, table) in areas() {
        for user in walk.users(area, table).map_err(VerifyError::io(table.spec().name))? {
            let folders = walk.partitions(&user).map_err(VerifyError::io(&user.path))?;
            total += folders.iter().map(|folder| folder.files.len() as u64).sum::<u64>();
        }
    }
    Ok(total)
}

fn is(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == extension)
}

/// Every tree of every table.
fn areas() -> impl Iterator<Item = (Area, Table)> {
    Area::ALL.into_iter().flat_map(|area| Table::ALL.into_iter().map(move |table| (area, table)))
}

/// What was being written, or was when a crash came.
fn stray(env: &Env, data: &Path, report: &mut Report) -> Result<(), VerifyError> {
    for entry in env.fs.list(&data.join("tmp")).map_err(VerifyError::io("tmp"))? {
        let file = format!("tmp/{}", entry.name);
        let what = "a file that is being written, or was when a crash came; the next start of the \
                    server removes it";
        report.note(Code::Temporary, &file, what);
    }
    for entry in env.fs.list(&data.join("log")).map_err(VerifyError::io("log"))? {
        if is(&entry.name, "tmp") {
            report.note(Code::Temporary, &format!("log/{}", entry.name), "a half-written copy");
        }
    }
    Ok(())
}

/// Checks the log again for its end alone.
fn end_of_log(env: &Env, data: &Path) -> Result<log::Checked, VerifyError> {
    Ok(log::check(env, &data.join("log"), &mut |_| {}, &mut || {})?)
}
