//! The writer as something that works on a thread. Nothing but the loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::writer::{Next, Writer};
use crate::env::{Bell, Turn, Worker};

impl Writer {
    /// Calls `work`; where that panics, whoever waits hears of it, and nothing more is taken in.
    fn guarded<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let ended = catch_unwind(AssertUnwindSafe(|| work(self)));
        if ended.is_err() {
            self.abandon();
        }
        ended.ok()
    }
}

impl Worker for Writer {
    /// Ends when the log is closed or a write failed.
    fn run(&mut self) {
        self.guarded(|writer| {
            let shared = Arc::clone(writer.shared());
            loop {
                match Writer::step(writer) {
                    Next::Again => {}
                    Next::Linger(linger) => shared.wait_for_company(linger),
                    Next::Wait(at_most) => shared.wait_for_work(at_most),
                    Next::Stop => return,
                }
            }
        });
    }

    fn step(&mut self) -> Turn {
        match self.guarded(Writer::step) {
            Some(Next::Again | Next::Linger(_)) => Turn::Again,
            Some(Next::Wait(at_most)) => Turn::Wait(at_most),
            Some(Next::Stop) | None => Turn::Stop,
        }
    }

    fn ring(&mut self, bell: Bell) {
        self.shared().set_bell(bell);
    }
}
