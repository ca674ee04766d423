//! One process of the store on one thread: actors and tasks on a runtime whose time is virtual,
//! what blocks as steps between them. The dice say when a step is due, so that everything
//! interleaves in ever new ways, and in the same way for the same seed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix::SystemRunner;
use audience_store::domain::Micros;
use audience_store::env::{Clock, Env, Executor, Job, Turn, Worker, Working};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::dice::Dice;
use crate::disk::Disk;
use crate::trace::Trace;

/// Virtual time after which a process that did not come to its end is taken for stuck.
const PATIENCE: Duration = Duration::from_mins(10);

struct State {
    /// What blocks, by when it is due and in the order it came.
    steps: BTreeMap<(Instant, u64), Job>,
    count: u64,
    workers: Vec<Slot>,
    /// Whether a step is being done: what it starts is done inside it.
    inside: bool,
}

/// A worker, unless it has ended or is at work, and when its next step is due.
struct Slot {
    worker: Option<Box<dyn Worker>>,
    due: Option<Instant>,
}

/// Does everything on the thread that made it.
pub struct Steps {
    state: Mutex<State>,
    changed: Notify,
    dice: Dice,
    trace: Trace,
    /// The longest a step waits for its turn.
    longest: Duration,
}

enum Next {
    Job(Job),
    Worker(usize, Box<dyn Worker>),
}

impl State {
    /// The worker whose step is due first.
    fn next_worker(&self) -> Option<(Instant, usize)> {
        let waiting = self.workers.iter().enumerate().filter(|(_, slot)| slot.worker.is_some());
        waiting.filter_map(|(number, slot)| Some((slot.due?, number))).min()
    }
}

impl Steps {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("steps")
    }

    /// When something that is asked for now is done: at once, soon, or after many others.
    fn due(&self) -> Instant {
        let longest = u64::try_from(self.longest.as_micros()).expect("a short time");
        let wait = match self.dice.roll(4) {
            0 => 0,
            1 | 2 => self.dice.roll(longest / 20 + 1),
            _ => self.dice.roll(longest + 1),
        };
        Instant::now() + Duration::from_micros(wait)
    }

    fn earliest(&self) -> Option<Instant> {
        let state = self.lock();
        let job = state.steps.keys().next().map(|(due, _)| *due);
        job.into_iter().chain(state.next_worker().map(|(due, _)| due)).min()
    }

    fn take(&self) -> Option<Next> {
        let mut state = self.lock();
        let job = state.steps.keys().next().map(|(due, _)| *due);
        let worker = state.next_worker().filter(|(due, _)| job.is_none_or(|job| *due < job));
        if let Some((_, number)) = worker {
            let slot = &mut state.workers[number];
            slot.due = None;
            return slot.worker.take().map(|worker| Next::Worker(number, worker));
        }
        state.steps.pop_first().map(|(_, job)| Next::Job(job))
    }

    /// Does what is due first.
    fn step(&self) {
        let Some(next) = self.take() else { return };
        self.lock().inside = true;
        match next {
            Next::Job(job) => {
                self.trace.event(0, "job");
                job();
            }
            Next::Worker(number, worker) => self.step_worker(number, worker),
        }
        self.lock().inside = false;
    }

    fn step_worker(&self, number: usize, mut worker: Box<dyn Worker>) {
        self.trace.event(0, "worker");
        let turn = worker.step();
        let due = match turn {
            Turn::Stop => return,
            Turn::Again => Some(self.due()),
            Turn::Wait(at_most) => at_most.map(|at_most| Instant::now() + at_most),
        };
        let mut state = self.lock();
        // The bell may have rung meanwhile.
        let slot = &mut state.workers[number];
        slot.due = slot.due.into_iter().chain(due).min();
        slot.worker = Some(worker);
    }

    fn ring(&self, number: usize) {
        let due = self.due();
        let mut state = self.lock();
        let slot = &mut state.workers[number];
        slot.due = Some(slot.due.map_or(due, |earlier| earlier.min(due)));
        drop(state);
        self.changed.notify_one();
    }
}

/// The executor of a process.
struct OneThread(Arc<Steps>);

impl Executor for OneThread {
    fn block(&self, job: Job) {
        if self.0.lock().inside {
            return job();
        }
        let due = self.0.due();
        let mut state = self.0.lock();
        state.count += 1;
        let count = state.count;
        state.steps.insert((due, count), job);
        drop(state);
        self.0.changed.notify_one();
    }

    fn start(&self, _name: &str, mut worker: Box<dyn Worker>) -> io::Result<Box<dyn Working>> {
        let steps = Arc::downgrade(&self.0);
        let number = self.0.lock().workers.len();
        worker.ring(Arc::new(move || {
            if let Some(steps) = steps.upgrade() {
                steps.ring(number);
            }
        }));
        self.0.lock().workers.push(Slot { worker: Some(worker), due: None });
        self.0.ring(number);
        Ok(Box::new(Ends(Arc::clone(&self.0), number)))
    }

