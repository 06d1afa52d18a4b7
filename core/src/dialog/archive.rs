//! The history as archives show it, and the archive of the room. XEP-0313 §4.2 and §7.2.
//!
//! A room's archive is for those who may enter the room, whether or not they are in it. What one has deleted for oneself over
//! the API is not in it for him.

use std::borrow::Cow;

use crate::effect::{Seat, SessionId, Site, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::archive::{Inquiry, Keep, Query, Scope, View, fields};
use crate::jid::Jid;
use crate::jid::user::{DialogId, UserId};
use crate::model::dialog::{DialogRow, MessageRow};
use crate::ns;
use crate::owner::AccountId;
use crate::route::{Target, target};
use crate::stanza::{IqKind, Parcel};
use crate::xml::{Element, Nodes, splice};

use super::rewrite::rewritten;
use super::room::no_room;
use super::wire::{bare, occupant_id, room_jid, seat_of, senders_own, stanza_of, to_one};
use super::{Dialog, Flow};

/// A message of the history as it stands in `<forwarded/>`. `room` is the dialog of a message from a room.
pub(crate) fn archived(
    viewer: AccountId,
    dialog: DialogId,
    row: &MessageRow,
    room: Option<&DialogRow>,
    site: &Site,
) -> Vec<u8> {
    let mut stanza = stanza_of(viewer.app, dialog, row, site);
    let mut nodes = Nodes::new();
    // It was well-formed when it was saved. A result without the message would still be one: §3.3.
    let Some(message) = nodes.reread(&stanza) else { return Vec::new() };
    let changed = match row.recipient {
        Some(recipient) if row.sender == viewer.user => {
            let (own, others) = (bare(viewer, site), bare(AccountId { app: viewer.app, user: recipient }, site));
            Some(senders_own(message, &own, &others).into_owned())
        }
        Some(_) => None,
        // What the room itself says is nobody's.
        None if message.attr("from").is_some_and(|from| !from.contains('/')) => None,
        // §7.2: whatever `x` there was is not the room's. Everybody in the room may know who is who.
        None => {
            let sender = bare(AccountId { app: viewer.app, user: row.sender }, site);
            let affiliation = room.map_or("none", |room| affiliation(room, row.sender));
            let occupant = site.occupants.id(viewer.app, dialog, row.sender);
            // Messages of old were kept without the occupant's id.
            let said = |child: Element<'_>| child.is("x", ns::MUC_USER) || child.is("occupant-id", ns::OCCUPANT_ID);
            Some(rewritten(message, &said, None, &|xml| {
                let item = [("affiliation", affiliation), ("jid", sender.as_str())];
                xml.open("x").ns(ns::MUC_USER).leaf("item", &item).close();
                occupant_id(&occupant, xml);
            }))
        }
    };
    if let Some(changed) = changed {
        stanza = Cow::Owned(changed);
    }
    let mut out = Vec::with_capacity(stanza.len() + 32);
    splice::with_namespace(&stanza, &mut out);
    out
}

fn affiliation(room: &DialogRow, user: UserId) -> &'static str {
    match room {
        room if room.owner == user && room.admits(user) => "owner",
        room if room.has(user) => "member",
        _ => "none",
    }
}

/// Which messages of the room `with` asks for: XEP-0313 §4.1.1, a message is of the one who sent it.
fn sent_by(with: &str, viewer: AccountId, room: DialogId, site: &Site) -> Option<Keep> {
    let jid = Jid::parse(with).ok()?;
    match target(Some(&jid), viewer, site) {
        Target::Own => Some(Keep::Of(viewer.user)),
        Target::User(account, None) => Some(Keep::Of(account.user)),
        Target::Dialog(dialog, None) if dialog == room => Some(Keep::All),
        Target::Dialog(dialog, Some(nick)) if dialog == room => nick.parse().ok().map(Keep::Of),
        // Which device of a user it was is not kept.
        Target::User(_, Some(_))
        | Target::Dialog(..)
        | Target::Server
        | Target::RoomService
        | Target::Uploads
        | Target::Link(_)
        | Target::Room
        | Target::Nobody
        | Target::Component(_)
        | Target::Elsewhere => None,
    }
}

