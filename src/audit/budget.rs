//! How many refusals get a line of their own: a bucket that holds [`BURST`] and is filled by one a
//! second. What finds it empty is counted by error code, and the counts are written when a minute
//! has passed. Pure: time comes in as an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::Micros;

/// Lines in a row.
const BURST: u64 = 60;
/// How often counts are written.
const REPORT: Duration = Duration::from_mins(1);

/// The bucket and the counts.
pub struct Budget {
    lines: u64,
    filled: Duration,
    counts: BTreeMap<&'static str, u64>,
    since: Option<(Micros, Duration)>,
}

impl Budget {
    /// A full bucket.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self { lines: BURST, filled: now, counts: BTreeMap::new(), since: None }
    }

    /// Whether a refusal gets a line. Otherwise it is counted under its code.
    pub fn takes(&mut self, code: &'static str, at: Micros, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_secs();
        self.lines = self.lines.saturating_add(passed).min(BURST);
        self.filled += Duration::from_secs(passed);
        if let Some(left) = self.lines.checked_sub(1) {
            self.lines = left;
            return true;
        }
        *self.counts.entry(code).or_default() += 1;
        self.since.get_or_insert((at, now));
        false
    }

    /// The counts, with the moment of the first refusal among them, where they are due.
    pub fn due(&mut self, now: Duration) -> Option<(Micros, BTreeMap<&'static str, u64>)> {
        let (at, since) = self.since?;
        if now.saturating_sub(since) < REPORT {
            return None;
        }
        self.rest().map(|counts| (at, counts))
    }

    /// The counts and their beginning, due or not: at the end of the process.
    pub fn last(&mut self) -> Option<(Micros, BTreeMap<&'static str, u64>)> {
        let (at, _) = self.since?;
        self.rest().map(|counts| (at, counts))
    }

    fn rest(&mut self) -> Option<BTreeMap<&'static str, u64>> {
        self.since = None;
        let counts = std::mem::take(&mut self.counts);
        (!counts.is_empty()).then_some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_gets_a_burst_then_a_line_a_second_then_counts() {
        let at = Micros::new(7);
        let second = Duration::from_secs;
        let mut budget = Budget::new(second(100));
        let listed = |budget: &mut Budget, now, tries: u64| {
            (0..tries).filter(|_| budget.takes("A", at, now)).count()
        };
        assert_eq!(listed(&mut budget, second(100), 1000), 60);
        assert_eq!(listed(&mut budget, second(103), 1000), 3);
        assert_eq!(budget.due(second(159)), None);
        assert!(!budget.takes("B", at, second(103)));
        let (since, counts) = budget.due(second(160)).expect("a minute has passed");
        assert_eq!(since, at);
        assert_eq!(counts, BTreeMap::from([("A", 940 + 997), ("B", 1)]));
        assert_eq!(budget.due(second(999)), None, "said once");
        assert_eq!(listed(&mut budget, second(999), 1000), 60, "full again, not fuller");
        assert!(budget.last().is_some());
    }
}
