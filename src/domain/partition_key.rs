//! Which partition: user, table and, for monthly tables, month.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::{Micros, Month, Partitioning, Table, UserId};

/// The key of a partition: its actor, its log stream and its Parquet file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PartitionKey {
    user: UserId,
    table: Table,
    month: Option<Month>,
}

impl Hash for PartitionKey {
    /// Table and month in one word: hashers take each by itself no quicker.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.user.hash(state);
        let month = self.month.map_or(0, Month::number);
        state.write_u64(u64::from(month) << 8 | u64::from(self.table.number()));
    }
}

impl PartitionKey {
    /// The partition of `user`'s `table` that holds records created at `at`; `None` where a
    /// monthly table is asked for an instant outside the years 1 to 9999.
    #[must_use]
    pub fn holding(user: &UserId, table: Table, at: Micros) -> Option<Self> {
        match table.spec().partitioning {
            Partitioning::PerUser => Some(Self::whole(user, table)),
            Partitioning::Monthly => Some(Self::monthly(user, table, Month::of(at)?)),
        }
    }

    /// The one partition of a per-user table.
    #[must_use]
    pub fn whole(user: &UserId, table: Table) -> Self {
        Self { user: user.clone(), table, month: None }
    }

    /// One month's partition of a monthly table.
    #[must_use]
    pub fn monthly(user: &UserId, table: Table, month: Month) -> Self {
        Self { user: user.clone(), table, month: Some(month) }
    }

    /// The partition for an optional month: `None` for per-user tables. `None` where month and
    /// table do not fit.
    #[must_use]
    pub fn of_month(user: &UserId, table: Table, month: Option<Month>) -> Option<Self> {
        match (table.spec().partitioning, month) {
            (Partitioning::PerUser, None) => Some(Self::whole(user, table)),
            (Partitioning::Monthly, Some(month)) => Some(Self::monthly(user, table, month)),
            _ => None,
        }
    }

    /// The owner.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        self.table
    }

    /// The month, where the table is monthly.
    #[must_use]
    pub fn month(&self) -> Option<Month> {
        self.month
    }

    /// Whether a record created at `at` belongs here.
    #[must_use]
    pub fn covers(&self, at: Micros) -> bool {
        self.month.is_none() || self.month == Month::of(at)
    }
}

impl fmt::Display for PartitionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.user.as_str().escape_debug())?;
        match self.month {
            Some(month) => write!(f, "/{month}"),
            None => Ok(()),
        }
    }
}
