//! How elements leave: side by side over TCP, one a message over WebSocket, gathered in a body over BOSH.
//!
//! Everything on the server writes elements as a TCP stream wants them, where the header has declared `jabber:client` and the
//! prefix `stream`. Where there is no header around an element, [`frame_element`] declares on its start tag what it takes for
//! granted.

use memchr::memmem;
use smallvec::SmallVec;

use crate::ns;
use crate::websocket;
use crate::xml::{Writer, splice, writer};

/// How the bytes of a stream travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// RFC 6120 §3: one XML document in each direction.
    Tcp,
    /// RFC 7395: each message is one element.
    WebSocket,
    /// XEP-0206: elements inside the `<body/>` of HTTP requests; [`crate::bosh`] takes them out and puts them in.
    Bosh,
}

impl Transport {
    /// Whether an element stands alone, with nothing declared around it.
    pub const fn stands_alone(self) -> bool {
        match self {
            Transport::Tcp => false,
            Transport::WebSocket | Transport::Bosh => true,
        }
    }
}

/// Appends a finished element as `transport` wants it. `element` takes `jabber:client` and the prefix `stream` for granted.
pub fn frame_element(transport: Transport, element: &[u8], out: &mut Vec<u8>) {
    let declaration = if transport.stands_alone() { missing(element) } else { Missing::Nothing };
    match declaration {
        Missing::Nothing => out.extend_from_slice(element),
        Missing::Client => splice::with_namespace(element, out),
        Missing::Stream => {
            // `<stream:features` or `<stream:error`, as the writer made it.
            let name_end = memchr::memchr3(b' ', b'/', b'>', element).unwrap_or(element.len());
            out.extend_from_slice(&element[..name_end]);
            out.extend_from_slice(b" xmlns:stream=\"");
            out.extend_from_slice(ns::STREAMS.as_bytes());
            out.push(b'"');
            out.extend_from_slice(&element[name_end..]);
        }
    }
}

/// What an element needs to have declared to stand alone.
enum Missing {
    Nothing,
    Client,
    Stream,
}

fn missing(element: &[u8]) -> Missing {
    if element.starts_with(b"<stream:") {
        return Missing::Stream;
    }
    // The writer and the splicer put an element's own namespace first; a `>` or a quote inside a value is escaped or later.
    let tag_end = start_tag_end(element);
    if memmem::find(&element[..tag_end], b" xmlns=").is_some_and(|at| outside_quotes(&element[..at])) {
        Missing::Nothing
    } else {
        Missing::Client
    }
}

/// Where the start tag ends: at the first `>` that is not inside a value.
fn start_tag_end(element: &[u8]) -> usize {
    let mut quote = None;
    for (at, &byte) in element.iter().enumerate() {
        match (quote, byte) {
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'>') => return at,
            (Some(open), byte) if open == byte => quote = None,
            (None | Some(_), _) => {}
        }
    }
    element.len()
}

fn outside_quotes(tag: &[u8]) -> bool {
    let mut quote = None;
    for &byte in tag {
        match quote {
            None if matches!(byte, b'"' | b'\'') => quote = Some(byte),
            Some(open) if open == byte => quote = None,
            None | Some(_) => {}
        }
    }
    quote.is_none()
}

/// What a piece of output is, for transports that treat the ends of a stream apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The stream header, or `<open/>`.
    Open,
    /// An element.
    Element,
    /// The end of the stream, or `<close/>`.
    Close,
}

/// What the machine has to say, in order: bytes, and where each piece ends.
///
/// Over TCP the host writes [`Outgoing::bytes`]; over WebSocket one message for each of [`Outgoing::pieces`]; over BOSH the
/// session takes the pieces. Then it calls [`Outgoing::clear`], which keeps the memory: one is enough for a shard.
#[derive(Debug, Default)]
pub struct Outgoing {
    bytes: Vec<u8>,
    ends: SmallVec<[(usize, Piece); 4]>,
}

impl Outgoing {
    /// Nothing to say.
    pub fn new() -> Outgoing {
        Outgoing::default()
    }

