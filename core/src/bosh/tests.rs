//! A client with two connections against a session, with and without a stream behind it.

use super::*;
use crate::effect::{Random, Site};
use crate::error::StreamCondition;
use crate::limits::Limits;
use crate::sasl::{Credentials, ITERATIONS};
use crate::stream::{Ask, Feature, Features, Flow, Host, Reply, Secrets, Security, Stream, Terms, Transport};
use crate::xml::Nodes;

struct Zeros;

impl Random for Zeros {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

const FIRST: &str = "<body rid='100' to='localhost' hold='1' wait='60' ver='1.6' xml:lang='en' content='text/html' \
    xmpp:version='1.0' xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'/>";

fn parse(body: &str) -> Result<Request, Terminal> {
    Request::parse(body.as_bytes(), &Limits::default(), &mut Nodes::new())
}

fn begin(first: &str) -> Result<Session, Terminal> {
    Session::open(Instant::START, RequestId(100), parse(first)?, "sid", &Domain::parse("localhost").unwrap())
}

fn with_rid(rid: u64, rest: &str) -> String {
    if rest.starts_with('<') {
        format!("<body rid='{rid}' sid='sid' xmlns='http://jabber.org/protocol/httpbind'>{rest}</body>")
    } else {
        format!("<body rid='{rid}' sid='sid' {rest} xmlns='http://jabber.org/protocol/httpbind'/>")
    }
}

/// A session, its clock, and what was answered.
struct Client {
    session: Session,
    now: Instant,
}

impl Client {
    fn begin(first: &str) -> Client {
        let mut client = Client { session: begin(first).unwrap(), now: Instant::START };
        client.session.push(b"<features/>");
        let answers = client.polls();
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].0, 100);
        client
    }

    fn new() -> Client {
        Client::begin(FIRST)
    }

    fn sends(&mut self, id: u64, rid: u64, rest: &str) -> Vec<(u64, String)> {
        let request = parse(&with_rid(rid, rest)).unwrap();
        assert_eq!(request.sid(), Some("sid"));
        self.session.request(self.now, RequestId(id), request);
        self.polls()
    }

    fn polls(&mut self) -> Vec<(u64, String)> {
        std::iter::from_fn(|| self.session.poll(self.now))
            .map(|answer| (answer.request.0, String::from_utf8(answer.body.to_vec()).unwrap()))
            .collect()
    }

    fn waits(&mut self, seconds: u64) -> Vec<(u64, String)> {
        self.now = self.now + Duration::from_secs(seconds);
        self.polls()
    }

    fn messages(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.message()).map(|m| String::from_utf8(m.into()).unwrap()).collect()
    }
}

const EMPTY: &str = "<body xmlns=\"http://jabber.org/protocol/httpbind\"/>";

fn terminal(condition: &str) -> String {
    format!("<body xmlns=\"http://jabber.org/protocol/httpbind\" type=\"terminate\" condition=\"{condition}\"/>")
}

#[test]
fn the_first_answer_says_what_was_agreed() {
    let mut client = Client { session: begin(FIRST).unwrap(), now: Instant::START };
    assert_eq!(
        client.messages(),
        ["<open xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" to=\"localhost\" version=\"1.0\" xml:lang=\"en\"/>"]
    );
    assert!(client.polls().is_empty());
    client.session.push(b"<features/>");
    let answers = client.polls();
    assert_eq!(
        answers[0].1,
        "<body xmlns=\"http://jabber.org/protocol/httpbind\" xmlns:xmpp=\"urn:xmpp:xbosh\" \
         xmlns:stream=\"http://etherx.jabber.org/streams\" sid=\"sid\" from=\"localhost\" wait=\"60\" hold=\"1\" requests=\"2\" \
         inactivity=\"60\" polling=\"5\" maxpause=\"120\" ver=\"1.6\" xmpp:version=\"1.0\" xmpp:restartlogic=\"true\">\
         <features/></body>"
    );
}

