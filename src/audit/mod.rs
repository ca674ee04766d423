//! The audit trail: who did what that matters, and who was refused. One JSON object a line in
//! `audit/` below the store's root, appended, never rewritten, bounded in size.
//!
//! Two kinds of lines. What somebody did ([`Audit::record`]: tokens, keys, credentials read, users
//! erased) is on disk when the call returns. What somebody was refused ([`Audit::denied`]) never
//! holds a request up: it is written within a second, so many lines a second and user at most; the
//! rest is counted, each of them, in a line of its own. So a flood neither fills the disk nor hides
//! what somebody else was refused.
//!
//! `event` says what is in a line, `trail` keeps the files, `writer` is the one task that appends
//! for this process, `budget` bounds refusals, `page` reads back, newest first. No line holds a
//! secret: its fields are ids, names out of the program's own lists, and numbers.

mod budget;
mod event;
pub mod page;
mod trail;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

pub use event::{Actor, Denied, Event, Via};
pub use page::{Cursor, Page, PageError, Query};
pub use trail::{Bounds, Trail};

use crate::env::Env;
use writer::Work;

/// Lines that may wait for the writer.
const QUEUE: usize = 1024;
/// Places in the queue that refusals of callers that are not known may not take.
const KEPT_FOR_USERS: usize = QUEUE / 2;

/// Why a line was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuditError {
    /// No space is left.
    #[error("no space is left for the audit trail")]
    Full,
    /// The file system refuses, or the server is stopping.
    #[error("the audit trail cannot be written")]
    Failed,
}

/// What the trail did, for metrics.
#[derive(Default, Debug)]
pub struct Counts {
    /// Requests that were refused with 401 or 403.
    pub denied: AtomicU64,
    /// Of these, those that have no line of their own.
    pub not_listed: AtomicU64,
    /// Lines that could not be written.
    pub failed: AtomicU64,
}

/// Refusals that found the queue full, by error code: the writer counts them with the others.
#[derive(Clone, Default)]
struct Overflow(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Overflow {
    fn add(&self, code: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The trail of a running process. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    env: Env,
    trail: Arc<Trail>,
    queue: mpsc::Sender<Work>,
    counts: Arc<Counts>,
    overflow: Overflow,
}

impl Audit {
    /// Starts the writer for the store in `root`. Called on an actix system's thread. Nothing is
    /// touched before the first line.
    #[must_use]
    pub fn start(env: &Env, root: &Path, bounds: Bounds) -> Self {
        let (queue, work) = mpsc::channel(QUEUE);
        let trail = Arc::new(Trail::new(Arc::clone(&env.fs), root, Some(bounds)));
        let counts = Arc::<Counts>::default();
        let overflow = Overflow::default();
        let its = (Arc::clone(&counts), overflow.clone());
        actix_rt::spawn(writer::Writer::new(Arc::clone(&trail), env.clone(), its).run(work));
        Self { env: env.clone(), trail, queue, counts, overflow }
    }

    /// Notes what somebody did. On return the line survives power loss.
    ///
    /// # Errors
    /// [`AuditError`]: whether the line is there is then not known. What must not happen without
    /// a line must not happen after an error.
    pub async fn record(&self, event: Event) -> Result<(), AuditError> {
        let (done, kept) = oneshot::channel();
        let line = event.line(self.env.clock.now());
        let sent = self.queue.send(Work::Keep { line, done }).await;
        sent.map_err(|_| AuditError::Failed)?;
        kept.await.map_err(|_| AuditError::Failed)?
    }

    /// Notes that stored credentials are about to be shown to `by`. They must not be shown after
    /// an error.
    ///
    /// # Errors
    /// As [`Audit::record`].
    pub async fn credentials_read(
        &self,
        by: &Actor,
        owner: &crate::domain::UserId,
        platform: &crate::domain::RecordId,
    ) -> Result<(), AuditError> {
        self.record(Event::credentials_read(by, owner, platform)).await
    }

    /// Notes a refused request. Never waits; where too much is waiting already it is counted only.
    pub fn denied(&self, denied: Denied) {
        self.counts.denied.fetch_add(1, Ordering::Relaxed);
        let (at, code) = (self.env.clock.now(), denied.code);
        let room = denied.by.user.is_some() || self.queue.capacity() > KEPT_FOR_USERS;
        let work = || Work::Denied { denied: Box::new(denied), at };
        if !(room && self.queue.try_send(work()).is_ok()) {
            self.counts.not_listed.fetch_add(1, Ordering::Relaxed);
            self.overflow.add(code);
        }
    }

    /// Reads lines back, newest first. Blocking.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn page(&self, query: &Query) -> Result<Page, PageError> {
        page::read(&self.trail, query)
    }

    /// What the trail did.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Writes what is waiting. Called when no request is under way any more.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.queue.send(Work::Close { done }).await.is_ok() {
            // Without an answer the writer is gone, and with it what it had.
            let _ = closed.await;
        }
    }
}
