//! What the log's handles and its writer share: the state behind one short mutex, how far the
//! log is as numbers that need no lock, and open files for reading.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use lru::LruCache;
use uuid::Uuid;

use super::kept::Kept;
use super::measures::Measures;
use super::segment::file_name;
use super::spare::Spare;
use super::state::{Phase, Progress, Reached, State};
use super::{Linger, LogError, LogOptions, Lsn, ReadPoint};
use crate::env::{Bell, Env, File, OpenMode};

/// Segments kept open for reading.
const OPEN_READERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) dir: PathBuf,
    pub(crate) log_id: Uuid,
    pub(crate) options: LogOptions,
    state: Mutex<State>,
    work: Condvar,
    /// Rung where the writer is stepped instead of asleep on a thread.
    bell: OnceLock<Bell>,
    written: AtomicU64,
    visible: AtomicU64,
    durable: AtomicU64,
    epoch: AtomicU64,
    readers: Mutex<LruCache<Lsn, Arc<dyn File>>>,
    pub(crate) measures: Measures,
    /// Held while segments are removed, so that they go in order.
    pub(crate) removal: Mutex<()>,
    /// Segments that are out of the log.
    pub(crate) kept: Kept,
    /// The next segment.
    pub(crate) spare: Spare,
}

/// A lock whose holder panicked guards nothing worse than before: state changes are complete or
/// not begun when code that can panic runs.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        env: Env,
        dir: PathBuf,
        log_id: Uuid,
        options: LogOptions,
        state: State,
    ) -> Self {
        let (progress, epoch) = (state.progress, state.epoch);
        let kept = Kept::new(&env, dir.clone(), options.keep_bytes);
        if let Some((lsn, _)) = state.erasures.last_key_value() {
            kept.erased(*lsn);
        }
        let shared = Self {
            env,
            dir,
            log_id,
            options,
            state: Mutex::new(state),
            work: Condvar::new(),
            bell: OnceLock::new(),
            written: AtomicU64::new(0),
            visible: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            readers: Mutex::new(LruCache::new(OPEN_READERS)),
            measures: Measures::new(),
            removal: Mutex::new(()),
            kept,
            spare: Spare::default(),
        };
        shared.publish(epoch, progress);
        shared
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Tells lock-free readers how far the log is, and in which epoch.
    pub(crate) fn publish(&self, epoch: u64, progress: Progress) {
        self.epoch.store(epoch, Ordering::Release);
        self.written.store(progress.written.get(), Ordering::Release);
        self.visible.store(progress.visible.get(), Ordering::Release);
        self.durable.store(progress.durable.get(), Ordering::Release);
    }

    /// How far the log is.
    pub(crate) fn progress(&self) -> Progress {
        Progress {
            written: Lsn::new(self.written.load(Ordering::Acquire)),
            visible: Lsn::new(self.visible.load(Ordering::Acquire)),
            durable: Lsn::new(self.durable.load(Ordering::Acquire)),
        }
    }

    /// Whether the point is reached, without a lock; `false` where that takes a closer look.
    pub(crate) fn has(&self, point: ReadPoint, until: Reached) -> bool {
        // In this order: an LSN given again is reached only after the epoch that gave it.
        self.progress().has(point.lsn, until) && self.epoch() == point.epoch
    }

    /// Grows whenever records were rolled back, before their LSNs are given again.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Runs `change` on the state, then wakes the writer where it sleeps and has something to do.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let result = change(&mut state);
        let wake = state.writer_sleeps && state.has_work() && state.has_company();
        if wake {
            state.writer_sleeps = false;
        }
        let ring = self.bell.get().filter(|_| state.has_work());
        drop(state);
        if wake {
            self.work.notify_one();
        }
        if let Some(bell) = ring {
            bell();
        }
        result
    }

    /// Has `bell` rung whenever there is work for the writer. The first one stays.
    pub(crate) fn set_bell(&self, bell: Bell) {
        // An error gives the second one back.
        let _ = self.bell.set(bell);
    }

    /// Sleeps until there is work, or for so long.
    pub(crate) fn wait_for_work(&self, at_most: Option<Duration>) {
        let mut state = self.state();
        if state.has_work() {
            return;
        }
        state.writer_sleeps = true;
        // Waking for nothing is harmless: the writer looks and sleeps again.
        let mut state = match at_most {
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.writer_sleeps = false;
    }

    /// Sleeps until enough records wait to be worth a sync, something cannot wait, or the time
    /// is over.
    pub(crate) fn wait_for_company(&self, linger: Linger) {
        let mut state = self.state();
        state.wanted = linger.records;
        if !state.has_company() {
            state.writer_sleeps = true;
            // As in `wait_for_work`.
            let woken = self.work.wait_timeout(state, linger.at_most);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.writer_sleeps = false;
        }
        state.wanted = 0;
    }

    /// Takes no more appends; what waits is still written.
    pub(crate) fn request_close(&self) {
        self.spare.close();
        self.change(|state| {
            if state.phase == Phase::Running {
                state.phase = Phase::Closing;
            }
        });
    }

    /// The segment's file, open for reading.
    pub(crate) fn reader(&self, first: Lsn) -> Result<Arc<dyn File>, LogError> {
        if let Some(file) = lock(&self.readers).get(&first) {
            return Ok(Arc::clone(file));
        }
        let name = file_name(first);
        let file = self.env.fs.open(&self.dir.join(&name), OpenMode::Read);
        let file = file.map_err(LogError::io("open", &name))?;
        lock(&self.readers).put(first, Arc::clone(&file));
        Ok(file)
    }

    /// Closes the segment's file.
    pub(crate) fn forget_reader(&self, first: Lsn) {
        lock(&self.readers).pop(&first);
    }
}
