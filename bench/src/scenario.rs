//! What is measured: one file a scenario, and what they share.

pub mod archive;
mod bring_up;
pub mod churn;
pub mod idle;
pub mod mixed;
pub mod muc;
pub mod offline;
pub mod pairs;
pub mod rest;
mod stages;
mod talk;
#[cfg(test)]
mod tests;

use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;
use thiserror::Error;

use crate::api::ApiError;
use crate::client::framer;
use crate::client::{Closed, ConnId, Engine, EngineError, Handler, Next, Outcome};
use crate::procfs::Server;
use crate::report::{Phase, Progress};

pub use bring_up::bring_up;

/// What every scenario works with.
pub struct Bench {
    /// The client's side.
    pub engine: Engine,
    /// The server's side.
    pub server: Server,
    /// When everything must be over.
    pub deadline: Instant,
    /// Quiet time before and after a measured phase, so that work put off by the server is counted where it belongs.
    pub settle: Duration,
    /// Logins under way at once.
    pub logins: usize,
    /// For people who wait.
    pub progress: Progress,
}

/// A server that uses no more of one core than this is at rest.
const QUIET_SHARE: f64 = 0.03;
/// A server that never rests is measured as it is.
const SETTLE_MAX: Duration = Duration::from_secs(15);

/// What a scenario found.
pub struct Findings {
    /// Parameters of the scenario itself.
    pub parameters: Value,
    /// In order.
    pub phases: Vec<Phase>,
    /// Sentences.
    pub failures: Vec<String>,
}

/// Why a scenario could not be measured.
#[derive(Debug, Error)]
pub enum RunError {
    /// Sockets or events.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// /proc, or the server is gone.
    #[error("cannot read what the server costs: {0}")]
    Sample(#[from] io::Error),
    /// The users file is too short.
    #[error("{needed} users are needed, the file has {there}")]
    Accounts { needed: usize, there: usize },
    /// Too many logins failed.
    #[error("logins fail: {0}")]
    Logins(String),
    /// Rooms that are missing, do not let their members in, or do not work.
    #[error("rooms: {0}")]
    Rooms(String),
    /// Nothing could be measured: connections were closed, messages refused or lost.
    #[error("talk: {0}")]
    Talk(String),
    /// The REST API refuses what must be there before the measured part.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An archive that refuses.
    #[error("archives: {0}")]
    Archive(String),
    /// The time was up during a step that must finish.
    #[error("time is up while {0}")]
    TimedOut(&'static str),
}

impl Bench {
    /// Fails unless there are so many users.
    pub fn need_accounts(&self, needed: usize) -> Result<(), RunError> {
        let there = self.engine.accounts().len();
        if there < needed { Err(RunError::Accounts { needed, there }) } else { Ok(()) }
    }

    /// Lets the server finish what it has put off: quiet time, again and again until it hardly works any more.
    pub fn settle(&mut self) -> Result<(), RunError> {
        let give_up = Instant::now() + SETTLE_MAX;
        loop {
            let before = if self.server.is_unknown() { None } else { Some(self.server.sample()?) };
            self.rest(self.settle)?;
            let Some(before) = before else { return Ok(()) };
            let busy = (self.server.sample()? - before).secs();
            if busy <= self.settle.as_secs_f64() * QUIET_SHARE || Instant::now() >= give_up {
                return Ok(());
            }
        }
    }

    /// Does nothing for so long.
    pub fn rest(&mut self, time: Duration) -> Result<Rest, RunError> {
        let until = Instant::now() + time;
        let mut rest = Rest { until, ..Rest::default() };
        match self.engine.run(&mut rest, self.deadline)? {
            Outcome::Finished => Ok(rest),
            Outcome::TimedOut => Err(RunError::TimedOut("the server comes to rest")),
        }
    }
}

/// Does nothing but answer the server's questions.
pub struct Rest {
    until: Instant,
    /// Connections that went away meanwhile.
    pub closed: u64,
    /// Stanzas that came meanwhile.
    pub stanzas: u64,
}

impl Default for Rest {
    fn default() -> Self {
        Self { until: Instant::now(), closed: 0, stanzas: 0 }
    }
}

impl Handler for Rest {
    fn stanza(&mut self, engine: &mut Engine, id: ConnId, stanza: &[u8]) {
        self.stanzas += 1;
        answer(engine, id, stanza);
    }

    fn closed(&mut self, _: &mut Engine, _: ConnId, _: Closed) {
        self.closed += 1;
    }

    fn tick(&mut self, _: &mut Engine, now: Instant) -> Next {
        if now >= self.until { Next::Done } else { Next::At(self.until) }
    }
}

/// Answers a request of the server, so that nobody takes us for dead: pings above all.
pub fn answer(engine: &mut Engine, id: ConnId, stanza: &[u8]) {
    let asks = framer::name(stanza) == b"iq" && matches!(framer::attribute(stanza, b"type"), Some(b"get" | b"set"));
    let (true, Some(iq)) = (asks, framer::attribute(stanza, b"id")) else { return };
    let out = engine.out(id);
    out.extend_from_slice(b"<iq type='result' id='");
    out.extend_from_slice(iq);
    out.extend_from_slice(b"'/>");
}

/// A ping to the server itself; its result comes after everything sent before was taken in.
pub fn ping(engine: &mut Engine, id: ConnId, iq: &str) {
    let domain = engine.accounts()[engine.account_of(id)].domain.clone();
    engine.out(id).extend_from_slice(
        format!("<iq type='get' id='{iq}' to='{domain}'><ping xmlns='urn:xmpp:ping'/></iq>").as_bytes(),
    );
}

/// True for the answer, good or bad, to our request with this id.
pub fn is_answer_to(stanza: &[u8], iq: &str) -> bool {
    framer::name(stanza) == b"iq"
        && framer::attribute(stanza, b"id") == Some(iq.as_bytes())
        && matches!(framer::attribute(stanza, b"type"), Some(b"result" | b"error"))
}

/// `<message/>` around an id and a body of so many bytes, for one recipient.
pub struct Letter {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Letter {
    /// To a bare JID; with `save`, marked for the history as the QuickBlox SDKs do.
    pub fn new(to: &str, body_bytes: usize, save: bool) -> Self {
        Self::of_type("chat", to, body_bytes, save)
    }

    /// The same to a room.
    pub fn to_room(to: &str, body_bytes: usize, save: bool) -> Self {
        Self::of_type("groupchat", to, body_bytes, save)
    }

    fn of_type(kind: &str, to: &str, body_bytes: usize, save: bool) -> Self {
        let body = "The quick brown fox jumps over the lazy dog. ".bytes().cycle().take(body_bytes);
        let mut after = b"'><body>".to_vec();
        after.extend(body);
        after.extend_from_slice(b"</body>");
        if save {
            after.extend_from_slice(
                b"<extraParams xmlns='jabber:client'><save_to_history>1</save_to_history></extraParams>",
            );
        }
        after.extend_from_slice(b"</message>");
        Self { before: format!("<message to='{to}' type='{kind}' id='").into_bytes(), after }
    }

    /// Appends the stanza.
    pub fn write(&self, id: &[u8; 24], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.before);
        out.extend_from_slice(id);
        out.extend_from_slice(&self.after);
    }
}
