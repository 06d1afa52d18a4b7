//! One connection: its socket, its TLS, and the order in which bytes go through them.
//!
//! A driver is one task. It waits for its socket and for its bell, writes before it reads, and holds no buffer while nothing is
//! under way. A panic in it (or in what the shard makes of its bytes) ends this connection and no other.

use std::future::poll_fn;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use proto::time::Instant;

use super::guests::Guest;
use super::turns::Turn;
use super::{Local, Post};
use crate::conn::tls::{Inside, Tls, TlsError};
use crate::listen::Kind;
use crate::rt::{self, Bell, Socket};
use crate::shard::{Arrival, Baggage, ConnId, Directive, Port};

/// A connection on its way to the shard of its account. Everything it has written is sent.
pub(crate) struct Traveller {
    fd: OwnedFd,
    tls: Option<Box<Tls>>,
    guest: Guest,
    peer: IpAddr,
    baggage: Baggage,
}

/// One connection. Lives on the shard that reads it.
struct Driver {
    local: Rc<Local>,
    socket: Socket,
    bell: Bell,
    tls: Option<Box<Tls>>,
    /// What the kernel did not take at once, from `sent` on.
    unsent: Vec<u8>,
    sent: usize,
    phase: Phase,
    /// It waits for its turn to go on with what the client has sent ahead.
    turn: Option<Turn>,
    peer: IpAddr,
    guest: Guest,
}

/// What a connection is at.
enum Phase {
    /// TLS from the first byte: the shard does not know of it before that is up.
    Greeting { port: Port, until: Instant, watch: usize },
    /// STARTTLS: the shard waits for it, and watches the time.
    Securing(ConnId),
    /// In use.
    Open(ConnId),
    /// Everything was said; what the peer still sends is thrown away for a moment, since closing a socket that has unread input
    /// resets the connection, and the reset may overtake what was said last.
    Closing { until: Instant, watch: usize, thrown: usize },
}

/// How a driver ends.
enum End {
    Closed,
    Moves(u16, ConnId),
}

/// Whether to go on at once, wait to be woken, or end.
type Next = ControlFlow<Option<End>>;

const WAIT: Next = ControlFlow::Break(None);
const AGAIN: Next = ControlFlow::Continue(());

fn end(end: End) -> Next {
    ControlFlow::Break(Some(end))
}

/// Begins to drive a connection that was just accepted.
pub(super) fn start(local: &Rc<Local>, kind: Kind, socket: Socket, peer: IpAddr, guest: Guest) {
    tracing::debug!(%peer, at = kind.key(), "a connection came");
    let bell = Bell::default();
    let (phase, tls) = match kind.tls() {
        Some(inside) => {
            let Some(tls) = accept_tls(local, inside) else { return };
            let time = local.shard.borrow().terms().site.limits.login_time_max;
            let until = local.house.clock.instant() + time;
            let watch = local.impatient.borrow_mut().insert(bell.clone());
            (Phase::Greeting { port: kind.port(), until, watch }, Some(Box::new(tls)))
        }
        None => {
            let arrival = Arrival { port: kind.port(), peer, secured: None };
            (Phase::Open(open(local, arrival, &bell)), None)
        }
    };
    spawn(local, socket, bell, tls, phase, peer, guest);
}

/// Goes on with a connection that comes from another shard.
pub(super) fn adopt(local: &Rc<Local>, traveller: Traveller) {
    let Traveller { fd, tls, guest, peer, baggage } = traveller;
    let bell = Bell::default();
    // Whatever the shard has to say already is found when the driver first looks.
    let id = local.with(|shard, now| shard.adopt(now, baggage));
    tracing::debug!(%peer, ?id, shard = local.me, "a connection came to its account");
    local.bells.borrow_mut().insert(id, bell.clone());
    let socket = match Socket::adopt(fd) {
        Ok(socket) => socket,
        Err(error) => {
            tracing::error!(%error, "a connection cannot be waited for");
            local.bells.borrow_mut().remove(&id);
            return local.with(|shard, now| shard.closed(now, id));
        }
    };
    spawn(local, socket, bell, tls, Phase::Open(id), peer, guest);
}

