//! The write-ahead log: one per node, segments in one folder, one writer, group commit.
//!
//! Purpose: to make changes survive, in one order, before anything else is done with them; and
//! to know of every partition which of its changes its Parquet file does not hold yet.
//!
//! Invariants: an acknowledged record is there after every start, or the log refuses to open;
//! LSNs never go to two acknowledged records; a segment goes only when all before it went and
//! everything in it is published. `docs/formats/log.md` has the bytes.
//!
//! It does not know what a payload means, which LSN a Parquet file holds (whoever opens a
//! partition compares and calls [`Log::published`]), or whether another process has the folder
//! open (the application locks the data folder).
//!
//! ```text
//! handle ── append ──► state: batch, index, segments ◄── take / settle ── writer ──► segment, frame
//!    open ──► recovery ──► scan                     inspect, truncate: for a log that is not open
//! ```

mod acknowledge;
mod batch;
mod bytes_at;
mod check;
mod company;
mod error;
mod extract;
mod folder;
mod frame;
mod freed;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod handle;
mod index;
mod inspect;
mod kept;
mod lsn;
mod measures;
mod mend;
mod options;
pub mod payload;
mod record;
mod recovery;
mod scan;
mod segment;
mod segments;
mod shared;
mod spare;
mod state;
mod status;
mod stream;
mod thread;
mod truncate;
mod writer;

pub use acknowledge::Acknowledge;
pub use check::{Checked, check};
pub use company::Linger;
pub use error::{AppendError, LogError, LogFailure};
pub use extract::{ExtractError, Extracted, Until, continue_apart, extract, id_of};
pub use handle::Log;
pub use index::Location;
pub use inspect::{Finding, InspectSummary, inspect};
pub use lsn::{Lsn, ReadPoint};
pub use measures::Measures;
pub use mend::{raise, replaces};
pub use options::{LogOptions, SyncMode};
pub use record::{RecordBody, Subject};
pub use status::{
    FullReason, LogState, LogStatus, OpenReport, RemovalReport, TornTail, WriterCounters,
};
pub use stream::Stream;
pub use truncate::{TruncateReport, truncate};
pub use writer::{Next, Writer};

#[cfg(test)]
mod tests;