#[test]
fn sessions_are_refused_for_what_is_wrong_with_their_first_request() {
    for (first, condition) in [
        (FIRST.replace(" rid='100'", ""), "bad-request"),
        (FIRST.replace("'100'", "'-1'"), "bad-request"),
        (FIRST.replace("'100'", "'0'"), "bad-request"),
        (FIRST.replace("'100'", "'9007199254740992'"), "bad-request"),
        (FIRST.replace("'60'", "'soon'"), "bad-request"),
        (FIRST.replace("hold='1'", "hold='+1'"), "bad-request"),
        (FIRST.replace("'1.6'", "'new'"), "bad-request"),
        (FIRST.replace(" to='localhost'", ""), "improper-addressing"),
        (FIRST.replace("'localhost'", "'elsewhere.example'"), "host-unknown"),
        (FIRST.replace("<body", "<html"), "bad-request"),
        (FIRST.replace("protocol/httpbind", "protocol/other"), "bad-request"),
        (FIRST.replace("hold=", "type='terminate' hold="), "bad-request"),
        (FIRST.replace("/>", ">"), "bad-request"),
        // H04: two bodies in one request
        (format!("{FIRST}{FIRST}"), "bad-request"),
        ("<!DOCTYPE a>".to_owned(), "bad-request"),
        (String::new(), "bad-request"),
        (FIRST.replace("/>", "><a xmlns='u'><b></a></body>"), "bad-request"),
        (FIRST.replace("/>", &format!(">{}{}</body>", "<a>".repeat(100), "</a>".repeat(100))), "policy-violation"),
    ] {
        let cause = begin(&first).err().unwrap_or_else(|| panic!("{first}"));
        assert_eq!(cause.as_str(), condition, "{first}");
        assert!(
            cause
                .body()
                .starts_with(b"<body xmlns=\"http://jabber.org/protocol/httpbind\" type=\"terminate\" condition=")
        );
    }
}

// H04: hold=1000, wait=10^9
#[test]
fn wishes_are_cut_to_what_is_allowed() {
    let session = begin(&FIRST.replace("'60'", "'1000000000'").replace("hold='1'", "hold='1000'")).unwrap();
    assert_eq!((session.wait, session.hold), (Duration::from_secs(WAIT_SECS_MAX), HOLD_MAX as usize));
    let session = begin(&FIRST.replace("'1.6'", "'1.99'")).unwrap();
    assert_eq!(session.ver, VERSION);
}

#[test]
fn a_request_is_held_until_there_is_something_to_say() {
    let mut client = Client::new();
    assert!(client.sends(1, 101, "").is_empty());
    assert!(client.waits(59).is_empty());
    assert_eq!(client.session.deadline(), Some((Instant::START + Duration::from_secs(60), Deadline::Wait)));
    client.session.push(b"<message/>");
    client.session.push(b"<presence/>");
    assert_eq!(client.polls(), [(1, EMPTY.replace("/>", "><message/><presence/></body>"))]);
}

#[test]
fn a_held_request_is_answered_with_nothing_in_the_end() {
    let mut client = Client::new();
    client.sends(1, 101, "");
    assert_eq!(client.waits(60), [(1, EMPTY.to_owned())]);
    assert_eq!(client.waits(0), []);
}

#[test]
fn a_second_request_sends_the_first_home() {
    let mut client = Client::new();
    client.messages();
    client.sends(1, 101, "");
    assert_eq!(client.sends(2, 102, "<iq xmlns='jabber:client' type='get'/>"), [(1, EMPTY.to_owned())]);
    assert_eq!(client.messages(), ["<iq xmlns='jabber:client' type='get'/>"]);
}

#[test]
fn requests_take_their_turn_by_rid() {
    let mut client = Client::new();
    client.messages();
    assert!(client.sends(2, 102, "<b xmlns='x'/>").is_empty());
    assert!(client.messages().is_empty());
    client.session.push(b"<message/>");
    assert!(client.polls().is_empty());
    let answers = client.sends(1, 101, "<a xmlns='x'/>");
    assert_eq!(client.messages(), ["<a xmlns='x'/>", "<b xmlns='x'/>"]);
    assert_eq!(answers, [(1, EMPTY.replace("/>", "><message/></body>"))]);
}

// H04: rid far ahead, going back
#[test]
fn a_rid_outside_of_the_window_ends_the_session() {
    for rid in [99, 103, 9_007_199_254_740_991] {
        let mut client = Client::new();
        assert_eq!(client.sends(1, rid, ""), [(1, terminal("item-not-found"))], "{rid}");
        assert!(client.session.is_over());
        assert_eq!(client.sends(2, 101, ""), [(2, terminal("item-not-found"))]);
    }
}

