//! BOSH: streams whose connection is a row of HTTP requests, to whichever shards those come. XEP-0124, XEP-0206.
//!
//! A session's stream is a connection of the shard like any other, but without a driver. It begins on the shard that took its first
//! request, whose number its id begins with, and follows its user like any other; the first shard then knows where it went. A request
//! that comes to another shard travels to the first, perhaps on to where the session went, and its answer straight back.

use std::collections::VecDeque;
use std::mem;
use std::net::IpAddr;

use bytes::Bytes;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

use proto::bosh::{self, Request, RequestId, Session, Terminal};
use proto::owner::Owner;
use proto::sasl::ChannelBindings;
use proto::stanza::{Awaited, Backing, Entrusted, Leftover};
use proto::stream::{Security, Stream, Transport, frame_element};
use proto::time::{Instant, Now};
use rest::http::{Response, Status};

use super::Shard;
use super::conns::{Baggage, ConnId, Directive, Line};
use super::desk::Desk;
use super::guesses::Network;
use super::mesh::Letter;
use super::outbox::{Piece, Taken, become_overdue, wait_with};

/// Where a request came in, for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    shard: u16,
    conn: ConnId,
}

/// The sessions that began here, wherever they are, and the requests of those that are here.
#[derive(Default)]
pub(super) struct Sessions {
    places: HashMap<Box<str>, Place, RandomState>,
    requests: HashMap<RequestId, Origin, RandomState>,
    last: u64,
    early: Early,
}

/// Sessions whose clients have not logged in, about: as many as there were when they were counted last, and those that came since. They
/// cost a client one request each and no connection.
#[derive(Default)]
struct Early {
    all: u32,
    by_network: HashMap<Network, u32, RandomState>,
}

impl Early {
    /// Counts one in, unless that makes too many.
    fn has_room(&mut self, from: Option<Network>, max: u32) -> bool {
        if max > 0 && self.all >= max {
            return false;
        }
        if let Some(network) = from {
            let of_it = self.by_network.entry(network).or_default();
            if max > 0 && *of_it >= (max / OF_ALL_FOR_ONE_NETWORK).max(1) {
                return false;
            }
            *of_it += 1;
        }
        self.all += 1;
        true
    }
}

impl Sessions {
    /// Begins to count anew who has not logged in.
    pub fn forget_early(&mut self) {
        self.early = Early::default();
    }

    /// One from there has not.
    pub fn count_early(&mut self, from: IpAddr) {
        self.early.has_room(Network::of(from), 0);
    }
}

/// One in so many is what one network may have.
const OF_ALL_FOR_ONE_NETWORK: u32 = 10;

#[derive(Clone, Copy, Debug)]
enum Place {
    Here(ConnId),
    There(u16),
}

/// A session and its stream, as a connection has them.
pub(super) struct BoshLine {
    pub session: Session,
    pub stream: Stream,
    /// How many elements the session was given so far.
    given: u64,
    /// Which of them were entrusted, as long as the session may still have them.
    entrusted: VecDeque<(u64, Entrusted)>,
}

impl BoshLine {
    /// How many of the elements that the session was given its client is known to have.
    fn had(&self) -> u64 {
        self.given.saturating_sub(self.session.open_elements() as u64)
    }

    /// Messages that the client has not shown to have, while somebody waits for that since before `due`: each once.
    pub fn overdue(&mut self, due: Instant) -> Vec<Entrusted> {
        self.entrusted.iter_mut().filter_map(|(_, message)| become_overdue(message, due)).collect()
    }

    /// As [`Outbox::await_taken`](super::outbox::Outbox::await_taken), of what the session was given.
    pub fn await_taken(&mut self, given: u64, awaited: Box<Awaited>) -> Option<Box<Awaited>> {
        wait_with(self.entrusted.iter_mut().map(|(_, message)| message), given, awaited)
    }
}

/// A session on its way to another shard, with the requests that wait.
pub struct MovingSession {
    baggage: Baggage,
    sid: Box<str>,
    requests: Vec<(RequestId, Origin)>,
}

