//! Whose credentials they are, as data that both layers of a sealed record authenticate: bytes
//! that are moved to another record do not open there.

use super::key::KeyId;
use crate::domain::{RecordId, Table, UserId};

const CONTENT: &[u8] = b"audience-store credentials 1";
const DATA_KEY: &[u8] = b"audience-store data key 1";

/// The record that credentials belong to.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The user.
    pub user: &'a UserId,
    /// The table.
    pub table: Table,
    /// The record's id.
    pub id: &'a RecordId,
}

impl Owner<'_> {
    /// What is authenticated with the credentials. The key id is not in it, so that another key
    /// can wrap the data key without touching the rest.
    pub(super) fn of_content(&self, account: &[u8]) -> Vec<u8> {
        self.parts(CONTENT, account)
    }

    /// What is authenticated with the data key.
    pub(super) fn of_data_key(&self, key: &KeyId) -> Vec<u8> {
        self.parts(DATA_KEY, key.as_str().as_bytes())
    }

    /// The parts, each after its length: no two lists of parts make the same bytes.
    fn parts(&self, label: &[u8], last: &[u8]) -> Vec<u8> {
        let user = self.user.as_str().as_bytes();
        let (table, id) = (self.table.spec().name.as_bytes(), self.id.as_str().as_bytes());
        let mut out = Vec::with_capacity(256);
        for part in [label, user, table, id, last] {
            // Each is far below 4 GiB.
            out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(part);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_differ() {
        let of = |user: &str, id: &str, last: &str| {
            let (user, id) =
                (UserId::checked(user).expect("user"), RecordId::checked(id).expect("id"));
            Owner { user: &user, table: Table::Platforms, id: &id }.of_content(last.as_bytes())
        };
        assert_ne!(of("ab", "c", ""), of("a", "bc", ""));
        assert_ne!(of("a", "b", "c"), of("a", "bc", ""));
    }
}
