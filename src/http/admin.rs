//! For operators.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use super::answer::json as answer;
use super::error::ApiError;
use super::guard::Caller;
use super::state::AppState;
use crate::auth::Scope;

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
