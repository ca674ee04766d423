//! What a log record of kind `changes` carries: one operation for each of its partition keys.
//!
//! ```text
//! u8   payload version, 2 (1 has no time)
//! i64  when, microseconds since 1970 UTC, by the server's clock
//! then for each key of the record, in their order:
//! u8   operation: 1 put, 2 delete
//! put: row      delete: id
//!
//! id:  u8 length, bytes
//! row: id, i64 created_at, i64 updated_at (microseconds), i64 version,
//!      u32 length of the sealed credentials or 0xffffffff for none, bytes,
//!      u8 number of cells, then each cell:
//!      u8 column index, u8 tag, value
//!      tags: 1 int (i64), 2 double (f64 bits), 3 time (i64), 4 text, 5 json (u32 length, UTF-8)
//! ```
//! Little endian. A put carries the whole row, so applying it twice changes nothing.

use thiserror::Error;

use crate::domain::{Cell, Micros, PartitionKey, RecordId, Row, Table};

/// Without a time.
const TIMELESS: u8 = 1;
const PAYLOAD_VERSION: u8 = 2;
const PUT: u8 = 1;
const DELETE: u8 = 2;
const NO_SEALED: u32 = u32::MAX;

/// A change to one partition, on its way into the log.
#[derive(Clone, Copy, Debug)]
pub enum OpRef<'a> {
    /// The record is now this.
    Put(&'a Row),
    /// The record is gone.
    Delete(&'a RecordId),
}

/// A change to one partition, out of the log.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// The record is now this.
    Put(Row),
    /// The record is gone.
    Delete(RecordId),
}

/// A payload this version cannot read.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum PayloadError {
    /// Written by a newer version.
    #[error("payload version {0} is newer than this server")]
    Newer(u8),
    /// Not a payload, though its checksum held: a bug, or a forged file.
    #[error("payload is malformed")]
    Malformed,
}

