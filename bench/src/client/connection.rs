//! One connection: its line, what waits to be sent, and how its bytes become frames or answers.

use std::io;

use super::framer::Framer;
use super::http::Answers;
use super::line::Line;
use super::login::Login;
use super::websocket::WebSocket;

/// A line and everything that belongs to it.
pub struct Connection {
    pub line: Line,
    pub account: usize,
    pub framer: Framer,
    /// `Some` until the login is through.
    pub login: Option<Login>,
    /// What to send with the next flush: whole stanzas or requests, as TCP would have them.
    pub out: Vec<u8>,
    /// Waits in the engine's list of connections to flush.
    pub dirty: bool,
    /// We have said `</stream:stream>`.
    pub closing: bool,
    pub speech: Speech,
}

/// What is spoken.
pub enum Speech {
    /// XMPP, as RFC 6120 has it.
    Stream,
    /// XMPP in WebSocket messages.
    WebSocket(Box<WebSocket>),
    /// Requests and answers of HTTP.
    Http(Answers),
}

impl Connection {
    /// A connection that is not yet established.
    pub fn new(line: Line, account: usize, login: Option<Login>, speech: Speech) -> Self {
        Self { line, account, framer: Framer::default(), login, out: Vec::new(), dirty: false, closing: false, speech }
    }

    /// Reads once into `buffer` and takes in what has come. `Ok(None)`: nothing there now; `Ok(Some(0))`: the server
    /// closed.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let (framer, speech) = (&mut self.framer, &mut self.speech);
        let got = self.line.receive(buffer, |bytes| {
            match speech {
                Speech::Stream => framer.push(bytes),
                Speech::WebSocket(websocket) => websocket.receive(bytes, framer).map_err(io::Error::other)?,
                Speech::Http(answers) => answers.push(bytes),
            }
            Ok(())
        })?;
        let over = matches!(&self.speech, Speech::WebSocket(websocket) if websocket.is_over());
        Ok(if over { Some(0) } else { got })
    }

    /// A new stream begins in both directions (after STARTTLS or SASL).
    pub fn restart(&mut self) {
        if let Speech::WebSocket(websocket) = &mut self.speech {
            websocket.restart();
        }
    }

    /// True while there is something to send.
    pub fn wants_flush(&self) -> bool {
        let answers = matches!(&self.speech, Speech::WebSocket(websocket) if websocket.wants_flush());
        !self.out.is_empty() || answers || self.line.wants_flush()
    }

    /// Writes what the socket takes; the rest waits for the next writable event.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.speech {
            Speech::Stream | Speech::Http(_) => self.line.flush(&mut self.out),
            Speech::WebSocket(websocket) => {
                websocket.send(&mut self.out).map_err(io::Error::other)?;
                self.line.flush(websocket.wire())
            }
        }
    }
}
