//! What can go wrong with stored bytes, by what the caller should do.

use std::io;

use thiserror::Error;

/// A storage operation that failed.
#[derive(Debug, Error)]
pub enum StorageError {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// The object is shorter than the range asked for.
    #[error("object is shorter than expected")]
    Truncated,
    /// The condition of a put or a move does not hold.
    #[error("object changed or exists")]
    Conflict,
    /// Something else bears the name of a folder.
    #[error("not a folder")]
    NotAFolder,
    /// No space is left. Trying later may succeed.
    #[error("no space left")]
    Full,
    /// The storage failed otherwise. Trying later may succeed.
    #[error("storage failed: {0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for StorageError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            io::ErrorKind::AlreadyExists => Self::Conflict,
            io::ErrorKind::NotADirectory => Self::NotAFolder,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Io(error),
        }
    }
}
