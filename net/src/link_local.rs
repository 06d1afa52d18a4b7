//! The bridge to the local network (XEP-0174): a thread of its own, with a socket for streams and a multicast DNS daemon.
//!
//! What it means is in [`proto::link_local`]. Shards tell the bridge things through a `Line`, and it posts stanzas to the shards of
//! the accounts they are for, as any shard would. Nothing of it runs on an executor, and nothing runs at all unless the operator has
//! switched it on.
//!
//! | subject | file |
//! |---|---|
//! | the thread: sockets, streams, who may speak to whom | `gateway` |
//! | what is said and heard over multicast DNS | `announcer` |
//! | which addresses are on the link | `near` |

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use mio::{Poll, Waker};
use proto::link_local::Word;

use crate::rt::Address;
use crate::run::Post;
use crate::shard::Places;

mod announcer;
mod gateway;
mod near;

use announcer::Announcer;
use gateway::Gateway;
use near::Near;

/// What the operator has set, and where accounts are.
pub(crate) struct Setup {
    /// The domain of the service.
    pub domain: Arc<str>,
    /// The chat domain.
    pub chat_domain: Arc<str>,
    /// The first part of the host's name.
    pub machine: String,
    /// Where streams come in.
    pub listen: SocketAddr,
    /// The names of the interfaces; none for all that can be.
    pub interfaces: Vec<String>,
    /// The shards.
    pub peers: Arc<[Address<Post>]>,
    pub places: Places,
}

/// Why the bridge does not start.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody could reach it.
    #[error("cannot listen at {0} for serverless streams: {1}; set `listen` under [link_local]")]
    Listen(SocketAddr, io::Error),
    /// Nobody would know of it.
    #[error("multicast DNS does not start: {0}")]
    Mdns(#[from] mdns_sd::Error),
    /// Its thread.
    #[error("the bridge to the local network does not start: {0}")]
    Thread(#[from] io::Error),
}

/// The bridge at work. Dropping it says goodbye for everybody, and ends it.
pub(crate) struct Bridge {
    line: Line,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

/// A way to tell the bridge something.
#[derive(Clone)]
pub(crate) struct Line {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    waiting: Arc<AtomicUsize>,
}

/// What the bridge's thread is given.
enum Order {
    Word(Box<Word>),
    Stop,
}

impl Bridge {
    /// Starts it.
    ///
    /// # Errors
    /// What stands in the way.
    pub fn start(setup: Setup) -> Result<Bridge, LinkError> {
        let listener = TcpListener::bind(setup.listen).map_err(|error| LinkError::Listen(setup.listen, error))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        let (orders, given) = mpsc::channel();
        let waker = Arc::new(Waker::new(poll.registry(), gateway::WAKE)?);
        let waiting = Arc::new(AtomicUsize::new(0));
        let near = Near::new(setup.interfaces.clone());
        let announcer = Announcer::start(&setup.machine, address.port(), near)?;
        let gateway = Gateway::new(setup, poll, listener, given, Arc::clone(&waiting), announcer)?;
        let thread = thread::Builder::new().name("link-local".to_owned()).spawn(move || gateway.run())?;
        Ok(Bridge { line: Line { orders, waker, waiting }, address, thread: Some(thread) })
    }

    /// A way to tell it something.
    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.line.give(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the bridge to the local network was lost to a panic");
        }
    }
}

impl Line {
    /// Tells the bridge something. Nothing comes of it once the bridge is gone.
    pub fn say(&self, word: Box<Word>) {
        self.give(Order::Word(word));
    }

    /// Whether so much waits for the bridge that clients had better pause.
    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= WORDS_MAX
    }

    fn give(&self, order: Order) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.orders.send(order).is_err() {
            self.waiting.store(0, Ordering::Relaxed);
            return;
        }
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the bridge to the local network cannot be woken");
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

/// What may wait for the bridge before clients pause.
const WORDS_MAX: usize = 4 * 1024;
