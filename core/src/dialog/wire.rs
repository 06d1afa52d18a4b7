//! The stanzas a dialog writes itself: messages that came over REST, addresses, refusals.

use std::borrow::Cow;
use std::sync::Arc;

use crate::effect::{Effect, Seat, SessionId, Site, Turn};
use crate::error::StanzaError;
use crate::jid::user::{AppId, DialogId, MessageId, UserId};
use crate::model::dialog::{self, Body, Content, MessageRow, Retraction};
use crate::ns;
use crate::owner::AccountId;
use crate::stanza::Parcel;
use crate::xml::{Element, Nodes, Writer};

use super::rewrite::rewritten;

/// A message of a history as it was, or would have been, delivered; in a room it has no `to`. For archives and replays.
pub fn stanza_of<'a>(app: AppId, id: DialogId, row: &'a MessageRow, site: &Site) -> Cow<'a, [u8]> {
    match &row.body {
        Body::Stanza(bytes) | Body::Aside(bytes) => Cow::Borrowed(bytes),
        Body::Retracted(retraction) => Cow::Owned(tombstone(app, id, row, retraction, site)),
        Body::Plain { content, markable } => Cow::Owned(written(app, id, row, content, *markable, site)),
    }
}

/// The stanza of a message that came over REST. Server notes §4.3: from the sender's place in the room, not from the room.
fn written(app: AppId, id: DialogId, row: &MessageRow, content: &Content, markable: bool, site: &Site) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    let message = row.id.to_string();
    let archive = open_message(app, id, row, "chat", &mut xml, site);
    content.write(
        markable,
        |xml| {
            xml.simple("date_sent", &row.date_sent.to_string());
            xml.simple("application_id", &app.to_string());
            xml.simple("dialog_id", &id.to_string());
            xml.simple("message_id", &message);
        },
        &mut xml,
    );
    stanza_id(&archive, &message, &mut xml);
    if row.recipient.is_none() {
        occupant_id(&site.occupants.id(app, id, row.sender), &mut xml);
    }
    xml.close();
    drop(xml);
    bytes
}

/// What is left of a message in a room that was taken back. XEP-0424 §4, XEP-0425 §4
fn tombstone(app: AppId, id: DialogId, row: &MessageRow, retraction: &Retraction, site: &Site) -> Vec<u8> {
    let room = room_jid(app, id, site);
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("message").attr("from", &format!("{room}/{}", row.sender)).attr("type", "groupchat");
    xml.attr("id", &retraction.stanza);
    xml.open("retracted").ns(ns::RETRACT).attr("id", &retraction.by);
    xml.attr("stamp", &retraction.at.iso_millis().to_string());
    if let Some(moderator) = retraction.moderator {
        moderated(app, id, moderator, site, &mut xml);
    }
    if let Some(reason) = &retraction.reason {
        xml.simple("reason", reason);
    }
    xml.close();
    stanza_id(&room, &row.id.to_string(), &mut xml);
    occupant_id(&site.occupants.id(app, id, row.sender), &mut xml);
    xml.close();
    drop(xml);
    bytes
}

/// The room's own word, or that of the sender of a message, that the message is taken back.
pub(super) fn retraction(
    app: AppId,
    id: DialogId,
    row: &MessageRow,
    taken: MessageId,
    moderator: Option<(UserId, Option<&str>)>,
    site: &Site,
) -> Vec<u8> {
    let room = room_jid(app, id, site);
    let from = if moderator.is_some() { room.clone() } else { format!("{room}/{}", row.sender) };
    let own = row.id.to_string();
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("message").attr("from", &from).attr("type", "groupchat").attr("id", &own);
    xml.open("retract").ns(ns::RETRACT).attr("id", &taken.to_string());
    if let Some((user, reason)) = moderator {
        moderated(app, id, user, site, &mut xml);
        if let Some(reason) = reason {
            xml.simple("reason", reason);
        }
    }
    xml.close();
    stanza_id(&room, &own, &mut xml);
    if moderator.is_none() {
        occupant_id(&site.occupants.id(app, id, row.sender), &mut xml);
    }
    xml.close();
    drop(xml);
    bytes
}

/// XEP-0425 §3.1: by whom.
fn moderated(app: AppId, id: DialogId, by: UserId, site: &Site, xml: &mut Writer<'_>) {
    let place = format!("{}/{by}", room_jid(app, id, site));
    xml.open("moderated").ns(ns::MODERATE).attr("by", &place);
    occupant_id(&site.occupants.id(app, id, by), xml);
    xml.close();
}

