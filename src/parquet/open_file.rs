//! An open file as a source of ranges: what is read is one file's bytes, whatever takes its name
//! meanwhile.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::RangeSource;
use crate::env::{File, FileSystem, OpenMode};

/// A file of the file system, open for reading.
pub struct OpenFile {
    file: Arc<dyn File>,
    len: u64,
}

impl OpenFile {
    /// Opens a file.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> io::Result<Self> {
        let file = fs.open(path, OpenMode::Read)?;
        let len = file.len()?;
        Ok(Self { file, len })
    }

    /// All of it.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn whole(&self) -> io::Result<Bytes> {
        self.read(0..self.len)
    }
}

impl RangeSource for OpenFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        if range.end > self.len || range.start > range.end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(range.end - range.start);
        let mut bytes = vec![0; len.map_err(|_| io::ErrorKind::FileTooLarge)?];
        self.file.read_exact_at(&mut bytes, range.start)?;
        Ok(bytes.into())
    }
}
