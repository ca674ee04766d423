//! The rows of one partition: the Parquet file's, under the changes it lacks. Pure state: it
//! never reads a file, but says which row group it needs ([`Need`]) and takes it when it comes.
//!
//! Invariants: at most one row an id is visible; `created_at` of a record never changes, so a
//! change never moves a row in the listing order; row groups are sorted by `created_at`
//! ascending, ties by id descending.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::overlay::Overlay;
use crate::domain::{Micros, Month, PartitionKey, Position, RecordId, Row};

/// Rows of a row group, oldest first.
pub type GroupRows = Arc<[Arc<Row>]>;

/// What must be read before work can go on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Need {
    /// A row group; with `columns`, these columns of it alone, for one reader.
    Group {
        /// Its index in the file.
        index: usize,
        /// Column indexes; `None` for all.
        columns: Option<Vec<usize>>,
    },
    /// The ids of the file that do not tell its month.
    ForeignIds,
}

/// What is known of an id.
#[derive(Debug)]
pub enum Lookup {
    /// The record.
    Found(Arc<Row>),
    /// There is none.
    Absent,
    /// Not known before this is read.
    Need(Need),
}

/// A row group of the base file.
#[derive(Debug)]
pub struct Group {
    /// Oldest `created_at`.
    pub first: Micros,
    /// Newest `created_at`.
    pub last: Micros,
    /// Its rows, where they are in memory.
    pub loaded: Option<GroupRows>,
    /// Bytes of the loaded rows.
    pub bytes: usize,
    used: u64,
}

impl Group {
    /// A group that is still in the file.
    #[must_use]
    pub fn unloaded(first: Micros, last: Micros) -> Self {
        Self { first, last, loaded: None, bytes: 0, used: 0 }
    }

    /// A group whose rows are in memory.
    #[must_use]
    pub fn loaded(rows: GroupRows) -> Self {
        let first = rows.first().map_or(Micros::new(0), |r| r.created_at);
        let last = rows.last().map_or(Micros::new(0), |r| r.created_at);
        let bytes = memory(&rows);
        Self { first, last, loaded: Some(rows), bytes, used: 0 }
    }

    /// Whether a row can lie in it that was made in the millisecond from `made` on.
    fn spans(&self, made: Micros) -> bool {
        self.first.get() <= made.get() + 999 && self.last >= made
    }
}

fn memory(rows: &[Arc<Row>]) -> usize {
    rows.iter().map(|r| r.memory() + 16).sum()
}

/// The rows of a partition.
#[derive(Debug)]
pub struct Rows {
    key: PartitionKey,
    groups: Vec<Group>,
    /// Hashes of the file's foreign ids and the group each lies in; `None` until read.
    foreign: Option<HashMap<u64, Vec<u32>>>,
    hasher: RandomState,
    active: Overlay,
    frozen: Option<Overlay>,
    generation: u64,
    clock: u64,
}

impl Rows {
    /// The rows of `key`'s file, given its row groups. `foreign_ids` is how many rows of the
    /// file are astray ([`Rows::is_astray`]); with none, no index of them is ever needed.
    #[must_use]
    pub fn new(key: PartitionKey, groups: Vec<Group>, foreign_ids: u64) -> Self {
        Self {
            key,
            groups,
            foreign: (foreign_ids == 0).then(HashMap::new),
            hasher: RandomState::new(),
            active: Overlay::default(),
            frozen: None,
            generation: 0,
            clock: 0,
        }
    }

