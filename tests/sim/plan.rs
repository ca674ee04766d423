//! What a run is made of, all of it from its seed; and smaller runs of the same kind.

use std::time::Duration;

use crate::dice::Dice;
use crate::disk::Faults;

/// A run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    pub seed: u64,
    pub users: usize,
    pub clients: usize,
    /// Requests of all clients of a process.
    pub requests: usize,
    /// Processes before the last one.
    pub lives: usize,
    pub faults: Faults,
    /// Whether the disk is full now and then.
    pub fills: bool,
    /// Of ten processes, how many are stopped before they are done.
    pub stops_in_ten: u64,
    /// At which operation of the disk at the latest.
    pub stop_within: u64,
    /// Of ten ends, how many are a loss of power.
    pub loses_in_ten: u64,
    /// The longest that a step waits for its turn.
    pub longest: Duration,
    pub checkpoint_interval: Duration,
    pub segment_bytes: u64,
    pub resident_bytes: u64,
    /// The longest pause of a client, in microseconds.
    pub pause: u64,
}

/// One seed of so many makes a busy run.
const BUSY: u64 = 5;

impl Plan {
    /// The run of a seed.
    pub fn of(seed: u64) -> Self {
        let dice = Dice::new(seed, 1);
        let rate =
            |often: u64, most: u64| if dice.hits(often, 10) { 1 + dice.roll(most) } else { 0 };
        let faults = if dice.hits(1, 2) {
            Faults {
                read: rate(3, 100),
                write: rate(3, 100),
                name: rate(3, 150),
                sync: rate(4, 200),
                no_space: rate(2, 150),
                full: false,
            }
        } else {
            Faults::default()
        };
        let millis = |most: u64| Duration::from_millis(1 + dice.roll(most));
        let plan = Self {
            seed,
            users: 1 + dice.index(2),
            clients: 1 + dice.index(4),
            requests: 4 + dice.index(36),
            lives: 1 + dice.index(4),
            faults,
            fills: dice.hits(2, 10),
            stops_in_ten: dice.roll(10),
            stop_within: 20 + dice.roll(500),
            loses_in_ten: 3 + dice.roll(8),
            longest: millis(20),
            checkpoint_interval: millis(if dice.hits(1, 2) { 400 } else { 4000 }),
            segment_bytes: 4096 << dice.roll(3),
            resident_bytes: 4096 << dice.roll(5),
            pause: 1000 << dice.roll(10),
        };
        if seed % BUSY == BUSY - 1 { plan.busy() } else { plan }
    }

    /// The same with far more requests over far smaller segments: at each moment the log has many
    /// of them, each with records of some partitions that files hold and of some that none holds.
    fn busy(self) -> Self {
        let dice = Dice::new(self.seed, 4);
        Self {
            users: 2,
            clients: 2 + dice.index(3),
            requests: 60 + dice.index(120),
            stop_within: 200 + dice.roll(2000),
            checkpoint_interval: Duration::from_millis(20 + dice.roll(400)),
            segment_bytes: 1024 << dice.roll(2),
            pause: 1000 << dice.roll(7),
            ..self
        }
    }

    /// Runs a step smaller than this one, the smallest first.
    pub fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            if plan != *self {
                all.push(plan);
            }
        };
        with(&|plan| plan.faults = Faults::default());
        with(&|plan| plan.lives = 1);
        with(&|plan| plan.requests = (plan.requests / 2).max(1));
        with(&|plan| plan.lives = plan.lives.saturating_sub(1).max(1));
        with(&|plan| plan.clients = 1);
        with(&|plan| plan.users = 1);
        with(&|plan| plan.fills = false);
        with(&|plan| plan.faults.read = 0);
        with(&|plan| plan.faults.write = 0);
        with(&|plan| plan.faults.name = 0);
        with(&|plan| plan.faults.sync = 0);
        with(&|plan| plan.faults.no_space = 0);
        with(&|plan| plan.stops_in_ten = 0);
        with(&|plan| plan.requests = (plan.requests - plan.requests / 4).max(1));
        with(&|plan| plan.requests = plan.requests.saturating_sub(1).max(1));
        all
    }

    /// The smallest run of this kind that still goes wrong, tried a bounded number of times.
    pub fn shrunk(&self, goes_wrong: impl Fn(&Self) -> bool) -> Self {
        let mut smallest = self.clone();
        let mut tries = 400;
        'smaller: loop {
            for plan in smallest.smaller() {
                tries -= 1;
                if tries == 0 {
                    return smallest;
                }
                if goes_wrong(&plan) {
                    smallest = plan;
                    continue 'smaller;
                }
            }
            return smallest;
        }
    }
}
