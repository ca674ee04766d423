//! Checked settings: what the rest of the program is given. Nothing downstream checks again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::auth_settings;
use super::error::{CliError, Problem};
use super::rules::{LogFormat, Rule, SyncMode};
use super::sources::Resolved;
use super::table::{self, Setting};
use crate::audit::Bounds;
use crate::auth::AuthSettings;
use crate::crypto::KeySettings;
use crate::domain::limits::InputLimits;
use crate::store::ArchiveRule;

/// Everything the server is told at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Sockets, threads and bounds of HTTP.
    pub http: HttpSettings,
    /// How callers are told apart.
    pub auth: AuthSettings,
    /// How large the audit trail may grow.
    pub audit: Bounds,
    /// How long a look at what users store is followed by none.
    pub usage_interval: Duration,
    /// How often what was counted is added to the history.
    pub history_interval: Duration,
    /// How many reports of each kind are kept; 0 for none.
    pub report_files: usize,
    /// The store itself.
    pub store: StoreSettings,
    /// Which months are archived, daily; `None` for none.
    pub archive: Option<ArchiveRule>,
    /// Bytes a second that the scrub reads; 0 for none.
    pub scrub_rate: u64,
    /// Log lines.
    pub logging: LoggingSettings,
    /// Where a collector takes traces.
    pub otlp_endpoint: Option<String>,
}

/// Sockets, threads and bounds of HTTP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpSettings {
    /// Where to listen: a loopback address where callers are not told apart. Port 0 takes a free
    /// one.
    pub listen: SocketAddr,
    /// Worker threads; 0 means one a core.
    pub workers: usize,
    /// Connections open at once, over all workers.
    pub max_connections: usize,
    /// Requests that change records under way at once, over all users.
    pub max_writes: usize,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a connection may stay open between requests.
    pub keep_alive: Duration,
    /// How long a shutdown waits for requests under way.
    pub drain_timeout: Duration,
    /// How long the end may then take for writing Parquet files.
    pub close_timeout: Duration,
    /// How long the head of a request, or a TLS handshake, may take.
    pub header_timeout: Duration,
    /// How long the body of a request may take.
    pub body_timeout: Duration,
    /// How long reading an answer may take, beyond what its size allows.
    pub write_timeout: Duration,
    /// Bytes of an answer that allow a second more.
    pub min_rate: u64,
    /// Largest request body, in bytes.
    pub max_body: u64,
    /// Size of all request bodies in memory at once, in bytes.
    pub max_bodies: u64,
    /// Size of all pages of lists in memory at once, in bytes.
    pub max_pages: u64,
    /// What a body may hold.
    pub input: InputLimits,
    /// Requests a minute and user; 0 for any number.
    pub rate_limit: usize,
    /// Requests a minute and user that leave a line in the audit trail; 0 for any number.
    pub audited_rate: usize,
    /// Origins that browsers may call from.
    pub cors_origins: Vec<String>,
    /// Where to serve metrics too: a loopback address where callers are not told apart.
    pub metrics_listen: Option<SocketAddr>,
    /// Certificate and key, where the server speaks TLS.
    pub tls: Option<TlsFiles>,
}

/// The files TLS is made from, both PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What opening a store needs, whoever opens it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreSettings {
    /// Folder of the store.
    pub data: PathBuf,
    /// What seals credentials.
    pub keys: KeySettings,
    /// When a write counts as saved.
    pub sync: SyncMode,
    /// How far behind a partition's Parquet file may be.
    pub checkpoint_interval: Duration,
    /// Unsaved bytes of a partition that bring a checkpoint at once.
    pub checkpoint_bytes: u64,
    /// Checkpoints that run at once.
    pub checkpoint_concurrency: usize,
    /// Bytes of one log segment.
    pub log_segment_bytes: u64,
    /// Bytes of the whole log; at least two segments.
    pub log_max_bytes: u64,
    /// Bytes of log segments that are kept after nothing needs them; 0 for none.
    pub log_keep_bytes: u64,
    /// Bytes of the disk that the log leaves free.
    pub disk_reserve: u64,
    /// Bytes of memory for loaded partitions; at least `checkpoint_bytes`.
    pub resident_bytes: u64,
    /// Partitions loaded at once.
    pub resident_partitions: usize,
    /// How long a partition stays loaded without requests.
    pub idle_timeout: Duration,
    /// Bytes of memory for ready-made listings; 0 keeps none.
    pub cache_bytes: u64,
    /// Messages that may wait for one partition.
    pub mailbox: usize,
    /// Threads that run partitions; 0 means one a core.
    pub arbiters: usize,
    /// Bytes of the records on a page of a list.
    pub max_page: u64,
    /// Audiences a user may have; 0 for any number.
    pub quota_audiences: u64,
    /// Bytes a user may store; 0 for any size.
    pub quota_bytes: u64,
}

