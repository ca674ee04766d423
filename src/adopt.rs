//! `audience-store adopt`: opens a store that no server has open, and takes over everything the
//! Python service left in it.

use std::io::IsTerminal;

use thiserror::Error;

use crate::app::{self, AppError};
use crate::cli::{LoggingSettings, Progress, StoreSettings};
use crate::env::Env;
use crate::store::StoreError;

/// Why the tree could not be taken over.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The store could not be opened.
    #[error(transparent)]
    App(#[from] AppError),
    /// A partition could not be written.
    #[error("a partition could not be taken over: {0}; what was taken over before stays")]
    Store(#[from] StoreError),
    /// Some files cannot be read.
    #[error("{0} cannot be read and stay as they are")]
    Unreadable(u64),
}

/// Takes over a whole tree.
///
/// # Errors
/// [`AdoptError`]; also where everything was taken over but files that cannot be read.
pub fn command(
    env: Env,
    store: &StoreSettings,
    logging: &LoggingSettings,
) -> Result<(), AdoptError> {
    crate::cli::start_logging(logging);
    actix::System::new().block_on(async move {
        let opened = app::open(&env, store, &mut |_, _| {})?;
        let served = app::begin_command(&env, &opened, store).await;
        let began = env.clock.monotonic();
        let mut progress = Progress::on_stderr(std::io::stderr().is_terminal(), "user folders");
        let adopted = served
            .adopt(&mut |done, total| {
                progress.advance(done, total, env.clock.monotonic().saturating_sub(began));
            })
            .await;
        progress.finish();
        let unreadable = served.readiness().unreadable;
        served.close(app::UNTIL_DONE).await?;
        let adopted = adopted?;
        println!("{} partitions looked at, {} taken over", adopted.seen, adopted.written);
        for (file, why) in unreadable {
            println!("  {file}: {why}");
        }
        if adopted.unreadable > 0 {
            return Err(AdoptError::Unreadable(adopted.unreadable));
        }
        Ok(())
    })
}
