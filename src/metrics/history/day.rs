//! A day's record, and how records add up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::DAY_MICROS;
use crate::domain::Micros;

/// The day of a moment, in days since 1970 (UTC).
#[must_use]
pub fn day_of(at: Micros) -> i64 {
    at.get().div_euclid(DAY_MICROS)
}

/// A day as `2026-11-24`.
#[must_use]
pub fn day_name(day: i64) -> String {
    let mut text = Micros::new(day.saturating_mul(DAY_MICROS)).to_string();
    text.truncate(10);
    text
}

/// Times that were measured, by size.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Times {
    /// Upper bounds in nanoseconds, each with how many times lie in its bucket: above the bound
    /// before, not above this one. Empty buckets are left out.
    pub le: BTreeMap<u64, u64>,
    /// Times above all bounds.
    pub above: u64,
    /// The sum of all, in nanoseconds.
    pub sum_ns: u64,
}

impl Times {
    /// How many times were measured.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.le.values().fold(self.above, |sum, count| sum.saturating_add(*count))
    }

    /// Adds what another one measured; bounds may differ.
    pub fn add(&mut self, other: &Self) {
        for (bound, count) in &other.le {
            add(self.le.entry(*bound).or_default(), *count);
        }
        add(&mut self.above, other.above);
        add(&mut self.sum_ns, other.sum_ns);
    }

    /// What was measured since an earlier look at the same times.
    #[must_use]
    pub fn since(&self, before: Option<&Self>) -> Self {
        let Some(before) = before else { return self.clone() };
        let grown = |(bound, count): (&u64, &u64)| {
            let grown = count.saturating_sub(before.le.get(bound).copied().unwrap_or(0));
            (grown > 0).then_some((*bound, grown))
        };
        Self {
            le: self.le.iter().filter_map(grown).collect(),
            above: self.above.saturating_sub(before.above),
            sum_ns: self.sum_ns.saturating_sub(before.sum_ns),
        }
    }

    /// The time that a share `q` of all is not above, in nanoseconds, as Prometheus estimates it:
    /// evenly spread within a bucket. `None` without times; [`f64::INFINITY`] where it lies above
    /// all bounds.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let total = self.total();
        if total == 0 {
            return None;
        }
        let rank = q * total as f64;
        let (mut seen, mut low) = (0.0, 0.0);
        for (bound, count) in &self.le {
            let (bound, count) = (*bound as f64, *count as f64);
            // Empty buckets are left out, so the one before may be missing: bounds double at least.
            let from: f64 = f64::max(low, lower(bound));
            if seen + count >= rank {
                return Some(from + (bound - from) * ((rank - seen) / count).clamp(0.0, 1.0));
            }
            seen += count;
            low = bound;
        }
        Some(f64::INFINITY)
    }
}

/// The bound below a bound of [`super::super::histogram::LATENCY`]; 0 for others.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn lower(bound: f64) -> f64 {
    let bounds = super::super::histogram::LATENCY.iter().map(|bound| *bound as f64);
    bounds.take_while(|b| *b < bound).last().unwrap_or(0.0)
}

/// What a server counted on one day, UTC. Keys are names as in `/metrics`, without the prefix, with
/// their labels: `records_written_total{table="audiences",change="created"}`.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Day {
    /// In days since 1970.
    pub day: i64,
    /// When the first count was added, in microseconds since 1970.
    pub from: i64,
    /// When the last one was.
    pub to: i64,
    /// Seconds of the day that a server ran and counted.
    pub seconds: u64,
    /// Starts of the server.
    pub starts: u64,
    /// Clean stops.
    pub stops: u64,
    /// Starts after an end that was none: a kill, a crash, a power loss.
    pub unclean: u64,
    /// Numbers that grew, by how much.
    pub counts: BTreeMap<String, u64>,
    /// Times that were measured.
    pub times: BTreeMap<String, Times>,
    /// Numbers that go up and down, as they were last.
    pub last: BTreeMap<String, u64>,
}

impl Day {
    /// Nothing yet.
    #[must_use]
    pub fn empty(day: i64) -> Self {
        Self { day, ..Self::default() }
    }

    /// Adds what another record counted. The day stays; what goes up and down is of the later one.
    pub fn add(&mut self, other: &Self) {
        let is_later = other.to >= self.to;
        if other.to != 0 {
            let from = if self.to == 0 { other.from } else { self.from.min(other.from) };
            (self.from, self.to) = (from, self.to.max(other.to));
        }
        for (mine, theirs) in [
            (&mut self.seconds, other.seconds),
            (&mut self.starts, other.starts),
            (&mut self.stops, other.stops),
            (&mut self.unclean, other.unclean),
        ] {
            add(mine, theirs);
        }
        for (key, count) in &other.counts {
            add(self.counts.entry(key.clone()).or_default(), *count);
        }
        for (key, times) in &other.times {
            self.times.entry(key.clone()).or_default().add(times);
        }
        for (key, value) in &other.last {
            if is_later || !self.last.contains_key(key) {
                self.last.insert(key.clone(), *value);
            }
        }
    }

    /// Everything of several days together.
    #[must_use]
    pub fn together<'a>(days: impl IntoIterator<Item = &'a Self>) -> Self {
        days.into_iter().fold(Self::default(), |mut all, day| {
            all.add(day);
            all
        })
    }

    /// A count by its whole key.
    #[must_use]
    pub fn count(&self, key: &str) -> u64 {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// The counts of a name, each with its labels.
    pub fn counted<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (BTreeMap<&'a str, &'a str>, u64)> {
        self.counts.iter().filter_map(move |(key, count)| Some((labels(key, name)?, *count)))
    }

    /// All counts of a name together.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        self.counted(name).fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// The times of a name, each with its labels.
    pub fn timed<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (BTreeMap<&'a str, &'a str>, &'a Times)> {
        self.times.iter().filter_map(move |(key, times)| Some((labels(key, name)?, times)))
    }

    /// All values of a name that goes up and down, together, as they were last; `None` where none
    /// was noted.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<u64> {
        let mut values = self.last.iter().filter(|(key, _)| labels(key, name).is_some());
        let (_, first) = values.next()?;
        Some(values.fold(*first, |sum, (_, value)| sum.saturating_add(*value)))
    }
}

