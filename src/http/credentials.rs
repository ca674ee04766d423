//! Credentials in the clear: the only endpoint that gives them.

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::json;
use super::audited;
use super::error::ApiError;
use super::guard::Caller;
use super::records::{in_time, reader_of, record_id};
use super::state::AppState;
use crate::auth::Scope;
use crate::domain::Table;
use crate::domain::json_text::push_string;

/// `GET /api/platforms/{id}/credentials`
///
/// Neither cached here nor to be cached anywhere; in the audit trail before it is answered.
///
/// # Errors
/// What is wrong with the request, or keeps the store from opening them.
pub async fn read(
    caller: Caller,
    req: HttpRequest,
    path: Path<String>,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    const TABLE: Table = Table::Platforms;
    let store = state.store()?;
    let (_, user) = reader_of(&caller, Scope::CredentialsRead, &req, None)?;
    let id = record_id(TABLE, &path)?;
    audited::admit(&state, &caller, &user)?;
    in_time(&state, async {
        let opened = store.credentials(&user, &id, &caller.actor()).await;
        let opened = opened.map_err(|e| ApiError::of(e, TABLE.spec().title))?;
        let plain = opened.as_ref().map_or("null", |secret| secret.expose());
        let mut body = String::with_capacity(plain.len() + 128);
        body.push_str("{\"success\":true,\"platform_id\":");
        push_string(id.as_str(), &mut body);
        body.push_str(",\"credentials\":");
        body.push_str(plain);
        body.push('}');
        let mut response = json(body);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    })
    .await
}
