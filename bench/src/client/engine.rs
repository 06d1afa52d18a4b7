//! The loop: sockets become readable, frames become logins or stanzas, answers are flushed once a socket's input is
//! read.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Poll, Token};
use rustls::ClientConfig;
use slab::Slab;
use thiserror::Error;

use super::connection::{Connection, Speech};
use super::framer::{Frame, FramingError};
use super::http::{Answer, AnswerError, Answers};
use super::line::Line;
use super::login::{Login, LoginError, Mechanism, Security, Step};
use super::scram::SaltedPasswords;
use super::timer::Timer;
use super::websocket::WebSocket;

const READ_BYTES: usize = 64 << 10;
const EVENTS: usize = 1024;
const TIMER: Token = Token(usize::MAX);
/// The handler's `tick` comes at least this often.
const TICK: Duration = Duration::from_millis(50);

/// Which connection; a number is used again after its connection has closed.
pub type ConnId = usize;

/// A user who can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The part before the `@`, also the name for SASL.
    pub user: String,
    /// The part after it, also the name for TLS.
    pub domain: String,
    /// In clear.
    pub password: String,
}

impl Account {
    /// Reads `user@domain password`.
    pub fn parse(line: &str) -> Option<Self> {
        let (jid, password) = line.trim().split_once(char::is_whitespace)?;
        let (user, domain) = jid.split_once('@')?;
        let plain = |text: &str| !text.is_empty() && !text.contains(['\'', '"', '<', '&']);
        (plain(user) && plain(domain)).then(|| Self {
            user: user.into(),
            domain: domain.into(),
            password: password.trim().into(),
        })
    }

    /// The bare JID.
    pub fn jid(&self) -> String {
        format!("{}@{}", self.user, self.domain)
    }
}

/// Where to connect and how to log in.
pub struct Target {
    /// The server's address.
    pub address: SocketAddr,
    /// STARTTLS, TLS or neither.
    pub security: Security,
    /// The path of the upgrade to WebSocket; without one the stream goes over TCP.
    pub websocket: Option<String>,
    /// How to authenticate.
    pub mechanism: Mechanism,
    /// Used unless `security` is plain.
    pub tls: Arc<ClientConfig>,
    /// Who exists.
    pub accounts: Vec<Account>,
}

