//! A user as a whole: summary and erasure.

use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::answer::json as answer;
use super::error::ApiError;
use super::guard::Caller;
use super::lists::remembered;
use super::params::path_segment;
use super::records::reader_of;
use super::state::AppState;
use super::{audited, edge, tokens};
use crate::audit::Event;
use crate::auth::{Scope, Scopes};
use crate::domain::Table;
use crate::store::{CacheKey, Summary};

/// `GET /api/users/{user_id}/summary`
///
/// # Errors
/// What is wrong with the request, or keeps the store from reading.
pub async fn summary(
    caller: Caller,
    req: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let store = state.store()?;
    let scopes = Table::PUBLIC.into_iter().map(Scope::read).fold(Scopes::NONE, Scopes::and);
    let (_, user) = reader_of(&caller, scopes, &req, Some(&path_user(&req)?))?;
    let asked = CacheKey { what: "summary".to_owned(), user: user.clone() };
    remembered(&req, &state, asked, &Table::PUBLIC, || async {
        Ok(shown(&store.summary(&user).await?).to_string().into())
    })
    .await
}

/// The user id in `/api/users/{user_id}…`, as it was sent.
fn path_user(req: &HttpRequest) -> Result<String, ApiError> {
    path_segment(req, 2, "user_id")
}

fn shown(summary: &Summary) -> Value {
    let of = |status: &str| summary.audiences.by_status.get(status).copied().unwrap_or(0);
    let platforms = &summary.platforms;
    let working =
        ["connected", "active"].iter().filter_map(|s| platforms.by_status.get(*s)).sum::<u64>();
    json!({
        "success": true,
        "summary": {
            "audiences": {
                "total": summary.audiences.total,
                "active": of("active"),
                "draft": of("draft"),
                "archived": of("archived"),
            },
            "platforms": { "total": platforms.total, "active": working, "by_type": platforms.by_type },
            "distributions": {
                "total": summary.distributions.total,
                "by_status": summary.distributions.by_status,
            },
            "last_activity": summary.last_activity().map(|at| at.to_string()),
        },
    })
}

/// `DELETE /api/users/{user_id}`: his records, and then the API tokens that open them.
///
/// # Errors
/// What is wrong with the request, or keeps the store from erasing.
pub async fn erase(
    caller: Caller,
    req: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    let store = state.store()?;
    let scopes = Table::PUBLIC.into_iter().map(Scope::write).fold(Scopes::NONE, Scopes::and);
    let (_, user) = reader_of(&caller, scopes, &req, Some(&path_user(&req)?))?;
    audited::admit(&state, &caller, &user)?;
    let place = edge::place_for_change(&state)?;
    // An erasure goes on when its client goes away.
    let (store, state, by) = (store.clone(), state.clone(), caller.actor());
    let work = actix_web::rt::spawn(async move {
        let _place = place;
        let erased = store.erase(&user, &by).await?;
        state.activity.forget(&user);
        let (tokens, his) = (Arc::clone(&state.tokens), user.clone());
        let gone = tokens::blocking(move || tokens.forget(&his)).await?.len() as u64;
        if gone > 0 {
            state.audit.record(Event::tokens_removed(&by, &user, gone)).await?;
        }
        Ok::<_, ApiError>((erased, gone))
    });
    let (erased, tokens) = work.await.map_err(|_| ApiError::internal())??;
    let body = json!({
        "success": true,
        "message": "User erased",
        "erased": {
            "audiences": erased.audiences,
            "platforms": erased.platforms,
            "distributions": erased.distributions,
            "files": erased.files,
            "tokens": tokens,
        },
        "counts_complete": erased.counts_complete,
        "log_released": erased.log_released,
    });
    Ok(answer(body.to_string()))
}
