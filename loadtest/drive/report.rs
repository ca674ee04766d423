//! What a run found, for people and for scripts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::histogram::Histogram;

/// What one thread, or a whole run, has counted.
pub struct Tally {
    /// Latencies of good answers to requests that began in the measurement.
    pub latencies: Histogram,
    /// Good answers that arrived in the measurement.
    pub answers: u64,
    /// Answers with another status than expected, by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without an answer, by reason.
    pub failures: BTreeMap<String, u64>,
    /// Bytes of the good answers' bodies.
    pub body_bytes: u64,
}

impl Tally {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self {
            latencies: Histogram::new(),
            answers: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            body_bytes: 0,
        }
    }

    /// Adds what another thread counted.
    pub fn merge(&mut self, other: Self) {
        self.latencies.merge(&other.latencies);
        self.answers += other.answers;
        self.body_bytes += other.body_bytes;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (reason, count) in other.failures {
            *self.failures.entry(reason).or_default() += count;
        }
    }
}

/// CPU time and memory over the measurement.
#[derive(Default, Serialize)]
pub struct Cost {
    /// CPU seconds of the driver.
    pub driver_cpu_seconds: Option<f64>,
    /// CPU seconds of the server.
    pub server_cpu_seconds: Option<f64>,
    /// Resident bytes of the server at the end.
    pub server_resident_bytes: Option<u64>,
}

/// Latencies in microseconds.
#[derive(Serialize)]
pub struct Latencies {
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// A run's result.
#[derive(Serialize)]
pub struct Report {
    scenario: &'static str,
    connections: usize,
    requests_prepared: usize,
    threads: usize,
    rate_asked: Option<f64>,
    seconds: f64,
    answers: u64,
    per_second: f64,
    latency_us: Latencies,
    body_bytes_mean: f64,
    errors: u64,
    errors_by_status: BTreeMap<u16, u64>,
    errors_without_answer: BTreeMap<String, u64>,
    #[serde(flatten)]
    cost: Cost,
    server_cpu_us_per_answer: Option<f64>,
}

/// How a run was set up.
pub struct Setup {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Connections.
    pub connections: usize,
    /// Different requests.
    pub requests_prepared: usize,
    /// Driver threads.
    pub threads: usize,
    /// Requests due a second, in an open loop.
    pub rate: Option<f64>,
}

#[allow(clippy::cast_precision_loss, reason = "figures for people: 15 digits are enough")]
fn float(value: u64) -> f64 {
    value as f64
}

impl Report {
    /// The result of a run of `seconds`.
    pub fn new(setup: &Setup, seconds: f64, tally: Tally, cost: Cost) -> Self {
        let micros = |nanos: u64| float(nanos) / 1000.0;
        let latencies = &tally.latencies;
        let errors = tally.statuses.values().chain(tally.failures.values()).sum();
        let answers = float(tally.answers.max(1));
        Self {
            scenario: setup.scenario,
            connections: setup.connections,
            requests_prepared: setup.requests_prepared,
            threads: setup.threads,
            rate_asked: setup.rate,
            seconds,
            answers: tally.answers,
            per_second: float(tally.answers) / seconds.max(1e-9),
            latency_us: Latencies {
                mean: micros(latencies.mean()),
                p50: micros(latencies.quantile(500)),
                p90: micros(latencies.quantile(900)),
                p99: micros(latencies.quantile(990)),
                p999: micros(latencies.quantile(999)),
                max: micros(latencies.max()),
            },
            body_bytes_mean: float(tally.body_bytes) / answers,
            errors,
            errors_by_status: tally.statuses,
            errors_without_answer: tally.failures,
            server_cpu_us_per_answer: cost.server_cpu_seconds.map(|cpu| cpu * 1e6 / answers),
            cost,
        }
    }

    /// Requests that did not get a good answer.
    pub fn errors(&self) -> u64 {
        self.errors
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Latencies { mean, p50, p90, p99, p999, max } = &self.latency_us;
        let (answers, seconds) = (self.answers, self.seconds);
        writeln!(f, "{:<10} {:>12.0} /s", self.scenario, self.per_second)?;
        writeln!(f, "{:<10} {answers:>12} in {seconds:.2} s", "answers")?;
        writeln!(f, "{:<10} {:>12.0} bytes", "body", self.body_bytes_mean)?;
        for (name, micros) in [
            ("mean", mean),
            ("p50", p50),
            ("p90", p90),
            ("p99", p99),
            ("p99.9", p999),
            ("max", max),
        ] {
            writeln!(f, "{name:<10} {:>12.3} ms", micros / 1000.0)?;
        }
        if let Some(cpu) = self.cost.driver_cpu_seconds {
            writeln!(f, "{:<10} {:>12.2} cores", "driver", cpu / seconds)?;
        }
        if let (Some(cpu), Some(each)) =
            (self.cost.server_cpu_seconds, self.server_cpu_us_per_answer)
        {
            writeln!(f, "{:<10} {:>12.2} cores, {each:.1} µs an answer", "server", cpu / seconds)?;
        }
        write!(f, "{:<10} {:>12}", "errors", self.errors)?;
        for (status, count) in &self.errors_by_status {
            write!(f, "\n  status {status}: {count}")?;
        }
        for (reason, count) in &self.errors_without_answer {
            write!(f, "\n  {reason}: {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up() {
        let mut all = Tally::new();
        for thread in 1..=2_u64 {
            let mut tally = Tally::new();
            tally.answers = 500 * thread;
            tally.latencies.record(2_000_000 * thread);
            tally.statuses.insert(503, thread);
            tally.failures.insert("closed".into(), 1);
            all.merge(tally);
        }
        let setup = Setup {
            scenario: "save",
            connections: 8,
            requests_prepared: 1,
            threads: 2,
            rate: None,
        };
        let cost = Cost { server_cpu_seconds: Some(0.3), ..Cost::default() };
        let report = serde_json::to_value(Report::new(&setup, 3.0, all, cost)).expect("json");
        assert_eq!(report["per_second"], 500.0);
        assert_eq!(report["errors"], 5);
        assert_eq!(report["errors_by_status"]["503"], 3);
        assert_eq!(report["latency_us"]["max"], 4000.0);
        assert_eq!(report["server_cpu_us_per_answer"], 200.0);
        assert_eq!(report["driver_cpu_seconds"], serde_json::Value::Null);
    }
}
