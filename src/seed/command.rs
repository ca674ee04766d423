//! `audience-store seed`: opens a store that no server has open, and fills it.

use std::io::IsTerminal;
use std::time::Duration;

use thiserror::Error;

use super::{Generator, Plan, Sink, run};
use crate::app::{self, AppError};
use crate::cli::{Progress, SeedArgs};
use crate::domain::input::{Body, InputError};
use crate::domain::limits::InputLimits;
use crate::domain::{Table, UserId};
use crate::env::Env;
use crate::store::{Precondition, Store, StoreError};

/// How long an overloaded store is left alone.
const PAUSE: Duration = Duration::from_millis(50);

/// Why the store could not be filled.
#[derive(Debug, Error)]
pub enum SeedError {
    /// The store could not be opened.
    #[error(transparent)]
    App(#[from] AppError),
    /// A record could not be saved.
    #[error("{0}")]
    Run(String),
    /// The store could not be closed.
    #[error("the store could not be closed: {0}")]
    Close(StoreError),
}

/// Why one record was not saved.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The generator made what the store does not take: a defect.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The generator made what is no user id: a defect.
    #[error("not a user id: {0}")]
    User(String),
}

struct StoreSink(Store);

impl Sink for StoreSink {
    type Error = SaveError;

    async fn save(&self, table: Table, user: &str, body: &[u8]) -> Result<(), SaveError> {
        let user = UserId::checked(user).map_err(|e| SaveError::User(e.to_string()))?;
        let patch = Body::parse(body, &InputLimits::default())?.patch(table)?;
        patch.check_create()?;
        loop {
            match self.0.save(&user, patch.clone(), Precondition::None, None).await {
                // Checkpoints make room; the log's bound is what keeps memory and disk in bounds.
                Err(StoreError::Overloaded | StoreError::StorageFull) => {
                    tokio::time::sleep(PAUSE).await;
                }
                other => return Ok(other.map(|_| ())?),
            }
        }
    }
}

/// Fills a store as the arguments say.
///
/// # Errors
/// [`SeedError`]; what was saved before stays.
pub fn command(env: Env, args: SeedArgs) -> Result<(), SeedError> {
    crate::cli::start_logging(&args.logging);
    actix::System::new().block_on(async move {
        let opened = app::open(&env, &args.store, &mut |_, _| {})?;
        let store = app::begin_command(&env, &opened, &args.store).await;
        let until = args.until.unwrap_or_else(|| env.clock.now());
        let generator = Generator::new(args.seed, args.options, until);
        let plan = Plan { generator, users: args.users, concurrency: args.concurrency };
        let mut progress = Progress::on_stderr(std::io::stderr().is_terminal(), "records");
        let ran = run(&plan, &StoreSink(store.clone()), env.clock.as_ref(), &mut progress).await;
        eprintln!("writing Parquet files");
        store.close(app::UNTIL_DONE).await.map_err(SeedError::Close)?;
        let summary = ran.map_err(|e| SeedError::Run(e.to_string()))?;
        println!("{summary}");
        Ok(())
    })
}
