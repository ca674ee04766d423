//! Believable records, the same ones for the same seed: to try the store, to fill a demonstration,
//! to measure with.
//!
//! [`Generator`] makes bodies as today's client sends them; [`run`] saves them through a [`Sink`]
//! and shows how far it is; [`sample`] is what `data/sample/` holds. No generated record has
//! credentials.

mod audience;
mod catalog;
mod command;
mod distribution;
mod generator;
mod platform;
mod prng;
mod runner;
mod sample;

pub use command::{SeedError, command};
pub use generator::{DEFAULT_SEED, Generator, MAX_USERS, Options, Record};
pub use runner::{Plan, RunError, Sink, Summary, run};
pub use sample::{SAMPLE_OPTIONS, SAMPLE_USERS, sample, sample_now};