    /// Sets the first generation, before anything was read for these rows.
    pub fn begin_with(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Changes whenever the groups do; what was read for an older generation is of no use.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The row groups.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether an id does not tell this partition's month.
    #[must_use]
    pub fn is_foreign(&self, id: &RecordId) -> bool {
        self.key.month().is_none() || id.month(self.key.table()) != self.key.month()
    }

    /// Whether an id alone does not lead to its row: it tells another month or none, or another
    /// instant than the row's `created_at`, as a brought id may. Such rows need the index.
    #[must_use]
    pub fn is_astray(&self, row: &Row) -> bool {
        let Some(told) = row.id.made_at(self.key.table()) else { return true };
        self.key.month().is_none()
            || told.get() != row.created_at.get().div_euclid(1000) * 1000
            || Month::of(told) != self.key.month()
    }

    /// Applies a change that the log holds under `lsn`.
    pub fn apply(&mut self, id: &RecordId, row: Option<Arc<Row>>, lsn: u64) {
        self.active.apply(id, row, lsn, false);
    }

    /// Applies a new record with an id that no record had before.
    pub fn insert(&mut self, row: Arc<Row>, lsn: u64) {
        self.active.apply(&row.id.clone(), Some(row), lsn, true);
    }

    /// What is known of an id.
    pub fn lookup(&mut self, id: &RecordId) -> Lookup {
        for overlay in [Some(&self.active), self.frozen.as_ref()].into_iter().flatten() {
            match overlay.get(id) {
                Some(Some(row)) => return Lookup::Found(Arc::clone(row)),
                Some(None) => return Lookup::Absent,
                None => {}
            }
        }
        if self.groups.is_empty() {
            return Lookup::Absent;
        }
        let told = self.told_groups(id);
        if let Some(found) = self.look_into(&told, id) {
            return found;
        }
        let Some(foreign) = &self.foreign else { return Lookup::Need(Need::ForeignIds) };
        let indexed = foreign.get(&self.hash(id)).map(Vec::as_slice).unwrap_or_default();
        let indexed: Vec<usize> =
            indexed.iter().map(|i| *i as usize).filter(|i| !told.contains(i)).collect();
        self.look_into(&indexed, id).unwrap_or(Lookup::Absent)
    }

    /// Looks for an id in some groups; `None` where none of them has it.
    fn look_into(&mut self, groups: &[usize], id: &RecordId) -> Option<Lookup> {
        for &index in groups {
            self.clock += 1;
            let clock = self.clock;
            let Some(group) = self.groups.get_mut(index) else { continue };
            group.used = clock;
            let Some(rows) = &group.loaded else {
                return Some(Lookup::Need(Need::Group { index, columns: None }));
            };
            if let Some(row) = rows.iter().find(|row| row.id == *id) {
                return Some(Lookup::Found(Arc::clone(row)));
            }
        }
        None
    }

    /// The groups that hold the instant an id tells; none where it tells another month or none.
    fn told_groups(&self, id: &RecordId) -> Vec<usize> {
        if self.is_foreign(id) {
            return Vec::new();
        }
        let Some(made) = id.made_at(self.key.table()) else { return Vec::new() };
        self.groups.iter().enumerate().filter(|(_, g)| g.spans(made)).map(|(i, _)| i).collect()
    }

    fn hash(&self, id: &RecordId) -> u64 {
        self.hasher.hash_one(id)
    }

    /// Takes a row group that was read for `generation`.
    pub fn install_group(&mut self, generation: u64, index: usize, rows: GroupRows) {
        if generation != self.generation {
            return;
        }
        self.clock += 1;
        if let Some(group) = self.groups.get_mut(index) {
            group.bytes = memory(&rows);
            group.loaded = Some(rows);
            group.used = self.clock;
        }
    }

    /// Takes the file's ids, group by group, that were read for `generation`.
    pub fn install_ids(&mut self, generation: u64, groups: &[Vec<RecordId>]) {
        if generation != self.generation {
            return;
        }
        let mut foreign: HashMap<u64, Vec<u32>> = HashMap::new();
        for (index, ids) in groups.iter().enumerate() {
            let found = |id: &&RecordId| self.told_groups(id).contains(&index);
            for id in ids.iter().filter(|id| !found(id)) {
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                foreign.entry(self.hash(id)).or_default().push(index);
            }
        }
        self.foreign = Some(foreign);
    }

    /// Takes the groups of a newly written file, which holds everything frozen. The ids index is
    /// kept by the caller's `foreign_ids`: with none, nothing is needed; otherwise it is read
    /// again when somebody asks.
    pub fn install_base(&mut self, groups: Vec<Group>, foreign_ids: u64) {
        self.groups = groups;
        self.foreign = (foreign_ids == 0).then(HashMap::new);
        self.frozen = None;
        self.generation += 1;
    }

    /// Sets the unsaved changes aside for a checkpoint and answers them; `None` where there are
    /// none. New changes go on top. Until [`Rows::install_base`] or [`Rows::unfreeze`], nothing
    /// more can be frozen.
    pub fn freeze(&mut self) -> Option<&Overlay> {
        if self.frozen.is_some() || self.active.is_empty() {
            return None;
        }
        self.frozen = Some(std::mem::take(&mut self.active));
        self.frozen.as_ref()
    }

    /// Takes back what a failed checkpoint had set aside.
    pub fn unfreeze(&mut self) {
        if let Some(frozen) = self.frozen.take() {
            self.active.absorb_older(frozen);
        }
    }

    /// The changes no file holds and no checkpoint is writing.
    #[must_use]
    pub fn active(&self) -> &Overlay {
        &self.active
    }

    /// The changes a checkpoint is writing.
    #[must_use]
    pub fn frozen(&self) -> Option<&Overlay> {
        self.frozen.as_ref()
    }

    /// Whether an id has a change that is newer than the file.
    pub(super) fn is_shadowed(&self, id: &RecordId) -> bool {
        self.active.get(id).is_some() || self.frozen.as_ref().is_some_and(|f| f.get(id).is_some())
    }

    /// The first unsaved row after a place in the listing order.
    pub(super) fn overlay_head(&self, after: Option<&Position>) -> Option<&Arc<Row>> {
        let active = self.active.next_after(after);
        let frozen = self.frozen.as_ref().and_then(|frozen| {
            let mut place = after.cloned();
            loop {
                let row = frozen.next_after(place.as_ref())?;
                if self.active.get(&row.id).is_none() {
                    return Some(row);
                }
                place = Some(Position::of(row));
            }
        });
        match (active, frozen) {
            (Some(a), Some(f)) => {
                Some(if Position::of(a).precedes(f.created_at, &f.id) { a } else { f })
            }
            (a, f) => a.or(f),
        }
    }

    pub(super) fn touch(&mut self, index: usize) {
        self.clock += 1;
        if let Some(group) = self.groups.get_mut(index) {
            group.used = self.clock;
        }
    }

    /// Bytes in memory, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let groups: usize = self.groups.iter().map(|g| g.bytes + size_of::<Group>()).sum();
        let foreign = self.foreign.as_ref().map_or(0, |f| f.len() * 56);
        groups + foreign + self.active.bytes() + self.frozen.as_ref().map_or(0, Overlay::bytes)
    }

    /// Drops loaded groups, the longest unused first, until they take at most `bytes`. Only
    /// where the file can give them again.
    pub fn evict_groups(&mut self, bytes: usize) {
        let mut held: usize = self.groups.iter().map(|g| g.bytes).sum();
        while held > bytes {
            let oldest =
                self.groups.iter_mut().filter(|g| g.loaded.is_some()).min_by_key(|g| g.used);
            let Some(group) = oldest else { return };
            held -= group.bytes;
            group.loaded = None;
            group.bytes = 0;
        }
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
