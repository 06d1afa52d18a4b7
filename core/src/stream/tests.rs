//! A client's script against the machine, with a host that answers every ask at once.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::*;
use crate::effect::{Random, Site};
use crate::jid::{AppId, Domain, UserId};
use crate::sasl::{ChannelBindings, ClientId, Credentials, TokenKept, TokenRecord};
use crate::time::Timestamp;

mod login;
mod sasl2;
mod websocket;

const TOKEN: &str = "0123456789abcdef0123456789abcdef00000001";
const SALT: [u8; 16] = *b"0123456789abcdef";
const ROUNDS: NonZeroU32 = NonZeroU32::new(16).unwrap();

/// The one account there is: 1-7 with a password and a token. Made once, as it costs PBKDF2s.
static SECRETS: LazyLock<(Credentials, TokenRecord)> = LazyLock::new(|| {
    let credentials = Credentials::new("secret", SALT, ROUNDS);
    let token = credentials.token_record(TOKEN);
    (credentials, token)
});

/// Counts upwards, so that two runs of one script are the same.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
        self.0 = self.0.wrapping_add(1);
    }
}

/// Both ends of one connection, in memory.
struct Pair {
    stream: Stream,
    domain: Domain,
    limits: Limits,
    random: Counting,
    out: Outgoing,
    nodes: Nodes,
    now: Instant,
    tls_required: bool,
    /// Bytes that the stream has not used up, as a socket's buffer holds them.
    buffer: Vec<u8>,
    /// What the session heard.
    heard: Vec<String>,
    flow: Flow,
    /// Names of all asks so far.
    asks: Vec<&'static str>,
    /// Which password had let in whoever bound a resource with an iq.
    binds: Vec<Option<u64>>,
    refuse_bind: Option<Condition>,
    unavailable: bool,
    /// What was asked of the account.
    entries: Vec<Entry>,
    /// The only client's tokens, and what its account puts in `<bound/>`.
    tokens: Vec<TokenKept>,
    bound: &'static str,
}

impl Pair {
    fn new(transport: Transport, security: Security) -> Pair {
        let limits = Limits { auth_failures_max: 3, early_stanzas_max: 2, ..Limits::default() };
        Pair {
            stream: Stream::new(Instant::START, transport, security, &limits),
            domain: Domain::parse("localhost").unwrap(),
            limits,
            random: Counting(0),
            out: Outgoing::new(),
            nodes: Nodes::new(),
            now: Instant::START,
            tls_required: true,
            buffer: Vec::new(),
            heard: Vec::new(),
            flow: Flow::Continue,
            asks: Vec::new(),
            binds: Vec::new(),
            refuse_bind: None,
            unavailable: false,
            entries: Vec::new(),
            tokens: Vec::new(),
            bound: "",
        }
    }

    fn plain() -> Pair {
        Pair::new(Transport::Tcp, Security::Plain)
    }

    fn tls() -> Pair {
        Pair::new(Transport::Tcp, Security::Tls(Box::new(bindings())))
    }

    fn websocket() -> Pair {
        Pair::new(Transport::WebSocket, Security::Tls(Box::new(ChannelBindings::NONE)))
    }

    /// Over TLS, with features received.
    fn opened() -> Pair {
        let mut pair = Pair::tls();
        pair.says(HEADER);
        pair
    }

    fn authenticated() -> Pair {
        let mut pair = Pair::opened();
        pair.says(&plain_auth(TOKEN));
        pair.says(HEADER);
        pair
    }

