//! XEP-0049: Private XML Storage. What a user's clients keep for themselves, by the name and namespace of its root.
//!
//! The total is bounded, and so that a write need not read all of it, one row says how much there is of what.

use std::collections::BTreeMap;

use super::{At, Extension, IqRoute, Request, Spec, bookmarks};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::limits::{PRIVATE_BYTES_MAX, PRIVATE_ITEMS_MAX, PRIVATE_NAME_BYTES_MAX};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::row::{self, Batch, Key, Reads, Rows, Table};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Name, Writer, splice};

pub(super) static PRIVATE_STORAGE: Extension = Extension {
    name: "Private XML Storage",
    spec: Spec::Xep(49, "1.2"),
    server_features: &[ns::PRIVATE],
    account_features: &[ns::PRIVATE],
    tables: &[&PRIVATE, &PRIVATE_SIZES],
    // §2.3: for others there is nothing here. `service-unavailable` for an account that exists as for one that does not.
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Get, ns: ns::PRIVATE, name: "query", plan: plan_get, apply: on_get },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::PRIVATE, name: "query", plan: plan_set, apply: on_set },
    ],
    ..Extension::NONE
};

/// account, namespace, name → the elements as they were set, fit to stand in a `<query/>`.
static PRIVATE: Table = Table::new("private");
/// account → [`Sizes`].
static PRIVATE_SIZES: Table = Table::new("private_sizes");

const VERSION: u8 = 1;

/// Namespace and name → bytes of the elements.
type Sizes = BTreeMap<(String, String), u64>;

fn plan_get(request: &Request<'_>, account: &Account) -> Reads {
    match wanted(request) {
        Ok(place) if place.is_published(account) => {
            Reads::get(&PRIVATE, place.key(account.id())).and(bookmarks::reads(account))
        }
        Ok(place) => Reads::get(&PRIVATE, place.key(account.id())),
        Err(_) => Reads::none(),
    }
}

fn on_get(request: &Request<'_>, account: &mut Account, mut rows: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let unreadable = |_| Condition::InternalServerError;
    let place = wanted(request)?;
    let row = rows.row();
    let kept: Option<&str> =
        row.as_deref().map(|row| row::decode_borrowed(VERSION, row)).transpose().map_err(unreadable)?;
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::PRIVATE);
    match kept {
        _ if place.is_published(account) => {
            bookmarks::write_storage(kept, account, &mut rows, &mut xml).map_err(unreadable)?
        }
        Some(elements) => _ = xml.raw(elements),
        // What was never set is empty.
        None => {
            xml.open_name(place.name).ns(place.ns).close();
        }
    }
    drop(xml);
    Ok(out)
}

fn plan_set(request: &Request<'_>, account: &Account) -> Reads {
    let sizes = Reads::get(&PRIVATE_SIZES, sizes_key(account.id()));
    let places = request.payload.children().filter_map(|child| Place::of(child).ok());
    match places.into_iter().any(|place| place.is_published(account)) {
        true => sizes.and(bookmarks::reads(account)),
        false => sizes,
    }
}

fn on_set(request: &Request<'_>, account: &mut Account, mut rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let given = given(request.payload)?;
    let mut sizes: Sizes = match rows.row() {
        Some(row) => row::decode(VERSION, &row).map_err(|_| Condition::InternalServerError)?,
        None => Sizes::new(),
    };
    let mut batch = Batch::default();
    let mut published = None;
    for (place, mut elements) in given {
        if place.is_published(account) {
            let change = bookmarks::Change::read(request.payload, account, &mut rows, &mut batch, turn)?;
            elements = change.left().map(str::to_owned);
            published = Some(change);
        }
        let key = place.key(account.id());
        let name = (place.ns.to_owned(), place.name.as_str().to_owned());
        match elements {
            Some(elements) => {
                sizes.insert(name, elements.len() as u64);
                batch.put(&PRIVATE, key, row::encode(VERSION, &elements));
            }
            None => {
                sizes.remove(&name);
                batch.delete(&PRIVATE, key);
            }
        }
    }
    if sizes.len() > PRIVATE_ITEMS_MAX || sizes.values().sum::<u64>() > PRIVATE_BYTES_MAX as u64 {
        return Err(Condition::ResourceConstraint.into());
    }
    batch.put(&PRIVATE_SIZES, sizes_key(account.id()), row::encode(VERSION, &sizes));
    turn.out.write(batch);
    if let Some(change) = published {
        change.take(account, turn);
    }
    Ok(Vec::new())
}

/// Where an element is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place<'a> {
    ns: &'a str,
    name: Name<'a>,
}

