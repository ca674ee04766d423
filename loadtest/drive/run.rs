//! The closed loop: every connection sends its next request when the last one is answered; or, at
//! a given rate, the open one ([`pace`]).
//!
//! Threads share nothing while they run; each has its own connections, counts and runtime. The
//! rate counts good answers that arrive within the measurement; latencies are of requests that
//! begin within it, and those still open at its end are waited for, so that a slow server's tail
//! is not cut off.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};

use crate::args::Pick;
use crate::http::{Connection, Head, HttpError};
use crate::procfs;
use crate::report::{Cost, Report, Setup, Tally};
use crate::requests::Requests;

mod pace;

/// Pause before a lost connection is opened again, so that a dead server is not a busy loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How often a thread looks whether answers still come.
const STALL_CHECK: Duration = Duration::from_millis(250);

/// When a run ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this long.
    Elapsed(Duration),
    /// After this many requests, all threads together.
    Count(u64),
}

/// A run to be made.
pub struct Plan {
    /// The scenario's name.
    pub scenario: &'static str,
    /// Server.
    pub addr: SocketAddr,
    /// Connections, all threads together.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// What to send.
    pub requests: Requests,
    /// Statuses that are good.
    pub expected: &'static [u16],
    /// Which request is next.
    pub pick: Pick,
    /// Seed of random picks.
    pub seed: u64,
    /// How long to run before the measurement.
    pub warmup: Duration,
    /// When the measurement ends.
    pub until: Until,
    /// Requests that are due a second, all threads together; as fast as answers come without it.
    pub rate: Option<f64>,
    /// How long nothing may be answered.
    pub timeout: Duration,
    /// The server's process.
    pub server_pid: Option<u32>,
}

/// Why a run could not be made.
#[derive(Debug, Error)]
pub enum RunError {
    /// Connections or threads make no sense.
    #[error("there must be at least one thread, and a connection for each")]
    Shape,
    /// The rate makes no sense.
    #[error("a rate must be above 0, and for a given time")]
    Rate,
    /// The server could not be reached.
    #[error("cannot open {0} connections: {1}")]
    Connect(usize, HttpError),
    /// A thread's runtime could not be built.
    #[error("cannot start a driver thread: {0}")]
    Runtime(#[from] std::io::Error),
    /// A driver thread panicked.
    #[error("a driver thread panicked")]
    Panicked,
}

/// Where all threads wait until all are connected.
struct Gate {
    barrier: Barrier,
    failed: AtomicBool,
}

/// Runs `plan`.
///
/// # Errors
/// [`RunError`], before any request is sent. What goes wrong later is counted.
pub fn run(plan: Plan) -> Result<Report, RunError> {
    if plan.threads == 0 || plan.connections < plan.threads {
        return Err(RunError::Shape);
    }
    let timed = matches!(plan.until, Until::Elapsed(_));
    if plan.rate.is_some_and(|rate| !timed || !rate.is_finite() || rate <= 0.0) {
        return Err(RunError::Rate);
    }
    let plan = Arc::new(plan);
    let gate =
        Arc::new(Gate { barrier: Barrier::new(plan.threads + 1), failed: AtomicBool::new(false) });
    let threads: Vec<_> = (0..plan.threads)
        .map(|index| {
            let (plan, gate) = (Arc::clone(&plan), Arc::clone(&gate));
            std::thread::spawn(move || drive_share(&plan, index, &gate))
        })
        .collect();
    gate.barrier.wait();
    let cost = if gate.failed.load(Ordering::Acquire) { None } else { Some(measure_cost(&plan)) };
    let mut all = Tally::new();
    let mut longest = Duration::ZERO;
    for thread in threads {
        let (tally, took) = thread.join().map_err(|_| RunError::Panicked)??;
        all.merge(tally);
        longest = longest.max(took);
    }
    let seconds = match plan.until {
        Until::Elapsed(duration) => duration,
        Until::Count(_) => longest,
    };
    let setup = Setup {
        scenario: plan.scenario,
        connections: plan.connections,
        requests_prepared: plan.requests.len(),
        threads: plan.threads,
        rate: plan.rate,
    };
    Ok(Report::new(&setup, seconds.as_secs_f64(), all, cost.flatten().unwrap_or_default()))
}

/// CPU time over the measurement, where its end is known beforehand.
fn measure_cost(plan: &Plan) -> Option<Cost> {
    let Until::Elapsed(measured) = plan.until else { return None };
    let server = plan.server_pid.map(|pid| pid.to_string());
    let read = || (procfs::cpu_seconds("self"), server.as_deref().and_then(procfs::cpu_seconds));
    std::thread::sleep(plan.warmup);
    let before = read();
    std::thread::sleep(measured);
    let after = read();
    let spent = |after: Option<f64>, before: Option<f64>| Some(after? - before?);
    Some(Cost {
        driver_cpu_seconds: spent(after.0, before.0),
        server_cpu_seconds: spent(after.1, before.1),
        server_resident_bytes: server.as_deref().and_then(procfs::resident_bytes),
    })
}

/// One thread's part of the run: what it counted, and how long its measurement took.
fn drive_share(plan: &Arc<Plan>, index: usize, gate: &Gate) -> Result<(Tally, Duration), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let connected = runtime.map_err(RunError::from).and_then(|runtime| {
        let connections = runtime.block_on(connect(plan, share(plan.connections, plan, index)))?;
        Ok((runtime, connections))
    });
    if connected.is_err() {
        gate.failed.store(true, Ordering::Release);
    }
    gate.barrier.wait();
    let (runtime, connections) = connected?;
    if gate.failed.load(Ordering::Acquire) {
        return Ok((Tally::new(), Duration::ZERO));
    }
    let worker = Rc::new(Worker::new(Arc::clone(plan), index));
    LocalSet::new().block_on(&runtime, drive_all(&worker, connections));
    let took = worker.last_answer.get().saturating_duration_since(worker.begin);
    Ok((worker.tally.replace(Tally::new()), took))
}

