//! How much lies in a shard's queues, for those who watch that they are bounded and that quiet shards are empty.

use super::Shard;
use super::desk::Desk;

/// What lies in the queues of one shard, or the largest of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loads {
    /// Connections.
    pub conns: usize,
    /// Bytes for the client that has most to read.
    pub outbox_bytes_max: usize,
    /// Bytes of input that wait on the connection that has most.
    pub pending_bytes_max: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Owners in memory.
    pub owners: usize,
    /// Inputs that wait for the owner that has most of them.
    pub inputs_max: usize,
    /// Effects of one owner that wait for the disk.
    pub held_max: usize,
    /// Answers that are waited for.
    pub tickets: usize,
    /// Calls of the API that are under way.
    pub calls: usize,
}

impl<D: Desk> Shard<D> {
    /// How much lies in the queues.
    pub fn loads(&self) -> Loads {
        Loads {
            conns: self.conns.counts().0,
            outbox_bytes_max: self.conns.all().map(|conn| conn.outbox.bytes()).max().unwrap_or(0),
            pending_bytes_max: self.conns.all().map(|conn| conn.pending.len()).max().unwrap_or(0),
            sessions: self.links.len(),
            owners: self.owners.len(),
            inputs_max: self.owners.values().map(|slot| slot.inbox.len()).max().unwrap_or(0),
            held_max: self.owners.values().map(|slot| slot.held.len()).max().unwrap_or(0),
            tickets: self.waiting.len(),
            calls: self.calls.len(),
        }
    }
}
