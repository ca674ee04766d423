//! Changes of a partition that its Parquet file does not hold yet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use crate::domain::{Micros, Position, RecordId, Row};

/// The listing order: newest first, ties by id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ListKey(Reverse<Micros>, RecordId);

impl ListKey {
    /// The place of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        Self(Reverse(row.created_at), row.id.clone())
    }
}

#[derive(Debug)]
struct Entry {
    row: Option<Arc<Row>>,
    /// Whether the file is known not to hold the id.
    fresh: bool,
}

/// A set of changes, the newest of each id.
#[derive(Default, Debug)]
pub struct Overlay {
    by_id: HashMap<RecordId, Entry>,
    by_time: BTreeMap<ListKey, Arc<Row>>,
    bytes: usize,
    max_lsn: u64,
}

impl Overlay {
    /// Applies a change: a row, or `None` for a deletion. Changes come in LSN order. `fresh` says
    /// that no record had the id before.
    pub fn apply(&mut self, id: &RecordId, row: Option<Arc<Row>>, lsn: u64, fresh: bool) {
        self.max_lsn = self.max_lsn.max(lsn);
        self.bytes += row.as_ref().map_or(64, |r| r.memory() + 128);
        if let Some(row) = &row {
            self.by_time.insert(ListKey::of(row), Arc::clone(row));
        }
        let known = row.is_some();
        let Some(before) = self.by_id.insert(id.clone(), Entry { row, fresh }) else { return };
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.fresh = before.fresh;
        }
        if let Some(old) = before.row {
            self.bytes = self.bytes.saturating_sub(old.memory() + 128);
            if !known {
                self.by_time.remove(&ListKey::of(&old));
            }
        }
    }

    /// What is known of an id: `None` nothing, `Some(None)` deleted.
    #[must_use]
    pub fn get(&self, id: &RecordId) -> Option<&Option<Arc<Row>>> {
        self.by_id.get(id).map(|entry| &entry.row)
    }

    /// The first row after a place in the listing order.
    #[must_use]
    pub fn next_after(&self, after: Option<&Position>) -> Option<&Arc<Row>> {
        let from = match after {
            Some(p) => Bound::Excluded(ListKey(Reverse(p.created_at), p.id.clone())),
            None => Bound::Unbounded,
        };
        self.by_time.range((from, Bound::Unbounded)).next().map(|(_, row)| row)
    }

    /// Puts older changes under this one's.
    pub fn absorb_older(&mut self, older: Self) {
        for (id, Entry { row, fresh }) in older.by_id {
            if !self.by_id.contains_key(&id) {
                self.apply(&id, row, older.max_lsn, fresh);
            }
        }
    }

    /// All changes.
    pub fn changes(&self) -> impl Iterator<Item = (&RecordId, &Option<Arc<Row>>)> {
        self.by_id.iter().map(|(id, entry)| (id, &entry.row))
    }

    /// Ids that the file is known not to hold.
    pub fn fresh(&self) -> impl Iterator<Item = &RecordId> {
        self.by_id.iter().filter(|(_, entry)| entry.fresh).map(|(id, _)| id)
    }

    /// Bytes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The highest LSN in it; 0 for none.
    #[must_use]
    pub fn max_lsn(&self) -> u64 {
        self.max_lsn
    }

    /// Whether it holds no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
