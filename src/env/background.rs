//! Threads for long work that nobody waits for: few, behind all others where the processor is
//! scarce, and with breaks, in which others go first.

use std::cell::Cell;
use std::thread::{available_parallelism, yield_now};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use super::executor::Job;

/// How far they step back: of a processor that others want too they get a tenth, so that they
/// never stand still.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// How long such a thread works at most before it lets another one go first.
const STINT: Duration = Duration::from_micros(100);

thread_local! {
    /// Since when this thread works without a break; `None` where it is none of these.
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

#[allow(clippy::disallowed_methods, reason = "a processor's time, which no simulation has")]
fn now() -> Instant {
    Instant::now()
}

/// Lets another thread have the processor, where this one is of the background and had it for a
/// while. Niceness alone does not: who wakes waits until the one that runs has used up its slice,
/// up to four milliseconds on Linux, also where another processor is idle. Long work calls this
/// every few dozen microseconds.
pub fn give_way() {
    if let Some(since) = SINCE.get()
        && since.elapsed() >= STINT
    {
        yield_now();
        SINCE.set(Some(now()));
    }
}

/// The threads, as many as there are processors: more would only keep more memory at hand. They
/// start when they are needed and end when they are not.
pub struct Background(Option<Runtime>);

impl Default for Background {
    #[allow(clippy::expect_used, reason = "without drivers an event loop opens nothing")]
    fn default() -> Self {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut pool = Builder::new_current_thread();
        pool.thread_name("background").max_blocking_threads(threads).on_thread_start(step_back);
        Self(Some(pool.build().expect("a pool of threads")))
    }
}

impl Background {
    /// Does `job` as if on the calling thread's runtime.
    pub fn block(&self, job: Job) {
        let (Some(pool), runtime) = (&self.0, Handle::current()) else { return };
        drop(pool.spawn_blocking(move || {
            let _entered = runtime.enter();
            job();
        }));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            // Whoever holds this last may be a task, which must not wait.
            pool.shutdown_background();
        }
    }
}

#[cfg(target_os = "linux")]
fn step_back() {
    SINCE.set(Some(now()));
    // Here it is a thread's. One that is as important as others does the same work.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Threads, blocking, in_background};

    /// Works until a break was made; `false` where this thread makes none.
    fn makes_breaks() -> bool {
        let Some(began) = SINCE.get() else {
            give_way();
            return SINCE.get().is_some();
        };
        while SINCE.get() == Some(began) {
            give_way();
        }
        true
    }

    #[tokio::test]
    async fn only_threads_of_the_background_give_way_to_others() {
        let threads = Threads::default();
        assert!(in_background(&threads, makes_breaks).await.expect("work"));
        assert!(!blocking(&threads, makes_breaks).await.expect("work"));
        assert!(!makes_breaks());
    }
}
