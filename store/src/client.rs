//! The store as a shard sees it: submit without waiting, hear back in batches.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::{Builder, JoinHandle};

use proto::row::{Batch, Found, Reads};

use crate::StoreError;
use crate::backend::{Backend, batch_bytes};
use crate::commit::CommitDesk;
use crate::read::ReadDesk;
use crate::stats::{Counters, Stats};

/// What a client calls a request of its own, to know its answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The end of one request.
#[derive(Debug)]
pub enum Done {
    /// A read: one answer per read asked for, in order.
    Read(Ticket, Result<Vec<Found>, StoreError>),
    /// A commit: on `Ok` the batch is on disk.
    Commit(Ticket, Result<(), StoreError>),
}

/// Where a client's answers go.
pub trait Sink: Send + Sync + 'static {
    /// Takes everything that has finished for this client; called once per group, so that one wake serves many answers.
    ///
    /// Called from the threads of the store (and, after the store has stopped, from within the call that is refused): it hands
    /// over and returns, and must neither block nor panic.
    fn done(&self, done: Vec<Done>);
}

/// A backend with its threads: one that commits for everybody, and a few that read.
pub struct Store {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Store {
    /// Starts the commit thread and `readers` reader threads (at least one).
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(backend: Arc<dyn Backend>, readers: usize) -> io::Result<Store> {
        let shared = Arc::new(Shared {
            backend,
            commits: CommitDesk::default(),
            reads: ReadDesk::default(),
            windows: RwLock::new(Vec::new()),
            counters: Counters::default(),
        });
        let store = Store { shared: Arc::clone(&shared), threads: Mutex::new(Vec::new()) };
        store.spawn("store-commit".to_owned(), |shared| shared.commit_until_stopped())?;
        for number in 0..readers.max(1) {
            store.spawn(format!("store-read-{number}"), |shared| shared.read_until_stopped())?;
        }
        Ok(store)
    }

    fn spawn(&self, name: String, run: fn(&Shared)) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let thread = Builder::new().name(name).stack_size(THREAD_STACK_BYTES).spawn(move || run(&shared))?;
        self.threads.lock().expect("nothing panics with the threads' list").push(thread);
        Ok(())
    }

    /// A new client, whose answers go to `sink`. One for each shard, for the life of the store.
    pub fn client(&self, sink: Arc<dyn Sink>) -> Client {
        let window = Arc::new(Window {
            sink,
            commits: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        });
        let mut windows = self.shared.windows.write().expect("nothing panics with the windows");
        windows.push(Arc::clone(&window));
        Client { shared: Arc::clone(&self.shared), number: windows.len() - 1, window }
    }

    /// The engine below, for work outside the shards (start-up, the command line); it blocks.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.shared.backend
    }

    /// Counters for the metrics.
    pub fn stats(&self) -> Stats {
        self.shared.counters.view()
    }

    /// The failure that ended all writing, if there was one; a server in this state is not ready for traffic.
    pub fn failure(&self) -> Option<StoreError> {
        self.shared.commits.failure()
    }

    /// Finishes everything that has been submitted, answers it, ends the threads and leaves the disk tidy.
    ///
    /// Whatever is submitted later is answered with [`StoreError::Stopped`]. A second call does nothing more.
    ///
    /// # Errors
    /// The failure that ended all writing, or what went wrong while tidying (nothing acknowledged is at risk).
    pub fn flush_and_stop(&self) -> Result<(), StoreError> {
        let threads = std::mem::take(&mut *self.threads.lock().expect("nothing panics with the threads' list"));
        if threads.is_empty() {
            return Ok(());
        }
        self.shared.commits.stop();
        self.shared.reads.stop();
        let mut panicked = false;
        for thread in threads {
            panicked |= thread.join().is_err();
        }
        if panicked {
            return Err(StoreError::Panicked);
        }
        match self.failure() {
            Some(first) => Err(first),
            None => self.shared.backend.settle(),
        }
    }
}

impl Drop for Store {
    /// Ends the threads after what has been submitted; without tidying, which may take its time.
    fn drop(&mut self) {
        self.shared.commits.stop();
        self.shared.reads.stop();
        let threads = std::mem::take(&mut *self.threads.lock().expect("nothing panics with the threads' list"));
        for thread in threads {
            // A thread that panicked has said so through the panic hook, and a drop can report nothing.
            drop(thread.join());
        }
    }
}

/// One shard's way to the store. Nothing here blocks.
pub struct Client {
    shared: Arc<Shared>,
    number: usize,
    window: Arc<Window>,
}