// XEP-0124 §14.3
#[test]
fn a_lost_answer_is_given_again() {
    let mut client = Client::new();
    client.session.push(b"<message/>");
    let first = client.sends(1, 101, "");
    assert_eq!(client.sends(7, 101, "")[0], (7, first[0].1.clone()));
    // A request that still waits moves to its new connection.
    client.sends(2, 102, "");
    assert_eq!(client.sends(3, 102, ""), [(2, EMPTY.replace("/>", " type=\"error\"/>"))]);
    client.session.push(b"<presence/>");
    assert_eq!(client.polls()[0].0, 3);
    // Only so many are kept.
    assert_eq!(client.sends(9, 100, ""), [(9, terminal("item-not-found"))]);
}

#[test]
fn asking_for_the_same_answer_for_ever_ends_the_session() {
    let mut client = Client::new();
    client.session.push(b"<message/>");
    client.sends(1, 101, "");
    for id in 0..u64::from(REPLAYS_MAX) {
        assert_eq!(client.sends(id, 101, "").len(), 1);
    }
    assert_eq!(client.sends(99, 101, ""), [(99, terminal("policy-violation"))]);
    assert!(client.session.is_over());
}

#[test]
fn a_connection_that_breaks_loses_nothing() {
    let mut client = Client::new();
    client.sends(1, 101, "");
    client.session.dropped(client.now, RequestId(1));
    client.session.push(b"<message/>");
    assert!(client.polls().is_empty());
    assert_eq!(client.sends(2, 102, "")[0], (2, EMPTY.replace("/>", "><message/></body>")));
    assert_eq!(client.sends(3, 101, "")[0], (3, EMPTY.to_owned()));
}

// XEP-0124 §11
#[test]
fn empty_requests_in_a_hurry_end_the_session() {
    let mut client = Client::new();
    client.sends(1, 101, "");
    assert_eq!(client.sends(2, 102, ""), [(2, terminal("policy-violation")), (1, terminal("policy-violation"))]);
    assert!(client.session.is_over());

    let mut client = Client::new();
    client.sends(1, 101, "");
    client.waits(5);
    assert_eq!(client.sends(2, 102, ""), [(1, EMPTY.to_owned())]);
}

// XEP-0124 §12
#[test]
fn a_client_that_polls_is_answered_at_once_and_must_not_hurry() {
    let mut client = Client::begin(&FIRST.replace("hold='1'", "hold='0'"));
    assert_eq!(client.sends(1, 101, ""), [(1, EMPTY.to_owned())]);
    client.waits(5);
    assert_eq!(client.sends(2, 102, ""), [(2, EMPTY.to_owned())]);
    assert_eq!(client.sends(3, 103, ""), [(3, terminal("policy-violation"))]);
}

// XEP-0124 §10
#[test]
fn a_pause_returns_all_requests_and_makes_room_for_silence() {
    let mut client = Client::new();
    client.sends(1, 101, "");
    client.session.push(b"");
    client.polls();
    client.sends(2, 102, "");
    assert_eq!(client.sends(3, 103, "pause='120'"), [(2, EMPTY.to_owned()), (3, EMPTY.to_owned())]);
    client.session.push(b"<message/>");
    assert!(client.waits(119).is_empty());
    assert!(!client.session.is_over());
    assert_eq!(client.sends(4, 104, "").len(), 1);
    // From then on as before.
    assert!(client.waits(60).is_empty());
    assert!(client.session.is_over());
    assert_eq!(client.session.deadline(), None);

    let mut client = Client::new();
    assert_eq!(client.sends(1, 101, "pause='121'"), [(1, terminal("policy-violation"))]);
}

#[test]
fn silence_ends_the_session() {
    let mut client = Client::new();
    assert_eq!(client.session.deadline(), Some((Instant::START + Duration::from_secs(60), Deadline::Inactivity)));
    client.waits(60);
    assert!(client.session.is_over());
}

#[test]
fn a_session_that_ends_in_silence_answers_what_came_before_its_turn() {
    let mut client = Client::new();
    assert!(client.sends(1, 102, "").is_empty());
    assert_eq!(client.waits(INACTIVITY_SECS_MAX), [(1, terminal("item-not-found"))]);
    assert!(client.session.is_over());
    // The same where the stream ended first.
    let mut client = Client::new();
    client.sends(1, 102, "");
    client.session.end();
    assert_eq!(client.waits(INACTIVITY_SECS_MAX), [(1, terminal("item-not-found"))]);
    assert!(client.session.is_over());
}

