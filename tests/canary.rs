//! Whether the simulator sees anything: each rule of `core/src/canary.rs` is broken in turn, and has to be found within the seeds of
//! a normal run. `tests/canary` builds and runs this.

use proto::canary::{Rule, break_rule};
use rookery_tests::sim::{ACTS, Faults, SEEDS, run_many};

#[test]
fn every_broken_rule_is_found() {
    // The world in which all histories begin keeps the rules.
    run_many(Faults::Calm, 1..=1, ACTS).expect("nothing is broken yet");
    let mut missed = Vec::new();
    for rule in Rule::ALL {
        break_rule(Some(rule));
        let found = Faults::ALL.into_iter().find_map(|faults| run_many(faults, 1..=SEEDS, ACTS).err());
        break_rule(None);
        match found {
            Some(failure) => println!("{rule:?} is broken, and found:\n{failure}"),
            None => missed.push(rule),
        }
    }
    assert!(missed.is_empty(), "broken, and not found: {missed:?}");
}
