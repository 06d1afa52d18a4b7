//! The connections that are on this shard, and what their drivers are to do.

use std::mem;
use std::net::IpAddr;

use bytes::Bytes;
use slab::Slab;

use proto::component;
use proto::effect::SessionId;
use proto::owner::{AccountId, Owner};
use proto::sasl::ChannelBindings;
use proto::stanza::Entrusted;
use proto::stream::{Security, Stream, Transport, frame_element};
use proto::time::{Instant, Now};

use super::bosh::BoshLine;
use super::desk::Desk;
use super::http::HttpLine;
use super::outbox::{Outbox, Piece, Taken};
use super::pace::Pace;
use super::{Shard, sessions};
use crate::conn::ws::{Heard, WebSocket};

/// A connection of one shard; never means another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    slot: u32,
    serial: u32,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// XMPP over TCP.
    Xmpp,
    /// HTTP: the API, WebSocket and BOSH.
    Http,
    /// Components. XEP-0114
    Component,
}

/// A connection that has just come.
#[derive(Debug)]
pub struct Arrival {
    /// What it will speak.
    pub port: Port,
    /// From where.
    pub peer: IpAddr,
    /// TLS is up already, with this to bind logins to.
    pub secured: Option<ChannelBindings>,
}

/// What a driver is to do with a connection, after it has written the output there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Do a TLS handshake, then call [`Shard::secured`].
    StartTls,
    /// Take it to this shard: [`Shard::leave`] here, [`Shard::adopt`] there.
    Move(u16),
    /// Close it, then call [`Shard::closed`].
    Close,
}

/// A connection on its way to another shard.
pub struct Baggage {
    conn: Box<Conn>,
}

impl Baggage {
    pub(super) fn line(&self) -> &Line {
        &self.conn.line
    }
}

/// One connection.
pub(super) struct Conn {
    serial: u32,
    pub peer: IpAddr,
    pub line: Line,
    /// Input that has to wait, already decrypted.
    pub pending: Vec<u8>,
    pub outbox: Outbox,
    pub directive: Option<Directive>,
    pub session: Option<(SessionId, AccountId)>,
    pub secured: Option<ChannelBindings>,
    /// When the peer was last heard of.
    pub heard: Instant,
    /// When it was pinged, if it has not been heard of since.
    pub pinged: Option<Instant>,
    /// Stanzas of its session that wait for their account.
    pub queued: u32,
    pace: Pace,
    touched: bool,
}

/// What a connection speaks.
pub(super) enum Line {
    Tcp(Box<Stream>),
    WebSocket(Box<(WebSocket, Stream)>),
    Http(Box<HttpLine>),
    Bosh(Box<BoshLine>),
    Component(Box<component::Stream>),
    /// Taken out while it is at work.
    AtWork,
}

impl Line {
    /// Whether no input is taken before an answer has come.
    fn waits(&self) -> bool {
        match self {
            Line::Tcp(stream) => stream.waits_for_host(),
            Line::WebSocket(line) => line.1.waits_for_host(),
            Line::Bosh(line) => line.stream.waits_for_host(),
            Line::Component(stream) => stream.waits_for_host(),
            Line::Http(_) | Line::AtWork => false,
        }
    }

    /// How often logging in has failed on it.
    pub fn auth_failures(&self) -> u32 {
        match self {
            Line::Tcp(stream) => stream.auth_failures(),
            Line::WebSocket(line) => line.1.auth_failures(),
            Line::Bosh(line) => line.stream.auth_failures(),
            Line::Http(_) | Line::Component(_) | Line::AtWork => 0,
        }
    }

    pub fn transport(&self) -> Option<Transport> {
        match self {
            Line::Tcp(_) => Some(Transport::Tcp),
            Line::WebSocket(_) => Some(Transport::WebSocket),
            Line::Bosh(_) => Some(Transport::Bosh),
            Line::Http(_) | Line::Component(_) | Line::AtWork => None,
        }
    }
}

/// All connections of a shard.
#[derive(Default)]
pub(super) struct Conns {
    slab: Slab<Box<Conn>>,
    serial: u32,
    touched: Vec<ConnId>,
    bound: usize,
}

impl Conns {
    pub fn counts(&self) -> (usize, usize) {
        (self.slab.len(), self.bound)
    }

    pub fn all(&self) -> impl Iterator<Item = &Conn> {
        self.slab.iter().map(|(_, conn)| &**conn)
    }

    fn insert(&mut self, mut conn: Box<Conn>) -> ConnId {
        self.serial = self.serial.wrapping_add(1);
        conn.serial = self.serial;
        let slot = u32::try_from(self.slab.insert(conn)).expect("there are fewer connections than 2^32");
        ConnId { slot, serial: self.serial }
    }

