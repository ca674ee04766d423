//! What the store answers when it does not do what it was asked.

use std::time::Duration;

use thiserror::Error;

use super::usage::Quota;
use crate::domain::input::InputError;
use crate::log::{AppendError, LogFailure};

/// Why a request was not carried out. Nothing was changed, unless said otherwise.
#[derive(Clone, Debug, Error)]
pub enum StoreError {
    /// The record does not exist, or is another user's.
    #[error("no such record")]
    NotFound,
    /// The record's version is not the one the caller expects.
    #[error("the record has version {current}")]
    VersionMismatch {
        /// The record's version.
        current: i64,
    },
    /// The input breaks a rule.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used with another request")]
    KeyReused,
    /// The idempotency key was used before, and whether with this request nobody can tell any
    /// more: the key of what is remembered to tell is retired.
    #[error("whether the idempotency key came with this request cannot be told any more")]
    KeyUnverifiable,
    /// The user has, or stores, as much as one may.
    #[error("a quota of the user is used up")]
    QuotaExceeded(Quota),
    /// Too much work is waiting. Trying again soon may succeed.
    #[error("too much work is waiting")]
    Overloaded,
    /// No space is left for the log.
    #[error("no space is left")]
    StorageFull,
    /// The log failed and takes no more writes before a restart. A change that was being written
    /// may or may not be there after it.
    #[error("the log failed")]
    LogFailed,
    /// The storage could not be read or written.
    #[error("the storage failed")]
    StorageFailed,
    /// The partition's file cannot be read and is kept as it is.
    #[error("the partition's file is not readable")]
    PartitionCorrupt,
    /// The partition failed and starts again after a pause.
    #[error("the partition is restarting")]
    Restarting {
        /// How long until it does.
        after: Duration,
    },
    /// The credentials cannot be opened or sealed with the keys at hand. They are kept.
    #[error("the credentials cannot be opened or sealed with the keys at hand")]
    CredentialsUnavailable,
    /// The user's data is being erased.
    #[error("the user's data is being erased")]
    Erasing,
    /// The server is stopping.
    #[error("the server is stopping")]
    Draining,
    /// It took longer than it may.
    #[error("it took too long")]
    TooSlow,
    /// A defect of the server.
    #[error("internal error")]
    Internal,
}

impl From<LogFailure> for StoreError {
    fn from(failure: LogFailure) -> Self {
        match failure {
            LogFailure::StorageFull => Self::StorageFull,
            LogFailure::Poisoned | LogFailure::Closed => Self::LogFailed,
            // What the answer rests on was rolled back: the partition is built again.
            LogFailure::NoSuchRecord => Self::Restarting { after: Duration::from_secs(1) },
        }
    }
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { .. } => Self::Input(InputError::too_large()),
            AppendError::Overloaded => Self::Overloaded,
            AppendError::LogFull => Self::StorageFull,
            AppendError::StaleEpoch { .. } => Self::Restarting { after: Duration::from_secs(1) },
            AppendError::Poisoned => Self::LogFailed,
            AppendError::Closed => Self::Draining,
            AppendError::NoStream => Self::Internal,
        }
    }
}
