//! WebSocket frames over memory. RFC 6455, with the text messages of RFC 7395.
//!
//! The upgrade has happened; here are frames. Input is kept until a frame is whole, and the protocol machine lives only while
//! a message is in pieces, so a quiet connection holds neither a buffer nor a machine.

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use tungstenite::Message;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader, Utf8Bytes};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};

/// The server's side of one WebSocket.
pub struct WebSocket {
    /// Bytes of frames that are not whole yet, from `taken` on.
    input: Vec<u8>,
    taken: usize,
    /// What was written and not taken out yet.
    output: Vec<u8>,
    /// There while a message is in pieces.
    machine: Option<Box<WebSocketContext>>,
    message_bytes_max: usize,
    fragments: u32,
    state: State,
}

/// How far the closing handshake is. RFC 6455 §7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Our close frame is out; the peer's is awaited.
    Closing,
    Over,
}

/// What a [`WebSocket`] has for its stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole text message.
    Message(Text),
    /// Nothing before more bytes come.
    Nothing,
    /// No message will follow, whoever ended it. Output may be left to send.
    Over,
}

/// A text message: UTF-8, of at most the bytes that were set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Utf8Bytes);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl WebSocket {
    /// A connection that has just been upgraded; messages may have this many bytes.
    pub fn new(message_bytes_max: usize) -> WebSocket {
        WebSocket {
            input: Vec::new(),
            taken: 0,
            output: Vec::new(),
            machine: None,
            message_bytes_max,
            fragments: 0,
            state: State::Open,
        }
    }

    /// Bytes came from the peer. [`WebSocket::next`] is to be called until it has nothing more.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Over {
            self.input.extend_from_slice(bytes);
        }
    }

    /// The next message, if there is a whole one.
    #[allow(clippy::should_implement_trait, reason = "having nothing yet is no end, and an end is more than nothing")]
    pub fn next(&mut self) -> Heard {
        loop {
            if self.state == State::Over {
                return Heard::Over;
            }
            let Some(frame) = self.whole_frame() else {
                self.rest();
                return Heard::Nothing;
            };
            match self.take_frame(frame) {
                Some(Message::Text(text)) if self.state == State::Open => return Heard::Message(Text(text)),
                // RFC 7395 §3.2: only text may carry XMPP.
                Some(Message::Binary(_)) => self.refuse(CloseCode::Unsupported, "only text messages carry XMPP"),
                Some(Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) | None => {}
                Some(Message::Close(_)) => self.end(),
            }
        }
    }

    /// Queues one text message.
    pub fn write(&mut self, text: &Bytes) {
        if self.state == State::Open {
            self.put(Frame::message(text.clone(), OpCode::Data(Data::Text), true));
        }
    }

    /// Begins the closing handshake, unless it has begun. RFC 7395 §3.6: after the `<close/>` elements.
    pub fn close(&mut self) {
        if self.state == State::Open {
            self.put(Frame::close(Some(CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("") })));
            self.state = State::Closing;
        }
    }

    /// Takes what is to be sent: frames of [`WebSocket::write`], pongs, close frames.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The first frame of the input, when it is all there or will be refused anyway.
    fn whole_frame(&self) -> Option<Whole> {
        let input = &self.input[self.taken..];
        let mut cursor = Cursor::new(input);
        match FrameHeader::parse(&mut cursor) {
            Ok(Some((header, length))) => {
                let header_bytes = cursor.position() as usize;
                let part = match header.opcode {
                    OpCode::Data(_) if header.is_final => Part::Last,
                    OpCode::Data(_) => Part::More,
                    OpCode::Control(_) => Part::Control,
                };
                // A length beyond the limit is for the machine to refuse; nobody waits for the bytes.
                if length > self.message_bytes_max as u64 {
                    return Some(Whole { bytes: header_bytes, part });
                }
                let bytes = header_bytes + length as usize;
                (bytes <= input.len()).then_some(Whole { bytes, part })
            }
            Ok(None) => None,
            // A header that cannot be: the machine says why.
            Err(_) => Some(Whole { bytes: input.len(), part: Part::Control }),
        }
    }

    /// Has the machine read one frame.
    fn take_frame(&mut self, frame: Whole) -> Option<Message> {
        let mut machine = self.machine.take().unwrap_or_else(|| Box::new(machine(self.message_bytes_max)));
        let said = self.output.len();
        let mut pipe = Pipe { input: &self.input[self.taken..][..frame.bytes], output: &mut self.output };
        let read = machine.read(&mut pipe);
        if matches!(read, Ok(Message::Ping(_) | Message::Close(_))) {
            // The answer to a close frame ends the machine, which it calls an error.
            let _sent = machine.flush(&mut pipe);
        }
        if self.state == State::Closing {
            // Our last word is out already.
            self.output.truncate(said);
        }
        self.taken += frame.bytes;
        match frame.part {
            Part::More => self.fragments += 1,
            Part::Last => self.fragments = 0,
            Part::Control => {}
        }
        if self.fragments > 0 {
            self.machine = Some(machine);
        }
        match read {
            Ok(_) if self.fragments > FRAGMENTS_MAX => self.refuse(CloseCode::Policy, "too many fragments"),
            Ok(message) => return Some(message),
            // The frame was a piece of a message, and the machine looked for the next one.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.fragments > FRAGMENTS_MAX {
                    self.refuse(CloseCode::Policy, "too many fragments");
                }
            }
            Err(Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                self.refuse(CloseCode::Size, "the message is too long");
            }
            Err(Error::Utf8(_)) => self.refuse(CloseCode::Invalid, "text has to be UTF-8"),
            // RFC 6455 §7.1.7: whatever else is wrong breaks the protocol.
            Err(error) => self.refuse(CloseCode::Protocol, &error.to_string()),
        }
        None
    }

    /// Ends the connection with a close frame that says why.
    fn refuse(&mut self, code: CloseCode, reason: &str) {
        if self.state == State::Open {
            let reason: String = reason.chars().filter(char::is_ascii).take(REASON_BYTES_MAX).collect();
            self.put(Frame::close(Some(CloseFrame { code, reason: reason.into() })));
        }
        self.end();
    }

    fn end(&mut self) {
        self.state = State::Over;
        self.machine = None;
        self.input = Vec::new();
        self.taken = 0;
    }

    /// Drops what was read, and the buffer with it when nothing is left.
    fn rest(&mut self) {
        if self.taken == self.input.len() {
            self.input = Vec::new();
        } else if self.taken > 0 {
            self.input.drain(..self.taken);
        }
        self.taken = 0;
    }

    fn put(&mut self, frame: Frame) {
        frame.format(&mut self.output).expect("a frame that fits in memory can be written to a vector");
    }
}