impl<'a> Place<'a> {
    /// §2.3: the element has a namespace of its own, and not one of those that the protocols use.
    fn of(element: Element<'a>) -> Result<Place<'a>, Condition> {
        let ns = element.ns();
        let reserved =
            ns.is_empty() || ns == ns::VCARD || ns.starts_with("jabber:") || ns.starts_with("http://jabber.org/");
        let too_long = ns.len() + element.name().len() > PRIVATE_NAME_BYTES_MAX;
        match Name::new(element.name()) {
            Some(name) if !reserved && !too_long => Ok(Place { ns, name }),
            Some(_) | None => Err(Condition::NotAcceptable),
        }
    }

    /// Whether this is kept where it is published. XEP-0402 §6.3
    fn is_published(self, account: &Account) -> bool {
        self.ns == ns::BOOKMARKS_LEGACY && self.name.as_str() == "storage" && bookmarks::are_private(account)
    }

    fn key(self, id: AccountId) -> Key {
        Key::of(&Owner::Account(id)).text(self.ns).text(self.name.as_str())
    }
}

fn sizes_key(id: AccountId) -> Key {
    Key::of(&Owner::Account(id))
}

/// The one thing that a client asks for. §2.3
fn wanted<'a>(request: &Request<'a>) -> Result<Place<'a>, Condition> {
    let mut children = request.payload.children();
    let (Some(child), None) = (children.next(), children.next()) else { return Err(Condition::BadRequest) };
    Place::of(child)
}

