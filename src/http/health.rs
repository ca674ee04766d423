//! Liveness and readiness.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::Data;
use serde_json::json;

use super::answer::json as answer;
use super::state::AppState;

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

/// `GET /health/ready`: 200 once recovery has ended and while writes are taken, else 503. Names
/// the files that cannot be read, below the store's root.
pub async fn ready(state: Data<AppState>) -> HttpResponse {
    let (ready, reason, files) = match state.store() {
        Err(_) => (false, Some("recovery has not ended"), Vec::new()),
        Ok(store) => {
            let readiness = store.readiness();
            (readiness.writable, readiness.reason, readiness.unreadable)
        }
    };
    let files: Vec<_> =
        files.into_iter().map(|(file, why)| json!({"file": file, "error": why})).collect();
    let body = json!({
        "success": ready,
        "status": if ready { "ready" } else { "not ready" },
        "reason": reason,
        "sync": &*state.sync,
        "unreadable_files": files,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = HttpResponse::build(status);
    if !ready {
        response.insert_header(("Retry-After", "1"));
    }
    response.content_type("application/json").body(body.to_string())
}
