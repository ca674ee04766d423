//! For operators.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::{Value, json};

use super::answer::json as answer;
use super::error::ApiError;
use super::guard::Caller;
use super::state::AppState;
use crate::auth::Scope;
use crate::domain::Table;
use crate::store::{Stored, UsageReport};

/// `POST /api/admin/checkpoint`: writes everything unsaved to Parquet now, and takes over files
/// of the Python service that running partitions have read.
///
/// # Errors
/// 503 where a partition could not be written.
pub async fn checkpoint(caller: Caller, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let partitions = state.store()?.checkpoint(true).await?;
    let body = json!({"success": true, "message": "Checkpoint written", "partitions": partitions});
    Ok(answer(body.to_string()))
}

/// `GET /api/admin/usage`: what users store, as last measured, and who stores most.
///
/// # Errors
/// 503 until recovery has ended.
pub async fn usage(caller: Caller, state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let report = state.store()?.usage_report();
    Ok(answer(json!({"success": true, "usage": shown(report.as_deref())}).to_string()))
}

fn shown(report: Option<&UsageReport>) -> Value {
    let tables = report.map(|r| r.tables).unwrap_or_default();
    let total = report.map(UsageReport::total).unwrap_or_default();
    let of = |s: Stored| json!({"bytes": s.bytes, "files": s.files, "partitions": s.partitions});
    let by_table: serde_json::Map<_, _> =
        Table::PUBLIC.iter().zip(tables).map(|(t, s)| (t.spec().name.to_owned(), of(s))).collect();
    let top = report.map(|r| r.top.as_slice()).unwrap_or_default();
    let top: Vec<_> = top
        .iter()
        .map(|u| json!({"user_id": u.user.as_str(), "bytes": u.bytes, "files": u.files}))
        .collect();
    json!({
        "measured_at": report.map(|r| r.at.to_string()),
        "users": report.map_or(0, |r| r.users),
        "bytes": total.bytes,
        "files": total.files,
        "partitions": total.partitions,
        "average_file_bytes": total.bytes.checked_div(total.files).unwrap_or(0),
        "tables": by_table,
        "top": top,
    })
}
