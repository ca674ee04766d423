//! Which segments there are, how large, and what still needs each. Pure: the files are the
//! writer's and the remover's.

use std::collections::BTreeMap;

use super::Lsn;
use super::batch::Tail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    capacity: u64,
    /// Index entries and unfinished erasures whose records lie in it.
    held: u64,
}

/// The segments of a log, those planned but not yet made included, by first LSN.
#[derive(Default, Debug)]
pub(crate) struct Segments {
    by_first: BTreeMap<Lsn, Segment>,
    bytes: u64,
}

impl Segments {
    /// Adds a segment, or gives one another size.
    pub(crate) fn set(&mut self, first: Lsn, capacity: u64) {
        let segment = self.by_first.entry(first).or_insert(Segment { capacity: 0, held: 0 });
        self.bytes = self.bytes - segment.capacity + capacity;
        segment.capacity = capacity;
    }

    /// Forgets a segment.
    pub(crate) fn remove(&mut self, first: Lsn) {
        if let Some(segment) = self.by_first.remove(&first) {
            self.bytes -= segment.capacity;
        }
    }

    /// Forgets the segments after `last_made`, which were planned but never made.
    pub(crate) fn remove_after(&mut self, last_made: Lsn) {
        while let Some((first, _)) = self.by_first.last_key_value() {
            if *first <= last_made {
                return;
            }
            self.remove(*first);
        }
    }

    /// Notes that something needs the record with this LSN.
    pub(crate) fn hold(&mut self, lsn: Lsn) {
        if let Some((_, segment)) = self.by_first.range_mut(..=lsn).next_back() {
            segment.held += 1;
        }
    }

    /// Takes one [`Segments::hold`] back.
    pub(crate) fn release(&mut self, lsn: Lsn) {
        if let Some((_, segment)) = self.by_first.range_mut(..=lsn).next_back() {
            segment.held = segment.held.saturating_sub(1);
        }
    }

    /// First LSN of the segment in which this LSN lies.
    pub(crate) fn holding(&self, lsn: Lsn) -> Option<Lsn> {
        self.by_first.range(..=lsn).next_back().map(|(first, _)| *first)
    }

    /// The oldest segment and its bytes, where nothing needs it and it is not `active`.
    pub(crate) fn removable(&self, active: Lsn) -> Option<(Lsn, u64)> {
        let (first, segment) = self.by_first.first_key_value()?;
        (*first < active && segment.held == 0).then_some((*first, segment.capacity))
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes from the start of the segment that holds `lsn` to the log's end.
    pub(crate) fn bytes_from(&self, lsn: Lsn, tail: Tail) -> u64 {
        let Some(from) = self.holding(lsn) else { return 0 };
        let whole = self.by_first.range(from..).take_while(|(first, _)| **first < tail.first);
        whole.map(|(_, segment)| segment.capacity).sum::<u64>() + tail.offset
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.by_first.len()
    }

    /// First LSN of the oldest.
    pub(crate) fn oldest(&self) -> Option<Lsn> {
        self.by_first.first_key_value().map(|(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lsn(n: u64) -> Lsn {
        Lsn::new(n)
    }

    #[test]
    fn only_a_prefix_is_removable() {
        let mut segments = Segments::default();
        for first in [1, 10, 20] {
            segments.set(lsn(first), 100);
        }
        segments.hold(lsn(5));
        segments.hold(lsn(9));
        assert_eq!(segments.removable(lsn(20)), None, "the second is free, the first is not");
        segments.release(lsn(9));
        segments.release(lsn(5));
        assert_eq!(segments.removable(lsn(20)), Some((lsn(1), 100)));
        segments.remove(lsn(1));
        segments.remove(lsn(10));
        assert_eq!(segments.removable(lsn(20)), None, "the active one stays");
        assert_eq!((segments.len(), segments.bytes()), (1, 100));
    }

    #[test]
    fn planned_ones_can_be_taken_back() {
        let mut segments = Segments::default();
        segments.set(lsn(1), 100);
        segments.set(lsn(8), 100);
        segments.set(lsn(9), 300);
        segments.remove_after(lsn(1));
        assert_eq!((segments.len(), segments.bytes()), (1, 100));
        segments.set(lsn(1), 150);
        assert_eq!(segments.bytes(), 150);
        assert_eq!(segments.holding(lsn(77)), Some(lsn(1)));
    }
}
