//! HTTP connections: calls of the API, upgrades to WebSocket, and the pages for those who run the server.

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use proto::command::{Answer, Command};
use proto::effect::{Note, ReplyTo};
use proto::owner::Owner;
use proto::row::{Found, Rows};
use proto::stream::{Security, Stream, Transport};
use proto::time::{Instant, Now};
use rest::flow::{Moment, Step, Then, Work, Worked};
use rest::http::Step as Read;
use rest::http::{After, Connection, Method, Request, Response};
use rest::problem::Problem;
use store::StoreError;

use super::conns::{ConnId, Directive, Line};
use super::desk::{Desk, Task};
use super::guesses::{Try, Turn as LoginTurn};
use super::outbox::Piece;
use super::{Shard, Waiting};
use crate::conn::ws::WebSocket;

/// One call of the API while it waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId(u64);

/// The calls that wait.
#[derive(Default)]
pub(super) struct Calls {
    last: u64,
    waiting: HashMap<CallId, Call, RandomState>,
}

impl Calls {
    /// How many are under way.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

struct Call {
    conn: ConnId,
    next: Next,
}

/// What goes on with the answer.
enum Next {
    Found(Then<Rows>),
    Answered(Then<Answer>),
    Worked(Then<Worked>),
}

/// A connection that speaks HTTP.
pub(super) struct HttpLine {
    pub(super) machine: Connection,
    /// The request in hand is BOSH's.
    bosh: bool,
}

impl HttpLine {
    pub fn new(now: Instant) -> HttpLine {
        HttpLine { machine: Connection::new(now), bosh: false }
    }

    pub fn wants_input(&self) -> bool {
        self.machine.wants_input()
    }

    /// No more requests are taken; true while one is being answered, which ends the connection.
    pub fn stop(&mut self) -> bool {
        self.machine.stop()
    }

    /// Whether the request in hand waits for a BOSH session.
    pub fn waits_for_bosh(&self) -> bool {
        self.bosh
    }
}

impl<D: Desk> Shard<D> {
    /// Bytes for an HTTP connection, whose line is taken out of it meanwhile.
    pub(super) fn feed_http(&mut self, id: ConnId, mut line: Box<HttpLine>, bytes: &[u8]) {
        let mut out = Vec::new();
        let step = line.machine.feed(self.now.instant, bytes, &self.terms.site.limits, &mut out);
        self.put_back(id, Line::Http(line));
        self.went(id, out, step);
    }

    /// What the HTTP machine said, and what it wants.
    pub(super) fn went(&mut self, id: ConnId, out: Vec<u8>, step: Read) {
        if !out.is_empty() {
            self.conns.push(id, Piece::Raw(out.into()));
        }
        match step {
            Read::More => {}
            Read::Close => self.conns.direct(id, Directive::Close),
            Read::Request(request) => self.request(id, *request),
            Read::Upload(request, bytes) => {
                self.counts.calls += 1;
                let step = self.moment(|moment| rest::upload::put(&request, bytes, moment));
                self.step(id, step);
            }
            Read::Body => self.receive_more(id),
        }
    }

    /// The peer has sent all it will.
    pub(super) fn end_http(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Line::Http(line) = &mut conn.line else { return };
        let mut out = Vec::new();
        let step = line.machine.end(&mut out);
        self.went(id, out, step);
    }

    pub(super) fn check_http(&mut self, id: ConnId) {
        let now = self.now.instant;
        let limits = &self.terms.site.limits;
        if self.transfers.is_stalled(id, now, limits.request_time_max) {
            return self.conns.direct(id, Directive::Close);
        }
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Line::Http(line) = &mut conn.line else { return };
        let due = line.machine.deadline(limits).is_some_and(|(at, _)| at <= now);
        if due {
            let mut out = Vec::new();
            line.machine.expire(&mut out);
            self.went(id, out, Read::Close);
        }
    }

