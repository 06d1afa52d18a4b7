//! The server: the only crate that awaits, and the binary `rookery`.
//!
//! # The map
//!
//! - [`server`] starts and stops everything, for the binary ([`cli`]) and for tests; [`config`], [`preflight`], [`data_dir`] and
//!   [`listen`] are what a start goes through.
//! - [`shard`] is what happens on one core, without any waiting: connections, owners, calls.
//! - `run` drives a shard: one task per connection (`run/driver.rs`), its mailbox, its tick, and what it asks of the world
//!   (`run/desk.rs`).
//! - [`conn`] is what lies between socket and shard: TLS and WebSocket frames, over memory.
//! - [`rt`] is the seam to the executor; nothing else knows which one it is. It is public for `bench/relay`, which shows what the
//!   runtime and TLS cost without a server.
//! - [`link_local`] is the bridge to the local network: a thread, its sockets, and multicast DNS.
//! - `pool`, `mail` and [`files`] are threads and their work: what would hold an executor up; `metrics` and `log` are for those who watch.
//!
//! # Invariants
//!
//! - No shard waits for the disk, for another shard, or for a client.
//! - A shard is borrowed for one call and given back before anything is awaited.
//! - What is not bounded by its own limit pauses whoever produces it: clients are not read from while too much waits.
//! - A panic ends the connection (or the input) that led to it, is counted, and ends nothing else.

pub mod cli;
mod clock;
pub mod config;
pub mod conn;
pub mod data_dir;
pub mod files;
pub mod link_local;
pub mod listen;
mod log;
mod mail;
mod metrics;
mod pool;
pub mod preflight;
pub mod rt;
mod run;
pub mod server;
pub mod shard;

pub use config::Config;
pub use server::{Server, ServerError};
