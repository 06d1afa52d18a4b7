//! The XML stream of one connection: header, TLS, login, binding, and then stanzas. RFC 6120, RFC 7395, XEP-0206.
//!
//! A [`Stream`] does no I/O. Its host reads bytes, feeds them, sends what comes out, and does what the stream asks for:
//!
//! ```text
//! loop {
//!     fed = stream.feed(&buffer, &mut host, &mut nodes, &mut |element, out| session.take(element))
//!     drop fed.consumed bytes of the buffer          // the rest is fed again later, never twice
//!     send host.out; host.out.clear()                // before acting on the ask: it may be <proceed/> or the last word
//!     match fed.ask {
//!         None            => wait for bytes, or for stream.deadline()
//!         Some(StartTls)  => handshake;              answer(Secured(bindings))
//!         Some(Credentials(account)) => read rows;   answer(Secrets(rows)) or answer(Unavailable)
//!         Some(CheckPassword(check)) => check.run() elsewhere; answer(PasswordIs(which))
//!         Some(Tokens(account, client)) => read rows;        answer(Tokens(tokens)) or answer(Unavailable)
//!         Some(Move(account)) => perhaps move the connection to the account's shard; answer(Moved)
//!         Some(Enter(account, entry)) => have the account take it in;  answer(Entered(how)) or answer(Refused(condition))
//!         Some(Bind { .. })   => attach a session;   answer(Bound(jid)) or answer(Refused(condition))
//!         Some(Resume { .. }) => find the session;   answer(Resumed { .. }) or answer(NotResumed(count))
//!         Some(Close)     => close the socket once everything is sent
//!     }
//! }
//! ```
//!
//! An answer may bring output and another ask, like `feed`. While an ask is open, `feed` uses nothing up: input waits with the
//! host, and moves with the connection. Over TCP input may be cut anywhere. Over WebSocket and BOSH each call is one whole
//! message.
//!
//! *Invariants.* After [`Ask::StartTls`] everything the client had sent in the clear is gone (`consumed` is the whole input).
//! After [`Ask::Close`] nothing goes in or out any more. A bound stream between two elements holds no buffer.

use std::mem;
use std::time::Duration;

use crate::error::{Condition, Misbehaviour, StanzaError, StreamCondition, StreamError};
use crate::jid::{FullJid, Jid};
use crate::limits::Limits;
use crate::ns;
use crate::owner::AccountId;
use crate::time::Instant;
use crate::websocket;
use crate::xml::framer::only_element;
use crate::xml::{self, Context, Element, Frame, Framer, Nodes, Writer, XmlError};

mod bind;
mod contract;
pub mod drive;
mod early;
mod entry;
mod features;
mod framing;
mod header;
mod login;
mod resume;
mod sasl2;
mod state;
#[cfg(test)]
mod tests;
mod tls;

pub use contract::{Ask, Binding, Deadline, Entered, Entry, Fed, Flow, Host, Reply, Security, Session, Shown, Terms};
pub use features::{Content, Feature, Features};
pub use framing::{Outgoing, Piece, Transport, frame_element};
pub use login::{PasswordCheck, Secrets};

use early::Before;
use state::{ExpectBind, ExpectHeader, ExpectLogin, ExpectRestart, Next, Profile, State, Turned};

/// How long a client may take to end its stream after we ended ours.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

/// Random bytes in a stream id. RFC 6120 §4.7.3 asks for unpredictable.
const STREAM_ID_BYTES: usize = 16;

/// One stream and the streams that follow it on the same connection. Lives on the shard that has the connection.
pub struct Stream {
    framer: Framer,
    context: Context,
    state: State,
    due: Option<(Instant, Deadline)>,
    patience: Patience,
    transport: Transport,
    /// Our end of the stream is out: nothing more may be said.
    ended: bool,
}

/// How much has been put up with.
#[derive(Clone, Copy, Debug, Default)]
struct Patience {
    auth_failures: u32,
    early_stanzas: u32,
    dialect: Option<Dialect>,
}

