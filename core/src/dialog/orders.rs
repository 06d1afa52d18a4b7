//! Orders given in the room: who is in it, what it is called, whether it is there at all. XEP-0045 §8.2, §9 and §10.
//!
//! A room is a dialog, so an order is the change of the dialog that the API would make, with the same rights, and shows there at
//! once. What a dialog has no place for (bans, moderation, passwords) is refused.
//!
//! | order | change |
//! |---|---|
//! | affiliation `member` | the user comes into the group; any occupant |
//! | affiliation `none` | the user goes out of it; oneself, and the owner anyone |
//! | role `none` | the user's devices leave the room, and may come again; the owner |
//! | the form of settings | another name; the owner |
//! | `destroy` | the dialog is deleted for all; the owner |

use crate::effect::{SessionId, Site, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::form::{self, Field};
use crate::jid::Jid;
use crate::jid::user::UserId;
use crate::limits::{DIALOG_NAME_BYTES_MAX, ROOM_ORDER_ITEMS_MAX, ROOM_PRESENCE_BYTES_MAX};
use crate::model::dialog::{Answer, Change, DialogKind, DialogRow, Refusal};
use crate::ns;
use crate::owner::AccountId;
use crate::route::{Target, target};
use crate::stanza::Parcel;
use crate::xml::{Element, Writer};

use super::occupants::Guise;
use super::presence::{Farewell, OutOf};
use super::query::field;
use super::room::no_room;
use super::wire::room_jid;
use super::{Dialog, Flow};

/// What an order comes to.
#[derive(Debug, PartialEq)]
enum Order {
    /// Nothing is to be otherwise than it is.
    Nothing,
    Change(Change),
    /// Out of the room, not out of the dialog.
    Kick(Vec<UserId>, Option<String>),
    Destroy(Farewell),
}

/// Whether a payload of type `set` is one of these orders.
pub(super) fn is_order(payload: Element<'_>) -> bool {
    payload.is("query", ns::MUC_ADMIN) || payload.is("query", ns::MUC_OWNER)
}

impl Dialog {
    pub(super) fn takes_order(
        &mut self,
        session: SessionId,
        parcel: &Parcel,
        user: UserId,
        payload: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let Some(record) = self.room_record().filter(|record| record.admits(user)) else {
            return self.answers(session, parcel, Err(no_room()), turn);
        };
        let order = match payload.ns() {
            ns::MUC_ADMIN => of_admin(record, self.account(user), payload, turn.site),
            _ => of_owner(record, user, payload),
        };
        match order {
            Err(condition) => self.answers(session, parcel, Err(condition.into()), turn),
            Ok(Order::Nothing) => self.answers(session, parcel, Ok(Vec::new()), turn),
            Ok(Order::Kick(users, _)) if users.iter().all(|user| self.room.seats_of(*user).is_empty()) => {
                self.answers(session, parcel, Err(Condition::ItemNotFound.into()), turn)
            }
            Ok(Order::Kick(users, reason)) => {
                self.kick(&users, user, reason.as_deref(), OutOf::Room, turn);
                self.answers(session, parcel, Ok(Vec::new()), turn)
            }
            Ok(Order::Change(change)) => {
                self.holds_iq(session, parcel.clone());
                self.update(user, change, turn)
            }
            Ok(Order::Destroy(farewell)) => {
                self.holds_iq(session, parcel.clone());
                self.delete(user, true, &farewell, turn)
            }
        }
    }

    /// Those in the room are told that its settings have changed, but for clients that would show it as a message from nobody.
    /// XEP-0045 §10.2.1
    pub(super) fn announce_settings(&mut self, turn: &mut Turn<'_>) {
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("message").attr("from", &room_jid(self.app, self.id, turn.site)).attr("type", "groupchat");
        xml.open("x").ns(ns::MUC_USER).leaf("status", &[("code", "104")]).close().close();
        drop(xml);
        self.say_to(bytes.into(), |guise| guise == Guise::Any, turn);
    }
}

/// What the one who gave an order is told of what came of it.
pub(super) fn told(answer: &Answer) -> Result<Vec<u8>, StanzaError<'static>> {
    match answer {
        Answer::Dialog { .. } | Answer::Message { .. } | Answer::Sorted { .. } | Answer::Done => Ok(Vec::new()),
        Answer::Refused(refusal) => Err(match refusal {
            Refusal::NoDialog => no_room(),
            Refusal::Forbidden => Condition::Forbidden.into(),
            Refusal::UnknownUsers => Condition::ItemNotFound.into(),
            Refusal::TooManyForPrivate | Refusal::WrongOccupants => Condition::NotAllowed.into(),
            Refusal::TooManyOccupants => Condition::ResourceConstraint.into(),
            Refusal::Taken => Condition::Conflict.into(),
        }),
    }
}

