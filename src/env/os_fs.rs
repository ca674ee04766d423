//! The machine's own file system.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};

use super::fs::{DirEntry, File, FileKind, FileSystem, OpenMode, Space, Stat};

/// Files through the operating system.
pub struct OsFileSystem;

struct OsFile(fs::File);

impl File for OsFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, len) {
            // Some file systems cannot reserve; a sparse file serves, without the promise.
            Err(rustix::io::Errno::OPNOTSUPP) => self.0.set_len(len),
            other => Ok(other?),
        }
    }

    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        if from >= to {
            return Ok(());
        }
        // Not every file system has this; and one that is full may still have the bytes' own space.
        fallocate(&self.0, FallocateFlags::ZERO_RANGE, from, to - from)
            .or_else(|_| self.write_zeros(from, to))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn has_name(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match flock(&self.0, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place where the machine's files are touched")]
impl FileSystem for OsFileSystem {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
            OpenMode::CreatePrivate => {
                options.write(true).create_new(true).mode(0o600);
            }
        }
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_dir_all(parent)?;
        }
        match fs::create_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(e) => Err(e),
            Ok(()) => match path.parent() {
                Some(parent) => self.sync_dir(parent),
                None => Ok(()),
            },
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let entries = match fs::read_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let kind = if kind.is_file() {
                FileKind::File
            } else if kind.is_dir() {
                FileKind::Dir
            } else {
                FileKind::Other
            };
            listed.push(DirEntry { name, kind });
        }
        listed.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(listed)
    }

    fn is_private(&self, path: &Path) -> io::Result<bool> {
        const OTHERS: u32 = 0o077;
        let meta = fs::metadata(path)?;
        Ok(meta.is_file() && meta.mode() & OTHERS == 0)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let meta = fs::symlink_metadata(path)?;
        let time = u128::from(meta.mtime_nsec().unsigned_abs())
            | (u128::from(meta.mtime().unsigned_abs()) << 30);
        let version = (u128::from(meta.ino()) << 64) ^ time ^ (u128::from(meta.len()) << 96);
        Ok(Stat { len: meta.len(), version })
    }

    fn space(&self, folder: &Path) -> io::Result<Space> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let found = statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space { available: bytes(found.f_bavail), total: bytes(found.f_blocks) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_a_range_and_leaves_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let file = OsFileSystem.open(&folder.path().join("file"), OpenMode::CreateNew).unwrap();
        file.write_all_at(&vec![7; 20_000], 0).unwrap();
        for (from, to) in [(3, 9_001), (12_288, 12_288), (19_999, 20_000)] {
            file.zero(from, to).unwrap();
        }
        file.write_zeros(10_000, 10_007).unwrap();
        let mut read = vec![0; 20_000];
        file.read_exact_at(&mut read, 0).unwrap();
        let is_zero = |at| matches!(at, 3..=9_000 | 10_000..=10_006 | 19_999);
        let wrong = (0..20_000).find(|at| (read[*at] == 0) != is_zero(*at));
        assert_eq!((wrong, file.len().unwrap()), (None, 20_000));
    }
}
