//! Rooms as the official SDKs use them: who comes and goes, what is said, and who may order what.

use super::*;

#[test]
fn the_room_shows_who_comes_and_goes_as_the_sdks_expect() {
    let mut house = House::group(3);
    house.join(1, 11);
    let heard = house.heard(11);
    let room = format!("7_{GROUP}@muc.localhost");
    assert_eq!(
        heard[0],
        format!(
            "<presence to=\"1-7@localhost/d1\" from=\"{room}/1\" id=\"j:join\"><x xmlns=\"http://jabber.org/protocol/muc#user\">\
             <item affiliation=\"owner\" role=\"moderator\" nick=\"1\" jid=\"1-7@localhost/d1\"/><status code=\"110\"/></x>{}</presence>",
            house.occupant(1)
        )
    );
    assert_eq!(heard.len(), 1, "a subject would be shown as a message: {heard:?}");
    house.join(2, 22);
    let heard = house.heard(22);
    assert_eq!(heard.len(), 2);
    assert!(
        heard[0].contains(&format!("from=\"{room}/1\"")) && !heard[0].contains("<status"),
        "others first: {heard:?}"
    );
    assert!(heard[0].contains(" id="), "the SDK reads it without a check");
    assert!(heard[1].contains("<status code=\"110\"/>"));
    let told = house.heard(11);
    assert_eq!(told.len(), 1);
    assert!(told[0].contains(&format!("from=\"{room}/2\"")) && !told[0].contains("<status"));
    // A second device of the same user is nobody new.
    house.join(2, 23);
    assert_eq!((house.heard(11).len(), house.heard(22).len(), house.heard(23).len()), (0, 0, 2));
    house.visit(2, 22, Some("2"), GONE, "<presence type='unavailable'/>");
    let heard = house.heard(22);
    assert!(heard[0].contains("type=\"unavailable\"") && heard[0].contains("<status code=\"110\"/>"));
    assert!(house.heard(11).is_empty());
    house.note(Note::Absent { account: AccountId { app: APP, user: UserId(2) }, session: SessionId(23) });
    let heard = house.heard(11);
    assert!(heard[0].contains("type=\"unavailable\"") && !heard[0].contains("<status"), "{heard:?}");
    // Again while in: the same answer. Another nick: one's own, said so after 110.
    house.join(1, 11);
    assert!(house.heard(11)[0].contains("id=\"j:join\""));
    house.visit(
        3,
        33,
        Some("romeo"),
        PRESENCE,
        "<presence id='x'><show>away</show><x xmlns='http://jabber.org/protocol/muc'/></presence>",
    );
    let heard = house.heard(33);
    assert!(
        heard[1].contains(&format!("from=\"{room}/3\""))
            && heard[1].contains("<status code=\"110\"/><status code=\"100\"/><status code=\"210\"/>")
    );
    assert!(heard[1].contains("<show>away</show>"));
}

#[test]
fn nobody_else_comes_in() {
    let mut house = House::group(2);
    house.join(3, 33);
    let heard = house.heard(33);
    assert!(
        heard[0]
            .contains("type=\"error\" id=\"j:join\"><x xmlns=\"http://jabber.org/protocol/muc\"/><error code=\"500\""),
        "{heard:?}"
    );
    assert!(heard[0].contains("<registration-required"));
    let mut nowhere = House::new(DialogId::private(&Site::of("localhost").pairs, APP, UserId(5), UserId(6)), 2);
    nowhere.join(1, 11);
    assert!(nowhere.heard(11)[0].contains("<item-not-found"));
    nowhere.groupchat(1, 11, "<message id='m' type='groupchat'><body>x</body></message>");
    let heard = nowhere.heard(11);
    assert!(
        heard[0].contains("There is no such room.")
            && heard[0].contains("<body>x</body>")
            && heard[0].contains("id=\"m\"")
    );
    // A private dialog has no room, not even for its two.
    let mut private = House::private();
    private.private_message(1, 2, "id='a'", SAVED);
    private.join(1, 11);
    assert!(private.heard(11)[0].contains("<item-not-found"));
}

