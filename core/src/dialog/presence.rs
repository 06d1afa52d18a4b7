//! Presence in the room: what an occupant is shown as, and how one goes. XEP-0045 §7.2.2, §7.14, §8.2, §9.4 and §10.9.

use std::sync::Arc;

use bytes::Bytes;

use crate::account::Progress;
use crate::effect::{Effect, Seat, SessionId, Site, Turn};
use crate::jid::user::UserId;
use crate::model::dialog::DialogRow;
use crate::ns;
use crate::stanza::{PRESENCE_ID, Parcel};
use crate::xml::{Nodes, Writer};

use super::occupants::{Occupant, Room};
use super::room::said;
use super::wire::{bare, occupant_id, room_jid};
use super::{Dialog, Flow};

/// What one who is thrown out is out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOf {
    Room,
    Dialog,
}

/// What is said at the end of a room. XEP-0045 §10.9
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Farewell {
    /// Why, in words.
    pub reason: Option<String>,
    /// The room to go to instead.
    pub venue: Option<String>,
}

/// How an occupant goes.
#[derive(Default)]
struct Going<'a> {
    /// Of the stanza that led to it.
    id: Option<&'a str>,
    statuses: &'a [u16],
    /// Who did it, if not the occupant.
    actor: Option<&'a str>,
    /// Why, in words.
    reason: Option<&'a str>,
    /// Out of the dialog, too.
    expelled: bool,
    /// There is no room any more.
    destroyed: Option<&'a Farewell>,
    /// Last words, as children of the presence.
    says: &'a [u8],
}

impl Dialog {
    /// A session goes out. XEP-0045 §7.14.
    pub(super) fn leaves(&mut self, user: UserId, session: SessionId, parcel: &Parcel, turn: &mut Turn<'_>) -> Flow {
        let mut nodes = Nodes::new();
        let presence = nodes.reread(&parcel.stanza);
        let id = presence.and_then(|presence| presence.attr("id"));
        let says = presence.map(said).unwrap_or_default();
        if let Some(occupant) = self.room.take(user, session) {
            let going = Going { id: id.as_deref(), statuses: &[110], says: &says, ..Going::default() };
            turn.out.push(Effect::Fanout(self.gone(user, going, turn), Arc::from([occupant.seat])));
            self.tell_of_leaving(user, Going { says: &says, ..Going::default() }, turn);
        }
        Ok(Progress::Done)
    }

    /// A session is not there any more, though it has not said goodbye.
    pub(super) fn lost(&mut self, user: UserId, session: SessionId, turn: &mut Turn<'_>) -> Flow {
        if self.room.take(user, session).is_some() {
            self.tell_of_leaving(user, Going::default(), turn);
        }
        Ok(Progress::Done)
    }

    fn tell_of_leaving(&self, user: UserId, going: Going<'_>, turn: &mut Turn<'_>) {
        let others = self.room.all_but(user);
        if self.room.of(user).next().is_none() && !others.is_empty() {
            turn.out.push(Effect::Fanout(self.gone(user, going, turn), others));
        }
    }

    /// Users have to leave: because they are no longer in the dialog (server notes §4.2, wire notes §16.6), or the room alone.
    pub(super) fn kick(
        &mut self,
        users: &[UserId],
        by: UserId,
        reason: Option<&str>,
        out_of: OutOf,
        turn: &mut Turn<'_>,
    ) {
        let actor = bare(self.account(by), turn.site);
        for &user in users {
            let seats = self.room.seats_of(user);
            if seats.is_empty() {
                continue;
            }
            seats.iter().for_each(|seat| drop(self.room.take(user, seat.session)));
            // One who took himself out is not told that he was thrown out.
            let (statuses, actor): (&[u16], _) = match out_of {
                _ if user == by => (&[110], None),
                // The SDKs look at the first, and for 301 alone; the XEP has 321 for members who are none any more.
                OutOf::Dialog => (&[301, 321, 110], Some(&*actor)),
                OutOf::Room => (&[307, 110], Some(&*actor)),
            };
            let expelled = out_of == OutOf::Dialog && user != by;
            let stanza = self.gone(user, Going { statuses, actor, reason, expelled, ..Going::default() }, turn);
            turn.out.push(Effect::Fanout(stanza, seats));
            self.tell_of_leaving(user, Going::default(), turn);
        }
    }

    /// The dialog is no more: everybody is out. XEP-0045 §10.9.
    pub(super) fn close_room(&mut self, record: &DialogRow, by: UserId, farewell: &Farewell, turn: &mut Turn<'_>) {
        if !record.has_room() || self.room.is_empty() {
            return;
        }
        let actor = bare(self.account(by), turn.site);
        let users: Vec<UserId> = self.room.users().map(|(user, _)| user).collect();
        for user in users {
            let (actor, destroyed) = (Some(&*actor), Some(farewell));
            let going = Going { statuses: &[301, 110], actor, expelled: true, destroyed, ..Going::default() };
            let stanza = self.gone(user, going, turn);
            turn.out.push(Effect::Fanout(stanza, self.room.seats_of(user)));
        }
        self.room = Room::default();
    }