impl std::fmt::Debug for MovingSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MovingSession")
    }
}

impl<D: Desk> Shard<D> {
    /// A POST that may be BOSH's came in on an HTTP connection of this shard.
    pub(super) fn bosh_post(&mut self, conn: ConnId, body: &Bytes) {
        let mut nodes = mem::take(&mut self.nodes);
        let request = Request::parse(body, &self.terms.site.limits, &mut nodes);
        self.nodes = nodes;
        let origin = Origin { shard: self.me, conn };
        match request {
            Err(terminal) => self.bosh_answer(origin, terminal.body().into()),
            Ok(request) => match request.sid().map(home_of) {
                None => self.bosh_open(origin, request),
                Some(Some(home)) if home < self.places.count() => self.bosh_route(home, origin, request),
                Some(_) => self.bosh_answer(origin, Terminal::ItemNotFound.body().into()),
            },
        }
    }

    fn bosh_route(&mut self, place: u16, origin: Origin, request: Request) {
        if place == self.me {
            self.bosh_request(origin, request);
        } else {
            self.post(place, Letter::Bosh(origin, Box::new(request)));
        }
    }

    fn bosh_open(&mut self, origin: Origin, request: Request) {
        let now = self.now.instant;
        let from = self.network_of(origin.conn);
        if !self.bosh.early.has_room(from, self.terms.site.limits.bosh_early_max) {
            self.counts.bosh_turned_away += 1;
            return self.bosh_answer(origin, Terminal::PolicyViolation.body().into());
        }
        let random: [u8; 20] = self.desk.random().array();
        let sid = sid(self.me, &random);
        let id = self.bosh_id(origin);
        let session = match Session::open(now, id, request, &sid, &self.terms.domain) {
            Ok(session) => session,
            Err(terminal) => {
                self.bosh.requests.remove(&id);
                return self.bosh_answer(origin, terminal.body().into());
            }
        };
        let (peer, secured) = self
            .conns
            .get_mut(origin.conn)
            .map_or((IpAddr::from([0, 0, 0, 0]), false), |conn| (conn.peer, conn.secured.is_some()));
        // The login cannot be bound to TLS: each request may come over a connection of its own.
        let security = if secured { Security::Tls(Box::new(ChannelBindings::NONE)) } else { Security::Plain };
        let stream = Stream::new(now, Transport::Bosh, security, &self.terms.site.limits);
        let line = Line::Bosh(Box::new(BoshLine { session, stream, given: 0, entrusted: VecDeque::new() }));
        let conn = self.conns.add(now, peer, line, None);
        self.bosh.places.insert(sid.into(), Place::Here(conn));
        self.conns.touch(conn);
    }

    /// A request for a session that is here, or was.
    pub(super) fn bosh_request(&mut self, origin: Origin, request: Request) {
        let place = request.sid().and_then(|sid| self.bosh.places.get(sid)).copied();
        match place {
            Some(Place::There(shard)) => self.post(shard, Letter::Bosh(origin, Box::new(request))),
            Some(Place::Here(conn)) => {
                let id = self.bosh_id(origin);
                let now = self.now.instant;
                let Some(Line::Bosh(line)) = self.conns.get_mut(conn).map(|conn| &mut conn.line) else {
                    self.bosh.requests.remove(&id);
                    return self.bosh_answer(origin, Terminal::ItemNotFound.body().into());
                };
                line.session.request(now, id, request);
                if let Some(conn) = self.conns.get_mut(conn) {
                    conn.heard = now;
                    conn.pinged = None;
                }
                self.conns.touch(conn);
            }
            None => self.bosh_answer(origin, Terminal::ItemNotFound.body().into()),
        }
    }

    fn bosh_id(&mut self, origin: Origin) -> RequestId {
        self.bosh.last += 1;
        let id = RequestId(self.bosh.last << 16 | u64::from(self.me));
        self.bosh.requests.insert(id, origin);
        id
    }