    fn bound() -> Pair {
        let mut pair = Pair::authenticated();
        pair.says(BIND);
        pair
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Stream, &mut Host<'_>, &mut Nodes, &mut Session<'_>) -> T) -> T {
        let terms = Terms {
            domain: &self.domain,
            limits: &self.limits,
            starttls: true,
            tls_required: self.tls_required,
            plain_unencrypted: false,
            features: &Features::of(&[Feature::SESSION, Feature::ROSTER_VERSIONING, EARLY], &Site::of("localhost")),
            decoy_secret: &[9; 32],
        };
        let mut host = Host { now: self.now, terms: &terms, random: &mut self.random, out: &mut self.out };
        let heard = &mut self.heard;
        let flow = self.flow;
        act(&mut self.stream, &mut host, &mut self.nodes, &mut |element, _| {
            heard.push(element.raw().to_owned());
            flow
        })
    }

    /// The client sends bytes; returns what comes back until nothing more happens.
    fn says(&mut self, input: &str) -> String {
        self.sends(input.as_bytes())
    }

    fn sends(&mut self, input: &[u8]) -> String {
        self.buffer.extend_from_slice(input);
        loop {
            let input = mem::take(&mut self.buffer);
            let fed = self.with(|stream, host, nodes, session| stream.feed(&input, host, nodes, session));
            assert!(fed.consumed <= input.len());
            self.buffer.extend_from_slice(&input[fed.consumed..]);
            let mut ask = fed.ask;
            if ask.is_none() || self.buffer.is_empty() {
                while let Some(asked) = ask {
                    ask = self.does(asked);
                }
                break;
            }
            while let Some(asked) = ask {
                ask = self.does(asked);
            }
        }
        self.said()
    }

    fn said(&mut self) -> String {
        let said = String::from_utf8(self.out.bytes().to_vec()).unwrap();
        self.out.clear();
        said
    }

    /// One message each way over WebSocket.
    fn messages(&mut self, message: &str) -> Vec<String> {
        let fed = self.with(|stream, host, nodes, session| stream.feed(message.as_bytes(), host, nodes, session));
        assert_eq!(fed.consumed, message.len());
        let mut ask = fed.ask;
        while let Some(asked) = ask {
            ask = self.does(asked);
        }
        let said = self.out.pieces().map(|(_, bytes)| String::from_utf8(bytes.to_vec()).unwrap()).collect();
        self.out.clear();
        said
    }

    fn does(&mut self, ask: Ask) -> Option<Ask> {
        let (name, reply) = match ask {
            Ask::StartTls => ("tls", Reply::Secured(bindings())),
            Ask::Credentials(_) | Ask::CheckPassword(_) if self.unavailable => ("unavailable", Reply::Unavailable),
            Ask::Credentials(account) => {
                let found = (account.app == AppId(7) && account.user == UserId(1)).then(|| Secrets {
                    credentials: SECRETS.0.clone(),
                    tokens: vec![SECRETS.1],
                    version: 1,
                });
                ("credentials", Reply::Secrets(found))
            }
            Ask::CheckPassword(check) => ("password", Reply::PasswordIs(check.run())),
            Ask::Tokens(..) if self.unavailable => ("unavailable", Reply::Unavailable),
            Ask::Tokens(account, client) => ("tokens", Reply::Tokens(self.tokens_of(account, client))),
            Ask::Move(_) => ("move", Reply::Moved),
            Ask::Enter(account, entry) => ("enter", self.enters(account, *entry)),
            Ask::Bind { account, jid, secret_version, .. } => {
                self.binds.push(secret_version);
                assert_eq!(account.at(&self.domain), jid.to_bare());
                ("bind", self.refuse_bind.map_or(Reply::Bound(jid), Reply::Refused))
            }
            Ask::Resume { account, token, count } => {
                let jid = account.at(&self.domain).with_resource("back").unwrap();
                let element = Bytes::from_static(b"<resumed xmlns=\"urn:xmpp:sm:3\" h=\"345\" previd=\"known\"/>");
                let known = &*token == "known";
                ("resume", if known { Reply::Resumed { jid, element } } else { Reply::NotResumed(Some(count)) })
            }
            Ask::Close => {
                self.asks.push("close");
                assert!(self.stream.is_closed());
                return None;
            }
        };
        self.asks.push(name);
        assert!(self.stream.waits_for_host());
        self.with(|stream, host, _, _| stream.answer(reply, host))
    }

    fn tokens_of(&self, account: AccountId, client: ClientId) -> Vec<TokenKept> {
        let known = Some(client) == ClientId::of(&[9; 32], account, sasl2::AGENT);
        if known && account.user == UserId(1) { self.tokens.clone() } else { Vec::new() }
    }

    fn enters(&mut self, account: AccountId, entry: Entry) -> Reply {
        assert_eq!((account.app, account.user), (AppId(7), UserId(1)));
        let entered = Entered {
            jid: entry.bind.as_ref().map(|bind| bind.jid.clone()),
            bound: self.bound.into(),
            tracked: false,
            done: if self.bound.is_empty() { Vec::new() } else { vec!["urn:x"] },
            token_until: entry.wanted.map(|_| Timestamp::from_secs(1_583_938_575)),
            secret_version: Some(4),
        };
        self.entries.push(entry);
        self.refuse_bind.map_or(Reply::Entered(Box::new(entered)), Reply::Refused)
    }

    fn is_closed(&self) -> bool {
        self.stream.is_closed() && self.asks.last() == Some(&"close")
    }
}

