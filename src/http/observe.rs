//! What is noted of every request: counts and times by endpoint, its id, its log line.
//!
//! A worker has one [`Observer`]. Which endpoint a request reached is looked up in what the route
//! carries ([`Places`]), not by its path.
//!
//! Log lines are of the target `audience_store::access`: `debug` for each request, `error` for a
//! defect (500), and `warn` for other answers of the 500s, at most ten a second and worker, so that
//! overload does not drown in its own report. They bear no user id, no query and no header but the
//! ids.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::http::header::{HeaderMap, HeaderValue};

use super::error::{CODES, Code};
use super::routes::Endpoint;
use super::state::AppState;
use super::trace::{Ids, REQUEST_ID, Span, TRACERESPONSE};
use crate::env::Clock;
use crate::metrics::http::HttpShard;

/// Lines about unavailability that a worker writes each second.
const LINES_A_SECOND: u32 = 10;
/// The target of a request's log line.
const ACCESS: &str = "audience_store::access";
/// The target of the span around a request.
pub const REQUEST_TARGET: &str = "audience_store::request";

/// The places of a path's endpoints in the list of all, by method. Carried by the route.
pub struct Places(Vec<(Method, usize)>);

impl Places {
    /// Of endpoints that share a path, the first of which stands at `first`.
    #[must_use]
    pub fn of(group: &[Endpoint], first: usize) -> Self {
        let place = |(index, endpoint): (usize, &Endpoint)| {
            Some((Method::from_bytes(endpoint.method.as_bytes()).ok()?, first + index))
        };
        Self(group.iter().enumerate().filter_map(place).collect())
    }

    fn find(&self, method: &Method) -> Option<usize> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        self.0.iter().find(|(m, _)| m == method).map(|(_, place)| *place)
    }
}

/// What one worker notes requests with.
pub struct Observer {
    shard: Arc<HttpShard>,
    clock: Arc<dyn Clock>,
    ids: Ids,
    /// The second of the last lines about unavailability, and how many there were.
    lines: Cell<(u64, u32)>,
}

impl Observer {
    /// A worker's.
    #[must_use]
    pub fn new(state: &AppState) -> Self {
        let mut prefix = [0; 8];
        state.env.random.fill(&mut prefix);
        Self {
            shard: state.http.shard(),
            clock: Arc::clone(&state.env.clock),
            ids: Ids::new(u64::from_le_bytes(prefix)),
            lines: Cell::new((0, 0)),
        }
    }

    /// A request begins.
    #[must_use]
    pub fn begin(&self, headers: &HeaderMap) -> Observed<'_> {
        self.shard.begin();
        Observed {
            observer: self,
            began: self.clock.monotonic(),
            id: self.ids.request(headers),
            span: self.ids.span(headers),
            answered: false,
        }
    }

    /// Whether a line about unavailability may still be written this second.
    fn may_tell(&self, now: Duration) -> bool {
        let (second, lines) = self.lines.get();
        let lines = if second == now.as_secs() { lines } else { 0 };
        self.lines.set((now.as_secs(), lines.saturating_add(1)));
        lines < LINES_A_SECOND
    }
}

/// A request under way.
pub struct Observed<'a> {
    observer: &'a Observer,
    began: Duration,
    id: HeaderValue,
    span: Option<Span>,
    answered: bool,
}

impl Observed<'_> {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.id.to_str().unwrap_or_default()
    }

    /// The span that lines written meanwhile belong to: it bears the request's ids. Nothing unless
    /// somebody listens to [`REQUEST_TARGET`] at `debug`.
    #[must_use]
    pub fn tracing(&mut self, method: &Method) -> tracing::Span {
        let span = tracing::debug_span!(
            target: REQUEST_TARGET,
            "request",
            otel.kind = "server",
            otel.name = tracing::field::Empty,
            request_id = self.id(),
            trace_id = tracing::field::Empty,
            span_id = tracing::field::Empty,
            http.request.method = method.as_str(),
            http.route = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
        );
        if span.is_disabled() {
            return span;
        }
        #[cfg(feature = "otlp")]
        if let Some(context) = &mut self.span
            && let Some(own) =
                crate::otlp::adopt(&span, context.trace, context.parent, context.flags)
        {
            context.own = own;
        }
        if let Some(context) = self.span {
            span.record("trace_id", format!("{:032x}", context.trace));
            span.record("span_id", format!("{:016x}", context.own));
        }
        span
    }

    /// It was answered: counts it, gives the answer its ids, writes its line.
    pub fn end(mut self, res: &mut ServiceResponse<BoxBody>, span: &tracing::Span) {
        self.answered = true;
        let observer = self.observer;
        let now = observer.clock.monotonic();
        let took = now.saturating_sub(self.began);
        let status = res.status().as_u16();
        let code = res.response().extensions().get::<Code>().map(|code| code.0);
        let req = res.request();
        let places = req.app_data::<Places>();
        let endpoint = places.and_then(|places| places.find(req.method()));
        let place = code.and_then(|code| CODES.iter().position(|(known, _, _)| *known == code));
        observer.shard.answer(endpoint, status, place, took);
        if !span.is_disabled() {
            let route = req.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
            span.record("otel.name", format!("{} {route}", req.method()));
            span.record("http.route", route);
            span.record("http.response.status_code", status);
        }
        self.tell(req, status, code, now, took);
        let headers = res.headers_mut();
        if let Some(said) = self.span.and_then(|span| span.response()) {
            headers.insert(TRACERESPONSE, said);
        }
        headers.insert(REQUEST_ID, self.id.clone());
    }

    fn tell(
        &self,
        req: &HttpRequest,
        status: u16,
        code: Option<&str>,
        now: Duration,
        took: Duration,
    ) {
        // One macro a level: a level is fixed where it is written.
        macro_rules! line {
            ($level:ident) => {{
                let (trace, span) = match self.span {
                    Some(s) => (format!("{:032x}", s.trace), format!("{:016x}", s.own)),
                    None => Default::default(),
                };
                let endpoint = req.match_pattern();
                tracing::event!(
                    target: ACCESS,
                    tracing::Level::$level,
                    request_id = self.id(),
                    trace_id = (!trace.is_empty()).then_some(trace.as_str()),
                    span_id = (!span.is_empty()).then_some(span.as_str()),
                    method = req.method().as_str(),
                    endpoint = endpoint.as_deref().unwrap_or("unmatched"),
                    status,
                    code,
                    duration_ms = took.as_secs_f64() * 1e3,
                    "request answered"
                );
            }};
        }
        match status {
            500 => line!(ERROR),
            501.. if self.observer.may_tell(now) => line!(WARN),
            _ if tracing::enabled!(target: ACCESS, tracing::Level::DEBUG) => line!(DEBUG),
            _ => {}
        }
    }
}

impl Drop for Observed<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.observer.shard.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::routes::endpoints;
    use super::*;

    #[test]
    fn every_endpoint_has_its_place_and_head_is_gets() {
        let all = endpoints();
        let mut first = 0;
        for group in all.chunk_by(|a, b| a.path == b.path) {
            let places = Places::of(group, first);
            for (index, endpoint) in group.iter().enumerate() {
                let method = Method::from_bytes(endpoint.method.as_bytes()).expect("method");
                assert_eq!(places.find(&method), Some(first + index), "{}", endpoint.path);
            }
            assert_eq!(places.find(&Method::HEAD), places.find(&Method::GET));
            assert_eq!(places.find(&Method::PATCH), None);
            first += group.len();
        }
        assert_eq!(first, all.len());
    }
}