fn open(local: &Rc<Local>, arrival: Arrival, bell: &Bell) -> ConnId {
    let peer = arrival.peer;
    let id = local.with(|shard, now| shard.open(now, arrival));
    tracing::debug!(%peer, ?id, shard = local.me, "a connection is open");
    local.bells.borrow_mut().insert(id, bell.clone());
    id
}

fn accept_tls(local: &Local, inside: Inside) -> Option<Tls> {
    let tls = local.house.acceptor.load().accept(inside);
    tls.inspect_err(|error| tracing::error!(%error, "TLS cannot be started")).ok()
}

fn spawn(
    local: &Rc<Local>,
    socket: Socket,
    bell: Bell,
    tls: Option<Box<Tls>>,
    phase: Phase,
    peer: IpAddr,
    guest: Guest,
) {
    let (local, unsent) = (Rc::clone(local), Vec::new());
    let mut driver =
        Driver { local: Rc::clone(&local), socket, bell, tls, unsent, sent: 0, phase, turn: None, peer, guest };
    local.drivers.set(local.drivers.get() + 1);
    local.begin_task();
    rt::spawn(async move {
        let end = poll_fn(|cx| driver.poll_safely(cx)).await;
        driver.finish(end);
        local.drivers.set(local.drivers.get() - 1);
        local.end_task();
    });
}

impl Driver {
    fn poll_safely(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let polled = catch_unwind(AssertUnwindSafe(|| self.poll(cx)));
        self.local.count_panic(&polled);
        polled.unwrap_or(Poll::Ready(End::Closed))
    }

    /// Leaves the shard, one way or the other.
    fn finish(self, end: End) {
        let Driver { local, socket, tls, phase, peer, guest, .. } = self;
        tracing::debug!(%peer, shard = local.me, "a connection left");
        match phase {
            Phase::Greeting { watch, .. } | Phase::Closing { watch, .. } => {
                local.impatient.borrow_mut().try_remove(watch);
            }
            Phase::Securing(id) | Phase::Open(id) => {
                local.bells.borrow_mut().remove(&id);
                if let End::Moves(to, id) = end {
                    let baggage = local.with(|shard, _| shard.leave(id));
                    return travel(&local, to, baggage, socket, |fd, baggage| Traveller {
                        fd,
                        tls,
                        guest,
                        peer,
                        baggage,
                    });
                }
                let closed = catch_unwind(AssertUnwindSafe(|| local.with(|shard, now| shard.closed(now, id))));
                local.count_panic(&closed);
            }
        }
    }

