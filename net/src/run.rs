//! One shard at work: its thread's tasks, and what they share.
//!
//! A shard's executor runs one task per connection ([`driver`]), one per listening socket, one for what other threads post,
//! and one that ticks. They all work on one [`Shard`], which awaits nothing: it is borrowed for one call and given back.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use proto::command::Command;
use proto::effect::Note;
use proto::limits::READ_BUFFER_BYTES;
use proto::model::jobs::Job;
use proto::owner::Owner;
use proto::time::Now;
use slab::Slab;
use store::Done;

use crate::clock::Clock;
use crate::conn::tls::Acceptor;
use crate::listen::{Kind, Sockets};
use crate::metrics::Gauges;
use crate::rt::{self, Address, Bell, Inbox, Listener, Mailbox, Socket};
use crate::shard::{ConnId, Letter, Outcome, Shard, Terms, Ticket};

pub(crate) mod desk;
mod driver;
mod guests;
mod turns;

pub(crate) use desk::ServerDesk;
pub(crate) use driver::Traveller;
pub(crate) use guests::Guests;
use turns::Turns;

/// What other threads leave for a shard.
pub(crate) enum Post {
    /// From another shard.
    Letters(Vec<Letter>),
    /// From the store.
    Done(Vec<Done>),
    /// From the pool.
    Worked(Ticket, Outcome),
    /// A connection whose account is here.
    Traveller(Box<Traveller>),
    /// A job that was not confirmed before the last stop.
    Job(Box<Job>),
    /// From the server itself.
    Command(Owner, Box<Command>),
    /// From the bridge to the local link.
    Note(Owner, Box<Note>),
    /// New settings.
    Terms(Arc<Terms>),
    /// Let nobody in any more, end what there is, and return.
    Stop,
}

/// What a shard is made of, on its way to its thread.
pub(crate) struct Plan {
    pub shard: u16,
    pub mailbox: Mailbox<Post>,
    pub sockets: Sockets,
    pub house: House,
    pub make: Box<dyn FnOnce() -> Shard<ServerDesk> + Send>,
}

/// What all shards share.
#[derive(Clone)]
pub(crate) struct House {
    pub clock: Clock,
    pub acceptor: Arc<ArcSwap<Acceptor>>,
    pub peers: Arc<[Address<Post>]>,
    pub gauges: Arc<[Gauges]>,
    pub guests: Guests,
}

/// What the tasks of one shard share.
pub(crate) struct Local {
    me: u16,
    house: House,
    shard: RefCell<Shard<ServerDesk>>,
    bells: RefCell<HashMap<ConnId, Bell, RandomState>>,
    buffers: RefCell<Buffers>,
    /// Connections that are not read from while too much waits elsewhere.
    paused: RefCell<Vec<Bell>>,
    /// Connections that the shard wants nothing from for now. It rings when it does; they look now and then all the same.
    waiting: RefCell<Vec<Bell>>,
    /// Connections whose clients have sent calls ahead.
    calls: Rc<Turns>,
    /// Drivers that watch a deadline of their own.
    impatient: RefCell<Slab<Bell>>,
    drivers: Cell<usize>,
    /// Drivers and listeners.
    tasks: Cell<usize>,
    stopping: Cell<bool>,
    /// One for each listening socket.
    stops: RefCell<Vec<Bell>>,
    gone: Bell,
}

/// The buffers that all connections of a shard take turns with. Between two calls they hold nothing.
struct Buffers {
    read: Box<[u8]>,
    plain: Vec<u8>,
    sealed: Vec<u8>,
}

/// Runs a shard until it is told to stop.
pub(crate) async fn run(plan: Plan) {
    let Plan { shard, mailbox, sockets, house, make } = plan;
    // Without either the start fails: whoever waits for this shard hears nothing from it.
    let inbox = match mailbox.open() {
        Ok(inbox) => inbox,
        Err(error) => return tracing::error!(%error, shard, "the shard cannot hear the others"),
    };
    let mut listeners = Vec::new();
    for (kind, socket) in sockets {
        match Listener::adopt(socket) {
            Ok(listener) => listeners.push((kind, listener)),
            Err(error) => return tracing::error!(%error, shard, "the shard cannot listen"),
        }
    }
    let local = Rc::new(Local {
        me: shard,
        house,
        shard: RefCell::new(make()),
        bells: RefCell::default(),
        buffers: RefCell::new(Buffers {
            read: vec![0; READ_BUFFER_BYTES].into(),
            plain: Vec::new(),
            sealed: Vec::new(),
        }),
        paused: RefCell::default(),
        waiting: RefCell::default(),
        calls: Rc::default(),
        impatient: RefCell::default(),
        drivers: Cell::new(0),
        tasks: Cell::new(0),
        stopping: Cell::new(false),
        stops: RefCell::default(),
        gone: Bell::default(),
    });
    for (kind, listener) in listeners {
        rt::spawn(Rc::clone(&local).accept(kind, listener));
    }
    rt::spawn(keep_time(Rc::downgrade(&local)));
    rt::spawn(Rc::clone(&local.calls).deal());
    local.take_posts(&inbox).await;
    local.drain().await;
}

