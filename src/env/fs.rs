//! Files and folders, injected: what the log and the local storage need of a file system, and
//! what each call promises across a power loss.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A new file, for reading and writing; an error where it exists.
    CreateNew,
    /// The same, that nobody but the owner may read or write.
    CreatePrivate,
}

/// What kind of thing a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// Anything else: a link, a socket. The store touches none of them.
    Other,
}

/// One entry of a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name, where it is UTF-8; other names are not the store's and are left out.
    pub name: String,
    /// What it is.
    pub kind: FileKind,
}

/// What a file looks like from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Bytes.
    pub len: u64,
    /// Changes whenever the file is replaced or written: made of inode, size and time.
    pub version: u128,
}

/// Space on the file system of a folder.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Bytes that this process may still take.
    pub available: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Zeros written at once.
const PIECE: usize = 4 << 20;

/// An open file. Offsets are bytes from its start.
pub trait File: Send + Sync {
    /// Reads exactly `buf.len()` bytes; `UnexpectedEof` where the file is shorter.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes. Survives nothing until [`File::sync_data`] returns.
    ///
    /// # Errors
    /// Whatever the file system says; some of the bytes may have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes contents and length survive power loss. After an error nothing is known of what
    /// was written since the last success; it must not be called again to find out.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts or extends the file. Survives nothing until [`File::sync_data`] returns.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space, so that later writes below `len` do not run out of it; the file's length
    /// becomes `len` and what was not written reads as zeros.
    ///
    /// # Errors
    /// `StorageFull` where the space is not there.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Writes zeros over the bytes from `from` to `to`. As [`File::write_all_at`].
    ///
    /// # Errors
    /// Whatever the file system says; some of the zeros may have been written.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        let piece =
            |at: u64| usize::try_from(to.saturating_sub(at)).map_or(PIECE, |n| n.min(PIECE));
        let zeros = vec![0; piece(from)];
        let mut at = from;
        while at < to {
            let next = zeros.get(..piece(at)).unwrap_or_default();
            self.write_all_at(next, at)?;
            at += next.len() as u64;
        }
        Ok(())
    }
    /// Makes the bytes from `from` to `to`, all inside the file, zeros, also those that read as
    /// zeros: after a failed fsync the disk may have others there. What is reserved stays so.
    /// Survives nothing until [`File::sync_data`] returns.
    ///
    /// # Errors
    /// As [`File::write_zeros`], which is what it does where the file system knows nothing faster.
    fn zero(&self, from: u64, to: u64) -> io::Result<()> {
        self.write_zeros(from, to)
    }
    /// The file's length in bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Whether a folder still names the file: one that was removed keeps its bytes only as long as
    /// it is open. File systems without removal from outside need not tell.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn has_name(&self) -> io::Result<bool> {
        Ok(true)
    }
    /// Takes the file's exclusive lock without waiting; held until the file is dropped. `false`
    /// where somebody else holds it.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Most bytes of a new file that one sync has to bring to the disk. Syncs of other files, the log's,
/// wait for those that are under way: 17 ms for 40 MiB at once, 0.5 in such pieces (decision 75).
const SYNCED_AT_ONCE: usize = 256 << 10;

/// Folders and names.
pub trait FileSystem: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, or whatever the file system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Makes a folder and its missing parents; each new one survives power loss on return. One
    /// that was there may be younger than the last sync of its name: [`FileSystem::keep_dir`].
    ///
    /// # Errors
    /// Whatever the file system says.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Renames, replacing what bears the new name. Survives once the folders of both names are
    /// synced.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Survives once its folder is synced.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    ///
    /// # Errors
    /// Whatever the file system says; an error where it is not empty.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder survive power loss.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The entries of a folder, by name; empty where the folder does not exist.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Length and version; `NotFound` where there is no such file.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// Space on the file system that holds a folder.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn space(&self, folder: &Path) -> io::Result<Space>;
    /// Whether a path names a file that nobody but its owner may read or write; `NotFound` where
    /// there is none.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn is_private(&self, path: &Path) -> io::Result<bool>;

    /// Gives a file a second name, on the same file system. Survives once the folder of the new
    /// name is synced. A file system that cannot is copied from instead.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, `CrossesDevices` between file systems, `Unsupported`.
    fn hard_link(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let len = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Makes a folder and its missing parents, and sees to it that the folder survives power loss
    /// even where it was there already: a process that was killed may have made it and not come to
    /// the sync. Nothing of the kind is done for the folders it is in.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn keep_dir(&self, path: &Path) -> io::Result<()> {
        self.create_dir_all(path)?;
        match path.parent().map(|parent| self.sync_dir(parent)) {
            // A folder that may not be read was not made by this program's user.
            Some(Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            Some(synced) => synced,
            None => Ok(()),
        }
    }

    /// Replaces a file by way of a temporary one beside it: [`FileSystem::replace_through`].
    ///
    /// # Errors
    /// Whatever the file system says.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.replace_through(&path.with_file_name(format!(".{name}.tmp")), path, bytes)
    }

    /// Replaces a file: write under a temporary name, sync, rename, sync of the folder. On return
    /// the new contents survive power loss; on error the old or the new contents are there, whole.
    /// What bears the temporary name, which must be on the same file system, is overwritten.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn replace_through(&self, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace_as(OpenMode::CreateNew, temporary, path, bytes)
    }

    /// [`FileSystem::replace`] with a file that nobody but the owner may read, not even while it
    /// is written.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn replace_private(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.tmp"));
        self.replace_as(OpenMode::CreatePrivate, &temporary, path, bytes)
    }

    /// [`FileSystem::replace_through`] with a temporary file made in one of the two ways.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn replace_as(
        &self,
        mode: OpenMode,
        temporary: &Path,
        path: &Path,
        bytes: &[u8],
    ) -> io::Result<()> {
        let folder = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let written = (|| {
            match self.remove_file(temporary) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let file = self.open(temporary, mode)?;
            let mut at = 0;
            // At least one, so that an empty file is synced, too.
            for piece in bytes.chunks(SYNCED_AT_ONCE).chain(bytes.is_empty().then_some(bytes)) {
                file.write_all_at(piece, at)?;
                file.sync_data()?;
                at += piece.len() as u64;
            }
            self.rename(temporary, path)
        })();
        if let Err(e) = written {
            // The temporary name is nobody's; leaving it behind on a second error harms nothing.
            let _ = self.remove_file(temporary);
            return Err(e);
        }
        // Where this fails, the new contents are there for now. It has nothing to do with space.
        self.sync_dir(&folder).map_err(|e| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(e),
            _ => e,
        })
    }
}
