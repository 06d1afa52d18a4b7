//! Counters that the metrics page shows.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What the store has done since it was started, and what waits; one moment's view, without a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches acknowledged as durable.
    pub commits: u64,
    /// Groups they were committed in.
    pub groups: u64,
    /// Bytes of keys and values acknowledged.
    pub bytes: u64,
    /// Syncs of the write-ahead log asked for; one per group.
    pub syncs: u64,
    /// Batches that failed or were refused.
    pub refused: u64,
    /// Batches waiting or being committed.
    pub commits_waiting: u64,
    /// How long the last group took to be written and synced, in microseconds.
    pub last_sync_micros: u64,
    /// Reads that the readers have answered (those answered from memory by the asking thread are not counted).
    pub reads: u64,
    /// Reads waiting or being carried out.
    pub reads_waiting: u64,
    /// Whether a failure has ended all writing.
    pub read_only: bool,
}

/// The live counters behind [`Stats`].
#[derive(Default)]
pub(crate) struct Counters {
    pub commits: AtomicU64,
    pub groups: AtomicU64,
    pub bytes: AtomicU64,
    pub syncs: AtomicU64,
    pub refused: AtomicU64,
    pub commits_submitted: AtomicU64,
    pub commits_answered: AtomicU64,
    pub last_sync_micros: AtomicU64,
    pub reads_submitted: AtomicU64,
    pub reads_answered: AtomicU64,
    pub read_only: AtomicBool,
}

impl Counters {
    pub(crate) fn view(&self) -> Stats {
        // Answered before submitted: the difference is never below zero.
        let answered = self.commits_answered.load(Ordering::Acquire);
        let reads = self.reads_answered.load(Ordering::Acquire);
        Stats {
            commits: self.commits.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            commits_waiting: self.commits_submitted.load(Ordering::Acquire).saturating_sub(answered),
            last_sync_micros: self.last_sync_micros.load(Ordering::Relaxed),
            reads,
            reads_waiting: self.reads_submitted.load(Ordering::Acquire).saturating_sub(reads),
            read_only: self.read_only.load(Ordering::Relaxed),
        }
    }
}

/// Adds to a counter that nothing is ordered by.
pub(crate) fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}
