//! Copies of what one of the account's sessions sends, for the others. The rules are in [`carbons`].

use crate::effect::{SessionId, Turn};
use crate::ext::carbons;
use crate::ext::chain::Look;
use crate::stanza::MessageKind;
use crate::xml::Nodes;

use super::Account;

impl Account {
    /// The session wants copies from now on, or no more.
    pub fn set_carbons(&mut self, session: SessionId, on: bool) {
        if let Some(session) = self.session_mut(session) {
            session.carbons = on;
        }
    }

    /// Whether this message of a session has to be copied to another one.
    pub(super) fn is_copied(&self, from: SessionId, kind: MessageKind, look: Look) -> bool {
        carbons::is_copied(kind, look) && self.sessions.iter().any(|session| session.carbons && session.id != from)
    }

    /// Gives a message of one's own, as it is delivered, to all other sessions that want copies.
    pub(super) fn copy(&self, sender: &str, stanza: &[u8], turn: &mut Turn<'_>) {
        let mut takers = self.sessions.iter().filter(|session| session.carbons && *session.jid != *sender).peekable();
        if takers.peek().is_none() {
            return;
        }
        let mut nodes = Nodes::new();
        let Some(message) = nodes.reread(stanza) else { return };
        let copy = carbons::sent(&self.jid, message);
        for session in takers {
            turn.out.deliver(session.id, carbons::for_resource(&copy, &session.jid));
        }
    }
}
