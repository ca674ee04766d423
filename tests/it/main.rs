//! Tests through what users touch: the real program, over real HTTP, on a port of its own.
//!
//! Where a test belongs:
//! - `endpoints`: what each endpoint answers; `errors`: every error code; `conditional`: tags;
//! - `lists`: filters, pages, fields, inserts in between; `isolation`: users apart;
//! - `idempotency`: repeats, also across a restart; `openapi`: the document says what is true;
//! - `legacy`: the Python service's files; `readers`: DuckDB, Polars, pandas, pyarrow;
//! - `crash`: kill -9 under writers; `lifecycle`: start, lock, signals, recovery, damage;
//! - `docs`: the documentation; `claims`: what the README says and no other module is about;
//! - `cli`: the commands; `architecture`: who may use what in `src/`.

mod claims;
mod docs;
mod lifecycle;
mod support;
