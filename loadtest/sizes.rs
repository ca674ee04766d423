//! What Parquet files of few and of many audiences take, and where their bytes go:
//! `cargo run --release --example sizes`. Figures do not depend on the machine or the build.

use std::collections::HashSet;
use std::sync::Arc;

use audience_store::domain::input::Body;
use audience_store::domain::limits::InputLimits;
use audience_store::domain::{Micros, RecordId, Row, Table, UserId};
use audience_store::parquet::{Changes, Footer, Options, SCHEMA_VERSION, encode};
use audience_store::seed::{self, DEFAULT_SEED, Generator};
use audience_store::storage::layout::parse_user;
use bytes::Bytes;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use uuid::Uuid;

/// What today's client sends.
const CLIENT_BODY: &[u8] = include_bytes!("payloads/save_audience.json");
const SIZES: [usize; 7] = [1, 3, 10, 30, 100, 1_000, 10_000];
/// November 2025.
const NOW: Micros = Micros::new(1_763_000_000_000_000);
/// Bytes at a file's end behind the footer: its length and the magic; four more at the beginning.
const TRAILER: usize = 8;
const MAGIC: usize = 4;

/// Where a file's bytes go.
#[derive(Default)]
struct Parts {
    rows: usize,
    json: usize,
    file: usize,
    chunks: usize,
    bloom: usize,
    indexes: usize,
    arrow: usize,
    checksums: usize,
    keys: usize,
    footer: usize,
}

fn user() -> UserId {
    parse_user("user_id=user_000042").expect("user")
}

fn row(body: &[u8], number: usize) -> Arc<Row> {
    let at = Micros::new(NOW.get() + i64::try_from(number).expect("few rows") * 1_234_567_891);
    // Ids are random but for their time.
    let mut random = [0; 10];
    random[..8]
        .copy_from_slice(&(number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    let id = RecordId::made(Table::Audiences, at, random);
    let parsed = Body::parse(body, &InputLimits::default()).expect("body");
    Arc::new(parsed.patch(Table::Audiences).expect("patch").created(id, at, at))
}

/// So many audiences as the seeder makes them, all different.
fn seeded(count: usize) -> Vec<Arc<Row>> {
    let audiences = u32::try_from(count).expect("few rows");
    let options = seed::Options { audiences, platforms: 0, distributions: 0, months: 1 };
    let records = Generator::new(DEFAULT_SEED, options, NOW).records(42);
    records.enumerate().map(|(number, made)| row(&made.body, number)).collect()
}

/// So many audiences as today's client sends one: equal but for id and time.
fn equal(count: usize) -> Vec<Arc<Row>> {
    (0..count).map(|number| row(CLIENT_BODY, number)).collect()
}

fn json_of(rows: &[Arc<Row>]) -> usize {
    let mut out = String::new();
    for row in rows {
        row.render(&user(), None, &|_, _| {}, &mut out);
    }
    out.len()
}

fn file_of(rows: Vec<Arc<Row>>) -> Bytes {
    let footer = Footer {
        user: user(),
        applied_lsn: 123_456,
        log_id: Uuid::from_u128(0x0193_4567_89ab_7def_8123_4567_89ab_cdef),
        schema_version: SCHEMA_VERSION,
        foreign_ids: 0,
        adopted: Vec::new(),
    };
    let changes = Changes { upserts: rows, deletes: HashSet::new(), fresh: HashSet::new() };
    encode(Table::Audiences, None, &changes, &footer, &Options::default()).expect("file").bytes
}

fn bytes(length: i64) -> usize {
    usize::try_from(length).expect("a length")
}

fn parts(rows: Vec<Arc<Row>>) -> (Parts, ParquetMetaData) {
    let (count, json) = (rows.len(), json_of(&rows));
    let file = file_of(rows);
    let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).expect("metadata");
    let all = |of: fn(&ColumnChunkMetaData) -> usize| {
        metadata.row_groups().iter().flat_map(|group| group.columns()).map(of).sum::<usize>()
    };
    let mut found = Parts {
        rows: count,
        json,
        file: file.len(),
        chunks: all(|chunk| bytes(chunk.compressed_size())),
        bloom: all(|chunk| bytes(i64::from(chunk.bloom_filter_length().unwrap_or(0)))),
        indexes: all(|chunk| {
            let lengths = [chunk.column_index_length(), chunk.offset_index_length()];
            lengths.into_iter().flatten().map(|length| bytes(i64::from(length))).sum()
        }),
        ..Parts::default()
    };
    for pair in metadata.file_metadata().key_value_metadata().into_iter().flatten() {
        let length = pair.key.len() + pair.value.as_ref().map_or(0, String::len);
        match pair.key.as_str() {
            "ARROW:schema" => found.arrow += length,
            "audience_store.checksums" => found.checksums += length,
            _ => found.keys += length,
        }
    }
    let known =
        [found.chunks, found.bloom, found.indexes, found.arrow, found.checksums, found.keys];
    found.footer = found.file - MAGIC - TRAILER - known.iter().sum::<usize>();
    (found, metadata)
}

#[allow(clippy::cast_precision_loss, reason = "sizes for people")]
fn table(what: &str, make: fn(usize) -> Vec<Arc<Row>>) {
    println!("\n{what}\n");
    println!(
        "| rows | JSON a row | file | bytes a row | of JSON | columns | bloom filter | page indexes | \
         Arrow schema | checksums | our keys | rest of the footer |"
    );
    println!("| ---: {}|", "| ---: ".repeat(11));
    for size in SIZES {
        let (found, _) = parts(make(size));
        println!(
            "| {} | {} | {} | {:.0} | {:.1} % | {} | {} | {} | {} | {} | {} | {} |",
            found.rows,
            found.json / found.rows,
            found.file,
            found.file as f64 / found.rows as f64,
            100.0 * found.file as f64 / found.json as f64,
            found.chunks,
            found.bloom,
            found.indexes,
            found.arrow,
            found.checksums,
            found.keys,
            found.footer,
        );
    }
}

fn columns(size: usize) {
    println!("\nColumns of {size} rows as the seeder makes them\n");
    println!("| column | bytes | before compression | compression | encodings |");
    println!("| --- | ---: | ---: | --- | --- |");
    let (_, metadata) = parts(seeded(size));
    for chunk in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        let encodings: Vec<String> = chunk.encodings().map(|e| format!("{e:?}")).collect();
        println!(
            "| {} | {} | {} | {:?} | {} |",
            chunk.column_path().string(),
            chunk.compressed_size(),
            chunk.uncompressed_size(),
            chunk.compression(),
            encodings.join(", "),
        );
    }
}

fn main() {
    table("Audiences as the seeder makes them, all different", seeded);
    table("One audience as today's client sends it, again and again", equal);
    columns(1);
    columns(10);
}
