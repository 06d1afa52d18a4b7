//! Whatever a component sends, it is said in its own name, in the namespace of clients, and can be read; and whatever is said to it can
//! be read in its own.

use aws_lc_rs::digest;
use proto::component::stream::{Ask, Fed, Host};
use proto::component::{Component, Settings, Stream, frame_element};
use proto::effect::{Effect, Effects, Note, Random, SessionId, Site, Turn};
use proto::jid::Jid;
use proto::ns;
use proto::owner::ComponentId;
use proto::stream::Flow;
use proto::time::{Instant, Now};
use proto::xml::{Context, Limits, Nodes};

const DOMAIN: &str = "echo.localhost";
const SECRET: &str = "what components know";
const HEADER: &[u8] = b"<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='echo.localhost'>";

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// A byte that chooses how the input is cut, and with its highest bit that a component is connected already; then what it sends.
pub fn run(data: &[u8]) {
    let &[choice, ref bytes @ ..] = data else { return };
    let site = Site { components: [Settings::new(DOMAIN, SECRET, None)].into(), ..Site::of("localhost") };
    let stream = Stream::new(Instant::START, &site.limits);
    let mut component = Component::new(ComponentId::of(DOMAIN));
    component.connect(SessionId(1));
    let mut peer = Peer { site, stream, component, said: Vec::new() };
    if choice & 0x80 != 0 {
        peer.connect();
    }
    for part in bytes.chunks(usize::from(choice & 0x7f).max(1)) {
        peer.feed(part);
    }
    assert!(!peer.stream.is_closed() || peer.said.ends_with(b"</stream:stream>"), "a stream that is over was ended");
}

struct Peer {
    site: Site,
    stream: Stream,
    component: Component,
    said: Vec<u8>,
}

impl Peer {
    fn connect(&mut self) {
        self.feed(HEADER);
        let said = String::from_utf8(self.said.clone()).expect("what is said is text");
        let id = said.split_once(" id=\"").and_then(|(_, rest)| rest.split('"').next()).expect("a stream has an id");
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{id}{SECRET}").as_bytes());
        let shown: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        self.feed(format!("<handshake>{shown}</handshake>").as_bytes());
        assert!(self.said.ends_with(b"<handshake/>"), "the secret is right");
    }

    fn feed(&mut self, bytes: &[u8]) {
        let Peer { site, stream, component, said } = self;
        let mut random = Zeros;
        let was_over = stream.is_closed();
        let length = said.len();
        let mut host = Host { now: Instant::START, site, random: &mut random, out: said };
        let Fed { consumed, ask } = stream.feed(bytes, &mut host, &mut Nodes::new(), &mut |element| {
            let mut out = Effects::new();
            let mut turn = Turn { now: Now::default(), site, random: &mut Zeros, out: &mut out };
            let result = component.stanza(element, &mut turn);
            out.drain().for_each(check);
            result.map_or_else(Flow::End, |()| Flow::Continue)
        });
        assert!(consumed <= bytes.len() && (!was_over || said.len() == length));
        if let Some(Ask::Connect(id)) = ask {
            assert_eq!(id, ComponentId::of(DOMAIN));
            let mut host = Host { now: Instant::START, site, random: &mut random, out: said };
            assert!(stream.connected(true, &mut host).is_none());
        }
    }
}

fn check(effect: Effect) {
    let mut nodes = Nodes::new();
    match effect {
        Effect::Send(_, Note::Stanza(parcel)) => {
            let stanza = nodes.reread(&parcel.stanza).expect("what goes on can be read");
            assert_eq!(stanza.ns(), ns::CLIENT);
            let from = stanza.attr("from").expect("everything is from somebody").into_owned();
            assert_eq!(Jid::parse(&from).expect("an address").domain(), DOMAIN);
        }
        Effect::Send(_, Note::Command { .. }) => {}
        Effect::Deliver(SessionId(1), stanza) => {
            let mut framed = Vec::new();
            frame_element(&stanza, &mut framed);
            let header = nodes.parse_header(HEADER, &Limits::NEGOTIATION).expect("as it is sent");
            let context = Context::declared_by(header);
            let mut nodes = Nodes::new();
            let read = nodes.parse(&framed, &context, &Limits::OWN).expect("what a component gets can be read");
            assert_eq!(read.ns(), ns::COMPONENT);
        }
        other => panic!("nothing else comes of a stanza: {other:?}"),
    }
}
