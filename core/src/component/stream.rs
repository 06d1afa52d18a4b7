//! The stream of a component: a header that names its domain, a handshake, and stanzas. XEP-0114 §3
//!
//! Like [`crate::stream`], it does no I/O: its host feeds it bytes, sends what it says, and does what it asks.
//!
//! ```text
//! Header ─→ Handshake ─→ Connect ─→ Open
//! ```
//!
//! *The content namespace* is `jabber:component:accept` and means what `jabber:client` does. All of the server reads and writes
//! the latter, so elements are read as if the header had declared that, and where an element of the stream itself names one of the
//! two it is renamed on its way in and out ([`frame_element`]). What is inside of foreign elements keeps its name on the way out:
//! `<forwarded/>` holds stanzas of `jabber:client` in any stream.

use aws_lc_rs::digest;
use memchr::memmem;
use subtle::ConstantTimeEq;

use crate::effect::{Random, Site};
use crate::error::{Misbehaviour, StreamCondition, StreamError};
use crate::jid::Domain;
use crate::limits::Limits;
use crate::ns;
use crate::owner::ComponentId;
use crate::stream::{Flow, hex};
use crate::time::Instant;
use crate::xml::{self, Context, Element, Frame, Framer, Nodes, Writer, splice, writer};

use super::Settings;

/// Random bytes in a stream id, which the handshake is made with.
const STREAM_ID_BYTES: usize = 16;

/// The stream of one connection.
pub struct Stream {
    framer: Framer,
    context: Context,
    state: State,
    /// By when the component has to be connected.
    due: Option<Instant>,
    failed: bool,
}

enum State {
    /// Nothing is known of the component.
    Header,
    /// It has to show that it knows the secret.
    Handshake(Box<Challenge>),
    /// Asked [`Ask::Connect`].
    Connect(ComponentId),
    /// Stanzas pass.
    Open(ComponentId),
    /// Nothing passes.
    Closed,
}

/// What a component has to answer.
struct Challenge {
    of: ComponentId,
    /// The digest of the stream's id and the secret, as it is to be written.
    digest: String,
}

/// What the host lends for one call.
pub struct Host<'a> {
    /// The moment of the call.
    pub now: Instant,
    /// The settings in force.
    pub site: &'a Site,
    /// For the stream's id.
    pub random: &'a mut dyn Random,
    /// Where what the stream has to say is added.
    pub out: &'a mut Vec<u8>,
}

/// What the stream needs from its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Bring the connection to the component's shard, if it is not there, and have the component take it; then
    /// [`Stream::connected`].
    Connect(ComponentId),
    /// Send what there is and close the connection. The stream is over.
    Close,
}

/// What became of some input.
#[derive(Clone, Copy, Debug)]
#[must_use = "what is asked has to be done, and what was used up must not be fed again"]
pub struct Fed {
    /// Bytes that were used up.
    pub consumed: usize,
    /// What the stream needs now.
    pub ask: Option<Ask>,
}

/// What takes the elements of an open stream. What was sent in the content namespace is in `jabber:client`.
pub type Session<'a> = dyn FnMut(Element<'_>) -> Flow + 'a;

enum Heard {
    Go,
    Stop,
    /// The component knows the secret.
    Proven(ComponentId),
    /// It does not.
    Failed,
    Fault(StreamError),
    Ended,
}

impl Stream {
    /// A connection that was just made.
    pub fn new(now: Instant, limits: &Limits) -> Stream {
        Stream {
            framer: Framer::new(),
            context: Context::CLIENT,
            state: State::Header,
            due: Some(now + limits.login_time_max),
            failed: false,
        }
    }

    /// Which component it is, once it has shown its secret.
    pub fn component(&self) -> Option<ComponentId> {
        match &self.state {
            State::Connect(id) | State::Open(id) => Some(*id),
            State::Header | State::Handshake(_) | State::Closed => None,
        }
    }

    /// Whether a wrong secret was shown.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether the stream is over.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the stream can only go on after [`Stream::connected`]; until then `feed` uses nothing up.
    pub fn waits_for_host(&self) -> bool {
        matches!(self.state, State::Connect(_))
    }

