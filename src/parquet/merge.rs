//! Where changes fall among the row groups of a base file.
//!
//! Ids are looked for in bloom filters first and in id columns then, so that a change to one
//! record reads one id column and not the file.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::changes::{file_key, key_of};
use super::decode::bloom_filter;
use super::{Base, Changes, Fetched, ParquetError, read_ids};
use crate::domain::{RecordId, Row};
use crate::env::give_way;

/// With more changed ids than this, some filter's false positive is likely enough to read the id
/// column at once.
const BLOOM_WORTH_IDS: usize = 128;

/// Changes, laid over the groups of a base.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// Upserts in file order.
    upserts: Vec<Arc<Row>>,
    /// For each group, the end of its part of `upserts`; what follows the last is behind all.
    ends: Vec<usize>,
    /// For each group, how many of its rows go.
    dropped: Vec<usize>,
}

impl Overlay {
    /// Lays changes over a base. `tail` is the base's [`super::FileView::tail`].
    pub(super) fn new(
        base: Option<&Base<'_>>,
        tail: &Fetched,
        changes: &Changes,
    ) -> Result<Self, ParquetError> {
        let upserts = changes.sorted_upserts();
        let Some(base) = base else { return Ok(Self { upserts, ..Self::default() }) };
        let mut edges = Edges { base, known: HashMap::new() };
        let ids = changes.changed_ids();
        let groups = 0..base.view.groups().len();
        let dropped = groups
            .map(|group| dropped(base, tail, group, &ids, &mut edges))
            .collect::<Result<Vec<_>, _>>()?;
        let ends = ends(&upserts, &dropped, &mut edges)?;
        Ok(Self { upserts, ends, dropped })
    }

    /// The upserts that belong to a group, in file order.
    pub(super) fn upserts_of(&self, group: usize) -> &[Arc<Row>] {
        let start = group.checked_sub(1).and_then(|g| self.ends.get(g)).copied().unwrap_or(0);
        let end = self.ends.get(group).copied().unwrap_or(start);
        self.upserts.get(start..end).unwrap_or_default()
    }

    /// The upserts behind all groups.
    pub(super) fn appended(&self) -> &[Arc<Row>] {
        self.upserts.get(self.ends.last().copied().unwrap_or(0)..).unwrap_or_default()
    }

    /// How many rows of a group go.
    pub(super) fn dropped(&self, group: usize) -> usize {
        self.dropped.get(group).copied().unwrap_or(0)
    }
}

/// How many rows of a group have a changed id.
fn dropped(
    base: &Base<'_>,
    tail: &Fetched,
    group: usize,
    changed: &HashSet<&str>,
    edges: &mut Edges<'_>,
) -> Result<usize, ParquetError> {
    if changed.is_empty() {
        return Ok(0);
    }
    give_way();
    let bloom = base.view.groups().get(group).and_then(|g| g.bloom.clone());
    if let Some(range) = bloom.filter(|_| changed.len() <= BLOOM_WORTH_IDS) {
        let bytes = tail.get(&range).ok_or_else(|| ParquetError::corrupt("a bloom filter"))?;
        let filter = bloom_filter(base.view, group, &bytes)?;
        if !changed.iter().any(|id| filter.check(*id)) {
            return Ok(0);
        }
    }
    let ids = edges.ids(group)?;
    Ok(ids.iter().filter(|id| changed.contains(id.as_str())).count())
}

/// First and last ids of groups, read where two `created_at` are equal.
struct Edges<'a> {
    base: &'a Base<'a>,
    known: HashMap<usize, (RecordId, RecordId)>,
}

impl Edges<'_> {
    /// A group's ids; remembers the first and the last.
    fn ids(&mut self, group: usize) -> Result<Vec<RecordId>, ParquetError> {
        let ranges = self.base.view.column_ranges(group, Some(&[]));
        let ids = read_ids(self.base.view, group, &Fetched::read(self.base.source, ranges)?)?;
        if let [first, .., last] | [first @ last] = ids.as_slice() {
            self.known.insert(group, (first.clone(), last.clone()));
        }
        Ok(ids)
    }

    /// How a row compares with the first (or last) row of a group, in file order.
    fn compare(&mut self, row: &Row, group: usize, first: bool) -> Result<Ordering, ParquetError> {
        let no_group = || ParquetError::corrupt(format!("there is no row group {group}"));
        let info = self.base.view.groups().get(group).ok_or_else(no_group)?;
        let edge = if first { info.created_min } else { info.created_max };
        match row.created_at.cmp(&edge) {
            Ordering::Equal => {}
            unequal => return Ok(unequal),
        }
        if !self.known.contains_key(&group) {
            self.ids(group)?;
        }
        let (first_id, last_id) = self.known.get(&group).ok_or_else(no_group)?;
        let id = if first { first_id } else { last_id };
        Ok(key_of(row).cmp(&file_key(edge, id)))
    }
}

/// Gives each upsert to a group: the one whose rows it falls between, or a neighbour of the gap
/// it falls into.
fn ends(
    upserts: &[Arc<Row>],
    dropped: &[usize],
    edges: &mut Edges<'_>,
) -> Result<Vec<usize>, ParquetError> {
    let groups = dropped.len();
    let mut touched: Vec<bool> = dropped.iter().map(|n| *n > 0).collect();
    let mut inside: Vec<Range<usize>> = Vec::with_capacity(groups);
    let mut at = 0;
    for group in 0..groups {
        while let Some(row) = upserts.get(at)
            && edges.compare(row, group, true)? == Ordering::Less
        {
            at += 1;
        }
        let start = at;
        while let Some(row) = upserts.get(at)
            && edges.compare(row, group, false)? != Ordering::Greater
        {
            at += 1;
        }
        if let Some(mark) = touched.get_mut(group) {
            *mark |= at > start;
        }
        inside.push(start..at);
    }
    let mut ends = Vec::with_capacity(groups);
    for group in 0..groups {
        let own_end = inside.get(group).map_or(0, |r| r.end);
        let Some(next) = inside.get(group + 1) else {
            // Behind the last group begins what is appended.
            ends.push(own_end);
            break;
        };
        let mine = touched.get(group).copied().unwrap_or_default();
        let theirs = touched.get(group + 1).copied().unwrap_or_default();
        let takes_gap = next.start > own_end && (mine || !theirs);
        if takes_gap && let Some(mark) = touched.get_mut(group) {
            *mark = true;
        }
        ends.push(if takes_gap { next.start } else { own_end });
    }
    Ok(ends)
}
