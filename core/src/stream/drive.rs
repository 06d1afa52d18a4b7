//! Any bytes as a conversation: for fuzzing, and for the random runs of the tests.
//!
//! The bytes choose what the client sends (whole elements, pieces of them, rubbish), how the host answers, and how time passes.
//! Whatever happens, the promises of [`Stream`] have to hold.

use std::time::Duration;

use bytes::Bytes;

use super::{
    Ask, Entered, Feature, Features, Flow, Host, Outgoing, Reply, Secrets, Security, Stream, Terms, Transport,
};
use crate::effect::{Random, Site};
use crate::error::{Condition, StreamCondition};
use crate::jid::Domain;
use crate::limits::Limits;
use crate::owner::AccountId;
use crate::sasl::{ChannelBindings, Credentials, HashedToken, ITERATIONS, Proof, Seed, TokenKept};
use crate::time::{Instant, Timestamp};
use crate::xml::{self, Context, Nodes};

/// What a client might say at some point; the numbers in the input choose among these, so new ones come last.
const LINES: &[&str] = &[
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>",
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>",
    "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>ADEtNwBzZWNyZXQ=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj0xLTcscj1hYmM=</auth>",
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
    "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>ADEtNwBzZWNyZXQ=</response>",
    "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<iq xmlns='jabber:client' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>",
    "<iq xmlns='jabber:client' type='get' id='&quot;&lt;' to='x&amp;y'><query xmlns='jabber:iq:roster'/></iq>",
    "<iq xmlns='jabber:client' type='result'/>",
    "<message xmlns='jabber:client'><body>x</body></message>",
    "<presence xmlns='jabber:client'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<compress xmlns='http://jabber.org/protocol/compress'/>",
    "<stream:error/>",
    "</stream:stream>",
    "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
    " \n",
    "<!-- -->",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>ADEtNwBzZWNyZXQ=</initial-response></authenticate>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>ADEtNwBzZWNyZXQ=</initial-response><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><bind xmlns='urn:xmpp:bind:0'><tag>&lt;</tag></bind><request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='HT-SHA-256-NONE'><user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><fast xmlns='urn:xmpp:fast:0' count='1'/></authenticate>",
    "<response xmlns='urn:xmpp:sasl:2'>ADEtNwBzZWNyZXQ=</response>",
    "<abort xmlns='urn:xmpp:sasl:2'/>",
    "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>ADEtNwBzZWNyZXQ=</initial-response><resume xmlns='urn:xmpp:sm:3' h='1' previd='x'/><bind xmlns='urn:xmpp:bind:0'/></authenticate>",
];

/// Random bytes that are the same in every run.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
        self.0 = self.0.wrapping_add(1);
    }
}

/// Has the conversation that `operations` describes, and says whether it ever came to a bound resource.
///
/// # Panics
///
/// If the stream breaks a promise.
pub fn drive_operations(operations: &[u8]) -> bool {
    let Some((&kind, operations)) = operations.split_first() else { return false };
    let transport = [Transport::Tcp, Transport::WebSocket, Transport::Bosh][usize::from(kind % 3)];
    let bindings = ChannelBindings { exporter: (kind & 4 != 0).then_some([1; 32]), server_end_point: None };
    let security = if kind & 8 != 0 { Security::Tls(Box::new(bindings)) } else { Security::Plain };
    let domain = Domain::parse("localhost").expect("localhost is a domain");
    let limits = Limits::default();
    let terms = Terms {
        domain: &domain,
        limits: &limits,
        starttls: kind & 16 != 0,
        tls_required: kind & 32 != 0,
        plain_unencrypted: kind & 64 != 0,
        features: &Features::of(&[Feature::SESSION], &Site::of("localhost")),
        decoy_secret: &[0; 32],
    };
    let stream = Stream::new(Instant::START, transport, security, &limits);
    Drive {
        stream,
        terms,
        transport,
        random: Counting(0),
        now: Instant::START,
        buffer: Vec::new(),
        ask: None,
        bound: false,
    }
    .run(operations)
}

