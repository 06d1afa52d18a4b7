//! Where stanzas end, and what is said to those that are no messages. It is enough for clients that mean well.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use memchr::{memchr, memmem};

/// What a client said, as bytes of its stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// The start tag of its stream.
    Header(&'a [u8]),
    /// A whole stanza.
    Stanza(&'a [u8]),
    /// The end tag of its stream.
    End,
}

/// What a connection wants after something it said.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish<'a> {
    /// An answer, at most.
    Nothing,
    /// TLS, from the next byte on.
    StartTls,
    /// To be known by its name.
    Login,
    /// To have this stanza brought to somebody.
    Forward(&'a [u8]),
    /// To go.
    Close,
}

/// The first whole thing in `bytes`, and where it ends; `None` until there is more. An element ends with its own name: none that
/// a client sends here has a child of the same name.
pub fn cut(bytes: &[u8]) -> Option<(Said<'_>, usize)> {
    let start = memchr(b'<', bytes)?;
    let tag_end = start + memchr(b'>', &bytes[start..])? + 1;
    let tag = &bytes[start..tag_end];
    match tag[1] {
        b'?' => cut(&bytes[tag_end..]).map(|(said, end)| (said, tag_end + end)),
        b'/' => Some((Said::End, tag_end)),
        _ if name(tag) == b"stream:stream" => Some((Said::Header(tag), tag_end)),
        _ if tag.ends_with(b"/>") => Some((Said::Stanza(tag), tag_end)),
        _ => {
            let end = tag_end + end_of(name(tag), &bytes[tag_end..])?;
            Some((Said::Stanza(&bytes[start..end]), end))
        }
    }
}

/// Where the end tag of this name ends.
fn end_of(name: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memmem::find(&bytes[at..], b"</")? + 2;
        if bytes[at..].starts_with(name) && bytes.get(at + name.len()) == Some(&b'>') {
            return Some(at + name.len() + 1);
        }
    }
}

/// One side of a stream: who the client says he is.
#[derive(Default)]
pub struct Login {
    domain: Vec<u8>,
    /// The bare JID, once "authenticated".
    pub jid: Vec<u8>,
}

impl Login {
    /// Answers to `out` by rote. `needs_tls` as long as nothing else is on offer.
    pub fn answer<'a>(&mut self, said: Said<'a>, needs_tls: bool, out: &mut Vec<u8>) -> Wish<'a> {
        let stanza = match said {
            Said::Stanza(stanza) => stanza,
            Said::Header(header) => {
                self.domain = attribute(header, b" to=").to_vec();
                out.extend_from_slice(HEADER);
                out.extend_from_slice(match (needs_tls, self.jid.is_empty()) {
                    (true, _) => STARTTLS,
                    (false, true) => PLAIN,
                    (false, false) => BIND,
                });
                out.extend_from_slice(b"</stream:features>");
                return Wish::Nothing;
            }
            Said::End => {
                out.extend_from_slice(b"</stream:stream>");
                return Wish::Close;
            }
        };
        match name(stanza) {
            b"message" => return Wish::Forward(stanza),
            b"starttls" => {
                out.extend_from_slice(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                return Wish::StartTls;
            }
            b"auth" => {
                // RFC 4616 §2: nothing or another identity, a zero, the user, a zero, the password.
                let text = BASE64.decode(text(stanza)).unwrap_or_default();
                let user = text.split(|byte| *byte == 0).nth(1).unwrap_or_default();
                self.jid = [user, b"@", &self.domain].concat();
                out.extend_from_slice(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
                return Wish::Login;
            }
            b"presence" => out.extend_from_slice(stanza),
            _ => {
                out.extend_from_slice(b"<iq type='result' id='");
                out.extend_from_slice(attribute(stanza, b" id="));
                out.extend_from_slice(b"'/>");
            }
        }
        Wish::Nothing
    }
}

/// The name of an element.
fn name(element: &[u8]) -> &[u8] {
    let end = element.iter().position(|byte| matches!(byte, b' ' | b'/' | b'>'));
    &element[1..end.unwrap_or(element.len())]
}

/// The value of an attribute of a start tag, which is asked for with the blank before it and the `=` behind it; nothing if
/// there is none.
pub fn attribute<'a>(element: &'a [u8], wanted: &[u8]) -> &'a [u8] {
    let tag = &element[..memchr(b'>', element).unwrap_or(element.len())];
    let value = memmem::find(tag, wanted).and_then(|at| tag[at + wanted.len()..].split_first());
    let Some((quote, rest)) = value else { return b"" };
    memchr(*quote, rest).map_or(b"", |end| &rest[..end])
}

/// What is between an element's tags.
fn text(element: &[u8]) -> &[u8] {
    let inside = memchr(b'>', element).map(|open| &element[open + 1..]);
    inside.and_then(|rest| memchr(b'<', rest).map(|close| &rest[..close])).unwrap_or_default()
}

const HEADER: &[u8] = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='r'>\
    <stream:features>";
const STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const PLAIN: &[u8] = b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
const BIND: &[u8] = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_what_clients_send_wherever_it_is_torn() {
        let pieces: [&[u8]; 6] = [
            b"<?xml version='1.0'?><stream:stream to='here' version='1.0'>",
            b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
            b"<presence/>",
            b"\n<message to='a@here' id='1'><body>&lt;/message&gt;</body></message>",
            b"<message to='a@here' id='2'><messages/><x></x></message>",
            b"</stream:stream>",
        ];
        let whole = pieces.concat();
        let mut at = 0;
        for piece in pieces {
            for torn in 0..piece.len() {
                assert_eq!(cut(&whole[at..at + torn]), None, "{}", String::from_utf8_lossy(&piece[..torn]));
            }
            let (said, end) = cut(&whole[at..]).unwrap();
            assert_eq!(end, piece.len(), "{}", String::from_utf8_lossy(piece));
            match said {
                Said::Header(header) => assert_eq!(attribute(header, b" to="), b"here"),
                Said::Stanza(stanza) => assert_eq!(stanza, piece.trim_ascii_start()),
                Said::End => assert_eq!(at + end, whole.len()),
            }
            at += end;
        }
    }

    #[test]
    fn believes_every_password() {
        let (mut login, mut out) = (Login::default(), Vec::new());
        login.answer(Said::Header(b"<stream:stream to=\"here\">"), false, &mut out);
        let auth = [b"<auth mechanism='PLAIN'>", BASE64.encode("\0romeo\0x").as_bytes(), b"</auth>"].concat();
        assert_eq!(login.answer(Said::Stanza(&auth), false, &mut out), Wish::Login);
        assert_eq!(login.jid, b"romeo@here");
    }
}
