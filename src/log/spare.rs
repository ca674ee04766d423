//! The next segment, made ready beside the log: a file of a segment's size, every byte of it
//! written and synced. The writer gives it a header and its name when it begins a segment.
//!
//! Space that was only reserved costs each sync twice: the records, and where in the file they now
//! are. Over bytes that were written before, a sync is the records alone (decision 58).
//!
//! Who makes it also gives back the space of segments that are gone, between two pieces.
//!
//! It is made in pieces that keep pace with the segment in use, so that a store that writes little
//! makes none, and one that writes much never waits for it. Whatever goes wrong, the log makes its
//! segment the plain way.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::freed::{self, MOST, Nameless, Removed};
use super::shared::{Shared, lock};
use crate::env::{Bell, File, OpenMode, Turn, Worker};

/// The file's name in the log's folder, as long as it is no segment.
pub(crate) const SPARE: &str = "spare";
/// Most bytes written and synced at once: they delay the syncs of records.
const PIECE: u64 = 256 << 10;

/// What the writer and the one who makes spares tell each other.
#[derive(Default)]
pub(crate) struct Spare {
    state: Mutex<State>,
    work: Condvar,
    /// Rung where the maker is stepped instead of asleep on a thread.
    bell: OnceLock<Bell>,
}

#[derive(Default)]
struct State {
    /// Bytes that are to be ready.
    wanted: u64,
    ready: Option<Arc<dyn File>>,
    /// It could not be made. Not tried again before the next segment begins.
    given_up: bool,
    /// What is to be given back.
    freed: VecDeque<Nameless>,
    closed: bool,
}

/// What the maker has to do.
enum Task {
    Piece,
    Free,
    Nothing,
    End,
}

impl Spare {
    /// Asks for so many bytes to be ready.
    pub(crate) fn want(&self, bytes: u64) {
        lock(&self.state).wanted = bytes;
        self.wake();
    }

    /// A segment begins: gives the spare away, where one is ready and it `fits`.
    pub(crate) fn next_segment(&self, fits: bool) -> Option<Arc<dyn File>> {
        let mut state = lock(&self.state);
        state.wanted = 0;
        state.given_up = false;
        if fits { state.ready.take() } else { None }
    }