    /// By when the component has to be connected.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Reads what it can of `input`, adds what there is to say to `host.out`, and hands stanzas to `session`.
    pub fn feed(&mut self, input: &[u8], host: &mut Host<'_>, nodes: &mut Nodes, session: &mut Session<'_>) -> Fed {
        if self.is_closed() {
            return Fed { consumed: input.len(), ask: None };
        }
        if self.waits_for_host() {
            return Fed { consumed: 0, ask: None };
        }
        let mut rest = input;
        let mut framer = std::mem::take(&mut self.framer);
        let ask = loop {
            let limits = self.limits(&host.site.limits);
            let heard = match framer.next(&mut rest, &limits) {
                Ok(None) => break None,
                Ok(Some(Frame::Whitespace)) => Heard::Go,
                Ok(Some(Frame::End)) => Heard::Ended,
                Ok(Some(Frame::Header(header))) => match nodes.parse_header(header, &limits) {
                    Ok(header) => self.header(header, host),
                    Err(error) => Heard::Fault(error.into()),
                },
                Ok(Some(Frame::Element(element))) => self.element(element, &limits, nodes, session),
                Err(error) => Heard::Fault(error.into()),
            };
            match heard {
                Heard::Go => {}
                Heard::Stop => break None,
                Heard::Proven(id) => {
                    self.state = State::Connect(id);
                    break Some(Ask::Connect(id));
                }
                Heard::Failed => {
                    self.failed = true;
                    let error = StreamError::new(StreamCondition::NotAuthorized, "The handshake is not right.");
                    break self.close(error, host);
                }
                Heard::Fault(error) => break self.close(error, host),
                Heard::Ended => break Some(self.end(host)),
            }
        };
        let consumed = if ask == Some(Ask::Close) { input.len() } else { input.len() - rest.len() };
        self.framer = if self.is_closed() { Framer::new() } else { framer };
        Fed { consumed, ask }
    }

    /// The answer to [`Ask::Connect`]: whether the component has taken the connection, or has another one.
    pub fn connected(&mut self, taken: bool, host: &mut Host<'_>) -> Option<Ask> {
        let State::Connect(id) = self.state else { return None };
        if !taken {
            let error = StreamError::new(StreamCondition::Conflict, "This component is connected already.");
            return self.close(error, host);
        }
        self.state = State::Open(id);
        self.due = None;
        // In the stream's own namespace.
        Writer::new(host.out).leaf("handshake", &[]);
        None
    }

    /// Ends the stream with an error, after a header of our own if none is out yet.
    pub fn close(&mut self, error: StreamError, host: &mut Host<'_>) -> Option<Ask> {
        if self.is_closed() {
            return None;
        }
        if matches!(self.state, State::Header) {
            open(&host.site.domain, &stream_id(host.random), host.out);
        }
        error.write(host.out);
        Some(self.end(host))
    }

    /// Ends the stream if the component has taken too long to connect.
    pub fn expired(&mut self, host: &mut Host<'_>) -> Option<Ask> {
        match self.due {
            Some(at) if at <= host.now => self.close(Misbehaviour::LoginTimeout.into(), host),
            Some(_) | None => None,
        }
    }

    /// Our header is out: the framer lets the end of a stream come after its beginning.
    fn end(&mut self, host: &mut Host<'_>) -> Ask {
        writer::end_tag("stream:stream", host.out);
        self.state = State::Closed;
        self.due = None;
        Ask::Close
    }

    fn limits(&self, limits: &Limits) -> xml::Limits {
        match self.state {
            State::Open(_) => xml::Limits {
                element_bytes_max: limits.stanza_bytes_max,
                depth_max: limits.depth_max,
                attributes_max: limits.attributes_max,
                ..xml::Limits::STANZA
            },
            State::Header | State::Handshake(_) | State::Connect(_) | State::Closed => {
                xml::Limits { element_bytes_max: limits.unauthenticated_bytes_max, ..xml::Limits::NEGOTIATION }
            }
        }
    }

    /// XEP-0114 §3: `to` is the component's domain. The answer has the id that the handshake is made with.
    fn header(&mut self, header: Element<'_>, host: &mut Host<'_>) -> Heard {
        let settings = match asked_for(header, host.site) {
            Ok(settings) => settings,
            Err(error) => return Heard::Fault(error),
        };
        self.context = Context::declared_with(header, ns::COMPONENT, ns::CLIENT);
        let id = stream_id(host.random);
        open(&settings.domain, &id, host.out);
        let challenge = Challenge { of: settings.id, digest: digest_of(&id, settings.secret.reveal()) };
        self.state = State::Handshake(Box::new(challenge));
        Heard::Go
    }

