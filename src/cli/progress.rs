//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shows how far a run is.
pub struct Progress(Kind);

enum Kind {
    Bar(ProgressBar),
    Lines { out: Box<dyn Write>, unit: &'static str, every: Duration, next: Duration },
}

fn template(unit: &str) -> String {
    format!("{{wide_bar}} {{human_pos}}/{{human_len}} {unit}  {{per_sec}}  {{eta}} left")
}

impl Progress {
    /// On standard error: a bar where it is a terminal, else a line every 5 seconds. `unit` is
    /// what is counted, in the plural.
    #[must_use]
    pub fn on_stderr(terminal: bool, unit: &'static str) -> Self {
        if !terminal {
            return Self::lines(Box::new(io::stderr()), unit, Duration::from_secs(5));
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // The template is fixed; were it wrong, the default style would serve.
        if let Ok(style) = ProgressStyle::with_template(&template(unit)) {
            bar.set_style(style);
        }
        Self(Kind::Bar(bar))
    }

    /// A line to `out` about `every` so often, when something was done.
    #[must_use]
    pub fn lines(out: Box<dyn Write>, unit: &'static str, every: Duration) -> Self {
        Self(Kind::Lines { out, unit, every, next: every })
    }

    /// Tells that `done` of `total` are done, `elapsed` after the start.
    pub fn advance(&mut self, done: u64, total: u64, elapsed: Duration) {
        match &mut self.0 {
            Kind::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Kind::Lines { out, unit, every, next } => {
                if elapsed >= *next {
                    *next = elapsed + *every;
                    // A run goes on when nobody reads of it.
                    let _ = writeln!(out, "{}", line(done, total, unit, elapsed));
                }
            }
        }
    }

    /// Removes the bar, so that what is printed next stands alone.
    pub fn finish(&mut self) {
        if let Kind::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn line(done: u64, total: u64, unit: &str, elapsed: Duration) -> String {
    let rate = per_second(done, elapsed);
    let left = total.saturating_sub(done).checked_div(rate);
    let left = left.map_or_else(String::new, |left| format!(", {} s left", HumanCount(left)));
    format!(
        "{} of {} {unit}, {} {unit}/s{left}",
        HumanCount(done),
        HumanCount(total),
        HumanCount(rate)
    )
}

/// Whole ones a second; a run shorter than a millisecond counts as one.
#[must_use]
pub fn per_second(done: u64, elapsed: Duration) -> u64 {
    let rate = u128::from(done) * 1_000 / elapsed.as_millis().max(1);
    u64::try_from(rate).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_far_and_how_long() {
        let ten = Duration::from_secs(10);
        assert_eq!(
            line(25_000, 100_000, "records", ten),
            "25,000 of 100,000 records, 2,500 records/s, 30 s left"
        );
        assert_eq!(line(0, 9, "users", ten), "0 of 9 users, 0 users/s");
        assert_eq!(per_second(7, Duration::ZERO), 7_000);
    }

    #[test]
    fn a_hidden_bar_takes_progress() {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let mut progress = Progress(Kind::Bar(bar.clone()));
        progress.advance(3, 9, Duration::ZERO);
        assert_eq!((bar.position(), bar.length()), (3, Some(9)));
        progress.finish();
        assert!(bar.is_finished());
        assert!(ProgressStyle::with_template(&template("records")).is_ok());
    }
}
