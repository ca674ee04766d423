//! Refused requests, as the audit trail has them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::history::Period;
use crate::audit::{PageError, Query, Trail, page};
use crate::domain::Micros;
use crate::env::Env;
use crate::metrics::history::day_of;

/// Lines read at once.
const LINES: usize = 1000;

/// Refusals of one period.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Refusals {
    /// By code and route, as lines of their own.
    pub listed: BTreeMap<(String, String), u64>,
    /// By code, those that have no line.
    pub not_listed: BTreeMap<String, u64>,
}

impl Refusals {
    /// All of a code.
    #[must_use]
    pub fn of_code(&self, code: &str) -> u64 {
        let listed = self.listed.iter().filter(|((of, _), _)| of == code).map(|(_, count)| count);
        listed.sum::<u64>() + self.not_listed.get(code).copied().unwrap_or(0)
    }

    /// The codes, the most frequent first.
    #[must_use]
    pub fn codes(&self) -> Vec<(String, u64)> {
        let codes = self.listed.keys().map(|(code, _)| code).chain(self.not_listed.keys());
        let mut codes: Vec<_> = codes.cloned().collect();
        codes.sort_unstable();
        codes.dedup();
        let mut counted: Vec<_> = codes.into_iter().map(|c| (self.of_code(&c), c)).collect();
        counted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        counted.into_iter().map(|(count, code)| (code, count)).collect()
    }
}

/// What the trail says.
#[derive(Clone, Default, Debug)]
pub struct Trailed {
    /// Of the period.
    pub now: Refusals,
    /// Of the one before.
    pub before: Refusals,
    /// The oldest line's moment, where the trail does not reach back to the period before.
    pub since: Option<Micros>,
}

/// Reads the trail of the store in `root`, newest first, as far as the period before goes.
///
/// # Errors
/// [`PageError`] where it cannot be read.
pub fn read(env: &Env, root: &Path, period: Period) -> Result<Trailed, PageError> {
    let trail = Trail::new(Arc::clone(&env.fs), root, None);
    let before = period.before();
    let mut found = Trailed::default();
    let mut oldest = None;
    let mut query = Query { limit: LINES, ..Query::default() };
    loop {
        let read = page::read(&trail, &query)?;
        for line in &read.lines {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or("?");
            let Ok(at) = Micros::parse(text("time")) else { continue };
            oldest = Some(at);
            let day = day_of(at);
            let side = match day {
                _ if period.holds(day) => &mut found.now,
                _ if before.holds(day) => &mut found.before,
                // Clocks of commands may differ by a little, not by a day.
                _ if day < before.first - 1 => return Ok(found),
                _ => continue,
            };
            let code = text("code").to_owned();
            match text("action") {
                "denied" => {
                    let route = format!("{} {}", text("method"), text("route"));
                    *side.listed.entry((code, route)).or_default() += 1;
                }
                "denied_not_listed" => {
                    let count = line.get("count").and_then(Value::as_u64).unwrap_or(0);
                    *side.not_listed.entry(code).or_default() += count;
                }
                _ => {}
            }
        }
        match read.next {
            Some(next) => query.after = Some(next),
            None => break,
        }
    }
    found.since = oldest;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, Denied, Event, Via};
    use crate::metrics::history::DAY_MICROS;

    #[test]
    fn refusals_are_counted_by_period_code_and_route() {
        let folder = tempfile::tempdir().expect("folder");
        let env = Env::system();
        let trail = Trail::new(Arc::clone(&env.fs), folder.path(), None);
        let denied = |code| Denied {
            by: Actor { user: None, via: Via::Nothing },
            status: 401,
            code,
            method: "GET",
            route: "/api/audiences".to_owned(),
            peer: None,
        };
        let mut lines = String::new();
        for day in 19_980..=20_007 {
            for (code, times) in [("TOKEN_EXPIRED", 2), ("UNAUTHENTICATED", day % 3)] {
                for _ in 0..times {
                    lines.push_str(
                        &Event::denied(&denied(code)).line(Micros::new(day * DAY_MICROS)),
                    );
                }
            }
        }
        let more = Event::not_listed("TOKEN_EXPIRED", 40, Micros::new(0));
        lines.push_str(&more.line(Micros::new(20_006 * DAY_MICROS)));
        lines.push_str("{\"torn");
        trail.append(lines.as_bytes(), false).expect("written");
        let found = read(&env, folder.path(), Period::ending(20_006, 7)).expect("read");
        assert_eq!(found.now.of_code("TOKEN_EXPIRED"), 14 + 40);
        assert_eq!(
            found.before.codes(),
            [("TOKEN_EXPIRED".to_owned(), 14), ("UNAUTHENTICATED".to_owned(), 7)]
        );
        assert_eq!(found.since, None, "it reaches back far enough");
        let found = read(&env, folder.path(), Period::ending(19_990, 20)).expect("read");
        assert_eq!(found.since, Some(Micros::new(19_980 * DAY_MICROS)));
        assert_eq!(found.now.of_code("TOKEN_EXPIRED"), 22);
    }
}
