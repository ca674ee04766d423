//! What single parts of the store take, without HTTP: `cargo bench`. `loadtest/` measures the whole.
//!
//! `log`: appending and syncing; `codec`: a body to a row, a row to an answer; `parquet`: rows to a
//! file and back; `listing_cache`: finding a ready-made listing; `rows` makes what they work on.

#![warn(clippy::pedantic)]

use criterion::{criterion_group, criterion_main};

mod codec;
mod listing_cache;
mod log;
mod parquet;
mod rows;

criterion_group!(
    benches,
    log::append_and_sync,
    log::records,
    codec::body_to_answer,
    parquet::encoding,
    parquet::decoding,
    listing_cache::finding
);
criterion_main!(benches);
