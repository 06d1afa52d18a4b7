//! One serverless stream: headers, stanzas and ends, in either direction. XEP-0174 §7 to §9.
//!
//! There is no login and no encryption; who the two are is a matter of what they say and of where the connection comes from, on which
//! whoever holds the socket decides when the header has come ([`Event::Header`]). Requests are answered here: the bridge says what it
//! can do (§12), and does nothing else for anybody.

use std::ops::ControlFlow;

use crate::error::{Condition, StanzaError, StreamCondition, StreamError};
use crate::ns;
use crate::stanza::IqKind;
use crate::xml::{Context, Element, Frame, Framer, Limits, Nodes, Writer, writer};

use super::{Message, info};

/// One end of a stream.
#[derive(Debug)]
pub struct Stream {
    framer: Framer,
    /// What the other side's header declares; none until it has come.
    context: Option<Context>,
    side: Side,
    stage: Stage,
    /// Whether the own header has gone out.
    has_spoken: bool,
}

/// Who has opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Theirs,
    Ours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The other side's header has not come.
    Silent,
    /// It has; they have not said what they ask for.
    Open,
    /// Stanzas can go out.
    Ready,
    /// The other side has ended it.
    Ended,
}

/// What the other side's header says. §7
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who they say they are.
    pub from: Option<String>,
    /// Whom they want.
    pub to: Option<String>,
    /// Whether they know of features: version 1.0.
    pub is_modern: bool,
}

/// What the other side does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Opens the stream, or answers to that.
    Header(Header),
    /// Is ready for stanzas, on a stream that was opened from here.
    Ready,
    /// Says something.
    Message {
        /// Who they say they are.
        from: Option<String>,
        /// Whom they want.
        to: Option<String>,
        /// What passes of it.
        message: Message,
    },
    /// Ends the stream.
    Ended,
}

impl Stream {
    /// For a connection that has come in.
    pub const fn accepted() -> Stream {
        Stream { framer: Framer::new(), context: None, side: Side::Theirs, stage: Stage::Silent, has_spoken: false }
    }

    /// For a connection to `theirs`, and begins to speak.
    pub fn opened(ours: &str, theirs: &str, out: &mut Vec<u8>) -> Stream {
        write_header(Some(ours), Some(theirs), true, out);
        Stream { side: Side::Ours, has_spoken: true, ..Stream::accepted() }
    }

    /// Answers the header of a stream that has come in, with what the bridge can do. §7, §12
    pub fn answer(&mut self, ours: Option<&str>, theirs: Option<&str>, is_modern: bool, out: &mut Vec<u8>) {
        write_header(ours, theirs, is_modern, out);
        if is_modern {
            Writer::new(out).open("stream:features").raw_bytes(&info(true));
        }
        self.stage = Stage::Ready;
        self.has_spoken = true;
    }

