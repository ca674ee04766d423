//! Where work that blocks is done, injected: on threads in a server, as steps of one thread in a
//! simulation.

use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::background::Background;

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
    /// As [`Executor::block`], for what takes the processor for a while and what nobody waits for:
    /// it steps back behind everything else.
    fn background(&self, job: Job) {
        self.block(job);
    }
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
    let (job, done) = job(work);
    executor.block(job);
    done
}

/// As [`blocking`], behind everything else: [`Executor::background`].
///
/// # Errors
/// Where the work panicked.
pub fn in_background<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    executor: &dyn Executor,
    work: F,
) -> impl Future<Output = io::Result<T>> + Send + use<T, F> {
    let (job, done) = job(work);
    executor.background(job);
    done
}

/// Work as a job, and what tells that it is done.
fn job<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
    work: F,
) -> (Job, impl Future<Output = io::Result<T>> + Send + use<T, F>) {
    let (done, answer) = oneshot::channel();
    let job = Box::new(move || {
        // Whoever asked may have gone away.
        let _ = done.send(work());
    });
    (job, async move { answer.await.map_err(|_| io::Error::other("the work was not finished")) })
}

/// The machine's threads: tokio's pool for what blocks, few and modest ones for what is done in the
/// background, a thread a worker.
///
/// A job that asks for another and waits for it, as one that reads a stored file does, gets it done
/// on its own thread. Were it queued, as many such jobs as the pool has threads would wait for one
/// that becomes free, all of them, for ever.
#[derive(Default)]
pub struct Threads {
    background: Background,
}

thread_local! {
    /// Whether this thread of the pool is doing a job.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Does `job` here, where this thread is doing one already; otherwise hands it to `pool`.
fn here_or_on(pool: impl FnOnce(Job), job: Job) {
    // The job says itself what became of it, a panic too: by not saying anything.
    let job = || drop(catch_unwind(AssertUnwindSafe(job)));
    if BUSY.get() {
        return job();
    }
    pool(Box::new(|| {
        BUSY.set(true);
        job();
        BUSY.set(false);
    }));
}

impl Executor for Threads {
    fn block(&self, job: Job) {
        here_or_on(|job| drop(tokio::task::spawn_blocking(job)), job);
    }

    fn background(&self, job: Job) {
        here_or_on(|job| self.background.block(job), job);
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
        let (here, threads) = (thread::current().id(), Threads::default());
        let there = blocking(&threads, || thread::current().id()).await.expect("work");
        assert_ne!(here, there);
        blocking(&threads, || panic!("on purpose")).await.expect_err("a panic");
        let behind = in_background(&threads, || thread::current().id()).await.expect("work");
        assert!(behind != here && behind != there);
        in_background(&threads, || panic!("on purpose")).await.expect_err("a panic");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_is_done_in_the_background_steps_back_behind_all_else() {
        let threads = Threads::default();
        let niceness = || rustix::process::getpriority_process(None).expect("niceness");
        let own = niceness();
        let behind = in_background(&threads, niceness).await.expect("work");
        assert!(behind > own || own >= 10, "{behind} and {own}");
        assert_eq!(blocking(&threads, niceness).await.expect("work"), own);
    }

    #[tokio::test]
    async fn as_many_jobs_as_there_are_processors_are_done_in_the_background_at_once() {
        let threads = Threads::default();
        let most = thread::available_parallelism().map_or(1, usize::from);
        let under_way = Arc::new(std::sync::Barrier::new(most));
        let jobs = (0..3 * most).map(|_| {
            let under_way = Arc::clone(&under_way);
            in_background(&threads, move || {
                // All of a round meet here.
                under_way.wait();
                thread::current().id()
            })
        });
        let ids = futures_util::future::join_all(jobs.collect::<Vec<_>>()).await;
        let ids: std::collections::HashSet<_> =
            ids.into_iter().map(|id| id.expect("work")).collect();
        assert_eq!(ids.len(), most);
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
        let threads = Arc::new(Threads::default());
        let its = Arc::clone(&threads);
        let nested = move || {
            let inner = || blocking(its.as_ref(), || thread::current().id());
            let done = handle.block_on(async { inner().await.expect("inner work") });
            let panic = blocking(its.as_ref(), || panic!("on purpose"));
            handle.block_on(panic).expect_err("a panic");
            done == thread::current().id()
        };
        let done = one.block_on(async {
            let (nested, behind) = (nested.clone(), in_background(threads.as_ref(), nested));
            let both = futures_util::future::join(blocking(threads.as_ref(), nested), behind);
            // What waits for ever must fail.
            tokio::time::timeout(Duration::from_mins(1), both).await
        });
        one.shutdown_background();
        let (nested, behind) = done.expect("a thread that waits for itself");
        assert!(nested.expect("outer work") && behind.expect("outer work"));
    }
}