/// Opens a message of the dialog and says whose archive it is in.
fn open_message(
    app: AppId,
    id: DialogId,
    row: &MessageRow,
    kind: &'static str,
    xml: &mut Writer<'_>,
    site: &Site,
) -> String {
    match row.recipient {
        Some(recipient) => {
            let to = bare(AccountId { app, user: recipient }, site);
            let from = bare(AccountId { app, user: row.sender }, site);
            xml.open("message").attr("from", &from).attr("to", &to).attr("type", kind).attr("id", &row.id.to_string());
            to
        }
        None => {
            let room = room_jid(app, id, site);
            let from = format!("{room}/{}", row.sender);
            xml.open("message").attr("from", &from).attr("type", "groupchat").attr("id", &row.id.to_string());
            room
        }
    }
}

/// A system notification. Server notes §3.9.
pub(super) fn notification(
    app: AppId,
    id: DialogId,
    row: &MessageRow,
    content: &Content,
    to: UserId,
    site: &Site,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    let addressed = MessageRow { recipient: Some(to), ..row.clone() };
    open_message(app, id, &addressed, "headline", &mut xml, site);
    if let Some(text) = &content.text {
        xml.simple("body", text);
    }
    xml.open("extraParams").ns(ns::CLIENT).simple("moduleIdentifier", "SystemNotifications");
    content.write_params(&mut xml);
    xml.simple("date_sent", &row.date_sent.to_string()).simple("dialog_id", &id.to_string());
    xml.close().close();
    drop(xml);
    bytes
}

/// XEP-0359 §3: where the message is in whose archive.
pub(super) fn stanza_id(by: &str, id: &str, xml: &mut Writer<'_>) {
    xml.open("stanza-id").ns(ns::STANZA_ID).attr("by", by).attr("id", id).close();
}

/// XEP-0421 §4: whose words these are.
pub(super) fn occupant_id(id: &str, xml: &mut Writer<'_>) {
    xml.open("occupant-id").ns(ns::OCCUPANT_ID).attr("id", id).close();
}

/// A message that is kept, with its place in the sender's own archive instead of that in the other's, which was told to the other.
/// In both it has the same id. XEP-0313 §3.2
pub(crate) fn senders_own<'a>(message: Element<'a>, own: &str, others: &str) -> Cow<'a, [u8]> {
    let is_theirs =
        |child: Element<'_>| child.is("stanza-id", ns::STANZA_ID) && child.attr("by").as_deref() == Some(others);
    match message.children().find(|&child| is_theirs(child)).and_then(|child| child.attr("id")) {
        Some(id) => Cow::Owned(rewritten(message, &is_theirs, None, &|xml| stanza_id(own, &id, xml))),
        None => Cow::Borrowed(message.raw().as_bytes()),
    }
}

/// The bare JID of an account.
pub(super) fn bare(account: AccountId, site: &Site) -> String {
    format!("{account}@{}", site.domain)
}

/// The bare JID of the dialog's room.
pub(super) fn room_jid(app: AppId, id: DialogId, site: &Site) -> String {
    format!("{}@{}", dialog::room(app, id), site.muc_domain)
}

/// The session that sent a parcel, to write back to it.
pub(super) fn seat_of(session: SessionId, parcel: &Parcel) -> Option<Seat> {
    parcel.from.account.map(|account| Seat { account, session, jid: Arc::clone(&parcel.from.jid) })
}

/// Writes to one session.
pub(super) fn to_one(seat: Option<Seat>, stanza: Vec<u8>, turn: &mut Turn<'_>) {
    if let Some(seat) = seat {
        turn.out.push(Effect::Fanout(stanza.into(), Arc::from([seat])));
    }
}

/// Returns a stanza to its sender with an error. RFC 6120 §8.3.
pub(super) fn refuse(session: SessionId, parcel: &Parcel, from: &str, error: StanzaError<'_>, turn: &mut Turn<'_>) {
    let mut nodes = Nodes::new();
    let Some(stanza) = nodes.reread(&parcel.stanza) else { return };
    let mut bytes = Vec::new();
    error.write_reply(stanza, Some(from), None, &mut bytes);
    to_one(seat_of(session, parcel), bytes, turn);
}
