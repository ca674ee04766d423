//! The history as reports see it: days of a period, and what is missing of them.

use std::collections::BTreeMap;

use super::document::Document;
use super::show;
use crate::domain::Micros;
use crate::metrics::history::{Day, Found, day_name};

/// Days, both ends included, in days since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period {
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

impl Period {
    /// So many days that end with this one.
    #[must_use]
    pub fn ending(last: i64, days: u32) -> Self {
        Self { first: last.saturating_sub(i64::from(days.max(1)) - 1), last }
    }

    /// As many days before it.
    #[must_use]
    pub fn before(self) -> Self {
        let days = self.last - self.first + 1;
        Self { first: self.first - days, last: self.first - 1 }
    }

    /// Whether a day is in it.
    #[must_use]
    pub fn holds(self, day: i64) -> bool {
        (self.first..=self.last).contains(&day)
    }

    /// Its days.
    pub fn days(self) -> impl Iterator<Item = i64> {
        self.first..=self.last
    }

    /// `2026-11-18 to 2026-11-24`
    #[must_use]
    pub fn shown(self) -> String {
        format!("{} to {}", day_name(self.first), day_name(self.last))
    }
}

/// The history of a store.
pub struct History {
    /// Days that were kept, by day.
    pub days: BTreeMap<i64, Day>,
    /// Files that cannot be used, and why.
    pub damaged: Vec<(String, String)>,
    /// Whether a server runs, or ended without saying so.
    pub is_running: bool,
    /// Now.
    pub now: Micros,
}

impl History {
    /// What was found.
    #[must_use]
    pub fn new(found: Found, is_running: bool, now: Micros) -> Self {
        let days = found.days.into_iter().map(|day| (day.day, day)).collect();
        Self { days, damaged: found.damaged, is_running, now }
    }

    /// Everything of a period together.
    #[must_use]
    pub fn together(&self, period: Period) -> Day {
        Day::together(self.of(period))
    }

    /// The days of a period that were kept.
    pub fn of(&self, period: Period) -> impl Iterator<Item = &Day> {
        self.days.range(period.first..=period.last.max(period.first)).map(|(_, day)| day)
    }

    /// A report that is not written yet: what it is of, and what a reader must know first.
    #[must_use]
    pub fn document(&self, title: &str, period: Period) -> Document {
        let kept = self.of(period).count();
        let whole = usize::try_from(period.last - period.first + 1).unwrap_or(usize::MAX);
        let mut second = self.now.to_string();
        second.truncate(19);
        let mut document = Document {
            title: title.to_owned(),
            subtitle: format!("{} (UTC), made at {second}Z", period.shown()),
            ..Document::default()
        };
        let notes = &mut document.notes;
        if kept == 0 {
            let rest = match (self.days.first_key_value(), self.days.last_key_value()) {
                (Some((first, _)), Some((last, _))) => {
                    format!("the history has days from {} to {}", day_name(*first), day_name(*last))
                }
                _ => "the server writes it while it runs".to_owned(),
            };
            notes.push(format!("There is no history of these days: {rest}."));
        } else if kept < whole {
            notes.push(format!(
                "The history has {kept} of these {whole} days; on the others no server ran, or none \
                 that keeps a history."
            ));
        }
        if self.is_running
            && let Some((_, day)) = self.days.last_key_value()
        {
            let ago = self.now.get().saturating_sub(day.to) / 1_000_000;
            if let Ok(ago @ 180..) = u64::try_from(ago) {
                notes.push(format!(
                    "A server runs, or was killed; its last counts are {} old.",
                    show::span(ago)
                ));
            }
        }
        for (file, why) in &self.damaged {
            notes.push(format!(
                "metrics/history/{file} is not used: {why}. Its day is missing here."
            ));
        }
        document
    }
}

/// Requests and answers of one endpoint.
#[derive(Clone, Default, Debug)]
pub struct Endpoint {
    /// All of them.
    pub requests: u64,
    /// Those answered with 4xx.
    pub refused: u64,
    /// Those answered with 5xx.
    pub failed: u64,
    /// Times of those answered with 2xx or 3xx.
    pub times: crate::metrics::history::Times,
}

/// Requests by method and route template.
#[must_use]
pub fn endpoints(day: &Day) -> BTreeMap<String, Endpoint> {
    let mut all: BTreeMap<String, Endpoint> = BTreeMap::new();
    for (labels, times) in day.timed("http_request_duration_seconds") {
        let label = |name| labels.get(name).copied().unwrap_or("?");
        let endpoint = all.entry(format!("{} {}", label("method"), label("endpoint"))).or_default();
        let count = times.total();
        endpoint.requests += count;
        match label("status") {
            "4xx" => endpoint.refused += count,
            "5xx" => endpoint.failed += count,
            _ => endpoint.times.add(times),
        }
    }
    all
}

/// All endpoints together.
#[must_use]
pub fn all_endpoints(day: &Day) -> Endpoint {
    endpoints(day).into_values().fold(Endpoint::default(), |mut all, endpoint| {
        all.requests += endpoint.requests;
        all.refused += endpoint.refused;
        all.failed += endpoint.failed;
        all.times.add(&endpoint.times);
        all
    })
}

/// The times of a name, whatever their labels, together.
#[must_use]
pub fn times(day: &Day, name: &str) -> crate::metrics::history::Times {
    let mut all = crate::metrics::history::Times::default();
    for (_, times) in day.timed(name) {
        all.add(times);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_follow_each_other_without_a_gap() {
        let week = Period::ending(20_006, 7);
        assert_eq!((week.first, week.days().count()), (20_000, 7));
        assert_eq!(week.before(), Period { first: 19_993, last: 19_999 });
        assert!(week.holds(20_000) && week.holds(20_006) && !week.holds(19_999));
        assert_eq!(week.shown(), "2024-10-04 to 2024-10-10");
    }

    #[test]
    fn an_empty_history_gaps_and_damage_are_said() {
        let period = Period::ending(20_006, 7);
        let now = Micros::new(20_006 * 86_400_000_000);
        let empty = History::new(Found::default(), false, now);
        assert!(empty.document("T", period).notes[0].starts_with("There is no history of these"));
        let days = vec![Day::empty(20_003)];
        let damaged = vec![("2024-10-05.json".to_owned(), "its checksum".to_owned())];
        let some = History::new(Found { days, damaged }, true, now);
        let notes = some.document("T", period).notes;
        assert!(notes[0].contains("has 1 of these 7 days"), "{notes:?}");
        assert!(
            notes[1].contains("was killed") && notes[2].contains("2024-10-05.json"),
            "{notes:?}"
        );
    }
}
