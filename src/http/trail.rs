//! The audit trail, for administrators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::answer::json as answer;
use super::error::ApiError;
use super::guard::Caller;
use super::params::Params;
use super::records::in_time;
use super::state::AppState;
use crate::audit::{Cursor, Page, Query};
use crate::auth::Scope;

/// `GET /api/admin/audit`: newest first, by action and by user.
///
/// # Errors
/// 400 where a parameter holds what it must not, 503 where the trail cannot be read.
pub async fn list(
    caller: Caller,
    req: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let params = Params::parse(req.query_string())?;
    let after = match params.get("cursor")? {
        Some(text) => Some(Cursor::parse(text).ok_or_else(|| ApiError::cursor("not a place"))?),
        None => None,
    };
    let query = Query {
        limit: params.limit()?,
        after,
        action: params.get("action")?.map(str::to_owned),
        user: params.get("user_id")?.map(str::to_owned),
    };
    let audit = state.audit.clone();
    in_time(&state, async {
        let read = tokio::task::spawn_blocking(move || audit.page(&query)).await;
        match read {
            Ok(Ok(page)) => Ok(answer(shown(&page))),
            Ok(Err(error)) => {
                tracing::error!(%error, "the audit trail could not be read");
                Err(crate::store::StoreError::StorageFailed.into())
            }
            Err(_) => Err(ApiError::internal()),
        }
    })
    .await
}

/// Lines are JSON objects already, and go out as they were written.
fn shown(page: &Page) -> String {
    let next = page.next.map_or("null".to_owned(), |next| format!("\"{next}\""));
    format!(
        "{{\"success\":true,\"events\":[{}],\"count\":{},\"next_cursor\":{next}}}",
        page.lines.join(","),
        page.lines.len(),
    )
}
