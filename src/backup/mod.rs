//! Copies of a store: taking one of a live store, restoring one, to any LSN since it was taken.
//!
//! The idea (`docs/decisions/0041-backups-from-files-alone.md`): the log is the database. A backup
//! is every file, each as it was at some LSN, and the log from before the first of them to after
//! the last, through one LSN: the backup's. Files never hold a change that the log was not synced
//! through before, so the log read last has them all. Nothing is asked of the server. The
//! segments are held by second names meanwhile ([`hold`]), so that it may let them go.
//!
//! A backup can be restored to its own LSN, to any later one where the log goes on elsewhere, and
//! to earlier ones down to the highest that a file in it holds ([`Manifest::earliest_lsn`]).
//!
//! ```text
//! {folder}/manifest.json     what is in it: written last
//! {folder}/data/             laid out as a store
//! ```

mod copying;
mod hold;
mod manifest;
mod restore;
mod take;
mod tree;

use std::io;

use thiserror::Error;

pub use manifest::{Entry, Manifest};
pub use restore::{RestoreOptions, Restored, restore};
pub use take::{BackupOptions, Taken, backup};

use crate::log::{ExtractError, LogError, Lsn};

/// Why a backup was not taken, or not restored.
#[derive(Debug, Error)]
pub enum BackupError {
    /// Something bears the name of what is to be made.
    #[error("{0} is there already and is not touched: name a folder that is not")]
    Exists(String),
    /// What an ended run left.
    #[error("{0} was left by a run that did not finish: remove it, then try again")]
    Unfinished(String),
    /// Another backup is being taken.
    #[error("another backup of this store is being taken")]
    Busy,
    /// The folder is none of a store.
    #[error("{0} is no store: it has no log")]
    NoStore(String),
    /// The folder is no backup.
    #[error("{path} is no backup: {why}")]
    NoBackup {
        /// The folder.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Bytes of the backup are not what they were.
    #[error("the backup is damaged: {path} is not what was copied")]
    Damaged {
        /// The file, below the backup.
        path: String,
    },
    /// Asked for a state that the backup's files are past.
    #[error(
        "this backup can be restored to LSN {earliest} or later, not to {wanted}: take an earlier \
         backup"
    )]
    TooEarly {
        /// The earliest.
        earliest: Lsn,
        /// What was asked for.
        wanted: Lsn,
    },
    /// The store changed faster than it could be copied, every time.
    #[error("the store changed faster than it could be copied: {0}")]
    Moving(String),
    /// The log.
    #[error(transparent)]
    Extract(#[from] ExtractError),
    /// The log's files.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The file system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with the file.
        what: String,
        /// What the file system says.
        source: io::Error,
    },
}

impl BackupError {
    fn io(action: &str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("could not {action} {}", path.display());
        move |source| Self::Io { what, source }
    }
}
