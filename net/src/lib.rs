//! The server: executors, sockets, TLS, shards, timers, configuration, command line.
pub mod cli;
mod clock;
pub mod config;
pub mod conn;
pub mod data_dir;
pub mod listen;
mod log;
mod mail;
mod metrics;
mod pool;
pub mod preflight;
mod rt;
mod run;
pub mod server;
pub mod shard;

pub use config::Config;
pub use server::{Server, ServerError};
