//! The room's card and picture. XEP-0486

use super::*;
use crate::limits::VCARD_BYTES_MAX;
use crate::model::dialog::CARDS;

/// The first bytes of a PNG, which have this hash.
const PNG: &str = "<PHOTO><TYPE>image/png</TYPE><BINVAL>iVBORw0KGgo=</BINVAL></PHOTO>";
const PNG_HASH: &str = "4caece539b039b16e16206ea2478f8c5ffb2ca05";
const GET: &str = "<vCard xmlns='vcard-temp'/>";
const INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
const CHANGED: &str = "<status code=\"104\"/>";

fn card(inside: &str) -> String {
    format!("<vCard xmlns='vcard-temp'>{inside}</vCard>")
}

impl House {
    fn sets(&mut self, user: u64, inside: &str) -> String {
        self.asks(user, user * 11, None, IqKind::Set, &card(inside))
    }

    fn hashes(&mut self, user: u64) -> Vec<String> {
        let info = self.asks(user, user * 11, None, IqKind::Get, INFO);
        assert!(info.contains("<feature var=\"vcard-temp\"/>"), "{info}");
        let Some((_, field)) = info.split_once("<field var=\"muc#roominfo_avatarhash\" type=\"text-multi\">") else {
            return Vec::new();
        };
        let values = field.split("</field>").next().expect("the end of the field");
        values.split("<value>").skip(1).map(|value| value.trim_end_matches("</value>").to_owned()).collect()
    }
}

#[test]
fn the_owner_sets_a_picture_that_those_who_may_enter_see() {
    let mut house = House::group(3);
    // The owner, one as an SDK, and a member outside.
    house.enter(1, 11);
    house.join(2, 22);
    assert!(house.asks(3, 33, None, IqKind::Get, GET).contains("<item-not-found"));
    assert_eq!(house.hashes(3), Vec::<String>::new());
    house.said.clear();
    let set = house.sets(1, PNG);
    assert!(set.contains("type=\"result\"") && !set.contains("vCard"), "{set}");
    assert!(house.heard(11).concat().contains(CHANGED));
    // It would show a message from nobody.
    assert_eq!(house.heard(22), Vec::<String>::new());
    for user in [1, 3] {
        assert_eq!(house.hashes(user), [PNG_HASH]);
        assert!(house.asks(user, user * 11, None, IqKind::Get, GET).contains(&card(PNG)));
    }
    // Kept, and no part of what the API calls the photo.
    house.said.clear();
    house.dialog = None;
    assert_eq!(house.hashes(2), [PNG_HASH]);
    assert_eq!(house.dialog.as_ref().and_then(|dialog| dialog.record()).and_then(|record| record.photo.clone()), None);
    // §4.2: an empty card takes it away.
    assert!(house.sets(1, "").contains("type=\"result\""));
    assert_eq!(house.hashes(1), Vec::<String>::new());
    assert!(house.asks(1, 11, None, IqKind::Get, GET).contains("<item-not-found"));
    assert!(!house.rows.keys().any(|(table, _)| *table == CARDS.name()));
}

#[test]
fn several_pictures_are_one_in_several_formats() {
    let mut house = House::group(2);
    let svg = "PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=";
    let two =
        format!("<FN>Lunch</FN><PHOTO/><PHOTO><TYPE>image/svg+xml</TYPE><BINVAL>\n {svg}\n</BINVAL></PHOTO>{PNG}");
    assert!(house.sets(1, &two).contains("type=\"result\""));
    let hashes = house.hashes(2);
    assert_eq!((hashes.len(), hashes[1].as_str()), (2, PNG_HASH));
    // A card without a picture is a card.
    assert!(house.sets(1, "<FN>Lunch</FN>").contains("type=\"result\""));
    assert_eq!(house.hashes(2), Vec::<String>::new());
    assert!(house.asks(2, 22, None, IqKind::Get, GET).contains("<FN>Lunch</FN>"));
}

#[test]
fn nobody_else_sets_it_and_outsiders_see_no_room() {
    let mut house = House::group(2);
    house.sets(1, PNG);
    let refused = house.sets(2, "");
    assert!(refused.contains("<forbidden") && refused.contains("Only the owner"), "{refused}");
    for (kind, payload) in
        [(IqKind::Get, card("")), (IqKind::Set, card("")), (IqKind::Set, card(PNG)), (IqKind::Get, INFO.into())]
    {
        let answer = house.asks(9, 99, None, kind, &payload);
        assert!(answer.contains("<item-not-found") && answer.contains("There is no such room."), "{answer}");
    }
    assert_eq!(house.hashes(2), [PNG_HASH]);
    // With the dialog it goes, and then there is no room for anybody.
    house.ask(Command::Delete { by: UserId(1), force: true });
    assert!(house.asks(1, 11, None, IqKind::Get, GET).contains("There is no such room."));
    assert!(house.sets(1, PNG).contains("There is no such room."));
    assert!(!house.rows.keys().any(|(table, _)| *table == CARDS.name()));
}

#[test]
fn only_pictures_that_are_here_and_not_too_large() {
    let mut house = House::group(2);
    house.sets(1, PNG);
    let photo = |kind: &str, data: &str| format!("<PHOTO><TYPE>{kind}</TYPE><BINVAL>{data}</BINVAL></PHOTO>");
    for wrong in [
        "<PHOTO><EXTVAL>https://example.com/who-looks.png</EXTVAL></PHOTO>".to_owned(),
        "<PHOTO><TYPE>image/png</TYPE></PHOTO>".to_owned(),
        photo("image/png", "not Base64"),
        photo("image/png", ""),
        // `<html>`, whatever it is said to be.
        photo("image/png", "PGh0bWw+"),
        photo("text/html", "iVBORw0KGgo="),
        format!("{PNG}{}", photo("image/png", "PGh0bWw+")),
    ] {
        let answer = house.sets(1, &wrong);
        assert!(answer.contains("<not-acceptable"), "{wrong}: {answer}");
    }
    let frame = card(PNG).len();
    for (bytes, fits) in [(VCARD_BYTES_MAX + 1, false), (VCARD_BYTES_MAX, true)] {
        let note = "x".repeat(bytes - frame - "<NOTE></NOTE>".len());
        let answer = house.sets(1, &format!("<NOTE>{note}</NOTE>{PNG}"));
        assert_eq!(answer.contains("<policy-violation"), !fits, "{bytes}");
    }
    assert_eq!(house.hashes(2), [PNG_HASH]);
    // Nobody has a card there but the room.
    house.enter(1, 11);
    house.said.clear();
    assert!(house.asks(1, 11, Some("1"), IqKind::Set, &card(PNG)).contains("<feature-not-implemented"));
}