    fn request(&mut self, id: ConnId, request: Request) {
        self.counts.calls += 1;
        if let Some(upgrade) = request.websocket_upgrade() {
            let response = match (upgrade, request.path()) {
                (Ok(upgrade), "/" | "/ws" | "/ws/") => return self.upgrade(id, &upgrade.response()),
                (Ok(_), _) => Problem::no_such_path().into_response(),
                (Err(refusal), _) => refusal,
            };
            return self.respond(id, &response);
        }
        // Numbers about the server are for those who run it: for the listener without TLS, which is on loopback unless they say else.
        let inside = self.conns.get_mut(id).is_some_and(|conn| conn.secured.is_none());
        if request.route_method() == Method::Get
            && (inside || request.path() != "/metrics")
            && let Some(page) = self.desk.page(request.path())
        {
            return self.respond(id, &page);
        }
        if request.method() == Method::Post && matches!(request.path(), "/" | "/http-bind" | "/http-bind/") {
            if let Some(Line::Http(line)) = self.conns.get_mut(id).map(|conn| &mut conn.line) {
                line.bosh = true;
            }
            return self.bosh_post(id, request.body());
        }
        if matches!(request.path(), "/ws" | "/ws/") {
            return self.respond(id, &Response::websocket_required());
        }
        let step = self.moment(|moment| rest::route::start(request, moment));
        self.step(id, step);
    }

    /// From here on the connection speaks XMPP over WebSocket. RFC 7395.
    fn upgrade(&mut self, id: ConnId, response: &Response) {
        let now = self.now.instant;
        let limits = self.terms.site.limits.clone();
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Line::Http(line) = &mut conn.line else { return };
        let mut out = Vec::new();
        let after = line.machine.respond(now, response, &mut out);
        let After::Upgraded(rest) = after else { return self.went(id, out, Read::Close) };
        // A connection without TLS of its own may have a proxy in front that does it; the listener's terms say what may happen.
        let security = conn.secured.clone().map_or(Security::Plain, |bindings| Security::Tls(Box::new(bindings)));
        let stream = Stream::new(now, Transport::WebSocket, security, &limits);
        conn.line = Line::WebSocket(Box::new((WebSocket::new(limits.stanza_bytes_max), stream)));
        self.conns.push(id, Piece::Raw(out.into()));
        if !rest.is_empty() {
            self.feed_more(id, &rest);
        }
    }

