//! The server's side of one HTTP/1.1 connection: framing, order, bounds, deadlines.
//!
//! ```text
//! bytes -> feed -> Step::Request ... respond -> After::KeepAlive -> feed(nothing) -> the next one of the pipeline ...
//! ```
//!
//! One request is handed out at a time; what follows it in the stream stays here until it was answered, so answers cannot change
//! places. Between requests a connection owns no heap.

use std::mem;

use bytes::Bytes;
use proto::limits::{Limits, READ_BUFFER_BYTES};
use proto::time::Instant;

use super::chunked::Chunked;
use super::head::{self, Framing, Head, Scan};
use super::response::{self, CONTINUE};
use super::{Method, Request, Response, Status, Version};
use crate::problem::Problem;

/// One connection. It never looks at a clock: the caller passes `now` and polls [`Connection::deadline`].
pub struct Connection {
    state: State,
    /// When the current wait began: for a request, or for the rest of one.
    since: Instant,
    /// The client has sent all it will send.
    ended: bool,
}

enum State {
    /// Between requests.
    Idle,
    /// A request has begun.
    Reading(Box<Reading>),
    /// A request was handed out and waits for its answer.
    Answering(Box<Answering>),
    /// Nothing more will be read or written.
    Closed,
}

/// A request of which some bytes came.
#[derive(Default)]
struct Reading {
    buffer: Vec<u8>,
    phase: Phase,
}

enum Phase {
    Head(Scan),
    /// The buffer will hold head and body.
    Length {
        head: Head,
        head_bytes: usize,
        total_bytes: usize,
    },
    /// The buffer holds the head alone.
    Chunked {
        head: Head,
        chunked: Chunked,
    },
}

/// What the answer needs to know of its request.
struct Answering {
    head_only: bool,
    keep_alive: bool,
    version: Version,
    /// Bytes that came after the request.
    rest: Vec<u8>,
}

/// A complete request and what came after it.
struct Complete {
    request: Request,
    keep_alive: bool,
    rest: Vec<u8>,
}

/// What input led to.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Send `out`, then read more.
    More,
    /// Answer this by [`Connection::respond`]; until then reading more serves only to notice the end.
    Request(Box<Request>),
    /// Send `out`, then close. Unread input should be drained for a moment, or a reset may overtake the answer.
    Close,
}

/// What follows an answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum After {
    /// Send `out`, then call [`Connection::feed`], with nothing, for what the client has pipelined.
    KeepAlive,
    /// Send `out`, then close.
    Close,
    /// Send `out`; from here on the bytes are WebSocket frames, of which these came already.
    Upgraded(Vec<u8>),
}

/// Why a deadline stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A request takes too long to arrive.
    SlowRequest,
    /// No request came.
    KeepAlive,
}

/// What a client may send ahead while an answer is worked out.
const READ_AHEAD_BYTES_MAX: usize = 2 * READ_BUFFER_BYTES;

impl Connection {
    /// A connection accepted at `now`.
    pub fn new(now: Instant) -> Connection {
        Connection { state: State::Idle, since: now, ended: false }
    }

