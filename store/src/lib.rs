//! Tables, keys and bytes on disk: RocksDB with group commit, and an in-memory twin that behaves the same.
//!
//! This crate carries out the [`Reads`](proto::row::Reads) and [`Batch`](proto::row::Batch)es that handlers speak of. It does not
//! know what a roster is, and it knows no executor: it blocks, on threads of its own, and hands results to a [`Sink`].
//!
//! # The map
//!
//! - [`Backend`] is a blocking engine: [`Rocks`] (RocksDB, one column family per table) or [`Memory`] (ordered maps, with faults
//!   that tests inject). One suite, `tests/suite.rs`, holds both to the same behaviour.
//! - [`Store`] puts threads around a backend: one commit thread for all shards (`commit.rs`) and a few readers (`read.rs`). A
//!   shard talks to it through its [`Client`], whose calls never block.
//! - `migrate.rs` knows the format version of the whole store; formats of single rows belong to whoever writes them.
//!
//! # Invariants
//!
//! - *Acknowledged means on disk.* `Done::Commit(_, Ok(()))` follows the sync of the write-ahead log that holds the batch, and a
//!   row becomes visible to reads only after that sync.
//! - *Order.* Batches of one client are committed and answered in the order submitted; a crash keeps a prefix of them.
//! - *All or nothing.* A batch is never half there, neither for a reader nor after a crash.
//! - *One moment.* All the reads of one `Reads` see the same state.
//! - *A failure is final.* After the first commit that failed, every later one is refused until the process starts again: what
//!   the disk holds then is unknown, and only recovery at the next start can say. Reads go on.
//! - *No shard waits.* Nothing a client calls touches the disk; when too much waits, [`Client::backlog`] says so and the
//!   producer pauses its own input.

mod backend;
mod client;
mod commit;
mod error;
mod gather;
mod memory;
mod migrate;
mod read;
mod rocks;
mod stats;
mod tune;

pub use backend::Backend;
pub use client::{Backlog, Client, Done, Sink, Store, Ticket};
pub use error::StoreError;
pub use memory::Memory;
pub use migrate::{FORMAT, META};
pub use rocks::Rocks;
pub use stats::Stats;
pub use tune::Tuning;
