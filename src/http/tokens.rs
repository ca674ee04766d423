//! API tokens, for administrators: list, make, take back.

use std::sync::Arc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Map, Value, json};

use super::answer::json as answer;
use super::error::ApiError;
use super::guard::Caller;
use super::params::Params;
use super::state::AppState;
use super::{audited, body};
use crate::audit::Event;
use crate::auth::Scope;
use crate::auth::tokens::{NewToken, NewTokenError, TokenFileError};
use crate::cli::quantity::parse_duration;
use crate::domain::input::InputError;
use crate::domain::object::ObjectFields;

/// `GET /api/admin/tokens`: newest first, without secrets.
///
/// # Errors
/// 400 where a parameter holds what it must not.
pub async fn list(
    caller: Caller,
    req: HttpRequest,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let params = Params::parse(req.query_string())?;
    let (limit, user) = (params.limit()?, params.get("user_id")?);
    let after = params.get("cursor")?;
    let tokens = state.tokens.published().get();
    let mut records = tokens.records();
    if let Some(after) = after {
        let place = records.iter().position(|record| record.id == after);
        let place = place.ok_or_else(|| ApiError::cursor("there is no such place any more"))?;
        records.drain(..=place);
    }
    records.retain(|record| user.is_none_or(|user| record.user.as_str() == user));
    let more = records.len() > limit;
    records.truncate(limit);
    let next = records.last().filter(|_| more).map(|record| record.id.clone());
    let now = state.tokens.now();
    let shown: Vec<Value> = records.iter().map(|record| record.shown(now)).collect();
    let body = json!({"success": true, "count": shown.len(), "tokens": shown, "next_cursor": next});
    Ok(answer(body.to_string()))
}

/// `POST /api/admin/tokens`: the answer has the token, this once.
///
/// # Errors
/// 400 for what cannot be asked for, 409 where there are too many, 503 where it cannot be kept.
pub async fn create(
    caller: Caller,
    req: HttpRequest,
    mut payload: Payload,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    if req.headers().contains_key("idempotency-key") {
        let rule = "is not taken here: answers are remembered, and a token is shown once";
        return Err(ApiError::header("Idempotency-Key", rule));
    }
    let new = wanted(&body::read(&req, &mut payload, &state).await?)?;
    let text = state.tokens.draw();
    let planned = new.record(&text, state.tokens.now());
    audited::admit(&state, &caller, &planned.user)?;
    let scopes = planned.scopes.names();
    let event = Event::token_created(&caller.actor(), &planned.user, &planned.id, &scopes);
    // A token without a line must not be.
    state.audit.record(event).await?;
    let tokens = Arc::clone(&state.tokens);
    let (made, text) =
        blocking(move || tokens.create(&new, &text).map(|made| (made, text))).await?;
    let mut body = made.shown(state.tokens.now());
    if let Some(body) = body.as_object_mut() {
        body.insert("success".to_owned(), json!(true));
        body.insert("token".to_owned(), json!(text.reveal()));
    }
    let mut response = HttpResponse::Created();
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("application/json");
    Ok(response.body(body.to_string()))
}

/// `DELETE /api/admin/tokens/{token_id}`: it does not work any more when this is answered.
///
/// # Errors
/// 404 where there is no such token, 503 where that cannot be kept.
pub async fn revoke(
    caller: Caller,
    path: Path<String>,
    state: Data<AppState>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Admin)?;
    let (tokens, id) = (Arc::clone(&state.tokens), path.into_inner());
    let (owner, id) = blocking(move || tokens.revoke(&id).map(|owner| (owner, id))).await?;
    let owner = owner.ok_or_else(|| ApiError::not_found("Token"))?;
    state.audit.record(Event::token_revoked(&caller.actor(), &owner, &id)).await?;
    Ok(answer(json!({"success": true, "message": "Token revoked"}).to_string()))
}

/// Runs what touches the file of tokens, off the worker's thread. It goes on when the client goes
/// away.
///
/// # Errors
/// As [`ApiError`] has it for [`TokenFileError`].
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TokenFileError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(ApiError::internal()),
    }
}