    /// Takes what the socket gave, all of it, and appends to `out` what must be sent at once: `100 Continue`, or the refusal
    /// that goes with [`Step::Close`].
    pub fn feed(&mut self, now: Instant, input: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Step {
        match mem::replace(&mut self.state, State::Closed) {
            State::Idle => self.begin(now, input, limits, out),
            State::Reading(reading) => self.read(reading, input, limits, out),
            State::Answering(mut answering) => {
                answering.rest.extend_from_slice(input);
                if answering.rest.len() > READ_AHEAD_BYTES_MAX {
                    return Step::Close;
                }
                self.state = State::Answering(answering);
                Step::More
            }
            State::Closed => Step::Close,
        }
    }

    fn begin(&mut self, now: Instant, input: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Step {
        let input = skip_empty_lines(input);
        if input.is_empty() {
            if self.ended {
                return Step::Close;
            }
            self.state = State::Idle;
            return Step::More;
        }
        self.since = now;
        self.read(Box::default(), input, limits, out)
    }

    fn read(&mut self, mut reading: Box<Reading>, input: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Step {
        match reading.feed(input, limits, out) {
            Ok(Some(complete)) => {
                self.state = State::Answering(Box::new(Answering {
                    head_only: complete.request.method == Method::Head,
                    keep_alive: complete.keep_alive,
                    version: complete.request.version,
                    rest: complete.rest,
                }));
                Step::Request(Box::new(complete.request))
            }
            Ok(None) if self.ended => self.refuse(&reading, cut_off(), out),
            Ok(None) => {
                self.state = State::Reading(reading);
                Step::More
            }
            Err(problem) => self.refuse(&reading, problem, out),
        }
    }

    /// Appends the answer to the request that was handed out.
    ///
    /// Without such a request nothing is written and the connection is over.
    pub fn respond(&mut self, now: Instant, response: &Response, out: &mut Vec<u8>) -> After {
        let State::Answering(answering) = mem::replace(&mut self.state, State::Closed) else {
            debug_assert!(false, "there is a request to answer");
            return After::Close;
        };
        let Answering { head_only, keep_alive, version, rest } = *answering;
        let upgraded = response.status() == Status::SwitchingProtocols;
        let rest = if upgraded { rest } else { without_empty_lines(rest) };
        let close = response.closes() || !keep_alive || (self.ended && rest.is_empty());
        let connection = match (response.header_value("upgrade").is_some(), close) {
            (true, false) => Some("Upgrade"),
            (true, true) => Some("Upgrade, close"),
            (false, true) => Some("close"),
            // RFC 9112 §9.3: a HTTP/1.0 client must be told that it may go on.
            (false, false) => (version == Version::Http10).then_some("keep-alive"),
        };
        response.write(&response::Framing { head_only, connection }, out);
        if upgraded {
            return After::Upgraded(rest);
        }
        if close {
            return After::Close;
        }
        self.since = now;
        self.state = match rest.is_empty() {
            true => State::Idle,
            false => State::Reading(Box::new(Reading { buffer: rest, phase: Phase::default() })),
        };
        After::KeepAlive
    }

    /// No more requests are taken. True while one is being answered: its answer will say that it was the last.
    pub fn stop(&mut self) -> bool {
        match &mut self.state {
            State::Answering(answering) => {
                answering.keep_alive = false;
                true
            }
            State::Idle | State::Reading(_) | State::Closed => {
                self.state = State::Closed;
                false
            }
        }
    }

    /// The client has closed its side. Answers it is owed can still be sent.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Step {
        self.ended = true;
        match mem::replace(&mut self.state, State::Closed) {
            State::Idle | State::Closed => Step::Close,
            State::Reading(reading) => self.refuse(&reading, cut_off(), out),
            State::Answering(answering) => {
                self.state = State::Answering(answering);
                Step::More
            }
        }
    }

    /// When to call [`Connection::expire`], and why. None while an answer is worked out: that time is ours.
    pub fn deadline(&self, limits: &Limits) -> Option<(Instant, Reason)> {
        match self.state {
            State::Idle => Some((self.since + limits.keep_alive_time_max, Reason::KeepAlive)),
            State::Reading(_) => Some((self.since + limits.request_time_max, Reason::SlowRequest)),
            State::Answering(_) | State::Closed => None,
        }
    }

    /// The deadline passed: a slow request gets a 408, silence gets nothing. Send `out`, then close.
    pub fn expire(&mut self, out: &mut Vec<u8>) {
        if let State::Reading(reading) = mem::replace(&mut self.state, State::Closed) {
            let problem = Problem::list(Status::RequestTimeout, "The request took too long to arrive");
            let _closed = self.refuse(&reading, problem, out);
        }
    }

    /// Whether to read on. While an answer is worked out, what the client has sent ahead is enough.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Idle | State::Reading(_) => true,
            State::Answering(answering) => answering.rest.is_empty(),
            State::Closed => false,
        }
    }

