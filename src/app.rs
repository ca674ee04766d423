//! The one place where parts are built and joined.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;

use crate::actors::{
    Archived, Limits, Shared, Threads, Unreadable, registry::Registry, usage::Quotas,
};
use crate::audit::{self, Audit};
use crate::auth::{AuthError, Authenticator};
use crate::cli::{HttpSettings, Settings, StoreSettings};
use crate::crypto::{Keys, RingFileError};
use crate::env::{Env, File, OpenMode, connections_within, raise_limit};
use crate::http::{self, Access, AppState, Bounds, Certificates, TlsError};
use crate::log::{Log, LogError, LogOptions, OpenReport, SyncMode};
use crate::metrics::history::Keeper;
use crate::metrics::{ActivityFile, Parts, RecoveryMetrics, StorageMetrics};
use crate::report;
use crate::shutdown;
use crate::storage::{LocalStorage, Measured};
use crate::store::{ArchiveRequests, Store, StoreError};

/// Largest log record: a request body and what comes with it.
const MAX_RECORD: usize = 16 * 1024 * 1024;
/// Bytes that may wait for the log's writer.
const MAX_PENDING: usize = 64 * 1024 * 1024;

/// How long a command may take to write what it changed: it has nothing else to do.
pub const UNTIL_DONE: Duration = Duration::MAX;

/// Why the server could not start, or did not end well.
#[derive(Debug, Error)]
pub enum AppError {
    /// Another process has the store open.
    #[error(
        "another audience-store is running on {0}: stop it first, or name another folder with --data"
    )]
    Locked(String),
    /// The folder cannot be used.
    #[error("cannot use the data folder {folder}: {source}")]
    Folder {
        /// Which.
        folder: String,
        /// What the file system says.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: String,
        /// What the system says.
        source: io::Error,
    },
    /// The keys that seal credentials cannot be used.
    #[error(transparent)]
    Keys(#[from] RingFileError),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Tokens or keys cannot be read.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The end was not clean: what is said is in the log and comes back with the next start.
    #[error("the store was not closed cleanly: {0}; nothing acknowledged is lost")]
    Close(StoreError),
    /// The server failed.
    #[error("the server failed: {0}")]
    Server(#[source] io::Error),
}

/// An open store folder: its lock, its log, the parts over them.
pub struct Opened {
    /// The parts.
    pub shared: Arc<Shared>,
    /// What opening the log found.
    pub report: OpenReport,
    lock: Arc<dyn File>,
}

/// Takes the folder's lock and opens its log. Blocking.
///
/// # Errors
/// [`AppError::Locked`], [`AppError::Folder`], [`AppError::Log`].
pub fn open(
    env: &Env,
    settings: &StoreSettings,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Opened, AppError> {
    let lock = lock(env, &settings.data)?;
    let sync = match settings.sync {
        crate::cli::SyncMode::Always => SyncMode::Always,
        crate::cli::SyncMode::Interval(every) => SyncMode::Interval(every),
        crate::cli::SyncMode::Off => SyncMode::Off,
    };
    let options = LogOptions {
        sync,
        segment_bytes: settings.log_segment_bytes,
        max_record_bytes: MAX_RECORD,
        max_pending_bytes: MAX_PENDING,
        max_log_bytes: settings.log_max_bytes,
        disk_reserve: settings.disk_reserve,
        keep_bytes: settings.log_keep_bytes,
    };
    let keys = Keys::open(env, &settings.data, &settings.keys)?;
    let (log, report) = Log::open(env, &settings.data.join("log"), options, progress)?;
    let storage = LocalStorage::new(env, &settings.data);
    storage.remove_temporary().map_err(|source| AppError::Folder {
        folder: settings.data.display().to_string(),
        source,
    })?;
    let storage_metrics = Arc::new(StorageMetrics::default());
    let storage = Measured::new(storage, Arc::clone(&env.clock), Arc::clone(&storage_metrics));
    let limits = Limits {
        mailbox: settings.mailbox,
        checkpoint_interval: settings.checkpoint_interval,
        checkpoint_bytes: settings.checkpoint_bytes,
        checkpoint_concurrency: settings.checkpoint_concurrency,
        idle_timeout: settings.idle_timeout,
        resident_bytes: settings.resident_bytes,
        resident_partitions: settings.resident_partitions,
        cache_bytes: usize::try_from(settings.cache_bytes).unwrap_or(usize::MAX),
        page_bytes: usize::try_from(settings.max_page).unwrap_or(usize::MAX),
        quotas: Quotas { audiences: settings.quota_audiences, bytes: settings.quota_bytes },
    };
    let checkpoints = Arc::new(Semaphore::new(limits.checkpoint_concurrency.max(1)));
    let shared = Shared {
        env: env.clone(),
        log,
        storage: Arc::new(storage),
        metrics: Parts::default(),
        storage_metrics,
        registry: Registry::new(),
        keys,
        limits,
        unreadable: Unreadable::default(),
        archived: Archived::default(),
        checkpoints,
    };
    Ok(Opened { shared: Arc::new(shared), report, lock })
}

/// Takes the lock of a store's folder, making the folder where there is none. Held until the
/// file is dropped, and given back by the system when the process ends, however it ends.
///
/// # Errors
/// [`AppError::Locked`], [`AppError::Folder`].
pub fn lock(env: &Env, data: &Path) -> Result<Arc<dyn File>, AppError> {
    let folder = || data.display().to_string();
    let failed = |source| AppError::Folder { folder: folder(), source };
    env.fs.keep_dir(data).map_err(failed)?;
    for above in data.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        // Not the store's: where it cannot be synced, it was hardly made just now.
        let _ = env.fs.keep_dir(above);
    }
    let path = data.join("LOCK");
    let file = match env.fs.open(&path, OpenMode::CreateNew) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => env.fs.open(&path, OpenMode::Write),
        other => other,
    };
    let file = file.map_err(failed)?;
    if file.try_lock().map_err(failed)? { Ok(file) } else { Err(AppError::Locked(folder())) }
}

