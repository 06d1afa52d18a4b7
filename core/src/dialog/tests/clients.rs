//! What clients that are no SDKs expect of rooms, and what the SDKs must not get of it.

use super::*;

const ROOM: &str = "7_53aaa06f535c12cea9007496@muc.localhost";

impl House {
    /// Gives the room an iq and returns its answer.
    fn asks(&mut self, user: u64, session: u64, nick: Option<&str>, kind: IqKind, payload: &str) -> String {
        let attribute = if kind == IqKind::Get { "get" } else { "set" };
        self.visit(user, session, nick, Kind::Iq(kind), &format!("<iq type='{attribute}' id='q'>{payload}</iq>"));
        let heard = self.heard(session);
        let answer = heard.iter().position(|stanza| stanza.starts_with("<iq")).expect("every request is answered");
        let mut heard = heard;
        let answer = heard.remove(answer);
        self.said.extend(heard.into_iter().map(|stanza| (session, stanza)));
        answer
    }

    fn body(&mut self, user: u64, session: u64, children: &str) {
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
