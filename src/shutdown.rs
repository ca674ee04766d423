//! The order of the end: HTTP drains, then everything is saved, then the log closes.
//!
//! The first SIGTERM or SIGINT begins it; a second one leaves at once. Nothing acknowledged is
//! lost either way.

use std::io;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::http::Serving;

/// The signals that end the server.
pub struct Signals {
    terminate: Stream,
    interrupt: Stream,
}

impl Signals {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Begins to listen for signals.
///
/// # Errors
/// Whatever the system says.
pub fn signals() -> io::Result<Signals> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    })
}

/// Waits for a signal, then until no request is under way: no new connections are taken, those
/// that were begun are answered, for at most `grace`. `None` where a second signal came before
/// that; otherwise what opens when one comes.
pub async fn wait(
    mut signals: Signals,
    serving: Serving,
    grace: Duration,
) -> Option<BoxFuture<'static, ()>> {
    signals.next().await;
    tracing::info!("stopping: answering requests under way");
    tokio::select! {
        () = serving.stop(grace) => Some(async move { signals.next().await }.boxed()),
        () = signals.next() => None,
    }
}