fn add(to: &mut u64, more: u64) {
    *to = to.saturating_add(more);
}

/// The labels of a key, where it is of this name. Values hold no quotes: `sample` lets none in.
fn labels<'a>(key: &'a str, name: &str) -> Option<BTreeMap<&'a str, &'a str>> {
    let rest = key.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(BTreeMap::new());
    }
    let inner = rest.strip_prefix('{')?.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    for pair in inner.split_terminator('"').collect::<Vec<_>>().chunks(2) {
        let [name, value] = pair else { return None };
        labels.insert(name.trim_start_matches(',').strip_suffix('=')?, *value);
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn times(le: &[(u64, u64)], above: u64) -> Times {
        Times { le: le.iter().copied().collect(), above, sum_ns: 7 }
    }

    #[test]
    fn labels_are_read_back_whatever_a_route_looks_like() {
        let key = "http_errors_total{endpoint=\"/api/a/{id}\",method=\"GET\",code=\"NOT_FOUND\"}";
        let found = labels(key, "http_errors_total").expect("labels");
        let wanted = [("code", "NOT_FOUND"), ("endpoint", "/api/a/{id}"), ("method", "GET")];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted);
        assert_eq!(labels("log_bytes", "log_bytes"), Some(BTreeMap::new()));
        assert_eq!(labels("log_bytes_more", "log_bytes"), None);
        assert_eq!(labels("log_bytes{", "log_bytes"), None);
        assert_eq!(labels("log_bytes{a}", "log_bytes"), None);
    }

    #[test]
    fn quantiles_are_those_of_prometheus() {
        let times = times(&[(1_000_000, 50), (2_500_000, 50)], 0);
        // histogram_quantile(0.5, …) is 1 ms, 0.95 nine tenths of the way from 1 ms to 2.5 ms.
        assert_eq!(times.quantile(0.5), Some(1_000_000.0));
        assert_eq!(times.quantile(0.95), Some(2_350_000.0));
        // The buckets between are empty and left out; the lower bound is not.
        let far = super::tests::times(&[(250_000, 1), (1_000_000_000, 99)], 0);
        let median = far.quantile(0.5).expect("times");
        assert!((500_000_000.0..1_000_000_000.0).contains(&median), "{median}");
        assert_eq!(super::tests::times(&[(250_000, 1)], 99).quantile(0.5), Some(f64::INFINITY));
        assert_eq!(Times::default().quantile(0.5), None);
    }

    #[test]
    fn what_goes_up_and_down_is_of_the_later_one_whichever_comes_first() {
        let day = |to, value| Day {
            to,
            from: to - 1,
            last: BTreeMap::from([("log_bytes".to_owned(), value)]),
            ..Day::default()
        };
        for (one, other) in [(day(10, 1), day(20, 2)), (day(20, 2), day(10, 1))] {
            let both = Day::together([&one, &other]);
            assert_eq!((both.value("log_bytes"), both.from, both.to), (Some(2), 9, 20));
        }
    }

    fn any_day() -> impl Strategy<Value = Day> {
        let key = prop::sample::select(vec!["a", "b{c=\"d\"}", "b{c=\"e\"}"]);
        let count = 0..u64::MAX / 64;
        let le = prop::collection::btree_map(0..8_u64, count.clone(), 0..4);
        let times = (le, count.clone(), count.clone()).prop_map(|(le, above, sum_ns)| Times {
            le,
            above,
            sum_ns,
        });
        let counts =
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), count.clone(), 0..4);
        let times = prop::collection::btree_map(key.prop_map(str::to_owned), times, 0..4);
        (counts, times, 0..1000_u64, 0..5_u64).prop_map(|(counts, times, seconds, starts)| Day {
            seconds,
            starts,
            counts,
            times,
            ..Day::default()
        })
    }

    proptest! {
        #[test]
        fn folding_days_loses_no_count_however_they_are_grouped(
            days in prop::collection::vec(any_day(), 0..12),
            cut in 0..12_usize,
        ) {
            let all = Day::together(&days);
            let (first, rest) = days.split_at(cut.min(days.len()));
            let grouped = Day::together([&Day::together(rest), &Day::together(first)]);
            prop_assert_eq!(&all.counts, &grouped.counts);
            prop_assert_eq!(&all.times, &grouped.times);
            prop_assert_eq!((all.seconds, all.starts), (grouped.seconds, grouped.starts));
            for key in ["a", "b{c=\"d\"}", "b{c=\"e\"}"] {
                let of = |day: &Day| day.times.get(key).map_or(0, Times::total);
                prop_assert_eq!(all.count(key), days.iter().map(|d| d.count(key)).sum::<u64>());
                prop_assert_eq!(of(&all), days.iter().map(of).sum::<u64>());
            }
        }

        #[test]
        fn a_look_and_what_came_since_are_all(one in any_day(), two in any_day()) {
            for (key, before) in &one.times {
                let mut now = before.clone();
                now.add(two.times.get(key).unwrap_or(&Times::default()));
                let mut again = now.since(Some(before));
                again.add(before);
                again.le.retain(|_, count| *count > 0);
                now.le.retain(|_, count| *count > 0);
                prop_assert_eq!(again, now);
            }
        }
    }
}
