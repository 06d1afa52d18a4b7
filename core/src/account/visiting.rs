//! What the account's sessions have to do with dialogs: messages to be saved, markers, and the rooms they are in.

use crate::effect::{Note, SessionId, Turn};
use crate::ext::chain::{Facts, Instead, Look, Sending};
use crate::ext::muc;
use crate::jid::user::{DialogId, MessageId, RoomJid, UserId};
use crate::model::dialog::{self, Marks, Which};
use crate::owner::{AccountId, Owner};
use crate::row::Rows;
use crate::stanza::{IqKind, Kind, MessageKind, Parcel, PresenceKind, Way};
use crate::xml::{Element, Writer};

use super::outgoing::{honest, result, stamped, stamped_presence};
use super::used_ids::Addressee;
use super::{Account, Progress};

impl Account {
    /// Passes a presence or an iq on to a room. It is stamped with the place of the sender in the room, as the others are to see it.
    pub(super) fn visits(
        &mut self,
        from: SessionId,
        room: (DialogId, Option<&str>),
        kind: Kind,
        stanza: Element<'_>,
        turn: &mut Turn<'_>,
    ) {
        let Some(sender) = self.full_sender(from) else { return };
        let (dialog, nick) = room;
        let place = self.place_in(dialog, turn);
        let bytes = match kind {
            Kind::Presence { kind: PresenceKind::Available, .. } => {
                self.advertises(stamped_presence(stanza, &place, None))
            }
            Kind::Presence { .. } => stamped_presence(stanza, &place, None),
            Kind::Message { .. } | Kind::Iq(_) => stamped(stanza, &place, &[("to", None)]),
        };
        let parcel = Parcel::new(sender, nick.map(Into::into), kind, bytes);
        turn.out.send(Owner::Dialog(self.id.app, dialog), Note::Visit { session: from, id_used: false, parcel });
    }

    /// Passes a message on to a room, stamped likewise. Returns whether the room reports it as handled.
    pub(super) fn says_in_room(
        &mut self,
        sending: &Sending<'_>,
        instead: &Instead,
        (dialog, nick): (DialogId, Option<&str>),
        turn: &mut Turn<'_>,
    ) -> bool {
        let &Sending { session, message, kind, look, receipt, .. } = sending;
        let Some(sender) = self.full_sender(session) else { return false };
        let place = self.place_in(dialog, turn);
        let bytes = honest((message, look), instead, &place, &[("to", None)], turn.site);
        let id_used = kind == MessageKind::Groupchat && self.clashes(message, Addressee::Room(dialog));
        let kind = Kind::Message { kind, lasting: look.is_lasting() };
        let parcel = Parcel { receipt, look, ..Parcel::new(sender, nick.map(Into::into), kind, bytes) };
        turn.out.send(Owner::Dialog(self.id.app, dialog), Note::Visit { session, id_used, parcel });
        receipt.is_some()
    }

    /// The room's address with the user's number as the nick.
    fn place_in(&self, dialog: DialogId, turn: &Turn<'_>) -> String {
        let room = RoomJid { app: self.id.app, dialog };
        format!("{room}@{}/{}", turn.site.muc_domain, self.id.user)
    }

    /// A session that is gone leaves a room it had entered.
    pub(super) fn leaves_room(
        &self,
        session: SessionId,
        jid: &std::sync::Arc<str>,
        dialog: DialogId,
        turn: &mut Turn<'_>,
    ) {
        let mut bytes = Vec::new();
        let place = self.place_in(dialog, turn);
        Writer::new(&mut bytes).leaf("presence", &[("from", &place), ("type", "unavailable")]);
        let kind = Kind::Presence { kind: PresenceKind::Unavailable, directed: true };
        let from = crate::stanza::Sender { jid: jid.clone(), account: Some(self.id) };
        let parcel = Parcel::new(from, None, kind, bytes.into());
        turn.out.send(Owner::Dialog(self.id.app, dialog), Note::Visit { session, id_used: false, parcel });
    }

    /// The way of a message to another user. Server notes §3.4: chat messages alone are saved, and none to oneself, but for what
    /// the user prefers to have kept. A marker is noted by the dialog of the message it is about, and goes its way.
    pub(super) fn way(
        &mut self,
        to: AccountId,
        kind: MessageKind,
        look: Look,
        message: Element<'_>,
        turn: &mut Turn<'_>,
    ) -> Way {
        if to == self.id {
            return Way::Straight;
        }
        let is_chat = kind == MessageKind::Chat;
        if is_chat
            && look.is(Facts::MARKER)
            && let Some(marker) = dialog::marker(message)
        {
            self.notes_marker(to.user, marker, message, turn);
            return Way::Straight;
        }
        let asks = is_chat && look.is(Facts::PARAMS) && dialog::saved_params(message).is_some();
        if !asks && !self.prefers_kept(to, kind, look, turn.site) {
            return Way::Straight;
        }
        if self.clashes(message, Addressee::User(to.user)) { Way::ToKeepAnew } else { Way::ToKeep }
    }

    /// Whether the message has an id that is used already.
    fn clashes(&mut self, message: Element<'_>, addressee: Addressee) -> bool {
        let id = message.attr("id").and_then(|id| MessageId::parse(id.as_bytes()));
        id.is_some_and(|id| self.used_ids.clashes(id, addressee))
    }

    /// Server notes §3.5, wire notes §15.5. Clients write no dialog, or none that is one, when the message had none.
    fn notes_marker(&self, author: UserId, marker: dialog::Marker, message: Element<'_>, turn: &mut Turn<'_>) {
        let Some(id) = marker.id else { return };
        let named = dialog::dialog_of(message);
        let dialog = named.unwrap_or_else(|| DialogId::private(&turn.site.pairs, self.id.app, self.id.user, author));
        let marks = Marks { read: marker.read.then_some(true), delivered: true };
        let command =
            dialog::Command::Mark { by: self.id.user, which: Which::Ids(vec![id]), marks, astray: named.is_none() };
        let note = Note::Command { command: command.into(), reply: None, job: None };
        turn.out.send(Owner::Dialog(self.id.app, dialog), note);
    }

    /// A request to the service that holds the rooms.
    pub(super) fn answers_service(
        &self,
        from: SessionId,
        kind: IqKind,
        iq: Element<'_>,
        rows: Option<Rows>,
        turn: &mut Turn<'_>,
    ) -> Progress {
        let (true, Some(payload)) = (kind.is_request(), iq.first_child()) else { return Progress::Done };
        let Some(sender) = self.full_sender(from) else { return Progress::Done };
        let rows = match rows {
            Some(rows) => rows,
            None => {
                let reads = muc::service_reads(self.id.app, kind, payload);
                if !reads.is_empty() {
                    return Progress::Needs(reads);
                }
                Rows::default()
            }
        };
        match muc::service(self.id.app, kind, payload, rows, turn.site) {
            Ok(payload) => turn.out.deliver(from, result(iq, &sender.jid, &payload)),
            Err(refusal) => self.refuse(from, iq, refusal.error(), turn),
        }
        Progress::Done
    }
}
