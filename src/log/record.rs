//! A record read back.

use bytes::Bytes;

use super::Lsn;
use super::frame::{Frame, FrameError, RecordKind};
use crate::domain::{PartitionKey, UserId};

/// A record as it was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordBody {
    /// Its LSN.
    pub lsn: Lsn,
    /// Highest LSN that was durable when it was written.
    pub synced: Lsn,
    /// Whom it concerns.
    pub subject: Subject,
    /// What the appender gave, opaque to the log.
    pub payload: Bytes,
}

/// Whom a record concerns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Subject {
    /// Changes to these partitions, in the order they were named.
    Partitions(Vec<PartitionKey>),
    /// The erasure of a user.
    Erased(UserId),
}

/// Whom a frame concerns.
pub(crate) fn subject_of(frame: &Frame<'_>) -> Result<Subject, FrameError> {
    match frame.kind {
        RecordKind::Changes => {
            let keys = frame.keys().map(|(_, key)| key.partition());
            Ok(Subject::Partitions(keys.collect::<Result<_, _>>()?))
        }
        RecordKind::EraseUser => {
            let key = frame.keys().next().ok_or(FrameError::Malformed("no key"))?.1;
            Ok(Subject::Erased(key.user_id()?))
        }
    }
}
