//! Questions to the room: what it is, who is in it, how it is set up. XEP-0030, XEP-0045 §6, §9 and §10, XEP-0410.
//!
//! Who is no member of a group is told what one is told who asks for a room that is not there.

use crate::account::Progress;
use crate::effect::{SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::jid::user::UserId;
use crate::limits::ROOM_HISTORY_STANZAS_MAX;
use crate::model::dialog::{DialogKind, DialogRow};
use crate::ns;
use crate::stanza::{IqKind, Parcel};
use crate::xml::{Element, Nodes, Writer};

use super::orders::{configuration, is_order};
use super::room::no_room;
use super::wire::{bare, refuse, room_jid, seat_of, to_one};
use super::{Dialog, Flow};

/// Members that one answer lists.
const MEMBERS_MAX: usize = 5_000;

impl Dialog {
    /// An iq to the room or to someone in it.
    pub(super) fn takes_iq(&mut self, session: SessionId, parcel: &Parcel, kind: IqKind, turn: &mut Turn<'_>) -> Flow {
        let Some(user) = parcel.from.account.map(|account| account.user) else { return Ok(Progress::Done) };
        if !kind.is_request() {
            return Ok(Progress::Done);
        }
        let mut nodes = Nodes::new();
        let Some(iq) = nodes.reread(&parcel.stanza) else { return Ok(Progress::Done) };
        let inside = self.room_record().is_some_and(|record| record.admits(user));
        if inside && !iq.first_child().is_some_and(|payload| payload.is("query", ns::DISCO_ITEMS)) {
            self.room.shows_interest(user, session);
        }
        if let (Some(payload), None) = (iq.first_child().filter(|payload| payload.ns() == ns::MAM), &parcel.resource) {
            return self.asks_archive(session, parcel, user, kind, payload, turn);
        }
        if let (Some(card), None) = (iq.first_child().filter(|card| card.is("vCard", ns::VCARD)), &parcel.resource) {
            return self.takes_card_iq(session, parcel, user, kind, card, turn);
        }
        if kind == IqKind::Get && parcel.resource.is_none() && iq.first_child().is_some_and(asks_what_it_is) {
            return self.describes(session, parcel, user, turn);
        }
        if kind == IqKind::Set
            && parcel.resource.is_none()
            && let Some(payload) = iq.first_child().filter(|payload| is_order(*payload))
        {
            return self.takes_order(session, parcel, user, payload, turn);
        }
        if kind == IqKind::Set
            && parcel.resource.is_none()
            && let Some(order) = iq.first_child().filter(|payload| payload.is("moderate", ns::MODERATE))
        {
            return self.moderates(session, parcel, user, order, turn);
        }
        let answer = self.query(session, parcel, user, kind, iq, turn);
        self.answers(session, parcel, answer, turn)
    }

    /// Answers an iq.
    pub(super) fn answers(
        &self,
        session: SessionId,
        parcel: &Parcel,
        answer: Result<Vec<u8>, StanzaError<'static>>,
        turn: &mut Turn<'_>,
    ) -> Flow {
        let mut nodes = Nodes::new();
        let Some(iq) = nodes.reread(&parcel.stanza) else { return Ok(Progress::Done) };
        let from = self.addressed(parcel, turn);
        match answer {
            Ok(payload) => {
                let mut bytes = Vec::with_capacity(payload.len() + 128);
                let mut xml = Writer::new(&mut bytes);
                xml.open("iq").attr("type", "result").attr_opt("id", iq.attr("id").as_deref()).attr("from", &from);
                if !payload.is_empty() {
                    xml.raw_bytes(&payload);
                }
                xml.close();
                drop(xml);
                to_one(seat_of(session, parcel), bytes, turn);
            }
            Err(error) => refuse(session, parcel, &from, error, turn),
        }
        Ok(Progress::Done)
    }

    fn query(
        &self,
        session: SessionId,
        parcel: &Parcel,
        user: UserId,
        kind: IqKind,
        iq: Element<'_>,
        turn: &Turn<'_>,
    ) -> Result<Vec<u8>, StanzaError<'static>> {
        let payload = iq.first_child().ok_or(Condition::BadRequest)?;
        if parcel.resource.is_some() && !self.room.has(user, session) && is_ping(payload, kind) {
            return Err(Condition::NotAcceptable.into());
        }
        let record = self.room_record().filter(|record| record.admits(user)).ok_or_else(no_room)?;
        if let Some(nick) = parcel.resource.as_deref() {
            return self.of_occupant(nick, session, user, kind, payload).map_err(StanzaError::from);
        }
        let answer = match (payload.ns(), payload.name(), kind) {
            (ns::DISCO_INFO, "query", IqKind::Get) => of_node(user, payload),
            (ns::DISCO_ITEMS, "query", IqKind::Get) => self.items(payload, turn),
            (ns::MUC_ADMIN, "query", IqKind::Get) => self.affiliations(record, user, payload, turn),
            (ns::MUC_OWNER, "query", IqKind::Get) => configuration(record, user),
            (ns::REGISTER, "query", _) => Err(Condition::NotAllowed),
            (ns::PING, "ping", IqKind::Get) => Ok(Vec::new()),
            (_, _, _) => Err(Condition::ServiceUnavailable),
        };
        answer.map_err(StanzaError::from)
    }

    /// XEP-0410: whether one is (still) in the room. Other questions to other devices do not go through rooms.
    fn of_occupant(
        &self,
        nick: &str,
        session: SessionId,
        user: UserId,
        kind: IqKind,
        payload: Element<'_>,
    ) -> Result<Vec<u8>, Condition> {
        if !self.room.has(user, session) {
            return Err(Condition::NotAcceptable);
        }
        let there = nick.parse::<UserId>().ok().is_some_and(|nick| self.room.of(nick).next().is_some());
        match is_ping(payload, kind) {
            _ if !there => Err(Condition::ItemNotFound),
            true if *nick == *user.to_string() => Ok(Vec::new()),
            true | false => Err(Condition::FeatureNotImplemented),
        }
    }

    /// What the room is; `pictures` are hashes. XEP-0045 §6.4, XEP-0486 §4.3
    pub(super) fn info(&self, record: &DialogRow, user: UserId, pictures: &[String], turn: &Turn<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("query").ns(ns::DISCO_INFO);
        let name = record.name.as_deref().unwrap_or_default();
        xml.leaf("identity", &[("category", "conference"), ("type", "text"), ("name", name)]);
        let (access, listed) = match record.kind {
            DialogKind::Public => ("muc_open", "muc_public"),
            DialogKind::Group | DialogKind::Private => ("muc_membersonly", "muc_hidden"),
        };
        let mut features = [
            ns::DISCO_INFO,
            ns::DISCO_ITEMS,
            ns::MUC,
            ns::MUC_SELF_PING,
            ns::MUC_STABLE_ID,
            ns::OCCUPANT_ID,
            ns::MAM,
            ns::MAM_EXTENDED,
            ns::MAM_GROUPCHAT_FIELD,
            ns::STANZA_ID,
            ns::RETRACT,
            ns::RETRACT_TOMBSTONE,
            ns::MODERATE,
            ns::VCARD,
            "muc_nonanonymous",
            "muc_persistent",
            "muc_unmoderated",
            "muc_unsecured",
            access,
            listed,
        ];
        features.sort_unstable();
        for feature in features {
            xml.leaf("feature", &[("var", feature)]);
        }
        xml.open("x").ns(ns::DATA_FORMS).attr("type", "result");
        field(&mut xml, "FORM_TYPE", Some("hidden"), ns::MUC_ROOM_INFO);
        field(&mut xml, "muc#roominfo_occupants", None, &self.room.users().count().to_string());
        field(&mut xml, "muc#roominfo_description", None, name);
        if let Some(subject) = &record.subject {
            field(&mut xml, "muc#roominfo_subject", None, &subject.text);
        }
        let says = record.kind != DialogKind::Public || record.owner == user;
        field(&mut xml, "muc#roominfo_subjectmod", None, if says { "1" } else { "0" });
        field(&mut xml, "muc#roominfo_contactjid", None, &bare(self.account(record.owner), turn.site));
        field(&mut xml, "muc#maxhistoryfetch", None, &ROOM_HISTORY_STANZAS_MAX.to_string());
        if !pictures.is_empty() {
            xml.open("field").attr("var", "muc#roominfo_avatarhash").attr("type", "text-multi");
            for hash in pictures {
                xml.simple("value", hash);
            }
            xml.close();
        }
        xml.close().close();
        drop(xml);
        out
    }

    /// Who is there, each once. Wire notes §16.4.
    fn items(&self, payload: Element<'_>, turn: &Turn<'_>) -> Result<Vec<u8>, Condition> {
        if payload.attr("node").is_some_and(|node| !node.is_empty()) {
            return Err(Condition::ItemNotFound);
        }
        let room = room_jid(self.app, self.id, turn.site);
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("query").ns(ns::DISCO_ITEMS);
        for (user, _) in self.room.users() {
            xml.leaf("item", &[("jid", &format!("{room}/{user}")), ("name", &user.to_string())]);
        }
        xml.close();
        drop(xml);
        Ok(out)
    }

    /// The lists of XEP-0045 §9.5 and §10, as far as a dialog has them. Only those inside see lists (hostile inputs G02).
    fn affiliations(
        &self,
        record: &DialogRow,
        user: UserId,
        payload: Element<'_>,
        turn: &Turn<'_>,
    ) -> Result<Vec<u8>, Condition> {
        if !record.has(user) && record.owner != user {
            return Err(Condition::Forbidden);
        }
        let item = payload.child("item", ns::MUC_ADMIN).ok_or(Condition::BadRequest)?;
        if let (None, Some(role)) = (item.attr("affiliation"), item.attr("role")) {
            return self.roles(&role);
        }
        let wanted = item.attr("affiliation").ok_or(Condition::BadRequest)?;
        let members = record.occupants.iter().copied();
        let listed: Vec<UserId> = match &*wanted {
            "owner" => vec![record.owner],
            "member" => members.filter(|&member| member != record.owner).take(MEMBERS_MAX).collect(),
            "admin" | "outcast" | "none" => Vec::new(),
            _ => return Err(Condition::BadRequest),
        };
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("query").ns(ns::MUC_ADMIN);
        for member in listed {
            let jid = bare(self.account(member), turn.site);
            xml.leaf("item", &[("affiliation", &wanted), ("jid", &jid), ("nick", &member.to_string())]);
        }
        xml.close();
        drop(xml);
        Ok(out)
    }

    /// Who is in the room in this role. XEP-0045 §8.3 to §8.5.
    fn roles(&self, wanted: &str) -> Result<Vec<u8>, Condition> {
        if !matches!(wanted, "moderator" | "participant" | "visitor" | "none") {
            return Err(Condition::BadRequest);
        }
        let mut out = Vec::new();
        let mut xml = Writer::new(&mut out);
        xml.open("query").ns(ns::MUC_ADMIN);
        for (user, occupant) in self.room.users().take(MEMBERS_MAX) {
            let (affiliation, role) = self.rank(user);
            if role == wanted {
                let item = [
                    ("affiliation", affiliation),
                    ("role", role),
                    ("nick", &user.to_string()),
                    ("jid", occupant.jid()),
                ];
                xml.leaf("item", &item);
            }
        }
        xml.close();
        drop(xml);
        Ok(out)
    }
}