    fn has_threads(&self) -> bool {
        false
    }
}

struct Ends(Arc<Steps>, usize);

impl Working for Ends {
    fn join(self: Box<Self>) {
        loop {
            let Some(worker) = self.0.lock().workers[self.1].worker.take() else { return };
            self.0.step_worker(self.1, worker);
        }
    }
}

/// Virtual time: the runtime's, on top of where the wall clock was when the process began.
struct VirtualClock {
    wall: Micros,
    began: Instant,
}

impl Clock for VirtualClock {
    fn now(&self) -> Micros {
        let passed = i64::try_from(self.monotonic().as_micros()).expect("a short run");
        Micros::new(self.wall.get() + passed)
    }

    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A process.
pub struct Machine {
    system: SystemRunner,
    steps: Arc<Steps>,
    disk: Disk,
    pub env: Env,
}

impl Drop for Machine {
    /// Lets go of what the process was doing: workers hold the world, and with it each other.
    fn drop(&mut self) {
        let mut state = self.steps.lock();
        let workers: Vec<_> = state.workers.iter_mut().map(|slot| slot.worker.take()).collect();
        let steps = std::mem::take(&mut state.steps);
        drop(state);
        drop((workers, steps));
    }
}

/// How a process's work came to an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It was done.
    Done,
    /// The machine stopped before.
    Stopped,
    /// Nothing happened any more.
    Stuck,
}

impl Machine {
    /// A process on `disk` whose wall clock begins at `wall`.
    pub fn start(disk: &Disk, dice: &Dice, trace: &Trace, wall: Micros, longest: Duration) -> Self {
        let system = actix::System::with_tokio_rt(|| {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            runtime.enable_time().start_paused(true).build().expect("runtime")
        });
        let state = State { steps: BTreeMap::new(), count: 0, workers: Vec::new(), inside: false };
        let steps = Arc::new(Steps {
            state: Mutex::new(state),
            changed: Notify::new(),
            dice: dice.clone(),
            trace: trace.clone(),
            longest,
        });
        let began = system.block_on(async { Instant::now() });
        let env = Env {
            clock: Arc::new(VirtualClock { wall, began }),
            random: Arc::new(dice.clone()),
            fs: Arc::new(disk.clone()),
            executor: Arc::new(OneThread(Arc::clone(&steps))),
        };
        Self { system, steps, disk: disk.clone(), env }
    }

    /// Does work that blocks, here and now.
    pub fn block<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.system.runtime().tokio_runtime().enter();
        self.steps.lock().inside = true;
        let done = work();
        self.steps.lock().inside = false;
        done
    }

    /// Runs until `work` is done, or the machine stops. `look` is called between steps.
    pub fn run(&self, work: impl Future<Output = ()> + 'static, look: &dyn Fn()) -> End {
        let done = Arc::new((Mutex::new(false), Notify::new()));
        let told = Arc::clone(&done);
        let (task, deadline) = self.system.block_on(async move {
            let task = actix::spawn(async move {
                work.await;
                *told.0.lock().expect("done") = true;
                told.1.notify_one();
            });
            (task, Instant::now() + PATIENCE)
        });
        loop {
            if self.disk.is_dead() {
                return End::Stopped;
            }
            if *done.0.lock().expect("done") {
                return End::Done;
            }
            if task.is_finished() {
                // It panicked, and said so.
                return End::Stuck;
            }
            let stuck = self.system.block_on(self.wait(&done.1, deadline));
            if stuck {
                return End::Stuck;
            }
            let _entered = self.system.runtime().tokio_runtime().enter();
            if self.steps.earliest().is_some_and(|due| due <= Instant::now()) {
                self.steps.step();
                look();
            }
        }
    }

    /// Waits until a step is due or the work done; whether the patience is at its end.
    async fn wait(&self, done: &Notify, deadline: Instant) -> bool {
        // Tasks get their turn between steps, sometimes more of it.
        for _ in 0..=self.steps.dice.roll(3) {
            tokio::task::yield_now().await;
        }
        loop {
            let due = self.steps.earliest();
            if Instant::now() >= deadline {
                return true;
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                return false;
            }
            tokio::select! {
                biased;
                () = done.notified() => return false,
                () = self.steps.changed.notified() => {}
                () = sleep_until(due.unwrap_or(deadline).min(deadline)) => {}
            }
        }
    }

    /// The wall clock.
    pub fn now(&self) -> Micros {
        let _entered = self.system.runtime().tokio_runtime().enter();
        self.env.clock.now()
    }
}