impl Client {
    /// Submits a batch; the sink hears [`Done::Commit`] with this ticket, after those of all batches submitted before.
    pub fn commit(&self, ticket: Ticket, batch: Batch) {
        let bytes = batch_bytes(&batch);
        self.window.commits.fetch_add(1, Ordering::Relaxed);
        self.window.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.counters.commits_submitted.fetch_add(1, Ordering::Release);
        if !self.shared.commits.submit(self.number, ticket, batch, bytes) {
            self.shared.answer_commits(&self.window, 1, bytes, vec![Done::Commit(ticket, Err(StoreError::Stopped))]);
        }
    }

    /// Submits reads; the sink hears [`Done::Read`] with this ticket. Answers come in no particular order, and reads see what is
    /// committed when they run: to see a write of one's own, ask after it is done.
    pub fn read(&self, ticket: Ticket, reads: Reads) {
        self.window.reads.fetch_add(1, Ordering::Relaxed);
        self.shared.counters.reads_submitted.fetch_add(1, Ordering::Release);
        if !self.shared.reads.submit(self.number, ticket, reads) {
            self.shared.answer_reads(&self.window, vec![Done::Read(ticket, Err(StoreError::Stopped))]);
        }
    }

    /// The answers at once, when memory has them all; otherwise `None`, and [`Client::read`] is the way.
    pub fn cached(&self, reads: &Reads) -> Option<Result<Vec<Found>, StoreError>> {
        self.shared.backend.cached(reads)
    }

    /// What this client has submitted and not yet heard about.
    pub fn backlog(&self) -> Backlog {
        Backlog {
            commits: self.window.commits.load(Ordering::Relaxed),
            bytes: self.window.bytes.load(Ordering::Relaxed),
            reads: self.window.reads.load(Ordering::Relaxed),
        }
    }
}

/// What waits for the store. Nothing is refused for being too much: whoever produces it watches this and pauses its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Batches not yet durable.
    pub commits: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Reads not yet answered.
    pub reads: usize,
}

impl Backlog {
    /// The most batches that should wait for one client.
    pub const COMMITS_MAX: usize = 16 * 1024;
    /// The most bytes that should wait for one client.
    pub const BYTES_MAX: usize = 16 * 1024 * 1024;
    /// The most reads that should wait for one client.
    pub const READS_MAX: usize = 4 * 1024;

    /// Whether the producer should pause until this is false again.
    pub fn is_full(&self) -> bool {
        self.commits >= Self::COMMITS_MAX || self.bytes >= Self::BYTES_MAX || self.reads >= Self::READS_MAX
    }
}

/// Everything the threads and the clients share.
pub(crate) struct Shared {
    pub backend: Arc<dyn Backend>,
    pub commits: CommitDesk,
    pub reads: ReadDesk,
    /// By client number; only ever grows.
    pub windows: RwLock<Vec<Arc<Window>>>,
    pub counters: Counters,
}

/// Where one client's answers come out, with what it still waits for.
pub(crate) struct Window {
    sink: Arc<dyn Sink>,
    commits: AtomicUsize,
    bytes: AtomicUsize,
    reads: AtomicUsize,
}

impl Shared {
    /// Hands over ended commits. The backlog falls first, so that the sink's shard sees room when it wakes.
    pub(crate) fn answer_commits(&self, window: &Window, commits: usize, bytes: usize, done: Vec<Done>) {
        window.commits.fetch_sub(commits, Ordering::Relaxed);
        window.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.counters.commits_answered.fetch_add(commits as u64, Ordering::Release);
        self.hand_over(window, done);
    }

    /// Hands over ended reads.
    pub(crate) fn answer_reads(&self, window: &Window, done: Vec<Done>) {
        window.reads.fetch_sub(done.len(), Ordering::Relaxed);
        self.counters.reads_answered.fetch_add(done.len() as u64, Ordering::Release);
        self.hand_over(window, done);
    }

    /// A sink that panics has lost answers: better to say that the store is out of order than to go silent with a dead thread.
    fn hand_over(&self, window: &Window, done: Vec<Done>) {
        if catch_unwind(AssertUnwindSafe(|| window.sink.done(done))).is_err() {
            self.end_writing(&StoreError::Panicked);
        }
    }

    /// Brings a thread's own copy of the windows up to date, so that it holds no lock while sinks run.
    pub(crate) fn copy_windows(&self, copy: &mut Vec<Arc<Window>>) {
        let windows = self.windows.read().expect("nothing panics with the windows");
        copy.extend(windows[copy.len()..].iter().cloned());
    }
}

/// Enough for RocksDB's deepest calls; the memory is touched only when used.
const THREAD_STACK_BYTES: usize = 1024 * 1024;
