//! The dialog's room: who is in it, from which devices, and what they say to each other. XEP-0045 as server notes §4 have it.
//!
//! A nick is the user's number; all of a user's devices are under it, and the others hear of the first that comes and the last
//! that goes. The room exists while its dialog does, and nobody can make one by entering.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::account::Progress;
use crate::effect::{Effect, Seat, SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::archive::is_archived;
use crate::jid::user::UserId;
use crate::limits::{ROOM_PRESENCE_BYTES_MAX, ROOM_SEATS_MAX};
use crate::model::dialog::{self, DialogKind, DialogRow, Subject, body_of, marker, saved_params};
use crate::ns;
use crate::row::Batch;
use crate::stanza::{MessageKind, PRESENCE_ID, Parcel, PresenceKind};
use crate::xml::{Element, Nodes, Writer};

use super::rewrite::rewritten;
use super::save::is_rooms;
use super::wire::{bare, refuse, room_jid, seat_of, to_one};
use super::{Dialog, Flow, report};

/// Server notes §4.3.
const NO_ROOM: &str = "There is no such room.";
const NO_RIGHT: &str = "Insufficient privileges to send groupchat message.";

/// Who is in the room.
#[derive(Default)]
pub(super) struct Room {
    seats: BTreeMap<(UserId, SessionId), Occupant>,
    /// All of them, for what is said to everybody.
    everyone: Option<Arc<[Seat]>>,
}

/// One session in the room.
pub(super) struct Occupant {
    seat: Seat,
    /// What it says of itself, as children of its presence.
    says: Bytes,
}

/// What one who is thrown out is out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutOf {
    Room,
    Dialog,
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
    /// Why there is no room any more.
    destroyed: Option<&'a str>,
    /// Last words, as children of the presence.
    says: &'a [u8],
}

impl Occupant {
    /// The session's full JID.
    pub fn jid(&self) -> &str {
        &self.seat.jid
    }
}

impl Room {
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub fn has(&self, user: UserId, session: SessionId) -> bool {
        self.seats.contains_key(&(user, session))
    }

    /// The sessions of one user.
    pub fn of(&self, user: UserId) -> impl Iterator<Item = &Occupant> {
        self.seats.range((user, SessionId(0))..=(user, SessionId(u64::MAX))).map(|(_, occupant)| occupant)
    }

    /// Each user once, with the session that came first to be known.
    pub fn users(&self) -> impl Iterator<Item = (UserId, &Occupant)> {
        let mut last = None;
        self.seats
            .iter()
            .filter_map(move |(&(user, _), occupant)| (last.replace(user) != Some(user)).then_some((user, occupant)))
    }

    pub fn everyone(&mut self) -> Arc<[Seat]> {
        let seats = &self.seats;
        let all = self.everyone.get_or_insert_with(|| seats.values().map(|occupant| occupant.seat.clone()).collect());
        Arc::clone(all)
    }

    fn all_but(&self, user: UserId) -> Arc<[Seat]> {
        let others = self.seats.iter().filter(|((seated, _), _)| *seated != user);
        others.map(|(_, occupant)| occupant.seat.clone()).collect()
    }

    pub fn seats_of(&self, user: UserId) -> Arc<[Seat]> {
        self.of(user).map(|occupant| occupant.seat.clone()).collect()
    }

    fn put(&mut self, user: UserId, occupant: Occupant) {
        self.seats.insert((user, occupant.seat.session), occupant);
        self.everyone = None;
    }

    fn take(&mut self, user: UserId, session: SessionId) -> Option<Occupant> {
        self.everyone = None;
        self.seats.remove(&(user, session))
    }
}

impl Dialog {
    /// The room's dialog, if it has a room.
    pub(super) fn room_record(&self) -> Option<&DialogRow> {
        self.record.as_ref().filter(|record| record.has_room())
    }

