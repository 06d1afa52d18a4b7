//! The bridge's thread: streams in both directions, and who may speak to whom over them.
//!
//! One loop does all of it. Whatever comes from the link is bounded: how many streams there are, how many of one address, how much each
//! may send and for how long, how much may wait for one that does not read.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use proto::effect::Note;
use proto::error::{Condition, StreamCondition, StreamError};
use proto::link_local::{Event, Header, Message, PresenceName, Stream, Word, stream};
use proto::ns;
use proto::owner::{AccountId, Owner};
use proto::stanza::{IqKind, Kind, MessageKind, Parcel, Sender};
use proto::xml::{Nodes, Writer};
use slab::Slab;

use super::announcer::Announcer;
use super::{Order, Setup, near};
use crate::run::Post;

/// Somebody has left an order.
pub(super) const WAKE: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);

/// Everything that the thread has.
pub(super) struct Gateway {
    setup: Setup,
    poll: Poll,
    listener: TcpListener,
    orders: Receiver<Order>,
    waiting: Arc<AtomicUsize>,
    announcer: Announcer,
    near: near::Near,
    conns: Slab<Conn>,
    ticked: Instant,
}

/// One connection.
struct Conn {
    socket: TcpStream,
    address: IpAddr,
    stream: Stream,
    stage: Stage,
    /// Whose stream it is.
    account: Option<AccountId>,
    /// Who is at the other end.
    name: Option<PresenceName>,
    /// Where else the other end may be, while none has answered.
    others: Vec<SocketAddr>,
    /// The session of the user that wrote last: errors are for it.
    writer: Option<Arc<str>>,
    /// Messages that go out once the stream is ready, with their senders.
    held: Vec<(Arc<str>, Message)>,
    out: Vec<u8>,
    /// Bytes that it may still send. What it has sent beyond that has to be made up for.
    allowance: i64,
    /// More may be there to be read.
    is_readable: bool,
    /// The user was told that this one is not to be trusted.
    was_announced: bool,
    /// When its stage is over.
    deadline: Instant,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It is being made.
    Calling,
    /// The other end has not opened its stream.
    Opening,
    /// Stanzas pass.
    Open,
    /// The stream has ended from here; the other end may still speak.
    Closing,
    /// Both have ended it: nothing is heard any more.
    Over,
}

impl Gateway {
    pub fn new(
        setup: Setup,
        poll: Poll,
        listener: std::net::TcpListener,
        orders: Receiver<Order>,
        waiting: Arc<AtomicUsize>,
        announcer: Announcer,
    ) -> io::Result<Gateway> {
        let mut listener = TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let near = near::Near::new(setup.interfaces.clone());
        let ticked = Instant::now();
        Ok(Gateway { setup, poll, listener, orders, waiting, announcer, near, conns: Slab::new(), ticked })
    }

