//! The unpublished index: for each partition, which records its Parquet file does not hold yet.
//!
//! Purpose: O(1) appends by interned stream number, ranges by user and table, and the partitions
//! that hold back the oldest segment.
//!
//! Invariants: a stream's entries ascend by LSN; a stream exists while it has a handle or an
//! entry, so memory is bounded by resident and unpublished partitions; `oldest` holds exactly the
//! streams with entries, each under its first LSN. 16 bytes an entry. Knows no files: which
//! segment an entry lies in follows from its LSN.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Lsn;
use crate::domain::{PartitionKey, Table, UserId};

/// Where a record lies. Good for [`super::Log::read`] until the record is published and its
/// segment removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Location {
    lsn: Lsn,
    offset: u32,
    bytes: u32,
}

impl Location {
    pub(crate) fn new(lsn: Lsn, offset: u32, bytes: u32) -> Self {
        Self { lsn, offset, bytes }
    }

    /// The record's LSN.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Offset of the record in its segment.
    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// Bytes the record takes in its segment.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// A stream's interned number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct StreamNumber(u32);

struct Slot {
    key: PartitionKey,
    entries: VecDeque<Location>,
    handles: usize,
}

/// The end of a stream's entries from which they go.
#[derive(Clone, Copy)]
enum End {
    Front,
    Back,
}

impl End {
    fn peek(self, entries: &VecDeque<Location>) -> Option<Location> {
        match self {
            Self::Front => entries.front(),
            Self::Back => entries.back(),
        }
        .copied()
    }

