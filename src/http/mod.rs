//! HTTP: bytes to domain values and back. Routes, extractors, one file a resource; statuses are
//! decided in [`error`] alone.

mod admin;
mod answer;
mod body;
mod conditional;
mod credentials;
pub mod error;
mod health;
mod idempotent;
mod lists;
mod metrics;
pub mod openapi;
mod params;
mod records;
mod routes;
mod server;
mod state;
mod users;

pub use server::{Bound, bind};
pub use state::AppState;
