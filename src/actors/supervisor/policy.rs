//! Which partitions stop, which are saved next and how fast: plain functions over plain numbers.

use std::time::Duration;

use crate::actors::Limits;

/// A running partition, as the policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// Bytes in memory.
    pub bytes: u64,
    /// Monotonic milliseconds of the last request.
    pub used: u64,
}

/// A partition with something unsaved, as the policy sees it.
#[derive(Clone, Copy, Debug)]
pub struct Unsaved {
    /// Monotonic milliseconds of the oldest unsaved change; 0 for none.
    pub dirty_since: u64,
    /// Unsaved bytes.
    pub bytes: u64,
    /// Whether a checkpoint is being written.
    pub saving: bool,
    /// Monotonic milliseconds before which it is not tried again.
    pub retry_at: u64,
}

/// What a partition's actor, mailbox and stream cost besides its rows and footer, about, with the
/// allocator's slack: of 547 MiB that a process had with 6,700 partitions, their records, the
/// listing cache and what it began with were 308.
const ACTOR_BYTES: u64 = 32_768;

/// The partitions that should stop at `now`: idle too long, or the longest unused while all
/// together hold too much.
#[must_use]
pub fn to_passivate(now: u64, residents: &[Resident], limits: &Limits) -> Vec<usize> {
    let idle = u64::try_from(limits.idle_timeout.as_millis()).unwrap_or(u64::MAX);
    let mut order: Vec<(usize, &Resident)> = residents.iter().enumerate().collect();
    order.sort_by_key(|(_, r)| r.used);
    let mut bytes: u64 = residents.iter().map(|r| r.bytes + ACTOR_BYTES).sum();
    let mut count = residents.len();
    let mut stop = Vec::new();
    for (index, resident) in order {
        let too_old = now.saturating_sub(resident.used) >= idle;
        if !too_old && bytes <= limits.resident_bytes && count <= limits.resident_partitions {
            break;
        }
        stop.push(index);
        bytes -= resident.bytes + ACTOR_BYTES;
        count -= 1;
    }
    stop
}

/// The partitions whose checkpoint is due at `now`, the longest unsaved first, if one starts every
/// `gap`: those that are large, and those up to the last that would be saved later than within the
/// interval if they waited. `hurry` makes every unsaved one due.
#[must_use]
pub fn due(
    now: u64,
    unsaved: &[Unsaved],
    limits: &Limits,
    hurry: bool,
    gap: Duration,
) -> Vec<usize> {
    let waits = |u: &Unsaved| u.dirty_since > 0 && !u.saving && now >= u.retry_at;
    let mut order: Vec<(usize, &Unsaved)> =
        unsaved.iter().enumerate().filter(|(_, u)| waits(u)).collect();
    order.sort_by_key(|(_, u)| u.dirty_since);
    let is_late = |(place, (_, u)): &(usize, &(usize, &Unsaved))| {
        let wait = gap.saturating_mul(u32::try_from(place + 1).unwrap_or(u32::MAX));
        let age = Duration::from_millis(now.saturating_sub(u.dirty_since));
        age + wait >= limits.checkpoint_interval
    };
    let in_time = order.iter().enumerate().rev().find(is_late).map_or(0, |(place, _)| place + 1);
    let is_due =
        |place: usize, u: &Unsaved| hurry || place < in_time || u.bytes >= limits.checkpoint_bytes;
    let due = order.into_iter().enumerate().filter(|(place, (_, u))| is_due(*place, u));
    due.map(|(_, (index, _))| index).collect()
}

/// What a few partitions are not held up beyond.
const LONGEST_GAP: Duration = Duration::from_millis(50);

/// Time between two starts of checkpoints at which all that is unsaved is saved within four fifths
/// of the interval, so that partitions which are written to all the time are saved evenly, one
/// after the other, and not all in one rush every interval. None where there is a `hurry`.
#[must_use]
pub fn gap(unsaved: &[Unsaved], limits: &Limits, hurry: bool) -> Duration {
    let count = unsaved.iter().filter(|u| u.dirty_since > 0).count();
    match u32::try_from(count) {
        Ok(count @ 1..) if !hurry => (limits.checkpoint_interval * 4 / 5 / count).min(LONGEST_GAP),
        _ => Duration::ZERO,
    }
}

/// When the next checkpoint may start.
#[derive(Debug, Default)]
pub struct Pace {
    next: Duration,
}

impl Pace {
    /// How far starts may catch up on a pace that they could not keep.
    const CATCH_UP: Duration = Duration::from_millis(50);

    /// How long the next start has to wait at the monotonic time `now`.
    #[must_use]
    pub fn wait(&self, now: Duration, gap: Duration) -> Duration {
        // A pace that was slow when this was set does not bind a faster one.
        self.next.saturating_sub(now).min(gap)
    }

