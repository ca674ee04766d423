//! Connections come in on one thread and are served on the workers' threads.
//!
//! actix's own server ends its threads with the last connection. Partitions run on these threads
//! too, and write what is unsaved after HTTP has ended; so the threads are the application's, and
//! this is what is left to do: accept, hand each connection to the worker with the fewest, and end
//! in order. [`Serving::stop`] closes the door, lets connections finish what they are at, and cuts
//! off those that take too long.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::ArbiterHandle;
use actix_service::{Service, ServiceFactory};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::turns::Turns;

/// Connections that wait for one worker to take them over.
const WAITING: usize = 1024;
/// How long nothing is accepted after the system refused, as it does without file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How far the end is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Phase {
    Serving,
    /// No new connections; those that are idle end.
    Draining,
    /// All connections end.
    Cut,
}

/// Tells a connection that it is to end once it is idle.
#[derive(Clone)]
pub struct Stopping(watch::Receiver<Phase>);

impl Stopping {
    async fn reached(mut self, phase: Phase) {
        // An error says that whoever could tell is gone, and with him all there is to serve for.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }

    /// Waits for the end to begin.
    pub async fn begun(self) {
        self.reached(Phase::Draining).await;
    }
}

/// Connections being accepted and served.
pub struct Serving {
    phase: watch::Sender<Phase>,
    accepting: JoinHandle<()>,
    /// Closed when the last worker has ended its last connection.
    alive: mpsc::Receiver<()>,
}

impl Serving {
    /// Serves what `listener` accepts on `threads`, at most so many connections at once, those that
    /// are only told to go included; others wait with the system. `make` is called once on each of them.
    ///
    /// # Errors
    /// Where the listener cannot be waited on.
    pub fn start<M, F>(
        listener: std::net::TcpListener,
        threads: &[ArbiterHandle],
        most: usize,
        make: M,
    ) -> io::Result<Self>
    where
        M: Fn(Stopping, Turns) -> F + Clone + Send + 'static,
        F: ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()> + 'static,
    {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let (phase, stopping) = watch::channel(Phase::Serving);
        let stopping = Stopping(stopping);
        let (lives, alive) = mpsc::channel(1);
        let mut lanes = Vec::with_capacity(threads.len());
        for thread in threads {
            let (streams, waiting) = mpsc::channel(WAITING);
            let lane = Lane { streams, open: Arc::default() };
            let (stopping, make, lives) = (stopping.clone(), make.clone(), lives.clone());
            thread.spawn_fn(move || {
                actix_web::rt::spawn(async move {
                    let turns = Turns::default();
                    let factory = make(stopping.clone(), turns.clone());
                    work(factory, turns, waiting, stopping).await;
                    drop(lives);
                });
            });
            lanes.push(lane);
        }
        let accepting = actix_web::rt::spawn(async move {
            tokio::select! {
                () = accept(&listener, &lanes, most) => {}
                () = stopping.begun() => {}
            }
        });
        Ok(Self { phase, accepting, alive })
    }

    /// Takes no new connections, lets requests under way be answered for at most `grace`, then
    /// ends the connections that are left. How many connections were left is in the log.
    pub async fn stop(mut self, grace: Duration) {
        self.phase.send_replace(Phase::Draining);
        // It ends at once, and the listener with it: who comes now is refused by the system.
        let _ = self.accepting.await;
        if tokio::time::timeout(grace, self.alive.recv()).await.is_err() {
            tracing::warn!("connections took too long to end and are cut off");
            self.phase.send_replace(Phase::Cut);
            self.alive.recv().await;
        }
    }
}

/// The way to one worker.
struct Lane {
    streams: mpsc::Sender<(std::net::TcpStream, Counted)>,
    open: Arc<AtomicUsize>,
}

/// A connection that counts as its worker's.
struct Counted(
    Arc<AtomicUsize>,
    #[expect(dead_code, reason = "given back with it")] OwnedSemaphorePermit,
);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(listener: &TcpListener, lanes: &[Lane], most: usize) {
    let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
    loop {
        // Nobody closes it.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(stream) = stream.into_std() {
                    hand_over(stream, place, lanes);
                }
            }
            // That connection ended before it began; others are not concerned.
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "connections cannot be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Gives a connection to the worker that has the fewest. One that no worker takes is closed.
fn hand_over(stream: std::net::TcpStream, place: OwnedSemaphorePermit, lanes: &[Lane]) {
    let Some(lane) = lanes.iter().min_by_key(|lane| lane.open.load(Ordering::Relaxed)) else {
        return;
    };
    lane.open.fetch_add(1, Ordering::Relaxed);
    let counted = Counted(Arc::clone(&lane.open), place);
    if lane.streams.try_send((stream, counted)).is_err() {
        tracing::warn!("a connection was closed: its worker does not keep up");
    }
}

/// Serves the connections of one worker until there are no more to come and the last has ended,
/// or all are to be cut off.
async fn work<F>(
    factory: F,
    turns: Turns,
    mut waiting: mpsc::Receiver<(std::net::TcpStream, Counted)>,
    stopping: Stopping,
) where
    F: ServiceFactory<TcpStream, Config = (), Response = (), InitError = ()> + 'static,
{
    let Ok(service) = factory.new_service(()).await else {
        tracing::error!("a worker could not be started");
        return;
    };
    let service = std::rc::Rc::new(service);
    // Dropped, it ends all that are left.
    let mut connections = JoinSet::new();
    let serving = async {
        loop {
            tokio::select! {
                Some((stream, counted)) = waiting.recv() => {
                    let (service, turns) = (std::rc::Rc::clone(&service), turns.clone());
                    connections.spawn_local(async move {
                        let _counted = counted;
                        turns.of(serve(&*service, stream)).await;
                    });
                }
                Some(_) = connections.join_next() => {}
                else => return,
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = stopping.reached(Phase::Cut) => {}
    }
}

async fn serve<S: Service<TcpStream, Response = ()>>(service: &S, stream: std::net::TcpStream) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // What goes wrong with a connection is the client's to see, and was told there.
    if std::future::poll_fn(|cx| service.poll_ready(cx)).await.is_ok() {
        let _ = service.call(stream).await;
    }
}
