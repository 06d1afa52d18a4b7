//! Subscribing by name. XEP-0060 §6.1, §6.2, §5.6, §5.7
//!
//! Who sees the user's presence hears of what may be seen without that. Subscribing is for those who do not, at nodes that are open
//! to them, and for clients that do not know better. The user's own clients are subscribed to everything.

use std::borrow::Cow;

use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, Refusal};
use crate::jid::Jid;
use crate::limits::PEP_SUBSCRIBERS_MAX;
use crate::ns;
use crate::row::{Batch, Reads, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

use super::manage::{nothing, own};
use super::node::read_item;
use super::publish::unreadable;
use super::{Action, Ask, Item, Node, Publication, SendLast, published, strange, visible};

pub(super) static SUBSCRIBE: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB, name: "subscribe", plan: plan_subscribe, apply: on_subscribe };

pub(super) static UNSUBSCRIBE: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB, name: "unsubscribe", plan: nothing, apply: on_unsubscribe };

pub(super) static SUBSCRIPTIONS: Action =
    Action { kind: IqKind::Get, ns: ns::PUBSUB, name: "subscriptions", plan: nothing, apply: on_subscriptions };

pub(super) static AFFILIATIONS: Action =
    Action { kind: IqKind::Get, ns: ns::PUBSUB, name: "affiliations", plan: nothing, apply: on_affiliations };

pub(super) static SUBSCRIBERS: Action =
    Action { kind: IqKind::Get, ns: ns::PUBSUB_OWNER, name: "subscriptions", plan: nothing, apply: on_subscribers };

pub(super) static PUBLISHERS: Action =
    Action { kind: IqKind::Get, ns: ns::PUBSUB_OWNER, name: "affiliations", plan: nothing, apply: on_publishers };

/// The address that is to be subscribed, which has to be the asker's. §6.1.3.1
fn subscriber(ask: &Ask<'_>) -> Result<String, Refusal> {
    let jid = ask.element.attr("jid").ok_or(super::INVALID_JID)?;
    let jid = Jid::parse(&jid).map_err(|_| super::INVALID_JID)?;
    if jid.bare_str() == ask.from().bare() { Ok(jid.as_str().to_owned()) } else { Err(super::INVALID_JID.into()) }
}

fn subscribed<'a, 'n>(ask: &Ask<'n>, account: &'a Account) -> Result<(Cow<'n, str>, &'a Node, String), Refusal> {
    let name = ask.node()?;
    let node = visible(account, &name, ask.from())?;
    // Whoever cannot configure what he gets is better told so. §6.3.1
    if ask.beside("options").is_some() {
        return Err(super::unsupported("subscription-options").into());
    }
    let jid = subscriber(ask)?;
    let new = !node.subscribers.contains(&jid) && !is_own(ask, account);
    if new && node.subscribers.len() >= PEP_SUBSCRIBERS_MAX {
        return Err(super::TOO_MANY_SUBSCRIPTIONS.into());
    }
    Ok((name, node, jid))
}

fn is_own(ask: &Ask<'_>, account: &Account) -> bool {
    ask.from().account == Some(account.id())
}

fn plan_subscribe(ask: &Ask<'_>, account: &Account) -> Reads {
    match subscribed(ask, account) {
        Ok((name, Node { last: Some(last), config, .. }, _)) if config.send_last != SendLast::Never => {
            read_item(account.id(), &name, last)
        }
        Ok(_) | Err(_) => Reads::none(),
    }
}

fn on_subscribe(ask: &Ask<'_>, account: &mut Account, mut rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let (name, node, jid) = subscribed(ask, account)?;
    let last = node.last.as_ref().filter(|_| node.config.send_last != SendLast::Never && node.config.notify);
    let event = match last.zip(last.and_then(|_| rows.row())) {
        Some((item, row)) => {
            let row = Item::read(&row).map_err(unreadable)?;
            let publication = Publication { node: &name, item, payload: row.payload };
            Some(published(account.jid(), &node.config, &publication, Some(row.at), turn))
        }
        None => None,
    };
    if !is_own(ask, account) && !node.subscribers.contains(&jid) {
        let mut subscribers = node.subscribers.clone();
        subscribers.push(jid.clone());
        let (id, mut batch) = (account.id(), Batch::default());
        account.pep_mut().subscribe(id, &name, subscribers, &mut batch);
        turn.out.write(batch);
    }
    // §6.1.7
    if let Some(event) = event {
        account.tells_one(&jid, &name, &event, turn);
    }
    Ok(answer(|xml| subscription(xml, &name, &jid, "subscribed")))
}

