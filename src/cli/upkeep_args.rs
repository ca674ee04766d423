//! Arguments of the commands that look after a store: verify, backup, restore, repair.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::args::{Flags, ForData};
use super::error::CliError;
use super::keys_command::environment_ring;
use super::sources::Environment;
use super::{Command, resolve, table};
use crate::backup::{BackupOptions, RestoreOptions};
use crate::crypto::KeySettings;
use crate::domain::Micros;
use crate::env::FileSystem;
use crate::log::{Lsn, Until};
use crate::repair::Sources;

const VERIFY: &str = "\
Changes nothing, and may run beside the server. Exit code 0: sound; 1: damage was found; 2: the
store could not be read. Notes, such as a half-written file, are no damage.";

const BACKUP: &str = "\
The copy is of one moment: it holds every change that was answered before the command began. Files
that a server replaces and never changes are shared by hard links where the file systems allow it.
The key ring is not in it unless --with-keys says so: keep a copy of it apart. Tokens (hashed) and
the audit trail are.";

const RESTORE: &str = "\
--data names the new folder. Without --until the store is as it was when the backup was taken, or,
with --log, at the end of the log. A restored store goes on with log sequence numbers of its own.

Examples:
  audience-store restore --from /backups/monday --data /srv/restored
  audience-store restore --from /backups/monday --log /srv/audiences/log --until 2026-11-24T12:00:00Z \\
    --keys /safe/ring.json --data /srv/restored";

const REPAIR: &str = "\
Prints what it would do and asks; --yes answers for you. Nothing is deleted: what is replaced goes
to quarantine/ in the store's folder. The server must not run meanwhile. A file is made again of
its readable row groups, of the same file in the backup, and of the log's records.";

/// The commands that look after a store.
#[derive(Subcommand)]
pub(super) enum RawUpkeep {
    /// Check every log record and file, while the server runs or not
    #[command(after_help = VERIFY)]
    Verify(RawVerify),
    /// Copy the store, while the server runs or not, to a new folder
    #[command(after_help = BACKUP)]
    Backup(RawBackup),
    /// Make a store of a backup, as it was at one moment
    #[command(after_help = RESTORE)]
    Restore(RawRestore),
    /// Rebuild what is damaged of a stopped store, as far as that can be done
    #[command(after_help = REPAIR)]
    Repair(RawRepair),
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

/// Arguments of `backup`.
#[derive(Args)]
pub(super) struct RawBackup {
    /// The folder to make
    #[arg(value_name = "FOLDER")]
    to: PathBuf,
    /// An earlier backup: what did not change since is shared with it
    #[arg(long, value_name = "FOLDER")]
    base: Option<PathBuf>,
    /// Copy every file, instead of hard links
    #[arg(long)]
    copy: bool,
    /// Also copy the key ring
    #[arg(long)]
    with_keys: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<ForData>,
}

/// Arguments of `restore`.
#[derive(Args)]
pub(super) struct RawRestore {
    /// The backup
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// The last log sequence number to restore, or a moment, such as 2026-11-24T12:00:00Z
    #[arg(long, value_name = "LSN|TIME", value_parser = until)]
    until: Option<Until>,
    /// A folder with later log segments; may be given several times
    #[arg(long, value_name = "FOLDER")]
    log: Vec<PathBuf>,
    /// The key ring for the store
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<ForData>,
}

/// Arguments of `repair`.
#[derive(Args)]
pub(super) struct RawRepair {
    /// A backup to take files and log segments from
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
    /// A folder with further log segments; may be given several times
    #[arg(long, value_name = "FOLDER")]
    log: Vec<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    flags: Flags<ForData>,
}

fn until(text: &str) -> Result<Until, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        let lsn = text.parse().map_err(|_| "a log sequence number of at most 20 digits")?;
        return Ok(Until::Lsn(Lsn::new(lsn)));
    }
    Micros::parse(text).map(Until::Time).map_err(|e| e.to_string())
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
    /// Copy it.
    Backup {
        /// The new folder.
        to: PathBuf,
        /// How.
        options: BackupOptions,
        /// Whether to print JSON.
        json: bool,
    },
    /// Make it of a backup.
    Restore {
        /// The backup.
        from: PathBuf,
        /// How.
        options: RestoreOptions,
        /// Whether to print JSON.
        json: bool,
    },
    /// Rebuild what is damaged.
    Repair {
        /// Where more can be found.
        sources: Sources,
        /// Whether to go ahead without asking.
        yes: bool,
    },
}

/// Checks the arguments.
pub(super) fn command(
    raw: RawUpkeep,
    environment: Environment<'_>,
    fs: &dyn FileSystem,
) -> Result<Command, CliError> {
    let flags = match &raw {
        RawUpkeep::Verify(raw) => &raw.flags,
        RawUpkeep::Backup(raw) => &raw.flags,
        RawUpkeep::Restore(raw) => &raw.flags,
        RawUpkeep::Repair(raw) => &raw.flags,
    };
    let resolved = resolve(flags, environment, fs)?;
    let keys = KeySettings {
        file: resolved.get(&table::KEY_RING)?,
        environment: environment_ring(environment),
    };
    let command = match raw {
        RawUpkeep::Verify(RawVerify { deep, json, .. }) => Upkeep::Verify { deep, json },
        RawUpkeep::Backup(raw) => Upkeep::Backup {
            to: raw.to,
            options: BackupOptions {
                base: raw.base,
                copies: raw.copy,
                ring: keys.file.clone(),
                with_keys: raw.with_keys,
            },
            json: raw.json,
        },
        RawUpkeep::Restore(raw) => Upkeep::Restore {
            from: raw.from,
            options: RestoreOptions {
                until: raw.until.unwrap_or(Until::End),
                logs: raw.log,
                ring: raw.keys.map(|ring| (ring, keys.file.clone())),
            },
            json: raw.json,
        },
        RawUpkeep::Repair(raw) => {
            let sources = Sources { backup: raw.from, logs: raw.log };
            Upkeep::Repair { sources, yes: raw.yes }
        }
    };
    Ok(Command::Upkeep { data: resolved.get(&table::DATA)?, keys, command })
}