    /// Ends the maker's work.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.wake();
    }

    /// Gives back the space of segments whose removal survives power loss, piece by piece.
    pub(crate) fn free(&self, removed: impl IntoIterator<Item = Removed>) {
        let nameless: Vec<Nameless> = removed.into_iter().filter_map(Nameless::of).collect();
        if !nameless.is_empty() {
            let mut state = lock(&self.state);
            let room = MOST.saturating_sub(state.freed.len());
            state.freed.extend(nameless.into_iter().take(room));
            drop(state);
            self.wake();
        }
    }

    fn wake(&self) {
        self.work.notify_one();
        if let Some(bell) = self.bell.get() {
            bell();
        }
    }

    fn task(&self, done: u64) -> Task {
        lock(&self.state).task(done)
    }

    fn wait(&self, done: u64) {
        let state = lock(&self.state);
        let idle = |state: &mut State| matches!(state.task(done), Task::Nothing);
        drop(self.work.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner));
    }

    /// As [`Spare::wait`], but not for space to be given back, which has its time.
    fn pause(&self, done: u64, at_most: Duration) {
        let state = lock(&self.state);
        let idle = |state: &mut State| matches!(state.task(done), Task::Free | Task::Nothing);
        let waited = self.work.wait_timeout_while(state, at_most, idle);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl State {
    fn task(&self, done: u64) -> Task {
        if self.closed {
            Task::End
        } else if self.ready.is_none() && !self.given_up && done < self.wanted {
            Task::Piece
        } else if !self.freed.is_empty() {
            Task::Free
        } else {
            Task::Nothing
        }
    }
}

/// Bytes of the next segment that are to be ready when the one in use is written up to `offset`:
/// none in its first eighth, all of them in its last.
pub(crate) fn pace(offset: u64, segment_bytes: u64) -> u64 {
    let due = offset.saturating_sub(segment_bytes / 8).saturating_mul(4) / 3;
    if due >= segment_bytes { segment_bytes } else { due - due % piece(segment_bytes) }
}

fn piece(segment_bytes: u64) -> u64 {
    freed::piece(segment_bytes, PIECE)
}

/// Makes spares.
pub(crate) struct Maker {
    shared: Arc<Shared>,
    /// The file being made.
    file: Option<Arc<dyn File>>,
    /// Bytes of it that are written and synced.
    done: u64,
}

impl Maker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, file: None, done: 0 }
    }

    fn path(&self) -> PathBuf {
        self.shared.dir.join(SPARE)
    }

    /// Writes and syncs the next bytes; hands the file over with the last of them.
    fn piece(&mut self) -> io::Result<()> {
        let size = self.shared.options.segment_bytes;
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => self.begin(size)?,
        };
        let end = size.min(self.done + piece(size));
        file.write_zeros(self.done, end)?;
        file.sync_data()?;
        self.done = end;
        if self.done == size {
            (self.file, self.done) = (None, 0);
            lock(&self.shared.spare.state).ready = Some(file);
        }
        Ok(())
    }

    fn begin(&mut self, size: u64) -> io::Result<Arc<dyn File>> {
        let Shared { env, dir, options, .. } = &*self.shared;
        if !options.leaves_reserve(env.fs.space(dir)?, size) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = env.fs.open(&self.path(), OpenMode::CreateNew)?;
        self.file = Some(Arc::clone(&file));
        file.allocate(size)?;
        Ok(file)
    }

    /// Gives the next piece of what was removed back.
    fn free(&self) -> Turn {
        let state = &self.shared.spare.state;
        // Not under the lock, which the log's writer takes, too.
        let next = lock(state).freed.pop_front();
        let left = next.and_then(Nameless::shortened);
        let mut state = lock(state);
        if let Some(left) = left {
            state.freed.push_front(left);
        }
        if state.freed.is_empty() { Turn::Again } else { Turn::Wait(Some(freed::PAUSE)) }
    }

    /// Gives the disk back what an unfinished spare takes.
    fn discard(&mut self) {
        self.done = 0;
        if self.file.take().is_some()
            && let Err(error) = self.shared.env.fs.remove_file(&self.path())
        {
            tracing::warn!(%error, "a spare segment could not be removed");
        }
    }
}

impl Worker for Maker {
    fn run(&mut self) {
        loop {
            match Worker::step(self) {
                Turn::Wait(Some(pause)) => self.shared.spare.pause(self.done, pause),
                Turn::Again | Turn::Wait(None) => self.shared.spare.wait(self.done),
                Turn::Stop => return,
            }
        }
    }

    fn step(&mut self) -> Turn {
        match self.shared.spare.task(self.done) {
            Task::Piece => {}
            Task::Free => return self.free(),
            Task::Nothing => return Turn::Wait(None),
            Task::End => {
                self.discard();
                let ready = lock(&self.shared.spare.state).ready.take();
                self.file = ready;
                self.discard();
                lock(&self.shared.spare.state).freed.clear();
                return Turn::Stop;
            }
        }
        if let Err(error) = self.piece() {
            tracing::warn!(%error, "no spare segment: the log makes its next one when it needs it");
            self.discard();
            lock(&self.shared.spare.state).given_up = true;
        }
        Turn::Again
    }

    fn ring(&mut self, bell: Bell) {
        // An error gives the second one back.
        let _ = self.shared.spare.bell.set(bell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_pace_with_the_segment_in_use() {
        let size = 64 << 20;
        assert_eq!(pace(size / 8, size), 0, "nothing for a store that writes little");
        assert_eq!(pace(size / 8 + PIECE, size), PIECE);
        assert_eq!(pace(size / 2, size), size / 2);
        assert_eq!(pace(size / 8 * 7, size), size, "ready before it is needed");
        assert_eq!(pace(u64::MAX, size), size, "a segment of its own size for one record");
        assert_eq!([512, 1024, 3000, 3584].map(|at| pace(at, 4096)), [0, 512, 3072, 4096]);
    }
}
