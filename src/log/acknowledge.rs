//! Whoever waits for an append.

use super::{AppendError, LogFailure};

/// Hears, once, what became of an append. Both calls must be quick.
pub trait Acknowledge: Send + 'static {
    /// The append was taken; this is its outcome. Called on the writer's thread.
    fn acknowledge(self: Box<Self>, outcome: Result<(), LogFailure>);

    /// The append was not taken. Called on the thread that tried.
    fn refuse(self: Box<Self>, _error: AppendError) {}
}

impl<F: FnOnce(Result<(), LogFailure>) + Send + 'static> Acknowledge for F {
    fn acknowledge(self: Box<Self>, outcome: Result<(), LogFailure>) {
        self(outcome);
    }
}