    /// Works until it is told to stop.
    pub fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            if let Err(error) = self.poll.poll(&mut events, Some(TICK))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "the bridge to the local network cannot wait any more, and ends");
                break;
            }
            let now = Instant::now();
            let mut accepts = false;
            for event in &events {
                match event.token() {
                    WAKE => {}
                    LISTENER => accepts = true,
                    Token(id) => self.stir(id, event.is_readable(), event.is_writable(), now),
                }
            }
            if accepts {
                self.accept(now);
            }
            if !self.take_orders(now) {
                break;
            }
            if now.duration_since(self.ticked) >= TICK {
                self.ticked = now;
                self.tick(now);
            }
        }
        self.end();
    }

    /// Takes what shards have left; false when it is time to stop.
    fn take_orders(&mut self, now: Instant) -> bool {
        while let Ok(order) = self.orders.try_recv() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match order {
                Order::Stop => return false,
                Order::Word(word) => self.take(*word, now),
            }
        }
        true
    }

    fn take(&mut self, word: Word, now: Instant) {
        match word {
            Word::Show(account, Some(card)) => self.announcer.show(account, card),
            Word::Show(account, None) => {
                self.announcer.hide(account);
                for id in self.ids(|conn| conn.account == Some(account)) {
                    self.close(id, now);
                }
            }
            Word::Message { account, from, to, message } => self.carry(account, from, &to, message, now),
            Word::Who { asker, iq } => self.tell_who(&asker, &iq),
        }
    }

    /// A user writes to somebody on the link.
    fn carry(&mut self, account: AccountId, from: Arc<str>, to: &str, message: Message, now: Instant) {
        let is_theirs = |conn: &Conn| {
            conn.account == Some(account)
                && conn.name.as_ref().is_some_and(|name| name.local() == to)
                && matches!(conn.stage, Stage::Calling | Stage::Opening | Stage::Open)
        };
        if let Some(id) = self.ids(is_theirs).pop() {
            if self.conns[id].held.len() >= HELD_MAX || self.conns[id].out.len() >= OUT_BYTES_MAX {
                return self.refuse(
                    account,
                    &from,
                    to,
                    &message,
                    Condition::ResourceConstraint,
                    "Too much waits for them.",
                );
            }
            self.conns[id].held.push((from, message));
            return self.speak(id, now);
        }
        // Nobody is called for the sake of an error.
        if message.kind == MessageKind::Error {
            return;
        }
        let Some(peer) = self.announcer.peer(to).cloned() else {
            let text = "Nobody of that name is on the local network.";
            return self.refuse(account, &from, to, &message, Condition::ItemNotFound, text);
        };
        let own = self.ids(|conn| conn.account == Some(account)).len();
        if self.conns.len() >= STREAMS_MAX || own >= STREAMS_PER_ACCOUNT_MAX {
            return self.refuse(
                account,
                &from,
                to,
                &message,
                Condition::ResourceConstraint,
                "There are too many streams.",
            );
        }
        let mut others = peer.addresses;
        others.reverse();
        let held = vec![(from, message)];
        self.call(account, peer.name, others, held, now);
    }

    /// Opens a stream to the last of these addresses that takes one.
    fn call(
        &mut self,
        account: AccountId,
        name: PresenceName,
        mut others: Vec<SocketAddr>,
        held: Vec<(Arc<str>, Message)>,
        now: Instant,
    ) {
        while let Some(address) = others.pop() {
            // They may have changed since they were announced.
            if !self.near.may_call(address) {
                continue;
            }
            let socket = match TcpStream::connect(address) {
                Ok(socket) => socket,
                Err(error) => {
                    tracing::debug!(%error, "somebody on the local network cannot be reached");
                    continue;
                }
            };
            let mut out = Vec::new();
            let ours = PresenceName::of_account(account, &self.announcer.machine());
            let stream = Stream::opened(&ours, name.as_str(), &mut out);
            let deadline = now + CALL_TIME_MAX;
            let conn = Conn {
                account: Some(account),
                name: Some(name),
                others,
                held,
                out,
                // Whom the user writes to, he knows to be on the link.
                was_announced: true,
                ..Conn::new(socket, near::plain(address.ip()), stream, Stage::Calling, deadline)
            };
            self.insert(conn);
            return;
        }
        for (from, message) in held {
            let text = "They cannot be reached.";
            self.refuse(account, &from, name.local(), &message, Condition::RemoteServerTimeout, text);
        }
    }

    fn accept(&mut self, now: Instant) {
        loop {
            match self.listener.accept() {
                Ok((socket, from)) => {
                    let address = near::plain(from.ip());
                    let theirs = self.conns.iter().filter(|(_, conn)| conn.address == address).count();
                    if self.conns.len() >= STREAMS_MAX || theirs >= STREAMS_PER_ADDRESS_MAX || !self.near.is_near(from)
                    {
                        tracing::debug!(%address, "a serverless stream was turned away");
                        continue;
                    }
                    let deadline = now + OPENING_TIME_MAX;
                    self.insert(Conn::new(socket, address, Stream::accepted(), Stage::Opening, deadline));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    // No descriptors are left, most likely; the next tick tries again.
                    return tracing::warn!(%error, "a serverless stream cannot be taken");
                }
            }
        }
    }

    fn insert(&mut self, mut conn: Conn) {
        let slot = self.conns.vacant_entry();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut conn.socket, Token(slot.key()), interest) {
            tracing::warn!(%error, "a serverless stream cannot be watched");
            return;
        }
        slot.insert(conn);
    }

    /// A connection can be read from or written to.
    fn stir(&mut self, id: usize, readable: bool, writable: bool, now: Instant) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.is_readable |= readable;
        if conn.stage == Stage::Calling && writable {
            if !matches!(conn.socket.take_error(), Ok(None)) {
                return self.call_elsewhere(id, now);
            }
            // Not yet: it will be said again, or the time is over.
            if conn.socket.peer_addr().is_err() {
                return;
            }
            conn.stage = Stage::Opening;
            conn.deadline = now + OPENING_TIME_MAX;
        }
        self.read(id, now);
        self.speak(id, now);
    }

    fn read(&mut self, id: usize, now: Instant) {
        let mut buffer = [0; READ_BYTES];
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if !conn.is_readable || conn.allowance <= 0 || conn.stage == Stage::Calling {
                return;
            }
            match conn.socket.read(&mut buffer) {
                Ok(0) => return self.lose(id),
                Ok(count) => {
                    conn.allowance -= count as i64;
                    if conn.stage != Stage::Over {
                        self.hear(id, &buffer[..count], now);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => conn.is_readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lose(id),
            }
        }
    }

    fn hear(&mut self, id: usize, mut input: &[u8], now: Instant) {
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return };
            let before = conn.out.len();
            let next = conn.stream.next(&mut input, &mut conn.out);
            conn.allowance -= (conn.out.len() - before) as i64;
            let heard = match next {
                Ok(None) => return,
                Ok(Some(event)) => {
                    conn.allowance -= EVENT_COST;
                    self.happens(id, event, now)
                }
                Err(error) => Err(error),
            };
            if let Err(error) = heard {
                return self.fail(id, error, now);
            }
        }
    }

    fn happens(&mut self, id: usize, event: Event, now: Instant) -> Result<(), StreamError> {
        let Some(conn) = self.conns.get_mut(id) else { return Ok(()) };
        match event {
            Event::Header(header) if conn.stage == Stage::Opening && conn.name.is_none() && conn.account.is_none() => {
                self.welcome(id, &header, now)
            }
            Event::Header(header) => {
                if !header.is_modern {
                    conn.stream.goes_on();
                }
                conn.opens(now);
                // Until it has named its features.
                conn.deadline = if conn.stream.is_ready() { conn.deadline } else { now + FEATURES_TIME_MAX };
                Ok(())
            }
            Event::Ready => {
                conn.opens(now);
                Ok(())
            }
            Event::Message { from, to, message } => {
                conn.stream.goes_on();
                if conn.stage == Stage::Open {
                    conn.opens(now);
                }
                self.delivers(id, from.as_deref(), to.as_deref(), message)
            }
            Event::Ended => {
                // §9: whoever has closed first closes the connection too.
                conn.deadline = if conn.stage == Stage::Closing {
                    now
                } else {
                    stream::close(&mut conn.out);
                    now + CLOSING_TIME_MAX
                };
                conn.stage = Stage::Over;
                Ok(())
            }
        }
    }

    /// Somebody has opened a stream.
    fn welcome(&mut self, id: usize, header: &Header, now: Instant) -> Result<(), StreamError> {
        let account = header.to.as_deref().map(|to| self.account(to)).transpose();
        let name = match (&account, header.from.as_deref()) {
            (Ok(_), Some(from)) => self.check_name(id, from).map(Some),
            (Ok(_), None) | (Err(_), _) => Ok(None),
        };
        let conn = &mut self.conns[id];
        // RFC 6120 §4.9.1.2: the header comes first, also before an error.
        let theirs = header.from.as_deref().filter(|_| name.is_ok());
        let ours = header.to.as_deref().filter(|_| account.is_ok());
        conn.stream.answer(ours, theirs, header.is_modern, &mut conn.out);
        (conn.account, conn.name) = (account?, name?);
        conn.opens(now);
        Ok(())
    }

    /// The user whose name this is, if he is here.
    fn account(&self, name: &str) -> Result<AccountId, StreamError> {
        let account = PresenceName::account(name, &self.announcer.machine());
        let there = account.filter(|account| self.announcer.shows(*account));
        there.ok_or(StreamError::new(StreamCondition::HostUnknown, "Nobody of that name is here."))
    }

    /// Whether the one at this connection can have that name. Nobody proves who he is; but a name that somebody else has just now, here or
    /// on the link, is not his.
    fn check_name(&self, id: usize, name: &str) -> Result<PresenceName, StreamError> {
        let name = PresenceName::parse(name).ok_or(StreamCondition::ImproperAddressing)?;
        let address = self.conns[id].address;
        let is_ours = name.machine().eq_ignore_ascii_case(&self.announcer.machine());
        let is_anothers = self.announcer.peer(name.local()).is_some_and(|peer| peer.is_elsewhere(address));
        if is_ours || is_anothers {
            return Err(StreamError::new(StreamCondition::InvalidFrom, "That name is somebody else's."));
        }
        let in_use = self.conns.iter().any(|(_, other)| {
            other.address != address && other.name.as_ref().is_some_and(|known| known.local() == name.local())
        });
        if in_use {
            return Err(StreamError::new(StreamCondition::Conflict, "Somebody at another address has that name."));
        }
        Ok(name)
    }

    /// Somebody on the link writes to a user.
    fn delivers(
        &mut self,
        id: usize,
        from: Option<&str>,
        to: Option<&str>,
        message: Message,
    ) -> Result<(), StreamError> {
        let account = match (self.conns[id].account, to) {
            (Some(account), None) => account,
            (Some(account), Some(to)) if PresenceName::account(to, &self.announcer.machine()) == Some(account) => {
                account
            }
            (None, Some(to)) => self.account(to)?,
            (Some(_), Some(_)) | (None, None) => return Err(StreamCondition::ImproperAddressing.into()),
        };
        let name = match (self.conns[id].name.clone(), from) {
            (Some(name), None) => name,
            (Some(name), Some(from)) if PresenceName::parse(from).is_some_and(|from| from.local() == name.local()) => {
                name
            }
            (Some(_), Some(_)) => return Err(StreamCondition::InvalidFrom.into()),
            (None, Some(from)) => self.check_name(id, from)?,
            // Older clients leave it to the address.
            (None, None) => {
                let peer = self.announcer.peer_at(self.conns[id].address);
                peer.map(|peer| peer.name.clone()).ok_or(StreamCondition::InvalidFrom)?
            }
        };
        let conn = &mut self.conns[id];
        (conn.account, conn.name) = (Some(account), Some(name.clone()));
        let to = format!("{account}@{}", self.setup.chat_domain);
        if !mem::replace(&mut conn.was_announced, true) {
            let text = format!("{} writes from the local network. {WARNING}", name.as_str());
            let stanza = Message::notice(&text).write(&self.setup.domain, &to, None);
            let kind = Kind::Message { kind: MessageKind::Headline, lasting: false };
            self.post(account, &self.setup.domain, None, kind, stanza);
        }
        let from = name.at(&self.setup.domain);
        let stanza = message.write(&from, &to, Some(name.as_str()));
        let kind = Kind::Message { kind: message.kind, lasting: message.lasting };
        let writer = self.conns[id].writer.clone().filter(|_| message.kind == MessageKind::Error);
        let resource = writer.as_deref().and_then(|jid| Some(jid.split_once('/')?.1));
        self.post(account, &from, resource, kind, stanza);
        Ok(())
    }

    /// Gives an account a stanza that comes from the link.
    fn post(&self, account: AccountId, from: &str, resource: Option<&str>, kind: Kind, stanza: Vec<u8>) {
        let owner = Owner::Account(account);
        let from = Sender { jid: from.into(), account: None };
        let note = Note::Stanza(Parcel::new(from, resource.map(Into::into), kind, stanza.into()));
        let shard = usize::from(self.setup.places.of(&owner));
        self.setup.peers[shard].post(Post::Note(owner, Box::new(note)));
    }

    /// Tells a user that a message did not come to somebody on the link.
    fn refuse(
        &self,
        account: AccountId,
        from: &str,
        to: &str,
        message: &Message,
        condition: Condition,
        text: &'static str,
    ) {
        let Some(error) = message.refused(condition, text) else { return };
        let peer = format!("{to}@{}", self.setup.domain);
        let resource = from.split_once('/').map(|(_, resource)| resource);
        let kind = Kind::Message { kind: MessageKind::Error, lasting: false };
        self.post(account, &peer, resource, kind, error.write(&peer, from, None));
    }

    /// Answers disco#items: those who are on the link, as far as they can be written to.
    fn tell_who(&self, asker: &Sender, iq: &[u8]) {
        let mut nodes = Nodes::new();
        let (Some(account), Some(iq)) = (asker.account, nodes.reread(iq)) else { return };
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("iq").attr("type", "result").attr_opt("id", iq.attr("id").as_deref());
        xml.attr("from", &self.setup.domain).attr("to", &asker.jid).open("query").ns(ns::DISCO_ITEMS);
        for peer in self.announcer.peers() {
            let name = match &peer.nick {
                Some(nick) => format!("{nick} ({})", peer.name.as_str()),
                None => peer.name.as_str().to_owned(),
            };
            xml.leaf("item", &[("jid", &peer.name.at(&self.setup.domain)), ("name", &name)]);
        }
        drop(xml);
        let resource = asker.jid.split_once('/').map(|(_, resource)| resource);
        self.post(account, &self.setup.domain, resource, Kind::Iq(IqKind::Result), out);
    }

    /// Writes what there is to say, as far as the other end takes it.
    fn speak(&mut self, id: usize, now: Instant) {
        let machine = self.announcer.machine();
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let (Some(account), Some(name), Stage::Open, true) =
            (conn.account, &conn.name, conn.stage, conn.stream.is_ready())
        {
            let ours = PresenceName::of_account(account, &machine);
            for (from, message) in conn.held.drain(..) {
                conn.writer = Some(from);
                conn.out.extend_from_slice(&message.write(&ours, name.as_str(), None));
                conn.deadline = now + IDLE_TIME_MAX;
            }
        }
        if conn.stage == Stage::Calling {
            return;
        }
        while !conn.out.is_empty() {
            match conn.socket.write(&conn.out) {
                Ok(count) => drop(conn.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.lose(id),
            }
        }
        if conn.out.len() > OUT_BYTES_MAX {
            self.lose(id);
        }
    }

    /// Ends a stream. §9
    fn close(&mut self, id: usize, now: Instant) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match conn.stage {
            Stage::Calling | Stage::Opening => return self.lose(id),
            Stage::Closing | Stage::Over => return,
            Stage::Open => {}
        }
        stream::close(&mut conn.out);
        conn.stage = Stage::Closing;
        conn.deadline = now + CLOSING_TIME_MAX;
        self.speak(id, now);
    }

    /// Ends a stream for what the other end did.
    fn fail(&mut self, id: usize, error: StreamError, now: Instant) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        tracing::debug!(condition = error.condition.as_str(), "a serverless stream failed");
        conn.stream.fail(error, &mut conn.out);
        conn.stage = Stage::Over;
        conn.deadline = now + FAILED_TIME_MAX;
        self.speak(id, now);
    }

    /// The connection could not be made: perhaps the next can.
    fn call_elsewhere(&mut self, id: usize, now: Instant) {
        let Some(mut conn) = self.remove(id) else { return };
        if let (Some(account), Some(name)) = (conn.account, conn.name.take()) {
            self.call(account, name, mem::take(&mut conn.others), mem::take(&mut conn.held), now);
        }
    }

    /// A connection is over. Whoever still wanted to say something over it hears that.
    fn lose(&mut self, id: usize) {
        let Some(conn) = self.remove(id) else { return };
        let (Some(account), Some(name)) = (conn.account, &conn.name) else { return };
        for (from, message) in &conn.held {
            let text = "They have gone.";
            self.refuse(account, from, name.local(), message, Condition::RecipientUnavailable, text);
        }
    }

    fn remove(&mut self, id: usize) -> Option<Conn> {
        let mut conn = self.conns.try_remove(id)?;
        if let Err(error) = self.poll.registry().deregister(&mut conn.socket) {
            tracing::debug!(%error, "a serverless stream was not watched");
        }
        Some(conn)
    }

    fn ids(&self, which: impl Fn(&Conn) -> bool) -> Vec<usize> {
        self.conns.iter().filter(|(_, conn)| which(conn)).map(|(id, _)| id).collect()
    }

    fn tick(&mut self, now: Instant) {
        self.accept(now);
        for id in self.ids(|_| true) {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            conn.allowance = (conn.allowance + TICK_BYTES).min(BURST_BYTES);
            if now >= conn.deadline {
                match conn.stage {
                    Stage::Calling => self.call_elsewhere(id, now),
                    Stage::Opening => self.fail(id, StreamCondition::ConnectionTimeout.into(), now),
                    Stage::Open if !conn.stream.is_ready() => {
                        conn.stream.goes_on();
                        conn.opens(now);
                    }
                    Stage::Open => self.close(id, now),
                    Stage::Closing | Stage::Over => self.lose(id),
                }
            }
            self.read(id, now);
            self.speak(id, now);
        }
        self.announcer.tick(now);
    }

    /// Ends all streams, and says goodbye for everybody.
    fn end(mut self) {
        let now = Instant::now();
        for id in self.ids(|_| true) {
            self.close(id, now);
        }
        self.announcer.stop();
    }
}

