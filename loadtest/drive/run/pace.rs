//! The open loop: requests are due at even intervals, however long answers take.
//!
//! A thread of its own keeps the schedule: the runtime's timers are as coarse as a millisecond,
//! which is as long as a save takes. What is due waits for a free connection, and its latency
//! counts from the moment it was due, so that a pause of the server is seen by every request
//! that should have been sent meanwhile.

use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

/// When requests are due.
pub struct Schedule {
    start: Instant,
    end: Instant,
    per_second: f64,
}

impl Schedule {
    /// `per_second` requests from `start` until `end`, the first at `start`.
    pub fn new(start: Instant, end: Instant, per_second: f64) -> Self {
        Self { start, end, per_second }
    }

    /// When request `number` is due, or `None` from the end on. Counted from the start, so that
    /// roundings do not add up.
    #[allow(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
    pub fn due(&self, number: u64) -> Option<Instant> {
        let after = Duration::try_from_secs_f64(number as f64 / self.per_second).ok()?;
        self.start.checked_add(after).filter(|due| *due < self.end)
    }
}

/// Sends each moment on when it has come, until the schedule ends or nobody listens.
pub fn keep(schedule: &Schedule, arrivals: &UnboundedSender<Instant>) {
    for number in 0.. {
        let Some(due) = schedule.due(number) else { return };
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        if arrivals.send(due).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn requests_are_due_at_even_intervals_until_the_end() {
        let start = Instant::now();
        let schedule = Schedule::new(start, start + Duration::from_secs(2), 400.0);
        assert_eq!(schedule.due(0), Some(start));
        assert_eq!(schedule.due(1), Some(start + Duration::from_micros(2500)));
        assert_eq!(schedule.due(799), Some(start + Duration::from_micros(1_997_500)));
        assert_eq!(schedule.due(800), None);
    }

    #[test]
    fn an_interval_that_is_no_whole_number_does_not_drift() {
        let start = Instant::now();
        let schedule = Schedule::new(start, start + Duration::from_hours(2), 3.0);
        let hour = schedule.due(3 * 3600).expect("due");
        assert_eq!(hour - start, Duration::from_hours(1));
    }

    #[test]
    fn what_is_late_is_sent_with_the_moment_it_was_due() {
        let start = Instant::now().checked_sub(Duration::from_secs(1)).expect("a second ago");
        let schedule = Schedule::new(start, start + Duration::from_millis(10), 500.0);
        let (arrivals, mut seen) = unbounded_channel();
        keep(&schedule, &arrivals);
        let due: Vec<_> = std::iter::from_fn(|| seen.try_recv().ok()).collect();
        let expected: Vec<_> = (0..5).map(|n| start + Duration::from_millis(2 * n)).collect();
        assert_eq!(due, expected);
    }

    #[test]
    fn nobody_listening_ends_it() {
        let start = Instant::now();
        let (arrivals, seen) = unbounded_channel();
        drop(seen);
        keep(&Schedule::new(start, start + Duration::from_hours(1), 1000.0), &arrivals);
    }
}
