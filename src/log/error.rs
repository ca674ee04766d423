//! What goes wrong, and what the caller should make of it.

use std::io;

use thiserror::Error;

use super::Lsn;

/// Why opening, reading or maintaining the log failed.
#[derive(Debug, Error)]
pub enum LogError {
    /// The file system refused.
    #[error("the log could not {action} {file}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file's or folder's name.
        file: String,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// Bytes that had been acknowledged are damaged or missing. Nothing was changed.
    #[error(
        "the log is damaged: {file}, byte {offset}, where LSN {lsn} should be: {what}. Nothing \
         was changed. To see what is there: `audience-store log inspect`. To restore service \
         from a backup, put the folder back. To give up LSN {lsn} and everything after it (a \
         copy is kept): `audience-store log truncate --at {lsn}`"
    )]
    Corrupt {
        /// The segment's file name.
        file: String,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// The first LSN that cannot be read.
        lsn: Lsn,
        /// What was found there.
        what: String,
    },
    /// The segment is whole but of a version that this program does not know.
    #[error("{file} was written by a newer version of audience-store (format {version})")]
    Newer {
        /// The segment's file name.
        file: String,
        /// The format it says it has.
        version: u32,
    },
    /// Settings that cannot work.
    #[error("log settings: {0}")]
    Options(&'static str),
    /// The record was not written yet, or its place is not one of this log's.
    #[error("LSN {0} is not a written record of this log")]
    NotWritten(Lsn),
    /// There is nothing at or after the LSN to cut away.
    #[error("the log ends at LSN {last}; there is nothing at LSN {at} to cut")]
    NothingToCut {
        /// What was asked for.
        at: Lsn,
        /// The last LSN there is.
        last: Lsn,
    },
    /// An earlier write or fsync failed: nothing more is written until the log is opened again.
    #[error("the log is closed to writes since {0}")]
    Poisoned(String),
}

impl LogError {
    pub(crate) fn io(action: &'static str, file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |source| Self::Io { action, file, source }
    }
}

/// Why an append was not taken. Nothing of it was written and its callback is never called.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum AppendError {
    /// Larger than a record may be. The caller's fault.
    #[error("a change of {bytes} bytes exceeds the largest the log takes, {limit}")]
    TooLarge {
        /// Keys and payload, in bytes.
        bytes: usize,
        /// [`super::LogOptions::max_record_bytes`].
        limit: usize,
    },
    /// No stream was named, or one of another log. A bug of the caller.
    #[error("an append needs streams of this log")]
    NoStream,
    /// Too much waits for the writer already. Try again soon.
    #[error("the log has too much waiting to be written")]
    Overloaded,
    /// The log reached [`super::LogOptions::max_log_bytes`]. Checkpoints make room.
    #[error("the log is full until checkpoints make room")]
    LogFull,
    /// A batch failed since the caller last looked: what it believes was appended may be gone.
    /// Rebuild from file and log, then append with the current epoch.
    #[error("the log rolled back since epoch {given}; it is in {current}")]
    StaleEpoch {
        /// What the caller brought.
        given: u64,
        /// What holds now.
        current: u64,
    },
    /// An earlier write or fsync failed: only opening the log again recovers.
    #[error("the log is closed to writes after a failed write")]
    Poisoned,
    /// The log is closing or closed.
    #[error("the log is closed")]
    Closed,
}

/// Why an appended record was not acknowledged.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum LogFailure {
    /// No space for another segment: the record was not written and its LSN goes to another.
    /// Later appends try again.
    #[error("no space left for the log")]
    StorageFull,
    /// A write or an fsync failed: whether the record survives is unknown until the log is opened
    /// again.
    #[error("a write to the log failed")]
    Poisoned,
    /// The log was closed before the LSN was reached.
    #[error("the log was closed")]
    Closed,
    /// No record has this LSN: it was rolled back, or never given.
    #[error("no record has this LSN")]
    NoSuchRecord,
}
