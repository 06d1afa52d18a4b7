//! WebSocket, the client's side (RFC 6455), with XMPP in it (RFC 7395).
//!
//! Scenarios and logins write what TCP would carry. [`WebSocket::send`] cuts that into elements, puts each in a message
//! of its own and says `<open/>` and `<close/>` for the stream's tags; [`WebSocket::receive`] undoes the same for what
//! comes.

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use thiserror::Error;

use super::framer::{self, Frame, Framer, FramingError};
use super::http::HEAD_BYTES_MAX;

/// A message may be this long.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// RFC 6455 §1.3.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASK_BYTES: usize = 4;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What the server did that is no WebSocket.
#[derive(Debug, Error)]
pub enum WebSocketError {
    /// The upgrade was not answered as it must be; the head of the answer, cut to a readable length.
    #[error("the server does not take up WebSocket: {0}")]
    Refused(String),
    /// A frame with reserved bits, a mask, an unknown kind or out of its place.
    #[error("the server sent a WebSocket frame that may not come here")]
    Frame,
    /// A message grew past [`MESSAGE_BYTES_MAX`].
    #[error("the server sent a message longer than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
    /// What we are to send are no stanzas.
    #[error("to send: {0}")]
    Unsendable(#[from] FramingError),
}

/// One WebSocket, from the upgrade on.
pub struct WebSocket {
    state: State,
    /// What `Sec-WebSocket-Accept` must be.
    accept: String,
    domain: String,
    /// Bytes of a head or of frames that are not whole yet.
    input: Vec<u8>,
    /// A message in pieces.
    message: Option<Vec<u8>>,
    cutter: Framer,
    wire: Vec<u8>,
    masks: Masks,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Upgrading,
    Open,
    /// The server's close frame has come.
    Over,
}

impl WebSocket {
    /// Asks for the upgrade; `domain` is that of the stream, `host` is the HTTP header.
    pub fn new(domain: &str, host: &str, path: &str) -> Self {
        let mut random = [0; 16];
        rand::fill(&mut random).expect("the operating system gives random bytes");
        let key = BASE64.encode(random);
        let wire = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
        );
        Self {
            state: State::Upgrading,
            accept: accept(&key),
            domain: domain.into(),
            input: Vec::new(),
            message: None,
            cutter: Framer::default(),
            wire: wire.into_bytes(),
            masks: Masks::default(),
        }
    }

    /// A new stream begins with what is sent next.
    pub fn restart(&mut self) {
        self.cutter.restart();
    }

    /// The server has closed it.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// True while frames wait to be written.
    pub fn wants_flush(&self) -> bool {
        !self.wire.is_empty()
    }

    /// The bytes to write.
    pub fn wire(&mut self) -> &mut Vec<u8> {
        &mut self.wire
    }

