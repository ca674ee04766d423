//! audience-store: a durable, per-user store of audiences, platforms and distributions in plain
//! Parquet files, served over REST. `ARCHITECTURE.md` has the map.

#![deny(missing_docs, unsafe_code)]
#![deny(clippy::all)]
#![warn(clippy::pedantic)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::todo,
        clippy::unimplemented
    )
)]
#![allow(clippy::module_name_repetitions, clippy::must_use_candidate)]

pub mod actors;
pub mod adopt;
pub mod app;
pub mod archive;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod crypto;
pub mod domain;
pub mod env;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
#[allow(clippy::panic, clippy::indexing_slicing, reason = "a fuzz target fails by a panic")]
pub mod fuzzing;
pub mod http;
pub mod log;
pub mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod parquet;
pub mod repair;
pub mod report;
pub mod seed;
pub mod shutdown;
pub mod storage;
pub mod store;
pub mod verify;