/// Log lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggingSettings {
    /// How they are written.
    pub format: LogFormat,
    /// Which are written, in tracing's filter syntax; [`tracing_subscriber::EnvFilter`] has
    /// accepted it.
    pub level: String,
}

impl Settings {
    /// The server's settings.
    ///
    /// # Errors
    /// [`CliError::Settings`] with everything that is wrong.
    pub fn checked(resolved: &Resolved) -> Result<Self, CliError> {
        Ok(Self {
            http: HttpSettings {
                listen: resolved.get(&table::LISTEN)?,
                workers: resolved.get(&table::WORKERS)?,
                max_connections: resolved.get(&table::MAX_CONNECTIONS)?,
                max_writes: resolved.get(&table::MAX_WRITES)?,
                request_timeout: resolved.get(&table::REQUEST_TIMEOUT)?,
                keep_alive: resolved.get(&table::KEEP_ALIVE)?,
                drain_timeout: resolved.get(&table::DRAIN_TIMEOUT)?,
                close_timeout: resolved.get(&table::CLOSE_TIMEOUT)?,
                header_timeout: resolved.get(&table::HEADER_TIMEOUT)?,
                body_timeout: resolved.get(&table::BODY_TIMEOUT)?,
                write_timeout: resolved.get(&table::WRITE_TIMEOUT)?,
                min_rate: resolved.get(&table::MIN_RATE)?,
                max_body: resolved.get(&table::MAX_BODY)?,
                max_bodies: resolved.get(&table::MAX_BODIES)?,
                max_pages: resolved.get(&table::MAX_PAGES)?,
                input: input(resolved)?,
                rate_limit: resolved.get(&table::RATE_LIMIT)?,
                audited_rate: resolved.get(&table::AUDITED_RATE)?,
                cors_origins: resolved.get(&table::CORS_ORIGIN)?,
                metrics_listen: resolved.get(&table::METRICS_LISTEN)?,
                tls: tls(resolved)?,
            },
            auth: auth_settings::auth(resolved)?,
            audit: auth_settings::audit(resolved)?,
            usage_interval: resolved.get(&table::USAGE_INTERVAL)?,
            history_interval: resolved.get(&table::HISTORY_INTERVAL)?,
            report_files: resolved.get(&table::REPORT_FILES)?,
            store: StoreSettings::checked(resolved)?,
            archive: archive(resolved)?,
            scrub_rate: resolved.get(&table::SCRUB_RATE)?,
            logging: LoggingSettings::checked(resolved)?,
            otlp_endpoint: resolved.get(&table::OTLP_ENDPOINT)?,
        })
    }
}

fn input(resolved: &Resolved) -> Result<InputLimits, CliError> {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    Ok(InputLimits {
        depth: resolved.get(&table::MAX_JSON_DEPTH)?,
        nodes: resolved.get(&table::MAX_JSON_NODES)?,
        name: bytes(resolved.get(&table::MAX_NAME)?),
        text: bytes(resolved.get(&table::MAX_TEXT)?),
        list: resolved.get(&table::MAX_LIST)?,
        extra: bytes(resolved.get(&table::MAX_EXTRA)?),
    })
}

