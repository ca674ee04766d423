//! What happens to every request and every answer, whichever endpoint they are of: the outermost
//! layer of HTTP.
//!
//! A request is refused here where its connection carries too many, or where a page of another
//! site asks for a change. An answer gets the headers all answers have, and what was refused is
//! counted.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_cors::CorsError;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    TRANSFER_ENCODING,
};
use actix_web::http::uri::Authority;
use actix_web::http::{ConnectionType, Method, Uri, Version};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpMessage, HttpRequest, ResponseError};
use tracing::Instrument;

use super::connection::{Conduct, Pace, Sending, Ticket};
use super::error::ApiError;
use super::headers;
use super::observe::Observer;
use super::rate::{Standing, WINDOW};
use super::refusal::Refusal;
use super::state::AppState;
use crate::audit::{Actor, Denied, Via};
use crate::domain::UserId;

/// Requests that one connection may carry at once. HTTP/1 carries one at a time.
const MOST_STREAMS: usize = 128;

/// Size of a request's head, each header counted with [`HEADER_OVERHEAD`]: what HTTP/1 may have.
const MAX_HEAD: usize = 128 * 1024;
/// What a header takes beside its bytes, as HTTP/2 counts it (RFC 7541, 4.1).
const HEADER_OVERHEAD: usize = 32;

