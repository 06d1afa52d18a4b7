//! What clients that are no SDKs expect of rooms, and what the SDKs must not get of it.

use super::*;

const ROOM: &str = "7_53aaa06f535c12cea9007496@muc.localhost";

impl House {
    /// Gives the room an iq and returns its answer.
    pub(super) fn asks(&mut self, user: u64, session: u64, nick: Option<&str>, kind: IqKind, payload: &str) -> String {
        let attribute = if kind == IqKind::Get { "get" } else { "set" };
        self.visit(user, session, nick, Kind::Iq(kind), &format!("<iq type='{attribute}' id='q'>{payload}</iq>"));
        let heard = self.heard(session);
        let answer = heard.iter().position(|stanza| stanza.starts_with("<iq")).expect("every request is answered");
        let mut heard = heard;
        let answer = heard.remove(answer);
        self.said.extend(heard.into_iter().map(|stanza| (session, stanza)));
        answer
    }

    pub(super) fn body(&mut self, user: u64, session: u64, children: &str) {
        self.groupchat(user, session, &format!("<message id='m' type='groupchat'>{children}</message>"));
    }

    fn rename(&mut self, name: &str) {
        let change = Change { name: Some(name.into()), ..Change::default() };
        self.ask(Command::Update { by: UserId(1), change });
    }
}

