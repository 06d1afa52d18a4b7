//! XEP-0191: Blocking Command. Whom a user has nothing to do with, in the plainest words.
//!
//! Blocked is who is denied everything by address in the default privacy list, so that both protocols speak of the same (§4): what
//! is blocked here is an item there, and a list that is changed there tells those who asked here.

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::effect::Turn;
use crate::error::Condition;
use crate::jid::Jid;
use crate::limits::PRIVACY_ITEMS_MAX;
use crate::ns;
use crate::row::Rows;
use crate::stanza::{IqAnswer, IqKind};
use crate::xml::{Element, Writer};

pub(super) static BLOCKING: Extension = Extension {
    name: "Blocking Command",
    spec: Spec::Xep(191, "1.3"),
    server_features: &[ns::BLOCKING],
    account_features: &[ns::BLOCKING],
    iq: &[
        IqRoute {
            at: At::Account,
            kind: IqKind::Get,
            ns: ns::BLOCKING,
            name: "blocklist",
            plan: nothing,
            apply: on_blocklist,
        },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::BLOCKING, name: "block", plan: nothing, apply: on_block },
        IqRoute {
            at: At::Account,
            kind: IqKind::Set,
            ns: ns::BLOCKING,
            name: "unblock",
            plan: nothing,
            apply: on_unblock,
        },
    ],
    ..Extension::NONE
};

/// §3.2
fn on_blocklist(request: &Request<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    account.asks_for_blocklist(request.session.ok_or(Condition::Forbidden)?);
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("blocklist").ns(ns::BLOCKING);
    for jid in account.lists().into_iter().flat_map(|lists| lists.blocked()) {
        xml.leaf("item", &[("jid", jid)]);
    }
    xml.close();
    drop(xml);
    Ok(out)
}

/// §3.3
fn on_block(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let by = request.session.ok_or(Condition::Forbidden)?;
    let jids = jids(request.payload)?;
    if jids.is_empty() {
        return Err(Condition::BadRequest.into());
    }
    account.block(by, jids, turn)?;
    Ok(Vec::new())
}

/// §3.4, §3.5. What is not blocked is as it should be.
fn on_unblock(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    let by = request.session.ok_or(Condition::Forbidden)?;
    let jids = jids(request.payload)?;
    account.unblock(by, Some(&*jids).filter(|jids| !jids.is_empty()), turn)?;
    Ok(Vec::new())
}

/// The addresses in their normal form. One that cannot be read must not make a request for some into one for all.
fn jids(payload: Element<'_>) -> Result<Vec<String>, Condition> {
    let mut jids = Vec::new();
    for item in payload.children() {
        let jid = item.attr("jid").filter(|_| item.is("item", ns::BLOCKING)).ok_or(Condition::BadRequest)?;
        if jids.len() == PRIVACY_ITEMS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        jids.push(Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?.as_str().to_owned());
    }
    Ok(jids)
}

#[cfg(test)]
mod tests;