impl Dialog {
    /// A question to the room's archive.
    pub(super) fn asks_archive(
        &mut self,
        session: SessionId,
        parcel: &Parcel,
        user: UserId,
        kind: IqKind,
        payload: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let viewer = self.account(user);
        if !self.room_record().is_some_and(|record| record.admits(user)) {
            return self.answers(session, parcel, Err(no_room()), turn);
        }
        let scope = Scope::One(self.id);
        let inquiry = match (payload.name(), kind) {
            ("query", IqKind::Get) => return self.answers(session, parcel, Ok(fields()), turn),
            ("metadata", IqKind::Get) => Ok(Inquiry::ends(viewer, scope)),
            ("query", IqKind::Set) => Query::read(payload).map(|query| {
                let keep = match &query.with {
                    None => Some(Keep::All),
                    Some(with) => sent_by(with, viewer, self.id, turn.site),
                };
                let count = Some(self.head.archived()).filter(|_| keep == Some(Keep::All));
                match keep.filter(|_| query.groupchat != Some(false)) {
                    Some(keep) => Inquiry::of(viewer, scope, keep, query, count),
                    None => Inquiry::of(viewer, Scope::Nothing, Keep::All, query, None),
                }
            }),
            // Preferences are a user's: whoever talks in a room is in its archive.
            ("prefs", _) => Err(Condition::NotAllowed),
            (_, _) => Err(Condition::ServiceUnavailable),
        };
        match inquiry {
            Ok(inquiry) => {
                self.holds_iq(session, parcel.clone());
                self.inquires(seat_of(session, parcel), viewer, inquiry, turn)
            }
            Err(condition) => self.answers(session, parcel, Err(condition.into()), turn),
        }
    }

    fn inquires(&mut self, asker: Option<Seat>, viewer: AccountId, mut inquiry: Inquiry, turn: &mut Turn<'_>) -> Flow {
        match inquiry.next() {
            Ok(Some(reads)) => self.read(reads, turn, move |dialog, rows, turn| {
                inquiry.take(rows)?;
                dialog.inquires(asker, viewer, inquiry, turn)
            }),
            Ok(None) => {
                let from = room_jid(self.app, self.id, turn.site);
                let view = View { viewer, room: self.record.as_ref(), from: &from, to: None, site: turn.site };
                let answer = inquiry.answer(&view);
                for message in answer.messages {
                    to_one(asker.clone(), message, turn);
                }
                self.answer_iq(Ok(answer.payload), turn)
            }
            Err(condition) => self.answer_iq(Err(StanzaError::from(condition)), turn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jid::user::AppId;

    #[test]
    fn with_names_a_sender_or_nobody() {
        let site = Site::of("localhost");
        let room: DialogId = "53aaa06f535c12cea9007496".parse().expect("an id");
        let viewer = AccountId { app: AppId(7), user: UserId(1) };
        for (with, expected) in [
            ("1-7@localhost", Some(Keep::Of(UserId(1)))),
            ("2-7@localhost", Some(Keep::Of(UserId(2)))),
            ("2-7@localhost/phone", None),
            ("2-8@localhost", None),
            ("7_53aaa06f535c12cea9007496@muc.localhost", Some(Keep::All)),
            ("7_53aaa06f535c12cea9007496@muc.localhost/2", Some(Keep::Of(UserId(2)))),
            ("7_53aaa06f535c12cea9007496@muc.localhost/two", None),
            ("7_53aaa06f535c12cea9007497@muc.localhost", None),
            ("localhost", None),
            ("example.com", None),
        ] {
            assert_eq!(sent_by(with, viewer, room, &site), expected, "{with}");
        }
    }
}