/// §6.2
fn on_unsubscribe(ask: &Ask<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let name = ask.node()?;
    let jid = subscriber(ask).map_err(|_| strange(ask.from(), account, Condition::Forbidden.into()))?;
    // Also at a node that is closed by now.
    let node = account.pep().and_then(|pep| pep.node(&name)).ok_or(Condition::ItemNotFound);
    let node = node.map_err(|condition| strange(ask.from(), account, condition.into()))?;
    let Some(at) = node.subscribers.iter().position(|subscriber| *subscriber == jid) else {
        return Err(strange(ask.from(), account, super::NOT_SUBSCRIBED.into()));
    };
    let mut subscribers = node.subscribers.clone();
    subscribers.remove(at);
    let (id, mut batch) = (account.id(), Batch::default());
    account.pep_mut().subscribe(id, &name, subscribers, &mut batch);
    turn.out.write(batch);
    Ok(answer(|xml| subscription(xml, &name, &jid, "none")))
}

/// §5.6: the asker's own.
fn on_subscriptions(ask: &Ask<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let nodes = asked_about(ask, account)?;
    let who = ask.from().bare();
    Ok(answer(|xml| {
        xml.open("subscriptions");
        for (name, node) in nodes {
            for jid in subscriptions(node, who) {
                subscription(xml, name, jid, "subscribed");
            }
        }
        xml.close();
    }))
}

/// §5.7: the asker's own. Users own their nodes, and nobody else is anything there.
fn on_affiliations(ask: &Ask<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let nodes = asked_about(ask, account)?;
    let owns = is_own(ask, account);
    Ok(answer(|xml| {
        xml.open("affiliations");
        for (name, _) in nodes.into_iter().filter(|_| owns) {
            xml.leaf("affiliation", &[("node", name), ("affiliation", "owner")]);
        }
        xml.close();
    }))
}

/// The node that is named, or all.
fn asked_about<'a>(ask: &Ask<'_>, account: &'a Account) -> Result<Vec<(&'a str, &'a Node)>, Refusal> {
    let name = ask.element.attr("node").filter(|name| !name.is_empty());
    let all = account.pep().into_iter().flat_map(|pep| pep.nodes());
    match name {
        Some(name) => {
            visible(account, &name, ask.from())?;
            Ok(all.filter(|(known, _)| *known == name).collect())
        }
        None => {
            let known =
                strange(ask.from(), account, Condition::ItemNotFound.into()).condition == Condition::ItemNotFound;
            let who = ask.from().bare();
            let found: Vec<_> = all.filter(|(_, node)| known || subscriptions(node, who).next().is_some()).collect();
            if known || !found.is_empty() { Ok(found) } else { Err(Condition::ServiceUnavailable.into()) }
        }
    }
}

/// Those of a node's subscribers that are this user.
fn subscriptions<'a>(node: &'a Node, who: &str) -> impl Iterator<Item = &'a String> {
    node.subscribers.iter().filter(move |jid| jid.split('/').next() == Some(who))
}

/// §8.8.1
fn on_subscribers(ask: &Ask<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let (name, node) = own(ask, account)?;
    Ok(owners("subscriptions", &name, |xml| {
        for jid in &node.subscribers {
            xml.leaf("subscription", &[("jid", jid), ("subscription", "subscribed")]);
        }
    }))
}

/// §8.9.1
fn on_publishers(ask: &Ask<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let (name, _) = own(ask, account)?;
    Ok(owners("affiliations", &name, |xml| {
        xml.leaf("affiliation", &[("jid", account.jid()), ("affiliation", "owner")]);
    }))
}

fn subscription(xml: &mut Writer<'_>, node: &str, jid: &str, state: &str) {
    xml.leaf("subscription", &[("node", node), ("jid", jid), ("subscription", state)]);
}

fn answer(content: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("pubsub").ns(ns::PUBSUB);
    content(&mut xml);
    drop(xml);
    out
}

fn owners(name: &'static str, node: &str, content: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("pubsub").ns(ns::PUBSUB_OWNER).open(name).attr("node", node);
    content(&mut xml);
    drop(xml);
    out
}
