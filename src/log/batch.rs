//! What waits for the writer: encoded records in the order of their LSNs, and where each run of
//! them goes. The place of a record is decided when it is appended, by [`place`].

use super::segment::SEGMENT_HEADER_BYTES;
use super::{Acknowledge, Lsn};
use crate::domain::UserId;

/// Called once with the outcome of an append.
pub(crate) type Done = Box<dyn Acknowledge>;

/// What must happen to the segment before a run of records is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    /// Nothing: it goes on where the last run ended.
    Continue,
    /// The segment, which has no records, must become larger.
    Grow {
        /// Its new size.
        capacity: u64,
    },
    /// A new segment.
    Create {
        /// Its first LSN.
        first: Lsn,
        /// Its size.
        capacity: u64,
    },
}

/// A run of records that one write puts into one segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chunk {
    pub(crate) opening: Opening,
    /// Where the run begins in [`Batch::bytes`].
    pub(crate) start: usize,
    /// Where it ends.
    pub(crate) end: usize,
    /// LSN of its last record; of the one before where it has none.
    pub(crate) last: Lsn,
}

/// Records to be written together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<Chunk>,
    /// LSN of the first record; each that follows has the next.
    pub(crate) first: Lsn,
    pub(crate) dones: Vec<Done>,
    pub(crate) erasures: Vec<(Lsn, UserId)>,
}

/// Buffers larger than this are given back after use.
const KEPT_BYTES: usize = 4 << 20;

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Empties it, keeping buffers of a usual size.
    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
        self.dones.clear();
        self.erasures.clear();
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BYTES);
    }

    /// Begins a run; records pushed from now on belong to it.
    pub(crate) fn open(&mut self, opening: Opening, last: Lsn) {
        let at = self.bytes.len();
        self.chunks.push(Chunk { opening, start: at, end: at, last });
    }

    /// Notes the record just encoded at the end of the bytes.
    pub(crate) fn push(&mut self, lsn: Lsn, done: Done) {
        if self.dones.is_empty() {
            self.first = lsn;
        }
        self.dones.push(done);
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.end = self.bytes.len();
            chunk.last = lsn;
        }
    }
}

/// The end of the log as appends see it, ahead of what is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tail {
    /// First LSN of the segment.
    pub(crate) first: Lsn,
    /// Where its next record goes.
    pub(crate) offset: u64,
    /// Its size.
    pub(crate) capacity: u64,
}

impl Tail {
    /// A segment that has only its header.
    pub(crate) fn empty(first: Lsn, capacity: u64) -> Self {
        Self { first, offset: SEGMENT_HEADER_BYTES, capacity }
    }

    /// Whether the segment has no records.
    pub(crate) fn is_empty(&self) -> bool {
        self.offset <= SEGMENT_HEADER_BYTES
    }
}

/// Where a record of `frame` bytes with LSN `next` goes. A segment takes what fits; a record
/// that does not fit begins the next, of its own size where it exceeds the usual one; a segment
/// without records grows instead, since the next would bear its name.
pub(crate) fn place(tail: &Tail, next: Lsn, frame: u64, segment_bytes: u64) -> Opening {
    let capacity = segment_bytes.max(SEGMENT_HEADER_BYTES + frame);
    if tail.offset.saturating_add(frame) <= tail.capacity {
        Opening::Continue
    } else if tail.is_empty() {
        Opening::Grow { capacity }
    } else {
        Opening::Create { first: next, capacity }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_records() {
        let next = Lsn::new(9);
        let tail = Tail { first: Lsn::new(1), offset: 960, capacity: 1024 };
        assert_eq!(place(&tail, next, 64, 1024), Opening::Continue);
        assert_eq!(place(&tail, next, 72, 1024), Opening::Create { first: next, capacity: 1024 });
        assert_eq!(place(&tail, next, 4000, 1024), Opening::Create { first: next, capacity: 4064 });
        let empty = Tail { first: next, offset: 64, capacity: 64 };
        assert_eq!(place(&empty, next, 64, 1024), Opening::Grow { capacity: 1024 });
        assert_eq!(place(&empty, next, 4000, 1024), Opening::Grow { capacity: 4064 });
    }
}
