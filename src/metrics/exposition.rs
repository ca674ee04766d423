//! Metrics as Prometheus reads them.

use std::collections::BTreeMap;

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

use super::histogram::Snapshot;
use super::names::{Kind, Name, PREFIX};

/// What one scrape answers with, as it grows. Families are sorted by name.
#[derive(Default)]
pub struct Exposition {
    families: BTreeMap<&'static str, MetricFamily>,
    foreign: Vec<MetricFamily>,
}

/// Labels with their values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// The content type of [`Exposition::text`].
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;

    /// Adds a number.
    #[allow(clippy::cast_precision_loss, reason = "metrics are floating point")]
    pub fn number(&mut self, name: &'static Name, labels: Labels<'_>, value: u64) {
        self.value(name, labels, value as f64);
    }

    /// Adds a value.
    pub fn value(&mut self, name: &'static Name, labels: Labels<'_>, value: f64) {
        self.add(name, labels, |metric| match name.kind {
            Kind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            Kind::Gauge | Kind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        });
    }

    /// Adds a distribution.
    pub fn distribution(&mut self, name: &'static Name, labels: Labels<'_>, of: &Snapshot) {
        let bucket = |(bound, seen)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(seen);
            bucket
        };
        let mut histogram = Histogram::default();
        histogram.set_bucket(of.cumulative().into_iter().map(bucket).collect());
        histogram.set_sample_count(of.total());
        histogram.set_sample_sum(of.sum());
        self.add(name, labels, |metric| metric.set_histogram(histogram));
    }

    /// The metrics of a name, each with its labels.
    pub(super) fn metrics(&self, name: &Name) -> &[Metric] {
        self.families.get(name.name).map_or(&[], MetricFamily::get_metric)
    }

    /// Adds families that a library made: they bear their own names.
    pub fn foreign(&mut self, families: Vec<MetricFamily>) {
        self.foreign.extend(families);
    }

    fn add(&mut self, name: &'static Name, labels: Labels<'_>, fill: impl FnOnce(&mut Metric)) {
        let pair = |(label, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*label).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = Metric::from_label(labels.iter().map(pair).collect());
        fill(&mut metric);
        let family = self.families.entry(name.name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(format!("{PREFIX}{}", name.name));
            family.set_help(name.help.to_owned());
            family.set_field_type(match name.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            family
        });
        family.mut_metric().push(metric);
    }

    /// The text.
    ///
    /// # Errors
    /// Where a family is not well formed: a defect.
    pub fn text(self) -> Result<Vec<u8>, prometheus::Error> {
        let families: Vec<_> = self.families.into_values().chain(self.foreign).collect();
        let mut text = Vec::with_capacity(64 * 1024);
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram;
    use super::super::names;
    use super::*;

    #[test]
    fn is_prometheus_text_with_help_type_labels_and_buckets() {
        let mut out = Exposition::default();
        out.number(&names::READY, &[], 1);
        out.number(&names::REFUSED, &[("reason", "a \"b\"")], 7);
        let fsyncs = histogram::Histogram::latency();
        fsyncs.observe(300_000);
        out.distribution(&names::LOG_FSYNC_SECONDS, &[], &fsyncs.snapshot());
        let text = String::from_utf8(out.text().expect("text")).expect("utf-8");
        for line in [
            "# TYPE audience_store_ready gauge",
            "audience_store_ready 1",
            "# TYPE audience_store_refused_total counter",
            "audience_store_refused_total{reason=\"a \\\"b\\\"\"} 7",
            "# TYPE audience_store_log_fsync_duration_seconds histogram",
            "audience_store_log_fsync_duration_seconds_bucket{le=\"0.00025\"} 0",
            "audience_store_log_fsync_duration_seconds_bucket{le=\"0.0005\"} 1",
            "audience_store_log_fsync_duration_seconds_bucket{le=\"+Inf\"} 1",
            "audience_store_log_fsync_duration_seconds_count 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }
}
