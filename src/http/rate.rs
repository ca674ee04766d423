//! Requests a minute and user: a bucket of tokens each, in bounded memory.
//!
//! The generic cell rate algorithm: of a bucket one instant is kept, at which it will be full
//! again. A user whose bucket is full is not kept at all. Where more users than [`MOST_USERS`]
//! are under way in one minute, those whose bucket is fullest are forgotten: they get a full one,
//! nobody loses what is due to him.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::UserId;
use crate::env::Clock;

/// Users whose buckets are kept at once.
pub const MOST_USERS: usize = 65_536;
/// What a limit counts over.
pub const WINDOW: Duration = Duration::from_mins(1);
const SHARDS: usize = 16;

/// What a user has left, as it stands in the answer's headers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Standing {
    /// Requests a window.
    pub quota: u32,
    /// Requests left now.
    pub remaining: u32,
    /// How long until all are left again.
    pub full_in: Duration,
    /// How long until the next one is left; zero where one is.
    pub next_in: Duration,
    /// Whether this request was one too many.
    pub refused: bool,
}

/// The buckets of all users.
pub struct RateLimiter {
    quota: u32,
    /// Time that one request costs.
    cost: Duration,
    clock: Arc<dyn Clock>,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<UserId, Duration>>>,
}

impl RateLimiter {
    /// Buckets of `quota` requests a minute; `None` for 0, which means any number.
    #[must_use]
    pub fn new(quota: usize, clock: Arc<dyn Clock>) -> Option<Self> {
        let quota = u32::try_from(quota).unwrap_or(u32::MAX);
        let cost = WINDOW.checked_div(quota)?;
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Some(Self { quota, cost, clock, hasher: RandomState::new(), shards })
    }

    /// Takes one request out of the user's bucket, where one is in it.
    pub fn take(&self, user: &UserId) -> Standing {
        let now = self.clock.monotonic();
        #[allow(clippy::cast_possible_truncation, reason = "only the low bits matter")]
        let shard = self.shards.get(self.hasher.hash_one(user) as usize % SHARDS);
        let Some(shard) = shard else { return self.standing(Duration::ZERO, false) };
        // Each change below is one call: a panic between them leaves a whole map behind.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let owed = shard.get(user).map_or(Duration::ZERO, |full| full.saturating_sub(now));
        if owed + self.cost > self.cost * self.quota {
            return self.standing(owed, true);
        }
        if shard.len() >= MOST_USERS / SHARDS && !shard.contains_key(user) {
            make_room(&mut shard, now);
        }
        shard.insert(user.clone(), now + owed + self.cost);
        self.standing(owed + self.cost, false)
    }

    fn standing(&self, owed: Duration, refused: bool) -> Standing {
        let taken = owed.as_nanos().div_ceil(self.cost.as_nanos().max(1));
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let next_in = (owed + self.cost).saturating_sub(self.cost * self.quota);
        let remaining = self.quota.saturating_sub(taken);
        Standing { quota: self.quota, remaining, full_in: owed, next_in, refused }
    }
}

/// Forgets full buckets, or else the fuller half.
fn make_room(shard: &mut HashMap<UserId, Duration>, now: Duration) {
    let before = shard.len();
    shard.retain(|_, full| *full > now);
    if shard.len() == before {
        let mut instants: Vec<Duration> = shard.values().copied().collect();
        let half = instants.len() / 2;
        let (_, middle, _) = instants.select_nth_unstable(half);
        let middle = *middle;
        shard.retain(|_, full| *full > middle);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Micros;

    #[derive(Default)]
    struct Hand(Mutex<Duration>);

    impl Hand {
        fn move_by(&self, by: Duration) {
            *self.0.lock().expect("hand") += by;
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Micros {
            Micros::new(0)
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().expect("hand")
        }
    }

    fn user(text: &str) -> UserId {
        UserId::checked(text).expect("user")
    }

    fn limiter(quota: usize) -> (RateLimiter, Arc<Hand>) {
        let hand = Arc::new(Hand::default());
        (RateLimiter::new(quota, Arc::clone(&hand) as Arc<dyn Clock>).expect("limit"), hand)
    }

    #[test]
    fn a_minutes_requests_at_once_then_one_as_each_comes_back() {
        let (limiter, hand) = limiter(6);
        for remaining in (0..6).rev() {
            let standing = limiter.take(&user("u"));
            assert_eq!((standing.refused, standing.remaining), (false, remaining));
        }
        let refused = limiter.take(&user("u"));
        assert_eq!((refused.refused, refused.remaining), (true, 0));
        assert_eq!(refused.next_in, Duration::from_secs(10));
        assert_eq!(refused.full_in, Duration::from_mins(1));
        assert!(!limiter.take(&user("v")).refused, "users have buckets of their own");
        hand.move_by(Duration::from_secs(9));
        assert!(limiter.take(&user("u")).refused);
        hand.move_by(Duration::from_secs(1));
        assert!(!limiter.take(&user("u")).refused);
        assert!(limiter.take(&user("u")).refused, "a refused request costs nothing");
        hand.move_by(Duration::from_hours(1));
        assert_eq!(limiter.take(&user("u")).remaining, 5, "no more than a minute's is saved up");
    }

    #[test]
    fn none_is_no_limit() {
        assert!(RateLimiter::new(0, Arc::new(Hand::default())).is_none());
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_remembered() {
        let (limiter, _hand) = limiter(10);
        let busy = user("busy");
        for _ in 0..10 {
            limiter.take(&busy);
        }
        for n in 0..2 * MOST_USERS {
            limiter.take(&user(&format!("u{n}")));
        }
        let kept: usize = limiter.shards.iter().map(|s| s.lock().expect("shard").len()).sum();
        assert!(kept <= MOST_USERS, "{kept}");
        assert!(limiter.take(&busy).refused);
    }

    proptest! {
        #[test]
        fn no_minute_has_more_than_twice_the_limit(
            quota in 1_usize..40,
            waits in proptest::collection::vec(0_u64..5_000, 1..300),
        ) {
            let (limiter, hand) = limiter(quota);
            let (mut now, mut taken) = (0, Vec::new());
            for wait in waits {
                now += wait;
                hand.move_by(Duration::from_millis(wait));
                if !limiter.take(&user("u")).refused {
                    taken.push(now);
                }
            }
            for (index, from) in taken.iter().enumerate() {
                let within = taken[index..].iter().take_while(|at| **at < from + 60_000).count();
                prop_assert!(within <= 2 * quota, "{within} of {quota}");
            }
        }
    }
}
