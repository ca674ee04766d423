//! The command line: raw arguments → checked settings → a [`Command`].
//!
//! `table` is the one list of settings, `rules` what their texts mean, `args` what clap reads,
//! `sources` which of flag, environment, file and default wins. What comes out is checked; what is
//! wrong is said with the setting's name, where its value came from and what would be accepted.
//! Nothing here runs a command.

mod args;
mod auth_rules;
mod auth_settings;
mod config_command;
mod error;
mod inspect_line;
mod keys_command;
mod logging;
mod optional_rules;
pub mod progress;
pub mod quantity;
mod report_args;
mod rules;
mod run;
mod settings;
mod sources;
pub mod table;
mod upkeep_args;
mod upkeep_run;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use args::{Flags, ForData, RawCli, RawCommand, RawKeys, RawLog, RawSeed, RawToken, Scoped};
pub use config_command::{as_json, as_table, settings_markdown};
pub use error::{CliError, Problem};
pub use keys_command::KeysCommand;
use keys_command::environment_ring;
pub use logging::start_logging;
pub use progress::Progress;
pub use report_args::ReportCommand;
pub use rules::{LogFormat, Rule, SyncMode};
pub use run::run;
pub use settings::{HttpSettings, LoggingSettings, Settings, StoreSettings, TlsFiles};
pub use sources::{CONFIG_ENVIRONMENT, ConfigFile, Entry, Environment, Resolved, Source};
pub use upkeep_args::Upkeep;

use crate::auth::TokenCommand;
use crate::auth::tokens::NewToken;
use crate::crypto::KeySettings;
use crate::domain::Micros;
use crate::env::FileSystem;
use crate::seed;
use crate::store::ArchiveRule;

/// What to do, with everything it needs.
pub enum Command {
    /// Start the server.
    Serve(Box<Settings>),
    /// Print settings: [`as_json`] or [`as_table`].
    Config {
        /// The settings; all of them are acceptable.
        resolved: Resolved,
        /// Whether to print JSON.
        json: bool,
    },
    /// Fill a store with believable records.
    Seed(Box<SeedArgs>),
    /// Take over everything that the Python service left in a store.
    Adopt {
        /// How to open the store.
        store: Box<StoreSettings>,
        /// Log lines.
        logging: LoggingSettings,
    },
    /// Move months to the archive.
    Archive {
        /// How to open the store.
        store: Box<StoreSettings>,
        /// Log lines.
        logging: LoggingSettings,
        /// Which.
        rule: ArchiveRule,
    },
    /// Report on a store.
    Report {
        /// Folder of the store.
        data: PathBuf,
        /// On what, and how.
        command: ReportCommand,
    },
    /// Print or change the key ring.
    Keys {
        /// Folder of the store.
        data: PathBuf,
        /// Where the ring is.
        settings: KeySettings,
        /// What to do with it.
        command: KeysCommand,
    },
    /// Print the log's records.
    LogInspect {
        /// Folder of the store.
        data: PathBuf,
        /// The first LSN to print, where not all are wanted.
        from_lsn: Option<u64>,
        /// Whether to print JSON lines.
        json: bool,
    },
    /// Make, show or take back API tokens.
    Token {
        /// Folder of the store.
        data: PathBuf,
        /// Which.
        command: TokenCommand,
    },
    /// Look after the store: verify, back up, restore, repair.
    Upkeep {
        /// Folder of the store.
        data: PathBuf,
        /// Where the ring is.
        keys: KeySettings,
        /// What to do.
        command: Upkeep,
    },
    /// Cut the log.
    LogTruncate {
        /// Folder of the store.
        data: PathBuf,
        /// The first LSN to cut.
        at: u64,
        /// Whether to go ahead without asking.
        yes: bool,
    },
}

/// What `seed` is told.
#[derive(Debug)]
pub struct SeedArgs {
    /// How to open the store.
    pub store: StoreSettings,
    /// Log lines.
    pub logging: LoggingSettings,
    /// Users to make records for, from 1.
    pub users: u64,
    /// Records a user, and the months they are spread over.
    pub options: seed::Options,
    /// The last moment a record may be created at; none means now.
    pub until: Option<Micros>,
    /// The same seed and the same moment make the same records.
    pub seed: u64,
    /// Saves under way at once, at least 1.
    pub concurrency: usize,
}