/// What a body asks for. A field that is not known is refused: a misspelt `ttl` would make a
/// token for ever.
fn wanted(bytes: &[u8]) -> Result<NewToken, ApiError> {
    let invalid = |field: &str, rule: &str| ApiError::from(InputError::invalid(field, rule));
    let malformed = || ApiError::new("MALFORMED_JSON", "The body is not a JSON object");
    let sent: ObjectFields<'_> = serde_json::from_slice(bytes).map_err(|_| malformed())?;
    let mut fields = Map::new();
    for (name, value) in sent.0 {
        let value = serde_json::from_str::<Value>(value.get()).map_err(|_| malformed())?;
        if fields.insert(name.to_string(), value).is_some() {
            return Err(invalid(&name, "is sent twice"));
        }
    }
    if let Some(other) =
        fields.keys().find(|k| !["user_id", "scopes", "name", "ttl"].contains(&k.as_str()))
    {
        return Err(invalid(other, "there is no such field"));
    }
    let text = |name: &str| match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(invalid(name, "must be a text")),
    };
    let user = text("user_id")?.ok_or_else(|| InputError::missing("user_id"))?;
    let scopes = match fields.get("scopes") {
        None | Some(Value::Null) => return Err(InputError::missing("scopes").into()),
        Some(Value::Array(all)) => all.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
        Some(_) => None,
    };
    let scopes = scopes.ok_or_else(|| invalid("scopes", "must be a list of texts"))?;
    let ttl = match text("ttl")? {
        None => None,
        Some(text) => Some(
            parse_duration(text)
                .ok_or_else(|| invalid("ttl", "must be a duration in s, m, h or d, such as 90d"))?,
        ),
    };
    NewToken::checked(user, scopes, text("name")?, ttl).map_err(|error| match error {
        NewTokenError::User(error) => error.into(),
        NewTokenError::Scope(_) | NewTokenError::NoScope => invalid("scopes", &error.to_string()),
        NewTokenError::Name => invalid("name", &error.to_string()),
        NewTokenError::Ttl => invalid("ttl", &error.to_string()),
        NewTokenError::Full => ApiError::from(TokenFileError::Refused(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_checked_field_by_field() {
        let ok = json!({"user_id": "u", "scopes": ["admin"], "name": "n", "ttl": "90d"});
        let check = |changes: &Value| {
            let mut body = ok.clone();
            for (name, value) in changes.as_object().expect("object") {
                body[name] = value.clone();
            }
            wanted(body.to_string().as_bytes()).map(|_| ()).map_err(|error| error.body())
        };
        assert_eq!(check(&json!({})), Ok(()));
        assert_eq!(check(&json!({"name": null, "ttl": null})), Ok(()));
        for (changes, code, pointer) in [
            (json!({"user_id": null}), "MISSING_FIELD", "/user_id"),
            (json!({"user_id": ""}), "MISSING_FIELD", "/user_id"),
            (json!({"user_id": 7}), "INVALID_FIELD", "/user_id"),
            (json!({"user_id": "a\nb"}), "INVALID_FIELD", "/user_id"),
            (json!({"scopes": null}), "MISSING_FIELD", "/scopes"),
            (json!({"scopes": []}), "INVALID_FIELD", "/scopes"),
            (json!({"scopes": "admin"}), "INVALID_FIELD", "/scopes"),
            (json!({"scopes": ["root"]}), "INVALID_FIELD", "/scopes"),
            (json!({"scopes": [1]}), "INVALID_FIELD", "/scopes"),
            (json!({"name": "\u{202e}"}), "INVALID_FIELD", "/name"),
            (json!({"ttl": "90"}), "INVALID_FIELD", "/ttl"),
            (json!({"ttl": 90}), "INVALID_FIELD", "/ttl"),
            (json!({"ttl": "1ms"}), "INVALID_FIELD", "/ttl"),
            (json!({"tll": "90d"}), "INVALID_FIELD", "/tll"),
        ] {
            let error = check(&changes).expect_err(pointer);
            let error: Value = serde_json::from_str(&error).expect("JSON");
            assert_eq!(
                (&error["code"], &error["details"]["pointer"]),
                (&json!(code), &json!(pointer))
            );
        }
        assert!(wanted(b"[]").is_err() && wanted(b"").is_err());
        let twice = br#"{"user_id":"u","scopes":["audiences:read"],"scopes":["admin"]}"#;
        let error = wanted(twice).map(|_| ()).expect_err("twice").body();
        assert!(error.contains("/scopes"), "{error}");
    }
}
