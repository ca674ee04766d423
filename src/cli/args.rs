//! Raw arguments, as clap reads them: which command, and the texts of flags. Nothing is checked
//! here that [`super::rules`] checks, so that a flag, a variable and a file's key fail alike.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand, value_parser};

use super::report_args::RawReport;
use super::sources::CONFIG_ENVIRONMENT;
use super::table::{Scope, in_scope};
use super::upkeep_args::RawUpkeep;
use crate::crypto::KeyId;
use crate::domain::Micros;
use crate::seed;

const EXAMPLES: &str = "\
Settings are taken from flags, then from the environment, then from the file that --config names
(TOML, one `setting = \"value\"` a line), then from the defaults.

Examples:
  audience-store                                      start the server with the defaults
  audience-store serve --data /srv/audiences --listen 127.0.0.1:9000
  audience-store config --config store.toml           see every setting and where it comes from
  audience-store seed --users 1000 --audiences 50     fill a store with believable records
  audience-store token create --user demo_user --scope audiences:read --ttl 90d
  audience-store log inspect --data /srv/audiences    read the write-ahead log of a stopped server";

const ADOPT: &str = "\
The server must not run on the same folder meanwhile. It takes over what somebody asks for and
changes by itself; this does it for the whole folder at once. What is replaced goes to legacy/.
Ended anywhere, it can be begun again. Exit code 1 where files cannot be read: they are named and
stay as they are.";

const ARCHIVE: &str = "\
A running server is asked to do it; without one the command does it itself. The server archives by
itself, daily, with --archive-after. A month goes as a whole, to archive/ in the store's folder. Its
records are still read by id, and listed with ?archived=true; changing one brings the month back.";

/// The whole command line.
#[derive(Parser)]
#[command(
    name = "audience-store",
    version,
    about = "Keeps audiences, platforms and distributions of many users in plain Parquet files, \
             and serves them over REST",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true
)]
pub(super) struct RawCli {
    #[command(flatten)]
    pub(super) serve: Flags<ForServe>,
    #[command(subcommand)]
    pub(super) command: Option<RawCommand>,
}

/// A command; none means `serve`.
#[derive(Subcommand)]
pub(super) enum RawCommand {
    /// Start the server (also what happens without a command)
    Serve(Flags<ForServe>),
    /// Print every setting of the server, its value and where it comes from
    Config(RawConfig),
    /// Fill a store with believable records, the same ones for the same seed
    Seed(RawSeed),
    /// Take over everything that the Python service left in a folder
    #[command(after_help = ADOPT)]
    Adopt(Flags<ForStore>),
    /// Move months that ended long ago to the archive, out of lists, while the server runs or not
    #[command(after_help = ARCHIVE)]
    Archive(RawArchive),
    #[command(flatten)]
    Upkeep(RawUpkeep),
    /// Report on growth, errors or performance, while the server runs or not
    #[command(subcommand)]
    Report(RawReport),
    /// Make, show or take back API tokens, while the server runs or not
    #[command(subcommand)]
    Token(RawToken),
    /// List and change the keys that seal credentials, also while the server runs
    #[command(subcommand)]
    Keys(RawKeys),
    /// Look at, or cut, the write-ahead log of a stopped server
    #[command(subcommand)]
    Log(RawLog),
}

/// Arguments of `archive`.
#[derive(Args)]
pub(super) struct RawArchive {
    /// How long ago a month must have ended, such as 90d
    #[arg(long, value_name = "DURATION", required = true, value_parser = ttl)]
    pub(super) older_than: std::time::Duration,
    /// The status that all records of the month must have
    #[arg(long, value_name = "STATUS", default_value = "archived")]
    pub(super) status: String,
    #[command(flatten)]
    pub(super) flags: Flags<ForStore>,
}

