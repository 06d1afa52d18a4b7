//! Retrieving items. XEP-0060 §6.5, with pages as XEP-0059 has them.
//!
//! Items come in the order in which they were published. What is asked for by id, and the newest alone, are single rows; for anything
//! else all of the node is read, which is bounded.

use std::borrow::Cow;

use bytes::Bytes;

use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, Refusal};
use crate::limits::{PEP_ITEMS_MAX, PEP_REQUEST_ITEMS_MAX};
use crate::ns;
use crate::row::{Reads, Rows};
use crate::rsm::{self, Paging};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

use super::node::{page, read_item, read_items};
use super::publish::unreadable;
use super::{Action, Ask, Item, Node, visible};

pub(super) static ITEMS: Action = Action { kind: IqKind::Get, ns: ns::PUBSUB, name: "items", plan, apply };

/// What is asked for.
struct Wanted<'a> {
    node: Cow<'a, str>,
    which: Which<'a>,
}

enum Which<'a> {
    Nothing,
    /// §6.5.8
    These(Vec<Cow<'a, str>>),
    /// §6.5.7
    Newest(String),
    /// §6.5.2 and §6.5.7
    All(Option<usize>),
    /// §6.5.4
    Page(Paging),
}

fn wanted<'a>(ask: &Ask<'a>, account: &Account) -> Result<Wanted<'a>, Refusal> {
    let name = ask.node()?;
    let node = visible(account, &name, ask.from())?;
    let which = which(ask, node)?;
    Ok(Wanted { node: name, which })
}

fn which<'a>(ask: &Ask<'a>, node: &Node) -> Result<Which<'a>, Refusal> {
    let mut items = Vec::new();
    for item in ask.element.children().filter(|child| child.is("item", ns::PUBSUB)) {
        let id = item.attr("id").filter(|id| !id.is_empty()).ok_or(Condition::BadRequest)?;
        if !items.contains(&id) {
            items.push(id);
        }
        if items.len() > PEP_REQUEST_ITEMS_MAX {
            return Err(Condition::PolicyViolation.into());
        }
    }
    let most = match ask.element.attr("max_items") {
        Some(most) => Some(most.parse::<usize>().ok().filter(|&most| most > 0).ok_or(Condition::BadRequest)?),
        None => None,
    };
    let paging = match ask.beside("set") {
        None => ask.request.payload.child("set", ns::RSM).map(|_| Paging::read(ask.request.payload)).transpose()?,
        Some(_) => return Err(Condition::BadRequest.into()),
    };
    Ok(match (items, paging, most, &node.last) {
        (items, _, _, _) if !items.is_empty() => Which::These(items),
        (_, Some(paging), _, _) if paging.by_index => return Err(Condition::FeatureNotImplemented.into()),
        (_, Some(paging), _, _) => Which::Page(paging),
        (_, None, _, None) => Which::Nothing,
        (_, None, Some(1), Some(last)) => Which::Newest(last.clone()),
        (_, None, _, Some(last)) if node.items == 1 => Which::Newest(last.clone()),
        (_, None, most, Some(_)) => Which::All(most),
    })
}

fn plan(ask: &Ask<'_>, account: &Account) -> Reads {
    let Ok(Wanted { node, which }) = wanted(ask, account) else { return Reads::none() };
    let one = |item: &str| read_item(account.id(), &node, item);
    match which {
        Which::Nothing => Reads::none(),
        Which::These(items) => items.iter().fold(Reads::none(), |reads, item| reads.and(one(item))),
        Which::Newest(item) => one(&item),
        Which::All(_) | Which::Page(_) => read_items(account.id(), &node, PEP_ITEMS_MAX),
    }
}

fn apply(ask: &Ask<'_>, account: &mut Account, mut rows: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let Wanted { node, which } = wanted(ask, account)?;
    let mut single = |item: String| rows.row().map(|row| (item, row));
    let (found, set) = match which {
        Which::Nothing => (Vec::new(), None),
        Which::These(items) => (items.into_iter().filter_map(|item| single(item.into_owned())).collect(), None),
        Which::Newest(item) => (single(item).into_iter().collect(), None),
        Which::All(most) => {
            let mut all = in_order(page(account.id(), &node, &mut rows).map_err(unreadable)?)?;
            let surplus = most.map_or(0, |most| all.len().saturating_sub(most));
            all.drain(..surplus);
            (all, None)
        }
        Which::Page(paging) => {
            let all = in_order(page(account.id(), &node, &mut rows).map_err(unreadable)?)?;
            let count = all.len() as u64;
            (cut(all, &paging)?, Some(count))
        }
    };
    write(&node, &found, set)
}

type Found = (String, Bytes);

fn in_order(items: Vec<Found>) -> Result<Vec<Found>, Refusal> {
    let mut placed = Vec::with_capacity(items.len());
    for item in items {
        placed.push((Item::read(&item.1).map_err(unreadable)?.order, item));
    }
    placed.sort_unstable_by_key(|(order, _)| *order);
    Ok(placed.into_iter().map(|(_, item)| item).collect())
}

/// The page of all items. XEP-0059 §2
fn cut(mut all: Vec<Found>, paging: &Paging) -> Result<Vec<Found>, Refusal> {
    let place = |item: &String| all.iter().position(|(id, _)| id == item).ok_or(Condition::ItemNotFound);
    let from = paging.after.as_ref().map(place).transpose()?.map_or(0, |at| at + 1);
    let to = paging.before.as_ref().map(place).transpose()?.unwrap_or(all.len());
    all.truncate(to);
    all.drain(..from.min(all.len()));
    let surplus = all.len().saturating_sub(paging.max.unwrap_or(usize::MAX));
    if paging.backwards {
        all.drain(..surplus);
    } else {
        all.truncate(all.len() - surplus);
    }
    Ok(all)
}

fn write(node: &str, items: &[Found], set: Option<u64>) -> IqAnswer {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("pubsub").ns(ns::PUBSUB).open("items").attr("node", node);
    for (id, row) in items {
        let item = Item::read(row).map_err(unreadable)?;
        xml.open("item").attr("id", id);
        if !item.payload.is_empty() {
            xml.raw(item.payload);
        }
        xml.close();
    }
    xml.close();
    if let Some(count) = set {
        let ends = items.first().zip(items.last()).map(|(first, last)| (&*first.0, &*last.0));
        rsm::write(ends, Some(count), &mut xml);
    }
    drop(xml);
    Ok(out)
}
