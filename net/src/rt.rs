//! The seam to the executor: the only module that names glommio.
//!
//! Whatever the rest of `net` needs of a runtime is here and small: run a shard on a thread of its own, accept, read, write,
//! sleep, spawn, and a mailbox that other threads can post to.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};

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
/// Requests that one executor may have waiting in its ring.
const RING_ENTRIES: usize = 1024;

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
    std::thread::Builder::new().name(name.to_owned()).spawn(move || match builder.make() {
        Ok(executor) => executor.run(async move { main().await }),
        Err(error) => panic!("the executor of this shard cannot start: {error}"),
    })
}

/// Runs a future beside the others of this shard.
pub fn spawn(future: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(future).detach();
}

/// Waits at least this long; the executor's timers are coarse.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

/// Lets other tasks of this shard run.
pub async fn step_aside() {
    glommio::yield_if_needed().await;
}

/// A listening socket on this shard.
pub struct Listener(TcpListener);

impl Listener {
    /// Takes over a socket that is bound and listens.
    pub fn adopt(fd: OwnedFd) -> Listener {
        // SAFETY: the descriptor is owned, open, and from here on the listener's alone.
        Listener(unsafe { TcpListener::from_raw_fd(fd.into_raw_fd()) })
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        let accepted = self.0.shared_accept().await.map_err(io::Error::from)?;
        // An accepted stream that is dropped unbound leaks its descriptor, so it is bound at once.
        Ok(Socket(accepted.bind_to_executor()))
    }
}

/// A connected socket. Lives on the shard that reads it.
pub struct Socket(TcpStream);

impl Socket {
    /// Takes over a connected socket.
    pub fn adopt(fd: OwnedFd) -> Socket {
        // SAFETY: the descriptor is owned, open, and from here on the stream's alone.
        Socket(unsafe { TcpStream::from_raw_fd(fd.into_raw_fd()) })
    }

    /// From where it comes.
    pub fn peer(&self) -> io::Result<IpAddr> {
        let peer = self.0.peer_addr().map_err(io::Error::from)?;
        Ok(peer.ip().to_canonical())
    }

    /// Gives the socket up, for another shard to adopt.
    pub fn into_fd(self) -> io::Result<OwnedFd> {
        // The runtime closes what it holds, after withdrawing its own requests; a duplicate outlives that.
        // SAFETY: the descriptor is open for as long as `self` lives.
        let fd = unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: fcntl has just made this descriptor, and nobody else knows it.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Reads what is there, or waits for more without holding `buffer`.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        use futures_io::AsyncRead;
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    /// Writes what the kernel takes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        use futures_io::AsyncWrite;
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    /// Tells the peer that nothing more will come.
    pub fn shut_down(&self) {
        // SAFETY: plain system call on an open descriptor; a peer that is gone already is no concern.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_WR) };
    }
}

/// Posts to a [`Mailbox`], from any thread.
pub struct Address<T>(Arc<Mutex<Pile<T>>>);

impl<T> Clone for Address<T> {
    fn clone(&self) -> Address<T> {
        Address(Arc::clone(&self.0))
    }
}

struct Pile<T> {
    letters: VecDeque<T>,
    reader: Option<Waker>,
}

impl<T: Send> Address<T> {
    /// Leaves one letter; wakes the reader only if it sleeps.
    pub fn post(&self, letter: T) {
        self.post_all(std::iter::once(letter));
    }

    /// Leaves many letters with one wake; returns how many now wait.
    pub fn post_all(&self, letters: impl IntoIterator<Item = T>) -> usize {
        let (waker, waiting) = {
            // Nothing panics while it holds the lock, so a poisoned pile is whole.
            let mut pile = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            pile.letters.extend(letters);
            (pile.reader.take(), pile.letters.len())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        waiting
    }
}

/// What other threads leave for this shard.
pub struct Mailbox<T>(Arc<Mutex<Pile<T>>>);

impl<T: Send> Mailbox<T> {
    /// An empty mailbox.
    pub fn new() -> Mailbox<T> {
        Mailbox(Arc::new(Mutex::new(Pile { letters: VecDeque::new(), reader: None })))
    }

    /// Where to post to it.
    pub fn address(&self) -> Address<T> {
        Address(Arc::clone(&self.0))
    }

    /// Takes everything that waits; sleeps while there is nothing.
    pub async fn collect(&self, into: &mut VecDeque<T>) {
        poll_fn(|cx| {
            let mut pile = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if pile.letters.is_empty() {
                pile.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if into.is_empty() {
                std::mem::swap(into, &mut pile.letters);
            } else {
                into.append(&mut pile.letters);
            }
            Poll::Ready(())
        })
        .await;
    }
}

impl<T: Send> Default for Mailbox<T> {
    fn default() -> Mailbox<T> {
        Mailbox::new()
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