/// In which elements a client logs in: one way on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    /// RFC 6120 §6.
    Sasl,
    /// XEP-0388.
    Sasl2,
}

/// A call to the host, from inside a state.
struct Call<'c, 'h> {
    host: &'c mut Host<'h>,
    patience: &'c mut Patience,
    transport: Transport,
}

impl Call<'_, '_> {
    /// Says one element.
    fn write(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        self.host.out.element(self.transport, |out| write(&mut Writer::new(out)));
    }

    /// Notes in which way the client logs in; false when it began in the other.
    fn speaks(&mut self, dialect: Dialect) -> bool {
        *self.patience.dialect.get_or_insert(dialect) == dialect
    }
}

/// What to do after a frame.
enum Heard {
    Go,
    Stop,
    Ask(Ask),
    Fault(StreamError),
    /// One side has said its last word, without an error.
    Ended,
}

/// What is left for the caller once a frame has had its effect.
enum Settled {
    Go,
    Stop,
    Ask(Ask),
}

impl Stream {
    /// A connection that was just made; over TLS from the first byte if `security` says so.
    pub fn new(now: Instant, transport: Transport, security: Security, limits: &Limits) -> Stream {
        Stream {
            framer: Framer::new(),
            context: Context::CLIENT,
            state: State::Header(ExpectHeader { security }),
            due: Some((now + limits.login_time_max, Deadline::Login)),
            patience: Patience::default(),
            transport,
            ended: false,
        }
    }

    /// How the stream travels.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The client's address, once it has one.
    pub fn jid(&self) -> Option<&FullJid> {
        match &self.state {
            State::Bound(bound) => Some(&bound.jid),
            State::Header(_)
            | State::Login(_)
            | State::Response(_)
            | State::Handshake
            | State::Credentials(_)
            | State::Verdict(_)
            | State::Tokens(_)
            | State::Move(_)
            | State::Enter(_)
            | State::Restart(_)
            | State::Bind(_)
            | State::Attach(_)
            | State::Resume(_)
            | State::Closed => None,
        }
    }

    /// Who logged in, from [`Ask::Move`] until binding is done; then [`Stream::jid`] says more.
    pub fn account(&self) -> Option<AccountId> {
        self.state.who().map(|who| who.account())
    }

    /// The language of stanzas that do not name theirs. RFC 6120 §4.7.4.
    pub fn lang(&self) -> Option<&str> {
        self.context.lang()
    }

    /// How often logging in has failed so far.
    pub fn auth_failures(&self) -> u32 {
        self.patience.auth_failures
    }

    /// Whether the stream is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the stream can only go on after an [`answer`](Stream::answer); until then `feed` uses nothing up.
    pub fn waits_for_host(&self) -> bool {
        self.state.waits_for_host()
    }

    /// Whether the stream stands between two elements and keeps nothing.
    pub fn is_idle(&self) -> bool {
        self.framer.is_idle()
    }

    /// Reads what it can of `input`, adds what there is to say to `host.out`, and hands each element of a bound stream to
    /// `session`. Stops early when it has to ask, or when the session says so.
    pub fn feed(&mut self, input: &[u8], host: &mut Host<'_>, nodes: &mut Nodes, session: &mut Session<'_>) -> Fed {
        if self.is_closed() {
            return Fed { consumed: input.len(), ask: None };
        }
        if self.state.waits_for_host() {
            return Fed { consumed: 0, ask: None };
        }
        match self.transport {
            Transport::Tcp => self.feed_bytes(input, host, nodes, session),
            Transport::WebSocket | Transport::Bosh => {
                let ask = self.feed_message(input, host, nodes, session);
                Fed { consumed: input.len(), ask }
            }
        }
    }