    pub(super) fn moment<T>(&mut self, act: impl FnOnce(&mut Moment<'_>) -> T) -> T {
        let terms = self.terms.clone();
        let mut moment =
            Moment { now: self.now, site: &terms.site, settings: &terms.settings, random: self.desk.random() };
        act(&mut moment)
    }

    /// Does what a call's step says, as far as it can be done at once.
    pub(super) fn step(&mut self, conn: ConnId, mut step: Step) {
        loop {
            step = match step {
                Step::Done(response) => return self.respond(conn, &response),
                Step::Broken(unreadable) => {
                    self.counts.unreadable_rows += 1;
                    tracing::error!(%unreadable, "a stored row is unreadable");
                    return self.respond(conn, &Problem::internal().into_response());
                }
                Step::Tell(owner, command, next) => {
                    self.send(owner, Note::Command { command, reply: None, job: None });
                    *next
                }
                Step::Mail(mail, next) => {
                    self.desk.mail(mail);
                    *next
                }
                Step::Remove(files, next) => {
                    self.remove_files(files);
                    *next
                }
                Step::Receive(incoming, then) => return self.receive_file(conn, incoming, then),
                Step::Open(file, then) => return self.open_file(conn, file, then),
                Step::Send(response, range) => return self.send_file(conn, &response, range),
                Step::Read(reads, then) => match self.desk.cached(&reads) {
                    Some(Ok(found)) => self.moment(|moment| then(Rows::new(found), moment)),
                    Some(Err(error)) => return self.unavailable(conn, &error),
                    None => {
                        let ticket = self.wait(conn, Next::Found(then));
                        return self.desk.read(ticket, reads);
                    }
                },
                Step::Ask(owner, command, then) => {
                    let ticket = self.wait(conn, Next::Answered(then));
                    return self.ask(owner, command, ticket);
                }
                Step::Compute(work, then) => return self.compute(conn, work, then),
            };
        }
    }

    /// Has something computed; a check of a password has its turn.
    fn compute(&mut self, conn: ConnId, work: Work, then: Then<Worked>) {
        let turn = match &work {
            Work::SignIn { .. } | Work::Change { .. } => self.turn_to_log_in(conn, None),
            Work::Derive { .. } => LoginTurn::Now,
        };
        if turn == LoginTurn::Never {
            return self.respond(conn, &Problem::too_many_logins().into_response());
        }
        let ticket = self.wait(conn, Next::Worked(then));
        match turn {
            LoginTurn::At(time) => self.guesses.hold(time, Try::Call(ticket, work)),
            LoginTurn::Now | LoginTurn::Never => self.desk.compute(ticket, Task::Api(work)),
        }
    }

    fn ask(&mut self, owner: Owner, command: Command, ticket: u64) {
        let reply = Some(ReplyTo { shard: self.me, ticket });
        self.send(owner, Note::Command { command, reply, job: None });
    }

    fn wait(&mut self, conn: ConnId, next: Next) -> u64 {
        self.calls.last += 1;
        let id = CallId(self.calls.last);
        self.calls.waiting.insert(id, Call { conn, next });
        self.ticket(Waiting::Call(id))
    }

    pub(super) fn call_found(&mut self, call: CallId, found: Result<Vec<Found>, StoreError>) {
        let Some(Call { conn, next: Next::Found(then) }) = self.calls.waiting.remove(&call) else { return };
        match found {
            Ok(found) => {
                let step = self.moment(|moment| then(Rows::new(found), moment));
                self.step(conn, step);
            }
            Err(error) => self.unavailable(conn, &error),
        }
    }

    pub(super) fn call_answered(&mut self, call: CallId, answer: Answer) {
        let Some(Call { conn, next: Next::Answered(then) }) = self.calls.waiting.remove(&call) else { return };
        let step = self.moment(|moment| then(answer, moment));
        self.step(conn, step);
    }

    pub(super) fn call_worked(&mut self, call: CallId, worked: Worked) {
        let Some(Call { conn, next: Next::Worked(then) }) = self.calls.waiting.remove(&call) else { return };
        if matches!(worked, Worked::SignedIn(None) | Worked::Changed(None)) {
            self.failed_to_log_in(conn, 1);
        }
        let step = self.moment(|moment| then(worked, moment));
        self.step(conn, step);
    }

    fn unavailable(&mut self, conn: ConnId, error: &StoreError) {
        tracing::error!(%error, "rows cannot be read");
        self.respond(conn, &Problem::unavailable().into_response());
    }

    /// Answers the request in hand. One whose client is gone by now has had its effects all the same.
    pub(super) fn respond(&mut self, id: ConnId, response: &Response) {
        let now = self.now.instant;
        self.drop_transfer(id);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let Line::Http(line) = &mut conn.line else { return };
        let mut out = Vec::new();
        line.bosh = false;
        let after = line.machine.respond(now, response, &mut out);
        self.conns.push(id, Piece::Raw(out.into()));
        self.answered_with(id, after);
    }

    /// Whether there is a request that the client has sent ahead, and the client has taken the answers to those before.
    pub fn is_behind(&mut self, id: ConnId) -> bool {
        let Some(conn) = self.conns.get_mut(id) else { return false };
        let Line::Http(line) = &conn.line else { return false };
        conn.outbox.is_empty() && conn.directive.is_none() && line.machine.is_behind()
    }

    /// Takes up the next of the requests that the client has sent ahead.
    pub fn go_on(&mut self, now: Now, id: ConnId) {
        self.now = now;
        if self.is_behind(id) {
            self.feed_more(id, &[]);
        }
        self.settle();
    }

    /// What comes after an answer.
    pub(super) fn answered_with(&mut self, id: ConnId, after: After) {
        match after {
            After::Close | After::Upgraded(_) => self.conns.direct(id, Directive::Close),
            // What the client has sent ahead has its turn when this is taken.
            After::KeepAlive => self.conns.touch(id),
            After::Stream => debug_assert!(false, "only files are streamed"),
        }
    }
}
