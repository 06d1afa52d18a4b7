use bytes::Bytes;
use proptest::prelude::*;

use super::stream::{Ask, Host, digest_of};
use super::*;
use crate::effect::{Effect, Effects, Random, Site};
use crate::jid::user::UserId;
use crate::owner::AccountId;
use crate::owner::Owner;
use crate::stanza::Receipt;
use crate::stream::Flow;
use crate::time::{Instant, Now};
use crate::xml::Context;

const DOMAIN: &str = "echo.localhost";
const SECRET: &str = "what components know";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
                      xmlns:stream='http://etherx.jabber.org/streams' to='echo.localhost'>";

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0);
        self.0 = self.0.wrapping_add(1);
    }
}

fn site() -> Site {
    let components = [(DOMAIN, None), ("mantua.localhost", Some(&[AppId(2)][..]))];
    Site {
        components: components.map(|(domain, apps)| Settings::new(domain, SECRET, apps)).into(),
        ..Site::of("localhost")
    }
}

/// A component's end of a stream.
struct Peer {
    stream: Stream,
    site: Site,
    random: Counting,
    now: Instant,
    /// What the server has said.
    said: String,
    /// The stanzas that passed, as the server reads them.
    passed: Vec<String>,
    ask: Option<Ask>,
}

impl Peer {
    fn new() -> Peer {
        let site = site();
        let stream = Stream::new(Instant::START, &site.limits);
        let (said, passed) = (String::new(), Vec::new());
        Peer { stream, site, random: Counting(1), now: Instant::START, said, passed, ask: None }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut Stream, &mut Host<'_>) -> T) -> T {
        let mut out = Vec::new();
        let mut host = Host { now: self.now, site: &self.site, random: &mut self.random, out: &mut out };
        let result = act(&mut self.stream, &mut host);
        self.said.push_str(std::str::from_utf8(&out).unwrap());
        result
    }

    /// Feeds bytes and returns how many were used.
    fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut passed = Vec::new();
        let fed = self.with(|stream, host| {
            stream.feed(bytes, host, &mut Nodes::new(), &mut |element| {
                let mut out = Vec::new();
                crate::xml::splice::forward(element, &[], |_| {}, &mut out);
                passed.push(String::from_utf8(out).unwrap());
                Flow::Continue
            })
        });
        self.passed.extend(passed);
        self.ask = fed.ask.or(self.ask);
        fed.consumed
    }

    fn id(&self) -> String {
        self.said.split_once(" id=\"").unwrap().1.split('"').next().unwrap().to_owned()
    }

    fn connected() -> Peer {
        let mut peer = Peer::new();
        peer.feed(HEADER.as_bytes());
        let handshake = format!("<handshake>{}</handshake>", digest_of(&peer.id(), SECRET));
        peer.feed(handshake.as_bytes());
        assert_eq!(peer.ask.take(), Some(Ask::Connect(ComponentId::of(DOMAIN))));
        assert_eq!(peer.with(|stream, host| stream.connected(true, host)), None);
        assert!(peer.said.ends_with("<handshake/>"), "{}", peer.said);
        peer.said.clear();
        peer
    }

    /// Has ended with this stream error, after a header and before the end.
    fn has_ended_with(&self, condition: &str) -> bool {
        self.ask == Some(Ask::Close)
            && self.stream.is_closed()
            && self.said.contains(&format!("<stream:error><{condition} xmlns="))
            && self.said.ends_with("</stream:error></stream:stream>")
    }
}

#[test]
fn a_handshake_is_the_hash_of_id_and_secret() {
    // `printf 3BF96D32test | sha1sum`; the id is that of XEP-0114 §3, whose secret is not told.
    assert_eq!(digest_of("3BF96D32", "test"), "aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e");
}

