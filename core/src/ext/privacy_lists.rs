//! XEP-0016: Privacy Lists. Whom a user will hear from and be seen by, in as many versions as the user has moods.
//!
//! What the lists do is the account's: `crate::account::privacy`. Here they are read and shown.
//!
//! The product's SDKs keep a user away with two items, one for the user's address and one for `muc.DOMAIN/USERID`, the user's
//! place in any room; both hold to the end of the list, in pairs. In a *mutual block* the items name no traffic, and so are about
//! both directions. Server notes §5.2, wire notes §17.

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::account::privacy::lists::{Item, List, Lists, PRIVACY, Traffic, What, Who};
use crate::account::roster::{Roster, Subscription};
use crate::effect::{SessionId, Turn};
use crate::error::Condition;
use crate::jid::Jid;
use crate::limits::{PRIVACY_ITEMS_MAX, PRIVACY_NAME_BYTES_MAX};
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer};

pub(super) static PRIVACY_LISTS: Extension = Extension {
    name: "Privacy Lists",
    spec: Spec::Xep(16, "1.7"),
    server_features: &[ns::PRIVACY],
    account_features: &[ns::PRIVACY],
    tables: &[&PRIVACY],
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Get, ns: ns::PRIVACY, name: "query", plan: nothing, apply: on_get },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::PRIVACY, name: "query", plan: nothing, apply: on_set },
    ],
    ..Extension::NONE
};

/// §2.3
fn on_get(request: &Request<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let session = request.session.ok_or(Condition::Forbidden)?;
    let mut children = request.payload.children();
    match (children.next(), children.next()) {
        (None, _) => Ok(names(account, session)),
        (Some(list), None) if list.is("list", ns::PRIVACY) => {
            let name = name(list)?.ok_or(Condition::BadRequest)?;
            let list = account.lists().and_then(|lists| lists.list(&name)).ok_or(Condition::ItemNotFound)?;
            Ok(shown(list))
        }
        // One list at a time.
        (Some(_), _) => Err(Condition::BadRequest.into()),
    }
}

/// §2.1: one thing at a time.
fn on_set(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let by = request.session.ok_or(Condition::Forbidden)?;
    let mut children = request.payload.children();
    let (Some(child), None) = (children.next(), children.next()) else { return Err(Condition::BadRequest.into()) };
    if child.ns() != ns::PRIVACY {
        return Err(Condition::BadRequest.into());
    }
    let name = name(child)?;
    match (child.name(), name) {
        ("active", name) => account.activate(by, name.as_deref(), turn)?,
        ("default", name) => account.set_default_list(by, name.as_deref(), turn)?,
        ("list", Some(name)) => match items(child, account.roster())? {
            items if items.is_empty() => account.remove_list(by, &name, turn)?,
            items => account.set_list(by, List { name, items }, turn)?,
        },
        _ => return Err(Condition::BadRequest.into()),
    }
    Ok(Vec::new())
}

/// What a list is called. Some SDKs write an empty name for none. Wire notes §17
fn name(element: Element<'_>) -> Result<Option<String>, Condition> {
    let name = element.attr("name").filter(|name| !name.is_empty());
    if name.as_ref().is_some_and(|name| name.len() > PRIVACY_NAME_BYTES_MAX) {
        return Err(Condition::NotAcceptable);
    }
    Ok(name.map(|name| name.into_owned()))
}

/// What there is. §2.3
fn names(account: &Account, session: SessionId) -> Vec<u8> {
    let none = Lists::default();
    let lists = account.lists().unwrap_or(&none);
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::PRIVACY);
    for (element, name) in [("active", account.active_list(session)), ("default", lists.default.as_deref())] {
        if let Some(name) = name {
            xml.leaf(element, &[("name", name)]);
        }
    }
    for list in &lists.lists {
        xml.leaf("list", &[("name", &list.name)]);
    }
    xml.close();
    drop(xml);
    out
}

/// A list with its items in their order. The product's SDKs take every second one.
fn shown(list: &List) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::PRIVACY).open("list").attr("name", &list.name);
    for item in &list.items {
        let (kind, value) = match &item.who {
            Who::Jid(jid) => (Some("jid"), Some(jid.as_str())),
            Who::Group(group) => (Some("group"), Some(group.as_str())),
            Who::Subscription(subscription) => (Some("subscription"), Some(subscription.as_str())),
            Who::Anyone => (None, None),
        };
        xml.open("item").attr_opt("type", kind).attr_opt("value", value);
        xml.attr("action", if item.deny { "deny" } else { "allow" }).attr_int("order", item.order);
        for traffic in Traffic::ALL.into_iter().filter(|&traffic| item.what.names(traffic)) {
            if let Some(name) = traffic.name() {
                xml.open(name).close();
            }
        }
        xml.close();
    }
    xml.close().close();
    drop(xml);
    out
}

/// The items of a list, in their order. §2.1
fn items(list: Element<'_>, roster: &Roster) -> Result<Vec<Item>, Condition> {
    let mut items = Vec::new();
    for element in list.children() {
        if items.len() == PRIVACY_ITEMS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        items.push(item(element, roster)?);
    }
    items.sort_by_key(|item| item.order);
    if items.windows(2).any(|pair| pair[0].order == pair[1].order) {
        return Err(Condition::BadRequest);
    }
    Ok(items)
}

fn item(element: Element<'_>, roster: &Roster) -> Result<Item, Condition> {
    if !element.is("item", ns::PRIVACY) {
        return Err(Condition::BadRequest);
    }
    let deny = match element.attr("action").as_deref() {
        Some("allow") => false,
        Some("deny") => true,
        _ => return Err(Condition::BadRequest),
    };
    let order = element.attr("order").and_then(|order| number(&order)).ok_or(Condition::BadRequest)?;
    let mut what = What::EVERYTHING;
    for child in element.children() {
        // To pass over one that is not known would make the item be about more than it says, or about everything.
        let named = Traffic::ALL.into_iter().find(|traffic| traffic.name() == Some(child.name()));
        what.add(named.filter(|_| child.ns() == ns::PRIVACY).ok_or(Condition::BadRequest)?);
    }
    Ok(Item { order, who: who(element, roster)?, deny, what })
}

/// An `xs:unsignedInt`.
fn number(text: &str) -> Option<u32> {
    let digits = text.trim();
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn who(item: Element<'_>, roster: &Roster) -> Result<Who, Condition> {
    let Some(kind) = item.attr("type") else { return Ok(Who::Anyone) };
    let value = item.attr("value").ok_or(Condition::BadRequest)?;
    match &*kind {
        "jid" => Jid::parse(&value).map(|jid| Who::Jid(jid.as_str().to_owned())).map_err(|_| Condition::JidMalformed),
        "group" if roster.has_group(&value) => Ok(Who::Group(value.into_owned())),
        "group" => Err(Condition::ItemNotFound),
        "subscription" => {
            let all = [Subscription::None, Subscription::To, Subscription::From, Subscription::Both];
            let named = all.into_iter().find(|subscription| subscription.as_str() == value);
            named.map(Who::Subscription).ok_or(Condition::BadRequest)
        }
        _ => Err(Condition::BadRequest),
    }
}

#[cfg(test)]
mod tests;
