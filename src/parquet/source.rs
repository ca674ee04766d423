//! Where a file's bytes come from: ranges of it, fetched by the caller, from a disk or from
//! object storage.

use std::io;
use std::ops::Range;

use bytes::{Buf, Bytes};

use ::parquet::errors::{ParquetError as CrateError, Result as CrateResult};
use ::parquet::file::reader::{ChunkReader, Length};

/// A file that can be read in ranges. Calls block: use it on a blocking thread.
pub trait RangeSource: Send + Sync {
    /// Size of the file in bytes.
    fn len(&self) -> u64;

    /// Whether the file holds nothing.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of a range, all of them.
    ///
    /// # Errors
    /// The file system's or the network's error; [`io::ErrorKind::UnexpectedEof`] where the range
    /// reaches past the end.
    fn read(&self, range: Range<u64>) -> io::Result<Bytes>;
}

/// A whole file in memory.
impl RangeSource for Bytes {
    fn len(&self) -> u64 {
        Self::len(self) as u64
    }

    fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        part_of(self, 0, &range).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// The part of `bytes`, which begin at `offset` of the file, that covers `range` of the file.
fn part_of(bytes: &Bytes, offset: u64, range: &Range<u64>) -> Option<Bytes> {
    let start = usize::try_from(range.start.checked_sub(offset)?).ok()?;
    let end = usize::try_from(range.end.checked_sub(offset)?).ok()?;
    (start <= end && end <= bytes.len()).then(|| bytes.slice(start..end))
}

/// Ranges of one file that are in memory: what a row group, or some of its columns, is decoded
/// from. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Fetched {
    parts: Vec<(u64, Bytes)>,
}

impl Fetched {
    /// One range, `bytes` beginning at `offset` of the file. `Fetched::part(0, whole_file)` is
    /// enough for everything.
    #[must_use]
    pub fn part(offset: u64, bytes: Bytes) -> Self {
        Self { parts: vec![(offset, bytes)] }
    }

    /// Adds a range.
    pub fn push(&mut self, offset: u64, bytes: Bytes) {
        self.parts.push((offset, bytes));
    }

    /// Reads ranges of a file.
    ///
    /// # Errors
    /// The source's; [`io::ErrorKind::UnexpectedEof`] where it gives fewer bytes than asked for.
    pub fn read(
        source: &dyn RangeSource,
        ranges: impl IntoIterator<Item = Range<u64>>,
    ) -> io::Result<Self> {
        let mut fetched = Self::default();
        for range in ranges {
            let bytes = source.read(range.clone())?;
            if bytes.len() as u64 != range.end.saturating_sub(range.start) {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            fetched.push(range.start, bytes);
        }
        Ok(fetched)
    }

    /// The bytes of a range, where one part covers it.
    #[must_use]
    pub fn get(&self, range: &Range<u64>) -> Option<Bytes> {
        self.parts.iter().find_map(|(offset, bytes)| part_of(bytes, *offset, range))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.parts.iter().map(|(offset, bytes)| offset + bytes.len() as u64).max().unwrap_or(0)
    }
}

impl ChunkReader for Fetched {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> CrateResult<Self::T> {
        let found = self.parts.iter().find_map(|(offset, bytes)| {
            part_of(bytes, *offset, &(start..offset.checked_add(bytes.len() as u64)?))
        });
        Ok(found.ok_or_else(|| not_fetched(start))?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> CrateResult<Bytes> {
        let end = start.checked_add(length as u64).ok_or_else(|| not_fetched(start))?;
        self.get(&(start..end)).ok_or_else(|| not_fetched(start))
    }
}

fn not_fetched(start: u64) -> CrateError {
    CrateError::General(format!("bytes from offset {start} on were not fetched"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_was_fetched_and_nothing_else() {
        let file = Bytes::from_static(b"0123456789");
        let fetched = Fetched::read(&file, [2..5, 7..9]).expect("read");
        assert_eq!(fetched.get(&(3..5)).expect("part"), "34");
        assert_eq!(fetched.get(&(7..9)).expect("part"), "78");
        for outside in [1..3, 4..6, 6..8, 9..10] {
            assert_eq!(fetched.get(&outside), None, "{outside:?}");
        }
        assert!(fetched.get_bytes(u64::MAX, 2).is_err());
        assert!(
            fetched
                .get_read(5)
                .is_ok_and(|mut r| io::Read::read(&mut r, &mut [0; 1]).is_ok_and(|n| n == 0))
        );
        assert!(fetched.get_read(6).is_err());
        assert_eq!(
            RangeSource::read(&file, 8..11).map_err(|e| e.kind()),
            Err(io::ErrorKind::UnexpectedEof)
        );
    }
}
