//! Success answers: JSON bodies and their headers.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};

use super::conditional::{has_it, version_tag};
use super::error::ApiError;
use super::slices::sliced;
use crate::domain::Table;
use crate::domain::json_text::{push_string, push_strings};
use crate::store::{Listing, Remembered, Written};

/// Says that an answer is one that was given before.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A 200 with a JSON body.
#[must_use]
pub fn json(body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(body.into())
}

/// A read with its tag; 304 where the client has it already.
///
/// # Errors
/// 400 where the request's tags are no tags.
pub fn tagged(
    req: &HttpRequest,
    etag: &str,
    body: impl FnOnce() -> BoxBody,
) -> Result<HttpResponse, ApiError> {
    let known = has_it(req, etag)?;
    let status = if known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = HttpResponse::new(status);
    let headers = response.headers_mut();
    // A new answer has no headers: what is appended stands there once.
    if let Ok(tag) = HeaderValue::from_str(etag) {
        headers.append(ETAG, tag);
    }
    headers.append(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if known {
        return Ok(response);
    }
    headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response.set_body(body()))
}

/// A listing with its tag.
///
/// # Errors
/// As [`tagged`].
pub fn listing(req: &HttpRequest, listing: &Listing) -> Result<HttpResponse, ApiError> {
    tagged(req, &listing.etag, || sliced(listing.body.clone()))
}

/// What the answer to a write says it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// `POST`.
    Save,
    /// `PUT`.
    Update,
    /// `PUT …/status`.
    Status,
    /// `DELETE`.
    Delete,
}

/// The answer to a write.
#[must_use]
pub fn written(table: Table, did: Did, written: &Written) -> Remembered {
    let spec = table.spec();
    let mut body = String::with_capacity(160);
    body.push_str("{\"success\":true");
    let (message, status) = match did {
        Did::Save => (" saved successfully", None),
        Did::Update => (" updated successfully", None),
        Did::Status => (" status updated to ", written.status.as_deref()),
        Did::Delete => (" deleted", None),
    };
    if did != Did::Delete {
        body.push_str(",\"");
        body.push_str(spec.id_column());
        body.push_str("\":");
        push_string(written.id.as_str(), &mut body);
    }
    body.push_str(",\"message\":");
    push_strings(&[spec.title, message, status.unwrap_or_default()], &mut body);
    if did != Did::Delete {
        body.push_str(",\"version\":");
        body.push_str(itoa::Buffer::new().format(written.version));
    }
    if !written.ignored.is_empty() {
        body.push_str(",\"ignored\":[");
        for (index, name) in written.ignored.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            push_string(name, &mut body);
        }
        body.push(']');
    }
    body.push('}');
    let status = if written.created && did == Did::Save { 201 } else { 200 };
    let etag = (did != Did::Delete).then(|| version_tag(written.version));
    Remembered { status, body, etag }
}

/// An answer as it is sent.
#[must_use]
pub fn send(answer: Remembered, replayed: bool) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if let Some(tag) = answer.etag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.insert_header((ETAG, tag));
    }
    if replayed {
        response.insert_header((REPLAYED, "true"));
    }
    response.content_type("application/json").body(answer.body)
}
