//! Readiness and time for one shard: every socket is registered once, edge-triggered, in one epoll instance, and the executor
//! sleeps in it.
//!
//! The executor's own sleep submits and cancels timers in three rings: six or seven `io_uring_enter` for every time it wakes,
//! and one more for each socket it is to wait for again. At a few thousand messages a second, where nearly every message wakes
//! somebody, that was most of what a message cost. So one task of the executor, [`sleep_when_idle`], is never at rest: whenever no
//! other task has run since its last turn, it sleeps in `epoll_wait` until a socket, a mailbox or a timer has something.
//!
//! Sockets remember what is known of them. A read that filled less than its buffer has emptied the socket, and no further read is
//! tried before the kernel reports news (epoll(7), "Questions and answers" 9).

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use slab::Slab;

thread_local! {
    static REACTOR: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// Events taken from the kernel at a time.
const EVENTS_MAX: usize = 256;
/// Turns that others may have before the kernel is asked for news again, and how long those may take.
const TURNS_WITHOUT_NEWS_MAX: u32 = 16;
const TIME_WITHOUT_NEWS_MAX: Duration = Duration::from_micros(250);

/// What one shard waits for.
pub(super) struct Reactor {
    epoll: OwnedFd,
    sources: RefCell<Slab<Source>>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    timers_made: Cell<u64>,
    /// Counts the turns of all other tasks.
    turns: Cell<u64>,
    stopped: Cell<bool>,
    serial: Cell<u32>,
}

/// Something with a descriptor.
struct Source {
    serial: u32,
    readable: bool,
    writable: bool,
    /// The other side is done: reads tell the end of it, however short they are.
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Timer {
    at: Instant,
    serial: u64,
    waker: WakerOfTimer,
}

/// A waker that does not take part in the order of timers.
struct WakerOfTimer(Waker);

impl PartialEq for WakerOfTimer {
    fn eq(&self, _: &WakerOfTimer) -> bool {
        true
    }
}

impl Eq for WakerOfTimer {}

impl PartialOrd for WakerOfTimer {
    fn partial_cmp(&self, other: &WakerOfTimer) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WakerOfTimer {
    fn cmp(&self, _: &WakerOfTimer) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// One descriptor's registration; ends when dropped. Lives on the shard that made it.
pub(super) struct Watch {
    reactor: Rc<Reactor>,
    key: usize,
}

impl Reactor {
    /// Makes this thread's reactor.
    pub fn install() -> io::Result<Rc<Reactor>> {
        let reactor = Rc::new(Reactor {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            sources: RefCell::default(),
            timers: RefCell::default(),
            timers_made: Cell::new(0),
            turns: Cell::new(0),
            stopped: Cell::new(false),
            serial: Cell::new(0),
        });
        REACTOR.with_borrow_mut(|slot| *slot = Some(Rc::clone(&reactor)));
        Ok(reactor)
    }

    /// This thread's reactor.
    ///
    /// # Panics
    /// Outside a shard: whoever waits there waits for nothing.
    pub fn here() -> Rc<Reactor> {
        REACTOR.with_borrow(|slot| slot.clone()).expect("this thread runs a shard")
    }

    /// Watches a descriptor that does not block.
    pub fn watch(self: &Rc<Reactor>, fd: &impl AsFd) -> io::Result<Watch> {
        let serial = self.serial.get().wrapping_add(1);
        self.serial.set(serial);
        let source = Source { serial, readable: true, writable: true, ended: false, reader: None, writer: None };
        let key = self.sources.borrow_mut().insert(source);
        let data = EventData::new_u64(u64::from(serial) << 32 | key as u64);
        let interest = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, fd, data, interest) {
            self.sources.borrow_mut().remove(key);
            return Err(error.into());
        }
        Ok(Watch { reactor: Rc::clone(self), key })
    }

    /// Notes that a task had a turn.
    pub fn count_turn(&self) {
        self.turns.set(self.turns.get().wrapping_add(1));
    }

    /// Ends [`sleep_when_idle`].
    pub fn stop(&self) {
        self.stopped.set(true);
    }

    /// Wakes once the moment has come.
    pub fn wake_at(&self, at: Instant, waker: Waker) {
        let serial = self.timers_made.get();
        self.timers_made.set(serial + 1);
        self.timers.borrow_mut().push(Reverse(Timer { at, serial, waker: WakerOfTimer(waker) }));
    }

    /// Takes news from the kernel, waiting for some if `idle`, and wakes whom they concern.
    fn take_news(&self, events: &mut Vec<Event>, idle: bool) -> io::Result<()> {
        let wait = if idle { self.until_next_timer() } else { Some(Duration::ZERO) };
        let wait = wait.map(|wait| Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) });
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            self.tell(event.data.u64(), event.flags);
        }
        self.ring_timers();
        Ok(())
    }

    fn tell(&self, data: u64, flags: EventFlags) {
        let (serial, key) = ((data >> 32) as u32, (data & u64::from(u32::MAX)) as usize);
        let (reader, writer) = {
            let mut sources = self.sources.borrow_mut();
            // One that was let go in the meantime, and perhaps another in its place.
            let Some(source) = sources.get_mut(key).filter(|source| source.serial == serial) else { return };
            let broken = flags.intersects(EventFlags::HUP | EventFlags::ERR);
            let ended = broken || flags.contains(EventFlags::RDHUP);
            source.ended |= ended;
            let reads = ended || flags.contains(EventFlags::IN);
            let writes = broken || flags.contains(EventFlags::OUT);
            source.readable |= reads;
            source.writable |= writes;
            (if reads { source.reader.take() } else { None }, if writes { source.writer.take() } else { None })
        };
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    fn until_next_timer(&self) -> Option<Duration> {
        let timers = self.timers.borrow();
        timers.peek().map(|Reverse(timer)| timer.at.saturating_duration_since(Instant::now()))
    }

    fn ring_timers(&self) {
        if self.timers.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(Reverse(timer)) = {
            let mut timers = self.timers.borrow_mut();
            let due = timers.peek().is_some_and(|Reverse(timer)| timer.at <= now);
            if due { timers.pop() } else { None }
        } {
            timer.waker.0.wake();
        }
    }
}

/// The task that is never at rest: it has a turn after every round of the others, and sleeps when none of them had one.
pub(super) async fn sleep_when_idle(reactor: Rc<Reactor>) {
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let (mut turns, mut rounds) = (reactor.turns.get(), 0);
    let mut last_news = Instant::now();
    poll_fn(|cx| {
        if reactor.stopped.get() {
            return Poll::Ready(());
        }
        // Queued again behind whoever is runnable now.
        cx.waker().wake_by_ref();
        let idle = reactor.turns.get() == turns;
        turns = reactor.turns.get();
        rounds += 1;
        if idle || rounds >= TURNS_WITHOUT_NEWS_MAX || last_news.elapsed() >= TIME_WITHOUT_NEWS_MAX {
            rounds = 0;
            if let Err(error) = reactor.take_news(&mut events, idle) {
                // The kernel refuses only what is broken beyond repair here; a shard that hears nothing must not spin.
                panic!("epoll_wait failed: {error}");
            }
            last_news = Instant::now();
        }
        Poll::Pending
    })
    .await;
}

impl Watch {
    /// Tries to read by `attempt` when there may be something; otherwise arranges to be woken.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        room: usize,
        attempt: impl FnOnce() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !self.with(|source| source.readable) {
            self.with(|source| source.reader = Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let result = attempt();
        match &result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.with(|source| {
                    source.readable = false;
                    source.reader = Some(cx.waker().clone());
                });
                return Poll::Pending;
            }
            Ok(read) if *read > 0 && *read < room => self.with(|source| source.readable = source.ended),
            Ok(_) | Err(_) => {}
        }
        Poll::Ready(result)
    }

    /// Tries to write by `attempt` when there may be room; otherwise arranges to be woken.
    pub fn poll_write(
        &self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        if !self.with(|source| source.writable) {
            self.with(|source| source.writer = Some(cx.waker().clone()));
            return Poll::Pending;
        }
        let result = attempt();
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.with(|source| {
                source.writable = false;
                source.writer = Some(cx.waker().clone());
            });
            return Poll::Pending;
        }
        Poll::Ready(result)
    }

    /// Stops waiting for the descriptor, which goes elsewhere open.
    pub fn release(self, fd: &impl AsFd) -> io::Result<()> {
        epoll::delete(&self.reactor.epoll, fd)?;
        Ok(())
    }

    fn with<T>(&self, look: impl FnOnce(&mut Source) -> T) -> T {
        look(&mut self.reactor.sources.borrow_mut()[self.key])
    }
}

impl Drop for Watch {
    /// A descriptor that is closed leaves the epoll instance by itself; one that goes elsewhere was released.
    fn drop(&mut self) {
        self.reactor.sources.borrow_mut().remove(self.key);
    }
}

/// A future that counts its turns.
pub(super) async fn counted<F: Future>(reactor: Rc<Reactor>, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    poll_fn(|cx| {
        reactor.count_turn();
        future.as_mut().poll(cx)
    })
    .await
}
