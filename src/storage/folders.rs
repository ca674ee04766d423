//! Folders whose names survive power loss, as far as this process knows.
//!
//! A folder that is found may be one that a killed process made without coming to the sync of its
//! name, or one whose sync failed. What is put into it would go with it at a power loss, after the
//! log let go of it. So each folder's name is synced once by each process, before its first use,
//! and again where making it anew failed.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

use crate::env::FileSystem;

/// Folders remembered; about 200 bytes each. One that was forgotten is synced again.
const REMEMBERED: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);

/// What is known of the folders below a root.
pub(super) struct Folders {
    root: PathBuf,
    known: Mutex<LruCache<PathBuf, ()>>,
}

impl Folders {
    /// Nothing is known but the root, which whoever opens the store sees to.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// Makes a folder where there is none; on return it and all above it survive power loss.
    /// Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub(super) fn ensure(&self, fs: &dyn FileSystem, folder: &Path) -> io::Result<()> {
        // What was removed meanwhile is made, and synced, here.
        if let Err(error) = fs.create_dir_all(folder) {
            // It may have been made and not synced, whatever was known of one of this name.
            self.forget(folder);
            return Err(error);
        }
        if folder == self.root || self.knows(folder) {
            return Ok(());
        }
        let Some(above) = folder.parent() else { return Ok(()) };
        self.ensure(fs, above)?;
        fs.sync_dir(above)?;
        self.known().put(folder.to_path_buf(), ());
        Ok(())
    }

    /// Forgets a folder that was removed, and all below it: later ones of these names are others.
    pub(super) fn forget_below(&self, folder: &Path) {
        let mut known = self.known();
        let below = known.iter().map(|(name, ())| name).filter(|name| name.starts_with(folder));
        let gone: Vec<PathBuf> = below.cloned().collect();
        for name in gone {
            known.pop(&name);
        }
    }

    fn forget(&self, folder: &Path) {
        let mut known = self.known();
        for name in folder.ancestors() {
            known.pop(name);
        }
    }

    fn knows(&self, folder: &Path) -> bool {
        self.known().get(folder).is_some()
    }

    /// A panic while the lock was held leaves a whole cache behind.
    fn known(&self) -> std::sync::MutexGuard<'_, LruCache<PathBuf, ()>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
