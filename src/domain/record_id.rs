//! Record ids: what the server makes and what clients may bring.
//!
//! A server-made id is the table's prefix and a `UUIDv7` in simple hex whose time is the record's
//! `created_at`, so that an id tells the month its partition covers.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use uuid::fmt::Simple;
use uuid::{Builder, Uuid};

use super::{Micros, Month, Table};

/// Longest record id, in bytes.
pub const MAX_RECORD_ID_BYTES: usize = 64;

/// A checked record id: `[A-Za-z0-9_-]{1,64}`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId(Arc<str>);

/// Why a text is not a record id.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("an id is 1 to 64 of A-Z, a-z, 0-9, _ and -")]
pub struct RecordIdError;

impl RecordId {
    /// Checks an id that a client brought or that a file holds.
    ///
    /// # Errors
    /// [`RecordIdError`] where the text is not `[A-Za-z0-9_-]{1,64}`.
    pub fn checked(text: &str) -> Result<Self, RecordIdError> {
        let fits = (1..=MAX_RECORD_ID_BYTES).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(RecordIdError) }
    }

    /// Makes an id for a record created at `created_at`, from 10 random bytes.
    #[must_use]
    pub fn made(table: Table, created_at: Micros, random: [u8; 10]) -> Self {
        let millis = u64::try_from(created_at.get().div_euclid(1000)).unwrap_or(0);
        let uuid = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut digits = [0; Simple::LENGTH];
        let prefix = table.spec().id_prefix;
        let mut id = String::with_capacity(prefix.len() + digits.len());
        id.push_str(prefix);
        id.push_str(uuid.simple().encode_lower(&mut digits));
        Self(id.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The month a server-made id of `table` tells, or `None` for an id a client brought.
    #[must_use]
    pub fn month(&self, table: Table) -> Option<Month> {
        Month::of(self.made_at(table)?)
    }

    /// The `created_at`, cut to the millisecond, that a server-made id of `table` tells.
    #[must_use]
    pub fn made_at(&self, table: Table) -> Option<Micros> {
        let hex = self.0.strip_prefix(table.spec().id_prefix)?;
        if hex.len() != 32 || hex.bytes().any(|b| b.is_ascii_uppercase()) {
            return None;
        }
        let uuid = Uuid::try_parse(hex).ok()?;
        if uuid.get_version_num() != 7 {
            return None;
        }
        let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
        let micros = i64::try_from(seconds).ok()?.checked_mul(1_000_000)?;
        Some(Micros::new(micros.checked_add(i64::from(nanos / 1000))?))
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_id_tells_its_month() {
        let at = Micros::parse("2025-04-30T23:59:59.999999Z").expect("time");
        let id = RecordId::made(Table::Audiences, at, [7; 10]);
        assert!(id.as_str().starts_with("aud_"));
        assert_eq!(id.as_str().len(), 36);
        assert_eq!(id.month(Table::Audiences).expect("month").to_string(), "2025-04");
        assert_eq!(id.month(Table::Distributions), None);
    }

    #[test]
    fn a_brought_id_tells_no_month() {
        for id in ["aud_12345678", "b91920e7-ec84-4e19-9003-8acf871781c5", "x"] {
            assert_eq!(RecordId::checked(id).expect(id).month(Table::Audiences), None);
        }
    }

    #[test]
    fn refuses_what_would_break_a_path() {
        for bad in ["", "a/b", "..", "a.b", "a b", "ü", &"x".repeat(65)] {
            assert_eq!(RecordId::checked(bad), Err(RecordIdError), "{bad}");
        }
    }
}
