//! Records of any table: create, read, update, status, delete.

use actix_web::body::BoxBody;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::answer::{Did, send, tagged, written};
use super::conditional::{if_match, version_tag};
use super::error::ApiError;
use super::guard::{Caller, Visit};
use super::params::Params;
use super::state::AppState;
use super::{body, edge, idempotent};
use crate::auth::{Scope, Scopes};
use crate::domain::input::Body;
use crate::domain::{RecordId, Table, UserId};
use crate::store::Store;

/// `POST /api/{table}`
///
/// # Errors
/// What is wrong with the request, or keeps the store from writing.
pub async fn create(
    visit: Visit,
    req: HttpRequest,
    mut payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Visit { caller, state, table } = visit;
    let bytes = body::read(&req, &mut payload, &state).await?;
    let _place = edge::place_for_change(&state)?;
    let store = state.store()?;
    let parsed = Body::parse(&bytes, &state.bounds.input)?;
    let user = user_of(&caller, Scope::write(table), &req, Some(&parsed))?;
    let patch = Box::new(parsed.patch(table)?);
    patch.check_create()?;
    drop(parsed);
    let precondition = if_match(&req)?;
    let key = idempotent::key(&req, &bytes)?;
    let work = |remember| store.save(&user, patch, precondition, remember);
    in_time(&state, idempotent::once(store, &user, (table, Did::Save), key, work)).await
}

/// `PUT /api/{table}/{id}`
///
/// # Errors
/// What is wrong with the request, or keeps the store from writing.
pub async fn update(
    visit: Visit,
    req: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    modify(visit, req, path.into_inner(), payload, Did::Update).await
}

/// `PUT /api/{table}/{id}/status`
///
/// # Errors
/// What is wrong with the request, or keeps the store from writing.
pub async fn status(
    visit: Visit,
    req: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    modify(visit, req, path.into_inner(), payload, Did::Status).await
}

async fn modify(
    visit: Visit,
    req: HttpRequest,
    path: String,
    mut payload: Payload,
    did: Did,
) -> Result<HttpResponse, ApiError> {
    let Visit { caller, state, table } = visit;
    let bytes = body::read(&req, &mut payload, &state).await?;
    let _place = edge::place_for_change(&state)?;
    let store = state.store()?;
    let sent = Body::parse(&bytes, &state.bounds.input)?;
    let user = user_of(&caller, Scope::write(table), &req, Some(&sent))?;
    let id = record_id(table, &path)?;
    let fields = sent.patch(table)?;
    let change = Box::new(if did == Did::Status { fields.into_status()? } else { fields });
    change.check_update(&id)?;
    drop(sent);
    let precondition = if_match(&req)?;
    let key = idempotent::key(&req, &bytes)?;
    let names_status = did == Did::Status;
    let work = |remember| store.update(&user, &id, change, precondition, names_status, remember);
    in_time(&state, idempotent::once(store, &user, (table, did), key, work)).await
}

/// `DELETE /api/{table}/{id}`
///
/// # Errors
/// What is wrong with the request, or keeps the store from writing.
pub async fn delete(
    visit: Visit,
    req: HttpRequest,
    path: Path<String>,
    mut payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let Visit { caller, state, table } = visit;
    let bytes = body::read(&req, &mut payload, &state).await?;
    let _place = edge::place_for_change(&state)?;
    let store = state.store()?;
    let parsed =
        if bytes.is_empty() { None } else { Some(Body::parse(&bytes, &state.bounds.input)?) };
    let user = user_of(&caller, Scope::write(table), &req, parsed.as_ref())?;
    let id = record_id(table, &path)?;
    let precondition = if_match(&req)?;
    in_time(&state, async {
        let deleted = store.delete(&user, table, &id, precondition).await;
        let deleted = deleted.map_err(|e| ApiError::of(e, table.spec().title))?;
        Ok(send(written(table, Did::Delete, &deleted), false))
    })
    .await
}

/// `GET /api/{table}/{id}`
///
/// # Errors
/// What is wrong with the request, or keeps the store from reading.
pub async fn read(
    visit: Visit,
    req: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let Visit { caller, state, table } = visit;
    let store = state.store()?;
    let (params, user) = reader_of(&caller, Scope::read(table), &req, None)?;
    let id = record_id(table, &path)?;
    let fields = params.fields()?;
    in_time(&state, async {
        let row = store.get(&user, table, &id).await;
        let row = row.map_err(|e| ApiError::of(e, table.spec().title))?;
        tagged(&req, &version_tag(row.version), || {
            let mut body = String::with_capacity(2048);
            body.push_str("{\"success\":true,\"");
            body.push_str(table.spec().singular);
            body.push_str("\":");
            let wants = fields.as_ref().map(|f| move |name: &str| f.iter().any(|f| f == name));
            Store::render(
                &row,
                &user,
                wants.as_ref().map(|w| w as &dyn Fn(&str) -> bool),
                &mut body,
            );
            body.push('}');
            BoxBody::new(body)
        })
    })
    .await
}

/// The user whose records a request changes, which needs `scopes`. Its query, its body or both
/// may name him.
///
/// # Errors
/// 400 where nobody names one, 403 where two are named or a scope is missing, 429 where the user
/// asks too often.
pub fn user_of(
    caller: &Caller,
    scopes: impl Into<Scopes>,
    req: &HttpRequest,
    body: Option<&Body<'_>>,
) -> Result<UserId, ApiError> {
    let params = Params::parse(req.query_string())?;
    let named = match body {
        Some(body) => body.text("user_id")?,
        None => None,
    };
    let user = caller.user_for(scopes, &[params.get("user_id")?, named.as_deref()])?;
    edge::admit(req, &user)?;
    Ok(user)
}

/// The parameters of a request without a body, and the user it is about, which needs `scopes`.
/// Its path, its query or both may name him.
///
/// # Errors
/// 400 where nobody names one or the query is malformed, 403 where two are named or a scope is
/// missing, 429 where the user asks too often.
pub fn reader_of<'q>(
    caller: &Caller,
    scopes: impl Into<Scopes>,
    req: &'q HttpRequest,
    path: Option<&str>,
) -> Result<(Params<'q>, UserId), ApiError> {
    let params = Params::parse(req.query_string())?;
    let user = caller.user_for(scopes, &[path, params.get("user_id")?])?;
    edge::admit(req, &user)?;
    Ok((params, user))
}

/// The id in a path. What no id can be called is not found.
///
/// # Errors
/// 404.
pub fn record_id(table: Table, path: &str) -> Result<RecordId, ApiError> {
    RecordId::checked(path).map_err(|_| ApiError::not_found(table.spec().title))
}

/// Runs a request within the server's time bound. It is put on the heap at once: handed on by
/// value, it would be copied from each future into the next, and have room in all of them.
///
/// # Errors
/// Its own, or 503 `TIMEOUT`.
pub fn in_time<T>(
    state: &AppState,
    work: impl Future<Output = Result<T, ApiError>>,
) -> impl Future<Output = Result<T, ApiError>> {
    within(state.timeout, Box::pin(work))
}

async fn within<T>(
    time: std::time::Duration,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(body::too_slow()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn work_without_end_is_answered_with_what_is_not_known() {
        let work = std::future::pending::<Result<(), ApiError>>();
        let error = within(std::time::Duration::from_millis(1), work).await.expect_err("no end");
        assert_eq!((error.status().as_u16(), error.retry_seconds()), (503, Some(1)));
        assert!(error.to_string().starts_with("TIMEOUT: "), "{error}");
    }
}