    /// A message to the room or to someone in it.
    pub(super) fn takes_message(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        kind: MessageKind,
        id_used: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let Some(user) = parcel.from.account.map(|account| account.user) else { return Ok(Progress::Done) };
        let refusal = match (self.room_record(), kind, parcel.resource.is_some()) {
            (_, MessageKind::Error, _) => return self.done(&parcel, turn),
            (None, _, _) => Some(StanzaError::new(Condition::ItemNotFound, NO_ROOM)),
            (Some(_), MessageKind::Groupchat, true) => Some(Condition::BadRequest.into()),
            (Some(record), _, _) if !record.admits(user) => Some(StanzaError::new(Condition::Forbidden, NO_RIGHT)),
            (Some(_), _, _) if !self.room.has(user, session) => {
                Some(StanzaError::new(Condition::NotAcceptable, "Join the room first."))
            }
            (Some(_), MessageKind::Groupchat, false) => {
                return self.takes_groupchat(session, parcel, user, id_used, turn);
            }
            (Some(_), _, true) => return self.passes_on(session, &parcel, user, turn),
            // XEP-0045 §7.8.2 and §7.13: invitations and requests for a voice; who is in a dialog is decided over REST.
            (Some(_), MessageKind::Chat | MessageKind::Normal | MessageKind::Headline, false) => {
                Some(Condition::NotAllowed.into())
            }
        };
        if let Some(error) = refusal {
            refuse(session, &parcel, &self.addressed(&parcel, turn), error, turn);
        }
        self.done(&parcel, turn)
    }

    fn done(&self, parcel: &Parcel, turn: &mut Turn<'_>) -> Flow {
        report(parcel.receipt, turn);
        Ok(Progress::Done)
    }

    fn takes_groupchat(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        user: UserId,
        id_used: bool,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(&parcel.stanza) else { return self.done(&parcel, turn) };
        if let Some(subject) = subject_of(message) {
            let allowed =
                self.record.as_ref().is_some_and(|record| record.kind != DialogKind::Public || record.owner == user);
            if !allowed {
                refuse(session, &parcel, &room_jid(self.app, self.id, turn.site), Condition::Forbidden.into(), turn);
                return self.done(&parcel, turn);
            }
            self.set_subject(subject, user, turn);
        } else if marker(message).is_none()
            && (saved_params(message).is_some()
                || (turn.site.archiving.rooms && is_archived(turn.site.chain.look(MessageKind::Groupchat, message))))
        {
            return self.saves_in_room(session, parcel, user, id_used, turn);
        }
        let stanza = if message.children().any(is_rooms) {
            rewritten(message, &is_rooms, None, &|_| {}).into()
        } else {
            parcel.stanza.clone()
        };
        self.say(stanza, turn);
        self.done(&parcel, turn)
    }

    fn set_subject(&mut self, text: String, by: UserId, turn: &mut Turn<'_>) {
        let Some(record) = &mut self.record else { return };
        record.subject = Some(Subject { text, by, at: turn.now.stamp });
        let mut batch = Batch::default();
        dialog::put(&mut batch, self.app, self.id, record);
        turn.out.write(batch);
    }

    /// A private message from one in the room to another. XEP-0045 §7.5.
    fn passes_on(&mut self, session: SessionId, parcel: &Parcel, user: UserId, turn: &mut Turn<'_>) -> Flow {
        let to = parcel.resource.as_deref().and_then(|nick| nick.parse::<UserId>().ok());
        let seats = to.map(|to| self.room.seats_of(to)).filter(|seats| !seats.is_empty());
        let room = room_jid(self.app, self.id, turn.site);
        let Some(seats) = seats else {
            let from = format!("{room}/{}", parcel.resource.as_deref().unwrap_or_default());
            refuse(session, parcel, &from, Condition::ItemNotFound.into(), turn);
            return self.done(parcel, turn);
        };
        let mut nodes = Nodes::new();
        if let Some(message) = nodes.reread(&parcel.stanza) {
            let stanza = rewritten(message, &is_rooms, None, &|xml| {
                xml.empty("x", ns::MUC_USER);
            });
            turn.out.push(Effect::Fanout(stanza.into(), seats));
        }
        debug_assert!(self.room.has(user, session), "only those inside talk");
        self.done(parcel, turn)
    }

