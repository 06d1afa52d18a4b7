//! XEP-0174: Serverless Messaging: the service that a user signs up with to be on the link. The bridge itself: [`crate::link_local`].
//!
//! A user is on the link only once he has registered with the service (XEP-0077), as with any gateway, and nothing of him is shown there
//! but what he says in that form. What he says is kept until he unregisters.

use serde::{Deserialize, Serialize};

use super::{At, Extension, IqRoute, Request, Spec, caps, disco, form, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table, Unreadable};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Context, Limits, Nodes, Writer};

pub(super) static LINK_LOCAL: Extension = Extension {
    name: "Serverless Messaging (a bridge to the local network, off by default)",
    spec: Spec::Xep(174, "2.0.1"),
    tables: &[&LINKS],
    iq: &[
        route(IqKind::Get, ns::DISCO_INFO, "query", on_info),
        route(IqKind::Get, ns::DISCO_ITEMS, "query", on_items),
        route(IqKind::Get, ns::PING, "ping", on_ping),
        route(IqKind::Get, ns::REGISTER, "query", on_form),
        route(IqKind::Set, ns::REGISTER, "query", on_register),
    ],
    ..Extension::NONE
};

type Apply = fn(&Request<'_>, &mut Account, Rows, &mut Turn<'_>) -> IqAnswer;

const fn route(kind: IqKind, ns: &'static str, name: &'static str, apply: Apply) -> IqRoute {
    IqRoute { at: At::Link, kind, ns, name, plan: nothing, apply }
}

/// account → [`Wishes`], for those who have registered.
static LINKS: Table = Table::new("links");

const VERSION: u8 = 1;

/// What a user who is on the link shows there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wishes {
    /// What he wants to be called.
    pub nick: Option<String>,
    /// Whether his address here is shown.
    pub jid: bool,
    /// Whether the text of his presence is shown.
    pub text: bool,
}

impl Wishes {
    /// The row they are in.
    pub(crate) fn reads(id: AccountId) -> Reads {
        Reads::get(&LINKS, key(id))
    }

    /// Takes the answer to [`Wishes::reads`].
    pub(crate) fn load(rows: &mut Rows) -> Result<Option<Wishes>, Unreadable> {
        rows.decoded(VERSION)
    }
}

fn key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}

fn on_info(request: &Request<'_>, _: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    disco::no_node(request)?;
    let features = [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::PING, ns::REGISTER];
    Ok(disco::info(None, [("gateway", "xmpp")].iter(), features.iter(), |_| {}))
}

fn on_ping(_: &Request<'_>, _: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    Ok(Vec::new())
}

/// Who is on the link, the bridge knows: those who are on it themselves get its answer instead of one from here.
fn on_items(request: &Request<'_>, _: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    disco::no_node(request)?;
    Err(Condition::RegistrationRequired.into())
}

/// XEP-0077 §3.1.1: what there is to fill in, with what was filled in before.
fn on_form(_: &Request<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let wishes = account.wishes();
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::REGISTER).simple("instructions", INSTRUCTIONS);
    if wishes.is_some() {
        xml.open("registered").close();
    }
    let Wishes { nick, jid, text } = wishes.cloned().unwrap_or_default();
    let nick = nick.unwrap_or_default();
    xml.simple("nick", &nick);
    form::open_form(&mut xml, ns::REGISTER);
    xml.simple("title", "Serverless messaging").simple("instructions", INSTRUCTIONS);
    for (var, kind, label, value) in [
        ("nick", "text-single", "Your name on the network", &*nick),
        ("jid", "boolean", "Show your address", if jid { "1" } else { "0" }),
        ("text", "boolean", "Show the text of your status", if text { "1" } else { "0" }),
    ] {
        xml.open("field").attr("var", var).attr("type", kind).attr("label", label).simple("value", value).close();
    }
    xml.close().close();
    drop(xml);
    Ok(out)
}