#[test]
fn what_a_silent_client_did_not_get_is_handed_back() {
    let left = |client: &mut Client| {
        client.session.undelivered().map(|e| String::from_utf8(e.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let mut client = Client::new();
    client.sends(1, 101, "");
    client.session.push(b"<message id='1'/>");
    client.polls();
    client.sends(2, 102, "");
    // The first has arrived, or there would be no second request. The second is lost with the client.
    client.session.push(b"<message id='2'/>");
    assert_eq!(client.polls().len(), 1);
    client.session.push(b"<message id='3'/>");
    client.waits(60);
    assert!(client.session.is_over());
    assert_eq!(left(&mut client), ["<message id='2'/>", "<message id='3'/>"]);

    // A client that takes its leave has had everything that fits into the last answer.
    let mut client = Client::new();
    client.session.push(b"<message id='1'/>");
    client.session.request(client.now, RequestId(1), parse(&with_rid(101, "type='terminate'")).unwrap());
    client.session.end();
    client.polls();
    assert!(client.session.is_over());
    assert!(left(&mut client).is_empty());
}

// XEP-0124 §13
#[test]
fn a_client_that_leaves_is_told_goodbye_on_its_oldest_request() {
    let mut client = Client::new();
    client.messages();
    client.sends(1, 101, "");
    let request = "<body rid='102' sid='sid' type='terminate' xmlns='http://jabber.org/protocol/httpbind'>\
                   <presence type='unavailable' xmlns='jabber:client'/></body>";
    client.session.request(client.now, RequestId(2), parse(request).unwrap());
    assert_eq!(
        client.messages(),
        [
            "<presence type='unavailable' xmlns='jabber:client'/>",
            "<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\"/>"
        ]
    );
    client.session.end();
    assert_eq!(client.polls(), [(1, EMPTY.replace("/>", " type=\"terminate\"/>")), (2, EMPTY.to_owned())]);
    assert!(client.session.is_over());
}

#[test]
fn old_clients_may_leave_out_the_namespace_of_stanzas() {
    let mut client = Client::new();
    client.messages();
    client.sends(1, 101, "<message to='a@b'><body>x</body></message>");
    assert_eq!(client.messages(), ["<message xmlns=\"jabber:client\" to='a@b'><body>x</body></message>"]);
}

#[test]
fn a_forgotten_namespace_leaves_prefixes_alone() {
    let body =
        FIRST.replace("/>", " xmlns:p='urn:p'><message p:a='1'><p:x/></message><iq xmlns:q='urn:q'><q:x/></iq></body>");
    let mut client = Client { session: begin(&body).unwrap(), now: Instant::START };
    let messages = client.messages();
    let expected = [
        "<message xmlns=\"jabber:client\" xmlns:p=\"urn:p\" p:a='1'><p:x/></message>",
        "<iq xmlns=\"jabber:client\" xmlns:q='urn:q'><q:x/></iq>",
    ];
    assert_eq!(messages[1..], expected);
}

#[test]
fn prefixes_of_the_body_go_with_the_elements() {
    let mut client = Client::new();
    client.messages();
    let request = "<body rid='101' sid='sid' xmlns='http://jabber.org/protocol/httpbind' xmlns:q='urn:q'>\
                   <iq xmlns='jabber:client'><q:x/></iq></body>";
    client.session.request(client.now, RequestId(1), parse(request).unwrap());
    let message = client.messages().remove(0);
    let mut nodes = Nodes::new();
    let context = crate::xml::Context::ALONE;
    let iq = nodes.parse(message.as_bytes(), &context, &crate::xml::Limits::STANZA).unwrap();
    assert!(iq.is("iq", "jabber:client") && iq.child("x", "urn:q").is_some());
}

#[test]
fn long_output_is_spread_over_several_answers() {
    let mut client = Client::new();
    let element = vec![b' '; ANSWER_BYTES_MAX / 2 + 1];
    for _ in 0..3 {
        client.session.push(&element);
    }
    for (id, rid) in [(1, 101), (2, 102), (3, 103)] {
        let answers = client.sends(id, rid, "");
        assert_eq!(answers[0].0, id);
        assert!(answers[0].1.len() < ANSWER_BYTES_MAX);
    }
    assert_eq!(client.session.pending_bytes(), 0);
}

#[test]
fn what_waits_for_the_stream_is_bounded() {
    let mut client = Client::new();
    let big = format!("<iq xmlns='jabber:client'>{}</iq>", "x".repeat(900_000));
    client.sends(1, 101, &big);
    client.sends(2, 102, &big);
    let answers = client.sends(3, 103, &big);
    assert!(answers.contains(&(3, terminal("policy-violation"))), "{}", answers.len());
    assert!(client.session.is_over() && client.messages().is_empty());
}

/// The whole way: session, login, restart, bind, message, goodbye.
#[test]
fn a_client_logs_in_through_requests() {
    let domain = Domain::parse("localhost").unwrap();
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
    let mut nodes = Nodes::new();
    let mut out = Outgoing::new();
    let mut random = Zeros;
    let mut heard = Vec::new();
    let security = Security::Tls(Box::default());
    let mut stream = Stream::new(Instant::START, Transport::Bosh, security, &limits);
    let mut client = Client { session: begin(FIRST).unwrap(), now: Instant::START };
    let mut run = |client: &mut Client| {
        while let Some(message) = client.session.message() {
            let mut host = Host { now: client.now, terms: &terms, random: &mut random, out: &mut out };
            let mut ask = stream
                .feed(&message, &mut host, &mut nodes, &mut |element, out| {
                    heard.push(element.name().to_owned());
                    out.deliver(Transport::Bosh, b"<message from='2-7@localhost'><body>hi</body></message>");
                    Flow::Continue
                })
                .ask;
            while let Some(asked) = ask {
                let reply = match asked {
                    Ask::StartTls => unreachable!("there is none over BOSH"),
                    Ask::Credentials(_) => Reply::Secrets(Some(Secrets {
                        credentials: Credentials::new("secret", [0; 16], ITERATIONS),
                        tokens: Vec::new(),
                        version: 1,
                    })),
                    Ask::CheckPassword(check) => Reply::PasswordIs(check.run()),
                    Ask::Move(_) => Reply::Moved,
                    Ask::Bind { jid, .. } => Reply::Bound(jid),
                    Ask::Resume { .. } => unreachable!("there is none over BOSH"),
                    Ask::Tokens(..) | Ask::Enter(..) => unreachable!("the client logs in the old way"),
                    Ask::Close => {
                        client.session.end();
                        break;
                    }
                };
                ask = stream.answer(reply, &mut host);
            }
            client.session.take(host.out);
            host.out.clear();
        }
        client.polls()
    };
    let mut send = |client: &mut Client, rid: u64, body: &str| {
        client.session.request(client.now, RequestId(rid), parse(body).unwrap());
        run(client)
    };

    let first =
        with_rid(101, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>ADEtNwBzZWNyZXQ=</auth>");
    let answers = send(&mut client, 101, &first);
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(
        answers[0].1.contains("<stream:features xmlns:stream=\"http://etherx.jabber.org/streams\"><mechanisms"),
        "{answers:?}"
    );
    assert!(answers[0].1.contains("<success "));
    let restart = "xmpp:restart='true' to='localhost' xmlns:xmpp='urn:xmpp:xbosh'";
    let answers = send(&mut client, 102, &with_rid(102, restart));
    assert!(answers[0].1.contains("<bind xmlns="), "{answers:?}");
    let bind = "<iq xmlns='jabber:client' type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>";
    let answers = send(&mut client, 103, &with_rid(103, bind));
    assert!(answers.last().unwrap().1.contains("<iq xmlns=\"jabber:client\" type=\"result\" id=\"1\">"), "{answers:?}");
    assert!(answers.last().unwrap().1.contains("<jid>1-7@localhost/r</jid>"));
    let answers = send(&mut client, 104, &with_rid(104, "<presence xmlns='jabber:client'/>"));
    assert!(
        answers.last().unwrap().1.contains("<message xmlns=\"jabber:client\" from='2-7@localhost'>"),
        "{answers:?}"
    );
    let answers = send(&mut client, 105, &with_rid(105, "<bogus xmlns='jabber:client'/>"));
    let last = &answers[0].1;
    assert!(
        last.contains(" type=\"terminate\" condition=\"remote-stream-error\"><stream:error xmlns:stream="),
        "{last}"
    );
    assert!(last.contains(StreamCondition::UnsupportedStanzaType.as_str()));
    assert!(client.session.is_over());
    assert_eq!(heard, ["presence"]);
}