#[test]
fn a_component_connects() {
    let mut peer = Peer::new();
    assert!(peer.stream.deadline().is_some() && peer.stream.component().is_none());
    peer.feed(HEADER.as_bytes());
    let header = "<?xml version=\"1.0\"?><stream:stream xmlns=\"jabber:component:accept\" \
                  xmlns:stream=\"http://etherx.jabber.org/streams\" id=\"01010101010101010101010101010101\" from=\"echo.localhost\">";
    assert_eq!(peer.said, header);
    // With a stanza behind it that has to wait until the component is there.
    let handshake = format!("<handshake>{}</handshake>", digest_of(&peer.id(), SECRET));
    let more = "<message from='a@echo.localhost' to='1-7@localhost'><body>x</body></message>";
    let used = peer.feed(format!("{handshake}{more}").as_bytes());
    assert_eq!(used, handshake.len());
    assert_eq!(peer.feed(more.as_bytes()), 0, "nothing is taken while an answer is due");
    assert!(peer.stream.waits_for_host() && peer.passed.is_empty());
    peer.with(|stream, host| stream.connected(true, host));
    assert_eq!(peer.stream.deadline(), None);
    assert_eq!(peer.feed(more.as_bytes()), more.len());
    assert_eq!(peer.passed, ["<message from='a@echo.localhost' to='1-7@localhost'><body>x</body></message>"]);
    peer.said.clear();
    peer.feed(b"</stream:stream>");
    assert_eq!((&*peer.said, peer.ask), ("</stream:stream>", Some(Ask::Close)));
}

#[test]
fn a_second_connection_is_in_conflict() {
    let mut peer = Peer::new();
    peer.feed(HEADER.as_bytes());
    let handshake = format!("<handshake>{}</handshake>", digest_of(&peer.id(), SECRET));
    peer.feed(handshake.as_bytes());
    peer.ask = peer.with(|stream, host| stream.connected(false, host));
    assert!(peer.has_ended_with("conflict"), "{}", peer.said);
}

#[test]
fn headers_that_are_not_a_components_are_refused() {
    for (from, to, condition) in [
        ("jabber:component:accept", "jabber:client", "invalid-namespace"),
        ("jabber:component:accept", "jabber:component:connect", "invalid-namespace"),
        ("http://etherx.jabber.org/streams", "urn:x", "invalid-namespace"),
        (" to='echo.localhost'", "", "host-unknown"),
        ("to='echo.localhost'", "to='localhost'", "host-unknown"),
        ("to='echo.localhost'", "to='a@echo.localhost'", "host-unknown"),
        ("to='echo.localhost'", "to='a.echo.localhost'", "host-unknown"),
        ("stream:stream xmlns=", "x:stream xmlns:x='http://etherx.jabber.org/streams' xmlns=", "bad-namespace-prefix"),
        ("<?xml version='1.0'?>", "<!DOCTYPE a [<!ENTITY b 'b'>]>", "restricted-xml"),
        ("<?xml version='1.0'?>", "<?xml version='1.0' encoding='ISO-8859-1'?>", "unsupported-encoding"),
    ] {
        assert!(HEADER.contains(from), "{from}");
        let mut peer = Peer::new();
        peer.feed(HEADER.replacen(from, to, 1).as_bytes());
        assert!(peer.has_ended_with(condition), "{from} -> {to}: {}", peer.said);
        assert!(peer.said.starts_with("<?xml version=\"1.0\"?><stream:stream "), "{}", peer.said);
    }
}

type Show = fn(&Peer, String) -> String;

