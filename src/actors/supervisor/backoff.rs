//! How long a partition that failed pauses before it starts again: 100 ms, doubled with each
//! failure in a row up to 30 s; a minute without failure forgets them. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);
const FORGET: Duration = Duration::from_mins(1);

/// The failures of one partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
    last: Duration,
}

impl Backoff {
    /// Counts a failure at `now` (monotonic).
    pub fn failed(&mut self, now: Duration) {
        let again = self.failures > 0 && now < self.last + FORGET;
        self.failures = if again { self.failures + 1 } else { 1 };
        self.last = now;
    }

    /// How much longer to pause at `now`; `None` for no more.
    #[must_use]
    pub fn pause(&self, now: Duration) -> Option<Duration> {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures.saturating_sub(1)));
        let until = self.last + doubled.min(LONGEST);
        until.checked_sub(now).filter(|pause| self.failures > 0 && !pause.is_zero())
    }

    /// Whether the failures are forgotten at `now`.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.last + FORGET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_forgotten() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.pause(Duration::ZERO), None);
        let mut now = Duration::from_secs(1);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            backoff.failed(now);
            let pause = backoff.pause(now).expect("a pause");
            pauses.push(pause.as_millis());
            now += pause;
            assert_eq!(backoff.pause(now), None);
        }
        assert_eq!(pauses[..3], [100, 200, 400]);
        assert_eq!(pauses[11], 30_000);
        now += Duration::from_mins(1);
        assert!(backoff.is_over(now));
        backoff.failed(now);
        assert_eq!(backoff.pause(now), Some(FIRST));
    }
}
