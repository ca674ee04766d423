//! Liveness and readiness.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::answer::json as answer;
use super::guard::checked_by;
use super::state::AppState;
use crate::auth::{Scope, Worker};

/// `GET /health/live`: the process answers.
pub async fn live() -> HttpResponse {
    answer(json!({"success": true, "status": "alive"}).to_string())
}

/// `GET /api/health`: the process answers, and how it keeps data.
pub async fn health(state: Data<AppState>) -> HttpResponse {
    let status = if state.store().is_ok() { "healthy" } else { "starting" };
    let body = json!({"success": true, "status": status, "service": "audience-store", "sync": &*state.sync});
    answer(body.to_string())
}

/// `GET /health/ready`: 200 once recovery has ended and while writes are taken, else 503. Says how
/// many files cannot be read, and names them, below the store's root, to whoever may know what
/// users there are: an administrator, or anybody where no authentication is.
pub async fn ready(req: HttpRequest, state: Data<AppState>) -> HttpResponse {
    let (ready, reason, files) = match state.store() {
        Err(_) => (false, Some("recovery has not ended"), Vec::new()),
        Ok(store) => {
            let readiness = store.readiness();
            (readiness.writable, readiness.reason, readiness.unreadable)
        }
    };
    let count = files.len();
    let named = if files.is_empty() || is_admin(&req) { files } else { Vec::new() };
    let files: Vec<_> =
        named.into_iter().map(|(file, why)| json!({"file": file, "error": why})).collect();
    let body = json!({
        "success": ready,
        "status": if ready { "ready" } else { "not ready" },
        "reason": reason,
        "sync": &*state.sync,
        "unreadable_count": count,
        "unreadable_files": files,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = HttpResponse::build(status);
    if !ready {
        response.insert_header(("Retry-After", "1"));
    }
    response.content_type("application/json").body(body.to_string())
}

/// Whether a caller, who need not bring a credential here, brings an administrator's.
fn is_admin(req: &HttpRequest) -> bool {
    let Some(worker) = req.app_data::<Worker>() else { return false };
    checked_by(worker, req).is_ok_and(|caller| caller.require(Scope::Admin).is_ok())
}