#[test]
fn whoever_does_not_know_the_secret_stays_outside() {
    let right = |peer: &Peer| digest_of(&peer.id(), SECRET);
    let shown: [(&str, Show); 7] = [
        ("nothing", |_, _| String::new()),
        ("another secret", |peer, _| digest_of(&peer.id(), "what nobody knows")),
        ("upper case", |_, right| right.to_uppercase()),
        ("a part of it", |_, right| right[..39].to_owned()),
        ("more than it", |_, right| right + "0"),
        ("that of another stream", |_, _| digest_of("02020202020202020202020202020202", SECRET)),
        ("the secret itself", |_, _| SECRET.to_owned()),
    ];
    for (what, show) in shown {
        let mut peer = Peer::new();
        peer.feed(HEADER.as_bytes());
        let handshake = show(&peer, right(&peer));
        peer.feed(format!("<handshake>{handshake}</handshake>").as_bytes());
        assert!(peer.has_ended_with("not-authorized") && peer.stream.has_failed(), "{what}: {}", peer.said);
    }
    // A handshake is good for one stream.
    let mut first = Peer::new();
    first.feed(HEADER.as_bytes());
    let replayed = format!("<handshake>{}</handshake>", right(&first));
    let mut second = Peer::new();
    second.random = Counting(9);
    second.feed(HEADER.as_bytes());
    second.feed(replayed.as_bytes());
    assert!(second.has_ended_with("not-authorized"));
}

#[test]
fn nothing_passes_before_the_handshake() {
    for element in [
        "<message from='a@echo.localhost' to='1-7@localhost'/>",
        "<iq from='a@echo.localhost' to='1-7@localhost' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>",
        "<handshake xmlns='urn:x'/>",
    ] {
        let mut peer = Peer::new();
        peer.feed(HEADER.as_bytes());
        peer.feed(element.as_bytes());
        assert!(peer.has_ended_with("not-authorized") && peer.passed.is_empty(), "{element}: {}", peer.said);
    }
}

#[test]
fn strangers_cannot_make_the_server_hold_much() {
    let mut peer = Peer::new();
    peer.feed(HEADER.as_bytes());
    peer.feed(b"<handshake>");
    for _ in 0..100 {
        peer.feed(&[b'0'; 1024]);
    }
    assert!(peer.has_ended_with("policy-violation"), "{}", peer.said);
    for attack in [
        "<a>".repeat(200_000),
        format!("<handshake {}/>", "a='' ".repeat(30_000)),
        "<!-- -->".to_owned(),
        "<?php ?>".to_owned(),
    ] {
        let mut peer = Peer::new();
        peer.feed(HEADER.as_bytes());
        peer.feed(attack.as_bytes());
        assert!(peer.stream.is_closed() && peer.said.contains("<stream:error>"), "{}", &attack[..9]);
    }
    let mut peer = Peer::new();
    peer.now = Instant::START + peer.site.limits.login_time_max;
    peer.ask = peer.with(Stream::expired);
    assert!(peer.has_ended_with("connection-timeout"), "{}", peer.said);
}

#[test]
fn a_connected_component_keeps_to_the_rules_of_xml() {
    for attack in ["<!DOCTYPE a>", "<message>&b;</message>", "<a></b>", "<a:b/>", "<message a='1' a='2'/>", "<!-- -->"]
    {
        let mut peer = Peer::connected();
        peer.feed(attack.as_bytes());
        assert!(peer.stream.is_closed() && peer.passed.is_empty() && peer.said.contains("<stream:error>"), "{attack}");
    }
    let mut peer = Peer::connected();
    let body = "x".repeat(peer.site.limits.stanza_bytes_max);
    peer.feed(format!("<message><body>{body}").as_bytes());
    assert!(peer.has_ended_with("policy-violation"));
}

