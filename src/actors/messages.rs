//! What partitions are asked, and what they answer.

use std::sync::Arc;

use actix::Message;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::StoreError;
use super::idempotency::Ticket;
use super::partition::Scan;
use crate::domain::{Micros, Patch, RecordId, Row, Sealed};
use crate::log::{Lsn, ReadPoint};
use crate::storage::Version;

/// An answer that is valid once the log is durable through `as_of`: what it says may rest on
/// changes that are still being written, and that a failed batch may yet take back.
#[derive(Debug)]
pub struct Answer<T> {
    /// What came of it.
    pub result: Result<T, StoreError>,
    /// What it rests on in the log.
    pub as_of: ReadPoint,
}

/// Where an answer goes. Dropped without an answer, the request was not carried out.
pub type ReplyTo<T> = oneshot::Sender<Answer<T>>;

/// What a write did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub id: RecordId,
    /// Whether it is new.
    pub created: bool,
    /// Its version now.
    pub version: i64,
    /// The status it was given, where the write was about it.
    pub status: Option<String>,
    /// Fields that were sent and not taken, because the server keeps them.
    pub ignored: Vec<&'static str>,
}

/// What the caller expects of a record's version.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The record exists.
    Exists,
    /// Its version is one of these.
    Versions(Vec<i64>),
}

impl Precondition {
    /// Whether a record's version is as expected.
    ///
    /// # Errors
    /// [`StoreError::VersionMismatch`] where it is not.
    pub fn check(&self, version: i64) -> Result<(), StoreError> {
        match self {
            Self::Versions(expected) if !expected.contains(&version) => {
                Err(StoreError::VersionMismatch { current: version })
            }
            _ => Ok(()),
        }
    }
}

/// Which records a save may meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaveMode {
    /// The id was just made: there is no such record.
    Insert,
    /// The record may exist; it is then updated.
    Upsert,
    /// The record must exist.
    Update,
}

/// What is remembered of a write, in the same log record, for its `Idempotency-Key`.
pub struct Remember {
    /// Makes the remembered row from what the write did.
    pub row: Box<dyn FnOnce(&Written) -> Row + Send>,
    /// Keeps repeats of the request waiting until the row can be found.
    pub ticket: Ticket,
}

/// A write: what, under which condition, and where the answer goes.
pub struct Write {
    /// The change.
    pub change: Change,
    /// What the caller expects of the record.
    pub precondition: Precondition,
    /// What is remembered of it.
    pub remember: Option<Remember>,
    /// Where the answer goes; sent when the change is durable.
    pub reply: ReplyTo<Written>,
}

/// A change to a record.
pub enum Change {
    /// Save a record.
    Save {
        /// Its id.
        id: RecordId,
        /// What a new record's `created_at` is.
        created_at: Micros,
        /// The fields.
        patch: Box<Patch>,
        /// Which records it may meet.
        mode: SaveMode,
        /// Whether the answer names the status.
        names_status: bool,
    },
    /// Put a finished row, whatever was there.
    Put(Box<Row>),
    /// Delete a record.
    Delete(RecordId),
    /// Put a record's credentials under another key. Clients see no change: the version stays.
    Reseal {
        /// The record's id.
        id: RecordId,
        /// What its column holds; anything else means that the change came too late.
        was: Box<[u8]>,
        /// What it is to hold: the same credentials.
        sealed: Sealed,
    },
}

/// One message to a partition.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Work {
    /// Change a record.
    Write(Box<Write>),
    /// Read a record.
    Get {
        /// Its id.
        id: RecordId,
        /// Where the answer goes.
        reply: ReplyTo<Arc<Row>>,
    },
    /// Walk over rows; answered with the walk when it has enough or there are no more.
    Scan {
        /// The walk.
        scan: Box<Scan>,
        /// Where the answer goes.
        reply: ReplyTo<Vec<Arc<Row>>>,
    },
    /// The ids here that do not tell this partition's month.
    ForeignIds {
        /// Those of the file, once read, and the generation of the read.
        read: Option<(u64, Vec<RecordId>)>,
        /// Where the answer goes.
        reply: ReplyTo<Vec<RecordId>>,
    },
    /// Say what the partition holds, to the book of its user: it does so once it is loaded.
    Weigh {
        /// Where the answer goes.
        reply: ReplyTo<()>,
    },
    /// A row that another partition logged on this one's behalf.
    Learn {
        /// The row.
        row: Arc<Row>,
        /// Its LSN.
        lsn: Lsn,
        /// The log epoch it was appended in: a later one may have taken it back.
        epoch: u64,
    },
    /// Write what is unsaved to the Parquet file.
    Checkpoint {
        /// Also take over files of the Python service that nothing has changed yet.
        adopt: bool,
        /// Held while the checkpoint runs.
        permit: Option<OwnedSemaphorePermit>,
        /// Where the answer goes: whether there was anything to write.
        reply: Option<ReplyTo<bool>>,
    },
    /// Move the file to the archive, where it is this version and nothing is unsaved.
    Archive {
        /// The version whose rows were looked at.
        version: Version,
        /// Where the answer goes: whether it was moved.
        reply: ReplyTo<bool>,
    },
    /// Stop when nothing is unsaved; save first where something is.
    Passivate,
    /// Stop without saving: the user is being erased. Answered when no write is under way.
    Close {
        /// Where the answer goes.
        reply: ReplyTo<()>,
    },
}

impl Work {
    /// Whether somebody asks something of the records.
    #[must_use]
    pub fn asks(&self) -> bool {
        matches!(
            self,
            Self::Write(_)
                | Self::Get { .. }
                | Self::Scan { .. }
                | Self::ForeignIds { .. }
                | Self::Weigh { .. }
                | Self::Archive { .. }
        )
    }

    /// Answers with an error. What has no one waiting is let go.
    pub fn fail(self, error: StoreError, as_of: ReadPoint) {
        match self {
            Self::Write(write) => answer(write.reply, Err(error), as_of),
            Self::Get { reply, .. } => answer(reply, Err(error), as_of),
            Self::Scan { reply, .. } => answer(reply, Err(error), as_of),
            Self::ForeignIds { reply, .. } => answer(reply, Err(error), as_of),
            Self::Checkpoint { reply: Some(reply), .. } | Self::Archive { reply, .. } => {
                answer(reply, Err(error), as_of);
            }
            Self::Weigh { reply } | Self::Close { reply } => answer(reply, Err(error), as_of),
            Self::Checkpoint { .. } | Self::Learn { .. } | Self::Passivate => {}
        }
    }
}

/// Answers somebody who may have stopped waiting.
pub fn answer<T>(reply: ReplyTo<T>, result: Result<T, StoreError>, as_of: ReadPoint) {
    // Nobody waits any more: the client went away.
    let _ = reply.send(Answer { result, as_of });
}
