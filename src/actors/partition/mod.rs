//! A partition: the one owner of one user's table (and month), and the one writer of its file.
//!
//! `actor` is the life cycle, `ready` what it does with a message, `rows`, `overlay` and `scan`
//! the state and its walks, `saving` its checkpoints; `load`, `fetch` and `checkpoint` are the
//! I/O, off the actor's thread.

mod ack;
mod actor;
mod archiving;
mod checkpoint;
mod fetch;
mod file;
mod holdings;
mod load;
mod overlay;
mod ready;
mod rows;
mod saving;
mod scan;

pub use actor::{Exit, Exited, Partition};
pub use file::StoredSource;
pub use load::LoadError;
pub use ready::REMEMBERED;
pub use scan::Scan;
