//! The one task that appends for this process. It takes what is waiting, writes it in one go on
//! the blocking pool, syncs where somebody waits for it, and answers. Refusals are synced within
//! [`TICK`].

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::budget::Budget;
use super::{AuditError, Counts, Denied, Event, Overflow, Trail};
use crate::domain::Micros;
use crate::env::Env;

/// How often what nobody waits for is synced and counts are looked at.
const TICK: Duration = Duration::from_secs(1);
/// Most pieces of work in one write.
const BATCH: usize = 256;

/// What the writer is asked for.
pub enum Work {
    /// Write a line and sync it.
    Keep {
        /// The line, its end included.
        line: String,
        /// Hears when it is on disk.
        done: oneshot::Sender<Result<(), AuditError>>,
    },
    /// Write a line about a refusal, or count it.
    Denied {
        /// The refusal.
        denied: Box<Denied>,
        /// When.
        at: Micros,
    },
    /// Write what is left, and end.
    Close {
        /// Hears when that is done.
        done: oneshot::Sender<()>,
    },
}

/// The writer's state.
pub struct Writer {
    trail: Arc<Trail>,
    env: Env,
    counts: Arc<Counts>,
    overflow: Overflow,
    budget: Budget,
    /// Whether lines wait for a sync.
    unsynced: bool,
}

impl Writer {
    /// A writer that has written nothing.
    #[must_use]
    pub fn new(trail: Arc<Trail>, env: Env, (counts, overflow): (Arc<Counts>, Overflow)) -> Self {
        let budget = Budget::new(env.clock.monotonic());
        Self { trail, env, counts, overflow, budget, unsynced: false }
    }

