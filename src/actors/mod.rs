//! The actors, and what they say to each other.
//!
//! One [`partition`] a user, table and month owns its rows and its file; the [`supervisor`]
//! starts and stops them; a [`catalog`] a user and monthly table knows the months; the
//! [`listing_cache`] holds ready-made bytes; [`idempotency`] makes repeats wait. Each file holds
//! one of them. Decisions are plain functions over plain state; blocking work is never done on
//! an actor's thread.

pub mod catalog;
mod error;
pub mod idempotency;
pub mod listing_cache;
pub mod messages;
pub mod partition;
pub mod registry;
mod shared;
pub mod supervisor;
mod threads;
pub mod usage;

pub use error::StoreError;
pub use shared::{Archived, Limits, Shared, Unreadable};
pub use threads::Threads;
