//! How many users were active, and how many came back, without keeping who.
//!
//! Of each user who was active in the last 63 days a keyed 64-bit hash is kept, with one bit a day.
//! At most [`CAPACITY`] hashes: where more come, those whose lowest bit is set go, then those whose
//! second bit is, and so on (adaptive sampling, Wegman; Flajolet 1990). Because the same users
//! are in the sample on every day, counts of one day, of several together and of who came back
//! all come from one table.
//!
//! Error: none up to [`CAPACITY`] users in 63 days. Beyond, a count of `m` sampled users has a
//! relative standard error of at most `1/sqrt(m)`: with 32,768 or more in the sample, 0.6 % for
//! the users of a month; the share who came back has one of at most `0.5/sqrt(m)`.
//!
//! Memory: 16 bytes a kept user and half a mebibyte to keep the hot path short. A hash tells
//! nobody's id without the key, which never leaves the file; an erased user's goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use siphasher::sip::SipHasher24;

use super::{Exposition, names};
use crate::domain::{Micros, UserId};

/// Users that are kept.
pub const CAPACITY: usize = 65_536;
/// Places of the table that remembers who was marked today.
const SEEN: usize = 1 << 16;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// Days that are kept: a bit each; the highest bit stays free, so that a shift shows an old day.
const DAYS: u32 = 63;

/// The days, today first, on which a user was active.
type Days = u64;

/// Everything that is kept, as it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The key of hashes.
    pub key: [u64; 2],
    /// The day that the lowest bit means, in days since 1970.
    pub today: i64,
    /// How many low bits of a hash must be clear for its user to be kept.
    pub level: u32,
    /// Hashes and days.
    pub users: HashMap<u64, Days>,
}

impl Kept {
    /// Nobody yet.
    #[must_use]
    pub fn empty(key: [u64; 2]) -> Self {
        Self { key, today: 0, level: 0, users: HashMap::new() }
    }

    /// Moves on to a day; earlier days than today's change nothing.
    fn turn(&mut self, day: i64) {
        let passed = u32::try_from(day.saturating_sub(self.today).max(0)).unwrap_or(u32::MAX);
        if passed == 0 {
            return;
        }
        self.today = day;
        self.users.retain(|_, days| {
            *days = if passed >= DAYS { 0 } else { (*days << passed) & ((1 << DAYS) - 1) };
            *days != 0
        });
    }

    fn samples(&self, hash: u64) -> bool {
        hash.trailing_zeros() >= self.level
    }

    fn mark(&mut self, hash: u64) {
        if !self.samples(hash) {
            return;
        }
        *self.users.entry(hash).or_insert(0) |= 1;
        while self.users.len() > CAPACITY {
            self.level += 1;
            let level = self.level;
            self.users.retain(|hash, _| hash.trailing_zeros() >= level);
        }
    }

    fn counted(&self, is: impl Fn(Days) -> bool) -> u64 {
        let sampled = self.users.values().filter(|days| is(**days)).count() as u64;
        sampled << self.level.min(40)
    }

    /// The numbers of users.
    #[must_use]
    pub fn counts(&self) -> Counts {
        const WEEK: Days = (1 << 7) - 1;
        const BEFORE: Days = WEEK << 7;
        const MONTH: Days = (1 << 30) - 1;
        Counts {
            day: self.counted(|days| days & 1 != 0),
            week: self.counted(|days| days & WEEK != 0),
            month: self.counted(|days| days & MONTH != 0),
            previous_week: self.counted(|days| days & BEFORE != 0),
            returned: self.counted(|days| days & BEFORE != 0 && days & WEEK != 0),
            level: self.level,
        }
    }
}

/// Numbers of users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Active today, UTC.
    pub day: u64,
    /// Active in the last 7 days, today included.
    pub week: u64,
    /// Active in the last 30 days, today included.
    pub month: u64,
    /// Active in the 7 days before the last 7.
    pub previous_week: u64,
    /// Of those, active in the last 7 too.
    pub returned: u64,
    /// One of two to this power of users is kept.
    pub level: u32,
}

/// Who was active. Shared by all workers.
#[derive(Debug)]
pub struct Activity {
    key: [u64; 2],
    /// Hash and day of users who were marked of late: their next request needs no lock.
    seen: Box<[AtomicU64]>,
    kept: Mutex<Kept>,
    changed: AtomicBool,
}