    /// A presence to the room.
    pub(super) fn takes_presence(
        &mut self,
        session: SessionId,
        parcel: Parcel,
        kind: PresenceKind,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let Some(user) = parcel.from.account.map(|account| account.user) else { return Ok(Progress::Done) };
        match kind {
            PresenceKind::Available => {}
            PresenceKind::Unavailable | PresenceKind::Error => return self.leaves(user, session, &parcel, turn),
            PresenceKind::Probe | PresenceKind::Subscription(_) => return Ok(Progress::Done),
        }
        let condition = match self.room_record() {
            None => Some((Condition::ItemNotFound, NO_ROOM)),
            Some(record) if !record.admits(user) => {
                Some((Condition::RegistrationRequired, "You are no member of this room."))
            }
            // XEP-0045 §7.2.1
            Some(_) if parcel.resource.is_none() => {
                Some((Condition::JidMalformed, "Join as the room's address with a nick."))
            }
            Some(_) if self.room.seats.len() >= ROOM_SEATS_MAX && !self.room.has(user, session) => {
                Some((Condition::ResourceConstraint, Condition::ResourceConstraint.text()))
            }
            Some(_) => None,
        };
        match condition {
            Some((condition, text)) => {
                self.turn_away(session, &parcel, condition, text, turn);
                Ok(Progress::Done)
            }
            None => self.enters(session, parcel, user, turn),
        }
    }

    /// Refuses one who wants in. The SDKs recognise the error by the number 500, whatever the condition, and only if it has the
    /// join's id and its `x`. Server notes §4.1.
    fn turn_away(&self, session: SessionId, parcel: &Parcel, condition: Condition, text: &str, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let Some(presence) = nodes.reread(&parcel.stanza) else { return };
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("presence").attr("from", &self.addressed(parcel, turn)).attr("type", "error");
        xml.attr_opt("id", presence.attr("id").as_deref());
        xml.empty("x", ns::MUC);
        refusal(condition, text, &mut xml);
        xml.close();
        drop(xml);
        to_one(seat_of(session, parcel), bytes, turn);
    }

    /// The room's address as the parcel has it.
    pub(super) fn addressed(&self, parcel: &Parcel, turn: &Turn<'_>) -> String {
        let room = room_jid(self.app, self.id, turn.site);
        match &parcel.resource {
            Some(nick) => format!("{room}/{nick}"),
            None => room,
        }
    }

    /// Takes a session in, or hears again from one that is in.
    pub(super) fn seats(&mut self, session: SessionId, parcel: &Parcel, user: UserId, turn: &mut Turn<'_>) {
        let mut nodes = Nodes::new();
        let (Some(presence), Some(seat)) = (nodes.reread(&parcel.stanza), seat_of(session, parcel)) else {
            return;
        };
        let id = presence.attr("id");
        let joins = presence.child("x", ns::MUC).is_some();
        let known = self.room.has(user, session);
        let first = self.room.of(user).next().is_none();
        let says = said(presence);
        let changed = !first && self.room.of(user).any(|occupant| occupant.says != says);
        let here: Arc<[Seat]> = Arc::from([seat.clone()]);
        if joins || !known {
            for (other, occupant) in self.room.users().filter(|(other, _)| *other != user) {
                let stanza = self.shown(other, occupant, None, &[], turn);
                turn.out.push(Effect::Fanout(stanza, Arc::clone(&here)));
            }
        }
        let occupant = Occupant { seat, says };
        let forced = parcel.resource.as_deref().is_some_and(|nick| *nick != *user.to_string());
        let statuses: &[u16] = if forced { &[110, 210] } else { &[110] };
        let own = self.shown(user, &occupant, id.as_deref(), statuses, turn);
        turn.out.push(Effect::Fanout(own, here));
        if first || (known && !joins && changed) {
            let others = self.room.all_but(user);
            if !others.is_empty() {
                let stanza = self.shown(user, &occupant, None, &[], turn);
                turn.out.push(Effect::Fanout(stanza, others));
            }
        }
        self.room.put(user, occupant);
    }

