//! Which messages the account would have its dialogs keep, though they do not ask for it. The rules are in
//! [`prefs`](crate::ext::archive).

use crate::effect::{Site, Turn};
use crate::ext::Usual;
use crate::ext::archive::{Prefs, is_archived};
use crate::ext::chain::Look;
use crate::owner::AccountId;
use crate::stanza::{MessageKind, Parcel};

use super::Account;

impl Account {
    /// The user's preferences, if he has set any.
    pub fn archiving(&self) -> Option<&Prefs> {
        self.archiving.as_deref()
    }

    /// Puts preferences in force.
    pub fn set_archiving(&mut self, prefs: Prefs) {
        self.archiving = Some(Box::new(prefs));
    }

    /// Whether a message of the user to another is kept by his preference.
    pub(super) fn prefers_kept(&self, to: AccountId, kind: MessageKind, look: Look, site: &Site) -> bool {
        self.may_keep(kind, site) && self.keeps(&format!("{to}@{}", site.domain), site) && is_archived(look)
    }

    /// Whether a message that comes from another user, and which that user did not have kept, is kept by preference.
    pub(super) fn would_keep(&self, parcel: &Parcel, kind: MessageKind, turn: &Turn<'_>) -> bool {
        if !self.may_keep(kind, turn.site) || !self.exists() {
            return false;
        }
        let Some(sender) = parcel.from.account.filter(|sender| *sender != self.id) else { return false };
        debug_assert_eq!(sender.app, self.id.app, "messages stay within an app");
        self.keeps(&parcel.from.jid, turn.site) && is_archived(parcel.look)
    }

    /// Whether it is worth looking at whom a message is from or for.
    fn may_keep(&self, kind: MessageKind, site: &Site) -> bool {
        (self.archiving.is_some() || site.archiving.usual != Usual::Never)
            && matches!(kind, MessageKind::Chat | MessageKind::Normal)
    }

    fn keeps(&self, with: &str, site: &Site) -> bool {
        Prefs::keeps(self.archiving(), site.archiving.usual, with, |contact| {
            self.roster.item(contact).is_some_and(|item| item.listed)
        })
    }
}
