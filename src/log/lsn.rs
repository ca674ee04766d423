//! Log sequence numbers.

use std::fmt;

/// A record's place in the log: 1 for the first, one more for each that follows. 0 stands for
/// "none yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// Before the first record.
    pub const NONE: Self = Self(0);

    /// Wraps a number, as a Parquet footer holds it.
    #[must_use]
    pub const fn new(lsn: u64) -> Self {
        Self(lsn)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The one after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before; [`Lsn::NONE`] has none.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// What an answer rests on: everything through an LSN, as it was in an epoch of the log. After a
/// batch that failed, the same LSN may name another record, in a later epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReadPoint {
    /// See [`super::Log::epoch`].
    pub epoch: u64,
    /// The last record it rests on.
    pub lsn: Lsn,
}

impl ReadPoint {
    /// Rests on nothing that could be lost.
    pub const NONE: Self = Self { epoch: 0, lsn: Lsn::NONE };
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