    /// Everything that can be done now.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // Whether it rang or not: everything it could ring for is looked at.
        while self.bell.poll(cx).is_ready() {}
        for _ in 0..TURNS_MAX {
            match self.turn(cx) {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(None) => return Poll::Pending,
                ControlFlow::Break(Some(end)) => return Poll::Ready(end),
            }
        }
        // The others' turn; this one comes back.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Next {
        let overdue = match &self.phase {
            Phase::Greeting { until, .. } => self.local.stopping.get() || self.local.house.clock.instant() >= *until,
            Phase::Closing { until, .. } => self.local.house.clock.instant() >= *until,
            Phase::Securing(_) | Phase::Open(_) => false,
        };
        if overdue {
            return end(End::Closed);
        }
        match self.flush(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return end(End::Closed),
            Poll::Pending => return self.wait_for_writing(),
        }
        match self.phase {
            Phase::Greeting { port, .. } => self.greet(cx, port),
            Phase::Securing(id) => self.secure(cx, id),
            Phase::Open(id) => self.work(cx, id),
            Phase::Closing { .. } => self.throw_away(cx),
        }
    }

    /// Writes what is left from before.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while self.sent < self.unsent.len() {
            match self.socket.poll_write(cx, &self.unsent[self.sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => self.sent += written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.sent > 0 {
            self.unsent = Vec::new();
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// The peer does not take what it is given. When the shard has given it up, nothing is gained by waiting.
    fn wait_for_writing(&mut self) -> Next {
        let Phase::Open(id) = self.phase else { return WAIT };
        let closes = self.local.shard.borrow_mut().directive(id) == Some(Directive::Close);
        if !closes {
            return WAIT;
        }
        // What is on its way gets a moment, as any last word does.
        self.close(id);
        AGAIN
    }

    /// TLS from the first byte.
    fn greet(&mut self, cx: &mut Context<'_>, port: Port) -> Next {
        match self.shake_hands(cx) {
            Poll::Pending => WAIT,
            Poll::Ready(Err(Refused::Gone)) => end(End::Closed),
            Poll::Ready(Err(Refused::ByUs)) => self.part(),
            Poll::Ready(Ok(false)) => AGAIN,
            Poll::Ready(Ok(true)) => {
                let Some(tls) = &mut self.tls else { return end(End::Closed) };
                let arrival = Arrival { port, peer: self.peer, secured: Some(tls.bindings()) };
                let Phase::Greeting { watch, .. } = self.phase else { return end(End::Closed) };
                self.local.impatient.borrow_mut().try_remove(watch);
                let id = open(&self.local, arrival, &self.bell);
                self.phase = Phase::Open(id);
                self.hand_over_early(id)
            }
        }
    }

    /// STARTTLS on a connection that the shard knows.
    fn secure(&mut self, cx: &mut Context<'_>, id: ConnId) -> Next {
        if self.local.shard.borrow_mut().directive(id) == Some(Directive::Close) {
            return end(End::Closed);
        }
        match self.shake_hands(cx) {
            Poll::Pending => WAIT,
            Poll::Ready(Err(Refused::Gone)) => end(End::Closed),
            Poll::Ready(Err(Refused::ByUs)) => {
                self.leave_shard(id);
                self.part()
            }
            Poll::Ready(Ok(false)) => AGAIN,
            Poll::Ready(Ok(true)) => {
                let Some(tls) = &mut self.tls else { return end(End::Closed) };
                let bindings = tls.bindings();
                self.local.with(|shard, now| shard.secured(now, id, bindings));
                self.phase = Phase::Open(id);
                self.hand_over_early(id)
            }
        }
    }

    /// Reads one piece of a handshake; true when it is done.
    fn shake_hands(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Refused>> {
        let Some(tls) = &mut self.tls else { return Poll::Ready(Err(Refused::Gone)) };
        let mut buffers = self.local.buffers.borrow_mut();
        let buffers = &mut *buffers;
        let Ok(kept) = tls.restore(&mut buffers.read) else { return Poll::Ready(Err(Refused::Gone)) };
        let read = match self.socket.poll_read(cx, &mut buffers.read[kept..]) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Refused::Gone)),
            Poll::Ready(Ok(read)) => read,
        };
        let early = &mut buffers.plain;
        early.clear();
        let received =
            tls.receive(&mut buffers.read[..kept + read], &mut self.unsent, |plain| early.extend_from_slice(plain));
        if let Err(error) = received {
            self.local.gauges().handshake_failures.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%error, peer = %self.peer, "a TLS handshake failed");
            early.clear();
            return Poll::Ready(Err(Refused::ByUs));
        }
        // Whoever sees it done hands over at once what came behind it.
        Poll::Ready(Ok(!tls.is_handshaking()))
    }

    /// What the client sent right behind its handshake.
    fn hand_over_early(&mut self, id: ConnId) -> Next {
        let mut early = std::mem::take(&mut self.local.buffers.borrow_mut().plain);
        if !early.is_empty() {
            self.local.with(|shard, now| shard.received(now, id, &early));
            early.clear();
        }
        self.local.buffers.borrow_mut().plain = early;
        AGAIN
    }

    /// One step of a connection in use: output, then what the shard directs, then input.
    fn work(&mut self, cx: &mut Context<'_>, id: ConnId) -> Next {
        match self.write_output(cx, id) {
            Ok(false) => {}
            Ok(true) => return AGAIN,
            Err(_) => return end(End::Closed),
        }
        let (directive, wants_input) = {
            let mut shard = self.local.shard.borrow_mut();
            (shard.directive(id), shard.wants_input(id))
        };
        match directive {
            Some(Directive::StartTls) => {
                let Some(tls) = accept_tls(&self.local, Inside::StartTls) else { return end(End::Closed) };
                self.tls = Some(Box::new(tls));
                self.phase = Phase::Securing(id);
                return AGAIN;
            }
            Some(Directive::Move(to)) => return end(End::Moves(to, id)),
            Some(Directive::Close) => {
                self.close(id);
                return AGAIN;
            }
            None => {}
        }
        if self.local.shard.borrow_mut().is_behind(id) {
            return self.go_on(id);
        }
        if !wants_input {
            self.local.pause(&self.bell);
            return WAIT;
        }
        self.read_input(cx, id)
    }

    /// Takes up the next call that the client has sent ahead, when it is this connection's turn: some calls are long, and clients may
    /// send thousands ahead.
    fn go_on(&mut self, id: ConnId) -> Next {
        match &self.turn {
            Some(turn) if turn.get() => {}
            Some(_) => return WAIT,
            None => {
                self.turn = Some(self.local.calls.wait(&self.bell));
                return WAIT;
            }
        }
        self.turn = None;
        self.local.with(|shard, now| shard.go_on(now, id));
        AGAIN
    }

    /// Takes output from the shard and writes it; true if there was any.
    fn write_output(&mut self, cx: &mut Context<'_>, id: ConnId) -> Result<bool, TlsError> {
        if !self.local.shard.borrow_mut().has_output(id) {
            return Ok(false);
        }
        let mut buffers = self.local.buffers.borrow_mut();
        let buffers = &mut *buffers;
        buffers.plain.clear();
        self.local.with(|shard, now| shard.output(now, id, &mut buffers.plain, OUTPUT_BYTES));
        let bytes = match &mut self.tls {
            Some(tls) => {
                buffers.sealed.clear();
                tls.send(&buffers.plain, &mut buffers.sealed)?;
                &buffers.sealed
            }
            None => &buffers.plain,
        };
        // Nothing is left from before, so this goes out at once; most of the time all of it does.
        let mut sent = 0;
        while sent < bytes.len()
            && let Poll::Ready(Ok(written @ 1..)) = self.socket.poll_write(cx, &bytes[sent..])
        {
            sent += written;
        }
        // An error shows again at the next write.
        if sent < bytes.len() {
            self.unsent = bytes[sent..].to_vec();
        }
        shrink(&mut buffers.plain);
        shrink(&mut buffers.sealed);
        Ok(true)
    }

    /// Reads once, and hands what came to the shard.
    fn read_input(&mut self, cx: &mut Context<'_>, id: ConnId) -> Next {
        let mut buffers = self.local.buffers.borrow_mut();
        let kept = match &self.tls {
            Some(tls) => match tls.restore(&mut buffers.read) {
                Ok(kept) => kept,
                Err(_) => return end(End::Closed),
            },
            None => 0,
        };
        let read = match self.socket.poll_read(cx, &mut buffers.read[kept..]) {
            Poll::Pending => {
                drop(buffers);
                self.local.shard.borrow_mut().rest(id);
                return WAIT;
            }
            Poll::Ready(Err(_)) => return end(End::Closed),
            Poll::Ready(Ok(0)) => {
                drop(buffers);
                return self.peer_ended(id);
            }
            Poll::Ready(Ok(read)) => read,
        };
        let input = &mut buffers.read[..kept + read];
        let is_much = read >= MUCH_INPUT_BYTES;
        let Some(tls) = &mut self.tls else {
            self.local.with(|shard, now| shard.received(now, id, input));
            drop(buffers);
            return if is_much { self.step_aside() } else { AGAIN };
        };
        let unsent = &mut self.unsent;
        let received = self.local.with(|shard, now| tls.receive(input, unsent, |plain| shard.received(now, id, plain)));
        let peer_closed = tls.is_peer_closed();
        drop(buffers);
        match received {
            Ok(()) if peer_closed => self.peer_ended(id),
            Ok(()) if is_much => self.step_aside(),
            Ok(()) => AGAIN,
            Err(error) => {
                tracing::debug!(%error, peer = %self.peer, "a TLS record was refused");
                self.leave_shard(id);
                self.part()
            }
        }
    }

    /// The others' turn; this one comes back after them.
    fn step_aside(&self) -> Next {
        self.bell.ring();
        WAIT
    }

    /// The peer will send no more. It may still want answers.
    fn peer_ended(&mut self, id: ConnId) -> Next {
        self.local.with(|shard, now| shard.ended(now, id));
        let mut shard = self.local.shard.borrow_mut();
        if shard.has_output(id) || shard.directive(id).is_some() {
            return AGAIN;
        }
        // It waits for the shard alone; reading again would find the end again.
        drop(shard);
        WAIT
    }

    /// Everything is written and the shard wants it closed.
    fn close(&mut self, id: ConnId) {
        self.leave_shard(id);
        if let Some(tls) = &mut self.tls {
            tls.close(&mut self.unsent);
        }
        let _closing = self.part();
    }

    fn leave_shard(&mut self, id: ConnId) {
        self.local.bells.borrow_mut().remove(&id);
        self.local.with(|shard, now| shard.closed(now, id));
    }

    /// Nothing will be said any more besides what is in `unsent`.
    fn part(&mut self) -> Next {
        let until = self.local.house.clock.instant() + CLOSING_TIME_MAX;
        let watch = match self.phase {
            Phase::Greeting { watch, .. } | Phase::Closing { watch, .. } => watch,
            Phase::Securing(_) | Phase::Open(_) => self.local.impatient.borrow_mut().insert(self.bell.clone()),
        };
        self.phase = Phase::Closing { until, watch, thrown: 0 };
        AGAIN
    }

    /// Waits for the peer to close, reading past whatever it still has to say.
    fn throw_away(&mut self, cx: &mut Context<'_>) -> Next {
        let Phase::Closing { thrown, .. } = &mut self.phase else { return end(End::Closed) };
        if *thrown == 0 {
            self.socket.shut_down();
        }
        let mut buffers = self.local.buffers.borrow_mut();
        match self.socket.poll_read(cx, &mut buffers.read) {
            Poll::Pending => WAIT,
            Poll::Ready(Ok(0) | Err(_)) => end(End::Closed),
            Poll::Ready(Ok(read)) => {
                *thrown += read;
                if *thrown > THROWN_BYTES_MAX { end(End::Closed) } else { AGAIN }
            }
        }
    }
}