    fn feed_bytes(&mut self, input: &[u8], host: &mut Host<'_>, nodes: &mut Nodes, session: &mut Session<'_>) -> Fed {
        let mut rest = input;
        let mut framer = mem::take(&mut self.framer);
        let ask = loop {
            let limits = self.limits(host.terms);
            let heard = match framer.next(&mut rest, &limits) {
                Ok(None) => break None,
                Ok(Some(Frame::Whitespace)) => Heard::Go,
                Ok(Some(Frame::End)) => Heard::Ended,
                Ok(Some(Frame::Header(header))) => match nodes.parse_header(header, &limits) {
                    Ok(header) => self.header(header, host),
                    Err(error) => Heard::Fault(error.into()),
                },
                Ok(Some(Frame::Element(element))) => self.element(element, &limits, host, nodes, session),
                Err(error) => Heard::Fault(error.into()),
            };
            match self.settle(heard, host) {
                Settled::Go => {}
                Settled::Stop => break None,
                Settled::Ask(ask) => break Some(ask),
            }
        };
        // S01: what was sent in the clear behind <starttls/> must not be taken for something sent inside TLS.
        let drops_rest = matches!(ask, Some(Ask::StartTls | Ask::Close));
        let consumed = if drops_rest { input.len() } else { input.len() - rest.len() };
        self.framer = if self.is_closed() { Framer::new() } else { framer };
        Fed { consumed, ask }
    }

    /// RFC 7395 §3.3.3: a message is one element, whole. BOSH is brought into the same form by [`crate::bosh`].
    fn feed_message(
        &mut self,
        message: &[u8],
        host: &mut Host<'_>,
        nodes: &mut Nodes,
        session: &mut Session<'_>,
    ) -> Option<Ask> {
        // Some libraries keep connections alive with blanks, which RFC 7395 §3.8 would have them do with pings.
        if message.trim_ascii().is_empty() {
            return None;
        }
        let limits = self.limits(host.terms);
        let heard = match only_element(message, &limits) {
            Ok(element) => self.element(element, &limits, host, nodes, session),
            Err(error) => Heard::Fault(error.into()),
        };
        match self.settle(heard, host) {
            Settled::Go | Settled::Stop => None,
            Settled::Ask(ask) => Some(ask),
        }
    }

    /// The answer to what was asked last. An answer that comes too late, after the stream ended, changes nothing.
    pub fn answer(&mut self, reply: Reply, host: &mut Host<'_>) -> Option<Ask> {
        if self.is_closed() {
            return None;
        }
        let state = mem::replace(&mut self.state, State::Closed);
        let mut call = Call { host, patience: &mut self.patience, transport: self.transport };
        let turned = match (state, reply) {
            (State::Handshake, Reply::Secured(bindings)) => {
                let security = Security::Tls(Box::new(bindings));
                self.framer = Framer::new();
                Ok(Next::To(State::Header(ExpectHeader { security })))
            }
            (State::Credentials(expect), Reply::Secrets(found)) => expect.resume(found, &mut call),
            (State::Credentials(expect), Reply::Unavailable) => expect.fail(&mut call),
            (State::Verdict(expect), Reply::PasswordIs(shown)) => expect.resume(shown, &mut call),
            (State::Verdict(expect), Reply::Unavailable) => expect.fail(&mut call),
            (State::Tokens(expect), Reply::Tokens(tokens)) => expect.resume(&tokens, &mut call),
            (State::Tokens(expect), Reply::Unavailable) => expect.fail(&mut call),
            (State::Move(expect), Reply::Moved) => {
                if expect.passage.is_none() {
                    self.framer = Framer::new();
                }
                expect.moved(&mut call)
            }
            (State::Enter(expect), Reply::Entered(entered)) => {
                if entered.jid.is_some() {
                    self.due = self.due.filter(|&(_, why)| why != Deadline::Login);
                }
                expect.entered(*entered, &mut call)
            }
            (State::Enter(expect), Reply::Refused(condition)) => expect.refused(condition, &mut call),
            (State::Enter(expect), Reply::Unavailable) => expect.refused(Condition::InternalServerError, &mut call),
            (State::Attach(expect), Reply::Bound(jid)) => {
                self.due = self.due.filter(|&(_, why)| why != Deadline::Login);
                Ok(Next::To(expect.bound(jid, &mut call)))
            }
            (State::Attach(expect), Reply::Refused(condition)) => {
                Ok(Next::To(expect.refused(&StanzaError::from(condition), &mut call)))
            }
            (State::Resume(expect), Reply::Resumed { jid, element }) => {
                self.due = self.due.filter(|&(_, why)| why != Deadline::Login);
                Ok(Next::To(expect.resumed(jid, &element, &mut call)))
            }
            (State::Resume(expect), Reply::Unavailable | Reply::Refused(_)) => expect.not_found(None, &mut call),
            (State::Resume(expect), Reply::NotResumed(handled)) => expect.not_found(handled, &mut call),
            (State::Attach(expect), Reply::Unavailable) => {
                Ok(Next::To(expect.refused(&StanzaError::from(Condition::InternalServerError), &mut call)))
            }
            (state, _) => {
                debug_assert!(false, "the answer is to another question");
                self.state = state;
                return self.close(StreamCondition::InternalServerError.into(), host);
            }
        };
        let heard = self.turn(turned);
        match self.settle(heard, host) {
            Settled::Go | Settled::Stop => None,
            Settled::Ask(ask) => Some(ask),
        }
    }

