use std::time::Duration;

use super::*;
use crate::component::Settings;
use crate::effect::{Note, SessionId};
use crate::ext::stage::{self, ADAM, BOB, EVE, SESSION, Stage};
use crate::jid::user::AppId;
use crate::limits::{PUSH_ANSWER_TIME_MAX, PUSH_NODES_MAX, PUSH_UNANSWERED_MAX};
use crate::stanza::{Kind, Leftover, Parcel, Sender};
use crate::xml::{Context, Limits};

/// Where the users' push service is.
const SERVICE: &str = "push.localhost";
const DESK: SessionId = SessionId(2);

fn enable_with(attributes: &str, inside: &str) -> String {
    format!("<iq type='set' id='1'><enable xmlns='urn:xmpp:push:0'{attributes}>{inside}</enable></iq>")
}

fn enable(node: &str) -> String {
    enable_with(&format!(" jid='{SERVICE}' node='{node}'"), "")
}

fn disable(attributes: &str) -> String {
    format!("<iq type='set' id='1'><disable xmlns='urn:xmpp:push:0'{attributes}/></iq>")
}

fn options(fields: &str) -> String {
    let kind = format!("<field var='FORM_TYPE'><value>{}</value></field>", ns::PUBSUB_PUBLISH_OPTIONS);
    format!("<x xmlns='jabber:x:data' type='submit'>{kind}{fields}</x>")
}

/// With a push service of Adam's and Bob's app, and one of Eve's.
fn new() -> Stage {
    let mut stage = Stage::new();
    let components = [(SERVICE, 1), ("strange.localhost", 2)];
    let components = components.map(|(domain, app)| Settings::new(domain, "a secret for tests", Some(&[AppId(app)])));
    stage.site.components = components.into();
    stage
}

/// Bob has named the node `a`, and is not here.
fn stage() -> Stage {
    let mut stage = named();
    stage.cut(BOB, SESSION, 0);
    stage
}

