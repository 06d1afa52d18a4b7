//! A dialog while it is in use: who is in it, its newest message, its counters, and its room.
//!
//! Lives on the shard that owns the dialog. What reaches it, one at a time: stanzas of members ([`Note::Round`] between
//! the two of a private one, [`Note::Visit`] for the room) and commands, most of them from REST. Each either fills the turn's
//! effects or asks for rows first ([`Progress::Needs`]); then nothing has changed yet, and [`Dialog::resume`] carries on with
//! them before any other input is taken.
//!
//! | subject | file |
//! |---|---|
//! | making, changing and deleting the dialog, and who is in it | `record` |
//! | saving messages and bringing them to those they are for | `save` |
//! | read and delivered marks, changed texts, messages out of one's own sight | `marks` |
//! | messages that are taken away for all, and taken back in the room | `removal`, `retraction` |
//! | the members' lists | `lists` |
//! | the room: who is there, what they say, what it was told | `room`, `occupants`, `presence`, `history`, `query` |
//! | changes of the dialog that are asked for in its room | `orders` |
//! | invitations by way of the room | `invitation` |
//! | the room's card and picture | `card` |
//! | the history as archives show it | `archive` |
//!
//! *Architecture invariant:* everything here can be rebuilt from the rows of [`Dialog::load_reads`], except who is in the room.

use std::fmt;

use crate::account::Progress;
use crate::command::{Answer as AnyAnswer, Command as AnyCommand};
use crate::effect::{Effect, JobRef, Note, ReplyTo, SessionId, Turn};
use crate::error::{Condition, StanzaError};
use crate::jid::user::{AppId, DialogId, UserId};
use crate::model::dialog::{self, Answer, Answered, Command, DialogRow, Head, Refusal, Unsettled, Which};
use crate::model::{inbox, jobs};
use crate::owner::{AccountId, Owner};
use crate::row::{Batch, Reads, Rows, Unreadable};
use crate::stanza::{Kind, Parcel, Receipt, Way};

mod archive;
mod card;
mod history;
mod invitation;
mod lists;
mod marks;
mod occupants;
mod orders;
mod presence;
mod query;
mod readers;
mod record;
mod removal;
mod retraction;
mod rewrite;
mod room;
mod save;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use archive::archived;
pub(crate) use query::is_ping;
pub(crate) use rewrite::rewritten;
pub(crate) use room::{no_entry, no_room};
pub(crate) use wire::senders_own;
pub use wire::stanza_of;

use invitation::Mediation;
use occupants::Room;
use presence::Farewell;
use readers::Readers;

/// One dialog in memory.
pub struct Dialog {
    app: AppId,
    id: DialogId,
    /// What it is; none when there is no such dialog.
    record: Option<DialogRow>,
    head: Head,
    /// The greatest order when it was loaded: what is above was delivered by this very state.
    loaded_to: u64,
    /// Where the members' lists have it.
    standing: inbox::Standing,
    /// Set while the row of [`dialog::DIRTY`] is there.
    unsettled: Option<Unsettled>,
    readers: Readers,
    room: Room,
    last_job: u64,
    /// What is to be done with the rows that are being read.
    pending: Option<Then>,
    asker: Asker,
}

impl fmt::Debug for Dialog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dialog {} of app {}: {:?}", self.id, self.app, self.record)
    }
}

/// Whoever waits for what comes of the input in hand.
#[derive(Default)]
struct Asker {
    reply: Option<ReplyTo>,
    job: Option<JobRef>,
    /// An iq to the room, and which session sent it.
    iq: Option<Box<(SessionId, Parcel)>>,
    /// An invitation, once the one who is invited can come in.
    mediation: Option<Box<Mediation>>,
}

impl Asker {
    fn waits(&self) -> bool {
        self.reply.is_some() || self.job.is_some() || self.iq.is_some() || self.mediation.is_some()
    }
}

