//! Threads for long work that nobody waits for: few, and behind all others where the processor is
//! scarce.

use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

use super::executor::Job;

/// How far they step back: of a processor that others want too they get a tenth, so that they
/// never stand still.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

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
    // Here it is a thread's. One that is as important as others does the same work.
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

#[cfg(not(target_os = "linux"))]
fn step_back() {}