    fn pop(self, entries: &mut VecDeque<Location>) {
        match self {
            Self::Front => entries.pop_front(),
            Self::Back => entries.pop_back(),
        };
    }
}

/// All streams.
#[derive(Default)]
pub(crate) struct Index {
    slots: Vec<Option<Slot>>,
    free: Vec<StreamNumber>,
    by_key: BTreeMap<PartitionKey, StreamNumber>,
    oldest: BTreeSet<(Lsn, StreamNumber)>,
    entries: u64,
}

impl Index {
    /// The number of a partition's stream, made where there is none. Without an entry or a
    /// handle soon after, it must be given to [`Index::release`].
    pub(crate) fn intern(&mut self, key: &PartitionKey) -> StreamNumber {
        if let Some(number) = self.by_key.get(key) {
            return *number;
        }
        let slot = Slot { key: key.clone(), entries: VecDeque::new(), handles: 0 };
        let number = if let Some(number) = self.free.pop() {
            if let Some(place) = self.slots.get_mut(number.0 as usize) {
                *place = Some(slot);
            }
            number
        } else {
            // More than 4 billion streams do not fit in memory long before this saturates.
            let number = StreamNumber(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
            self.slots.push(Some(slot));
            number
        };
        self.by_key.insert(key.clone(), number);
        number
    }

    /// Counts a handle.
    pub(crate) fn acquire(&mut self, number: StreamNumber) {
        if let Some(slot) = self.slot_mut(number) {
            slot.handles += 1;
        }
    }

    /// Gives a handle back.
    pub(crate) fn release(&mut self, number: StreamNumber) {
        if let Some(slot) = self.slot_mut(number) {
            slot.handles = slot.handles.saturating_sub(1);
        }
        self.drop_if_unused(number);
    }

    /// Adds an entry with a higher LSN than all before. `false` where it is there already (a
    /// record that names a partition twice) or the stream does not exist.
    pub(crate) fn push(&mut self, number: StreamNumber, at: Location) -> bool {
        let Some(slot) = self.slots.get_mut(number.0 as usize).and_then(Option::as_mut) else {
            return false;
        };
        match slot.entries.back() {
            Some(last) if last.lsn == at.lsn => return false,
            Some(_) => {}
            None => {
                self.oldest.insert((at.lsn, number));
            }
        }
        slot.entries.push_back(at);
        self.entries += 1;
        true
    }

    /// The entries of a partition, ascending.
    pub(crate) fn unpublished(&self, key: &PartitionKey) -> Vec<Location> {
        let slot = self.by_key.get(key).and_then(|number| self.slot(*number));
        slot.map(|slot| slot.entries.iter().copied().collect()).unwrap_or_default()
    }

    /// Drops a partition's entries up to `through`; `dropped` gets each LSN.
    pub(crate) fn publish(&mut self, key: &PartitionKey, through: Lsn, dropped: impl FnMut(Lsn)) {
        if let Some(number) = self.by_key.get(key).copied() {
            self.drop_entries(number, End::Front, |lsn| lsn <= through, dropped);
        }
    }

    /// Drops all entries of a user below `before`; `dropped` gets each LSN.
    pub(crate) fn forget_user(&mut self, user: &UserId, before: Lsn, mut dropped: impl FnMut(Lsn)) {
        let mut numbers = Vec::new();
        if let Some(lowest) = Table::ALL.into_iter().min() {
            let from = PartitionKey::whole(user, lowest);
            let theirs = self.by_key.range(from..).take_while(|(key, _)| key.user() == user);
            numbers.extend(theirs.map(|(_, number)| *number));
        }
        for number in numbers {
            self.drop_entries(number, End::Front, |lsn| lsn < before, &mut dropped);
        }
    }

    /// Drops every entry above `last`; `dropped` gets each LSN.
    pub(crate) fn rewind(&mut self, last: Lsn, mut dropped: impl FnMut(Lsn)) {
        let numbers: Vec<_> = self.by_key.values().copied().collect();
        for number in numbers {
            self.drop_entries(number, End::Back, |lsn| lsn > last, &mut dropped);
        }
    }

    fn drop_entries(
        &mut self,
        number: StreamNumber,
        end: End,
        goes: impl Fn(Lsn) -> bool,
        mut dropped: impl FnMut(Lsn),
    ) {
        let Some(slot) = self.slots.get_mut(number.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let Some(first_before) = slot.entries.front().map(|at| at.lsn) else { return };
        while let Some(at) = end.peek(&slot.entries).filter(|at| goes(at.lsn)) {
            end.pop(&mut slot.entries);
            self.entries = self.entries.saturating_sub(1);
            dropped(at.lsn);
        }
        let first_now = slot.entries.front().map(|at| at.lsn);
        if first_now.is_none() {
            slot.entries = VecDeque::new();
        }
        if first_now != Some(first_before) {
            self.oldest.remove(&(first_before, number));
            self.oldest.extend(first_now.map(|lsn| (lsn, number)));
        }
        self.drop_if_unused(number);
    }

    /// A user's partitions of one table that have entries, by month.
    pub(crate) fn partitions(&self, user: &UserId, table: Table) -> Vec<PartitionKey> {
        self.by_key
            .range(PartitionKey::whole(user, table)..)
            .take_while(|(key, _)| key.user() == user && key.table() == table)
            .filter(|(_, number)| self.slot(**number).is_some_and(|s| !s.entries.is_empty()))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// The partitions with the oldest entries, oldest first.
    pub(crate) fn oldest(&self, limit: usize) -> Vec<PartitionKey> {
        let numbers = self.oldest.iter().take(limit);
        numbers.filter_map(|(_, number)| Some(self.slot(*number)?.key.clone())).collect()
    }

    /// The oldest entry of all.
    pub(crate) fn oldest_entry(&self) -> Option<Location> {
        let (_, number) = self.oldest.first()?;
        self.slot(*number)?.entries.front().copied()
    }

    /// How many entries there are.
    pub(crate) fn entries(&self) -> u64 {
        self.entries
    }

    /// How many partitions have entries.
    pub(crate) fn partitions_held(&self) -> usize {
        self.oldest.len()
    }

    /// How many streams there are.
    pub(crate) fn streams(&self) -> usize {
        self.by_key.len()
    }

    fn slot(&self, number: StreamNumber) -> Option<&Slot> {
        self.slots.get(number.0 as usize)?.as_ref()
    }

    fn slot_mut(&mut self, number: StreamNumber) -> Option<&mut Slot> {
        self.slots.get_mut(number.0 as usize)?.as_mut()
    }

    fn drop_if_unused(&mut self, number: StreamNumber) {
        let Some(place) = self.slots.get_mut(number.0 as usize) else { return };
        if place.as_ref().is_some_and(|s| s.handles == 0 && s.entries.is_empty()) {
            if let Some(slot) = place.take() {
                self.by_key.remove(&slot.key);
            }
            self.free.push(number);
        }
    }
}

#[cfg(test)]
#[path = "tests/index.rs"]
mod tests;
