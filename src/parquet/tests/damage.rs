//! Damaged files: an error or the right rows, never a panic, never other rows.

use std::collections::HashSet;

use bytes::Bytes;

use super::support::{footer, next, payload_row, upserts};
use crate::domain::Micros;
use crate::domain::{Row, Table};
use crate::parquet::{
    Base, Changes, Fetched, FileView, Options, ParquetError, decode_group, encode, find_record,
    legacy,
};

fn small_file() -> Bytes {
    let options = Options { rows_per_group: 2, ..Options::default() };
    next(Table::Audiences, None, &upserts((0..3).map(payload_row)), &options).bytes
}

fn read(bytes: &Bytes) -> Result<Vec<Row>, ParquetError> {
    let view = FileView::open(bytes)?;
    if !view.is_ours() {
        return Err(ParquetError::Foreign);
    }
    let mut rows = Vec::new();
    for group in 0..view.groups().len() {
        rows.extend(decode_group(&view, group, &Fetched::part(0, bytes.clone()), None)?);
    }
    Ok(rows)
}

fn flipped(bytes: &Bytes, at: usize, bits: u8) -> Bytes {
    let mut damaged = bytes.to_vec();
    damaged[at] ^= bits;
    damaged.into()
}

#[test]
fn any_damaged_byte_is_found_or_harmless() {
    let bytes = small_file();
    let expected: Vec<Row> = (0..3).map(payload_row).collect();
    let mut found = 0;
    for at in 0..bytes.len() {
        for bits in [0x01, 0x80, 0xff] {
            let damaged = flipped(&bytes, at, bits);
            match read(&damaged) {
                Ok(rows) => assert_eq!(rows, expected, "byte {at}"),
                // Damage never makes one of our files look like a foreign one.
                Err(ParquetError::Corrupt { .. }) => found += 1,
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
    assert!(found > bytes.len() * 2, "{found} findings in {} bytes", bytes.len());
}

#[test]
fn damage_is_not_copied_on() {
    let bytes = small_file();
    let view = FileView::open(&bytes).expect("view");
    let first_footer_byte = usize::try_from(view.indexes().end).expect("offset");
    // The second group's row goes, so that the first group is copied with index and filter.
    let deletes = HashSet::from([payload_row(2).id]);
    let changes = Changes { deletes, ..Changes::default() };
    let options = Options { rows_per_group: 2, ..Options::default() };
    let rewrite = |file: &Bytes| {
        let base = Base { view: &view, source: file };
        encode(Table::Audiences, Some(&base), &changes, &footer(), &options)
    };
    let sound = rewrite(&bytes).expect("sound");
    assert_eq!(sound.groups_copied, 1);
    let mut found = 0;
    for at in 4..first_footer_byte {
        match rewrite(&flipped(&bytes, at, 0x10)) {
            Err(ParquetError::Corrupt { .. }) => found += 1,
            // The user's column is written and not read: what is rewritten gets it afresh.
            Ok(encoded) => assert_eq!(encoded.bytes, sound.bytes, "byte {at}"),
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(found > (first_footer_byte - 4) * 9 / 10, "{found} of {first_footer_byte} bytes");
}

#[test]
fn a_damaged_filter_hides_nothing() {
    // Fewer rows have no filter.
    let rows = upserts((0..32).map(payload_row));
    let bytes = next(Table::Audiences, None, &rows, &Options::default()).bytes;
    let view = FileView::open(&bytes).expect("view");
    for info in view.groups() {
        let bloom = info.bloom.clone().expect("filter");
        for at in bloom.start..bloom.end {
            let damaged = flipped(&bytes, usize::try_from(at).expect("offset"), 0xff);
            for number in 0..3 {
                let row = payload_row(number);
                match find_record(&view, &damaged, &row.id) {
                    Ok(found) => assert_eq!(found, Some(row), "byte {at}"),
                    Err(ParquetError::Corrupt { .. }) => {}
                    Err(other) => panic!("byte {at}: {other}"),
                }
            }
        }
    }
}

#[test]
fn a_cut_file_is_an_error() {
    let bytes = small_file();
    for len in 0..bytes.len() {
        assert!(read(&bytes.slice(..len)).is_err(), "{len} bytes");
    }
}

#[test]
fn damaged_legacy_files_do_not_panic() {
    let path = "tests/fixtures/legacy-tree/audiences/user_id=demo_user/year=2025/month=04/audiences_202505.parquet";
    let bytes = legacy::fixture(path);
    // Panics of the decoder are caught and reported as findings; their messages would fill the
    // test's output.
    for at in 0..bytes.len() {
        let damaged = flipped(&bytes, at, 0xff);
        let _ = FileView::open(&damaged);
        let _ = legacy::decode_legacy(Table::Audiences, damaged, Micros::new(0));
    }
}
