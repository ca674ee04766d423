//! A segment file: its name, its header, and how one is made. `docs/formats/log.md` has the
//! layout.

use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::Lsn;
use super::bytes_at::{put, u32_at, u64_at};
use super::spare::SPARE;
use crate::env::{File, FileSystem, OpenMode, is_no_descriptor};

const HEADER: usize = 64;
/// Offset of the first record.
pub(crate) const RECORDS_AT: usize = HEADER;
/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = HEADER as u64;
const MAGIC: [u8; 8] = *b"ASTLOG\0\x01";
/// The one version there is.
const FORMAT_VERSION: u32 = 1;
const CHECKSUM_AT: usize = 60;

/// What a segment says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    /// The log it belongs to.
    pub(crate) log_id: Uuid,
    /// LSN of its first record.
    pub(crate) first: Lsn,
    /// LSN of the last record of the segment before: a gap up to `first` is meant.
    pub(crate) previous_last: Lsn,
}

/// Why bytes are not a header.
#[derive(PartialEq, Eq, Debug, Clone, Copy)]
pub(crate) enum HeaderError {
    /// Missing, torn or damaged.
    Damaged,
    /// Whole, of a version from the future.
    Newer(u32),
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &FORMAT_VERSION.to_le_bytes());
        put(&mut bytes, 16, self.log_id.as_bytes());
        put(&mut bytes, 32, &self.first.get().to_le_bytes());
        put(&mut bytes, 40, &self.previous_last.get().to_le_bytes());
        let crc = crc32c::crc32c(bytes.get(..CHECKSUM_AT).unwrap_or_default());
        put(&mut bytes, CHECKSUM_AT, &crc.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = bytes.get(..HEADER).ok_or(HeaderError::Damaged)?;
        let covered = header.get(..CHECKSUM_AT).ok_or(HeaderError::Damaged)?;
        let crc = u32_at(header, CHECKSUM_AT).ok_or(HeaderError::Damaged)?;
        if !header.starts_with(&MAGIC) || crc32c::crc32c(covered) != crc {
            return Err(HeaderError::Damaged);
        }
        match u32_at(header, 8) {
            Some(FORMAT_VERSION) => {}
            other => return Err(HeaderError::Newer(other.unwrap_or(0))),
        }
        let decoded = (|| {
            Some(Self {
                log_id: Uuid::from_bytes(*header.get(16..)?.first_chunk()?),
                first: Lsn::new(u64_at(header, 32)?),
                previous_last: Lsn::new(u64_at(header, 40)?),
            })
        })();
        decoded.ok_or(HeaderError::Damaged)
    }
}

/// The file name of the segment that begins with `first`.
pub(crate) fn file_name(first: Lsn) -> String {
    format!("{:020}.log", first.get())
}

/// The first LSN that a file name tells; `None` for other files.
pub(crate) fn first_of_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|first| *first > 0).map(Lsn::new)
}

/// A segment that could not be made.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// No space, or no file descriptor. No trace of the segment is left.
    NoSpace(io::Error),
    /// No file descriptor. The segment is gone, but its name may come back after a crash until the
    /// folder is synced.
    NotSynced(io::Error),
    /// Anything else; a file without records may be left.
    Broken(io::Error),
}

impl From<CreateError> for io::Error {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::NoSpace(e) | CreateError::NotSynced(e) | CreateError::Broken(e) => e,
        }
    }
}

/// Whether an error says that the disk or a quota is used up.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a segment. On return its header, its reserved space and its name survive power loss.
pub(crate) fn create(
    fs: &dyn FileSystem,
    dir: &Path,
    header: &SegmentHeader,
    capacity: u64,
) -> Result<Arc<dyn File>, CreateError> {
    let path = dir.join(file_name(header.first));
    let made = (|| {
        let file = fs.open(&path, OpenMode::CreateNew)?;
        file.allocate(capacity)?;
        file.write_all_at(&header.encode(), 0)?;
        file.sync_data()?;
        fs.sync_dir(dir)?;
        Ok(file)
    })();
    made.map_err(|e| not_made(fs, dir, &[&path], e))
}

/// Makes a segment of a spare. On return its header and its name survive power loss; its space
/// has been written to.
pub(crate) fn adopt(
    fs: &dyn FileSystem,
    dir: &Path,
    header: &SegmentHeader,
    spare: Arc<dyn File>,
) -> Result<Arc<dyn File>, CreateError> {
    let (from, path) = (dir.join(SPARE), dir.join(file_name(header.first)));
    let made = (|| {
        spare.write_all_at(&header.encode(), 0)?;
        spare.sync_data()?;
        fs.rename(&from, &path)?;
        fs.sync_dir(dir)?;
        Ok(spare)
    })();
    made.map_err(|e| not_made(fs, dir, &[&from, &path], e))
}

/// Leaves no trace of a segment for which there was no space or no descriptor: records may now go
/// on into the one before; one with this name must not come back after a crash and claim the LSNs
/// those records take.
fn not_made(fs: &dyn FileSystem, dir: &Path, paths: &[&Path], error: io::Error) -> CreateError {
    if !is_no_space(&error) && !is_no_descriptor(&error) {
        return CreateError::Broken(error);
    }
    for path in paths {
        if let Err(e) = fs.remove_file(path)
            && e.kind() != io::ErrorKind::NotFound
        {
            return CreateError::Broken(e);
        }
    }
    match fs.sync_dir(dir) {
        Ok(()) => CreateError::NoSpace(error),
        Err(e) if is_no_descriptor(&e) => CreateError::NotSynced(error),
        Err(e) => CreateError::Broken(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_round_trips_and_shows_any_change() {
        let header = SegmentHeader {
            log_id: Uuid::from_bytes([9; 16]),
            first: Lsn::new(7),
            previous_last: Lsn::new(4),
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 0x40;
            assert_eq!(SegmentHeader::decode(&changed), Err(HeaderError::Damaged), "byte {at}");
            assert_eq!(SegmentHeader::decode(&bytes[..at]), Err(HeaderError::Damaged));
        }
    }

    #[test]
    fn a_header_from_the_future_is_no_damage() {
        let header =
            SegmentHeader { log_id: Uuid::nil(), first: Lsn::new(1), previous_last: Lsn::NONE };
        let mut bytes = header.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Err(HeaderError::Newer(2)));
    }

    #[test]
    fn names_tell_the_first_lsn() {
        assert_eq!(file_name(Lsn::new(42)), "00000000000000000042.log");
        assert_eq!(first_of_name("00000000000000000042.log"), Some(Lsn::new(42)));
        for other in ["42.log", "0000000000000000004x.log", "cut-1-2.bak", ".log", "lock"] {
            assert_eq!(first_of_name(other), None, "{other}");
        }
        assert_eq!(first_of_name("00000000000000000000.log"), None);
    }
}
