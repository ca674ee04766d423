//! `GET /metrics`: Prometheus text, read off the running parts when asked.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpResponse;
use actix_web::web::Data;
use prometheus::{Encoder, IntCounter, IntGauge, Opts, Registry, TextEncoder};

use super::error::ApiError;
use super::guard::Caller;
use super::state::AppState;
use crate::auth::Scope;

/// `GET /metrics`
///
/// # Errors
/// 500 where a name is used twice: a defect.
pub async fn metrics(caller: Caller, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::MetricsRead)?;
    let defect = |e: prometheus::Error| {
        tracing::error!(error = %e, "metrics could not be written");
        ApiError::new("INTERNAL", "Internal error")
    };
    let mut text = Vec::with_capacity(4096);
    let families = gather(&state).map_err(defect)?;
    TextEncoder::new().encode(&families, &mut text).map_err(defect)?;
    Ok(HttpResponse::Ok().content_type(prometheus::TEXT_FORMAT).body(text))
}

fn gather(state: &AppState) -> Result<Vec<prometheus::proto::MetricFamily>, prometheus::Error> {
    let registry = Registry::new_custom(Some("audience_store".to_owned()), None)?;
    let counter = |name: &str, help: &str, value: u64| -> Result<(), prometheus::Error> {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value);
        registry.register(Box::new(counter))
    };
    let gauge = |name: &str, help: &str, value: u64| -> Result<(), prometheus::Error> {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))
    };
    let mode =
        Opts::new("sync_mode", "How the log syncs; always 1").const_label("mode", &*state.sync);
    let mode = IntGauge::with_opts(mode)?;
    mode.set(1);
    registry.register(Box::new(mode))?;
    for (reason, count) in state.bounds.refusals.all() {
        let about = Opts::new("refused_total", "What limits refused, by reason");
        let counter = IntCounter::with_opts(about.const_label("reason", reason))?;
        counter.inc_by(count);
        registry.register(Box::new(counter))?;
    }
    gauge("connections_open", "Connections that are open", state.bounds.admission.open() as u64)?;
    gauge("ready", "Whether requests are taken", u64::from(is_ready(state)))?;
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let audit = state.audit.counts();
    counter("denied_requests_total", "Requests refused with 401 or 403", read(&audit.denied))?;
    counter(
        "audit_not_listed_total",
        "Refused requests that have no line of their own in the audit trail",
        read(&audit.not_listed),
    )?;
    counter(
        "audit_failed_lines_total",
        "Lines of the audit trail that could not be written",
        read(&audit.failed),
    )?;
    if let Ok(store) = state.store() {
        let cache = store.cache_counts();
        counter("listing_cache_hits_total", "Listings served from the cache", read(&cache.hits))?;
        counter("listing_cache_misses_total", "Listings made afresh", read(&cache.misses))?;
        counter(
            "listing_cache_evictions_total",
            "Listings let go to make room",
            read(&cache.evictions),
        )?;
        gauge("listing_cache_bytes", "Bytes the listing cache holds", read(&cache.bytes))?;
        gauge("listing_cache_entries", "Listings the cache holds", read(&cache.entries))?;
        let log = store.log_status();
        gauge("log_segments", "Segments of the log", log.segments as u64)?;
        gauge("log_bytes", "Bytes of the log", log.bytes)?;
        gauge(
            "log_unpublished_records",
            "Records that no Parquet file holds yet",
            log.unpublished_records,
        )?;
        counter("log_records_total", "Records written to the log", log.written.records)?;
        counter("log_batches_total", "Batches written to the log", log.written.batches)?;
        counter("log_fsyncs_total", "Times the log was synced", log.written.syncs)?;
        counter("log_written_bytes_total", "Bytes written to the log", log.written.bytes)?;
        gauge("partitions_resident", "Partitions that run", store.resident_partitions() as u64)?;
        counter(
            "credentials_rewrapped_total",
            "Records whose credentials were put under another key",
            store.rewrapped(),
        )?;
        let scrub = store.scrub_counts();
        counter("scrub_files_total", "Files that the scrub read whole", read(&scrub.files))?;
        counter("scrub_bytes_total", "Bytes that the scrub read", read(&scrub.bytes))?;
        counter("scrub_passes_total", "Passes of the scrub over all files", read(&scrub.passes))?;
        counter("scrub_damaged_total", "Times it found a file damaged", read(&scrub.damaged))?;
        let unreadable = store.readiness().unreadable.len() as u64;
        gauge("unreadable_files", "Files that cannot be read", unreadable)?;
    }
    let mut families = registry.gather();
    families.extend(process());
    Ok(families)
}

fn is_ready(state: &AppState) -> bool {
    state.store().is_ok_and(|store| store.readiness().writable)
}

fn process() -> Vec<prometheus::proto::MetricFamily> {
    use prometheus::core::Collector;
    prometheus::process_collector::ProcessCollector::for_self().collect()
}
