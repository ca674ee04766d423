//! Adds what a process counted to the day's record.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::day::{Day, day_of};
use super::files::HistoryFiles;
use super::sample::Sample;
use crate::env::Env;

/// What the process has counted so far, and where it goes. Its calls block.
pub struct Keeper {
    env: Env,
    root: PathBuf,
    files: HistoryFiles,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The record that grows; `None` before the first call.
    day: Option<Day>,
    /// The sample before this one.
    before: Sample,
    /// When it was taken, on the monotonic clock.
    at: Duration,
    /// Whether a start was noted.
    begun: bool,
    /// Whether the last write failed: it is told once.
    failing: bool,
    ended: bool,
}

impl Keeper {
    /// Keeps the history of the store in `root`, whose lock this process holds.
    #[must_use]
    pub fn new(env: &Env, root: &Path) -> Self {
        let state = State { at: env.clock.monotonic(), ..State::default() };
        let files = HistoryFiles::new(env, root);
        Self { env: env.clone(), root: root.to_path_buf(), files, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic leaves at worst a sample that is counted again.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what grew since the last call to the day's record, and writes it. On return without a
    /// warning it survives power loss. What cannot be written is tried again with the next call.
    pub fn add(&self, sample: Sample) {
        self.told(|state| self.added(state, sample));
    }

    /// The last call, at a clean stop.
    pub fn end(&self, sample: Sample) {
        self.told(|state| {
            if let Some(day) = &mut state.day {
                day.stops += 1;
            }
            self.added(state, sample)?;
            state.ended = true;
            self.files.end()
        });
    }

    fn told(&self, work: impl FnOnce(&mut State) -> io::Result<()>) {
        let mut state = self.state();
        if state.ended {
            return;
        }
        match work(&mut state) {
            Ok(()) => state.failing = false,
            Err(error) if !state.failing => {
                state.failing = true;
                tracing::warn!(%error, "the history of metrics cannot be written; it is tried again");
            }
            Err(_) => {}
        }
    }

    fn added(&self, state: &mut State, mut sample: Sample) -> io::Result<()> {
        let (now, clock) = (self.env.clock.now(), self.env.clock.monotonic());
        if let Ok(space) = self.env.fs.space(&self.root) {
            sample.note("disk_available_bytes", space.available);
            sample.note("disk_total_bytes", space.total);
        }
        if state.day.is_none() {
            state.day = Some(self.files.day(day_of(now))?);
        }
        let Some(day) = &mut state.day else { return Ok(()) };
        if !state.begun {
            day.unclean += u64::from(self.files.begin(now)?);
            day.starts += 1;
            state.begun = true;
        }
        let mut grown = sample.since(&state.before);
        grown.seconds = whole_seconds(clock).saturating_sub(whole_seconds(state.at));
        (grown.from, grown.to) = (now.get(), now.get());
        // What came over midnight is the old day's: at most one interval.
        day.add(&grown);
        state.before = sample;
        state.at = clock;
        self.files.keep(day)?;
        if day.day != day_of(now) {
            state.day = Some(self.files.day(day_of(now))?);
            self.files.bound()?;
        }
        Ok(())
    }
}

/// Whole seconds, so that none is lost between samples.
fn whole_seconds(at: Duration) -> u64 {
    at.as_secs()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::super::DAY_MICROS;
    use super::*;
    use crate::domain::Micros;
    use crate::env::Clock;
    use crate::metrics::{Exposition, names};

    struct Hand(AtomicI64);

    impl Hand {
        fn pass(&self, micros: i64) {
            self.0.fetch_add(micros, Ordering::Relaxed);
        }
    }

    impl Clock for Hand {
        fn now(&self) -> Micros {
            Micros::new(self.0.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::from_micros(self.0.load(Ordering::Relaxed).cast_unsigned())
        }
    }

    fn world() -> (tempfile::TempDir, Arc<Hand>, Env) {
        let folder = tempfile::tempdir().expect("folder");
        let clock = Arc::new(Hand(AtomicI64::new(20_000 * DAY_MICROS)));
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
        (folder, clock, env)
    }

    fn sample(records: u64) -> Sample {
        let mut out = Exposition::default();
        out.number(&names::LOG_RECORDS, &[], records);
        Sample::of(&out)
    }

    const KEY: &str = "log_records_total";

    #[test]
    fn days_restarts_and_kills_lose_no_count_that_was_sampled() {
        let (folder, clock, env) = world();
        let (mut sent, hour) = (0, 3_600_000_000);
        for process in 0..6_u64 {
            let keeper = Keeper::new(&env, folder.path());
            keeper.add(sample(0));
            let mut counted = 0;
            for step in 1..=11 {
                clock.pass(hour);
                counted += step * (process + 1);
                keeper.add(sample(counted));
            }
            sent += counted;
            if process % 2 == 0 {
                counted += 5;
                sent += 5;
                keeper.end(sample(counted));
                keeper.end(sample(counted + 1));
            }
        }
        let days = HistoryFiles::new(&env, folder.path()).all().expect("all").days;
        assert_eq!(days.iter().map(|d| d.day).collect::<Vec<_>>(), [20_000, 20_001, 20_002]);
        let all = Day::together(&days);
        assert_eq!((all.count(KEY), all.starts, all.stops, all.unclean), (sent, 6, 3, 2));
        assert_eq!(all.seconds, 66 * 3600);
        assert!(days[0].seconds <= 25 * 3600);
    }

    #[test]
    fn what_cannot_be_written_is_written_later() {
        let (folder, clock, env) = world();
        let keeper = Keeper::new(&env, folder.path());
        keeper.add(sample(1));
        let path = folder.path().join("metrics");
        let aside = folder.path().join("aside");
        env.fs.rename(&path, &aside).expect("moved");
        env.fs.replace(&path, b"a file where the folder was").expect("in the way");
        clock.pass(60_000_000);
        keeper.add(sample(4));
        env.fs.remove_file(&path).expect("removed");
        env.fs.rename(&aside, &path).expect("back");
        keeper.add(sample(9));
        let days = HistoryFiles::new(&env, folder.path()).all().expect("all").days;
        assert_eq!((days.len(), days[0].count(KEY), days[0].starts), (1, 9, 1));
    }

    #[test]
    fn a_clock_that_goes_back_goes_on_with_the_day_it_was() {
        let (folder, clock, env) = world();
        let keeper = Keeper::new(&env, folder.path());
        keeper.add(sample(1));
        clock.pass(DAY_MICROS);
        keeper.add(sample(3));
        clock.pass(-DAY_MICROS);
        keeper.add(sample(6));
        keeper.end(sample(10));
        let days = HistoryFiles::new(&env, folder.path()).all().expect("all").days;
        let counts: Vec<_> = days.iter().map(|d| (d.day, d.count(KEY))).collect();
        assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 10, "{counts:?}");
    }
}
