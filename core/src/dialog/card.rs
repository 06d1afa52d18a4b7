//! The room's card, and the picture on it. XEP-0486, in the form of XEP-0054.
//!
//! The owner sets it; whoever may enter the room sees it, whether or not he is inside. It is kept as it was set, and what the room says of
//! itself (XEP-0030) has the hashes of the pictures. The photo of a dialog that the API knows is a text of the app, an address or an id
//! of something that is elsewhere: the two have nothing to do with each other.
//!
//! The room itself sends no presence with the hash, which §5.2 advises against: clients take it for an occupant without a nick, and so do
//! the product's SDKs. That the card has changed is told as any change of the settings is, to those who understand it.

use crate::effect::{SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::ext::avatar;
use crate::jid::user::UserId;
use crate::limits::VCARD_BYTES_MAX;
use crate::model::dialog::card::{found_card, found_hashes, put_card, read_card, read_hashes};
use crate::ns;
use crate::row::Batch;
use crate::stanza::{IqKind, Parcel};
use crate::xml::{Element, splice};

use super::room::no_room;
use super::{Dialog, Flow};

/// §4.2
const NO_RIGHT: &str = "Only the owner of the room can set its picture.";
const NO_PICTURE: &str = "There is something else on the card than pictures that it holds itself.";

impl Dialog {
    /// A request about the card.
    pub(super) fn takes_card_iq(
        &mut self,
        session: SessionId,
        parcel: &Parcel,
        user: UserId,
        kind: IqKind,
        payload: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> Flow {
        if !self.room_record().is_some_and(|record| record.admits(user)) {
            return self.answers(session, parcel, Err(no_room()), turn);
        }
        if kind == IqKind::Set {
            let set = self.sets_card(user, payload, turn);
            let is_set = set.is_ok();
            let flow = self.answers(session, parcel, set.map(|()| Vec::new()), turn);
            if is_set {
                self.announce_settings(turn);
            }
            return flow;
        }
        self.holds_iq(session, parcel.clone());
        self.read(read_card(self.app, self.id), turn, |dialog, mut rows, turn| {
            let card = found_card(&mut rows)?;
            dialog.answer_iq(card.map(String::into_bytes).ok_or(Condition::ItemNotFound.into()), turn)
        })
    }

    fn sets_card(
        &mut self,
        user: UserId,
        payload: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> Result<(), StanzaError<'static>> {
        if self.record.as_ref().is_none_or(|record| record.owner != user) {
            return Err(StanzaError::new(Condition::Forbidden, NO_RIGHT));
        }
        let mut card = Vec::new();
        splice::copy(payload, ns::CLIENT, &mut card);
        if card.len() > VCARD_BYTES_MAX {
            return Err(Condition::PolicyViolation.into());
        }
        let hashes = avatar::pictures(payload).ok_or(StanzaError::new(Condition::NotAcceptable, NO_PICTURE))?;
        let card = String::from_utf8(card).map_err(|_| Condition::BadRequest)?;
        // §4.2: an empty one takes it away.
        let card = payload.first_child().is_some().then_some(card);
        let mut batch = Batch::default();
        put_card(&mut batch, self.app, self.id, card.as_deref(), &hashes);
        turn.out.write(batch);
        Ok(())
    }

    /// What the room is, with the hashes of its pictures.
    pub(super) fn describes(&mut self, session: SessionId, parcel: &Parcel, user: UserId, turn: &mut Turn<'_>) -> Flow {
        if !self.room_record().is_some_and(|record| record.admits(user)) {
            return self.answers(session, parcel, Err(no_room()), turn);
        }
        self.holds_iq(session, parcel.clone());
        self.read(read_hashes(self.app, self.id), turn, move |dialog, mut rows, turn| {
            let hashes = found_hashes(&mut rows)?;
            let info = dialog.room_record().map(|record| dialog.info(record, user, &hashes, turn)).ok_or_else(no_room);
            dialog.answer_iq(info, turn)
        })
    }
}
