//! Random histories of a server in memory: `sim [SEEDS [FIRST]]` tries so many seeds of each kind, from the first one on, and says
//! what was done and checked. A failure is told with its seed and the shortest history found.

use std::process::ExitCode;

use rookery_tests::sim::{ACTS, Counts, Faults, run_many};

/// Histories between two lines of output.
const ROUND: u64 = 500;

fn main() -> ExitCode {
    let number = |at| std::env::args().nth(at).map(|number| number.parse::<u64>());
    let (seeds, first) = match (number(1).unwrap_or(Ok(1_000)), number(2).unwrap_or(Ok(1))) {
        (Ok(seeds), Ok(first)) => (seeds, first),
        (_, _) => {
            eprintln!("usage: sim [SEEDS [FIRST]]");
            return ExitCode::FAILURE;
        }
    };
    let mut all = Counts::default();
    let end = first.saturating_add(seeds);
    for from in (first..end).step_by(ROUND as usize) {
        let to = end.min(from + ROUND) - 1;
        for faults in Faults::ALL {
            match run_many(faults, from..=to, ACTS) {
                Ok(counts) => all += counts,
                Err(failure) => {
                    println!("{failure}");
                    return ExitCode::FAILURE;
                }
            }
        }
        println!("seeds {first} to {to}: {all}");
    }
    ExitCode::SUCCESS
}
