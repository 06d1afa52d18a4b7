//! Streams and their sessions: what a stream asks for, what its stanzas do, and how both end.

use std::mem;

use bytes::Bytes;

use proto::account::{Account, Fault, Progress};
use proto::command::Answer;
use proto::effect::{Effect, Ending, Note, ReplyTo, SessionId};
use proto::error::{Condition, StreamCondition, StreamError};
use proto::ext::fast;
use proto::jid::FullJid;
use proto::model::account as record;
use proto::ns;
use proto::owner::{AccountId, Owner};
use proto::row::{Found, Rows, Unreadable};
use proto::sasl::{ChannelBindings, Proof};
use proto::stanza::Remains;
use proto::stream::{Ask, Entry, Flow, Host, Outgoing, Piece as Said, Reply, Secrets, Stream, Transport};
use proto::time::Now;
use proto::xml::{Element, Nodes, Writer, splice};
use store::StoreError;

use super::conns::{ConnId, Directive, Line};
use super::desk::{Desk, Task};
use super::guesses::{Try, Turn as LoginTurn};
use super::outbox::Piece;
use super::owners::{Input, State};
use super::{Shard, Waiting};

/// A client that has this much of its own making to read is not read from until it has.
pub(super) const OWN_OUTPUT_BYTES_MAX: usize = 256 * 1024;

impl<D: Desk> Shard<D> {
    /// Feeds a stream; its line is taken out of the connection meanwhile.
    pub(super) fn feed_stream(&mut self, id: ConnId, stream: &mut Stream, bytes: &[u8]) -> (usize, Option<Ask>) {
        let terms = self.terms.clone();
        let mut nodes = mem::take(&mut self.nodes);
        let mut out = mem::take(&mut self.out);
        let now = self.now.instant;
        let mut random = self.chance.lend();
        let mut host = Host { now, terms: &terms.stream(), random: &mut random, out: &mut out };
        let failures = stream.auth_failures();
        let fed = stream.feed(bytes, &mut host, &mut nodes, &mut |element, _| self.stanza(id, element));
        self.failed_to_log_in(id, stream.auth_failures() - failures);
        self.said(id, stream.transport(), &mut out);
        self.nodes = nodes;
        self.out = out;
        (fed.consumed, fed.ask)
    }

    /// Queues what a stream has said.
    fn said(&mut self, id: ConnId, transport: Transport, out: &mut Outgoing) {
        if out.is_empty() {
            return;
        }
        if let Some(conn) = self.conns.get_mut(id) {
            match transport {
                Transport::Tcp => conn.outbox.push(Piece::Raw(Bytes::copy_from_slice(out.bytes()))),
                Transport::WebSocket => {
                    for (_, element) in out.pieces() {
                        conn.outbox.push(Piece::Message(Bytes::copy_from_slice(element)));
                    }
                }
                // The stream's ends are attributes of bodies, which its session knows to set.
                Transport::Bosh => {
                    for (_, element) in out.pieces().filter(|(piece, _)| *piece == Said::Element) {
                        conn.outbox.push(Piece::Message(Bytes::copy_from_slice(element)));
                    }
                }
            }
            self.conns.touch(id);
        }
        out.clear();
    }

