//! XEP-0124 and XEP-0206: an XMPP stream inside HTTP requests.
//!
//! A [`Session`] stands between HTTP and a [`Stream`](crate::stream::Stream) with
//! [`Transport::Bosh`](crate::stream::Transport::Bosh). It puts requests into their order, takes the messages out of them, and
//! decides which request is answered with what, and when. It has no clock and no sockets; the host names HTTP requests with
//! [`RequestId`]s of its own:
//!
//! ```text
//! request = Request::parse(http body)                      // an Err is the answer: Terminal::body
//! session = match request.sid() { None => Session::open(..), Some(sid) => find it, or Terminal::ItemNotFound }
//! session.request(now, id, request)
//! while !stream.waits_for_host() { stream.feed(session.message()?, ..) }     // asks as over TCP
//! session.take(&host.out); session.end() if the stream asked to close
//! while let Some(answer) = session.poll(now) { send answer.body as the answer of answer.request }
//! if session.is_over() { forget it; if the stream is not closed, its connection broke }
//! ```
//!
//! The host also polls when [`Session::deadline`] has come, and tells with [`Session::dropped`] that a client hung up on a
//! request. Answers are `text/xml; charset=utf-8` with status 200, whatever `content` the client asked for: a type that a stranger
//! chooses would make our pages run scripts.
//!
//! *Invariants.* Requests are answered in the order of their rid. At most `hold` requests wait between two polls. What is kept for
//! clients that lost an answer is at most `requests` answers. A client that never reads is held back by
//! [`Session::pending_bytes`], which the host bounds as it bounds any outbox.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use crate::jid::Domain;
use crate::stream::{Outgoing, Piece};
use crate::time::Instant;
use crate::xml::Writer;

mod request;
mod response;
#[cfg(test)]
mod tests;

pub use request::Request;
pub use response::Terminal;

use request::Kind;
use response::body;

/// The longest a request is held without an answer.
pub const WAIT_SECS_MAX: u64 = 60;
/// How many requests are held at most.
pub const HOLD_MAX: u64 = 2;
/// Silence after which a session is forgotten, while no request is held.
pub const INACTIVITY_SECS_MAX: u64 = 60;
/// The longest silence a client may announce.
pub const PAUSE_SECS_MAX: u64 = 120;
/// The shortest time between two empty requests of a client that polls.
pub const POLLING_SECS_MIN: u64 = 5;
/// Random bytes in a session id, at least. XEP-0124 §16.
pub const SID_BYTES_MIN: usize = 16;
/// The version of XEP-0124 that is spoken.
const VERSION: (u32, u32) = (1, 11);
/// Bytes of elements in one answer, unless a single element is longer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Requests for answers that were given before, in a row.
const REPLAYS_MAX: u32 = 16;
/// Messages that wait for the stream, in bytes; a client has no reason to send on before it is answered.
const INBOX_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The host's name for a HTTP request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

/// The answer to a HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which.
    pub request: RequestId,
    /// What.
    pub body: Bytes,
}

/// Why a session has a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// A held request is to be answered, with nothing if there is nothing.
    Wait,
    /// The client makes no requests.
    Inactivity,
}

