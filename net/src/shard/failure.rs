//! What becomes of an owner, and of those who wait for it, when the store fails it.

use std::sync::Arc;

use proto::command::Answer;
use proto::effect::{Effect, Ending, Note, ReplyTo};
use proto::link_local::Word;
use proto::owner::Owner;
use store::StoreError;

use super::Shard;
use super::desk::Desk;
use super::owners::{Held, Input, State};

impl<D: Desk> Shard<D> {
    /// The disk refused. The owner's memory is ahead of its rows, so it is given up: whoever waits is told, its sessions end,
    /// and the next use begins from the rows.
    pub(super) fn abandon(&mut self, owner: Owner) {
        let Some(slot) = self.owners.remove(&owner) else { return };
        let held = slot.held.into_iter().filter_map(|held| match held {
            Held::Effect(Effect::Answer(reply, _)) => Some(reply),
            Held::Effect(_) | Held::Until(_) | Held::Resume => None,
        });
        let waiting = slot.reading.into_iter().map(|reading| reading.input).chain(slot.inbox);
        let mut replies: Vec<ReplyTo> = held.collect();
        let mut attaching = Vec::new();
        for input in waiting {
            match input {
                Input::Note(note) => replies.extend(unanswered(&note)),
                Input::Attach(conn, ..) | Input::Reattach(conn, ..) | Input::Enter(conn, _) | Input::Connect(conn) => {
                    attaching.push(conn)
                }
                Input::Stanza(..) | Input::Detach(..) | Input::Resume(_) => {}
            }
        }
        for reply in replies {
            self.reply(reply, Answer::Unavailable);
        }
        for conn in attaching {
            self.attach_failed(conn);
        }
        // Also those of one whose state was lost.
        if let Owner::Account(_) | Owner::Component(_) = owner {
            for session in self.links.of(owner) {
                self.end_session(session, Ending::InternalServerError);
            }
        }
        if let Owner::Account(account) = owner {
            self.desk.link(Box::new(Word::Show(account, None)));
        }
        match slot.state.map(|state| *state) {
            Some(State::Dialog(mut dialog)) => {
                self.turn(|turn| dialog.give_up(turn));
                self.perform_free(owner);
                for (stanza, seats) in dialog.dismissed(&Arc::clone(&self.terms).site) {
                    self.fan_out(owner, &stanza, &seats);
                }
            }
            Some(State::Account(_) | State::Directory(_) | State::Component(_)) | None => {}
        }
    }

    pub(super) fn fail_input(&mut self, owner: Owner, input: Input, error: &StoreError) {
        tracing::error!(%error, ?owner, "rows cannot be read");
        match input {
            Input::Note(note) => {
                if let Some(reply) = unanswered(&note) {
                    self.reply(reply, Answer::Unavailable);
                }
            }
            Input::Stanza(session, _) => self.end_session(session, Ending::InternalServerError),
            Input::Attach(conn, ..) | Input::Reattach(conn, ..) | Input::Enter(conn, _) | Input::Connect(conn) => {
                self.attach_failed(conn)
            }
            Input::Detach(..) => {}
            Input::Resume(_) => {
                self.with_dialog(owner, |dialog, turn| dialog.give_up(turn));
            }
        }
    }
}

/// Whoever waits for the answer to a note.
pub(super) fn unanswered(note: &Note) -> Option<ReplyTo> {
    match note {
        Note::Command { reply, .. } => *reply,
        Note::Stanza(_)
        | Note::Round { .. }
        | Note::Dropped(_)
        | Note::Copied { .. }
        | Note::Late(..)
        | Note::Expired(_)
        | Note::CutAgain(..)
        | Note::Taken(..)
        | Note::Overdue(..)
        | Note::Confirmed(_)
        | Note::Learned(..)
        | Note::Drain(..)
        | Note::Handled { .. }
        | Note::Wants { .. }
        | Note::Visit { .. }
        | Note::Absent { .. } => None,
    }
}
