//! What each user has and stores, where quotas limit it.
//!
//! A running partition is the one place that knows what it holds, so it says so itself, in whole
//! numbers and not as a change: what it says twice does no harm, and nothing has to be taken back
//! after a failed write. What partitions hold that do not run is read from their files' footers
//! once ([`crate::store`] does), and never put over what a running one said. Before all of a
//! user's partitions are known, nothing of the user is let in. A quota is checked and its use
//! noted in one step under the user's lock: saves to different months cannot both take the last
//! place.
//!
//! Without quotas none of this exists: no partition has a [`Usage`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::domain::{Month, PartitionKey, Table};

/// A quota that a user has used up, and how much it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quota {
    /// Audiences.
    Audiences(u64),
    /// Bytes.
    Bytes(u64),
}

/// How much each user may have; 0 for any amount.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quotas {
    /// Audiences.
    pub audiences: u64,
    /// Bytes of files, and of what is not in one yet.
    pub bytes: u64,
}

impl Quotas {
    /// Whether anything is limited.
    #[must_use]
    pub fn any(self) -> bool {
        self.audiences > 0 || self.bytes > 0
    }
}

/// What one partition holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Records.
    pub rows: u64,
    /// Bytes of its file, and of what is not in it yet.
    pub bytes: u64,
}

/// Which of a user's partitions.
type Part = (Table, Option<Month>);

/// What one user has.
#[derive(Debug)]
pub struct Usage {
    quotas: Quotas,
    parts: Mutex<HashMap<Part, Held>>,
    complete: AtomicBool,
    /// Held by who reads the files' footers, so that one does.
    pub reading: tokio::sync::Mutex<()>,
}

fn part(key: &PartitionKey) -> Part {
    (key.table(), key.month())
}

impl Usage {
    /// Of a user of whom nothing is known yet.
    #[must_use]
    pub fn new(quotas: Quotas) -> Self {
        let reading = tokio::sync::Mutex::new(());
        Self { quotas, parts: Mutex::default(), complete: AtomicBool::new(false), reading }
    }

    fn parts(&self) -> std::sync::MutexGuard<'_, HashMap<Part, Held>> {
        // Each change is one call: a panic between them leaves a whole map behind.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all of the user's partitions are known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Says that all are known.
    pub fn complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// A running partition says what it holds.
    pub fn report(&self, key: &PartitionKey, held: Held) {
        self.parts().insert(part(key), held);
    }

    /// What the file of a partition holds that did not run when it was read. What a running one
    /// said counts more.
    pub fn found(&self, key: &PartitionKey, held: Held) {
        self.parts().entry(part(key)).or_insert(held);
    }

    /// The user was erased.
    pub fn erased(&self) {
        self.parts().clear();
        self.complete();
    }

    /// Notes that a partition is about to hold `more`, where the quotas let it.
    ///
    /// # Errors
    /// The quota that is used up; nothing is noted then.
    pub fn grow(&self, key: &PartitionKey, more: Held) -> Result<(), Quota> {
        let mut parts = self.parts();
        let Quotas { audiences, bytes } = self.quotas;
        if audiences > 0 && more.rows > 0 && key.table() == Table::Audiences {
            let of = |(part, held): (&Part, &Held)| {
                if part.0 == Table::Audiences { held.rows } else { 0 }
            };
            if parts.iter().map(of).sum::<u64>() + more.rows > audiences {
                return Err(Quota::Audiences(audiences));
            }
        }
        if bytes > 0
            && more.bytes > 0
            && parts.values().map(|h| h.bytes).sum::<u64>() + more.bytes > bytes
        {
            return Err(Quota::Bytes(bytes));
        }
        let held = parts.entry(part(key)).or_default();
        held.rows += more.rows;
        held.bytes += more.bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserId;

    fn month(month: u8) -> PartitionKey {
        let user = UserId::checked("u").expect("user");
        PartitionKey::monthly(&user, Table::Audiences, Month::new(2025, month).expect("month"))
    }

    fn held(rows: u64, bytes: u64) -> Held {
        Held { rows, bytes }
    }

    #[test]
    fn the_last_place_is_taken_once() {
        let usage = Usage::new(Quotas { audiences: 3, bytes: 0 });
        usage.report(&month(1), held(2, 9));
        assert_eq!(usage.grow(&month(2), held(1, 9)), Ok(()));
        assert_eq!(usage.grow(&month(1), held(1, 9)), Err(Quota::Audiences(3)));
        // The append failed: the partition says what it holds.
        usage.report(&month(2), held(0, 0));
        assert_eq!(usage.grow(&month(1), held(1, 9)), Ok(()));
    }

    #[test]
    fn bytes_of_all_tables_count_and_other_rows_do_not() {
        let usage = Usage::new(Quotas { audiences: 1, bytes: 100 });
        let platforms = PartitionKey::whole(&UserId::checked("u").expect("user"), Table::Platforms);
        assert_eq!(usage.grow(&platforms, held(1, 60)), Ok(()));
        assert_eq!(usage.grow(&platforms, held(1, 40)), Ok(()));
        assert_eq!(usage.grow(&month(1), held(1, 1)), Err(Quota::Bytes(100)));
        assert_eq!(usage.grow(&month(1), held(1, 0)), Ok(()));
    }

    #[test]
    fn a_running_partition_knows_better_than_its_file() {
        let usage = Usage::new(Quotas { audiences: 5, bytes: 0 });
        usage.report(&month(1), held(4, 0));
        usage.found(&month(1), held(1, 0));
        usage.found(&month(2), held(1, 0));
        assert!(usage.grow(&month(2), held(1, 0)).is_err());
        usage.erased();
        assert!(usage.is_complete());
        assert_eq!(usage.grow(&month(2), held(5, 0)), Ok(()));
    }
}