/// What is said in the component's namespace is read in the clients', and what clients would read in theirs is said in it.
#[test]
fn the_two_content_namespaces_mean_the_same() {
    for (sent, read) in [
        ("<message><body>x</body></message>", "<message><body>x</body></message>"),
        ("<message xmlns='jabber:component:accept'><body>x</body></message>", "<message><body>x</body></message>"),
        (
            "<c:message xmlns:c='jabber:component:accept'><c:body>x</c:body></c:message>",
            "<message xmlns:c=\"jabber:client\"><body>x</body></message>",
        ),
        ("<message><x xmlns='urn:x'><y/></x></message>", "<message><x xmlns='urn:x'><y/></x></message>"),
        (
            "<message><f xmlns='urn:f'><message xmlns='jabber:component:accept'/><message xmlns='jabber:client'/></f></message>",
            "<message><f xmlns='urn:f'><message xmlns='jabber:client'/><message xmlns='jabber:client'/></f></message>",
        ),
    ] {
        let mut peer = Peer::connected();
        peer.feed(sent.as_bytes());
        assert_eq!(peer.passed, [read], "{sent}: {}", peer.said);
    }
    for (said, sent) in [
        ("<message><body>x</body></message>", "<message><body>x</body></message>"),
        ("<message><body>jabber:client</body></message>", "<message><body>jabber:client</body></message>"),
        (
            "<message><extraParams xmlns=\"jabber:client\"><a xmlns='jabber:client'/></extraParams></message>",
            "<message><extraParams xmlns=\"jabber:component:accept\"><a xmlns='jabber:component:accept'/></extraParams></message>",
        ),
        (
            "<message><f xmlns='urn:f'><message xmlns='jabber:client'/></f></message>",
            "<message><f xmlns='urn:f'><message xmlns='jabber:client'/></f></message>",
        ),
        (
            "<message><x xmlns='urn:x' a='jabber:client'/></message>",
            "<message><x xmlns='urn:x' a='jabber:client'/></message>",
        ),
    ] {
        let mut out = Vec::new();
        frame_element(said.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), sent);
    }
}

proptest! {
    /// Whatever comes, and wherever it is cut, what is said can be read and nothing passes without a handshake.
    #[test]
    fn no_conversation_breaks_a_promise(pieces in proptest::collection::vec(0usize..10, 0..12), cut in 1usize..40) {
        let mut peer = Peer::new();
        let mut proven = false;
        for piece in pieces {
            let text = match piece {
                0 | 1 => HEADER.to_owned(),
                2 if peer.said.contains(" id=") => format!("<handshake>{}</handshake>", digest_of(&peer.id(), SECRET)),
                3 => "<message from='a@echo.localhost' to='b@localhost'/>".to_owned(),
                4 => "<handshake>0</handshake>".to_owned(),
                5 => "</stream:stream>".to_owned(),
                6 => "<stream:error/>".to_owned(),
                7 => "<c:iq xmlns:c='jabber:component:accept'>".to_owned(),
                8 => " \n".to_owned(),
                _ => "</c:iq>".to_owned(),
            };
            for part in text.as_bytes().chunks(cut) {
                peer.feed(part);
                if let Some(Ask::Connect(_)) = peer.ask {
                    proven = true;
                    peer.ask = peer.with(|stream, host| stream.connected(true, host));
                }
            }
            prop_assert!(proven || peer.passed.is_empty());
            if peer.stream.is_closed() {
                prop_assert!(peer.said.ends_with("</stream:stream>"), "{}", peer.said);
                prop_assert_eq!(peer.stream.deadline(), None);
                let said = peer.said.clone();
                peer.feed(b"<message/>");
                prop_assert_eq!(said, peer.said.clone(), "nothing is said after the end");
            }
        }
    }
}

