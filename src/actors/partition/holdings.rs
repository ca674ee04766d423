//! What a partition holds, counted where quotas ask for it.
//!
//! Records are counted from the file's, by what the log has over it: a record's first version is
//! one more, a deletion one less; other changes are none.

use std::sync::Arc;

use super::load::Loaded;
use crate::actors::StoreError;
use crate::actors::usage::{Held, Usage};
use crate::domain::{PartitionKey, Row};
use crate::log::payload::Op;

/// A partition's records, and the user's book they are entered in.
pub struct Holdings {
    key: PartitionKey,
    usage: Option<Arc<Usage>>,
    rows: u64,
}

/// By how many records a change in the log makes the partition larger.
#[must_use]
pub fn growth(op: &Op) -> i64 {
    match op {
        Op::Put(row) if row.version == 1 => 1,
        Op::Put(_) => 0,
        Op::Delete(_) => -1,
    }
}

impl Holdings {
    /// Those of a partition as it was loaded.
    #[must_use]
    pub fn new(key: &PartitionKey, usage: Option<Arc<Usage>>, loaded: &Loaded) -> Self {
        let in_memory = || {
            let groups = loaded.rows.groups().iter();
            groups.filter_map(|g| g.loaded.as_ref()).map(|rows| rows.len() as u64).sum()
        };
        // Files of the Python service are all in memory; rows of one id count once.
        let base = match &loaded.file {
            Some(file) if loaded.legacy.is_empty() => file.view.rows(),
            _ => in_memory(),
        };
        let rows = base.saturating_add_signed(loaded.growth);
        Self { key: key.clone(), usage, rows }
    }

    /// Asks for room for a record, in the place of another where it is an update.
    ///
    /// # Errors
    /// [`StoreError::QuotaExceeded`]; [`StoreError::Overloaded`] while the user's partitions are
    /// not all known.
    pub fn make_room(&self, row: &Row, before: Option<&Row>) -> Result<(), StoreError> {
        let Some(usage) = &self.usage else { return Ok(()) };
        if !usage.is_complete() {
            return Err(StoreError::Overloaded);
        }
        let bytes = row.memory().saturating_sub(before.map_or(0, Row::memory)) as u64;
        let more = Held { rows: u64::from(before.is_none()), bytes };
        usage.grow(&self.key, more).map_err(StoreError::QuotaExceeded)
    }

    /// A change was made.
    pub fn changed(&mut self, created: bool, deleted: bool) {
        let by = i64::from(created) - i64::from(deleted);
        self.rows = self.rows.saturating_add_signed(by);
    }

    /// Enters what the partition holds, with the bytes of its file and of what is not in it.
    pub fn report(&self, bytes: impl FnOnce() -> u64) {
        if let Some(usage) = &self.usage {
            usage.report(&self.key, Held { rows: self.rows, bytes: bytes() });
        }
    }
}