    /// Everyone's last words when the server can no longer hold the room; the sessions themselves stay. XEP-0045 §17.3.
    pub fn dismissed(&self, site: &Site) -> Vec<(Bytes, Arc<[Seat]>)> {
        let room = room_jid(self.app, self.id, site);
        let words = |(user, _): (UserId, &Occupant)| {
            let mut bytes = Vec::new();
            let mut xml = Writer::new(&mut bytes);
            xml.open("presence").attr("from", &format!("{room}/{user}")).attr("type", "unavailable");
            xml.attr("id", PRESENCE_ID)
                .open("x")
                .ns(ns::MUC_USER)
                .leaf("item", &[("affiliation", "none"), ("role", "none")]);
            xml.leaf("status", &[("code", "110")]).leaf("status", &[("code", "332")]).close();
            occupant_id(&self.occupant_id(user, site), &mut xml);
            xml.close();
            drop(xml);
            (Bytes::from(bytes), self.room.seats_of(user))
        };
        self.room.users().map(words).collect()
    }

    /// An occupant's presence. XEP-0045 §7.2.2; the SDKs look at the first status alone, and want an id.
    pub(super) fn shown(
        &self,
        user: UserId,
        occupant: &Occupant,
        id: Option<&str>,
        statuses: &[u16],
        turn: &Turn<'_>,
    ) -> Bytes {
        let mut bytes = Vec::with_capacity(occupant.says.len() + 384);
        let mut xml = Writer::new(&mut bytes);
        let own = !statuses.is_empty();
        let shown_id = format!("occupant-{user}");
        xml.open("presence").attr("from", &format!("{}/{user}", room_jid(self.app, self.id, turn.site)));
        xml.attr("id", id.filter(|_| own).unwrap_or(&shown_id));
        let (affiliation, role) = self.rank(user);
        xml.open("x").ns(ns::MUC_USER).leaf(
            "item",
            &[("affiliation", affiliation), ("role", role), ("nick", &user.to_string()), ("jid", &occupant.seat.jid)],
        );
        for code in statuses {
            xml.leaf("status", &[("code", &code.to_string())]);
        }
        xml.close();
        occupant_id(&self.occupant_id(user, turn.site), &mut xml);
        // Behind the room's own words: the SDKs take the first `x` for those.
        if !occupant.says.is_empty() {
            xml.raw_bytes(&occupant.says);
        }
        xml.close();
        drop(xml);
        bytes.into()
    }

    /// The end of an occupant's presence.
    fn gone(&self, user: UserId, going: Going<'_>, turn: &Turn<'_>) -> Bytes {
        let Going { id, statuses, actor, reason, expelled, destroyed, says } = going;
        let mut bytes = Vec::with_capacity(384);
        let mut xml = Writer::new(&mut bytes);
        let shown_id = format!("occupant-{user}");
        xml.open("presence").attr("from", &format!("{}/{user}", room_jid(self.app, self.id, turn.site)));
        xml.attr("type", "unavailable").attr("id", id.unwrap_or(&shown_id));
        let affiliation = if expelled { "none" } else { self.rank(user).0 };
        xml.open("x").ns(ns::MUC_USER);
        xml.open("item").attr("affiliation", affiliation).attr("role", "none").attr("nick", &user.to_string());
        if let Some(actor) = actor {
            xml.leaf("actor", &[("jid", actor)]);
        }
        if let Some(reason) = reason {
            xml.simple("reason", reason);
        }
        xml.close();
        if let Some(Farewell { reason, venue }) = destroyed {
            let reason = reason.as_deref().unwrap_or("The dialog was deleted.");
            xml.open("destroy").attr_opt("jid", venue.as_deref()).simple("reason", reason).close();
        }
        for code in statuses {
            xml.leaf("status", &[("code", &code.to_string())]);
        }
        xml.close();
        occupant_id(&self.occupant_id(user, turn.site), &mut xml);
        if !says.is_empty() {
            xml.raw_bytes(says);
        }
        xml.close();
        drop(xml);
        bytes.into()
    }

    /// The same for as long as user and room are, and nobody's who does not know the server's key. XEP-0421 §4.1
    pub(super) fn occupant_id(&self, user: UserId, site: &Site) -> String {
        site.occupants.id(self.app, self.id, user)
    }

    /// Affiliation and role. XEP-0045 §5, server notes §14.
    pub(super) fn rank(&self, user: UserId) -> (&'static str, &'static str) {
        match &self.record {
            Some(record) if record.owner == user && record.admits(user) => ("owner", "moderator"),
            Some(record) if record.has(user) => ("member", "participant"),
            Some(_) | None => ("none", "participant"),
        }
    }
}