#[test]
fn what_is_said_in_the_room_reaches_all_and_is_kept_if_asked() {
    let mut house = House::group(3);
    for (user, session) in [(1, 11), (2, 22), (2, 23)] {
        house.join(user, session);
    }
    house.said.clear();
    house.groupchat(
        1,
        11,
        "<message id='c' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
    );
    assert_eq!((house.heard(11).len(), house.heard(22).len(), house.heard(23).len()), (1, 1, 1));
    assert!(house.messages().is_empty());
    let id = "546dbf438c54ad2aded63b25";
    let saved = format!(
        "<message id='{id}' type='groupchat'><body>Hi</body><delay xmlns='urn:xmpp:delay' stamp='x'/>{SAVED}</message>"
    );
    house.groupchat(2, 22, &saved);
    let heard = house.heard(22);
    let room = format!("7_{GROUP}@muc.localhost");
    assert_eq!(
        heard[0],
        format!(
            "<message to=\"2-7@localhost/d2\" from=\"{room}/2\" id='{id}' type='groupchat'><body>Hi</body>\
             <extraParams xmlns='jabber:client'><save_to_history>1</save_to_history><date_sent>{START}</date_sent>\
             <dialog_id>{GROUP}</dialog_id><message_id>{id}</message_id></extraParams>\
             <stanza-id xmlns=\"urn:xmpp:sid:0\" by=\"{room}\" id=\"{id}\"/>{}</message>",
            house.occupant(2)
        )
    );
    assert_eq!((house.heard(11).len(), house.heard(23).len()), (1, 1));
    assert_eq!((house.unread(1), house.unread(2), house.unread(3)), (1, 0, 1));
    // Sent again: only its sender hears it.
    house.groupchat(2, 22, &saved);
    assert_eq!((house.heard(11).len(), house.heard(22).len(), house.heard(23).len()), (0, 1, 0));
    assert_eq!(house.messages().len(), 1);
    // Not in the room, or in no dialog.
    house.groupchat(3, 33, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(33)[0].contains("<not-acceptable"));
    house.groupchat(9, 99, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(99)[0].contains("Insufficient privileges to send groupchat message."));
    house.visit(1, 11, Some("2"), GROUPCHAT, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(11)[0].contains("<bad-request"));
    assert!(house.said.is_empty());
    // A word in private.
    let chat = Kind::Message { kind: MessageKind::Chat, lasting: true };
    house.visit(1, 11, Some("2"), chat, "<message id='p' type='chat'><body>psst</body></message>");
    let occupant = house.occupant(1);
    assert!(house.heard(22)[0].contains(&format!("<x xmlns=\"http://jabber.org/protocol/muc#user\"/>{occupant}")));
    assert_eq!(house.heard(23).len(), 1);
    house.visit(1, 11, Some("3"), chat, "<message id='p' type='chat'><body>psst</body></message>");
    assert!(house.heard(11)[0].contains("<item-not-found"));
}

#[test]
fn a_room_keeps_all_that_is_said_where_the_operator_wants_that() {
    let mut house = House::group(2);
    house.join(1, 11);
    let say = |house: &mut House, children: &str| {
        house.groupchat(1, 11, &format!("<message type='groupchat' id='m'>{children}</message>"))
    };
    say(&mut house, "<body>before</body>");
    house.site.archiving.rooms = true;
    say(&mut house, "<body>after</body>");
    say(&mut house, "<composing xmlns='http://jabber.org/protocol/chatstates'/>");
    say(&mut house, "<body>hush</body><no-store xmlns='urn:xmpp:hints'/>");
    let kept: Vec<_> = house.messages().into_iter().map(|(_, row)| row.content().text.clone()).collect();
    assert_eq!(kept, [Some("after".to_owned())]);
    let heard = house.heard(11).concat();
    assert!(["before", "after", "hush"].iter().all(|text| heard.contains(text)), "{heard}");
    assert_eq!(heard.matches("<stanza-id").count(), 1);
}

#[test]
fn whoever_is_taken_out_is_out_of_the_room_at_once() {
    let mut house = House::group(3);
    for (user, session) in [(1, 11), (2, 22), (3, 33)] {
        house.join(user, session);
    }
    house.said.clear();
    let change = Change { pull: ids(&[2]), ..Change::default() };
    house.ask(Command::Update { by: UserId(1), change });
    let heard = house.heard(22);
    assert!(heard[0].contains("type=\"unavailable\""));
    assert!(heard[0].contains("<item affiliation=\"none\" role=\"none\" nick=\"2\"><actor jid=\"1-7@localhost\"/></item><status code=\"301\"/>"));
    let others = house.heard(33);
    assert!(others[0].contains("type=\"unavailable\"") && !others[0].contains("<status"));
    house.join(2, 22);
    assert!(house.heard(22)[0].contains("type=\"error\""));
    house.groupchat(2, 22, "<message id='m' type='groupchat'><body>x</body></message>");
    assert!(house.heard(22)[0].contains("type=\"error\""));
    house.ask(Command::Delete { by: UserId(1), force: true });
    let heard = house.heard(33);
    assert!(
        heard[0].contains("<destroy>")
            && heard[0].contains("<actor jid=\"1-7@localhost\"/>")
            && heard[0].contains("<status code=\"301\"/>")
    );
    assert!(!house.dialog.as_ref().unwrap().is_occupied());
}

