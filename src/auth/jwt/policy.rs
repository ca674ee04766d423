//! When keys are fetched and how long they serve. Pure: time comes in as an argument.

use std::time::Duration;

/// The settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How often keys are fetched while all is well.
    pub every: Duration,
    /// How soon they may be fetched again: after a failure, or because a token names a key that
    /// is not known. Whoever sends such tokens brings no more fetches than this.
    pub cooldown: Duration,
    /// How much longer than `every` the keys fetched last serve while fetching fails.
    pub stale: Duration,
}

/// What has happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct History {
    tried: Option<Duration>,
    got: Option<Duration>,
}

impl History {
    /// Notes a fetch that ended at `now`.
    pub fn ended(&mut self, now: Duration, well: bool) {
        self.tried = Some(now);
        if well {
            self.got = Some(now);
        }
    }

    /// How long until the next fetch, when nobody asks for one.
    #[must_use]
    pub fn wait(&self, policy: &Policy, now: Duration) -> Duration {
        let Some(tried) = self.tried else { return Duration::ZERO };
        let pause = if self.got == self.tried { policy.every } else { policy.cooldown };
        (tried + pause).saturating_sub(now)
    }

    /// Whether keys are fetched where somebody asks for it.
    #[must_use]
    pub fn may(&self, policy: &Policy, now: Duration) -> bool {
        self.tried.is_none_or(|tried| now.saturating_sub(tried) >= policy.cooldown)
    }

    /// Whether the keys fetched last serve.
    #[must_use]
    pub fn serves(&self, policy: &Policy, now: Duration) -> bool {
        self.got.is_some_and(|got| now.saturating_sub(got) <= policy.every + policy.stale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    const POLICY: Policy =
        Policy { every: seconds(600), cooldown: seconds(10), stale: seconds(3600) };

    #[test]
    fn the_first_fetch_is_due_at_once_and_keys_serve_from_then() {
        let mut history = History::default();
        assert_eq!(history.wait(&POLICY, seconds(5)), Duration::ZERO);
        assert!(history.may(&POLICY, seconds(5)) && !history.serves(&POLICY, seconds(5)));
        history.ended(seconds(6), true);
        assert_eq!(history.wait(&POLICY, seconds(6)), seconds(600));
        assert!(history.serves(&POLICY, seconds(6)));
    }

    #[test]
    fn whoever_asks_waits_for_the_cooldown() {
        let mut history = History::default();
        history.ended(seconds(100), true);
        assert!(!history.may(&POLICY, seconds(109)));
        assert!(history.may(&POLICY, seconds(110)));
    }

    #[test]
    fn failures_are_tried_again_after_the_cooldown_while_old_keys_serve_so_long() {
        let mut history = History::default();
        history.ended(seconds(0), true);
        for now in (600..4200).step_by(10) {
            history.ended(seconds(now), false);
            assert_eq!(history.wait(&POLICY, seconds(now)), seconds(10));
            assert!(history.serves(&POLICY, seconds(now)));
        }
        assert!(history.serves(&POLICY, seconds(4200)));
        assert!(!history.serves(&POLICY, seconds(4201)));
        history.ended(seconds(4300), true);
        assert!(history.serves(&POLICY, seconds(4300)));
        assert_eq!(history.wait(&POLICY, seconds(4300)), seconds(600));
    }
}
