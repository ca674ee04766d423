//! CRC32C of every part of a file, in one footer key.
//!
//! The parquet crate checks page checksums but writes none, and they would leave page headers,
//! bloom filters, page indexes and the footer uncovered. So the footer's last key-value pair,
//! `audience_store.checksums`, holds one CRC32C (Castagnoli) for each column chunk, each group's
//! bloom filter, the page indexes and the footer itself: `1:` and then, six characters of
//! base64url each, for every row group its column chunks in order and its bloom filter (0 where
//! it has none), then the bytes between the last bloom filter and the footer, then the footer's
//! Thrift bytes without these last six characters.
//!
//! The value's length is known before the file is closed and fixed, so it is written as a
//! placeholder and filled in afterwards ([`seal`]). It can be found in the raw footer without
//! parsing it ([`footer_is_intact`]), so that a damaged footer never reaches the Thrift decoder.

use std::ops::Range;

use crc32c::{crc32c, crc32c_append};

use ::parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};

use super::ParquetError;

/// The key that holds the checksums; the last of a footer's pairs.
pub(super) const KEY: &str = "audience_store.checksums";
/// What the value begins with: the version of its format.
const VERSION: &str = "1:";
/// Characters a checksum takes.
const WIDTH: usize = 6;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Bytes after the footer's Thrift bytes: its length and the magic.
pub(super) const TRAILER: usize = 8;

/// The checksums of a file's parts.
#[derive(Debug, Clone)]
pub(super) struct Checksums {
    columns: usize,
    crcs: Vec<u32>,
}

impl Checksums {
    /// Reads the value of [`KEY`] for a file of so many row groups and columns.
    ///
    /// # Errors
    /// [`ParquetError::Corrupt`] where the value has another length or other characters.
    pub(super) fn parse(value: &str, groups: usize, columns: usize) -> Result<Self, ParquetError> {
        let malformed = || ParquetError::corrupt("footer key audience_store.checksums");
        let digits = value.strip_prefix(VERSION).ok_or_else(malformed)?.as_bytes();
        let (chunks, []) = digits.as_chunks::<WIDTH>() else { return Err(malformed()) };
        let crcs: Vec<u32> =
            chunks.iter().copied().map(decoded).collect::<Option<_>>().ok_or_else(malformed)?;
        if crcs.len() != groups * (columns + 1) + 2 {
            return Err(malformed());
        }
        Ok(Self { columns, crcs })
    }

    fn at(&self, index: usize) -> u32 {
        self.crcs.get(index).copied().unwrap_or_default()
    }

    /// Checks the bytes of a column chunk.
    pub(super) fn check_chunk(
        &self,
        group: usize,
        column: usize,
        bytes: &[u8],
    ) -> Result<(), ParquetError> {
        let expected = self.at(group * (self.columns + 1) + column);
        checked(expected, bytes, || format!("column {column} of row group {group}"))
    }

    /// Checks the bytes of a group's bloom filter.
    pub(super) fn check_bloom(&self, group: usize, bytes: &[u8]) -> Result<(), ParquetError> {
        let expected = self.at(group * (self.columns + 1) + self.columns);
        checked(expected, bytes, || format!("bloom filter of row group {group}"))
    }

    /// Checks the bytes between the last bloom filter and the footer.
    pub(super) fn check_indexes(&self, bytes: &[u8]) -> Result<(), ParquetError> {
        let expected = self.at(self.crcs.len().saturating_sub(2));
        checked(expected, bytes, || "page indexes".to_owned())
    }
}

fn checked(expected: u32, bytes: &[u8], what: impl Fn() -> String) -> Result<(), ParquetError> {
    if crc32c(bytes) == expected {
        return Ok(());
    }
    Err(ParquetError::corrupt(format!("the checksum of the {} does not fit", what())))
}

/// The value to write before the checksums are known.
pub(super) fn placeholder(groups: usize, columns: usize) -> String {
    format!("{VERSION}{}", "A".repeat((groups * (columns + 1) + 2) * WIDTH))
}

/// Fills the placeholder of a finished file in. `None` where the file holds none or its metadata
/// names ranges outside of it, neither of which the encoder makes.
pub(super) fn seal(file: &mut [u8], metadata: &ParquetMetaData) -> Option<()> {
    let footer_range = footer_range(file)?;
    let mut crcs = Vec::new();
    let mut end_of_parts = 4;
    for group in metadata.row_groups() {
        for range in chunk_ranges(group) {
            crcs.push(crc32c(slice(file, &range)?));
            end_of_parts = end_of_parts.max(range.end);
        }
        match bloom_range(group) {
            Some(range) => {
                crcs.push(crc32c(slice(file, &range)?));
                end_of_parts = end_of_parts.max(range.end);
            }
            None => crcs.push(0),
        }
    }
    crcs.push(crc32c(slice(file, &(end_of_parts..footer_range.start as u64))?));

    let footer = file.get_mut(footer_range)?;
    let value = locate(footer)?;
    let mut digits: Vec<u8> = crcs.into_iter().flat_map(encoded).collect();
    let own = value.end - WIDTH;
    footer.get_mut(value.start..own)?.copy_from_slice(&digits);
    digits.clear();
    digits.extend(encoded(footer_crc(footer, &value)?));
    footer.get_mut(own..value.end)?.copy_from_slice(&digits);
    Some(())
}