/// Why there will be no TLS.
enum Refused {
    /// The peer is gone.
    Gone,
    /// The peer is told why.
    ByUs,
}

/// Sends a connection to another shard.
fn travel(
    local: &Local,
    to: u16,
    baggage: Option<Baggage>,
    socket: Socket,
    pack: impl FnOnce(OwnedFd, Baggage) -> Traveller,
) {
    let Some(baggage) = baggage else { return };
    match socket.into_fd() {
        Ok(fd) => local.house.peers[usize::from(to)].post(Post::Traveller(Box::new(pack(fd, baggage)))),
        // Without a descriptor to spare the client has to come again.
        Err(error) => tracing::warn!(%error, "a connection cannot move to its shard"),
    }
}

/// One burst must not decide how much memory a quiet shard holds.
fn shrink(buffer: &mut Vec<u8>) {
    if buffer.capacity() > BUFFER_KEPT_BYTES {
        *buffer = Vec::new();
    }
}

/// Steps of one connection before the others have theirs.
const TURNS_MAX: usize = 8;
/// Input that takes its time: hundreds of stanzas. Others have their turn before there is more of it.
const MUCH_INPUT_BYTES: usize = 16 * 1024;
/// What is gathered for one write: a full TLS record.
const OUTPUT_BYTES: usize = 16 * 1024;
const BUFFER_KEPT_BYTES: usize = 128 * 1024;
const CLOSING_TIME_MAX: Duration = Duration::from_secs(2);
const THROWN_BYTES_MAX: usize = 1024 * 1024;
