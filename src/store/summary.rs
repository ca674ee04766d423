//! A user's counts.

use std::collections::BTreeMap;

use super::{ListRequest, Store, StoreError};
use crate::domain::{Micros, Table, UserId};

/// Rows counted at a time.
const CHUNK: usize = 4096;

/// The records of one table, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub total: u64,
    /// By status.
    pub by_status: BTreeMap<String, u64>,
    /// By platform type, where the table has one.
    pub by_type: BTreeMap<String, u64>,
    /// The latest change.
    pub last_activity: Option<Micros>,
}

/// The records of a user, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Audiences.
    pub audiences: Tally,
    /// Platforms.
    pub platforms: Tally,
    /// Distributions.
    pub distributions: Tally,
}

impl Summary {
    /// The latest change of anything.
    #[must_use]
    pub fn last_activity(&self) -> Option<Micros> {
        [&self.audiences, &self.platforms, &self.distributions]
            .into_iter()
            .filter_map(|t| t.last_activity)
            .max()
    }
}

impl Store {
    /// Counts a user's records, reading only the columns that are counted.
    ///
    /// # Errors
    /// Whatever keeps the store from reading.
    pub async fn summary(&self, user: &UserId) -> Result<Summary, StoreError> {
        Ok(Summary {
            audiences: self.tally(user, Table::Audiences).await?,
            platforms: self.tally(user, Table::Platforms).await?,
            distributions: self.tally(user, Table::Distributions).await?,
        })
    }

    pub(super) async fn tally(&self, user: &UserId, table: Table) -> Result<Tally, StoreError> {
        let spec = table.spec();
        let counted = ["status", "platform_type"];
        let columns = counted.iter().filter_map(|name| spec.column(name)).map(|(i, _)| i).collect();
        let mut request = ListRequest {
            limit: CHUNK,
            columns: Some(columns),
            archived: true,
            ..ListRequest::default()
        };
        let mut tally = Tally::default();
        loop {
            let page = self.list(user, table, request.clone()).await?;
            for row in &page.rows {
                tally.total += 1;
                let status = row.text("status").unwrap_or("unknown");
                *tally.by_status.entry(status.to_owned()).or_default() += 1;
                if let Some(platform) = row.text("platform_type") {
                    *tally.by_type.entry(platform.to_owned()).or_default() += 1;
                }
                tally.last_activity = tally.last_activity.max(Some(row.updated_at));
            }
            match page.next {
                Some(next) => request.after = Some(next),
                None => return Ok(tally),
            }
        }
    }
}