    /// Ends the stream with an error, after a header of our own if none is out yet. RFC 6120 §4.9.1.
    pub fn close(&mut self, error: StreamError, host: &mut Host<'_>) -> Option<Ask> {
        if self.is_closed() {
            return None;
        }
        Some(self.last_words(error, host))
    }

    /// Ends our half of the stream and waits a while for the client's. RFC 6120 §4.4.
    pub fn end(&mut self, host: &mut Host<'_>) -> Option<Ask> {
        if self.is_closed() || self.ended {
            return None;
        }
        if self.state.expects_header() || matches!(self.state, State::Handshake) {
            return Some(self.over());
        }
        host.out.close(self.transport);
        self.ended = true;
        self.due = Some((host.now + CLOSE_TIME_MAX, Deadline::Close));
        match self.transport {
            Transport::Tcp | Transport::WebSocket => None,
            // XEP-0124 §13: a terminated session has no other half.
            Transport::Bosh => Some(self.over()),
        }
    }

    /// By when something has to happen, and what.
    pub fn deadline(&self) -> Option<(Instant, Deadline)> {
        self.due
    }

    /// Ends the stream if its deadline has passed.
    pub fn expired(&mut self, host: &mut Host<'_>) -> Option<Ask> {
        match self.due {
            Some((at, Deadline::Login)) if at <= host.now => self.close(Misbehaviour::LoginTimeout.into(), host),
            Some((at, Deadline::Close)) if at <= host.now => Some(self.over()),
            Some(_) | None => None,
        }
    }

    fn limits(&self, terms: &Terms<'_>) -> xml::Limits {
        let limits = terms.limits;
        if matches!(self.state, State::Bound(_)) {
            return xml::Limits {
                element_bytes_max: limits.stanza_bytes_max,
                depth_max: limits.depth_max,
                attributes_max: limits.attributes_max,
                ..xml::Limits::STANZA
            };
        }
        xml::Limits { element_bytes_max: limits.unauthenticated_bytes_max, ..xml::Limits::NEGOTIATION }
    }

