//! XMPP clients over a world's connections: bytes out, bytes in, over TCP, WebSocket or BOSH.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use net::shard::Port;
use proto::xml::{Context, Frame, Framer, Limits, Nodes};

use super::users::Answer;
use super::{DOMAIN, World};

pub mod component;

/// How a client's stream travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TLS from the first byte.
    Tls,
    /// Plain at first, then STARTTLS.
    StartTls,
    /// RFC 7395.
    WebSocket,
    /// XEP-0124.
    Bosh,
}

/// A client of a [`World`]: its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client(pub(super) usize);

/// What the world keeps of a client.
pub(crate) struct State {
    line: Line,
    ready: VecDeque<String>,
    jid: String,
    ended: bool,
}

enum Line {
    Tcp { pipe: usize, framer: Box<Framer> },
    WebSocket { pipe: usize, upgraded: bool, closing: bool },
    Bosh(Box<Bosh>),
}

#[derive(Default)]
struct Bosh {
    sid: String,
    rid: u64,
    /// Requests that are not answered yet, oldest first.
    pipes: VecDeque<usize>,
}

/// How a client shows by SASL2 who it is.
#[derive(Clone, Copy, Debug)]
pub enum Showing<'a> {
    /// PLAIN.
    Password,
    /// HT-SHA-256-NONE, with a token from an earlier login.
    Token(&'a str),
}

/// What ended a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

impl World {
    /// A client whose stream is open: the features have come.
    pub fn connect(&mut self, transport: Transport) -> Client {
        let line = match transport {
            Transport::Tls => Line::Tcp { pipe: self.open(Port::Xmpp, true), framer: Box::new(Framer::new()) },
            Transport::StartTls => Line::Tcp { pipe: self.open(Port::Xmpp, false), framer: Box::new(Framer::new()) },
            Transport::WebSocket => {
                Line::WebSocket { pipe: self.open(Port::Http, true), upgraded: false, closing: false }
            }
            Transport::Bosh => Line::Bosh(Box::new(Bosh { rid: 1_000_000, ..Bosh::default() })),
        };
        self.clients.push(State { line, ready: VecDeque::new(), jid: String::new(), ended: false });
        let client = Client(self.clients.len() - 1);
        if let Line::WebSocket { pipe, .. } = self.clients[client.0].line {
            let request = format!(
                "GET /ws HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
            );
            self.pipes[pipe].to_server.extend_from_slice(request.as_bytes());
        }
        self.open_stream(client);
        if transport == Transport::StartTls {
            let features = self.expect(client, "<stream:features");
            assert!(!features.contains("<mechanism>"), "nobody logs in without TLS: {features}");
            self.send(client, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            self.expect(client, "<proceed");
            self.open_stream(client);
        }
        client
    }

    /// Sends a stream header, as at the start and after every restart.
    pub fn open_stream(&mut self, client: Client) {
        let header = format!(
            "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
             to='{DOMAIN}' version='1.0'>"
        );
        match &mut self.clients[client.0].line {
            Line::Tcp { .. } => {
                self.send_raw(client, header.as_bytes());
            }
            Line::WebSocket { .. } => {
                let open = format!("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='{DOMAIN}' version='1.0'/>");
                self.send_raw(client, open.as_bytes());
            }
            Line::Bosh(bosh) if bosh.sid.is_empty() => {
                let attributes = format!(
                    "to='{DOMAIN}' wait='60' hold='1' ver='1.6' xml:lang='en' xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'"
                );
                self.post(client, &attributes, "");
            }
            Line::Bosh(_) => {
                let attributes = format!("to='{DOMAIN}' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'");
                self.post(client, &attributes, "");
            }
        }
    }

    /// Logs a user in with PLAIN and binds the resource, or lets the server make one.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn login(&mut self, user: &str, resource: Option<&str>) -> Client {
        let client = self.connect(Transport::Tls);
        self.log_in(client, user, resource).expect("the server lets its users in");
        client
    }

