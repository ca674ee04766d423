//! How a writer hears what became of his change: from the log's own thread when the change is
//! durable, or at once where the log does not take it.

use crate::actors::StoreError;
use crate::actors::messages::{ReplyTo, Written, answer};
use crate::log::{Acknowledge, AppendError, LogFailure, ReadPoint};

/// Answers a writer when the log is done with his change.
pub struct Ack {
    /// What the change did.
    pub written: Written,
    /// Where the answer goes.
    pub reply: ReplyTo<Written>,
}

impl Acknowledge for Ack {
    fn acknowledge(self: Box<Self>, result: Result<(), LogFailure>) {
        let Self { written, reply } = *self;
        answer(reply, result.map(|()| written).map_err(StoreError::from), ReadPoint::NONE);
    }

    fn refuse(self: Box<Self>, error: AppendError) {
        answer(self.reply, Err(error.into()), ReadPoint::NONE);
    }
}
