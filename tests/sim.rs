//! Random histories against the model of `src/sim.rs`.
//!
//! `SIM_SEEDS=1000` runs more of them, `SIM_SEED=17` only one, and says what it does. What was tried is printed with `--nocapture`;
//! `src/bin/sim.rs` runs many.

use rookery_tests::sim::{ACTS, Faults, SEEDS, run_many, run_one};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(faults: Faults) {
    if let Some(seed) = number("SIM_SEED") {
        println!("{}", run_one(faults, seed, ACTS));
        return;
    }
    match run_many(faults, 1..=number("SIM_SEEDS").unwrap_or(SEEDS), ACTS) {
        Ok(counts) => println!("{faults:?}: {counts}"),
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn calm() {
    run(Faults::Calm);
}

#[test]
fn with_broken_connections() {
    run(Faults::Cuts);
}

#[test]
fn with_crashes() {
    run(Faults::Crashes);
}

#[test]
fn with_both() {
    run(Faults::Both);
}