impl Activity {
    /// Goes on with what was kept.
    #[must_use]
    pub fn new(kept: Kept) -> Self {
        let seen = (0..SEEN).map(|_| AtomicU64::new(0)).collect();
        Self { key: kept.key, seen, kept: Mutex::new(kept), changed: AtomicBool::new(false) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Each change leaves a whole table behind.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hash(&self, user: &UserId) -> u64 {
        SipHasher24::new_with_keys(self.key[0], self.key[1]).hash(user.as_str().as_bytes())
    }

    /// A user is active. The first time a day takes a lock; others a hash and a load.
    pub fn mark(&self, user: &UserId, now: Micros) {
        let (hash, day) = (self.hash(user), now.get().div_euclid(DAY));
        #[allow(clippy::cast_sign_loss, reason = "only to tell days apart")]
        let tag = hash ^ (day as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        #[allow(clippy::cast_possible_truncation, reason = "only the low bits matter")]
        let place = self.seen.get((hash >> 32) as usize % SEEN);
        if place.is_some_and(|place| place.load(Ordering::Relaxed) == tag) {
            return;
        }
        let mut kept = self.kept();
        kept.turn(day);
        kept.mark(hash);
        drop(kept);
        self.changed.store(true, Ordering::Relaxed);
        if let Some(place) = place {
            place.store(tag, Ordering::Relaxed);
        }
    }

    /// Forgets an erased user.
    pub fn forget(&self, user: &UserId) {
        let hash = self.hash(user);
        self.kept().users.remove(&hash);
        self.changed.store(true, Ordering::Relaxed);
        #[allow(clippy::cast_possible_truncation, reason = "only the low bits matter")]
        if let Some(place) = self.seen.get((hash >> 32) as usize % SEEN) {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// What is kept, where it changed since the last call.
    #[must_use]
    pub fn changes(&self) -> Option<Kept> {
        self.changed.swap(false, Ordering::Relaxed).then(|| self.kept().clone())
    }

    /// Says that what [`Activity::changes`] gave could not be written.
    pub fn not_written(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Writes the numbers of users as they are at `now`.
    pub fn expose(&self, now: Micros, out: &mut Exposition) {
        let counts = {
            let mut kept = self.kept();
            kept.turn(now.get().div_euclid(DAY));
            kept.counts()
        };
        for (window, users) in [("day", counts.day), ("week", counts.week), ("month", counts.month)]
        {
            out.number(&names::ACTIVE_USERS, &[("window", window)], users);
        }
        out.number(&names::PREVIOUS_WEEK_USERS, &[], counts.previous_week);
        out.number(&names::RETURNED_USERS, &[], counts.returned);
        out.value(&names::ACTIVITY_SAMPLING, &[], 0.5_f64.powi(counts.level.cast_signed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: usize) -> UserId {
        UserId::checked(&format!("user-{n}")).expect("user")
    }

    fn at(day: i64) -> Micros {
        Micros::new(day * DAY + 7)
    }

    fn fresh() -> Activity {
        Activity::new(Kept::empty([3, 4]))
    }

    fn counts(activity: &Activity, day: i64) -> Counts {
        let mut kept = activity.kept();
        kept.turn(day);
        kept.counts()
    }

    #[test]
    fn days_weeks_and_months_count_each_user_once() {
        let activity = fresh();
        for day in 20_000..20_040 {
            for n in 0..10 {
                activity.mark(&user(n), at(day));
                activity.mark(&user(n), at(day));
            }
            activity.mark(&user(1000 + usize::try_from(day).expect("day")), at(day));
        }
        let now = counts(&activity, 20_039);
        assert_eq!((now.day, now.week, now.month), (11, 17, 40));
        assert_eq!((now.previous_week, now.returned), (17, 10));
        let later = counts(&activity, 20_046);
        assert_eq!((later.day, later.week, later.previous_week, later.returned), (0, 0, 17, 0));
        assert_eq!(counts(&activity, 20_200).month, 0);
        assert!(activity.kept().users.is_empty(), "old days go");
    }

    #[test]
    fn beyond_its_capacity_it_estimates_within_the_stated_error() {
        let activity = fresh();
        let users = 300_000;
        for n in 0..users {
            activity.mark(&user(n), at(20_000));
        }
        for n in 0..users / 4 {
            activity.mark(&user(n), at(20_007));
        }
        let now = counts(&activity, 20_007);
        assert!(activity.kept().users.len() <= CAPACITY);
        let near = |count: u64, truth: usize, sampled: f64| {
            #[allow(clippy::cast_precision_loss, reason = "far from 2^52")]
            let off = (count as f64 / truth as f64 - 1.0).abs();
            // Four standard errors: the hashes are the same at every run.
            assert!(off < 4.0 / sampled.sqrt(), "{count} of {truth}");
        };
        near(now.month, users, 32_768.0);
        near(now.previous_week, users, 32_768.0);
        near(now.returned, users / 4, 8_192.0);
    }

    #[test]
    fn who_is_erased_is_forgotten_and_can_come_back() {
        let activity = fresh();
        activity.mark(&user(1), at(20_000));
        assert!(activity.changes().is_some());
        activity.forget(&user(1));
        assert!(activity.changes().expect("changed").users.is_empty());
        assert!(activity.changes().is_none());
        activity.mark(&user(1), at(20_000));
        assert_eq!(counts(&activity, 20_000).day, 1);
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let activity = fresh();
        activity.mark(&user(1), at(20_001));
        activity.mark(&user(2), at(20_000));
        assert_eq!(counts(&activity, 20_001).day, 2);
    }
}
