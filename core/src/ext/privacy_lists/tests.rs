//! The examples of XEP-0016, with the names of this server's users, and what must be refused.

use super::*;
use crate::ext::stage::{self, ADAM, BOB, EVE, Stage};
use crate::limits::{PRIVACY_BYTES_MAX, PRIVACY_LISTS_MAX};

fn iq(kind: &str, payload: &str) -> String {
    format!("<iq type='{kind}' id='1'><query xmlns='jabber:iq:privacy'>{payload}</query></iq>")
}

fn set(payload: &str) -> String {
    iq("set", payload)
}

fn got(payload: &str) -> String {
    let query = format!(r#"<query xmlns="jabber:iq:privacy">{payload}</query>"#);
    format!(r#"<iq type="result" id="1" to="2-1@localhost/r">{query}</iq>"#)
}

const DONE: &str = r#"<iq type="result" id="1" to="2-1@localhost/r"/>"#;

/// The result of a change, and that the list of this name has changed.
fn done_and_pushed(name: &str) -> String {
    let query = format!(r#"<query xmlns="jabber:iq:privacy"><list name="{name}"/></query>"#);
    format!(r#"{DONE}<iq type="set" id="000000000000000000000000" to="2-1@localhost/r">{query}</iq>"#)
}

const PUBLIC: &str = r#"<list name="public"><item type="jid" value="tybalt@example.com" action="deny" order="1"/><item action="allow" order="2"/></list>"#;
const PRIVATE: &str = r#"<list name="private"><item type="subscription" value="both" action="allow" order="10"/><item action="deny" order="15"/></list>"#;
const SPECIAL: &str = r#"<list name="special"><item type="jid" value="juliet@example.com" action="allow" order="6"/><item type="jid" value="mercutio@example.org" action="allow" order="42"/><item action="deny" order="666"/></list>"#;

fn with_three() -> Stage {
    let mut stage = Stage::new();
    for list in [PUBLIC, PRIVATE, SPECIAL] {
        assert!(stage.ask(BOB, &set(list)).starts_with(DONE));
    }
    stage
}

/// §2.3
#[test]
fn lists_come_back_as_they_were_set() {
    let mut stage = Stage::new();
    assert_eq!(stage.ask(BOB, &iq("get", "")), got("").replace("></query>", "/>"));
    assert_eq!(stage.ask(BOB, &set(PUBLIC)), done_and_pushed("public"));
    assert_eq!(stage.log(), ["write privacy", "deliver 2-1", "deliver 2-1"]);
    stage.ask(BOB, &set(PRIVATE));
    stage.ask(BOB, &set(SPECIAL));
    assert_eq!(stage.ask(BOB, &set("<active name='private'/>")), DONE);
    assert_eq!(stage.ask(BOB, &set("<default name='public'/>")), DONE);
    assert_eq!(stage.log(), ["write privacy", "deliver 2-1"]);
    let names = r#"<active name="private"/><default name="public"/><list name="public"/><list name="private"/><list name="special"/>"#;
    assert_eq!(stage.ask(BOB, &iq("get", "")), got(names));
    for (name, list) in [("public", PUBLIC), ("private", PRIVATE), ("special", SPECIAL)] {
        assert_eq!(stage.ask(BOB, &iq("get", &format!("<list name='{name}'/>"))), got(list));
    }
    assert_eq!(stage.rows_in("privacy"), 1);
    stage.remove(BOB);
    assert_eq!(stage.rows_in("privacy"), 0);
}

/// §2.6, §2.7, §2.8
#[test]
fn a_list_is_replaced_as_a_whole_and_removed_when_it_is_empty() {
    let mut stage = with_three();
    let edited = r#"<list name="public"><item type="jid" value="paris@example.org" action="deny" order="3"><message/><presence-out/></item></list>"#;
    assert_eq!(stage.ask(BOB, &set(edited)), done_and_pushed("public"));
    assert_eq!(stage.ask(BOB, &iq("get", "<list name='public'/>")), got(edited));
    assert_eq!(stage.ask(BOB, &set(edited)), DONE, "nothing has changed");
    stage.ask(BOB, &set("<active name='private'/>"));
    stage.ask(BOB, &set("<default name='private'/>"));
    assert_eq!(stage.ask(BOB, &set("<list name='private'/>")), done_and_pushed("private"));
    assert_eq!(stage.ask(BOB, &iq("get", "")), got(r#"<list name="public"/><list name="special"/>"#));
    for name in ["public", "special"] {
        stage.ask(BOB, &set(&format!("<list name='{name}'/>")));
    }
    assert_eq!(stage.rows_in("privacy"), 0);
}

/// §2.4, §2.5
#[test]
fn active_and_default_lists_are_declined() {
    let mut stage = with_three();
    for (choose, decline) in [
        ("<active name='special'/>", "<active/>"),
        ("<default name='special'/>", "<default/>"),
        // As the product's SDK of 2014 writes it.
        ("<default name='special'/>", "<default name=''/>"),
    ] {
        assert_eq!(stage.ask(BOB, &set(choose)), DONE);
        assert!(stage.ask(BOB, &iq("get", "")).contains("special\"/><list"));
        assert_eq!(stage.ask(BOB, &set(decline)), DONE);
        assert!(!stage.ask(BOB, &iq("get", "")).contains("special\"/><list name=\"public"));
    }
    // There is nothing to decline, and that is no mistake.
    assert_eq!(Stage::new().ask(BOB, &set("<active/>")), DONE);
    assert_eq!(Stage::new().ask(BOB, &set("<default/>")), DONE);
}

#[test]
fn items_come_in_their_order_and_in_normal_form() {
    let mut stage = Stage::new();
    let given = "<list name='b'><item type='jid' value='MUC.localhost/55' action='deny' order='2'><iq/><message/></item>\
                 <item type='jid' value='55-1@LOCALHOST' action='deny' order='1'/></list>";
    let kept = r#"<list name="b"><item type="jid" value="55-1@localhost" action="deny" order="1"/><item type="jid" value="muc.localhost/55" action="deny" order="2"><message/><iq/></item></list>"#;
    stage.ask(BOB, &set(given));
    assert_eq!(stage.ask(BOB, &iq("get", "<list name='b'/>")), got(kept));
}

/// §2.1: groups are those of the roster.
#[test]
fn a_group_has_to_be_there() {
    let mut stage = Stage::new();
    let enemies = "<list name='e'><item type='group' value='Enemies' action='deny' order='4'><message/></item></list>";
    assert_eq!(stage::condition(&stage.ask(BOB, &set(enemies))), "item-not-found");
    let item = "<item jid='1-1@localhost'><group>Enemies</group></item>";
    stage.ask(BOB, &format!("<iq type='set' id='2'><query xmlns='jabber:iq:roster'>{item}</query></iq>"));
    assert_eq!(stage.ask(BOB, &set(enemies)), done_and_pushed("e"));
}

#[test]
fn refuses_what_the_specification_does() {
    let item = |attributes: &str| set(&format!("<list name='x'><item {attributes}/></list>"));
    let cases = [
        (iq("get", "<list name='The Empty Set'/>"), "item-not-found"),
        (iq("get", "<list name='public'/><list name='private'/>"), "bad-request"),
        (iq("get", "<list/>"), "bad-request"),
        (iq("get", "<active/>"), "bad-request"),
        (set("<active name='The Empty Set'/>"), "item-not-found"),
        (set("<default name='The Empty Set'/>"), "item-not-found"),
        (set("<list name='The Empty Set'/>"), "item-not-found"),
        (set(""), "bad-request"),
        (set("<active/><default/>"), "bad-request"),
        (set("<list name='private'/><list name='special'/>"), "bad-request"),
        (set("<list/>"), "bad-request"),
        (set("<lists name='x'/>"), "bad-request"),
        (set("<list xmlns='other' name='private'/>"), "bad-request"),
        (item("action='deny'"), "bad-request"),
        (item("order='1'"), "bad-request"),
        (item("order='1' action='block'"), "bad-request"),
        (item("order='-1' action='deny'"), "bad-request"),
        (item("order='+1' action='deny'"), "bad-request"),
        (item("order='' action='deny'"), "bad-request"),
        (item("order='4294967296' action='deny'"), "bad-request"),
        (item("order='1' action='deny' type='jid'"), "bad-request"),
        (item("order='1' action='deny' type='jid' value='@'"), "jid-malformed"),
        (item("order='1' action='deny' type='nick' value='x'"), "bad-request"),
        (item("order='1' action='deny' type='subscription' value='remove'"), "bad-request"),
        (set("<list name='x'><item order='1' action='deny'><presence/></item></list>"), "bad-request"),
        (set("<list name='x'><item order='1' action='deny'><iq xmlns='other'/></item></list>"), "bad-request"),
        (set("<list name='x'><entry order='1' action='deny'/></list>"), "bad-request"),
        (set("<list name='x'><item order='1' action='deny'/><item order='1' action='allow'/></list>"), "bad-request"),
        (set(&format!("<active name='{}'/>", "n".repeat(PRIVACY_NAME_BYTES_MAX + 1))), "not-acceptable"),
    ];
    let mut stage = with_three();
    let before = stage.ask(BOB, &iq("get", ""));
    for (iq, condition) in cases {
        let answer = stage.ask(BOB, &iq);
        assert_eq!(stage::condition(&answer), condition, "{iq}");
        assert!(
            answer.contains("<query xmlns='jabber:iq:privacy'>"),
            "SDKs look into the request that failed: {answer}"
        );
        assert!(!stage.log().iter().any(|line| line.starts_with("write")), "{iq}");
    }
    assert_eq!(stage.ask(BOB, &iq("get", "")), before);
}

#[test]
fn thousands_of_items_do_not_fit() {
    let mut stage = Stage::new();
    let list = |name: &str, items: std::ops::Range<usize>| {
        let items: String = items.map(|n| format!("<item action='deny' order='{n}'/>")).collect();
        set(&format!("<list name='{name}'>{items}</list>"))
    };
    assert_eq!(stage::condition(&stage.ask(BOB, &list("a", 0..5_000))), "resource-constraint");
    assert_eq!(stage.ask(BOB, &list("a", 0..3_000)), done_and_pushed("a"));
    // All lists count together.
    assert_eq!(stage::condition(&stage.ask(BOB, &list("b", 0..PRIVACY_ITEMS_MAX - 2_999))), "resource-constraint");
    assert_eq!(stage.ask(BOB, &list("b", 0..PRIVACY_ITEMS_MAX - 3_000)), done_and_pushed("b"));
    // One that replaces another has its room.
    assert_eq!(stage.ask(BOB, &list("a", 1..3_000)), done_and_pushed("a"));
}

#[test]
fn the_number_of_lists_and_their_bytes_have_bounds() {
    let mut stage = Stage::new();
    let one = |n: usize, item: &str| set(&format!("<list name='l{n}'>{item}</list>"));
    for n in 0..PRIVACY_LISTS_MAX {
        assert_eq!(stage.ask(BOB, &one(n, "<item action='deny' order='1'/>")), done_and_pushed(&format!("l{n}")));
    }
    let more = one(PRIVACY_LISTS_MAX, "<item action='deny' order='1'/>");
    assert_eq!(stage::condition(&stage.ask(BOB, &more)), "resource-constraint");
    let long = "r".repeat(1_000);
    let items = PRIVACY_BYTES_MAX / 2 / 1_000;
    let items: String =
        (0..items).map(|n| format!("<item type='jid' value='d/{long}' action='deny' order='{n}'/>")).collect();
    assert_eq!(stage.ask(BOB, &one(0, &items)), done_and_pushed("l0"));
    assert_eq!(stage::condition(&stage.ask(BOB, &one(1, &items))), "resource-constraint");
}

#[test]
fn lists_are_nobody_elses_business() {
    let mut stage = with_three();
    for asker in [ADAM, EVE] {
        for kind in ["get", "set"] {
            let iq = iq(kind, "<list name='public'/>").replace("<iq ", "<iq to='2-1@localhost' ");
            assert_eq!(stage::condition(&stage.ask(asker, &iq)), "service-unavailable");
        }
    }
    assert_eq!(stage.ask(BOB, &iq("get", "<list name='public'/>")), got(PUBLIC));
}

/// H06: whatever a list denies, its owner can always change it.
#[test]
fn a_list_that_denies_everybody_does_not_lock_its_owner_out() {
    let mut stage = Stage::new();
    let nobody = "<list name='n'><item type='jid' value='localhost' action='deny' order='1'/><item action='deny' order='2'/></list>";
    stage.ask(BOB, &set(nobody));
    assert_eq!(stage.ask(BOB, &set("<active name='n'/>")), DONE);
    assert_eq!(stage.ask(BOB, &set("<default name='n'/>")), DONE);
    let to_server = "<iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert_eq!(stage.ask(BOB, to_server), r#"<iq type="result" id="1" from="localhost" to="2-1@localhost/r"/>"#);
    assert_eq!(stage.ask(BOB, &set("<list name='n'/>")), done_and_pushed("n"));
}