/// Arguments of `config`.
#[derive(Args)]
pub(super) struct RawConfig {
    #[command(flatten)]
    pub(super) flags: Flags<ForServe>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// Arguments of `seed`.
#[derive(Args)]
#[command(
    after_help = "The server must not run on the same folder meanwhile. The same --seed with \
                        the same --until makes the same records, so that repeating it updates \
                        them instead of adding more."
)]
pub(super) struct RawSeed {
    /// Users to make records for, numbered from 1
    #[arg(long, value_name = "COUNT", default_value_t = 100,
          value_parser = value_parser!(u64).range(1..=seed::MAX_USERS))]
    pub(super) users: u64,
    /// Audiences of each user
    #[arg(long, value_name = "COUNT", default_value_t = 50,
          value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub(super) audiences: u32,
    /// Platforms of each user
    #[arg(long, value_name = "COUNT", default_value_t = 3,
          value_parser = value_parser!(u32).range(0..=10_000))]
    pub(super) platforms: u32,
    /// Distributions of each user; none without audiences and platforms
    #[arg(long, value_name = "COUNT", default_value_t = 30,
          value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub(super) distributions: u32,
    /// Months before --until that creation times are spread over
    #[arg(long, value_name = "COUNT", default_value_t = 12,
          value_parser = value_parser!(u32).range(1..=240))]
    pub(super) months: u32,
    /// The last moment a record may be created at, such as 2026-11-01T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = Micros::parse)]
    pub(super) until: Option<Micros>,
    /// The same seed makes the same records
    #[arg(long, value_name = "NUMBER", default_value_t = seed::DEFAULT_SEED)]
    pub(super) seed: u64,
    /// Saves under way at once
    #[arg(long, value_name = "COUNT", default_value_t = 256,
          value_parser = value_parser!(u32).range(1..=65_536))]
    pub(super) concurrency: u32,
    #[command(flatten)]
    pub(super) flags: Flags<ForStore>,
}

/// Commands of `log`.
#[derive(Subcommand)]
pub(super) enum RawLog {
    /// Print every record of the log, and every damaged place
    Inspect(RawLogInspect),
    /// Cut the log: this record and everything after it, kept aside in a file
    Truncate(RawLogTruncate),
}

/// Arguments of `log inspect`.
#[derive(Args)]
pub(super) struct RawLogInspect {
    /// Print from this log sequence number on
    #[arg(long, value_name = "LSN")]
    pub(super) from: Option<u64>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Arguments of `log truncate`.
#[derive(Args)]
pub(super) struct RawLogTruncate {
    /// The first log sequence number to cut
    #[arg(long, value_name = "LSN", required = true, value_parser = value_parser!(u64).range(1..))]
    pub(super) at: u64,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Commands of `token`.
#[derive(Subcommand)]
pub(super) enum RawToken {
    /// Make a token and print it, this once
    Create(RawTokenCreate),
    /// Show all tokens, without their secrets
    List(RawTokenList),
    /// Take a token back: a running server refuses it within a second
    Revoke(RawTokenRevoke),
}

/// Arguments of `token create`.
#[derive(Args)]
#[command(
    after_help = "The token goes to standard output, what is said of it to standard error:\n  \
                        TOKEN=$(audience-store token create --user demo_user --scope audiences:read)"
)]
pub(super) struct RawTokenCreate {
    /// Whose records it opens; with the scope admin any user's
    #[arg(long, value_name = "USER_ID")]
    pub(super) user: String,
    /// What it may do; may be given several times
    #[arg(long = "scope", value_name = "SCOPE", required = true,
          value_parser = clap::builder::PossibleValuesParser::new(scopes()))]
    pub(super) scopes: Vec<String>,
    /// How long it works, such as 90d; without it until it is revoked
    #[arg(long, value_name = "DURATION", value_parser = ttl)]
    pub(super) ttl: Option<std::time::Duration>,
    /// What it is called in lists
    #[arg(long, value_name = "TEXT")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

fn scopes() -> Vec<&'static str> {
    crate::auth::Scope::ALL.into_iter().map(crate::auth::Scope::name).collect()
}

