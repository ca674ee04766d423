//! Room in memory: how many bytes of request bodies, or of pages of lists, there may be at once, over
//! all connections. Clients that each begin a body and do not end it, or ask for a large page and do
//! not read it, would otherwise take what memory there is.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::web::Bytes;

/// Bytes in memory, and how many there may be.
#[derive(Debug)]
pub struct Room {
    taken: AtomicUsize,
    most: usize,
}

impl Room {
    /// Room for `most` bytes.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), most })
    }

    /// The bytes there may be.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// A part of the room that grows as a body arrives or a page is made; empty at first.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Share {
        Share { room: Arc::clone(self), bytes: 0 }
    }
}

/// What one body or page takes of the room, until it is dropped.
#[derive(Debug)]
pub struct Share {
    room: Arc<Room>,
    bytes: usize,
}

impl Share {
    /// Takes another `bytes`; `false` where there is no room for them.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        let before = self.room.taken.fetch_add(bytes, Ordering::AcqRel);
        before.saturating_add(bytes) <= self.room.most
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// A body that is here, whole.
pub struct Received {
    bytes: Bytes,
    /// Given back with the bytes.
    _share: Share,
}

impl Received {
    /// A body that takes `share` of the room.
    #[must_use]
    pub fn new(bytes: Bytes, share: Share) -> Self {
        Self { bytes, _share: share }
    }
}

impl Deref for Received {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_or_dropped_is_given_back() {
        let room = Room::new(10);
        let mut first = room.share();
        assert!(first.grow(4) && first.grow(2));
        let mut second = room.share();
        assert!(second.grow(4));
        assert!(!room.share().grow(1), "full");
        drop(first);
        assert!(second.grow(6));
        drop(second);
        assert_eq!(room.taken.load(Ordering::Acquire), 0);
    }
}
