//! The seam to the executor: the only module that names glommio.
//!
//! Whatever the rest of `net` needs of a runtime is here and small: run a shard on a thread of its own, accept, read, write,
//! sleep, spawn, and a mailbox that other threads can post to. The executor owns the shard's tasks; what they wait for is in
//! `rt/reactor.rs`, with the reason.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{RecvFlags, SendFlags, Shutdown, SocketFlags};

mod reactor;

use reactor::{Reactor, Watch};

/// Where a shard runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this processor only.
    Pinned(usize),
    /// Wherever the kernel likes: right for small machines and containers.
    Anywhere,
}

/// The io_uring memory of one executor: we register no buffers, so the smallest useful size.
const IO_MEMORY_BYTES: usize = 64 * 1024;
/// Requests that one executor may have waiting in its ring: next to none, since readiness does not come through it.
const RING_ENTRIES: usize = 64;

/// Starts a thread with an executor that runs what `main` makes, to its end.
pub fn start<F, M>(name: &str, place: Place, main: M) -> io::Result<JoinHandle<()>>
where
    F: Future<Output = ()> + 'static,
    M: FnOnce() -> F + Send + 'static,
{
    let placement = match place {
        Place::Pinned(cpu) => Placement::Fixed(cpu),
        Place::Anywhere => Placement::Unbound,
    };
    let builder = LocalExecutorBuilder::new(placement).name(name).io_memory(IO_MEMORY_BYTES).ring_depth(RING_ENTRIES);
    // A thread of our own rather than the builder's: its handle is a plain one, and a panic inside is ours to see.
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let executor =
            builder.make().unwrap_or_else(|error| panic!("the executor of this shard cannot start: {error}"));
        let reactor = Reactor::install().unwrap_or_else(|error| panic!("this shard cannot wait for sockets: {error}"));
        executor.run(async move {
            let sleeper = glommio::spawn_local(reactor::sleep_when_idle(Rc::clone(&reactor)));
            reactor::counted(Rc::clone(&reactor), main()).await;
            reactor.stop();
            sleeper.await;
        });
    })
}

/// Runs a future beside the others of this shard.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(reactor::counted(Reactor::here(), future)).detach();
}

/// Waits at least this long.
pub async fn sleep(duration: Duration) {
    let at = Instant::now() + duration;
    let mut asked = false;
    poll_fn(|cx| {
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut asked, true) {
            Reactor::here().wake_at(at, cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

/// Lets other tasks of this shard run.
pub async fn step_aside() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A listening socket on this shard.
pub struct Listener {
    watch: Watch,
    fd: OwnedFd,
}

impl Listener {
    /// Takes over a socket that is bound and listens.
    pub fn adopt(fd: OwnedFd) -> io::Result<Listener> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Listener { watch: Reactor::here().watch(&fd)?, fd })
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        let mut accepted = None;
        let accept = |cx: &mut Context<'_>| {
            self.watch.poll_read(cx, 0, || {
                accepted = Some(rustix::net::accept_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?);
                Ok(0)
            })
        };
        poll_fn(accept).await?;
        match accepted {
            Some(fd) => Socket::adopt(fd),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// A connected socket. Lives on the shard that reads it.
pub struct Socket {
    watch: Watch,
    fd: OwnedFd,
}

impl Socket {
    /// Takes over a connected socket.
    pub fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Socket { watch: Reactor::here().watch(&fd)?, fd })
    }

    /// From where it comes.
    pub fn peer(&self) -> io::Result<IpAddr> {
        let peer = rustix::net::getpeername(&self.fd)?;
        let peer = peer.ok_or(io::ErrorKind::NotConnected)?;
        let peer = std::net::SocketAddr::try_from(peer).map_err(|_| io::ErrorKind::Unsupported)?;
        Ok(peer.ip().to_canonical())
    }

    /// Gives the socket up, for another shard to adopt.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        let Socket { watch, fd } = self;
        watch.release(&fd)?;
        Ok(fd)
    }

    /// Reads what is there, or waits for more without holding `buffer`.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let Socket { watch, fd } = self;
        watch.poll_read(cx, buffer.len(), || Ok(rustix::net::recv(&*fd, buffer, RecvFlags::empty())?.0))
    }

    /// Writes what the kernel takes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Socket { watch, fd } = self;
        watch.poll_write(cx, || Ok(rustix::net::send(&*fd, bytes, SendFlags::NOSIGNAL)?))
    }

    /// Tells the peer that nothing more will come; one that is gone already is no concern.
    pub fn shut_down(&self) {
        let _gone = rustix::net::shutdown(&self.fd, Shutdown::Write);
    }
}

