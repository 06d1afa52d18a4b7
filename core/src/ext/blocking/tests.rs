//! The examples of XEP-0191, with the names of this server's users.

use super::*;
use crate::ext::stage::{self, ADAM, BOB, Stage};
use crate::owner::AccountId;

fn iq(kind: &str, payload: &str) -> String {
    format!("<iq type='{kind}' id='1'>{payload}</iq>")
}

fn blocklist(stage: &mut Stage, of: AccountId) -> Vec<String> {
    let answer = stage.ask(of, &iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>"));
    answer.split("jid=\"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

fn block(jids: &[&str]) -> String {
    command("block", jids)
}

fn unblock(jids: &[&str]) -> String {
    command("unblock", jids)
}

fn command(name: &str, jids: &[&str]) -> String {
    let items: String = jids.iter().map(|jid| format!("<item jid='{jid}'/>")).collect();
    iq("set", &format!("<{name} xmlns='urn:xmpp:blocking'>{items}</{name}>"))
}

fn privacy(payload: &str) -> String {
    iq("set", &format!("<query xmlns='jabber:iq:privacy'>{payload}</query>"))
}

fn list(stage: &mut Stage, name: &str) -> String {
    let answer = stage.ask(BOB, &iq("get", &format!("<query xmlns='jabber:iq:privacy'><list name='{name}'/></query>")));
    let start = answer.find("<list").unwrap_or(0);
    answer[start..].trim_end_matches("</query></iq>").to_owned()
}

const DONE: &str = r#"<iq type="result" id="1" to="2-1@localhost/r"/>"#;

fn pushed(payload: &str) -> String {
    format!(r#"<iq type="set" id="000000000000000000000000" to="2-1@localhost/r">{payload}</iq>"#)
}

/// §3.2 to §3.5
#[test]
fn what_is_blocked_is_told_until_it_is_unblocked() {
    let mut stage = Stage::new();
    let empty = stage.ask(BOB, &iq("get", "<blocklist xmlns='urn:xmpp:blocking'/>"));
    assert_eq!(empty, DONE.replace("/>", r#"><blocklist xmlns="urn:xmpp:blocking"/></iq>"#));
    let list_push = pushed(r#"<query xmlns="jabber:iq:privacy"><list name="blocked"/></query>"#);
    let items = |name: &str, jids: &[&str]| {
        let items: String = jids.iter().map(|jid| format!(r#"<item jid="{jid}"/>"#)).collect();
        pushed(&format!(r#"<{name} xmlns="urn:xmpp:blocking">{items}</{name}>"#))
    };
    let (romeo, iago) = ("romeo@montague.net", "iago@shakespeare.lit");
    let answer = stage.ask(BOB, &block(&["Romeo@montague.net", iago]));
    assert_eq!(answer, [DONE, &list_push, &items("block", &[romeo, iago])].concat());
    assert_eq!(stage.log()[0], "write privacy");
    assert_eq!(blocklist(&mut stage, BOB), [romeo, iago]);
    assert_eq!(stage.ask(BOB, &block(&[iago])), DONE, "it is blocked already");
    assert_eq!(stage.ask(BOB, &unblock(&[romeo])), [DONE, &list_push, &items("unblock", &[romeo])].concat());
    assert_eq!(blocklist(&mut stage, BOB), [iago]);
    assert_eq!(stage.ask(BOB, &unblock(&["nobody@x"])), DONE, "it never was");
    let all = pushed(r#"<unblock xmlns="urn:xmpp:blocking"/>"#);
    assert_eq!(stage.ask(BOB, &unblock(&[])), [DONE, &list_push, &all].concat());
    assert!(blocklist(&mut stage, BOB).is_empty());
    assert_eq!(stage.rows_in("privacy"), 0);
}

#[test]
fn nobody_hears_of_changes_who_has_not_asked() {
    let mut stage = Stage::new();
    assert!(!stage.ask(BOB, &block(&["romeo@montague.net"])).contains("urn:xmpp:blocking"));
    assert!(blocklist(&mut stage, ADAM).is_empty());
}

#[test]
fn refuses_what_is_no_address() {
    let mut stage = Stage::new();
    stage.ask(BOB, &block(&["romeo@montague.net"]));
    let bad = [
        (block(&[]), "bad-request"),
        (block(&["a@b", ""]), "jid-malformed"),
        (unblock(&["@"]), "jid-malformed"),
        (iq("set", "<block xmlns='urn:xmpp:blocking'><item/></block>"), "bad-request"),
        // It must not count as one that names nobody.
        (iq("set", "<unblock xmlns='urn:xmpp:blocking'><item/></unblock>"), "bad-request"),
        (iq("set", "<unblock xmlns='urn:xmpp:blocking'><jid>a@b</jid></unblock>"), "bad-request"),
        (iq("set", "<blocklist xmlns='urn:xmpp:blocking'/>"), "bad-request"),
    ];
    for (iq, condition) in bad {
        assert_eq!(stage::condition(&stage.ask(BOB, &iq)), condition, "{iq}");
    }
    assert_eq!(blocklist(&mut stage, BOB), ["romeo@montague.net"]);
}

#[test]
fn only_so_many_fit() {
    let mut stage = Stage::new();
    let jids: Vec<String> = (0..PRIVACY_ITEMS_MAX).map(|n| format!("{n}@x")).collect();
    let jids: Vec<&str> = jids.iter().map(String::as_str).collect();
    assert_eq!(stage::condition(&stage.ask(BOB, &block(&[&jids[..], &["z@x"]].concat()))), "resource-constraint");
    assert_eq!(blocklist(&mut stage, BOB).len(), 0);
    stage.ask(BOB, &block(&jids));
    assert_eq!(stage::condition(&stage.ask(BOB, &block(&["z@x"]))), "resource-constraint");
    assert_eq!(blocklist(&mut stage, BOB).len(), PRIVACY_ITEMS_MAX);
    stage.ask(BOB, &unblock(&jids[..1]));
    assert!(stage.ask(BOB, &block(&["z@x"])).starts_with(DONE));
}

/// §4
#[test]
fn the_blocklist_is_a_view_of_the_default_list() {
    let mut stage = Stage::new();
    blocklist(&mut stage, BOB);
    let own = "<item type='jid' value='55-1@localhost' action='deny' order='1'><message/></item>\
               <item type='jid' value='mutual@x' action='deny' order='2'/>\
               <item type='subscription' value='both' action='allow' order='3'/><item action='deny' order='4'/>";
    assert!(!stage.ask(BOB, &privacy(&format!("<list name='own'>{own}</list>"))).contains("urn:xmpp:blocking"));
    // A list that becomes the default one brings what it blocks along, and only what it blocks altogether.
    let chosen = stage.ask(BOB, &privacy("<default name='own'/>"));
    let told = pushed(r#"<block xmlns="urn:xmpp:blocking"><item jid="mutual@x"/></block>"#);
    assert_eq!(chosen, [DONE, &told].concat());
    assert_eq!(blocklist(&mut stage, BOB), ["mutual@x"]);
    // What is blocked comes before what would let it pass, and behind the pairs of the product's SDKs.
    stage.ask(BOB, &block(&["new@x"]));
    let expected = r#"<list name="own"><item type="jid" value="55-1@localhost" action="deny" order="1"><message/></item><item type="jid" value="mutual@x" action="deny" order="2"/><item type="jid" value="new@x" action="deny" order="3"/><item type="subscription" value="both" action="allow" order="4"/><item action="deny" order="5"/></list>"#;
    assert_eq!(list(&mut stage, "own"), expected);
    // An edited list tells those who asked here.
    let edited =
        stage.ask(BOB, &privacy("<list name='own'><item type='jid' value='new@x' action='deny' order='1'/></list>"));
    assert!(
        edited.ends_with(&pushed(r#"<unblock xmlns="urn:xmpp:blocking"><item jid="mutual@x"/></unblock>"#)),
        "{edited}"
    );
    // Another default list is another blocklist.
    stage.ask(BOB, &privacy("<default/>"));
    assert!(blocklist(&mut stage, BOB).is_empty());
    // A first block makes a list of its own, under a name that is free.
    stage.ask(BOB, &privacy("<list name='blocked'><item action='allow' order='1'/></list>"));
    stage.ask(BOB, &block(&["new@x"]));
    assert_eq!(blocklist(&mut stage, BOB), ["new@x"]);
    assert!(list(&mut stage, "blocked 2").contains("new@x"));
    // Unblocking leaves the rest of a list as it is.
    stage.ask(BOB, &privacy(&format!("<list name='blocked 2'>{own}</list>")));
    stage.ask(BOB, &unblock(&[]));
    assert_eq!(list(&mut stage, "blocked 2").matches("<item").count(), 3);
}
