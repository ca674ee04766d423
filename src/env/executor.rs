//! Where work that blocks is done, injected: on threads in a server, as steps of one thread in a
//! simulation.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

/// Work that blocks, to be done once.
pub type Job = Box<dyn FnOnce() + Send>;

/// What a worker wants after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// Another step.
    Again,
    /// Another one when its bell rings, or when this much time has passed.
    Wait(Option<Duration>),
    /// None any more.
    Stop,
}

/// Rings when a worker has something to do.
pub type Bell = Arc<dyn Fn() + Send + Sync>;

/// Something that works as long as the store is open, beside everything else: the log's writer.
pub trait Worker: Send {
    /// Works until it is told to end, and sleeps while there is nothing to do.
    fn run(&mut self);
    /// Does one round of [`Worker::run`], and never sleeps.
    fn step(&mut self) -> Turn;
    /// Is to ring `bell` whenever there may be something to do again. For those that call
    /// [`Worker::step`].
    fn ring(&mut self, bell: Bell);
}

/// A worker that was started.
pub trait Working: Send {
    /// Waits until it has ended, unless it is the worker itself that asks. Blocks.
    fn join(self: Box<Self>);
}

/// Does work that blocks.
pub trait Executor: Send + Sync {
    /// Does `job` off the caller's thread. Called where a tokio runtime is.
    fn block(&self, job: Job);
    /// Starts a worker.
    ///
    /// # Errors
    /// Whatever the system says.
    fn start(&self, name: &str, worker: Box<dyn Worker>) -> io::Result<Box<dyn Working>>;
    /// Whether actors get threads of their own.
    fn has_threads(&self) -> bool;
}

/// Does `work` on `executor`, from now on, whether or not the answer is waited for.
///
/// # Errors
/// Where the work panicked.
pub fn blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    executor: &dyn Executor,
    work: F,
) -> impl Future<Output = io::Result<T>> + Send + use<T, F> {
    let (done, answer) = oneshot::channel();
    executor.block(Box::new(move || {
        // Whoever asked may have gone away.
        let _ = done.send(work());
    }));
    async move { answer.await.map_err(|_| io::Error::other("the work was not finished")) }
}

/// The machine's threads: tokio's pool for what blocks, a thread a worker.
///
/// A job that asks for another and waits for it, as one that reads a stored file does, gets it done
/// on its own thread. Were it queued, as many such jobs as the pool has threads would wait for one
/// that becomes free, all of them, for ever.
pub struct Threads;

thread_local! {
    /// Whether this thread of the pool is doing a job.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

impl Executor for Threads {
    fn block(&self, job: Job) {
        // The job says itself what became of it, a panic too: by not saying anything.
        let job = || drop(catch_unwind(AssertUnwindSafe(job)));
        if BUSY.get() {
            return job();
        }
        drop(tokio::task::spawn_blocking(|| {
            BUSY.set(true);
            job();
            BUSY.set(false);
        }));
    }

    fn start(&self, name: &str, mut worker: Box<dyn Worker>) -> io::Result<Box<dyn Working>> {
        let thread = Builder::new().name(name.to_owned()).spawn(move || worker.run())?;
        Ok(Box::new(Thread(thread)))
    }

    fn has_threads(&self) -> bool {
        true
    }
}

struct Thread(JoinHandle<()>);

impl Working for Thread {
    fn join(self: Box<Self>) {
        if self.0.thread().id() != thread::current().id() {
            // A worker turns its own panics into something that others can see.
            let _ = self.0.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_a_panic_in_it_is_an_error() {
        let here = thread::current().id();
        let there = blocking(&Threads, || thread::current().id()).await.expect("work");
        assert_ne!(here, there);
        blocking(&Threads, || panic!("on purpose")).await.expect_err("a panic");
    }

    #[test]
    fn work_within_work_needs_no_second_thread() {
        let one = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .enable_time()
            .build()
            .expect("runtime");
        let handle = one.handle().clone();
        let done = one.block_on(async {
            let nested = blocking(&Threads, move || {
                let inner = || blocking(&Threads, || thread::current().id());
                let done = handle.block_on(async { inner().await.expect("inner work") });
                let panic = blocking(&Threads, || panic!("on purpose"));
                handle.block_on(panic).expect_err("a panic");
                done == thread::current().id()
            });
            // What waits for ever must fail.
            tokio::time::timeout(Duration::from_mins(1), nested).await
        });
        one.shutdown_background();
        assert!(done.expect("a thread that waits for itself").expect("outer work"));
    }
}
