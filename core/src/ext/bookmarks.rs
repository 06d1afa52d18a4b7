//! XEP-0402: PEP Native Bookmarks, and the same bookmarks for clients that know them as one element in private XML storage (XEP-0048,
//! XEP-0049).
//!
//! The items of the node are the bookmarks. An element that an old client sets is taken apart into items, and put together from them
//! when one asks. What such an element has that is not a bookmark of a room stays where private things are.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::pep::{self, Access, Config, Item, Pep, Publication, Standing};
use super::{Extension, Spec};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, Refusal};
use crate::jid::Jid;
use crate::limits::PEP_ITEMS_MAX;
use crate::ns;
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::xml::{Element, Nodes, Writer, splice};

pub(super) static BOOKMARKS: Extension = Extension {
    name: "PEP Native Bookmarks",
    spec: Spec::Xep(402, "1.2.0"),
    account_features: &[ns::BOOKMARKS_COMPAT],
    ..Extension::NONE
};

/// Whether the bookmarks that are published are for nobody else. Others are not mixed with private ones. XEP-0411 §5
pub(super) fn are_private(account: &Account) -> bool {
    let node = account.pep().and_then(|pep| pep.node(ns::BOOKMARKS));
    node.is_none_or(|node| node.config.access == Access::Whitelist && node.config.persist)
}

/// What [`write_storage`] and [`Change::read`] have to see.
pub(super) fn reads(account: &Account) -> Reads {
    pep::read_items(account.id(), ns::BOOKMARKS, PEP_ITEMS_MAX)
}

/// A bookmark, as far as both kinds have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Bookmark {
    name: Option<String>,
    autojoin: bool,
    nick: Option<String>,
    password: Option<String>,
}

impl Bookmark {
    /// Of a `<conference/>` of either kind.
    fn read(conference: Element<'_>) -> Bookmark {
        let text = |name| conference.child(name, conference.ns()).map(|child| child.text().into_owned());
        Bookmark {
            name: conference.attr("name").map(|name| name.into_owned()),
            autojoin: matches!(conference.attr("autojoin").as_deref(), Some("1" | "true")),
            nick: text("nick").filter(|nick| !nick.is_empty()),
            password: text("password").filter(|password| !password.is_empty()),
        }
    }

    /// Opens a `<conference/>`; the caller adds what only one kind has, and closes it.
    fn open(&self, jid: Option<&str>, ns: Option<&str>, xml: &mut Writer<'_>) {
        xml.open("conference");
        if let Some(ns) = ns {
            xml.ns(ns);
        }
        xml.attr_opt("jid", jid).attr_opt("name", self.name.as_deref());
        if self.autojoin {
            xml.attr("autojoin", "true");
        }
        for (name, text) in [("nick", &self.nick), ("password", &self.password)] {
            if let Some(text) = text {
                xml.simple(name, text);
            }
        }
    }

    /// As an item, with what the older one had besides.
    fn payload(&self, older: Option<&str>) -> String {
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        self.open(None, Some(ns::BOOKMARKS), &mut xml);
        let mut nodes = Nodes::new();
        let older = older.and_then(|older| nodes.reread(older.as_bytes()));
        if let Some(extensions) = older.and_then(|older| older.child("extensions", ns::BOOKMARKS)) {
            xml.copy(extensions, ns::BOOKMARKS);
        }
        drop(xml);
        String::from_utf8(out).expect("a writer writes text")
    }
}

/// The bookmark on an item.
fn of_item(item: &Item<'_>) -> Option<Bookmark> {
    let mut nodes = Nodes::new();
    let payload = nodes.reread(item.payload.as_bytes())?;
    payload.is("conference", ns::BOOKMARKS).then(|| Bookmark::read(payload))
}

/// The room that an old `<conference/>` is about.
fn room(conference: Element<'_>) -> Option<String> {
    if !conference.is("conference", ns::BOOKMARKS_LEGACY) {
        return None;
    }
    let jid = conference.attr("jid")?;
    Jid::parse(&jid).ok().filter(Jid::is_bare).map(|jid| jid.as_str().to_owned())
}

