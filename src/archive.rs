//! `audience-store archive`: opens a store that no server has open, and moves months to its
//! archive.

use std::io::IsTerminal;

use thiserror::Error;

use crate::app::{self, AppError};
use crate::cli::{LoggingSettings, Progress, StoreSettings};
use crate::env::Env;
use crate::store::{ArchiveRule, StoreError};

/// Why months could not be archived.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The store could not be opened.
    #[error(
        "{0}; a running server archives by itself: see its settings archive-after and \
         archive-status"
    )]
    Running(AppError),
    /// The store could not be opened.
    #[error(transparent)]
    App(AppError),
    /// A month could not be moved.
    #[error("a month could not be moved: {0}; those moved before stay moved")]
    Store(#[from] StoreError),
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
        let opened = app::open(&env, store, &mut |_, _| {}).map_err(|error| match error {
            AppError::Locked(_) => ArchiveError::Running(error),
            error => ArchiveError::App(error),
        })?;
        let served = app::begin_command(&env, &opened, store).await;
        // What only the log holds of a month decides, too.
        let saved = served.checkpoint(false).await;
        let began = env.clock.monotonic();
        let mut progress = Progress::on_stderr(std::io::stderr().is_terminal(), "user folders");
        let mut shown = |done, total| {
            progress.advance(done, total, env.clock.monotonic().saturating_sub(began));
        };
        let archived = match saved {
            Ok(_) => served.archive(rule, &mut shown).await,
            Err(error) => Err(error),
        };
        progress.finish();
        served.close(app::UNTIL_DONE).await?;
        let archived = archived?;
        Ok(format!(
            "{} months looked at, {} moved to archive/, {} not to be read",
            archived.seen, archived.moved, archived.unreadable
        ))
    })
}
