//! What a scrape would show, as far as history keeps it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prometheus::proto::Metric;

use super::day::{Day, Times};
use crate::metrics::names::{self, Kind, Name};
use crate::metrics::{Exposition, names as n};

/// Counters and histograms whose growth is kept, and numbers of which the last one is.
static KEPT: &[&Name] = &[
    &n::HTTP_SECONDS,
    &n::HTTP_ERRORS,
    &n::HTTP_ABORTED,
    &n::REFUSED,
    &n::DENIED,
    &n::AUDIT_NOT_LISTED,
    &n::AUDIT_FAILED,
    &n::RECORDS_WRITTEN,
    &n::LOG_RECORDS,
    &n::LOG_BATCHES,
    &n::LOG_WRITTEN_BYTES,
    &n::LOG_FSYNC_SECONDS,
    &n::LOG_STORAGE_FULL,
    &n::LOG_FAILED,
    &n::LOG_BYTES,
    &n::CHECKPOINTS,
    &n::CHECKPOINT_SECONDS,
    &n::CHECKPOINT_OUT,
    &n::PARTITIONS_RESTARTED,
    &n::PARTITION_EXITS,
    &n::UNREADABLE_FILES,
    &n::CACHE_HITS,
    &n::CACHE_MISSES,
    &n::STORAGE_ERRORS,
    &n::STORAGE_READ,
    &n::STORAGE_WRITTEN,
    &n::SCRUB_FILES,
    &n::SCRUB_DAMAGED,
    &n::USAGE_USERS,
    &n::USAGE_BYTES,
    &n::USAGE_FILES,
    &n::USAGE_PARTITIONS,
    &n::USAGE_TABLE_USERS,
    &n::USAGE_TIMESTAMP,
    &n::ACTIVE_USERS,
];

/// A process's numbers at one moment.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Sample {
    counts: BTreeMap<String, u64>,
    times: BTreeMap<String, Times>,
    last: BTreeMap<String, u64>,
}

impl Sample {
    /// Reads what a scrape would show.
    #[must_use]
    pub fn of(exposition: &Exposition) -> Self {
        let mut sample = Self::default();
        for name in KEPT {
            for metric in exposition.metrics(name) {
                let Some(key) = key(name, metric) else { continue };
                match name.kind {
                    Kind::Counter => {
                        let count = whole(metric.get_counter().get_value());
                        if count > 0 {
                            sample.counts.insert(key, count);
                        }
                    }
                    Kind::Histogram => {
                        let times = times(metric);
                        if times.total() > 0 {
                            sample.times.insert(key, times);
                        }
                    }
                    Kind::Gauge => {
                        sample.last.insert(key, whole(metric.get_gauge().get_value()));
                    }
                }
            }
        }
        // Before the first look at what users store, nothing is known of it.
        if sample.last.get(names::USAGE_TIMESTAMP.name) == Some(&0) {
            sample.last.retain(|key, _| !key.starts_with("usage_"));
        }
        sample
    }

    /// Notes a number that no metric shows.
    pub fn note(&mut self, key: &'static str, value: u64) {
        self.last.insert(key.to_owned(), value);
    }

    /// What grew since an earlier sample of the same process, and what goes up and down as it is.
    #[must_use]
    pub fn since(&self, before: &Self) -> Day {
        let grown = |(key, count): (&String, &u64)| {
            let grown = count.saturating_sub(before.counts.get(key).copied().unwrap_or(0));
            (grown > 0).then(|| (key.clone(), grown))
        };
        let measured = |(key, times): (&String, &Times)| {
            let since = times.since(before.times.get(key));
            (since.total() > 0).then(|| (key.clone(), since))
        };
        Day {
            counts: self.counts.iter().filter_map(grown).collect(),
            times: self.times.iter().filter_map(measured).collect(),
            last: self.last.clone(),
            ..Day::default()
        }
    }
}

/// Name and labels. `None` where a label could not be read back, which no route and no code is.
fn key(name: &Name, metric: &Metric) -> Option<String> {
    let mut key = name.name.to_owned();
    let labels = metric.get_label();
    if !labels.is_empty() {
        for (index, pair) in labels.iter().enumerate() {
            if pair.value().contains(['"', '\\', '\n']) {
                return None;
            }
            let before = if index == 0 { '{' } else { ',' };
            write!(key, "{before}{}=\"{}\"", pair.name(), pair.value()).ok()?;
        }
        key.push('}');
    }
    Some(key)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts are whole")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn times(metric: &Metric) -> Times {
    let histogram = metric.get_histogram();
    let mut times = Times { sum_ns: whole(histogram.get_sample_sum() * 1e9), ..Times::default() };
    let mut seen = 0;
    for bucket in histogram.get_bucket() {
        let count = bucket.cumulative_count().saturating_sub(seen);
        seen = bucket.cumulative_count();
        if count > 0 {
            times.le.insert(whole(bucket.upper_bound() * 1e9), count);
        }
    }
    times.above = histogram.get_sample_count().saturating_sub(seen);
    times
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Histogram;

    fn exposition(count: u64, fsyncs: &Histogram, surveyed: u64) -> Exposition {
        let mut out = Exposition::default();
        let labels = [("table", "audiences"), ("change", "created")];
        out.number(&n::RECORDS_WRITTEN, &labels, count);
        out.number(&n::USAGE_USERS, &[], 5);
        out.number(&n::USAGE_TIMESTAMP, &[], surveyed);
        out.number(&n::LOG_BYTES, &[], 100 + count);
        out.number(&n::READY, &[], 1);
        out.distribution(&n::LOG_FSYNC_SECONDS, &[], &fsyncs.snapshot());
        out
    }

    #[test]
    fn samples_of_one_process_add_up_to_what_it_counted() {
        let fsyncs = Histogram::latency();
        let mut before = Sample::default();
        let mut all = Day::default();
        for step in 1..=5_u64 {
            fsyncs.observe_time(Duration::from_micros(300));
            fsyncs.observe_time(Duration::from_secs(step * 4));
            let sample = Sample::of(&exposition(step * 3, &fsyncs, step));
            all.add(&sample.since(&before));
            before = sample;
        }
        let key = "records_written_total{table=\"audiences\",change=\"created\"}";
        assert_eq!((all.count(key), all.value("log_bytes")), (15, Some(115)));
        let times = &all.times["log_fsync_duration_seconds"];
        assert_eq!((times.total(), times.above, times.le[&500_000]), (10, 3, 5));
        assert_eq!((times.le[&5_000_000_000], times.le[&10_000_000_000]), (1, 1));
        assert_eq!(times.sum_ns, 60_001_500_000);
        assert!(!all.last.contains_key("ready"), "not kept");
    }

    #[test]
    fn what_users_store_is_unknown_before_it_was_looked_at() {
        let before = Sample::of(&exposition(1, &Histogram::latency(), 0));
        assert!(!before.last.contains_key("usage_users"));
        let after = Sample::of(&exposition(1, &Histogram::latency(), 9));
        assert_eq!(after.last.get("usage_users"), Some(&5));
    }

    #[test]
    fn every_kept_histogram_is_of_times() {
        let kept = KEPT.iter().filter(|name| name.kind == Kind::Histogram);
        assert!(kept.clone().count() == 3 && kept.clone().all(|n| n.name.ends_with("_seconds")));
    }
}
