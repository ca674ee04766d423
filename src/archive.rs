//! `audience-store archive`: moves months of a store to its archive. Where a server has the store
//! open, it asks that server; otherwise it opens the store itself.

use std::io::{self, IsTerminal};
use std::time::Duration;

use thiserror::Error;

use crate::app::{self, AppError};
use crate::cli::{LoggingSettings, Progress, StoreSettings};
use crate::env::Env;
use crate::store::{ArchiveRequests, ArchiveRule, ArchivedMonths, EXPIRES, Stage, StoreError};

/// How often a request is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long a server that is at work may say nothing.
const SILENCE: Duration = Duration::from_mins(1);

/// Why months could not be archived.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store could not be opened.
    #[error(transparent)]
    App(AppError),
    /// A month could not be moved.
    #[error("a month could not be moved: {0}; those moved before stay moved")]
    Store(#[from] StoreError),
    /// The running server could not be asked.
    #[error("the running server cannot be asked: {0}")]
    Ask(#[from] io::Error),
    /// The running server did not take the request.
    #[error(
        "the running server did not take the request within {} s, and it was withdrawn: is the \
         server still starting, another command on the store, or of an earlier version?",
        EXPIRES.as_secs()
    )]
    NotTaken,
    /// The running server could not do it.
    #[error("the running server could not archive: {0}")]
    Refused(String),
    /// The running server fell silent.
    #[error("the running server says no more; months that it moved stay moved")]
    Silent,
}

/// Archives what the rule names, and answers what to print.
///
/// # Errors
/// [`ArchiveError`].
pub fn command(
    env: Env,
    store: &StoreSettings,
    logging: &LoggingSettings,
    rule: &ArchiveRule,
) -> Result<String, ArchiveError> {
    crate::cli::start_logging(logging);
    actix::System::new().block_on(async move {
        let archived = match app::open(&env, store, &mut |_, _| {}) {
            Ok(opened) => {
                let served = app::begin_command(&env, &opened, store).await;
                // What only the log holds of a month decides, too.
                let saved = served.checkpoint(false).await;
                let mut shown = Shown::new(&env);
                let archived = match saved {
                    Ok(_) => served.archive(rule, &mut |done, total| shown.at(done, total)).await,
                    Err(error) => Err(error),
                };
                shown.progress.finish();
                served.close(app::UNTIL_DONE).await?;
                archived?
            }
            Err(AppError::Locked(_)) => ask(&env, store, rule).await?,
            Err(error) => return Err(ArchiveError::App(error)),
        };
        Ok(format!(
            "{} months looked at, {} moved to archive/, {} not to be read",
            archived.seen, archived.moved, archived.unreadable
        ))
    })
}

/// Asks the server that has the store open, and waits until it is done.
async fn ask(
    env: &Env,
    store: &StoreSettings,
    rule: &ArchiveRule,
) -> Result<ArchivedMonths, ArchiveError> {
    let requests = ArchiveRequests::new(env, &store.data);
    let id = requests.ask(rule)?;
    let now = || env.clock.monotonic();
    let mut shown = Shown::new(env);
    let (mut last, mut since) = (requests.stage(&id)?, now());
    loop {
        let stage = requests.stage(&id)?;
        if stage != last {
            since = now();
        }
        let silent = now().saturating_sub(since);
        match &stage {
            Stage::Waiting if silent > EXPIRES && requests.withdraw(&id)? => {
                return Err(ArchiveError::NotTaken);
            }
            Stage::Taken(_) if silent > SILENCE => return Err(ArchiveError::Silent),
            Stage::Taken(taken) if taken.total > 0 => shown.at(taken.done, taken.total),
            Stage::Waiting | Stage::Taken(_) => {}
            Stage::Gone => return Err(ArchiveError::NotTaken),
            Stage::Done(answer) => {
                shown.progress.finish();
                requests.forget(&id)?;
                return answer.clone().map_err(ArchiveError::Refused);
            }
        }
        last = stage;
        tokio::time::sleep(LOOK).await;
    }
}

/// A progress that knows when it began.
struct Shown<'a> {
    env: &'a Env,
    began: Duration,
    progress: Progress,
}

impl<'a> Shown<'a> {
    fn new(env: &'a Env) -> Self {
        let progress = Progress::on_stderr(io::stderr().is_terminal(), "user folders");
        Self { env, began: env.clock.monotonic(), progress }
    }

    fn at(&mut self, done: u64, total: u64) {
        let elapsed = self.env.clock.monotonic().saturating_sub(self.began);
        self.progress.advance(done, total, elapsed);
    }
}
