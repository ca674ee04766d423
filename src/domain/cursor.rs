//! Where a page ended: an opaque text that leads to the next page of the same list of the same
//! user, and of nothing else.
//!
//! Layout before base64url: version 1, 8 bytes of SHA-256 over user, table and filter, then of
//! the last record shown its partition's month (4 bytes, `yyyymm`, 0 for none), its `created_at`
//! (8 bytes, microseconds) and its id; numbers big endian. It names a position, not a page
//! number, so inserts elsewhere do not move it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::{Filter, Micros, Month, RecordId, Row, Table, UserId};

const VERSION: u8 = 1;

/// A place in a listing: after the record with this `created_at` and id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// The record's `created_at`.
    pub created_at: Micros,
    /// The record's id.
    pub id: RecordId,
}

impl Position {
    /// The place of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        Self { created_at: row.created_at, id: row.id.clone() }
    }

    /// Whether a record with this `created_at` and id comes after the place: older, or of the
    /// same instant with a greater id.
    #[must_use]
    pub fn precedes(&self, created_at: Micros, id: &RecordId) -> bool {
        created_at < self.created_at || (created_at == self.created_at && id > &self.id)
    }
}

/// A place in a listing that spans partitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The partition's month, where the table is monthly.
    pub month: Option<Month>,
    /// The place in the partition.
    pub position: Position,
}

/// Why a text is not a cursor of this list.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the cursor does not belong to this list")]
pub struct CursorError;

/// Which list a cursor belongs to.
#[derive(Clone, Copy)]
pub struct ListIdentity([u8; 8]);

impl ListIdentity {
    /// The list of `user`'s `table` under `filter`.
    #[must_use]
    pub fn new(user: &UserId, table: Table, filter: &Filter) -> Self {
        let mut hash = Sha256::new();
        hash.update([table.number()]);
        hash.update((user.as_str().len() as u64).to_be_bytes());
        hash.update(user.as_str().as_bytes());
        hash.update(filter.canonical().as_bytes());
        let mut short = [0; 8];
        short.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Self(short)
    }

    /// The cursor for the page after `place`.
    #[must_use]
    pub fn encode(self, place: &Place) -> String {
        let Place { month, position } = place;
        let mut bytes = Vec::with_capacity(21 + position.id.as_str().len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(&month.map_or(0, Month::number).to_be_bytes());
        bytes.extend_from_slice(&position.created_at.get().to_be_bytes());
        bytes.extend_from_slice(position.id.as_str().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place a cursor of this list names.
    ///
    /// # Errors
    /// [`CursorError`] where the text is no cursor, or one of another user, table or filter.
    pub fn decode(self, cursor: &str) -> Result<Place, CursorError> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| CursorError)?;
        let rest = bytes.strip_prefix(&[VERSION]).ok_or(CursorError)?;
        let rest = rest.strip_prefix(&self.0).ok_or(CursorError)?;
        let (month, rest) = rest.split_first_chunk::<4>().ok_or(CursorError)?;
        let (time, id) = rest.split_first_chunk::<8>().ok_or(CursorError)?;
        let id = std::str::from_utf8(id).map_err(|_| CursorError)?;
        let month = match u32::from_be_bytes(*month) {
            0 => None,
            number => Some(Month::from_number(number).ok_or(CursorError)?),
        };
        let created_at = Micros::new(i64::from_be_bytes(*time));
        let id = RecordId::checked(id).map_err(|_| CursorError)?;
        Ok(Place { month, position: Position { created_at, id } })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn identity(user: &str, table: Table) -> ListIdentity {
        ListIdentity::new(&UserId::checked(user).expect("user"), table, &Filter::default())
    }

    proptest! {
        #[test]
        fn come_back_as_they_were(micros in any::<i64>(), id in "[A-Za-z0-9_-]{1,64}") {
            let list = identity("u", Table::Audiences);
            let position = Position { created_at: Micros::new(micros), id: RecordId::checked(&id).expect("id") };
            for month in [None, Month::new(2025, 4)] {
                let place = Place { month, position: position.clone() };
                prop_assert_eq!(list.decode(&list.encode(&place)), Ok(place));
            }
        }

        #[test]
        fn garbage_is_refused(text in "\\PC{0,80}") {
            prop_assert_eq!(identity("u", Table::Audiences).decode(&text), Err(CursorError));
        }
    }

    #[test]
    fn belong_to_one_list() {
        let position =
            Position { created_at: Micros::new(5), id: RecordId::checked("a").expect("id") };
        let place = Place { month: None, position };
        let cursor = identity("u", Table::Audiences).encode(&place);
        assert_eq!(identity("v", Table::Audiences).decode(&cursor), Err(CursorError));
        assert_eq!(identity("u", Table::Distributions).decode(&cursor), Err(CursorError));
        let mut filter = Filter::default();
        filter.containing("x");
        let user = UserId::checked("u").expect("user");
        assert_eq!(
            ListIdentity::new(&user, Table::Audiences, &filter).decode(&cursor),
            Err(CursorError)
        );
    }

    #[test]
    fn order_is_newest_first_ties_by_id() {
        let id = |text: &str| RecordId::checked(text).expect("id");
        let at = Position { created_at: Micros::new(5), id: id("m") };
        assert!(at.precedes(Micros::new(4), &id("a")));
        assert!(at.precedes(Micros::new(5), &id("n")));
        assert!(!at.precedes(Micros::new(5), &id("m")));
        assert!(!at.precedes(Micros::new(5), &id("a")));
        assert!(!at.precedes(Micros::new(6), &id("z")));
    }
}