/// Bob has named the node `a`, and is connected without having said that he is here.
fn named() -> Stage {
    let mut stage = new();
    assert_eq!(stage.ask(BOB, &enable("a")), r#"<iq type="result" id="1" to="2-1@localhost/r"/>"#);
    stage
}

/// Bob has named the node `a`, and his client is online and can come back.
fn online() -> Stage {
    let mut stage = named();
    for stanza in ["<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<presence/>"] {
        stage.ask(BOB, stanza);
    }
    stage
}

const SAID: &str = "<message to='2-1@localhost' type='chat'><body>hi</body></message>";
const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const ACTIVE: &str = "<active xmlns='urn:xmpp:csi:0'/>";

/// The server crashes, and Adam comes back.
fn restart(stage: &mut Stage) {
    stage.restart();
    stage.connect(ADAM, SESSION, "r");
}

/// Adam says something to Bob; returns the nodes that hear of it.
fn said(stage: &mut Stage, message: &str) -> Vec<String> {
    stage.ask(ADAM, message);
    nodes(stage)
}

/// The nodes that were told of something.
fn nodes(stage: &mut Stage) -> Vec<String> {
    stage.sent_out().iter().map(|iq| value(iq, "<publish node=\"", "\"").to_owned()).collect()
}

/// What stands between two others.
fn value<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("{before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("{after} in {text}")).0
}

/// Something that a component says to Bob's account.
fn from(jid: &str, kind: Kind, stanza: &str) -> Note {
    let sender = Sender { jid: jid.into(), account: None };
    let mut nodes = Nodes::new();
    let message = nodes.reread(stanza.as_bytes()).expect("a stanza");
    let mut parcel = Parcel::new(sender, None, kind, stanza.to_owned().into());
    if let Kind::Message { kind, .. } = kind {
        parcel.look = CHAIN.look(kind, message);
    }
    Note::Stanza(parcel)
}

/// The service answers a notification.
fn answer(stage: &mut Stage, jid: &str, id: &str, error: Option<(&str, &str)>) {
    stage.hear(BOB, answered(jid, id, error));
}

fn answered(jid: &str, id: &str, error: Option<(&str, &str)>) -> Note {
    match error {
        None => from(jid, Kind::Iq(IqKind::Result), &format!("<iq type='result' id='{id}'/>")),
        Some((kind, condition)) => {
            let error = format!("<error type='{kind}'><{condition} xmlns='{}'/></error>", ns::STANZA_ERRORS);
            from(jid, Kind::Iq(IqKind::Error), &format!("<iq type='error' id='{id}'>{error}</iq>"))
        }
    }
}

fn id(iq: &str) -> String {
    value(iq, " id=\"", "\"").to_owned()
}

#[test]
fn a_service_is_on_disk_before_the_client_hears_that_it_is_enabled() {
    let mut stage = new();
    stage.ask(BOB, &enable("a"));
    assert_eq!(stage.log(), ["write push", "deliver 2-1"]);
    // Clients say it each time they come.
    stage.ask(BOB, &enable("a"));
    assert_eq!(stage.log(), ["deliver 2-1"]);
    let with = |secret: &str| {
        let fields = format!("<field var='secret'><value>{secret}</value></field>");
        enable_with(&format!(" jid='{SERVICE}' node='a'"), &options(&fields))
    };
    for secret in ["1", "2"] {
        stage.ask(BOB, &with(secret));
        assert_eq!(stage.log(), ["write push", "deliver 2-1"], "the last word counts");
    }
    stage.ask(BOB, &enable("b"));
    restart(&mut stage);
    stage.ask(ADAM, SAID);
    let sent = stage.sent_out();
    assert_eq!(sent.len(), 2);
    assert!(sent[0].contains("<value>2</value>") && !sent[0].contains("<value>1</value></field></x></publish"));
}

#[test]
fn what_is_enabled_can_be_disabled() {
    let at = |attributes: &str| disable(&format!(" jid='{SERVICE}'{attributes}"));
    for (disable, left) in [
        (at(""), vec![]),
        (at(" node='b'"), vec!["a", "c"]),
        (at(" node='d'"), vec!["a", "b", "c"]),
        (disable(" jid='other.localhost'"), vec!["a", "b", "c"]),
    ] {
        let mut stage = new();
        for node in ["a", "b", "c"] {
            stage.ask(BOB, &enable(node));
        }
        assert!(stage.ask(BOB, &disable).contains(r#"type="result""#), "{disable}");
        assert_eq!(said(&mut stage, SAID), left, "{disable}");
        restart(&mut stage);
        assert_eq!(said(&mut stage, SAID), left, "{disable}");
        assert_eq!(stage.rows_in("push"), usize::from(!left.is_empty()));
    }
}

#[test]
fn refuses_what_cannot_be_a_push_service() {
    let long = "n".repeat(PUSH_NODE_BYTES_MAX + 1);
    let much = options(&format!("<field var='a'><value>{}</value></field>", "v".repeat(PUSH_OPTIONS_BYTES_MAX)));
    let at = |jid: &str| enable_with(&format!(" jid='{jid}' node='a'"), "");
    let with = |inside: &str| enable_with(&format!(" jid='{SERVICE}' node='a'"), inside);
    let mut stage = new();
    for (iq, condition) in [
        (enable_with("", ""), "bad-request"),
        (enable_with(" jid='' node='a'", ""), "bad-request"),
        (enable_with(" node='a'", ""), "bad-request"),
        (disable(""), "bad-request"),
        (disable(" node='a'"), "bad-request"),
        (at("@"), "jid-malformed"),
        (disable(" jid='a@@b'"), "jid-malformed"),
        (at("push.example.com"), "remote-server-not-found"),
        // It serves another app.
        (at("strange.localhost"), "remote-server-not-found"),
        (at("127.0.0.1"), "remote-server-not-found"),
        (at("push.localhost.example"), "remote-server-not-found"),
        // Our own addresses, whether or not there is somebody.
        (at("localhost"), "item-not-found"),
        (at("localhost/x"), "item-not-found"),
        (at("2-1@localhost"), "item-not-found"),
        (at("1-1@localhost"), "item-not-found"),
        (at("1-1@localhost/r"), "item-not-found"),
        (at("77-1@localhost"), "item-not-found"),
        (at("1-2@localhost"), "item-not-found"),
        (at("muc.localhost"), "item-not-found"),
        (at("1_53aaa06f535c12cea9007496@muc.localhost"), "item-not-found"),
        (enable(&long), "not-acceptable"),
        (with(&much), "not-acceptable"),
        (with("<x xmlns='jabber:x:data' type='submit'/>"), "bad-request"),
        (with(&options("").replace("submit", "form")), "bad-request"),
        (with(&options("").replace("publish-options", "other")), "bad-request"),
        (with(&options("").repeat(2)), "bad-request"),
        // Somebody else's account.
        (enable("a").replace("<iq ", "<iq to='1-1@localhost' "), "service-unavailable"),
        (enable("a").replace("<iq ", "<iq to='77-1@localhost' "), "service-unavailable"),
        (enable("a").replace("<iq ", "<iq to='localhost' "), "service-unavailable"),
        (enable("a").replace("'set'", "'get'"), "bad-request"),
    ] {
        assert_eq!(stage::condition(&stage.ask(BOB, &iq)), condition, "{iq}");
    }
    assert_eq!(stage.rows_in("push"), 0);
}

#[test]
fn so_many_nodes_and_no_more() {
    let mut stage = new();
    for node in 0..PUSH_NODES_MAX {
        assert!(stage.ask(BOB, &enable(&node.to_string())).contains(r#"type="result""#));
    }
    assert_eq!(stage::condition(&stage.ask(BOB, &enable("one more"))), "resource-constraint");
    assert!(stage.ask(BOB, &enable("0")).contains(r#"type="result""#), "it is one of them");
    stage.ask(BOB, &disable(&format!(" jid='{SERVICE}' node='7'")));
    assert!(stage.ask(BOB, &enable("one more")).contains(r#"type="result""#));
    assert_eq!(said(&mut stage, SAID).len(), PUSH_NODES_MAX);
}

#[test]
fn services_go_with_the_account_and_with_the_password() {
    for end in [Stage::remove, Stage::change_password] {
        let mut stage = named();
        stage.ask(ADAM, &enable("a"));
        end(&mut stage, BOB);
        assert_eq!(stage.rows_in("push"), 1);
        assert_eq!(said(&mut stage, SAID), [""; 0]);
    }
}

#[test]
fn a_message_is_kept_before_the_service_is_told() {
    let mut stage = stage();
    stage.ask(ADAM, SAID);
    assert_eq!(stage.log()[..2], ["write offline", "send out"]);
    let sent = stage.sent_out().concat();
    assert_eq!(
        sent,
        format!(
            concat!(
                r#"<iq type="set" id="{}" from="2-1@localhost" to="push.localhost">"#,
                r#"<pubsub xmlns="http://jabber.org/protocol/pubsub"><publish node="a"><item>"#,
                r#"<notification xmlns="urn:xmpp:push:0"><x xmlns="jabber:x:data" type="submit">"#,
                r#"<field var="FORM_TYPE" type="hidden"><value>urn:xmpp:push:summary</value></field>"#,
                r#"<field var="message-count"><value>1</value></field>"#,
                r#"</x></notification></item></publish></pubsub></iq>"#
            ),
            id(&sent)
        )
    );
    stage.ask(ADAM, SAID);
    assert!(stage.sent_out().concat().contains("<value>2</value>"), "the second that waits");
}

#[test]
fn what_the_client_gave_goes_with_it() {
    let mut stage = new();
    let fields = "<field var='secret'><value>&lt;\"&amp;'</value></field>";
    let at = " jid='Push.Localhost/a b' node='&lt;/publish>&quot;&apos;'";
    assert!(stage.ask(BOB, &enable_with(at, &options(fields))).contains("result"));
    stage.ask(ADAM, SAID);
    let sent = stage.sent_out().concat();
    let mut nodes = Nodes::new();
    let iq = nodes.parse(sent.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("well-formed");
    assert_eq!(iq.attr("to").as_deref(), Some("push.localhost/a b"));
    let pubsub = iq.child("pubsub", ns::PUBSUB).expect("what is published");
    let publish = pubsub.child("publish", ns::PUBSUB).expect("where");
    assert_eq!(publish.attr("node").as_deref(), Some("</publish>\"'"));
    let options = pubsub.child("publish-options", ns::PUBSUB).expect("what the client gave");
    let fields = form::submitted(options, ns::PUBSUB_PUBLISH_OPTIONS).expect("a form");
    assert_eq!((fields[0].var.as_str(), fields[0].one()), ("secret", Ok("<\"&'")));
}

/// Q07: quotes, line ends, pictures, other directions, and much of them.
#[test]
fn texts_stay_within_bounds_and_within_their_element() {
    let mut stage = stage();
    stage.site.pushed = Included { sender: true, body: true };
    let later = |stage: &mut Stage| stage.now.instant = stage.now.instant + PUSH_ANSWER_TIME_MAX;
    let hostile = [
        "\"quotes\" 'and' %body% ${body} {0}",
        "two\nlines\tand more",
        "\u{1f469}\u{200d}\u{1f469}\u{200d}\u{1f467}",
        "\u{202e}dlrow olleh\u{202c}",
        "</value></field></x></notification><notification xmlns='urn:xmpp:push:0'/>",
        &"&".repeat(40_000),
        &"\u{1f600}".repeat(25_000),
        &format!("{}\u{1f600}", "x".repeat(PUSH_BODY_BYTES_MAX - 1)),
    ];
    for text in hostile {
        let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
        stage.ask(ADAM, &SAID.replace("hi", &escaped).replace("<message", "<message id='1'"));
        let sent = stage.sent_out().concat();
        assert!(sent.len() < 4096, "{} bytes", sent.len());
        let mut nodes = Nodes::new();
        let iq = nodes.parse(sent.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect("well-formed");
        let item = iq.child("pubsub", ns::PUBSUB).and_then(|pubsub| pubsub.first_child()?.first_child());
        let item = item.expect("an item");
        assert_eq!(item.children().count(), 1);
        let notification = item.child("notification", ns::PUSH).expect("a notification");
        let fields = form::submitted(notification, ns::PUSH_SUMMARY).expect("a form");
        let of = |name: &str| fields.iter().find(|field| field.var == name).map(|field| field.one().expect("a value"));
        assert_eq!(of("last-message-sender"), Some("1-1@localhost/r"));
        let body = of("last-message-body").expect("the text");
        later(&mut stage);
        assert!(text.starts_with(body) && (body.len() == text.len() || body.len() + 4 > PUSH_BODY_BYTES_MAX), "{text}");
    }
    for included in
        [Included { sender: true, body: false }, Included { sender: false, body: true }, Included::default()]
    {
        stage.site.pushed = included;
        stage.ask(ADAM, SAID);
        let sent = stage.sent_out().concat();
        assert_eq!((sent.contains("1-1@localhost"), sent.contains(">hi<")), (included.sender, included.body));
    }
}

#[test]
fn only_what_the_user_would_want_to_see_is_news() {
    let chat = |inside: &str| format!("<message type='chat' from='1-1@localhost/r'>{inside}</message>");
    let room = |inside: &str| format!("<message type='groupchat' from='1_5@muc.localhost/1'>{inside}</message>");
    let hint = |name: &str| format!("<{name} xmlns='urn:xmpp:hints'/>");
    let body = "<body>x</body>";
    let saved = "<extraParams><save_to_history>1</save_to_history><attachment type='image' id='1'/></extraParams>";
    let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
    let omemo = |inside: &str| format!("<encrypted xmlns='eu.siacs.conversations.axolotl'>{inside}</encrypted>");
    for (stanza, expected) in [
        (chat(body), true),
        (chat(body).replace(" type='chat'", ""), true),
        (chat(""), false),
        (chat("<body/>"), false),
        (chat("<body> \n</body>"), false),
        (chat(&format!("{body}{}", hint("no-store"))), false),
        (chat("<composing xmlns='http://jabber.org/protocol/chatstates'/>"), false),
        (chat(&format!("<active xmlns='http://jabber.org/protocol/chatstates'/>{body}")), true),
        (chat(&format!("{marker}{}", hint("store"))), false),
        (chat(&format!("<received xmlns='urn:xmpp:receipts' id='1'/>{}", hint("store"))), false),
        (chat(saved), true),
        (chat(&format!("{saved}{marker}")), false),
        (chat(&saved.replace("save_to_history", "other")), false),
        (chat(&format!("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>{}", hint("store"))), true),
        (chat("<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>"), false),
        (chat(&omemo("<header/><payload/>")), true),
        (chat(&omemo("<header/>")), false),
        (chat("<x xmlns='jabber:x:conference' jid='1_5@muc.localhost'/>"), true),
        (chat("<x xmlns='http://jabber.org/protocol/muc#user'><invite from='1-1@localhost'/></x>"), true),
        (chat("<x xmlns='http://jabber.org/protocol/muc#user'/>"), false),
        (
            chat(
                "<sent xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message><body>x</body></message></forwarded></sent>",
            ),
            false,
        ),
        (chat(body).replace("1-1@localhost/r", "2-1@localhost/other"), false),
        (chat(body).replace("1-1@localhost/r", "2-1@localhost"), false),
        (chat(body).replace("chat", "headline"), false),
        (chat(body).replace("chat", "error"), false),
        (room(body), true),
        (room(body).replace("muc.localhost/1", "muc.localhost/2"), false),
        (room("<subject>x</subject>"), false),
        (room(&format!("{body}<subject>x</subject>")), false),
        (room(&format!("{body}<delay xmlns='urn:xmpp:delay' stamp='2002-09-10T23:08:25Z'/>")), false),
        (
            "<iq type='set' from='1-1@localhost/r'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'/></iq>"
                .to_owned(),
            true,
        ),
        (
            "<iq type='set' from='1-1@localhost/r'><jingle xmlns='urn:xmpp:jingle:1' action='transport-info'/></iq>"
                .to_owned(),
            false,
        ),
        ("<iq type='get' from='1-1@localhost/r'><ping xmlns='urn:xmpp:ping'/></iq>".to_owned(), false),
        ("<presence from='1-1@localhost/r'><body>x</body></presence>".to_owned(), false),
    ] {
        assert_eq!(is_news(stanza.as_bytes(), "2-1@localhost", UserId(2)), expected, "{stanza}");
    }
}

#[test]
fn every_node_hears_of_a_message_that_waits_and_nobody_of_one_that_does_not() {
    let mut stage = named();
    stage.ask(BOB, &enable("b"));
    stage.cut(BOB, SESSION, 0);
    assert_eq!(said(&mut stage, SAID), ["a", "b"]);
    assert_eq!(said(&mut stage, &SAID.replace("localhost'", "localhost/gone'")), ["a", "b"]);
    for silent in [
        SAID.replace("'chat'", "'headline'"),
        SAID.replace("<body>hi</body>", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
        SAID.replace("</message>", "<no-store xmlns='urn:xmpp:hints'/></message>"),
        SAID.replace("2-1@", "77-1@"),
    ] {
        assert_eq!(said(&mut stage, &silent), [""; 0], "{silent}");
    }
    // Bob to himself, and somebody of another app.
    stage.connect(BOB, DESK, "desk");
    stage.ask_by(BOB, DESK, SAID);
    stage.ask(EVE, SAID);
    assert_eq!(nodes(&mut stage), [""; 0]);
}

#[test]
fn who_is_blocked_wakes_nobody() {
    let mut stage = named();
    let block = "<iq type='set' id='2'><block xmlns='urn:xmpp:blocking'><item jid='1-1@localhost'/></block></iq>";
    assert!(stage.ask(BOB, block).contains("result"));
    stage.cut(BOB, SESSION, 0);
    assert_eq!(said(&mut stage, SAID), [""; 0]);
}

#[test]
fn what_somebody_looks_at_is_not_told() {
    let mut stage = online();
    assert_eq!(said(&mut stage, SAID), [""; 0]);
    assert_eq!(said(&mut stage, &SAID.replace("localhost'", "localhost/r'")), [""; 0]);
    // Also with another client that is away.
    stage.connect(BOB, DESK, "desk");
    stage.ask_by(BOB, DESK, "<presence/>");
    stage.takes_all(BOB, SESSION);
    stage.cut(BOB, SESSION, 2);
    assert_eq!(said(&mut stage, SAID), [""; 0]);
    // One that is for the client that is away nobody looks at.
    assert_eq!(said(&mut stage, &SAID.replace("localhost'", "localhost/r'")), ["a"]);
}

#[test]
fn an_inactive_client_is_woken_once() {
    let mut stage = online();
    stage.connect(BOB, DESK, "desk");
    stage.ask_by(BOB, DESK, &enable("desk"));
    stage.ask_by(BOB, DESK, "<presence/>");
    stage.ask(BOB, INACTIVE);
    assert_eq!(said(&mut stage, SAID), [""; 0], "at the desk it shows");
    stage.ask_by(BOB, DESK, INACTIVE);
    assert_eq!(said(&mut stage, SAID), ["a", "desk"]);
    assert_eq!(said(&mut stage, SAID), [""; 0]);
    assert_eq!(said(&mut stage, &SAID.replace("localhost'", "localhost/r'")), [""; 0]);
    // The desk has been looked at meanwhile.
    stage.ask_by(BOB, DESK, ACTIVE);
    stage.ask_by(BOB, DESK, INACTIVE);
    assert_eq!(said(&mut stage, SAID), ["desk"]);
    // A client that is gone is woken by each that comes then.
    stage.cut(BOB, SESSION, 0);
    assert_eq!(nodes(&mut stage), [""; 0]);
    assert_eq!(said(&mut stage, SAID), ["a"]);
    assert_eq!(said(&mut stage, SAID), ["a"]);
}

#[test]
fn a_client_that_was_cut_off_is_woken_once_for_each_message() {
    let mut stage = online();
    // It was given one, and never took it.
    assert_eq!(said(&mut stage, SAID), [""; 0]);
    stage.cut(BOB, SESSION, 0);
    assert_eq!(nodes(&mut stage), ["a"]);
    assert_eq!(said(&mut stage, SAID), ["a"]);
    assert_eq!(said(&mut stage, &SAID.replace("localhost'", "localhost/r'")), ["a"]);
    // It comes back and goes again, twice; all of it is given to it anew, and told of no more.
    for _ in 0..2 {
        stage.resume(BOB, SESSION, 0);
        stage.cut(BOB, SESSION, 0);
        assert_eq!(nodes(&mut stage), [""; 0]);
    }
    // It does not come back: what it lacked waits.
    stage.now.instant = stage.now.instant + Duration::from_secs(301);
    stage.hear(BOB, Note::Expired(SESSION));
    assert_eq!((nodes(&mut stage), stage.rows_in("offline")), (vec![], 3));
    // The next one gets it, and is cut off before it takes it.
    for round in 0..3 {
        let session = SessionId(10 + round);
        stage.connect(BOB, session, "next");
        stage.ask_by(BOB, session, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
        stage.ask_by(BOB, session, "<presence/>");
        stage.cut(BOB, session, 0);
        assert_eq!(nodes(&mut stage), [""; 0]);
        if round == 1 {
            restart(&mut stage);
        }
    }
    assert_eq!(said(&mut stage, SAID), ["a"]);
}

#[test]
fn what_comes_behind_others_is_told_of_when_the_session_ends_without_it() {
    let direct = SAID.replace("localhost'", "localhost/desk'");
    for message in [SAID, &direct] {
        for takes_all in [true, false] {
            let mut stage = stage();
            assert_eq!(said(&mut stage, SAID), ["a"]);
            stage.stalled = true;
            stage.connect(BOB, DESK, "desk");
            stage.ask_by(BOB, DESK, "<presence/>");
            assert_eq!(said(&mut stage, message), [""; 0], "it is being given what waits");
            if takes_all {
                stage.flush();
                stage.takes_all(BOB, DESK);
            }
            stage.cut(BOB, DESK, 0);
            assert_eq!(nodes(&mut stage).len(), usize::from(!takes_all), "{message}");
            assert_eq!(stage.rows_in("offline"), if takes_all { 0 } else { 2 });
        }
    }
}

#[test]
fn messages_of_one_that_cannot_come_back_are_told_of_when_they_wait() {
    let mut stage = named();
    stage.ask(BOB, "<presence/>");
    for _ in 0..3 {
        assert_eq!(said(&mut stage, SAID), [""; 0]);
    }
    stage.cut(BOB, SESSION, 0);
    let sent = stage.sent_out();
    assert_eq!(sent.len(), 1, "one for all of them");
    assert!(sent[0].contains("<value>3</value>"), "{}", sent[0]);
}

#[test]
fn what_went_to_another_client_after_all_is_told_of_once() {
    let mut stage = online();
    stage.connect(BOB, DESK, "desk");
    stage.ask_by(BOB, DESK, "<presence/>");
    stage.cut(BOB, SESSION, 0);
    assert_eq!(said(&mut stage, &SAID.replace("localhost'", "localhost/r'")), ["a"]);
    stage.now.instant = stage.now.instant + Duration::from_secs(301);
    stage.hear(BOB, Note::Expired(SESSION));
    stage.cut(BOB, DESK, 0);
    assert_eq!((nodes(&mut stage), stage.rows_in("offline")), (vec![], 1));
}

#[test]
fn rooms_and_calls_wake_a_client_that_is_away_once() {
    let room = "<message type='groupchat' from='1_5@muc.localhost/1'><body>x</body></message>";
    let call = "<iq type='set' id='7' from='1-1@localhost/r'><jingle xmlns='urn:xmpp:jingle:1' action='session-initiate'/></iq>";
    let late = |stanza: &str| Note::Late(SESSION, Leftover::Stanza(stanza.to_owned().into()));
    let mut stage = online();
    stage.ask(BOB, INACTIVE);
    for expected in [1, 0] {
        stage.hear(BOB, late(room));
        assert_eq!(nodes(&mut stage).len(), expected);
    }
    stage.ask(BOB, ACTIVE);
    stage.hear(BOB, late(room));
    assert_eq!(nodes(&mut stage), [""; 0]);
    stage.cut(BOB, SESSION, 0);
    for stanza in [room, call, room] {
        stage.hear(BOB, late(stanza));
        assert_eq!(nodes(&mut stage), ["a"]);
    }
    // Given again, and the connection was gone already; one of them is new.
    stage.resume(BOB, SESSION, 0);
    stage.hear(BOB, Note::CutAgain(SESSION, 0));
    for (stanza, expected) in [(room, 0), (call, 0), (room, 0), (room, 1)] {
        stage.hear(BOB, late(stanza));
        assert_eq!(nodes(&mut stage).len(), expected, "{stanza}");
    }
}

#[test]
fn an_error_is_the_end_of_a_node_unless_it_passes() {
    for (error, left) in [
        (None, true),
        (Some(("wait", "resource-constraint")), true),
        (Some(("wait", "recipient-unavailable")), true),
        (Some(("cancel", "item-not-found")), false),
        (Some(("auth", "forbidden")), false),
        (Some(("modify", "bad-request")), false),
        (Some(("", "gone")), false),
    ] {
        let mut stage = named();
        stage.ask(BOB, &enable("b"));
        stage.cut(BOB, SESSION, 0);
        stage.ask(ADAM, SAID);
        let first = id(&stage.sent_out()[0]);
        answer(&mut stage, SERVICE, &first, error);
        let expected: &[&str] = if left { &["a", "b"] } else { &["b"] };
        assert_eq!(said(&mut stage, SAID), expected, "{error:?}");
        restart(&mut stage);
        assert_eq!(said(&mut stage, SAID), expected, "{error:?}");
    }
}

#[test]
fn nobody_else_can_end_a_node() {
    let mut stage = stage();
    stage.ask(ADAM, SAID);
    let told = id(&stage.sent_out()[0]);
    let gone = Some(("cancel", "item-not-found"));
    for (jid, id) in [
        ("other.localhost", told.as_str()),
        ("push.localhost/other", &told),
        ("x@push.localhost", &told),
        ("localhost", &told),
        (SERVICE, "push-1-1"),
        (SERVICE, "push-99999999999999999999-1"),
        (SERVICE, "push-"),
        (SERVICE, "1"),
        (SERVICE, ""),
    ] {
        answer(&mut stage, jid, id, gone);
    }
    // What is about a service of that name that was another one.
    stage.connect(BOB, DESK, "desk");
    stage.ask_by(BOB, DESK, &disable(&format!(" jid='{SERVICE}'")));
    stage.ask_by(BOB, DESK, &enable("a"));
    answer(&mut stage, SERVICE, &told, None);
    // A user cannot say such a thing: an iq to a bare address is no answer.
    stage.ask(ADAM, &format!("<iq type='error' id='{told}' to='2-1@localhost'/>"));
    assert_eq!(said(&mut stage, SAID), ["a"]);
}

#[test]
fn an_account_that_nobody_uses_hears_of_the_end_and_of_nothing_else() {
    let mut stage = stage();
    stage.ask(ADAM, SAID);
    let told = id(&stage.sent_out()[0]);
    assert!(!stage.hear_absent(BOB, answered(SERVICE, &told, None)));
    assert!(!stage.hear_absent(BOB, answered(SERVICE, &told, Some(("wait", "resource-constraint")))));
    assert!(!stage.hear_absent(BOB, answered(SERVICE, "x", Some(("cancel", "gone")))));
    assert!(stage.hear_absent(BOB, answered(SERVICE, &told, Some(("cancel", "gone")))));
    assert_eq!((said(&mut stage, SAID), stage.rows_in("push")), (vec![], 0));
}

#[test]
fn a_service_that_does_not_answer_is_told_no_more_for_a_while() {
    let mut stage = stage();
    let most = usize::from(PUSH_UNANSWERED_MAX);
    for number in 0..most + 5 {
        assert_eq!(said(&mut stage, SAID).len(), usize::from(number < most));
    }
    // It answers: what it has not heard of it hears at once, in one.
    stage.ask(BOB, "<a/>");
    stage.now.instant = stage.now.instant + PUSH_ANSWER_TIME_MAX;
    stage.ask(ADAM, SAID);
    let last = stage.sent_out().concat();
    assert!(last.contains(&format!("<value>{}</value>", most + 6)), "{last}");
    for _ in 0..most {
        stage.ask(ADAM, SAID);
    }
    assert_eq!(nodes(&mut stage).len(), most - 1);
    answer(&mut stage, SERVICE, &id(&last), None);
    assert_eq!(nodes(&mut stage), ["a"]);
    // Answers that nobody waits for change nothing.
    for _ in 0..300 {
        answer(&mut stage, SERVICE, &id(&last), None);
    }
    assert_eq!(nodes(&mut stage), [""; 0]);
    for number in 0..most + 1 {
        assert_eq!(said(&mut stage, SAID).len(), usize::from(number < most));
    }
}

/// §8
#[test]
fn a_service_can_end_it_by_itself() {
    let word = |node: &str, jid: &str, affiliation: &str| {
        let affiliation = format!("<affiliation jid='{jid}' affiliation='{affiliation}'/>");
        format!(
            "<message><pubsub xmlns='http://jabber.org/protocol/pubsub' node='{node}'>{affiliation}</pubsub></message>"
        )
    };
    for (service, word, left) in [
        (SERVICE, word("a", "2-1@localhost", "none"), 1),
        (SERVICE, word("a", "2-1@localhost", "outcast"), 1),
        (SERVICE, word("a", "2-1@localhost", "publish-only"), 2),
        (SERVICE, word("a", "1-1@localhost", "none"), 2),
        (SERVICE, word("c", "2-1@localhost", "none"), 2),
        ("other.localhost", word("a", "2-1@localhost", "none"), 2),
    ] {
        let mut stage = named();
        stage.ask(BOB, &enable("b"));
        stage.cut(BOB, SESSION, 0);
        let kind = Kind::Message { kind: MessageKind::Normal, lasting: true };
        stage.hear(BOB, from(service, kind, &word));
        assert_eq!(stage.rows_in("offline"), usize::from(left == 2), "what it is for us nobody else sees: {word}");
        stage.sent_out();
        assert_eq!(said(&mut stage, SAID).len(), left, "{word}");
    }
    // Not a user.
    let mut stage = stage();
    stage.ask(ADAM, &word("a", "2-1@localhost", "none").replace("<message", "<message to='2-1@localhost'"));
    assert_eq!(said(&mut stage, SAID), ["a"]);
}

#[test]
fn a_service_that_the_app_has_lost_is_told_nothing() {
    let mut stage = stage();
    let components = std::mem::replace(&mut stage.site.components, [].into());
    assert_eq!(said(&mut stage, SAID), [""; 0]);
    stage.site.components = components;
    assert_eq!(said(&mut stage, SAID), ["a"]);
}

#[test]
fn the_account_says_that_it_can() {
    let mut stage = new();
    for to in ["", " to='2-1@localhost'"] {
        let iq = format!("<iq type='get' id='1'{to}><query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
        assert!(stage.ask(BOB, &iq).contains(r#"<feature var="urn:xmpp:push:0"/>"#), "{to}");
    }
}

#[test]
fn a_user_without_a_service_has_nothing_of_it() {
    let mut stage = new();
    stage.cut(BOB, SESSION, 0);
    assert_eq!(said(&mut stage, SAID), [""; 0]);
    assert_eq!(stage.log(), ["write offline"]);
}

/// Whatever becomes of connections, no message wakes anybody twice.
#[test]
fn by_chance() {
    let mut all = 0;
    for seed in 1..=400_u64 {
        let mut stage = new();
        stage.site.pushed.body = true;
        let mut dice = seed;
        let mut roll = move |sides: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % sides
        };
        stage.ask(BOB, &enable("a"));
        stage.cut(BOB, SESSION, 0);
        // By place: the session there, and whether its client is away.
        let mut places: [Option<(SessionId, bool)>; 2] = [None, None];
        let (mut last, mut acts, mut told) = (10, Vec::new(), Vec::new());
        for message in 0..40 {
            stage.now.instant = stage.now.instant + Duration::from_secs(100);
            let at = roll(2) as usize;
            let name = ["phone", "desk"][at];
            let act = roll(9);
            acts.push((act, name));
            match (act, places[at]) {
                (0..=2, _) => {
                    let to = if act == 2 { format!("localhost/{name}'") } else { "localhost'".to_owned() };
                    stage.ask(ADAM, &SAID.replace("localhost'", &to).replace("hi", &format!("m{message}")));
                }
                (3 | 4, None) => {
                    last += 1;
                    let session = SessionId(last);
                    stage.connect(BOB, session, name);
                    if act == 3 {
                        stage.ask_by(BOB, session, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
                    }
                    stage.ask_by(BOB, session, "<presence/>");
                    stage.ask_by(BOB, session, &enable("a"));
                    places[at] = Some((session, false));
                }
                (3 | 4, Some((session, true))) => {
                    let is_away = !stage.try_resume(BOB, session);
                    places[at] = Some((session, is_away));
                }
                (5, Some((session, false))) => {
                    stage.cut(BOB, session, 0);
                    places[at] = stage.has_session(BOB, session).then_some((session, true));
                }
                (6, Some((session, true))) => {
                    stage.hear(BOB, Note::Expired(session));
                    places[at] = stage.has_session(BOB, session).then_some((session, true));
                }
                (6, Some((session, false))) => stage.takes_all(BOB, session),
                (7, Some((session, false))) => {
                    let state = if roll(2) == 0 { INACTIVE } else { ACTIVE };
                    stage.ask_by(BOB, session, state);
                }
                (8, _) if roll(4) == 0 => {
                    restart(&mut stage);
                    places = [None, None];
                }
                (8, _) if stage.stalled => stage.flush(),
                (8, _) => stage.stalled = true,
                _ => {}
            }
            told.extend(stage.sent_out().iter().map(|iq| value(iq, "-body\"><value>", "<").to_owned()));
        }
        let twice = told.iter().enumerate().find(|(at, body)| told[..*at].contains(body));
        assert_eq!(twice, None, "seed {seed}: {acts:?}");
        all += told.len();
    }
    assert!(all > 1_000, "{all} notifications show little");
}