/// One session. Lives on the shard that has its stream.
#[derive(Debug)]
pub struct Session {
    sid: Box<str>,
    wait: Duration,
    hold: usize,
    /// The lower of the two sides' versions.
    ver: (u32, u32),
    domain: Domain,
    /// Whether the first answer, which says all this, is still to be given.
    fresh: bool,
    /// The next rid in order.
    expected: u64,
    /// Requests that came before their turn.
    early: Vec<(RequestId, Request)>,
    /// Requests that wait for an answer, in order.
    held: VecDeque<Held>,
    /// Answers given last, in order, for clients that lost them.
    given: VecDeque<(u64, Bytes)>,
    replays: u32,
    /// Answers that are due whatever happens: to requests that are not the session's turn.
    due: VecDeque<Answer>,
    inbox: VecDeque<Box<[u8]>>,
    inbox_bytes: usize,
    outbox: VecDeque<Box<[u8]>>,
    outbox_bytes: usize,
    /// Elements of the answers since the last request: a client that got them makes another one (XEP-0124 §9).
    unconfirmed: Vec<Box<[u8]>>,
    /// When all requests had been answered, and how long the client may be silent from then on.
    silent_since: Instant,
    patience: Duration,
    /// The last request was empty and came then.
    last_empty: Option<Instant>,
    /// The last answer had nothing in it.
    answered_nothing: bool,
    pausing: bool,
    ending: Ending,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    rid: u64,
    request: RequestId,
    until: Instant,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Not,
    /// The stream ended, with or without an error; the oldest request is to hear of it.
    Stream,
    /// The client broke the rules of BOSH.
    Broken(Terminal),
    Over,
}

impl Session {
    /// Begins a session with its first request. `sid` is made of at least 128 random bits.
    ///
    /// # Errors
    ///
    /// What to answer when there will be no session.
    pub fn open(
        now: Instant,
        id: RequestId,
        request: Request,
        sid: &str,
        domain: &Domain,
    ) -> Result<Session, Terminal> {
        let to = request.opening.to.as_deref().ok_or(Terminal::ImproperAddressing)?;
        if Domain::parse(to).ok().as_ref() != Some(domain) {
            return Err(Terminal::HostUnknown);
        }
        if request.kind != Kind::Plain {
            return Err(Terminal::BadRequest);
        }
        let wait = request.creation.wait.min(WAIT_SECS_MAX);
        // XEP-0124 §12: a client that has one connection only asks for polling with either of the two.
        let hold = if wait == 0 { 0 } else { request.creation.hold.min(HOLD_MAX) };
        let mut session = Session {
            sid: sid.into(),
            wait: Duration::from_secs(wait),
            hold: hold as usize,
            ver: request.creation.ver.min(VERSION),
            domain: domain.clone(),
            fresh: true,
            expected: request.rid,
            early: Vec::new(),
            held: VecDeque::new(),
            given: VecDeque::new(),
            replays: 0,
            due: VecDeque::new(),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            unconfirmed: Vec::new(),
            silent_since: now,
            patience: Duration::from_secs(INACTIVITY_SECS_MAX),
            last_empty: None,
            answered_nothing: false,
            pausing: false,
            ending: Ending::Not,
        };
        session.put(request.opening.message());
        session.accept(now, id, request);
        Ok(session)
    }

    /// The session's id.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// How many requests may wait at once, answered or not. XEP-0124 §7.2 has it one above `hold`.
    fn requests(&self) -> usize {
        self.hold + 1
    }

    /// A later request of this session.
    pub fn request(&mut self, now: Instant, id: RequestId, request: Request) {
        if self.ending != Ending::Not {
            self.due.push_back(Answer { request: id, body: Terminal::ItemNotFound.body().into() });
            return;
        }
        if request.rid < self.expected {
            return self.replay(id, request.rid);
        }
        // XEP-0124 §14.2. The same words for too large and too small tell nobody where the window is.
        if request.rid >= self.expected + self.requests() as u64 {
            return self.break_off(id, Terminal::ItemNotFound);
        }
        if request.rid > self.expected {
            return self.keep_early(id, request);
        }
        self.accept(now, id, request);
        while let Some(next) = self.early.iter().position(|(_, early)| early.rid == self.expected) {
            let (id, request) = self.early.swap_remove(next);
            self.accept(now, id, request);
        }
    }

    /// The client hung up on a request. It may come again with the same rid, to another connection.
    pub fn dropped(&mut self, now: Instant, id: RequestId) {
        self.early.retain(|(early, _)| *early != id);
        if let Some(at) = self.held.iter().position(|held| held.request == id) {
            let rid = self.held[at].rid;
            self.held.remove(at);
            // What the answer would have been, had it been given: nothing. The elements stay for the next one.
            self.remember(rid, body(|_| ()).into());
            self.silent_since = now;
        }
    }

