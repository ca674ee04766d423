//! A walk over a partition's rows in listing order, resumable where a row group must be read.

use std::sync::Arc;

use super::rows::{GroupRows, Need, Rows};
use crate::domain::{Filter, Position, Row};

/// A walk in progress: what it wants, where it is, what it found.
#[derive(Debug)]
pub struct Scan {
    /// Rows it has found, newest first, ties by id.
    pub found: Vec<Arc<Row>>,
    filter: Filter,
    /// The place it begins after.
    start: Option<Position>,
    place: Option<Position>,
    /// The log's epoch that what it found is of.
    epoch: Option<u64>,
    want: usize,
    /// Bytes of rows after which it has enough, and those it has.
    budget: usize,
    bytes: usize,
    columns: Option<Vec<usize>>,
    /// A group read for this walk alone, of this generation and index.
    transient: Option<(u64, usize, GroupRows)>,
    /// Of this generation, the groups from this index on hold nothing more for this walk.
    spent: Option<(u64, usize)>,
}

/// How far a walk came.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has as many rows as it wants.
    Enough,
    /// There are no more.
    End,
    /// It goes on once this is read.
    Need(Need),
}

impl Scan {
    /// A walk for at most `want` rows that `filter` wants, after a place; it ends with the row that
    /// takes it past `budget` bytes, too, where that is not its first. With `columns`, rows
    /// may come without the values of others.
    #[must_use]
    pub fn new(
        filter: Filter,
        after: Option<Position>,
        want: usize,
        budget: usize,
        columns: Option<Vec<usize>>,
    ) -> Self {
        Self {
            found: Vec::with_capacity(want.min(64)),
            filter,
            start: after.clone(),
            place: after,
            epoch: None,
            want,
            budget,
            bytes: 0,
            columns,
            transient: None,
            spent: None,
        }
    }

    /// Goes on in this epoch of the log; from the beginning where what it has found is of another
    /// one, since the log may have taken some of that back.
    pub fn go_on_in(&mut self, epoch: u64) {
        if self.epoch.is_some_and(|found_in| found_in != epoch) {
            self.found.clear();
            self.place.clone_from(&self.start);
            self.bytes = 0;
            self.transient = None;
            self.spent = None;
        }
        self.epoch = Some(epoch);
    }

    /// Takes a group that was read for this walk alone.
    pub fn take_group(&mut self, generation: u64, index: usize, rows: GroupRows) {
        self.transient = Some((generation, index, rows));
    }

    /// Walks on as far as what is in memory allows.
    pub fn advance(&mut self, rows: &mut Rows) -> Progress {
        let generation = rows.generation();
        let mut group = match self.spent {
            Some((of, group)) if of == generation => group,
            _ => rows.groups().len(),
        };
        loop {
            let full = self.bytes > self.budget && self.found.len() > 1;
            if self.found.len() >= self.want || full {
                return Progress::Enough;
            }
            let base = match self.base_head(rows, &mut group) {
                Ok(base) => base,
                Err((index, last)) => {
                    // An unsaved row newer than all of an unread group comes first.
                    match rows.overlay_head(self.place.as_ref()) {
                        Some(row) if row.created_at > last => {
                            let row = Arc::clone(row);
                            self.visit(&row);
                            continue;
                        }
                        _ => {
                            self.spent = Some((generation, group));
                            return Progress::Need(Need::Group {
                                index,
                                columns: self.columns.clone(),
                            });
                        }
                    }
                }
            };
            let next = match (rows.overlay_head(self.place.as_ref()), base) {
                (Some(unsaved), Some(saved)) => {
                    if Position::of(unsaved).precedes(saved.created_at, &saved.id) {
                        Arc::clone(unsaved)
                    } else {
                        saved
                    }
                }
                (Some(unsaved), None) => Arc::clone(unsaved),
                (None, Some(saved)) => saved,
                (None, None) => return Progress::End,
            };
            self.visit(&next);
        }
    }

    fn visit(&mut self, row: &Arc<Row>) {
        self.place = Some(Position::of(row));
        if self.filter.matches(row) {
            self.bytes += row.memory();
            self.found.push(Arc::clone(row));
        }
    }

    /// The next row of the file that no change shadows; `Err` with a group's index and newest
    /// `created_at` where that group must be read first. `group` is one past the group in hand.
    fn base_head(
        &self,
        rows: &mut Rows,
        group: &mut usize,
    ) -> Result<Option<Arc<Row>>, (usize, crate::domain::Micros)> {
        while let Some(index) = group.checked_sub(1) {
            let Some(current) = rows.groups().get(index) else { return Ok(None) };
            let passed = self.place.as_ref().is_some_and(|p| current.first > p.created_at);
            if passed || !self.filter.spans(current.first, current.last) {
                *group = index;
                continue;
            }
            let loaded = match (&current.loaded, &self.transient) {
                (Some(loaded), _) => Arc::clone(loaded),
                (None, Some((generation, at, loaded)))
                    if *generation == rows.generation() && *at == index =>
                {
                    Arc::clone(loaded)
                }
                _ => return Err((index, current.last)),
            };
            rows.touch(index);
            let next = below(&loaded, self.place.as_ref());
            let next = next.iter().rev().find(|row| !rows.is_shadowed(&row.id));
            if let Some(row) = next {
                return Ok(Some(Arc::clone(row)));
            }
            *group = index;
        }
        Ok(None)
    }
}

/// The rows of a group that come after a place in the listing order: a prefix, as the group is
/// sorted the other way round.
fn below<'a>(rows: &'a [Arc<Row>], place: Option<&Position>) -> &'a [Arc<Row>] {
    let Some(place) = place else { return rows };
    let end = rows.partition_point(|row| place.precedes(row.created_at, &row.id));
    rows.get(..end).unwrap_or_default()
}