/// Runs the server until a signal ends it. `started` hears where it listens, and where for metrics
/// alone.
///
/// # Errors
/// [`AppError`].
pub async fn serve(
    env: Env,
    mut settings: Settings,
    started: impl FnOnce(SocketAddr, Option<SocketAddr>),
) -> Result<(), AppError> {
    // The one provider of cryptography, for whatever in the process speaks TLS. An error says that
    // it is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let sync = settings.store.sync.to_string();
    if !settings.http.listen.ip().is_loopback() && settings.http.tls.is_none() {
        tracing::warn!("credentials and records travel as they are: put TLS before this address");
    }
    settings.http.max_connections = connections(settings.http.max_connections);
    let signals = shutdown::signals().map_err(AppError::Server)?;
    // The lock comes first: a second server on the folder must not even listen.
    let held = lock(&env, &settings.store.data)?;
    drop(held);
    let audit = Audit::start(&env, &settings.store.data, settings.audit);
    let (authenticator, tokens) =
        Authenticator::open(&env, &settings.store.data, &settings.auth)?.start();
    let access = Access { authenticator, tokens, audit: audit.clone() };
    let bounds = Bounds::new(&settings.http, Arc::clone(&env.clock));
    let activity_file = ActivityFile::new(&env, &settings.store.data);
    let activity = Arc::new(activity_file.load());
    let timeout = settings.http.request_timeout;
    let state = AppState::starting(&env, bounds, timeout, &sync, access, Arc::clone(&activity));
    let certificates = certificates(&env, &settings.http).await?;
    let state = state.over_tls(certificates.clone());
    let clock = Arc::clone(&env.clock);
    let no_port = |address: SocketAddr| {
        move |source| AppError::Listen { address: address.to_string(), source }
    };
    let workers = Threads::start(or_cores(settings.http.workers));
    let (its, pair) = (Arc::clone(&clock), certificates.as_ref());
    let bound = http::bind(&settings.http, state.clone(), its, pair, &workers.handles())
        .map_err(no_port(settings.http.listen))?;
    // A thread of its own, which answers while the others are busy.
    let own = settings.http.metrics_listen.map(|address| (address, Threads::start(1)));
    let scraped = match &own {
        Some((address, thread)) => {
            let (http, state, threads) = (&settings.http, state.clone(), thread.handles());
            let bound = http::bind_metrics(*address, http, state, clock, pair, &threads);
            Some(bound.map_err(no_port(*address))?)
        }
        None => None,
    };
    if let Some(certificates) = certificates {
        certificates
            .keep_current(Arc::clone(&env.fs), Arc::clone(&env.clock))
            .map_err(AppError::Server)?;
    }
    started(bound.address, scraped.as_ref().map(|scraped| scraped.address));
    actix_web::rt::spawn(activity_file.clone().keep(Arc::clone(&activity)));
    let store_settings = settings.store.clone();
    let opening_env = env.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let mut progress = recovery_progress(&opening_env);
        open(&opening_env, &store_settings, &mut progress)
    });
    let opened = match opening.await {
        Ok(opened) => opened?,
        Err(e) => return Err(AppError::Server(io::Error::other(e))),
    };
    // A request and the partition it is for then mostly meet on one thread: threads of their own
    // cost two switches a save.
    let threads = match settings.store.arbiters {
        0 => workers,
        count => Threads::start(count),
    };
    let store = begin(opened.shared, &opened.report, audit.clone(), threads).await;
    if let Some(rule) = settings.archive {
        actix_web::rt::spawn(store.clone().archive_daily(rule));
    }
    let requests = ArchiveRequests::new(&env, &settings.store.data);
    actix_web::rt::spawn(store.clone().archive_as_asked(requests));
    actix_web::rt::spawn(store.clone().scrub(settings.scrub_rate));
    state.open(store.clone());
    let keeper = Arc::new(Keeper::new(&env, &settings.store.data));
    let keeping =
        http::history::keep(state.clone(), Arc::clone(&keeper), settings.history_interval);
    actix_web::rt::spawn(keeping);
    if settings.report_files > 0 {
        let (env, data) = (env.clone(), settings.store.data.clone());
        actix_web::rt::spawn(report::scheduled::keep(env, data, settings.report_files));
    }
    actix_web::rt::spawn(store.clone().keep_usage(settings.usage_interval));
    let Some(again) = shutdown::wait(signals, bound.serving, settings.http.drain_timeout).await
    else {
        // Everything acknowledged is in the log.
        return Ok(());
    };
    let closed = tokio::select! {
        closed = store.close(settings.http.close_timeout) => closed,
        () = again => return Ok(()),
    };
    audit.close().await;
    // A panic in it has said so; the numbers of a minute are lost.
    let _ = tokio::task::spawn_blocking(move || activity_file.save(&activity)).await;
    http::history::end(state, keeper).await;
    if let Some(scraped) = scraped {
        scraped.serving.stop(Duration::ZERO).await;
    }
    drop(opened.lock);
    closed.map_err(AppError::Close)
}

