//! Files that the Python service (pandas) wrote, read as they are.
//!
//! Columns are found by name, in any order, and may be missing or of any type that pandas makes
//! of such data. What does not fit its column is not dropped: it is kept in `extra` as
//! `legacy_<column>` (5.5 in an integer column, a date that is none), and a column the table does
//! not know is kept in `extra` under its own name. Statuses and the like outside of their closed
//! sets are kept. Text that should be JSON and is not becomes a JSON string; NaN is null.
//!
//! `credentials` are plain text in such files. They never get into a row: they are handed out
//! apart, for the caller to seal. [`redacted`] makes a copy of a file that has them no more.

mod coerce;
mod redact;
mod value;

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use ::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use self::coerce::{Extra, Fit, int, json, list, text, time};
use self::value::{Value, value_at};
use super::ParquetError;
use super::changes::key_of;
use super::error::guarded;
use crate::domain::{Cell, Kind, Micros, RecordId, Row, Secret, Table, object};

pub use self::redact::{REDACTED, redacted};

/// A row of a legacy file.
#[derive(Debug, Clone, PartialEq)]
pub struct LegacyRow {
    /// The row; without its credentials.
    pub row: Row,
    /// What its `credentials` hold, in the clear.
    pub credentials: Option<Secret>,
    /// What its `user_id` says. The folder's user owns the row; another name here is worth a
    /// look.
    pub owner: Option<String>,
}

/// Decodes a legacy file. A row without a version has version 1, without an `updated_at` its
/// `created_at`, without a `created_at` the fallback.
///
/// # Errors
/// [`ParquetError::Corrupt`] where the bytes are no Parquet file or damaged,
/// [`ParquetError::BadRow`] where a row has no id or one that is not `[A-Za-z0-9_-]{1,64}`: the
/// file is then to be left alone, whole.
pub fn decode_legacy(
    table: Table,
    bytes: Bytes,
    fallback_created_at: Micros,
) -> Result<Vec<LegacyRow>, ParquetError> {
    let batches: Vec<RecordBatch> = guarded("the file", || {
        // Without the Arrow schema in the metadata there are fewer types: no large strings, no
        // dictionaries; and one thing less that may be damaged.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(ParquetError::decoding)?;
        reader.collect::<Result<_, _>>().map_err(ParquetError::decoding)
    })?;
    guarded("the rows", || {
        let mut rows = Vec::new();
        for batch in &batches {
            for at in 0..batch.num_rows() {
                let number = rows.len();
                let row = decode_row(table, batch, at, fallback_created_at)
                    .map_err(|what| ParquetError::BadRow { row: number, what })?;
                rows.push(row);
            }
        }
        Ok(rows)
    })
}

/// The rows of all files of a partition, in file order: of one id the newest `updated_at` wins,
/// of equal ones that of the later file. `files` are in the order of their names.
#[must_use]
pub fn newest_wins(files: Vec<Vec<LegacyRow>>) -> Vec<LegacyRow> {
    let mut newest: HashMap<RecordId, LegacyRow> = HashMap::new();
    for row in files.into_iter().flatten() {
        let older = newest.get(&row.row.id).is_some_and(|n| n.row.updated_at > row.row.updated_at);
        if !older {
            newest.insert(row.row.id.clone(), row);
        }
    }
    let mut rows: Vec<LegacyRow> = newest.into_values().collect();
    rows.sort_by(|a, b| key_of(&a.row).cmp(&key_of(&b.row)));
    rows
}

fn decode_row(
    table: Table,
    batch: &RecordBatch,
    at: usize,
    fallback_created_at: Micros,
) -> Result<LegacyRow, String> {
    let mut b = Row::build(table);
    let mut head = Head::default();
    let mut extra = Extra::new(table);
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let value = value_at(array.as_ref(), at);
        if matches!(value, Value::Null) {
            continue;
        }
        let name = field.name().as_str();
        let Some((index, column)) = table.spec().column(name) else {
            extra.push(name, &value);
            continue;
        };
        let misfit = match column.kind {
            Kind::Id => {
                head.id = Some(text(&value).into_owned());
                None
            }
            Kind::UserId => {
                head.owner = Some(text(&value).into_owned());
                None
            }
            Kind::Sealed => {
                let plain = text(&value);
                if plain != REDACTED {
                    head.credentials = Some(Secret::new(plain.into_owned()));
                }
                None
            }
            Kind::CreatedAt => time(&value).or_misfit(|at| head.created_at = Some(at)),
            Kind::UpdatedAt => time(&value).or_misfit(|at| head.updated_at = Some(at)),
            Kind::Version => int(&value).or_misfit(|n| head.version = Some(n)),
            Kind::Timestamp => time(&value).or_misfit(|at| b.set(index, Cell::Time(at))),
            Kind::Int64 => int(&value).or_misfit(|n| b.set(index, Cell::Int(n))),
            Kind::Double => coerce::double(&value).or_misfit(|d| b.set(index, Cell::Double(d))),
            Kind::Text | Kind::Enum(_) => {
                b.set(index, Cell::Text(&text(&value)));
                None
            }
            Kind::TextList { numbers } => {
                b.set(index, Cell::Json(&list(&value, numbers)));
                None
            }
            Kind::Json(_) => {
                if let Some(json) = json(&value) {
                    b.set(index, Cell::Json(&json));
                }
                None
            }
            Kind::Extra => extra.push_fields(&value),
        };
        if misfit.is_some() {
            extra.push_misfit(name, &value);
        }
    }
    if let Some((index, json)) =
        table.spec().index_where(|k| matches!(k, Kind::Extra)).zip(extra.finish())
    {
        b.set(index, Cell::Json(&json));
    }
    let id = head.id.ok_or("it has no id")?;
    let id = RecordId::checked(&id).map_err(|e| format!("its id is {id:?}; {e}"))?;
    let created_at = head.created_at.unwrap_or(fallback_created_at);
    let updated_at = head.updated_at.unwrap_or(created_at);
    let row = b.finish(id, created_at, updated_at, head.version.unwrap_or(1));
    Ok(LegacyRow { row, credentials: head.credentials, owner: head.owner })
}

/// What a row has besides its cells.
#[derive(Default)]
struct Head {
    id: Option<String>,
    owner: Option<String>,
    credentials: Option<Secret>,
    created_at: Option<Micros>,
    updated_at: Option<Micros>,
    version: Option<i64>,
}

/// A fixture's bytes, for tests.
#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests read fixtures, not the store")]
pub(super) fn fixture(path: &str) -> Bytes {
    std::fs::read(path).expect(path).into()
}

#[cfg(test)]
mod tests;
