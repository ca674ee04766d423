//! Arguments of the commands that look after a store: verify, backup, restore, repair.

use clap::{Args, Subcommand};

use super::args::{Flags, ForData};
use super::error::CliError;
use super::keys_command::environment_ring;
use super::sources::Environment;
use super::{Command, resolve, table};
use crate::crypto::KeySettings;
use crate::env::FileSystem;

const VERIFY: &str = "\
Changes nothing, and may run beside the server. Exit code 0: sound; 1: damage was found; 2: the
store could not be read. Notes, such as a half-written file, are no damage.";

/// The commands that look after a store.
#[derive(Subcommand)]
pub(super) enum RawUpkeep {
    /// Check every log record and file, while the server runs or not
    #[command(after_help = VERIFY)]
    Verify(RawVerify),
}

/// Arguments of `verify`.
#[derive(Args)]
pub(super) struct RawVerify {
    /// Also decode every row and open every sealed credential
    #[arg(long)]
    deep: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<ForData>,
}

/// What to do to look after a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upkeep {
    /// Check it.
    Verify {
        /// Whether to decode every row and open every sealed credential.
        deep: bool,
        /// Whether to print JSON.
        json: bool,
    },
}

/// Checks the arguments.
pub(super) fn command(
    raw: RawUpkeep,
    environment: Environment<'_>,
    fs: &dyn FileSystem,
) -> Result<Command, CliError> {
    let (flags, command) = match raw {
        RawUpkeep::Verify(RawVerify { deep, json, flags }) => {
            (flags, Upkeep::Verify { deep, json })
        }
    };
    let resolved = resolve(&flags, environment, fs)?;
    let keys = KeySettings {
        file: resolved.get(&table::KEY_RING)?,
        environment: environment_ring(environment),
    };
    Ok(Command::Upkeep { data: resolved.get(&table::DATA)?, keys, command })
}
