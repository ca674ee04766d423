//! The headers that every answer carries, whoever makes it.
//!
//! `Content-Security-Policy` lets nothing run and nothing frame an answer; the documentation page
//! alone may load its own files. What is not marked otherwise may not be stored by caches.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

/// Names and values, where the answer has none of its own.
const ALWAYS: [(HeaderName, &str); 7] = [
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (CACHE_CONTROL, "no-store"),
];

/// What the documentation page and its files need: themselves, styles that its script sets, and
/// images in `data:` addresses.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' \
    'unsafe-inline'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// A year; not for subdomains, which this server knows nothing of.
const TRANSPORT: &str = "max-age=31536000";

/// Adds the headers that an answer lacks. `tls` says that it goes over TLS.
pub fn secure(headers: &mut HeaderMap, tls: bool) {
    for (name, value) in ALWAYS {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TRANSPORT));
    }
}

/// The same headers as lines of HTTP/1.1, for answers that are written by hand.
pub fn as_lines(tls: bool, out: &mut String) {
    let transport = tls.then_some((STRICT_TRANSPORT_SECURITY, TRANSPORT));
    for (name, value) in ALWAYS.into_iter().chain(transport) {
        out.push_str(name.as_str());
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
}
