//! The order of the end: HTTP drains, then everything is saved, then the log closes.
//!
//! The first SIGTERM or SIGINT begins it; a second one leaves at once. Nothing acknowledged is
//! lost either way.

use std::io;

use actix_web::dev::ServerHandle;
use futures_util::future::{BoxFuture, FutureExt};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::task::JoinHandle;

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

/// Why requests ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A signal came, and all requests were answered.
    Once,
    /// A second one came before that.
    Again,
    /// The server ended by itself.
    None,
}

/// How requests ended.
pub struct Ended {
    /// Why.
    pub signal: Signal,
    /// What the server says.
    pub result: io::Result<()>,
    /// Opens when another signal comes.
    pub again: BoxFuture<'static, ()>,
}

/// Waits for a signal, then until no request is under way: no new connections are taken, those
/// that were begun are answered.
pub async fn wait(
    mut signals: Signals,
    mut serving: JoinHandle<io::Result<()>>,
    handle: ServerHandle,
) -> Ended {
    let ended =
        |joined: Result<io::Result<()>, _>| joined.unwrap_or_else(|e| Err(io::Error::other(e)));
    tokio::select! {
        joined = &mut serving => {
            let again = async move { signals.next().await }.boxed();
            return Ended { signal: Signal::None, result: ended(joined), again };
        }
        () = signals.next() => {}
    }
    tracing::info!("stopping: answering requests under way");
    let stopping = handle.stop(true);
    let mut drained = Box::pin(async {
        stopping.await;
        ended(serving.await)
    });
    tokio::select! {
        result = &mut drained => {
            let again = async move { signals.next().await }.boxed();
            Ended { signal: Signal::Once, result, again }
        }
        () = signals.next() => {
            Ended { signal: Signal::Again, result: Ok(()), again: futures_util::future::ready(()).boxed() }
        }
    }
}