// XEP-0421 §4
#[test]
fn everybodys_words_show_whose_they_are() {
    let mut house = House::group(3);
    for user in 1..=2 {
        house.enter(user, user * 11);
    }
    let entered = house.heard(22);
    assert!(entered[0].contains(&house.occupant(1)) && entered[1].contains(&house.occupant(2)), "{entered:?}");
    house.said.clear();
    let forged = house.occupant(2);
    house.body(1, 11, &format!("<body>live</body>{forged}<occupant-id xmlns='urn:xmpp:occupant-id:0' id='x'/>"));
    house.body(1, 11, &format!("<body>kept</body>{forged}{SAVED}"));
    house.body(1, 11, &format!("<subject>mine</subject>{forged}"));
    house.visit(1, 11, Some("2"), CHAT, &format!("<message type='chat'><body>psst</body>{forged}</message>"));
    house.visit(1, 11, Some("1"), PRESENCE, &format!("<presence><show>away</show>{forged}</presence>"));
    house.visit(1, 11, Some("1"), GONE, &format!("<presence type='unavailable'>{forged}</presence>"));
    let heard = house.heard(22);
    assert_eq!(heard.len(), 6);
    for stanza in heard {
        assert!(stanza.contains(&house.occupant(1)), "{stanza}");
        assert_eq!(stanza.matches("<occupant-id").count(), 1, "{stanza}");
    }
    // One who enters later is told the same, also of a message that was kept before there were ids.
    let (order, row) = house.messages().pop().expect("one was kept");
    let dialog::Body::Stanza(stanza) = &row.body else { panic!("as it came") };
    let old = String::from_utf8(stanza.clone()).unwrap().replace(&house.occupant(1), "");
    let mut batch = Batch::default();
    MessageRow { body: dialog::Body::Stanza(old.into()), ..row }.put(&mut batch, APP, house.id, order);
    house.commit(batch);
    house.visit(3, 33, Some("3"), PRESENCE, "<presence><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    let heard = house.heard(33);
    let of_one: Vec<_> = heard.iter().filter(|stanza| stanza.contains("<delay")).collect();
    assert_eq!(of_one.len(), 2, "{heard:?}");
    assert!(of_one.iter().all(|stanza| stanza.matches(&house.occupant(1)).count() == 1), "{heard:?}");
    let archive = house.asks(3, 33, None, IqKind::Set, "<query xmlns='urn:xmpp:mam:2'/>");
    assert!(archive.contains("<fin"), "{archive}");
    let heard = house.heard(33).concat();
    assert_eq!(heard.matches("<occupant-id").count(), 1, "{heard}");
    assert!(heard.contains(&house.occupant(1)), "{heard}");
}

#[test]
fn occupants_ids_say_nothing_of_who_it_is_and_differ_from_room_to_room() {
    let site = Site::of("localhost");
    let (one, two) = (GROUP.parse().unwrap(), "53aaa06f535c12cea9007497".parse().unwrap());
    let mut ids = BTreeSet::new();
    for app in [7, 8] {
        for dialog in [one, two] {
            for user in 1..=20 {
                let id = site.occupants.id(AppId(app), dialog, UserId(user));
                assert_eq!(id, site.occupants.id(AppId(app), dialog, UserId(user)));
                assert!(id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
                assert!(ids.insert(id));
            }
        }
    }
    assert_ne!(dialog::OccupantIds::of(&[1; 32]).id(APP, one, UserId(1)), site.occupants.id(APP, one, UserId(1)));
}

// XEP-0410 §3.2 and §3.3
#[test]
fn a_ping_to_oneself_tells_whether_one_is_in() {
    const PING: &str = "<ping xmlns='urn:xmpp:ping'/>";
    let mut house = House::group(3);
    for (user, session) in [(1, 11), (2, 22)] {
        house.enter(user, session);
    }
    house.said.clear();
    let mut ping = |user: u64, session: u64, nick: &str| house.asks(user, session, Some(nick), IqKind::Get, PING);
    assert_eq!(ping(1, 11, "1"), format!("<iq to=\"1-7@localhost/d1\" type=\"result\" id=\"q\" from=\"{ROOM}/1\"/>"));
    // Another device of one who is in, a member who is not, and one who is no member.
    for (user, session) in [(1, 12), (3, 33), (9, 99)] {
        assert!(ping(user, session, &user.to_string()).contains("<not-acceptable"), "{user}");
        assert!(ping(user, session, "2").contains("<not-acceptable"), "{user}");
    }
    // Inside, under a nick that is nobody's: somebody was renamed. To others nothing is passed on.
    assert!(ping(1, 11, "romeo").contains("<item-not-found"));
    assert!(ping(1, 11, "2").contains("<feature-not-implemented"));
    // Who is thrown out is told so, and who asks where no room is.
    let change = Change { pull: ids(&[2]), ..Change::default() };
    house.ask(Command::Update { by: UserId(1), change });
    house.said.clear();
    assert!(house.asks(2, 22, Some("2"), IqKind::Get, PING).contains("<not-acceptable"));
    house.ask(Command::Delete { by: UserId(1), force: true });
    house.said.clear();
    assert!(house.asks(1, 11, Some("1"), IqKind::Get, PING).contains("<not-acceptable"));
    assert!(house.asks(1, 11, Some("1"), IqKind::Set, PING).contains("<item-not-found"));
}

#[test]
fn sdks_are_not_told_what_they_would_show_as_a_message_from_nobody() {
    let mut house = House::group(6);
    house.enter(1, 11);
    // The SDK for JavaScript, another one, and two clients that enter likewise but have asked before, or ask later.
    house.join(2, 22);
    let silent = "<presence id='a'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x></presence>";
    house.visit(3, 33, Some("3"), PRESENCE, silent);
    house.asks(4, 44, None, IqKind::Get, "<query xmlns='http://jabber.org/protocol/disco#info'/>");
    house.visit(4, 44, Some("4"), PRESENCE, silent);
    house.visit(5, 55, Some("5"), PRESENCE, silent);
    house.asks(5, 55, None, IqKind::Set, "<query xmlns='urn:xmpp:mam:2'/>");
    house.asks(2, 22, None, IqKind::Get, "<query xmlns='http://jabber.org/protocol/disco#items'/>");
    let subjects: Vec<bool> = (1..=5).map(|user| house.heard(user * 11).concat().contains("<subject")).collect();
    assert_eq!(subjects, [true, false, true, true, true]);
    house.rename("Supper");
    let told = |house: &mut House, what: &str| -> Vec<bool> {
        (1..=5).map(|user| house.heard(user * 11).concat().contains(what)).collect()
    };
    assert_eq!(told(&mut house, "<status code=\"104\"/>"), [true, false, false, true, true]);
    house.body(1, 11, "<subject>x</subject>");
    assert_eq!(told(&mut house, "<subject>x</subject>"), [true, false, true, true, true]);
    house.body(1, 11, "<body>x</body>");
    assert_eq!(told(&mut house, "<body>x</body>"), [true; 5]);
    // Entering again, as after a broken connection, is no other way.
    house.join(5, 55);
    house.rename("Dinner");
    assert_eq!(told(&mut house, "<status code=\"104\"/>"), [true, false, false, true, true]);
    // Who may not enter may ask, and nothing is kept of it.
    house.asks(9, 99, None, IqKind::Get, "<query xmlns='http://jabber.org/protocol/disco#info'/>");
}

// XEP-0045 §7.2.14, §7.6 and §7.2.15
#[test]
fn nonsense_is_no_way_to_enter_and_nobody_is_renamed() {
    let mut house = House::group(2);
    house.save(2, "before");
    for history in ["since='yesterday'", "maxstanzas='many'", "seconds='-1'", "maxchars=''"] {
        let stanza =
            format!("<presence id='h'><x xmlns='http://jabber.org/protocol/muc'><history {history}/></x></presence>");
        house.visit(1, 11, Some("1"), PRESENCE, &stanza);
        let heard = house.heard(11);
        assert!(heard.len() == 1 && heard[0].contains("<bad-request"), "{history}: {heard:?}");
        assert!(heard[0].contains("id=\"h\"") && heard[0].contains("type=\"error\""), "{heard:?}");
        assert!(!house.dialog.as_ref().unwrap().is_occupied(), "{history}");
    }
    house.enter(1, 11);
    house.enter(2, 22);
    house.said.clear();
    house.visit(1, 11, Some("romeo"), PRESENCE, "<presence id='n'/>");
    let heard = house.heard(11);
    assert!(heard[0].contains(&format!("from=\"{ROOM}/romeo\"")) && heard[0].contains("<not-acceptable"), "{heard:?}");
    assert!(house.said.is_empty());
    house.visit(1, 11, Some("1"), PRESENCE, "<presence id='n'><show>away</show></presence>");
    assert!(house.heard(22)[0].contains("<show>away</show>"));
}

#[test]
fn a_destroyed_room_says_where_to_go_instead() {
    let mut house = House::group(2);
    house.enter(2, 22);
    house.said.clear();
    let destroy = |venue: &str| {
        format!(
            "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy jid='{venue}'><reason>over</reason></destroy></query>"
        )
    };
    assert!(house.asks(1, 11, None, IqKind::Set, &destroy("@")).contains("<jid-malformed"));
    assert!(house.asks(1, 11, None, IqKind::Set, &destroy("new@muc.localhost")).contains("type=\"result\""));
    let heard = house.heard(22).concat();
    assert!(heard.contains("<destroy jid=\"new@muc.localhost\"><reason>over</reason></destroy>"), "{heard}");
}

#[test]
fn disco_tells_all_there_is_to_know() {
    let mut house = House::group(2);
    house.enter(2, 22);
    house.body(2, 22, "<subject>Balconies</subject>");
    let info = house.asks(2, 22, None, IqKind::Get, "<query xmlns='http://jabber.org/protocol/disco#info'/>");
    for (var, value) in [
        ("FORM_TYPE", "http://jabber.org/protocol/muc#roominfo"),
        ("muc#roominfo_occupants", "1"),
        ("muc#roominfo_description", "Lunch"),
        ("muc#roominfo_subject", "Balconies"),
        ("muc#roominfo_subjectmod", "1"),
        ("muc#roominfo_contactjid", "1-7@localhost"),
        ("muc#maxhistoryfetch", "200"),
    ] {
        let (_, field) = info.split_once(&format!("var=\"{var}\"")).unwrap_or_else(|| panic!("{var}: {info}"));
        assert!(field.split("</field>").next().unwrap().contains(&format!("<value>{value}</value>")), "{var}: {info}");
    }
    for feature in [
        "urn:xmpp:occupant-id:0",
        "http://jabber.org/protocol/muc#self-ping-optimization",
        "http://jabber.org/protocol/muc#stable_id",
        "urn:xmpp:sid:0",
        "urn:xmpp:mam:2",
    ] {
        assert!(info.contains(&format!("<feature var=\"{feature}\"/>")), "{feature}");
    }
}

/// Retractions of a message that nobody may know how to write better.
fn retract(id: &str) -> String {
    format!("<retract xmlns='urn:xmpp:message-retract:1' id='{id}'/>")
}

fn moderate(id: &str) -> String {
    format!(
        "<moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'><retract xmlns='urn:xmpp:message-retract:1'/>\
         <reason>Not <![CDATA[<here>]]></reason></moderate>"
    )
}

impl House {
    /// Says something that is kept and returns its id.
    fn kept(&mut self, user: u64, session: u64, id: &str, text: &str) -> String {
        self.groupchat(
            user,
            session,
            &format!("<message id='{id}' type='groupchat'><body>{text}</body>{SAVED}</message>"),
        );
        let (_, row) = self.messages().pop().expect("it was kept");
        row.id.to_string()
    }

    /// All messages of the archive, as somebody gets them.
    fn asks_archive(&mut self, user: u64, session: u64) -> Vec<String> {
        let fin = self.asks(user, session, None, IqKind::Set, "<query xmlns='urn:xmpp:mam:2'/>");
        let heard = self.heard(session);
        assert!(fin.contains(&format!("<count>{}</count>", heard.len())), "{fin}");
        heard
    }
}

const HELLO: &str = "54789d5e6df5e6f921b7ac01";

// XEP-0424
#[test]
fn a_sender_takes_a_message_back() {
    let mut house = House::group(4);
    for user in 1..=3 {
        house.enter(user, user * 11);
    }
    house.join(4, 44);
    let hello = house.kept(2, 22, "hello-1", "hello");
    house.kept(1, 11, HELLO, "still here");
    assert_eq!(house.unread(3), 2);
    house.said.clear();
    let back =
        format!("<message id='back-1' type='groupchat'>{}<body>/me took it back</body></message>", retract(&hello));
    house.groupchat(2, 22, &back);
    // All hear it, as it was said, but for the SDK's app.
    for session in [11, 22, 33] {
        let heard = house.heard(session);
        assert!(heard.len() == 1 && heard[0].contains(&retract(&hello)), "{heard:?}");
        assert!(heard[0].contains(&house.occupant(2)) && heard[0].contains("<stanza-id"), "{heard:?}");
    }
    assert_eq!(house.heard(44), Vec::<String>::new());
    // The API has one message less, in every count.
    let texts: Vec<_> = house.messages().iter().map(|(_, row)| row.content().text.clone().unwrap()).collect();
    assert_eq!(texts, ["still here"]);
    assert_eq!((house.unread(1), house.unread(2), house.unread(3)), (0, 1, 1));
    // The archive has its tombstone, in its place, and the word that took it back.
    let archive = house.asks_archive(3, 33);
    assert_eq!(archive.len(), 3);
    let [tombstone, _, word] = &archive[..] else { panic!("{archive:?}") };
    let stamp = house.now.iso_millis();
    assert!(
        tombstone
            .contains(&format!("<retracted xmlns=\"urn:xmpp:message-retract:1\" id=\"back-1\" stamp=\"{stamp}\"/>")),
        "{tombstone}"
    );
    assert!(tombstone.contains(" id=\"hello-1\"") && tombstone.contains(&format!("id=\"{hello}\"")), "{tombstone}");
    assert!(tombstone.contains(&house.occupant(2)) && !tombstone.contains("hello<"), "{tombstone}");
    assert!(word.contains(&retract(&hello)) && word.contains("id='back-1'"), "{word}");
    // Who enters now hears that it was taken back, and not what.
    house.visit(3, 34, Some("3"), PRESENCE, "<presence><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    let heard = house.heard(34).concat();
    assert!(!heard.contains("hello<") && heard.contains(&retract(&hello)) && !heard.contains("<retracted"), "{heard}");
    house.said.clear();

    // Once more changes nothing, and is no error: only its sender hears it.
    let before = house.rows.clone();
    house.groupchat(2, 22, &back.replace("back-1", "back-2"));
    assert_eq!(house.heard(22).len(), 1);
    assert!(house.said.is_empty() && house.rows == before);
    // The message itself, sent again by a client that has forgotten.
    house.groupchat(1, 11, &format!("<message id='{HELLO}' type='groupchat'><body>still here</body>{SAVED}</message>"));
    house.said.clear();
    house.body(1, 11, &retract(HELLO));
    house.said.clear();
    house.groupchat(1, 11, &format!("<message id='{HELLO}' type='groupchat'><body>still here</body>{SAVED}</message>"));
    assert!(house.said.is_empty() && house.messages().is_empty());
    assert_eq!(house.dialog.as_ref().unwrap().head().last, None);
    let draft = Draft {
        by: UserId(1),
        id: HELLO.parse().unwrap(),
        to: None,
        content: Content::default(),
        markable: false,
        delivery: Delivery::Chat,
        admitted: true,
    };
    assert_eq!(house.ask(Command::Save(draft)), Answer::Refused(Refusal::Taken));
}

#[test]
fn nobody_takes_back_what_is_not_theirs_or_is_no_message() {
    let mut house = House::group(3);
    for user in 1..=3 {
        house.enter(user, user * 11);
    }
    let hello = house.kept(2, 22, "hello-1", "hello");
    house.body(3, 33, "<body>not kept</body>");
    house.said.clear();
    let before = house.rows.clone();
    let twice = retract(&hello).repeat(2);
    let forged = format!(
        "<retract xmlns='urn:xmpp:message-retract:1' id='{hello}'><moderated xmlns='urn:xmpp:message-moderate:1' by='{ROOM}/1'/></retract>"
    );
    for (user, inside, condition) in [
        (1, retract(&hello), "forbidden"),
        (3, retract(&hello), "forbidden"),
        (3, format!("<body>x</body>{}{SAVED}", retract(&hello)), "forbidden"),
        (2, retract("hello-1"), "item-not-found"),
        (2, retract(&hello.to_uppercase()), "item-not-found"),
        (2, retract("54789d5e6df5e6f921b7acda"), "item-not-found"),
        (2, retract(""), "item-not-found"),
        (2, "<retract xmlns='urn:xmpp:message-retract:1'/>".to_owned(), "bad-request"),
        (2, twice, "bad-request"),
        (2, forged, "bad-request"),
    ] {
        house.body(user, user * 11, &inside);
        let heard = house.heard(user * 11);
        assert!(heard.len() == 1 && heard[0].contains(&format!("<{condition}")), "{inside}: {heard:?}");
        assert!(heard[0].contains("type=\"error\""), "{heard:?}");
        assert!(house.said.is_empty() && house.rows == before, "{inside}");
    }
    // What looks as if it had been taken back, and by whom it was not.
    let grave = format!(
        "<retracted xmlns='urn:xmpp:message-retract:1' id='x'><moderated xmlns='urn:xmpp:message-moderate:1' by='{ROOM}/1'/></retracted>"
    );
    for kept in ["", SAVED] {
        house.body(2, 22, &format!("<body>look</body>{grave}{kept}"));
        let heard = house.heard(11);
        assert!(heard[0].contains("<body>look</body>") && !heard[0].contains("<retracted"), "{heard:?}");
        house.said.clear();
    }
    // From outside, and from nobody.
    house.visit(2, 99, None, GROUPCHAT, &format!("<message type='groupchat'>{}</message>", retract(&hello)));
    assert!(house.heard(99)[0].contains("<not-acceptable"));
    // The word that took a message back is no message.
    house.body(2, 22, &retract(&hello));
    let (_, word) = house.archive().pop().unwrap();
    house.said.clear();
    house.body(2, 22, &retract(&word.id.to_string()));
    assert!(house.heard(22)[0].contains("<item-not-found"));
    assert!(house.asks(1, 11, None, IqKind::Set, &moderate(&word.id.to_string())).contains("<item-not-found"));
    // Neither is it one for the API, nor what is left of a message.
    for id in [word.id, hello.parse().unwrap()] {
        let marks = Marks { read: Some(true), delivered: true };
        let missing = Answer::Sorted { done: vec![], denied: vec![], missing: vec![id] };
        for command in [
            Command::Remove { by: UserId(2), ids: vec![id], force: true },
            Command::Remove { by: UserId(2), ids: vec![id], force: false },
            Command::Edit { by: UserId(2), ids: vec![id], text: "again".into() },
            Command::Mark { by: UserId(1), which: Which::Ids(vec![id]), marks, astray: false },
        ] {
            assert_eq!(house.ask(command), missing);
        }
    }
}

// XEP-0425
#[test]
fn a_moderator_takes_anybodys_message_back() {
    let mut house = House::group(3);
    for user in 1..=2 {
        house.enter(user, user * 11);
    }
    house.join(3, 33);
    let hello = house.kept(3, 33, HELLO, "hello");
    house.said.clear();
    let before = house.rows.clone();
    for (user, order, condition) in [
        (2, moderate(&hello), "forbidden"),
        (3, moderate(&hello), "forbidden"),
        (9, moderate(&hello), "item-not-found"),
        (1, moderate("54789d5e6df5e6f921b7acda"), "item-not-found"),
        (1, moderate("hello"), "item-not-found"),
        (1, moderate(&hello).replace(" id=", " uid="), "bad-request"),
        (1, moderate(&hello).replace("message-retract:1", "message-rewrite:1"), "feature-not-implemented"),
    ] {
        // Another of the user's devices, which is not in the room.
        let answer = house.asks(user, user * 10, None, IqKind::Set, &order);
        assert!(answer.contains(&format!("<{condition}")), "{order}: {answer}");
        assert!(house.said.is_empty() && house.rows == before, "{order}");
    }
    assert!(house.asks(1, 12, None, IqKind::Set, &moderate(&hello)).contains("type=\"result\""));
    let (_, word) = house.archive().pop().unwrap();
    let by = format!(
        "<moderated xmlns=\"urn:xmpp:message-moderate:1\" by=\"{ROOM}/1\">{}</moderated><reason>Not &lt;here&gt;</reason>",
        house.occupant(1)
    );
    let expected = format!(
        "<message to=\"2-7@localhost/d2\" from=\"{ROOM}\" type=\"groupchat\" id=\"{0}\">\
         <retract xmlns=\"urn:xmpp:message-retract:1\" id=\"{hello}\">{by}</retract>\
         <stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"{ROOM}\" id=\"{0}\"/></message>",
        word.id
    );
    assert_eq!(house.heard(22), [expected]);
    assert_eq!((house.heard(11).len(), house.heard(33).len()), (1, 0));
    assert_eq!((house.messages().len(), house.unread(1), house.unread(2)), (0, 0, 0));
    assert!(house.asks(1, 12, None, IqKind::Set, &moderate(&hello)).contains("<item-not-found"));
    let archive = house.asks_archive(2, 22);
    let [tombstone, told] = &archive[..] else { panic!("{archive:?}") };
    let stamp = house.now.iso_millis();
    let retracted = format!(
        "<retracted xmlns=\"urn:xmpp:message-retract:1\" id=\"{}\" stamp=\"{stamp}\">{by}</retracted>",
        word.id
    );
    assert!(tombstone.contains(&retracted) && tombstone.contains(&house.occupant(3)), "{tombstone}");
    assert!(told.contains(&by) && told.contains(&format!(" from=\"{ROOM}\"")) && !told.contains("<item"), "{told}");
}

#[test]
fn what_is_deleted_over_rest_is_taken_back_in_the_room() {
    let mut house = House::group(3);
    house.enter(1, 11);
    house.join(2, 22);
    let ids: Vec<MessageId> = (0..40).map(|number| house.save(2, &format!("m{number}"))).collect();
    house.said.clear();
    // The newest of them, and so many that the last one left is not found at once.
    let answer = house.ask(Command::Remove { by: UserId(2), ids: ids[1..].to_vec(), force: true });
    assert_eq!(answer, Answer::Sorted { done: ids[1..].to_vec(), denied: vec![], missing: vec![] });
    let heard = house.heard(11);
    assert_eq!(heard.len(), 39);
    for (stanza, id) in heard.iter().zip(&ids[1..]) {
        assert!(stanza.contains(&format!("<retract xmlns=\"urn:xmpp:message-retract:1\" id=\"{id}\"/>")), "{stanza}");
        assert!(stanza.contains(&format!("from=\"{ROOM}/2\"")) && stanza.contains(&house.occupant(2)), "{stanza}");
    }
    assert_eq!(house.heard(22), Vec::<String>::new());
    let head = house.dialog.as_ref().unwrap().head();
    assert_eq!((head.last.as_ref().map(|last| last.id), head.count, head.archived()), (Some(ids[0]), 1, 79));
}

// XEP-0333, XEP-0444, XEP-0461 and XEP-0308
#[test]
fn what_is_said_about_messages_passes_and_reaches_those_who_read_the_archive() {
    let mut house = House::group(3);
    house.enter(1, 11);
    house.enter(2, 22);
    house.join(3, 33);
    let hello = house.kept(1, 11, HELLO, "hello");
    house.said.clear();
    let reaction = format!(
        "<reactions xmlns='urn:xmpp:reactions:0' id='{hello}'><reaction>\u{1f44b}</reaction></reactions><store xmlns='urn:xmpp:hints'/>"
    );
    let reply = format!("<reply xmlns='urn:xmpp:reply:0' to='{ROOM}/1' id='{hello}'/><body>well met</body>{SAVED}");
    let correction = format!("<replace xmlns='urn:xmpp:message-correct:0' id='m'/><body>well met!</body>{SAVED}");
    let displayed = format!("<displayed xmlns='urn:xmpp:chat-markers:0' id='{hello}'/><store xmlns='urn:xmpp:hints'/>");
    for archiving in [false, true] {
        house.site.archiving.rooms = archiving;
        for (inside, by_sdk) in [(&reaction, false), (&reply, true), (&correction, true), (&displayed, true)] {
            let part = inside.split("<extraParams").next().unwrap();
            house.body(2, 22, inside);
            for (session, hears) in [(11, true), (22, true), (33, by_sdk)] {
                let heard = house.heard(session);
                assert_eq!(heard.len(), usize::from(hears), "{inside} at {session}: {heard:?}");
                assert!(heard.iter().all(|stanza| stanza.contains(part)), "{inside}: {heard:?}");
            }
        }
    }
    // The marker is one in the API's sense.
    let marks = Marks { read: Some(true), delivered: true };
    let mark = Command::Mark { by: UserId(2), which: Which::Ids(vec![hello.parse().unwrap()]), marks, astray: false };
    assert_eq!(house.passed_on, vec![(house.id, mark); 2].into_iter().collect::<Vec<_>>());
    // In the archive of a room that keeps all; the API shows messages.
    let archive = house.asks_archive(3, 33).concat();
    assert_eq!(archive.matches("<reactions").count(), 1, "{archive}");
    assert_eq!(archive.matches("<displayed").count(), 1);
    assert_eq!((archive.matches("<reply").count(), archive.matches("<replace").count()), (2, 2));
    assert_eq!(house.messages().len(), 5);
    assert_eq!(house.unread(3), 5, "what is no message is not unread");
}
