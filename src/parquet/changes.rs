//! What is to change between one file and the next.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use crate::domain::{Micros, RecordId, Row};

/// The overlay that [`super::encode`] merges over a base file. A base row is dropped where an
/// upsert or a delete has its id; an id that is in both is upserted.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// Rows new or changed, in any order. Of one id the last one counts.
    pub upserts: Vec<Arc<Row>>,
    /// Ids of records that are gone.
    pub deletes: HashSet<RecordId>,
    /// Ids of upserts that the base is known not to hold: it is not searched for them.
    pub fresh: HashSet<RecordId>,
}

impl Changes {
    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.deletes.is_empty()
    }

    /// The upserts in file order, one an id.
    pub(super) fn sorted_upserts(&self) -> Vec<Arc<Row>> {
        let mut seen = HashSet::with_capacity(self.upserts.len());
        let mut rows: Vec<Arc<Row>> =
            self.upserts.iter().rev().filter(|r| seen.insert(r.id.as_str())).cloned().collect();
        rows.sort_by(|a, b| key_of(a).cmp(&key_of(b)));
        rows
    }

    /// Every id that a base row must not keep, but those that no base row has.
    pub(super) fn changed_ids(&self) -> HashSet<&str> {
        let upserted = self.upserts.iter().map(|r| &r.id);
        let upserted = upserted.filter(|id| !self.fresh.contains(*id)).map(RecordId::as_str);
        upserted.chain(self.deletes.iter().map(RecordId::as_str)).collect()
    }
}

/// What the rows of a file are ordered by: `created_at` ascending, ties by id descending.
pub(super) fn file_key(created_at: Micros, id: &RecordId) -> (Micros, Reverse<&RecordId>) {
    (created_at, Reverse(id))
}

/// The [`file_key`] of a row.
pub(super) fn key_of(row: &Row) -> (Micros, Reverse<&RecordId>) {
    file_key(row.created_at, &row.id)
}