/// A frame at the front of the input.
#[derive(Clone, Copy)]
struct Whole {
    bytes: usize,
    part: Part,
}

/// What a frame is to the message it belongs to.
#[derive(Clone, Copy)]
enum Part {
    More,
    Last,
    Control,
}

fn machine(message_bytes_max: usize) -> WebSocketContext {
    let config = WebSocketConfig::default()
        .read_buffer_size(MACHINE_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(message_bytes_max))
        .max_frame_size(Some(message_bytes_max));
    WebSocketContext::new(Role::Server, Some(config))
}

/// One frame to read, and a place for answers.
struct Pipe<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Pipe<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl Write for Pipe<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a machine reads at once.
const MACHINE_BUFFER_BYTES: usize = 4 * 1024;

/// Frames that one message may be cut into: as many as the limit on bytes allows small messages, and an end to empty ones.
const FRAGMENTS_MAX: u32 = 64 * 1024;

/// RFC 6455 §5.5: a control frame has at most 125 bytes, two of them the code.
const REASON_BYTES_MAX: usize = 123;

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1000;

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x12, 0x34, 0x56, 0x78];
        let mut out = vec![first];
        match payload.len() {
            length @ 0..126 => out.push(0x80 | length as u8),
            length => {
                out.push(0x80 | 126);
                out.extend((length as u16).to_be_bytes());
            }
        }
        out.extend(mask);
        out.extend(payload.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        out
    }

    fn text(text: &str) -> Vec<u8> {
        frame(0x81, text.as_bytes())
    }

    fn heard(socket: &mut WebSocket) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            match socket.next() {
                Heard::Message(text) => all.push(text.to_string()),
                Heard::Nothing => return all,
                Heard::Over => {
                    all.push("over".to_owned());
                    return all;
                }
            }
        }
    }

    /// The code of the close frame that a piece of input is answered with.
    fn refusal(input: &[u8]) -> Option<u16> {
        let mut socket = WebSocket::new(MAX);
        socket.push(input);
        assert_eq!(heard(&mut socket), ["over"]);
        let output = socket.take_output();
        assert!(socket.input.capacity() == 0 && socket.machine.is_none());
        (output.first() == Some(&0x88)).then(|| u16::from_be_bytes([output[2], output[3]]))
    }

    #[test]
    fn reads_messages_at_any_split() {
        let input = [text("<a/>"), frame(0x01, b"<b"), frame(0x89, b"hm"), frame(0x80, b"/>"), text("")].concat();
        for step in 1..input.len() {
            let mut socket = WebSocket::new(MAX);
            let mut all = Vec::new();
            for part in input.chunks(step) {
                socket.push(part);
                all.extend(heard(&mut socket));
            }
            assert_eq!(all, ["<a/>", "<b/>", ""], "{step}");
            assert_eq!(socket.take_output(), b"\x8a\x02hm", "the ping is answered");
        }
    }

    #[test]
    fn a_quiet_one_holds_no_memory() {
        let mut socket = WebSocket::new(MAX);
        socket.push(&[text("<a/>"), text(&"x".repeat(900))].concat());
        heard(&mut socket);
        socket.write(&Bytes::from_static(b"<b/>"));
        assert_eq!(socket.take_output(), b"\x81\x04<b/>");
        assert!(socket.machine.is_none());
        assert_eq!((socket.input.capacity(), socket.output.capacity()), (0, 0));
        assert!(size_of::<WebSocket>() <= 80, "{}", size_of::<WebSocket>());
    }

    // RFC 6455 §5, hostile-inputs W02
    #[test]
    fn refuses_frames_that_break_the_rules() {
        assert_eq!(refusal(b"\x81\x02hi"), Some(1002), "not masked");
        assert_eq!(refusal(&frame(0xc1, b"hi")), Some(1002), "a reserved bit");
        assert_eq!(refusal(&frame(0x83, b"hi")), Some(1002), "a reserved data opcode");
        assert_eq!(refusal(&frame(0x8b, b"hi")), Some(1002), "a reserved control opcode");
        assert_eq!(refusal(&frame(0x82, b"hi")), Some(1003), "binary");
        assert_eq!(refusal(&frame(0x80, b"hi")), Some(1002), "a continuation of nothing");
        assert_eq!(refusal(&frame(0x89, &[0; 126])), Some(1002), "a long ping");
        assert_eq!(refusal(&frame(0x09, b"hi")), Some(1002), "a ping in pieces");
        assert_eq!(refusal(&frame(0x81, b"\xff")), Some(1007), "no UTF-8");
        assert_eq!(refusal(&[frame(0x01, b"a"), text("b")].concat()), Some(1002), "a message inside a message");
        let huge = [&[0x81, 0xff][..], &(1u64 << 62).to_be_bytes(), &[0; 4]].concat();
        assert_eq!(refusal(&huge), Some(1009), "2^62 bytes");
        assert_eq!(refusal(&frame(0x81, &[b'a'; MAX + 1])), Some(1009), "a message that is too long");
        let pieces = [frame(0x01, &[b'a'; 600]), frame(0x80, &[b'a'; 600])].concat();
        assert_eq!(refusal(&pieces), Some(1009), "pieces that are too long together");
    }

    // hostile-inputs W03
    #[test]
    fn bounds_fragments_and_answers_every_ping_cheaply() {
        let pieces = [frame(0x01, b""), frame(0x00, b"").repeat(70_000)].concat();
        assert_eq!(refusal(&pieces), Some(1008));

        let mut socket = WebSocket::new(MAX);
        socket.push(&frame(0x89, b"ping").repeat(10_000));
        assert_eq!(heard(&mut socket), [""; 0]);
        assert_eq!(socket.take_output().len(), 60_000);
    }

    #[test]
    fn a_frame_that_is_announced_takes_no_memory_before_it_comes() {
        let mut socket = WebSocket::new(1024 * 1024);
        socket.push(&[0x81, 0xff, 0, 0, 0, 0, 0, 0x0f, 0, 0, 1, 2, 3, 4, b'<']);
        assert_eq!(heard(&mut socket), [""; 0]);
        assert!(socket.input.capacity() < 100 && socket.machine.is_none());
    }

    #[test]
    fn closes_from_either_side_with_one_frame_each() {
        let mut socket = WebSocket::new(MAX);
        socket.push(&[text("a"), frame(0x88, &[0x03, 0xe8]), text("b")].concat());
        assert_eq!(heard(&mut socket), ["a", "over"]);
        assert_eq!(socket.take_output(), b"\x88\x02\x03\xe8");

        let mut socket = WebSocket::new(MAX);
        socket.close();
        socket.close();
        assert_eq!(socket.take_output(), b"\x88\x02\x03\xe8");
        socket.write(&Bytes::from_static(b"late"));
        socket.push(&[text("late too"), frame(0x88, &[0x03, 0xe8])].concat());
        assert_eq!(heard(&mut socket), ["over"]);
        assert_eq!(socket.take_output(), b"");
    }
}
