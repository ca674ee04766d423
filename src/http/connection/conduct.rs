//! How many connections there are, and what one of them is doing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Places for connections, or for requests of one kind, over all workers.
#[derive(Debug)]
pub struct Admission {
    open: AtomicUsize,
    most: usize,
}

impl Admission {
    /// Room for `most`.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), most })
    }

    /// A place for one more, kept until the ticket is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Option<Ticket> {
        // Made first, so that it is given back where there is no room.
        let place = Ticket(Arc::clone(self));
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        (before < self.most).then_some(place)
    }

    /// How many places there are.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many places are taken.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Ticket(Arc<Admission>);

impl Drop for Ticket {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What one connection is doing: told by HTTP, read by the socket's guard. A connection lives on
/// one worker's thread.
#[derive(Clone, Debug, Default)]
pub struct Conduct(Rc<State>);

#[derive(Debug, Default)]
struct State {
    /// Requests whose answer is not made yet.
    working: Cell<usize>,
    /// Requests there ever were.
    begun: Cell<u64>,
    /// When each answer that is being sent must have been read; HTTP/2 alone, where answers wait
    /// above the socket.
    sending: RefCell<BTreeMap<u64, Duration>>,
    next: Cell<u64>,
}

impl Conduct {
    /// Whether no request is being worked on.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.working.get() == 0
    }

    /// How many requests there ever were.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.0.begun.get()
    }

    /// Requests and answers under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.0.working.get() + self.0.sending.borrow().len()
    }

    /// Says that a request is being worked on, until this is dropped.
    #[must_use]
    pub fn working(&self) -> Working {
        self.0.working.set(self.0.working.get() + 1);
        self.0.begun.set(self.0.begun.get() + 1);
        Working(Rc::clone(&self.0))
    }

    /// Says that an answer is being sent that must have been read at `deadline`, until this is
    /// dropped.
    #[must_use]
    pub fn sending(&self, deadline: Duration) -> Sending {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        self.0.sending.borrow_mut().insert(number, deadline);
        Sending { state: Rc::clone(&self.0), number }
    }

    /// When the first of the answers that are being sent must have been read.
    #[must_use]
    pub fn first_deadline(&self) -> Option<Duration> {
        self.0.sending.borrow().values().min().copied()
    }
}

/// A request that is being worked on.
#[derive(Debug)]
pub struct Working(Rc<State>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.working.set(self.0.working.get().saturating_sub(1));
    }
}

/// An answer that is being sent.
#[derive(Debug)]
pub struct Sending {
    state: Rc<State>,
    number: u64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.state.sending.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_enter_as_there_is_room_for() {
        let admission = Admission::new(2);
        let (one, two) = (admission.enter().expect("room"), admission.enter().expect("room"));
        assert!(admission.enter().is_none());
        assert_eq!(admission.open(), 2, "who was refused takes no place");
        drop(one);
        let three = admission.enter().expect("room again");
        drop((two, three));
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn what_is_under_way_ends_when_it_is_dropped() {
        let conduct = Conduct::default();
        let seen = conduct.clone();
        let working = conduct.working();
        let late = conduct.sending(Duration::from_secs(9));
        let early = conduct.sending(Duration::from_secs(3));
        assert_eq!((seen.is_idle(), seen.under_way()), (false, 3));
        assert_eq!(seen.first_deadline(), Some(Duration::from_secs(3)));
        drop(early);
        assert_eq!(seen.first_deadline(), Some(Duration::from_secs(9)));
        drop((late, working));
        assert_eq!(seen.begun(), 1);
        assert_eq!((seen.is_idle(), seen.under_way(), seen.first_deadline()), (true, 0, None));
    }
}
