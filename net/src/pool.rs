//! A few threads for work that would hold up an executor: password hashes, mail, files.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// Something to do once, on whichever thread is free.
pub type Job = Box<dyn FnOnce() + Send>;

/// The threads. Dropping the pool lets them finish what has been given to them.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A way to give work to a [`Pool`].
#[derive(Clone)]
pub struct Hand(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopping: bool,
}

impl Pool {
    /// Starts `threads` threads, at least one.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(name: &str, threads: usize) -> io::Result<Pool> {
        let shared = Arc::new(Shared::default());
        let run = |number| {
            let shared = Arc::clone(&shared);
            Builder::new().name(format!("{name}-{number}")).stack_size(STACK_BYTES).spawn(move || shared.work())
        };
        let threads = (0..threads.max(1)).map(run).collect::<io::Result<_>>()?;
        Ok(Pool { shared, threads })
    }

    /// A way to give work to these threads.
    pub fn hand(&self) -> Hand {
        Hand(Arc::clone(&self.shared))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.arrived.notify_all();
        for thread in self.threads.drain(..) {
            // Jobs that panic are caught; a thread has nothing else that could.
            drop(thread.join());
        }
    }
}

impl Hand {
    /// Queues a job. Nothing is refused: whoever brings work looks at [`Hand::is_full`] and pauses its own input.
    pub fn give(&self, job: Job) {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.lock().jobs.push_back(job);
        self.0.arrived.notify_one();
    }

    /// Whether so much waits that no more should be brought.
    pub fn is_full(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) >= JOBS_MAX
    }
}

impl Shared {
    fn work(&self) {
        while let Some(job) = self.next() {
            // The panic hook has said what happened; whoever waits for the job gives up at a deadline of its own.
            let _panicked = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                return Some(job);
            }
            if queue.stopping {
                return None;
            }
            queue = self.arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it holds the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A few seconds of password hashes.
const JOBS_MAX: usize = 1024;
const STACK_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn does_everything_before_it_ends_and_survives_a_panic() {
        let pool = Pool::start("test", 2).unwrap();
        let (send, receive) = mpsc::channel();
        for number in 0..100 {
            let send = send.clone();
            pool.hand().give(Box::new(move || {
                assert!(number != 7, "one job panics");
                send.send(number).unwrap();
            }));
        }
        drop((pool, send));
        assert_eq!(receive.iter().count(), 99);
    }
}