    /// Makes messages of stanzas as TCP has them; before the upgrade is answered they stay where they are.
    pub fn send(&mut self, out: &mut Vec<u8>) -> Result<(), WebSocketError> {
        if self.state != State::Open || out.is_empty() {
            return Ok(());
        }
        self.cutter.push(out);
        out.clear();
        let mut element = Vec::new();
        while let Some(frame) = self.cutter.next_frame()? {
            element.clear();
            match frame {
                Frame::Header(_) => element.extend_from_slice(
                    format!("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{}' version='1.0'/>", self.domain)
                        .as_bytes(),
                ),
                Frame::Stanza(stanza) => alone(stanza, &mut element),
                Frame::End => element.extend_from_slice(b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"),
            }
            write_frame(TEXT, &element, self.masks.next(), &mut self.wire);
        }
        Ok(())
    }

    /// Takes in bytes from the network and gives `framer` what TCP would have carried.
    pub fn receive(&mut self, bytes: &[u8], framer: &mut Framer) -> Result<(), WebSocketError> {
        self.input.extend_from_slice(bytes);
        let mut taken = 0;
        if self.state == State::Upgrading {
            match memchr::memmem::find(&self.input, b"\r\n\r\n") {
                Some(end) => taken = end + 4,
                None if self.input.len() <= HEAD_BYTES_MAX => return Ok(()),
                None => return Err(refused(&self.input)),
            }
            if !is_upgrade(&self.input[..taken], &self.accept) {
                return Err(refused(&self.input));
            }
            self.state = State::Open;
        }
        let input = std::mem::take(&mut self.input);
        while let Some((head, payload)) = read_frame(&input[taken..])? {
            taken += head.bytes;
            self.take(&head, payload, framer)?;
        }
        self.input = input;
        self.input.drain(..taken);
        Ok(())
    }

    fn take(&mut self, head: &Head, payload: &[u8], framer: &mut Framer) -> Result<(), WebSocketError> {
        match (head.kind, &mut self.message) {
            (TEXT, None) if head.last => deliver(payload, framer),
            (TEXT, None) => self.message = Some(payload.to_vec()),
            (CONTINUATION, Some(message)) => {
                message.extend_from_slice(payload);
                if message.len() > MESSAGE_BYTES_MAX {
                    return Err(WebSocketError::TooLong);
                }
                if head.last {
                    deliver(message, framer);
                    self.message = None;
                }
            }
            (PING, _) if head.last => write_frame(PONG, payload, self.masks.next(), &mut self.wire),
            (PONG, _) if head.last => {}
            (CLOSE, _) if head.last => {
                write_frame(CLOSE, payload, self.masks.next(), &mut self.wire);
                self.state = State::Over;
            }
            _ => return Err(WebSocketError::Frame),
        }
        Ok(())
    }
}

/// One message for the framer, which wants the tags of a stream around its stanzas.
fn deliver(message: &[u8], framer: &mut Framer) {
    match framer::name(message) {
        b"open" => framer.push(b"<stream:stream>"),
        b"close" => framer.push(b"</stream:stream>"),
        _ => framer.push(message),
    }
}

/// Appends an element that says its namespace, as there is no header to do so.
fn alone(stanza: &[u8], out: &mut Vec<u8>) {
    let name_end = 1 + framer::name(stanza).len();
    out.extend_from_slice(&stanza[..name_end]);
    if framer::attribute(stanza, b"xmlns").is_none() {
        out.extend_from_slice(b" xmlns='jabber:client'");
    }
    out.extend_from_slice(&stanza[name_end..]);
}

fn accept(key: &str) -> String {
    BASE64.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{KEY_SUFFIX}").as_bytes()))
}

fn is_upgrade(head: &[u8], accept: &str) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    let field = |wanted: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    head.starts_with("HTTP/1.1 101")
        && field("sec-websocket-accept") == Some(accept)
        && field("sec-websocket-protocol") == Some("xmpp")
}

fn refused(input: &[u8]) -> WebSocketError {
    const SHOWN_BYTES_MAX: usize = 300;
    WebSocketError::Refused(String::from_utf8_lossy(&input[..input.len().min(SHOWN_BYTES_MAX)]).into_owned())
}

/// The head of a frame of the server's.
struct Head {
    kind: u8,
    last: bool,
    /// Head and payload together.
    bytes: usize,
}

/// The frame that `input` begins with, if it is whole. RFC 6455 §5.2.
fn read_frame(input: &[u8]) -> Result<Option<(Head, &[u8])>, WebSocketError> {
    let [first, second, rest @ ..] = input else { return Ok(None) };
    if first & 0x70 != 0 || second & MASKED != 0 {
        return Err(WebSocketError::Frame);
    }
    let (length, start) = match (second, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10),
        (126 | 127, _) => return Ok(None),
        (length, _) => (u64::from(*length), 2),
    };
    if length > MESSAGE_BYTES_MAX as u64 {
        return Err(WebSocketError::TooLong);
    }
    let end = start + length as usize;
    let head = Head { kind: first & 0x0f, last: first & FINAL != 0, bytes: end };
    Ok(input.get(start..end).map(|payload| (head, payload)))
}

