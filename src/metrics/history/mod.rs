//! What a server counted, kept over restarts: a record a day below `metrics/history/`, for
//! `audience-store report`.
//!
//! Counters of a process begin at zero, so what is kept is how much they grew. [`sample`] reads
//! what a scrape would show, [`day`] is a record and how records add up, [`files`] keeps them,
//! [`keeper`] adds what grew to today's, once a minute. Nothing of it is on a request's path. No
//! user id gets in: names and labels are the program's own.

mod day;
mod files;
mod keeper;
mod sample;

pub use day::{Day, Times, day_name, day_of};
pub use files::{Found, HistoryFiles, MOST_DAYS};
pub use keeper::Keeper;
pub use sample::Sample;

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;
