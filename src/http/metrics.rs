//! `GET /metrics`: Prometheus text, read off the running parts when asked.

use std::sync::atomic::{AtomicU64, Ordering};

use actix_web::HttpResponse;
use actix_web::web::Data;

use super::error::ApiError;
use super::guard::Caller;
use super::state::AppState;
use super::tls::Certificates;
use crate::auth::Scope;
use crate::metrics::{Exposition, names};

/// `GET /metrics`
///
/// # Errors
/// 500 where a metric is not well formed: a defect.
pub async fn metrics(caller: Caller, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::MetricsRead)?;
    let mut out = gather(&state);
    out.foreign(process());
    let text = out.text().map_err(|e| {
        tracing::error!(error = %e, "metrics could not be written");
        ApiError::internal()
    })?;
    Ok(HttpResponse::Ok().content_type(Exposition::CONTENT_TYPE).body(text))
}

/// Everything that the server counts itself.
pub(super) fn gather(state: &AppState) -> Exposition {
    let mut out = Exposition::default();
    out.number(&names::BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.number(&names::SYNC_MODE, &[("mode", &*state.sync)], 1);
    let ready = state.store().is_ok_and(|store| store.readiness().writable);
    out.number(&names::READY, &[], u64::from(ready));
    state.http.expose(&mut out);
    for (reason, count) in state.bounds.refusals.all() {
        out.number(&names::REFUSED, &[("reason", reason)], count);
    }
    out.number(&names::CONNECTIONS_OPEN, &[], state.bounds.admission.open() as u64);
    if let Some(until) = state.certificates.as_ref().and_then(Certificates::until) {
        let until = until.get().div_euclid(1_000_000);
        out.number(&names::TLS_UNTIL, &[], u64::try_from(until).unwrap_or_default());
    }
    let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let audit = state.audit.counts();
    out.number(&names::DENIED, &[], read(&audit.denied));
    out.number(&names::AUDIT_NOT_LISTED, &[], read(&audit.not_listed));
    out.number(&names::AUDIT_FAILED, &[], read(&audit.failed));
    state.activity.expose(state.env.clock.now(), &mut out);
    if let Ok(store) = state.store() {
        store.expose(&mut out);
    }
    out
}

fn process() -> Vec<prometheus::proto::MetricFamily> {
    use prometheus::core::Collector;
    prometheus::process_collector::ProcessCollector::for_self().collect()
}