fn bindings() -> ChannelBindings {
    ChannelBindings { exporter: Some([7; 32]), server_end_point: None }
}

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const BIND: &str =
    "<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>desk</resource></bind></iq>";
const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

fn plain_auth(password: &str) -> String {
    format!("<auth {SASL} mechanism='PLAIN'>{}</auth>", BASE64.encode(format!("\x001-7\0{password}")))
}

fn header_to(to: &str) -> String {
    HEADER.replace("to='localhost'", to)
}

/// The text between two marks.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let text = &text[text.find(start).unwrap_or_else(|| panic!("no {start} in {text}")) + start.len()..];
    &text[..text.find(end).unwrap_or_else(|| panic!("no {end} in {text}"))]
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data).as_ref().to_vec()
}

/// The client's last message of SCRAM-SHA-256. RFC 7677.
fn client_final(bare: &str, challenge: &str, password: &str) -> String {
    let nonce = between(challenge, "r=", ",");
    let salt = BASE64.decode(between(challenge, "s=", ",")).unwrap();
    let rounds = challenge.rsplit("i=").next().unwrap().parse().unwrap();
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, password.as_bytes(), &mut salted);
    let key = mac(&salted, b"Client Key");
    let without_proof = format!("c={},r={nonce}", BASE64.encode("n,,"));
    let stored = digest::digest(&digest::SHA256, &key);
    let signature = mac(stored.as_ref(), format!("{bare},{challenge},{without_proof}").as_bytes());
    let proof: Vec<u8> = key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
    format!("{without_proof},p={}", BASE64.encode(proof))
}

/// Logs in from the plain connection to the bound resource, and returns what the client sent, step by step.
fn whole_login() -> (Pair, Vec<String>) {
    let bare = "n=1-7,r=abcdefgh";
    let first = format!("<auth {SASL} mechanism='SCRAM-SHA-256'>{}</auth>", BASE64.encode(format!("n,,{bare}")));
    let mut pair = Pair::plain();
    let mut sent: Vec<String> = [HEADER, STARTTLS, HEADER, &first].map(str::to_owned).into();
    let mut said = String::new();
    for step in &sent {
        said = pair.says(step);
    }
    let challenge = BASE64.decode(between(&said, "xmpp-sasl\">", "</challenge>")).unwrap();
    let last = client_final(bare, str::from_utf8(&challenge).unwrap(), "secret");
    sent.push(format!("<response {SASL}>{}</response>", BASE64.encode(last)));
    sent.push(HEADER.to_owned());
    sent.push(format!("\n{BIND} <iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"));
    for step in &sent[4..] {
        pair.says(step);
    }
    (pair, sent)
}

