//! A copy of a legacy file without its credentials: what `legacy/` keeps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;

use ::parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use ::parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowWriter};
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;

use super::value::{Value, value_at};
use crate::parquet::ParquetError;
use crate::parquet::error::guarded;

/// What stands in the place of credentials that were sealed.
pub const REDACTED: &str = r#"{"moved":"sealed by audience-store"}"#;
const COLUMN: &str = "credentials";

/// The file with [`REDACTED`] in the place of each value of `credentials`. Every other column
/// keeps its values, as [`super::decode_legacy`] reads them, and the file its metadata. The same
/// file makes the same bytes; one without credentials is not changed.
///
/// # Errors
/// [`ParquetError::Corrupt`] where it cannot be read, [`ParquetError::Encode`] where the copy
/// cannot be made.
pub fn redacted(bytes: Bytes) -> Result<Bytes, ParquetError> {
    guarded("the file", || {
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options)
            .map_err(ParquetError::decoding)?;
        let pairs = builder.metadata().file_metadata().key_value_metadata().cloned();
        let schema = Arc::clone(builder.schema());
        let reader = builder.build().map_err(ParquetError::decoding)?;
        let batches: Vec<RecordBatch> =
            reader.collect::<Result<_, _>>().map_err(ParquetError::decoding)?;
        if !batches.iter().any(holds_some) {
            return Ok(bytes);
        }
        let schema = Arc::new(without(&schema));
        // The Arrow schema of the old column does not fit the new one; the writer makes another.
        let pairs = pairs.map(|pairs| {
            pairs.into_iter().filter(|pair| pair.key != ARROW_SCHEMA_META_KEY).collect::<Vec<_>>()
        });
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(pairs)
            .build();
        let mut out = Vec::with_capacity(bytes.len());
        let mut writer = ArrowWriter::try_new(&mut out, Arc::clone(&schema), Some(properties))
            .map_err(ParquetError::Encode)?;
        for batch in &batches {
            let copy = RecordBatch::try_new(Arc::clone(&schema), columns(batch));
            writer.write(&copy.map_err(ParquetError::decoding)?).map_err(ParquetError::Encode)?;
        }
        writer.close().map_err(ParquetError::Encode)?;
        Ok(out.into())
    })
}

fn is_secret(field: &Field) -> bool {
    field.name() == COLUMN
}

fn has_value(array: &dyn Array, row: usize) -> bool {
    match value_at(array, row) {
        Value::Null => false,
        Value::Text(text) => text != REDACTED,
        _ => true,
    }
}

fn holds_some(batch: &RecordBatch) -> bool {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    columns
        .filter(|(field, _)| is_secret(field))
        .any(|(_, array)| (0..array.len()).any(|row| has_value(array.as_ref(), row)))
}

/// The schema, with text in the column of credentials.
fn without(schema: &Schema) -> Schema {
    let text = || Arc::new(Field::new(COLUMN, DataType::Utf8, true));
    let fields = schema.fields().iter();
    let fields = fields.map(|field| if is_secret(field) { text() } else { Arc::clone(field) });
    Schema::new(fields.collect::<Vec<_>>())
}

fn columns(batch: &RecordBatch) -> Vec<ArrayRef> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    columns
        .map(|(field, array)| {
            if !is_secret(field) {
                return Arc::clone(array);
            }
            let rows = (0..array.len()).map(|row| match value_at(array.as_ref(), row) {
                Value::Null => None,
                _ => Some(REDACTED),
            });
            Arc::new(rows.collect::<StringArray>())
        })
        .collect()
}
