//! HTTP: bytes to domain values and back. Routes, extractors, one file a resource; statuses are
//! decided in [`error`] alone.

mod admin;
mod answer;
mod body;
mod conditional;
mod credentials;
pub mod error;
mod guard;
mod health;
mod idempotent;
mod lists;
mod metrics;
pub mod openapi;
mod params;
mod records;
pub mod routes;
mod server;
mod state;
mod tokens;
mod trail;
mod users;

pub use server::{Bound, bind};
pub use state::{Access, AppState};