    /// A session goes out. XEP-0045 §7.14.
    fn leaves(&mut self, user: UserId, session: SessionId, parcel: &Parcel, turn: &mut Turn<'_>) -> Flow {
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
                OutOf::Dialog => (&[301, 110], Some(&*actor)),
                OutOf::Room => (&[307, 110], Some(&*actor)),
            };
            let expelled = out_of == OutOf::Dialog && user != by;
            let stanza = self.gone(user, Going { statuses, actor, reason, expelled, ..Going::default() }, turn);
            turn.out.push(Effect::Fanout(stanza, seats));
            self.tell_of_leaving(user, Going::default(), turn);
        }
    }

    /// The dialog is no more: everybody is out. XEP-0045 §10.9.
    pub(super) fn close_room(&mut self, record: &DialogRow, by: UserId, reason: Option<&str>, turn: &mut Turn<'_>) {
        if !record.has_room() || self.room.is_empty() {
            return;
        }
        let actor = bare(self.account(by), turn.site);
        let users: Vec<UserId> = self.room.users().map(|(user, _)| user).collect();
        for user in users {
            let destroyed = Some(reason.unwrap_or("The dialog was deleted."));
            let going =
                Going { statuses: &[301, 110], actor: Some(&actor), expelled: true, destroyed, ..Going::default() };
            let stanza = self.gone(user, going, turn);
            turn.out.push(Effect::Fanout(stanza, self.room.seats_of(user)));
        }
        self.room = Room::default();
    }

    /// Everyone's last words when the server can no longer hold the room; the sessions themselves stay. XEP-0045 §17.3.
    pub fn dismissed(&self, site: &crate::effect::Site) -> Vec<(Bytes, Arc<[Seat]>)> {
        let room = room_jid(self.app, self.id, site);
        let words = |(user, _): (UserId, &Occupant)| {
            let mut bytes = Vec::new();
            let mut xml = Writer::new(&mut bytes);
            xml.open("presence").attr("from", &format!("{room}/{user}")).attr("type", "unavailable");
            xml.attr("id", PRESENCE_ID)
                .open("x")
                .ns(ns::MUC_USER)
                .leaf("item", &[("affiliation", "none"), ("role", "none")]);
            xml.leaf("status", &[("code", "110")]).leaf("status", &[("code", "332")]).close().close();
            drop(xml);
            (Bytes::from(bytes), self.room.seats_of(user))
        };
        self.room.users().map(words).collect()
    }

    /// An occupant's presence. XEP-0045 §7.2.2; the SDKs look at the first status alone, and want an id.
    fn shown(&self, user: UserId, occupant: &Occupant, id: Option<&str>, statuses: &[u16], turn: &Turn<'_>) -> Bytes {
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
        if let Some(reason) = destroyed {
            xml.open("destroy").simple("reason", reason).close();
        }
        for code in statuses {
            xml.leaf("status", &[("code", &code.to_string())]);
        }
        xml.close();
        if !says.is_empty() {
            xml.raw_bytes(says);
        }
        xml.close();
        drop(xml);
        bytes.into()
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

/// Appends the error that a stanza to the room is turned away with.
pub(crate) fn refusal(condition: Condition, text: &str, xml: &mut Writer<'_>) {
    xml.open("error").attr("code", "500").attr("type", condition.kind().as_str());
    xml.empty(condition.as_str(), ns::STANZA_ERRORS);
    xml.open("text").ns(ns::STANZA_ERRORS).attr("xml:lang", "en").text(text).close();
    xml.close();
}

/// What a message to a name that is no room of the sender's app is answered with, the same as for one whose dialog is not there.
pub(crate) fn no_room() -> StanzaError<'static> {
    StanzaError::new(Condition::ItemNotFound, NO_ROOM)
}

/// The presence error for a name that is no room of the sender's app, as [`Dialog::turn_away`] writes it.
pub(crate) fn no_entry(presence: Element<'_>, from: &str, to: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut xml = Writer::new(&mut bytes);
    xml.open("presence").attr("to", to).attr("from", from).attr("type", "error");
    xml.attr("id", presence.attr("id").as_deref().unwrap_or(PRESENCE_ID));
    xml.empty("x", ns::MUC);
    refusal(Condition::ItemNotFound, NO_ROOM, &mut xml);
    xml.close();
    drop(xml);
    bytes
}

/// The new subject in a message that is about nothing else. XEP-0045 §8.1.
fn subject_of(message: Element<'_>) -> Option<String> {
    let alone = body_of(message).is_none() && message.child("thread", ns::CLIENT).is_none();
    let subject = message.child("subject", ns::CLIENT).filter(|_| alone)?;
    Some(subject.text().into_owned())
}

/// What a presence says besides entering, as far as the room passes it on.
fn said(presence: Element<'_>) -> Bytes {
    let mut bytes = Vec::new();
    for child in presence.children().filter(|child| !matches!(child.ns(), ns::MUC | ns::MUC_USER | ns::OCCUPANT_ID)) {
        crate::xml::splice::copy(child, ns::CLIENT, &mut bytes);
    }
    if bytes.len() > ROOM_PRESENCE_BYTES_MAX { Bytes::new() } else { bytes.into() }
}