/// Posts to a [`Mailbox`], from any thread.
pub struct Address<T>(Arc<Pile<T>>);

impl<T> Clone for Address<T> {
    fn clone(&self) -> Address<T> {
        Address(Arc::clone(&self.0))
    }
}

struct Pile<T> {
    letters: Mutex<Letters<T>>,
    /// Written to when the reader sleeps.
    bell: OwnedFd,
}

struct Letters<T> {
    waiting: VecDeque<T>,
    reader_sleeps: bool,
}

impl<T> Pile<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Letters<T>> {
        // Nothing panics while it holds the lock, so a poisoned pile is whole.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> Address<T> {
    /// Leaves one letter; wakes the reader only if it sleeps.
    pub fn post(&self, letter: T) {
        self.post_all(std::iter::once(letter));
    }

    /// Leaves many letters with one wake; returns how many now wait.
    pub fn post_all(&self, letters: impl IntoIterator<Item = T>) -> usize {
        let (sleeps, waiting) = {
            let mut pile = self.0.lock();
            pile.waiting.extend(letters);
            (std::mem::take(&mut pile.reader_sleeps), pile.waiting.len())
        };
        if sleeps {
            // An eventfd refuses only when 2^64 wakes were not taken.
            let _rung = rustix::io::write(&self.0.bell, &1u64.to_ne_bytes());
        }
        waiting
    }
}

/// What other threads leave for a shard, until the shard opens it.
pub struct Mailbox<T>(Arc<Pile<T>>);

/// What other threads leave for this shard.
pub struct Inbox<T> {
    pile: Arc<Pile<T>>,
    watch: Watch,
}

impl<T: Send> Mailbox<T> {
    /// An empty mailbox.
    pub fn new() -> io::Result<Mailbox<T>> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let letters = Mutex::new(Letters { waiting: VecDeque::new(), reader_sleeps: false });
        Ok(Mailbox(Arc::new(Pile { letters, bell })))
    }

    /// Where to post to it.
    pub fn address(&self) -> Address<T> {
        Address(Arc::clone(&self.0))
    }

    /// Begins to read it, on the shard whose it is.
    pub fn open(self) -> io::Result<Inbox<T>> {
        let watch = Reactor::here().watch(&self.0.bell)?;
        Ok(Inbox { pile: self.0, watch })
    }
}

impl<T: Send> Inbox<T> {
    /// Takes everything that waits; sleeps while there is nothing.
    pub async fn collect(&self, into: &mut VecDeque<T>) -> io::Result<()> {
        poll_fn(|cx| self.poll_collect(cx, into)).await
    }

    fn poll_collect(&self, cx: &mut Context<'_>, into: &mut VecDeque<T>) -> Poll<io::Result<()>> {
        loop {
            {
                let mut pile = self.pile.lock();
                if !pile.waiting.is_empty() {
                    if into.is_empty() {
                        std::mem::swap(into, &mut pile.waiting);
                    } else {
                        into.append(&mut pile.waiting);
                    }
                    return Poll::Ready(Ok(()));
                }
                pile.reader_sleeps = true;
            }
            let mut count = [0; 8];
            match self.watch.poll_read(cx, count.len(), || Ok(rustix::io::read(&self.pile.bell, &mut count)?)) {
                // Rung since the last time; or a ring of old, and the next look finds nothing.
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A flag that one task of a shard raises and another waits for.
#[derive(Clone, Default)]
pub struct Bell(Rc<BellState>);

#[derive(Default)]
struct BellState {
    rung: Cell<bool>,
    waiter: Cell<Option<Waker>>,
}

impl Bell {
    /// Raises the flag and wakes the waiter.
    pub fn ring(&self) {
        self.0.rung.set(true);
        if let Some(waker) = self.0.waiter.take() {
            waker.wake();
        }
    }

    /// Takes the flag down, or arranges to be woken.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.rung.replace(false) {
            return Poll::Ready(());
        }
        self.0.waiter.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}
