//! Who is in the room, and as what kind of client.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::effect::{Seat, SessionId};
use crate::jid::user::UserId;
use crate::limits::ROOM_CURIOUS_MAX;
use crate::ns;
use crate::xml::Element;

/// Who is in the room.
#[derive(Default)]
pub(super) struct Room {
    seats: BTreeMap<(UserId, SessionId), Occupant>,
    /// All of them, for what is said to everybody.
    everyone: Option<Arc<[Seat]>>,
    /// Sessions outside that have asked about the room, the last ones of them.
    curious: VecDeque<(UserId, SessionId)>,
}

/// One session in the room.
pub(super) struct Occupant {
    pub seat: Seat,
    /// What it says of itself, as children of its presence.
    pub says: Bytes,
    /// How it entered.
    pub guise: Guise,
}

/// As which kind of client a session entered, which tells what it takes for talk. The product's SDKs hand their apps every message
/// of a room that is not about typing, markers or invitations, one without a text and without a sender too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guise {
    /// As the SDK for JavaScript does, to which a subject is such a message too. Wire notes §16.1.
    Script,
    /// As all the SDKs do: without history, and with nothing else to say.
    Sdk,
    /// As other clients do: in another way, or they have asked the room what it is, or for its archive.
    Any,
}

impl Guise {
    /// What the presence that a session enters with tells of it.
    pub fn read(presence: Option<Element<'_>>) -> Guise {
        let Some(presence) = presence else { return Guise::Any };
        // Which picture the user has, the server has said. XEP-0398 §4
        let says = presence.children().filter(|child| !child.is("x", ns::VCARD_UPDATE));
        let history = only(says, "x").and_then(|x| only(x.children(), "history"));
        let bare = history
            .is_some_and(|history| history.attr("maxstanzas").as_deref() == Some("0") && history.attrs().count() == 1);
        match bare {
            false => Guise::Any,
            true if presence.attr("id").is_some_and(|id| id.ends_with(":join")) => Guise::Script,
            true => Guise::Sdk,
        }
    }
}

/// The only one of these children, if it is this one.
fn only<'a>(mut children: impl Iterator<Item = Element<'a>>, name: &str) -> Option<Element<'a>> {
    let first = children.next().filter(|child| child.is(name, ns::MUC))?;
    children.next().is_none().then_some(first)
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

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.seats.len()
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

    /// Those who understand something that is no talk.
    pub fn those_who_hear(&self, understands: impl Fn(Guise) -> bool) -> Arc<[Seat]> {
        let all = self.seats.values().filter(|occupant| understands(occupant.guise));
        all.map(|occupant| occupant.seat.clone()).collect()
    }

    pub fn all_but(&self, user: UserId) -> Arc<[Seat]> {
        let others = self.seats.iter().filter(|((seated, _), _)| *seated != user);
        others.map(|(_, occupant)| occupant.seat.clone()).collect()
    }

    pub fn seats_of(&self, user: UserId) -> Arc<[Seat]> {
        self.of(user).map(|occupant| occupant.seat.clone()).collect()
    }

    pub fn put(&mut self, user: UserId, occupant: Occupant) {
        self.seats.insert((user, occupant.seat.session), occupant);
        self.everyone = None;
    }

    pub fn take(&mut self, user: UserId, session: SessionId) -> Option<Occupant> {
        self.everyone = None;
        self.seats.remove(&(user, session))
    }

    /// A session asks something that no SDK asks.
    pub fn shows_interest(&mut self, user: UserId, session: SessionId) {
        if let Some(occupant) = self.seats.get_mut(&(user, session)) {
            occupant.guise = Guise::Any;
        } else if !self.curious.contains(&(user, session)) {
            if self.curious.len() >= ROOM_CURIOUS_MAX {
                self.curious.pop_front();
            }
            self.curious.push_back((user, session));
        }
    }

    /// As what a session is in the room.
    pub fn guise_of(&self, user: UserId, session: SessionId) -> Option<Guise> {
        self.seats.get(&(user, session)).map(|occupant| occupant.guise)
    }

    /// As what a session is in the room that enters in this way.
    pub fn guise(&self, user: UserId, session: SessionId, entering: Guise) -> Guise {
        if self.guise_of(user, session) == Some(Guise::Any) || self.curious.contains(&(user, session)) {
            Guise::Any
        } else {
            entering
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    #[test]
    fn sdks_are_known_by_how_they_enter() {
        let muc = "http://jabber.org/protocol/muc";
        let photo = "<x xmlns='vcard-temp:x:update'><photo>0f</photo></x>";
        for (id, inside, guise) in [
            ("5f3:join", format!("<x xmlns='{muc}'><history maxstanzas='0'/></x>"), Guise::Script),
            ("jT5-9", format!("<x xmlns='{muc}'> <history maxstanzas='0'/></x>"), Guise::Sdk),
            // The server itself says which picture the user has, whatever the client can do.
            ("5f3:join", format!("<x xmlns='{muc}'><history maxstanzas='0'/></x>{photo}"), Guise::Script),
            ("jT5-9", format!("{photo}<x xmlns='{muc}'><history maxstanzas='0'/></x>"), Guise::Sdk),
            ("5f3:join", photo.to_owned(), Guise::Any),
            ("5f3:join", format!("<x xmlns='{muc}'><history maxstanzas='1'/></x>"), Guise::Any),
            (
                "5f3:join",
                format!("<x xmlns='{muc}'><history maxstanzas='0' since='1970-01-01T00:00:00Z'/></x>"),
                Guise::Any,
            ),
            ("5f3:join", format!("<x xmlns='{muc}'><history maxchars='0'/></x>"), Guise::Any),
            ("5f3:join", format!("<x xmlns='{muc}'><history maxstanzas='0'/><password/></x>"), Guise::Any),
            ("5f3:join", format!("<x xmlns='{muc}'><history maxstanzas='0'/></x><show>away</show>"), Guise::Any),
            ("5f3:join", format!("<x xmlns='{muc}'/>"), Guise::Any),
            ("5f3:join", String::new(), Guise::Any),
        ] {
            let source = format!("<presence id='{id}'>{inside}</presence>");
            let mut nodes = Nodes::new();
            let presence = nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).ok();
            assert_eq!(Guise::read(presence), guise, "{source}");
        }
        assert_eq!(Guise::read(None), Guise::Any);
    }

    #[test]
    fn so_many_who_ask_from_outside_are_remembered() {
        let mut room = Room::default();
        for session in 0..200 {
            room.shows_interest(UserId(1), SessionId(session));
            room.shows_interest(UserId(1), SessionId(session));
        }
        assert_eq!(room.curious.len(), ROOM_CURIOUS_MAX);
        assert_eq!(room.guise(UserId(1), SessionId(199), Guise::Sdk), Guise::Any);
        assert_eq!(room.guise(UserId(2), SessionId(199), Guise::Sdk), Guise::Sdk);
        assert_eq!(room.guise(UserId(1), SessionId(0), Guise::Script), Guise::Script);
    }
}
