//! Every checksum of a file, whether somebody asks for the rows or not. Memory: one row group.

use std::io;

use super::checksums::chunk_ranges;
use super::ours::MAGIC;
use super::{Fetched, FileView, ParquetError, RangeSource};

/// A part of a file that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedPart {
    /// The row group whose rows cannot be read; `None` where the rows can be.
    pub group: Option<usize>,
    /// What is damaged.
    pub what: String,
}

/// Checks the bytes of a file this store wrote, all but the footer, which [`FileView::open`] has
/// checked. What is damaged comes back, in the order of the file.
///
/// # Errors
/// The source's, [`ParquetError::Foreign`].
pub fn check(view: &FileView, source: &dyn RangeSource) -> Result<Vec<DamagedPart>, ParquetError> {
    let sums = view.checksums()?;
    let mut damaged = Vec::new();
    let mut note = |group: Option<usize>, checked: Result<(), ParquetError>| {
        if let Err(error) = checked {
            let what = match error {
                ParquetError::Corrupt { what } => what,
                other => other.to_string(),
            };
            damaged.push(DamagedPart { group, what });
        }
    };
    if source.read(0..MAGIC.len() as u64)? != MAGIC {
        note(None, Err(ParquetError::corrupt("the file does not begin as Parquet files do")));
    }
    for (group, info) in view.groups().iter().enumerate() {
        let fetched = Fetched::part(info.range.start, source.read(info.range.clone())?);
        let chunks = view.group_metadata(group).into_iter().flat_map(chunk_ranges);
        for (column, range) in chunks.enumerate() {
            let bytes =
                fetched.get(&range).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            note(Some(group), sums.check_chunk(group, column, &bytes));
        }
    }
    for (group, info) in view.groups().iter().enumerate() {
        if let Some(range) = info.bloom.clone() {
            note(None, sums.check_bloom(group, &source.read(range)?));
        }
    }
    note(None, sums.check_indexes(&source.read(view.indexes())?));
    Ok(damaged)
}