    pub fn add(&mut self, now: Instant, peer: IpAddr, line: Line, secured: Option<ChannelBindings>) -> ConnId {
        self.insert(Box::new(Conn {
            serial: 0,
            peer,
            line,
            pending: Vec::new(),
            outbox: Outbox::default(),
            directive: None,
            session: None,
            secured,
            heard: now,
            pinged: None,
            queued: 0,
            pace: Pace::new(now),
            touched: false,
        }))
    }

    pub fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.slab.get_mut(id.slot as usize).filter(|conn| conn.serial == id.serial).map(|conn| &mut **conn)
    }

    fn remove(&mut self, id: ConnId) -> Option<Box<Conn>> {
        self.get_mut(id)?;
        Some(self.slab.remove(id.slot as usize))
    }

    pub fn ids(&self) -> Vec<ConnId> {
        self.slab.iter().map(|(slot, conn)| ConnId { slot: slot as u32, serial: conn.serial }).collect()
    }

    /// The driver is to look at this connection.
    pub fn touch(&mut self, id: ConnId) {
        if let Some(conn) = self.get_mut(id)
            && !mem::replace(&mut conn.touched, true)
        {
            self.touched.push(id);
        }
    }

    pub fn push(&mut self, id: ConnId, piece: Piece) {
        if let Some(conn) = self.get_mut(id) {
            conn.outbox.push(piece);
            self.touch(id);
        }
    }

    pub fn direct(&mut self, id: ConnId, directive: Directive) {
        if let Some(conn) = self.get_mut(id)
            && conn.directive != Some(Directive::Close)
        {
            conn.directive = Some(directive);
            self.touch(id);
        }
    }

    /// Counts a session's waiting stanzas; the driver reads on when there are none.
    pub fn queue(&mut self, id: ConnId, change: i32) {
        if let Some(conn) = self.get_mut(id) {
            conn.queued = conn.queued.saturating_add_signed(change);
            if conn.queued == 0 {
                self.touch(id);
            }
        }
    }

    pub fn count_bound(&mut self, change: isize) {
        self.bound = self.bound.saturating_add_signed(change);
    }
}

impl<D: Desk> Shard<D> {
    /// A connection came.
    pub fn open(&mut self, now: Now, arrival: Arrival) -> ConnId {
        self.now = now;
        let Arrival { port, peer, secured } = arrival;
        let line = match port {
            Port::Xmpp => {
                let security = secured.clone().map_or(Security::Plain, |bindings| Security::Tls(Box::new(bindings)));
                let limits = &self.terms.site.limits;
                Line::Tcp(Box::new(Stream::new(now.instant, Transport::Tcp, security, limits)))
            }
            Port::Http => Line::Http(Box::new(HttpLine::new(now.instant))),
            Port::Component => self.component_line(),
        };
        self.conns.add(now.instant, peer, line, secured)
    }

    /// A connection comes from another shard, because the owner of its account is here.
    pub fn adopt(&mut self, now: Now, baggage: Baggage) -> ConnId {
        self.now = now;
        let mut conn = baggage.conn;
        conn.directive = None;
        conn.touched = false;
        let component = match &conn.line {
            Line::Component(stream) => stream.component(),
            Line::Tcp(_) | Line::WebSocket(_) | Line::Http(_) | Line::Bosh(_) | Line::AtWork => None,
        };
        let id = self.conns.insert(conn);
        match component {
            Some(component) => self.component_moved(id, component),
            None => self.moved(id),
        }
        self.settle();
        id
    }

    /// A connection leaves for another shard. Its output has been written.
    pub fn leave(&mut self, id: ConnId) -> Option<Baggage> {
        self.conns.remove(id).map(|conn| Baggage { conn })
    }

    /// TLS is up on a connection that asked for it.
    pub fn secured(&mut self, now: Now, id: ConnId, bindings: ChannelBindings) {
        self.now = now;
        if let Some(conn) = self.conns.get_mut(id) {
            conn.directive = None;
            conn.heard = now.instant;
            conn.secured = Some(bindings.clone());
            self.is_secured(id, bindings);
        }
        self.settle();
    }

