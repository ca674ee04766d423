//! Asking a running server to archive, through files in `requests/` below the store's root: whoever
//! may write there may stop the server and archive without it.
//!
//! `{id}.archive` asks, `{id}.taken` says how far the server is, `{id}.done` what came of it. Each is
//! written whole by one side. A request that no server takes within [`EXPIRES`] is never carried
//! out: whoever asked has gone away by then.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ArchiveRule, ArchivedMonths};
use crate::domain::Micros;
use crate::env::{Env, FileKind};

const FOLDER: &str = "requests";
/// Largest file that is read.
const MOST_BYTES: u64 = 4 << 10;
/// Requests carried out after one look at the folder.
const AT_ONCE: usize = 16;
/// How long a request waits for a server.
pub const EXPIRES: Duration = Duration::from_secs(30);
/// How long an answer waits to be read.
const KEPT: Duration = Duration::from_hours(1);

/// What is asked for.
#[derive(Serialize, Deserialize)]
struct Asked {
    at: i64,
    older_than_seconds: u64,
    status: String,
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Taken {
    /// Users' folders looked at.
    pub done: u64,
    /// Users' folders.
    pub total: u64,
    /// Counts up while the server is at work.
    pub beat: u64,
}

/// What came of it.
#[derive(Serialize, Deserialize)]
struct Done {
    at: i64,
    seen: u64,
    moved: u64,
    unreadable: u64,
    error: Option<String>,
}

/// Where a request is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stage {
    /// No server has taken it.
    Waiting,
    /// A server is at work.
    Taken(Taken),
    /// It was done, or could not be.
    Done(Result<ArchivedMonths, String>),
    /// It was withdrawn, or has expired.
    Gone,
}

/// The requests of a store. Its calls block.
#[derive(Clone)]
pub struct ArchiveRequests {
    env: Env,
    folder: PathBuf,
}

impl ArchiveRequests {
    /// Those of the store in `root`.
    #[must_use]
    pub fn new(env: &Env, root: &Path) -> Self {
        Self { env: env.clone(), folder: root.join(FOLDER) }
    }

    fn path(&self, id: &str, stage: &str) -> PathBuf {
        self.folder.join(format!("{id}.{stage}"))
    }

    fn write(&self, id: &str, stage: &str, what: &impl Serialize) -> io::Result<()> {
        let bytes = serde_json::to_vec(what)?;
        self.env.fs.replace_private(&self.path(id, stage), &bytes)
    }

    /// What a file says; `None` where there is none, or none of ours.
    fn read<T: for<'a> Deserialize<'a>>(&self, id: &str, stage: &str) -> io::Result<Option<T>> {
        let path = self.path(id, stage);
        let read = match self.env.fs.stat(&path) {
            Ok(stat) if stat.len > MOST_BYTES => return Ok(None),
            Ok(_) => self.env.fs.read(&path),
            Err(error) => Err(error),
        };
        match read {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Removes a file; `false` where there is none.
    fn remove(&self, id: &str, stage: &str) -> io::Result<bool> {
        match self.env.fs.remove_file(&self.path(id, stage)) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Asks, and answers the request's id.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn ask(&self, rule: &ArchiveRule) -> io::Result<String> {
        self.env.fs.create_dir_all(&self.folder)?;
        let mut bytes = [0; 8];
        self.env.random.fill(&mut bytes);
        let id = format!("{:016x}", u64::from_le_bytes(bytes));
        let (at, older_than_seconds) = (self.env.clock.now().get(), rule.older_than.as_secs());
        let status = rule.status.clone();
        self.write(&id, "archive", &Asked { at, older_than_seconds, status })?;
        Ok(id)
    }

    /// Where a request is.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn stage(&self, id: &str) -> io::Result<Stage> {
        if self.env.fs.stat(&self.path(id, "archive")).is_ok() {
            return Ok(Stage::Waiting);
        }
        // The answer comes before its forerunner goes.
        if let Some(taken) = self.read(id, "taken")? {
            return Ok(Stage::Taken(taken));
        }
        Ok(match self.read::<Done>(id, "done")? {
            Some(Done { error: Some(error), .. }) => Stage::Done(Err(error)),
            Some(Done { seen, moved, unreadable, .. }) => {
                Stage::Done(Ok(ArchivedMonths { seen, moved, unreadable }))
            }
            None => Stage::Gone,
        })
    }

    /// Takes a request back; `false` where a server has taken it.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn withdraw(&self, id: &str) -> io::Result<bool> {
        self.remove(id, "archive")
    }

