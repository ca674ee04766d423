//! A connection's turn on its worker: one poll of all there is to do for it.
//!
//! HTTP/1 calls a handler as soon as it has read a request's head, hands over the body that came
//! with it, and polls the handler again, all in one turn. A handler that asked for the body at its
//! first poll would be woken for another turn, in which there is nothing to do, and would have set a
//! clock for a body that is already here. So it waits for the body with [`Turns::later`] first.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// The turns of one worker's connections. Cheap to clone.
#[derive(Clone, Default)]
pub struct Turns(Rc<State>);

#[derive(Default)]
struct State {
    /// Whether a connection's turn is under way.
    under_way: Cell<bool>,
    /// Whoever waits until the turn goes on.
    waiting: RefCell<Vec<Waker>>,
}

/// A turn under way, until it is dropped: also where the connection panics.
struct Turn<'a>(&'a State);

impl<'a> Turn<'a> {
    fn begin(state: &'a State) -> Self {
        state.under_way.set(true);
        Self(state)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.under_way.set(false);
        let mut waiting = self.0.waiting.borrow_mut();
        waiting.drain(..).for_each(Waker::wake);
    }
}

impl Turns {
    /// Runs a connection. Who waits for its turn to go on and was not polled again in it is woken at
    /// its end.
    pub async fn of<T>(&self, connection: impl Future<Output = T>) -> T {
        let mut connection = pin!(connection);
        std::future::poll_fn(|cx| {
            let _turn = Turn::begin(&self.0);
            connection.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until it is polled again: later in the same turn, or else in the next one. Outside of a
    /// turn it does not wait.
    pub async fn later(&self) {
        let mut waits = false;
        std::future::poll_fn(|cx| {
            if waits {
                self.0.waiting.borrow_mut().retain(|waker| !waker.will_wake(cx.waker()));
                return Poll::Ready(());
            }
            waits = self.0.under_way.get();
            if !waits {
                return Poll::Ready(());
            }
            self.0.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often a connection is woken and how often polled whose handler waits, where its first
    /// turn polls the handler so often.
    fn woken(polls: usize) -> (usize, usize) {
        let turns = Turns::default();
        let (woken, turn) = (Arc::new(Woken::default()), Cell::new(0));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut handler = pin!(turns.later());
        let mut connection = pin!(turns.of(std::future::poll_fn(|cx| {
            turn.set(turn.get() + 1);
            let times = if turn.get() == 1 { polls } else { 1 };
            (0..times).map(|_| handler.as_mut().poll(cx)).last().unwrap_or(Poll::Pending)
        })));
        let mut before = usize::MAX;
        while connection.as_mut().poll(&mut cx).is_pending()
            && before != woken.0.load(Ordering::Relaxed)
        {
            before = woken.0.load(Ordering::Relaxed);
        }
        (woken.0.load(Ordering::Relaxed), turn.get())
    }

    #[test]
    fn who_is_polled_again_in_the_same_turn_is_not_woken() {
        assert_eq!(woken(2), (0, 1));
    }

    #[test]
    fn who_is_not_polled_again_is_woken_at_the_end_of_the_turn() {
        assert_eq!(woken(1), (1, 2));
    }

    #[test]
    fn nobody_waits_outside_of_a_turn() {
        let turns = Turns::default();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(turns.later()).as_mut().poll(&mut cx).is_ready());
    }
}