impl Local {
    /// Calls the shard, and sees to what it wants done.
    fn with<T>(&self, act: impl FnOnce(&mut Shard<ServerDesk>, Now) -> T) -> T {
        let now = self.house.clock.now();
        let mut shard = self.shard.borrow_mut();
        let result = act(&mut shard, now);
        let bells = self.bells.borrow();
        shard.take_touched(|id| {
            if let Some(bell) = bells.get(&id) {
                bell.ring();
            }
        });
        // Last: BOSH sessions, which are served while the touched are gone through, write to other shards.
        shard.take_letters(|to, letters| self.post(to, letters));
        result
    }

    fn post(&self, to: u16, letters: Vec<Letter>) {
        let gauges = &self.house.gauges[usize::from(to)];
        gauges.letters_waiting.fetch_add(letters.len(), Ordering::Relaxed);
        self.house.peers[usize::from(to)].post(Post::Letters(letters));
    }

    fn gauges(&self) -> &Gauges {
        &self.house.gauges[usize::from(self.me)]
    }

    /// Takes what other threads left, until one of them says to stop.
    async fn take_posts(self: &Rc<Local>, inbox: &Inbox<Post>) {
        let mut posts = VecDeque::new();
        loop {
            if let Err(error) = inbox.collect(&mut posts).await {
                return tracing::error!(%error, shard = self.me, "the shard no longer hears the others");
            }
            while let Some(post) = posts.pop_front() {
                if matches!(post, Post::Stop) {
                    return;
                }
                let taken = catch_unwind(AssertUnwindSafe(|| self.take(post)));
                self.count_panic(&taken);
                rt::step_aside().await;
            }
            self.resume_paused();
        }
    }

    fn take(self: &Rc<Local>, post: Post) {
        match post {
            Post::Letters(letters) => {
                self.gauges().letters_waiting.fetch_sub(letters.len(), Ordering::Relaxed);
                self.with(|shard, now| letters.into_iter().for_each(|letter| shard.letter(now, letter)));
            }
            Post::Done(done) => self.with(|shard, now| {
                for done in done {
                    match done {
                        Done::Read(ticket, found) => shard.found(now, ticket.0, found),
                        Done::Commit(ticket, result) => shard.committed(now, ticket.0, result),
                    }
                }
            }),
            Post::Worked(ticket, outcome) => self.with(|shard, now| shard.worked(now, ticket, outcome)),
            Post::Traveller(traveller) => driver::adopt(self, *traveller),
            Post::Job(job) => self.with(|shard, now| shard.repeat_job(now, *job)),
            Post::Command(owner, command) => self.with(|shard, now| shard.command(now, owner, *command)),
            Post::Note(owner, note) => self.with(|shard, now| shard.note(now, owner, *note)),
            Post::Terms(terms) => self.with(|shard, _| shard.set_terms(terms)),
            Post::Stop => {}
        }
    }

