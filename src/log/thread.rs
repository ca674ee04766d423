//! The thread on which the writer runs. Nothing but the loop.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::writer::{Next, Writer};

/// Starts the thread; it ends when the log is closed or a write failed.
pub(crate) fn spawn(writer: Writer) -> io::Result<JoinHandle<()>> {
    Builder::new().name("log-writer".to_owned()).spawn(move || run(writer))
}

fn run(mut writer: Writer) {
    let shared = Arc::clone(writer.shared());
    let ended = catch_unwind(AssertUnwindSafe(|| {
        loop {
            match writer.step() {
                Next::Again => {}
                Next::Linger(linger) => shared.wait_for_company(linger),
                Next::Wait(at_most) => shared.wait_for_work(at_most),
                Next::Stop => return,
            }
        }
    }));
    if ended.is_err() {
        // Whoever waits must hear of it, and nothing more may be taken in.
        writer.abandon();
    }
}
