//! Over WebSocket each message stands alone: what is written reads back, what is forwarded means what was sent, and a
//! conversation keeps its promises whatever the messages are. Frames are the server's library's, and not here.

use proto::effect::{Random, Site};
use proto::jid::Domain;
use proto::limits::Limits;
use proto::sasl::{ChannelBindings, Credentials, ITERATIONS, Proof};
use proto::stream::{
    Ask, Entered, Feature, Features, Flow, Host, Outgoing, Piece, Reply, Secrets, Security, Stream, Terms, Transport,
    frame_element,
};
use proto::time::Instant;
use proto::websocket;
use proto::xml::{self, Context, Element, Nodes, splice};

use crate::oracle::Meaning;

/// The messages of a conversation, with a NUL after each, which no XML holds.
pub fn run(data: &[u8]) {
    let mut messages = data.split(|byte| *byte == 0);
    writes_what_it_knows(&String::from_utf8_lossy(data));
    let domain = Domain::parse("localhost").expect("localhost is a domain");
    let limits = Limits::default();
    let terms = Terms {
        domain: &domain,
        limits: &limits,
        starttls: true,
        tls_required: true,
        plain_unencrypted: false,
        features: &Features::of(&[Feature::SESSION], &Site::of("localhost")),
        decoy_secret: &[0; 32],
    };
    let security = Security::Tls(Box::new(ChannelBindings::NONE));
    let stream = Stream::new(Instant::START, Transport::WebSocket, security, &limits);
    let mut client = Client { stream, terms };
    messages.all(|message| client.says(message));
}

fn writes_what_it_knows(text: &str) {
    let limits = xml::Limits { attribute_bytes_max: 1 << 20, element_bytes_max: 1 << 21, ..xml::Limits::STANZA };
    let mut nodes = Nodes::new();
    let mut out = Vec::new();
    websocket::write_open(text, text, Some(text), &mut out);
    let open = nodes.parse(&out, &Context::ALONE, &limits).expect("what is written is XML");
    assert!(websocket::is_open(open) && !websocket::is_close(open));
    assert_eq!(open.attr("id"), open.attr("from"));
}

/// Zeros are as good as any for who does not want to be unpredictable.
struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

struct Client<'a> {
    stream: Stream,
    terms: Terms<'a>,
}

impl Client<'_> {
    /// Sends one message and sees to all that is asked; says whether the conversation goes on.
    fn says(&mut self, message: &[u8]) -> bool {
        let mut out = Outgoing::new();
        let bound = self.stream.jid().is_some();
        let mut host = Host { now: Instant::START, terms: &self.terms, random: &mut Zeros, out: &mut out };
        let fed = self.stream.feed(message, &mut host, &mut Nodes::new(), &mut |element, _| {
            assert!(bound, "no element passes before a resource is bound");
            forwards(element);
            Flow::Continue
        });
        assert!(fed.ask.is_some() || fed.consumed == message.len(), "a message is used up at once");
        let mut ask = fed.ask;
        while let Some(asked) = ask.take() {
            let reply = match asked {
                Ask::StartTls => panic!("there is no STARTTLS over WebSocket"),
                Ask::Credentials(_) => Reply::Secrets(Some(Secrets {
                    credentials: Credentials::without_password([0; 16], ITERATIONS),
                    tokens: Vec::new(),
                    version: 1,
                })),
                // Everybody knows the password: what comes after login is of interest here.
                Ask::CheckPassword(_) => Reply::PasswordIs(Some(Proof::Password)),
                Ask::Tokens(..) => Reply::Tokens(Vec::new()),
                Ask::Move(_) => Reply::Moved,
                Ask::Resume { count, .. } => Reply::NotResumed(Some(count)),
                Ask::Bind { jid, account, .. } => {
                    assert_eq!(jid.to_bare(), account.at(self.terms.domain));
                    Reply::Bound(jid)
                }
                Ask::Enter(account, entry) => {
                    let jid = entry.bind.map(|bind| bind.jid);
                    assert!(jid.iter().all(|jid| jid.to_bare() == account.at(self.terms.domain)));
                    Reply::Entered(Box::new(Entered { jid, ..Entered::default() }))
                }
                Ask::Close => {
                    assert!(self.stream.is_closed());
                    break;
                }
            };
            let mut host = Host { now: Instant::START, terms: &self.terms, random: &mut Zeros, out: &mut out };
            ask = self.stream.answer(reply, &mut host);
        }
        check(&out);
        !self.stream.is_closed()
    }
}

/// Every piece is a message that can be read alone.
fn check(out: &Outgoing) {
    let mut nodes = Nodes::new();
    for (piece, bytes) in out.pieces() {
        let element = nodes.parse(bytes, &Context::ALONE, &xml::Limits::STANZA).expect("what is said is XML");
        assert_eq!(websocket::is_open(element), piece == Piece::Open);
        assert_eq!(websocket::is_close(element), piece == Piece::Close);
    }
}

/// What one client sends over WebSocket, another one gets over WebSocket with the same meaning.
fn forwards(element: Element<'_>) {
    let mut forwarded = Vec::new();
    splice::forward(element, &[("from", Some("55-92@localhost/a"))], |_| (), &mut forwarded);
    let limits = xml::Limits {
        attributes_max: 1 << 10,
        attribute_bytes_max: 1 << 20,
        prefixes_max: 1 << 10,
        ..xml::Limits::STANZA
    };
    let mut meaning = Meaning::of(element);
    meaning.attributes.insert((String::new(), "from".into()), "55-92@localhost/a".into());
    // A session forwards stanzas alone, which are all in this namespace.
    if meaning.ns != proto::ns::CLIENT {
        return;
    }
    for (transport, context) in [(Transport::WebSocket, Context::ALONE), (Transport::Tcp, Context::CLIENT)] {
        let mut framed = Vec::new();
        frame_element(transport, &forwarded, &mut framed);
        let mut nodes = Nodes::new();
        let read = nodes.parse(&framed, &context, &limits).expect("what is forwarded is XML");
        assert_eq!(Meaning::of(read), meaning);
    }
}
