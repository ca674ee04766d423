//! The whole store under simulation: one thread, virtual time, a disk that loses, tears, reorders
//! and refuses. A seed decides everything; `docs/guarantees.md` says what is checked.

#![allow(clippy::disallowed_methods, reason = "the time a run takes is the machine's")]

mod client;
mod dice;
mod disk;
mod durable;
mod log_end;
mod machine;
mod model;
mod names;
mod plan;
mod run;
mod trace;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use plan::Plan;
use run::run;

#[test]
fn same_seed_same_run_to_the_byte() {
    let mut events = 0;
    for seed in 0..24 {
        let plan = Plan::of(seed);
        let (one, other) = (run(&plan, true), run(&plan, true));
        if one.sum != other.sum {
            let at = one.text.iter().zip(&other.text).position(|(a, b)| a != b);
            let at = at.unwrap_or(one.text.len().min(other.text.len()));
            let around =
                |text: &[String]| text[at.saturating_sub(5)..(at + 3).min(text.len())].join("\n");
            panic!("seed {seed} at {at}:\n{}\n---\n{}", around(&one.text), around(&other.text));
        }
        events += one.sum.1;
    }
    assert!(events > 10_000, "{events} events");
}

/// Seeds of a run where nobody says how many.
const SEEDS: u64 = 300;

/// Seeds that went wrong once, one a line, with what was the matter.
const FAILED_ONCE: &str = include_str!("failed-once.txt");

/// Failures that were made smaller.
static SHRUNK: AtomicU64 = AtomicU64::new(0);
/// How many of a run are: one alone can take a minute.
const MOST_SHRUNK: u64 = 3;

/// Runs a plan, and a failure once more, smaller.
fn check(seed: u64) -> Result<u64, String> {
    let plan = Plan::of(seed);
    let outcome = run(&plan, false);
    let Some(wrong) = outcome.wrong else { return Ok(outcome.acknowledged) };
    if SHRUNK.fetch_add(1, Ordering::Relaxed) >= MOST_SHRUNK {
        return Err(format!("seed {seed}: {wrong}"));
    }
    let small = plan.shrunk(|plan| run(plan, false).wrong.is_some());
    let again = run(&small, true);
    let shown = number("AUDIENCE_STORE_SIM_SHOWN").and_then(|n| n.try_into().ok()).unwrap_or(SHOWN);
    let last: Vec<String> = again.text.iter().rev().take(shown).rev().cloned().collect();
    Err(format!(
        "seed {seed}: {wrong}\nsmallest: {small:?}\n{}\nits last events:\n{}\n",
        again.wrong.unwrap_or_default(),
        last.join("\n"),
    ))
}

/// Events of a failure that are shown.
const SHOWN: usize = 80;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// `AUDIENCE_STORE_SIM_SEEDS` says how many, `AUDIENCE_STORE_SIM_FIRST` where they begin,
/// `AUDIENCE_STORE_SIM_SHOWN` how much of a failure is shown.
#[test]
fn nothing_is_lost_whatever_the_disk_does() {
    let (first, count) = (number("AUDIENCE_STORE_SIM_FIRST"), number("AUDIENCE_STORE_SIM_SEEDS"));
    let first = first.unwrap_or(0);
    let known = FAILED_ONCE.lines().filter_map(|line| line.split_whitespace().next());
    let mut seeds: Vec<u64> =
        known.filter(|word| *word != "#").map(|seed| seed.parse().expect("a seed")).collect();
    let known = seeds.len();
    let asked = first..first + count.unwrap_or(SEEDS);
    seeds.extend(asked.filter(|seed| !seeds.contains(seed)).collect::<Vec<_>>());
    let (next, acknowledged) = (AtomicUsize::new(0), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    let rate = |done: usize| done as f64 * 60.0 / began.elapsed().as_secs_f64();
    let work = || {
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            match check(*seed) {
                Ok(changes) => drop(acknowledged.fetch_add(changes, Ordering::Relaxed)),
                Err(said) => {
                    println!("{said}");
                    failures.lock().expect("failures").push(*seed);
                }
            }
            let done = next.load(Ordering::Relaxed);
            if done.is_multiple_of(5000) {
                println!("{done} seeds, {:.0} a minute", rate(done));
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    println!(
        "{} seeds ({known} that failed once), {:.0} a minute, {} acknowledged changes",
        seeds.len(),
        rate(seeds.len()),
        acknowledged.load(Ordering::Relaxed),
    );
    let failures = failures.into_inner().expect("failures");
    assert!(failures.is_empty(), "keep these in tests/sim/failed-once.txt: {failures:?}");
}