/// XEP-0077 §3.1, §3.2: on the link from now on, and off it.
fn on_register(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let query = request.payload;
    let mut batch = Batch::default();
    if query.child("remove", ns::REGISTER).is_some() {
        // §3.2: alone, and only by one who has registered.
        if query.children().count() != 1 {
            return Err(Condition::BadRequest.into());
        }
        if account.wishes().is_none() {
            return Err(Condition::RegistrationRequired.into());
        }
        batch.delete(&LINKS, key(account.id()));
        turn.out.write(batch);
        account.leaves_link(turn);
        return Ok(Vec::new());
    }
    let mut wishes = Wishes { nick: None, jid: false, text: false };
    wishes.nick = query.child("nick", ns::REGISTER).map(|nick| nick.text().into_owned());
    for field in form::submitted(query, ns::REGISTER)? {
        match &*field.var {
            "nick" => wishes.nick = field.values.first().cloned(),
            "jid" => wishes.jid = is_true(field.one()?)?,
            "text" => wishes.text = is_true(field.one()?)?,
            // XEP-0004 §3.2: what is not known is ignored.
            _ => {}
        }
    }
    wishes.nick = wishes.nick.map(|nick| nick.trim().to_owned()).filter(|nick| !nick.is_empty());
    if wishes.nick.as_ref().is_some_and(|nick| nick.len() > NICK_BYTES_MAX || nick.contains(char::is_control)) {
        return Err(Condition::NotAcceptable.into());
    }
    batch.put(&LINKS, key(account.id()), row::encode(VERSION, &wishes));
    turn.out.write(batch);
    account.joins_link(wishes);
    Ok(Vec::new())
}

/// XEP-0004 §3.3
fn is_true(value: &str) -> Result<bool, Condition> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Condition::NotAcceptable),
    }
}

/// What the bridge can do for those on the link, as disco#info has it; with the node that goes with it, or without. XEP-0174 §12
pub fn info(with_node: bool) -> Vec<u8> {
    let (node, ver) = caps();
    written(with_node.then(|| format!("{node}#{ver}")).as_deref())
}

/// The node and hash of that. XEP-0115
pub fn caps() -> (&'static str, String) {
    let info = written(None);
    let mut nodes = Nodes::new();
    let info = nodes.parse(&info, &Context::CLIENT, &Limits::STANZA).expect("a writer makes XML");
    (ns::LINK_LOCAL, caps::verification(info).expect("nothing is named twice"))
}

fn written(node: Option<&str>) -> Vec<u8> {
    let features = [ns::CAPS, ns::CHAT_STATES, ns::DISCO_INFO, ns::RECEIPTS];
    disco::info(node, [("client", "bot")].iter(), features.iter(), |_| {})
}

const INSTRUCTIONS: &str = "Once you register, everybody on the server's local network sees that you are there while you are online, \
    and can write to you. Nobody checks who they are, and nothing between you is encrypted.";

