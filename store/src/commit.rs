//! Group commit: one thread writes for all shards, and everything that arrives while one sync runs shares the next.
//!
//! An idle store commits a lone batch at once, and under load the groups grow to whatever arrives in the time of one sync, or in
//! the moment that a group may wait for others (`gather.rs`). A submitter takes one short lock and wakes the thread only if it
//! waits for just this batch, so at saturation the hand-over costs no system call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Instant;

use proto::row::Batch;

use crate::StoreError;
use crate::client::{Done, Shared, Ticket, Window};
use crate::gather::{GATHER_TIME_MAX, Gathering};
use crate::stats::count;

/// Where batches wait for the commit thread.
#[derive(Default)]
pub(crate) struct CommitDesk {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Set once, by the first failure.
    failure: Mutex<Option<Arc<StoreError>>>,
}

#[derive(Default)]
struct Queue {
    waiting: Waiting,
    /// The thread sleeps until so many batches wait; zero while it does not sleep.
    asleep_until: usize,
    stopping: bool,
    stopped: bool,
}

/// Batches and, at the same index, whose they are. Apart, because the backend takes a slice of batches.
#[derive(Default)]
struct Waiting {
    batches: Vec<Batch>,
    tags: Vec<Tag>,
}

#[derive(Clone, Copy)]
struct Tag {
    client: usize,
    ticket: Ticket,
    bytes: usize,
}

impl CommitDesk {
    /// Queues a batch; false when the store has stopped.
    pub(crate) fn submit(&self, client: usize, ticket: Ticket, batch: Batch, bytes: usize) -> bool {
        let mut queue = self.lock();
        if queue.stopped {
            return false;
        }
        queue.waiting.batches.push(batch);
        queue.waiting.tags.push(Tag { client, ticket, bytes });
        // Whoever makes them as many as the thread waits for wakes it, and only that one.
        let wake = (1..=queue.waiting.tags.len()).contains(&queue.asleep_until);
        if wake {
            queue.asleep_until = 0;
        }
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
        true
    }

    /// Asks the thread to end once nothing waits.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_one();
    }

    /// The first failure, if there was one.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        self.first_failure().map(|first| StoreError::clone(&first))
    }

    fn first_failure(&self) -> Option<Arc<StoreError>> {
        self.failure.lock().expect("nothing panics with the failure").clone()
    }

    fn fail(&self, error: &StoreError) {
        let mut failure = self.failure.lock().expect("nothing panics with the failure");
        failure.get_or_insert_with(|| Arc::new(error.clone()));
    }

    /// Everything that waits, in exchange for empty lists to collect the next in; false when it is time to end.
    fn take(&self, taken: &mut Waiting, gathering: &mut Gathering, last: Instant) -> bool {
        let mut queue = self.lock();
        while queue.waiting.tags.is_empty() {
            if queue.stopping {
                queue.stopped = true;
                return false;
            }
            queue.asleep_until = 1;
            queue = self.arrived.wait(queue).expect("nothing panics with the queue");
            queue.asleep_until = 0;
        }
        let start = Instant::now();
        let wanted = gathering.begin(start.duration_since(last));
        let mut left = GATHER_TIME_MAX;
        while queue.waiting.tags.len() < wanted && !left.is_zero() && !queue.stopping {
            queue.asleep_until = wanted;
            (queue, _) = self.arrived.wait_timeout(queue, left).expect("nothing panics with the queue");
            queue.asleep_until = 0;
            left = GATHER_TIME_MAX.saturating_sub(start.elapsed());
        }
        gathering.end(queue.waiting.tags.len(), left.is_zero());
        std::mem::swap(&mut queue.waiting, taken);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics with the queue")
    }
}

impl Shared {
    /// The commit thread.
    pub(crate) fn commit_until_stopped(&self) {
        let mut taken = Waiting::default();
        let mut windows = Vec::new();
        let mut gathering = Gathering::default();
        let mut last = Instant::now();
        while self.commits.take(&mut taken, &mut gathering, last) {
            self.copy_windows(&mut windows);
            let mut rest = 0;
            while rest < taken.tags.len() {
                let end = rest + group_len(&taken.tags[rest..]);
                self.commit_group(&taken.batches[rest..end], &taken.tags[rest..end], &windows);
                rest = end;
            }
            taken.batches.clear();
            taken.tags.clear();
            // One burst must not decide how much memory an idle server holds.
            taken.batches.shrink_to(QUEUE_KEPT_LEN);
            taken.tags.shrink_to(QUEUE_KEPT_LEN);
            last = Instant::now();
        }
    }

