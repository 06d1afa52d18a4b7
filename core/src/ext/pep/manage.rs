//! Creating, configuring, purging and deleting nodes. XEP-0060 §8

use std::borrow::Cow;

use crate::account::Account;
use crate::effect::Turn;
use crate::error::{Condition, Refusal};
use crate::ns;
use crate::row::{Batch, Reads, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::Writer;

use super::publish::unreadable;
use super::{Action, Ask, Config, Node, entries, event, read_oldest, usual};

pub(super) static CREATE: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB, name: "create", plan: nothing, apply: on_create };

pub(super) static CONFIGURATION: Action =
    Action { kind: IqKind::Get, ns: ns::PUBSUB_OWNER, name: "configure", plan: nothing, apply: on_configuration };

pub(super) static CONFIGURE: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB_OWNER, name: "configure", plan: plan_configure, apply: on_configure };

pub(super) static DEFAULTS: Action =
    Action { kind: IqKind::Get, ns: ns::PUBSUB_OWNER, name: "default", plan: nothing, apply: on_default };

pub(super) static PURGE: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB_OWNER, name: "purge", plan: nothing, apply: on_purge };

pub(super) static DELETE: Action =
    Action { kind: IqKind::Set, ns: ns::PUBSUB_OWNER, name: "delete", plan: nothing, apply: on_delete };

pub(super) fn nothing(_: &Ask<'_>, _: &Account) -> Reads {
    Reads::none()
}

/// A node of the user who asks.
pub(super) fn own<'a, 'n>(ask: &Ask<'n>, account: &'a Account) -> Result<(Cow<'n, str>, &'a Node), Refusal> {
    ask.only_own(account)?;
    let name = ask.node()?;
    let node = account.pep().and_then(|pep| pep.node(&name)).ok_or(Condition::ItemNotFound)?;
    Ok((name, node))
}

/// §8.1
fn on_create(ask: &Ask<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    ask.only_own(account)?;
    // §8.1.1: names that the server finds are of no use here, where every name has its meaning.
    if ask.element.attr("node").is_none_or(|node| node.is_empty()) {
        return Err(super::NO_INSTANT_NODES.into());
    }
    let name = ask.node()?;
    let config = match ask.beside("configure") {
        Some(configure) if configure.attr("node").is_some() => return Err(Condition::BadRequest.into()),
        Some(configure) => usual(&name).configured(configure)?,
        None => usual(&name),
    };
    let (id, mut batch) = (account.id(), Batch::default());
    account.pep_mut().create(id, &name, config, &mut batch)?;
    turn.out.write(batch);
    Ok(Vec::new())
}

/// §8.2.1
fn on_configuration(ask: &Ask<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let (name, node) = own(ask, account)?;
    Ok(form("configure", Some(&name), &node.config))
}

/// §8.3
fn on_default(ask: &Ask<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    ask.only_own(account)?;
    Ok(form("default", None, &Config::default()))
}

fn form(name: &'static str, node: Option<&str>, config: &Config) -> Vec<u8> {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("pubsub").ns(ns::PUBSUB_OWNER).open(name).attr_opt("node", node);
    config.write_form(&mut xml);
    drop(xml);
    out
}

/// How a node is to be; none when all stays as it is.
fn configured<'a>(ask: &Ask<'a>, account: &Account) -> Result<(Cow<'a, str>, Option<Config>), Refusal> {
    let (name, node) = own(ask, account)?;
    let form = ask.element.child("x", ns::DATA_FORMS).ok_or(Condition::BadRequest)?;
    // §8.2.4: a form that is cancelled leaves the configuration as it was.
    if form.attr("type").as_deref() == Some("cancel") {
        return Ok((name, None));
    }
    let config = node.config.clone().configured(ask.element)?;
    let changed = config != node.config;
    Ok((name, changed.then_some(config)))
}

fn plan_configure(ask: &Ask<'_>, account: &Account) -> Reads {
    match configured(ask, account) {
        Ok((name, Some(config))) => read_oldest(account.id(), &name, surplus(account, &name, &config)),
        Ok((_, None)) | Err(_) => Reads::none(),
    }
}

/// How many of the items are too many for a configuration.
fn surplus(account: &Account, name: &str, config: &Config) -> usize {
    let items = account.pep().and_then(|pep| pep.node(name)).map_or(0, |node| node.items);
    items.saturating_sub(config.max_items) as usize
}

fn on_configure(ask: &Ask<'_>, account: &mut Account, mut rows: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let (name, Some(config)) = configured(ask, account)? else { return Ok(Vec::new()) };
    let oldest = entries(&mut rows).map_err(unreadable)?;
    let told = config.notify_config.then(|| event::configured(account.jid(), &name, &config, turn));
    let (id, mut batch) = (account.id(), Batch::default());
    let persists = config.persist;
    account.pep_mut().configure(id, &name, config, oldest, &mut batch);
    let changed = !persists && account.loses_avatar(&name, None, &mut batch);
    turn.out.write(batch);
    if let Some(event) = told {
        account.tells(&name, &event, turn);
    }
    if changed {
        account.shows_avatar(turn);
    }
    Ok(Vec::new())
}

/// §8.5
fn on_purge(ask: &Ask<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let (name, node) = own(ask, account)?;
    if !node.config.persist {
        return Err(super::unsupported("persistent-items").into());
    }
    let (id, mut batch) = (account.id(), Batch::default());
    account.pep_mut().purge(id, &name, &mut batch);
    let changed = account.loses_avatar(&name, None, &mut batch);
    turn.out.write(batch);
    let event = event::purged(account.jid(), &name, turn);
    account.tells(&name, &event, turn);
    if changed {
        account.shows_avatar(turn);
    }
    Ok(Vec::new())
}

/// §8.4
fn on_delete(ask: &Ask<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let (name, _) = own(ask, account)?;
    let (id, mut batch) = (account.id(), Batch::default());
    let Some(node) = account.pep_mut().delete(id, &name, &mut batch) else {
        return Err(Condition::ItemNotFound.into());
    };
    let changed = account.loses_avatar(&name, None, &mut batch);
    turn.out.write(batch);
    if node.config.notify_delete {
        let event = event::deleted(account.jid(), &name, turn);
        account.tells_of(&name, &node, &event, turn);
    }
    if changed {
        account.shows_avatar(turn);
    }
    Ok(Vec::new())
}