/// What is to be kept, and (with nothing) what no longer; elements of one name go together.
fn given(query: Element<'_>) -> Result<Vec<(Place<'_>, Option<String>)>, Condition> {
    // §2.3
    if query.first_child().is_none() {
        return Err(Condition::NotAcceptable);
    }
    let mut given: Vec<(Place<'_>, Vec<u8>)> = Vec::new();
    for child in query.children() {
        let place = Place::of(child)?;
        let at = match given.iter().position(|(other, _)| *other == place) {
            Some(at) => at,
            // Also keeps the search for the place short.
            None if given.len() >= PRIVATE_ITEMS_MAX => return Err(Condition::ResourceConstraint),
            None => {
                given.push((place, Vec::new()));
                given.len() - 1
            }
        };
        if !is_empty(child) {
            splice::copy(child, ns::PRIVATE, &mut given[at].1);
        }
    }
    let text = |elements: Vec<u8>| String::from_utf8(elements).map_err(|_| Condition::BadRequest);
    let kept = |elements: Vec<u8>| (!elements.is_empty()).then(|| text(elements)).transpose();
    given.into_iter().map(|(place, elements)| Ok((place, kept(elements)?))).collect()
}

/// Says no more than what is not there.
fn is_empty(element: Element<'_>) -> bool {
    element.inner_raw().is_empty() && element.attrs().next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ext::stage::{self, ADAM, BOB, EVE, Stage};

    fn set(elements: &str) -> String {
        format!("<iq type='set' id='1'><query xmlns='jabber:iq:private'>{elements}</query></iq>")
    }

    fn get(element: &str) -> String {
        format!("<iq type='get' id='2'><query xmlns='jabber:iq:private'>{element}</query></iq>")
    }

    fn got(elements: &str) -> String {
        let query = format!(r#"<query xmlns="jabber:iq:private">{elements}</query>"#);
        format!(r#"<iq type="result" id="2" to="2-1@localhost/r">{query}</iq>"#)
    }

    const PREFS: &str = "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>";
    const ASK_PREFS: &str = "<exodus xmlns='exodus:prefs'/>";

    #[test]
    fn what_is_set_comes_back() {
        let mut stage = Stage::new();
        assert_eq!(stage.ask(BOB, &get(ASK_PREFS)), got(r#"<exodus xmlns="exodus:prefs"/>"#));
        assert_eq!(stage.ask(BOB, &set(PREFS)), r#"<iq type="result" id="1" to="2-1@localhost/r"/>"#);
        assert_eq!(stage.log(), ["write private private_sizes", "deliver 2-1"]);
        assert_eq!(stage.ask(BOB, &get(ASK_PREFS)), got(PREFS));
        // Another root of the same namespace is another thing.
        assert_eq!(stage.ask(BOB, &get("<b xmlns='exodus:prefs'/>")), got(r#"<b xmlns="exodus:prefs"/>"#));
    }

    #[test]
    fn elements_of_one_name_are_kept_together_and_in_order() {
        let mut stage = Stage::new();
        stage.ask(BOB, &set("<a xmlns='u'>1</a><b xmlns='u'>2</b><a xmlns='u'>3</a>"));
        assert_eq!(stage.ask(BOB, &get("<a xmlns='u'/>")), got("<a xmlns='u'>1</a><a xmlns='u'>3</a>"));
        assert_eq!(stage.ask(BOB, &get("<b xmlns='u'/>")), got("<b xmlns='u'>2</b>"));
        stage.ask(BOB, &set("<a xmlns='u'/>"));
        assert_eq!(stage.ask(BOB, &get("<a xmlns='u'/>")), got(r#"<a xmlns="u"/>"#));
        assert_eq!(stage.rows_in("private"), 1);
    }

    #[test]
    fn refuses_what_the_specification_does() {
        let cases = [
            (get(""), "bad-request"),
            (set(""), "not-acceptable"),
            (get("<a xmlns='u'/><a xmlns='v'/>"), "bad-request"),
            (get("<a/>"), "not-acceptable"),
            (set("<a xmlns=''/>"), "not-acceptable"),
            (set("<vCard xmlns='vcard-temp'/>"), "not-acceptable"),
            (set("<query xmlns='jabber:iq:roster'/>"), "not-acceptable"),
            (set("<x xmlns='http://jabber.org/protocol/muc'/>"), "not-acceptable"),
            (set("<a xmlns='u'>kept?</a><x xmlns='jabber:x:data'/>"), "not-acceptable"),
            (set("<xml-a xmlns='u'/>"), "not-acceptable"),
        ];
        let mut stage = Stage::new();
        for (iq, condition) in cases {
            assert_eq!(stage::condition(&stage.ask(BOB, &iq)), condition, "{iq}");
        }
        assert_eq!(stage.rows_in("private"), 0);
    }

    #[test]
    fn others_find_nothing() {
        let mut stage = Stage::new();
        stage.ask(BOB, &set(PREFS));
        for asker in [ADAM, EVE] {
            for (iq, there) in [(get(ASK_PREFS), true), (set(PREFS), true), (get(ASK_PREFS), false)] {
                let to = if there { "2-1@localhost" } else { "77-1@localhost" };
                let iq = iq.replace("<iq ", &format!("<iq to='{to}' "));
                assert_eq!(stage::condition(&stage.ask(asker, &iq)), "service-unavailable", "{iq}");
            }
        }
        assert_eq!(stage.ask(ADAM, &get(ASK_PREFS)).matches("Hamlet").count(), 0);
    }

    #[test]
    fn ten_thousand_namespaces_do_not_fit() {
        let mut stage = Stage::new();
        let many: String = (0..10_000).map(|n| format!("<a xmlns='u{n}'>x</a>")).collect();
        assert_eq!(stage::condition(&stage.ask(BOB, &set(&many))), "resource-constraint");
        let mut refused = 0;
        for n in 0..PRIVATE_ITEMS_MAX + 10 {
            refused +=
                usize::from(stage.ask(BOB, &set(&format!("<a xmlns='u{n}'>x</a>"))).contains("resource-constraint"));
        }
        assert_eq!((refused, stage.rows_in("private")), (10, PRIVATE_ITEMS_MAX));
        // There is room again once something has gone.
        stage.ask(BOB, &set("<a xmlns='u0'/><a xmlns='v'>x</a>"));
        assert_eq!(stage.ask(BOB, &get("<a xmlns='v'/>")), got("<a xmlns='v'>x</a>"));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut stage = Stage::new();
        let third = "x".repeat(PRIVATE_BYTES_MAX / 3);
        let mut fitted = 0;
        for n in 0..4 {
            fitted += usize::from(stage.ask(BOB, &set(&format!("<a xmlns='u{n}'>{third}</a>"))).contains("result"));
        }
        assert_eq!(fitted, 2);
        // Something small in its place makes room for the rest.
        stage.ask(BOB, &set("<a xmlns='u0'>x</a>"));
        assert!(stage.ask(BOB, &set(&format!("<a xmlns='u3'>{third}</a>"))).contains("result"));
    }

    #[test]
    fn names_never_run_into_one_another() {
        let mut stage = Stage::new();
        // XML has no NUL; what looks like one is text like any other.
        let names = [("u", "ab"), ("ua", "b"), ("u\u{1}", "b"), ("u%00", "a"), ("u/a", "b"), ("u\u{ffff}", "b")];
        for (ns, name) in &names[..2] {
            stage.ask(BOB, &set(&format!("<{name} xmlns='{ns}'>{ns} {name}</{name}>")));
        }
        for (ns, name) in &names[..2] {
            assert!(stage.ask(BOB, &get(&format!("<{name} xmlns='{ns}'/>"))).contains(&format!(">{ns} {name}<")));
        }
        let keys: Vec<Key> = names.iter().map(|(ns, name)| place(ns, name).key(BOB)).collect();
        for (index, one) in keys.iter().enumerate() {
            for other in &keys[index + 1..] {
                assert!(one != other && !one.all_below().contains(other) && !other.all_below().contains(one));
            }
        }
        let long = "n".repeat(PRIVATE_NAME_BYTES_MAX);
        assert_eq!(stage::condition(&stage.ask(BOB, &set(&format!("<a xmlns='{long}'>x</a>")))), "not-acceptable");
    }

    fn place<'a>(ns: &'a str, name: &'a str) -> Place<'a> {
        Place { ns, name: Name::new(name).unwrap() }
    }

    #[test]
    fn everything_goes_with_the_account() {
        let mut stage = Stage::new();
        stage.ask(BOB, &set(PREFS));
        stage.ask(ADAM, &set(PREFS));
        stage.remove(BOB);
        assert_eq!((stage.rows_in("private"), stage.rows_in("private_sizes")), (1, 1));
    }
}