    fn commit_group(&self, batches: &[Batch], tags: &[Tag], windows: &[Arc<Window>]) {
        match self.try_commit(batches, tags) {
            Ok(()) => self.answer_group(tags, windows, &Ok(())),
            // Nothing was written: find the batches at fault, and do not let them harm their neighbours.
            Err(error) if error.is_callers_fault() => {
                for (batch, tag) in batches.iter().zip(tags) {
                    let result = self.try_commit(std::slice::from_ref(batch), std::slice::from_ref(tag));
                    self.answer_group(std::slice::from_ref(tag), windows, &result);
                }
            }
            Err(error) => self.answer_group(tags, windows, &Err(error)),
        }
    }

    /// One write and one sync; the first failure ends all writing.
    fn try_commit(&self, batches: &[Batch], tags: &[Tag]) -> Result<(), StoreError> {
        if let Some(first) = self.commits.first_failure() {
            return Err(StoreError::ReadOnly { first });
        }
        let start = Instant::now();
        let result =
            catch_unwind(AssertUnwindSafe(|| self.backend.commit(batches))).unwrap_or(Err(StoreError::Panicked));
        match &result {
            Ok(()) => {
                let counters = &self.counters;
                count(&counters.commits, tags.len() as u64);
                count(&counters.groups, 1);
                count(&counters.syncs, 1);
                count(&counters.bytes, tags.iter().map(|tag| tag.bytes as u64).sum());
                let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                counters.last_sync_micros.store(micros, Ordering::Relaxed);
            }
            Err(error) if error.is_callers_fault() => {}
            Err(error) => self.end_writing(error),
        }
        result
    }

    /// Refuses every commit from now on.
    pub(crate) fn end_writing(&self, error: &StoreError) {
        self.commits.fail(error);
        self.counters.read_only.store(true, Ordering::Relaxed);
    }

    /// One call to each sink that had a part in the group, its tickets in the order submitted.
    fn answer_group(&self, tags: &[Tag], windows: &[Arc<Window>], result: &Result<(), StoreError>) {
        if result.is_err() {
            count(&self.counters.refused, tags.len() as u64);
        }
        let mut answers: Vec<(Vec<Done>, usize)> = Vec::with_capacity(windows.len());
        answers.resize_with(windows.len(), Default::default);
        for tag in tags {
            let (done, bytes) = &mut answers[tag.client];
            done.push(Done::Commit(tag.ticket, result.clone()));
            *bytes += tag.bytes;
        }
        for (window, (done, bytes)) in windows.iter().zip(answers) {
            if !done.is_empty() {
                self.answer_commits(window, done.len(), bytes, done);
            }
        }
    }
}

/// How many of the waiting batches go into one group: at least one, and not many more bytes than the bound.
fn group_len(tags: &[Tag]) -> usize {
    let mut bytes = 0;
    let fits = tags.iter().take_while(|tag| {
        bytes += tag.bytes;
        bytes <= GROUP_BYTES_MAX
    });
    fits.count().max(1)
}

/// The most bytes that one sync carries: beyond it, waiting for the disk costs more than another sync.
const GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many places an emptied queue keeps.
const QUEUE_KEPT_LEN: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(bytes: usize) -> Tag {
        Tag { client: 0, ticket: Ticket(0), bytes }
    }

    #[test]
    fn groups_are_bounded_in_bytes_but_never_empty() {
        assert_eq!(group_len(&[tag(1), tag(1), tag(1)]), 3);
        assert_eq!(group_len(&[tag(GROUP_BYTES_MAX), tag(1)]), 1);
        assert_eq!(group_len(&[tag(GROUP_BYTES_MAX * 2), tag(1)]), 1);
        assert_eq!(group_len(&[tag(GROUP_BYTES_MAX - 1), tag(1), tag(1)]), 2);
    }
}
