//! Commands to other owners that are not yet confirmed: kept with their sender's rows and repeated after a restart.

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::owner::Owner;
use crate::row::{self, Batch, Key, Table, Unreadable};

/// sender, id → receiver and command.
pub static JOBS: Table = Table::new("jobs");

const VERSION: u8 = 1;

/// A stored job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Who waits for the confirmation.
    pub from: Owner,
    /// Its number there.
    pub id: u64,
    /// Who is to do it.
    pub to: Owner,
    /// What.
    pub command: Command,
}

/// Adds a job's row to the batch that makes it necessary.
pub fn keep(batch: &mut Batch, from: &Owner, id: u64, to: &Owner, command: &Command) {
    let job = Job { from: *from, id, to: *to, command: command.clone() };
    batch.put(&JOBS, key(from, id), row::encode(VERSION, &job));
}

/// Removes the row of a job that was confirmed.
pub fn forget(batch: &mut Batch, from: &Owner, id: u64) {
    batch.delete(&JOBS, key(from, id));
}

/// A job as it was kept.
pub fn read(value: &[u8]) -> Result<Job, Unreadable> {
    row::decode(VERSION, value)
}

fn key(from: &Owner, id: u64) -> Key {
    Key::of(from).u64(id)
}
