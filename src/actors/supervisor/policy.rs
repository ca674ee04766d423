//! Which partitions stop and which are saved next: plain functions over plain numbers.

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

/// The partitions whose checkpoint is due at `now`, the longest unsaved first. `hurry` makes every
/// unsaved one due.
#[must_use]
pub fn due(now: u64, unsaved: &[Unsaved], limits: &Limits, hurry: bool) -> Vec<usize> {
    let interval = u64::try_from(limits.checkpoint_interval.as_millis()).unwrap_or(u64::MAX);
    let is_due = |u: &Unsaved| {
        u.dirty_since > 0
            && !u.saving
            && now >= u.retry_at
            && (hurry
                || now.saturating_sub(u.dirty_since) >= interval
                || u.bytes >= limits.checkpoint_bytes)
    };
    let mut due: Vec<(u64, usize)> = unsaved
        .iter()
        .enumerate()
        .filter(|(_, u)| is_due(u))
        .map(|(i, u)| (u.dirty_since, i))
        .collect();
    due.sort_unstable();
    due.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(due(10_000, &all, &limits(), false), [2, 3]);
        assert_eq!(due(10_000, &all, &limits(), true), [2, 1, 3]);
    }
}