/// How far an input came, or a row that cannot be read.
type Flow = Result<Progress, Unreadable>;
type Then = Box<dyn FnOnce(&mut Dialog, Rows, &mut Turn<'_>) -> Flow>;

impl Dialog {
    /// The rows that a dialog is made of.
    pub fn load_reads(app: AppId, id: DialogId) -> Reads {
        dialog::load_reads(app, id)
    }

    /// The dialog in these rows; one that does not exist is there too, and refuses what needs it.
    pub fn load(app: AppId, id: DialogId, mut rows: Rows) -> Result<Dialog, Unreadable> {
        let (record, head) =
            dialog::load(&mut rows)?.map_or((None, Head::default()), |(record, head)| (Some(record), head));
        let loaded_to = head.order;
        let standing = lists::standing(record.as_ref(), &head);
        Ok(Dialog {
            app,
            id,
            record,
            head,
            loaded_to,
            standing,
            unsettled: None,
            readers: Readers::default(),
            room: Room::default(),
            last_job: 0,
            pending: None,
            asker: Asker::default(),
        })
    }

    /// Whether there is such a dialog.
    pub fn exists(&self) -> bool {
        self.record.is_some()
    }

    /// What it is, if it is.
    pub fn record(&self) -> Option<&DialogRow> {
        self.record.as_ref()
    }

    /// Its newest message and counters.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether anyone is in its room.
    pub fn is_occupied(&self) -> bool {
        !self.room.is_empty()
    }

    /// Takes a note.
    pub fn note(&mut self, note: Note, turn: &mut Turn<'_>) -> Flow {
        debug_assert!(self.pending.is_none(), "one input at a time");
        match note {
            Note::Round { to, parcel } => match parcel.way {
                Way::ToKeep => self.saves_private(to, parcel, false, turn),
                Way::ToKeepAnew => self.saves_private(to, parcel, true, turn),
                Way::Straight | Way::Round | Way::Dialog => self.gives_back(to, parcel, turn),
            },
            Note::Visit { session, id_used, parcel } => match parcel.kind {
                Kind::Message { kind, .. } => self.takes_message(session, parcel, kind, id_used, turn),
                Kind::Presence { kind, .. } => self.takes_presence(session, parcel, kind, turn),
                Kind::Iq(kind) => self.takes_iq(session, &parcel, kind, turn),
            },
            Note::Absent { account, session } => self.lost(account.user, session, turn),
            Note::Command { command: AnyCommand::Dialog(command), reply, job } => {
                self.asker = Asker { reply, job, ..Asker::default() };
                self.obey(command, turn)
            }
            Note::Confirmed(job) => {
                let mut batch = Batch::default();
                jobs::forget(&mut batch, &self.owner(), job);
                turn.out.push(Effect::WriteBehind(batch));
                Ok(Progress::Done)
            }
            Note::Stanza(_)
            | Note::Dropped(_)
            | Note::Copied { .. }
            | Note::Command { .. }
            | Note::Drain(..)
            | Note::Learned(..)
            | Note::Wants { .. }
            | Note::Late(..)
            | Note::Expired(_)
            | Note::CutAgain(..)
            | Note::Taken(..)
            | Note::Overdue(..)
            | Note::Handled { .. } => {
                debug_assert!(false, "not for a dialog");
                Ok(Progress::Done)
            }
        }
    }

    /// Carries on with the rows that were asked for.
    pub fn resume(&mut self, rows: Rows, turn: &mut Turn<'_>) -> Flow {
        match self.pending.take() {
            Some(then) => then(self, rows, turn),
            None => Ok(Progress::Done),
        }
    }

    /// The rows that were asked for cannot be read: whoever waits hears of it.
    pub fn give_up(&mut self, turn: &mut Turn<'_>) {
        self.pending = None;
        // What they were to be may never have been written.
        self.readers = Readers::default();
        let asker = std::mem::take(&mut self.asker);
        if let Some(reply) = asker.reply {
            turn.out.push(Effect::Answer(reply, AnyAnswer::Unavailable));
        }
        if let Some(iq) = asker.iq {
            let (session, parcel) = *iq;
            let from = self.addressed(&parcel, turn);
            wire::refuse(session, &parcel, &from, Condition::InternalServerError.into(), turn);
        }
        if let Some(mediation) = asker.mediation {
            self.fails_to_invite(&mediation, turn);
        }
    }

    /// Whether members' lists may be behind; see [`Dialog::settle`].
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }

    /// The dialog was quiet for so long that the members' lists are up to date.
    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        if self.unsettled.take().is_some() {
            let mut batch = Batch::default();
            batch.delete(&dialog::DIRTY, dialog::key(self.app, self.id));
            turn.out.push(Effect::WriteBehind(batch));
        }
    }

    fn obey(&mut self, command: Command, turn: &mut Turn<'_>) -> Flow {
        match command {
            Command::Create { by, kind, name, photo, occupants, data } => {
                self.create(record::New { by, kind, name, photo, occupants, data }, turn)
            }
            Command::Update { by, change } => self.update(by, change, turn),
            Command::Delete { by, force } => self.delete(by, force, &Farewell::default(), turn),
            Command::Save(draft) => self.saves_draft(draft, turn),
            Command::Mark { by, which: Which::Ids(ids), marks, astray: true } => {
                self.mark_wherever(by, ids, marks, turn)
            }
            Command::Mark { by, which, marks, astray: _ } => self.mark(by, which, marks, turn),
            Command::Edit { by, ids, text } => self.edit(by, ids, text, turn),
            Command::Remove { by, ids, force: false } => self.hide(by, ids, turn),
            Command::Remove { by, ids, force: true } => self.remove(by, ids, turn),
            Command::Announce => self.announce(turn),
        }
    }

    /// Asks for rows; `then` gets them before any other input is taken.
    fn read(
        &mut self,
        reads: Reads,
        turn: &mut Turn<'_>,
        then: impl FnOnce(&mut Dialog, Rows, &mut Turn<'_>) -> Flow + 'static,
    ) -> Flow {
        if reads.is_empty() {
            return then(self, Rows::default(), turn);
        }
        self.pending = Some(Box::new(then));
        Ok(Progress::Needs(reads))
    }

    /// Answers the command in hand, after everything that was asked for before.
    fn answer(&mut self, answer: Answer, inbox: Option<inbox::Command>, turn: &mut Turn<'_>) -> Flow {
        if self.asker.iq.is_some() {
            return self.answer_iq(orders::told(&answer), turn);
        }
        let asker = std::mem::take(&mut self.asker);
        if let Some(mediation) = asker.mediation {
            return self.invites(&mediation, &answer, turn);
        }
        if let Some(reply) = asker.reply {
            turn.out.push(Effect::Answer(reply, AnyAnswer::Dialog(Box::new(Answered { answer, inbox }))));
        }
        if let Some(job) = asker.job {
            turn.out.send(job.from, Note::Confirmed(job.id));
        }
        Ok(Progress::Done)
    }

    /// The iq in hand has to wait for rows; [`Dialog::answer`] or [`Dialog::answer_iq`] answers it.
    fn holds_iq(&mut self, session: SessionId, parcel: Parcel) {
        self.asker = Asker { iq: Some(Box::new((session, parcel))), ..Asker::default() };
    }

    /// Answers the iq that was held.
    fn answer_iq(&mut self, answer: Result<Vec<u8>, StanzaError<'static>>, turn: &mut Turn<'_>) -> Flow {
        match std::mem::take(&mut self.asker).iq {
            Some(iq) => self.answers(iq.0, &iq.1, answer, turn),
            None => Ok(Progress::Done),
        }
    }

    fn refuse(&mut self, refusal: Refusal, turn: &mut Turn<'_>) -> Flow {
        self.answer(Answer::Refused(refusal), None, turn)
    }

    fn owner(&self) -> Owner {
        Owner::Dialog(self.app, self.id)
    }

    fn account(&self, user: UserId) -> AccountId {
        AccountId { app: self.app, user }
    }

    /// A number for a job that no job of this dialog has had, whatever the clock does while the process runs.
    fn next_job(&mut self, turn: &Turn<'_>) -> u64 {
        self.last_job = (self.last_job + 1).max(turn.now.stamp.millis() << 16);
        self.last_job
    }
}

/// Tells the sender's account that a stanza is taken care of, after everything that was asked for before. XEP-0198 §4.
fn report(receipt: Option<Receipt>, turn: &mut Turn<'_>) {
    if let Some(receipt) = receipt {
        let note = Note::Handled { session: receipt.session, seq: receipt.seq };
        turn.out.send(Owner::Account(receipt.account), note);
    }
}
