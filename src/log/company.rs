//! How long the writer waits for company: whether the next batch begins at once or a moment later,
//! so that more records share its sync. Plain numbers; no clock, no threads.
//!
//! A sync costs about the same for one record as for a hundred, and so do the wake-ups around it.
//! Where several writers are at work, those just answered send their next records soon: beginning
//! without them means many small batches, and the machine spends its time on switching threads.
//! Where one writer waits for each answer, there is nobody to wait for.

use std::time::Duration;

/// Longest wait, however slow the disk is.
const LONGEST: Duration = Duration::from_micros(500);
/// How many syncs long the writer waits.
const SYNCS: u32 = 1;
/// Weight of the newest sync in the usual one: one in so many.
const MEMORY: u32 = 8;

/// What the last batches were like.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Company {
    /// What a sync usually takes.
    usual_sync: Duration,
    /// Records of a large batch of late; forgets slowly.
    large: usize,
}

/// A wait: until so many records are there, or this much time has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Linger {
    /// Records that are worth a sync at once.
    pub records: usize,
    /// The longest wait.
    pub at_most: Duration,
}

impl Company {
    /// Notes a batch of `records` whose sync took `sync`, and says how long to wait before the
    /// next one; `None` for not at all.
    pub(crate) fn after(&mut self, records: usize, sync: Duration) -> Option<Linger> {
        self.usual_sync = if self.usual_sync.is_zero() {
            sync
        } else {
            (self.usual_sync * (MEMORY - 1) + sync) / MEMORY
        };
        let faded = self.large.div_ceil(MEMORY as usize);
        self.large = records.max(self.large - faded);
        let at_most = (self.usual_sync * SYNCS).min(LONGEST);
        (self.large > 1 && !at_most.is_zero()).then_some(Linger { records: self.large, at_most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(100);

    #[test]
    fn a_lone_writer_is_never_kept_waiting() {
        let mut company = Company::default();
        for _ in 0..10 {
            assert_eq!(company.after(1, SYNC), None);
        }
    }

    #[test]
    fn several_writers_wait_for_each_other_about_a_sync() {
        let mut company = Company::default();
        assert_eq!(company.after(30, SYNC), Some(Linger { records: 30, at_most: SYNC }));
        let slower = company.after(30, SYNC * 9).expect("linger");
        assert_eq!(slower.at_most, SYNC * 2, "one slow sync counts for an eighth");
        assert_eq!(company.after(30, Duration::from_secs(1)).expect("linger").at_most, LONGEST);
    }

    #[test]
    fn when_the_others_have_gone_the_last_one_soon_waits_for_nobody() {
        let mut company = Company::default();
        company.after(1000, SYNC);
        let waits = (0..100).take_while(|_| company.after(1, SYNC).is_some()).count();
        assert!(waits < 50, "{waits}");
    }
}