    /// The client opened a stream: says hello, and what can be negotiated. RFC 6120 §4.3.2.
    fn header(&mut self, header: Element<'_>, host: &mut Host<'_>) -> Heard {
        self.context = match header::check(header, self.transport, host.terms.domain) {
            Ok(context) => context,
            Err(cause) => return Heard::Fault(cause.into()),
        };
        let from = header.attr("from").and_then(|from| Jid::parse(&from).ok().map(Jid::into_owned));
        // RFC 6120 §4.7.2: as it was written.
        let to = header.attr("from").filter(|_| from.is_some());
        self.open(to.as_deref(), host);
        let mut call = Call { host, patience: &mut self.patience, transport: self.transport };
        self.state = match mem::replace(&mut self.state, State::Closed) {
            State::Header(ExpectHeader { security }) => {
                let from = from.map(|from| from.bare_str().into());
                let state = ExpectLogin { security, from };
                features::write_before_login(&state, &mut call);
                State::Login(state)
            }
            State::Restart(ExpectRestart { who }) => {
                let state = ExpectBind { who };
                features::write_after_login(&state, &mut call);
                State::Bind(state)
            }
            // The framer finds one header, and is started anew in these two states only.
            state => {
                self.state = state;
                return Heard::Fault(XmlError::Syntax.into());
            }
        };
        Heard::Go
    }

    fn open(&mut self, to: Option<&str>, host: &mut Host<'_>) {
        let mut id = [0; STREAM_ID_BYTES];
        host.random.fill(&mut id);
        host.out.open(self.transport, &hex(&id), host.terms.domain.as_str(), to);
    }

    /// One whole element.
    fn element(
        &mut self,
        bytes: &[u8],
        limits: &xml::Limits,
        host: &mut Host<'_>,
        nodes: &mut Nodes,
        session: &mut Session<'_>,
    ) -> Heard {
        let alone = Context::ALONE;
        // `<open/>`; over TCP the framer lets nothing but a header come first.
        if self.state.expects_header() {
            return match nodes.parse(bytes, &alone, limits) {
                Ok(element) if is_goodbye(element) => Heard::Ended,
                Ok(element) => self.header(element, host),
                Err(error) => Heard::Fault(error.into()),
            };
        }
        // RFC 7395 §3.3.3: nothing is inherited from <open/>; its language is looked up by `lang`.
        let context = if self.transport.stands_alone() { &alone } else { &self.context };
        let element = match nodes.parse(bytes, context, limits) {
            Ok(element) => element,
            Err(error) => return Heard::Fault(error.into()),
        };
        if is_goodbye(element) {
            return Heard::Ended;
        }
        let mut call = Call { host, patience: &mut self.patience, transport: self.transport };
        if let State::Bound(_) = self.state {
            return hear(element, self.ended, &mut call, session);
        }
        let state = mem::replace(&mut self.state, State::Closed);
        let turned = negotiate(state, element, &mut call);
        self.turn(turned)
    }

    fn turn(&mut self, turned: Turned) -> Heard {
        match turned {
            Ok(Next::To(state)) => {
                self.state = state;
                Heard::Go
            }
            Ok(Next::Ask(state, ask)) => {
                self.state = state;
                Heard::Ask(ask)
            }
            Ok(Next::Leave) => Heard::Ended,
            Err(cause) => Heard::Fault(cause.into()),
        }
    }

    fn settle(&mut self, heard: Heard, host: &mut Host<'_>) -> Settled {
        match heard {
            Heard::Go => Settled::Go,
            Heard::Stop => Settled::Stop,
            Heard::Ask(ask) => Settled::Ask(ask),
            Heard::Fault(error) => Settled::Ask(self.last_words(error, host)),
            Heard::Ended => {
                if !self.ended && !self.state.expects_header() {
                    host.out.close(self.transport);
                }
                Settled::Ask(self.over())
            }
        }
    }

    fn last_words(&mut self, error: StreamError, host: &mut Host<'_>) -> Ask {
        // Inside a TLS handshake there is no stream to speak on.
        if !self.ended && !matches!(self.state, State::Handshake) {
            // RFC 6120 §4.9.1.2: an error in the header comes after a header.
            if self.state.expects_header() {
                self.open(None, host);
            }
            host.out.element(self.transport, |out| error.write(out));
            host.out.close(self.transport);
        }
        self.over()
    }

    fn over(&mut self) -> Ask {
        self.state = State::Closed;
        self.due = None;
        self.framer = Framer::new();
        Ask::Close
    }
}