    /// The answer to a request, wherever it came in.
    pub(super) fn bosh_answer(&mut self, origin: Origin, body: Bytes) {
        if origin.shard != self.me {
            return self.post(origin.shard, Letter::BoshAnswer(origin, body));
        }
        let response = Response::plain(Status::Ok, "text/xml; charset=utf-8", body);
        self.respond(origin.conn, &response);
    }

    /// Does for a BOSH session what a driver does for a socket.
    pub(super) fn serve_bosh(&mut self, id: ConnId) {
        self.feed_bosh(id);
        let now = self.now.instant;
        let Some(conn) = self.conns.get_mut(id) else { return };
        let directive = conn.directive;
        let owner = conn.session.map(|(_, account)| Owner::Account(account));
        let mut elements = Vec::new();
        while let Some(piece) = conn.outbox.pop() {
            elements.push(piece);
        }
        let Line::Bosh(line) = &mut conn.line else { return };
        for element in elements {
            line.given += u64::from(!matches!(&element, Piece::Message(element) if bosh::is_of_stream(element)));
            match element {
                Piece::Stanza(stanza) | Piece::Nonza(stanza) | Piece::Track(stanza) => {
                    push_stanza(&mut line.session, &stanza);
                }
                Piece::Entrusted(message) => {
                    push_stanza(&mut line.session, &message.stanza);
                    line.entrusted.push_back((line.given, message));
                }
                Piece::Message(element) | Piece::Raw(element) => line.session.push(&element),
                Piece::End => {}
            }
        }
        if directive == Some(Directive::Close) {
            line.session.end();
        }
        let mut answers = Vec::new();
        while let Some(answer) = line.session.poll(now) {
            answers.push(answer);
        }
        let over = line.session.is_over();
        let had = line.had();
        let mut awaited = Vec::new();
        while line.entrusted.front().is_some_and(|(number, ..)| *number <= had) {
            awaited.extend(line.entrusted.pop_front().and_then(|(_, message)| message.awaited).map(|awaited| *awaited));
        }
        let flushed = if line.session.pending_bytes() == 0 { conn.outbox.take_when_flushed() } else { None };
        if flushed.is_some() {
            // Their rows go now, though the client may not yet have shown that it has them.
            for (_, message) in &mut line.entrusted {
                message.backing = Backing::Others(0);
            }
        }
        for answer in answers {
            if let Some(origin) = self.bosh.requests.remove(&answer.request) {
                self.bosh_answer(origin, answer.body);
            }
        }
        if let Some((owner, note)) = flushed {
            self.send(owner, note);
        }
        if let Some(owner) = owner {
            self.taken(owner, Taken { rows: Vec::new(), awaited });
        }
        match directive {
            Some(Directive::Move(place)) if !over => self.bosh_leave(id, place),
            _ if over => self.bosh_over(id),
            _ => {}
        }
        self.settle();
    }

    /// Hands the stream the messages that came, while it takes them.
    fn feed_bosh(&mut self, id: ConnId) {
        loop {
            let Some(conn) = self.conns.get_mut(id) else { return };
            if conn.directive.is_some() || conn.queued > 0 {
                return;
            }
            let mut line = match mem::replace(&mut conn.line, Line::AtWork) {
                Line::Bosh(line) => line,
                other => {
                    conn.line = other;
                    return;
                }
            };
            let message = if line.stream.waits_for_host() { None } else { line.session.message() };
            let Some(message) = message else { return self.put_back(id, Line::Bosh(line)) };
            let (_, ask) = self.feed_stream(id, &mut line.stream, &message);
            self.put_back(id, Line::Bosh(line));
            self.obey(id, ask);
        }
    }

    fn bosh_leave(&mut self, id: ConnId, place: u16) {
        let Some(sid) = self.bosh_sid(id) else { return };
        let Some(baggage) = self.leave(id) else { return };
        // All requests that this session holds: there are no more than a few, so those of all sessions are looked through.
        let Line::Bosh(line) = baggage.line() else { return };
        let requests = line.session.requests_waiting();
        let requests = requests.filter_map(|id| self.bosh.requests.remove(&id).map(|origin| (id, origin))).collect();
        if home_of(&sid) == Some(self.me) {
            self.bosh.places.insert(sid.clone(), Place::There(place));
        } else {
            self.bosh.places.remove(&sid);
        }
        self.post(place, Letter::BoshMove(Box::new(MovingSession { baggage, sid, requests })));
    }