fn archive(resolved: &Resolved) -> Result<Option<ArchiveRule>, CliError> {
    let older_than: Duration = resolved.get(&table::ARCHIVE_AFTER)?;
    let status = resolved.get(&table::ARCHIVE_STATUS)?;
    Ok((!older_than.is_zero()).then_some(ArchiveRule { older_than, status }))
}

fn tls(resolved: &Resolved) -> Result<Option<TlsFiles>, CliError> {
    let (cert, key) = (resolved.get(&table::TLS_CERT)?, resolved.get(&table::TLS_KEY)?);
    match (cert, key) {
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (None, None) => Ok(None),
        (cert, _) => {
            let (given, missing) = (&table::TLS_CERT, &table::TLS_KEY);
            let (given, missing) = if cert.is_some() { (given, missing) } else { (missing, given) };
            Err(CliError::Settings(vec![together(resolved, given, missing, "goes together with")]))
        }
    }
}

impl StoreSettings {
    /// The store's settings.
    ///
    /// # Errors
    /// [`CliError::Settings`] with everything that is wrong, relations between values included.
    pub fn checked(resolved: &Resolved) -> Result<Self, CliError> {
        let settings = Self {
            data: resolved.get(&table::DATA)?,
            keys: KeySettings { file: resolved.get(&table::KEY_RING)?, environment: None },
            sync: resolved.get(&table::SYNC)?,
            checkpoint_interval: resolved.get(&table::CHECKPOINT_INTERVAL)?,
            checkpoint_bytes: resolved.get(&table::CHECKPOINT_BYTES)?,
            checkpoint_concurrency: resolved.get(&table::CHECKPOINT_CONCURRENCY)?,
            log_segment_bytes: resolved.get(&table::LOG_SEGMENT_BYTES)?,
            log_max_bytes: resolved.get(&table::LOG_MAX_BYTES)?,
            log_keep_bytes: resolved.get(&table::LOG_KEEP_BYTES)?,
            disk_reserve: resolved.get(&table::DISK_RESERVE)?,
            resident_bytes: resolved.get(&table::RESIDENT_BYTES)?,
            resident_partitions: resolved.get(&table::RESIDENT_PARTITIONS)?,
            idle_timeout: resolved.get(&table::IDLE_TIMEOUT)?,
            cache_bytes: resolved.get(&table::CACHE_BYTES)?,
            mailbox: resolved.get(&table::MAILBOX)?,
            arbiters: resolved.get(&table::ARBITERS)?,
            max_page: resolved.get(&table::MAX_PAGE)?,
            quota_audiences: resolved.get(&table::QUOTA_AUDIENCES)? as u64,
            quota_bytes: resolved.get(&table::QUOTA_BYTES)?,
        };
        let mut problems = Vec::new();
        if settings.log_max_bytes / 2 < settings.log_segment_bytes {
            problems.push(together(
                resolved,
                &table::LOG_MAX_BYTES,
                &table::LOG_SEGMENT_BYTES,
                "must be at least twice",
            ));
        }
        if settings.resident_bytes < settings.checkpoint_bytes {
            problems.push(together(
                resolved,
                &table::RESIDENT_BYTES,
                &table::CHECKPOINT_BYTES,
                "must not be less than",
            ));
        }
        if problems.is_empty() { Ok(settings) } else { Err(CliError::Settings(problems)) }
    }
}

fn together<A: Rule, B: Rule>(
    resolved: &Resolved,
    small: &'static Setting<A>,
    large: &'static Setting<B>,
    must: &'static str,
) -> Problem {
    Problem::Together { small: resolved.mention(small), large: resolved.mention(large), must }
}

impl LoggingSettings {
    /// The log lines' settings.
    ///
    /// # Errors
    /// [`CliError::Settings`] with what is wrong.
    pub fn checked(resolved: &Resolved) -> Result<Self, CliError> {
        Ok(Self {
            format: resolved.get(&table::LOG_FORMAT)?,
            level: resolved.get(&table::LOG_LEVEL)?,
        })
    }
}