    /// Bytes came, decrypted.
    pub fn received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        conn.heard = now.instant;
        conn.pinged = None;
        conn.pace.count(now.instant, bytes.len(), self.terms.site.limits.client_bytes_per_sec_max);
        if conn.pending.is_empty() {
            let used = self.feed_while_taken(id, bytes);
            if used < bytes.len()
                && let Some(conn) = self.conns.get_mut(id)
            {
                conn.pending.extend_from_slice(&bytes[used..]);
            }
        } else {
            conn.pending.extend_from_slice(bytes);
            self.feed_pending(id);
        }
        self.settle();
    }

    /// More input in the middle of a call: what a client sent ahead of an answer.
    pub(super) fn feed_more(&mut self, id: ConnId, bytes: &[u8]) {
        self.feed(id, bytes);
    }

    /// Gives waiting input another chance.
    pub(super) fn feed_pending(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.pending.is_empty() {
            return;
        }
        let pending = mem::take(&mut conn.pending);
        let used = self.feed_while_taken(id, &pending);
        if used < pending.len()
            && let Some(conn) = self.conns.get_mut(id)
        {
            // What was used may have led to more that waits, which cannot be: input comes only through here.
            conn.pending = if used == 0 { pending } else { pending[used..].to_vec() };
        }
    }

    /// Hands input over until it is used up or has to wait; returns how much was used. A stream stops at each question to its
    /// host, and some are answered before it has even returned.
    fn feed_while_taken(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let mut used = 0;
        while used < bytes.len() {
            let taken = self.feed(id, &bytes[used..]);
            used += taken;
            if taken == 0 || self.conns.get_mut(id).is_some_and(|conn| conn.line.waits()) {
                break;
            }
        }
        used
    }

    /// Hands input to whatever the connection speaks; returns how much was used.
    fn feed(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let Some(conn) = self.conns.get_mut(id) else { return bytes.len() };
        if conn.directive.is_some() {
            // It is about to be secured, moved or closed.
            return 0;
        }
        match mem::replace(&mut conn.line, Line::AtWork) {
            Line::Tcp(mut stream) => {
                let (used, ask) = self.feed_stream(id, &mut stream, bytes);
                self.put_back(id, Line::Tcp(stream));
                self.obey(id, ask);
                used
            }
            Line::WebSocket(line) => self.feed_websocket(id, line, bytes),
            Line::Component(stream) => self.feed_component(id, stream, bytes),
            Line::Http(line) => {
                self.feed_http(id, line, bytes);
                bytes.len()
            }
            Line::Bosh(line) => {
                debug_assert!(false, "messages of BOSH come through its session");
                self.put_back(id, Line::Bosh(line));
                bytes.len()
            }
            Line::AtWork => {
                debug_assert!(false, "a connection is fed while it is at work");
                bytes.len()
            }
        }
    }

    pub(super) fn put_back(&mut self, id: ConnId, line: Line) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.line = line;
        }
    }

    fn feed_websocket(&mut self, id: ConnId, mut line: Box<(WebSocket, Stream)>, bytes: &[u8]) -> usize {
        let (socket, stream) = &mut *line;
        socket.push(bytes);
        let (mut ask, mut over) = (None, false);
        // While the stream waits for an answer, messages wait in the socket.
        while ask.is_none() && !stream.waits_for_host() {
            match socket.next() {
                Heard::Message(message) => ask = self.feed_stream(id, stream, message.as_bytes()).1,
                Heard::Nothing => break,
                // Without an end of the stream: the client may come back to its session. RFC 7395 §3.6
                Heard::Over => {
                    over = true;
                    break;
                }
            }
        }
        let replies = socket.take_output();
        if !replies.is_empty() {
            self.conns.push(id, Piece::Raw(replies.into()));
        }
        self.put_back(id, Line::WebSocket(line));
        self.obey(id, ask);
        if over {
            self.conns.direct(id, Directive::Close);
        }
        bytes.len()
    }

    /// Messages that came while the stream waited for an answer.
    pub(super) fn feed_waiting(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        match mem::replace(&mut conn.line, Line::AtWork) {
            Line::WebSocket(line) => {
                self.feed_websocket(id, line, &[]);
            }
            Line::Bosh(line) => {
                // Its messages wait in its session, and whoever serves it comes back to them.
                conn.line = Line::Bosh(line);
                self.conns.touch(id);
            }
            line => {
                conn.line = line;
                self.feed_pending(id);
            }
        }
    }

    /// The peer has sent all it will send.
    pub fn ended(&mut self, now: Now, id: ConnId) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Line::Http(_) = conn.line {
            self.end_http(id);
        } else {
            self.conns.direct(id, Directive::Close);
        }
        self.settle();
    }

    /// A connection is gone, whatever ended it.
    pub fn closed(&mut self, now: Now, id: ConnId) {
        self.now = now;
        if let Some(mut conn) = self.conns.remove(id) {
            self.drop_transfer(id);
            self.trying.remove(&id);
            if let Line::Http(line) = &conn.line
                && line.waits_for_bosh()
            {
                self.bosh_hung_up(id);
            }
            let remains = conn.outbox.remains();
            match conn.session.take() {
                Some((session, account)) => self.detach(session, account, remains),
                None => self.component_closed(id, remains),
            }
            // A call that is under way goes on to its end: what it has begun, a sign-up say, is not left half done.
        }
        self.settle();
    }

    /// The connections that have something for their drivers since the last time.
    pub fn take_touched(&mut self, mut look: impl FnMut(ConnId)) {
        while !self.conns.touched.is_empty() {
            let mut touched = mem::take(&mut self.conns.touched);
            for id in touched.drain(..) {
                let Some(conn) = self.conns.get_mut(id) else { continue };
                conn.touched = false;
                // BOSH sessions have no driver: the shard serves them here, which may touch the connections of their requests.
                if let Line::Bosh(_) = conn.line {
                    self.serve_bosh(id);
                } else {
                    look(id);
                }
            }
            if self.conns.touched.is_empty() {
                self.conns.touched = touched;
                return;
            }
        }
    }

    /// Appends output to `out`, whole pieces while it has fewer than `enough` bytes.
    pub fn output(&mut self, now: Now, id: ConnId, out: &mut Vec<u8>, enough: usize) {
        self.now = now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let mut awaited = Vec::new();
        while out.len() < enough
            && let Some(mut piece) = conn.outbox.pop()
        {
            if let Piece::Entrusted(message) = &mut piece {
                awaited.extend(message.awaited.take().map(|awaited| *awaited));
            }
            match (piece, &mut conn.line) {
                (Piece::Raw(bytes), _) => out.extend_from_slice(&bytes),
                (Piece::End, _) => {}
                (
                    Piece::Stanza(bytes)
                    | Piece::Entrusted(Entrusted { stanza: bytes, .. })
                    | Piece::Nonza(bytes)
                    | Piece::Track(bytes),
                    Line::WebSocket(line),
                ) => {
                    let mut element = Vec::with_capacity(bytes.len() + 32);
                    frame_element(Transport::WebSocket, &bytes, &mut element);
                    write_message(&mut line.0, element.into(), out);
                }
                (Piece::Stanza(bytes), Line::Component(_)) => component::frame_element(&bytes, out),
                (Piece::Message(bytes), Line::WebSocket(line)) => write_message(&mut line.0, bytes, out),
                (
                    Piece::Entrusted(Entrusted { stanza: bytes, .. })
                    | Piece::Stanza(bytes)
                    | Piece::Nonza(bytes)
                    | Piece::Track(bytes)
                    | Piece::Message(bytes),
                    Line::Tcp(_) | Line::Http(_) | Line::Bosh(_) | Line::Component(_) | Line::AtWork,
                ) => {
                    out.extend_from_slice(&bytes);
                }
            }
        }
        if let (true, Some(Directive::Close), Line::WebSocket(line)) =
            (conn.outbox.is_empty(), conn.directive, &mut conn.line)
        {
            line.0.close();
            out.append(&mut line.0.take_output());
        }
        if let (false, Some((_, account))) = (awaited.is_empty(), conn.session) {
            self.taken(Owner::Account(account), Taken { rows: Vec::new(), awaited });
            self.settle();
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.outbox.is_empty() && self.transfers.are_under_way(id) {
            self.send_more(id);
            return self.settle();
        }
        if let Some((owner, note)) = conn.outbox.take_when_flushed() {
            self.send(owner, note);
            self.settle();
        }
    }

    /// Whether output waits.
    pub fn has_output(&mut self, id: ConnId) -> bool {
        self.conns.get_mut(id).is_some_and(|conn| !conn.outbox.is_empty())
    }

    /// What is to be done with a connection once its output is written.
    pub fn directive(&mut self, id: ConnId) -> Option<Directive> {
        self.conns.get_mut(id).and_then(|conn| conn.directive)
    }

    /// Whether to read from a connection now: not while its stream waits for something, not while it does not take what it is
    /// given, not while it is ahead of its rate, and not while too much waits for the disk.
    pub fn wants_input(&mut self, id: ConnId) -> bool {
        let congested = self.desk.is_congested();
        let rate = self.terms.site.limits.client_bytes_per_sec_max;
        let now = self.now.instant;
        let Some(conn) = self.conns.get_mut(id) else { return false };
        // Components are trusted: the limit is for clients.
        let rate = if matches!(conn.line, Line::Component(_)) { 0 } else { rate };
        let ready = match &conn.line {
            Line::Tcp(stream) => !stream.waits_for_host(),
            Line::Component(stream) => !stream.waits_for_host(),
            Line::WebSocket(line) => !line.1.waits_for_host(),
            Line::Http(line) => line.wants_input(),
            Line::Bosh(_) | Line::AtWork => false,
        };
        ready
            && conn.queued == 0
            && conn.pace.allows(now, rate)
            && conn.directive.is_none()
            && conn.outbox.bytes() < sessions::OWN_OUTPUT_BYTES_MAX
            && !congested
    }

    /// Gives back the memory that a quiet connection does not need.
    pub fn rest(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            conn.outbox.rest();
        }
    }
}

/// One WebSocket message. RFC 7395 §3.3.3.
fn write_message(socket: &mut WebSocket, element: Bytes, out: &mut Vec<u8>) {
    socket.write(&element);
    out.append(&mut socket.take_output());
}