    /// One whole element.
    fn element(&self, bytes: &[u8], limits: &xml::Limits, nodes: &mut Nodes, session: &mut Session<'_>) -> Heard {
        let element = match nodes.parse(bytes, &self.context, limits) {
            Ok(element) => element,
            Err(error) => return Heard::Fault(error.into()),
        };
        let Some(renamed) = splice::with_ns_renamed(element, ns::COMPONENT, ns::CLIENT, |_| true) else {
            return self.hear(element, session);
        };
        match nodes.parse(&renamed, &self.context, limits) {
            Ok(element) => self.hear(element, session),
            Err(error) => Heard::Fault(error.into()),
        }
    }

    fn hear(&self, element: Element<'_>, session: &mut Session<'_>) -> Heard {
        // It is leaving, and gets no error. RFC 6120 §4.9.1.1
        if element.is("error", ns::STREAMS) {
            return Heard::Ended;
        }
        match &self.state {
            State::Handshake(challenge) if element.is("handshake", ns::CLIENT) => {
                if challenge.is_met_by(element.text().trim()) { Heard::Proven(challenge.of) } else { Heard::Failed }
            }
            State::Handshake(_) => Heard::Fault(Misbehaviour::StanzaBeforeLogin.into()),
            State::Open(_) => match session(element) {
                Flow::Continue => Heard::Go,
                Flow::Pause => Heard::Stop,
                Flow::End(error) => Heard::Fault(error),
            },
            State::Header | State::Connect(_) | State::Closed => {
                debug_assert!(false, "the header comes first, and nothing is read while an answer is due");
                Heard::Stop
            }
        }
    }
}

impl Challenge {
    fn is_met_by(&self, shown: &str) -> bool {
        shown.as_bytes().ct_eq(self.digest.as_bytes()).into()
    }
}

/// The component that a stream is for.
fn asked_for<'s>(header: Element<'_>, site: &'s Site) -> Result<&'s Settings, StreamError> {
    if !header.is("stream", ns::STREAMS) {
        return Err(Misbehaviour::NotAStream.into());
    }
    if header.prefix() != "stream" {
        return Err(Misbehaviour::StreamPrefix.into());
    }
    if header.default_ns() != ns::COMPONENT {
        let text = "Only components connect here: the content namespace is jabber:component:accept.";
        return Err(StreamError::new(StreamCondition::InvalidNamespace, text));
    }
    let to = header.attr("to").unwrap_or_default();
    let domain = Domain::parse(&to).ok();
    let settings = domain.and_then(|domain| site.component(domain.as_str()));
    settings.ok_or(StreamError::new(StreamCondition::HostUnknown, "There is no component of that name."))
}

/// Adds our header. There is no version: features, which 1.0 would promise, do not come.
fn open(from: &str, id: &str, out: &mut Vec<u8>) {
    writer::declaration(out);
    let mut xml = Writer::new(out);
    xml.open("stream:stream").ns(ns::COMPONENT).attr("xmlns:stream", ns::STREAMS);
    xml.attr("id", id).attr("from", from);
    xml.leave_open();
}

fn stream_id(random: &mut dyn Random) -> String {
    hex(&random.array::<STREAM_ID_BYTES>())
}

/// XEP-0114 §3: the hash of the id and the secret, as digits in lower case.
pub(super) fn digest_of(id: &str, secret: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(id.as_bytes());
    context.update(secret.as_bytes());
    hex(context.finish().as_ref())
}

/// Appends a finished element, which takes `jabber:client` for granted, as a component's stream wants it.
pub fn frame_element(element: &[u8], out: &mut Vec<u8>) {
    if memmem::find(element, ns::CLIENT.as_bytes()).is_none() {
        return out.extend_from_slice(element);
    }
    let mut nodes = Nodes::new();
    let renamed = nodes
        .reread(element)
        .and_then(|stanza| splice::with_ns_renamed(stanza, ns::CLIENT, ns::COMPONENT, is_of_the_stream));
    out.extend_from_slice(renamed.as_deref().unwrap_or(element));
}

/// Whether an element and all that is around it are in the content namespace.
fn is_of_the_stream(element: Element<'_>) -> bool {
    let mut around = std::iter::successors(Some(element), |element| element.parent());
    around.all(|element| element.ns() == ns::CLIENT)
}

// One lives in each connection of a component, in a box.
const _: () = assert!(std::mem::size_of::<Stream>() <= 192);