    /// As [`World::login`], for a client that is connected.
    pub fn log_in(&mut self, client: Client, user: &str, resource: Option<&str>) -> Result<(), Refused> {
        let (jid, password) = {
            let user = self.user(user);
            (user.jid.clone(), user.password.clone())
        };
        self.authenticate(client, &jid, &password)?;
        self.bind(client, resource)
    }

    /// Logs a user in by SASL2 (XEP-0388): `agent` is the installation's id, and `wishes` is what else the client wants. What comes of
    /// it is left to be read.
    pub fn enter(
        &mut self,
        client: Client,
        user: &str,
        showing: Showing<'_>,
        agent: &str,
        wishes: &str,
    ) -> Result<(), Refused> {
        let user = self.user(user);
        self.expect_some(client, "<stream:features")?;
        let local = user.jid.split_once('@').map_or(&*user.jid, |(local, _)| local);
        let (mechanism, message) = match showing {
            Showing::Password => ("PLAIN", format!("\0{local}\0{}", user.password).into_bytes()),
            Showing::Token(token) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
                let tag = hmac::sign(&key, b"Initiator");
                ("HT-SHA-256-NONE", [local.as_bytes(), b"\0", tag.as_ref()].concat())
            }
        };
        let message = BASE64.encode(message);
        self.send(
            client,
            &format!(
                "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{message}</initial-response>\
                 <user-agent id='{agent}'/>{wishes}</authenticate>"
            ),
        );
        self.collect(client);
        let state = &mut self.clients[client.0];
        let success = state.ready.iter().find(|element| element.starts_with("<success"));
        let jid = success.and_then(|success| {
            let (_, rest) = success.split_once("<authorization-identifier>")?;
            rest.split_once("</authorization-identifier>").map(|(jid, _)| jid.to_owned())
        });
        state.jid = jid.unwrap_or_default();
        Ok(())
    }

    /// A client that sends its whole login and more in one go, without waiting for answers, and lets nothing happen yet.
    pub fn rush(&mut self, user: &str, resource: &str, more: &str) -> Client {
        let bind = format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind></iq>"
        );
        self.hurry(user, resource, &format!("{bind}{more}"))
    }

    /// The same, to go on with a session that it has had. XEP-0198 §5
    pub fn come_back(&mut self, user: &str, resource: &str, token: &str, count: u32) -> Client {
        self.hurry(user, resource, &format!("<resume xmlns='urn:xmpp:sm:3' h='{count}' previd='{token}'/>"))
    }

    fn hurry(&mut self, user: &str, resource: &str, more: &str) -> Client {
        let user = self.user(user);
        let pipe = self.open(Port::Xmpp, true);
        let line = Line::Tcp { pipe, framer: Box::new(Framer::new()) };
        let jid = format!("{}/{resource}", user.jid);
        self.clients.push(State { line, ready: VecDeque::new(), jid, ended: false });
        let local = user.jid.split_once('@').map_or(&*user.jid, |(local, _)| local);
        let message = BASE64.encode(format!("\0{local}\0{}", user.password));
        let header = format!(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}' version='1.0'>"
        );
        let bytes = format!(
            "{header}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{message}</auth>{header}{more}"
        );
        self.pipes[pipe].to_server.extend_from_slice(bytes.as_bytes());
        Client(self.clients.len() - 1)
    }

    /// SASL PLAIN, and the new stream after it.
    pub fn authenticate(&mut self, client: Client, jid: &str, password: &str) -> Result<(), Refused> {
        self.expect_some(client, "<stream:features")?;
        let local = jid.split_once('@').map_or(jid, |(local, _)| local);
        let message = BASE64.encode(format!("\0{local}\0{password}"));
        self.send(
            client,
            &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{message}</auth>"),
        );
        self.expect_some(client, "<success")?;
        self.open_stream(client);
        self.expect_some(client, "<stream:features")?;
        Ok(())
    }

    /// Binds a resource. RFC 6120 §7.
    pub fn bind(&mut self, client: Client, resource: Option<&str>) -> Result<(), Refused> {
        let resource = resource.map(|resource| format!("<resource>{resource}</resource>")).unwrap_or_default();
        self.send(
            client,
            &format!(
                "<iq xmlns='jabber:client' type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind></iq>"
            ),
        );
        let result = self.expect_some(client, "<iq")?;
        let jid = result.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>")).map(|(jid, _)| jid);
        self.clients[client.0].jid = jid.ok_or_else(|| Refused(result.clone()))?.to_owned();
        Ok(())
    }

    /// The full JID of a client that is bound.
    pub fn jid(&self, client: Client) -> &str {
        &self.clients[client.0].jid
    }

    /// Sends elements, framed as the transport wants it, and lets all that follows happen.
    pub fn send(&mut self, client: Client, xml: &str) {
        self.say(client, xml);
        self.settle();
    }

    /// Sends elements, and lets nothing happen yet.
    pub fn say(&mut self, client: Client, xml: &str) {
        match self.clients[client.0].line {
            Line::Tcp { .. } => self.queue_raw(client, xml.as_bytes()),
            Line::WebSocket { .. } => {
                for element in elements(xml) {
                    self.queue_raw(client, declared(&element).as_bytes());
                }
            }
            Line::Bosh(_) => {
                let elements: String = elements(xml).iter().map(|element| declared(element)).collect();
                self.queue_post(client, "", &elements);
            }
        }
    }

    /// Sends bytes as they are (over WebSocket: as one message).
    pub fn send_raw(&mut self, client: Client, bytes: &[u8]) {
        self.queue_raw(client, bytes);
        self.settle();
    }

    fn queue_raw(&mut self, client: Client, bytes: &[u8]) {
        let (pipe, bytes) = match &self.clients[client.0].line {
            Line::Tcp { pipe, .. } => (*pipe, bytes.to_vec()),
            Line::WebSocket { pipe, .. } => (*pipe, text_frame(bytes)),
            Line::Bosh(_) => panic!("BOSH has no bytes of its own"),
        };
        if self.is_open(pipe) {
            self.pipes[pipe].to_server.extend_from_slice(&bytes);
        }
    }

    fn post(&mut self, client: Client, attributes: &str, elements: &str) {
        self.queue_post(client, attributes, elements);
        self.settle();
    }

    fn queue_post(&mut self, client: Client, attributes: &str, elements: &str) {
        let pipe = self.open(Port::Http, true);
        let Line::Bosh(bosh) = &mut self.clients[client.0].line else { return };
        bosh.rid += 1;
        let sid = if bosh.sid.is_empty() { String::new() } else { format!(" sid='{}'", bosh.sid) };
        let body = format!(
            "<body xmlns='http://jabber.org/protocol/httpbind' rid='{}'{sid} {attributes}>{elements}</body>",
            bosh.rid
        );
        bosh.pipes.push_back(pipe);
        let request = format!(
            "POST /http-bind/ HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.pipes[pipe].to_server.extend_from_slice(request.as_bytes());
    }

    /// The top-level elements that came since the last time, as text.
    pub fn received(&mut self, client: Client) -> Vec<String> {
        self.collect(client);
        self.clients[client.0].ready.drain(..).collect()
    }

    /// The next element, if one came.
    pub fn next(&mut self, client: Client) -> Option<String> {
        self.collect(client);
        self.clients[client.0].ready.pop_front()
    }

    /// Whether the server has ended the stream or the connection.
    pub fn is_over(&mut self, client: Client) -> bool {
        self.collect(client);
        let state = &self.clients[client.0];
        state.ended
            || match &state.line {
                Line::Tcp { pipe, .. } | Line::WebSocket { pipe, .. } => !self.is_open(*pipe),
                Line::Bosh(_) => false,
            }
    }

    fn expect_some(&mut self, client: Client, start: &str) -> Result<String, Refused> {
        match self.next(client) {
            Some(element) if element.starts_with(start) => Ok(element),
            Some(element) => Err(Refused(element)),
            None => Err(Refused("nothing came".to_owned())),
        }
    }

    fn expect(&mut self, client: Client, start: &str) -> String {
        self.expect_some(client, start).unwrap_or_else(|refused| panic!("not {start}: {refused:?}"))
    }

    /// Ends the stream in good order.
    pub fn disconnect(&mut self, client: Client) {
        match self.clients[client.0].line {
            Line::Tcp { .. } => self.send_raw(client, b"</stream:stream>"),
            Line::WebSocket { .. } => self.send_raw(client, b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"),
            Line::Bosh(_) => self.post(client, "type='terminate'", ""),
        }
        self.cut_off(client);
    }

    /// The client's connection breaks.
    pub fn cut_off(&mut self, client: Client) {
        let pipes: Vec<usize> = match &mut self.clients[client.0].line {
            Line::Tcp { pipe, .. } | Line::WebSocket { pipe, .. } => vec![*pipe],
            Line::Bosh(bosh) => bosh.pipes.drain(..).collect(),
        };
        for pipe in pipes {
            self.cut(pipe);
        }
    }

    /// From now on the client takes nothing, or takes what waits and all that follows.
    pub fn set_stalled(&mut self, client: Client, stalled: bool) {
        if let Line::Tcp { pipe, .. } | Line::WebSocket { pipe, .. } = self.clients[client.0].line {
            self.stall(pipe, stalled);
        }
    }

    /// Reads what the pipes have for the client. Over BOSH it also asks for more, as clients do.
    fn collect(&mut self, client: Client) {
        let mut state = std::mem::replace(&mut self.clients[client.0], State::nobody());
        match &mut state.line {
            Line::Tcp { pipe, framer } => {
                let bytes = std::mem::take(&mut self.pipes[*pipe].to_client);
                state.ended |= read_tcp(framer, &bytes, &mut state.ready);
            }
            Line::WebSocket { pipe, upgraded, closing } => {
                let bytes = &mut self.pipes[*pipe].to_client;
                if !*upgraded && let Some(end) = find(bytes, b"\r\n\r\n") {
                    assert!(bytes.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(bytes));
                    bytes.drain(..end + 4);
                    *upgraded = true;
                }
                state.ended |= *upgraded && read_frames(bytes, &mut state.ready, closing);
                let is_open = self.pipes[*pipe].conn.is_some();
                assert!(is_open || state.ended || !*closing, "RFC 6455 §7.1.1: a close frame comes before the end");
            }
            Line::Bosh(_) => {}
        }
        self.clients[client.0] = state;
        if matches!(self.clients[client.0].line, Line::Bosh(_)) {
            self.collect_bosh(client);
        }
    }

    fn collect_bosh(&mut self, client: Client) {
        loop {
            self.settle();
            let Line::Bosh(bosh) = &mut self.clients[client.0].line else { return };
            let mut bodies = Vec::new();
            while let Some(&pipe) = bosh.pipes.front() {
                let Some(answer) = Answer::take(&mut self.pipes[pipe].to_client) else { break };
                bodies.push(answer.body);
                bosh.pipes.pop_front();
            }
            let sid = bosh.sid.clone();
            let idle = bosh.pipes.is_empty();
            for body in &bodies {
                self.read_body(client, body);
            }
            let state = &self.clients[client.0];
            if !idle || sid.is_empty() && bodies.is_empty() || state.ended {
                return;
            }
            // Always one request there for the server to answer.
            self.post(client, "", "");
        }
    }

    fn read_body(&mut self, client: Client, body: &str) {
        let mut nodes = Nodes::new();
        let body = nodes.parse(body.as_bytes(), &Context::ALONE, &Limits::STANZA).expect("BOSH speaks XML");
        let state = &mut self.clients[client.0];
        state.ready.extend(body.children().map(|child| child.raw().to_owned()));
        state.ended |= body.attr("type").as_deref() == Some("terminate");
        if let (Line::Bosh(bosh), Some(sid)) = (&mut state.line, body.attr("sid")) {
            bosh.sid = sid.into_owned();
        }
    }
}

impl State {
    fn nobody() -> State {
        State { line: Line::Bosh(Box::default()), ready: VecDeque::new(), jid: String::new(), ended: false }
    }
}

/// Cuts text into top-level elements.
pub fn elements(xml: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut framer = Framer::fragment();
    let used = framer.feed(xml.as_bytes(), &Limits::STANZA, |frame| {
        if let Frame::Element(element) = frame {
            found.push(String::from_utf8_lossy(element).into_owned());
        }
        ControlFlow::Continue(())
    });
    assert!(used.is_ok() && framer.is_idle(), "these are no whole elements: {xml}");
    found
}

/// The element as it stands where no stream header declares the namespace for it.
fn declared(element: &str) -> String {
    let name_end = element.find([' ', '/', '>']).unwrap_or(element.len());
    let tag_end = element.find('>').unwrap_or(element.len());
    if element[..tag_end].contains(" xmlns=") {
        return element.to_owned();
    }
    format!("{} xmlns='jabber:client'{}", &element[..name_end], &element[name_end..])
}

/// True when the stream has ended.
fn read_tcp(framer: &mut Framer, bytes: &[u8], ready: &mut VecDeque<String>) -> bool {
    let mut ended = false;
    let mut rest = bytes;
    let limits = Limits { element_bytes_max: 1 << 24, ..Limits::STANZA };
    while !rest.is_empty() {
        let mut restart = false;
        let fed = framer.feed(rest, &limits, |frame| {
            match frame {
                Frame::Element(element) => {
                    // RFC 6120 §6.4.6, §5.4.3.3: a new stream follows.
                    restart = element.starts_with(b"<success xmlns=\"urn:ietf") || element.starts_with(b"<proceed");
                    ready.push_back(String::from_utf8_lossy(element).into_owned());
                }
                Frame::End => ended = true,
                Frame::Header(_) | Frame::Whitespace => {}
            }
            if restart { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let used = fed
            .unwrap_or_else(|error| panic!("the server sent no XML ({error:?}): {}", String::from_utf8_lossy(bytes)));
        rest = &rest[used..];
        if restart {
            *framer = Framer::new();
        }
    }
    ended
}

/// A masked text frame. RFC 6455 §5.2; a mask of zeros is a mask.
fn text_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | short as u8),
        medium @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Takes whole frames; true when the connection has ended. `closing` is set when the stream has.
fn read_frames(bytes: &mut Vec<u8>, ready: &mut VecDeque<String>, closing: &mut bool) -> bool {
    let mut ended = false;
    while bytes.len() >= 2 {
        let (head, len) = match bytes[1] & 0x7f {
            126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 if bytes.len() >= 10 => {
                let len: [u8; 8] = bytes[2..10].try_into().expect("eight bytes");
                (10, u64::from_be_bytes(len) as usize)
            }
            126 | 127 => break,
            short => (2, usize::from(short)),
        };
        if bytes.len() < head + len {
            break;
        }
        let opcode = bytes[0] & 0x0f;
        let payload = String::from_utf8(bytes[head..head + len].to_vec());
        bytes.drain(..head + len);
        assert!(!ended && (opcode == 8 || !*closing), "nothing follows the end");
        match (opcode, payload) {
            (8, _) => ended = true,
            (1, Ok(text)) if text.starts_with("<close ") => *closing = true,
            (1, Ok(text)) if text.starts_with("<open ") => {}
            (1, Ok(text)) => ready.push_back(text),
            (_, _) => {}
        }
    }
    ended
}

pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