/// The tokens of everybody's only client.
fn tokens_of(_: AccountId, good: bool) -> Vec<TokenKept> {
    vec![TokenKept { seed: Seed::new([1; 16]), mechanism: HashedToken::Unbound, expired: !good }]
}

struct Drive<'a> {
    stream: Stream,
    terms: Terms<'a>,
    transport: Transport,
    random: Counting,
    now: Instant,
    buffer: Vec<u8>,
    ask: Option<Ask>,
    bound: bool,
}

impl Drive<'_> {
    fn run(mut self, mut operations: &[u8]) -> bool {
        while let Some((&operation, rest)) = operations.split_first() {
            operations = rest;
            let ended = self.stream.is_closed();
            let mut out = Outgoing::new();
            match operation {
                0..0xa0 => self.feed(LINES[usize::from(operation) % LINES.len()].as_bytes(), &mut out),
                0xa0..0xc0 => {
                    let line = LINES[usize::from(operation) % LINES.len()].as_bytes();
                    let (&cut, rest) = operations.split_first().unwrap_or((&0, &[]));
                    operations = rest;
                    self.feed(&line[..usize::from(cut) % line.len()], &mut out);
                }
                0xc0..0xe0 => {
                    let length = operations.len().min(usize::from(operation - 0xbf));
                    let (raw, rest) = operations.split_at(length);
                    operations = rest;
                    self.feed(raw, &mut out);
                }
                0xe0..0xf4 => self.answer(operation, &mut out),
                0xf4..0xfa => self.wait(operation, &mut out),
                0xfa..=0xff => self.end(operation, &mut out),
            }
            assert!(!ended || out.is_empty(), "nothing is said after the end");
            self.check(&out);
        }
        self.bound
    }

    fn with<T>(&mut self, out: &mut Outgoing, act: impl FnOnce(&mut Stream, &mut Host<'_>) -> T) -> T {
        let mut host = Host { now: self.now, terms: &self.terms, random: &mut self.random, out };
        act(&mut self.stream, &mut host)
    }

    fn feed(&mut self, input: &[u8], out: &mut Outgoing) {
        if self.transport.stands_alone() {
            // A host keeps whole messages apart.
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(input);
        let input = std::mem::take(&mut self.buffer);
        let waits = self.stream.waits_for_host();
        let was_bound = self.bound;
        let fed = self.with(out, |stream, host| {
            stream.feed(&input, host, &mut Nodes::new(), &mut |element, _| {
                assert!(was_bound, "no element passes before a resource is bound");
                if element.name() == "message" { Flow::Pause } else { Flow::Continue }
            })
        });
        assert!(fed.consumed <= input.len(), "no more is used than there was");
        assert!(!waits || (fed.consumed == 0 && fed.ask.is_none()), "nothing is read while an answer is due");
        if matches!(fed.ask, Some(Ask::StartTls)) {
            assert_eq!(fed.consumed, input.len(), "what was sent in the clear is dropped");
        }
        self.buffer = input[fed.consumed..].to_vec();
        // What a session would refuse is dropped here, or the buffer of a closed stream would grow.
        self.buffer.truncate(1 << 16);
        if fed.ask.is_some() {
            self.ask = fed.ask;
        }
    }

    fn answer(&mut self, operation: u8, out: &mut Outgoing) {
        let good = operation & 1 == 0;
        let reply = match self.ask.take() {
            None | Some(Ask::Close) => return,
            Some(Ask::StartTls) => Reply::Secured(ChannelBindings::NONE),
            Some(Ask::Credentials(_)) if good => Reply::Secrets(None),
            Some(Ask::Credentials(_)) => Reply::Secrets(Some(Secrets {
                credentials: Credentials::without_password([0; 16], ITERATIONS),
                tokens: Vec::new(),
                version: 1,
            })),
            Some(Ask::CheckPassword(_)) => Reply::PasswordIs(good.then_some(Proof::Password)),
            Some(Ask::Tokens(account, _)) => Reply::Tokens(tokens_of(account, good)),
            Some(Ask::Move(_)) => Reply::Moved,
            Some(Ask::Bind { jid, .. }) if good => {
                self.bound = !self.stream.is_closed();
                Reply::Bound(jid)
            }
            Some(Ask::Bind { .. }) => Reply::Refused(Condition::Conflict),
            Some(Ask::Resume { account, .. }) if good => {
                self.bound = !self.stream.is_closed();
                let bare = account.at(self.terms.domain);
                let element = Bytes::from_static(b"<resumed xmlns='urn:xmpp:sm:3' h='0' previd='x'/>");
                bare.with_resource("r").map_or(Reply::NotResumed(None), |jid| Reply::Resumed { jid, element })
            }
            Some(Ask::Resume { count, .. }) => Reply::NotResumed(Some(count)),
            Some(Ask::Enter(_, entry)) if good => {
                self.bound = entry.bind.is_some() && !self.stream.is_closed();
                let token_until = entry.wanted.map(|_| Timestamp::from_secs(1));
                let jid = entry.bind.map(|bind| bind.jid);
                Reply::Entered(Box::new(Entered { jid, token_until, ..Entered::default() }))
            }
            Some(Ask::Enter(..)) => Reply::Refused(Condition::NotAuthorized),
        };
        self.ask = self.with(out, |stream, host| stream.answer(reply, host));
    }

    fn wait(&mut self, operation: u8, out: &mut Outgoing) {
        self.now = self.now + Duration::from_secs(u64::from(operation - 0xf3) * 3);
        if let Some(ask) = self.with(out, |stream, host| stream.expired(host)) {
            self.ask = Some(ask);
        }
    }

    fn end(&mut self, operation: u8, out: &mut Outgoing) {
        let ask = self.with(out, |stream, host| {
            if operation & 1 == 0 { stream.end(host) } else { stream.close(StreamCondition::Reset.into(), host) }
        });
        if ask.is_some() {
            self.ask = ask;
        }
    }

    /// Whatever is said can be read.
    fn check(&self, out: &Outgoing) {
        let context = if self.transport.stands_alone() { Context::ALONE } else { Context::CLIENT };
        let mut nodes = Nodes::new();
        for (piece, bytes) in out.pieces() {
            if piece == super::Piece::Element || self.transport.stands_alone() {
                let read = nodes.parse(bytes, &context, &xml::Limits::STANZA);
                assert!(read.is_ok(), "what is said is XML: {read:?}");
            }
        }
        if self.stream.is_closed() {
            assert_eq!(self.stream.deadline(), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kind of stream that this transport has inside TLS.
    fn over_tls(transport: u8) -> u8 {
        (0..=255).find(|kind| kind % 3 == transport && kind & 0x28 == 8).unwrap()
    }

    proptest! {
        #[test]
        fn no_conversation_breaks_a_promise(operations in proptest::collection::vec(any::<u8>(), 0..60)) {
            drive_operations(&operations);
        }

        /// Most random conversations end soon; this one gets somewhere.
        #[test]
        fn no_conversation_after_login_breaks_a_promise(
            transport in 0u8..3,
            operations in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            // TLS; header, PLAIN, answers, header, bind.
            let header = u8::from(transport != 0);
            let mut all = vec![over_tls(transport), header, 3, 0xe0, 0xe0, 0xe0, header, 8, 0xe0];
            all.extend(operations);
            prop_assert!(drive_operations(&all));
        }

        /// The same with SASL2: once with a password and once with a token, which is right when chance has it.
        #[test]
        fn no_conversation_after_login_by_sasl2_breaks_a_promise(
            transport in 0u8..3,
            operations in proptest::collection::vec(any::<u8>(), 0..60),
        ) {
            let header = u8::from(transport != 0);
            // TLS; header, <authenticate/> with a resource, answers.
            let mut all = vec![over_tls(transport), header, 22, 0xe0, 0xe0, 0xe0, 0xe0];
            all.extend(&operations);
            prop_assert!(drive_operations(&all));
            let mut all = vec![over_tls(transport), header, 23, 24, 0xe0];
            all.extend(operations);
            drive_operations(&all);
        }
    }
}