fn with_turn<T>(act: impl FnOnce(&mut Turn<'_>) -> T) -> (T, Vec<Effect>) {
    let (site, mut random, mut out) = (site(), Counting(0), Effects::new());
    let mut turn = Turn { now: Now::default(), site: &site, random: &mut random, out: &mut out };
    let result = act(&mut turn);
    (result, out.drain().collect())
}

fn user(app: u32) -> AccountId {
    AccountId { app: AppId(app), user: UserId(1) }
}

fn parcel(kind: Kind, stanza: &'static str) -> Parcel {
    let from = Sender { jid: "1-7@localhost/r".into(), account: Some(user(7)) };
    let receipt = Some(Receipt { account: user(7), session: SessionId(3), seq: 5 });
    Parcel { receipt, ..Parcel::new(from, None, kind, Bytes::from_static(stanza.as_bytes())) }
}

const CHAT: Kind = Kind::Message { kind: MessageKind::Chat, lasting: true };
const MESSAGE: &str = "<message from='1-7@localhost/r' to='a@echo.localhost' id='1'><body>x</body></message>";

#[test]
fn what_finds_nobody_goes_back_and_is_taken_care_of() {
    let component = Component::new(ComponentId::of(DOMAIN));
    let ((), effects) = with_turn(|turn| component.takes(&parcel(CHAT, MESSAGE), turn));
    let [Effect::Send(to, Note::Stanza(error)), Effect::Send(waits, Note::Handled { session, seq })] = &effects[..]
    else {
        panic!("{effects:?}")
    };
    assert_eq!((*to, *waits, session.0, *seq), (Owner::Account(user(7)), Owner::Account(user(7)), 3, 5));
    assert_eq!((error.resource.as_deref(), &*error.from.jid), (Some("r"), "a@echo.localhost"));
    assert!(std::str::from_utf8(&error.stanza).unwrap().contains("<remote-server-timeout "), "{:?}", error.stanza);
    // What nobody waits for is only taken care of.
    let unavailable = Kind::Presence { kind: PresenceKind::Unavailable, directed: true };
    let shown = Kind::Presence { kind: PresenceKind::Available, directed: false };
    for kind in [unavailable, shown, Kind::Iq(IqKind::Result), Kind::Iq(IqKind::Error)] {
        let ((), effects) = with_turn(|turn| component.takes(&parcel(kind, "<presence from='x' to='y'/>"), turn));
        assert!(matches!(effects[..], [Effect::Send(_, Note::Handled { .. })]), "{kind:?}: {effects:?}");
    }
}

#[test]
fn what_was_not_sent_goes_back_when_the_connection_ends() {
    let mut component = Component::new(ComponentId::of(DOMAIN));
    assert!(component.connect(SessionId(1)) && !component.connect(SessionId(2)));
    let ((), effects) = with_turn(|turn| component.takes(&parcel(CHAT, MESSAGE), turn));
    assert!(matches!(effects[..], [Effect::Deliver(SessionId(1), _), Effect::Send(_, Note::Handled { .. })]));
    let stanza = |text: &'static str| Leftover::Stanza(Bytes::from_static(text.as_bytes()));
    let waiting = vec![
        stanza(MESSAGE),
        stanza("<iq from='1-7@localhost/r' to='echo.localhost' type='get' id='2'><x xmlns='urn:x'/></iq>"),
        stanza("<iq from='b@mantua.localhost' to='echo.localhost' type='set' id='3'><x xmlns='urn:x'/></iq>"),
        stanza("<iq from='1-7@localhost' to='echo.localhost' type='get' id='4'><x xmlns='urn:x'/></iq>"),
        stanza("<iq from='1-7@localhost/r' to='echo.localhost' type='result' id='5'/>"),
        stanza("<presence from='1-7@localhost/r' to='echo.localhost'/>"),
        stanza("<message from='1-7@localhost/r' to='echo.localhost' type='error'/>"),
        // The server's own.
        stanza("<iq from='localhost' to='echo.localhost' type='result' id='6'/>"),
    ];
    let remains = Remains { waiting, ..Remains::default() };
    let ((), effects) = with_turn(|turn| component.detach(SessionId(1), remains, turn));
    let sent: Vec<(Owner, Option<&str>)> = effects
        .iter()
        .map(|effect| match effect {
            Effect::Send(to, Note::Stanza(parcel)) => (*to, parcel.resource.as_deref()),
            other => panic!("{other:?}"),
        })
        .collect();
    let account = Owner::Account(user(7));
    let other = Owner::Component(ComponentId::of("mantua.localhost"));
    assert_eq!(sent, [(account, Some("r")), (account, Some("r")), (other, None), (account, None)]);
    assert!(component.session().is_none() && component.connect(SessionId(4)));
    // That of a connection that is not this one's changes nothing.
    with_turn(|turn| component.detach(SessionId(1), Remains::default(), turn));
    assert_eq!(component.session(), Some(SessionId(4)));
}

fn sends(domain: &str, stanza: &str) -> (Result<(), crate::error::StreamError>, Vec<Effect>) {
    let mut component = Component::new(ComponentId::of(domain));
    component.connect(SessionId(1));
    let mut nodes = Nodes::new();
    let element = nodes.parse(stanza.as_bytes(), &Context::CLIENT, &crate::xml::Limits::STANZA).unwrap();
    with_turn(|turn| component.stanza(element, turn))
}

#[test]
fn a_component_speaks_for_its_own_domain_and_says_to_whom() {
    for (stanza, condition) in [
        ("<message to='1-7@localhost'/>", "invalid-from"),
        ("<message from='' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='@' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='1-7@localhost/r' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='localhost' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='mantua.localhost' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='a@b.echo.localhost' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='echo.localhost@localhost' to='1-7@localhost'/>", "invalid-from"),
        ("<message from='a@echo.localhost'/>", "improper-addressing"),
        ("<message from='a@echo.localhost' to=''/>", "improper-addressing"),
        ("<handshake/>", "unsupported-stanza-type"),
        ("<message xmlns='urn:x' from='a@echo.localhost' to='1-7@localhost'/>", "unsupported-stanza-type"),
        ("<r xmlns='urn:xmpp:sm:3'/>", "unsupported-stanza-type"),
    ] {
        let (result, effects) = sends(DOMAIN, stanza);
        assert_eq!(result.map_err(|error| error.condition.as_str()), Err(condition), "{stanza}");
        assert!(effects.is_empty(), "{stanza}");
    }
    let (result, _) = sends("gone.localhost", "<message from='gone.localhost' to='1-7@localhost'/>");
    assert_eq!(result.map_err(|error| error.condition.as_str()), Err("host-gone"));
}

/// What only this server may say, it does not let a component say.
#[test]
fn a_component_does_not_say_what_the_server_says() {
    let forged = "<message from='a@echo.localhost' to='1-7@localhost' type='chat'><body>x</body>\
                  <stanza-id xmlns='urn:xmpp:sid:0' by='1-7@localhost' id='1'/>\
                  <delay xmlns='urn:xmpp:delay' from='localhost' stamp='2002-09-10T23:08:25Z'/>\
                  <delay xmlns='urn:xmpp:delay' from='echo.localhost' stamp='2002-09-10T23:08:25Z'/></message>";
    let (result, effects) = sends(DOMAIN, forged);
    assert!(result.is_ok());
    let [Effect::Send(_, Note::Stanza(parcel))] = &effects[..] else { panic!("{effects:?}") };
    let text = std::str::from_utf8(&parcel.stanza).unwrap();
    assert!(
        !text.contains("stanza-id") && text.matches("<delay").count() == 1 && text.contains("from='echo.localhost'"),
        "{text}"
    );
}

#[test]
fn the_users_of_other_apps_are_nobody() {
    let message = "<message from='mantua.localhost' to='1-7@localhost' type='chat'><body>x</body></message>";
    assert!(sends("mantua.localhost", message).1.is_empty());
    let subscribe = "<presence from='mantua.localhost' to='1-7@localhost' type='subscribe'/>";
    assert!(sends("mantua.localhost", subscribe).1.is_empty());
    let iq = "<iq from='mantua.localhost' to='1-7@localhost/r' type='get' id='1'><x xmlns='urn:x'/></iq>";
    let (_, effects) = sends("mantua.localhost", iq);
    let [Effect::Deliver(_, error)] = &effects[..] else { panic!("{effects:?}") };
    assert!(std::str::from_utf8(error).unwrap().contains("<service-unavailable "), "{error:?}");
    let own = "<message from='mantua.localhost' to='1-2@localhost' type='chat'><body>x</body></message>";
    assert!(matches!(sends("mantua.localhost", own).1[..], [Effect::Send(Owner::Account(_), Note::Stanza(_))]));
}
