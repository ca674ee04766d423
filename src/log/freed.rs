//! Segments that were removed, whose space goes back to the disk little by little.
//!
//! Whoever removes the last name of a large file gives all of its space back at once. Where the
//! file system tells the disk so (`discard`), every sync that comes meanwhile waits for that: 13 ms
//! for 64 MiB, where a sync takes 0.1 (decision 75). So the file is opened before its name goes and
//! is made shorter through that, piece by piece, by who makes the spare. A crash leaves nothing
//! behind: what has no name is the file system's to clear away.
//!
//! Nothing is cut off a file that has another name: a backup's, whose contents must stay.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::env::{File, FileSystem, OpenMode};

/// Most bytes given back at once.
const PIECE: u64 = 1 << 20;
/// Pieces of a small segment.
const PIECES: u64 = 16;
/// Time between two pieces, for the syncs that wait.
pub(crate) const PAUSE: Duration = Duration::from_millis(2);
/// Most files that are open for it; of one more the space goes at once.
pub(crate) const MOST: usize = 16;

/// How many bytes of a segment are done at once: `most`, or less where it is small.
pub(crate) fn piece(bytes: u64, most: u64) -> u64 {
    bytes.div_ceil(PIECES).min(most)
}

/// A file whose name was removed. Its space is given back when this is dropped.
#[derive(Default)]
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

/// A file without a name, its bytes, and how many of them go at once.
pub(crate) struct Nameless {
    file: Arc<dyn File>,
    bytes: u64,
    piece: u64,
}

impl Nameless {
    /// A removed file to be made shorter, where nothing else names it. Its removal has to survive
    /// power loss: one that came back after it would be short.
    pub(crate) fn of(removed: Removed) -> Option<Self> {
        let file = removed.0.filter(|file| matches!(file.has_name(), Ok(false)))?;
        let bytes = file.len().ok()?;
        Some(Self { file, bytes, piece: piece(bytes, PIECE) })
    }

    /// Gives the next piece back, and answers what is left. Where that fails all of it goes at once.
    pub(crate) fn shortened(mut self) -> Option<Self> {
        self.bytes = self.bytes.saturating_sub(self.piece);
        (self.bytes > 0 && self.file.set_len(self.bytes).is_ok()).then_some(self)
    }
}
