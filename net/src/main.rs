//! The binary: arguments, configuration, run.

use std::process::ExitCode;

use clap::Parser;
use rookery::cli::Cli;

/// RocksDB's C++ keeps the allocator of the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("rookery: {sentence}");
            ExitCode::FAILURE
        }
    }
}
