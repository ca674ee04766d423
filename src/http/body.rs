//! Request bodies: JSON, within the server's bound, in time.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

use super::error::ApiError;
use super::refusal::Refusal;
use super::room::Received;
use super::state::AppState;
use super::turns::Turns;

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
    if let Some(media) = req.headers().get(CONTENT_TYPE)
        && !is_json(media)
    {
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
    if let Some(turns) = req.app_data::<Turns>() {
        turns.later().await;
    }
    let reading = async {
        let mut share = state.bounds.room.share();
        let mut whole: Option<Bytes> = None;
        let mut parts = BytesMut::new();
        while let Some(part) = payload.next().await {
            let part = part.map_err(|_| ApiError::new("MALFORMED_JSON", "The body ended early"))?;
            if !share.grow(part.len()) {
                let error = ApiError::overloaded("Too many bodies are being received");
                return Err(error.refusing(Refusal::Bodies));
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
    let mut reading = pin!(reading);
    // Mostly all of it is here already: no clock is set for that.
    if let Poll::Ready(read) =
        std::future::poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await
    {
        return read;
    }
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

fn is_json(media: &HeaderValue) -> bool {
    if media.as_bytes() == b"application/json" {
        return true;
    }
    let media = media.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let Some((kind, form)) = media.split_once('/') else { return false };
    let form = form.as_bytes();
    kind.eq_ignore_ascii_case("application")
        && (form.eq_ignore_ascii_case(b"json")
            || form.last_chunk::<5>().is_some_and(|end| end.eq_ignore_ascii_case(b"+json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_its_media_type_alone() {
        for (media, json) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/merge-patch+json", true),
            ("application/problem+JSON ;x=1", true),
            ("application/jsonx", false),
            ("application/json+xml", false),
            ("text/json", false),
            ("json", false),
            ("", false),
        ] {
            assert_eq!(is_json(&HeaderValue::from_static(media)), json, "{media}");
        }
    }
}
