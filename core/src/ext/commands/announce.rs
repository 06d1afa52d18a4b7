//! Words to all users of an app who are online.

use bytes::Bytes;

use super::lists::who_is_online;
use super::{Filled, bad_payload, completed, note};
use crate::account::Account;
use crate::effect::{Note, Turn};
use crate::ext::Request;
use crate::ext::form::Blank;
use crate::jid::user::ObjectId;
use crate::limits::ANNOUNCEMENT_BYTES_MAX;
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::stanza::{IqAnswer, Kind, MessageKind, Parcel, Sender};
use crate::xml::Writer;

pub(super) const ANNOUNCE: &[Blank] =
    &[Blank::new("announcement", "text-multi", "What is to be said to all users of the app who are online")];

pub(super) fn announce(filled: &Filled, _: &Request<'_>, account: &mut Account, _: &mut Turn<'_>) -> IqAnswer {
    // Empty lines are part of a text.
    let lines = filled.fields.iter().filter(|field| field.var == "announcement").flat_map(|field| &field.values);
    let text = lines.map(String::as_str).collect::<Vec<_>>().join("\n");
    if text.len() > ANNOUNCEMENT_BYTES_MAX {
        return Err(bad_payload(format!("An announcement has at most {ANNOUNCEMENT_BYTES_MAX} bytes.")));
    }
    who_is_online(account, move |users, request, account, turn| {
        let app = account.id().app;
        let id = ObjectId(turn.random.array()).to_string();
        let from = Sender { jid: turn.site.domain.clone(), account: None };
        let kind = Kind::Message { kind: MessageKind::Headline, lasting: false };
        for &user in &users {
            let to = AccountId { app, user };
            let stanza = headline(&id, &turn.site.domain, to, &text);
            let parcel = Parcel::new(from.clone(), None, kind, stanza);
            turn.out.send(Owner::Account(to), Note::Stanza(parcel));
        }
        completed(request, turn, |xml| {
            note(xml, "info", &format!("It is on its way to the users who are connected: {}.", users.len()));
        })
    })
}

/// A headline is for now: it waits for nobody. The product's SDKs fall over one without parameters, and show one with these as a
/// notification of the system. Wire notes §19.
fn headline(id: &str, domain: &str, to: AccountId, text: &str) -> Bytes {
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("message").attr("type", "headline").attr("id", id).attr("from", domain);
    xml.attr("to", &format!("{to}@{domain}")).simple("body", text);
    xml.open("extraParams").ns(ns::CLIENT).simple("moduleIdentifier", "SystemNotifications").close().close();
    drop(xml);
    bytes.into()
}
