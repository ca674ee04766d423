//! How many refusals get a line of their own. Each user who is known has a bucket that holds
//! [`BURST`] and is filled by one a second, and all callers that are not known share one: whoever
//! floods the server without a credential does not hide what a user was refused. What finds its
//! bucket empty is counted by error code, and the counts are written when a minute has passed.
//! Pure: time comes in as an argument.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use crate::domain::{Micros, UserId};

/// Lines in a row.
const BURST: u64 = 60;
/// How often counts are written.
const REPORT: Duration = Duration::from_mins(1);
/// Users that have a bucket: the ones refused last.
const USERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// Lines that may be written now.
struct Bucket {
    lines: u64,
    filled: Duration,
}

impl Bucket {
    fn full(now: Duration) -> Self {
        Self { lines: BURST, filled: now }
    }

    fn takes(&mut self, now: Duration) -> bool {
        let passed = now.saturating_sub(self.filled).as_secs();
        self.lines = self.lines.saturating_add(passed).min(BURST);
        self.filled += Duration::from_secs(passed);
        let left = self.lines.checked_sub(1);
        self.lines = left.unwrap_or_default();
        left.is_some()
    }
}

/// The buckets and the counts.
pub struct Budget {
    unknown: Bucket,
    users: LruCache<UserId, Bucket>,
    counts: BTreeMap<&'static str, u64>,
    since: Option<(Micros, Duration)>,
}

impl Budget {
    /// Full buckets.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        let users = LruCache::new(USERS);
        Self { unknown: Bucket::full(now), users, counts: BTreeMap::new(), since: None }
    }

    /// Whether a refusal of `user`, where he is known, gets a line.
    pub fn takes(&mut self, user: Option<&UserId>, now: Duration) -> bool {
        let Some(user) = user else { return self.unknown.takes(now) };
        if let Some(bucket) = self.users.get_mut(user) {
            return bucket.takes(now);
        }
        let mut bucket = Bucket::full(now);
        let takes = bucket.takes(now);
        self.users.put(user.clone(), bucket);
        takes
    }

    /// Counts refusals that have no line.
    pub fn count(&mut self, code: &'static str, count: u64, at: Micros, now: Duration) {
        if count > 0 {
            *self.counts.entry(code).or_default() += count;
            self.since.get_or_insert((at, now));
        }
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

    const fn second(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn listed(budget: &mut Budget, user: Option<&UserId>, now: Duration, tries: u64) -> usize {
        (0..tries).filter(|_| budget.takes(user, now)).count()
    }

    #[test]
    fn a_flood_gets_a_burst_then_a_line_a_second() {
        let mut budget = Budget::new(second(100));
        assert_eq!(listed(&mut budget, None, second(100), 1000), 60);
        assert_eq!(listed(&mut budget, None, second(103), 1000), 3);
        assert_eq!(listed(&mut budget, None, second(999), 1000), 60, "full again, not fuller");
    }

    #[test]
    fn a_flood_of_strangers_leaves_users_their_lines_and_one_user_leaves_the_others_theirs() {
        let user = |name: &str| UserId::checked(name).expect("user");
        let mut budget = Budget::new(second(0));
        assert_eq!(listed(&mut budget, None, second(1), 5000), 60);
        assert_eq!(listed(&mut budget, Some(&user("a")), second(1), 1000), 60);
        assert_eq!(listed(&mut budget, Some(&user("b")), second(1), 8), 8);
        for other in 0..5000 {
            assert!(budget.takes(Some(&user(&format!("u{other}"))), second(1)));
        }
        assert!(budget.users.len() <= USERS.get(), "bounded");
    }

    #[test]
    fn counts_are_due_a_minute_after_the_first() {
        let at = Micros::new(7);
        let mut budget = Budget::new(second(0));
        budget.count("A", 0, at, second(1));
        assert_eq!(budget.last(), None, "nothing was refused");
        budget.count("A", 940, at, second(100));
        budget.count("B", 1, Micros::new(9), second(103));
        budget.count("A", 997, Micros::new(9), second(103));
        assert_eq!(budget.due(second(159)), None);
        let (since, counts) = budget.due(second(160)).expect("a minute has passed");
        assert_eq!(since, at);
        assert_eq!(counts, BTreeMap::from([("A", 1937), ("B", 1)]));
        assert_eq!(budget.due(second(999)), None, "said once");
        budget.count("C", 1, at, second(999));
        assert!(budget.last().is_some());
    }
}