    /// The next message for the stream, in the order of the requests. Messages wait here while the stream waits for its host.
    pub fn message(&mut self) -> Option<Box<[u8]>> {
        let message = self.inbox.pop_front()?;
        self.inbox_bytes -= message.len();
        Some(message)
    }

    /// Takes what the stream has to say.
    pub fn take(&mut self, out: &Outgoing) {
        for (piece, bytes) in out.pieces() {
            match piece {
                // Its attributes are in the first answer.
                Piece::Open => {}
                Piece::Element => self.push(bytes),
                Piece::Close => self.end(),
            }
        }
    }

    /// Takes one element that stands alone, as [`frame_element`](crate::stream::frame_element) makes it.
    pub fn push(&mut self, element: &[u8]) {
        self.outbox_bytes += element.len();
        self.outbox.push_back(element.into());
    }

    /// Bytes of elements that wait for a request to go out with.
    pub fn pending_bytes(&self) -> usize {
        self.outbox_bytes
    }

    /// How many elements the client is not known to have.
    pub fn open_elements(&self) -> usize {
        self.undelivered().count()
    }

    /// The elements that the client is not known to have: those that no answer took, and those of the answers after which it has
    /// not spoken.
    pub fn undelivered(&self) -> impl Iterator<Item = &[u8]> {
        let elements = self.unconfirmed.iter().chain(&self.outbox);
        elements.map(|element| &**element).filter(|element| !is_of_stream(element))
    }

