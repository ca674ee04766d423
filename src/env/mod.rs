//! What the store takes from the world: clock, randomness, files, threads. Injected, so that a simulation
//! can own them; the ambient ones are banned in `clippy.toml`.

mod background;
mod clock;
mod descriptors;
mod executor;
#[cfg(test)]
pub mod faulty;
mod fs;
mod lock;
mod os_fs;
mod random;

use std::io;
use std::sync::Arc;

pub use background::give_way;
pub use clock::{Clock, SystemClock};
pub use descriptors::{connections_within, is_no_descriptor, raise_limit};
pub use executor::{Bell, Executor, Job, Threads, Turn, Worker, Working, blocking, in_background};
pub use fs::{DirEntry, File, FileKind, FileSystem, OpenMode, Space, Stat};
pub use lock::lock_file;
pub use os_fs::OsFileSystem;
pub use random::{OsRandom, Random};

/// The world, as the store sees it. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids, nonces and keys.
    pub random: Arc<dyn Random>,
    /// Files and folders.
    pub fs: Arc<dyn FileSystem>,
    /// Threads for what blocks.
    pub executor: Arc<dyn Executor>,
}

impl Env {
    /// The machine's own clock, randomness, files and threads.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(OsRandom),
            fs: Arc::new(OsFileSystem),
            executor: Arc::new(Threads::default()),
        }
    }

    /// Does work that blocks elsewhere: [`blocking`] on this world's executor.
    ///
    /// # Errors
    /// Where the work panicked.
    pub fn blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> impl Future<Output = io::Result<T>> + Send + use<T, F> {
        blocking(self.executor.as_ref(), work)
    }

    /// Does work that is many short steps of what blocks, such as looks at folders and small files,
    /// in one job: each would wake a thread, and be waited for. Where nothing has threads of its
    /// own the steps stay steps, so that a simulation can do others between them.
    ///
    /// # Errors
    /// Where the work panicked.
    pub async fn in_one_job<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        if !self.executor.has_threads() {
            return Ok(work.await);
        }
        // Not tokio's, which work that reads a stored file in a job within this one uses.
        self.blocking(move || futures_executor::block_on(work)).await
    }

    /// Does work that takes the processor for a while and that nobody waits for: [`in_background`]
    /// on this world's executor.
    ///
    /// # Errors
    /// Where the work panicked.
    pub fn in_background<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> impl Future<Output = io::Result<T>> + Send + use<T, F> {
        in_background(self.executor.as_ref(), work)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn all_steps_of_one_job_are_done_by_one_thread() {
        let (env, here) = (Env::system(), thread::current().id());
        let steps = env.clone();
        let work = async move {
            let runtime = tokio::runtime::Handle::current();
            let inner = steps.clone();
            let second = move || {
                // As a stored file is read.
                let third = runtime.block_on(inner.blocking(|| thread::current().id()));
                (thread::current().id(), third.expect("third"))
            };
            let first = steps.blocking(|| thread::current().id()).await.expect("first");
            (first, steps.blocking(second).await.expect("second"))
        };
        let (first, (second, third)) = env.in_one_job(work).await.expect("work");
        assert!(first != here && first == second && second == third);
        let panic = env.in_one_job(async { panic!("on purpose") });
        panic.await.map(|(): ()| ()).expect_err("a panic");
    }
}