const NICK_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::effect::Note;
    use crate::ext::stage::{self, BOB, EVE, Stage};
    use crate::jid::user::AppId;
    use crate::link_local::{Link, Message};
    use crate::stanza::{Kind, Parcel, Sender};

    fn stage() -> Stage {
        let mut stage = Stage::new();
        stage.site.link = Some(Arc::new(Link { domain: "link.localhost".into(), apps: vec![AppId(1)] }));
        stage
    }

    fn iq(kind: &str, payload: &str) -> String {
        format!("<iq type='{kind}' id='1' to='link.localhost'>{payload}</iq>")
    }

    fn register(inside: &str) -> String {
        iq("set", &format!("<query xmlns='jabber:iq:register'>{inside}</query>"))
    }

    fn fill_in(fields: &[(&str, &str)]) -> String {
        let fields: String = [("FORM_TYPE", "jabber:iq:register")]
            .iter()
            .chain(fields)
            .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
            .collect();
        register(&format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>"))
    }

    /// What the bridge was told by the last stanza.
    fn told(stage: &Stage) -> Vec<&str> {
        stage.log().iter().filter_map(|line| line.strip_prefix("link ")).collect()
    }

    fn shown(status: &str, text: &str, nick: &str, jid: &str) -> String {
        let option = |text: &str| if text.is_empty() { "None".to_owned() } else { format!("Some({text:?})") };
        let (text, nick, jid) = (option(text), option(nick), option(jid));
        format!("Show({BOB:?}, Some(Card {{ status: {status}, text: {text}, nick: {nick}, jid: {jid} }}))")
    }

    fn hidden() -> String {
        format!("Show({BOB:?}, None)")
    }

    /// A message from somebody on the link.
    fn from_link(body: &str) -> Note {
        let message = Message { lasting: true, ..Message::notice(body) };
        let from: Arc<str> = r"romeo\40forza@link.localhost".into();
        let stanza = message.write(&from, "2-1@localhost", Some("romeo@forza"));
        let kind = Kind::Message { kind: crate::stanza::MessageKind::Chat, lasting: true };
        Note::Stanza(Parcel::new(Sender { jid: from, account: None }, None, kind, stanza.into()))
    }

    const SAY: &str = r"<message type='chat' id='m' to='romeo\40forza@link.localhost'><body>Ay me!</body></message>";

    #[test]
    fn nobody_is_shown_who_has_not_asked_for_it() {
        let mut stage = stage();
        stage.ask(BOB, "<presence/>");
        assert_eq!(told(&stage), [""; 0]);
        assert_eq!(stage::condition(&stage.ask(BOB, SAY)), "registration-required");
        let items = iq("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>");
        assert_eq!(stage::condition(&stage.ask(BOB, &items)), "registration-required");
        assert!(stage.tell(BOB, from_link("Hark!")).is_empty());
        assert!(told(&stage)[0].contains("kind: Error"), "{:?}", told(&stage));
        assert_eq!(stage::condition(&stage.ask(BOB, &register("<remove/>"))), "registration-required");
    }

    #[test]
    fn who_registers_is_shown_while_online_and_shows_what_he_wants() {
        let mut stage = stage();
        stage.ask(BOB, "<presence><show>xa</show><status>Hanging out</status></presence>");
        assert!(stage.ask(BOB, &register("")).contains("result"));
        // On disk first: after a crash nobody is shown whose wish is not there.
        assert_eq!(stage.log()[..2], ["write links", "deliver 2-1"]);
        assert_eq!(told(&stage), [shown("Away", "", "", "")]);
        stage.ask(BOB, &fill_in(&[("nick", " Bob "), ("text", "true"), ("jid", "1")]));
        assert_eq!(told(&stage), [shown("Away", "Hanging out", "Bob", "2-1@localhost")]);
        stage.ask(BOB, "<presence><show>dnd</show></presence>");
        assert_eq!(told(&stage), [shown("Busy", "", "Bob", "2-1@localhost")]);
        // The same once more, and a message: nothing to tell.
        stage.ask(BOB, "<presence><show>dnd</show><priority>3</priority></presence>");
        assert_eq!(told(&stage), [""; 0]);
        stage.ask(BOB, "<presence><priority>-1</priority></presence>");
        assert_eq!(told(&stage), [hidden()]);
        stage.ask(BOB, "<presence/>");
        assert_eq!(told(&stage), [shown("Available", "", "Bob", "2-1@localhost")]);
        stage.ask(BOB, "<presence type='unavailable'/>");
        assert_eq!(told(&stage), [hidden()]);
    }

    #[test]
    fn who_unregisters_or_is_removed_is_shown_no_more() {
        let mut stage = stage();
        stage.ask(BOB, "<presence/>");
        stage.ask(BOB, &register("<nick>Bob</nick>"));
        assert_eq!(stage.rows_in("links"), 1);
        stage.ask(BOB, &register("<remove/>"));
        assert_eq!((told(&stage), stage.rows_in("links")), (vec![&*hidden()], 0));
        assert!(stage.tell(BOB, from_link("Hark!")).is_empty());
        stage.ask(BOB, &register(""));
        stage.remove(BOB);
        assert_eq!(stage.rows_in("links"), 0);
    }

    #[test]
    fn lists_keep_a_user_from_the_link() {
        let mut stage = stage();
        stage.ask(BOB, "<presence/>");
        stage.ask(BOB, &register(""));
        let block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='link.localhost'/></block></iq>";
        stage.ask(BOB, block);
        assert_eq!(told(&stage), [hidden()]);
        assert!(stage.tell(BOB, from_link("Hark!")).is_empty());
        let unblock = "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>";
        stage.ask(BOB, unblock);
        assert_eq!(told(&stage), [shown("Available", "", "", "")]);
    }

    #[test]
    fn the_form_shows_what_was_filled_in() {
        let mut stage = stage();
        let ask = iq("get", "<query xmlns='jabber:iq:register'/>");
        let empty = stage.ask(BOB, &ask);
        assert!(empty.contains("<nick></nick>") || empty.contains("<nick/>"), "{empty}");
        assert!(!empty.contains("registered"), "{empty}");
        stage.ask(BOB, &fill_in(&[("nick", "B &lt;b&gt;"), ("jid", "1"), ("else", "x")]));
        let filled = stage.ask(BOB, &ask);
        assert!(filled.contains("<registered/><nick>B &lt;b&gt;</nick>"), "{filled}");
        assert!(filled.contains(r#"label="Show your address"><value>1</value>"#), "{filled}");
        for (wrong, condition) in [
            (fill_in(&[("jid", "perhaps")]), "not-acceptable"),
            (fill_in(&[("nick", &"x".repeat(65))]), "not-acceptable"),
            (fill_in(&[("nick", "a\nb")]), "not-acceptable"),
            (register("<remove/><nick/>"), "bad-request"),
            (register("<x xmlns='jabber:x:data' type='cancel'/>"), "bad-request"),
        ] {
            assert_eq!(stage::condition(&stage.ask(BOB, &wrong)), condition, "{wrong}");
        }
        assert_eq!(stage.ask(BOB, &ask), filled);
    }

    #[test]
    fn what_is_said_goes_to_the_bridge_and_only_that() {
        let mut stage = stage();
        stage.ask(BOB, "<presence/>");
        stage.ask(BOB, &register(""));
        assert_eq!(stage.ask(BOB, SAY), "");
        let word = told(&stage)[0];
        assert!(word.starts_with(r#"Message { account: "#), "{word}");
        assert!(word.contains(r#"from: "2-1@localhost/r", to: "romeo\\40forza""#), "{word}");
        let peer = r"romeo\40forza@link.localhost";
        for (stanza, condition) in [
            (format!("<message to='{peer}'><x xmlns='u'/></message>"), "not-acceptable"),
            (format!("<message type='groupchat' to='{peer}'><body>x</body></message>"), "not-acceptable"),
            ("<message to='link.localhost'><body>x</body></message>".to_owned(), "service-unavailable"),
            (format!("<iq type='get' id='1' to='{peer}'><ping xmlns='urn:xmpp:ping'/></iq>"), "service-unavailable"),
            (format!("<presence type='subscribe' to='{peer}'/>"), "service-unavailable"),
        ] {
            assert_eq!(stage::condition(&stage.ask(BOB, &stanza)), condition, "{stanza}");
            assert_eq!(told(&stage), [""; 0]);
        }
        assert_eq!(stage.ask(BOB, &format!("<presence to='{peer}'/>")), "");
        stage.ask(BOB, &iq("get", "<query xmlns='http://jabber.org/protocol/disco#items'/>"));
        assert!(told(&stage)[0].starts_with("Who { asker: 2-1@localhost/r"), "{:?}", told(&stage));
    }

    #[test]
    fn what_comes_from_the_link_is_taken_as_from_a_stranger() {
        let mut stage = stage();
        stage.ask(BOB, "<presence/>");
        stage.ask(BOB, &register(""));
        let given = stage.tell(BOB, from_link("Hark!"));
        let [(to, stanza)] = &given[..] else { panic!("{given:?}") };
        assert_eq!(*to, BOB);
        assert!(stanza.contains(r#"<unverified xmlns="urn:x-rookery:link-local" name="romeo@forza"/>"#), "{stanza}");
        assert!(stanza.starts_with(r#"<message from="romeo\40forza@link.localhost" to="2-1@localhost""#), "{stanza}");
        assert_eq!(told(&stage), [""; 0]);
    }

    #[test]
    fn other_apps_find_no_service() {
        let mut stage = stage();
        stage.ask(EVE, "<presence/>");
        for stanza in [register(""), iq("get", "<query xmlns='jabber:iq:register'/>"), SAY.to_owned()] {
            assert_eq!(stage::condition(&stage.ask(EVE, &stanza)), "remote-server-not-found", "{stanza}");
        }
        let items = "<iq type='get' id='1' to='localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
        assert!(!stage.ask(EVE, items).contains("link.localhost"));
        assert!(stage.ask(BOB, items).contains("link.localhost"));
    }

    #[test]
    fn what_the_bridge_can_do_goes_with_its_hash() {
        let with_node = String::from_utf8(info(true)).unwrap();
        let (node, ver) = caps();
        assert!(with_node.contains(&format!(r#"node="{node}#{ver}""#)), "{with_node}");
        assert_eq!(with_node.replace(&format!(r#" node="{node}#{ver}""#), "").into_bytes(), info(false));
    }
}
