//! Reports that the server writes by itself, below `reports/`: on growth when a day has ended, on
//! errors when a week has, on performance when a quarter has. So many of each are kept.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{ReportError, Subject, html, report};
use crate::domain::{Micros, Month};
use crate::env::{Env, FileKind};
use crate::metrics::history::{DAY_MICROS, HistoryFiles, day_name, day_of};

const FOLDER: &str = "reports";
/// How often the clock is asked whether another day has begun.
const CLOCK: Duration = Duration::from_secs(1);
/// How long it waits after a failure.
const PAUSE: Duration = Duration::from_mins(1);

/// A report that is due: its kind, what it is of, the last day.
struct Due {
    kind: &'static str,
    subject: Subject,
    last: i64,
}

/// The reports on what has ended before this day: the day before, the last week that ended with a
/// Sunday, the last quarter of the calendar.
fn due(today: i64) -> [Due; 3] {
    // 1970-01-01 was a Thursday.
    let sunday = today - (today + 3).rem_euclid(7) - 1;
    let this = Month::of(Micros::new(today.saturating_mul(DAY_MICROS)));
    let began = this.and_then(|month| Month::new(month.year(), (month.month() - 1) / 3 * 3 + 1));
    let quarter = began.map_or(today, |month| day_of(month.start())) - 1;
    [
        Due { kind: "growth", subject: Subject::Growth { days: 30, top: 0 }, last: today - 1 },
        Due { kind: "errors", subject: Subject::Errors { days: 7 }, last: sunday },
        Due { kind: "performance", subject: Subject::Performance { weeks: 13 }, last: quarter },
    ]
}

/// Writes what is due and not there, and removes the oldest beyond so many of a kind. Answers the
/// names of what it wrote. What the history says nothing of is left out. Blocking.
///
/// # Errors
/// [`ReportError`].
pub fn write_due(env: &Env, root: &Path, most: usize) -> Result<Vec<String>, ReportError> {
    let folder = root.join(FOLDER);
    let kept = HistoryFiles::new(env, root).all()?.days;
    let mut written = Vec::new();
    for Due { kind, subject, last } in due(day_of(env.clock.now())) {
        let name = format!("{kind}-{}.html", day_name(last));
        let path = folder.join(&name);
        let days = match subject {
            Subject::Growth { days, .. } | Subject::Errors { days } => days,
            Subject::Performance { weeks } => weeks * 7,
        };
        let known = kept.iter().any(|d| (last - i64::from(days) + 1..=last).contains(&d.day));
        if !known || env.fs.stat(&path).is_ok() {
            continue;
        }
        let made = report(env, root, subject, Some(last), &mut |_, _| {})?;
        env.fs.create_dir_all(&folder)?;
        env.fs.replace_private(&path, html(&made.document).as_bytes())?;
        bound(env, &folder, kind, most)?;
        written.push(name);
    }
    Ok(written)
}

fn bound(env: &Env, folder: &Path, kind: &str, most: usize) -> io::Result<()> {
    let is_one = |name: &str| {
        let date = name.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        let date = date.and_then(|rest| rest.strip_suffix(".html"));
        date.is_some_and(|date| date.len() == 10 && Micros::parse(date).is_ok())
    };
    let entries = env.fs.list(folder)?.into_iter().filter(|e| e.kind == FileKind::File);
    let mut names: Vec<_> = entries.map(|e| e.name).filter(|name| is_one(name)).collect();
    names.sort_unstable();
    let gone = names.len().saturating_sub(most.max(1));
    for name in names.iter().take(gone) {
        env.fs.remove_file(&folder.join(name))?;
    }
    Ok(())
}

/// Writes what is due, now and whenever a day begins, for as long as the runtime lives.
pub async fn keep(env: Env, root: PathBuf, most: usize) {
    let mut done = None;
    loop {
        let today = day_of(env.clock.now());
        // Once the day has a record, those before it are complete.
        if done != Some(today) && HistoryFiles::new(&env, &root).has(today) {
            let (its, at) = (env.clone(), root.clone());
            match env.blocking(move || write_due(&its, &at, most)).await {
                Ok(Ok(written)) => {
                    done = Some(today);
                    if !written.is_empty() {
                        tracing::info!(?written, "reports written");
                    }
                }
                Ok(Err(error)) => tracing::warn!(%error, "reports could not be written"),
                Err(error) => tracing::warn!(%error, "reports could not be made"),
            }
            if done != Some(today) {
                tokio::time::sleep(PAUSE).await;
            }
        }
        tokio::time::sleep(CLOCK).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::env::Clock;
    use crate::metrics::history::Day;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Micros {
            Micros::new(self.0.load(Ordering::Relaxed) * DAY_MICROS + 5)
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    fn day(date: &str) -> i64 {
        day_of(Micros::parse(date).expect("date"))
    }

    #[test]
    fn weeks_end_on_sundays_and_quarters_with_the_calendars() {
        for (today, growth, errors, performance) in [
            ("2026-11-24", "2026-11-23", "2026-11-22", "2026-09-30"),
            ("2026-11-23", "2026-11-22", "2026-11-22", "2026-09-30"),
            ("2026-11-22", "2026-11-21", "2026-11-15", "2026-09-30"),
            ("2027-01-01", "2026-12-31", "2026-12-27", "2026-12-31"),
            ("2024-03-31", "2024-03-30", "2024-03-24", "2023-12-31"),
        ] {
            let lasts = due(day(today)).map(|due| day_name(due.last));
            assert_eq!(lasts, [growth, errors, performance], "{today}");
        }
    }

    #[test]
    fn each_is_written_once_and_so_many_are_kept() {
        let folder = tempfile::tempdir().expect("folder");
        let clock = Arc::new(Hand(AtomicI64::new(day("2026-11-01"))));
        let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
        env.fs.create_dir_all(&folder.path().join("log")).expect("a store");
        let write = || write_due(&env, folder.path(), 5).expect("written");
        assert_eq!(write(), [""; 0], "nothing is known of these days");
        let files = HistoryFiles::new(&env, folder.path());
        for n in day("2026-09-20")..day("2027-01-20") {
            files.keep(&Day::empty(n)).expect("kept");
        }
        let mut all = write();
        assert_eq!(write(), [""; 0], "once");
        for n in day("2026-11-02")..day("2027-01-20") {
            clock.0.store(n, Ordering::Relaxed);
            all.extend(write());
        }
        let of = |kind: &str| all.iter().filter(|name| name.starts_with(kind)).count();
        assert_eq!([of("growth"), of("errors"), of("performance")], [80, 13, 2]);
        let kept = env.fs.list(&folder.path().join(FOLDER)).expect("list");
        assert_eq!(kept.len(), 5 + 5 + 2);
        assert!(kept.iter().any(|e| e.name == "growth-2027-01-18.html"));
    }
}