    /// One has started.
    pub fn started(&mut self, now: Duration, gap: Duration) {
        self.next = self.next.clamp(now.saturating_sub(Self::CATCH_UP), now) + gap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            page_bytes: 0,
            quotas: crate::actors::usage::Quotas::default(),
            mailbox: 16,
            checkpoint_interval: Duration::from_secs(5),
            checkpoint_bytes: 1000,
            checkpoint_concurrency: 2,
            idle_timeout: Duration::from_mins(1),
            resident_bytes: 450_000,
            resident_partitions: 10,
            cache_bytes: 0,
        }
    }

    #[test]
    fn idle_partitions_stop() {
        let residents = [Resident { bytes: 1, used: 1 }, Resident { bytes: 1, used: 50_000 }];
        assert_eq!(to_passivate(61_000, &residents, &limits()), [0]);
        assert!(to_passivate(60_000, &residents, &limits()).is_empty());
    }

    #[test]
    fn the_longest_unused_stop_until_the_bounds_hold() {
        let residents: Vec<_> = [(3, 200_000), (1, 220_000), (2, 120_000)]
            .map(|(used, bytes)| Resident { bytes, used })
            .into();
        assert_eq!(to_passivate(10, &residents, &limits()), [1]);
        let many: Vec<_> = (0..12).map(|used| Resident { bytes: 1, used: 12 - used }).collect();
        assert_eq!(to_passivate(10, &many, &limits()), [11, 10]);
    }

    #[test]
    fn checkpoints_are_due_by_age_or_size_or_hurry() {
        let unsaved =
            |dirty_since, bytes| Unsaved { dirty_since, bytes, saving: false, retry_at: 0 };
        let all = [
            unsaved(0, 0),
            unsaved(6000, 10),
            unsaved(2000, 10),
            unsaved(9000, 5000),
            Unsaved { saving: true, ..unsaved(1, 5000) },
            Unsaved { retry_at: 20_000, ..unsaved(1, 5000) },
        ];
        let gap = gap(&all, &limits(), false);
        assert_eq!(due(10_000, &all, &limits(), false, gap), [2, 3]);
        assert_eq!(due(10_000, &all, &limits(), true, Duration::ZERO), [2, 1, 3]);
    }

    #[test]
    fn checkpoints_start_so_early_that_the_last_of_them_is_in_time() {
        let unsaved = |dirty_since| Unsaved { dirty_since, bytes: 1, saving: false, retry_at: 0 };
        let due_of = |all: &[Unsaved], now| {
            let gap = gap(all, &limits(), false);
            due(now, all, &limits(), false, gap).len()
        };
        let at_once = vec![unsaved(1); 1000];
        assert_eq!(due_of(&at_once, 1000), 0, "a thousand take four of five seconds");
        assert_eq!(due_of(&at_once, 1001), 1000);
        let evenly: Vec<_> = (0..1000).map(|n| unsaved(1 + 5 * n)).collect();
        assert_eq!(due_of(&evenly, 4996), 0);
        assert_eq!(due_of(&evenly, 4997), 1, "as often as the interval says, and no more often");
        assert_eq!(due_of(&[unsaved(1)], 4950), 0);
        assert_eq!(due_of(&[unsaved(1)], 4951), 1);
    }

    #[test]
    fn starts_are_spread_over_the_interval_unless_there_is_a_hurry() {
        let unsaved = Unsaved { dirty_since: 1, bytes: 1, saving: false, retry_at: 0 };
        let none = Unsaved { dirty_since: 0, ..unsaved };
        let all: Vec<_> = (0..1000).map(|i| if i % 2 == 0 { unsaved } else { none }).collect();
        assert_eq!(gap(&all, &limits(), false), Duration::from_millis(8));
        assert_eq!(gap(&all, &limits(), true), Duration::ZERO);
        assert_eq!(gap(&[none], &limits(), false), Duration::ZERO);
        assert_eq!(gap(&[unsaved], &limits(), false), LONGEST_GAP);
    }

    #[test]
    fn a_pace_is_kept_on_average_and_caught_up_with_little_by_little() {
        let ms = Duration::from_millis;
        let mut pace = Pace::default();
        let (gap, mut now, mut starts) = (ms(4), ms(10_000), 0);
        // Whoever sleeps wakes a millisecond late, and every start takes two.
        let end = now + ms(1000);
        while now < end {
            let wait = pace.wait(now, gap);
            now += if wait.is_zero() { wait } else { wait + ms(1) };
            pace.started(now, gap);
            now += ms(2);
            starts += 1;
        }
        assert!((250..=263).contains(&starts), "{starts} starts in a second");
        now += ms(60_000);
        let at_once = std::iter::repeat_with(|| {
            let wait = pace.wait(now, gap);
            pace.started(now, gap);
            wait
        });
        assert_eq!(at_once.take_while(Duration::is_zero).count(), 13, "a minute is not caught up");
        assert_eq!(pace.wait(now, Duration::ZERO), Duration::ZERO, "a hurry does not wait");
    }
}