/// Reads a command line. `args` begins with the program's name; `environment` looks a variable up;
/// `fs` reads the configuration file.
///
/// # Errors
/// [`CliError`], which prints itself and knows its exit code. A request for help or the version
/// is one too, with exit code 0.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: Environment<'_>,
    fs: &dyn FileSystem,
) -> Result<Command, CliError> {
    let raw = RawCli::try_parse_from(args)?;
    match raw.command.unwrap_or(RawCommand::Serve(raw.serve)) {
        RawCommand::Serve(flags) => {
            let resolved = resolve(&flags, environment, fs)?;
            let mut settings = Settings::checked(&resolved)?;
            settings.store.keys.environment = environment_ring(environment);
            Ok(Command::Serve(Box::new(settings)))
        }
        RawCommand::Config(config) => {
            let resolved = resolve(&config.flags, environment, fs)?;
            Settings::checked(&resolved)?;
            Ok(Command::Config { resolved, json: config.json })
        }
        RawCommand::Seed(seed) => {
            let resolved = resolve(&seed.flags, environment, fs)?;
            let mut args = seed_args(&seed, &resolved)?;
            args.store.keys.environment = environment_ring(environment);
            Ok(Command::Seed(Box::new(args)))
        }
        RawCommand::Keys(keys) => {
            let (flags, command): (&Flags<ForData>, _) = match &keys {
                RawKeys::Add(add) => (&add.flags, KeysCommand::Add { from: add.from.clone() }),
                RawKeys::Rotate(flags) => (flags, KeysCommand::Rotate),
                RawKeys::List(list) => (&list.flags, KeysCommand::List { json: list.json }),
                RawKeys::Retire(one) => (&one.flags, KeysCommand::Retire { id: one.id.clone() }),
            };
            let resolved = resolve(flags, environment, fs)?;
            let settings = KeySettings {
                file: resolved.get(&table::KEY_RING)?,
                environment: environment_ring(environment),
            };
            Ok(Command::Keys { data: resolved.get(&table::DATA)?, settings, command })
        }
        RawCommand::Adopt(flags) => {
            let resolved = resolve(&flags, environment, fs)?;
            let mut store = Box::new(StoreSettings::checked(&resolved)?);
            store.keys.environment = environment_ring(environment);
            Ok(Command::Adopt { store, logging: LoggingSettings::checked(&resolved)? })
        }
        RawCommand::Archive(archive) => {
            let resolved = resolve(&archive.flags, environment, fs)?;
            let mut store = Box::new(StoreSettings::checked(&resolved)?);
            store.keys.environment = environment_ring(environment);
            let rule = ArchiveRule { older_than: archive.older_than, status: archive.status };
            Ok(Command::Archive { store, logging: LoggingSettings::checked(&resolved)?, rule })
        }
        RawCommand::Report(report) => {
            let data = resolve(report.flags(), environment, fs)?.get(&table::DATA)?;
            Ok(Command::Report { data, command: report.command() })
        }
        RawCommand::Token(token) => token_command(token, environment, fs),
        RawCommand::Upkeep(upkeep) => upkeep_args::command(upkeep, environment, fs),
        RawCommand::Log(RawLog::Inspect(inspect)) => {
            let data = resolve(&inspect.flags, environment, fs)?.get(&table::DATA)?;
            Ok(Command::LogInspect { data, from_lsn: inspect.from, json: inspect.json })
        }
        RawCommand::Log(RawLog::Truncate(truncate)) => {
            let data = resolve(&truncate.flags, environment, fs)?.get(&table::DATA)?;
            Ok(Command::LogTruncate { data, at: truncate.at, yes: truncate.yes })
        }
    }
}

fn resolve<S: Scoped>(
    flags: &Flags<S>,
    environment: Environment<'_>,
    fs: &dyn FileSystem,
) -> Result<Resolved, CliError> {
    let file = ConfigFile::load(flags.config.as_deref(), environment, fs)?;
    Resolved::resolve(S::SCOPE, &flags.given, environment, file).checked()
}

fn token_command(
    raw: RawToken,
    environment: Environment<'_>,
    fs: &dyn FileSystem,
) -> Result<Command, CliError> {
    let (flags, command) = match raw {
        RawToken::Create(new) => {
            let scopes = new.scopes.iter().map(String::as_str);
            let checked = NewToken::checked(&new.user, scopes, new.name.as_deref(), new.ttl);
            let refused = |e| clap::Error::raw(clap::error::ErrorKind::ValueValidation, e);
            let new_token = checked.map_err(|e| refused(format!("{e}\n")))?;
            (new.flags, TokenCommand::Create(new_token))
        }
        RawToken::List(list) => (list.flags, TokenCommand::List { json: list.json }),
        RawToken::Revoke(revoke) => (revoke.flags, TokenCommand::Revoke { id: revoke.id }),
    };
    let data = resolve(&flags, environment, fs)?.get(&table::DATA)?;
    Ok(Command::Token { data, command })
}

fn seed_args(raw: &RawSeed, resolved: &Resolved) -> Result<SeedArgs, CliError> {
    Ok(SeedArgs {
        store: StoreSettings::checked(resolved)?,
        logging: LoggingSettings::checked(resolved)?,
        users: raw.users,
        options: seed::Options {
            audiences: raw.audiences,
            platforms: raw.platforms,
            distributions: raw.distributions,
            months: raw.months,
        },
        until: raw.until,
        seed: raw.seed,
        concurrency: usize::try_from(raw.concurrency).unwrap_or(1),
    })
}

#[cfg(test)]
mod tests;