/// As many connections as are wanted and the system has file descriptors for.
fn connections(wanted: usize) -> usize {
    let Some(descriptors) = raise_limit() else { return wanted };
    let most = usize::try_from(connections_within(descriptors)).unwrap_or(usize::MAX);
    if most < wanted {
        tracing::warn!(
            descriptors,
            connections = most,
            "fewer connections than max-connections: raise the limit on open files (ulimit -n)"
        );
    }
    wanted.min(most)
}

/// A number of threads, where 0 stands for one a core.
fn or_cores(count: usize) -> usize {
    match count {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

async fn certificates(
    env: &Env,
    settings: &HttpSettings,
) -> Result<Option<Certificates>, AppError> {
    let Some(files) = settings.tls.clone() else { return Ok(None) };
    let env = env.clone();
    let load = move || Certificates::load(env.fs.as_ref(), env.clock.as_ref(), &files);
    let loading = tokio::task::spawn_blocking(load).await;
    Ok(Some(loading.map_err(|e| AppError::Server(io::Error::other(e)))??))
}

/// Starts the actors over an open store, after finishing what a crash cut short.
pub async fn begin(
    shared: Arc<Shared>,
    report: &OpenReport,
    audit: Audit,
    threads: Threads,
) -> Store {
    if let Some(torn) = &report.torn {
        tracing::warn!(
            ?torn,
            "the log ended in a record that was never acknowledged; it was cut off"
        );
    }
    let unfinished = Store::finish_erasures(&shared, &report.erased).await;
    note_recovery(&shared.metrics.recovery, report);
    let records = report.records;
    tracing::info!(records, segments = report.segments, "log opened");
    let store = Store::start(Arc::clone(&shared), audit, threads, unfinished);
    actix_web::rt::spawn(async move {
        if let Err(error) = Store::survey(shared).await {
            tracing::warn!(%error, "not every file could be looked at");
        }
    });
    actix_web::rt::spawn(store.clone().follow_keys());
    store
}

/// Notes for scrapes what opening the log found.
fn note_recovery(recovery: &RecoveryMetrics, report: &OpenReport) {
    recovery.nanoseconds.add(u64::try_from(report.elapsed.as_nanos()).unwrap_or(u64::MAX));
    recovery.records.add(report.records);
    recovery.bytes.add(report.bytes);
    recovery.partitions.add(report.partitions as u64);
    recovery.torn_bytes.add(report.torn.as_ref().map_or(0, |torn| torn.bytes));
}

/// As [`begin`], for a command that runs and ends: it erases nobody and answers nobody, and so has
/// nothing to note in the audit trail.
pub async fn begin_command(env: &Env, opened: &Opened, settings: &StoreSettings) -> Store {
    let bounds = audit::Bounds { file_bytes: 1 << 20, files: 2 };
    let audit = Audit::start(env, &settings.data, bounds);
    let threads = if env.executor.has_threads() {
        Threads::start(or_cores(settings.arbiters))
    } else {
        Threads::current()
    };
    begin(Arc::clone(&opened.shared), &opened.report, audit, threads).await
}

/// Says on the console how far a long recovery is: once a second, after the first.
fn recovery_progress(env: &Env) -> impl FnMut(u64, u64) + use<> {
    const EVERY: Duration = Duration::from_secs(1);
    let clock = Arc::clone(&env.clock);
    let mut last = clock.monotonic();
    move |done, total| {
        let now = clock.monotonic();
        if now.saturating_sub(last) < EVERY {
            return;
        }
        last = now;
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
        eprintln!("recovering: {percent} % of {} MiB of log read", total / (1024 * 1024));
    }
}
