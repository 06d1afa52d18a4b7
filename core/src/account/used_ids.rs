//! Under which ids a user's last messages are kept. Wire notes §15.2: an id that is used already is none for a new message.
//!
//! Each dialog knows its own ids, so that a message that is sent to it again is the same message. Between dialogs nobody knows
//! them all; what happens is a client that sends one stanza to one user after another, and that shows here.

use std::collections::VecDeque;

use crate::jid::user::{DialogId, MessageId, UserId};

/// Whom a message was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Addressee {
    User(UserId),
    Room(DialogId),
}

/// How many ids are remembered.
const USED_IDS_MAX: usize = 16;

/// The newest ids, oldest first.
#[derive(Debug, Default)]
pub(super) struct UsedIds(VecDeque<(MessageId, Addressee)>);

impl UsedIds {
    /// Whether the id was used for somebody else; if not, it is remembered as used for this one.
    pub(super) fn clashes(&mut self, id: MessageId, addressee: Addressee) -> bool {
        if let Some((_, before)) = self.0.iter().find(|(used, _)| *used == id) {
            return *before != addressee;
        }
        if self.0.len() == USED_IDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, addressee));
        false
    }
}