async fn connect(plan: &Plan, count: usize) -> Result<Vec<Connection>, RunError> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let opened = Connection::open(plan.addr).await;
        connections.push(opened.map_err(|e| RunError::Connect(plan.connections, e))?);
    }
    Ok(connections)
}

/// The part of `total` that thread `index` has.
fn share(total: usize, plan: &Plan, index: usize) -> usize {
    total / plan.threads + usize::from(index < total % plan.threads)
}

/// Runs all connections until each has ended, or no answer has come for too long.
async fn drive_all(worker: &Rc<Worker>, connections: Vec<Connection>) {
    let mut open = JoinSet::new();
    for connection in connections {
        open.spawn_local(drive_one(Rc::clone(worker), connection));
    }
    worker.keep_pace();
    let mut seen = (0, Instant::now());
    loop {
        match tokio::time::timeout(STALL_CHECK, open.join_next()).await {
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(_) if worker.finished.get() != seen.0 => {
                seen = (worker.finished.get(), Instant::now());
            }
            Err(_) if seen.1.elapsed() < worker.plan.timeout => {}
            Err(_) => {
                let lost = open.len() as u64;
                worker.fail(format!("no answer within {:?}", worker.plan.timeout), lost);
                return;
            }
        }
    }
}

async fn drive_one(worker: Rc<Worker>, mut connection: Connection) {
    let mut buffer = worker.plan.requests.buffer();
    let mut free = Instant::now();
    while let Some((number, begun)) = worker.next(free).await {
        let answer = connection.exchange(worker.plan.requests.text(number, &mut buffer)).await;
        let ended = Instant::now();
        let usable = match answer {
            Ok(head) => {
                worker.answered(head, begun, ended);
                !head.close
            }
            Err(error) => {
                worker.failed(&error, begun);
                false
            }
        };
        free = ended;
        while !usable && worker.goes_on(free) {
            match Connection::open(worker.plan.addr).await {
                Ok(opened) => {
                    connection = opened;
                    free = Instant::now();
                    break;
                }
                Err(error) => {
                    if free >= worker.begin {
                        worker.fail(error.to_string(), 1);
                    }
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                    free = Instant::now();
                }
            }
        }
    }
}

/// What the connections of one thread share.
struct Worker {
    plan: Arc<Plan>,
    index: usize,
    /// Start of the measurement.
    begin: Instant,
    /// End of the measurement, where it is known.
    end: Option<Instant>,
    /// Requests still to be sent in the measurement, where they are counted.
    left: Cell<u64>,
    sent: Cell<usize>,
    random: Cell<u64>,
    /// Requests that ended, in whatever way. Connections that could not be opened are not
    /// counted: a server that went away makes no progress.
    finished: Cell<u64>,
    last_answer: Cell<Instant>,
    tally: RefCell<Tally>,
    /// Where requests are due at a rate: which are.
    arrivals: Option<tokio::sync::Mutex<UnboundedReceiver<Instant>>>,
    /// Of `arrivals`, until somebody keeps the schedule.
    schedule: Cell<Option<(pace::Schedule, UnboundedSender<Instant>)>>,
}

