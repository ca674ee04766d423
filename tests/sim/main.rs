//! The whole store under simulation: one thread, virtual time, a disk that loses, tears, reorders
//! and refuses. A seed decides everything; `docs/guarantees.md` says what is checked.

mod client;
mod dice;
mod disk;
mod machine;
mod model;
mod plan;
mod run;
mod trace;

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
            let around = |text: &[String]| text[at.saturating_sub(5)..(at + 3).min(text.len())].join("\n");
            panic!("seed {seed} at {at}:\n{}\n---\n{}", around(&one.text), around(&other.text));
        }
        events += one.sum.1;
    }
    assert!(events > 10_000, "{events} events");
}

#[test]
fn seeds() {
    for seed in 0..std::env::var("SIM").ok().and_then(|s| s.parse().ok()).unwrap_or(20) {
        let out = run(&Plan::of(seed), false);
        println!("{seed}: {:?} {:?} {}", out.wrong, out.sum, out.acknowledged);
    }
}
