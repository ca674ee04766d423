//! Rows to and from Parquet.
//!
//! Purpose: to turn a partition's rows into a file that `DuckDB`, Polars, pandas, Spark and
//! `BigQuery` read as it is, and back. A new file is made out of an older one and a set of
//! [`Changes`]: row groups that no change touches are copied as bytes, so that a checkpoint costs
//! what changed and not what is there.
//!
//! Invariants of a file written here:
//! - rows ascend by `created_at`, ties by id descending, so that reading backwards gives the
//!   listing order; an id stands in it once;
//! - its footer names the user, the table, the log and the LSN it holds ([`Footer`]);
//! - every byte but the magic at both ends is covered by a CRC32C in the footer, checked before
//!   the bytes are decoded: damage is [`ParquetError::Corrupt`], never a wrong row.
//!
//! What it does not do: open, name or write files, nor know of partitions. Bytes come through
//! [`RangeSource`] and go out as [`Encoded::bytes`]. Everything here blocks and belongs on a
//! blocking thread.

mod changes;
mod check;
mod checksums;
mod columns;
mod copy;
mod decode;
mod encode;
mod error;
mod file_view;
mod footer;
pub mod legacy;
mod list_text;
mod merge;
mod open_file;
mod ours;
mod packing;
mod pages;
mod plan;
mod properties;
mod schema;
mod source;
mod writer;

#[cfg(test)]
mod tests;

pub use changes::Changes;
pub use check::{DamagedPart, check, check_group, check_rest};
pub use decode::{decode_group, decode_rows, find_record, may_contain, read_ids};
pub use encode::{Base, Encoded, Options, ROWS_PER_GROUP, encode};
pub use error::ParquetError;
pub use file_view::FileView;
pub use footer::{AdoptedFile, Footer, SCHEMA_VERSION};
pub use open_file::OpenFile;
pub use ours::GroupInfo;
pub use schema::arrow_schema;
pub use source::{Fetched, RangeSource};
