//! Publishing and retracting. XEP-0060 §7

use std::borrow::Cow;

use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, Refusal};
use crate::ext::avatar;
use crate::limits::PEP_NAME_BYTES_MAX;
use crate::ns;
use crate::row::{Batch, Reads, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer, splice};

use super::node::{read_item, read_newest};
use super::{Action, Ask, Config, Item, Publication, Standing, entries, event, usual};

pub(super) static PUBLISH: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB, name: "publish", plan: plan_publish, apply: on_publish };

pub(super) static RETRACT: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB, name: "retract", plan: plan_retract, apply: on_retract };

/// What a client publishes.
struct Wanted<'a> {
    node: Cow<'a, str>,
    /// Empty when the server is to find one.
    item: Cow<'a, str>,
    payload: Option<Element<'a>>,
    /// How the node is, or is to be made.
    config: Config,
    exists: bool,
}

fn wanted<'a>(ask: &Ask<'a>, account: &Account) -> Result<Wanted<'a>, Refusal> {
    ask.only_own(account)?;
    let node = ask.node()?;
    let known = account.pep().and_then(|pep| pep.node(&node));
    let now = known.map_or_else(|| usual(&node), |known| known.config.clone());
    let config = match ask.beside("publish-options") {
        Some(options) => now.clone().with_options(options)?,
        None => now.clone(),
    };
    // §7.1.5: what is asked of a node that exists is a condition, and of one that does not how to make it.
    if known.is_some() && config != now {
        return Err(super::PRECONDITION_NOT_MET.into());
    }
    let mut items = ask.element.children().filter(|child| child.is("item", ns::PUBSUB));
    let (Some(item), None) = (items.next(), items.next()) else {
        // §7.1.3.6. More than one is an older edition's.
        return Err(super::ITEM_REQUIRED.into());
    };
    let payload = payload(item, &config)?;
    let item = item.attr("id").unwrap_or_default();
    if item.len() > PEP_NAME_BYTES_MAX {
        return Err(Condition::NotAcceptable.into());
    }
    Ok(Wanted { exists: known.is_some(), node, item, payload, config })
}

/// §7.1.3.5, §7.1.3.6
fn payload<'a>(item: Element<'a>, config: &Config) -> Result<Option<Element<'a>>, Refusal> {
    let mut children = item.children();
    let payload = children.next();
    if children.next().is_some() {
        return Err(super::INVALID_PAYLOAD.into());
    }
    if payload.is_none() && config.payloads {
        return Err(super::PAYLOAD_REQUIRED.into());
    }
    Ok(payload)
}

fn plan_publish(ask: &Ask<'_>, account: &Account) -> Reads {
    let Ok(wanted) = wanted(ask, account) else { return Reads::none() };
    let standing = match account.pep() {
        Some(pep) if wanted.exists => pep.read_standing(account.id(), &wanted.node, &wanted.item),
        _ => Reads::none(),
    };
    match wanted.payload {
        Some(payload) if wanted.node == ns::AVATAR_METADATA => {
            standing.and(avatar::plan_metadata(payload, account.id()))
        }
        _ => standing,
    }
}

fn on_publish(ask: &Ask<'_>, account: &mut Account, mut rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let wanted = wanted(ask, account)?;
    let standing =
        if wanted.exists { Standing::of(&wanted.item, &mut rows).map_err(unreadable)? } else { Standing::default() };
    let avatar = match wanted.payload {
        Some(payload) if wanted.node == ns::AVATAR_METADATA => {
            Some(avatar::of_metadata(payload, &mut rows).map_err(unreadable)?)
        }
        _ => None,
    };
    let item = if wanted.item.is_empty() { event::random_id(turn).into() } else { wanted.item };
    let mut payload = Vec::new();
    if let Some(element) = wanted.payload {
        splice::copy(element, "", &mut payload);
    }
    let payload = String::from_utf8(payload).map_err(|_| Condition::BadRequest)?;
    let publication = Publication { node: &wanted.node, item: &item, payload: &payload };
    let mut batch = Batch::default();
    let id = account.id();
    account.pep_mut().publish(id, &publication, wanted.config, standing, turn.now.stamp, &mut batch)?;
    let changed = avatar.is_some_and(|avatar| account.takes_avatar(avatar, &mut batch));
    turn.out.write(batch);
    account.tells_published(&publication, turn);
    if changed {
        account.shows_avatar(turn);
    }
    Ok(result(&publication))
}

/// §7.1.2
fn result(publication: &Publication<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("pubsub").ns(ns::PUBSUB).open("publish").attr("node", publication.node);
    xml.leaf("item", &[("id", publication.item)]);
    drop(xml);
    out
}

pub(super) fn unreadable(_: crate::row::Unreadable) -> Refusal {
    Condition::InternalServerError.into()
}

/// The node and the item that are to part.
fn retracted<'a>(ask: &Ask<'a>, account: &Account) -> Result<(Cow<'a, str>, Cow<'a, str>), Refusal> {
    ask.only_own(account)?;
    let node = ask.node()?;
    let mut items = ask.element.children().filter(|child| child.is("item", ns::PUBSUB));
    let (Some(item), None) = (items.next(), items.next()) else { return Err(super::ITEM_REQUIRED.into()) };
    let item = item.attr("id").filter(|id| !id.is_empty()).ok_or(super::ITEM_REQUIRED)?;
    account.pep().and_then(|pep| pep.node(&node)).ok_or(Condition::ItemNotFound)?;
    Ok((node, item))
}

fn plan_retract(ask: &Ask<'_>, account: &Account) -> Reads {
    match retracted(ask, account) {
        Ok((node, item)) => read_item(account.id(), &node, &item).and(read_newest(account.id(), &node, 2)),
        Err(_) => Reads::none(),
    }
}

fn on_retract(ask: &Ask<'_>, account: &mut Account, mut rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let (node, item) = retracted(ask, account)?;
    let row = rows.row().ok_or(Condition::ItemNotFound)?;
    let old = Item::read(&row).map_err(unreadable)?;
    let newest = entries(&mut rows).map_err(unreadable)?;
    let (id, mut batch) = (account.id(), Batch::default());
    let pep = account.pep_mut();
    let last = newest.into_iter().map(|(_, entry)| entry.id).find(|left| *left != item);
    pep.retract(id, &node, &item, &old, last, &mut batch);
    let told = pep.node(&node).is_some_and(|node| node.config.notify_retract)
        || matches!(ask.element.attr("notify").as_deref(), Some("1" | "true"));
    let changed = account.loses_avatar(&node, Some(&item), &mut batch);
    turn.out.write(batch);
    if told {
        let event = event::retracted(account.jid(), &node, &item, turn);
        account.tells(&node, &event, turn);
    }
    if changed {
        account.shows_avatar(turn);
    }
    Ok(Vec::new())
}