fn ttl(text: &str) -> Result<std::time::Duration, String> {
    super::quantity::parse_duration(text)
        .ok_or_else(|| "a duration in s, m, h or d, such as 90d".to_owned())
}

/// Arguments of `token list`.
#[derive(Args)]
pub(super) struct RawTokenList {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Arguments of `token revoke`.
#[derive(Args)]
pub(super) struct RawTokenRevoke {
    /// The token's id: the 12 characters after `ast_`, or the whole token
    #[arg(value_name = "ID")]
    pub(super) id: String,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Commands of `keys`.
#[derive(Subcommand)]
pub(super) enum RawKeys {
    /// Add a new key, which waits for `rotate`, or the keys of another ring, which only open
    Add(RawKeysAdd),
    /// Make the waiting key, or else a new one, the one that seals; the server puts all records
    /// under it in the background
    Rotate(Flags<ForData>),
    /// Print the keys, and how many records are sealed with each
    List(RawKeysList),
    /// Remove an old key; refused while a record may need it
    Retire(RawKeysRetire),
}

/// Arguments of `keys add`.
#[derive(Args)]
pub(super) struct RawKeysAdd {
    /// Take the keys of this ring instead, such as one out of a backup
    #[arg(long, value_name = "FILE")]
    pub(super) from: Option<PathBuf>,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Arguments of `keys list`.
#[derive(Args)]
pub(super) struct RawKeysList {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// Arguments of `keys retire`.
#[derive(Args)]
pub(super) struct RawKeysRetire {
    /// The key's id
    #[arg(value_name = "KEY", value_parser = KeyId::checked)]
    pub(super) id: KeyId,
    #[command(flatten)]
    pub(super) flags: Flags<ForData>,
}

/// A [`Scope`], as a type.
pub(super) trait Scoped {
    /// The scope.
    const SCOPE: Scope;
}

/// [`Scope::Data`].
pub(super) struct ForData;
/// [`Scope::Store`].
pub(super) struct ForStore;
/// [`Scope::Serve`].
pub(super) struct ForServe;

impl Scoped for ForData {
    const SCOPE: Scope = Scope::Data;
}
impl Scoped for ForStore {
    const SCOPE: Scope = Scope::Store;
}
impl Scoped for ForServe {
    const SCOPE: Scope = Scope::Serve;
}

/// The flags of a scope's settings that were given, and the configuration file's name.
pub(super) struct Flags<S> {
    pub(super) given: BTreeMap<&'static str, String>,
    pub(super) config: Option<String>,
    scope: PhantomData<S>,
}

const CONFIG: &str = "config";

impl<S: Scoped> FromArgMatches for Flags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let text = |id| matches.try_get_one::<String>(id).ok().flatten().cloned();
        let texts = |id| {
            let all = matches.try_get_many::<String>(id).ok().flatten()?;
            Some(all.map(String::as_str).collect::<Vec<_>>().join(","))
        };
        let keys = in_scope(S::SCOPE).map(|setting| setting.about().key);
        let given = keys.filter_map(|key| Some((key, texts(key)?))).collect();
        Ok(Self { given, config: text(CONFIG), scope: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: Scoped> Args for Flags<S> {
    fn augment_args(mut command: clap::Command) -> clap::Command {
        command = command.arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .help(format!("TOML file with settings [env: {CONFIG_ENVIRONMENT}]")),
        );
        for setting in in_scope(S::SCOPE) {
            let about = setting.about();
            let origin =
                format!("[default: {}] [env: {}]", about.shown_default(), about.environment());
            let help = about.help;
            let action = if setting.repeats() { ArgAction::Append } else { ArgAction::Set };
            command = command.arg(
                Arg::new(about.key)
                    .long(about.key)
                    .action(action)
                    .value_name(about.placeholder)
                    .help(format!("{help} {origin}"))
                    .long_help(format!("{help}.\nAccepts {}\n{origin}", setting.accepts()))
                    .help_heading(about.group.name()),
            );
        }
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}
