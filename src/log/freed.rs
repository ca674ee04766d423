//! Segments that were removed, whose space goes back to the disk little by little.
//!
//! Whoever removes the last name of a large file gives all of its space back at once. Where the
//! file system tells the disk so (`discard`), every sync that comes meanwhile waits for that: 13 ms
//! for 64 MiB, where a sync takes 0.1 (decision 75). So the file is opened before its name goes and
//! is made shorter through that, piece by piece, by who makes the spare. A crash leaves nothing
//! behind: what has no name is the file system's to clear away.
//!
//! Nothing is cut off a file that has another name: a backup's, whose contents must stay.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::shared::lock;
use crate::env::{File, FileSystem, OpenMode};

/// Most bytes given back at once.
const PIECE: u64 = 1 << 20;
/// Pieces of a small segment.
const PIECES: u64 = 16;
/// Time between two pieces, for the syncs that wait.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);
/// Most files that are open for it; of one more the space goes at once.
pub(crate) const MOST: usize = 16;

/// A file without a name, its bytes, and how many of them go at once.
struct Nameless {
    file: Arc<dyn File>,
    bytes: u64,
    piece: u64,
}

/// A file whose name was removed. Its space is given back when this is dropped.
pub(crate) struct Removed(Option<Arc<dyn File>>);

/// Removes a file, and `at_once` its space; else that goes with what is returned. Survives once its
/// folder is synced.
///
/// # Errors
/// Those of [`FileSystem::remove_file`].
pub(crate) fn remove(fs: &dyn FileSystem, path: &Path, at_once: bool) -> io::Result<Removed> {
    // Where it cannot be opened, its space goes at once, too.
    let file = if at_once { None } else { fs.open(path, OpenMode::Write).ok() };
    fs.remove_file(path)?;
    Ok(Removed(file))
}

/// What is to be given back.
#[derive(Default)]
pub(crate) struct Freed(Mutex<VecDeque<Nameless>>);

impl Freed {
    /// Takes files whose removal survives power loss. One that came back after it would be short.
    pub(crate) fn add(&self, removed: impl IntoIterator<Item = Removed>) {
        for file in removed.into_iter().filter_map(|Removed(file)| file) {
            let Ok(bytes) = file.len() else { continue };
            let mut files = lock(&self.0);
            if files.len() < MOST && matches!(file.has_name(), Ok(false)) {
                files.push_back(Nameless { file, bytes, piece: bytes.div_ceil(PIECES).min(PIECE) });
            }
        }
    }

    /// Gives all of it back at once.
    pub(crate) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }

    /// Gives the next piece back.
    pub(crate) fn piece(&self) {
        let Some(mut next) = lock(&self.0).pop_front() else { return };
        next.bytes = next.bytes.saturating_sub(next.piece);
        // What is left when this fails goes at once.
        if next.bytes > 0 && next.file.set_len(next.bytes).is_ok() {
            lock(&self.0).push_front(next);
        }
    }
}