/// From where a browser asks (Fetch Metadata Request Headers).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What is known of a request's connection.
pub struct Connected {
    /// What it does.
    pub conduct: Conduct,
    /// How long its client may take.
    pub pace: Pace,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// Handles one request, and notes it.
///
/// # Errors
/// None of its own: a refusal is an answer.
pub async fn edge(
    state: Data<AppState>,
    observer: Rc<Observer>,
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let mut noted = observer.begin(req.headers());
    let span = noted.tracing(req.method());
    let mut res = pass(state, req, next).instrument(span.clone()).await?;
    noted.end(&mut res, &span);
    Ok(res)
}

async fn pass(
    state: Data<AppState>,
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if req.headers().get_all(ACCEPT_ENCODING).any(takes_no_answer) {
        // An answer as it is serves better than none (RFC 9110, 12.5.3).
        req.headers_mut().remove(ACCEPT_ENCODING);
    }
    let connected = req.conn_data::<Rc<Connected>>().cloned();
    let busy = connected.as_ref().is_some_and(|c| c.conduct.under_way() >= MOST_STREAMS);
    let working = connected.as_ref().map(|c| c.conduct.working());
    let ambiguous = is_ambiguous(req.request());
    let refused = if let Some(error) = malformed(&req, ambiguous) {
        Some(error)
    } else if busy {
        let error = ApiError::overloaded("Too many requests at once over one connection");
        Some(error.refusing(Refusal::Streams))
    } else if is_cross_site(req.method(), req.headers(), req.uri(), &state.bounds.origins) {
        note_cross_site(&state, &req);
        let error = ApiError::new(
            "CROSS_SITE",
            "A page of another site may not change anything here unless its origin is named",
        );
        Some(error.refusing(Refusal::CrossSite))
    } else {
        None
    };
    let mut res = match refused {
        Some(error) => req.into_response(error.error_response()),
        None => with_reason(next.call(req).await?.map_into_boxed_body()),
    };
    drop(working);
    if ambiguous {
        // What follows may be the rest of this request, or another.
        res.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let standing = res.request().extensions().get::<Standing>().copied();
    if let Some(refusal) = res.response().extensions().get::<Refusal>() {
        state.bounds.refusals.count(*refusal);
    }
    let tls = connected.as_ref().is_some_and(|c| c.tls);
    headers::secure(res.headers_mut(), tls);
    if let Some(standing) = standing {
        tell(standing, res.headers_mut());
    }
    if res.request().version() != Version::HTTP_2 {
        return Ok(res);
    }
    let Some(connected) = connected else { return Ok(res) };
    Ok(res.map_body(|_, body| Timed::new(body, &connected).boxed()))
}

/// Whether an `Accept-Encoding` forbids answers as they are and names no coding that the server
/// has.
fn takes_no_answer(accepts: &HeaderValue) -> bool {
    let Ok(accepts) = accepts.to_str() else { return false };
    let is_of = |name: &str, names: &[&str]| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    let mut codings = accepts.split(',').map(coding_taken);
    codings.clone().any(|(name, takes)| !takes && is_of(name, &["*", "identity"]))
        && !codings.any(|(name, takes)| takes && is_of(name, &["gzip", "zstd", "identity", "*"]))
}

/// The name of a content coding, and whether it is taken.
fn coding_taken(coding: &str) -> (&str, bool) {
    let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
    let quality = quality.trim().strip_prefix("q=").unwrap_or("1");
    (name.trim(), quality.parse::<f32>().is_ok_and(|q| q > 0.0))
}

/// Notes a refusal in the audit trail. Nobody has looked yet which endpoint it is for, nor who
/// asks.
fn note_cross_site(state: &AppState, req: &ServiceRequest) {
    let method = match *req.method() {
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    state.audit.denied(Denied {
        by: Actor { user: None, via: Via::Nothing },
        status: 403,
        code: "CROSS_SITE",
        method,
        route: "any".to_owned(),
        peer: req.peer_addr().map(|peer| peer.ip()),
    });
}

/// Whether a request says its length in two ways: a proxy before the server may believe the other
/// one, and take what follows for another request (request smuggling).
fn is_ambiguous(req: &HttpRequest) -> bool {
    let has = |name| req.headers().contains_key(name);
    has(TRANSFER_ENCODING) && has(CONTENT_LENGTH)
}

/// What is wrong with the head of a request that the HTTP library let through.
fn malformed(req: &ServiceRequest, ambiguous: bool) -> Option<ApiError> {
    if ambiguous {
        let message = "The request has both Content-Length and Transfer-Encoding";
        return Some(ApiError::new("MALFORMED_REQUEST", message).refusing(Refusal::Malformed));
    }
    // HTTP/1 heads are bounded where they are read; those of HTTP/2 may unpack to far more than
    // was sent, and stay in memory as long as the request does.
    if req.version() == Version::HTTP_2 {
        let size = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + HEADER_OVERHEAD
        };
        if req.headers().iter().map(size).sum::<usize>() > MAX_HEAD {
            let message = "The head of the request is larger than the server takes";
            return Some(ApiError::new("HEADERS_TOO_LARGE", message).refusing(Refusal::LargeHead));
        }
    }
    None
}

/// Gives the refusal of a preflight request, which is a text, the form of all errors.
fn with_reason(res: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let error = res.response().error().and_then(|error| error.as_error::<CorsError>());
    let Some(reason) = error.map(ToString::to_string) else { return res };
    let refused = ApiError::new("CROSS_SITE", reason).refusing(Refusal::CrossSite);
    let (req, _) = res.into_parts();
    ServiceResponse::new(req, refused.error_response())
}

/// Notes that `user` is active, and counts the request against the limit on requests a minute,
/// where there is one. Called where a request's user becomes known; a request counts once.
///
/// # Errors
/// 429 `RATE_LIMITED`.
pub fn admit(req: &HttpRequest, user: &UserId) -> Result<(), ApiError> {
    let Some(state) = req.app_data::<Data<AppState>>() else { return Ok(()) };
    state.activity.mark(user, state.env.clock.now());
    let Some(limiter) = state.bounds.rate.as_ref() else { return Ok(()) };
    if req.extensions().contains::<Standing>() {
        return Ok(());
    }
    let standing = limiter.take(user);
    req.extensions_mut().insert(standing);
    if !standing.refused {
        return Ok(());
    }
    let message = format!("A user may send {} requests a minute", standing.quota);
    let error = ApiError::new("RATE_LIMITED", message).retry_after(standing.next_in);
    Err(error.refusing(Refusal::Rate))
}

/// A place for a request that changes records, kept until the ticket is dropped. Asked for once the
/// body is here, so that a client who takes his time with it keeps nobody else from changing
/// something.
///
/// # Errors
/// 503 `OVERLOADED`, at once.
pub fn place_for_change(state: &AppState) -> Result<Ticket, ApiError> {
    state.bounds.writes.enter().ok_or_else(|| {
        ApiError::overloaded("Too many changes are under way").refusing(Refusal::Writes)
    })
}

/// Says in the answer what the user has left (draft-ietf-httpapi-ratelimit-headers-10).
fn tell(standing: Standing, headers: &mut HeaderMap) {
    let Standing { quota, remaining, full_in, .. } = standing;
    let policy = format!("\"user\";q={quota};w={}", WINDOW.as_secs());
    let seconds = full_in.as_secs() + u64::from(full_in.subsec_nanos() > 0);
    let left = format!("\"user\";r={remaining};t={seconds}");
    for (name, value) in [("ratelimit-policy", policy), ("ratelimit", left)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

/// Whether a browser says that a page of another origin asks for a change. Such a page could
/// otherwise make a visitor's browser write to a server that only the visitor can reach. Browsers
/// of today say so by `Sec-Fetch-Site`, older ones by `Origin`; other clients send neither.
fn is_cross_site(method: &Method, headers: &HeaderMap, uri: &Uri, origins: &[String]) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let origin = headers.get(ORIGIN);
    let named = origin.and_then(|origin| origin.to_str().ok());
    if named.is_some_and(|origin| origins.iter().any(|known| known == origin)) {
        return false;
    }
    match headers.get(FETCH_SITE).map(HeaderValue::as_bytes) {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => origin.is_some() && !named.is_some_and(|origin| is_of(host(headers, uri), origin)),
    }
}

/// The host and port a request is for: HTTP/2 has it in the address.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = headers.get(HOST).and_then(|host| host.to_str().ok());
    header.or_else(|| uri.authority().map(Authority::as_str))
}

/// Whether an origin is that of a page which this server sent itself. `localhost` and the address
/// it stands for are two.
fn is_of(host: Option<&str>, origin: &str) -> bool {
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

/// The body of an HTTP/2 answer, which must have been read in time.
struct Timed {
    body: BoxBody,
    _sending: Sending,
}

impl Timed {
    fn new(body: BoxBody, connected: &Connected) -> Self {
        let bytes = match body.size() {
            BodySize::Sized(bytes) => bytes,
            BodySize::None | BodySize::Stream => 0,
        };
        let Connected { conduct, pace, .. } = connected;
        let deadline = pace.clock.monotonic() + pace.allowance(bytes);
        Self { body, _sending: conduct.sending(deadline) }
    }
}

impl MessageBody for Timed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn asks(method: &Method, site: Option<&'static str>, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [("sec-fetch-site", site), ("origin", origin)] {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        headers.insert(HOST, HeaderValue::from_static("store.local:8080"));
        let origins = ["https://app.example.com".to_owned()];
        is_cross_site(method, &headers, &Uri::from_static("/api/audiences"), &origins)
    }

    #[test]
    fn only_pages_of_named_origins_change_something_from_another_site() {
        assert!(asks(&Method::POST, Some("cross-site"), Some("https://evil.example")));
        assert!(asks(&Method::DELETE, Some("cross-site"), None));
        assert!(asks(&Method::PUT, Some("cross-site"), Some("https://app.example.com.evil")));
        assert!(!asks(&Method::POST, Some("cross-site"), Some("https://app.example.com")));
        assert!(!asks(&Method::GET, Some("cross-site"), Some("https://evil.example")));
        assert!(!asks(&Method::POST, Some("same-origin"), Some("http://store.local:8080")));
        assert!(!asks(&Method::POST, Some("none"), None), "typed into the address bar");
        assert!(asks(&Method::POST, Some("same-site"), None));
        assert!(asks(&Method::POST, Some("same-site"), Some("http://store.local:3000")));
        assert!(asks(&Method::POST, None, Some("https://evil.example")), "an older browser");
        assert!(asks(&Method::POST, None, Some("null")));
        assert!(!asks(&Method::POST, None, Some("http://store.local:8080")));
        assert!(!asks(&Method::POST, None, Some("https://app.example.com")));
        assert!(!asks(&Method::POST, None, None), "no browser");
    }

    #[test]
    fn only_who_takes_no_answer_at_all_has_no_say_in_its_coding() {
        for (accepts, none) in [
            ("gzip, deflate, br, zstd", false),
            ("identity;q=0, gzip", false),
            ("*;q=0, identity", false),
            ("identity; q=0, *;q=0.5", false),
            ("gzip;q=0", false),
            ("", false),
            ("*;q=0", true),
            ("identity;q=0", true),
            ("br;q=1, *; q=0.0", true),
            ("gzip;q=0, IDENTITY;q=0", true),
        ] {
            assert_eq!(takes_no_answer(&HeaderValue::from_static(accepts)), none, "{accepts}");
        }
    }

    #[test]
    fn standings_are_structured_fields() {
        let mut headers = HeaderMap::new();
        let standing = Standing {
            quota: 100,
            remaining: 7,
            full_in: Duration::from_millis(55_001),
            next_in: Duration::ZERO,
            refused: false,
        };
        tell(standing, &mut headers);
        assert_eq!(headers.get("ratelimit-policy").expect("policy"), "\"user\";q=100;w=60");
        assert_eq!(headers.get("ratelimit").expect("limit"), "\"user\";r=7;t=56");
    }
}
