//! Requests by endpoint. Each HTTP worker counts into a shard of its own, so that no two cores
//! write one cache line; a scrape adds the shards up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Counter, Exposition, Histogram, names};

/// Classes of statuses, in the order in which they are kept.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// What bears no code: an answer that is remembered for an `Idempotency-Key`, or one that the HTTP
/// library made.
const NO_CODE: &str = "OTHER";

/// What one endpoint answered.
#[derive(Debug)]
struct EndpointShard {
    durations: [Histogram; CLASSES.len()],
    /// One for each code, and one for none.
    errors: Box<[AtomicU64]>,
}

/// What one worker counts.
#[derive(Debug)]
pub struct HttpShard {
    /// One for each endpoint, and one for requests that reach none.
    endpoints: Box<[EndpointShard]>,
    /// Requests begun.
    begun: Counter,
    /// Requests answered.
    answered: Counter,
    /// Requests whose client went away.
    aborted: Counter,
}

impl HttpShard {
    /// A request begins.
    pub fn begin(&self) {
        self.begun.increment();
    }

    /// A request's client went away.
    pub fn abort(&self) {
        self.aborted.increment();
    }

    /// A request was answered with `status`, and where that is an error, with the code at this
    /// place of the list of codes.
    pub fn answer(
        &self,
        endpoint: Option<usize>,
        status: u16,
        code: Option<usize>,
        took: Duration,
    ) {
        let unmatched = self.endpoints.len().saturating_sub(1);
        if let Some(shard) = self.endpoints.get(endpoint.unwrap_or(unmatched)) {
            let class = usize::from(status / 100).saturating_sub(2).min(CLASSES.len() - 1);
            if let Some(durations) = shard.durations.get(class) {
                durations.observe_time(took);
            }
            if status >= 400 {
                let none = shard.errors.len().saturating_sub(1);
                if let Some(count) = shard.errors.get(code.unwrap_or(none)) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        self.answered.increment();
    }
}

/// Requests, over all workers.
#[derive(Debug)]
pub struct HttpMetrics {
    /// Method and route template, by the endpoint's place.
    endpoints: Vec<(&'static str, String)>,
    codes: Vec<&'static str>,
    shards: Mutex<Vec<Arc<HttpShard>>>,
}

impl HttpMetrics {
    /// Of a server with these endpoints and error codes.
    #[must_use]
    pub fn new(endpoints: Vec<(&'static str, String)>, codes: Vec<&'static str>) -> Self {
        Self { endpoints, codes, shards: Mutex::default() }
    }

    /// A worker's shard. Called once a worker.
    #[must_use]
    pub fn shard(&self) -> Arc<HttpShard> {
        let endpoint = |_| EndpointShard {
            durations: std::array::from_fn(|_| Histogram::latency()),
            errors: (0..=self.codes.len()).map(|_| AtomicU64::new(0)).collect(),
        };
        let shard = Arc::new(HttpShard {
            endpoints: (0..=self.endpoints.len()).map(endpoint).collect(),
            begun: Counter::default(),
            answered: Counter::default(),
            aborted: Counter::default(),
        });
        self.shards.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
        shard
    }

    /// Writes what was counted.
    pub fn expose(&self, out: &mut Exposition) {
        let shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sum = |of: fn(&HttpShard) -> u64| shards.iter().map(|s| of(s)).sum::<u64>();
        // Ends before beginnings: what comes meanwhile is under way rather than less than nothing.
        let (answered, aborted) = (sum(|s| s.answered.get()), sum(|s| s.aborted.get()));
        let in_flight = sum(|s| s.begun.get()).saturating_sub(answered + aborted);
        out.number(&names::HTTP_IN_FLIGHT, &[], in_flight);
        out.number(&names::HTTP_ABORTED, &[], aborted);
        let unmatched = ("OTHER", "unmatched".to_owned());
        for (index, (method, path)) in
            self.endpoints.iter().chain(std::iter::once(&unmatched)).enumerate()
        {
            let endpoints = shards.iter().filter_map(|s| s.endpoints.get(index));
            self.expose_endpoint(out, path, method, &endpoints.collect::<Vec<_>>());
        }
    }

    fn expose_endpoint(
        &self,
        out: &mut Exposition,
        path: &str,
        method: &str,
        shards: &[&EndpointShard],
    ) {
        for (class, status) in CLASSES.into_iter().enumerate() {
            let snapshots = shards.iter().filter_map(|s| s.durations.get(class));
            let merged = snapshots.map(Histogram::snapshot).reduce(|mut all, more| {
                all.merge(&more);
                all
            });
            let Some(merged) = merged else { continue };
            let labels = [("endpoint", path), ("method", method), ("status", status)];
            // Counters that may be alerted on exist before they grow; a redirect is no class of ours.
            if merged.total() > 0 || status != "3xx" {
                out.number(&names::HTTP_REQUESTS, &labels, merged.total());
            }
            if merged.total() > 0 {
                out.distribution(&names::HTTP_SECONDS, &labels, &merged);
            }
        }
        for (index, code) in self.codes.iter().chain(std::iter::once(&NO_CODE)).enumerate() {
            let counts = shards.iter().filter_map(|s| s.errors.get(index));
            let total: u64 = counts.map(|c| c.load(Ordering::Relaxed)).sum();
            if total > 0 {
                let labels = [("endpoint", path), ("method", method), ("code", *code)];
                out.number(&names::HTTP_ERRORS, &labels, total);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(metrics: &HttpMetrics) -> String {
        let mut out = Exposition::default();
        metrics.expose(&mut out);
        String::from_utf8(out.text().expect("text")).expect("utf-8")
    }

    #[test]
    fn workers_add_up_by_endpoint_class_and_code() {
        let endpoints = vec![("GET", "/a/{id}".to_owned()), ("POST", "/a".to_owned())];
        let metrics = HttpMetrics::new(endpoints, vec!["NOT_FOUND", "INTERNAL"]);
        let (one, two) = (metrics.shard(), metrics.shard());
        let millisecond = Duration::from_millis(1);
        for shard in [&one, &two] {
            shard.begin();
            shard.answer(Some(0), 200, None, millisecond);
            shard.begin();
            shard.answer(Some(0), 404, Some(0), millisecond);
        }
        one.begin();
        one.answer(None, 404, None, millisecond);
        two.begin();
        two.begin();
        two.abort();
        let text = text(&metrics);
        for line in [
            "http_requests_total{endpoint=\"/a/{id}\",method=\"GET\",status=\"2xx\"} 2",
            "http_requests_total{endpoint=\"/a/{id}\",method=\"GET\",status=\"5xx\"} 0",
            "http_requests_total{endpoint=\"unmatched\",method=\"OTHER\",status=\"4xx\"} 1",
            "http_errors_total{endpoint=\"/a/{id}\",method=\"GET\",code=\"NOT_FOUND\"} 2",
            "http_errors_total{endpoint=\"unmatched\",method=\"OTHER\",code=\"OTHER\"} 1",
            "http_requests_in_flight 1",
            "http_requests_aborted_total 1",
        ] {
            let line = format!("audience_store_{line}");
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(!text.contains("INTERNAL"));
    }

    #[test]
    fn a_server_that_answered_everything_with_every_code_stays_small() {
        let endpoints = crate_like();
        let codes = vec!["SOME_LONG_CODE_NAME"; 50];
        let metrics = HttpMetrics::new(endpoints, codes);
        let shard = metrics.shard();
        for endpoint in 0..=40 {
            for status in [200, 304, 400, 500] {
                for code in 0..50 {
                    shard.answer(Some(endpoint), status, Some(code), Duration::from_millis(3));
                }
            }
        }
        // A mebibyte is what one scrape may answer with.
        assert!(text(&metrics).len() < 700 * 1024, "{}", text(&metrics).len());
    }

    fn crate_like() -> Vec<(&'static str, String)> {
        (0..40).map(|n| ("DELETE", format!("/api/distributions/{{distribution_id}}/{n}"))).collect()
    }
}