    /// Works until it is closed, or nobody can send any more.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Work>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                taken = queue.recv_many(&mut batch, BATCH) => {
                    let closed = taken == 0;
                    let close = self.batch(&mut batch, closed).await;
                    if closed || close {
                        return;
                    }
                }
                _ = tick.tick() => self.tick().await,
            }
        }
    }

    /// Writes a batch; whether it asks to end.
    async fn batch(&mut self, batch: &mut Vec<Work>, last: bool) -> bool {
        let mut lines = String::new();
        let (mut waiting, mut closing) = (Vec::new(), Vec::new());
        let mut said = BTreeMap::new();
        let now = self.env.clock.monotonic();
        for work in batch.drain(..) {
            match work {
                Work::Keep { line, done } => {
                    lines.push_str(&line);
                    waiting.push(done);
                }
                Work::Denied { denied, at } => {
                    if self.budget.takes(denied.by.user.as_ref(), now) {
                        lines.push_str(&Event::denied(&denied).line(at));
                        *said.entry(denied.code).or_default() += 1;
                    } else {
                        self.counts.not_listed.fetch_add(1, Ordering::Relaxed);
                        self.budget.count(denied.code, 1, at, now);
                    }
                }
                Work::Close { done } => closing.push(done),
            }
        }
        let ends = last || !closing.is_empty();
        self.fold_overflow(now);
        if ends && let Some(counts) = self.budget.last() {
            self.say(&mut lines, counts);
        }
        let sync = !waiting.is_empty() || (ends && self.unsynced) || ends && !lines.is_empty();
        let written = self.write(lines, sync).await;
        if written.is_err() {
            // They have no line after all; how many they were is said when lines can be written.
            self.count_all(said, now);
        }
        for done in waiting {
            // Whoever went away does not ask.
            let _ = done.send(written);
        }
        for done in closing {
            let _ = done.send(());
        }
        ends
    }

    async fn tick(&mut self) {
        let mut lines = String::new();
        let now = self.env.clock.monotonic();
        self.fold_overflow(now);
        let due = self.budget.due(now);
        if let Some(counts) = due.clone() {
            self.say(&mut lines, counts);
        }
        if (self.unsynced || !lines.is_empty())
            && self.write(lines, true).await.is_err()
            && let Some((_, counts)) = due
        {
            self.count_all(counts, now);
        }
    }

    fn fold_overflow(&mut self, now: Duration) {
        let overflow = self.overflow.take();
        self.count_all(overflow, now);
    }

    fn count_all(&mut self, counts: BTreeMap<&'static str, u64>, now: Duration) {
        let at = self.env.clock.now();
        for (code, count) in counts {
            self.budget.count(code, count, at, now);
        }
    }

    fn say(&self, lines: &mut String, (since, counts): (Micros, BTreeMap<&'static str, u64>)) {
        let at = self.env.clock.now();
        for (code, count) in counts {
            lines.push_str(&Event::not_listed(code, count, since).line(at));
        }
    }

    async fn write(&mut self, lines: String, sync: bool) -> Result<(), AuditError> {
        if lines.is_empty() && !sync {
            return Ok(());
        }
        let count = lines.lines().count() as u64;
        let trail = Arc::clone(&self.trail);
        let work = move || {
            if lines.is_empty() { trail.sync() } else { trail.append(lines.as_bytes(), sync) }
        };
        let written = match self.env.blocking(work).await {
            Ok(written) => written,
            Err(e) => Err(e),
        };
        match written {
            Ok(()) => {
                self.unsynced = !sync;
                Ok(())
            }
            Err(error) => {
                // Tried again with the next line, not in between: a disk that is full stays full.
                self.unsynced = false;
                self.counts.failed.fetch_add(count, Ordering::Relaxed);
                tracing::error!(%error, lines = count, "audit lines could not be written");
                let full = error.kind() == io::ErrorKind::StorageFull;
                Err(if full { AuditError::Full } else { AuditError::Failed })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Actor, Audit, Bounds, Query, Via};
    use super::*;
    use crate::domain::UserId;
    use crate::env::Env;

    fn denied(code: &'static str) -> Denied {
        Denied {
            by: Actor { user: None, via: Via::Nothing },
            status: 401,
            code,
            method: "GET",
            route: "/api/audiences".to_owned(),
            peer: None,
        }
    }

    fn lines(audit: &Audit) -> Vec<serde_json::Value> {
        let query = Query { limit: 1000, ..Query::default() };
        let page = audit.page(&query).expect("page");
        page.lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    const BOUNDS: Bounds = Bounds { file_bytes: 1 << 20, files: 4 };

    #[actix_rt::test]
    async fn what_is_recorded_is_there_at_once_and_a_flood_is_counted() {
        let folder = tempfile::tempdir().expect("folder");
        let audit = Audit::start(&Env::system(), folder.path(), BOUNDS);
        for _ in 0..5000 {
            audit.denied(denied("UNAUTHENTICATED"));
        }
        let user = UserId::checked("u").expect("user");
        for _ in 0..8 {
            let by = Actor { user: Some(user.clone()), via: Via::Jwt };
            audit.denied(Denied { by, status: 403, ..denied("SCOPE_MISSING") });
        }
        let event = Event::token_revoked(&Actor::command(), &user, "0123456789ab");
        audit.record(event).await.expect("kept");
        let newest = lines(&audit)[0].clone();
        assert_eq!(
            (&newest["action"], &newest["via"]),
            (&"token_revoked".into(), &"command".into())
        );

        audit.close().await;
        let lines = lines(&audit);
        let listed = lines.iter().filter(|l| l["action"] == "denied").count() as u64;
        let rest = lines.iter().filter(|l| l["action"] == "denied_not_listed");
        let rest: u64 = rest.filter_map(|l| l["count"].as_u64()).sum();
        let uncounted = audit.counts().not_listed.load(Ordering::Relaxed);
        assert!((60..400).contains(&listed), "{listed}");
        let named = |l: &&serde_json::Value| l["action"] == "denied" && l["by_user"] == "u";
        assert_eq!(lines.iter().filter(named).count(), 8, "not hidden by the flood");
        assert_eq!(rest, uncounted);
        assert_eq!(listed + rest, 5008, "each is listed or counted");
        assert_eq!(audit.counts().denied.load(Ordering::Relaxed), 5008);
    }

    #[actix_rt::test]
    async fn credentials_and_keys_have_lines_of_their_own() {
        let folder = tempfile::tempdir().expect("folder");
        let audit = Audit::start(&Env::system(), folder.path(), BOUNDS);
        let user = |text| UserId::checked(text).expect("user");
        let by = Actor { user: Some(user("ops")), via: Via::Token("0123456789ab".to_owned()) };
        let platform = crate::domain::RecordId::checked("plat_1").expect("id");
        audit.credentials_read(&by, &user("u"), &platform).await.expect("kept");
        audit.record(Event::key("key_added", &Actor::command(), "k1")).await.expect("kept");
        let lines = lines(&audit);
        assert_eq!((&lines[0]["action"], &lines[0]["key"]), (&"key_added".into(), &"k1".into()));
        let read = &lines[1];
        for (name, value) in [
            ("action", "credentials_read"),
            ("by_user", "ops"),
            ("user_id", "u"),
            ("platform_id", "plat_1"),
        ] {
            assert_eq!(read[name], value);
        }
    }

    #[actix_rt::test]
    #[allow(clippy::disallowed_methods, reason = "lays out what the writer finds")]
    async fn what_cannot_be_written_is_an_error_and_the_next_line_is_tried() {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().join("data");
        std::fs::write(&root, "a file in the folder's place").expect("file");
        let audit = Audit::start(&Env::system(), &root, BOUNDS);
        let user = UserId::checked("u").expect("user");
        let event = || Event::user_erased(&Actor::command(), &user, &[("files", 3)]);
        assert_eq!(audit.record(event()).await, Err(AuditError::Failed));
        assert_eq!(audit.counts().failed.load(Ordering::Relaxed), 1);
        std::fs::remove_file(&root).expect("removed");
        audit.record(event()).await.expect("kept");
        assert_eq!(lines(&audit)[0]["files"], 3);
        audit.close().await;
        assert_eq!(audit.record(event()).await, Err(AuditError::Failed), "it has ended");
    }
}
