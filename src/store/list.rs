//! Lists: newest first over months, reading only as far as the page needs.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Store, StoreError};
use crate::actors::catalog::{Months, may_hold};
use crate::actors::messages::Work;
use crate::actors::partition::Scan;
use crate::domain::{Filter, PartitionKey, Partitioning, Place, Position, Row, Table, UserId};

/// Which page of which list.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Which records.
    pub filter: Filter,
    /// Where the page before ended.
    pub after: Option<Place>,
    /// Most records on the page.
    pub limit: usize,
    /// Columns that are needed, by index; `None` for all.
    pub columns: Option<Vec<usize>>,
    /// Whether months in the archive are listed, too.
    pub archived: bool,
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page {
    /// The records, newest first, ties by id.
    pub rows: Vec<Arc<Row>>,
    /// Where the next page begins, where there is one.
    pub next: Option<Place>,
}

impl Store {
    /// One page of a user's table.
    ///
    /// # Errors
    /// [`StoreError::PartitionCorrupt`] where the page needs a file that cannot be read, and
    /// whatever else keeps the store from reading.
    pub async fn list(
        &self,
        user: &UserId,
        table: Table,
        request: ListRequest,
    ) -> Result<Page, StoreError> {
        let ListRequest { filter, mut after, limit, columns, archived } = request;
        let (created_after, created_before) = filter.bounds();
        let mut rows: Vec<Arc<Row>> = Vec::new();
        let mut next = None;
        let mut budget = self.shared.limits.page_bytes;
        for key in self.partitions(user, table).await? {
            if !archived && self.shared.archived.has(&key) {
                continue;
            }
            let month = key.month();
            let position = match &after {
                Some(place) if month > place.month => continue,
                Some(place) if month == place.month => after.take().map(|p| p.position),
                _ => None,
            };
            if month.is_some_and(|m| !may_hold(m, created_after, created_before)) {
                continue;
            }
            let want = limit + 1 - rows.len();
            let make = |reply| {
                let scan =
                    Scan::new(filter.clone(), position.clone(), want, budget, columns.clone());
                Work::Scan { scan: Box::new(scan), reply }
            };
            let found = self.door.read(&key, make).await?;
            if !archived && self.shared.archived.has(&key) {
                // Only a loaded partition knows whether the log holds something newer.
                continue;
            }
            let room = room(&found, limit - rows.len(), rows.is_empty(), &mut budget);
            if let (true, Some(last)) = (found.len() > room, found.get(..room)) {
                let last = last.last().map(|row| Place { month, position: Position::of(row) });
                // A page that was full before this month goes on from its own last record.
                next = last.or(next);
                rows.extend(found.into_iter().take(room));
                return Ok(Page { rows, next });
            }
            next = found.last().map(|row| Place { month, position: Position::of(row) }).or(next);
            rows.extend(found);
        }
        Ok(Page { rows, next: None })
    }

    /// The partitions of a user's table, newest first.
    pub(super) async fn partitions(
        &self,
        user: &UserId,
        table: Table,
    ) -> Result<Vec<PartitionKey>, StoreError> {
        if table.spec().partitioning == Partitioning::PerUser {
            return Ok(vec![PartitionKey::whole(user, table)]);
        }
        let (reply, answer) = oneshot::channel();
        let catalog = self.door.catalog(user, table).await?;
        self.shared.metrics.messages.catalog.increment();
        catalog.try_send(Months { reply }).map_err(|_| StoreError::Overloaded)?;
        let months = answer.await.map_err(|_| StoreError::Overloaded)?.result?;
        Ok(months.into_iter().map(|month| PartitionKey::monthly(user, table, month)).collect())
    }
}

/// How many of the rows found go on the page: those whose bytes `budget` has, which then has so
/// many less, and the first of a page in any case; all the page has places for where they all do.
fn room(found: &[Arc<Row>], places: usize, first: bool, budget: &mut usize) -> usize {
    for (index, row) in found.iter().enumerate() {
        match budget.checked_sub(row.memory()) {
            Some(rest) => *budget = rest,
            None if first && index == 0 => *budget = 0,
            None => return places.min(index),
        }
    }
    places
}
