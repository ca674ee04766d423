//! Reading what a partition's work needs, off its thread.

use std::sync::Arc;

use super::file::{BaseFile, StoredSource, blocking};
use super::load::LoadError;
use super::rows::{GroupRows, Need};
use crate::actors::shared::Shared;
use crate::domain::{RecordId, Row};
use crate::parquet::{self, Fetched as Ranges, FileView, ParquetError, RangeSource};

/// Rows of one group, read and decoded. Blocking.
///
/// # Errors
/// [`ParquetError`] where the file cannot be read or is not what its footer says.
pub fn read_group(
    view: &FileView,
    source: &dyn RangeSource,
    group: usize,
    columns: Option<&[usize]>,
) -> Result<Vec<Row>, ParquetError> {
    let bytes = Ranges::read(source, view.column_ranges(group, columns))?;
    parquet::decode_group(view, group, &bytes, columns)
}

/// What was read.
pub enum Fetched {
    /// A row group.
    Group(GroupRows),
    /// The ids of each row group.
    Ids(Vec<Vec<RecordId>>),
}

/// Reads what `need` says from `file`.
///
/// # Errors
/// [`LoadError::Corrupt`] where the file is not what its footer says.
pub async fn fetch(shared: Arc<Shared>, file: BaseFile, need: Need) -> Result<Fetched, LoadError> {
    let source = StoredSource::new(Arc::clone(&shared.storage), file.path.clone(), file.len);
    let view = Arc::clone(&file.view);
    let read = blocking(&shared.env, move || -> Result<Fetched, ParquetError> {
        match need {
            Need::Group { index, columns } => {
                let rows = read_group(&view, &source, index, columns.as_deref())?;
                Ok(Fetched::Group(rows.into_iter().map(Arc::new).collect()))
            }
            Need::ForeignIds => {
                let groups = 0..view.groups().len();
                let ids = groups.map(|g| {
                    let bytes = Ranges::read(&source, view.column_ranges(g, Some(&[])))?;
                    parquet::read_ids(&view, g, &bytes)
                });
                ids.collect::<Result<Vec<_>, _>>().map(Fetched::Ids)
            }
        }
    });
    read.await.map_err(|e| match e {
        ParquetError::Io(e) => LoadError::Io(e.to_string()),
        other => LoadError::Corrupt { file: file.path.as_str().to_owned(), why: other.to_string() },
    })
}
