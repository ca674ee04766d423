//! Which row groups of the base are copied and which are encoded again: a pure decision.
//!
//! Policy: a group that no change touches is copied. Neighbours of a rewritten group are rewritten
//! with it where that keeps small groups from piling up. New rows behind everything go into a new
//! group, which takes the groups before it while they are not larger than what they join: a row
//! is rewritten a handful of times until its group is full, however small the appends are, and a
//! file of many appends has a handful of small groups.

use std::ops::Range;

/// A full group's fill, in thousandths.
pub(super) const FULL: u64 = 1000;
/// A group with less fill joins a rewritten neighbour.
const SMALL: u64 = FULL / 4;
/// Appended rows count as at least this much: rewriting so little costs less than a group of its
/// own.
const TINY: u64 = FULL / 16;

/// What the plan must know of a group of the base.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupState {
    /// How full it is once the changes are in it: [`FULL`] at the bound of rows or bytes.
    pub fill: u64,
    /// Whether a change falls into it.
    pub touched: bool,
}

/// One step of making the new file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Copy this group's bytes.
    Copy(usize),
    /// Decode these groups and encode what the changes leave of them. The last step also takes
    /// the rows behind all groups; its range may be empty.
    Rewrite(Range<usize>),
}

/// The steps in file order. `appended` is the fill of the rows behind all groups; `None` for no
/// such rows.
pub(super) fn steps(groups: &[GroupState], appended: Option<u64>) -> Vec<Step> {
    let mut rewrite: Vec<bool> = groups.iter().map(|g| g.touched).collect();
    join_small(groups, &mut rewrite);
    if let Some(appended) = appended {
        // The end of the file is rewritten as far as groups are small next to what joins them,
        // with some room for what rounding loses.
        let mut run = appended.max(TINY);
        for (state, mark) in groups.iter().zip(rewrite.iter_mut()).rev() {
            if state.fill >= FULL || state.fill > run + run / 4 {
                break;
            }
            *mark = true;
            run += state.fill;
        }
    }
    let appends = appended.is_some();
    let mut steps = Vec::new();
    for (group, rewrite) in rewrite.iter().enumerate() {
        match (steps.last_mut(), rewrite) {
            (_, false) => steps.push(Step::Copy(group)),
            (Some(Step::Rewrite(run)), true) => run.end = group + 1,
            (_, true) => steps.push(Step::Rewrite(group..group + 1)),
        }
    }
    if appends && !matches!(steps.last(), Some(Step::Rewrite(_))) {
        steps.push(Step::Rewrite(groups.len()..groups.len()));
    }
    steps
}

/// Marks neighbours of rewritten runs, first those before, then those behind.
fn join_small(groups: &[GroupState], rewrite: &mut [bool]) {
    let order: [Vec<usize>; 2] = [(0..groups.len()).rev().collect(), (0..groups.len()).collect()];
    for walk in order {
        // Fill of the rewritten run that the walk is in.
        let mut run: Option<u64> = None;
        for group in walk {
            let (Some(state), Some(mark)) = (groups.get(group), rewrite.get_mut(group)) else {
                continue;
            };
            // A run that the changes leave empty needs no neighbour.
            let joins = run.is_some_and(|run| {
                run > 0 && (state.fill < SMALL || (run < SMALL && run + state.fill <= FULL))
            });
            *mark |= joins;
            run = if *mark { Some(run.unwrap_or(0) + state.fill) } else { None };
        }
    }
}

/// How many rows the next group of a run takes, of `rows` left that are to fill groups of at most
/// `most` rows. The run at the file's end fills groups up, for the last one grows on; one in the
/// middle is cut into equal parts, so that no small group is left between others.
pub(super) fn next_cut(rows: usize, most: usize, at_end: bool) -> usize {
    let most = most.max(1);
    if at_end { rows.min(most) } else { rows.div_ceil(rows.div_ceil(most).max(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(groups: &[(u64, bool)], appends: bool) -> Vec<Step> {
        appending(groups, appends.then_some(1))
    }

    fn appending(groups: &[(u64, bool)], appended: Option<u64>) -> Vec<Step> {
        let states: Vec<GroupState> =
            groups.iter().map(|&(fill, touched)| GroupState { fill, touched }).collect();
        steps(&states, appended)
    }

    #[test]
    fn copies_what_nothing_touches() {
        use Step::{Copy, Rewrite};
        assert_eq!(plan(&[], true), [Rewrite(0..0)]);
        assert_eq!(plan(&[], false), []);
        assert_eq!(plan(&[(1000, false), (400, false)], false), [Copy(0), Copy(1)]);
        assert_eq!(
            plan(&[(1000, false), (990, true), (1000, true), (1000, false)], false),
            [Copy(0), Rewrite(1..3), Copy(3)]
        );
    }

    #[test]
    fn appends_join_groups_that_are_not_larger() {
        use Step::{Copy, Rewrite};
        let file = [(1000, false), (600, false), (200, false)];
        assert_eq!(appending(&file, Some(300)), [Copy(0), Rewrite(1..3)]);
        assert_eq!(appending(&file, Some(200)), [Copy(0), Copy(1), Rewrite(2..3)]);
        assert_eq!(appending(&file, Some(100)), [Copy(0), Copy(1), Copy(2), Rewrite(3..3)]);
        assert_eq!(plan(&[(1000, false), (60, false)], true), [Copy(0), Rewrite(1..2)]);
        assert_eq!(plan(&[(1000, false), (1000, false)], true), [Copy(0), Copy(1), Rewrite(2..2)]);
        assert_eq!(plan(&[(1000, false), (1000, true)], true), [Copy(0), Rewrite(1..2)]);
    }

    #[test]
    fn small_groups_join_their_neighbours() {
        use Step::{Copy, Rewrite};
        // A group that shrank takes a neighbour that it fits with, on either side.
        assert_eq!(
            plan(&[(500, false), (10, true), (1000, false)], false),
            [Rewrite(0..2), Copy(2)]
        );
        assert_eq!(
            plan(&[(1000, false), (10, true), (500, false)], false),
            [Copy(0), Rewrite(1..3)]
        );
        // None fits: it stays.
        assert_eq!(
            plan(&[(1000, false), (10, true), (1000, false)], false),
            [Copy(0), Rewrite(1..2), Copy(2)]
        );
        assert_eq!(
            plan(&[(500, false), (0, true), (10, false)], false),
            [Copy(0), Rewrite(1..2), Copy(2)]
        );
        // Small groups next to a rewritten one go with it.
        assert_eq!(
            plan(&[(10, false), (20, false), (1000, true), (5, false)], false),
            [Rewrite(0..4)]
        );
    }

    #[test]
    fn cuts_evenly_but_at_the_end() {
        assert_eq!(next_cut(1025, 1024, false), 513);
        assert_eq!(next_cut(512, 1024, false), 512);
        assert_eq!(next_cut(1025, 1024, true), 1024);
        assert_eq!(next_cut(1, 1024, true), 1);
        assert_eq!(next_cut(2049, 1024, false), 683);
    }
}