/// Affiliations and roles. XEP-0045 §8.2, §9.3, §9.4. All items say the same kind of thing, or nothing is done.
fn of_admin(record: &DialogRow, me: AccountId, payload: Element<'_>, site: &Site) -> Result<Order, Condition> {
    let mut change = Change::default();
    let mut kicked = Vec::new();
    let (mut items, mut reason) = (0, None);
    for item in payload.children().filter(|child| child.is("item", ns::MUC_ADMIN)) {
        items += 1;
        if items > ROOM_ORDER_ITEMS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        let user = whom(item, me, site)?;
        reason = reason.or_else(|| reason_in(item, ns::MUC_ADMIN));
        match (item.attr("affiliation").as_deref(), item.attr("role").as_deref()) {
            (Some("member"), None) if record.kind == DialogKind::Group => change.push.push(user),
            (Some("none"), None) if record.kind == DialogKind::Group => change.pull.push(user),
            (None, Some("none")) => kicked.push(user),
            // What is so already may be asked for.
            (Some("owner"), None) if record.owner == user => {}
            (None, Some("moderator")) if record.owner == user => {}
            (None, Some("participant")) if record.owner != user => {}
            (Some(_), None) | (None, Some(_)) => return Err(refused(record, me.user)),
            (Some(_), Some(_)) | (None, None) => return Err(Condition::BadRequest),
        }
    }
    let moves = !(change.push.is_empty() && change.pull.is_empty());
    match (items, kicked.is_empty(), moves) {
        (0, _, _) | (_, false, true) => Err(Condition::BadRequest),
        (_, false, false) if record.owner != me.user => Err(Condition::Forbidden),
        // §8.2: nobody is thrown out who stands as high.
        (_, false, false) if kicked.contains(&record.owner) => Err(Condition::NotAllowed),
        (_, false, false) => Ok(Order::Kick(kicked, reason)),
        (_, true, true) => Ok(Order::Change(change)),
        (_, true, false) => Ok(Order::Nothing),
    }
}

/// Why, in words for those whom it concerns.
pub(super) fn reason_in(parent: Element<'_>, ns: &str) -> Option<String> {
    let text = parent.child("reason", ns)?.text();
    let text = text.trim();
    (!text.is_empty() && text.len() <= ROOM_PRESENCE_BYTES_MAX).then(|| text.to_owned())
}

/// Whom an item names: by address, or by the nick, which is the user's number.
fn whom(item: Element<'_>, me: AccountId, site: &Site) -> Result<UserId, Condition> {
    if let Some(jid) = item.attr("jid") {
        let jid = Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?;
        return match target(Some(&jid), me, site) {
            Target::Own => Ok(me.user),
            Target::User(account, _) => Ok(account.user),
            Target::Server
            | Target::RoomService
            | Target::Uploads
            | Target::Link(_)
            | Target::Room
            | Target::Dialog(..)
            | Target::Nobody
            | Target::Component(_)
            | Target::Elsewhere => Err(Condition::ItemNotFound),
        };
    }
    let nick = item.attr("nick").ok_or(Condition::BadRequest)?;
    nick.parse().map_err(|_| Condition::ItemNotFound)
}