    /// Ends the stream with a reason. RFC 6120 §4.9.1.2: a header comes first in any case.
    pub fn fail(&mut self, error: StreamError, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.has_spoken, true) {
            write_header(None, None, true, out);
        }
        error.write(out);
        close(out);
        self.stage = Stage::Ended;
    }

    /// Whether stanzas can go out.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Stanzas go out from now on, though the other side has not said that it is ready: older ones that call themselves 1.0 do not.
    pub fn goes_on(&mut self) {
        if self.stage == Stage::Open {
            self.stage = Stage::Ready;
        }
    }

    /// The next thing in `input`, which is shortened by what was used; none once it is used up. Answers to requests go to `out`.
    ///
    /// # Errors
    /// What no stream may hold; the stream ends with it.
    pub fn next(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Event>, StreamError> {
        if self.stage == Stage::Ended {
            *input = &[];
            return Ok(None);
        }
        let Stream { framer, context, side, stage, .. } = self;
        let mut step = Ok(None);
        let used = framer.feed(input, &LIMITS, |frame| {
            step = take(frame, context, *side, stage, out);
            if matches!(step, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        *input = &input[used..];
        step
    }
}

fn take(
    frame: Frame<'_>,
    context: &mut Option<Context>,
    side: Side,
    stage: &mut Stage,
    out: &mut Vec<u8>,
) -> Result<Option<Event>, StreamError> {
    let mut nodes = Nodes::new();
    match frame {
        Frame::Whitespace => Ok(None),
        Frame::End => {
            *stage = Stage::Ended;
            Ok(Some(Event::Ended))
        }
        Frame::Header(header) => {
            let header = nodes.parse_header(header, &LIMITS)?;
            let read = read_header(header)?;
            *context = Some(Context::declared_by(header));
            *stage = Stage::Open;
            Ok(Some(Event::Header(read)))
        }
        Frame::Element(element) => {
            let Some(context) = context else { return Err(StreamCondition::BadFormat.into()) };
            take_element(nodes.parse(element, context, &LIMITS)?, side, stage, out)
        }
    }
}

/// The header of a client that needs no server. RFC 6120 §4.7, §4.8
fn read_header(header: Element<'_>) -> Result<Header, StreamError> {
    if !header.is("stream", ns::STREAMS) || header.default_ns() != ns::CLIENT {
        return Err(StreamError::new(StreamCondition::InvalidNamespace, "The content namespace is jabber:client."));
    }
    let address = |name| header.attr(name).filter(|address| !address.is_empty()).map(|address| address.into_owned());
    let is_modern = header.attr("version").is_some_and(|version| version.starts_with("1."));
    Ok(Header { from: address("from"), to: address("to"), is_modern })
}

fn take_element(
    element: Element<'_>,
    side: Side,
    stage: &mut Stage,
    out: &mut Vec<u8>,
) -> Result<Option<Event>, StreamError> {
    if element.ns() == ns::STREAMS {
        return match element.name() {
            "features" if side == Side::Ours => features(element, stage).map(Some),
            "error" => {
                *stage = Stage::Ended;
                Ok(Some(Event::Ended))
            }
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        };
    }
    if element.ns() != ns::CLIENT {
        return Err(StreamCondition::UnsupportedStanzaType.into());
    }
    let attr = |name| element.attr(name).filter(|value| !value.is_empty()).map(|value| value.into_owned());
    match element.name() {
        "message" => {
            let message = Message::read(element);
            Ok(message.map(|message| Event::Message { from: attr("from"), to: attr("to"), message }))
        }
        "iq" => {
            answer(element, out);
            Ok(None)
        }
        // §6: presence is not sent over streams.
        "presence" => Ok(None),
        _ => Err(StreamCondition::UnsupportedStanzaType.into()),
    }
}

/// What the other side offers, and may insist on.
fn features(features: Element<'_>, stage: &mut Stage) -> Result<Event, StreamError> {
    let insists = |child: Element<'_>| child.children().any(|inside| inside.name() == "required");
    if features.children().any(insists) {
        let text = "This side has neither TLS nor SASL for serverless streams.";
        return Err(StreamError::new(StreamCondition::UnsupportedFeature, text));
    }
    *stage = Stage::Ready;
    Ok(Event::Ready)
}

/// Requests are not the user's, who does not see them. What one asks for that is not known here is refused. RFC 6120 §8.2.3
fn answer(iq: Element<'_>, out: &mut Vec<u8>) {
    let (from, to) = (iq.attr("from"), iq.attr("to"));
    let (from, to) = (from.as_deref(), to.as_deref());
    let payload = iq.first_child();
    match IqKind::read(iq.attr("type").as_deref()) {
        Some(IqKind::Result | IqKind::Error) => {}
        Some(IqKind::Get) if payload.is_some_and(|payload| payload.is("query", ns::DISCO_INFO)) => {
            let has_node = payload.is_some_and(|payload| payload.attr("node").is_some_and(|node| !node.is_empty()));
            let mut xml = Writer::new(out);
            xml.open("iq").attr("type", "result").attr_opt("id", iq.attr("id").as_deref());
            xml.attr_opt("from", to).attr_opt("to", from).raw_bytes(&info(has_node));
        }
        Some(IqKind::Get | IqKind::Set) => {
            StanzaError::from(Condition::ServiceUnavailable).write_reply(iq, to, from, out);
        }
        None => StanzaError::from(Condition::BadRequest).write_reply(iq, to, from, out),
    }
}

fn write_header(from: Option<&str>, to: Option<&str>, is_modern: bool, out: &mut Vec<u8>) {
    writer::declaration(out);
    let mut xml = Writer::new(out);
    xml.open("stream:stream").ns(ns::CLIENT).attr("xmlns:stream", ns::STREAMS);
    xml.attr_opt("from", from).attr_opt("to", to).attr_opt("version", is_modern.then_some("1.0"));
    xml.leave_open();
}

/// Ends a stream. §9
pub fn close(out: &mut Vec<u8>) {
    writer::end_tag("stream:stream", out);
}

/// Nobody on the link is known to anybody: what they may send is what a chat needs.
const LIMITS: Limits = Limits { element_bytes_max: 32 * 1024, ..Limits::NEGOTIATION };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stanza::MessageKind;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams' from='romeo@forza' to='juliet@pronto' version='1.0'>";

    /// Gives it all of the input in pieces of this size.
    fn feed(stream: &mut Stream, input: &str, size: usize) -> (Vec<Event>, String, Result<(), StreamError>) {
        let (mut events, mut out) = (Vec::new(), Vec::new());
        for mut piece in input.as_bytes().chunks(size) {
            loop {
                match stream.next(&mut piece, &mut out) {
                    Ok(Some(event)) => {
                        if matches!(event, Event::Header(_)) && stream.side == Side::Theirs {
                            stream.answer(Some("juliet@pronto"), Some("romeo@forza"), true, &mut Vec::new());
                        }
                        events.push(event);
                    }
                    Ok(None) => break,
                    Err(error) => return (events, String::from_utf8(out).unwrap(), Err(error)),
                }
            }
        }
        (events, String::from_utf8(out).unwrap(), Ok(()))
    }

    fn header() -> Event {
        let name = |name: &str| Some(name.to_owned());
        Event::Header(Header { from: name("romeo@forza"), to: name("juliet@pronto"), is_modern: true })
    }

    // The exchange of XEP-0174 §2.2, with its bytes.
    #[test]
    fn takes_the_exchange_of_the_specification_at_any_split() {
        let said = "<message from='romeo@forza' to='juliet@pronto'>\n  <body>M'lady, I would be pleased to make your \
            acquaintance.</body>\n</message>\n</stream:stream>";
        let input = format!("{HEADER}\n{said}");
        for size in 1..input.len() {
            let mut stream = Stream::accepted();
            let (events, out, ended) = feed(&mut stream, &input, size);
            assert_eq!((ended, out.as_str()), (Ok(()), ""));
            let [first, Event::Message { from, to, message }, Event::Ended] = &events[..] else {
                panic!("{events:?}");
            };
            assert_eq!(*first, header());
            assert_eq!((from.as_deref(), to.as_deref()), (Some("romeo@forza"), Some("juliet@pronto")));
            assert_eq!((message.kind, message.lasting), (MessageKind::Normal, true));
            let body = "<body>M'lady, I would be pleased to make your acquaintance.</body>";
            assert_eq!(std::str::from_utf8(&message.content), Ok(body));
        }
    }

    #[test]
    fn answers_with_a_header_and_what_it_can_do() {
        let mut stream = Stream::accepted();
        let mut out = Vec::new();
        assert_eq!(stream.next(&mut HEADER.as_bytes(), &mut out), Ok(Some(header())));
        assert!(!stream.is_ready());
        stream.answer(Some("juliet@pronto"), Some("romeo@forza"), true, &mut out);
        assert!(stream.is_ready());
        let out = String::from_utf8(out).unwrap();
        let begin = r#"<?xml version="1.0"?><stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" from="juliet@pronto" to="romeo@forza" version="1.0"><stream:features><query xmlns="http://jabber.org/protocol/disco#info" node="urn:x-rookery:link-local#"#;
        assert!(out.starts_with(begin) && out.ends_with("</query></stream:features>"), "{out}");
        // To one that is older than features: none.
        let mut out = Vec::new();
        Stream::accepted().answer(None, None, false, &mut out);
        let plain = r#"<?xml version="1.0"?><stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams">"#;
        assert_eq!(String::from_utf8(out).unwrap(), plain);
    }

    #[test]
    fn the_two_ends_understand_each_other() {
        let (mut to_them, mut to_us) = (Vec::new(), Vec::new());
        let mut ours = Stream::opened("juliet@pronto", "romeo@forza", &mut to_them);
        let mut theirs = Stream::accepted();
        let mut input = &to_them[..];
        let Ok(Some(Event::Header(read))) = theirs.next(&mut input, &mut to_us) else { panic!("no header") };
        assert_eq!((read.from.as_deref(), read.to.as_deref()), (Some("juliet@pronto"), Some("romeo@forza")));
        theirs.answer(read.to.as_deref(), read.from.as_deref(), read.is_modern, &mut to_us);
        let mut input = &to_us[..];
        assert!(matches!(ours.next(&mut input, &mut to_them), Ok(Some(Event::Header(_)))));
        assert!(!ours.is_ready());
        assert_eq!(ours.next(&mut input, &mut to_them), Ok(Some(Event::Ready)));
        assert!(ours.is_ready());
    }

    #[test]
    fn one_that_never_names_its_features_is_written_to_all_the_same() {
        let mut stream = Stream::opened("a@b", "c@d", &mut Vec::new());
        stream.goes_on();
        assert!(!stream.is_ready(), "its header has not come");
        assert!(stream.next(&mut HEADER.as_bytes(), &mut Vec::new()).is_ok());
        stream.goes_on();
        assert!(stream.is_ready());
    }

    #[test]
    fn says_what_it_can_do_and_refuses_the_rest() {
        let iq = |kind: &str, payload: &str| {
            let mut stream = Stream::accepted();
            let from_to = "from='romeo@forza' to='juliet@pronto'";
            let (events, out, ended) =
                feed(&mut stream, &format!("{HEADER}<iq {from_to} type='{kind}' id='1'>{payload}</iq>"), 4096);
            assert_eq!((events, ended), (vec![header()], Ok(())));
            out
        };
        let out = iq("get", "<query xmlns='http://jabber.org/protocol/disco#info'/>");
        assert!(out.starts_with(r#"<iq type="result" id="1" from="juliet@pronto" to="romeo@forza"><query "#), "{out}");
        for (kind, payload) in [
            ("get", "<query xmlns='jabber:iq:roster'/>"),
            ("set", "<query xmlns='jabber:iq:roster'><item jid='a@b'/></query>"),
            ("set", "<query xmlns='jabber:iq:register'><remove/></query>"),
            ("set", "<query xmlns='http://jabber.org/protocol/disco#info'/>"),
            ("get", "<vCard xmlns='vcard-temp'/>"),
        ] {
            let out = iq(kind, payload);
            assert!(out.starts_with(r#"<iq from="juliet@pronto" to="romeo@forza" type="error" id="1">"#), "{out}");
            assert!(out.contains("<service-unavailable "), "{out}");
        }
        for kind in ["result", "error"] {
            assert_eq!(iq(kind, "<query xmlns='jabber:iq:roster'/>"), "");
        }
        assert!(iq("strange", "").contains("<bad-request "));
    }

    #[test]
    fn presence_goes_nowhere() {
        let input = format!("{HEADER}<presence type='subscribe'/><presence/>");
        assert_eq!(feed(&mut Stream::accepted(), &input, 4096), (vec![header()], String::new(), Ok(())));
    }

    #[test]
    fn one_that_insists_on_encryption_is_given_up() {
        let mut stream = Stream::opened("a@b", "c@d", &mut Vec::new());
        let starttls = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";
        let (_, _, ended) = feed(&mut stream, &format!("{HEADER}<stream:features>{starttls}</stream:features>"), 4096);
        assert_eq!(ended.unwrap_err().condition, StreamCondition::UnsupportedFeature);
    }

    #[test]
    fn what_no_stream_may_hold_ends_it() {
        let big = format!("{HEADER}<message><body>{}</body></message>", "x".repeat(40_000));
        let deep = format!("{HEADER}<message>{}", "<a xmlns='u'>".repeat(40));
        for (input, condition) in [
            (
                "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'>",
                "invalid-namespace",
            ),
            ("<stream:stream xmlns='jabber:client' xmlns:stream='urn:other'>", "invalid-namespace"),
            ("GET / HTTP/1.1\r\n\r\n", "not-well-formed"),
            (&format!("{HEADER}<!DOCTYPE x>"), "restricted-xml"),
            (&format!("{HEADER}<message><body>&e;</body></message>"), "restricted-xml"),
            (&format!("{HEADER}<message></body>"), "not-well-formed"),
            (
                &format!("{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"),
                "unsupported-stanza-type",
            ),
            (&format!("{HEADER}<handshake/>"), "unsupported-stanza-type"),
            (&format!("{HEADER}<stream:features/>"), "unsupported-stanza-type"),
            (&big, "policy-violation"),
            (&deep, "policy-violation"),
        ] {
            let (events, _, ended) = feed(&mut Stream::accepted(), input, 4096);
            assert_eq!(ended.expect_err(input).condition.as_str(), condition, "{input:.300}");
            assert!(events.len() <= 1, "{events:?}");
        }
    }

    #[test]
    fn an_error_comes_after_a_header() {
        let mut stream = Stream::accepted();
        let (mut early, mut late) = (Vec::new(), Vec::new());
        stream.fail(StreamCondition::PolicyViolation.into(), &mut early);
        let plain = br#"<?xml version="1.0"?><stream:stream xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0"><stream:error><policy-violation "#;
        assert!(early.starts_with(plain) && early.ends_with(b"</stream:error></stream:stream>"));
        let mut stream = Stream::accepted();
        stream.answer(None, None, true, &mut Vec::new());
        stream.fail(StreamCondition::PolicyViolation.into(), &mut late);
        assert!(
            late.starts_with(b"<stream:error><policy-violation ") && late.ends_with(b"</stream:error></stream:stream>")
        );
    }

    #[test]
    fn nothing_is_heard_after_the_end() {
        let mut stream = Stream::accepted();
        let input = format!("{HEADER}</stream:stream>");
        assert_eq!(feed(&mut stream, &input, 4096).0, [header(), Event::Ended]);
        let mut rest = &b"<message><body>x</body></message>"[..];
        assert_eq!((stream.next(&mut rest, &mut Vec::new()), rest), (Ok(None), &b""[..]));
        assert_eq!(feed(&mut Stream::accepted(), &format!("{HEADER}<stream:error/>"), 99).0, [header(), Event::Ended]);
    }

    #[test]
    fn noise_is_never_worse_than_an_error() {
        // What comes is cut, doubled and changed at every place; the machine has to give an answer, whatever it is.
        let whole = format!(
            "{HEADER}<message from='a@b' id='1'><body>x &amp; y</body></message><iq type='get'/></stream:stream>"
        );
        for at in 0..whole.len() {
            for noise in ["<", ">", "&", "'", "\0", "]]>", "<?x?>", "</stream:stream>", "\u{feff}"] {
                let mut input = whole.clone();
                input.insert_str(at, noise);
                let (events, _, _) = feed(&mut Stream::accepted(), &input, 7);
                assert!(events.len() <= 4, "{input}");
            }
        }
    }
}