    /// Says that the answer was read.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn forget(&self, id: &str) -> io::Result<()> {
        self.remove(id, "done").map(|_| ())
    }

    /// Takes what is asked for, oldest ids first, each once. For the server alone.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn take(&self) -> io::Result<Vec<(String, ArchiveRule)>> {
        let now = self.env.clock.now();
        let mut taken = Vec::new();
        for (id, stage) in self.listed()? {
            if stage == "done" {
                let done = self.read::<Done>(&id, "done")?;
                if done.is_none_or(|done| is_older(done.at, now, KEPT)) {
                    self.remove(&id, "done")?;
                }
            }
            if stage != "archive" || taken.len() >= AT_ONCE {
                continue;
            }
            let asked = self.read::<Asked>(&id, "archive")?;
            let Some(asked) = asked.filter(|asked| !is_older(asked.at, now, EXPIRES)) else {
                self.remove(&id, "archive")?;
                continue;
            };
            // In this order, so that at each moment one of the two is there.
            self.write(&id, "taken", &Taken::default())?;
            if !self.remove(&id, "archive")? {
                // Withdrawn meanwhile.
                self.remove(&id, "taken")?;
                continue;
            }
            let older_than = Duration::from_secs(asked.older_than_seconds);
            taken.push((id, ArchiveRule { older_than, status: asked.status }));
        }
        Ok(taken)
    }

    /// Says how far a request is.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn progress(&self, id: &str, taken: &Taken) -> io::Result<()> {
        self.write(id, "taken", taken)
    }

    /// Says what came of a request.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn answer(&self, id: &str, answer: &Result<ArchivedMonths, String>) -> io::Result<()> {
        let at = self.env.clock.now().get();
        let done = match answer {
            Ok(ArchivedMonths { seen, moved, unreadable }) => {
                let (seen, moved, unreadable) = (*seen, *moved, *unreadable);
                Done { at, seen, moved, unreadable, error: None }
            }
            Err(error) => Done { at, seen: 0, moved: 0, unreadable: 0, error: Some(error.clone()) },
        };
        self.write(id, "done", &done)?;
        self.remove(id, "taken").map(|_| ())
    }

    /// Answers what a server that has ended left behind. For a server's start.
    ///
    /// # Errors
    /// Whatever the file system says.
    pub fn sweep(&self) -> io::Result<()> {
        for (id, stage) in self.listed()? {
            if stage == "taken" {
                let ended = "the server ended before it was done; months moved before stay moved";
                self.answer(&id, &Err(ended.to_owned()))?;
            }
        }
        Ok(())
    }

    /// Ids and stages of the files that are there.
    fn listed(&self) -> io::Result<Vec<(String, String)>> {
        let entries = self.env.fs.list(&self.folder)?.into_iter();
        let ours = |id: &str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let files = entries.filter(|e| e.kind == FileKind::File).filter_map(|e| {
            let (id, stage) = e.name.split_once('.')?;
            ours(id).then(|| (id.to_owned(), stage.to_owned()))
        });
        Ok(files.collect())
    }
}

/// Whether a moment is longer ago than that, or so far ahead that the clock must have jumped.
fn is_older(at: i64, now: Micros, age: Duration) -> bool {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    now.get().saturating_sub(at).abs() > age
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::env::Clock;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Micros {
            Micros::new(self.0.load(Ordering::Relaxed))
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn requests() -> (tempfile::TempDir, Arc<Hand>, ArchiveRequests) {
        let folder = tempfile::tempdir().expect("folder");
        let clock = Arc::new(Hand(AtomicI64::new(1_000_000_000_000)));
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
        let requests = ArchiveRequests::new(&env, folder.path());
        (folder, clock, requests)
    }

    fn rule() -> ArchiveRule {
        ArchiveRule { older_than: Duration::from_hours(24), status: "archived".to_owned() }
    }

    #[test]
    fn a_request_is_taken_once_followed_and_answered() {
        let (_folder, _, requests) = requests();
        let id = requests.ask(&rule()).expect("asked");
        assert_eq!(requests.stage(&id).expect("stage"), Stage::Waiting);
        assert_eq!(requests.take().expect("taken"), [(id.clone(), rule())]);
        assert_eq!(requests.take().expect("taken"), []);
        assert!(!requests.withdraw(&id).expect("too late"));
        let far = Taken { done: 3, total: 9, beat: 1 };
        requests.progress(&id, &far).expect("progress");
        assert_eq!(requests.stage(&id).expect("stage"), Stage::Taken(far));
        let months = ArchivedMonths { seen: 4, moved: 2, unreadable: 1 };
        requests.answer(&id, &Ok(months)).expect("answered");
        assert_eq!(requests.stage(&id).expect("stage"), Stage::Done(Ok(months)));
        requests.forget(&id).expect("read");
        assert_eq!(requests.stage(&id).expect("stage"), Stage::Gone);
        assert_eq!(requests.listed().expect("list"), []);
    }

    #[test]
    fn what_was_withdrawn_expired_or_is_no_request_is_not_carried_out() {
        let (_folder, clock, requests) = requests();
        let id = requests.ask(&rule()).expect("asked");
        assert!(requests.withdraw(&id).expect("withdrawn"));
        let late = requests.ask(&rule()).expect("asked");
        clock.0.fetch_add(31_000_000, Ordering::Relaxed);
        let large = requests.path("0123456789abcdef", "archive");
        requests.env.fs.replace(&large, &[b' '; 5000]).expect("write");
        let foreign = requests.path("../../etc", "archive");
        assert!(requests.env.fs.stat(&foreign).is_err());
        assert_eq!(requests.take().expect("none"), []);
        assert_eq!(requests.stage(&late).expect("stage"), Stage::Gone);
        assert_eq!(requests.listed().expect("list"), []);
    }

    #[test]
    fn what_a_server_that_ended_had_taken_is_answered_at_the_next_start_and_answers_go() {
        let (_folder, clock, requests) = requests();
        let id = requests.ask(&rule()).expect("asked");
        requests.take().expect("taken");
        requests.sweep().expect("swept");
        assert!(matches!(requests.stage(&id).expect("stage"), Stage::Done(Err(_))));
        clock.0.fetch_add(3_601_000_000, Ordering::Relaxed);
        assert_eq!(requests.take().expect("none"), []);
        assert_eq!(requests.stage(&id).expect("stage"), Stage::Gone);
    }
}
