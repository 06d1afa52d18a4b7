//! Invitations by way of the room. XEP-0045 §7.8.2

use super::*;

const NORMAL: Kind = Kind::Message { kind: MessageKind::Normal, lasting: true };
const ROOM: &str = "7_53aaa06f535c12cea9007496@muc.localhost";

impl House {
    fn mediate(&mut self, user: u64, inside: &str) {
        let stanza = format!("<message id='i'><x xmlns='http://jabber.org/protocol/muc#user'>{inside}</x></message>");
        self.visit(user, user * 11, None, NORMAL, &stanza);
    }

    /// What was passed on since this was last asked, and to whom.
    fn passed(&mut self) -> Vec<(u64, String)> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter().map(|(to, parcel)| (to, String::from_utf8(parcel.stanza.to_vec()).expect("text"))).collect()
    }

    fn has(&self, user: u64) -> bool {
        self.dialog.as_ref().and_then(|dialog| dialog.record()).is_some_and(|record| record.has(UserId(user)))
    }
}

#[test]
fn whoever_is_invited_to_a_group_comes_into_it() {
    let mut house = House::new(GROUP.parse().expect("an id"), 4);
    let occupants = ids(&[2]);
    let (by, kind, name) = (UserId(1), DialogKind::Group, Some("Lunch".to_owned()));
    house.ask(Command::Create { by, kind, name, photo: None, occupants, data: None });
    house.enter(2, 22);
    house.said.clear();
    // Any occupant can, as by the API.
    house.mediate(2, "<invite to='3-7@localhost/x'><reason>Come &lt;in&gt;</reason><continue thread='t'/></invite>");
    assert!(house.has(3) && !house.has(4));
    let invitation = format!(
        "<message from=\"{ROOM}\" to=\"3-7@localhost\" id=\"i\"><x xmlns=\"http://jabber.org/protocol/muc#user\">\
         <invite from=\"2-7@localhost\"><reason>Come &lt;in&gt;</reason><continue thread=\"t\"/></invite></x></message>"
    );
    // Held against the lists of the one it is for as a message of the one who invites.
    assert_eq!(&*house.sent[0].1.from.jid, "2-7@localhost/d2");
    assert_eq!(house.passed(), [(3, invitation)]);
    assert_eq!(house.heard(22), Vec::<String>::new());
    assert_eq!(house.lists(3).len(), 1);
    // A member can be asked again; nothing changes.
    house.mediate(2, "<invite to='1-7@localhost'/>");
    assert_eq!(house.passed().len(), 1);
    // Declined by one who is not in the room.
    house.mediate(3, "<decline to='2-7@localhost'><reason>No</reason></decline>");
    let declined = house.passed();
    assert_eq!(declined[0].0, 2);
    assert!(declined[0].1.contains("<decline from=\"3-7@localhost\"><reason>No</reason></decline>"), "{declined:?}");
}

#[test]
fn what_cannot_be_passed_on_comes_back() {
    let mut house = House::group(3);
    house.enter(1, 11);
    house.said.clear();
    for (user, inside, condition) in [
        (1, "<invite/>", "bad-request"),
        (1, "<invite to='2-7@localhost'/><invite to='3-7@localhost'/>", "bad-request"),
        (1, "<invite to='@@'/>", "jid-malformed"),
        // Nobody, and users of another app, in the same words.
        (1, "<invite to='99-7@localhost'/>", "item-not-found"),
        (1, "<invite to='2-8@localhost'/>", "item-not-found"),
        (1, "<invite to='2-7@elsewhere'/>", "item-not-found"),
        (1, "<invite to='muc.localhost'/>", "item-not-found"),
        (1, "<decline to='99-7@localhost'/>", "item-not-found"),
        // A member who is not inside, and one who is no member.
        (2, "<invite to='1-7@localhost'/>", "not-acceptable"),
        (9, "<invite to='1-7@localhost'/>", "forbidden"),
        (9, "<decline to='1-7@localhost'/>", "forbidden"),
    ] {
        house.mediate(user, inside);
        let heard = house.heard(user * 11).concat();
        assert!(heard.contains(&format!("<{condition} ")) && heard.contains("id=\"i\""), "{user} {inside}: {heard}");
        assert_eq!(house.passed(), [], "{inside}");
        assert!(!house.has(99), "{inside}");
    }
}

#[test]
fn everybody_can_be_invited_to_a_public_dialog() {
    let mut house = House::new(GROUP.parse().expect("an id"), 3);
    let (by, kind, name) = (UserId(1), DialogKind::Public, Some("Square".to_owned()));
    house.ask(Command::Create { by, kind, name, photo: None, occupants: Vec::new(), data: None });
    house.enter(2, 22);
    house.mediate(2, "<invite to='3-7@localhost'/>");
    assert_eq!(house.passed().len(), 1);
    assert!(!house.has(3));
}
