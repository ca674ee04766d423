//! Rebuilding what can be rebuilt of a damaged store that is not running.
//!
//! What verifying finds becomes a plan ([`plan`]) that a person reads before anything is touched;
//! carrying it out ([`carry_out`]) deletes nothing: what is replaced or in the way goes to
//! `quarantine/{moment}/`, under the path it had. The caller holds the store's lock.
//!
//! A partition's rows are made again of all that is at hand: the row groups of its file that can
//! be read, the file in a backup, the records of the log and of further logs. Where the log
//! reaches back to the backup's file, that is everything; else the plan says how many rows are
//! lost.

mod act;
mod plan;
mod rebuild;
mod records;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use act::carry_out;
pub use plan::{Plan, Step, plan};

use crate::domain::Table;
use crate::log::{ExtractError, LogError};
use crate::parquet::ParquetError;
use crate::verify::VerifyError;

/// Where more can be found than is in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// A backup.
    pub backup: Option<PathBuf>,
    /// Folders with segments of the same log.
    pub logs: Vec<PathBuf>,
}

impl Sources {
    /// All folders with segments outside of the store.
    fn log_folders(&self) -> Vec<PathBuf> {
        let backup = self.backup.iter().map(|backup| backup.join("data/log"));
        backup.chain(self.logs.iter().cloned()).collect()
    }
}

/// Why a store could not be repaired.
#[derive(Debug, Error)]
pub enum RepairError {
    /// Looking at it failed.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log and further logs.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// A file.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
    /// The file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the file system says.
        source: io::Error,
    },
}

impl RepairError {
    fn io(action: &str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("could not {action} {}", path.display());
        move |source| Self::Io { what, source }
    }
}

/// The table that a path below the store's root is in.
fn table_of(path: &str) -> Option<Table> {
    let name = path.split('/').next()?;
    Table::ALL.into_iter().find(|table| table.spec().name == name)
}
