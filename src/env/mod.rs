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