#[test]
fn a_client_goes_from_plain_tcp_to_a_bound_resource() {
    let (pair, _) = whole_login();
    assert_eq!(pair.asks, ["tls", "credentials", "move", "bind"]);
    assert_eq!(pair.stream.jid().unwrap().as_str(), "1-7@localhost/desk");
    assert_eq!(pair.heard, ["<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>"]);
    assert_eq!(pair.stream.deadline(), None);
    assert!(pair.stream.is_idle());
}

#[test]
fn every_split_of_the_input_says_the_same() {
    let (_, sent) = whole_login();
    let mut whole = Pair::plain();
    let expected: Vec<String> = sent.iter().map(|step| whole.says(step)).collect();
    for (step, input) in sent.iter().enumerate() {
        for split in 1..input.len() {
            let mut pair = Pair::plain();
            for (other, input) in sent.iter().enumerate() {
                let said = if other == step {
                    // STARTTLS drops what follows it in the same read: nothing does here.
                    pair.says(&input[..split]) + &pair.says(&input[split..])
                } else {
                    pair.says(input)
                };
                assert_eq!(said, expected[other], "step {other}, split {split} of step {step}");
            }
            assert_eq!(pair.heard, whole.heard);
        }
    }
    let mut pair = Pair::plain();
    let said: String = sent.iter().flat_map(|step| step.as_bytes()).map(|&byte| pair.sends(&[byte])).collect();
    assert_eq!(said, expected.concat());
}

#[test]
fn what_follows_login_may_come_with_it() {
    let mut pair = Pair::opened();
    let all = [plain_auth(TOKEN).as_str(), HEADER, BIND, "<presence/>", "</stream:stream>"].concat();
    let said = pair.says(&all);
    assert_eq!(pair.asks, ["credentials", "password", "move", "bind", "close"]);
    assert_eq!(pair.heard, ["<presence/>"]);
    assert!(said.ends_with("<jid>1-7@localhost/desk</jid></bind></iq></stream:stream>"), "{said}");
}

/// A feature that says something else before login than after.
const EARLY: Feature = Feature {
    before_login: Some(|_, xml| {
        xml.text("before");
    }),
    after_login: Some(|_, xml| {
        xml.text("after");
    }),
    ..Feature::new("early", "urn:x")
};

#[test]
fn features_say_what_can_be_done_at_each_point() {
    let mut pair = Pair::plain();
    let said = pair.says(HEADER);
    assert!(said.starts_with("<?xml version=\"1.0\"?><stream:stream xmlns=\"jabber:client\" xmlns:stream=\"http://etherx.jabber.org/streams\" id=\"00"), "{said}");
    assert!(said.contains(" from=\"localhost\" version=\"1.0\" xml:lang=\"en\">"), "{said}");
    assert!(said.ends_with(
        "<stream:features><starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"><required/></starttls></stream:features>"
    ));
    assert_eq!(pair.says(STARTTLS), "<proceed xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"/>");
    let said = pair.says(HEADER);
    assert!(!said.contains("starttls") && !said.contains("compress"), "{said}");
    for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"] {
        assert!(said.contains(&format!("<mechanism>{mechanism}</mechanism>")), "{said}");
    }
    assert!(said.contains("<channel-binding type=\"tls-exporter\"/>"));
    assert!(said.ends_with("<early xmlns=\"urn:x\">before</early></stream:features>"), "{said}");
    assert_eq!(pair.says(&plain_auth("secret")), "<success xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/>");
    let said = pair.says(HEADER);
    assert!(said.ends_with("<stream:features><bind xmlns=\"urn:ietf:params:xml:ns:xmpp-bind\"/><session xmlns=\"urn:ietf:params:xml:ns:xmpp-session\"><optional/></session><ver xmlns=\"urn:xmpp:features:rosterver\"/><early xmlns=\"urn:x\">after</early></stream:features>"), "{said}");
}

