//! The server's side of one HTTP/1.1 connection: framing, order, bounds, deadlines.
//!
//! ```text
//! bytes -> feed -> Step::Request ... respond -> After::KeepAlive -> feed(nothing) -> the next one of the pipeline ...
//! ```
//!
//! One request is handed out at a time; what follows it in the stream stays here until it was answered, so answers cannot change
//! places. Between requests a connection owns no heap.
//!
//! The body of an upload is not gathered here, and that of a download is not made here:
//!
//! ```text
//! bytes -> feed -> Step::Upload ... accept_body -> Step::Body -> take_body ... more_body -> feed -> Step::Body ... respond
//! respond -> After::Stream ... pieces go out ... finish_stream -> After::KeepAlive
//! ```

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use proto::limits::{Limits, READ_BUFFER_BYTES};
use proto::model::upload::SLOWEST_BYTES_PER_SEC;
use proto::time::Instant;

use super::chunked::Chunked;
use super::head::{self, Framing, Head, Scan};
use super::response::{self, CONTINUE};
use super::{Method, Request, Response, Status, Version};
use crate::problem::Problem;
use crate::upload;

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
    /// It was answered, and these bytes had come after it.
    Behind(Box<Reading>),
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
    /// What of the request's body is still to come.
    body: Body,
    /// Bytes that came after what was handed out.
    rest: Vec<u8>,
}

/// What there is still to come of a request that was handed out.
enum Body {
    /// Nothing.
    Done,
    /// All of it, if it is wanted.
    Offered { bytes: u64, expects_continue: bool },
    /// Some of it: `left` bytes after `taken`.
    Coming { taken: u64, left: u64, at_work: bool },
}

/// A complete request and what came after it.
struct Complete {
    request: Request,
    keep_alive: bool,
    body: Body,
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
    /// Decide on this, of which only the head is here and whose body has so many bytes: [`Connection::accept_body`], or
    /// [`Connection::respond`] and be rid of it.
    Upload(Box<Request>, u64),
    /// [`Connection::take_body`] has something.
    Body,
    /// Send `out`, then close. Unread input should be drained for a moment, or a reset may overtake the answer.
    Close,
}

