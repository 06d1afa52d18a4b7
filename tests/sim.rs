//! Random histories against the model of `src/sim.rs`.
//!
//! `SIM_SEEDS=1000` runs more of them, `SIM_SEED=17` only one, and says what it does.

use rookery_tests::sim::{Faults, Sim};

/// Histories of each kind in a normal run.
const SEEDS: u64 = 150;
const ACTS: usize = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(faults: Faults) {
    if let Some(seed) = number("SIM_SEED") {
        return Sim::new(seed, faults, true).run(ACTS);
    }
    for seed in 1..=number("SIM_SEEDS").unwrap_or(SEEDS) {
        let run = std::panic::catch_unwind(|| Sim::new(seed, faults, false).run(ACTS));
        assert!(run.is_ok(), "{faults:?} failed with SIM_SEED={seed}");
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
