//! The headers that every answer carries, whoever makes it.
//!
//! `Content-Security-Policy` lets nothing run and nothing frame an answer; the documentation page
//! alone may load its own files. What is not marked otherwise may not be stored by caches.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

const COUNT: usize = 7;
/// Names and values, where the answer has none of its own: made when the program is compiled.
const ALWAYS: [(HeaderName, HeaderValue); COUNT] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    ),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin")),
    (CROSS_ORIGIN_OPENER_POLICY, HeaderValue::from_static("same-origin")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
];
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");

/// What the documentation page and its files need: themselves, styles that its script sets, and
/// images in `data:` addresses.
pub const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' \
    'unsafe-inline'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// A year; not for subdomains, which this server knows nothing of.
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Adds the headers that an answer lacks. `tls` says that it goes over TLS.
pub fn secure(headers: &mut HeaderMap, tls: bool) {
    let always = ALWAYS;
    let mut lacking = [true; COUNT];
    for name in headers.keys() {
        for (lacks, (known, _)) in lacking.iter_mut().zip(&always) {
            *lacks &= name != known;
        }
    }
    for ((name, value), _) in always.into_iter().zip(lacking).filter(|(_, lacks)| *lacks) {
        // What is not there yet is appended for half of what inserting it costs.
        headers.append(name, value);
    }
    if tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, TRANSPORT);
    }
}

/// The same headers as lines of HTTP/1.1, for answers that are written by hand.
pub fn as_lines(tls: bool, out: &mut String) {
    let transport = tls.then_some((STRICT_TRANSPORT_SECURITY, TRANSPORT));
    for (name, value) in ALWAYS.into_iter().chain(transport) {
        out.push_str(name.as_str());
        out.push_str(": ");
        // Each is ASCII.
        out.push_str(value.to_str().unwrap_or_default());
        out.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_its_own_and_gets_the_rest_once() {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        for tls in [false, true, true] {
            secure(&mut headers, tls);
            for (name, value) in ALWAYS {
                let own = match name {
                    CACHE_CONTROL => HeaderValue::from_static("private"),
                    CONTENT_SECURITY_POLICY => HeaderValue::from_static(PAGE_POLICY),
                    _ => value,
                };
                assert_eq!(headers.get_all(name).collect::<Vec<_>>(), [&own]);
            }
            assert_eq!(headers.contains_key(STRICT_TRANSPORT_SECURITY), tls);
        }
    }
}
