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
    let mut damaged = Vec::new();
    for (group, info) in view.groups().iter().enumerate() {
        let fetched = Fetched::part(info.range.start, source.read(info.range.clone())?);
        damaged.extend(check_group(view, group, &fetched)?);
    }
    damaged.extend(check_rest(view, source)?);
    Ok(damaged)
}

/// Checks a row group, whose bytes [`FileView::group_bytes`] names.
///
/// # Errors
/// [`ParquetError::Foreign`], [`ParquetError::Io`] where not all of them were fetched.
pub fn check_group(
    view: &FileView,
    group: usize,
    fetched: &Fetched,
) -> Result<Vec<DamagedPart>, ParquetError> {
    let sums = view.checksums()?;
    let mut damaged = Vec::new();
    let chunks = view.group_metadata(group).into_iter().flat_map(chunk_ranges);
    for (column, range) in chunks.enumerate() {
        let bytes = fetched.get(&range);
        let bytes = bytes.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        damaged.extend(part(Some(group), sums.check_chunk(group, column, &bytes)));
    }
    Ok(damaged)
}

/// Checks what no row is in: the first bytes, bloom filters, page indexes.
///
/// # Errors
/// The source's, [`ParquetError::Foreign`].
pub fn check_rest(
    view: &FileView,
    source: &dyn RangeSource,
) -> Result<Vec<DamagedPart>, ParquetError> {
    let sums = view.checksums()?;
    let mut damaged = Vec::new();
    if source.read(0..MAGIC.len() as u64)? != MAGIC {
        let what = "the file does not begin as Parquet files do".to_owned();
        damaged.push(DamagedPart { group: None, what });
    }
    for (group, info) in view.groups().iter().enumerate() {
        if let Some(range) = info.bloom.clone() {
            damaged.extend(part(None, sums.check_bloom(group, &source.read(range)?)));
        }
    }
    damaged.extend(part(None, sums.check_indexes(&source.read(view.indexes())?)));
    Ok(damaged)
}

fn part(group: Option<usize>, checked: Result<(), ParquetError>) -> Option<DamagedPart> {
    let what = match checked.err()? {
        ParquetError::Corrupt { what } => what,
        other => other.to_string(),
    };
    Some(DamagedPart { group, what })
}
