//! Sees to it that unsaved changes reach their files in time, and lets log segments go that no
//! partition needs any more.
//!
//! A partition is asked only when a checkpoint may start, so that it goes on collecting changes
//! until then, and starts are spread over the interval: [`Pace`]. What a recovery left in the log
//! is worked off in the same way, oldest first.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::door::Door;
use super::policy::{self, Pace, Unsaved};
use crate::actors::Shared;
use crate::actors::messages::Work;
use crate::actors::registry::Slot;
use crate::log::{FullReason, LogState};

/// How often it looks for what is due.
const LOOK: Duration = Duration::from_millis(50);
/// How many partitions of the oldest log segment are woken at once.
const WAKE: usize = 64;

/// Runs until the supervisor's thread stops.
pub async fn run(shared: Arc<Shared>, door: Door) {
    let mut looked: u64 = 0;
    let mut pace = Pace::default();
    loop {
        let hurry = shared.is_in_a_hurry();
        let slots = shared.registry.all();
        let unsaved: Vec<Unsaved> = slots.iter().map(|slot| view(slot)).collect();
        let gap = policy::gap(&unsaved, &shared.limits, hurry);
        let due = policy::due(shared.millis(), &unsaved, &shared.limits, hurry, gap);
        let idle = due.is_empty();
        let next_look = shared.env.clock.monotonic() + LOOK;
        for index in due {
            let now = shared.env.clock.monotonic();
            let wait = pace.wait(now, gap);
            if now + wait > next_look {
                tokio::time::sleep(next_look.saturating_sub(now)).await;
                break;
            }
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let Some(slot) = slots.get(index) else { continue };
            let Ok(permit) = Arc::clone(&shared.checkpoints).acquire_owned().await else { return };
            let work = Work::Checkpoint { adopt: false, permit: Some(permit), reply: None };
            // A full mailbox drops the permit with the message; it is asked again soon.
            let _ = slot.addr.try_send(work);
            pace.started(shared.env.clock.monotonic(), gap);
        }
        looked += 1;
        if looked.is_multiple_of(10) {
            wake_oldest(&shared, &door).await;
            remove_segments(&shared).await;
            if shared.log.status().state == LogState::Full(FullReason::Storage) {
                // Where there is room again, a new segment says so, without waiting for a write
                // that may never come: nobody sends any to a server that is not ready.
                shared.log.rotate();
            }
        }
        if idle {
            tokio::time::sleep(LOOK).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

fn view(slot: &Slot) -> Unsaved {
    Unsaved {
        dirty_since: slot.stats.dirty_since.load(Ordering::Relaxed),
        bytes: slot.stats.unsaved_bytes.load(Ordering::Relaxed),
        saving: slot.stats.saving.load(Ordering::Relaxed),
        retry_at: slot.stats.retry_at.load(Ordering::Relaxed),
    }
}

/// Starts partitions whose changes only the log holds: a recovery's, or a panicked one's.
async fn wake_oldest(shared: &Shared, door: &Door) {
    for key in shared.log.oldest_unpublished(WAKE) {
        if shared.registry.partition(&key).is_none() {
            // A partition that pauses or is fenced is woken another time.
            let _ = door.open(&key).await;
        }
    }
}

async fn remove_segments(shared: &Shared) {
    let log = shared.log.clone();
    match shared.env.blocking(move || log.remove_published_segments()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "log segments could not be removed"),
        Err(error) => tracing::error!(%error, "removing log segments panicked"),
    }
}
