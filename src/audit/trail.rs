//! The trail's files: `audit/00000000000000000001.jsonl` and on, the highest number being the one
//! that grows. Mode 0600.
//!
//! A command on the same machine appends to the same file as the server, so every append takes a
//! lock (`audit/LOCK`), finds the newest file and writes after its end. Nothing that is there is
//! ever changed; a line that a crash tore stays, and the next one begins on a line of its own.
//! Only the server, which knows the bounds, begins new files and removes the oldest.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{File, FileKind, FileSystem, OpenMode, lock_file};

/// Folder below the store's root.
const FOLDER: &str = "audit";
/// What the one file was called before files had numbers.
const UNNUMBERED: &str = "audit.jsonl";

/// How large the trail may grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes of a file, after which a new one is begun.
    pub file_bytes: u64,
    /// Files; the oldest go.
    pub files: usize,
}

/// The files of a store's trail.
pub struct Trail {
    fs: Arc<dyn FileSystem>,
    folder: PathBuf,
    bounds: Option<Bounds>,
}

impl Trail {
    /// The trail of the store in `root`. Without bounds it grows at its end and no file goes.
    #[must_use]
    pub fn new(fs: Arc<dyn FileSystem>, root: &Path, bounds: Option<Bounds>) -> Self {
        Self { fs, folder: root.join(FOLDER), bounds }
    }

    /// Appends whole lines. With `sync` they survive power loss on return, as does everything
    /// that was appended before. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says; some of the bytes may be there.
    pub fn append(&self, lines: &[u8], sync: bool) -> io::Result<()> {
        self.fs.create_dir_all(&self.folder)?;
        let _lock = lock_file(self.fs.as_ref(), &self.folder.join("LOCK"))?;
        self.adopt()?;
        let (file, len) = self.newest(lines.len() as u64)?;
        let torn = match len.checked_sub(1) {
            Some(last) => {
                let mut byte = [0];
                file.read_exact_at(&mut byte, last)?;
                byte != *b"\n"
            }
            None => false,
        };
        if torn {
            file.write_all_at(b"\n", len)?;
        }
        file.write_all_at(lines, len + u64::from(torn))?;
        if sync { file.sync_data() } else { Ok(()) }
    }

    /// Makes what was appended survive power loss. Blocking.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn sync(&self) -> io::Result<()> {
        match self.files()?.last() {
            // Earlier files were synced before this one was begun.
            Some(newest) => self.fs.open(&self.path(*newest), OpenMode::Write)?.sync_data(),
            None => Ok(()),
        }
    }

    /// The numbers of the files, oldest first.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn files(&self) -> io::Result<Vec<u64>> {
        let entries = self.fs.list(&self.folder)?.into_iter();
        let files = entries.filter(|e| e.kind == FileKind::File);
        let mut numbers: Vec<u64> =
            files.filter_map(|e| e.name.strip_suffix(".jsonl")?.parse().ok()).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens a file for reading; `None` where it has gone.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(&self, number: u64) -> io::Result<Option<Arc<dyn File>>> {
        match self.fs.open(&self.path(number), OpenMode::Read) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:020}.jsonl"))
    }

    /// The file to append `more` bytes to, and its length. The lock is held.
    fn newest(&self, more: u64) -> io::Result<(Arc<dyn File>, u64)> {
        let mut files = self.files()?;
        let next = match files.last() {
            None => 1,
            Some(newest) => {
                let file = self.fs.open(&self.path(*newest), OpenMode::Write)?;
                let len = file.len()?;
                let full = self.bounds.is_some_and(|b| len > 0 && len + more > b.file_bytes);
                if !full {
                    return Ok((file, len));
                }
                file.sync_data()?;
                newest.saturating_add(1)
            }
        };
        let file = self.fs.open(&self.path(next), OpenMode::CreatePrivate)?;
        files.push(next);
        if let Some(bounds) = self.bounds {
            let gone = files.len().saturating_sub(bounds.files.max(1));
            for old in files.iter().take(gone) {
                self.fs.remove_file(&self.path(*old))?;
            }
        }
        self.fs.sync_dir(&self.folder)?;
        Ok((file, 0))
    }

    /// Numbers the file of a store from before files had numbers.
    fn adopt(&self) -> io::Result<()> {
        let old = self.folder.join(UNNUMBERED);
        match self.fs.stat(&old) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(_) => {
                self.fs.rename(&old, &self.path(0))?;
                self.fs.sync_dir(&self.folder)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::env::OsFileSystem;

    fn trail(bounds: Option<Bounds>) -> (tempfile::TempDir, Trail) {
        let folder = tempfile::tempdir().expect("folder");
        let trail = Trail::new(Arc::new(OsFileSystem), folder.path(), bounds);
        (folder, trail)
    }

    fn text(trail: &Trail, number: u64) -> String {
        let bytes = OsFileSystem.read(&trail.path(number)).expect("file");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn files_are_private_rotate_by_size_and_the_oldest_go() {
        let (_folder, trail) = trail(Some(Bounds { file_bytes: 10, files: 2 }));
        for line in ["1234\n", "5678\n", "9\n", "this is longer than a file\n", "x\n"] {
            trail.append(line.as_bytes(), true).expect("append");
        }
        assert_eq!(trail.files().expect("files"), [3, 4]);
        assert_eq!(text(&trail, 3), "this is longer than a file\n");
        assert_eq!(text(&trail, 4), "x\n");
        let mode = std::fs::metadata(trail.path(4)).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn without_bounds_it_grows_whatever_is_there() {
        let (_folder, trail) = trail(None);
        for _ in 0..100 {
            trail.append(b"line\n", false).expect("append");
        }
        trail.sync().expect("sync");
        assert_eq!(trail.files().expect("files"), [1]);
        assert_eq!(text(&trail, 1).len(), 500);
    }

    #[test]
    fn a_torn_line_stays_and_the_next_has_one_of_its_own() {
        let (_folder, trail) = trail(None);
        trail.append(b"whole\ntor", true).expect("append");
        trail.append(b"next\n", true).expect("append");
        assert_eq!(text(&trail, 1), "whole\ntor\nnext\n");
    }

    #[test]
    fn the_file_without_a_number_becomes_the_oldest() {
        let (_folder, trail) = trail(None);
        OsFileSystem.create_dir_all(&trail.folder).expect("folder");
        OsFileSystem.replace(&trail.folder.join(UNNUMBERED), b"old\n").expect("old");
        trail.append(b"new\n", true).expect("append");
        assert_eq!(trail.files().expect("files"), [0]);
        assert_eq!(text(&trail, 0), "old\nnew\n");
    }

    #[test]
    fn two_writers_lose_nothing() {
        let (folder, first) = trail(None);
        let second = Trail::new(Arc::new(OsFileSystem), folder.path(), None);
        std::thread::scope(|scope| {
            for (trail, line) in [(&first, b"aaaaaaaa\n"), (&second, b"bbbbbbbb\n")] {
                scope.spawn(move || {
                    for _ in 0..200 {
                        trail.append(line, false).expect("append");
                    }
                });
            }
        });
        let text = text(&first, 1);
        for line in ["aaaaaaaa", "bbbbbbbb"] {
            assert_eq!(text.lines().filter(|l| *l == line).count(), 200);
        }
    }
}