/// An element between login's beginning and a bound resource.
fn negotiate(state: State, element: Element<'_>, call: &mut Call<'_, '_>) -> Turned {
    match state {
        State::Login(state) if call.transport == Transport::Bosh && websocket::is_open(element) => {
            early::reopen(element, &state, call).map(|()| Next::To(State::Login(state)))
        }
        State::Login(state) => match features::row_for(features::BEFORE_LOGIN, element) {
            Some(row) => (row.negotiate)(state, element, call),
            None => early::refuse(element, Before::Login, call).map(|()| Next::To(State::Login(state))),
        },
        State::Response(_) if element.ns() == ns::TLS => Ok(tls::refuse(call)),
        State::Response(state) if element.ns() == state.attempt.profile.ns() => state.take(element, call),
        // XEP-0388 §2.4
        State::Response(state) if matches!(state.attempt.profile, Profile::Sasl2(_)) => {
            Err(Misbehaviour::LoginInterrupted)
        }
        State::Response(state) => {
            early::refuse(element, Before::Login, call).map(|()| Next::To(State::Response(state)))
        }
        State::Bind(_) if element.ns() == ns::TLS => Ok(tls::refuse(call)),
        State::Bind(state) => match features::row_for(features::AFTER_LOGIN, element) {
            Some(row) => (row.negotiate)(state, element, call),
            None => early::refuse(element, Before::Bind, call).map(|()| Next::To(State::Bind(state))),
        },
        state @ (State::Header(_)
        | State::Restart(_)
        | State::Handshake
        | State::Credentials(_)
        | State::Verdict(_)
        | State::Tokens(_)
        | State::Move(_)
        | State::Enter(_)
        | State::Attach(_)
        | State::Resume(_)
        | State::Bound(_)
        | State::Closed) => {
            debug_assert!(false, "feed asks these states nothing");
            Ok(Next::To(state))
        }
    }
}

/// An element of a bound stream.
fn hear(element: Element<'_>, ended: bool, call: &mut Call<'_, '_>, session: &mut Session<'_>) -> Heard {
    let is_stanza = match (element.ns(), element.name()) {
        (ns::CLIENT, "message" | "presence" | "iq") => true,
        (ns::CLIENT | ns::STREAMS | ns::FRAMING, _) => return Heard::Fault(Misbehaviour::UnknownElement.into()),
        (ns::SASL | ns::SASL_2, _) => return Heard::Fault(Misbehaviour::SecondLogin.into()),
        (ns::TLS, _) if !ended => {
            tls::refuse(call);
            return Heard::Ended;
        }
        (ns::COMPRESS, _) if !ended => {
            early::refuse_compression(call);
            return Heard::Go;
        }
        _ => false,
    };
    // RFC 6120 §7.7: one stream, one resource.
    if is_stanza && is_bind(element) {
        if !ended {
            let error = StanzaError::new(Condition::NotAllowed, "This stream has its resource.");
            call.host.out.element(call.transport, |out| error.write_reply(element, None, None, out));
        }
        return Heard::Go;
    }
    match session(element, call.host.out) {
        Flow::Continue => Heard::Go,
        Flow::Pause => Heard::Stop,
        Flow::End(error) => Heard::Fault(error),
    }
}

/// A stream error or `<close/>`: the client is leaving, and gets no error. RFC 6120 §4.9.1.1, RFC 7395 §3.6.
fn is_goodbye(element: Element<'_>) -> bool {
    element.is("error", ns::STREAMS) || websocket::is_close(element)
}

fn is_bind(stanza: Element<'_>) -> bool {
    stanza.name() == "iq"
        && stanza.first_child().is_some_and(|child| child.is("bind", ns::BIND))
        && stanza.attr("type").as_deref() == Some("set")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

// Thousands of these wait for their next byte.
const _: () = assert!(mem::size_of::<Stream>() <= 256);