/// The bookmarks as one element, as old clients know them; `kept` is what private storage has besides.
pub(super) fn write_storage(
    kept: Option<&str>,
    account: &Account,
    rows: &mut Rows,
    xml: &mut Writer<'_>,
) -> Result<(), Unreadable> {
    let items = pep::page(account.id(), ns::BOOKMARKS, rows)?;
    xml.open("storage").ns(ns::BOOKMARKS_LEGACY);
    for (jid, row) in &items {
        if let Some(bookmark) = of_item(&Item::read(row)?) {
            bookmark.open(Some(jid), None, xml);
            xml.close();
        }
    }
    let wrapped = format!("<kept>{}</kept>", kept.unwrap_or_default());
    let mut nodes = Nodes::new();
    let wrapped = nodes.reread(wrapped.as_bytes()).ok_or(Unreadable::Malformed)?;
    let published = |child: Element<'_>| room(child).is_some_and(|jid| items.iter().any(|(item, _)| *item == jid));
    for child in wrapped.children().flat_map(Element::children).filter(|&child| !published(child)) {
        xml.copy(child, ns::BOOKMARKS_LEGACY);
    }
    xml.close();
    Ok(())
}

/// What becomes of the bookmarks when an old client sets them.
pub(super) struct Change {
    pep: Pep,
    /// What is not a bookmark.
    left: Option<String>,
    /// Item and payload of those that are new or changed.
    published: Vec<(String, String)>,
    retracted: Vec<String>,
}

impl Change {
    /// Compares what is set with what there is, and puts into `batch` what that changes. Nothing has changed yet.
    pub fn read(
        query: Element<'_>,
        account: &Account,
        rows: &mut Rows,
        batch: &mut Batch,
        turn: &Turn<'_>,
    ) -> Result<Change, Refusal> {
        let unreadable = |_| Refusal::from(Condition::InternalServerError);
        let items = pep::page(account.id(), ns::BOOKMARKS, rows).map_err(unreadable)?;
        let items = in_order(&items).map_err(unreadable)?;
        let (wanted, left) = apart(query)?;
        let mut change = Change {
            pep: account.pep().cloned().unwrap_or_default(),
            left,
            published: Vec::new(),
            retracted: Vec::new(),
        };
        let gone = |jid: &str| !wanted.contains_key(jid);
        let last = items.iter().rev().map(|(jid, _)| *jid).find(|jid| !gone(jid));
        let id = account.id();
        for (jid, old) in items.iter().filter(|(jid, _)| gone(jid)) {
            change.pep.retract(id, ns::BOOKMARKS, jid, old, last.map(str::to_owned), batch);
            change.retracted.push((*jid).to_owned());
        }
        change.make_room(wanted.len(), account, batch);
        for (jid, bookmark) in &wanted {
            let old = items.iter().find(|(item, _)| item == jid).map(|(_, old)| old);
            if old.and_then(of_item).as_ref() == Some(bookmark) {
                continue;
            }
            let payload = bookmark.payload(old.map(|old| old.payload));
            let publication = Publication { node: ns::BOOKMARKS, item: jid, payload: &payload };
            let standing = Standing::replacing(jid, old);
            change.pep.publish(id, &publication, Config::private(), standing, turn.now.stamp, batch)?;
            change.published.push((jid.clone(), payload));
        }
        Ok(change)
    }

    /// A client may have made the node for fewer.
    fn make_room(&mut self, bookmarks: usize, account: &Account, batch: &mut Batch) {
        let Some(node) = self.pep.node(ns::BOOKMARKS) else { return };
        if (node.config.max_items as usize) < bookmarks {
            let config = Config { max_items: Config::private().max_items, ..node.config.clone() };
            self.pep.configure(account.id(), ns::BOOKMARKS, config, Vec::new(), batch);
        }
    }

    /// What remains for private storage.
    pub fn left(&self) -> Option<&str> {
        self.left.as_deref()
    }