/// Appends the payload of `ops`, made at `at`, to `out`.
pub fn encode(ops: &[OpRef<'_>], at: Micros, out: &mut Vec<u8>) {
    out.push(PAYLOAD_VERSION);
    out.extend_from_slice(&at.get().to_le_bytes());
    for op in ops {
        match op {
            OpRef::Put(row) => {
                out.push(PUT);
                encode_row(row, out);
            }
            OpRef::Delete(id) => {
                out.push(DELETE);
                encode_id(id, out);
            }
        }
    }
}

/// The operations of a payload, one for each of its record's keys.
///
/// # Errors
/// [`PayloadError`] where the bytes are not a payload this version knows.
pub fn decode(keys: &[PartitionKey], payload: &[u8]) -> Result<Vec<Op>, PayloadError> {
    let mut reader = Reader(payload);
    match reader.u8()? {
        TIMELESS => {}
        PAYLOAD_VERSION => drop(reader.i64()?),
        newer => return Err(PayloadError::Newer(newer)),
    }
    let mut ops = Vec::with_capacity(keys.len());
    for key in keys {
        ops.push(match reader.u8()? {
            PUT => Op::Put(decode_row(key.table(), &mut reader)?),
            DELETE => Op::Delete(reader.id()?),
            _ => return Err(PayloadError::Malformed),
        });
    }
    if reader.0.is_empty() { Ok(ops) } else { Err(PayloadError::Malformed) }
}

/// When a payload's changes were made: as it says, or, of version 1, the latest `updated_at` in it.
/// `None` where nothing tells.
#[must_use]
pub fn time_of(keys: &[PartitionKey], payload: &[u8]) -> Option<Micros> {
    if payload.first() == Some(&PAYLOAD_VERSION) {
        let mut reader = Reader(payload.get(1..)?);
        return reader.i64().ok().map(Micros::new);
    }
    let ops = decode(keys, payload).ok()?;
    let put = |op: Op| if let Op::Put(row) = op { Some(row.updated_at) } else { None };
    ops.into_iter().filter_map(put).max()
}

fn encode_id(id: &RecordId, out: &mut Vec<u8>) {
    let bytes = id.as_str().as_bytes();
    // A record id has at most 64 bytes.
    out.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(bytes);
}

fn encode_row(row: &Row, out: &mut Vec<u8>) {
    encode_id(&row.id, out);
    out.extend_from_slice(&row.created_at.get().to_le_bytes());
    out.extend_from_slice(&row.updated_at.get().to_le_bytes());
    out.extend_from_slice(&row.version.to_le_bytes());
    match row.sealed() {
        Some(sealed) => encode_bytes(sealed, out),
        None => out.extend_from_slice(&NO_SEALED.to_le_bytes()),
    }
    let count_at = out.len();
    out.push(0);
    let mut count = 0_u8;
    for (index, _) in row.table().spec().columns.iter().enumerate() {
        let cell = row.cell(index);
        if cell == Cell::Null {
            continue;
        }
        count += 1;
        // A table has at most 32 columns.
        out.push(u8::try_from(index).unwrap_or(u8::MAX));
        match cell {
            Cell::Null => {}
            Cell::Int(n) => tagged(1, n.cast_unsigned(), out),
            Cell::Double(d) => tagged(2, d.to_bits(), out),
            Cell::Time(at) => tagged(3, at.get().cast_unsigned(), out),
            Cell::Text(text) => {
                out.push(4);
                encode_bytes(text.as_bytes(), out);
            }
            Cell::Json(text) => {
                out.push(5);
                encode_bytes(text.as_bytes(), out);
            }
        }
    }
    if let Some(slot) = out.get_mut(count_at) {
        *slot = count;
    }
}

fn tagged(tag: u8, value: u64, out: &mut Vec<u8>) {
    out.push(tag);
    out.extend_from_slice(&value.to_le_bytes());
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    // A request body is far below 4 GiB.
    let len = u32::try_from(bytes.len()).unwrap_or(NO_SEALED - 1);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn decode_row(table: Table, reader: &mut Reader<'_>) -> Result<Row, PayloadError> {
    let id = reader.id()?;
    let created_at = Micros::new(reader.i64()?);
    let updated_at = Micros::new(reader.i64()?);
    let version = reader.i64()?;
    let mut row = Row::build(table);
    let sealed = reader.u32()?;
    if sealed != NO_SEALED {
        row.set_sealed(Some(reader.take(sealed as usize)?.into()));
    }
    for _ in 0..reader.u8()? {
        let index = usize::from(reader.u8()?);
        if index >= table.spec().columns.len() {
            return Err(PayloadError::Malformed);
        }
        match reader.u8()? {
            1 => row.set(index, Cell::Int(reader.i64()?)),
            2 => row.set(index, Cell::Double(f64::from_bits(reader.i64()?.cast_unsigned()))),
            3 => row.set(index, Cell::Time(Micros::new(reader.i64()?))),
            4 => row.set(index, Cell::Text(reader.text()?)),
            5 => row.set(index, Cell::Json(reader.text()?)),
            _ => return Err(PayloadError::Malformed),
        }
    }
    Ok(row.finish(id, created_at, updated_at, version))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], PayloadError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(PayloadError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PayloadError> {
        self.take(N)?.try_into().map_err(|_| PayloadError::Malformed)
    }

    fn u8(&mut self) -> Result<u8, PayloadError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, PayloadError> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Result<i64, PayloadError> {
        self.array().map(i64::from_le_bytes)
    }

    fn id(&mut self) -> Result<RecordId, PayloadError> {
        let len = usize::from(self.u8()?);
        let text = std::str::from_utf8(self.take(len)?).map_err(|_| PayloadError::Malformed)?;
        RecordId::checked(text).map_err(|_| PayloadError::Malformed)
    }

    fn text(&mut self) -> Result<&'a str, PayloadError> {
        let len = self.u32()? as usize;
        std::str::from_utf8(self.take(len)?).map_err(|_| PayloadError::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::UserId;
    use crate::domain::input::row_of;

    fn key(table: Table) -> PartitionKey {
        let user = UserId::checked("u").expect("user");
        PartitionKey::holding(&user, table, Micros::new(0)).expect("key")
    }

    fn sample() -> Row {
        row_of(
            Table::Distributions,
            r#"{"audience_id":"a","platform_id":"p","match_rate":0.25,"total_records":7,
                "scheduled_at":"2025-01-01","segments_distributed":[0,"x"],"odd":{"b":[1.0]}}"#,
        )
    }

    #[test]
    fn several_operations_come_back() {
        let mut platform = Row::build(Table::Platforms);
        platform.set_sealed(Some(vec![1, 2, 3].into()));
        let platform = platform.finish(
            RecordId::checked("p1").expect("id"),
            Micros::new(1),
            Micros::new(2),
            3,
        );
        let gone = RecordId::checked("gone").expect("id");
        let mut bytes = Vec::new();
        let at = Micros::new(7);
        encode(
            &[OpRef::Put(&sample()), OpRef::Put(&platform), OpRef::Delete(&gone)],
            at,
            &mut bytes,
        );
        let keys = [key(Table::Distributions), key(Table::Platforms), key(Table::Audiences)];
        let ops = decode(&keys, &bytes).expect("decode");
        assert_eq!(ops, [Op::Put(sample()), Op::Put(platform), Op::Delete(gone)]);
        assert_eq!(time_of(&keys, &bytes), Some(at));
        // Version 1: the same without a time.
        let timeless = [&[TIMELESS], &bytes[9..]].concat();
        assert_eq!(decode(&keys, &timeless).as_ref(), Ok(&ops));
        assert_eq!(time_of(&keys, &timeless), Some(sample().updated_at.max(Micros::new(2))));
        assert_eq!(decode(&keys[..2], &bytes), Err(PayloadError::Malformed));
    }

    #[test]
    fn what_version_1_wrote_is_read() {
        // Version, delete, 4 bytes of id: as the first release wrote it.
        let written = b"\x01\x02\x04gone";
        let ops = decode(&[key(Table::Platforms)], written).expect("decode");
        assert_eq!(ops, [Op::Delete(RecordId::checked("gone").expect("id"))]);
        assert_eq!(time_of(&[key(Table::Platforms)], written), None);
    }

    #[test]
    fn a_newer_version_is_named() {
        assert_eq!(decode(&[], &[3]), Err(PayloadError::Newer(3)));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[key(Table::Distributions)], &bytes);
            let mut real = Vec::new();
            encode(&[OpRef::Put(&sample())], Micros::new(0), &mut real);
            for (at, byte) in bytes.iter().enumerate() {
                if let Some(slot) = real.get_mut(at) { *slot ^= byte; }
            }
            let _ = decode(&[key(Table::Distributions)], &real);
        }
    }
}
