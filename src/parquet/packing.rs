//! The pages of a row group's columns, compressed with what a thread keeps for that: what
//! [`super::pages`] does for reading.
//!
//! The Parquet crate makes a zstd codec for each column it writes, too, and for a column of a few
//! kilobytes that takes longer than compressing it. So it is told that the column is not to be
//! compressed, and its pages are compressed where it puts them until their row group is written:
//! in a [`PageStore`]. What a page's header and the column's metadata say of sizes is said anew.
//! The file is, byte for byte, what the crate would have written.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError};

use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::column::page_store::{
    InMemoryPageStore, PageKey, PageStore, PageStoreArgs, PageStoreFactory,
};
use ::parquet::column::writer::ColumnCloseResult;
use ::parquet::errors::{ParquetError as CrateError, Result as CrateResult};
use ::parquet::file::metadata::ColumnChunkMetaDataBuilder;
use bytes::Bytes;
use zstd::bulk::Compressor;

use crate::env::give_way;

thread_local! {
    static COMPRESSOR: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Bytes of room that a thread keeps: more than pages usually need. One with large values may take
/// as much as they do.
const MOST_ROOM: usize = 512 * 1024;

/// What a thread keeps.
struct Kept {
    level: i32,
    compressor: Compressor<'static>,
    room: Vec<u8>,
}

/// The columns of a row group that are compressed here, and what became of their pages.
#[derive(Debug)]
pub(super) struct Packing {
    level: ZstdLevel,
    columns: Vec<Option<Arc<Mutex<Pages>>>>,
}

/// A column's pages in the order of the file.
#[derive(Debug, Default)]
struct Pages {
    /// Bytes of each, with its header.
    sizes: Vec<usize>,
    /// Bytes by which the headers became longer: they hold the page's size, which a page that
    /// cannot be compressed exceeds.
    longer: i64,
}

impl Packing {
    /// For a row group whose columns are compressed here where `packed` says so. These must have
    /// no dictionary and [`Compression::UNCOMPRESSED`].
    pub(super) fn new(level: ZstdLevel, packed: &[bool]) -> Self {
        let columns = packed.iter().map(|packed| packed.then(Arc::default)).collect();
        Self { level, columns }
    }

    /// A column's metadata, to be built, with what its pages have become; its index is put right.
    pub(super) fn describe(
        &self,
        column: usize,
        close: &mut ColumnCloseResult,
    ) -> CrateResult<ColumnChunkMetaDataBuilder> {
        let metadata = close.metadata.clone().into_builder();
        let Some(Some(pages)) = self.columns.get(column) else { return Ok(metadata) };
        let pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = pages.sizes.iter().sum();
        close.bytes_written = bytes as u64;
        let uncompressed = close.metadata.uncompressed_size() + pages.longer;
        let metadata = metadata
            .set_compression(Compression::ZSTD(self.level))
            .set_total_compressed_size(signed(bytes)?)
            .set_total_uncompressed_size(uncompressed);
        let Some(index) = &mut close.offset_index else { return Ok(metadata) };
        let mut offset = 0;
        for (location, size) in index.page_locations.iter_mut().zip(&pages.sizes) {
            location.offset = offset;
            location.compressed_page_size = i32::try_from(*size).map_err(too_large)?;
            offset += signed(*size)?;
        }
        Ok(metadata)
    }
}

impl PageStoreFactory for Packing {
    fn create(&self, args: &PageStoreArgs<'_>) -> CrateResult<Box<dyn PageStore>> {
        Ok(match self.columns.get(args.column_index()) {
            Some(Some(pages)) => Box::new(Packed {
                level: self.level.compression_level(),
                pages: Arc::clone(pages),
                parts: Vec::new(),
            }),
            _ => Box::<InMemoryPageStore>::default(),
        })
    }
}

/// Holds a column's pages, compressed.
struct Packed {
    level: i32,
    pages: Arc<Mutex<Pages>>,
    /// By turns a page's header and the page, as the crate puts them.
    parts: Vec<Bytes>,
}

impl PageStore for Packed {
    fn put(&mut self, part: Bytes) -> CrateResult<PageKey> {
        let key = PageKey::new(self.parts.len() as u64);
        let is_page = self.parts.len() % 2 == 1;
        match self.parts.last_mut().filter(|_| is_page) {
            None => self.parts.push(part),
            Some(header) => {
                let page = compress(self.level, &part)?;
                let said = with_size(header, page.len())?;
                let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
                pages.sizes.push(said.len() + page.len());
                pages.longer += signed(said.len())? - signed(header.len())?;
                *header = said;
                self.parts.push(page);
            }
        }
        Ok(key)
    }

    fn take(&mut self, key: PageKey) -> CrateResult<Bytes> {
        let part = usize::try_from(key.get()).ok().and_then(|place| self.parts.get_mut(place));
        let part = part.ok_or_else(|| CrateError::General("there is no such page".to_owned()))?;
        Ok(std::mem::take(part))
    }

    fn memory_size(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// A page as one zstd frame.
fn compress(level: i32, page: &[u8]) -> CrateResult<Bytes> {
    give_way();
    COMPRESSOR.with_borrow_mut(|kept| {
        let kept = match kept {
            Some(kept) if kept.level == level => kept,
            _ => kept.insert(Kept { level, compressor: Compressor::new(level)?, room: Vec::new() }),
        };
        kept.room.clear();
        kept.room.reserve(zstd::zstd_safe::compress_bound(page.len()));
        kept.compressor.compress_to_buffer(page, &mut kept.room)?;
        if kept.room.capacity() <= MOST_ROOM {
            return Ok(Bytes::copy_from_slice(&kept.room));
        }
        let mut large = std::mem::take(&mut kept.room);
        large.shrink_to_fit();
        Ok(large.into())
    })
}

/// Tags of a page header's first three fields in Thrift's compact protocol, each the next field
/// and an `i32`: the page's type, its size, and its size when compressed (`parquet.thrift`,
/// `PageHeader`).
const NEXT_I32: u8 = 0x15;

/// A page's header with another size when compressed.
fn with_size(header: &[u8], size: usize) -> CrateResult<Bytes> {
    let strange = || CrateError::General("a page's header begins strangely".to_owned());
    let mut at = 0;
    for field in 0..3 {
        if header.get(at) != Some(&NEXT_I32) {
            return Err(strange());
        }
        at += 1;
        if field == 2 {
            break;
        }
        at = end_of_varint(header, at).ok_or_else(strange)?;
    }
    let rest = end_of_varint(header, at).and_then(|end| header.get(end..)).ok_or_else(strange)?;
    let mut said = Vec::with_capacity(header.len() + 1);
    said.extend_from_slice(header.get(..at).ok_or_else(strange)?);
    // Zigzag: what is not negative is doubled. Seven bits a byte, the lowest first.
    let mut left = u64::from(u32::try_from(size).map_err(too_large)?) * 2;
    loop {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        if left == 0 {
            said.push(low & 0x7f);
            break;
        }
        said.push(low | 0x80);
    }
    said.extend_from_slice(rest);
    Ok(said.into())
}

fn end_of_varint(bytes: &[u8], from: usize) -> Option<usize> {
    let length = bytes.get(from..)?.iter().position(|byte| byte & 0x80 == 0)?;
    Some(from + length + 1)
}

fn signed(bytes: usize) -> CrateResult<i64> {
    i64::try_from(bytes).map_err(too_large)
}

fn too_large(_: std::num::TryFromIntError) -> CrateError {
    CrateError::General("a page is too large".to_owned())
}

#[cfg(test)]
mod tests {
    use ::parquet::arrow::ArrowSchemaConverter;
    use ::parquet::arrow::arrow_writer::{ArrowRowGroupWriterFactory, compute_leaves};
    use ::parquet::file::properties::WriterProperties;
    use ::parquet::file::writer::SerializedFileWriter;
    use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// A file of one row group, compressed here or by the crate, with so many bytes a row that
    /// cannot be compressed.
    fn written(rows: i64, noise: usize, level: i32, here: bool) -> Vec<u8> {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let nothing: StringArray = (0..rows).map(|_| None::<String>).collect();
        let texts = |text: fn(i64) -> String| StringArray::from_iter_values((0..rows).map(text));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(texts(|n| format!("{n} and so on ").repeat((0..n % 97).count()))),
            Arc::new(
                (0..rows).map(|n| (n % 3 > 0).then_some(n * 1_234_567)).collect::<Int64Array>(),
            ),
            Arc::new(nothing),
            Arc::new(texts(|n| {
                format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15_u64.cast_signed()))
            })),
            Arc::new(texts(|n| format!("{}", n % 5))),
            Arc::new(BinaryArray::from_iter_values(
                (0..rows).map(|_| (0..noise).map(|_| random()).collect::<Vec<u8>>()),
            )),
        ];
        let fields = columns.iter().enumerate();
        let field = |(n, column): (usize, &ArrayRef)| {
            Field::new(format!("c{n}"), column.data_type().clone(), n == 1 || n == 2)
        };
        let schema = Arc::new(Schema::new(fields.map(field).collect::<Vec<_>>()));
        assert_eq!(schema.field(0).data_type(), &DataType::Utf8);
        let level = ZstdLevel::try_new(level).expect("level");
        let packed = [true, true, true, true, false, true];
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_dictionary_enabled(false)
            .set_column_dictionary_enabled("c4".into(), true)
            .set_data_page_size_limit(8192)
            .set_data_page_row_count_limit(256)
            .set_write_batch_size(64);
        for (n, _) in packed.iter().enumerate().filter(|(_, packed)| here && **packed) {
            let column = format!("c{n}").as_str().into();
            properties = properties.set_column_compression(column, Compression::UNCOMPRESSED);
        }
        let root = ArrowSchemaConverter::new().convert(&schema).expect("schema").root_schema_ptr();
        let mut file = SerializedFileWriter::new(Vec::new(), root, Arc::new(properties.build()))
            .expect("file");
        let packing = Arc::new(Packing::new(level, if here { &packed } else { &[] }));
        let factory = ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema))
            .with_page_store_factory(Arc::<Packing>::clone(&packing));
        let writers = factory.create_column_writers(0).expect("writers");
        let mut group = file.next_row_group().expect("group");
        for (n, (mut writer, column)) in writers.into_iter().zip(columns).enumerate() {
            for leaf in compute_leaves(schema.field(n), &column).expect("leaves") {
                writer.write(&leaf).expect("written");
            }
            let mut chunk = writer.close().expect("chunk");
            let close = chunk.close_mut();
            close.metadata = packing
                .describe(n, close)
                .and_then(ColumnChunkMetaDataBuilder::build)
                .expect("metadata");
            chunk.append_to_row_group(&mut group).expect("appended");
        }
        group.close().expect("group");
        file.finish().expect("file");
        file.inner().clone()
    }

    #[test]
    fn the_file_is_byte_for_byte_what_the_crate_would_have_written() {
        for rows in [1, 2, 100, 255, 256, 257, 5000] {
            for level in [1, 3, 9] {
                let (ours, theirs) =
                    (written(rows, 3, level, true), written(rows, 3, level, false));
                assert!(ours == theirs, "{rows} rows at level {level}");
            }
        }
        // Where a page becomes larger, so may the number in its header.
        for noise in (40..80).chain(8150..8210) {
            let (ours, theirs) = (written(1, noise, 1, true), written(1, noise, 1, false));
            assert!(ours == theirs, "a page of {noise} bytes and more");
        }
    }

    #[test]
    fn room_for_a_large_page_is_not_kept() {
        for bytes in [10, MOST_ROOM, MOST_ROOM * 2, 1000] {
            let page = vec![7; bytes];
            let packed = compress(1, &page).expect("packed");
            assert_eq!(zstd::bulk::decompress(&packed, bytes).expect("page"), page);
            let kept =
                COMPRESSOR.with_borrow(|kept| kept.as_ref().map(|kept| kept.room.capacity()));
            assert!(kept.is_some_and(|kept| kept <= MOST_ROOM), "{bytes}: {kept:?}");
        }
    }

    #[test]
    fn a_header_gets_another_size() {
        for (before, size, after) in [
            (
                &[0x15, 0, 0x15, 20, 0x15, 20, 0x2c, 1, 0][..],
                9,
                &[0x15, 0, 0x15, 20, 0x15, 18, 0x2c, 1, 0][..],
            ),
            (
                &[0x15, 6, 0x15, 0x80, 2, 0x15, 0x80, 2, 0],
                64,
                &[0x15, 6, 0x15, 0x80, 2, 0x15, 0x80, 1, 0],
            ),
            (
                &[0x15, 6, 0x15, 0x80, 2, 0x15, 0x80, 2, 0],
                63,
                &[0x15, 6, 0x15, 0x80, 2, 0x15, 0x7e, 0],
            ),
            (&[0x15, 0, 0x15, 2, 0x15, 2, 0], 8192, &[0x15, 0, 0x15, 2, 0x15, 0x80, 0x80, 1, 0]),
        ] {
            assert_eq!(with_size(before, size).expect("header"), after);
        }
        for strange in
            [&[][..], &[0x15], &[0x15, 0, 0x15, 2], &[0x15, 0x80], &[0x15, 0, 0x25, 2, 0x15, 2, 0]]
        {
            assert!(with_size(strange, 1).is_err(), "{strange:?}");
        }
    }
}
