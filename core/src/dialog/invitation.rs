//! Invitations by way of the room, and answers that decline them. XEP-0045 §7.8.2
//!
//! Whoever is in the room of a group and invites somebody makes him a member first, as any occupant can by the API: nobody else could come
//! in. A public dialog is open to all of the app, and an invitation to it changes nothing. The invitation is a message of the room which
//! waits for who is away; to the lists of those who keep others away (XEP-0016) it is one of the user who invites. The product's
//! SDKs pass over it (wire notes §16.5), and show the dialog in their lists.

use crate::effect::{Note, SessionId, Site, Turn};
use crate::error::{Condition, StanzaError};
use crate::jid::Jid;
use crate::jid::user::UserId;
use crate::model::dialog::{Answer, Change, DialogKind};
use crate::ns;
use crate::owner::{AccountId, Owner};
use crate::route::{Target, target};
use crate::stanza::{Kind, MessageKind, Parcel};
use crate::xml::{Element, Nodes, Writer};

use super::orders::{reason_in, told};
use super::wire::{bare, refuse, room_jid};
use super::{Asker, Dialog, Flow};

/// What the room passes on, from whom and to whom.
pub(super) struct Mediation {
    /// `invite` or `decline`.
    name: &'static str,
    session: SessionId,
    parcel: Parcel,
    by: UserId,
    to: UserId,
    reason: Option<String>,
    /// The conversation of two that goes on in the room, and its thread. §7.9
    continues: Option<Option<String>>,
}

/// Whether a message is for the room to pass on.
pub(super) fn is_mediated(message: Element<'_>) -> bool {
    message.child("x", ns::MUC_USER).is_some_and(|x| x.children().any(|child| name_of(child).is_some()))
}

fn name_of(child: Element<'_>) -> Option<&'static str> {
    match (child.ns(), child.name()) {
        (ns::MUC_USER, "invite") => Some("invite"),
        (ns::MUC_USER, "decline") => Some("decline"),
        (_, _) => None,
    }
}

impl Mediation {
    /// One thing at a time: its sender has one answer.
    fn read(session: SessionId, parcel: &Parcel, me: AccountId, site: &Site) -> Result<Mediation, Condition> {
        let mut nodes = Nodes::new();
        let message = nodes.reread(&parcel.stanza).ok_or(Condition::BadRequest)?;
        let x = message.child("x", ns::MUC_USER).ok_or(Condition::BadRequest)?;
        let mut all = x.children().filter_map(|child| Some((name_of(child)?, child)));
        let (Some((name, child)), None) = (all.next(), all.next()) else { return Err(Condition::BadRequest) };
        let to = child.attr("to").ok_or(Condition::BadRequest)?;
        let jid = Jid::parse(&to).map_err(|_| Condition::JidMalformed)?;
        let to = match target(Some(&jid), me, site) {
            Target::Own => me.user,
            Target::User(account, _) => account.user,
            Target::Server
            | Target::RoomService
            | Target::Uploads
            | Target::Link(_)
            | Target::Room
            | Target::Dialog(..)
            | Target::Component(_)
            | Target::Nobody
            | Target::Elsewhere => return Err(Condition::ItemNotFound),
        };
        let continues = child.child("continue", ns::MUC_USER);
        Ok(Mediation {
            name,
            session,
            parcel: parcel.clone(),
            by: me.user,
            to,
            reason: reason_in(child, ns::MUC_USER),
            continues: continues.map(|child| child.attr("thread").map(|thread| thread.into_owned())),
        })
    }
}

impl Dialog {
    /// A message that the room is asked to pass on, from one who may enter the room.
    pub(super) fn mediates(&mut self, session: SessionId, parcel: &Parcel, user: UserId, turn: &mut Turn<'_>) -> Flow {
        let mediation = match Mediation::read(session, parcel, self.account(user), turn.site) {
            Ok(mediation) => mediation,
            Err(condition) => return self.returns(session, parcel, condition.into(), turn),
        };
        let Some(record) = self.room_record() else { return self.done(parcel, turn) };
        match mediation.name {
            // Only those who could have invited are told, so that the room carries nothing to others.
            "decline" if record.admits(mediation.to) => self.passes_mediation(&mediation, turn),
            "decline" => self.returns(session, parcel, Condition::ItemNotFound.into(), turn),
            _ if !self.room.has(user, session) => {
                self.returns(session, parcel, StanzaError::new(Condition::NotAcceptable, "Join the room first."), turn)
            }
            _ if record.kind == DialogKind::Group && !record.has(mediation.to) => {
                let change = Change { push: vec![mediation.to], ..Change::default() };
                self.asker = Asker { mediation: Some(Box::new(mediation)), ..Asker::default() };
                self.update(user, change, turn)
            }
            _ => self.passes_mediation(&mediation, turn),
        }
    }

    /// The one who was invited has become a member, or cannot.
    pub(super) fn invites(&mut self, mediation: &Mediation, answer: &Answer, turn: &mut Turn<'_>) -> Flow {
        match told(answer) {
            Ok(_) => self.passes_mediation(mediation, turn),
            Err(error) => self.returns(mediation.session, &mediation.parcel, error, turn),
        }
    }

    /// What became of the message is reported by the account it goes to.
    fn passes_mediation(&mut self, mediation: &Mediation, turn: &mut Turn<'_>) -> Flow {
        let Mediation { name, parcel, by, to, reason, continues, .. } = mediation;
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(&parcel.stanza) else { return self.done(parcel, turn) };
        let account = self.account(*to);
        let mut bytes = Vec::new();
        let mut xml = Writer::new(&mut bytes);
        xml.open("message").attr("from", &room_jid(self.app, self.id, turn.site));
        xml.attr("to", &bare(account, turn.site)).attr_opt("id", message.attr("id").as_deref());
        xml.open("x").ns(ns::MUC_USER).open(name).attr("from", &bare(self.account(*by), turn.site));
        if let Some(reason) = reason {
            xml.simple("reason", reason);
        }
        if let Some(thread) = continues {
            xml.open("continue").attr_opt("thread", thread.as_deref()).close();
        }
        drop(xml);
        let kind = Kind::Message { kind: MessageKind::Normal, lasting: true };
        let receipt = parcel.receipt;
        let passed = Parcel { receipt, ..Parcel::new(parcel.from.clone(), None, kind, bytes.into()) };
        turn.out.send(Owner::Account(account), Note::Stanza(passed));
        Ok(crate::account::Progress::Done)
    }

    fn returns(&mut self, session: SessionId, parcel: &Parcel, error: StanzaError<'_>, turn: &mut Turn<'_>) -> Flow {
        refuse(session, parcel, &room_jid(self.app, self.id, turn.site), error, turn);
        self.done(parcel, turn)
    }

    /// The rows that an invitation needed cannot be read.
    pub(super) fn fails_to_invite(&mut self, mediation: &Mediation, turn: &mut Turn<'_>) {
        let error = Condition::InternalServerError.into();
        refuse(mediation.session, &mediation.parcel, &room_jid(self.app, self.id, turn.site), error, turn);
        super::report(mediation.parcel.receipt, turn);
    }
}