    /// The requests that wait for an answer, in order and early.
    pub fn requests_waiting(&self) -> impl Iterator<Item = RequestId> + '_ {
        let held = self.held.iter().map(|held| held.request);
        held.chain(self.early.iter().map(|(id, _)| *id)).chain(self.due.iter().map(|answer| answer.request))
    }

    /// The stream asked for [`Close`](crate::stream::Ask::Close): the client hears of it with its next answer.
    pub fn end(&mut self) {
        if self.ending == Ending::Not {
            self.ending = Ending::Stream;
        }
    }

    /// Whether nothing is left to do but to forget the session.
    pub fn is_over(&self) -> bool {
        self.ending == Ending::Over && self.due.is_empty()
    }

    /// By when to poll, and why.
    pub fn deadline(&self) -> Option<(Instant, Deadline)> {
        match self.held.front() {
            Some(oldest) => Some((oldest.until, Deadline::Wait)),
            None if self.ending == Ending::Over => None,
            None => Some((self.silent_since + self.patience, Deadline::Inactivity)),
        }
    }

    /// The next answer to give now, if there is one.
    pub fn poll(&mut self, now: Instant) -> Option<Answer> {
        if let Some(answer) = self.due.pop_front() {
            return Some(answer);
        }
        // The end of the session, if this is it, makes more answers due.
        self.poll_held(now).or_else(|| self.due.pop_front())
    }

    /// The answer to the oldest request, if it is time for it; or the end of a session that nobody asks.
    fn poll_held(&mut self, now: Instant) -> Option<Answer> {
        match self.ending {
            Ending::Not => {}
            Ending::Stream => return self.poll_end(now),
            Ending::Broken(cause) => {
                let oldest = self.held.pop_front();
                if self.held.is_empty() {
                    self.over();
                }
                return oldest.map(|held| Answer { request: held.request, body: cause.body().into() });
            }
            Ending::Over => return None,
        }
        let Some(oldest) = self.held.front().copied() else {
            if now >= self.silent_since + self.patience {
                self.over();
            }
            return None;
        };
        // XEP-0124 §10: a pause gets all requests back, and no elements with them.
        if self.pausing {
            return Some(self.answer(now, oldest, 0));
        }
        let has_waited = now >= oldest.until;
        if !self.outbox.is_empty() || has_waited || self.held.len() > self.hold {
            return Some(self.answer(now, oldest, ANSWER_BYTES_MAX));
        }
        None
    }

    /// XEP-0124 §13: the oldest request hears of the end, the others get nothing.
    fn poll_end(&mut self, now: Instant) -> Option<Answer> {
        let Some(oldest) = self.held.pop_front() else {
            // Nobody waits to hear of it, and a session that keeps them waiting is over.
            if now >= self.silent_since + self.patience {
                self.over();
            }
            return None;
        };
        // XEP-0206 §6: a stream error is the stream's last element.
        let error = self.outbox.back().is_some_and(|last| last.starts_with(b"<stream:error"));
        let elements = self.elements(usize::MAX);
        let last = body(|xml| {
            if self.fresh {
                self.write_creation(xml);
            }
            xml.attr("type", "terminate");
            if error {
                xml.attr("condition", "remote-stream-error");
            }
            write_elements(&elements, xml);
        });
        while let Some(other) = self.held.pop_front() {
            self.due.push_back(Answer { request: other.request, body: body(|_| ()).into() });
        }
        self.over();
        Some(Answer { request: oldest.request, body: last.into() })
    }

    /// Answers the oldest request with what there is, up to `bytes_max`.
    fn answer(&mut self, now: Instant, oldest: Held, bytes_max: usize) -> Answer {
        let elements = self.elements(bytes_max);
        let bytes: Bytes = body(|xml| {
            if self.fresh {
                self.write_creation(xml);
            }
            write_elements(&elements, xml);
        })
        .into();
        self.fresh = false;
        self.answered_nothing = elements.is_empty();
        self.unconfirmed.extend(elements);
        self.held.pop_front();
        self.remember(oldest.rid, bytes.clone());
        if self.held.is_empty() {
            self.silent_since = now;
            self.pausing = false;
        }
        Answer { request: oldest.request, body: bytes }
    }

    /// XEP-0124 §7.2, XEP-0206 §3.
    fn write_creation(&self, xml: &mut Writer<'_>) {
        xml.attr("xmlns:xmpp", crate::ns::XBOSH).attr("xmlns:stream", crate::ns::STREAMS);
        xml.attr("sid", &self.sid).attr("from", self.domain.as_str());
        xml.attr_int("wait", self.wait.as_secs()).attr_int("hold", self.hold as u64);
        xml.attr_int("requests", self.requests() as u64).attr_int("inactivity", INACTIVITY_SECS_MAX);
        xml.attr_int("polling", POLLING_SECS_MIN).attr_int("maxpause", PAUSE_SECS_MAX);
        xml.attr("ver", &format!("{}.{}", self.ver.0, self.ver.1));
        xml.attr("xmpp:version", "1.0").attr("xmpp:restartlogic", "true");
    }

    /// Elements from the front of the outbox: as many as fit, and one at least unless none is wanted.
    fn elements(&mut self, bytes_max: usize) -> Vec<Box<[u8]>> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < bytes_max && self.outbox.front().is_some_and(|next| bytes == 0 || bytes + next.len() <= bytes_max)
        {
            if let Some(element) = self.outbox.pop_front() {
                bytes += element.len();
                self.outbox_bytes -= element.len();
                taken.push(element);
            }
        }
        taken
    }

    /// A request whose turn it is.
    fn accept(&mut self, now: Instant, id: RequestId, request: Request) {
        self.expected = request.rid + 1;
        self.replays = 0;
        // The capacity too: an idle session keeps nothing.
        self.unconfirmed = Vec::new();
        self.patience = Duration::from_secs(INACTIVITY_SECS_MAX);
        if self.is_too_often(now, &request) {
            return self.break_off(id, Terminal::PolicyViolation);
        }
        self.last_empty = request.is_empty().then_some(now);
        self.held.push_back(Held { rid: request.rid, request: id, until: now + self.wait });
        match request.kind {
            Kind::Plain => request.elements.into_iter().for_each(|element| self.put(element)),
            // XEP-0206 §5: whatever stands in it is ignored.
            Kind::Restart => self.put(request.opening.message()),
            Kind::Pause(seconds) if seconds <= PAUSE_SECS_MAX => {
                self.patience = Duration::from_secs(seconds);
                self.pausing = true;
            }
            Kind::Pause(_) => return self.end_broken(Terminal::PolicyViolation),
            Kind::Terminate => {
                request.elements.into_iter().for_each(|element| self.put(element));
                let mut close = Vec::new();
                crate::websocket::write_close(&mut close);
                self.put(close.into());
            }
        }
        if self.inbox_bytes > INBOX_BYTES_MAX {
            self.end_broken(Terminal::PolicyViolation);
        }
    }

    /// XEP-0124 §11 and §12: an empty request soon after another one, where nothing made it necessary.
    fn is_too_often(&self, now: Instant, request: &Request) -> bool {
        let soon = self.last_empty.is_some_and(|last| now.since(last) < Duration::from_secs(POLLING_SECS_MIN));
        if !request.is_empty() || !soon {
            return false;
        }
        if self.hold == 0 { self.answered_nothing } else { self.held.len() + 1 >= self.requests() }
    }

    fn put(&mut self, message: Box<[u8]>) {
        self.inbox_bytes += message.len();
        self.inbox.push_back(message);
    }

    /// A request before its turn; the window bounds how many there are.
    fn keep_early(&mut self, id: RequestId, request: Request) {
        if let Some((kept, early)) = self.early.iter_mut().find(|(_, early)| early.rid == request.rid) {
            self.due.push_back(Answer { request: *kept, body: recoverable() });
            *kept = id;
            *early = request;
            return;
        }
        self.early.push((id, request));
    }

    /// A request that came before. XEP-0124 §14.3.
    fn replay(&mut self, id: RequestId, rid: u64) {
        self.replays += 1;
        if self.replays > REPLAYS_MAX {
            return self.break_off(id, Terminal::PolicyViolation);
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.rid == rid) {
            self.due.push_back(Answer { request: held.request, body: recoverable() });
            held.request = id;
        } else if let Some((_, bytes)) = self.given.iter().find(|(given, _)| *given == rid) {
            self.due.push_back(Answer { request: id, body: bytes.clone() });
        } else {
            self.break_off(id, Terminal::ItemNotFound);
        }
    }

    fn remember(&mut self, rid: u64, bytes: Bytes) {
        self.given.push_back((rid, bytes));
        if self.given.len() > self.requests() {
            self.given.pop_front();
        }
    }

    /// The request that broke the rules hears of it, and so do those that wait.
    fn break_off(&mut self, id: RequestId, cause: Terminal) {
        self.due.push_back(Answer { request: id, body: cause.body().into() });
        self.end_broken(cause);
    }

    fn end_broken(&mut self, cause: Terminal) {
        for (early, _) in self.early.drain(..) {
            self.due.push_back(Answer { request: early, body: cause.body().into() });
        }
        self.ending = if self.held.is_empty() { Ending::Over } else { Ending::Broken(cause) };
        self.inbox.clear();
        self.inbox_bytes = 0;
    }

    fn over(&mut self) {
        for (early, _) in self.early.drain(..) {
            self.due.push_back(Answer { request: early, body: Terminal::ItemNotFound.body().into() });
        }
        self.ending = Ending::Over;
        self.inbox.clear();
        self.inbox_bytes = 0;
    }
}

/// The client is to send the request again, or has: the answer goes there. XEP-0124 §17.3.
fn recoverable() -> Bytes {
    body(|xml| {
        xml.attr("type", "error");
    })
    .into()
}

/// Whether an element is about the stream, and means nothing outside of it.
pub fn is_of_stream(element: &[u8]) -> bool {
    element.starts_with(b"<stream:")
}

fn write_elements(elements: &[Box<[u8]>], xml: &mut Writer<'_>) {
    for element in elements {
        xml.raw_bytes(element);
    }
}