    /// All of it, as TCP wants it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The pieces one by one.
    pub fn pieces(&self) -> impl Iterator<Item = (Piece, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(end, _)| end));
        starts.zip(&self.ends).map(|(start, &(end, piece))| (piece, &self.bytes[start..end]))
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds an element that was written elsewhere, such as the bytes of [`Deliver`](crate::effect::Effect::Deliver).
    pub fn deliver(&mut self, transport: Transport, element: &[u8]) {
        frame_element(transport, element, &mut self.bytes);
        self.end(Piece::Element);
    }

    /// Adds an element that `write` appends, as it would for TCP.
    pub fn element(&mut self, transport: Transport, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        if transport.stands_alone() {
            // Few elements come this way (deliveries do not), and they are short: one more copy does not show.
            let element = self.bytes.split_off(start);
            frame_element(transport, &element, &mut self.bytes);
        }
        self.end(Piece::Element);
    }

    /// Adds the stream header; `to` is whom the client has said it is. RFC 6120 §4.7, RFC 7395 §3.4.
    pub(super) fn open(&mut self, transport: Transport, id: &str, domain: &str, to: Option<&str>) {
        match transport {
            Transport::Tcp => {
                writer::declaration(&mut self.bytes);
                let mut xml = Writer::new(&mut self.bytes);
                // RFC 6120 §4.8.5 and the Node SDK: always this prefix.
                xml.open("stream:stream").ns(ns::CLIENT).attr("xmlns:stream", ns::STREAMS);
                xml.attr("id", id).attr("from", domain).attr_opt("to", to);
                xml.attr("version", "1.0").attr("xml:lang", "en");
                xml.leave_open();
            }
            Transport::WebSocket | Transport::Bosh => {
                websocket::write_open(id, domain, to, &mut self.bytes);
            }
        }
        self.end(Piece::Open);
    }

    /// Adds the end of the stream. RFC 6120 §4.4, RFC 7395 §3.6.
    pub(super) fn close(&mut self, transport: Transport) {
        match transport {
            Transport::Tcp => writer::end_tag("stream:stream", &mut self.bytes),
            Transport::WebSocket | Transport::Bosh => websocket::write_close(&mut self.bytes),
        }
        self.end(Piece::Close);
    }

    fn end(&mut self, piece: Piece) {
        self.ends.push((self.bytes.len(), piece));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_that_stand_alone_declare_what_they_take_for_granted() {
        for (element, alone) in [
            ("<iq/>", r#"<iq xmlns="jabber:client"/>"#),
            (
                "<message to='a'><body>x</body></message>",
                "<message xmlns=\"jabber:client\" to='a'><body>x</body></message>",
            ),
            ("<iq><query xmlns='q'/></iq>", "<iq xmlns=\"jabber:client\"><query xmlns='q'/></iq>"),
            ("<r xmlns='urn:xmpp:sm:3'/>", "<r xmlns='urn:xmpp:sm:3'/>"),
            ("<a h='1' xmlns='urn:xmpp:sm:3'/>", "<a h='1' xmlns='urn:xmpp:sm:3'/>"),
            ("<iq id='> xmlns='/>", "<iq xmlns=\"jabber:client\" id='> xmlns='/>"),
            ("<stream:features/>", r#"<stream:features xmlns:stream="http://etherx.jabber.org/streams"/>"#),
        ] {
            for transport in [Transport::WebSocket, Transport::Bosh] {
                let mut out = Vec::new();
                frame_element(transport, element.as_bytes(), &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), alone);
            }
            let mut out = Vec::new();
            frame_element(Transport::Tcp, element.as_bytes(), &mut out);
            assert_eq!(out, element.as_bytes());
        }
    }

    #[test]
    fn pieces_add_up_to_the_bytes() {
        let mut out = Outgoing::new();
        out.open(Transport::Tcp, "1", "localhost", None);
        out.deliver(Transport::Tcp, b"<iq/>");
        out.close(Transport::Tcp);
        let pieces: Vec<_> = out.pieces().collect();
        assert_eq!(pieces[1], (Piece::Element, b"<iq/>".as_slice()));
        assert_eq!(pieces[2], (Piece::Close, b"</stream:stream>".as_slice()));
        assert_eq!(pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), out.bytes().len());
        out.clear();
        assert!(out.is_empty() && out.pieces().next().is_none());
    }
}