/// Appends a frame as clients send it, masked.
fn write_frame(kind: u8, payload: &[u8], mask: [u8; MASK_BYTES], wire: &mut Vec<u8>) {
    wire.push(FINAL | kind);
    match payload.len() {
        length @ 0..=125 => wire.push(MASKED | length as u8),
        length @ 126..=0xffff => {
            wire.push(MASKED | 126);
            wire.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            wire.push(MASKED | 127);
            wire.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    wire.extend_from_slice(&mask);
    wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// A mask for each frame. They protect proxies from pages in a browser (RFC 6455 §10.3); here it is enough that each is
/// another.
struct Masks(u64);

impl Default for Masks {
    fn default() -> Self {
        let mut random = [0; 8];
        rand::fill(&mut random).expect("the operating system gives random bytes");
        Self(u64::from_le_bytes(random) | 1)
    }
}

impl Masks {
    /// Xorshift: never zero.
    fn next(&mut self) -> [u8; MASK_BYTES] {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 32) as u32).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server says: the answer to the upgrade, a stream, a message in three pieces with a ping between them, the
    /// end.
    fn server(socket: &WebSocket, long: &str) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nsec-websocket-protocol: xmpp\r\n\r\n",
            socket.accept
        )
        .into_bytes();
        let mut frame = |first: u8, payload: &[u8]| {
            bytes.push(first);
            match payload.len() {
                length @ 0..=125 => bytes.push(length as u8),
                length @ 126..=0xffff => {
                    bytes.push(126);
                    bytes.extend_from_slice(&(length as u16).to_be_bytes());
                }
                length => {
                    bytes.push(127);
                    bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            }
            bytes.extend_from_slice(payload);
        };
        frame(FINAL | TEXT, b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='1'/>");
        frame(TEXT, b"<message xmlns='jabber:client'><bo");
        frame(FINAL | PING, b"you");
        frame(CONTINUATION, b"dy>1</bo");
        frame(FINAL | CONTINUATION, b"dy></message>");
        frame(FINAL | TEXT, long.as_bytes());
        frame(FINAL | PONG, b"");
        frame(FINAL | TEXT, b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
        frame(FINAL | CLOSE, &1000u16.to_be_bytes());
        bytes
    }

    fn frames(framer: &mut Framer, seen: &mut Vec<String>) {
        while let Some(frame) = framer.next_frame().unwrap() {
            seen.push(match frame {
                Frame::Header(_) => "open".into(),
                Frame::Stanza(stanza) => String::from_utf8(stanza.to_vec()).unwrap(),
                Frame::End => "close".into(),
            });
        }
    }

    /// The payloads of frames that a client sent.
    fn unmasked(mut wire: &[u8]) -> Vec<(u8, String)> {
        let mut seen = Vec::new();
        while let [first, second, rest @ ..] = wire {
            assert_eq!((first & FINAL, second & MASKED), (FINAL, MASKED));
            let (length, rest) = match second & !MASKED {
                126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
                length => (usize::from(length), rest),
            };
            let (mask, rest) = rest.split_at(MASK_BYTES);
            let payload: Vec<u8> =
                rest[..length].iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
            seen.push((first & 0x0f, String::from_utf8_lossy(&payload).into_owned()));
            wire = &rest[length..];
        }
        seen
    }

    #[test]
    fn hears_the_same_stanzas_at_every_split() {
        let long = format!("<iq id='{}'/>", "x".repeat(70_000));
        let short = format!("<iq id='{}'/>", "x".repeat(130));
        let message = "<message xmlns='jabber:client'><body>1</body></message>";
        for (text, chunks) in [(&short, true), (&long, false)] {
            let length = server(&WebSocket::new("localhost", "x", "/ws"), text).len();
            let splits = if chunks { (0..=length).collect() } else { vec![0, 200, 400, 66_000, length] };
            for at in splits {
                let mut socket = WebSocket::new("localhost", "x", "/ws");
                let bytes = server(&socket, text);
                socket.wire.clear();
                let (mut framer, mut seen) = (Framer::default(), Vec::new());
                for part in [&bytes[..at], &bytes[at..]] {
                    socket.receive(part, &mut framer).unwrap();
                    frames(&mut framer, &mut seen);
                }
                assert_eq!(seen, ["open", message, text, "close"], "split at {at}");
                assert!(socket.is_over());
                let answers = unmasked(&socket.wire);
                assert_eq!(answers[0], (PONG, "you".into()));
                assert_eq!(answers[1].0, CLOSE);
            }
        }
    }

    #[test]
    fn sends_each_element_in_a_message_of_its_own_once_it_is_open() {
        let mut socket = WebSocket::new("localhost", "x", "/ws");
        let request = String::from_utf8(std::mem::take(&mut socket.wire)).unwrap();
        assert!(request.starts_with("GET /ws HTTP/1.1\r\nHost: x\r\n") && request.contains("-Protocol: xmpp\r\n"));
        let mut out = b"<stream:stream to='localhost'>".to_vec();
        socket.send(&mut out).unwrap();
        assert!(!out.is_empty() && socket.wire.is_empty(), "the upgrade is not answered yet");
        let upgrade = server(&socket, "")[..].to_vec();
        let end = memchr::memmem::find(&upgrade, b"\r\n\r\n").unwrap() + 4;
        socket.receive(&upgrade[..end], &mut Framer::default()).unwrap();
        out.extend_from_slice(b"<auth xmlns='s'>x</auth>");
        socket.send(&mut out).unwrap();
        socket.restart();
        out.extend_from_slice(b"<stream:stream><presence/><message><body>");
        out.extend_from_slice(&[b'y'; 70_000]);
        out.extend_from_slice(b"</body></message></stream:stream>");
        socket.send(&mut out).unwrap();
        assert!(out.is_empty());
        let sent: Vec<String> = unmasked(&socket.wire).into_iter().map(|(_, text)| text).collect();
        let open = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>";
        assert_eq!(sent[..4], [open, "<auth xmlns='s'>x</auth>", open, "<presence xmlns='jabber:client'/>"]);
        assert!(sent[4].starts_with("<message xmlns='jabber:client'><body>yy") && sent[4].len() > 70_000);
        assert_eq!(sent[5], "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
    }

    #[test]
    fn checks_the_answer_to_its_key() {
        // RFC 6455 §1.3.
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let answers = ["HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: x\r\n\r\n"];
        for answer in answers {
            let mut socket = WebSocket::new("localhost", "x", "/ws");
            let error = socket.receive(answer.as_bytes(), &mut Framer::default()).unwrap_err();
            assert!(matches!(error, WebSocketError::Refused(_)), "{error}");
        }
    }

    #[test]
    fn refuses_frames_out_of_place() {
        // A continuation of nothing, a mask, a reserved bit, binary, a message within a message, a ping in pieces.
        for frames in [&[0x80, 0][..], &[0x81, 0x80], &[0xc1, 0], &[0x82, 0], &[1, 0, 1, 0], &[9, 0]] {
            let mut socket = WebSocket::new("localhost", "x", "/ws");
            socket.state = State::Open;
            assert!(matches!(socket.receive(frames, &mut Framer::default()), Err(WebSocketError::Frame)), "{frames:?}");
        }
        let mut socket = WebSocket::new("localhost", "x", "/ws");
        socket.state = State::Open;
        let endless = [0x81, 127, 0, 0, 0, 1, 0, 0, 0, 0];
        assert!(matches!(socket.receive(&endless, &mut Framer::default()), Err(WebSocketError::TooLong)));
    }
}
