//! Tests through what users touch: the real program, over real HTTP, on a port of its own.
//!
//! Where a test belongs:
//! - `endpoints`: what each endpoint answers; `saving`: what becomes of the fields sent;
//! - `errors`: every error code; `random_bodies`: nothing sent makes a 500; `conditional`: tags;
//! - `large`: records that take several row groups; `lists`: filters, order, fields; `pages`: cursors and the cache while others write;
//! - `auth`: who may do what; `tokens`, `jwt`: credentials; `audit`: what is noted of it;
//! - `isolation`: users apart; `idempotency`: repeats, also across a restart;
//! - `credentials`: sealed, given, never seen; `keys`: the ring, its command, rotation;
//! - `openapi`: the document says what is true; `compression`: what goes over the wire;
//! - `legacy`: the Python service's files; `readers`: DuckDB, Polars, pandas, pyarrow;
//! - `limits`: sizes and rates at the limit and past it; `quotas`: what a user may have; `slow`: slow
//!   clients and many connections; `transport`: TLS, headers, CORS;
//! - `owasp`: the OWASP API Security Top 10, item by item; `hostile`: texts that break paths and logs;
//!   `schemathesis`: requests made from the OpenAPI document;
//! - `metrics`: what is counted; `traces`: request ids, traces, log lines of requests;
//! - `crash`: kill -9 under writers; `linearizability`: one order for all answers across kills;
//! - `lifecycle`: start, lock, signals, recovery, damage;
//! - `archive`: months moved out of the way;
//! - `backup`: backups and restores, to a moment too;
//! - `reports`: what the commands of that name say against what was sent;
//! - `repair`: what becomes of damaged stores;
//! - `scrub`: damage found in the background;
//! - `verify`: the command, on sound, damaged and busy stores;
//! - `faults`: what disks, systems and clients do to the real program: full, slow and failing disks,
//!   permissions, damaged bytes, clocks, limits of the system, crowds;
//! - `docs`: the documentation; `claims`: what the README says and no other module is about;
//! - `cli`: the commands; `architecture`: who may use what in `src/`.

#![allow(clippy::disallowed_methods, reason = "tests touch files and clocks as a user would")]

mod architecture;
mod archive;
mod audit;
mod auth;
mod backup;
mod claims;
mod cli;
mod compression;
mod conditional;
mod crash;
mod credentials;
mod damage;
mod docs;
mod endpoints;
mod erasure;
mod errors;
mod faults;
mod hostile;
mod idempotency;
mod isolation;
mod jwt;
mod keys;
mod large;
mod legacy;
mod lifecycle;
mod limits;
mod linearizability;
mod lists;
mod messages;
mod metrics;
mod openapi;
mod owasp;
mod pages;
mod quotas;
mod random_bodies;
mod readers;
mod repair;
mod reports;
mod saving;
mod schemathesis;
mod scrub;
mod slow;
mod support;
mod tokens;
mod traces;
mod transport;
mod verify;
