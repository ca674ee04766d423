//! The pages of a row group's columns, decompressed with what a thread keeps for that.
//!
//! The Parquet crate makes a zstd codec for each column it reads: memory for a compressor and a
//! decompressor, and a look at what the processor can do, which a virtual machine answers slowly.
//! For a column of ten rows that is most of the work. So it is told that the chunk is not
//! compressed, hands out pages as they stand in the file, and they are decompressed here.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Cursor;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::RowGroups;
use ::parquet::basic::Compression;
use ::parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use ::parquet::errors::{ParquetError as CrateError, Result as CrateResult};
use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use ::parquet::file::reader::SerializedPageReader;
use bytes::Bytes;
use zstd::bulk::Decompressor;

use super::Fetched;

thread_local! {
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// One row group, for the Parquet crate's readers.
pub(super) struct OneGroup<'a> {
    pub(super) metadata: &'a ParquetMetaData,
    pub(super) group: &'a RowGroupMetaData,
    pub(super) fetched: Arc<Fetched>,
}

impl RowGroups for OneGroup<'_> {
    fn num_rows(&self) -> usize {
        usize::try_from(self.group.num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, leaf: usize) -> CrateResult<Box<dyn PageIterator>> {
        let chunk =
            self.group.columns().get(leaf).ok_or_else(|| error("there is no such column"))?;
        let most = matches!(chunk.compression(), Compression::ZSTD(_))
            .then(|| usize::try_from(chunk.uncompressed_size()).unwrap_or(0));
        let told = if most.is_some() {
            let raw = chunk.clone().into_builder().set_compression(Compression::UNCOMPRESSED);
            Cow::Owned(raw.build()?)
        } else {
            Cow::Borrowed(chunk)
        };
        let fetched = Arc::clone(&self.fetched);
        let pages = SerializedPageReader::new(fetched, &told, self.num_rows(), None)?;
        Ok(Box::new(Column { pages: Some(Pages { pages, most }) }))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.group))
    }

    fn metadata(&self) -> &ParquetMetaData {
        self.metadata
    }
}

/// A column's chunks: one.
struct Column {
    pages: Option<Pages>,
}

impl Iterator for Column {
    type Item = CrateResult<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pages.take().map(|pages| Ok(Box::new(pages) as Box<dyn PageReader>))
    }
}

impl PageIterator for Column {}

/// A chunk's pages.
struct Pages {
    pages: SerializedPageReader<Fetched>,
    /// Most bytes of a page, where pages are compressed.
    most: Option<usize>,
}

impl Pages {
    fn unpacked(&self, mut page: Page) -> CrateResult<Page> {
        let Some(most) = self.most else { return Ok(page) };
        match &mut page {
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = decompress(buf, 0, most)?;
            }
            Page::DataPageV2 {
                buf,
                is_compressed,
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                if std::mem::take(is_compressed) {
                    let levels = def_levels_byte_len.saturating_add(*rep_levels_byte_len);
                    *buf = decompress(buf, levels as usize, most)?;
                }
            }
        }
        Ok(page)
    }
}

impl Iterator for Pages {
    type Item = CrateResult<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> CrateResult<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|page| self.unpacked(page)).transpose()
    }

    fn peek_next_page(&mut self) -> CrateResult<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> CrateResult<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> CrateResult<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        page.map(|page| self.unpacked(page)).transpose()
    }

    fn at_record_boundary(&mut self) -> CrateResult<bool> {
        self.pages.at_record_boundary()
    }
}

/// The bytes as they are up to `from`, and what is compressed in the rest; together at most `most`.
fn decompress(bytes: &Bytes, from: usize, most: usize) -> CrateResult<Bytes> {
    let (Some(levels), Some(packed)) = (bytes.get(..from), bytes.get(from..)) else {
        return Err(error("a page is shorter than its levels"));
    };
    if packed.is_empty() {
        // No value but nulls.
        return Ok(bytes.clone());
    }
    let size = Decompressor::upper_bound(packed).unwrap_or(most);
    if size.saturating_add(from) > most {
        return Err(error("a page is larger than its column"));
    }
    let mut page = Vec::with_capacity(from + size);
    page.extend_from_slice(levels);
    let mut page = Cursor::new(page);
    page.set_position(from as u64);
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new()?),
        };
        decompressor.decompress_to_buffer(packed, &mut page)?;
        Ok(page.into_inner().into())
    })
}

fn error(what: &str) -> CrateError {
    CrateError::General(what.to_owned())
}