/// What follows an answer.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum After {
    /// Send `out`, then call [`Connection::feed`], with nothing, for what the client has pipelined: not before the client has
    /// taken this answer, or one that asks a lot and reads nothing has it all worked out at once.
    KeepAlive,
    /// Send `out`, then close.
    Close,
    /// Send `out`, then the body, then call [`Connection::finish_stream`].
    Stream,
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
            State::Behind(mut reading) if !input.is_empty() => {
                reading.buffer.extend_from_slice(input);
                if reading.buffer.len() > READ_AHEAD_BYTES_MAX {
                    return Step::Close;
                }
                self.state = State::Behind(reading);
                Step::More
            }
            State::Behind(reading) => {
                self.since = now;
                self.read(reading, input, limits, out)
            }
            State::Answering(mut answering) => {
                answering.rest.extend_from_slice(input);
                if answering.rest.len() > READ_AHEAD_BYTES_MAX {
                    return Step::Close;
                }
                let step = if answering.has_body() { Step::Body } else { Step::More };
                self.state = State::Answering(answering);
                step
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
                    body: complete.body,
                    rest: complete.rest,
                }));
                match self.offered() {
                    Some(bytes) => Step::Upload(Box::new(complete.request), bytes),
                    None => Step::Request(Box::new(complete.request)),
                }
            }
            Ok(None) if self.ended => self.refuse(&reading, cut_off(), out),
            Ok(None) => {
                self.state = State::Reading(reading);
                Step::More
            }
            Err(problem) => self.refuse(&reading, problem, out),
        }
    }

    fn offered(&self) -> Option<u64> {
        match &self.state {
            State::Answering(answering) => match answering.body {
                Body::Offered { bytes, .. } => Some(bytes),
                Body::Done | Body::Coming { .. } => None,
            },
            State::Idle | State::Reading(_) | State::Behind(_) | State::Closed => None,
        }
    }

    /// The body of the upload in hand is wanted. Send `out`, and do what the step says.
    pub fn accept_body(&mut self, now: Instant, out: &mut Vec<u8>) -> Step {
        let State::Answering(answering) = &mut self.state else { return Step::Close };
        let Body::Offered { bytes, expects_continue } = answering.body else { return Step::More };
        self.since = now;
        answering.body = Body::Coming { taken: 0, left: bytes, at_work: false };
        if self.ended && (answering.rest.len() as u64) < bytes {
            return Step::Close;
        }
        if expects_continue && answering.rest.is_empty() && bytes > 0 {
            out.extend_from_slice(CONTINUE);
        }
        if answering.has_body() || bytes == 0 { Step::Body } else { Step::More }
    }

    /// What has come of the body, and whether it is the end. No more is taken from the client before [`Connection::more_body`].
    pub fn take_body(&mut self) -> Option<(Bytes, bool)> {
        let State::Answering(answering) = &mut self.state else { return None };
        let Body::Coming { taken, left, at_work: false } = answering.body else { return None };
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(answering.rest.len());
        let rest = answering.rest.split_off(length);
        let piece = mem::replace(&mut answering.rest, rest);
        let (taken, left) = (taken + length as u64, left - length as u64);
        answering.body = if left == 0 { Body::Done } else { Body::Coming { taken, left, at_work: true } };
        Some((piece.into(), left == 0))
    }

    /// What was taken is dealt with, and there can be more.
    pub fn more_body(&mut self) -> Step {
        let State::Answering(answering) = &mut self.state else { return Step::Close };
        if let Body::Coming { at_work, .. } = &mut answering.body {
            *at_work = false;
        }
        if answering.has_body() { Step::Body } else { Step::More }
    }

    /// Appends the answer to the request that was handed out.
    ///
    /// Without such a request nothing is written and the connection is over.
    pub fn respond(&mut self, now: Instant, response: &Response, out: &mut Vec<u8>) -> After {
        let State::Answering(answering) = mem::replace(&mut self.state, State::Closed) else {
            debug_assert!(false, "there is a request to answer");
            return After::Close;
        };
        let Answering { head_only, keep_alive, version, body, rest } = *answering;
        let upgraded = response.status() == Status::SwitchingProtocols;
        let rest = if upgraded { rest } else { without_empty_lines(rest) };
        // What is left of a body nobody wanted would be taken for the next request.
        let is_whole = matches!(body, Body::Done);
        let close = response.closes() || !keep_alive || !is_whole || (self.ended && rest.is_empty());
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
        if response.is_streamed() && !head_only {
            let keep_alive = !close;
            let body = Body::Done;
            self.state = State::Answering(Box::new(Answering { head_only, keep_alive, version, body, rest }));
            return After::Stream;
        }
        self.go_on(now, close, rest)
    }

    /// The body of a streamed answer is out.
    pub fn finish_stream(&mut self, now: Instant) -> After {
        let State::Answering(answering) = mem::replace(&mut self.state, State::Closed) else { return After::Close };
        let Answering { keep_alive, rest, .. } = *answering;
        self.go_on(now, !keep_alive || (self.ended && rest.is_empty()), rest)
    }

    fn go_on(&mut self, now: Instant, close: bool, rest: Vec<u8>) -> After {
        if close {
            return After::Close;
        }
        self.since = now;
        self.state = match rest.is_empty() {
            true => State::Idle,
            false => State::Behind(Box::new(Reading { buffer: rest, phase: Phase::default() })),
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
            State::Idle | State::Reading(_) | State::Behind(_) | State::Closed => {
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
            behind @ State::Behind(_) => {
                self.state = behind;
                Step::More
            }
            State::Answering(answering) if answering.lacks_body() => {
                let framing = response::Framing { head_only: false, connection: Some("close") };
                cut_off().into_response().write(&framing, out);
                Step::Close
            }
            State::Answering(answering) => {
                self.state = State::Answering(answering);
                Step::More
            }
        }
    }

    /// When to call [`Connection::expire`], and why. None while an answer is worked out: that time is ours.
    pub fn deadline(&self, limits: &Limits) -> Option<(Instant, Reason)> {
        match self.state {
            // What the client sent ahead is read once it has taken the answer, which is for it to do.
            State::Idle | State::Behind(_) => Some((self.since + limits.keep_alive_time_max, Reason::KeepAlive)),
            State::Reading(_) => Some((self.since + limits.request_time_max, Reason::SlowRequest)),
            State::Answering(ref answering) => match answering.body {
                // A large file may take its time, as long as it keeps coming.
                Body::Coming { taken, at_work: false, .. } => {
                    let earned = Duration::from_secs(taken / SLOWEST_BYTES_PER_SEC);
                    Some((self.since + limits.request_time_max + earned, Reason::SlowRequest))
                }
                Body::Coming { at_work: true, .. } | Body::Done | Body::Offered { .. } => None,
            },
            State::Closed => None,
        }
    }

    /// The deadline passed: a slow request gets a 408, silence gets nothing. Send `out`, then close.
    pub fn expire(&mut self, out: &mut Vec<u8>) {
        let problem = Problem::list(Status::RequestTimeout, "The request took too long to arrive");
        match mem::replace(&mut self.state, State::Closed) {
            State::Reading(reading) => {
                let _closed = self.refuse(&reading, problem, out);
            }
            State::Answering(_) => {
                let framing = response::Framing { head_only: false, connection: Some("close") };
                problem.into_response().write(&framing, out);
            }
            State::Idle | State::Behind(_) | State::Closed => {}
        }
    }

    /// Whether to read on. While an answer is worked out, what the client has sent ahead is enough.
    pub fn wants_input(&self) -> bool {
        match &self.state {
            State::Idle | State::Reading(_) => true,
            State::Answering(answering) => answering.rest.is_empty() && !answering.is_at_work(),
            State::Behind(_) | State::Closed => false,
        }
    }

    /// Whether there is something to feed nothing for: bytes that came behind a request that is answered by now.
    pub fn is_behind(&self) -> bool {
        matches!(self.state, State::Behind(_))
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

impl Answering {
    /// Whether there is something to take of the body.
    fn has_body(&self) -> bool {
        matches!(self.body, Body::Coming { at_work: false, .. }) && !self.rest.is_empty()
    }

    /// What was taken last is not dealt with yet.
    fn is_at_work(&self) -> bool {
        matches!(self.body, Body::Coming { at_work: true, .. })
    }

    /// Not all of the body that was accepted has come.
    fn lacks_body(&self) -> bool {
        matches!(self.body, Body::Coming { left, .. } if (self.rest.len() as u64) < left)
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
        if head.method == Method::Put && upload::is_file(&head.path) {
            let Framing::Length(bytes) = head.body else {
                return Err(Problem::list(Status::LengthRequired, "A Content-Length is required"));
            };
            self.phase = Phase::Length { head, head_bytes, total_bytes: head_bytes };
            let body = Body::Offered { bytes, expects_continue };
            return Ok(Some(Complete { body, ..self.complete(tail) }));
        }
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
            body: Body::Done,
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