#[test]
fn login_in_the_clear_is_offered_where_it_is_allowed_and_never_plain() {
    let mut pair = Pair::plain();
    pair.tls_required = false;
    let said = pair.says(HEADER);
    assert!(said.contains("<starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"/>"), "{said}");
    assert!(said.contains("SCRAM-SHA-1<") && !said.contains("PLAIN") && !said.contains("PLUS"), "{said}");
    assert!(pair.says(&plain_auth("secret")).contains("<encryption-required/>"));
}

// S01, CVE-2011-0411
#[test]
fn what_follows_starttls_in_the_clear_is_dropped() {
    let mut pair = Pair::plain();
    pair.says(HEADER);
    pair.says(&[STARTTLS, HEADER, "<auth/>"].concat());
    assert!(pair.buffer.is_empty());
    let said = pair.says(HEADER);
    assert!(said.contains("<mechanisms") && !said.contains("failure") && !said.contains("error"), "{said}");
}

#[test]
fn headers_are_refused_for_exactly_what_is_wrong_with_them() {
    let cases: &[(String, &str)] = &[
        (header_to("to='elsewhere.example'"), "host-unknown"),
        (header_to("to='lo cal host'"), "host-unknown"),
        (header_to("to='a@localhost'"), "host-unknown"),
        (header_to("to=''"), "host-unknown"),
        (header_to(""), "improper-addressing"),
        (HEADER.replace(" version='1.0'>", ">"), "unsupported-version"),
        (HEADER.replace(" version='1.0'>", " version='0.9'>"), "unsupported-version"),
        (HEADER.replace(" version='1.0'>", " version='1'>"), "unsupported-version"),
        (HEADER.replace(" version='1.0'>", " version='x.y'>"), "unsupported-version"),
        (HEADER.replace("jabber:client", "jabber:server"), "invalid-namespace"),
        (HEADER.replace("jabber:client", "jabber:component:accept"), "invalid-namespace"),
        (HEADER.replace(" xmlns='jabber:client'", ""), "invalid-namespace"),
        (HEADER.replace("http://etherx.jabber.org/streams", "urn:other"), "invalid-namespace"),
        (HEADER.replace("stream:", "s:").replace(":stream=", ":s="), "bad-namespace-prefix"),
        (HEADER.replace("stream:stream", "stream:flow"), "invalid-namespace"),
        (HEADER.replace(" xmlns:stream='http://etherx.jabber.org/streams'", ""), "not-well-formed"),
        ("<html>".to_owned(), "invalid-namespace"),
        ("GET / HTTP/1.1\r\n".to_owned(), "not-well-formed"),
        ("\u{16}\u{3}\u{1}".to_owned(), "not-well-formed"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>".to_owned(), "unsupported-encoding"),
        ("<!DOCTYPE a [<!ENTITY l 'lol'>]>".to_owned(), "restricted-xml"),
        ("<?xml version='1.0'?><!-- -->".to_owned(), "restricted-xml"),
        (format!("<stream:stream a='{}", "x".repeat(20_000)), "policy-violation"),
    ];
    for (input, condition) in cases {
        let mut pair = Pair::plain();
        let said = pair.says(input);
        assert!(said.starts_with("<?xml version=\"1.0\"?><stream:stream "), "{input}: {said}");
        let error = format!("<stream:error><{condition} xmlns=\"urn:ietf:params:xml:ns:xmpp-streams\"/>");
        assert!(said.contains(&error) && said.ends_with("</stream:error></stream:stream>"), "{input}: {said}");
        assert!(pair.is_closed() && !said.contains("features"), "{input}");
    }
}

#[test]
fn versions_after_1_0_are_spoken_to_in_1_0() {
    for version in ["1.0", "1.1", "2.0", "01.00", "10.3"] {
        let mut pair = Pair::plain();
        let said = pair.says(&HEADER.replace("='1.0'>", &format!("='{version}'>")));
        assert!(said.contains("version=\"1.0\"") && said.contains("features"), "{version}: {said}");
    }
}

// CVE-2018-10847
#[test]
fn the_domain_cannot_change_after_login() {
    let mut pair = Pair::opened();
    pair.says(&plain_auth(TOKEN));
    assert!(pair.says(&header_to("to='other.example'")).contains("<host-unknown"));
    assert!(pair.is_closed());
}

#[test]
fn what_comes_at_the_wrong_time_ends_the_stream() {
    let auth = plain_auth(TOKEN);
    let challenge = format!("<auth {SASL} mechanism='SCRAM-SHA-1'/>");
    type Start = fn() -> Pair;
    let cases: &[(Start, &str, &str)] = &[
        // X17, B02
        (Pair::opened, "<message to='2-7@localhost'><body>x</body></message>", "not-authorized"),
        (Pair::opened, "<presence/>", "not-authorized"),
        (Pair::authenticated, "<message/>", "not-authorized"),
        (Pair::authenticated, "<presence/>", "not-authorized"),
        // S05
        (Pair::authenticated, &auth, "policy-violation"),
        (Pair::bound, &auth, "policy-violation"),
        // H05
        (Pair::opened, "<db:result xmlns:db='jabber:server:dialback' from='a' to='b'/>", "unsupported-stanza-type"),
        (Pair::opened, "<bogus xmlns='urn:x'/>", "unsupported-stanza-type"),
        (Pair::opened, "<bogus/>", "unsupported-stanza-type"),
        (Pair::bound, "<bogus/>", "unsupported-stanza-type"),
        (Pair::bound, "<stream:features/>", "unsupported-stanza-type"),
        // X03 to X06, X11
        (Pair::bound, "<!-- x -->", "restricted-xml"),
        (Pair::bound, "<?php ?>", "restricted-xml"),
        (Pair::bound, "<message><body>&lol;</body></message>", "restricted-xml"),
        (Pair::bound, "<message><body></message></body>", "not-well-formed"),
        (Pair::bound, "<message to='a' to='b'/>", "not-well-formed"),
        (Pair::bound, "<message>\u{b}</message>", "not-well-formed"),
        (Pair::bound, "text", "not-well-formed"),
    ];
    for (start, input, condition) in cases {
        let mut pair = start();
        let said = pair.says(input);
        assert!(said.contains(&format!("<stream:error><{condition} ")), "{input}: {said}");
        assert!(said.ends_with("</stream:error></stream:stream>") && pair.is_closed(), "{input}: {said}");
        assert!(pair.heard.is_empty());
    }
    // The exchange is given up, then the stream goes on.
    let mut pair = Pair::opened();
    assert_eq!(
        pair.says(&challenge),
        "<challenge xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\"/>".replace("/>", "></challenge>")
    );
    assert!(pair.says(&challenge).contains("<malformed-request/>"));
    assert!(pair.says(&auth).contains("<success"));
}

// X07 to X10, X12
#[test]
fn big_things_before_login_are_refused_before_they_are_whole() {
    let long = "x".repeat(1 << 20);
    let deep = "<a>".repeat(1000);
    let wide: String = (0..1000).map(|n| format!(" a{n}=''")).collect();
    for input in [
        format!("<auth {SASL}>{long}"),
        format!("<iq type='set'>{deep}"),
        format!("<iq{wide}"),
        format!("<iq {long}"),
        format!("<iq a='{long}"),
    ] {
        let mut pair = Pair::opened();
        let said = pair.says(&input);
        assert!(said.contains("<stream:error><policy-violation "), "{}: {said}", &input[..20]);
        assert!(pair.is_closed());
    }
}

#[test]
fn a_bound_stream_hands_everything_on() {
    let mut pair = Pair::bound();
    let input =
        "<message/> <r xmlns='urn:xmpp:sm:3'/>\n<iq type='get'/><message><body><![CDATA[<x>]]></body></message>";
    assert_eq!(pair.says(input), "");
    assert_eq!(pair.heard.len(), 4);
    pair.flow = Flow::End(StreamCondition::PolicyViolation.into());
    assert!(pair.says("<presence/><presence/>").starts_with("<stream:error><policy-violation "));
    assert_eq!(pair.heard.len(), 5);
}

#[test]
fn a_session_can_hold_the_input_back() {
    let mut pair = Pair::bound();
    pair.flow = Flow::Pause;
    pair.says("<presence id='1'/><presence id='2'/>");
    assert_eq!(pair.heard.len(), 1);
    assert_eq!(pair.buffer, b"<presence id='2'/>");
    pair.says("");
    assert_eq!(pair.heard.len(), 2);
}

// RFC 6120 §4.4
#[test]
fn the_end_is_answered_with_the_end() {
    for mut pair in [Pair::opened(), Pair::authenticated(), Pair::bound()] {
        assert_eq!(pair.says("</stream:stream>"), "</stream:stream>");
        assert!(pair.is_closed());
        assert_eq!(pair.says("<message/>"), "");
    }
    let mut pair = Pair::bound();
    let error = "<stream:error><undefined-condition xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    assert_eq!(pair.says(error), "</stream:stream>");
    assert!(pair.is_closed());
}

#[test]
fn our_end_waits_a_while_for_theirs() {
    let mut pair = Pair::bound();
    assert!(pair.with(|stream, host, _, _| stream.end(host)).is_none());
    assert_eq!(pair.said(), "</stream:stream>");
    assert!(matches!(pair.stream.deadline(), Some((_, Deadline::Close))));
    // What was on its way still counts, and nothing is said any more.
    assert_eq!(pair.says("<message/>"), "");
    assert_eq!(pair.heard.len(), 1);
    assert_eq!(pair.says("</stream:stream>"), "");
    assert!(pair.is_closed());

    let mut pair = Pair::bound();
    pair.with(|stream, host, _, _| stream.end(host));
    pair.said();
    pair.now = pair.now + CLOSE_TIME_MAX;
    assert!(matches!(pair.with(|stream, host, _, _| stream.expired(host)), Some(Ask::Close)));
    assert_eq!(pair.said(), "");
}

// H01
#[test]
fn a_login_that_takes_too_long_is_ended_wherever_it_stands() {
    let starts: [fn() -> Pair; 4] = [Pair::plain, Pair::tls, Pair::opened, Pair::authenticated];
    for start in starts {
        let mut pair = start();
        let (at, why) = pair.stream.deadline().unwrap();
        assert_eq!((at, why), (Instant::START + pair.limits.login_time_max, Deadline::Login));
        assert!(pair.with(|stream, host, _, _| stream.expired(host)).is_none());
        pair.now = at;
        assert!(matches!(pair.with(|stream, host, _, _| stream.expired(host)), Some(Ask::Close)));
        assert!(pair.said().ends_with("</stream:error></stream:stream>"));
    }
    assert_eq!(Pair::bound().stream.deadline(), None);
}

#[test]
fn answers_that_come_too_late_change_nothing() {
    let mut pair = Pair::opened();
    let auth = plain_auth(TOKEN);
    let fed = pair.with(|stream, host, nodes, session| stream.feed(auth.as_bytes(), host, nodes, session));
    assert!(matches!(fed.ask, Some(Ask::Credentials(_))));
    // While it waits, nothing is read.
    let fed = pair.with(|stream, host, nodes, session| stream.feed(b"<presence/>", host, nodes, session));
    assert_eq!((fed.consumed, fed.ask.is_none()), (0, true));
    pair.with(|stream, host, _, _| stream.close(StreamCondition::SystemShutdown.into(), host));
    assert!(pair.said().contains("<system-shutdown "));
    assert!(pair.with(|stream, host, _, _| stream.answer(Reply::Secrets(None), host)).is_none());
    assert_eq!(pair.said(), "");
}

const OPEN: &str = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>";

#[test]
fn the_language_of_the_stream_is_kept() {
    let mut pair = Pair::plain();
    pair.says(&HEADER.replace("to=", "xml:lang='de' to="));
    assert_eq!(pair.stream.lang(), Some("de"));
    let mut pair = Pair::websocket();
    pair.messages(&OPEN.replace(" version", " xml:lang='de' version"));
    assert_eq!(pair.stream.lang(), Some("de"));
}