/// Whether a request asks what the room itself is.
fn asks_what_it_is(payload: Element<'_>) -> bool {
    payload.is("query", ns::DISCO_INFO) && payload.attr("node").is_none_or(|node| node.is_empty())
}

/// XEP-0045 §6.7: the nick that is kept for whoever asks. Other nodes a room has none.
fn of_node(user: UserId, payload: Element<'_>) -> Result<Vec<u8>, Condition> {
    if payload.attr("node").as_deref() != Some("x-roomuser-item") {
        return Err(Condition::ItemNotFound);
    }
    let mut out = Vec::new();
    let mut xml = Writer::new(&mut out);
    xml.open("query").ns(ns::DISCO_INFO).attr("node", "x-roomuser-item");
    xml.leaf("identity", &[("category", "conference"), ("type", "text"), ("name", &user.to_string())]).close();
    drop(xml);
    Ok(out)
}

/// Who is not in a room is told so in the same words whether or not there is such a room: clients take all other errors but those
/// of XEP-0410 §3.2 for the same, and `item-not-found` for being in.
pub(crate) fn is_ping(payload: Element<'_>, kind: IqKind) -> bool {
    kind == IqKind::Get && payload.is("ping", ns::PING)
}

/// A field of a form.
pub(super) fn field(xml: &mut Writer<'_>, var: &'static str, kind: Option<&str>, value: &str) {
    xml.open("field").attr("var", var).attr_opt("type", kind).simple("value", value).close();
}
