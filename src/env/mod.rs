//! What the store takes from the world: clock, randomness, files. Injected, so that a simulation
//! can own them; the ambient ones are banned in `clippy.toml`.

mod clock;
#[cfg(test)]
pub mod faulty;
mod fs;
mod os_fs;
mod random;

use std::sync::Arc;

pub use clock::{Clock, SystemClock};
pub use fs::{DirEntry, File, FileKind, FileSystem, OpenMode, Space, Stat};
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
}

impl Env {
    /// The machine's own clock, randomness and files.
    #[must_use]
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(OsRandom),
            fs: Arc::new(OsFileSystem),
        }
    }
}
