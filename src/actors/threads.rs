//! Threads that run partitions, catalogs and, in a server, HTTP: one arbiter each.

use std::sync::Arc;

use actix::dev::channel::channel;
use actix::{Actor, Addr, Arbiter, ArbiterHandle, Context};

/// Threads that one of these may have for what blocks: reading and writing files. Each keeps memory
/// at hand of what it decoded, and a disk has no more to gain from more of them.
const BLOCKING: usize = 16;

/// Threads, ended when nobody holds them any more. Cheap to clone.
#[derive(Clone)]
pub struct Threads(Arc<Pool>);

struct Pool {
    own: Vec<Arbiter>,
    handles: Vec<ArbiterHandle>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        for arbiter in &self.own {
            arbiter.stop();
        }
    }
}

impl Threads {
    /// Starts `count` threads, at least one. Called on an actix system's thread.
    #[must_use]
    pub fn start(count: usize) -> Self {
        let own: Vec<Arbiter> = (0..count.max(1)).map(|_| start()).collect();
        let handles = own.iter().map(Arbiter::handle).collect();
        Self(Arc::new(Pool { own, handles }))
    }

    /// The calling thread alone, an actix system's: for a world without threads.
    #[must_use]
    pub fn current() -> Self {
        Self(Arc::new(Pool { own: Vec::new(), handles: vec![Arbiter::current()] }))
    }

    /// The way to each of them.
    #[must_use]
    pub fn handles(&self) -> Vec<ArbiterHandle> {
        self.0.handles.clone()
    }
}

/// Starts an actor on a thread. Its mailbox holds `capacity` messages from the first one on, also
/// while the thread is busy with something else; actix's own way begins with 16.
pub fn start_on<A: Actor<Context = Context<A>>>(
    thread: &ArbiterHandle,
    capacity: usize,
    make: impl FnOnce() -> A + Send + 'static,
) -> Addr<A> {
    let (sender, receiver) = channel(capacity);
    // Without the thread the mailbox is closed, which whoever sends something is told.
    thread.spawn_fn(move || {
        actix::spawn(Context::with_receiver(receiver).into_future(make()));
    });
    Addr::new(sender)
}

#[allow(clippy::expect_used, reason = "as the system's own threads: nothing runs without them")]
fn start() -> Arbiter {
    Arbiter::with_tokio_rt(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING)
            .build()
            .expect("a thread's event loop")
    })
}

#[cfg(test)]
mod tests {
    use actix::prelude::SendError;
    use actix::{Handler, Message};

    use super::*;

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Note;

    struct Sink;

    impl Actor for Sink {
        type Context = Context<Self>;
    }

    impl Handler<Note> for Sink {
        type Result = ();
        fn handle(&mut self, _: Note, _: &mut Context<Self>) {}
    }

    #[actix_web::test]
    async fn a_mailbox_has_its_size_before_its_thread_gets_to_the_actor() {
        let threads = Threads::start(1);
        let thread = threads.handles().remove(0);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        thread.spawn_fn(move || {
            // Busy until the test says so, or has failed.
            let _ = gone.recv();
        });
        let sink = start_on(&thread, 100, || Sink);
        for _ in 0..100 {
            assert!(sink.try_send(Note).is_ok());
        }
        let more = (0..10).find_map(|_| sink.try_send(Note).err());
        assert!(matches!(more, Some(SendError::Full(_))), "and no more than that");
        drop(go);
        sink.send(Note).await.expect("handled");
    }
}
