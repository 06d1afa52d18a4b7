//! The readers: a few threads that wait for the disk so that no executor has to.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard};

use proto::row::Reads;

use crate::StoreError;
use crate::client::{Done, Shared, Ticket};

/// Where reads wait for a reader.
#[derive(Default)]
pub(crate) struct ReadDesk {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Asked>,
    /// Readers in the queue's waiting room that nobody has woken yet.
    asleep: usize,
    /// Readers that have started and not ended.
    running: usize,
    stopping: bool,
    stopped: bool,
}

struct Asked {
    client: usize,
    ticket: Ticket,
    reads: Reads,
}

impl ReadDesk {
    /// Queues reads; false when the store has stopped.
    pub(crate) fn submit(&self, client: usize, ticket: Ticket, reads: Reads) -> bool {
        let mut queue = self.lock();
        if queue.stopped {
            return false;
        }
        queue.waiting.push_back(Asked { client, ticket, reads });
        let wake = queue.asleep > 0;
        queue.asleep = queue.asleep.saturating_sub(1);
        drop(queue);
        if wake {
            self.arrived.notify_one();
        }
        true
    }

    /// Asks the readers to end once nothing waits.
    pub(crate) fn stop(&self) {
        self.lock().stopping = true;
        self.arrived.notify_all();
    }

    /// A fair part of what waits; false when it is time to end.
    fn take(&self, taken: &mut Vec<Asked>) -> bool {
        let mut queue = self.lock();
        loop {
            let waiting = queue.waiting.len();
            if waiting > 0 {
                // Leave the others their part: one slow disk read holds up only what was taken with it.
                let part = waiting.div_ceil(queue.running.max(1)).min(READS_TAKEN_MAX);
                taken.extend(queue.waiting.drain(..part));
                return true;
            }
            if queue.stopping {
                queue.running -= 1;
                queue.stopped = true;
                return false;
            }
            // One burst must not decide how much memory an idle server holds.
            queue.waiting.shrink_to(QUEUE_KEPT_LEN);
            queue.asleep += 1;
            queue = self.arrived.wait(queue).expect("nothing panics with the queue");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics with the queue")
    }
}

impl Shared {
    /// A reader thread.
    pub(crate) fn read_until_stopped(&self) {
        self.reads.lock().running += 1;
        let mut taken = Vec::new();
        let mut windows = Vec::new();
        while self.reads.take(&mut taken) {
            self.copy_windows(&mut windows);
            // By client, so that each hears once; within a client in the order asked.
            taken.sort_by_key(|asked| asked.client);
            for mine in taken.chunk_by(|a, b| a.client == b.client) {
                let done = mine.iter().map(|asked| Done::Read(asked.ticket, self.look_up(&asked.reads))).collect();
                self.answer_reads(&windows[mine[0].client], done);
            }
            taken.clear();
        }
    }

    fn look_up(&self, reads: &Reads) -> Result<Vec<proto::row::Found>, StoreError> {
        catch_unwind(AssertUnwindSafe(|| self.backend.read(reads))).unwrap_or(Err(StoreError::Panicked))
    }
}

/// The most reads that one reader takes at once.
const READS_TAKEN_MAX: usize = 32;

/// How many places an emptied queue keeps.
const QUEUE_KEPT_LEN: usize = 1024;
