//! Ids over a user's months.

use std::collections::{BTreeSet, HashMap};

use crate::domain::{Month, PartitionKey, RecordId, Table, UserId};

/// An id that two months seem to hold.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct Suspect {
    pub(super) user: UserId,
    pub(super) table: Table,
    pub(super) id: RecordId,
    pub(super) months: BTreeSet<Month>,
}

/// The months that hold each id of one user's table.
#[derive(Default)]
pub(super) struct Ids(HashMap<RecordId, BTreeSet<Month>>);

impl Ids {
    pub(super) fn note(&mut self, id: RecordId, month: Month) {
        self.0.entry(id).or_default().insert(month);
    }

    /// The ids with more months than one.
    pub(super) fn suspects(self, user: &UserId, table: Table) -> Vec<Suspect> {
        let several = self.0.into_iter().filter(|(_, months)| months.len() > 1);
        let mut found: Vec<_> =
            several.map(|(id, months)| Suspect { user: user.clone(), table, id, months }).collect();
        found.sort();
        found
    }
}

impl Suspect {
    /// The partitions it may be in.
    pub(super) fn keys(&self) -> impl Iterator<Item = PartitionKey> + '_ {
        self.months.iter().map(|month| PartitionKey::monthly(&self.user, self.table, *month))
    }
}
