//! The machine's own files with faults that a test turns on and off.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::fs::{DirEntry, File, FileSystem, OpenMode, Space, Stat};
use super::{Env, OsFileSystem};

/// What goes wrong now.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
pub struct Faults {
    /// No space for new segments of the log.
    pub full: bool,
    /// New files wait under their temporary names.
    pub hold_puts: bool,
    /// Segments of the log wait to be opened for reading.
    pub hold_log_reads: bool,
    /// No Parquet file can be removed.
    pub refuse_removals: bool,
}

#[derive(Default)]
struct State {
    faults: Faults,
    held: usize,
}

/// Files with faults. Clones share them.
#[derive(Clone, Default)]
pub struct FaultyFs(Arc<(Mutex<State>, Condvar)>);

impl FaultyFs {
    /// A world with these files.
    pub fn env(&self) -> Env {
        let fs = Arc::new(self.clone());
        Env { fs, ..Env::system() }
    }

    /// Sets what goes wrong from now on.
    pub fn set(&self, faults: Faults) {
        let (state, changed) = &*self.0;
        lock(state).faults = faults;
        changed.notify_all();
    }

    /// Blocks until `count` files wait.
    pub fn wait_for_held(&self, count: usize) {
        let (state, changed) = &*self.0;
        let waited = changed.wait_while(lock(state), |state| state.held < count);
        drop(waited);
    }

    /// Waits for as long as the fault is on.
    fn pass(&self, holds: fn(&Faults) -> bool) {
        let (state, changed) = &*self.0;
        let mut state = lock(state);
        state.held += 1;
        changed.notify_all();
        state = changed
            .wait_while(state, |state| holds(&state.faults))
            .unwrap_or_else(PoisonError::into_inner);
        state.held -= 1;
    }
}

/// A test that failed while it held the lock has its own failure to show.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl FileSystem for FaultyFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let is_in = |folder| path.parent().is_some_and(|parent| parent.ends_with(folder));
        match mode {
            OpenMode::CreateNew if is_in("tmp") => self.pass(|faults| faults.hold_puts),
            OpenMode::Read if is_in("log") => self.pass(|faults| faults.hold_log_reads),
            _ => {}
        }
        OsFileSystem.open(path, mode)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.create_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsFileSystem.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let is_parquet = path.extension().is_some_and(|e| e == "parquet");
        if is_parquet && lock(&self.0.0).faults.refuse_removals {
            return Err(io::Error::other("refused"));
        }
        OsFileSystem.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        OsFileSystem.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        OsFileSystem.list(path)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        OsFileSystem.stat(path)
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        OsFileSystem.is_private(path)
    }

    /// Full means that nothing is left of a large disk.
    fn space(&self, folder: &Path) -> io::Result<Space> {
        if lock(&self.0.0).faults.full {
            return Ok(Space { available: 0, total: 1 << 40 });
        }
        OsFileSystem.space(folder)
    }
}
