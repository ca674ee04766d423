//! What can go wrong with a Parquet file, and the one place where a panic of the decoder is
//! caught.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use thiserror::Error;

use crate::domain::Table;

/// Why a Parquet file could not be read or made.
#[derive(Debug, Error)]
pub enum ParquetError {
    /// The bytes could not be fetched. The file may be sound; trying again may help.
    #[error("the file's bytes cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not what was once written, or never were a Parquet file.
    #[error("the file is corrupt: {what}")]
    Corrupt {
        /// What does not fit.
        what: String,
    },
    /// A later version of this store wrote the file.
    #[error("the file was written by a newer version of this store ({what})")]
    NewerSchema {
        /// What this build does not know.
        what: String,
    },
    /// The file holds another table's rows.
    #[error("the file holds {found}, not {wanted}")]
    WrongTable {
        /// The table that was asked for.
        wanted: Table,
        /// What the footer names.
        found: Table,
    },
    /// This store did not write the file, and the call is for its own files alone.
    #[error("the file was not written by this store")]
    Foreign,
    /// A row of a legacy file that cannot be taken over.
    #[error("row {row} of the file cannot be taken over: {what}")]
    BadRow {
        /// Number of the row in its file, from 0.
        row: usize,
        /// What is wrong with it.
        what: String,
    },
    /// The encoder failed: a bug, or memory ran out.
    #[error("the file cannot be encoded: {0}")]
    Encode(#[source] ::parquet::errors::ParquetError),
}

impl ParquetError {
    /// A [`ParquetError::Corrupt`].
    pub(super) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    /// What the decoding crate reports about bytes is about the bytes.
    pub(super) fn decoding(error: impl std::fmt::Display) -> Self {
        Self::corrupt(error.to_string())
    }
}

/// Runs a decoder over bytes that may be damaged. The crate indexes and asserts on some of what
/// it reads, and foreign files carry no checksum that would keep damage from it, so that a panic
/// in there is a finding about the file and not a bug of the caller.
///
/// # Errors
/// What `decode` returns, or [`ParquetError::Corrupt`] where it panicked.
pub(super) fn guarded<T>(
    what: &str,
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| Err(ParquetError::corrupt(format!("{what} cannot be decoded"))))
}