#[test]
fn history_on_join_is_the_one_history() {
    let mut house = House::group(2);
    for number in 1..=30 {
        house.now = Timestamp::from_secs(START + number);
        house.save(1 + number % 2, &format!("m{number}"));
    }
    let last = house.messages().pop().unwrap().1.id;
    house.ask(Command::Remove { by: UserId(2), ids: vec![last], force: false });
    let mut asked = |history: &str| {
        let stanza = format!("<presence id='j'><x xmlns='http://jabber.org/protocol/muc'>{history}</x></presence>");
        house.visit(2, 22, Some("2"), PRESENCE, &stanza);
        let heard = house.heard(22);
        let bodies = heard.iter().filter_map(|stanza| stanza.split("<body>").nth(1)?.split('<').next());
        bodies.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(asked("<history maxstanzas='0'/>"), Vec::<String>::new());
    assert_eq!(asked("<history maxstanzas='3'/>"), ["m28", "m29"], "what one has deleted does not come back");
    assert_eq!(asked("<history seconds='2'/>"), ["m28", "m29"]);
    assert_eq!(asked("").len(), 19);
    assert_eq!(asked("<history maxstanzas='1000000' since='1970-01-01T00:00:00Z'/>").len(), 29);
    assert_eq!(asked("<history maxchars='900'/>"), ["m29"]);
}

#[test]
fn the_room_answers_questions() {
    let mut house = House::group(2);
    house.join(1, 11);
    house.join(2, 22);
    house.said.clear();
    let mut asked = |user: u64, kind: IqKind, nick: Option<&str>, payload: &str| {
        let attribute = if kind == IqKind::Get { "get" } else { "set" };
        house.visit(user, user * 11, nick, Kind::Iq(kind), &format!("<iq type='{attribute}' id='q'>{payload}</iq>"));
        house.heard(user * 11).pop().unwrap()
    };
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let answer = asked(2, IqKind::Get, None, info);
    assert!(
        answer.contains("type=\"result\" id=\"q\"")
            && answer.contains("name=\"Lunch\"")
            && answer.contains("muc_membersonly")
    );
    assert!(asked(3, IqKind::Get, None, info).contains("There is no such room."));
    let items = asked(2, IqKind::Get, None, "<query xmlns='http://jabber.org/protocol/disco#items'/>");
    assert_eq!(items.matches("<item ").count(), 2);
    let members = "<query xmlns='http://jabber.org/protocol/muc#admin'><item affiliation='member'/></query>";
    assert!(asked(2, IqKind::Get, None, members).contains("jid=\"2-7@localhost\""));
    assert!(asked(3, IqKind::Get, None, members).contains("item-not-found"));
    let owner = "<query xmlns='http://jabber.org/protocol/muc#owner'/>";
    assert!(asked(2, IqKind::Get, None, owner).contains("<forbidden"));
    assert!(asked(1, IqKind::Get, None, owner).contains("muc#roomconfig_membersonly"));
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    assert!(asked(1, IqKind::Get, Some("1"), ping).contains("type=\"result\""));
    assert!(asked(3, IqKind::Get, Some("1"), ping).contains("type=\"error\""));
}

/// Sends an order of two: one of a user, and what came of it.
fn order(house: &mut House, user: u64, space: &str, inside: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#{space}'>{inside}</query>");
    house.visit(user, user * 11, None, Kind::Iq(IqKind::Set), &format!("<iq type='set' id='o'>{query}</iq>"));
    let heard = house.heard(user * 11);
    heard.into_iter().find(|stanza| stanza.starts_with("<iq")).expect("every order is answered")
}

#[test]
fn orders_in_the_room_are_changes_of_the_dialog() {
    let mut house = House::group(6);
    for user in 1..=3 {
        house.join(user, user * 11);
    }
    house.said.clear();
    let members = |house: &House| -> Vec<u64> {
        house.dialog.as_ref().unwrap().record().unwrap().occupants.iter().map(|user| user.0).collect()
    };
    let out: String = [4, 5, 6].iter().map(|user| format!("<item affiliation='none' nick='{user}'/>")).collect();
    assert!(order(&mut house, 2, "admin", &out).contains("<forbidden"));
    assert!(order(&mut house, 1, "admin", &out).contains("type=\"result\""));
    assert_eq!(members(&house), [1, 2, 3]);
    // Any occupant adds; only the owner takes others out.
    let add = "<item affiliation='member' jid='5-7@localhost'/><item affiliation='member' nick='6'/>";
    assert!(order(&mut house, 2, "admin", add).contains("type=\"result\""));
    assert_eq!(members(&house), [1, 2, 3, 5, 6]);
    let take = "<item affiliation='none' jid='3-7@localhost/any'/><item affiliation='none' nick='6'/>";
    assert!(order(&mut house, 2, "admin", take).contains("<forbidden"));
    assert!(order(&mut house, 1, "admin", take).contains("type=\"result\""));
    assert_eq!(members(&house), [1, 2, 5]);
    let told = house.heard(33).concat();
    assert!(told.contains("<status code=\"301\"/>") && told.contains("affiliation=\"none\""), "{told}");
    // Out of the room, and in again.
    assert!(order(&mut house, 2, "admin", "<item role='none' nick='1'/>").contains("<forbidden"));
    assert!(order(&mut house, 1, "admin", "<item role='none' nick='1'/>").contains("<not-allowed"));
    assert!(order(&mut house, 1, "admin", "<item role='none' nick='2'/>").contains("type=\"result\""));
    let told = house.heard(22).concat();
    assert!(told.contains("<status code=\"307\"/>") && told.contains("affiliation=\"member\""), "{told}");
    assert_eq!(members(&house), [1, 2, 5]);
    house.join(2, 22);
    house.said.clear();
    // Another name, which everybody is told of.
    let form = |fields: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x>"
        )
    };
    let name = form(
        "<field var='muc#roomconfig_roomname'><value>Supper</value></field><field var='muc#roomconfig_membersonly'><value>1</value></field><field var='muc#roomconfig_lang'><value>en</value></field>",
    );
    assert!(order(&mut house, 2, "owner", &name).contains("<forbidden"));
    assert!(order(&mut house, 1, "owner", &name).contains("type=\"result\""));
    assert_eq!(house.dialog.as_ref().unwrap().record().unwrap().name.as_deref(), Some("Supper"));
    assert!(house.heard(22).concat().contains("<status code=\"104\"/>"));
    for same in [name.as_str(), "<x xmlns='jabber:x:data' type='submit'/>", "<x xmlns='jabber:x:data' type='cancel'/>"]
    {
        assert!(order(&mut house, 1, "owner", same).contains("type=\"result\""), "{same}");
        assert_eq!(house.heard(22), Vec::<String>::new());
    }
    // What a dialog has no place for.
    for (space, inside, condition) in [
        ("admin", "<item affiliation='outcast' nick='2'/>", "not-allowed"),
        ("admin", "<item affiliation='admin' nick='2'/>", "not-allowed"),
        ("admin", "<item affiliation='owner' nick='2'/>", "not-allowed"),
        ("admin", "<item role='visitor' nick='2'/>", "not-allowed"),
        ("admin", "<item affiliation='member' jid='999-7@localhost'/>", "item-not-found"),
        ("admin", "<item affiliation='member' jid='2-8@localhost'/>", "item-not-found"),
        ("admin", "<item affiliation='member' jid='@'/>", "jid-malformed"),
        ("admin", "<item affiliation='member' role='none' nick='2'/>", "bad-request"),
        ("admin", "<item affiliation='none' nick='2'/><item role='none' nick='5'/>", "bad-request"),
        ("admin", "<item affiliation='member'/>", "bad-request"),
        ("admin", "", "bad-request"),
        ("owner", "", "not-allowed"),
        ("owner", &form("<field var='muc#roomconfig_membersonly'><value>0</value></field>"), "not-acceptable"),
        ("owner", &form("<field var='muc#roomconfig_whois'><value>moderators</value></field>"), "not-acceptable"),
        ("owner", &form("<field var='muc#roomconfig_roomname'><value> </value></field>"), "not-acceptable"),
    ] {
        let answer = order(&mut house, 1, space, inside);
        assert!(answer.contains(&format!("<{condition}")), "{inside}: {answer}");
    }
    assert_eq!(members(&house), [1, 2, 5]);
    // One takes himself out; the owner ends it.
    assert!(order(&mut house, 2, "admin", "<item affiliation='none' nick='2'/>").contains("type=\"result\""));
    assert_eq!(members(&house), [1, 5]);
    assert!(order(&mut house, 2, "owner", "<destroy/>").contains("There is no such room."));
    assert!(order(&mut house, 1, "owner", "<destroy/>").contains("type=\"result\""));
    assert!(!house.dialog.as_ref().unwrap().exists());
}