/// Whether a footer's bytes are those that were written; `None` where they hold no checksum of
/// the format this build knows, as in a foreign file.
pub(super) fn footer_is_intact(footer: &[u8]) -> Option<bool> {
    let value = locate(footer)?;
    let own = footer.get(value.end - WIDTH..value.end)?;
    let expected = decoded(*own.first_chunk::<WIDTH>()?)?;
    Some(footer_crc(footer, &value)? == expected)
}

fn footer_crc(footer: &[u8], value: &Range<usize>) -> Option<u32> {
    let before = crc32c(footer.get(..value.end.checked_sub(WIDTH)?)?);
    Some(crc32c_append(before, footer.get(value.end..)?))
}

/// Where the checksums, without their version, stand in a footer. They are its last pair, so the
/// last place where the key stands is the right one whatever the statistics hold.
fn locate(footer: &[u8]) -> Option<Range<usize>> {
    let key = footer.windows(KEY.len()).rposition(|w| w == KEY.as_bytes())?;
    let mut at = key + KEY.len();
    // Thrift compact: field 2 after field 1, binary, then its length as a varint.
    if *footer.get(at)? != 0x18 {
        return None;
    }
    let mut len = 0_usize;
    for shift in [0, 7, 14, 21, 28] {
        at += 1;
        let byte = *footer.get(at)?;
        len |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    at += 1;
    let value = footer.get(at..at.checked_add(len)?)?;
    let digits = value.strip_prefix(VERSION.as_bytes())?;
    let whole = digits.len() % WIDTH == 0 && digits.len() >= 2 * WIDTH;
    (whole && digits.iter().all(|d| ALPHABET.contains(d)))
        .then(|| at + VERSION.len()..at + value.len())
}

/// Where the footer's Thrift bytes stand in a whole file.
fn footer_range(file: &[u8]) -> Option<Range<usize>> {
    let end = file.len().checked_sub(TRAILER)?;
    let len = u32::from_le_bytes(*file.get(end..)?.first_chunk()?);
    Some(end.checked_sub(usize::try_from(len).ok()?)?..end)
}

fn slice<'a>(file: &'a [u8], range: &Range<u64>) -> Option<&'a [u8]> {
    file.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}

/// The byte ranges of a group's column chunks; empty ones where the footer's numbers are no
/// ranges.
pub(super) fn chunk_ranges(group: &RowGroupMetaData) -> impl Iterator<Item = Range<u64>> + '_ {
    group.columns().iter().map(|chunk| {
        let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        range_of(start, chunk.compressed_size()).unwrap_or(0..0)
    })
}

/// The byte range of a group's bloom filter, which is on its id.
pub(super) fn bloom_range(group: &RowGroupMetaData) -> Option<Range<u64>> {
    let chunk = group.columns().first()?;
    range_of(chunk.bloom_filter_offset()?, i64::from(chunk.bloom_filter_length()?))
}

fn range_of(start: i64, len: i64) -> Option<Range<u64>> {
    let end = u64::try_from(start.checked_add(len)?).ok()?;
    let start = u64::try_from(start).ok()?;
    (start <= end).then_some(start..end)
}

fn encoded(crc: u32) -> [u8; WIDTH] {
    [0, 6, 12, 18, 24, 30].map(|shift| {
        let sextet = (crc >> shift) & 0x3f;
        ALPHABET.get(sextet as usize).copied().unwrap_or(b'A')
    })
}

fn decoded(digits: [u8; WIDTH]) -> Option<u32> {
    let mut crc = 0_u64;
    for digit in digits.into_iter().rev() {
        let sextet = ALPHABET.iter().position(|a| *a == digit)?;
        crc = (crc << 6) | sextet as u64;
    }
    u32::try_from(crc).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back() {
        for crc in [0, 1, 63, 64, 0xdead_beef, u32::MAX] {
            assert_eq!(decoded(encoded(crc)), Some(crc));
        }
        assert_eq!(decoded(*b"AAAAA="), None);
        assert_eq!(decoded(*b"______"), None, "36 bits do not fit");
    }

    #[test]
    fn a_value_has_the_length_of_its_file() {
        let value = placeholder(2, 16);
        assert!(Checksums::parse(&value, 2, 16).is_ok());
        assert!(Checksums::parse(&value, 2, 15).is_err());
        assert!(Checksums::parse(&value[..value.len() - 1], 2, 16).is_err());
        assert!(Checksums::parse(&value.replace('1', "2"), 2, 16).is_err());
    }

    #[test]
    fn is_found_behind_look_alikes() {
        let value = placeholder(0, 16);
        let mut footer = b"audience_store.checksums in a statistic ".to_vec();
        footer.extend_from_slice(KEY.as_bytes());
        footer.extend_from_slice(&[0x18, u8::try_from(value.len()).expect("short")]);
        footer.extend_from_slice(value.as_bytes());
        footer.extend_from_slice(b"created by");
        let found = locate(&footer).expect("found");
        assert_eq!(&footer[found], &value.as_bytes()[2..]);
        assert_eq!(footer_is_intact(&footer), Some(false), "a placeholder is no checksum");
        assert_eq!(locate(b"audience_store.checksums in a statistic"), None);
    }
}