    /// Puts it in force and tells the user's other clients, once it is written. XEP-0402 §6.3.2: of what has changed.
    pub fn take(self, account: &mut Account, turn: &mut Turn<'_>) {
        if self.published.is_empty() && self.retracted.is_empty() {
            return;
        }
        *account.pep_mut() = self.pep;
        for jid in &self.retracted {
            let event = pep::retracted(account.jid(), ns::BOOKMARKS, jid, turn);
            account.tells(ns::BOOKMARKS, &event, turn);
        }
        for (jid, payload) in &self.published {
            account.tells_published(&Publication { node: ns::BOOKMARKS, item: jid, payload }, turn);
        }
    }
}

fn in_order(items: &[(String, Bytes)]) -> Result<Vec<(&str, Item<'_>)>, Unreadable> {
    let mut read =
        items.iter().map(|(jid, row)| Ok((&**jid, Item::read(row)?))).collect::<Result<Vec<_>, Unreadable>>()?;
    read.sort_unstable_by_key(|(_, item)| item.order);
    Ok(read)
}

/// The bookmarks by their rooms, and the rest as it is to be kept.
fn apart(query: Element<'_>) -> Result<(BTreeMap<String, Bookmark>, Option<String>), Condition> {
    let mut bookmarks = BTreeMap::new();
    let mut left = Vec::new();
    let storages = query.children().filter(|child| child.is("storage", ns::BOOKMARKS_LEGACY));
    for child in storages.flat_map(Element::children) {
        match room(child) {
            Some(jid) => _ = bookmarks.insert(jid, Bookmark::read(child)),
            None => splice::copy(child, ns::BOOKMARKS_LEGACY, &mut left),
        }
    }
    if bookmarks.len() > PEP_ITEMS_MAX {
        return Err(Condition::ResourceConstraint);
    }
    if left.is_empty() {
        return Ok((bookmarks, None));
    }
    let mut storage = Vec::new();
    Writer::new(&mut storage).open("storage").ns(ns::BOOKMARKS_LEGACY).raw_bytes(&left);
    String::from_utf8(storage).map(|storage| (bookmarks, Some(storage))).map_err(|_| Condition::BadRequest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, BOB, Stage};

    fn private_set(inside: &str) -> String {
        format!("<iq type='set' id='s'><query xmlns='jabber:iq:private'>{inside}</query></iq>")
    }

    fn storage(inside: &str) -> String {
        format!("<storage xmlns='storage:bookmarks'>{inside}</storage>")
    }

    fn stored(stage: &mut Stage) -> String {
        let get = private_set("<storage xmlns='storage:bookmarks'/>").replace("'set'", "'get'");
        let answer = stage.ask(BOB, &get);
        let (_, rest) = answer.split_once("storage:bookmarks").unwrap();
        rest[1..].strip_prefix('>').map_or("", |inside| inside.split("</storage>").next().unwrap()).to_owned()
    }

    fn publish(jid: &str, conference: &str) -> String {
        format!(
            "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'><item id='{jid}'>{conference}</item></publish></pubsub></iq>"
        )
    }

    fn published(stage: &mut Stage) -> String {
        stage.ask(BOB, "<iq type='get' id='i'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub></iq>")
    }

    const PLAY: &str = "<conference jid='play@muc.localhost' name='The Play' autojoin='1'><nick>JC</nick></conference>";
    const BALL: &str = "<conference jid='ball@muc.localhost'/>";

    #[test]
    fn what_an_old_client_sets_a_new_one_finds() {
        let mut stage = Stage::new();
        assert_eq!(stored(&mut stage), "");
        assert!(stage.ask(BOB, &private_set(&storage(&format!("{PLAY}{BALL}")))).contains("result"));
        let items = published(&mut stage);
        let play = r#"<item id="play@muc.localhost"><conference xmlns="urn:xmpp:bookmarks:1" name="The Play" autojoin="true"><nick>JC</nick></conference></item>"#;
        let ball = r#"<item id="ball@muc.localhost"><conference xmlns="urn:xmpp:bookmarks:1"/></item>"#;
        assert!(items.contains(play) && items.contains(ball), "{items}");
        assert_eq!(stage.rows_in("private"), 0);
        assert!(stage.ask(BOB, &private_set(&storage(BALL))).contains("result"));
        let items = published(&mut stage);
        assert!(!items.contains("play@") && items.contains(ball), "{items}");
    }

    #[test]
    fn what_a_new_client_publishes_an_old_one_finds() {
        let mut stage = Stage::new();
        stage.ask(BOB, &publish("play@muc.localhost", "<conference xmlns='urn:xmpp:bookmarks:1' name='A &amp; B' autojoin='true'><nick>x</nick><extensions><e xmlns='urn:e'/></extensions></conference>"));
        assert_eq!(
            stored(&mut stage),
            r#"<conference jid="play@muc.localhost" name="A &amp; B" autojoin="true"><nick>x</nick></conference>"#
        );
        // What the old client does not know of survives it, and what it does not change stays as it was.
        let back = storage(
            "<conference jid='play@muc.localhost' name='A &amp; B' autojoin='true'><nick>x</nick></conference>",
        );
        stage.ask(BOB, &private_set(&back));
        assert_eq!(stage.log()[0], "write private private_sizes");
        stage.ask(BOB, &private_set(&back.replace("<nick>x", "<nick>y")));
        let items = published(&mut stage);
        assert!(items.contains("<nick>y</nick><extensions><e xmlns='urn:e'/></extensions>"), "{items}");
    }

    #[test]
    fn what_is_no_bookmark_of_a_room_stays_private() {
        let mut stage = Stage::new();
        let others = "<url name='u' url='https://e.example'/><conference name='nowhere'/><conference jid='a b'/>";
        stage.ask(BOB, &private_set(&format!("{}<a xmlns='u'>1</a>", storage(&format!("{others}{BALL}")))));
        let all = stored(&mut stage);
        assert_eq!(all, format!(r#"<conference jid="ball@muc.localhost"/>{others}"#));
        assert_eq!(published(&mut stage).matches("<item ").count(), 1);
        let other = "<iq type='get' id='g'><query xmlns='jabber:iq:private'><a xmlns='u'/></query></iq>";
        assert!(stage.ask(BOB, other).contains(">1</a>"));
    }

    #[test]
    fn bookmarks_that_others_see_are_not_mixed_with_private_ones() {
        let mut stage = Stage::new();
        let open = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#access_model'><value>open</value></field></x></publish-options></pubsub>";
        let iq = publish("play@muc.localhost", "<conference xmlns='urn:xmpp:bookmarks:1'/>").replace("</pubsub>", open);
        assert!(stage.ask(BOB, &iq).contains("result"));
        stage.ask(BOB, &private_set(&storage(BALL)));
        assert!(!published(&mut stage).contains("ball@"));
        assert_eq!(stored(&mut stage), BALL);
    }

    #[test]
    fn too_many_are_refused_as_a_whole() {
        let mut stage = Stage::new();
        let many: String = (0..=PEP_ITEMS_MAX).map(|n| format!("<conference jid='r{n}@muc.localhost'/>")).collect();
        assert_eq!(stage::condition(&stage.ask(BOB, &private_set(&storage(&many)))), "resource-constraint");
        assert_eq!((stored(&mut stage), stage.rows_in("pep_nodes")), (String::new(), 0));
        // A client that made room for one only does not lose those of another.
        let small = publish("one@muc.localhost", "<conference xmlns='urn:xmpp:bookmarks:1'/>").replace("</pubsub>", "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field var='pubsub#max_items'><value>1</value></field></x></publish-options></pubsub>");
        assert!(stage.ask(BOB, &small).contains("result"));
        stage.ask(BOB, &private_set(&storage(&format!("{PLAY}{BALL}"))));
        assert_eq!(published(&mut stage).matches("<item ").count(), 2);
    }
}
