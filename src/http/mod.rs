//! HTTP: bytes to domain values and back. Routes, extractors, one file a resource; statuses are
//! decided in [`error`] alone.

mod admin;
mod answer;
mod audited;
mod body;
mod compression;
mod conditional;
mod connection;
mod credentials;
mod edge;
pub mod error;
mod guard;
mod headers;
mod health;
pub mod history;
mod idempotent;
mod lists;
mod metrics;
mod observe;
pub mod openapi;
mod params;
mod rate;
mod records;
mod refusal;
mod room;
pub mod routes;
mod server;
mod slices;
mod state;
mod tls;
mod tokens;
mod trace;
mod trail;
mod turns;
mod users;
mod workers;

#[cfg(feature = "otlp")]
pub use observe::REQUEST_TARGET;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use params::{Params, segment};
pub use server::{Bound, bind, bind_metrics};
pub use state::{Access, AppState, Bounds};
pub use tls::{Certificates, TlsError};
pub use workers::Serving;
