//! A file being written, group by group: encoded from rows or copied from a base.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;

use ::parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
use ::parquet::basic::ZstdLevel;
use ::parquet::errors::Result as CrateResult;
use ::parquet::file::metadata::KeyValue;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::types::TypePtr;

use super::copy::CopiedGroup;
use super::packing::Packing;
use super::properties::{Properties, properties};
use super::schema::{arrow_hint, arrow_schema, parquet_schema};
use super::{Encoded, Footer, Options, ParquetError, checksums, columns};
use crate::domain::{Row, Table, UserId};
use crate::env::give_way;

/// Bytes of a column's values, about.
fn bytes_of(array: &ArrayRef) -> usize {
    let values = array.len() - array.null_count();
    let bytes = array.to_data().get_slice_memory_size().unwrap_or(usize::MAX);
    bytes.saturating_mul(values) / array.len().max(1)
}

/// What is written, in memory. Whoever writes much gives way now and then.
#[derive(Default)]
struct Sink(Vec<u8>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        give_way();
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The file being written.
pub(super) struct FileWriter<'a> {
    table: Table,
    user: &'a UserId,
    schema: SchemaRef,
    root: TypePtr,
    file: SerializedFileWriter<Sink>,
    zstd_level: ZstdLevel,
    done: Encoded,
}

impl<'a> FileWriter<'a> {
    pub(super) fn new(table: Table, user: &'a UserId, options: &'a Options) -> CrateResult<Self> {
        let schema = arrow_schema(table);
        let parquet = parquet_schema(&schema)?;
        let root = parquet.root_schema_ptr();
        let zstd_level = ZstdLevel::try_new(options.zstd_level)?;
        let props = properties(table, &parquet, None, zstd_level).written;
        let file = SerializedFileWriter::new(Sink::default(), Arc::clone(&root), props)?;
        let done = Encoded {
            bytes: Bytes::new(),
            rows: 0,
            groups_copied: 0,
            groups_encoded: 0,
            bytes_copied: 0,
        };
        Ok(Self { table, user, schema, root, file, zstd_level, done })
    }

    /// Encodes rows, which are in file order, as one group.
    pub(super) fn write(&mut self, rows: &[Arc<Row>]) -> CrateResult<()> {
        let arrays = columns::arrays(self.table, self.user, rows);
        let bytes: Vec<usize> = arrays.iter().map(bytes_of).collect();
        let (schema, level) = (self.file.schema_descr(), self.zstd_level);
        let Properties { written: props, packed } =
            properties(self.table, schema, Some((rows.len(), &bytes)), level);
        // Column writers take their properties from a file writer; this one is for nothing else.
        let of_group = SerializedFileWriter::new(io::sink(), Arc::clone(&self.root), props)?;
        let packing = Arc::new(Packing::new(level, &packed));
        let factory = ArrowRowGroupWriterFactory::new(&of_group, Arc::clone(&self.schema))
            .with_page_store_factory(Arc::<Packing>::clone(&packing));
        let writers = factory.create_column_writers(self.file.flushed_row_groups().len())?;
        let mut group = self.file.next_row_group()?;
        for (column, (mut writer, array)) in writers.into_iter().zip(arrays).enumerate() {
            let field = self.schema.field(column);
            for leaf in compute_leaves(field, &array)? {
                writer.write(&leaf)?;
            }
            give_way();
            let mut chunk = writer.close()?;
            let close = chunk.close_mut();
            let mut said = packing.describe(column, close)?;
            if close.metadata.dictionary_page_offset().is_none() {
                // Which pages have a dictionary, where none has.
                said = said.clear_page_encoding_stats();
            }
            close.metadata = said.build()?;
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.done.rows += rows.len() as u64;
        self.done.groups_encoded += 1;
        Ok(())
    }

    /// Copies a group of the base.
    pub(super) fn copy(&mut self, copied: CopiedGroup) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group().map_err(ParquetError::Encode)?;
        let mut rows = 0;
        for column in copied.columns {
            rows = column.rows_written;
            self.done.bytes_copied += column.bytes_written;
            group.append_column(&copied.bytes, column).map_err(ParquetError::Encode)?;
        }
        group.close().map_err(ParquetError::Encode)?;
        self.done.rows += rows;
        self.done.groups_copied += 1;
        Ok(())
    }

    /// Writes indexes and footer and fills the checksums in.
    pub(super) fn finish(mut self, footer: &Footer) -> Result<Encoded, ParquetError> {
        let columns = self.schema.fields().len();
        let groups = self.file.flushed_row_groups().len();
        let footer = Footer { schema_version: super::SCHEMA_VERSION, ..footer.clone() };
        for pair in footer.to_pairs(self.table) {
            self.file.append_key_value_metadata(pair);
        }
        self.file.append_key_value_metadata(arrow_hint(&self.schema));
        let sums = checksums::placeholder(groups, columns);
        self.file.append_key_value_metadata(KeyValue::new(checksums::KEY.to_owned(), sums));
        let metadata = self.file.finish().map_err(ParquetError::Encode)?;
        let mut bytes = std::mem::take(&mut self.file.inner_mut().0);
        give_way();
        checksums::seal(&mut bytes, &metadata)
            .ok_or_else(|| ParquetError::corrupt("the new file's footer has no checksums"))?;
        Ok(Encoded { bytes: bytes.into(), ..self.done })
    }
}