impl Conn {
    fn new(socket: TcpStream, address: IpAddr, stream: Stream, stage: Stage, deadline: Instant) -> Conn {
        Conn {
            socket,
            address,
            stream,
            stage,
            account: None,
            name: None,
            others: Vec::new(),
            writer: None,
            held: Vec::new(),
            out: Vec::new(),
            allowance: BURST_BYTES,
            is_readable: true,
            was_announced: false,
            deadline,
        }
    }

    /// Something has passed.
    fn opens(&mut self, now: Instant) {
        self.stage = Stage::Open;
        self.deadline = now + IDLE_TIME_MAX;
    }
}

/// What the user is told of somebody who writes for the first time.
const WARNING: &str = "Nobody has checked who that is, and what you write to each other is not encrypted.";

const TICK: Duration = Duration::from_millis(250);
/// Streams of all users, in both directions.
const STREAMS_MAX: usize = 256;
const STREAMS_PER_ADDRESS_MAX: usize = 8;
const STREAMS_PER_ACCOUNT_MAX: usize = 16;
/// Messages that wait for a stream.
const HELD_MAX: usize = 32;
/// What may wait for one that does not read.
const OUT_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 4 * 1024;
/// What one stream may send at once, and then in each tick.
const BURST_BYTES: i64 = 64 * 1024;
const TICK_BYTES: i64 = 2 * 1024;
/// What a stanza counts besides its bytes: after a burst eight a second pass.
const EVENT_COST: i64 = 1024;
const CALL_TIME_MAX: Duration = Duration::from_secs(5);
const OPENING_TIME_MAX: Duration = Duration::from_secs(15);
/// How long one that calls itself 1.0 may take to say what it asks for, before it is written to all the same.
const FEATURES_TIME_MAX: Duration = Duration::from_secs(2);
const IDLE_TIME_MAX: Duration = Duration::from_secs(10 * 60);
const CLOSING_TIME_MAX: Duration = Duration::from_secs(5);
/// Long enough for an error to be read.
const FAILED_TIME_MAX: Duration = Duration::from_secs(1);