/// The settings and the end of the room. XEP-0045 §10.1, §10.2, §10.9.
fn of_owner(record: &DialogRow, user: UserId, payload: Element<'_>) -> Result<Order, Condition> {
    for_owner(record, user)?;
    if let Some(destroy) = payload.child("destroy", ns::MUC_OWNER) {
        let reason = reason_in(destroy, ns::MUC_OWNER);
        let venue = destroy.attr("jid").filter(|jid| !jid.is_empty());
        let venue = venue.map(|jid| Jid::parse(&jid).map(|jid| jid.as_str().to_owned())).transpose();
        return Ok(Order::Destroy(Farewell { reason, venue: venue.map_err(|_| Condition::JidMalformed)? }));
    }
    let Some(form) = payload.child("x", ns::DATA_FORMS) else { return Err(refused(record, user)) };
    // §10.1.3: a form that is given up changes nothing; §10.1.2: one without fields takes what there is.
    if form.attr("type").as_deref() == Some("cancel") || form.children().next().is_none() {
        return Ok(Order::Nothing);
    }
    let mut change = Change::default();
    for setting in form::submitted(payload, ns::MUC_ROOM_CONFIG)? {
        match setting.var.as_str() {
            NAME => {
                let name = setting.one()?.trim();
                if name.is_empty() || name.len() > DIALOG_NAME_BYTES_MAX {
                    return Err(Condition::NotAcceptable);
                }
                change.name = Some(name.to_owned()).filter(|name| record.name.as_ref() != Some(name));
            }
            other => keeps(record, other, &setting)?,
        }
    }
    Ok(if change.name.is_some() { Order::Change(change) } else { Order::Nothing })
}

/// A setting that nobody can change may be handed back as it is. One that was not asked about is passed over. XEP-0004 §3.2
fn keeps(record: &DialogRow, var: &str, setting: &Field) -> Result<(), Condition> {
    let given = setting.values.first().map(String::as_str).unwrap_or_default();
    let is_kept = match fixed(record).into_iter().find(|(name, _)| *name == var) {
        Some((_, set)) => matches!((given, set), ("1" | "true", true) | ("0" | "false" | "", false)),
        None => var != WHOIS || given == ANYONE,
    };
    if is_kept { Ok(()) } else { Err(Condition::NotAcceptable) }
}

/// An order that a dialog has no place for is not allowed; whoever may give none at all is told just that.
fn refused(record: &DialogRow, user: UserId) -> Condition {
    for_owner(record, user).err().unwrap_or(Condition::NotAllowed)
}

fn for_owner(record: &DialogRow, user: UserId) -> Result<(), Condition> {
    if record.owner == user { Ok(()) } else { Err(Condition::Forbidden) }
}

/// XEP-0045 §10.2: the owner sees how the room is set up, and what of it can be changed.
pub(super) fn configuration(record: &DialogRow, user: UserId) -> Result<Vec<u8>, Condition> {
    for_owner(record, user)?;
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::MUC_OWNER);
    form::open_form(&mut xml, ns::MUC_ROOM_CONFIG);
    field(&mut xml, NAME, Some("text-single"), record.name.as_deref().unwrap_or_default());
    for (name, set) in fixed(record) {
        field(&mut xml, name, Some("boolean"), if set { "1" } else { "0" });
    }
    field(&mut xml, WHOIS, Some("list-single"), ANYONE);
    xml.close().close();
    drop(xml);
    Ok(out)
}

/// What follows from the kind of dialog.
fn fixed(record: &DialogRow) -> [(&'static str, bool); 6] {
    let public = record.kind == DialogKind::Public;
    [
        ("muc#roomconfig_persistentroom", true),
        ("muc#roomconfig_publicroom", public),
        ("muc#roomconfig_membersonly", !public),
        ("muc#roomconfig_moderatedroom", false),
        ("muc#roomconfig_passwordprotectedroom", false),
        ("muc#roomconfig_changesubject", !public),
    ]
}

const NAME: &str = "muc#roomconfig_roomname";
const WHOIS: &str = "muc#roomconfig_whois";
const ANYONE: &str = "anyone";