/// Why a connection is gone.
#[derive(Debug, Error)]
pub enum Closed {
    /// We closed it, and the server agreed.
    #[error("closed as we asked")]
    Asked,
    /// The server closed it by itself.
    #[error("the server closed the connection")]
    ByServer,
    /// The server sent a stream error, shown as written.
    #[error("stream error: {0}")]
    Stream(String),
    /// The login failed.
    #[error("login: {0}")]
    Login(#[from] LoginError),
    /// The bytes are no stream.
    #[error(transparent)]
    Framing(#[from] FramingError),
    /// The bytes are no HTTP.
    #[error(transparent)]
    Http(#[from] AnswerError),
    /// The socket or TLS failed.
    #[error("connection: {0}")]
    Io(#[from] io::Error),
}

/// The driver itself cannot go on.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The kernel refuses sockets or events.
    #[error("the driver cannot go on: {0}")]
    Io(#[from] io::Error),
}

/// What the loop should do after a tick.
pub enum Next {
    /// Wait for the network (ticks still come).
    Wait,
    /// The same, but no longer than until then.
    At(Instant),
    /// The scenario is through.
    Done,
}

/// Where HTTP is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// For the socket.
    pub address: SocketAddr,
    /// For the header `Host`.
    pub host: String,
    /// For TLS.
    pub name: String,
    /// Whether there is TLS.
    pub tls: bool,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The handler said so.
    Finished,
    /// The time was up first.
    TimedOut,
}

/// A scenario's part.
pub trait Handler {
    /// The connection is logged in and available.
    fn ready(&mut self, _engine: &mut Engine, _id: ConnId) {}
    /// A whole stanza has come on a ready connection, or while the echo of our presence is awaited.
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]);
    /// A whole answer has come on a connection of [`Engine::call`].
    fn answer(&mut self, _engine: &mut Engine, _id: ConnId, _answer: Answer<'_>) {}
    /// The connection is gone; its number may be used again at once.
    fn closed(&mut self, engine: &mut Engine, id: ConnId, why: Closed);
    /// Before every wait: the place for what the clock demands.
    fn tick(&mut self, engine: &mut Engine, now: Instant) -> Next;
}

/// All connections of this process.
pub struct Engine {
    target: Target,
    poll: Poll,
    timer: Timer,
    connections: Slab<Connection>,
    known: SaltedPasswords,
    dirty: Vec<ConnId>,
    buffer: Vec<u8>,
}

impl Engine {
    /// An engine without connections.
    pub fn new(target: Target) -> Result<Self, EngineError> {
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        Ok(Self {
            target,
            poll,
            timer,
            connections: Slab::new(),
            known: SaltedPasswords::default(),
            dirty: Vec::new(),
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Who exists.
    pub fn accounts(&self) -> &[Account] {
        &self.target.accounts
    }

    /// Which account a connection belongs to.
    pub fn account_of(&self, id: ConnId) -> usize {
        self.connections[id].account
    }

    /// Starts a login; the handler hears `ready` or `closed`.
    pub fn connect(&mut self, account: usize, resource: String) -> Result<ConnId, EngineError> {
        let who = &self.target.accounts[account];
        let mut line = Line::new(open(self.target.address)?);
        if self.target.security == Security::Direct {
            line.start_tls(&self.target.tls, &who.domain).map_err(io::Error::other)?;
        }
        let speech = match &self.target.websocket {
            Some(path) => Speech::WebSocket(Box::new(WebSocket::new(&who.domain, &who.domain, path))),
            None => Speech::Stream,
        };
        let login = Login::new(self.target.security, self.target.mechanism, resource);
        let mut out = Vec::new();
        login.open(who, &mut out);
        let mut connection = Connection::new(line, account, Some(login), speech);
        connection.out = out;
        self.add(connection)
    }

    /// Opens a connection for requests of HTTP in the name of an account: the handler hears `answer`, or `closed`.
    pub fn call(&mut self, account: usize, api: &Place) -> Result<ConnId, EngineError> {
        let mut line = Line::new(open(api.address)?);
        if api.tls {
            line.start_tls(&self.target.tls, &api.name).map_err(io::Error::other)?;
        }
        self.add(Connection::new(line, account, None, Speech::Http(Answers::default())))
    }

    fn add(&mut self, mut connection: Connection) -> Result<ConnId, EngineError> {
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        connection.line.register(self.poll.registry(), Token(id))?;
        entry.insert(connection);
        Ok(id)
    }

    /// The bytes that go out with the next flush; append whole stanzas.
    pub fn out(&mut self, id: ConnId) -> &mut Vec<u8> {
        let connection = &mut self.connections[id];
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(id);
        }
        &mut connection.out
    }

    /// Ends the stream politely; `closed` follows when the server has answered.
    pub fn close(&mut self, id: ConnId) {
        self.out(id).extend_from_slice(b"</stream:stream>");
        self.connections[id].closing = true;
    }

    /// Drives until the handler is done or `deadline` has come.
    pub fn run(&mut self, handler: &mut impl Handler, deadline: Instant) -> Result<Outcome, EngineError> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if now >= deadline {
                return Ok(Outcome::TimedOut);
            }
            let next = handler.tick(self, now);
            self.flush(handler);
            let mut wake = deadline.min(now + TICK);
            match next {
                Next::Wait => {}
                Next::At(at) if at < wake => {
                    wake = at;
                    self.timer.arm(at.saturating_duration_since(Instant::now()))?;
                }
                Next::At(_) => {}
                Next::Done => return Ok(Outcome::Finished),
            }
            match self.poll.poll(&mut events, Some(wake.saturating_duration_since(now))) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
            for event in &events {
                if event.token() == TIMER {
                    continue;
                }
                let id = event.token().0;
                if let Err(why) = self.on_event(handler, id, event.is_read_closed()) {
                    self.remove(handler, id, why);
                }
                self.flush(handler);
            }
        }
    }

    fn on_event(&mut self, handler: &mut impl Handler, id: ConnId, read_closed: bool) -> Result<(), Closed> {
        loop {
            let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
            let got = match connection.receive(&mut self.buffer) {
                Ok(got) => got,
                // Not yet established: a writable event will follow.
                Err(e) if e.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            self.dispatch(handler, id)?;
            let Some(connection) = self.connections.get_mut(id) else { return Ok(()) };
            match got {
                Some(0) => return Err(if connection.closing { Closed::Asked } else { Closed::ByServer }),
                Some(count) if count == READ_BYTES || read_closed => {}
                Some(_) | None => {
                    // Also what an earlier flush had to leave.
                    if connection.wants_flush() {
                        self.out(id);
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Hands out every complete frame of a connection.
    fn dispatch(&mut self, handler: &mut impl Handler, id: ConnId) -> Result<(), Closed> {
        if let Speech::Http(answers) = &mut self.connections[id].speech {
            // Taken out for the same reason as below.
            let mut answers = mem::take(answers);
            while let Some(answer) = answers.next_answer()? {
                handler.answer(self, id, answer);
            }
            self.connections[id].speech = Speech::Http(answers);
            return Ok(());
        }
        // Taken out, so that stanzas can be borrowed while the handler writes to any connection.
        let mut framer = mem::take(&mut self.connections[id].framer);
        while let Some(frame) = framer.next_frame()? {
            let connection = &mut self.connections[id];
            if let Frame::Stanza(stanza) = &frame
                && super::framer::name(stanza) == b"stream:error"
            {
                return Err(Closed::Stream(String::from_utf8_lossy(stanza).into_owned()));
            }
            let Some(login) = &mut connection.login else {
                match frame {
                    Frame::Stanza(stanza) => handler.stanza(self, id, stanza),
                    Frame::End if connection.closing => return Err(Closed::Asked),
                    Frame::End => return Err(Closed::ByServer),
                    Frame::Header(_) => {}
                }
                continue;
            };
            let account = &self.target.accounts[connection.account];
            let step = login.step(&frame, account, &mut self.known, &mut connection.out)?;
            match step {
                Step::Wait => {}
                Step::Pass => {
                    if let Frame::Stanza(stanza) = frame {
                        handler.stanza(self, id, stanza);
                    }
                }
                Step::Restart => {
                    framer.restart();
                    connection.restart();
                }
                Step::StartTls => {
                    framer.restart();
                    login.open(account, &mut connection.out);
                    connection.line.start_tls(&self.target.tls, &account.domain).map_err(io::Error::other)?;
                }
                Step::Ready => {
                    connection.login = None;
                    handler.ready(self, id);
                }
            }
        }
        self.connections[id].framer = framer;
        Ok(())
    }

    fn flush(&mut self, handler: &mut impl Handler) {
        while let Some(id) = self.dirty.pop() {
            let Some(connection) = self.connections.get_mut(id) else { continue };
            connection.dirty = false;
            if let Err(e) = connection.flush() {
                self.remove(handler, id, e.into());
            }
        }
    }

    fn remove(&mut self, handler: &mut impl Handler, id: ConnId, why: Closed) {
        if self.connections.contains(id) {
            // Dropping the socket closes it and takes it out of epoll.
            drop(self.connections.remove(id));
            handler.closed(self, id, why);
        }
    }
}

fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_accounts_and_refuses_what_could_break_out_of_an_attribute() {
        let account = Account::parse("17-92@chat.example  pass word ").unwrap();
        assert_eq!(account.jid(), "17-92@chat.example");
        assert_eq!(account.password, "pass word");
        for bad in ["", "a@b", "nobody pw", "a'b@c pw", "@c pw"] {
            assert_eq!(Account::parse(bad), None, "{bad}");
        }
    }
}
