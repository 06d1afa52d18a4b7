//! RFC 6121 §2: the roster as clients get and change it; XEP-0237: versions of it.

use bytes::Bytes;

use super::{At, Extension, IqRoute, Request, Spec, nothing};
use crate::account::Account;
use crate::account::offline::OFFLINE;
use crate::account::roster::{Item, Missing, ROSTER as ROWS};
use crate::effect::Turn;
use crate::error::Condition;
use crate::jid::Jid;
use crate::limits::{ROSTER_GROUPS_MAX, ROSTER_TEXT_BYTES_MAX};
use crate::ns;
use crate::row::{Batch, Rows};
use crate::stanza::{IqAnswer, IqKind};
use crate::stream::Feature;
use crate::xml::{Element, Writer};

pub(super) static ROSTER: Extension = Extension {
    name: "Roster, subscriptions and messages",
    spec: Spec::Rfc(6121, "2"),
    tables: &[&ROWS, &OFFLINE],
    iq: &[
        IqRoute { at: At::Account, kind: IqKind::Get, ns: ns::ROSTER, name: "query", plan: nothing, apply: on_get },
        IqRoute { at: At::Account, kind: IqKind::Set, ns: ns::ROSTER, name: "query", plan: nothing, apply: on_set },
    ],
    ..Extension::NONE
};

pub(super) static VERSIONING: Extension = Extension {
    name: "Roster Versioning",
    spec: Spec::Xep(237, "1.3"),
    stream_features: &[Feature::ROSTER_VERSIONING],
    ..Extension::NONE
};

fn on_get(request: &Request<'_>, account: &mut Account, _: Rows, _: &mut Turn<'_>) -> IqAnswer {
    let session = request.session.ok_or(Condition::Forbidden)?;
    account.takes_interest(session);
    let roster = account.roster();
    let missing = match request.attr("ver").as_deref() {
        Some(known) => roster.missing_since(known),
        None => Missing::All,
    };
    match missing {
        // RFC 6121 §2.6.2: an empty result means that the client's copy is good; what has changed follows as pushes.
        Missing::Nothing => Ok(Vec::new()),
        Missing::Items(items) => {
            let contacts: Vec<String> = items.iter().map(|(contact, _)| (*contact).to_owned()).collect();
            account.push_after_result(session, &contacts);
            Ok(Vec::new())
        }
        Missing::All => {
            let mut out = Vec::new();
            let mut xml = Writer::new(&mut out);
            xml.open("query").ns(ns::ROSTER);
            if request.attr("ver").is_some() {
                xml.attr_int("ver", roster.version());
            }
            for (contact, item) in roster.listed() {
                write_item(&mut xml, contact, item);
            }
            xml.close();
            drop(xml);
            Ok(out)
        }
    }
}

fn on_set(request: &Request<'_>, account: &mut Account, _: Rows, turn: &mut Turn<'_>) -> IqAnswer {
    // RFC 6121 §2.1.5, §2.3.3: exactly one item; only the account's own sessions set it.
    if !request.is_own() {
        return Err(Condition::Forbidden.into());
    }
    let mut items = request.payload.children().filter(|child| child.is("item", ns::ROSTER));
    let (Some(item), None) = (items.next(), items.next()) else { return Err(Condition::BadRequest.into()) };
    let jid = item.attr("jid").ok_or(Condition::BadRequest)?;
    let jid = Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?;
    let contact = jid.bare_str();
    if item.attr("subscription").as_deref() == Some("remove") {
        account.remove_contact(contact, turn)?;
        return Ok(Vec::new());
    }
    if contact == &**account.jid() {
        // RFC 6121 §2.3.3 leaves it to the server; nobody is a contact of oneself, as with subscriptions.
        return Err(Condition::NotAllowed.into());
    }
    let name = item.attr("name").filter(|name| !name.is_empty()).map(|name| name.into_owned());
    let groups = groups(item)?;
    if name.as_ref().is_some_and(|name| name.len() > ROSTER_TEXT_BYTES_MAX) {
        return Err(Condition::NotAcceptable.into());
    }
    account.set_contact(contact, name, groups, turn)?;
    Ok(Vec::new())
}

/// RFC 6121 §2.3.3: no group twice, none empty, none too long.
fn groups(item: Element<'_>) -> Result<Vec<String>, Condition> {
    let mut groups: Vec<String> = Vec::new();
    for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
        let group = group.text().into_owned();
        if group.is_empty() || group.len() > ROSTER_TEXT_BYTES_MAX || groups.len() >= ROSTER_GROUPS_MAX {
            return Err(Condition::NotAcceptable);
        }
        groups.push(group);
    }
    groups.sort_unstable();
    if groups.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Condition::BadRequest);
    }
    Ok(groups)
}

/// One item of the roster. RFC 6121 §2.1.2
pub(crate) fn write_item(xml: &mut Writer<'_>, contact: &str, item: &Item) {
    xml.open("item").attr("jid", contact).attr_opt("name", item.name.as_deref());
    xml.attr("subscription", item.subscription.as_str());
    if item.asked {
        xml.attr("ask", "subscribe");
    }
    for group in &item.groups {
        xml.simple("group", group);
    }
    xml.close();
}

/// A roster push. RFC 6121 §2.1.6. `None` tells of a removal.
pub(crate) fn push(contact: &str, item: Option<&Item>, version: u64, to: &str) -> Bytes {
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    // Some SDKs read the id of every iq they get, so there is always one.
    xml.open("iq").attr("type", "set").attr("id", &format!("roster-{version}")).attr("to", to);
    xml.open("query").ns(ns::ROSTER).attr_int("ver", version);
    match item {
        Some(item) => write_item(&mut xml, contact, item),
        None => {
            xml.leaf("item", &[("jid", contact), ("subscription", "remove")]);
        }
    }
    xml.close().close();
    drop(xml);
    out.into()
}

impl Account {
    /// Sets a contact's name and groups, and shows it to the user's resources.
    pub(super) fn set_contact(
        &mut self,
        contact: &str,
        name: Option<String>,
        groups: Vec<String>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Condition> {
        let mut batch = Batch::default();
        self.name_contact(contact, name, groups, &mut batch)?;
        turn.out.write(batch);
        self.push_item(contact, turn);
        Ok(())
    }
}