impl Worker {
    fn new(plan: Arc<Plan>, index: usize) -> Self {
        let start = Instant::now();
        let begin = start + plan.warmup;
        let (end, left) = match plan.until {
            Until::Elapsed(duration) => (Some(begin + duration), u64::MAX),
            Until::Count(total) => {
                let (threads, index) = (plan.threads as u64, index as u64);
                (None, total / threads + u64::from(index < total % threads))
            }
        };
        let (arrivals, schedule) = match (plan.rate, end) {
            (Some(rate), Some(end)) => {
                #[allow(clippy::cast_precision_loss, reason = "a handful of threads")]
                let share = rate / plan.threads as f64;
                let (send, arrivals) = unbounded_channel();
                let schedule = pace::Schedule::new(start, end, share);
                (Some(tokio::sync::Mutex::new(arrivals)), Some((schedule, send)))
            }
            _ => (None, None),
        };
        Self {
            arrivals,
            schedule: Cell::new(schedule),
            random: Cell::new(plan.seed.wrapping_add((index as u64) << 32)),
            plan,
            index,
            begin,
            end,
            left: Cell::new(left),
            sent: Cell::new(0),
            finished: Cell::new(0),
            last_answer: Cell::new(begin),
            tally: RefCell::new(Tally::new()),
        }
    }

    fn goes_on(&self, now: Instant) -> bool {
        self.end.map_or(self.left.get() > 0, |end| now < end)
    }

    /// Starts the thread that keeps the schedule, where there is one.
    fn keep_pace(&self) {
        if let Some((schedule, arrivals)) = self.schedule.take() {
            std::thread::spawn(move || pace::keep(&schedule, &arrivals));
        }
    }

    /// The number of the next request to send on a connection that is `free`, and the moment from
    /// which its latency counts; `None` where the run has ended.
    async fn next(&self, free: Instant) -> Option<(usize, Instant)> {
        let Some(arrivals) = &self.arrivals else {
            if !self.goes_on(free) {
                return None;
            }
            if free >= self.begin {
                self.left.set(self.left.get() - 1);
            }
            return Some((self.pick(), free));
        };
        let due = arrivals.lock().await.recv().await?;
        if self.end.is_some_and(|end| free > end + self.plan.timeout) {
            // Too far behind to catch up: what is still due counts as lost.
            self.fail("not sent in time".to_owned(), 1);
            let mut arrivals = arrivals.lock().await;
            while arrivals.recv().await.is_some() {
                self.fail("not sent in time".to_owned(), 1);
            }
            return None;
        }
        Some((self.pick(), due))
    }

    fn pick(&self) -> usize {
        let requests = self.plan.requests.len();
        let sent = self.sent.get();
        self.sent.set(sent + 1);
        match self.plan.pick {
            Pick::RoundRobin => (sent * self.plan.threads + self.index) % requests,
            Pick::Random => {
                let (state, drawn) = split_mix(self.random.get());
                self.random.set(state);
                usize::try_from(drawn % requests as u64).unwrap_or(0)
            }
        }
    }

    fn answered(&self, head: Head, begun: Instant, ended: Instant) {
        self.finished.set(self.finished.get() + 1);
        let in_time = ended >= self.begin && self.end.is_none_or(|end| ended < end);
        let mut tally = self.tally.borrow_mut();
        if !self.plan.expected.contains(&head.status) {
            if begun >= self.begin {
                *tally.statuses.entry(head.status).or_default() += 1;
            }
            return;
        }
        if begun >= self.begin {
            let nanos = u64::try_from((ended - begun).as_nanos()).unwrap_or(u64::MAX);
            tally.latencies.record(nanos);
        }
        if in_time && (self.end.is_some() || begun >= self.begin) {
            tally.answers += 1;
            tally.body_bytes += head.body_bytes as u64;
            self.last_answer.set(ended);
        }
    }

    fn failed(&self, error: &HttpError, begun: Instant) {
        self.finished.set(self.finished.get() + 1);
        if begun >= self.begin {
            self.fail(error.to_string(), 1);
        }
    }

    fn fail(&self, reason: String, count: u64) {
        *self.tally.borrow_mut().failures.entry(reason).or_default() += count;
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014): the next state and what it draws.
fn split_mix(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state, mixed ^ (mixed >> 31))
}

#[cfg(test)]
mod tests;