    /// A session comes from another shard.
    pub(super) fn bosh_adopt(&mut self, now: Now, moving: MovingSession) {
        let MovingSession { baggage, sid, requests } = moving;
        self.bosh.requests.extend(requests);
        let id = self.adopt(now, baggage);
        self.bosh.places.insert(sid, Place::Here(id));
        self.conns.touch(id);
    }

    /// The session is over, in good order or because its client was silent.
    fn bosh_over(&mut self, id: ConnId) {
        let Some(sid) = self.bosh_sid(id) else { return };
        self.bosh.places.remove(&sid);
        if let Some(home) = home_of(&sid).filter(|home| *home != self.me) {
            self.post(home, Letter::BoshOver(sid));
        }
        let now = self.now;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if let Line::Bosh(line) = &mut conn.line {
            let late = conn.outbox.remains().waiting;
            // What is left is the end of what was given.
            let had = line.had();
            for (_, message) in line.entrusted.drain(..).filter(|(number, _)| *number > had) {
                conn.outbox.push(Piece::Entrusted(message));
            }
            for leftover in late {
                conn.outbox.push(match leftover {
                    Leftover::Entrusted(message) => Piece::Entrusted(message),
                    Leftover::Stanza(stanza) => Piece::Stanza(stanza),
                });
            }
        }
        self.closed(now, id);
    }

    /// A session that began here ended elsewhere.
    pub(super) fn bosh_forget(&mut self, sid: &str) {
        self.bosh.places.remove(sid);
    }

    /// An HTTP connection is gone; a request of it may be waiting for an answer.
    pub(super) fn bosh_hung_up(&mut self, conn: ConnId) {
        let origin = Origin { shard: self.me, conn };
        for shard in 0..self.places.count() {
            if shard == self.me {
                self.bosh_dropped(origin);
            } else {
                self.post(shard, Letter::BoshDropped(origin));
            }
        }
    }

    /// A client hung up on a request that may wait here.
    pub(super) fn bosh_dropped(&mut self, origin: Origin) {
        let found = self.bosh.requests.iter().find(|(_, known)| **known == origin).map(|(id, _)| *id);
        let Some(id) = found else { return };
        self.bosh.requests.remove(&id);
        let now = self.now.instant;
        for place in self.bosh.places.values() {
            if let Place::Here(conn) = place
                && let Some(Line::Bosh(line)) = self.conns.get_mut(*conn).map(|conn| &mut conn.line)
            {
                line.session.dropped(now, id);
            }
        }
    }

    fn bosh_sid(&mut self, id: ConnId) -> Option<Box<str>> {
        match &self.conns.get_mut(id)?.line {
            Line::Bosh(line) => Some(line.session.sid().into()),
            Line::Tcp(_) | Line::WebSocket(_) | Line::Http(_) | Line::Component(_) | Line::AtWork => None,
        }
    }

    fn post(&mut self, shard: u16, letter: Letter) {
        self.letters[usize::from(shard)].push(letter);
    }
}

fn push_stanza(session: &mut Session, stanza: &[u8]) {
    let mut framed = Vec::with_capacity(stanza.len() + 32);
    frame_element(Transport::Bosh, stanza, &mut framed);
    session.push(&framed);
}

/// A session id: the shard it began on, then what nobody can guess. XEP-0124 §16.
fn sid(shard: u16, random: &[u8]) -> String {
    use std::fmt::Write;
    let mut sid = format!("{shard:04x}");
    for byte in random {
        // Writing to a string cannot fail.
        let _ = write!(sid, "{byte:02x}");
    }
    sid
}

fn home_of(sid: &str) -> Option<u16> {
    u16::from_str_radix(sid.get(..4)?, 16).ok()
}