    /// Says what became of something that may have panicked. The hook has logged it.
    fn count_panic<T>(&self, result: &std::thread::Result<T>) {
        if result.is_err() {
            self.gauges().panics.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection is not to be read from for now.
    fn pause(&self, bell: &Bell) {
        let congested = self.shard.borrow_mut().desk().is_congested_now();
        let list = if congested { &self.paused } else { &self.waiting };
        list.borrow_mut().push(bell.clone());
    }

    /// Has connections read again that were paused while too much waited.
    fn resume_paused(&self) {
        let resumes = !self.paused.borrow().is_empty() && !self.shard.borrow_mut().desk().is_congested_now();
        if resumes {
            ring_all(&self.paused);
        }
    }

    /// Deadlines of the shard and of drivers, and the numbers for the metrics.
    fn tick(&self) {
        let ticked = catch_unwind(AssertUnwindSafe(|| self.with(|shard, now| shard.tick(now))));
        self.count_panic(&ticked);
        ring_all(&self.paused);
        ring_all(&self.waiting);
        for (_, bell) in self.impatient.borrow().iter() {
            bell.ring();
        }
        let shard = self.shard.borrow();
        self.gauges().set(shard.counts(), shard.connections(), shard.components(), shard.owners());
    }

    /// Lets connections in at one socket.
    async fn accept(self: Rc<Local>, kind: Kind, listener: Listener) {
        let mut backoff = BACKOFF_MIN;
        let stop = Bell::default();
        self.stops.borrow_mut().push(stop.clone());
        self.begin_task();
        loop {
            let accepted = {
                let mut next = Box::pin(listener.accept());
                poll_fn(|cx| {
                    if self.stopping.get() {
                        return Poll::Ready(None);
                    }
                    let _told = stop.poll(cx);
                    next.as_mut().poll(cx).map(Some)
                })
                .await
            };
            match accepted {
                None => return self.end_task(),
                Some(Ok(socket)) => {
                    backoff = BACKOFF_MIN;
                    self.welcome(kind, socket);
                    rt::step_aside().await;
                }
                Some(Err(error)) if is_passing(&error) => {}
                // No descriptors are left, most likely: without a pause this would spin.
                Some(Err(error)) => {
                    self.gauges().accept_failures.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "no connection can be accepted");
                    rt::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// A task begins that the end of the shard has to wait for.
    fn begin_task(&self) {
        self.tasks.set(self.tasks.get() + 1);
    }

    fn end_task(&self) {
        self.tasks.set(self.tasks.get() - 1);
        if self.stopping.get() && self.tasks.get() == 0 {
            self.gone.ring();
        }
    }

    /// A new connection, unless there are too many.
    fn welcome(self: &Rc<Local>, kind: Kind, socket: Socket) {
        let Ok(peer) = socket.peer() else { return };
        let (all, from_one) = {
            let shard = self.shard.borrow();
            let limits = &shard.terms().site.limits;
            (limits.connections_max, limits.connections_per_address_max)
        };
        let is_full = all > 0 && self.drivers.get() >= all as usize;
        let guest = if is_full { None } else { self.house.guests.come(peer, from_one) };
        let Some(guest) = guest else {
            self.gauges().turned_away.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%peer, "turned away: too many connections");
            return;
        };
        driver::start(self, kind, socket, peer, guest);
    }

    /// Ends everything, waiting a little for last words to be sent.
    async fn drain(self: &Rc<Local>) {
        self.stopping.set(true);
        self.stops.borrow().iter().for_each(Bell::ring);
        let told = catch_unwind(AssertUnwindSafe(|| self.with(|shard, now| shard.shut_down(now))));
        self.count_panic(&told);
        let bells: Vec<Bell> = self.bells.borrow().values().cloned().collect();
        bells.iter().for_each(Bell::ring);
        self.impatient.borrow().iter().for_each(|(_, bell)| bell.ring());
        let deadline = self.house.clock.instant() + DRAIN_MAX;
        let gone = self.gone.clone();
        rt::spawn(async move {
            rt::sleep(DRAIN_MAX).await;
            gone.ring();
        });
        poll_fn(|cx| {
            let _rung = self.gone.poll(cx);
            let is_over = self.tasks.get() == 0 || self.house.clock.instant() >= deadline;
            if is_over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Ticks for as long as the shard is there. What waits for a moment holds nothing meanwhile: a shard that has stopped lets go of
/// the store, whatever its executor still has.
async fn keep_time(local: Weak<Local>) {
    loop {
        rt::sleep(TICK).await;
        let Some(local) = local.upgrade() else { return };
        local.tick();
    }
}

fn ring_all(bells: &RefCell<Vec<Bell>>) {
    for bell in mem::take(&mut *bells.borrow_mut()) {
        bell.ring();
    }
}

/// Whether an accept failed for the sake of that one connection, which is gone already. accept(2).
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, WouldBlock};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | WouldBlock)
        || matches!(error.raw_os_error(), Some(libc::EPROTO | libc::EPERM))
}

/// How often a shard looks at its deadlines.
const TICK: Duration = Duration::from_secs(1);
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long clients may take to hear that the server stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
