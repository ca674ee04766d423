//! Request bodies: JSON, within the server's bound, in time.

use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpMessage, HttpRequest};
use futures_util::StreamExt;

use super::error::ApiError;
use super::refusal::Refusal;
use super::room::Received;
use super::state::AppState;

/// Reads a JSON body. A missing content type is taken for JSON.
///
/// # Errors
/// 413, 415, 400 where the client breaks off, 408 where it is too slow, 503 where too many bodies
/// are in memory.
pub async fn read(
    req: &HttpRequest,
    payload: &mut Payload,
    state: &AppState,
) -> Result<Received, ApiError> {
    let media = req.content_type();
    if req.headers().contains_key(CONTENT_TYPE) && !is_json(media) {
        return Err(ApiError::new("UNSUPPORTED_MEDIA_TYPE", "Send the body as application/json"));
    }
    let mut encodings = req.headers().get_all(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encodings.any(|encoding| !encoding.eq_ignore_ascii_case(b"identity")) {
        return Err(ApiError::new(
            "UNSUPPORTED_MEDIA_TYPE",
            "Send the body without Content-Encoding",
        ));
    }
    let said =
        req.headers().get(CONTENT_LENGTH).and_then(|l| l.to_str().ok()?.parse::<usize>().ok());
    if said.is_some_and(|len| len > state.bounds.max_body) {
        return Err(too_large(state));
    }
    let reading = async {
        let mut share = state.bounds.room.share();
        let mut whole: Option<Bytes> = None;
        let mut parts = BytesMut::new();
        while let Some(part) = payload.next().await {
            let part = part.map_err(|_| ApiError::new("MALFORMED_JSON", "The body ended early"))?;
            if !share.grow(part.len()) {
                let error = ApiError::new("OVERLOADED", "Too many bodies are being received");
                return Err(error.retry_after(Duration::from_secs(1)).refusing(Refusal::Bodies));
            }
            if whole.is_none() && parts.is_empty() {
                whole = Some(part);
            } else {
                if let Some(first) = whole.take() {
                    parts.reserve(said.unwrap_or(first.len() + part.len()));
                    parts.extend_from_slice(&first);
                }
                parts.extend_from_slice(&part);
            }
            if whole.as_ref().map_or(parts.len(), Bytes::len) > state.bounds.max_body {
                return Err(too_large(state));
            }
        }
        Ok(Received::new(whole.unwrap_or_else(|| parts.freeze()), share))
    };
    let late = |_| {
        let error = ApiError::new("REQUEST_TIMEOUT", "The body of the request took too long");
        Err(error.refusing(Refusal::SlowBody))
    };
    tokio::time::timeout(state.bounds.body_timeout, reading).await.unwrap_or_else(late)
}

/// The answer to a request that took too long.
#[must_use]
pub fn too_slow() -> ApiError {
    ApiError::new("TIMEOUT", "The request took too long").retry_after(Duration::from_secs(1))
}

fn too_large(state: &AppState) -> ApiError {
    let message = format!("The body may have {} bytes", state.bounds.max_body);
    ApiError::new("PAYLOAD_TOO_LARGE", message).refusing(Refusal::Body)
}

fn is_json(media: &str) -> bool {
    let media = media.to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}