    /// Gives a stream an answer, or has it do something, and sees to what follows.
    pub(super) fn with_stream(&mut self, id: ConnId, act: impl FnOnce(&mut Stream, &mut Host<'_>) -> Option<Ask>) {
        let Some(conn) = self.conns.get_mut(id) else { return };
        let mut line = mem::replace(&mut conn.line, Line::AtWork);
        let terms = self.terms.clone();
        let mut out = mem::take(&mut self.out);
        let transport = line.transport();
        let failures = line.auth_failures();
        let ask = {
            let mut random = self.chance.lend();
            let mut host = Host { now: self.now.instant, terms: &terms.stream(), random: &mut random, out: &mut out };
            match &mut line {
                Line::Tcp(stream) => act(stream, &mut host),
                Line::WebSocket(line) => act(&mut line.1, &mut host),
                Line::Bosh(line) => act(&mut line.stream, &mut host),
                Line::Http(_) | Line::Component(_) | Line::AtWork => None,
            }
        };
        let failed = line.auth_failures() - failures;
        self.put_back(id, line);
        self.failed_to_log_in(id, failed);
        if let Some(transport) = transport {
            self.said(id, transport, &mut out);
        }
        self.out = out;
        self.obey(id, ask);
    }

    fn answer(&mut self, id: ConnId, reply: Reply) {
        self.with_stream(id, |stream, host| stream.answer(reply, host));
        self.feed_waiting(id);
    }

    /// Does what a stream asks for; a login has its turn.
    pub(super) fn obey(&mut self, id: ConnId, ask: Option<Ask>) {
        let Some(ask) = ask else { return };
        let account = match &ask {
            Ask::Credentials(account) | Ask::Tokens(account, _) => *account,
            Ask::StartTls
            | Ask::Close
            | Ask::CheckPassword(_)
            | Ask::Move(_)
            | Ask::Resume { .. }
            | Ask::Bind { .. }
            | Ask::Enter(..) => return self.carry_out(id, ask),
        };
        self.trying.insert(id, account);
        match self.turn_to_log_in(id, Some(account)) {
            LoginTurn::Now => self.carry_out(id, ask),
            LoginTurn::At(time) => self.guesses.hold(time, Try::Login(id, ask)),
            LoginTurn::Never => self.answer(id, Reply::Unavailable),
        }
    }

    pub(super) fn carry_out(&mut self, id: ConnId, ask: Ask) {
        match ask {
            Ask::StartTls => self.conns.direct(id, Directive::StartTls),
            Ask::Close => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.outbox.set_over(true);
                }
                self.conns.direct(id, Directive::Close);
            }
            Ask::Credentials(account) => {
                let reads = record::login_reads(account);
                if let Some(found) = self.desk.cached(&reads) {
                    return self.secrets_for(id, found);
                }
                let ticket = self.ticket(Waiting::Secrets(id));
                self.desk.read(ticket, reads);
            }
            Ask::Tokens(account, client) => {
                let reads = fast::login_reads(account, client);
                if let Some(found) = self.desk.cached(&reads) {
                    return self.tokens_for(id, found);
                }
                let ticket = self.ticket(Waiting::Tokens(id));
                self.desk.read(ticket, reads);
            }
            Ask::CheckPassword(check) => {
                let ticket = self.ticket(Waiting::Password(id));
                self.desk.compute(ticket, Task::Password(check));
            }
            Ask::Move(account) => {
                self.counts.logins += 1;
                self.trying.remove(&id);
                let from = self.network_of(id);
                self.guesses.succeeded(self.now.instant, from, account);
                let place = self.places.of(&Owner::Account(account));
                if place == self.me {
                    self.moved(id);
                } else {
                    self.conns.direct(id, Directive::Move(place));
                }
            }
            Ask::Resume { account, token, count } => {
                self.offer(Owner::Account(account), Input::Reattach(id, token, count));
            }
            Ask::Bind { account, jid, secret_version, chosen: _ } => {
                self.offer(Owner::Account(account), Input::Attach(id, jid, secret_version));
            }
            Ask::Enter(account, entry) => self.arrives(id, account, entry),
        }
    }

    pub(super) fn is_secured(&mut self, id: ConnId, bindings: ChannelBindings) {
        self.answer(id, Reply::Secured(bindings));
    }

    pub(super) fn moved(&mut self, id: ConnId) {
        self.answer(id, Reply::Moved);
    }

    pub(super) fn secrets_for(&mut self, id: ConnId, found: Result<Vec<Found>, StoreError>) {
        let facts = found.map_err(|error| tracing::error!(%error, "credentials cannot be read")).and_then(|found| {
            record::login_facts(self.now.stamp, Rows::new(found))
                .map_err(|error| tracing::error!(%error, "a stored row is unreadable"))
        });
        let reply = match facts {
            Ok(facts) => Reply::Secrets(facts.map(|facts| Secrets {
                credentials: facts.credentials,
                tokens: facts.tokens,
                version: facts.secret_version,
            })),
            Err(()) => Reply::Unavailable,
        };
        self.answer(id, reply);
    }

    pub(super) fn tokens_for(&mut self, id: ConnId, found: Result<Vec<Found>, StoreError>) {
        let tokens = found.map_err(|error| tracing::error!(%error, "tokens cannot be read")).and_then(|found| {
            fast::login_tokens(self.now.stamp, Rows::new(found))
                .map_err(|error| tracing::error!(%error, "a stored row is unreadable"))
        });
        self.answer(id, tokens.map_or(Reply::Unavailable, Reply::Tokens));
    }

    pub(super) fn password_is(&mut self, id: ConnId, shown: Option<Proof>) {
        self.answer(id, Reply::PasswordIs(shown));
    }

    /// An account gives a connection a session.
    pub(super) fn attach(&mut self, account: &mut Account, conn: ConnId, jid: &FullJid, secret_version: Option<u64>) {
        let Some(transport) = self.conns.get_mut(conn).map(|conn| conn.line.transport()) else { return };
        let replaceable = transport != Some(Transport::Bosh);
        if !account.trusts(secret_version) {
            return self.attached.push((conn, Some(Reply::Refused(Condition::NotAuthorized))));
        }
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let bound = self.turn(|turn| account.bind(session, jid, replaceable, turn));
        match bound {
            Ok(_) => {
                self.links.add(session, Owner::Account(account.id()), conn);
                self.conns.count_bound(1);
                if let Some(conn) = self.conns.get_mut(conn) {
                    conn.session = Some((session, account.id()));
                }
                self.attached.push((conn, Some(Reply::Bound(jid.clone()))));
            }
            Err(condition) => self.attached.push((conn, Some(Reply::Refused(condition)))),
        }
    }

    /// An account takes a client in. The client hears of it after the writes that come of it, and before anything that the account
    /// has for its session: both are effects of the account, in this order.
    pub(super) fn enter(
        &mut self,
        account: &mut Account,
        conn: ConnId,
        entry: &Entry,
        rows: Rows,
    ) -> Result<(), (Unreadable, Option<ReplyTo>)> {
        if self.conns.get_mut(conn).is_none() {
            return Ok(());
        }
        self.last_session += 1;
        let session = SessionId(self.last_session);
        let reply = ReplyTo { shard: self.me, ticket: self.ticket(Waiting::Entry(conn)) };
        let entered =
            self.turn(|turn| account.enter(session, entry, rows, turn)).map_err(|error| (error, Some(reply)))?;
        if let Ok(entered) = &entered
            && entered.jid.is_some()
        {
            self.links.add(session, Owner::Account(account.id()), conn);
            self.conns.count_bound(1);
            if let Some(conn) = self.conns.get_mut(conn) {
                conn.session = Some((session, account.id()));
            }
        }
        self.effects.push(Effect::Answer(reply, Answer::Entry(Box::new(entered))));
        Ok(())
    }

    /// How an account has taken a client in.
    pub(super) fn entered(&mut self, conn: ConnId, answer: Answer) {
        let reply = match answer {
            Answer::Entry(entry) => match *entry {
                Ok(entered) => {
                    if let (true, Some(conn)) = (entered.tracked, self.conns.get_mut(conn)) {
                        conn.outbox.track_from(0);
                    }
                    Reply::Entered(Box::new(entered))
                }
                Err(condition) => Reply::Refused(condition),
            },
            Answer::Unavailable => Reply::Unavailable,
            Answer::Directory(_)
            | Answer::Account(_)
            | Answer::Dialog(_)
            | Answer::Upload(_)
            | Answer::Report(_)
            | Answer::Online(_) => {
                debug_assert!(false, "the answer is to another question");
                Reply::Unavailable
            }
        };
        self.answer(conn, reply);
    }

    /// Tells streams that their sessions are there, once the account is back in its place.
    pub(super) fn greet_attached(&mut self) {
        while let Some((conn, reply)) = self.attached.pop() {
            match reply {
                Some(reply) => self.answer(conn, reply),
                None => self.feed_waiting(conn),
            }
        }
    }

    pub(super) fn attach_failed(&mut self, conn: ConnId) {
        self.answer(conn, Reply::Refused(Condition::InternalServerError));
    }

    /// A session's connection is gone.
    pub(super) fn detach(&mut self, session: SessionId, account: AccountId, remains: Remains) {
        if self.links.knows(session) {
            self.conns.count_bound(-1);
        }
        if remains.resumable {
            self.links.cut(session);
        } else {
            self.links.remove(session);
        }
        self.offer(Owner::Account(account), Input::Detach(session, remains));
    }

    /// A stanza (or what extensions put between them) from a bound stream.
    fn stanza(&mut self, id: ConnId, element: Element<'_>) -> Flow {
        self.counts.stanzas_in += 1;
        let Some((session, account)) = self.conns.get_mut(id).and_then(|conn| conn.session) else {
            return Flow::End(StreamCondition::InternalServerError.into());
        };
        let owner = Owner::Account(account);
        let Some(slot) = self.owners.get_mut(&owner) else {
            return Flow::End(StreamCondition::InternalServerError.into());
        };
        if slot.is_lost() {
            self.abandon(owner);
            return Flow::End(StreamCondition::InternalServerError.into());
        }
        slot.used = self.now.instant;
        let state = if slot.is_free() { slot.state.take() } else { None };
        let Some(mut state) = state else {
            // The rest of what was read may follow; no more is read until the account has taken it.
            slot.inbox.push_back(Input::Stanza(session, owned(element)));
            self.conns.queue(id, 1);
            return Flow::Continue;
        };
        self.forget_effects();
        let before = self.feeding.replace(id);
        let result = match &mut *state {
            State::Account(account) => self.turn(|turn| account.stanza(session, element, None, turn)),
            State::Directory(_) | State::Dialog(_) | State::Component(_) => Ok(Progress::Done),
        };
        if let Some(slot) = self.owners.get_mut(&owner) {
            slot.state = Some(state);
        }
        let flow = match result {
            Ok(Progress::Done) => Flow::Continue,
            Ok(Progress::Needs(reads)) => {
                self.conns.queue(id, 1);
                self.read_for(owner, Input::Stanza(session, owned(element)), reads);
                Flow::Continue
            }
            Err(Fault::Stream(error)) => Flow::End(error),
            Err(Fault::Row(error)) => {
                self.counts.unreadable_rows += 1;
                tracing::error!(%error, ?owner, "a stored row is unreadable");
                Flow::End(StreamCondition::InternalServerError.into())
            }
        };
        self.release(owner);
        self.settle();
        self.feeding = before;
        match self.fault.take() {
            Some(fault) if flow == Flow::Continue => Flow::End(fault),
            Some(_) | None => flow,
        }
    }

    /// A stanza that had to wait for its account, or for rows.
    pub(super) fn owned_stanza(
        &mut self,
        account: &mut Account,
        session: SessionId,
        stanza: &[u8],
        rows: Option<Rows>,
        owner: Owner,
    ) -> Result<(), (Unreadable, Option<ReplyTo>)> {
        if let Some(conn) = self.links.conn(session) {
            self.conns.queue(conn, -1);
        }
        let mut nodes = Nodes::new();
        let result = match nodes.reread(stanza) {
            Some(element) => self.turn(|turn| account.stanza(session, element, rows, turn)),
            None => Err(Fault::Stream(StreamCondition::InternalServerError.into())),
        };
        match result {
            Ok(Progress::Done) => Ok(()),
            Ok(Progress::Needs(reads)) => {
                if let Some(conn) = self.links.conn(session) {
                    self.conns.queue(conn, 1);
                }
                self.starved.push((owner, Input::Stanza(session, Bytes::copy_from_slice(stanza)), reads));
                Ok(())
            }
            Err(Fault::Stream(error)) => {
                self.end_stream(session, error);
                Ok(())
            }
            Err(Fault::Row(error)) => {
                self.end_stream(session, StreamCondition::InternalServerError.into());
                Err((error, None))
            }
        }
    }

    /// Queues something for a connection; one that takes too little of what it is given is ended.
    pub(super) fn queue_piece(&mut self, id: ConnId, piece: Piece) {
        let max = self.terms.site.limits.outbox_bytes_max;
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.directive == Some(Directive::Close) {
            // Too late to be sent, not too late to be kept: it goes back with the rest when the connection is gone.
            return conn.outbox.push_late(piece);
        }
        conn.outbox.push(piece);
        self.counts.stanzas_out += 1;
        let in_session = match &conn.line {
            Line::Bosh(line) => line.session.pending_bytes(),
            Line::Tcp(_) | Line::WebSocket(_) | Line::Http(_) | Line::Component(_) | Line::AtWork => 0,
        };
        let is_too_slow = conn.outbox.kept_bytes() + in_session > max;
        if is_too_slow {
            conn.outbox.set_over(true);
        }
        self.conns.touch(id);
        if is_too_slow {
            self.counts.slow_readers += 1;
            self.conns.direct(id, Directive::Close);
        }
    }

    pub(super) fn when_flushed(&mut self, owner: Owner, session: SessionId, note: Note) {
        let Some(id) = self.links.conn(session) else { return };
        let Some(conn) = self.conns.get_mut(id) else { return };
        if conn.outbox.is_flushed() {
            self.send(owner, note);
        } else {
            conn.outbox.set_when_flushed(owner, note);
        }
    }

    /// The server ends a session. The account has let go of it already.
    pub(super) fn end_session(&mut self, session: SessionId, ending: Ending) {
        let error = match ending {
            Ending::Conflict => StreamError::new(StreamCondition::Conflict, "The resource is connected elsewhere."),
            Ending::NotAuthorized => StreamError::new(StreamCondition::NotAuthorized, "The login is no longer valid."),
            Ending::PolicyViolation => StreamCondition::PolicyViolation.into(),
            Ending::InternalServerError => StreamCondition::InternalServerError.into(),
            Ending::Administrator => {
                StreamError::new(StreamCondition::PolicyViolation, "An administrator has ended this session.")
            }
        };
        self.end_stream(session, error);
    }

    pub(super) fn end_stream(&mut self, session: SessionId, error: StreamError) {
        match self.links.conn(session) {
            Some(id) => self.end_conn(id, error),
            None => self.forget_session(session),
        }
    }

    /// Deadlines and silent clients.
    pub(super) fn check_connections(&mut self) {
        self.bosh.forget_early();
        for id in self.conns.ids() {
            self.ask_for_rows(id);
            self.check_connection(id);
        }
    }

    fn check_connection(&mut self, id: ConnId) {
        let now = self.now.instant;
        let limits = &self.terms.site.limits;
        let (idle_time_max, ping_time_max) = (limits.idle_time_max, limits.ping_time_max);
        let Some(conn) = self.conns.get_mut(id) else { return };
        let deadline = match &conn.line {
            Line::Tcp(stream) => stream.deadline(),
            Line::WebSocket(line) => line.1.deadline(),
            Line::Http(_) => return self.check_http(id),
            Line::Component(_) => return self.check_component(id),
            Line::Bosh(line) => {
                let due = line.session.deadline().is_some_and(|(at, _)| at <= now);
                let deadline = line.stream.deadline();
                if conn.session.is_none() {
                    self.bosh.count_early(conn.peer);
                }
                if due {
                    self.conns.touch(id);
                }
                if let Some((at, _)) = deadline
                    && at <= now
                {
                    self.with_stream(id, |stream, host| stream.expired(host));
                }
                // A BOSH client that is silent is noticed by its session.
                return;
            }
            Line::AtWork => None,
        };
        if deadline.is_some_and(|(at, _)| at <= now) {
            return self.with_stream(id, |stream, host| stream.expired(host));
        }
        if conn.session.is_none() {
            return;
        }
        let silent = now.since(conn.heard);
        match conn.pinged {
            None if silent >= idle_time_max => {
                conn.pinged = Some(now);
                self.ping(id);
            }
            Some(at) if now.since(at) >= ping_time_max => {
                let error = StreamError::new(StreamCondition::ConnectionTimeout, "Nothing was heard for too long.");
                self.with_stream(id, |stream, host| stream.close(error, host));
                // It may only have lost its way here.
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.outbox.set_over(false);
                }
            }
            Some(_) | None => {}
        }
    }

    /// XEP-0199 §4.1. Any sign of life answers it; old SDKs give none, and their TCP connection is asked by the bytes themselves.
    fn ping(&mut self, id: ConnId) {
        let domain = self.terms.site.domain.clone();
        let Some(conn) = self.conns.get_mut(id) else { return };
        let jid = match &conn.line {
            Line::Tcp(stream) => stream.jid(),
            Line::WebSocket(line) => line.1.jid(),
            Line::Bosh(_) | Line::Http(_) | Line::Component(_) | Line::AtWork => None,
        };
        let Some(jid) = jid.map(ToString::to_string) else { return };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("iq").attr("type", "get").attr("id", "ping").attr("from", &domain).attr("to", &jid);
        xml.empty("ping", ns::PING).close();
        drop(xml);
        self.conns.push(id, Piece::Stanza(bytes.into()));
    }

    /// The server stops: every stream is told, and ends.
    pub fn shut_down(&mut self, now: Now) {
        self.now = now;
        for id in self.conns.ids() {
            let Some(conn) = self.conns.get_mut(id) else { continue };
            let Line::Http(line) = &mut conn.line else {
                self.end_conn(id, StreamCondition::SystemShutdown.into());
                continue;
            };
            // A request in hand is answered, and that ends the connection.
            if !line.stop() {
                self.conns.direct(id, Directive::Close);
            }
        }
        self.settle();
    }
}

/// A copy that takes a client stream's declarations for granted, whatever stream the element came in on.
fn owned(element: Element<'_>) -> Bytes {
    let mut bytes = Vec::new();
    if element.ns() == ns::CLIENT {
        splice::forward(element, &[], |_| {}, &mut bytes);
    } else {
        splice::copy(element, ns::CLIENT, &mut bytes);
    }
    bytes.into()
}