    /// Whether nothing is under way, so that the server may close when it drains.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    fn refuse(&mut self, reading: &Reading, problem: Problem, out: &mut Vec<u8>) -> Step {
        let head_only = reading.buffer.starts_with(b"HEAD ");
        let framing = response::Framing { head_only, connection: Some("close") };
        problem.into_response().write(&framing, out);
        self.state = State::Closed;
        Step::Close
    }
}

impl Default for Phase {
    fn default() -> Phase {
        Phase::Head(Scan::default())
    }
}

impl Reading {
    fn feed(&mut self, input: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<Option<Complete>, Problem> {
        match &mut self.phase {
            Phase::Head(scan) => {
                self.buffer.extend_from_slice(input);
                let Some(head_bytes) = scan.end(&self.buffer, limits.head_bytes_max)? else {
                    return Ok(None);
                };
                let head = head::parse(&self.buffer[..head_bytes])?;
                self.begin_body(head, head_bytes, limits, out)
            }
            Phase::Length { total_bytes, .. } => {
                let missing = *total_bytes - self.buffer.len();
                let (body, rest) = input.split_at(missing.min(input.len()));
                self.buffer.extend_from_slice(body);
                Ok((body.len() == missing).then(|| self.complete(rest.to_vec())))
            }
            Phase::Chunked { chunked, .. } => {
                let taken = chunked.feed(input, limits.body_bytes_max, limits.head_bytes_max)?;
                let complete = chunked.is_complete();
                Ok(complete.then(|| self.complete(input[taken..].to_vec())))
            }
        }
    }

    /// The head was read; the buffer may hold some of the body, or more than that.
    fn begin_body(
        &mut self,
        head: Head,
        head_bytes: usize,
        limits: &Limits,
        out: &mut Vec<u8>,
    ) -> Result<Option<Complete>, Problem> {
        let expects_continue = head.expects_continue;
        let tail = self.buffer.split_off(head_bytes);
        self.phase = match head.body {
            Framing::Length(length) => {
                let total_bytes = usize::try_from(length)
                    .ok()
                    .filter(|length| *length <= limits.body_bytes_max)
                    .and_then(|length| length.checked_add(head_bytes))
                    .ok_or(Problem::too_large("The body is too large"))?;
                Phase::Length { head, head_bytes, total_bytes }
            }
            Framing::Chunked => Phase::Chunked { head, chunked: Chunked::new() },
        };
        let complete = self.feed(&tail, limits, out)?;
        // RFC 9110 §10.1.1: not if the body is on its way already.
        if expects_continue && complete.is_none() && tail.is_empty() {
            out.extend_from_slice(CONTINUE);
        }
        Ok(complete)
    }

    fn complete(&mut self, rest: Vec<u8>) -> Complete {
        let buffer = Bytes::from(mem::take(&mut self.buffer));
        let (head, bytes, body) = match mem::take(&mut self.phase) {
            Phase::Length { head, head_bytes, .. } => (head, buffer.slice(..head_bytes), buffer.slice(head_bytes..)),
            Phase::Chunked { head, chunked } => (head, buffer, chunked.into_body().into()),
            Phase::Head(_) => unreachable!("only a body that was begun is completed"),
        };
        Complete {
            keep_alive: head.keep_alive,
            request: Request {
                method: head.method,
                version: head.version,
                path: head.path,
                query: head.query,
                fields: head.fields,
                head: bytes,
                body,
            },
            rest,
        }
    }
}

/// RFC 9112 §2.2: empty lines before a request line mean nothing.
fn skip_empty_lines(input: &[u8]) -> &[u8] {
    let start = input.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    &input[start.unwrap_or(input.len())..]
}

fn without_empty_lines(mut rest: Vec<u8>) -> Vec<u8> {
    let skipped = rest.len() - skip_empty_lines(&rest).len();
    rest.drain(..skipped);
    rest
}

fn cut_off() -> Problem {
    Problem::malformed("The connection ended in the middle of a request")
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
