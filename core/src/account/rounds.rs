//! The order of what two users send each other, when some of it is kept and has to wait for the disk. RFC 6120 §10.1.
//!
//! Whatever one user sends another goes straight to the other's account, in order. From there a message that is kept makes a round
//! by the dialog of the two, and is taken when it is back. What comes from the same sender meanwhile follows it on that round,
//! so that nothing overtakes anything.
//!
//! The sender's other clients get their copies of such a message when the recipient's account takes it ([`Note::Copied`]). What is sent
//! to the same user meanwhile is copied on that occasion too, whether or not it is kept.

use crate::dialog::senders_own;
use crate::effect::{Note, Turn};
use crate::jid::user::{DialogId, UserId};
use crate::owner::{AccountId, Owner};
use crate::stanza::{Kind, Parcel, Way};
use crate::xml::Nodes;

use super::Account;

/// How much is under way, by the user at the other end.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Vec<(UserId, u32)>);

impl UnderWay {
    fn is_any(&self, with: UserId) -> bool {
        self.0.iter().any(|(user, _)| *user == with)
    }

    fn add(&mut self, with: UserId) {
        match self.0.iter_mut().find(|(user, _)| *user == with) {
            Some((_, count)) => *count += 1,
            None => self.0.push((with, 1)),
        }
    }

    fn remove(&mut self, with: UserId) {
        let Some(at) = self.0.iter().position(|(user, _)| *user == with) else { return };
        self.0[at].1 -= 1;
        if self.0[at].1 == 0 {
            self.0.swap_remove(at);
        }
    }
}

impl Account {
    /// Sends a stanza to an account.
    pub(super) fn post(&self, to: AccountId, parcel: Parcel, turn: &mut Turn<'_>) {
        turn.out.send(Owner::Account(to), Note::Stanza(parcel));
    }

    /// Sends a message to another account, with copies to the sender's own sessions.
    pub(super) fn post_copied(&mut self, to: AccountId, mut parcel: Parcel, turn: &mut Turn<'_>) {
        if parcel.way == Way::Straight && !self.copies.is_any(to.user) {
            self.copy(&parcel.from.jid, &parcel.stanza, turn);
        } else {
            parcel.copied = true;
            self.copies.add(to.user);
        }
        self.post(to, parcel, turn);
    }

    /// A message for `with` was taken there, and comes back as it was, or nothing came of it.
    pub(super) fn copied(&mut self, with: UserId, parcel: Option<Parcel>, turn: &mut Turn<'_>) {
        self.copies.remove(with);
        let Some(parcel) = parcel else { return };
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(&parcel.stanza) else { return };
        let other = format!("{}@{}", AccountId { app: self.id.app, user: with }, turn.site.domain);
        self.copy(&parcel.from.jid, &senders_own(message, &self.jid, &other), turn);
    }

    /// Takes a stanza now, which then is returned, or sends it on a round before.
    pub(super) fn in_turn(&mut self, mut parcel: Parcel, turn: &mut Turn<'_>) -> Option<Parcel> {
        let Some(with) = parcel.from.account.map(|account| account.user).filter(|&user| user != self.id.user) else {
            return Some(parcel);
        };
        // What happens on nodes is said by the account, not by its user, and in no order with what he says.
        if parcel.topic.is_some() {
            return Some(parcel);
        }
        match parcel.way {
            Way::Dialog => return Some(parcel),
            Way::Round => {
                self.rounds.remove(with);
                return Some(parcel);
            }
            Way::ToKeep | Way::ToKeepAnew => {}
            Way::Straight => match parcel.kind {
                Kind::Message { kind, .. } if self.would_keep(&parcel, kind, turn) => parcel.way = Way::ToKeep,
                _ if self.rounds.is_any(with) => {}
                _ => return Some(parcel),
            },
        }
        self.rounds.add(with);
        let dialog = DialogId::private(&turn.site.pairs, self.id.app, self.id.user, with);
        turn.out.send(Owner::Dialog(self.id.app, dialog), Note::Round { to: self.id, parcel });
        None
    }

    /// Nothing came of a round.
    pub(super) fn dropped(&mut self, with: UserId) {
        self.rounds.remove(with);
    }
}

/// Tells the sender's account that nothing came of a message, if that waits for it.
pub(super) fn never_copied(parcel: &Parcel, at: AccountId, turn: &mut Turn<'_>) {
    if let (true, Some(from)) = (parcel.copied, parcel.from.account) {
        turn.out.send(Owner::Account(from), Note::Copied { with: at.user, parcel: None });
    }
}

/// Gives the sender's account a message as it is taken, if that waits for it.
pub(super) fn copy_back(parcel: &Parcel, at: AccountId, turn: &mut Turn<'_>) {
    if let (true, Some(from)) = (parcel.copied, parcel.from.account) {
        let parcel = Parcel { receipt: None, copied: false, ..parcel.clone() };
        turn.out.send(Owner::Account(from), Note::Copied { with: at.user, parcel: Some(parcel) });
    }
}
